"""The writing half of a connection in a loop that never blocks: what the socket does not take waits here, and leaves when the socket takes it."""

import asyncio
import socket
from collections.abc import Callable
from typing import Protocol


class Lane(Protocol):
    """What sends on the same socket in C (interface.SignLane and its like): it must not overtake what waits here."""

    blocked: bool

    def take_unsent(self) -> bytes: ...


class Outbox:
    """Keep what one connection has still to send; a new connection has a new outbox."""

    def __init__(
        self,
        connection: socket.socket,
        *,
        lost: Callable[[OSError], None],
        lane: Lane | None = None,
        progress: Callable[[], None] = lambda: None,
    ) -> None:
        """`lost`: the socket failed, and the owner closes it; `progress`: the socket took something that had waited."""
        self.since = 0.0  # loop time: when the socket last took something, while something waits
        self._socket = connection
        self._lost = lost
        self._lane = lane
        self._progress = progress
        self._waiting = bytearray()
        self._loop = asyncio.get_running_loop()

    def __len__(self) -> int:
        """How many bytes wait."""
        return len(self._waiting)

    def write(self, data: bytes) -> None:
        """Send it now, or behind what waits."""
        sent = 0
        if not self._waiting:
            try:
                sent = self._socket.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as error:
                self._lost(error)
                return
        if sent < len(data):
            self._keep(data[sent:])

    def collect(self) -> None:
        """Take over what the lane's socket did not take."""
        if self._lane is not None and self._lane.blocked and (unsent := self._lane.take_unsent()):
            self._keep(unsent)

    def close(self) -> None:
        """The connection ends; what waits is forgotten."""
        self._waiting.clear()
        self._loop.remove_writer(self._socket.fileno())

    def _keep(self, unsent: bytes) -> None:
        if not self._waiting:
            self.since = self._loop.time()
            self._loop.add_writer(self._socket.fileno(), self._on_writable)
        self._waiting += unsent
        if self._lane is not None:
            self._lane.blocked = True

    def _on_writable(self) -> None:
        try:
            sent = self._socket.send(self._waiting)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lost(error)
            return
        del self._waiting[:sent]
        self.since = self._loop.time()
        if not self._waiting:
            self._loop.remove_writer(self._socket.fileno())
            if self._lane is not None:
                self._lane.blocked = False
        self._progress()
