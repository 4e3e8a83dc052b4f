"""Descriptors that a process was born with: whatever its parent left open is not this program's."""

import contextlib
import os
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
