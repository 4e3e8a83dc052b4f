"""The agent's connection to its validator: dial as a signer does, over tcp or unix, and serve one request after the other. Moves bytes.

Pings and the public key are answered here; a request for a signature goes up, and its answer comes back through answer().
"""

import asyncio
import random
import socket
from typing import Final, Protocol

from cometkms.agent.answers import Question, bytes_refused, is_question, pong, public_key_response
from cometkms.agent.config import ValidatorEntry
from cometkms.errors import ProtocolError, os_words
from cometkms.interface import Core, Frames
from cometkms.limits import (
    HANDSHAKE_MESSAGE_MAX_BYTES,
    HANDSHAKE_TIMEOUT_S,
    IDLE_TIMEOUT_S,
    MESSAGE_MAX_BYTES,
    PARTIAL_MESSAGE_TIMEOUT_S,
    REDIAL_MAX_S,
    REDIAL_MIN_S,
    WRITE_TIMEOUT_S,
)
from cometkms.log import Log
from cometkms.model import BYTES_KINDS, Dialect, Kind
from cometkms.net.dial import connect
from cometkms.net.target import UnixTarget
from cometkms.protocol.dialect import sniff_dialect
from cometkms.protocol.identity import Identity
from cometkms.protocol.secret_connection import Handshake

_RECEIVE_BYTES: Final = 64 << 10
_LENGTH_BYTES_MAX: Final = 10  # of a varint


class Above(Protocol):
    """What a validator's connection asks the agent for."""

    def on_question(self, end: "ValidatorEnd", question: Question) -> None:
        """The answer comes through end.answer(), later or at once."""
        ...

    def on_public_key(self, end: "ValidatorEnd") -> None:
        """As on_question(): end.answer_public_key()."""
        ...

    def on_bytes_refused(self, end: "ValidatorEnd") -> None:
        """It asked for a signature of bytes that are no vote, and was refused; nothing is to be answered."""
        ...

    def on_gone(self, end: "ValidatorEnd") -> None:
        """The connection ended: nobody waits for an answer."""
        ...


def take_message(plain: bytearray) -> bytes | None:
    """Cut the first whole message off, its length with it; None: more is needed. Raises: ProtocolError before memory is spent."""
    size = shift = 0
    for at, byte in enumerate(plain[:_LENGTH_BYTES_MAX]):
        size |= (byte & 0x7F) << shift
        shift += 7
        if size > MESSAGE_MAX_BYTES:
            raise ProtocolError(
                f"the validator announces a message of {size} bytes; at most {MESSAGE_MAX_BYTES} are possible"
            )
        if byte < 0x80:
            end = at + 1 + size
            if len(plain) < end:
                return None
            message = bytes(memoryview(plain)[:end])
            del plain[:end]
            return message
    if len(plain) >= _LENGTH_BYTES_MAX:
        raise ProtocolError("the validator's message has no length")
    return None


class ValidatorEnd:
    """To one validator."""

    def __init__(self, entry: ValidatorEntry, *, core: Core, identity: Identity, above: Above, log: Log) -> None:
        self.entry = entry
        self.state = "dialing"
        self.connects = 0
        self.last_error = ""
        self.dialect: Dialect | None = None
        self._core = core
        self._identity = identity
        self._above = above
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._frames: Frames | None = None
        self._plain = bytearray()
        self._outbox = bytearray()
        self._outbox_since = 0.0
        self._partial_since: float | None = None
        self._heard_at = 0.0
        self._busy = False
        self._asked_key = b""  # the request for the public key that waits for it
        self._told_of_bytes = False
        self._closed: asyncio.Future[str] | None = None

    async def run(self) -> None:
        """For ever; the task is cancelled to stop."""
        backoff = REDIAL_MIN_S
        try:
            while True:
                before = self.connects
                try:
                    why = await self._live()
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
            frames, plain = await self._open(connection)
        except BaseException:
            connection.close()
            raise
        self._socket, self._frames, self._plain = connection, frames, bytearray(plain)
        self._outbox.clear()
        self._busy, self._partial_since = False, None
        self._told_of_bytes = False
        self._heard_at = self._loop.time()
        self._closed = self._loop.create_future()
        self.connects += 1
        self.state, self.last_error = "connected", ""
        self._log.info("validator connected", validator=str(self.entry.address), chain=self.entry.chain_id)
        self._loop.add_reader(connection.fileno(), self._on_readable)
        self._serve()
        try:
            return await self._closed
        finally:
            self._drop("stopped")

    async def _open(self, connection: socket.socket) -> tuple[Frames | None, bytes]:
        """The channel, if it is tcp, and what came behind it. Raises: OSError, ProtocolError."""
        if isinstance(self.entry.address.target, UnixTarget):
            first = b""
            while (dialect := sniff_dialect(first)) is None:
                if len(first) > HANDSHAKE_MESSAGE_MAX_BYTES:
                    raise ProtocolError(f"{len(first)} bytes without a privval message's beginning")
                async with asyncio.timeout(PARTIAL_MESSAGE_TIMEOUT_S if first else IDLE_TIMEOUT_S):
                    first += await self._receive(connection)
            self.dialect = dialect
            return None, first
        handshake = Handshake(self._core, self._identity)
        async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
            while not handshake.done:
                answer = handshake.feed(await self._receive(connection))
                if answer:
                    await self._loop.sock_sendall(connection, answer)
        self.dialect = handshake.dialect
        return handshake.frames, handshake.leftover

    async def _receive(self, connection: socket.socket) -> bytes:
        received = await self._loop.sock_recv(connection, 4096)
        if not received:
            raise ConnectionResetError("closed by the validator during the handshake")
        return received

    def check_deadlines(self) -> None:
        """Close what stalls. Called about once a second."""
        now = self._loop.time()
        if self._socket is None:
            return
        if self._partial_since is not None and now - self._partial_since > PARTIAL_MESSAGE_TIMEOUT_S:
            self._drop(f"a message stayed unfinished for {PARTIAL_MESSAGE_TIMEOUT_S:g} s")
        elif self._outbox and now - self._outbox_since > WRITE_TIMEOUT_S:
            self._drop(f"did not read its answer for {WRITE_TIMEOUT_S:g} s")
        elif not self._busy and now - self._heard_at > IDLE_TIMEOUT_S:
            self._drop(f"silent for {IDLE_TIMEOUT_S:g} s")

    # --- answers ---

    def answer(self, message: bytes) -> None:
        """To the request under way; then the next one."""
        self._busy = False
        self._write(message)
        self._loop.call_soon(self._serve)

    def answer_public_key(self, public_key: bytes) -> None:
        """To a request for it."""
        if self.dialect is not None and self._asked_key:
            wire, self._asked_key = self._asked_key, b""
            self.answer(public_key_response(self._core, self.dialect, self.entry.chain_id, wire, public_key))

    def hang_up(self, why: str) -> None:
        """There is no answer that the validator would understand."""
        self._drop(why)

    # --- bytes ---

    def _on_readable(self) -> None:
        if self._socket is None:
            return
        try:
            received = self._socket.recv(_RECEIVE_BYTES)
            if not received:
                self._drop("closed by the validator")
                return
            self._heard_at = self._loop.time()
            self._plain += received if self._frames is None else self._frames.open(received)
            if self._busy and len(self._plain) > MESSAGE_MAX_BYTES:
                raise ProtocolError("the validator asks on without waiting for its answer")
        except (BlockingIOError, InterruptedError):
            return
        except (OSError, ProtocolError) as error:
            self._drop(_words(error))
            return
        self._serve()

    def _serve(self) -> None:
        """Every whole request that is there, until one waits for its answer."""
        try:
            while self._socket is not None and not self._busy and (wire := take_message(self._plain)) is not None:
                self._partial_since = None
                self._busy = True
                self._dispatch(wire)
        except ProtocolError as error:
            self._drop(_words(error))
            return
        if not self._plain or self._busy:
            self._partial_since = None
        elif self._partial_since is None:
            self._partial_since = self._loop.time()

    def _dispatch(self, wire: bytes) -> None:
        """Raises: ProtocolError for what no validator sends."""
        if self.dialect is None:
            raise ProtocolError("the dialect is not known")
        message = self._core.decode_message(self.dialect, wire)
        if is_question(message):
            self._above.on_question(self, Question(self.dialect, self.entry.chain_id, wire, message))
        elif message.kind is Kind.PUB_KEY_REQUEST:
            self._asked_key = wire
            self._above.on_public_key(self)
        elif message.kind is Kind.PING_REQUEST:
            self._busy = False
            self._write(pong(self._core, self.dialect))
        elif message.kind in BYTES_KINDS:
            self._busy = False
            self._write(bytes_refused(self._core, self.dialect, self.entry.chain_id, wire))
            self._above.on_bytes_refused(self)
            if not self._told_of_bytes:
                self._told_of_bytes = True  # once a connection: a validator may ask with every block
                self._log.info("bytes refused", validator=str(self.entry.address), chain=self.entry.chain_id)
        else:
            raise ProtocolError(f"the validator sends {message.kind.name.lower()}, which no validator does")

    def _write(self, message: bytes) -> None:
        if self._socket is None:
            return
        wire = message if self._frames is None else self._frames.seal(message)
        sent = 0
        if not self._outbox:
            try:
                sent = self._socket.send(wire)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as error:
                self._drop(_words(error))
                return
        if sent < len(wire):
            if not self._outbox:
                self._outbox_since = self._loop.time()
                self._loop.add_writer(self._socket.fileno(), self._on_writable)
            self._outbox += wire[sent:]

    def _on_writable(self) -> None:
        if self._socket is None:
            return
        try:
            sent = self._socket.send(self._outbox)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._drop(_words(error))
            return
        del self._outbox[:sent]
        if not self._outbox:
            self._loop.remove_writer(self._socket.fileno())

    def _drop(self, why: str) -> None:
        connection, frames = self._socket, self._frames
        self._socket = self._frames = None
        if connection is not None:
            self._loop.remove_reader(connection.fileno())
            self._loop.remove_writer(connection.fileno())
            connection.close()
            self._busy = False
            self._above.on_gone(self)
        if frames is not None:
            frames.close()
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(why)


def _words(error: BaseException) -> str:
    return os_words(error) if isinstance(error, OSError) else str(error) or type(error).__name__
