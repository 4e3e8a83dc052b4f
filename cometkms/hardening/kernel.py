"""System calls that no Python module has, by number or through the C library. Every failure is an
OSError with its errno."""

import ctypes
import functools
import os
from typing import Final

from cometkms.errors import WordedError

PR_SET_PDEATHSIG: Final = 1
PR_GET_DUMPABLE: Final = 3
PR_SET_KEEPCAPS: Final = 8
PR_SET_SECCOMP: Final = 22
PR_CAPBSET_DROP: Final = 24


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


# `object`: whatever ctypes takes as a long or a pointer.
def syscall(number: int, *arguments: object) -> int:
    """Raises: OSError."""
    return _checked(_libc().syscall(ctypes.c_long(number), *(_word(one) for one in arguments)), f"system call {number}")


def prctl(option: int, second: int | bytes = 0, third: int = 0) -> int:
    """Raises: OSError."""
    first = ctypes.c_char_p(second) if isinstance(second, bytes) else ctypes.c_ulong(second)
    # variadic: a bare int would be half a word
    words = [ctypes.c_ulong(one) for one in (third, 0, 0)]
    return _checked(_libc().prctl(option, first, *words), f"prctl({option})")


def set_capabilities(kept: int) -> None:
    """Exactly the bits of `kept` are effective and permitted; none is inheritable, so none is
    ambient. Raises: OSError."""
    version, mine = 0x2008_0522, 0
    header = (ctypes.c_uint32 * 2)(version, mine)
    halves = [kept & 0xFFFF_FFFF, kept >> 32]
    data = (ctypes.c_uint32 * 6)(halves[0], halves[0], 0, halves[1], halves[1], 0)
    _checked(_libc().capset(header, data), "capset")


def _word(value: object) -> object:
    return ctypes.c_long(value) if isinstance(value, int) else value


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise WordedError(number, f"{what}: {os.strerror(number)}")
    return result
