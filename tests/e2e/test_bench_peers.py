"""Peers of the benchmark, for real: the Go floor and this project through scripts,
beside themselves.
"""

import sys
from pathlib import Path

import pytest

from benchmarks.peers import KINDS, Load, run
from tests.gotools import program

SCRIPTS = Path(__file__).parent / "peers"
HEIGHTS = 20


def test_peers_are_measured_beside_the_floor_and_this_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # on a busy machine the lead of "a node" moves, and what is asked meanwhile fails
    monkeypatch.setattr("benchmarks.peers.FAILURES_MAX", 10_000)
    monkeypatch.setenv("CMKMS_TEST_FLOOR", str(program("floor")))
    monkeypatch.setenv("CMKMS_TEST_PYTHON", sys.executable)
    absent = tmp_path / "absent.sh"
    absent.write_text("#!/bin/sh\necho 'no binary here' >&2\nexit 77\n")
    absent.chmod(0o755)
    peers = {"a floor": SCRIPTS / "floor.sh", "a node": SCRIPTS / "ours.sh", "absent": absent}
    found = run(peers, tmp_path / "run", Load(rounds=1, heights=HEIGHTS, warmup=5))
    assert list(found) == [
        f"{kind}: {name}"
        for kind in KINDS.values()
        for name in ("floor", "this project", "a floor", "a node", "absent")
    ]
    for name, row in found.items():
        if name.endswith("absent"):
            assert row == {"not run": "no binary here"}
            continue
        assert row["count"] == 3 * HEIGHTS
        assert row["rounds"] == 1
        assert row["failed"] == 0 or name.endswith("a node")
        assert 0 < row["p50"] <= row["p90"] <= row["p99"] <= row["max"]
        assert row["p50 / floor"] > 0
        assert row["p99 / this project"] > 0
    assert found["three nodes: floor"]["p50 / floor"] == 1.0
    assert found["one node: this project"]["p99 / this project"] == 1.0


def test_where_no_peer_can_be_run_nothing_is_measured(tmp_path: Path) -> None:
    rows = run({"gone": tmp_path / "gone.sh"}, tmp_path / "run", Load(rounds=2, heights=HEIGHTS, warmup=5))
    assert rows.keys() == {f"{kind}: gone" for kind in KINDS.values()}
    for row in rows.values():
        assert row["not run"].endswith("No such file or directory")
    assert not list((tmp_path / "run").rglob("floor")), "its floor was not needed"
