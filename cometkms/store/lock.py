"""One node per home: a lock that dies with its holders."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from cometkms.errors import BusyError, StateError, os_words

LOCK_NAME = "cmkms.lock"
_PID_BYTES = 16  # more than any pid: a shorter one covers a longer one, so that nothing is cut off before it is written


def lock_home(home: Path) -> int:
    """Hold <home>/cmkms.lock; the descriptor is inherited by children, so an orphan still holds it.

    Raises: BusyError naming the holder's pid; StateError if the home cannot be written.
    """
    path = home / LOCK_NAME
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError as error:
        raise StateError(f"{home} does not exist; cure: `cmkms init --home {home}`") from error
    except OSError as error:
        raise StateError(
            f"{path} cannot be opened: {os_words(error)}; cure: give {home} and what is in it to the user that runs this"
        ) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(fd)
        raise BusyError(f"a node (pid {holder}) uses {home} already; cure: stop it first") from None
    with contextlib.suppress(OSError):  # for people only: the lock holds without it, and a full disk takes no pid
        os.pwrite(fd, f"{os.getpid()}\n".ljust(_PID_BYTES).encode(), 0)
    return fd


@contextlib.contextmanager
def locked_home(home: Path) -> Iterator[None]:
    """lock_home() for a command that works on a stopped node."""
    fd = lock_home(home)
    try:
        yield
    finally:
        os.close(fd)
