"""What the C core's lanes share: which bytes the socket did not take, and what of a receipt is left
for the owner.
"""

from typing import Any

from cometkms._native import ffi, lib
from cometkms.core.native.crypto import NativeFrames
from cometkms.core.native.seam import check_turn
from cometkms.core.native.session import NativeSession


class FrameLane:
    """A lane over sealed frames: to a member, to a node, or to an agent."""

    __slots__ = ("_error", "_frames", "_link", "_rest_at", "_rest_len")

    def __init__(self, link: Any, frames: NativeFrames, fd: int) -> None:
        """`link`: a struct with frames, fd, blocked, out and unsent, which the lane keeps alive."""
        self._link = link
        self._frames = frames  # keeps its struct alive
        link.frames, link.fd = frames.c, fd
        self._rest_at, self._rest_len, self._error = ffi.new("size_t *"), ffi.new("size_t *"), ffi.new("int *")

    @property
    def blocked(self) -> bool:
        """Let nothing be sent in C while older bytes of the owner wait for the socket."""
        return bool(self._link.blocked)

    @blocked.setter
    def blocked(self, value: bool) -> None:
        self._link.blocked = value

    def take_unsent(self) -> bytes:
        """Return what the socket did not take, which the owner sends before anything else."""
        link = self._link
        unsent = bytes(ffi.buffer(link.out, link.unsent)) if link.unsent else b""
        link.unsent = 0
        return unsent

    def _rest(self, plain: Any) -> bytes:
        """The part of what was received that is the owner's."""
        size = self._rest_len[0]
        return bytes(ffi.buffer(plain + self._rest_at[0], size)) if size else b""


class SessionLane:
    """A lane over a validator's session."""

    __slots__ = ("_error", "_found", "c", "session")

    def __init__(self, c: Any, session: NativeSession, fd: int) -> None:
        """`c`: a struct with session, fd, blocked, unsent_at and unsent."""
        self.c = c
        self.session = session  # keeps its struct alive
        c.session, c.fd = session.c, fd
        self._found, self._error = ffi.new("int *"), ffi.new("int *")

    @property
    def blocked(self) -> bool:
        """Let nothing be sent in C while older bytes of the owner wait for the socket."""
        return bool(self.c.blocked)

    @blocked.setter
    def blocked(self, value: bool) -> None:
        self.c.blocked = value

    def take_unsent(self) -> bytes:
        """Return what the socket did not take, which the owner sends before anything else."""
        at, size = self.c.unsent_at, self.c.unsent
        self.c.unsent = 0
        return bytes(ffi.buffer(self.c.session.outbox + at, size)) if size else b""

    def _what(self, status: int) -> int:
        """What a turn found. Raises: as check_turn()."""
        if status != lib.CK_OK:
            check_turn(status, self._error[0])
        return int(self._found[0])
