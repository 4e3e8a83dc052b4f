"""Which heights a leader missed, and why: what it never led through is not its own."""

import pytest

from cometkms.model import HRS
from cometkms.signer.tally import Missed, Tally

PROPOSAL, PREVOTE, PRECOMMIT = 1, 2, 3


def sign(tally: Tally, *heights: int, step: int = PRECOMMIT, round_: int = 0) -> None:
    for height in heights:
        tally.on_signed(HRS(height, round_, step), 1000.0 + height)


def missed(tally: Tally) -> tuple[int, int, int]:
    return tuple(tally.missed[cause] for cause in (Missed.UNANSWERED, Missed.VALIDATOR_AWAY, Missed.NOT_ASKED))  # type: ignore[return-value]


@pytest.fixture
def tally() -> Tally:
    return Tally()


def test_heights_that_follow_each_other_miss_nothing(tally: Tally) -> None:
    for height in range(5, 9):
        for step in (PROPOSAL, PREVOTE, PRECOMMIT):
            sign(tally, height, step=step, round_=height)
    kind = tally.kinds[PRECOMMIT]
    assert (kind.signed, kind.height, kind.round, kind.at) == (4, 8, 8, 1008.0)
    assert (kind.missed, kind.missed_last, missed(tally)) == (0, 0, (0, 0, 0))


def test_a_later_round_of_the_same_height_misses_nothing(tally: Tally) -> None:
    sign(tally, 5, 5, 5, 6)
    assert (tally.kinds[PRECOMMIT].signed, tally.kinds[PRECOMMIT].missed) == (4, 0)


def test_heights_between_two_signatures_are_missed_kind_by_kind(tally: Tally) -> None:
    sign(tally, 5, 6, 10, 11, step=PRECOMMIT)
    sign(tally, 5, 7, step=PREVOTE)
    assert (tally.kinds[PRECOMMIT].missed, tally.kinds[PRECOMMIT].missed_last) == (3, 0)
    assert (tally.kinds[PREVOTE].missed, tally.kinds[PREVOTE].missed_last) == (1, 1)
    assert missed(tally) == (0, 0, 3)


def test_a_height_that_was_answered_empty_and_then_signed_is_not_missed(tally: Tally) -> None:
    sign(tally, 5)
    tally.on_unanswered(HRS(6, 0, PREVOTE))
    tally.on_unanswered(HRS(6, 0, PRECOMMIT))
    sign(tally, 6, 8)
    assert missed(tally) == (0, 0, 1)


def test_heights_that_were_asked_for_and_answered_empty_are_told_apart_from_those_nobody_asked_for(
    tally: Tally,
) -> None:
    sign(tally, 5)
    for height in (6, 6, 7, 10):
        tally.on_unanswered(HRS(height, 0, PREVOTE))
    sign(tally, 10)  # 6 and 7 had empty answers, 8 and 9 none at all
    assert missed(tally) == (2, 0, 2)
    sign(tally, 12)
    assert missed(tally) == (2, 0, 3)


def test_heights_nobody_asked_for_while_a_connection_was_made_anew_are_the_validators(tally: Tally) -> None:
    sign(tally, 5)
    tally.on_connected()
    sign(tally, 9, 11)
    assert missed(tally) == (0, 3, 1)


def test_what_happened_under_another_lease_is_not_missed_here(tally: Tally) -> None:
    sign(tally, 5)
    tally.on_unanswered(HRS(6, 0, PREVOTE))
    tally.on_connected()
    tally.on_lease_lost()
    sign(tally, 100, 102)
    assert tally.kinds[PRECOMMIT].missed == 1
    assert missed(tally) == (0, 0, 1)


def test_the_first_signature_ever_misses_nothing(tally: Tally) -> None:
    tally.on_unanswered(HRS(900, 0, PREVOTE))
    sign(tally, 1000)
    assert (tally.kinds[PRECOMMIT].missed, missed(tally)) == (0, (0, 0, 0))


def test_the_causes_add_up_to_the_precommits_missed(tally: Tally) -> None:
    for height in (3, 4, 9, 20, 21, 30):
        if height % 2:
            tally.on_connected()
        tally.on_unanswered(HRS(height - 1, 0, PREVOTE))
        sign(tally, height)
    assert sum(missed(tally)) == tally.kinds[PRECOMMIT].missed == 22
