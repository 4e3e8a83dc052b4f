"""Files that survive a power cut: written aside, synced, renamed, and the directory synced too."""

import errno
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from cometkms import __version__
from cometkms.errors import StateError, StoreFailure, os_words


class Disk(Protocol):
    """The system calls the store makes. `os` is one; tests bring disks that lie, fill up and lose power."""

    def pwrite(self, fd: int, data: bytes, offset: int, /) -> int: ...

    def pread(self, fd: int, size: int, offset: int, /) -> bytes: ...

    def fdatasync(self, fd: int, /) -> None: ...


class FormatError(StateError):
    """A durable file of another version of this program. It is neither corrupt nor lost: no recovery touches it."""

    def __init__(self, path: Path, found: str, known: str) -> None:
        super().__init__(
            f"{path} has the format {found}, and this program, version {__version__}, knows {known} only: another version wrote it. Nothing was "
            "changed. Cure: start the version that wrote it; what going back to an older one takes is in docs/UPGRADING.md"
        )


def check_format(path: Path, document: Mapping[str, object], known: int) -> None:
    """Of a JSON document of ours, whose "format" is 1 where it does not say. Raises: FormatError."""
    found = document.get("format", 1)
    if found != known:
        raise FormatError(path, str(found), str(known))


def open_regular(path: Path) -> int:
    """Open a file for reading without ever waiting for it: a FIFO, a socket, a device or a directory is no file. Raises: OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return fd


def read_bounded(path: Path, most: int) -> bytes:
    """A regular file's first `most` bytes and one more, which says that it is longer. Raises: OSError."""
    with os.fdopen(open_regular(path), "rb") as file:
        return file.read(most + 1)


def sync_directory(path: Path) -> None:
    """Make renames and creations in a directory durable. Raises: OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_atomically(path: Path, data: bytes | bytearray, mode: int = 0o600) -> None:
    """Replace `path` with `data`: after a crash the old content is there or the new, never anything else.

    Raises: StoreFailure.
    """
    aside = path.with_name(f".{path.name}.tmp")
    try:
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        try:
            os.fchmod(fd, mode)
            written = os.write(fd, data)
            if written != len(data):
                raise OSError(f"short write: {written} of {len(data)} bytes")
            os.fsync(fd)
        finally:
            os.close(fd)
        aside.rename(path)
        sync_directory(path.parent)
    except OSError as error:
        raise StoreFailure(f"{path} could not be written: {os_words(error)}") from error


def create_exclusively(path: Path, data: bytes | bytearray, mode: int = 0o600) -> None:
    """Make a file that was not there, whole and durable, or nothing. Raises: FileExistsError, OSError."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.new")
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        written = os.write(fd, data)
        if written != len(data):
            raise OSError(errno.ENOSPC, f"short write: {written} of {len(data)} bytes")
        os.fsync(fd)
        os.link(aside, path)
    finally:
        os.close(fd)
        aside.unlink()
    sync_directory(path.parent)
