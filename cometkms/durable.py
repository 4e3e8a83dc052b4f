"""Files that survive a power cut: written aside, synced, renamed, and the directory synced too.

What fails leaves nothing aside.

Root often works in a home that belongs to somebody else, who may put a link in the place of any
file or directory of it. So root follows a link only if it is root's own, opens for writing only
what has no second name and belongs to root or to its directory's owner, makes new files with names
that nobody has prepared, and leaves them to whom the directory belongs.
"""

import contextlib
import errno
import os
import select
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Protocol

from cometkms import __version__
from cometkms.errors import InTheWayError, StateError, StoreFailure, UnfitFileError, cure_of_file, os_words
from cometkms.limits import GIVEN_FILE_S

_LINKS_MAX: Final = 40  # as the kernel's own walk


class Disk(Protocol):
    """The system calls the store makes.

    `os` is one; tests bring disks that lie, fill up and lose power.
    """

    def pwrite(self, fd: int, data: bytes, offset: int, /) -> int: ...

    def pread(self, fd: int, size: int, offset: int, /) -> bytes: ...

    def fdatasync(self, fd: int, /) -> None: ...


class FormatError(StateError):
    """A durable file of another version of this program.

    It is neither corrupt nor lost: no recovery touches it.
    """

    def __init__(self, path: Path, found: str, known: str) -> None:
        super().__init__(
            f"{path} has the format {found}, and this program, version {__version__}, knows {known} only: another version wrote it. Nothing was "
            "changed",
            cure="start the version that wrote it; what going back to an older one takes is in docs/UPGRADING.md",
        )


def check_format(path: Path, document: Mapping[str, object], *known: int) -> None:
    """Check the format of a JSON document of ours, which is 1 where it does not say.

    `known`: those that are read, the newest one last.

    Raises: FormatError.
    """
    found = document.get("format", 1)
    if found not in known:
        raise FormatError(path, str(found), str(known[-1]))


def open_directory(path: Path) -> int:
    """A descriptor of it, which can be synced.

    Raises: OSError; ELOOP for a link on the way that root does not follow.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    if os.geteuid() != 0:
        return os.open(path, flags)
    walked = _walk(path)
    try:
        return os.open(".", flags, dir_fd=walked)
    finally:
        os.close(walked)


def _walk(path: Path) -> int:
    """Root's way to it, a name at a time: a descriptor that only names it. Raises: OSError."""
    here = os.open("/" if path.is_absolute() else ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    names, links = list(reversed(path.parts)), 0
    try:
        while names:
            name = names.pop()
            if name == "/":
                continue
            there = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            status = os.fstat(there)
            if not stat.S_ISLNK(status.st_mode):
                os.close(here)
                here = there
                continue
            try:
                links += 1
                if status.st_uid != 0 or links > _LINKS_MAX:
                    why = f"root follows no link that uid {status.st_uid} made" if status.st_uid else "too many links"
                    raise UnfitFileError(errno.ELOOP, why, str(path))
                target = os.readlink("", dir_fd=there)
            finally:
                os.close(there)
            names += reversed(Path(target).parts)
            if target.startswith("/"):
                os.close(here)
                here = -1
                here = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except BaseException:
        if here >= 0:
            os.close(here)
        raise
    return here


def open_file(path: Path, flags: int, mode: int = 0o600) -> int:
    """A descriptor of a regular file, for root with the module's care.

    `flags`: O_CREAT makes one that is not there.

    Raises: OSError; FileNotFoundError only where there is nothing, and no link to a file that is
    gone either.
    """
    try:
        return _open_file(path, flags, mode)
    except FileNotFoundError:
        _check_link(path)
        raise
    except OSError as error:
        if error.errno == errno.ELOOP and not isinstance(error, UnfitFileError) and path.is_symlink():
            raise UnfitFileError(
                errno.ELOOP, "it is a link, and what is written to is not reached by one", str(path)
            ) from error
        _check_openable(error, path)
        raise


def _open_file(path: Path, flags: int, mode: int) -> int:
    writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) != 0
    if os.geteuid() != 0:
        fd = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | (os.O_NOFOLLOW if writes else 0), mode)
        try:
            _check_regular(os.fstat(fd), path)
        except OSError:
            os.close(fd)
            raise
        return fd
    if not writes:
        walked = _walk(path)
        try:
            _check_regular(os.fstat(walked), path)
            return os.open(
                f"/proc/self/fd/{walked}", flags | os.O_CLOEXEC
            )  # the very file, wherever its name leads now
        finally:
            os.close(walked)
    folder = open_directory(path.parent)
    try:
        careful = (flags & ~os.O_TRUNC) | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        fd = os.open(path.name, careful, mode, dir_fd=folder)
        try:
            _check_own(os.fstat(fd), os.fstat(folder), path)
            if flags & os.O_TRUNC:
                os.ftruncate(fd, 0)
            if flags & os.O_CREAT:
                leave_to_owner(folder, path.name)
        except OSError:
            os.close(fd)
            raise
        return fd
    finally:
        os.close(folder)


def is_private(status: os.stat_result) -> bool:
    """Whether a secret in it is this process's alone: nobody else can read it. Or it is given by
    root to a group that this process has and that may read it only, as a Kubernetes secret is with
    fsGroup and defaultMode 0440.
    """
    mode = stat.S_IMODE(status.st_mode)
    if not mode & 0o077:
        return True
    mine = {os.getegid(), *os.getgroups()} - ({0} if os.geteuid() == 0 else set())
    return status.st_uid == 0 and status.st_gid in mine and not mode & 0o037


def _check_regular(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UnfitFileError(errno.EINVAL, "it is no regular file", str(path))


def _check_openable(error: OSError, path: Path) -> None:
    """A socket, and a FIFO that nobody reads, have no device or address. Raises: UnfitFileError."""
    if error.errno == errno.ENXIO:
        raise UnfitFileError(errno.EINVAL, "it is no regular file", str(path)) from error


def _check_own(status: os.stat_result, folder: os.stat_result, path: Path) -> None:
    """What root may change in another's directory. Raises: OSError."""
    _check_regular(status, path)
    if status.st_nlink > 1:
        raise UnfitFileError(errno.EMLINK, "it has a second name somewhere, and root does not write to it", str(path))
    if status.st_uid not in (0, folder.st_uid):
        words = (
            f"it belongs to uid {status.st_uid}, and its directory to uid {folder.st_uid}: root does not write to it"
        )
        raise UnfitFileError(errno.EPERM, words, str(path))


def _check_link(path: Path) -> None:
    """What a link leads to is missing, and that is not the same as nothing: it may lie on a disk
    that is not mounted. Raises: UnfitFileError.
    """
    if path.is_symlink():
        raise UnfitFileError(errno.ENOENT, f"it is a link to {path.readlink()}, and nothing is there", str(path))


def read_file(path: Path, most: int) -> bytes:
    """A regular file's first `most` bytes and one more, which says that it is longer.

    Raises: OSError.
    """
    with os.fdopen(open_file(path, os.O_RDONLY), "rb") as file:
        return file.read(most + 1)


def open_regular(path: Path) -> int:
    """Open a file of somebody else's home, which is read as its own program reads it: links are
    followed, also by root. Never waits: a FIFO, a socket, a device or a directory is no file.
    Raises: OSError.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:
        _check_link(path)
        raise
    except OSError as error:
        _check_openable(error, path)
        raise
    try:
        _check_regular(os.fstat(fd), path)
    except OSError:
        os.close(fd)
        raise
    return fd


def read_bounded(path: Path, most: int) -> bytes:
    """read_file() of somebody else's home. Raises: OSError."""
    with os.fdopen(open_regular(path), "rb") as file:
        return file.read(most + 1)


def open_given(path: Path) -> int:
    """Whatever an operator named on the command line: a file, or a pipe, as `<(command)` is one.
    Does not wait, and reading it does not either: see await_given(). Raises: OSError.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        _check_openable(error, path)
        raise
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        os.close(fd)
        raise UnfitFileError(errno.EISDIR, "it is a directory", str(path))
    return fd


def await_given(fd: int, path: Path) -> None:
    """Wait until something can be read, or its end.

    Raises: UnfitFileError where nothing comes: nobody writes into that pipe.
    """
    if not select.select([fd], [], [], GIVEN_FILE_S)[0]:
        raise UnfitFileError(errno.EAGAIN, f"nothing came from it within {GIVEN_FILE_S:.0f} s", str(path))


def read_given(path: Path, most: int) -> bytes:
    """The first `most` bytes, and one more, which says that it is longer, of what open_given()
    opens. Raises: OSError.
    """
    fd, data = open_given(path), b""
    try:
        while len(data) <= most:
            await_given(fd, path)
            part = os.read(fd, most + 1 - len(data))
            if not part:
                break
            data += part
    finally:
        os.close(fd)
    return data


def check_way(path: Path) -> None:
    """Whether every name that leads to a directory, and its own, is a directory or not there yet.

    Raises: InTheWayError with the name that is neither: a file, or a link to a disk that is not
    mounted, say.
    """
    for here in (*reversed(path.parents), path):
        if os.path.lexists(here) and not here.is_dir():
            why = (
                f"it is a link to {here.readlink()}, and there is no directory"
                if here.is_symlink()
                else "it is no directory"
            )
            raise InTheWayError(errno.ENOTDIR, why, str(here))


def make_directory(path: Path, mode: int = 0o700) -> None:
    """Make a directory with those above it, which others may look into.

    Whatever the umask: none that others can write. One that is there stays as it is.

    Raises: OSError, whose filename is the whole path of what could not be made.
    """
    try:
        _make_directory(path, mode)
    except UnfitFileError:
        raise
    except OSError as error:
        check_way(path)
        if not Path(str(error.filename or "")).is_absolute():
            error.filename = str(path)
        raise


def _make_directory(path: Path, mode: int) -> None:
    try:
        os.close(open_directory(path))
        return
    except FileNotFoundError:
        _make_directory(path.parent, 0o755)
    folder = open_directory(path.parent)
    try:
        try:
            os.mkdir(path.name, mode & 0o755, dir_fd=folder)
            leave_to_owner(folder, path.name)
        except FileExistsError:  # by another process, or it is a link to nowhere
            os.close(open_directory(path))
    finally:
        os.close(folder)


def leave_to_owner(folder: int, name: str) -> None:
    """What root made in a directory belongs to whom the directory does."""
    owner = os.fstat(folder)
    if os.geteuid() == 0 and owner.st_uid != 0:
        # a root without that right; it stays root's, who made it
        with contextlib.suppress(PermissionError):
            os.chown(name, owner.st_uid, owner.st_gid, dir_fd=folder, follow_symlinks=False)


def hand_over(path: Path, uid: int, gid: int) -> None:
    """A directory of a node's own and the files in it, to the account that works there
    from now on. Directories in it, and what belongs to neither root nor the directory's
    owner, stay whose they are.

    Raises: OSError, also for links and files with a second name.
    """
    folder = open_directory(path)
    try:
        before = os.fstat(folder)
        os.fchown(folder, 0, 0)  # whoever had it changes nothing in it meanwhile
        try:
            for name in os.listdir(folder):  # noqa: PTH208 - by its descriptor
                _hand_over(folder, path / name, frozenset({0, before.st_uid, uid}), (uid, gid))
        except OSError:
            os.fchown(folder, before.st_uid, before.st_gid)
            raise
        os.fchown(folder, uid, gid)
    finally:
        os.close(folder)


def _hand_over(folder: int, path: Path, known: frozenset[int], to: tuple[int, int]) -> None:
    fd = os.open(path.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        if not _is_to_be_handed_over(os.fstat(fd), path, known, to):
            return
        try:
            os.chown(f"/proc/self/fd/{fd}", *to)
        except OSError as error:  # not the file's fault: this root may not, or has no such account
            raise OSError(error.errno, error.strerror) from None
    finally:
        os.close(fd)


def check_hand_over(path: Path, uid: int, gid: int) -> None:
    """Whether hand_over() would refuse what lies in a directory. Changes nothing.

    Raises: OSError, as it does.
    """
    known = frozenset({0, path.stat().st_uid, uid})
    for one in path.iterdir():
        _is_to_be_handed_over(one.lstat(), one, known, (uid, gid))


def _is_to_be_handed_over(status: os.stat_result, path: Path, known: frozenset[int], to: tuple[int, int]) -> bool:
    """Raises: UnfitFileError for what must not be: a link, or a file with a second name."""
    if stat.S_ISDIR(status.st_mode) or (status.st_uid, status.st_gid) == to:
        return False
    # a third party's, say an operator's own copy: nobody works with it here
    if status.st_uid not in known:
        return False
    if status.st_nlink > 1 or stat.S_ISLNK(status.st_mode):
        what = "is a link" if stat.S_ISLNK(status.st_mode) else "has a second name somewhere"
        raise UnfitFileError(errno.EPERM, f"it {what}, so it is not handed over", str(path))
    return True


def why_gone(path: Path, fd: int, inside: Path) -> str:
    """Why a file that is open is not what its name leads to any more; "" where it is. What is
    written to one that is gone is lost, and no write or sync says so.

    `path`: its name in the directory in which this process works; `inside`: where that was when the
    process came there. The kernel tells where it is now also to one that sees no other directory.
    Raises: OSError where it cannot be told.
    """
    try:
        if not os.path.samestat(path.lstat(), os.fstat(fd)):
            return "another file stands in its place"
        now = Path.cwd()
    except FileNotFoundError:
        return "it was removed, or moved away"
    return "" if now == inside else f"its directory was moved to {now}"


def sync_directory(path: Path) -> None:
    """Make renames and creations in a directory durable. Raises: OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def _folder_of(path: Path, folder: int | None) -> Iterator[int]:
    if folder is not None:
        yield folder
        return
    fd = open_directory(path.parent)
    try:
        yield fd
    finally:
        os.close(fd)


def _make_new(folder: int, name: str, mode: int) -> int:
    """A file that nobody had prepared; a crash may have left one. Raises: OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, mode, dir_fd=folder)
    except FileExistsError:
        os.unlink(name, dir_fd=folder)
        return os.open(name, flags, mode, dir_fd=folder)


def _take_away(folder: int, name: str) -> None:
    """What could not be finished is of no use to anybody, and on a full disk in the way."""
    with contextlib.suppress(OSError):
        os.unlink(name, dir_fd=folder)


@contextlib.contextmanager
def discarding(path: Path) -> Iterator[None]:
    """Take away the file of that name, made within, when what is done within fails."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError), _folder_of(path, None) as folder:
            _take_away(folder, path.name)
        raise


def write_atomically(path: Path, data: bytes | bytearray, mode: int = 0o600, folder: int | None = None) -> None:
    """Replace `path` with `data`: after a crash the old content is there or the new, never anything
    else. `folder`: its directory, open.

    Raises: StoreFailure.
    """
    aside = f".{path.name}.tmp"
    try:
        with _folder_of(path, folder) as there:
            fd = _make_new(there, aside, mode)
            try:
                try:
                    _fill(fd, data, mode)
                    leave_to_owner(there, aside)
                    os.fsync(fd)
                finally:
                    os.close(fd)
                os.rename(aside, path.name, src_dir_fd=there, dst_dir_fd=there)
            except BaseException:
                _take_away(there, aside)
                raise
            os.fsync(there)
    except OSError as error:
        denied = f"the node's user must be able to write {path.parent}" if isinstance(error, PermissionError) else ""
        cure = cure_of_file(error, denied)
        raise StoreFailure(f"{path} could not be written: {os_words(error)}", cure=cure) from error


def check_room_in(folder: Path) -> None:
    """Whether a file can be made in a directory: one is, and taken away again. For who writes
    elsewhere first, and must not stop half-way.

    Raises: OSError.
    """
    with _folder_of(folder / ".try", None) as there:
        name = ".cometkms.tmp"  # left by a crash, it is overwritten by the next
        os.close(_make_new(there, name, 0o600))
        _take_away(there, name)


def create_exclusively(path: Path, data: bytes | bytearray, mode: int = 0o600) -> None:
    """Make a file that was not there, whole and durable, or nothing.

    Raises: FileExistsError, OSError.

    It is written without a name and then given its only one, so a process that is killed in between
    leaves nothing behind: a key under a second name would outlive the first one's removal. A file
    system that knows no such files (NFS, some overlays) gets a name aside first.
    """
    with _folder_of(path, None) as there:
        try:
            fd = os.open(".", os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, mode, dir_fd=there)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
                raise
            _create_by_a_name_aside(there, path.name, data, mode)
        else:
            try:
                _fill(fd, data, mode)
                owner = os.fstat(there)
                if os.geteuid() == 0 and owner.st_uid != 0:
                    with contextlib.suppress(PermissionError):  # as leave_to_owner()
                        os.fchown(fd, owner.st_uid, owner.st_gid)
                os.fsync(fd)
                os.link(f"/proc/self/fd/{fd}", path.name, dst_dir_fd=there, follow_symlinks=True)
            finally:
                os.close(fd)
        os.fsync(there)


def _create_by_a_name_aside(folder: int, name: str, data: bytes | bytearray, mode: int) -> None:
    """Killed at the wrong moment it leaves the name aside, which nothing reads.

    Raises: FileExistsError, OSError.
    """
    aside = f".{name}.{os.getpid()}.new"
    fd = _make_new(folder, aside, mode)
    try:
        _fill(fd, data, mode)
        leave_to_owner(folder, aside)
        os.fsync(fd)
        os.link(aside, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    finally:
        os.close(fd)
        os.unlink(aside, dir_fd=folder)


def _fill(fd: int, data: bytes | bytearray, mode: int) -> None:
    """Raises: OSError."""
    os.fchmod(fd, mode)
    written = 0
    # a disk that is nearly full takes a part, and says at the next what is the matter
    while written < len(data):
        written += os.write(fd, memoryview(data)[written:])
