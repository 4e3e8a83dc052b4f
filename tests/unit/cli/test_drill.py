"""`cmkms drill` before anything is done: it refuses in words, and asks first."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.fake_node import FakeNode
from tests.unit.cli.inside import cmkms
from tests.unit.operator.drill.test_view import answer, member


def drill(home: Path, said: dict[str, Any], *arguments: str) -> tuple[int, str, list[dict[str, Any]]]:
    """Exit code, what was said, and what the node was asked."""
    node = FakeNode(home, "c", said)
    try:
        done = cmkms("drill", "--home", str(home), *arguments)
    finally:
        node.close()
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr, node.asked


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"members": member(1, connected=False)}, "not fit   b is not connected"),
        ({"leader_id": None}, "not fit   nobody leads"),
        ({"members": answer()["members"][2:]}, "not fit   this node is alone"),
        ({"why": "a: not every validator is connected: tcp://v"}, "not every validator is connected: tcp://v"),
        ({}, "its alerts are not known"),
    ],
)
def test_what_is_not_whole_is_refused_and_nothing_is_ordered(said: dict[str, Any], words: str, tmp_path: Path) -> None:
    code, told, asked = drill(tmp_path, answer(**said), "--yes", "--http-addr", "127.0.0.1:1")
    assert code == 1
    assert words in told
    assert "nothing was done; cure: " in told
    assert all(one["op"] in ("watch", "peers") or one.get("action") == "check" for one in asked)


def test_where_no_node_runs_the_cure_is_told(tmp_path: Path) -> None:
    done = cmkms("drill", "--home", str(tmp_path), "--yes")
    assert (done.returncode, "cure: " in done.stderr) == (1, True)


def test_an_answer_of_another_version_is_told(tmp_path: Path) -> None:
    code, told, _ = drill(tmp_path, {"ok": True}, "--yes")
    assert (code, "the same version of cmkms" in told) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("--rounds", "0"), 2), (("--fresh", "soon"), 3), (("--rpc", "https://x"), 3), (("--http-addr", "nowhere"), 1)],
)
def test_wrong_usage_is_told_before_anything(arguments: tuple[str, ...], code: int, tmp_path: Path) -> None:
    found, _, asked = drill(tmp_path, answer(), "--yes", *arguments)
    assert found == code
    assert all(one.get("action") in (None, "check") for one in asked)
