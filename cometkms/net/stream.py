"""What two members say to each other once each knows who the other is: frames over one sealed stream. No loop, no clock.

A frame is its length (4 bytes, little-endian, of what follows), its type (1 byte) and its payload. What a frame means is not known here.
The stream's owner calls receive() when the socket is readable and flush() when it is writable; state/peers.py does that on a real
network and the simulation on its own, so the order of what the fast path and the general path send is kept by one piece of code.
"""

import struct
from enum import IntEnum
from typing import Final, Protocol

from cometkms.core.interface import Frames, Lane
from cometkms.errors import ProtocolError
from cometkms.limits import PEER_HELLO_MAX_BYTES

HEAD: Final = struct.Struct("<IB")


class FrameType(IntEnum):
    """The byte behind the length."""

    HELLO = 1
    OK = 2
    GOODBYE = 3
    DATA = 4
    PING = 5
    PONG = 6


class FrameReader:
    """Cuts the decrypted stream into frames. Lengths are checked before memory is spent."""

    def __init__(self, most: int) -> None:
        """`most`: bytes of a payload; raised once the other end's hello is accepted."""
        self.most = most
        self._buffer = bytearray()

    def feed(self, untrusted: bytes) -> None:
        """More of the stream."""
        self._buffer += untrusted

    @property
    def empty(self) -> bool:
        """Whether nothing has begun."""
        return not self._buffer

    def next(self) -> tuple[FrameType, bytes] | None:
        """The next whole frame, or None. Raises: ProtocolError."""
        buffer = self._buffer
        if len(buffer) < HEAD.size:
            return None
        size, kind = HEAD.unpack_from(buffer)
        if not 1 <= size <= 1 + self.most:
            raise ProtocolError(f"a frame of {size} bytes is announced, at most {1 + self.most} are read")
        if len(buffer) < 4 + size:
            return None
        payload = bytes(memoryview(buffer)[HEAD.size : 4 + size])
        del buffer[: 4 + size]
        try:
            return FrameType(kind), payload
        except ValueError:
            raise ProtocolError(f"a frame of the unknown type {kind}") from None


class StreamSocket(Protocol):
    """Offer as much of a non-blocking socket as a stream needs; each raises BlockingIOError, InterruptedError and OSError as a socket does."""

    def recv_into(self, buffer: bytearray, /) -> int: ...

    def send(self, data: bytes | bytearray, /) -> int: ...


class Stream:
    """The frames of one connection whose handshake is done, and the sealed bytes that its socket did not take yet.

    Invariant: nothing overtakes what is in the outbox, so a lane is blocked for as long as there is something in it.
    """

    def __init__(self, connection: StreamSocket, frames: Frames, leftover: bytes) -> None:
        """`leftover`: decrypted bytes that came behind the handshake."""
        self._connection = connection
        self.frames = frames
        self.reader = FrameReader(PEER_HELLO_MAX_BYTES)
        self.reader.feed(leftover)
        self.outbox = bytearray()
        self.lane: Lane | None = None

    def adopt(self, lane: Lane | None) -> None:
        """From now on `lane` handles the plain messages of this connection as they arrive."""
        self.lane = lane
        if lane is not None:
            lane.blocked = bool(self.outbox)

    def receive(self, inbox: bytearray) -> bool:
        """Receive once; the reader then has what is not the lane's. Whether there is any of that.

        Raises: BlockingIOError when nothing had arrived, EOFError at the stream's end, OSError, ProtocolError; StoreFailure.
        """
        lane = self.lane
        if lane is None:
            size = self._connection.recv_into(inbox)
            if size == 0:
                raise EOFError
            with memoryview(inbox) as view:
                data = self.frames.open(view[:size])
        else:
            data = lane.turn(serve=self.reader.empty)
            self.collect()
        if data:
            self.reader.feed(data)
        return bool(data)

    def collect(self) -> None:
        """Take over the bytes that the lane sent and the socket did not take: they wait in the outbox."""
        if self.lane is not None and self.lane.blocked and not self.outbox:
            self.outbox += self.lane.take_unsent()

    def write(self, kind: FrameType, payload: bytes) -> None:
        """Send a frame, or keep what the socket does not take of it in the outbox. Raises: OSError; the connection is then of no use."""
        sealed = self.frames.seal(HEAD.pack(1 + len(payload), kind) + payload)
        sent = 0 if self.outbox else self._send(sealed)
        if sent < len(sealed):
            self.outbox += memoryview(sealed)[sent:]
            if self.lane is not None:
                self.lane.blocked = True

    @property
    def waits(self) -> bool:
        """Whether flush() is to be called when the socket takes bytes again."""
        return bool(self.outbox) or (self.lane is not None and self.lane.blocked)

    def flush(self) -> None:
        """The socket takes bytes again: send what waits. Raises: OSError."""
        if self.outbox:
            del self.outbox[: self._send(self.outbox)]
        if not self.outbox and self.lane is not None:
            self.lane.blocked = False

    def _send(self, data: bytes | bytearray) -> int:
        try:
            return self._connection.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
