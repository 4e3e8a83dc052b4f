"""Files that survive a power cut: written aside, synced, renamed, and the directory synced too."""

import errno
import os
from pathlib import Path
from typing import Protocol

from cometkms.errors import StoreFailure


class Disk(Protocol):
    """The system calls the store makes. `os` is one; tests bring disks that lie, fill up and lose power."""

    def pwrite(self, fd: int, data: bytes, offset: int, /) -> int: ...

    def pread(self, fd: int, size: int, offset: int, /) -> bytes: ...

    def fdatasync(self, fd: int, /) -> None: ...


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
        raise StoreFailure(f"{path} could not be written: {error}") from error


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
