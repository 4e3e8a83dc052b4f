"""Where a signer stands is found by what it refuses; whatever it says, the heights stay heights."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometkms.limits import JUMP_HEIGHTS
from cometkms.model import Reason
from cometkms.operator.standin.search import HEIGHT_MAX, Search


def judge(mark: int, height: int) -> Reason:
    """As the rules do."""
    if height <= mark:
        return Reason.HEIGHT_REGRESSION
    return Reason.JUMP if mark and height > mark + JUMP_HEIGHTS else Reason.NONE


@given(st.integers(0, 1 << 50))
def test_a_height_above_any_mark_is_found_in_few_tries(mark: int) -> None:
    search = Search()
    for _ in range(100):
        reason = judge(mark, search.height)
        if reason is Reason.NONE:
            break
        assert search.refused(reason)
    assert mark < search.height <= mark + max(JUMP_HEIGHTS, mark)
    found = search.height
    search.signed()
    assert (search.height, search.refusals) == (found + 1, 0)


@pytest.mark.parametrize("reason", [Reason.WRONG_CHAIN, Reason.BAD_TYPE, Reason.EMPTY_CHAIN, 4711])
def test_what_another_height_does_not_cure_is_asked_for_again(reason: int) -> None:
    search = Search(height=7)
    for number in range(1, 50):
        assert not search.refused(reason)
        assert (search.height, search.refusals) == (7, number)


@given(st.lists(st.sampled_from([int(one) for one in Reason]), max_size=300))
def test_no_answers_make_a_height_that_is_none(codes: list[int]) -> None:
    search = Search()
    for code in codes:
        search.refused(code)
        assert 1 <= search.height <= HEIGHT_MAX


def test_a_signer_that_stands_above_what_was_too_high_for_another_is_found() -> None:
    """The first finds 6224 too high; then one comes that has promised everything up to a million."""
    search = Search(height=6000)
    search.signed()
    while search.refused(judge(6222, search.height) if search.height <= 6223 else Reason.JUMP):
        assert search.refusals < 100
    tries = 0
    while judge(1_234_700, search.height) is not Reason.NONE:
        tries += 1
        search.refused(judge(1_234_700, search.height))
        assert tries < 100
