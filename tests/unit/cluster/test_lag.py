"""A member's lag is what was promised here since its last acknowledgement."""

from cometkms.cluster.lag import Lag, LagMeter
from cometkms.model import HRS


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
