"""Append to one file at a time, and make durable what was written. What the disk does not take
stays with the caller."""

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cometkms.durable import Disk, open_file, sync_directory, why_gone
from cometkms.errors import WordedError

_CHUNK_BYTES: Final = 1 << 20


class Appender:
    """The file that is open just now, O_APPEND, so that this process cannot write over a line."""

    def __init__(self, directory: Path, disk: Disk, on_unsynced: Callable[[OSError], None]) -> None:
        """`on_unsynced`: a sync failed, and the one before did not."""
        self.fd = -1
        self.unsynced = False
        self._directory = directory
        self._inside = Path.cwd()  # where this process worked at first
        self._disk = disk
        self._on_unsynced = on_unsynced
        self._path: Path | None = None
        self._written = 0  # the file's size
        self._sync_failed = False

    def open(self, path: Path) -> None:
        """Write to that file from here on. Raises: OSError."""
        if path == self._path:
            return
        self.fd, self._path = open_file(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), path
        self._written = os.fstat(self.fd).st_size
        sync_directory(self._directory)

    def look(self) -> None:
        """Raises: OSError where the open file is gone from its name."""
        if self._path is not None and (why := why_gone(self._path, self.fd, self._inside)):
            raise WordedError(errno.ENOENT, why, str(self._path))

    def write(self, pending: bytearray) -> None:
        """Write all of it, and take out what was written. Raises: OSError, and what is left was not
        written."""
        while pending:
            try:
                written = self._disk.pwrite(self.fd, bytes(pending[:_CHUNK_BYTES]), self._written)
            except OSError:
                self._drop_written(pending, os.fstat(self.fd).st_size - self._written)
                raise
            self._drop_written(pending, written)
            if written == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _drop_written(self, pending: bytearray, count: int) -> None:
        if 0 < count <= len(pending):
            del pending[:count]
            self._written += count
            self.unsynced = True

    def sync(self) -> None:
        """Make durable what was written. Raises: OSError, after on_unsynced() was told so once."""
        if not self.unsynced:
            return
        try:
            self._disk.fdatasync(self.fd)
        except OSError as error:
            if not self._sync_failed:
                self._sync_failed = True
                self._on_unsynced(error)
            raise
        self.unsynced = self._sync_failed = False

    def leave(self) -> None:
        """The open file is full: nothing more comes. A sync that fails is in the log already, and
        the next file's own."""
        if self.fd >= 0:
            with contextlib.suppress(OSError):
                self.sync()
            os.close(self.fd)
        self.fd, self._path, self.unsynced = -1, None, False
