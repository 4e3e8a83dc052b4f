"""The state process's ticks: on both event loops, with every idle time that a node asks for."""

import asyncio
import time
from collections.abc import Callable

import pytest
import uvloop

from cometkms.state.ticks import Ticks

LOOPS = (asyncio.new_event_loop, uvloop.new_event_loop)


@pytest.fixture(params=LOOPS, ids=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoop:
    """One that is closed afterwards, and that raises what its callbacks raised."""
    loop: asyncio.AbstractEventLoop = request.param()
    raised: list[BaseException] = []
    loop.set_exception_handler(lambda _loop, context: raised.append(context["exception"]))

    def close() -> None:
        loop.close()
        if raised:
            raise raised[0]

    request.addfinalizer(close)
    return loop


def counted(until: int, done: Callable[[], None]) -> tuple[list[float], Callable[[], None]]:
    """A step that notes each call and calls `done` at the given one."""
    calls: list[float] = []

    def step() -> None:
        calls.append(0.0)
        if len(calls) == until:
            done()

    return calls, step


@pytest.mark.parametrize("idle_s", [0.0, 0.0001, 0.0004, 0.0006, 0.002])
def test_a_kick_meets_a_timer_of_any_length(loop: asyncio.AbstractEventLoop, idle_s: float) -> None:
    """Uvloop's shortest timers are handles without a time: a kick beside one must not
    end the process.
    """
    calls, step = counted(8, loop.stop)

    def look() -> None:
        step()
        ticks.kick()

    ticks = Ticks(loop, step=look, idle_for_s=lambda: idle_s)
    ticks.start(idle_s)
    ticks.kick()
    loop.run_forever()
    assert len(calls) >= 8


def test_a_kick_brings_a_far_tick_nearer(loop: asyncio.AbstractEventLoop) -> None:
    """The first look is an hour away; what the kick's look asks for is done instead."""
    idle = iter([0.001, 3600.0, 3600.0])
    calls, step = counted(2, loop.stop)
    ticks = Ticks(loop, step=step, idle_for_s=lambda: next(idle))
    ticks.start(3600.0)
    ticks.kick()
    loop.run_forever()
    assert len(calls) == 2


def test_a_kick_does_not_put_off_a_tick(loop: asyncio.AbstractEventLoop) -> None:
    """The look that stands in the calendar comes, whatever a kick's look asks for."""
    calls, step = counted(2, loop.stop)
    ticks = Ticks(loop, step=step, idle_for_s=lambda: 3600.0)
    ticks.start(0.001)
    ticks.kick()
    loop.run_forever()
    assert len(calls) == 2


def test_a_long_wait_is_not_over_before_what_it_waits_for_is_due(loop: asyncio.AbstractEventLoop) -> None:
    """The node's clock is finer than the loop's: a look that comes early finds nothing to do, and
    is one wake-up too many.
    """
    early: list[float] = []
    waits = iter([0.0200, 0.0203, 0.0207, 0.0211, 0.0246, 0.0249, 0.0258, 0.0292, 3600.0])
    due = time.monotonic()

    def step() -> None:
        early.append(max(0.0, due - time.monotonic()))

    def idle_for_s() -> float:
        nonlocal due
        wait = next(waits)
        if wait > 1:
            loop.stop()
        due = time.monotonic() + wait
        return wait

    Ticks(loop, step=step, idle_for_s=idle_for_s).start(0.001)
    loop.run_forever()
    assert early == [0.0] * 9


def test_kicks_in_one_round_are_one_look(loop: asyncio.AbstractEventLoop) -> None:
    """However often it is kicked before the loop comes round."""
    calls, step = counted(99, loop.stop)
    ticks = Ticks(loop, step=step, idle_for_s=lambda: 3600.0)
    ticks.start(3600.0)
    for _ in range(5):
        ticks.kick()
    loop.call_soon(lambda: loop.call_soon(loop.stop))
    loop.run_forever()
    assert len(calls) == 1


def test_when_they_are_stopped_neither_a_timer_nor_a_kick_looks_any_more(loop: asyncio.AbstractEventLoop) -> None:
    calls, step = counted(-1, lambda: None)
    ticks = Ticks(loop, step=step, idle_for_s=lambda: 0.0001)
    ticks.start(0.0)
    loop.call_later(0.02, loop.stop)
    loop.run_forever()
    assert calls
    before = len(calls)
    ticks.kick()
    ticks.stop()
    ticks.kick()
    loop.call_later(0.02, loop.stop)
    loop.run_forever()
    assert len(calls) == before
