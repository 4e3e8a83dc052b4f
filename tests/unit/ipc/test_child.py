"""What a child's loop does at its heartbeat: everything that it does a few times a
second, in one wake-up.
"""

import asyncio
import os
from typing import Any

import pytest

from cometkms.board.status_board import Board
from cometkms.ipc.child import ChildContext, run_loop

BEATS = 6


class CountingLog:
    """Counts how often it is asked to write."""

    def __init__(self) -> None:
        self.flushes = 0

    def __getattr__(self, _name: str) -> Any:
        return lambda *_a, **_k: None

    def flush(self, deadline_s: float = 0.0) -> None:
        self.flushes += 1


def live(context: ChildContext, log: CountingLog, at_beat: Any, done: asyncio.Event) -> int:
    async def main(_stop: asyncio.Event) -> None:
        context.on_beat(at_beat)
        context.ready()
        await done.wait()

    return run_loop(context, main, log)


def test_what_goes_with_the_heartbeat_is_called_once_for_each_and_the_log_is_written_at_every_second_one() -> None:
    board = Board(("child",), ("child",))
    reader, writer = os.pipe()
    context, log, seen, done = ChildContext("child", writer, board), CountingLog(), list[int](), asyncio.Event()

    def at_beat() -> None:
        seen.append(board.last_beat("child"))
        if len(seen) == BEATS:
            done.set()

    assert live(context, log, at_beat, done) == 0
    os.close(reader)
    os.close(writer)
    assert len(set(seen)) == BEATS, "each saw a beat of its own"
    assert log.flushes == BEATS // 2 + 2, "at the start, at every second beat, and at the end"


def test_what_fails_at_a_heartbeat_ends_the_process_with_its_reason() -> None:
    board = Board(("child",), ("child",))
    reader, writer = os.pipe()

    def at_beat() -> None:
        raise ValueError("it cannot be written")

    with pytest.raises(ValueError, match="it cannot be written"):
        live(ChildContext("child", writer, board), CountingLog(), at_beat, asyncio.Event())
    os.close(reader)
    os.close(writer)


def test_nothing_goes_with_a_heartbeat_any_more_when_the_process_has_done_its_work() -> None:
    """The loop still ends its tasks, which takes a while on a busy machine: what a late heartbeat
    would look at is closed by then, and the stop ended with an error.
    """
    board = Board(("child",), ("child",))
    reader, writer = os.pipe()
    context, late, over = ChildContext("child", writer, board), list[str](), list[str]()

    async def slow_to_end() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.2)
            late.append("it ended")

    async def main(_stop: asyncio.Event) -> None:
        context.on_beat(lambda: late.append("beat") if over else None)
        tasks.append(asyncio.create_task(slow_to_end()))
        context.ready()
        await asyncio.sleep(0.05)
        over.append("over")

    tasks: list[asyncio.Task[None]] = []
    assert run_loop(context, main, CountingLog(), beat_s=0.01) == 0
    assert late == ["it ended"]
    os.close(reader)
    os.close(writer)
