"""The queue without shared memory: a SOCK_SEQPACKET socket pair. Twin of cometkms/native/queue.py."""

import select
import socket

from cometkms.errors import InvariantError
from cometkms.limits import QUEUE_SLOT_BYTES

_PAYLOAD_MAX = QUEUE_SLOT_BYTES - 8


class SocketQueue:
    """See interface.Queue. Made before the fork; afterwards one process pushes and one pops."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        """See interface.Queue."""
        return self._reader.fileno()

    def push(self, message: bytes, *, wake: bool = True) -> bool:  # noqa: ARG002 - a socket always wakes
        """See interface.Queue. Raises: InvariantError for an impossible length."""
        if not 0 < len(message) <= _PAYLOAD_MAX:
            raise InvariantError(f"the queue refuses a message of {len(message)} bytes")
        try:
            self._writer.send(message)
        except BlockingIOError:
            return False
        return True

    def wake(self) -> None:
        """See interface.Queue. push() did it."""

    def pop(self) -> bytes | None:
        """See interface.Queue."""
        try:
            message = self._reader.recv(QUEUE_SLOT_BYTES)
        except BlockingIOError:
            return None
        if not 0 < len(message) <= _PAYLOAD_MAX:
            raise InvariantError(f"the queue holds an impossible message of {len(message)} bytes")
        return message

    def spin(self, ns: int) -> bool:
        """See interface.Queue. Waits in poll(): Python has nothing cheaper."""
        return bool(select.select([self._reader], [], [], ns / 1e9)[0])

    def discard(self) -> int:
        """See interface.Queue."""
        count = 0
        while self.pop() is not None:
            count += 1
        return count

    def close(self) -> None:
        """Give back the descriptors."""
        self._reader.close()
        self._writer.close()
