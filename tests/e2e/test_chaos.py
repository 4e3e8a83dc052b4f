"""Bounded runs of the chaos (`make chaos` is the long one)."""

from pathlib import Path

import pytest

from tests.chaos.__main__ import run


@pytest.mark.parametrize(("seed", "nodes"), [(1, 3), (2, 3), (3, 2)])
def test_faults_on_a_schedule_never_make_two_signatures(tmp_path: Path, seed: int, nodes: int) -> None:
    seen = run(15, seed, nodes, tmp_path)
    assert seen["double signatures"] == 0
    assert seen["faults"]
