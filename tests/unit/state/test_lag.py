"""A member's lag is what was promised here since its last acknowledgement."""

from cometkms.model import HRS
from cometkms.state.lag import Acknowledged, Lag, LagMeter


def at(*heights: int) -> tuple[HRS, ...]:
    return tuple(HRS(height, 0, 3) for height in heights)


def test_a_member_that_acknowledges_has_none_however_far_apart_the_stores_began() -> None:
    meter = LagMeter()
    for step in range(5):
        assert meter.look("b", 1_000_000 + step, 7 + step, at(100 + step)) == Lag(0, (0,))


def test_a_silent_member_falls_behind_in_promises_and_in_heights_of_each_chain() -> None:
    meter = LagMeter()
    meter.look("b", 50, 10, at(100, 7))
    assert meter.look("b", 50, 13, at(101, 7)) == Lag(3, (1, 0))
    assert meter.look("b", 50, 20, at(103, 9)) == Lag(10, (3, 2))
    assert meter.look("b", 51, 21, at(104, 9)) == Lag(0, (0, 0))


def test_members_are_apart_and_a_lag_is_never_negative() -> None:
    meter = LagMeter()
    meter.look("b", 1, 10, at(5))
    assert meter.look("c", 1, 12, at(6)) == Lag(0, (0,))
    assert meter.look("b", 1, 12, at(4)) == Lag(2, (0,))


def test_what_a_member_promised_is_known_from_its_acknowledgements_and_never_ahead_of_them() -> None:
    meter = LagMeter()
    meter.look("b", 50, 10, at(100), 1.0)
    assert meter.acknowledged("b") is None, "nothing was asked of it yet"
    meter.look("b", 51, 11, at(101), 2.0)
    assert meter.acknowledged("b") == Acknowledged(1.0, at(100)), "it may be the answer to what stood at the last look"
    meter.look("b", 51, 11, at(101), 3.0)
    assert meter.acknowledged("b") == Acknowledged(3.0, at(101)), "nothing is owed, and nothing is under way"
    meter.look("b", 51, 12, at(102), 4.0)
    meter.look("b", 51, 12, at(102), 5.0)
    assert meter.acknowledged("b") == Acknowledged(3.0, at(101)), "it has not answered"
    meter.look("b", 52, 12, at(102), 6.0)
    assert meter.acknowledged("b") == Acknowledged(6.0, at(102))
