"""Durations that are right after somebody set the wall clock: back, forward, in any process."""

from typing import Any

import pytest

from cometkms.api.history import History
from cometkms.api.page import whole
from cometkms.api.status import compose_status
from cometkms.api.view import ago_words, view_of
from cometkms.board.dating import SLEW_MAX_S, as_set_now
from tests.unit.api.boards import NOW, FakeBoard

MONO = 5000.0


def board() -> FakeBoard:
    """All of it began, was heard or was signed at moments that both clocks knew."""
    board = FakeBoard()
    supervisor: Any = board.sections_now["supervisor"]
    state: Any = board.sections_now["state"]
    chain: Any = board.sections_now["signer"]["chains"][1]  # type: ignore[index]
    supervisor["started_at_mono"] = MONO - 60
    for child in supervisor["children"]:
        child["started_at_mono"] = MONO - 59
    state["members"].append(
        {"id": "node1", "connected": True, "state": "complete", "marks": [], "error": "", "since": NOW - 50, "since_mono": MONO - 50,
         "last_contact": NOW - 2, "last_contact_mono": MONO - 2}
    )  # fmt: skip
    state["rows"][0].update(signed_at=NOW - 3, signed_at_mono=MONO - 3)
    chain.update(last_signed_at=NOW - 3, last_signed_at_mono=MONO - 3)
    chain["validators"][0].update(since=NOW - 40, since_mono=MONO - 40)
    return board


@pytest.mark.parametrize("set_s", [0.0, -3600.0, 86400.0])
def test_every_duration_is_what_the_clock_that_nobody_sets_says(set_s: float) -> None:
    one, now = board(), NOW + set_s
    status = compose_status(one.sections(), one.beat_ages_s(), now, MONO)
    node, chain, member = status["node"], status["chains"][0], status["members"][1]
    assert (node["uptime_s"], status["children"][0]["uptime_s"]) == (60.0, 59.0)
    assert [
        now - (at or 0) for at in (chain["signed_at"], chain["last_signed_at"], chain["validators"][0]["since"])
    ] == [3, 3, 40]
    assert [now - (at or 0) for at in (member["since"], member["last_contact"])] == [50, 2]
    assert status["now"] == now
    assert "_mono" not in str(status)
    assert (ago_words(now - 5, now), ago_words(now + 5, now)) == ("5.0 s ago", "before the clock was set back")
    page = whole(view_of(status, History(), [], now))
    assert "connected for 50.0 s" in page
    assert "40.0 s ago" in page


def test_a_clock_that_is_slewed_moves_nothing_and_without_the_other_clock_nothing_is_moved() -> None:
    one = board()
    for now, monotonic in ((NOW + SLEW_MAX_S, MONO), (NOW + 86400, None)):
        found = as_set_now(one.sections(), now, monotonic)
        assert found["supervisor"] is not None
        assert found["supervisor"]["started_at"] == NOW - 60
    assert "started_at_mono" in str(one.sections()), "what the board holds is not changed"


def test_a_time_that_moved_is_the_same_at_each_look() -> None:
    one = board()
    seen = {
        compose_status(one.sections(), one.beat_ages_s(), NOW + 86400 + at + at / 7000, MONO + at)["chains"][0][
            "signed_at"
        ]
        for at in (0.0, 0.3, 1.0, 70.0)
    }
    assert seen == {NOW - 3 + 86400}


@pytest.mark.parametrize(
    "entry",
    [
        {"id": "b", "id_mono": 1.0},
        {"since": NOW, "since_mono": "x"},
        {"since": -1.7e308, "since_mono": 1.7e308},
        {"since": float("nan"), "since_mono": 1.0},
        {"since": True, "since_mono": 1.0},
    ],
)
def test_what_is_no_time_stays_as_it_is(entry: dict[str, Any]) -> None:
    """A process in foreign hands writes what it likes: nobody else is blinded by it."""
    one = board()
    state: Any = one.sections_now["state"]
    state["members"].append(entry)
    found: Any = as_set_now(one.sections(), NOW, MONO)["state"]
    shown = found["members"][-1]
    assert str(shown) == str({name: value for name, value in entry.items() if not name.endswith("_mono")})
