"""A disk with a page cache: what was not synced may be lost or torn when the power fails, and
survives a killed process.
"""

import errno
import os
import random
from pathlib import Path


class SimDisk:
    """The system calls of one node's files.

    The files themselves (on a memory file system) are the page cache.
    """

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        # "write", "sync", "short": the next one of these fails; "dark": the power does, instead of
        # a sync
        self.fail_next = ""
        self.dark = False
        self.syncs = 0
        self._pending: dict[tuple[int, int], list[tuple[Path, int, bytes, bytes]]] = {}

    def pread(self, fd: int, size: int, offset: int, /) -> bytes:
        return os.pread(fd, size, offset)

    def pwrite(self, fd: int, data: bytes, offset: int, /) -> int:
        if self.fail_next == "write":
            self.fail_next = ""
            raise OSError(errno.ENOSPC, "No space left on device")
        if self.fail_next == "short":
            self.fail_next = ""
            data = data[: len(data) // 2]
        key = self._key(fd)
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))
        self._pending.setdefault(key, []).append((path, offset, os.pread(fd, len(data), offset), bytes(data)))
        return os.pwrite(fd, data, offset)

    def fdatasync(self, fd: int, /) -> None:
        if self.fail_next == "sync":
            self.fail_next = ""
            raise OSError(errno.EIO, "Input/output error")
        if self.fail_next == "dark":
            self.fail_next, self.dark = "", True
            raise OSError(errno.EIO, "no power")
        self.syncs += 1
        self._pending.pop(self._key(fd), None)

    def settle(self) -> None:
        """The machine stays up for a while: what was written is on the disk."""
        self._pending.clear()

    def power_fails(self) -> None:
        """Each write that was not synced is kept, lost, or torn at a sector; later ones may be kept
        where earlier are lost.
        """
        for key, writes in self._pending.items():
            for path, offset, old, new in reversed(writes):
                fate = self.rng.choice(("kept", "lost", "torn"))
                # another file has its name by now
                if fate == "kept" or not path.exists() or self._key_of(path) != key:
                    continue
                cut = 512 * self.rng.randrange(len(new) // 512 + 1) if fate == "torn" else 0
                with path.open("r+b") as file:
                    file.seek(offset)
                    file.write(new[:cut] + old[cut:])
        self._pending.clear()

    @staticmethod
    def _key(fd: int) -> tuple[int, int]:
        status = os.fstat(fd)
        return status.st_dev, status.st_ino

    @staticmethod
    def _key_of(path: Path) -> tuple[int, int]:
        status = path.stat()
        return status.st_dev, status.st_ino
