"""What a process asks of the kernel for itself. Every failure is an error: a protection is there or it is said."""

import ctypes
import os
import resource
import signal
from typing import Final

from cometkms.errors import InvariantError, WordedError

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NAME: Final = 15
_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_SET_NO_NEW_PRIVS: Final = 38


def _prctl(option: int, value: int | bytes) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    second = ctypes.c_char_p(value) if isinstance(value, bytes) else ctypes.c_ulong(value)
    nothing = ctypes.c_ulong(0)  # prctl is variadic and reads longs: a bare 0 would pass an int
    if libc.prctl(option, second, nothing, nothing, nothing) != 0:
        number = ctypes.get_errno()
        raise WordedError(number, f"prctl({option}): {os.strerror(number)}")


def die_with_parent(parent: int) -> None:
    """SIGKILL when the parent dies, and now if it is dead already. Raises: InvariantError for an orphan."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise InvariantError(f"the parent {parent} died during the fork; it is {os.getppid()} now")


def make_undumpable() -> None:
    """No core dump, no ptrace, /proc/<pid> for root only; no new privileges by exec."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(_PR_SET_DUMPABLE, 0)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def adopt_orphans() -> None:
    """What a child leaves behind becomes this process's own child, not process 1's."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def set_name(name: str) -> None:
    """What `ps -o comm` shows: at most 15 bytes."""
    _prctl(_PR_SET_NAME, name.encode()[:15])
