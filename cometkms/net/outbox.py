"""The writing half of a connection that never blocks: what the socket does not take waits here, and
leaves when the socket takes it.

`Unsent` keeps the order and knows no loop, so that the simulation can drive it; `Outbox` is the
same in an asyncio loop. The links to validators, to agents and to the other members all write
through one of them.
"""

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from typing import Protocol


class Lane(Protocol):
    """What sends on the same socket in C (interface.SignLane and its like): it must not overtake
    what waits here."""

    blocked: bool

    def take_unsent(self) -> bytes: ...


class Sink(Protocol):
    """Take as many bytes as a non-blocking socket does, which raises BlockingIOError,
    InterruptedError and OSError."""

    def send(self, data: bytes | bytearray, /) -> int: ...


class Unsent:
    """Bytes of one connection that its socket did not take yet.

    Invariant: nothing overtakes them, so the lane is blocked for as long as there are some.
    """

    def __init__(self, connection: Sink, lane: Lane | None = None) -> None:
        self.lane = lane
        self._sink = connection
        self._waiting = bytearray()

    def __len__(self) -> int:
        """How many bytes wait."""
        return len(self._waiting)

    @property
    def waits(self) -> bool:
        """Whether flush() is to be called when the socket takes bytes again."""
        return bool(self._waiting) or (self.lane is not None and self.lane.blocked)

    def adopt(self, lane: Lane | None) -> None:
        """Let `lane` send on this connection, too, from now on."""
        self.lane = lane
        if lane is not None:
            lane.blocked = bool(self._waiting)

    def write(self, data: bytes) -> bool:
        """Send it now, or behind what waits. Raises: OSError, and the connection is then of no
        use."""
        sent = 0 if self._waiting else self._send(data)
        if sent < len(data):
            self._waiting += memoryview(data)[sent:]
            if self.lane is not None:
                self.lane.blocked = True
        return True

    def collect(self) -> None:
        """Take over what the lane sent and its socket did not take."""
        if self.lane is not None and self.lane.blocked and not self._waiting:
            self._waiting += self.lane.take_unsent()

    def flush(self) -> None:
        """Send what waits, because the socket takes bytes again. Raises: OSError."""
        if self._waiting:
            del self._waiting[: self._send(self._waiting)]
        if not self._waiting and self.lane is not None:
            self.lane.blocked = False

    def close(self) -> None:
        """The connection ends; what waits is forgotten."""
        self._waiting.clear()

    def _send(self, data: bytes | bytearray) -> int:
        try:
            return self._sink.send(data)
        except (BlockingIOError, InterruptedError):
            return 0


class Outbox(Unsent):
    """What waits leaves by itself, as the loop says that the socket takes bytes; a new connection
    has a new outbox."""

    def __init__(
        self,
        connection: socket.socket,
        *,
        lost: Callable[[OSError], None],
        lane: Lane | None = None,
        progress: Callable[[], None] = lambda: None,
    ) -> None:
        """`lost`: the socket failed, and the owner closes it; `progress`: the socket took something
        that had waited."""
        super().__init__(connection, lane)
        self.since = 0.0  # loop time: when the socket last took something, while something waits
        self._fd = connection.fileno()
        self._lost = lost
        self._progress = progress
        self._watched = False
        self._loop = asyncio.get_running_loop()

    def write(self, data: bytes) -> bool:
        """Send it now, or behind what waits. False: the socket failed, and the owner was told."""
        try:
            super().write(data)
        except OSError as error:
            self._lost(error)
            return False
        self._watch()
        return True

    def collect(self) -> None:
        """Take over what the lane sent and its socket did not take."""
        super().collect()
        self._watch()

    def close(self) -> None:
        """The connection ends; what waits is forgotten."""
        super().close()
        self._watch()

    def _watch(self) -> None:
        """While bytes wait, and no longer, the loop says when the socket takes some.

        uvloop gives a socket up at its first error: it calls the reader a last time, which may find
        only what came before the error, and then says nothing of this socket any more. Asked to, it
        raises RuntimeError; the connection is lost, and its owner is told.
        """
        if self._watched == bool(self._waiting):
            return
        self._watched = not self._watched
        if self._watched:
            self.since = self._loop.time()
            try:
                self._loop.add_writer(self._fd, self._on_writable)
            except RuntimeError:
                self._loop.call_soon(self._on_given_up)
        else:
            self._loop.remove_writer(self._fd)

    def _on_given_up(self) -> None:
        """Out of the sender's stack, which does not expect to be called back; the owner may have
        closed it meanwhile."""
        if self._watched:
            self._lost(ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)))

    def _on_writable(self) -> None:
        before = len(self._waiting)
        try:
            self.flush()
        except OSError as error:
            self._lost(error)
            return
        if len(self._waiting) == before:
            return
        self.since = self._loop.time()
        self._watch()
        self._progress()
