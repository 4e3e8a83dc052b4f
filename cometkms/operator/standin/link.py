"""The validator's end of a connection: listen, shake hands, send and receive messages, or any bytes
at all."""

import asyncio
import socket
from typing import Final

from cometkms.address import Address
from cometkms.core.interface import Core, Frames
from cometkms.errors import ProtocolError
from cometkms.limits import HANDSHAKE_TIMEOUT_S, MESSAGE_MAX_BYTES
from cometkms.model import Dialect
from cometkms.wire.identity import Identity
from cometkms.wire.secret_connection import Handshake

BACKLOG: Final = 16
READ_BYTES: Final = 64 << 10


class Link:
    """One connection from a signer after the handshake: whole messages, or any bytes a test wants
    to send."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, frames: Frames | None, received: bytes = b""
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._frames = frames
        self._plain = bytearray(received)

    @property
    def ended(self) -> bool:
        """Whether the signer has closed the connection."""
        return self._reader.at_eof() or self._writer.is_closing()

    def send(self, plain: bytes) -> None:
        """Seal (over tcp) and write."""
        self.send_raw(plain if self._frames is None else self._frames.seal(plain))

    def seal(self, plain: bytes) -> bytes:
        """What `send` would write: for tests that cut or bend it."""
        return plain if self._frames is None else self._frames.seal(plain)

    def send_raw(self, wire: bytes) -> None:
        self._writer.write(wire)

    def pause_reading(self) -> None:
        """Take nothing more off the socket: a validator that does not read its answers."""
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport reads too

    def resume_reading(self) -> None:
        self._writer.transport.resume_reading()  # type: ignore[attr-defined]

    async def receive(self) -> bytes:
        """One message with its length prefix.

        Raises: EOFError at the connection's end; OSError; ProtocolError on nonsense.
        """
        while (message := take_message(self._plain)) is None:
            wire = await self._reader.read(READ_BYTES)
            if not wire:
                raise EOFError("the signer closed the connection")
            self._plain += wire if self._frames is None else self._frames.open(wire)
        return message

    def close(self) -> None:
        self._writer.transport.abort()
        if self._frames is not None:
            self._frames.close()
            self._frames = None


def take_message(plain: bytearray) -> bytes | None:
    """Cut the first whole length-prefixed message off `plain`; None: not whole yet. Raises:
    ProtocolError."""
    length = shift = 0
    for at, byte in enumerate(plain[:10]):
        length |= (byte & 0x7F) << shift
        shift += 7
        if length > MESSAGE_MAX_BYTES:
            raise ProtocolError(f"the signer announced a message of {length} bytes, over {MESSAGE_MAX_BYTES}")
        if byte < 0x80:
            end = at + 1 + length
            if len(plain) < end:
                return None
            message = bytes(plain[:end])
            del plain[:end]
            return message
    if len(plain) >= 10:
        raise ProtocolError("the signer announced a length of more than ten bytes")
    return None


class Listener:
    """The validator's listening socket: takes one signer at a time, the others wait in the accept
    queue."""

    def __init__(self, core: Core, dialect: Dialect, listening: socket.socket) -> None:
        self._core = core
        self._dialect = dialect
        self._listening = listening
        self.address = _shown_address(listening)

    async def accept_raw(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The next connection, before any handshake."""
        connection, _ = await asyncio.get_running_loop().sock_accept(self._listening)
        return await asyncio.open_connection(sock=connection)

    async def accept(self) -> Link:
        """The next connection, after the handshake (tcp) or at once (unix).

        Raises: ProtocolError, OSError, TimeoutError or EOFError for a connection that got no
        further.
        """
        reader, writer = await self.accept_raw()
        if self._listening.family == socket.AF_UNIX:
            return Link(reader, writer, None)
        try:
            async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
                return await self._shake_hands(reader, writer)
        except BaseException:
            writer.transport.abort()
            raise

    async def _shake_hands(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Link:
        handshake = Handshake(self._core, Identity.generate(), dialect=self._dialect)
        writer.write(handshake.hello)
        while not handshake.done:
            wire = await reader.read(READ_BYTES)
            if not wire:
                raise EOFError("the signer closed the connection during the handshake")
            writer.write(handshake.feed(wire))
        return Link(reader, writer, handshake.frames, handshake.leftover)

    def close(self) -> None:
        self._listening.close()


def listen(core: Core, address: str, dialect: Dialect = Dialect.PROTO) -> Listener:
    """Listen on `tcp://host:port` (port 0: any free one) or `unix://path`. Raises: OSError."""
    scheme, _, rest = address.partition("://")
    if scheme == "unix":
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(rest)
        listening.listen(BACKLOG)
    else:
        where = Address.parse(rest, port_min=0)
        listening = socket.create_server((where.host, where.port), backlog=BACKLOG)
    listening.setblocking(False)
    return Listener(core, dialect, listening)


def _shown_address(listening: socket.socket) -> str:
    name = listening.getsockname()
    return f"unix://{name}" if listening.family == socket.AF_UNIX else f"tcp://{Address(*name[:2])}"
