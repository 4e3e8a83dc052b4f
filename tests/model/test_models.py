"""The quick models: the protocol as it is holds, and each rule that is taken away makes one fail.

All of them: `make model`.
"""

import pytest

from tests.model import birth
from tests.model.__main__ import CASES, Case
from tests.model.incarnations import Protocol, walk


@pytest.mark.parametrize("case", [case for case in CASES if case.quick], ids=lambda case: case.name)
def test_the_model_turns_out_as_expected(case: Case) -> None:
    result = case.run()
    assert result.holds == case.expected, "\n".join(result.trace) or str(result)


def test_birth_without_losses_never_gets_stuck() -> None:
    assert birth.deadlocks(2, 0) == 0


#: Five members, two of them replaced at once: the new 0 counts "I am recovering too" of the new 1
#: beside answers of members that still count the old 1.
TWO_OF_FIVE = (
    "1a proposes 1",
    "0 is REPLACED, 0a lives on",
    "1 is REPLACED, 1a lives on",
    "0b takes 1",
    "1b takes 1",
    "0b reads None from 1b",
    "0b reads (-1, 0) from 2a",
    "0b reads (-1, 0) from 3a",
    "0b reads (-1, 0) from 4a",
    "0b is complete at (-1, 0)",
    "0a accepts 1 for 1a",
    "2a accepts 1 for 1a",
    "3a proposes 2",
    "0b accepts 2 for 3a",
    "4a accepts 2 for 3a",
)


def test_of_five_an_answer_counts_once_it_knows_the_others_that_count() -> None:
    """Too many states to search: this one way is gone, and with the rule it ends where it must."""
    assert walk(Protocol(nodes=5, replaced=2, victims=(0, 1), agree=False), TWO_OF_FIVE) == (True, "")
    stopped = walk(Protocol(nodes=5, replaced=2, victims=(0, 1)), TWO_OF_FIVE)
    assert stopped == (False, "0b is complete at (-1, 0)")


#: Of three, 1 and 2 promise, and are lost, born.json too, while 0 is born and has heard
#: nothing since.
TWO_OF_THREE_LOST = (
    *("0 sees 1 EMPTY", "0 sees 2 EMPTY", "0 becomes BORN"),
    *("1 sees 0 BORN", "1 sees 2 EMPTY", "1 becomes BORN"),
    *("2 sees 0 BORN", "2 sees 1 BORN", "2 becomes BORN"),
    *("1 sees 2 BORN", "1 becomes COMPLETE", "1 promises 1"),
    *("2 becomes COMPLETE", "2 promises 1"),
    *("1 LOSES everything", "0 sees 1 EMPTY", "2 LOSES everything", "0 sees 2 EMPTY"),
    *("1 sees 0 BORN", "1 sees 2 EMPTY", "1 becomes BORN"),
    *("2 sees 0 BORN", "2 sees 1 BORN", "2 becomes BORN"),
    *("1 sees 2 BORN", "1 becomes COMPLETE", "1 promises 2"),
    *("2 becomes COMPLETE", "2 promises 2"),
)


def test_of_three_two_that_promised_and_are_lost_are_not_born_again_beside_the_third() -> None:
    """Two losses have too many states to search with the rule; without it this is the shortest way
    to two signatures.
    """
    assert birth.walk(birth.ANY_STORES, TWO_OF_THREE_LOST) == (True, "")
    assert birth.walk(birth.Rule(), TWO_OF_THREE_LOST) == (False, "1 becomes BORN")
