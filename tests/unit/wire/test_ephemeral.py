"""An ephemeral secret is in one place, and when the keys are made it is nowhere: the process's own memory is searched for it."""

import gc
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from cometkms.core.interface import Core
from cometkms.model import Dialect
from cometkms.wire.identity import Identity
from cometkms.wire.secret_connection import Handshake
from tests.unit.hardening.child import in_child

_MASK = 0x5A  # the test's own copies are masked: it must not find itself


def _found(masked: bytes) -> int:
    """How often the unmasked bytes stand in this process's writable memory."""
    count = 0
    with Path("/proc/self/mem").open("rb", buffering=0) as memory:
        for line in Path("/proc/self/maps").read_text().splitlines():
            area = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if area is None:
                continue
            begin, end = (int(one, 16) for one in area.groups())
            try:
                memory.seek(begin)
                held = bytearray(memory.read(end - begin))
            except (OSError, OverflowError, ValueError):
                continue
            inverse = bytes(one ^ _MASK for one in range(256))
            held[:] = held.translate(inverse)  # masked as the test's copy is; what was read is gone
            at = held.find(masked)
            while at >= 0:
                count += 1
                at = held.find(masked, at + 1)
            held[:] = bytes(len(held))
    return count


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
