"""One node per home: a lock that dies with its holders."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from cometkms.errors import BusyError, StateError
from cometkms.store.files import open_file

LOCK_NAME = "cmkms.lock"


def lock_home(home: Path) -> int:
    """Hold <home>/cmkms.lock; the descriptor is inherited by children, so an orphan still holds it.

    Raises: BusyError naming the holder's pid; StateError if the home cannot be written.
    """
    path = home / LOCK_NAME
    try:
        fd = open_file(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise StateError(f"{path} cannot be opened: {error.strerror}; cure: `cmkms init --home {home}`") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(fd)
        raise BusyError(f"a node (pid {holder}) uses {home} already; cure: stop it first") from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


@contextlib.contextmanager
def locked_home(home: Path) -> Iterator[None]:
    """lock_home() for a command that works on a stopped node."""
    fd = lock_home(home)
    try:
        yield
    finally:
        os.close(fd)
