"""Memory with one writer: a process that gave it up tries every way there is to write
it, and none goes.
"""

import ctypes
import faulthandler
import itertools
import mmap
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from cometkms.board.memory import OneWriterMemory
from cometkms.errors import InvariantError

numbers = itertools.count(1)
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mremap.restype = ctypes.c_void_p
MREMAP_MAYMOVE, MADV_REMOVE = 1, 9


class Named(OneWriterMemory):
    """Each with a name of its own: what an earlier test made stays mapped."""

    def __init__(self) -> None:
        self.name = f"cmkms-test-{next(numbers)}-"
        super().__init__(self.name, 100)

    def mappings(self) -> list[str]:
        return [line for line in Path("/proc/self/maps").read_text().splitlines() if self.name in line]

    @property
    def address(self) -> int:
        """Of the read-only mapping."""
        return int(next(line for line in self.mappings() if " r--s " in line).split("-")[0], 16)


def ends_as(work: Callable[[], object]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.fixture
def memory() -> Named:
    made = Named()
    made.writable[:5] = b"first"
    return made


def test_the_reader_sees_what_the_writer_writes(memory: Named) -> None:
    def child() -> None:
        memory.writable[:5] = b"child"

    assert ends_as(child) == 0
    assert bytes(memory.readable[:5]) == b"child"
    assert memory.readable.readonly
    assert len(memory.readable) == mmap.PAGESIZE


def test_the_kernel_of_this_machine_seals(memory: Named) -> None:
    """Linux 5.1; the tests below hold without it, too."""
    assert memory.sealed


def test_no_descriptor_is_left(memory: Named) -> None:
    assert memory.writable
    links = [
        os.readlink(f"/proc/self/fd/{fd}")
        for fd in os.listdir("/proc/self/fd")
        if os.path.exists(f"/proc/self/fd/{fd}")
    ]
    assert [link for link in links if memory.name in link] == []


def test_who_gave_it_up_has_no_writable_mapping_and_is_told_so(memory: Named) -> None:
    def child() -> None:
        memory.give_up()
        memory.give_up()
        assert [line.split()[1] for line in memory.mappings()] == ["r--s"]
        with pytest.raises(InvariantError, match="not the writer"):
            _ = memory.writable

    assert ends_as(child) == 0
    memory.writable[:5] = b"still"


def by_mprotect(memory: Named) -> None:
    at = memory.address
    done = _libc.mprotect(ctypes.c_void_p(at), ctypes.c_size_t(mmap.PAGESIZE), mmap.PROT_READ | mmap.PROT_WRITE)
    os._exit(2 if done == 0 else 0)


def by_store(memory: Named) -> None:
    ctypes.memset(ctypes.c_void_p(memory.address), 1, 1)


def by_mremap(memory: Named) -> None:
    size = ctypes.c_size_t(mmap.PAGESIZE)
    moved = _libc.mremap(ctypes.c_void_p(memory.address), ctypes.c_size_t(0), size, MREMAP_MAYMOVE)
    done = _libc.mprotect(ctypes.c_void_p(moved), size, mmap.PROT_READ | mmap.PROT_WRITE)
    os._exit(2 if done == 0 else 0)


def by_madvise(memory: Named) -> None:
    """A hole would read as zeros."""
    at = memory.address
    done = _libc.madvise(ctypes.c_void_p(at), ctypes.c_size_t(mmap.PAGESIZE), MADV_REMOVE)
    os._exit(2 if done == 0 else 0)


def by_proc_mem(memory: Named) -> None:
    """Where the kernel lets a process write itself by force, it writes a page of its
    own, not the shared one.
    """
    with open("/proc/self/mem", "r+b", buffering=0) as mem:
        mem.seek(memory.address)
        try:
            mem.write(b"X")
        except OSError:
            os._exit(0)
    os._exit(2 if bytes(memory.readable[:1]) == b"X" else 0)


def by_map_files(memory: Named) -> None:
    """Only with root's powers: the file itself, through the mapping. The seal is what keeps it."""
    span = memory.mappings()[0].split()[0]
    try:
        fd = os.open(f"/proc/self/map_files/{span}", os.O_RDWR)
    except OSError:
        os._exit(0)
    try:
        os.pwrite(fd, b"X", 0)
        os._exit(2)
    except OSError:
        pass
    try:
        mmap.mmap(fd, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        os._exit(3)
    except (OSError, ValueError):
        pass
    try:
        os.ftruncate(fd, 0)
        os._exit(4)
    except OSError:
        os._exit(0)


@pytest.mark.parametrize("how", [by_mprotect, by_mremap, by_madvise, by_proc_mem, by_map_files])
def test_a_child_that_tries_cannot_write_it(memory: OneWriterMemory, how: Callable[[Named], None]) -> None:
    def child() -> None:
        memory.give_up()
        how(memory)

    assert ends_as(child) == 0
    assert bytes(memory.readable[:5]) == b"first"


def test_a_child_that_stores_there_is_killed_by_it(memory: Named) -> None:
    def child() -> None:
        faulthandler.disable()
        memory.give_up()
        by_store(memory)

    assert ends_as(child) == -signal.SIGSEGV
    assert bytes(memory.readable[:5]) == b"first"
