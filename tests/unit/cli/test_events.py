"""`cmkms events`: each event once, oldest first, in words, whatever version of a node says it."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cometkms.cli import events
from cometkms.cli.events import news_of, stamp, words_of
from cometkms.errors import CometKMSError
from tests.unit.cli.inside import cmkms

FIRST = {"at": 1_700_000_000.25, "what": "leader", "leader": "node1", "term": 3}
SECOND = {
    "at": 1_700_000_001.5,
    "what": "alert_raised",
    "name": "peer_away",
    "peer": "node2",
    "why": "node2 is not connected",
}


def document(*found: object) -> dict[str, Any]:
    return {"node": {"id": "node0"}, "events": list(found)}


def test_each_is_told_once_and_in_its_order() -> None:
    known: dict[str, None] = {}
    assert [one["what"] for one in news_of(document(SECOND, FIRST), known)] == ["leader", "alert_raised"]
    assert news_of(document(FIRST, SECOND), known) == []
    (third,) = news_of(document(FIRST, {**FIRST, "at": 1_700_000_009.0}), known)
    assert (third["node"], third["words"]) == ("node0", "node1 leads (term 3)")


def test_what_was_told_is_remembered_within_a_bound() -> None:
    known: dict[str, None] = {}
    for number in range(events._KNOWN_MAX + 9):
        news_of(document({**FIRST, "at": float(number)}), known)
    assert len(known) == events._KNOWN_MAX


@pytest.mark.parametrize("odd", [7, "x", None, {"what": "leader"}, {"at": "noon", "what": "leader"}, {"at": 1.0}])
def test_what_is_no_event_is_left_out(odd: object) -> None:
    assert news_of(document(odd, FIRST), {}) == news_of(document(FIRST), {})


def test_an_event_of_another_version_is_told_by_its_name() -> None:
    assert words_of({"what": "comet_seen", "at": 1.0}, "node0") == "comet seen"
    assert words_of({"what": "signed_again", "at": 1.0, "gap_ms": "many"}, "node0") == "signed_again"


def test_an_alert_is_told_in_words() -> None:
    assert words_of(SECOND, "node0") == "alert raised: peer away: node2 is not connected"
    assert words_of({**SECOND, "what": "alert_over"}, "node0") == "alert over: peer away: node2 is not connected"


def test_a_time_that_is_none_ends_nothing() -> None:
    assert stamp(1_700_000_000.25) == "2023-11-14 22:13:20.250"
    assert stamp(1e300) == "at no time"


@pytest.mark.parametrize("form", ["words", "json"])
def test_following_goes_on_over_a_node_that_goes_away_until_ctrl_c(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: Iterator[object] = itertools.chain(
        [document(FIRST), CometKMSError("no node answers"), CometKMSError("no node answers"), document(FIRST, SECOND)],
        [KeyboardInterrupt()],
    )

    def fetch(*_: object, **__: object) -> object:
        answer = next(answers)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    monkeypatch.setattr(events, "fetch", fetch)
    monkeypatch.setattr(events, "_LOOK_S", 0.0)
    more = ["--json"] if form == "json" else []
    done = cmkms("events", "--http-addr", "127.0.0.1:1", "--follow", *more)
    assert done.returncode == 0
    assert done.stderr == "no node answers; waiting for it\nit answers again\n"
    lines = done.stdout.splitlines()
    if form == "json":
        assert [json.loads(line)["what"] for line in lines] == ["leader", "alert_raised"]
    else:
        assert lines == [
            "2023-11-14 22:13:20.250  node1 leads (term 3)",
            "2023-11-14 22:13:21.500  alert raised: peer away: node2 is not connected",
        ]


@pytest.mark.parametrize(("name", "copied"), [("node0", True), ("node7", False)])
def test_the_node_of_which_this_home_is_a_copy_is_no_reason_to_start_the_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, copied: bool
) -> None:
    (tmp_path / "config.toml").write_text('id = "node0"\nchain_id = "c"\nvalidator_addr = "tcp://127.0.0.1:1"\n')
    there = {**document(FIRST), "node": {"id": name, "home": "/var/lib/cometkms"}}
    monkeypatch.setattr(events, "fetch", lambda *_, **__: there)
    done = cmkms("events", "--home", str(tmp_path))
    assert done.returncode == 1
    remove = f"cure: where {tmp_path} is a copy of that home, remove it: no copy is started; else "
    assert (remove in done.stderr) == copied
    assert f"cmkms start --home {tmp_path}, with an http_addr of its own" in done.stderr


def test_another_home_s_node_at_the_same_address_is_waited_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it sees is not taken for what this one saw."""
    (tmp_path / "config.toml").write_text('id = "node0"\nchain_id = "c"\nvalidator_addr = "tcp://127.0.0.1:1"\n')
    other = {**document(SECOND), "node": {"id": "node7"}}
    answers: Iterator[dict[str, Any]] = iter([document(FIRST), other, other, document(FIRST)])

    def fetch(*_: object, **__: object) -> dict[str, Any]:
        if (answer := next(answers, None)) is None:
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr(events, "fetch", fetch)
    monkeypatch.setattr(events, "_LOOK_S", 0.0)
    done = cmkms("events", "--home", str(tmp_path), "--follow")
    assert done.stdout == "2023-11-14 22:13:20.250  node1 leads (term 3)\n"
    assert done.stderr.startswith("node 'node7' answers at 127.0.0.1:8080, and the home")
    assert done.stderr.endswith("; waiting for it\nit answers again\n")
