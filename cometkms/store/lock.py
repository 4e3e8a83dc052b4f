"""One node per home: a lock that no child can give up, and that no process of the node
outlives unseen.

The supervisor holds flock(2) on <home>/cmkms.lock and no child has that open file: LOCK_UN by any
process that shares it would end the lock for all. Each child opens the file anew, to read, and
holds a shared open-file-description lock of its own (the other kind, which does not meet flock): it
can give up its own only. So does the helper that writes beside the keys. A start takes the first
and looks for the second, so that an orphan of a supervisor that was killed still keeps another node
out. Such orphans end by themselves, within moments, so a start waits that long before it refuses.

The file holds the pid of the supervisor that used the home last. A command that works on a stopped
node holds the lock and writes nothing: it may only look, or be refused.
"""

import contextlib
import errno
import fcntl
import os
import struct
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cometkms.durable import open_directory, open_file
from cometkms.errors import BusyError, StateError, cure_of_file, is_no_file, os_words
from cometkms.limits import ORPHANS_LOOK_S, ORPHANS_WAIT_S

LOCK_NAME = "cmkms.lock"
_LOCKS: Final = Path("/proc/locks")
#: struct flock: type, whence, start, length (0: to the end), and a pid that must be 0.
_FLOCK: Final = struct.Struct("hhqqi4x")
# more than any pid: a shorter one covers a longer one, so that nothing is cut off before it is
# written
_PID_BYTES = 16
_UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a home's lock.

    `is_node`: it is the process that noted its pid there; a command notes nothing.
    """

    pid: str
    is_node: bool

    @property
    def cure(self) -> str:
        """What to do where it does not answer."""
        return (
            "wait if it has only begun; else its log, and stop it"
            if self.is_node
            else "wait until it has ended, or stop it"
        )

    def __str__(self) -> str:
        return f"{'a node' if self.is_node else 'another process'} (pid {self.pid})"


def _note(words: str) -> None:
    """What a command says while it waits."""
    print(f"note     {words}", file=sys.stderr, flush=True)


def lock_home(home: Path, tell: Callable[[str], None] = _note) -> int:
    """Hold <home>/cmkms.lock for a node, and note its pid there; the descriptor is this process's
    alone (share_home).

    Raises: as _take does.
    """
    fd = _take(home, tell)
    _note_pid(fd)
    return fd


def _note_pid(fd: int) -> None:
    """Write this process's pid there, for people only: the lock holds without it, and a full disk
    takes no pid.
    """
    with contextlib.suppress(OSError):
        os.pwrite(fd, f"{os.getpid()}\n".ljust(_PID_BYTES).encode(), 0)


def _take(home: Path, tell: Callable[[str], None]) -> int:
    """Take the lock.

    The processes of a node whose supervisor was killed are waited for, up to ORPHANS_WAIT_S, and
    `tell` says so. Raises: BusyError naming the holder's pid; StateError if the home cannot be
    written.
    """
    fd = _opened(home)
    try:
        noted = _noted(fd)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(os.fstat(fd).st_ino, noted)
            raise BusyError(f"{holder} uses {home} already", cure="stop it first") from None
        _outlive_orphans(fd, home, noted, tell)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _opened(home: Path) -> int:
    """The lock file, which is made where there is none. Raises: StateError."""
    path = home / LOCK_NAME
    try:
        return open_file(path, os.O_RDWR | os.O_CREAT)
    except FileNotFoundError as error:
        raise StateError(f"{home} does not exist", cure=f"`cmkms init --home {home}`") from error
    except OSError as error:
        raise StateError(
            f"{path} cannot be opened: {os_words(error)}",
            cure="move it away: a lock file is made anew"
            if is_no_file(error)
            else cure_of_file(error, f"give {home} and what is in it to the user that runs this"),
        ) from error


def _holder(inode: int, noted: str) -> Holder:
    """Who holds the lock, by the kernel's list; the noted one where the list has none, as of
    another pid namespace, or where files of two disks have this one's number.
    """
    try:
        found = {line[4] for line in _flocks(inode)}
    except OSError:
        found = set()
    pid = found.pop() if len(found) == 1 else noted
    return Holder(pid, is_node=pid == noted != _UNKNOWN)


def _outlive_orphans(fd: int, home: Path, supervisor: str, tell: Callable[[str], None]) -> None:
    """Nobody else can begin meanwhile: the caller holds the supervisor's lock.

    Raises: BusyError, OSError.
    """
    deadline = time.monotonic() + ORPHANS_WAIT_S
    waiting = False
    while True:
        try:
            _own_lock(fd, fcntl.F_WRLCK)
            _own_lock(fd, fcntl.F_UNLCK)
        except (BlockingIOError, PermissionError):  # the kernel has two words for the same
            if time.monotonic() >= deadline:
                raise BusyError(
                    f"processes of a node use {home} already: its supervisor (pid {supervisor}) is gone, and they did not end within "
                    f"{ORPHANS_WAIT_S:g} s",
                    cure="stop them first",
                ) from None
            if not waiting:
                tell(
                    f"waiting up to {ORPHANS_WAIT_S:g} s for the processes of the node that used {home} (pid {supervisor}) to end"
                )
                waiting = True
            time.sleep(ORPHANS_LOOK_S)
        else:
            return


def is_locked(home: Path) -> bool:
    """Whether some process holds the home's lock, by the kernel's list: trying it would be in a
    starting node's way.
    """
    return _locked_inode(home) is not None


def holder_of(home: Path) -> Holder | None:
    """Who holds the home's lock, likewise; None where nobody does."""
    inode = _locked_inode(home)
    if inode is None:
        return None
    try:
        fd = open_file(home / LOCK_NAME, os.O_RDONLY)
    except OSError:  # another user's: whether it is a node is not known
        return _holder(inode, _UNKNOWN)
    try:
        return _holder(inode, _noted(fd))
    finally:
        os.close(fd)


def flocker_of(path: Path) -> str | None:
    """The pid of a process that holds a flock on this very file, by the kernel's list; None where
    nobody does, or it cannot be told.
    """
    try:
        return next((line[4] for line in _flocks(path.stat().st_ino)), None)
    except OSError:
        return None


def hold_anew(home: Path, fd: int) -> bool:
    """Whether the lock file that `fd` is, is not the home's any more (removed, moved away, or
    another's in its place): `fd` is the home's from then on, locked, with the pid noted.

    Without it `start` and the commands that change a stopped node's home would go on beside a node
    that runs, up to the promise store's own lock.

    Raises: StateError, BusyError: tried again later.
    """
    path, held = home / LOCK_NAME, os.fstat(fd)
    try:
        if os.path.samestat(held, path.stat()):
            return False
    except FileNotFoundError:
        pass
    except OSError as error:  # of a network's disk, say: it is looked at again
        raise StateError(f"{path} cannot be looked at: {os_words(error)}") from error
    made = _opened(home)
    try:
        try:
            fcntl.flock(made, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(os.fstat(made).st_ino, _noted(made))
            raise BusyError(f"{holder} uses {home}, in which this node runs", cure="stop that one") from None
        _note_pid(made)
        if held.st_nlink:  # it has a name somewhere still: whoever takes it there meets this node
            os.dup(fd)
        os.dup2(made, fd, inheritable=False)
    finally:
        os.close(made)
    return True


def _locked_inode(home: Path) -> int | None:
    """The number of the home's lock file while some process holds it."""
    try:
        inode = (home / LOCK_NAME).stat().st_ino
        return inode if _flocks(inode) else None
    except OSError:
        return None


def _noted(fd: int) -> str:
    """The pid of the node that used the home last."""
    return os.pread(fd, 32, 0).decode("ascii", "replace").strip() or _UNKNOWN


def _flocks(inode: int) -> list[list[str]]:
    """The kernel's list of who holds a flock on a file of this number, a line as its words:
    number, kind, mode, access, pid, device and file, start, end (proc_locks(5)). Raises: OSError.
    """
    lines = map(str.split, _LOCKS.read_text().splitlines())
    return [line for line in lines if line[1:2] == ["FLOCK"] and line[5].endswith(f":{inode}")]


def share_home(home: Path, inherited: int) -> None:
    """A child's part, before anything else: it gives `inherited` back, and keeps another node out
    as long as it lives itself.

    Raises: StateError.
    """
    os.close(inherited)
    hold_home(home)


def hold_home(home: Path) -> None:
    """Keep another node out as long as this process lives. Raises: StateError."""
    path = home / LOCK_NAME
    try:
        folder = open_directory(home)
        try:
            careful = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            fd = os.open(LOCK_NAME, careful, dir_fd=folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise StateError(f"{path} cannot be opened: {os_words(error)}", cure="give it to the node's user") from error
    try:
        _own_lock(fd, fcntl.F_RDLCK)
    except OSError as error:
        # Over NFS both kinds of lock are one: the supervisor's keeps this out, and
        # another node too.
        os.close(fd)
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise StateError(f"{path} cannot be locked: {os_words(error)}") from error


def _own_lock(fd: int, kind: int) -> None:
    """Raises: OSError; BlockingIOError or PermissionError while another has it."""
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, 0, 0, 0))


@contextlib.contextmanager
def locked_home(home: Path) -> Iterator[None]:
    """Hold the home's lock for a command that works on a stopped node. Raises: as _take does."""
    fd = _take(home, _note)
    try:
        yield
    finally:
        os.close(fd)
