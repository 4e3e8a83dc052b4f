"""The status board: what each process tells the others about itself, and each loop's heartbeat.

Anonymous shared memory made before the fork. A section has one writer and a seqlock: the sequence is odd while it writes. Python
cannot order its stores, and a CPU may reorder them, so the content carries a CRC-32 too: a torn read is seen as such on every machine.
Readers never delay a writer: they try again a few times, then give up until next time.

    section    sequence 8 | length 4 | CRC-32 4 | JSON
    heartbeat  CLOCK_MONOTONIC, nanoseconds 8
"""

import json
import mmap
import struct
import time
import zlib
from collections.abc import Mapping
from typing import Any, Final

from cometkms.errors import InvariantError
from cometkms.limits import BOARD_SECTION_BYTES

_SEQUENCE: Final = struct.Struct("=Q")
_HEAD: Final = struct.Struct("=II")
_BEAT: Final = struct.Struct("=Q")
_CONTENT_AT: Final = _SEQUENCE.size + _HEAD.size
_READ_TRIES: Final = 20
_BEAT_BYTES: Final = 64  # a cache line each


class Section:
    """One process's part of the board."""

    def __init__(self, memory: mmap.mmap, offset: int) -> None:
        self._memory = memory
        self._offset = offset

    def write(self, document: Mapping[str, Any]) -> None:
        """Replace the content. Raises: InvariantError when it does not fit."""
        data = json.dumps(document, separators=(",", ":")).encode()
        if len(data) > BOARD_SECTION_BYTES - _CONTENT_AT:
            raise InvariantError(f"a board section holds {BOARD_SECTION_BYTES - _CONTENT_AT} bytes, not {len(data)}")
        memory, at = self._memory, self._offset
        sequence = _SEQUENCE.unpack_from(memory, at)[0] | 1  # odd also if a predecessor died while it wrote
        _SEQUENCE.pack_into(memory, at, sequence)
        _HEAD.pack_into(memory, at + _SEQUENCE.size, len(data), zlib.crc32(data))
        memory[at + _CONTENT_AT : at + _CONTENT_AT + len(data)] = data
        _SEQUENCE.pack_into(memory, at, sequence + 1)

    def read(self) -> dict[str, Any] | None:
        """The content; None if nothing was written yet, or the writer was at work at every try."""
        memory, at = self._memory, self._offset
        for _ in range(_READ_TRIES):
            sequence = _SEQUENCE.unpack_from(memory, at)[0]
            if sequence == 0:
                return None
            size, check = _HEAD.unpack_from(memory, at + _SEQUENCE.size)
            if sequence % 2 == 0 and 0 < size <= BOARD_SECTION_BYTES - _CONTENT_AT:  # 0: the head is not here yet
                data = memory[at + _CONTENT_AT : at + _CONTENT_AT + size]
                if _SEQUENCE.unpack_from(memory, at)[0] == sequence and zlib.crc32(data) == check:
                    document: dict[str, Any] = json.loads(data)
                    return document
            time.sleep(0.0005)
        return None


class Board:
    """All sections and heartbeats. Made by the supervisor before the first fork."""

    def __init__(self, sections: tuple[str, ...], children: tuple[str, ...]) -> None:
        """`sections`: who writes one; `children`: whose loops beat."""
        beats = len(children) * _BEAT_BYTES
        self._memory = mmap.mmap(-1, beats + len(sections) * BOARD_SECTION_BYTES)
        self._beats = {name: number * _BEAT_BYTES for number, name in enumerate(children)}
        self._sections = {
            name: Section(self._memory, beats + number * BOARD_SECTION_BYTES) for number, name in enumerate(sections)
        }

    def section(self, name: str) -> Section:
        """The section that `name` writes."""
        return self._sections[name]

    def sections(self) -> dict[str, dict[str, Any] | None]:
        """Every section's content."""
        return {name: section.read() for name, section in self._sections.items()}

    def beat(self, name: str) -> None:
        """Called by that child's own loop."""
        _BEAT.pack_into(self._memory, self._beats[name], time.monotonic_ns())

    def forget_beat(self, name: str) -> None:
        """A new process of that name has not beaten yet."""
        _BEAT.pack_into(self._memory, self._beats[name], 0)

    def beat_ages_s(self) -> dict[str, float | None]:
        """Seconds since each child's loop last beat; None: it never did."""
        now = time.monotonic_ns()
        ages: dict[str, float | None] = {}
        for name, offset in self._beats.items():
            beat = _BEAT.unpack_from(self._memory, offset)[0]
            ages[name] = (now - beat) / 1e9 if beat else None
        return ages
