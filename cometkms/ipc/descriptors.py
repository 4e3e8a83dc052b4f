"""Descriptors that a process was born with: whatever its parent left open is not this program's."""

import contextlib
import os
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Final

_STANDARD_MAX: Final = 2


def close_inherited(kept: Collection[int] = ()) -> None:
    """Close every descriptor above 2 that is not kept. First thing, while nothing of this program's
    own is open.

    Nothing is passed to the node that way: no socket of a service manager (its notices go to a
    path), no file; only a passphrase.
    """
    for number in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
        if number > _STANDARD_MAX and number not in kept:
            with contextlib.suppress(OSError):  # the listing's own
                os.close(number)


def open_standard() -> None:
    """Open what the parent closed of stdin, stdout and stderr, on nothing. First thing of all.

    Else the next file or socket that is opened takes the number, and whatever is written to that
    stream, the log above all, goes there.
    """
    for number in range(_STANDARD_MAX + 1):
        try:
            os.fstat(number)
        except OSError:
            # takes the lowest number that is free
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 - it lasts as long as the process
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - likewise
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115 - likewise


def forget_input() -> None:
    """Read nothing from stdin any more, neither here nor in a process that is forked from this one:
    it may be the operator's terminal, or a secret."""
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(nothing, 0)
    os.close(nothing)
