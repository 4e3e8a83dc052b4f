"""Which of the stores that ever stood for a member counts, and which answers do."""

import pytest

from cometkms.limits import (
    INCARNATION_MAX,
    INCARNATION_ROOM,
    RAFT_COUNTED_FROM_UNIX_S,
    SEQ_RAISE_MAX,
    SEQ_RAISED_MAX,
    SEQ_STEP_MAX,
)
from cometkms.model import Incarnation
from cometkms.rules.incarnation import (
    FIRST,
    Answer,
    Verdict,
    believable_seq,
    counting,
    incarnation_ceiling,
    judge,
    next_incarnation,
    raised_seq,
)

ONE, OTHER, TWO = Incarnation(1, 5), Incarnation(1, 9), Incarnation(2, 1)


@pytest.mark.parametrize(
    ("recorded", "borne", "verdict"),
    [
        (FIRST, FIRST, Verdict.TAKE),
        (ONE, ONE, Verdict.TAKE),
        (FIRST, ONE, Verdict.RECORD),
        (ONE, OTHER, Verdict.RECORD),
        (OTHER, ONE, Verdict.REFUSE),
        (TWO, OTHER, Verdict.REFUSE),
        (ONE, FIRST, Verdict.REFUSE),
        (FIRST, Incarnation(INCARNATION_ROOM, 1), Verdict.RECORD),
        (FIRST, Incarnation(INCARNATION_ROOM + 1, 1), Verdict.ABSURD),
        (TWO, Incarnation(INCARNATION_ROOM + 1, 0), Verdict.ABSURD),
    ],
)
def test_what_bears_an_incarnation(recorded: Incarnation, borne: Incarnation, verdict: Verdict) -> None:
    assert judge(recorded, borne) is verdict


def test_the_ceiling_grows_with_the_calendar_and_no_liar_reaches_the_end_of_numbers() -> None:
    now = RAFT_COUNTED_FROM_UNIX_S + 3600.0
    assert incarnation_ceiling(0.0) == INCARNATION_ROOM
    taken = Incarnation(incarnation_ceiling(now), 1)
    assert judge(FIRST, taken, incarnation_ceiling(now)) is Verdict.RECORD
    after = next_incarnation([taken], 7)
    assert judge(taken, after, incarnation_ceiling(now)) is Verdict.ABSURD
    assert judge(FIRST, after, incarnation_ceiling(now + 1)) is Verdict.RECORD, "also by one that the liar told nothing"
    assert incarnation_ceiling(now + 1000 * 365 * 86400) < INCARNATION_MAX


def test_the_next_is_above_all_that_are_known_whatever_their_nonces() -> None:
    assert next_incarnation([], 7) == (1, 7)
    assert next_incarnation([FIRST, OTHER, ONE], 3) == (2, 3)
    assert next_incarnation([TWO, ONE], 0) > TWO


def test_a_seq_moves_by_what_promises_can_make() -> None:
    assert believable_seq(5, 5 + SEQ_STEP_MAX)
    assert believable_seq(5, 0)
    assert not believable_seq(5, 6 + SEQ_STEP_MAX)


def test_an_accusation_raises_a_seq_by_what_can_have_been_forgotten() -> None:
    assert raised_seq(5, 9) == 10
    assert raised_seq(5, 5 + SEQ_RAISE_MAX) == 6 + SEQ_RAISE_MAX
    assert raised_seq(5, 6 + SEQ_RAISE_MAX) == 5
    assert raised_seq(9, 5) == 9
    assert raised_seq(SEQ_RAISED_MAX - 3, SEQ_RAISED_MAX - 1) == SEQ_RAISED_MAX
    assert raised_seq(SEQ_RAISED_MAX, SEQ_RAISED_MAX) == SEQ_RAISED_MAX


def names(
    answers: dict[str, Answer], records: dict[str, Incarnation] | None = None, mine: Incarnation = ONE
) -> set[str]:
    return set(counting("m", mine, records or {}, answers))


def real(incarnation: Incarnation = FIRST, **knows: Incarnation) -> Answer:
    return Answer(1, True, incarnation, {"m": ONE, **knows})


def test_an_answer_counts_of_who_has_recorded_the_reader() -> None:
    assert names({"x": real(), "y": Answer(2, True, FIRST, {})}) == {"x"}
    assert names({"x": real(m=OTHER)}) == set(), "another one began after it"


def test_an_answer_of_an_earlier_store_does_not_count() -> None:
    assert names({"x": real(), "y": real()}, {"x": TWO}) == {"y"}, "by the reader's own record"
    assert names({"x": real(), "y": real(x=ONE)}) == {"y"}, "by what another answer knows"
    assert names({"x": real(ONE), "y": real(x=ONE)}) == {"x", "y"}


def test_a_real_answer_counts_once_it_knows_the_others_that_count() -> None:
    assert names({"x": real(ONE), "y": real()}) == {"x"}
    declared = Answer(1, False, ONE, {"m": ONE})
    assert names({"x": declared, "y": real()}) == {"x"}
    assert names({"x": declared, "y": real(x=ONE)}) == {"x", "y"}


def test_a_dead_members_store_counts_unless_a_later_one_is_known() -> None:
    brought = Answer(0, True, ONE)
    assert names({"x": brought, "y": real(x=ONE)}) == {"x", "y"}
    assert names({"x": brought, "y": real(x=TWO)}) == {"y"}
