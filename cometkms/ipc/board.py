"""The status board: what each process tells the others about itself, and each loop's heartbeat.

Anonymous shared memory made before the fork. A section has one writer and a seqlock: the sequence is odd while it writes. Python
cannot order its stores, and a CPU may reorder them, so the content carries a CRC-32 too: a torn read is seen as such on every machine.
Readers never delay a writer: they try again a few times, then give up until next time.

    section    sequence 8 | length 4 | CRC-32 4 | JSON
    heartbeat  CLOCK_MONOTONIC, nanoseconds 8

Sequences and heartbeats are stored through a memoryview of 64-bit words: one aligned store each. struct.pack_into would not do, it
zeroes its target before it writes: a reader in between would take a living loop for one that never beat.
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

_WORD_BYTES: Final = 8
_HEAD: Final = struct.Struct("=II")
_CONTENT_AT: Final = _WORD_BYTES + _HEAD.size
_READ_TRIES: Final = 20
_BEAT_BYTES: Final = 64  # a cache line each


class Section:
    """One process's part of the board."""

    def __init__(self, memory: mmap.mmap, words: memoryview, offset: int) -> None:
        self._memory = memory
        self._words = words
        self._offset = offset

    def write(self, document: Mapping[str, Any]) -> None:
        """Replace the content. Raises: InvariantError when it does not fit."""
        data = json.dumps(document, separators=(",", ":")).encode()
        if len(data) > BOARD_SECTION_BYTES - _CONTENT_AT:
            raise InvariantError(f"a board section holds {BOARD_SECTION_BYTES - _CONTENT_AT} bytes, not {len(data)}")
        memory, words, at = self._memory, self._words, self._offset
        sequence = words[at // _WORD_BYTES] | 1  # odd also if a predecessor died while it wrote
        words[at // _WORD_BYTES] = sequence
        _HEAD.pack_into(memory, at + _WORD_BYTES, len(data), zlib.crc32(data))
        memory[at + _CONTENT_AT : at + _CONTENT_AT + len(data)] = data
        words[at // _WORD_BYTES] = sequence + 1

    def read(self) -> dict[str, Any] | None:
        """The content; None if nothing was written yet, or the writer was at work at every try."""
        memory, words, at = self._memory, self._words, self._offset
        for _ in range(_READ_TRIES):
            sequence = words[at // _WORD_BYTES]
            if sequence == 0:
                return None
            size, check = _HEAD.unpack_from(memory, at + _WORD_BYTES)
            if sequence % 2 == 0 and 0 < size <= BOARD_SECTION_BYTES - _CONTENT_AT:  # 0: the head is not here yet
                data = memory[at + _CONTENT_AT : at + _CONTENT_AT + size]
                if words[at // _WORD_BYTES] == sequence and zlib.crc32(data) == check:
                    document: dict[str, Any] = json.loads(data)
                    return document
            time.sleep(0.0005)
        return None


class Board:
    """All sections and heartbeats. Made by the supervisor before the first fork."""

    def __init__(self, sections: tuple[str, ...], children: tuple[str, ...]) -> None:
        """`sections`: who writes one; `children`: whose loops beat."""
        beats = len(children) * _BEAT_BYTES
        memory = mmap.mmap(-1, beats + len(sections) * BOARD_SECTION_BYTES)
        self._words = memoryview(memory).cast("Q")
        self._beats = {name: number * _BEAT_BYTES // _WORD_BYTES for number, name in enumerate(children)}
        self._sections = {
            name: Section(memory, self._words, beats + number * BOARD_SECTION_BYTES)
            for number, name in enumerate(sections)
        }

    def section(self, name: str) -> Section:
        """The section that `name` writes."""
        return self._sections[name]

    def sections(self) -> dict[str, dict[str, Any] | None]:
        """Every section's content."""
        return {name: section.read() for name, section in self._sections.items()}

    def beat(self, name: str) -> None:
        """Called by that child's own loop."""
        self._words[self._beats[name]] = time.monotonic_ns()

    def forget_beat(self, name: str) -> None:
        """A new process of that name has not beaten yet."""
        self._words[self._beats[name]] = 0

    def last_beat(self, name: str) -> int:
        """A number that changes with every beat of that child's loop; 0: its process has not beaten yet."""
        return self._words[self._beats[name]]

    def beat_ages_s(self) -> dict[str, float | None]:
        """Seconds since each child's loop last beat; None: it never did."""
        now = time.monotonic_ns()
        ages: dict[str, float | None] = {}
        for name, word in self._beats.items():
            beat = self._words[word]
            ages[name] = max(0, now - beat) / 1e9 if beat else None  # it may have beaten since `now`
        return ages
