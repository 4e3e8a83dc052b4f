"""An ephemeral secret is in one place, and when the keys are made it is nowhere: the process's own
memory is searched for it.
"""

import gc
import re
from collections.abc import Callable
from io import RawIOBase
from pathlib import Path

import pytest

from cometkms.core.interface import Core
from cometkms.model import Dialect
from cometkms.wire.identity import Identity
from cometkms.wire.secret_connection import Handshake
from tests.unit.hardening.child import in_child

_MASK = 0x5A  # the test's own copies are masked: it must not find itself
_INVERSE = bytes(one ^ _MASK for one in range(256))
_LOOK_BYTES = 1 << 18  # of memory that is looked at together


def _found(masked: bytes) -> int:
    """How often the unmasked bytes stand in this process's writable memory."""
    count, looked_at = 0, bytearray(_LOOK_BYTES)
    with Path("/proc/self/mem").open("rb", buffering=0) as memory:
        for line in Path("/proc/self/maps").read_text().splitlines():
            area = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if area is None:
                continue
            begin, end = (int(one, 16) for one in area.groups())
            # none is cut in two, and none seen twice
            for at in range(begin, end, _LOOK_BYTES - len(masked) + 1):
                count += _count(memory, at, memoryview(looked_at)[: end - at], masked)
    return count


def _count(memory: RawIOBase, at: int, looked_at: memoryview, masked: bytes) -> int:
    try:
        memory.seek(at)
        size = memory.readinto(looked_at) or 0
    except (OSError, OverflowError, ValueError):
        return 0  # nothing that can be read, as the kernel's own pages
    found = bytes(looked_at[:size]).translate(_INVERSE).count(masked)
    looked_at[:] = bytes(len(looked_at))
    return found


def _life(core: Core, ends: Callable[[Handshake, Handshake], None]) -> list[int]:
    ours, theirs = (Handshake(core, Identity.generate(), Dialect.PROTO) for _ in range(2))
    masked = bytes(one ^ _MASK for one in ours._secret)
    before = _found(masked)
    ends(ours, theirs)
    del ours
    gc.collect()
    return [before, _found(masked)]


def _finished(ours: Handshake, theirs: Handshake) -> None:
    ours.feed(theirs.feed(ours.hello))
    assert ours.done


def _given_up(ours: Handshake, theirs: Handshake) -> None:
    assert ours.hello


@pytest.mark.parametrize("ends", [_finished, _given_up], ids=["finished", "given up"])
def test_the_secret_is_in_one_place_and_then_nowhere(core: Core, ends: Callable[[Handshake, Handshake], None]) -> None:
    before, after = in_child(lambda: _life(core, ends))
    assert (before, after) == (1, 0)
