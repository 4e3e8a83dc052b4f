"""What two members say to each other once each knows who the other is: frames over one sealed
stream. No loop, no clock.

A frame is its length (4 bytes, little-endian, of what follows), its type (1 byte) and its payload.
What a frame means is not known here. The stream's owner calls receive() when the socket is
readable; what the socket does not take waits in the stream's outbox (net/outbox.py). link.py does
that on a real network and the simulation on its own, so the order of what the fast path and the
general path send is kept by one piece of code.
"""

import struct
from enum import IntEnum
from typing import Final, Protocol

from cometkms.core.interface import Frames, Lane
from cometkms.errors import ProtocolError
from cometkms.limits import PEER_HELLO_MAX_BYTES
from cometkms.net.outbox import Sink, Unsent

HEAD: Final = struct.Struct("<IB")


class FrameType(IntEnum):
    """The byte behind the length."""

    HELLO = 1
    OK = 2
    GOODBYE = 3
    DATA = 4
    PING = 5
    PONG = 6


_TYPES: Final = {int(one): one for one in FrameType}


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
        if (known := _TYPES.get(kind)) is None:
            raise ProtocolError(f"a frame of the unknown type {kind}")
        return known, payload


class StreamSocket(Sink, Protocol):
    """Offer as much of a non-blocking socket as a stream needs; each raises BlockingIOError,
    InterruptedError and OSError as a socket does.
    """

    def recv_into(self, buffer: bytearray, /) -> int: ...


class Stream:
    """The frames of one connection whose handshake is done, and the sealed bytes that its socket
    did not take yet.
    """

    def __init__(self, connection: StreamSocket, frames: Frames, leftover: bytes, outbox: Unsent | None = None) -> None:
        """`leftover`: decrypted bytes that came behind the handshake; `outbox`: of this connection,
        where it has a loop.
        """
        self._connection = connection
        self.frames = frames
        self.reader = FrameReader(PEER_HELLO_MAX_BYTES)
        self.reader.feed(leftover)
        self.outbox = Unsent(connection) if outbox is None else outbox
        self.lane: Lane | None = None

    def adopt(self, lane: Lane | None) -> None:
        """From now on `lane` handles the plain messages of this connection as they arrive."""
        self.lane = lane
        self.outbox.adopt(lane)

    def receive(self, inbox: bytearray) -> bool:
        """Receive once; the reader then has what is not the lane's. Whether there is any of that.

        Raises: BlockingIOError when nothing had arrived, EOFError at the stream's end, OSError,
        ProtocolError; StoreFailure.
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
            self.outbox.collect()
        if data:
            self.reader.feed(data)
        return bool(data)

    def write(self, kind: FrameType, payload: bytes) -> bool:
        """Send a frame, or keep in the outbox what the socket does not take of it.

        False and raises: as the outbox's write().
        """
        return self.outbox.write(self.frames.seal(HEAD.pack(1 + len(payload), kind) + payload))
