"""How high a chain can have come: a bound by time, whoever asks and however often (rule 13)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometkms.limits import HEIGHT_MAX, JUMP_HEIGHTS, JUMP_HEIGHTS_PER_S, JUMP_SIGNED_PER_S, SIGN_STATE_HEIGHTS
from cometkms.model import HRS, Watermark
from cometkms.rules.jump import Known, admitted, learned, plausible, reach
from cometkms.rules.recovery import absurd

NOW = 1_700_000_000.0
WEEK_S, YEAR_S = 7 * 86400.0, 365 * 86400.0


def test_of_a_row_in_which_nothing_is_known_any_height_is_plausible() -> None:
    assert reach(None, NOW) == HEIGHT_MAX
    assert learned(None, 199_000_000, NOW) == admitted(None, 199_000_000, NOW) == Known(199_000_000, NOW)


@pytest.mark.parametrize(
    ("since_s", "heights"),
    [
        (0.0, JUMP_HEIGHTS),
        (1.0, JUMP_HEIGHTS + JUMP_HEIGHTS_PER_S),
        # the whole cluster was stopped; the key was jailed
        (WEEK_S, JUMP_HEIGHTS + int(WEEK_S) * JUMP_HEIGHTS_PER_S),
        (-YEAR_S, JUMP_HEIGHTS),  # the clock went back
    ],
)
def test_the_reach_grows_with_the_time_since_the_last_signature(since_s: float, heights: int) -> None:
    assert reach(Known(100, NOW), NOW + since_s) == 100 + heights


def test_no_chain_that_there_is_ever_comes_near_it() -> None:
    """Blocks of 0.4 s, and a key that was jailed for five days."""
    known = Known(100, NOW)
    for block in range(1, 5000):
        assert reach(known, NOW + 0.4 * block) >= 100 + block + JUMP_HEIGHTS - 1
        known = learned(known, 100 + block, NOW + 0.4 * block)
    days = 5 * 86400.0
    assert reach(known, known.at + days) > known.height + days / 0.4


@given(
    st.lists(st.tuples(st.floats(0, 10), st.integers(1, 3 * JUMP_HEIGHTS)), min_size=1, max_size=60),
    st.floats(0, 1.0),
)
def test_whoever_gets_everything_signed_raises_it_by_a_bound_of_time(
    steps: list[tuple[float, int]], first: float
) -> None:
    known, now = Known(1000, NOW), NOW + first
    for pause_s, heights in steps:
        now += pause_s
        asked = known.height + heights
        if asked <= reach(known, now):
            known = learned(known, asked, now)
        per_s = JUMP_SIGNED_PER_S + JUMP_HEIGHTS_PER_S
        assert known.height <= 1000 + JUMP_HEIGHTS + per_s * (now - NOW) + 1e-3 * len(steps)


def test_one_height_after_another_is_never_held_up() -> None:
    """A replay, a trial or a measurement: as quick as this program signs, learned of one by one, or
    every so many heights.
    """
    for heights, every_s in ((1, 1 / 4000), (SIGN_STATE_HEIGHTS, SIGN_STATE_HEIGHTS / 4000)):
        known = Known(100, NOW)
        for number in range(1, 5000):
            now = NOW + number * every_s
            assert reach(known, now) >= known.height + 2 * heights
            known = learned(known, known.height + heights, now)


def test_what_a_long_skip_took_comes_back_with_time() -> None:
    known = learned(Known(100, NOW), 100 + JUMP_HEIGHTS, NOW)
    assert reach(known, NOW) == 100 + JUMP_HEIGHTS
    assert reach(known, NOW + 0.5 * JUMP_HEIGHTS / JUMP_SIGNED_PER_S) == pytest.approx(100 + 1.5 * JUMP_HEIGHTS, abs=3)
    assert reach(known, NOW + 1) == 100 + 2 * JUMP_HEIGHTS + JUMP_HEIGHTS_PER_S


@given(st.lists(st.tuples(st.floats(-YEAR_S, YEAR_S), st.integers(0, HEIGHT_MAX)), max_size=30))
def test_whatever_the_clock_does_what_is_known_never_falls(steps: list[tuple[float, int]]) -> None:
    known: Known | None = None
    for at, height in steps:
        after = learned(known, height, NOW + at)
        assert known is None or after.height == max(known.height, height)
        assert 0 <= after.spent <= JUMP_HEIGHTS
        assert after.height <= reach(after, NOW + at) <= HEIGHT_MAX
        known = after


def test_one_that_is_proven_far_above_the_reach_leaves_nothing_to_skip_at_once() -> None:
    known = learned(Known(100, NOW), 5_000_000, NOW + 1)
    assert reach(known, NOW + 1) == 5_000_000
    assert reach(known, NOW + 2) == 5_000_000 + JUMP_HEIGHTS + JUMP_HEIGHTS_PER_S


def test_the_operators_word_admits_a_height_and_never_lowers_what_is_known() -> None:
    known = admitted(Known(100, NOW), 9_000_000, NOW)
    assert reach(known, NOW) == 9_000_000 + JUMP_HEIGHTS
    assert admitted(known, 50, NOW + 1) == known


def test_a_members_unproven_mark_is_held_against_what_is_known_here_and_what_the_others_say() -> None:
    assert plausible(0, []) == 0
    assert plausible(0, [0, 700]) == 700 + JUMP_HEIGHTS
    assert plausible(5000, [700]) == 5000
    read = {"b": Watermark(HRS(5001, 0, 1), b"x", b"s"), "c": Watermark(HRS(700, 0, 1))}
    assert absurd(5000, read, verifies=lambda _: False) == "b"
    assert absurd(5001, read, verifies=lambda _: False) is None
    assert absurd(5000, read, verifies=lambda _: True) is None
    assert absurd(0, {"b": read["b"]}, verifies=lambda _: False) is None, "nothing is known of the row"
