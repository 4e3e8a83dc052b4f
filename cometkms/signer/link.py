"""One validator's connection: dial, handshake, serve, dial again. Moves bytes; decides nothing.

    STANDBY ── lease ──▶ DIALING ──▶ HANDSHAKE ──▶ CONNECTED ──▶ WAITING (back-off) ──▶ DIALING …

While CONNECTED everything happens in the loop's readable callback: receive → session → critical
section → send. A request that waits for its permit stops the reading; the answer starts it again. A
refusal never closes the connection.
"""

import asyncio
import errno
import math
import os
import random
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Final

from cometkms.board.sections import LinkState, ValidatorReport
from cometkms.core.interface import Core, Session, SignLane, Turn
from cometkms.errors import ProtocolError, said
from cometkms.limits import (
    IDLE_TIMEOUT_S,
    PARTIAL_MESSAGE_TIMEOUT_S,
    REDIAL_MAX_S,
    REDIAL_MIN_S,
    REFUSED_PAUSE_MAX_S,
    REFUSED_PAUSE_MIN_S,
    TURN_MAX_NS,
    WRITE_TIMEOUT_S,
)
from cometkms.logger import Logger
from cometkms.model import BYTES_KINDS, Dialect, Kind, Line, Reason, Refusal, Request
from cometkms.net.opening import open_session, perhaps_not_listed
from cometkms.net.outbox import Outbox
from cometkms.net.reading import to_the_end
from cometkms.net.target import Target
from cometkms.signer.chain import ChainSigner
from cometkms.wire.dialect import line_words
from cometkms.wire.identity import Identity

# unread answers; a validator asks one at a time, so that it never holds more than one
_OUTBOX_BYTES: Final = 64 << 10
_CLOSED: Final = "closed by the validator"
_GONE: Final = frozenset({_CLOSED, *(os.strerror(number).lower() for number in (errno.ECONNRESET, errno.EPIPE))})


class ValidatorLink:
    """The connection to one validator address. A `Requester` of its chain."""

    def __init__(
        self,
        *,
        name: str,
        number: int,
        dial: Callable[[], Awaitable[socket.socket]],
        target: Target,
        chain: ChainSigner,
        core: Core,
        identity: Identity,
        settle: Callable[[], None],
        log: Logger,
        spin_ns: int = 0,
    ) -> None:
        """`name`: the address as configured; `dial`: makes a connection to it; `number`: its own
        among all links; `settle` may bring the answers that requests wait for, without leaving the
        callback; `spin_ns`: how long to look for the next request before going to sleep."""
        self.name = name
        self.state = LinkState.STANDBY
        self.since, self.since_mono = time.time(), time.monotonic()
        self.dialect: Dialect | None = None
        self.remote_identity = b""
        self.requests = 0
        self.connects = 0
        self.failed = 0  # attempts to connect that came to nothing …
        self.failed_in_row = 0  # … and how many since the last that did
        self.last_error = ""
        self._number = number
        self._dial = dial
        self._target = target
        self.chain = chain
        self._core = core
        self._identity = identity
        self._settle = settle
        self.spin_ns = spin_ns
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._session: Session | None = None
        self._lane: SignLane | None = None  # the core's hot path over this session, if it has one
        self._closed: asyncio.Future[str] | None = None
        self._busy = False  # a request waits for its answer
        self._pause_s = 0.0  # behind the last refusal
        # behind a refusal, or while everybody else has a turn
        self._resting: asyncio.Handle | None = None
        self._pumping = False
        self._paused = False  # the reader is off because of _busy
        self._outbox: Outbox | None = None
        self.heard_at = 0.0  # loop time
        self._left_at = -math.inf  # loop time at which it was connected last
        # the last connection ended without a word from the validator: another program's port, say
        self._mute = False
        self._partial_since: float | None = None
        self._line = Line.UNKNOWN  # of the last connection

    @property
    def line(self) -> str | None:
        """The validator's release line, such as "v1", or None while no vote on this (or, between
        two, on the last) connection told it."""
        return line_words(self.dialect, self._session.line if self._session is not None else self._line)

    def document(self) -> ValidatorReport:
        """Return what the status board shows."""
        return ValidatorReport(
            addr=self.name,
            state=self.state.value,
            since=self.since,
            since_mono=self.since_mono,
            dialect=self.dialect.name.lower() if self.dialect is not None else None,
            line=self.line,
            remote_identity=self.remote_identity.hex(),
            requests=self.requests,
            connects=self.connects,
            failed=self.failed,
            failed_in_row=self.failed_in_row,
            last_error=self.last_error,
            **self.chain.answers.document(self.name, self._away_s),
        )

    @property
    def _away_s(self) -> float:
        """Return for how long it has not been connected; 0: it is."""
        return 0.0 if self.state is LinkState.CONNECTED else self._loop.time() - self._left_at

    # --- what the critical section sees (signer.chain.Requester) ---

    def serves(self, session: Session) -> bool:
        """Whether that session's connection is still the open one."""
        return self._session is session

    def deliver(self, frame: bytes, *, refused: bool | None = None) -> None:
        """Write the pending request's answer, then go on reading; behind refusals only, a little
        later each time."""
        self._busy = False
        if refused:
            self._pause()
        elif refused is False:
            self._pause_s = 0.0
        self._write(frame)
        if not self._pumping:
            self._pump(time.monotonic_ns())
            self._resume()

    def on_answered(self) -> None:
        """The hot path wrote the pending request's answer, or what the socket took of it."""
        self._busy, self._pause_s = False, 0.0
        if self._outbox is not None:
            self._outbox.collect()
        self._pump(time.monotonic_ns())
        self._resume()

    # --- the life of the connection ---

    async def run(self) -> None:
        """Dial and serve for ever; the task is cancelled to stop."""
        backoff = REDIAL_MIN_S
        try:
            while True:
                served = await self._connect_and_serve()
                if served:  # it worked for a while: dial again at once
                    backoff = REDIAL_MIN_S
                    continue
                self._enter(LinkState.WAITING)
                await asyncio.sleep(backoff * random.uniform(0.75, 1.0))  # noqa: S311 - jitter, not a secret
                backoff = min(backoff * 2, REDIAL_MAX_S)
        finally:
            self._drop("stopped")
            self._enter(LinkState.STANDBY)

    async def _connect_and_serve(self) -> bool:
        """One connection from dial to close. True if a request was served on it."""
        served_before, connects_before = self.requests, self.connects
        try:
            self._enter(LinkState.DIALING)
            connection = await self._dial()
            try:
                self._enter(LinkState.HANDSHAKE)
                opened = await open_session(connection, self._target, self.chain.chain_id, self._core, self._identity)
            except BaseException:
                connection.close()
                raise
            self.dialect, self.remote_identity = opened.dialect, opened.remote_identity
            why = await self._serve(connection, opened.session)
        except (OSError, ProtocolError) as error:
            why = said(error)
        if self.connects == connects_before:
            self.failed += 1
            self.failed_in_row += 1
        else:
            self._mute = self.requests == served_before
            if self._mute and why in _GONE:
                why += perhaps_not_listed(self._target, self._identity)
        if why != self.last_error or self.requests != served_before:
            self._log.info("validator not connected", validator=self.name, chain=self.chain.chain_id, why=why)
        self.last_error = why
        self._drop(why)
        return self.requests != served_before

    async def _serve(self, connection: socket.socket, session: Session) -> str:
        """Serve until the connection closes; return why it did."""
        self._socket, self._session = connection, session
        self._lane = self.chain.lane(self._number, self, session, connection.fileno())
        self._outbox = Outbox(
            connection, lost=lambda error: self._drop(said(error)), lane=self._lane, progress=self._on_progress
        )
        self._closed = self._loop.create_future()
        self._busy = self._paused = False
        self._pause_s = 0.0
        self._partial_since = None
        self.heard_at = self._loop.time()
        self.connects += 1
        self.failed_in_row = 0
        if not self._mute:
            self._on_connected()
        self._reader = to_the_end(connection, self._on_readable, paused=lambda: self._paused)
        self._loop.add_reader(connection.fileno(), self._reader)
        before = self.requests
        self._pump(time.monotonic_ns())  # what came behind the handshake
        if self._mute and self.requests != before:
            self._on_connected()
        return await self._closed

    def _on_connected(self) -> None:
        """The validator is there. One that left without a word is not, until it says one: whoever
        only takes connections and hangs up asks for nothing."""
        self._mute = False
        self._enter(LinkState.CONNECTED)
        dialect = self.dialect.name.lower() if self.dialect is not None else ""
        self._log.info("validator connected", validator=self.name, chain=self.chain.chain_id, dialect=dialect)

    def check_deadlines(self) -> None:
        """Close what stalls. Called from the process's timer, about once a second."""
        if self._session is None:
            return
        now = self._loop.time()
        if self._partial_since is not None and now - self._partial_since > PARTIAL_MESSAGE_TIMEOUT_S:
            self._drop(f"a message stayed unfinished for {PARTIAL_MESSAGE_TIMEOUT_S:g} s")
        elif self._outbox and now - self._outbox.since > WRITE_TIMEOUT_S:
            self._drop(f"did not read its answer for {WRITE_TIMEOUT_S:g} s")
        elif not self._busy and now - self.heard_at > IDLE_TIMEOUT_S:
            self._drop(f"silent for {IDLE_TIMEOUT_S:g} s")

    # --- the hot path ---

    def _on_readable(self) -> None:
        """Serve what arrived; then, for a moment, what follows: a validator's next request is often
        near, and a wake-up dear."""
        if self._socket is None:
            return
        if self._held():
            self._loop.remove_reader(self._socket.fileno())
            self._paused = True
            return
        now_ns = time.monotonic_ns()
        turn_ends_ns = now_ns + TURN_MAX_NS  # then the loop's timers have theirs
        while self._take() and now_ns < turn_ends_ns:
            now_ns = time.monotonic_ns()
            if not self._spin(min(turn_ends_ns, now_ns + self.spin_ns)):
                return

    def _spin(self, until_ns: int) -> bool:
        """Look for bytes without sleeping; whether there are any, or the end of the stream."""
        while self._socket is not None and not self._held() and time.monotonic_ns() < until_ns:
            try:
                self._socket.recv(1, socket.MSG_PEEK)
            except (BlockingIOError, InterruptedError):
                continue
            except OSError:
                pass  # _take() meets it again and says it
            return True
        return False

    def _take(self) -> bool:
        """Receive once and serve it. False when nothing was there, the connection ended, or a
        request waits for its permit."""
        if self._socket is None or self._session is None:
            return False
        started_ns = time.monotonic_ns()
        try:
            found = self._turn(self._socket, self._session)
        except (BlockingIOError, InterruptedError):
            return False
        except EOFError:
            self._drop(_CLOSED)
            return False
        except (OSError, ProtocolError) as error:
            self._drop(said(error))
            return False
        self.heard_at = self._loop.time()
        if self._mute:
            self._on_connected()
        if found is Turn.RESERVED:
            self._partial_since = None
            self._busy = True
            self.requests += 1
        else:
            self._pump(started_ns, found if isinstance(found, Request) else None)
        if self._busy:
            self._settle()
        return not self._held()

    def _turn(self, connection: socket.socket, session: Session) -> Request | Turn:
        """Receive once. Raises: BlockingIOError, EOFError, OSError, ProtocolError; see
        interface.SignLane."""
        if self._lane is not None:
            return self._lane.turn()
        size = connection.recv_into(session.inbox)
        if size == 0:
            raise EOFError
        session.received(size)
        return session.next_request() or Turn.NOTHING

    def _held(self) -> bool:
        """Whether nothing more is served for now: a request waits for its answer, or the answers
        are not read."""
        unread = len(self._outbox) if self._outbox is not None else 0
        return self._busy or self._resting is not None or unread > _OUTBOX_BYTES

    def _pause(self) -> None:
        """Who only earns refusals is answered ever more slowly, and never sent away: it may be
        right the next time."""
        self._pause_s = min(max(2 * self._pause_s, REFUSED_PAUSE_MIN_S), REFUSED_PAUSE_MAX_S)
        if self._resting is None:
            self._resting = self._loop.call_later(self._pause_s, self._rested)

    def _rested(self) -> None:
        self._resting = None
        self._pump(time.monotonic_ns())
        self._resume()

    def _pump(self, started_ns: int, request: Request | None = None) -> None:
        """Serve `request`, then every whole one that has arrived, one after the other. Thousands
        may have, of pings say: after a turn the loop's other work comes first."""
        self._pumping, served, turn_ends_ns = True, False, time.monotonic_ns() + TURN_MAX_NS
        try:
            while not self._held() and self._session is not None:
                if served and time.monotonic_ns() >= turn_ends_ns:
                    self._resting = self._loop.call_soon(self._rested)
                    return
                served = True
                request = request or self._session.next_request()
                if request is None:
                    self._note_partial()
                    return
                self._partial_since = None
                self._busy = True
                self.requests += 1
                self._dispatch(self._session, request, started_ns)
                request = None
        except ProtocolError as error:
            self._drop(said(error))
        finally:
            self._pumping = False

    def _note_partial(self) -> None:
        if self._session is None or not self._session.partial:
            self._partial_since = None
        elif self._partial_since is None:
            self._partial_since = self._loop.time()

    def _dispatch(self, session: Session, request: Request, started_ns: int) -> None:
        kind = request.kind
        if kind in (Kind.SIGN_VOTE_REQUEST, Kind.SIGN_PROPOSAL_REQUEST):
            self.chain.submit(self, session, request, started_ns)
        elif kind in BYTES_KINDS:
            self.chain.sign_bytes(self, session, request, started_ns)
        elif kind is Kind.PING_REQUEST:
            self.deliver(session.answer_pong())
        elif kind is Kind.PUB_KEY_REQUEST and request.reason is Reason.NONE:
            self.chain.counters.pub_keys += 1
            self.deliver(session.answer_pub_key(self.chain.slot.public_key))
        else:
            self._refuse(session, request)

    def _refuse(self, session: Session, request: Request) -> None:
        text = f"{request.reason.name.lower().replace('_', ' ')}: this signer serves chain {self.chain.chain_id!r}"
        self.deliver(session.answer_error(int(request.reason), text), refused=True)
        self.chain.on_refusal(self, request, Refusal(request.reason, text))

    def _resume(self) -> None:
        if self._paused and not self._held() and self._socket is not None:
            self._paused = False
            self._loop.add_reader(self._socket.fileno(), self._reader)

    # --- writing and closing ---

    def _write(self, frame: bytes) -> None:
        if self._outbox is not None:
            self._outbox.write(frame)

    def _on_progress(self) -> None:
        """The socket took some of what had waited."""
        if not self._pumping:
            self._pump(time.monotonic_ns())
            self._resume()

    def _drop(self, why: str) -> None:
        """Close the connection, once; _serve() returns `why`."""
        connection, session, lane, outbox = self._socket, self._session, self._lane, self._outbox
        self._socket = self._session = self._lane = self._outbox = None
        if outbox is not None:
            outbox.close()
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
        if lane is not None:
            lane.close()
        if connection is not None:
            self._loop.remove_reader(connection.fileno())
            connection.close()
        if session is not None:
            self._line = session.line
            session.close()
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(why)

    def _enter(self, state: LinkState) -> None:
        if state is not self.state:
            if state is LinkState.CONNECTED:
                self.chain.answers.on_connected(self.name, self._away_s)
            elif self.state is LinkState.CONNECTED:
                self._left_at = self._loop.time()
            self.state = state
            self.since, self.since_mono = time.time(), time.monotonic()
