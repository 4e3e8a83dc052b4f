"""What counts as trouble, whoever asks: the supervisor, /healthz and /status."""

import pytest

from cometkms.api.status import compose_status
from cometkms.board.sections import ChildState
from cometkms.board.situation import BEAT_LATE_S
from cometkms.board.trouble import find_trouble
from cometkms.limits import HUNG_AFTER_S
from tests.unit.api.boards import NOW, FakeBoard


def child(board: FakeBoard, name: str) -> dict:
    return next(c for c in board.sections_now["supervisor"]["children"] if c["name"] == name)


def test_all_well_is_no_trouble():
    board = FakeBoard()
    assert find_trouble(board.sections(), board.beat_ages_s(), NOW) == []
    assert compose_status(board.sections(), board.beat_ages_s(), NOW)["healthy"] is True


@pytest.mark.parametrize(
    "state", [*(state for state in ChildState if state is not ChildState.RUNNING), "of a later version"]
)
@pytest.mark.parametrize("name", ["state", "signer", "api"])
def test_a_child_in_any_state_but_running_is_trouble_with_its_last_exit_in_words(name, state):
    board = FakeBoard()
    child(board, name).update(state=state, last_exit="killed by SIGKILL")
    assert find_trouble(board.sections(), board.beat_ages_s(), NOW) == [
        f"{name} is {state} (last exit: killed by SIGKILL)"
    ]


@pytest.mark.parametrize("name", ["state", "signer"])
def test_a_loop_that_beats_late_is_trouble_before_it_is_killed(name):
    assert BEAT_LATE_S < HUNG_AFTER_S
    board = FakeBoard()
    board.ages[name] = BEAT_LATE_S + 0.5
    assert find_trouble(board.sections(), board.beat_ages_s(), NOW) == [f"{name} has not beaten for 3.0 s"]
    board.ages[name] = BEAT_LATE_S
    assert find_trouble(board.sections(), board.beat_ages_s(), NOW) == []
    board.ages[name] = None
    assert find_trouble(board.sections(), board.beat_ages_s(), NOW) == [f"{name} has not beaten yet"]


@pytest.mark.parametrize("name", ["state", "signer"])
def test_a_child_that_is_missing_or_silent_is_trouble(name):
    board = FakeBoard()
    board.sections_now[name] = None
    assert find_trouble(board.sections(), board.beat_ages_s(), NOW) == [f"{name} has not reported yet"]
    board = FakeBoard()
    board.sections_now["supervisor"]["children"] = [
        c for c in board.sections_now["supervisor"]["children"] if c["name"] != name
    ]
    assert find_trouble(board.sections(), board.beat_ages_s(), NOW) == [f"{name} is not there"]


def test_without_the_supervisor_nothing_is_known_to_be_well():
    board = FakeBoard()
    board.sections_now["supervisor"] = None
    assert find_trouble(board.sections(), board.beat_ages_s(), NOW) == [
        "the supervisor has not reported its children yet"
    ]
