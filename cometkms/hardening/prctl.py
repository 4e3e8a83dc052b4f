"""What a process asks of the kernel for itself. Every failure is an error: a protection is there or
it is said."""

import os
import resource
import signal
from typing import Final

from cometkms.errors import InvariantError
from cometkms.hardening.kernel import PR_SET_PDEATHSIG, prctl

_PR_SET_DUMPABLE: Final = 4
_PR_SET_NAME: Final = 15
_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_SET_NO_NEW_PRIVS: Final = 38


def die_with_parent(parent: int) -> None:
    """SIGKILL when the parent dies, and now if it is dead already. Raises: InvariantError for an
    orphan."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise InvariantError(f"the parent {parent} died during the fork; it is {os.getppid()} now")


def make_undumpable() -> None:
    """No core dump, no ptrace, /proc/<pid> for root only; no new privileges by exec."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prctl(_PR_SET_DUMPABLE, 0)
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def adopt_orphans() -> None:
    """What a child leaves behind becomes this process's own child, not process 1's."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def set_name(name: str) -> None:
    """What `ps -o comm` shows: at most 15 bytes."""
    prctl(_PR_SET_NAME, name.encode()[:15])
