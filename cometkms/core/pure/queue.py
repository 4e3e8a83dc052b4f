"""The queue without shared memory: a SOCK_SEQPACKET socket pair.

Twin of cometkms/core/native/queue.py.
"""

import mmap
import select
import socket
from typing import Final

from cometkms.errors import InvariantError
from cometkms.limits import QUEUE_SLOT_BYTES

_PAYLOAD_MAX = QUEUE_SLOT_BYTES - 8
_PUSHED: Final = 0  # words in shared memory: written by the producer …
_POPPED: Final = 1  # … and by the consumer


class SocketQueue:
    """Carry messages from one process to another over a socket pair.

    It is made before the fork; afterwards one process pushes and one pops.
    """

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._memory = mmap.mmap(-1, 16)
        self._counts = memoryview(self._memory).cast("Q")

    def fileno(self) -> int:
        """Return the descriptor that is readable when there may be something to pop."""
        return self._reader.fileno()

    def push(self, message: bytes, *, wake: bool = True) -> bool:  # noqa: ARG002 - a socket always wakes
        """Add a message, and return False where there is no room.

        Raises: InvariantError for an impossible length.
        """
        if not 0 < len(message) <= _PAYLOAD_MAX:
            raise InvariantError(f"the queue refuses a message of {len(message)} bytes")
        self._counts[_PUSHED] += 1  # first: once it is popped, it was counted
        try:
            self._writer.send(message)
        except BlockingIOError:
            self._counts[_PUSHED] -= 1
            return False
        return True

    def wake(self) -> None:
        """Do nothing more, since push() woke the consumer."""

    def pop(self) -> bytes | None:
        """Take the oldest message, or return None and clear the wake-up."""
        try:
            message = self._reader.recv(QUEUE_SLOT_BYTES)
        except BlockingIOError:
            # an end that died between message and count is made good
            self._counts[_POPPED] = self._counts[_PUSHED]
            return None
        self._counts[_POPPED] += 1
        if not 0 < len(message) <= _PAYLOAD_MAX:
            raise InvariantError(f"the queue holds an impossible message of {len(message)} bytes")
        return message

    def spin(self, ns: int) -> bool:
        """Wait for a message for a short time and tell whether there is one.

        It waits in poll(), since Python has nothing cheaper.
        """
        return bool(select.select([self._reader], [], [], ns / 1e9)[0])

    def depth(self) -> int:
        """Return how many messages waited a moment ago."""
        return max(0, self._counts[_PUSHED] - self._counts[_POPPED])

    def discard(self) -> int:
        """Drop everything that is queued and return how many messages that was."""
        count = 0
        while self.pop() is not None:
            count += 1
        return count

    def close(self) -> None:
        """Give back this process's memory and descriptors; the other process keeps its own."""
        self._reader.close()
        self._writer.close()
        self._counts.release()
        self._memory.close()
