"""The agent's connection to its validator: dial as a signer does, over tcp or unix, and serve one
request after the other. Moves bytes.

Pings and the public key are answered here; a request for a signature goes up, and its answer comes
back through deliver(). The plain ones are asked of a node, and answered, by the core where it has a
lane (csrc/relay.h): then both are told here afterwards.
"""

import asyncio
import random
import socket
from typing import Final, Protocol

from cometkms.agent.config import ValidatorEntry
from cometkms.core.interface import Core, EndLane, NodeLane, Relayed, RelayPath, Session, Turn
from cometkms.errors import ProtocolError, os_words
from cometkms.limits import (
    IDLE_TIMEOUT_S,
    MESSAGE_MAX_BYTES,
    PARTIAL_MESSAGE_TIMEOUT_S,
    REDIAL_MAX_S,
    REDIAL_MIN_S,
    WRITE_TIMEOUT_S,
)
from cometkms.log import Log
from cometkms.model import BYTES_KINDS, Dialect, Kind, Reason, Request
from cometkms.net.dial import connect
from cometkms.net.opening import open_session, perhaps_not_listed
from cometkms.net.outbox import Outbox
from cometkms.net.reading import to_the_end
from cometkms.rules.raw_bytes import BYTES_REFUSED
from cometkms.wire.identity import Identity

_SIGNS: Final = (Kind.SIGN_VOTE_REQUEST, Kind.SIGN_PROPOSAL_REQUEST)


class Above(Protocol):
    """What a validator's connection asks the agent for."""

    def route(self) -> tuple[NodeLane | None, int]:
        """The lane of the node that a plain request goes to now, and under which number; None: let
        it come through on_question().
        """
        ...

    def on_asked(self) -> None:
        """A plain request went to the node that route() named."""
        ...

    def on_question(self) -> None:
        """A request for a signature is pending; its answer comes later or at once."""
        ...

    def on_public_key(self) -> None:
        """Take up a request for the public key, as on_question() does;
        answer_public_key() answers it.
        """
        ...

    def on_bytes_refused(self) -> None:
        """It asked for a signature of bytes that are no vote, and was refused; nothing
        is to be answered.
        """
        ...

    def on_gone(self) -> None:
        """The connection ended: nobody waits for an answer."""
        ...


class ValidatorEnd:
    """Keep the connection to one validator."""

    def __init__(
        self,
        entry: ValidatorEntry,
        *,
        core: Core,
        identity: Identity,
        above: Above,
        log: Log,
        number: int = 0,
        path: RelayPath | None = None,
    ) -> None:
        """`number`: its own among the agent's; `path`: the core's part, if it has one."""
        self.entry = entry
        self.state = "dialing"
        self.connects = 0
        self.last_error = ""
        self.dialect: Dialect | None = None
        self._core = core
        self._identity = identity
        self._above = above
        self._log = log
        self._number = number
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._public_key = b""
        self._socket: socket.socket | None = None
        self._session: Session | None = None
        self._lane: EndLane | None = None
        self._outbox: Outbox | None = None
        self._partial_since: float | None = None
        self._heard_at = 0.0
        self._heard = False  # anything on this connection
        self._busy = False  # a request waits for its answer …
        self._ahead = 0  # … and so many bytes came behind it
        self._wants_key = False
        self._told_of_bytes = False
        self._closed: asyncio.Future[str] | None = None

    async def run(self) -> None:
        """Keep the connection up for ever; the task is cancelled to stop."""
        backoff = REDIAL_MIN_S
        try:
            while True:
                before = self.connects
                try:
                    why = await self._live()
                    why += "" if self._heard else perhaps_not_listed(self.entry.address.target, self._identity)
                except (OSError, ProtocolError) as error:
                    why = _words(error)
                if self.connects != before:
                    backoff = REDIAL_MIN_S
                if why != self.last_error or self.connects != before:
                    self._log.info("validator not connected", validator=str(self.entry.address), why=why)
                self.last_error, self.state = why, "waiting"
                await asyncio.sleep(backoff * random.uniform(0.75, 1.0))  # noqa: S311 - jitter, not a secret
                backoff = min(2 * backoff, REDIAL_MAX_S)
        finally:
            self._drop("stopped")

    async def _live(self) -> str:
        """One connection; why it ended. Raises: OSError, ProtocolError."""
        self.state = "dialing"
        connection = await connect(self.entry.address.target)
        try:
            self.state = "handshake"
            target, chain_id = self.entry.address.target, self.entry.chain_id
            opened = await open_session(connection, target, chain_id, self._core, self._identity)
        except BaseException:
            connection.close()
            raise
        self.dialect = opened.dialect
        closed = self._adopt(connection, opened.session)
        try:
            return await closed
        finally:
            self._drop("stopped")

    def _adopt(self, connection: socket.socket, session: Session) -> asyncio.Future[str]:
        """The channel stands: serve it. What is awaited is why it ended."""
        self._socket, self._session = connection, session
        if self._path is not None:
            self._lane = self._path.end(self._number, session, connection.fileno())
            if self._public_key:
                self._lane.know(self._public_key)
        self._outbox = Outbox(connection, lost=lambda error: self._drop(os_words(error)), lane=self._lane)
        self._busy, self._partial_since = False, None
        self._told_of_bytes = False
        self._heard_at, self._heard = self._loop.time(), False
        self._closed = closed = self._loop.create_future()
        self.connects += 1
        self.state, self.last_error = "connected", ""
        self._log.info("validator connected", validator=str(self.entry.address), chain=self.entry.chain_id)
        self._loop.add_reader(connection.fileno(), to_the_end(connection, self._on_readable))
        self._serve()
        return closed

    def check_deadlines(self) -> None:
        """Close what stalls. Called about once a second."""
        now = self._loop.time()
        if self._socket is None:
            return
        if self._partial_since is not None and now - self._partial_since > PARTIAL_MESSAGE_TIMEOUT_S:
            self._drop(f"a message stayed unfinished for {PARTIAL_MESSAGE_TIMEOUT_S:g} s")
        elif self._outbox and now - self._outbox.since > WRITE_TIMEOUT_S:
            self._drop(f"did not read its answer for {WRITE_TIMEOUT_S:g} s")
        elif not self._busy and now - self._heard_at > IDLE_TIMEOUT_S:
            self._drop(f"silent for {IDLE_TIMEOUT_S:g} s")

    # --- the pending request ---

    @property
    def question(self) -> bytes:
        """The request that waits for its answer, as it came; b"" when there is none."""
        return self._session.pending_wire() if self._session is not None else b""

    def asked(self, seq: int) -> None:
        """Nodes are asked for it from above, under that number."""
        if self._lane is not None:
            self._lane.seq = seq

    def know(self, public_key: bytes) -> None:
        """The chain's public key, from now on; a request for it that waits is answered."""
        self._public_key = public_key
        if self._lane is not None:
            self._lane.know(public_key)
        if self._wants_key:
            self.answer_public_key(public_key)

    def judge(self, public_key: bytes, untrusted_answer: bytes) -> Relayed | None:
        """Whether that is an answer to it; then the frame is to be delivered.

        See interface.Session.answer_relayed().
        """
        return self._session.answer_relayed(public_key, untrusted_answer) if self._session is not None else None

    def deliver(self, frame: bytes) -> None:
        """Its answer, as judge() made it; then the next request."""
        self.asked(0)
        self._busy, self._ahead = False, 0
        self._write(frame)
        self._loop.call_soon(self._serve)

    def on_passed(self) -> None:
        """The lane answered it, or wrote as much as the socket took."""
        self._busy, self._ahead = False, 0
        if self._outbox is not None:
            self._outbox.collect()
        if self._session is not None and self._session.partial:
            self._loop.call_soon(self._serve)

    def answer_empty(self) -> None:
        """Answer with nothing signed, so that the validator asks again."""
        if self._session is not None:
            self.deliver(self._session.answer_empty())

    def answer_public_key(self, public_key: bytes) -> None:
        """Answer a request for the public key."""
        if self._session is not None and self._wants_key:
            self._wants_key = False
            self.deliver(self._session.answer_pub_key(public_key))

    def hang_up(self, why: str) -> None:
        """There is no answer that the validator would understand."""
        self._drop(why)

    # --- bytes ---

    def _on_readable(self) -> None:
        if self._socket is None or self._session is None:
            return
        try:
            found = self._turn(self._socket, self._session)
        except (BlockingIOError, InterruptedError):
            return
        except EOFError:
            self._drop("closed by the validator")
            return
        except (OSError, ProtocolError) as error:
            self._drop(_words(error))
            return
        self._heard_at, self._heard = self._loop.time(), True
        if found is Turn.ASKED:
            self._busy, self._partial_since = True, None
            self._above.on_asked()
        else:
            self._serve(found if isinstance(found, Request) else None)

    def _turn(self, connection: socket.socket, session: Session) -> Request | Turn:
        """Receive once.

        Raises: BlockingIOError, EOFError, OSError, ProtocolError; see interface.EndLane.
        """
        if self._lane is not None:
            return self._lane.turn(*self._above.route())
        size = connection.recv_into(session.inbox)
        if size == 0:
            raise EOFError
        if self._busy:
            self._ahead += size
            if self._ahead > MESSAGE_MAX_BYTES:
                raise ProtocolError("the validator asks on without waiting for its answer")
        session.received(size)
        return Turn.NOTHING

    def _serve(self, request: Request | None = None) -> None:
        """`request`, then every whole one that is there, until one waits for its answer."""
        try:
            while self._session is not None and not self._busy:
                request = request or self._session.next_request()
                if request is None:
                    break
                self._partial_since = None
                self._busy = True
                self._dispatch(self._session, request)
                request = None
        except ProtocolError as error:
            self._drop(_words(error))
            return
        if self._busy or self._session is None or not self._session.partial:
            self._partial_since = None
        elif self._partial_since is None:
            self._partial_since = self._loop.time()

    def _dispatch(self, session: Session, request: Request) -> None:
        """Raises: ProtocolError for what no validator sends."""
        kind = request.kind
        if kind in _SIGNS:
            self._above.on_question()
        elif kind is Kind.PUB_KEY_REQUEST and request.reason is Reason.NONE:
            self._wants_key = True
            self._above.on_public_key()
        elif kind is Kind.PUB_KEY_REQUEST:
            words = f"this agent serves chain {self.entry.chain_id!r}"
            self._answer_here(session.answer_error(int(request.reason), words))
        elif kind is Kind.PING_REQUEST:
            self._answer_here(session.answer_pong())
        elif kind in BYTES_KINDS:
            self._answer_here(session.answer_error(int(Reason.BYTES_NOT_ALLOWED), BYTES_REFUSED))
            self._above.on_bytes_refused()
            if not self._told_of_bytes:
                # once a connection: a validator may ask with every block
                self._told_of_bytes = True
                self._log.info("bytes refused", validator=str(self.entry.address), chain=self.entry.chain_id)
        else:
            raise ProtocolError(f"the validator sends {kind.name.lower()}, which no validator does")

    def _answer_here(self, frame: bytes) -> None:
        self._busy = False
        self._write(frame)

    def _write(self, frame: bytes) -> None:
        if self._outbox is not None:
            self._outbox.write(frame)

    def _drop(self, why: str) -> None:
        connection, session, outbox, lane = self._socket, self._session, self._outbox, self._lane
        self._socket = self._session = self._outbox = self._lane = None
        if lane is not None:
            lane.close()
        if outbox is not None:
            outbox.close()
        if connection is not None:
            self._loop.remove_reader(connection.fileno())
            connection.close()
            self._busy, self._ahead, self._wants_key = False, 0, False
            self._above.on_gone()
        if session is not None:
            session.close()
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(why)


def _words(error: BaseException) -> str:
    return os_words(error) if isinstance(error, OSError) else str(error) or type(error).__name__
