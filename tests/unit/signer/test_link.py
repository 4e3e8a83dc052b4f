"""A validator's connection: who only earns refusals is read ever more slowly, and never sent away."""

import asyncio
import socket
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cometkms.address import Address
from cometkms.board.sections import LinkState
from cometkms.core import choose
from cometkms.errors import said
from cometkms.limits import FAILING_GONE_S, REFUSED_PAUSE_MAX_S, REFUSED_PAUSE_MIN_S, SIGNED_LATELY_S, TURN_MAX_NS
from cometkms.model import HRS, Kind, Line, Reason, Request, Timestamp
from cometkms.net import opening
from cometkms.signer.answers import Answers
from cometkms.signer.link import ValidatorLink
from cometkms.wire.identity import Identity


class Timers:
    """A loop's timers that tests let pass."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop, self.waits = loop, list[float]()
        self.due: list[Callable[[], None]] = []

    def call_later(self, delay: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        self.waits.append(delay)
        self.due.append(callback)
        return self.loop.call_later(1000, lambda: None)

    def call_soon(self, callback: Callable[[], None]) -> asyncio.Handle:
        self.due.append(callback)
        return self.loop.call_soon(lambda: None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loop, name)

    def run_out(self) -> None:
        due, self.due = self.due, []
        for callback in due:
            callback()


def pauses(work: Callable[[ValidatorLink, Timers], None]) -> None:
    async def main() -> None:
        link = ValidatorLink(
            name="v", number=0, dial=cast("Any", None), target=Address("127.0.0.1", 1), chain=cast("Any", None), core=cast("Any", None),
            identity=Identity.generate(), settle=lambda: None, log=cast("Any", None),
        )  # fmt: skip
        timers = Timers(asyncio.get_running_loop())
        link._loop = cast("Any", timers)
        work(link, timers)

    asyncio.run(main())


def refuse(link: ValidatorLink, timers: Timers, times: int) -> list[float]:
    for _ in range(times):
        link.deliver(b"", refused=True)
        assert link._held()
        timers.run_out()
        assert not link._held()
    waits, timers.waits = timers.waits, []
    return waits


def test_each_refusal_in_a_row_doubles_the_pause_up_to_its_bound() -> None:
    def work(link: ValidatorLink, timers: Timers) -> None:
        waits = refuse(link, timers, 10)
        assert waits == [min(REFUSED_PAUSE_MIN_S * 2**number, REFUSED_PAUSE_MAX_S) for number in range(10)]
        assert waits[-1] == REFUSED_PAUSE_MAX_S

    pauses(work)


def test_a_signature_ends_the_slowness_and_a_ping_does_not() -> None:
    def work(link: ValidatorLink, timers: Timers) -> None:
        refuse(link, timers, 4)
        link.deliver(b"")
        assert refuse(link, timers, 1) == [REFUSED_PAUSE_MIN_S * 16]
        link.deliver(b"", refused=False)
        assert refuse(link, timers, 1) == [REFUSED_PAUSE_MIN_S]
        refuse(link, timers, 4)
        link.on_answered()  # by the hot path
        assert refuse(link, timers, 1) == [REFUSED_PAUSE_MIN_S]

    pauses(work)


def test_a_connection_that_ends_while_it_is_slow_leaves_no_timer() -> None:
    def work(link: ValidatorLink, timers: Timers) -> None:
        link.deliver(b"", refused=True)
        resting = link._resting
        assert resting is not None
        link._drop("closed")
        assert resting.cancelled()
        assert not link._held()

    pauses(work)


def test_what_failed_is_past_seconds_after_the_validator_left_however_often_it_is_dialled() -> None:
    def work(link: ValidatorLink, timers: Timers) -> None:
        answers, now = Answers(), 1000.0
        link.chain = cast("Any", SimpleNamespace(answers=answers))
        cast("Any", timers).time = lambda: now
        link._enter(LinkState.CONNECTED)
        for at in (10.0, 11.0):
            answers.on_failed("v", at, Reason.JUMP, "")
        for _ in range(3):  # it reconnects for each request
            link._enter(LinkState.WAITING)
            now += FAILING_GONE_S - 1
            assert link.document()["failing"] is not None
            link._enter(LinkState.CONNECTED)
        now += 10 * SIGNED_LATELY_S
        assert link.document()["failing"] is not None, "it asks seldom"
        link._enter(LinkState.WAITING)
        for state in (LinkState.DIALING, LinkState.WAITING, LinkState.STANDBY, LinkState.HANDSHAKE):
            assert link.document()["failing"] is not None
            now += FAILING_GONE_S / 4
            link._enter(state)
        assert link.document()["failing"] is None
        now += SIGNED_LATELY_S
        link._enter(LinkState.CONNECTED)
        assert link.document()["failing"] is None, "of before"

    pauses(work)


class Pings:
    """A session with several that have arrived, each of which takes as long as a turn may."""

    partial, line = False, Line.UNKNOWN

    def __init__(self, left: int) -> None:
        self.left = left

    def next_request(self) -> Request | None:
        if self.left == 0:
            return None
        self.left -= 1
        return Request(Kind.PING_REQUEST, Reason.NONE, "", HRS(0, 0, 0), b"", Timestamp(0, 0), b"")

    def answer_pong(self) -> bytes:
        until_ns = time.monotonic_ns() + TURN_MAX_NS
        while time.monotonic_ns() < until_ns:
            pass
        return b""


def test_who_sends_many_requests_at_once_has_one_turn_and_then_everybody_else_has() -> None:
    """Pings are three bytes: twenty thousand arrive in one receive."""

    def work(link: ValidatorLink, timers: Timers) -> None:
        session = Pings(5)
        link._session = cast("Any", session)
        link._pump(0)
        for left in (4, 3, 2, 1, 0):
            assert session.left == left
            assert link._held(), "nothing more is read meanwhile"
            timers.run_out()
        assert not link._held()
        assert link.requests == 5

    pauses(work)


@pytest.mark.parametrize("data", [b"", b"\x22"])
def test_who_takes_the_connection_and_sends_no_handshake_is_not_told_as_a_firewall(
    monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    monkeypatch.setattr(opening, "HANDSHAKE_TIMEOUT_S", 0.1)

    async def main() -> str:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            theirs.sendall(data)
            with pytest.raises(TimeoutError) as told:
                await opening.open_session(ours, Address("127.0.0.1", 1), "c", choose.load(), Identity.generate())
        return said(told.value)

    assert asyncio.run(main()).startswith("it takes the connection, and no handshake came within 0.1 s")
