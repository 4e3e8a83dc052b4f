"""Shared memory with one writer: whoever else maps it can never make it writable again.

A memfd, mapped twice before the fork: to write, and to read from a descriptor that was opened for
reading. The kernel gives a mapping of such a descriptor no right to become writable (VM_MAYWRITE),
so mprotect() fails for ever. Then the file is sealed against every later writing but by the mapping
that is there already (F_SEAL_FUTURE_WRITE, Linux 5.1), against another size, and against other
seals; and both descriptors are closed. A process that is not its writer unmaps the writable one
before it does anything else.

Not mmap.mmap: it keeps a descriptor of its own as long as the mapping lives, through which the file
could be opened again.
"""

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
from typing import Final

from cometkms.errors import HardeningError, InvariantError, said

_F_SEAL_SEAL: Final = 0x01
_F_SEAL_SHRINK: Final = 0x02
_F_SEAL_GROW: Final = 0x04
_F_SEAL_FUTURE_WRITE: Final = 0x10  # in no release of Python's fcntl yet
_MAP_FAILED: Final = ctypes.c_void_p(-1).value

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)


class OneWriterMemory:
    """`size` bytes, zero at first. Made before the fork; `readable` stays for good, `writable`
    until give_up()."""

    def __init__(self, name: str, size: int) -> None:
        """`name`: as /proc/PID/maps shows it. Raises: HardeningError where the kernel cannot."""
        self._size = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        try:
            fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            try:
                os.ftruncate(fd, self._size)
                self._writable_at = _map(fd, self._size, mmap.PROT_READ | mmap.PROT_WRITE)
                self._writable: memoryview | None = _view(self._writable_at, self._size)
                reading = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
                try:
                    self.readable: Final = _view(_map(reading, self._size, mmap.PROT_READ), self._size).toreadonly()
                finally:
                    os.close(reading)
                self.sealed: Final = _seal(fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise HardeningError(
                f"shared memory with one writer cannot be made: {said(error)}",
                cure="a kernel with memfd_create, and /proc",
            ) from error

    @property
    def writable(self) -> memoryview:
        """Raises: InvariantError in a process that gave it up."""
        if self._writable is None:
            raise InvariantError("this process is not the writer of that memory")
        return self._writable

    def give_up(self) -> None:
        """This process, and those that it forks, read only from now on. No memoryview of `writable`
        may be used after this."""
        if self._writable is None:
            return
        self._writable = None
        if _libc.munmap(self._writable_at, self._size) != 0:
            number = ctypes.get_errno()
            raise InvariantError(f"memory that is another's cannot be unmapped: {os.strerror(number)}")


def _map(fd: int, size: int, protection: int) -> int:
    address = _libc.mmap(None, size, protection, mmap.MAP_SHARED, fd, 0)
    if address == _MAP_FAILED:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(address)


def _view(address: int, size: int) -> memoryview:
    return memoryview((ctypes.c_ubyte * size).from_address(address)).cast("B")


def _seal(fd: int) -> bool:
    """Whether later writing is sealed, too: a kernel before 5.1 has no such seal, and says
    EINVAL."""
    seals = _F_SEAL_SHRINK | _F_SEAL_GROW | _F_SEAL_SEAL
    with contextlib.suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals | _F_SEAL_FUTURE_WRITE)
        return True
    try:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    return False
