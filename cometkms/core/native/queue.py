"""The C ring in anonymous shared memory, with an eventfd to wake the consumer."""

import contextlib
import mmap
import os

from cometkms._native import ffi, lib
from cometkms.errors import InvariantError


class RingQueue:
    """Carry messages from one process to another in a ring in shared memory.

    It is made before the fork; afterwards one process pushes and one pops.

    The ring continues from its shared indices when either process is replaced; the object itself
    survives in the supervisor, which forks the replacement.
    """

    __slots__ = ("_memory", "_out", "_size", "_wake", "ring")

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, lib.ck_ring_size())
        self.ring = ffi.cast("ck_ring *", ffi.from_buffer(self._memory))
        self._out = ffi.new("uint8_t[]", lib.CK_RING_PAYLOAD)
        self._size = ffi.new("size_t *")
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        """Return the descriptor that is readable when there may be something to pop."""
        return self._wake

    def push(self, message: bytes, *, wake: bool = True) -> bool:
        """Add a message, and return False where there is no room.

        Raises: InvariantError for an impossible length or corrupt indices.
        """
        status = lib.ck_ring_push(self.ring, message, len(message))
        if status == lib.CK_NO_ROOM:
            return False
        if status != lib.CK_OK:
            raise InvariantError(f"the ring refuses a message of {len(message)} bytes")
        if wake:
            self.wake()
        return True

    def wake(self) -> None:
        """Wake the consumer."""
        # the counter is full of unread wake-ups: awake it is
        with contextlib.suppress(BlockingIOError):
            os.eventfd_write(self._wake, 1)

    def pop(self) -> bytes | None:
        """Take the oldest message, or return None and clear the wake-up."""
        message = self._take()
        if message is None:  # clear the wake-up, then look again: a push in between is not lost
            self.clear()
            message = self._take()
        return message

    def clear(self) -> None:
        """Take the wake-up back; whoever does looks once more before it sleeps."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)

    def _take(self) -> bytes | None:
        status = lib.ck_ring_pop(self.ring, self._out, self._size)
        if status == lib.CK_MORE:
            return None
        if status != lib.CK_OK:
            raise InvariantError("the ring holds an impossible message")
        return bytes(ffi.buffer(self._out, self._size[0]))

    def spin(self, ns: int) -> bool:
        """Wait for a message for a short time without giving up the CPU, and tell
        whether there is one.
        """
        return bool(lib.ck_ring_await(self.ring, ns))

    def depth(self) -> int:
        """Return how many messages waited a moment ago."""
        return int(lib.ck_ring_depth(self.ring))

    def discard(self) -> int:
        """Drop everything that is queued and return how many messages that was."""
        count = 0
        while self.pop() is not None:
            count += 1
        return count

    def close(self) -> None:
        """Give back this process's memory and descriptors; the other process keeps its own."""
        self.ring = ffi.NULL
        self._memory.close()
        os.close(self._wake)
