"""Raft's journal: append-only, checksummed, preallocated; one write and one fdatasync before any
byte leaves the node.

    record   length 4 | BLAKE2b-64 of what follows 8 | msgpack: [kind, …]

    "S" snapshot: the two entries at its end and the state machine   first of a file that was compacted
    "A" entry: command, index, term        "T" the log ends before this index        "M" term, vote
    "F" format: of another version; without it, 1                       first of all
    "P" its member may have led in terms that it does not know of: it is new, or may be an old copy
        (rule 12)
    "L" it has led since, or is its member's first

Term and vote stand in the same file as the log. A compaction makes a new file beside
it, synced, then renamed. Behind the last record there are zeros; anything else there is
a torn write or decay, which cannot be told apart: the journal is then not trusted, and
the node goes on as one that lost it.
"""

import contextlib
import errno
import hashlib
import os
import stat
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import msgpack

from cometkms.durable import Disk, FormatError, discarding, open_file, sync_directory
from cometkms.errors import StateError, StoreFailure, cure_of_file, is_no_file, os_words, said
from cometkms.limits import RAFT_JOURNAL_MAX_BYTES
from cometkms.model import HRS, Watermark

Entry = tuple[bytes, int, int]  # command, index, term
_HEAD: Final = struct.Struct("<I8s")
_FORMAT: Final = 1
_NOT_OVER: Final = (
    errno.EISDIR,
    errno.ENOTDIR,
    errno.ENOTEMPTY,
    errno.EEXIST,
)  # of rename(2): a directory is or goes there
_GROW_BYTES: Final = 1 << 20
_RECORD_MAX_BYTES: Final = 1 << 20


def pack_state(state: Mapping[bytes, Watermark]) -> list[Any]:
    """The state machine, sorted: the same bytes on every node."""
    return [[key, *mark.hrs, mark.sign_bytes, mark.signature] for key, mark in sorted(state.items())]


def unpack_state(packed: Any) -> dict[bytes, Watermark]:
    """Decode what pack_state() made. Raises: ValueError, TypeError."""
    return {
        bytes(key): Watermark(HRS(int(h), int(r), int(s)), bytes(sign_bytes), bytes(signature))
        for key, h, r, s, sign_bytes, signature in packed
    }


def discard_journal(path: Path) -> None:
    """Put a broken journal aside, or what stands in its place: the next start is one that lost it.
    What holds nothing itself (a link, a FIFO, a socket) is taken away: a process that is shut off
    may give names to files and directories only.

    Raises: StoreFailure.
    """
    aside = path.with_name(path.name + ".broken")
    try:
        with contextlib.suppress(FileNotFoundError):
            try:
                mode = path.lstat().st_mode
                if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
                    path.rename(aside)
                else:
                    path.unlink()
            except OSError as error:
                if error.errno not in _NOT_OVER:
                    raise
                path.rename(path.with_name(f"{aside.name}.{os.urandom(4).hex()}"))
        sync_directory(path.parent)
    except OSError as error:
        raise StoreFailure(f"{path.absolute()} could not be put aside: {os_words(error)}") from error


def _sum(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=8, person=b"cmkms-raft").digest()


class Journal:
    """What pysyncobj asks of a journal (its Journal class), and sync().

    Nothing is durable before sync().
    """

    def __init__(self, path: Path, disk: Disk | None = None) -> None:
        """Open or make it.

        Raises: StoreFailure; FormatError for another version's, which stays as it is.
        """
        self.path = path
        self._named = path.absolute()  # for an operator: its process stands in its directory, and gives none
        self.term = 0
        self.voted_for: str | None = None
        self.pending = False  # its member may have led in terms that it does not know of: rule 12
        self.snapshot: dict[bytes, Watermark] | None = None
        self.untrusted = ""  # why a journal that was there is not used
        self._disk = disk or cast(Disk, os)
        self._entries: list[Entry] = []
        self._commit = 1
        self._buffer = bytearray()
        self._offset = 0
        self._size = 0
        self._fd = -1
        self._failure: str | None = None
        self._installing: list[Entry] | None = None
        self.staged: dict[bytes, Watermark] | None = None
        try:
            self._open()
        except PermissionError as error:
            cure = cure_of_file(error, "give the home and what is in it to the node's user")
            raise StateError(f"{self._named} cannot be opened: {os_words(error)}", cure=cure) from error
        except OSError as error:
            raise StoreFailure(f"{self._named}: {os_words(error)}") from error

    # --- opening ---

    def _open(self) -> None:
        fresh = not os.path.lexists(self.path)
        if not fresh:
            problem = self._read()
            if problem:
                self.untrusted = problem
                discard_journal(self.path)
                self.term, self.voted_for, self.snapshot = self.term + 1, None, None
                self._entries, self._offset = [], 0
                fresh = True
        if fresh:
            self.pending = True
            self._append("P")
            self._append("M", self.term, None)  # above every term that the old one still shows
            content = bytes(self._buffer)
            self._fd, self._size = self._make(content)  # never under the name without its "P"
            self._offset = len(content)
            self._buffer.clear()

    def _read(self) -> str:
        """Open and replay what is there; returns why it is not to be trusted, or "".

        Raises: OSError, FormatError.
        """
        try:
            self._fd = open_file(self.path, os.O_RDWR)
        except OSError as error:
            if not is_no_file(error):
                raise
            return os_words(error)
        self._size = os.fstat(self._fd).st_size
        if self._size > RAFT_JOURNAL_MAX_BYTES:
            problem = f"it has {self._size} bytes, and a journal at most {RAFT_JOURNAL_MAX_BYTES}"
        else:
            problem = self._load(self._disk.pread(self._fd, self._size, 0))
        if problem:
            os.close(self._fd)
        return problem

    def _make(self, content: bytes) -> tuple[int, int]:
        """A new file under the name, whole and durable. Raises: OSError."""
        aside = self.path.with_name(self.path.name + ".new")
        size = -(-(len(content) + _GROW_BYTES // 2) // _GROW_BYTES) * _GROW_BYTES
        fd = open_file(aside, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        try:
            with discarding(aside):
                self._write_all(fd, content.ljust(size, b"\0"), 0)
                self._disk.fdatasync(fd)
                aside.rename(self.path)
            sync_directory(self.path.parent)
        except BaseException:
            os.close(fd)
            raise
        return fd, size

    def _write_all(self, fd: int, data: bytes, offset: int) -> None:
        """A disk that fills up takes a part first; what it says to the rest is why.

        Raises: OSError.
        """
        while data:
            written = self._disk.pwrite(fd, data, offset)
            if written == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            data, offset = data[written:], offset + written

    def _load(self, data: bytes) -> str:
        """Replay; returns why the file is not to be trusted, or ""."""
        at = 0
        while at + _HEAD.size <= len(data):
            size, check = _HEAD.unpack_from(data, at)
            if size == 0:
                break
            body = data[at + _HEAD.size : at + _HEAD.size + size]
            if size > _RECORD_MAX_BYTES or len(body) != size or _sum(body) != check:
                return f"the record at {at} does not check"
            try:
                self._replay(msgpack.unpackb(body))
            except (ValueError, TypeError, IndexError, KeyError, msgpack.UnpackException) as error:
                return f"the record at {at} makes no sense: {error}"
            at += _HEAD.size + size
        if data.count(0, at) != len(data) - at:
            return f"bytes that are no record stand at {at}"
        if at == 0:
            return "it holds no record"
        self._offset = at
        return ""

    def _replay(self, record: list[Any]) -> None:
        match record:
            case ["S", first, second, state]:
                self._entries = [cast(Entry, tuple(first)), cast(Entry, tuple(second))]
                self.snapshot = unpack_state(state)
            case ["A", command, index, term]:
                if self._entries and index != self._entries[-1][1] + 1:
                    raise ValueError(f"entry {index} follows {self._entries[-1][1]}")
                self._entries.append((command, index, term))
            case ["T", index]:
                del self._entries[index - self._entries[0][1] :]
            case ["M", term, voted_for]:
                self.term, self.voted_for = term, voted_for
            case ["F", number]:
                if number != _FORMAT:
                    raise FormatError(self._named, str(number), str(_FORMAT))
            case ["P"]:
                self.pending = True
            case ["L", *_]:  # with three numbers, of which older versions made a condition
                self.pending = False
            case _:
                raise ValueError("unknown kind")

    # --- writing ---

    def _append(self, *record: Any) -> None:
        body: bytes = msgpack.packb(record)
        self._buffer += _HEAD.pack(len(body), _sum(body)) + body

    def sync(self) -> None:
        """Everything so far is durable on return. Raises: StoreFailure: it is never trusted again."""
        if self._failure is not None:
            raise StoreFailure(f"{self._named} is not trusted any more: {self._failure}")
        if not self._buffer:
            return
        try:
            missing = self._offset + len(self._buffer) + _HEAD.size - self._size
            if missing > 0:
                growth = -(-missing // _GROW_BYTES) * _GROW_BYTES
                self._write_all(self._fd, bytes(growth), self._size)
                os.fsync(self._fd)
                self._size += growth
            self._write_all(self._fd, bytes(self._buffer), self._offset)
            self._disk.fdatasync(self._fd)
        except OSError as error:
            raise self._died(error) from error
        self._offset += len(self._buffer)
        self._buffer.clear()

    def settle(self) -> None:
        """From now on this journal knows every term in which its node led (rule 12).

        Durable on return. Raises: StoreFailure.
        """
        self.pending = False
        self._append("L", 0, 0, 0)
        self.sync()

    def doubt(self) -> None:
        """From now on, until its node leads again, it is as a journal that was lost (rule 12).

        Durable on return. Raises: StoreFailure.
        """
        self.pending = True
        self._append("P")
        self.sync()

    def compact(self, first: Entry, second: Entry, state: Mapping[bytes, Watermark], tail: list[Entry]) -> None:
        """A new file that begins with the snapshot; `tail` follows it.

        Durable on return. Raises: StoreFailure.
        """
        self.sync()
        self._buffer.clear()
        self._append("S", first, second, pack_state(state))
        for entry in tail:
            self._append("A", *entry)
        self._replace()
        self._entries = [first, second, *tail]
        self.snapshot = dict(state)

    def begin_anew(self) -> None:
        """No entry and no snapshot any more; term, vote, and what is known of earlier journals
        stay. Durable on return. Raises: StoreFailure.
        """
        self.sync()
        self._replace()
        self._entries, self.snapshot, self.staged, self._installing, self._commit = [], None, None, None, 1

    def _died(self, error: OSError) -> StoreFailure:
        """A write or sync failed: it is never trusted again."""
        self._failure = said(error)
        return StoreFailure(f"{self._named}: {self._failure}")

    def _replace(self) -> None:
        """A new file with what was appended to the buffer, and the term. Raises: StoreFailure."""
        self._append("M", self.term, self.voted_for)
        self._append("P") if self.pending else self._append("L", 0, 0, 0)
        content = bytes(self._buffer)
        try:
            fd, size = self._make(content)
        except OSError as error:
            raise self._died(error) from error
        os.close(self._fd)
        self._fd, self._size, self._offset = fd, size, len(content)
        self._buffer.clear()

    # --- what pysyncobj calls ---

    def add(self, command: bytes, index: int, term: int) -> None:
        """One entry; after clear(), the first two are a snapshot's end, installed with
        it as one step.
        """
        entry = (bytes(command), index, term)
        if self._installing is None:
            self._entries.append(entry)
            self._append("A", *entry)
            return
        self._entries.append(entry)
        if len(self._entries) == 2:
            kept, self._installing = self._installing, None
            matches = [n for n, old in enumerate(kept) if old[1:] == entry[1:]]
            tail = kept[matches[0] + 1 :] if matches else []
            first = self._entries[0]
            self._entries = kept
            self.compact(first, entry, self.staged or {}, tail)
            self.staged = None

    def clear(self) -> None:
        """The first half of installing a snapshot: nothing is written before its two
        entries are there.
        """
        self._installing = self._entries
        self._entries = []

    def deleteEntriesFrom(self, position: int) -> None:  # noqa: N802 - the library's names from here on
        index = self._entries[position][1]
        del self._entries[position:]
        self._append("T", index)

    def deleteEntriesTo(self, position: int) -> None:  # noqa: N802
        """Compaction: the entries before are in the snapshot that was taken."""
        kept = self._entries[position:]
        if self.staged is None or len(kept) < 2:
            raise ValueError("a compaction without its snapshot")
        self.compact(kept[0], kept[1], self.staged, kept[2:])
        self.staged = None

    def __getitem__(self, item: Any) -> Any:
        return self._entries[item]

    def __len__(self) -> int:
        return len(self._entries)

    def setRaftCommitIndex(self, index: int) -> None:  # noqa: N802
        self._commit = index

    def getRaftCommitIndex(self) -> int:  # noqa: N802
        """After a restart only the snapshot is known to be committed; the leader tells the rest."""
        return self._entries[1][1] if self.snapshot is not None else 1

    def setCurrentTerm(self, term: int, voted_for: str | None) -> None:  # noqa: N802
        self.term, self.voted_for = term, voted_for
        self._append("M", term, voted_for)

    def getCurrentTerm(self) -> int:  # noqa: N802
        return self.term

    def getVotedForNodeId(self) -> str | None:  # noqa: N802
        return self.voted_for

    def onOneSecondTimer(self) -> None: ...  # noqa: N802

    def _destroy(self) -> None: ...

    # --- the rest ---

    @property
    def bytes_used(self) -> int:
        """Return the size of the file."""
        return self._offset + len(self._buffer)

    def term_at(self, index: int) -> int | None:
        """The term of an entry; None if it is not here."""
        position = index - self._entries[0][1] if self._entries else -1
        return self._entries[position][2] if 0 <= position < len(self._entries) else None

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
