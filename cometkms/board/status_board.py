"""The status board: what each process tells the others about itself, and each loop's heartbeat.

Shared memory made before the fork, one mapping a writer, read-only everywhere else
(board/memory.py): no process can write another's section or heartbeat. A section has a seqlock: the
sequence is odd while it is written. Python cannot order its stores, and a CPU may reorder them, so
the content carries a CRC-32 too: a torn read is seen as such on every machine. Readers never delay
a writer: they try again a few times, then give up until next time.

    heartbeat  CLOCK_MONOTONIC, nanoseconds 8 | unused 56
    section    sequence 8 | length 4 | CRC-32 4 | JSON

Sequences and heartbeats are stored through a memoryview of 64-bit words: one aligned store each.
struct.pack_into would not do, it zeroes its target before it writes: a reader in between would take
a living loop for one that never beat.

What a section holds is its writer's word, and its writer may be in foreign hands: whatever stands
there, a reader gets a document of bounded depth, size and numbers, or None. That its fields are of
the types which a reader expects, nobody has said yet.
"""

import json
import math
import struct
import time
import zlib
from collections.abc import Mapping
from typing import Any, Final, Generic, NoReturn, TypeVar

from cometkms.board.memory import OneWriterMemory
from cometkms.errors import InvariantError
from cometkms.limits import BOARD_DEPTH_MAX, BOARD_INTEGER_MAX, BOARD_SECTION_BYTES, BOARD_VALUES_MAX

_WORD_BYTES: Final = 8
_HEAD: Final = struct.Struct("=II")
_CONTENT_AT: Final = _WORD_BYTES + _HEAD.size
_READ_TRIES: Final = 20
_BEAT_BYTES: Final = 64  # a cache line
_NOTES: Final = "notes"  # the supervisor's: from when on each child's heartbeat counts
# CLOCK_MONOTONIC is one clock for all: a beat from the future was made up
_AHEAD_MAX_NS: Final = 1_000_000_000


Document = TypeVar("Document", bound=Mapping[str, Any])


class Section(Generic[Document]):
    """One process's part of the board. `Document`: what its writer puts there
    (board/sections.py)."""

    def __init__(self, memory: OneWriterMemory, offset: int) -> None:
        self._memory = memory
        self._words = memory.readable.cast("Q")
        self._offset = offset
        self._published: Document | None = None
        self._seen: tuple[int, int, int] | None = None  # sequence, length and CRC-32 of …
        self._document: dict[str, Any] | None = None  # … what was read last

    def publish(self, document: Document) -> None:
        """Replace the content, unless this process published just that last. Raises: as write()."""
        if document != self._published:
            self._published = document
            self.write(document)

    def write(self, document: Document) -> None:
        """Replace the content. Raises: InvariantError when it does not fit, or in a process that is
        not the writer."""
        data = json.dumps(document, separators=(",", ":")).encode()
        if b"\\ud" in data:  # a lone surrogate of a file's name, say: no reader could show it
            data = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
        if len(data) > BOARD_SECTION_BYTES - _CONTENT_AT:
            raise InvariantError(f"a board section holds {BOARD_SECTION_BYTES - _CONTENT_AT} bytes, not {len(data)}")
        memory, at = self._memory.writable, self._offset
        words = memory.cast("Q")
        sequence = words[at // _WORD_BYTES] | 1  # odd also if a predecessor died while it wrote
        words[at // _WORD_BYTES] = sequence
        _HEAD.pack_into(memory, at + _WORD_BYTES, len(data), zlib.crc32(data))
        memory[at + _CONTENT_AT : at + _CONTENT_AT + len(data)] = data
        words[at // _WORD_BYTES] = (sequence + 1) & ((1 << 64) - 1)

    @property
    def sequence(self) -> int:
        """Another number after every write."""
        sequence: int = self._words[self._offset // _WORD_BYTES]
        return sequence

    def read(self) -> dict[str, Any] | None:
        """The content, for nobody to change: the same object as last time while nothing else was
        written. None if there is none that can be read: nothing was written yet, the writer was at
        work at every try, or what stands there is no document."""
        memory, words, at = self._memory.readable, self._words, self._offset
        for _ in range(_READ_TRIES):
            sequence = words[at // _WORD_BYTES]
            if sequence == 0:
                return None
            size, check = _HEAD.unpack_from(memory, at + _WORD_BYTES)
            # not the sequence alone, which a CPU may show before the content
            if self._seen == (sequence, size, check):
                return self._document
            # 0: the head is not here yet
            if sequence % 2 == 0 and 0 < size <= BOARD_SECTION_BYTES - _CONTENT_AT:
                data = bytes(memory[at + _CONTENT_AT : at + _CONTENT_AT + size])
                if words[at // _WORD_BYTES] == sequence and zlib.crc32(data) == check:
                    self._seen, self._document = (sequence, size, check), _document(data)
                    return self._document
            time.sleep(0.0005)
        return None


def _document(untrusted: bytes) -> dict[str, Any] | None:
    """A JSON object within bounds, or None."""
    try:
        text = untrusted.decode("utf-8")
        document = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or not _is_bounded(document):
        return None
    if "\\ud" in text.lower():
        try:
            json.dumps(document, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:  # half a character: it could be shown and sent nowhere
            return None
    return document


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _is_bounded(document: dict[str, Any]) -> bool:
    """Level by level, so that no depth is a depth of calls."""
    level: list[Any] = [document]
    seen = 0
    for _ in range(BOARD_DEPTH_MAX):
        below: list[Any] = []
        for one in level:
            values = one.values() if isinstance(one, dict) else one
            seen += len(values)
            if seen > BOARD_VALUES_MAX:
                return False
            for value in values:
                if isinstance(value, dict | list):
                    below.append(value)
                elif isinstance(value, int):
                    if not -BOARD_INTEGER_MAX <= value <= BOARD_INTEGER_MAX:
                        return False
                elif isinstance(value, float) and not math.isfinite(value):  # 1e999
                    return False
        if not below:
            return True
        level = below
    return False


class Board:
    """All sections and heartbeats. Made by the supervisor before the first fork."""

    def __init__(self, sections: tuple[str, ...], children: tuple[str, ...]) -> None:
        """`sections`: what is written; `children`: whose loops beat. What is named as no child is
        the supervisor's.

        Raises: HardeningError.
        """
        writers = dict.fromkeys((*sections, *children))
        self._memories = {name: OneWriterMemory(f"cmkms-{name}", _BEAT_BYTES + BOARD_SECTION_BYTES) for name in writers}
        self._memories[_NOTES] = OneWriterMemory(f"cmkms-{_NOTES}", len(children) * _WORD_BYTES or _WORD_BYTES)
        self._sections: dict[str, Section[Any]] = {
            name: Section(self._memories[name], _BEAT_BYTES) for name in sections
        }
        self._beats = {name: self._memories[name].readable.cast("Q") for name in children}
        self._notes = self._memories[_NOTES].readable.cast("Q")
        self._own: tuple[str, memoryview] | None = None

    @property
    def sealed(self) -> bool:
        """Whether the kernel has sealed every mapping against later writing, beside keeping the
        others' read-only."""
        return all(memory.sealed for memory in self._memories.values())

    def become(self, name: str) -> None:
        """A child's first act: from here on this process writes what is `name`'s, and can write
        nothing else."""
        for other, memory in self._memories.items():
            if other != name:
                memory.give_up()
        self._own = None

    def section(self, name: str) -> Section[Any]:
        """The section that `name` writes."""
        return self._sections[name]

    def sections(self) -> dict[str, dict[str, Any] | None]:
        """Every section's content."""
        return {name: section.read() for name, section in self._sections.items()}

    def written(self) -> tuple[int, ...]:
        """Something else whenever any section has been written since."""
        return tuple(section.sequence for section in self._sections.values())

    def beat(self, name: str) -> None:
        """Called by that child's own loop. Raises: InvariantError in another's process."""
        if self._own is None or self._own[0] != name:
            self._own = (name, self._memories[name].writable.cast("Q"))
        self._own[1][0] = time.monotonic_ns()

    def forget_beat(self, name: str) -> None:
        """A new process of that name has not beaten yet: the supervisor notes it, the beat itself
        is not its to write."""
        self._memories[_NOTES].writable.cast("Q")[list(self._beats).index(name)] = time.monotonic_ns()

    def last_beat(self, name: str) -> int:
        """A number that changes with every beat of that child's loop; 0: its process has not beaten
        yet."""
        beat: int = self._beats[name][0]
        return beat if self._notes[list(self._beats).index(name)] <= beat else 0

    def beat_ages_s(self) -> dict[str, float | None]:
        """Seconds since each child's loop last beat; None: it never did, since the supervisor
        forgot."""
        ages: dict[str, float | None] = {}
        for number, (name, words) in enumerate(self._beats.items()):
            beat, now = words[0], time.monotonic_ns()
            counts = self._notes[number] <= beat <= now + _AHEAD_MAX_NS and beat > 0
            ages[name] = max(0, now - beat) / 1e9 if counts else None
        return ages
