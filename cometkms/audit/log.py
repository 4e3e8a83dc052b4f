"""Write the audit log: decisions in, lines out, in files that are only ever appended to.

Nothing here is a promise: a signature never waits for its line. What the disk does not take stays
in memory and is tried again; what was lost on the way is said by a `dropped` line. A file is opened
O_APPEND, so that this process cannot write over a line.
"""

import contextlib
import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

from cometkms.audit.appender import Appender
from cometkms.audit.fields import fields_of
from cometkms.audit.files import feed, files_in, first_seq_of, name_of, raws_of
from cometkms.audit.lines import HEADS, NO_HASH, WHY_MAX, encode
from cometkms.audit.walk import Broken, Walk
from cometkms.core.interface import AuditLines
from cometkms.durable import Disk, make_directory
from cometkms.errors import InvariantError, said
from cometkms.limits import AUDIT_BATCH, AUDIT_FILE_MAX_BYTES, AUDIT_LINE_MAX_BYTES, AUDIT_READ_MAX_BYTES
from cometkms.model import BYTES_OUTCOMES, Outcome
from cometkms.wire.decisions import Noted, decode

_CHUNK_BYTES: Final = 1 << 20
_AWAY: Final = "the audit process was away"
_NO_ROOM: Final = "the audit process did not take them in time"
_NO_SHARE: Final = "refusals had used their share of the file"
#: What anybody who reaches a signer can bring about as often as he likes: at most half of each
#: file, so that it washes nothing out. Bytes that are no vote are signed as often as a validator
#: asks, where they are at all.
_CHEAP: Final = frozenset({Outcome.REFUSED, Outcome.UNANSWERED, Outcome.FOLDED, *BYTES_OUTCOMES})
_CHEAP_WORDS: Final = frozenset(one.name.lower() for one in _CHEAP)


@dataclass(slots=True)
class _File:
    """One of the files. `size`: with what is still to be written, `pending`."""

    path: Path
    size: int
    pending: bytearray = field(default_factory=bytearray)


class AuditLog:
    """The log of one node. Every method but take() may wait for the disk."""

    def __init__(
        self,
        directory: Path,
        *,
        node: str,
        version: str,
        chains: Sequence[str],
        max_bytes: int,
        file_bytes: int = AUDIT_FILE_MAX_BYTES,
        disk: Disk | None = None,
        lines: AuditLines | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`chains`: their ids, by a decision's number; `max_bytes`: of all files together; `lines`:
        what makes the everyday ones."""
        self.directory = directory
        self.opened = False
        self.seq = 0
        self.head = NO_HASH
        self.records = 0  # decisions taken by this process
        self.dropped = 0
        self.unreadable = 0
        self.changed = ""  # what was wrong with the last file when it was opened
        self._node, self._version, self._chains = node, version, tuple(chains)
        self._max_bytes, self._file_bytes = max_bytes, file_bytes
        self._lines = lines
        self._clock_ns = clock_ns
        self._life, self._number, self._ended = "", 0, True
        self._why = _NO_ROOM  # decisions are missing
        # the files before the current one, oldest first, and their sizes
        self._full: list[tuple[Path, int]] = []
        self._doomed: list[Path] = []
        # what is to be written; the last one is the current file
        self._files: deque[_File] = deque()
        self._cheap_bytes = 0  # of the current file
        self._appender = Appender(
            directory, disk or cast(Disk, os), lambda error: self._append("unsynced", why=_words(error))
        )

    @property
    def pending(self) -> int:
        """Bytes of lines that are not written yet."""
        return sum(len(file.pending) for file in self._files)

    @property
    def behind(self) -> bool:
        """Whether flush() has something to do."""
        return bool(self.pending or self._doomed or len(self._files) > 1)

    @property
    def unsynced(self) -> bool:
        """Whether sync() has something to do."""
        return self._appender.unsynced

    @property
    def path(self) -> Path | None:
        """The current file."""
        return self._files[-1].path if self._files else None

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(size for _, size in self._full) + sum(file.size for file in self._files)

    # --- opening ---

    def open(self) -> None:
        """Find the end, and say that a writer is there. Raises: OSError; it may be tried again,
        when a disk has room or the operator has put right what is in the way."""
        make_directory(self.directory)
        paths = files_in(self.directory)
        if paths and paths[-1].stat().st_size == 0:  # made and not written to
            paths.pop().unlink()
        self._full = [(path, path.stat().st_size) for path in paths[:-1]]
        if paths:
            self._resume(paths)
        else:
            self._begin_file("opened")
        self.opened = True
        self.flush()

    def _resume(self, paths: Sequence[Path]) -> None:
        """Go on behind the last whole line; of a half one behind it, say what it is."""
        current = paths[-1]
        try:
            walk, unfinished, torn, cheap = _walk_along(paths[-1:])
            if walk.fresh and len(paths) > 1:  # its very first line is a half one
                walk, unfinished, torn, cheap = _walk_along(paths[-2:])
        except (Broken, PermissionError) as error:
            self.changed = f"{current.name}: {said(error)}"
            self._begin_behind_a_change(current)
            return
        self.seq, self.head = walk.seq, walk.head
        self._life, self._number, self._ended = walk.life, walk.number, walk.ended
        self._why = _AWAY
        size = current.stat().st_size
        self._files.append(_File(current, size + unfinished, bytearray(b"\n" * unfinished)))
        self._cheap_bytes = cheap
        self._prune()
        self._append("opened", **self._state(torn))

    def _begin_behind_a_change(self, found: Path) -> None:
        """Nothing is appended to a file that was changed: a new one says what it looked like when
        it was found, as far as it can be read. Its seqs lie above all that may stand in there."""
        sha, lines, unread = hashlib.sha256(), 1, found.stat().st_size
        self._full.append((found, unread))
        with contextlib.suppress(PermissionError), found.open("rb") as file:
            for _ in range(AUDIT_READ_MAX_BYTES // _CHUNK_BYTES):
                if not (piece := file.read(_CHUNK_BYTES)):
                    break
                sha.update(piece)
                lines, unread = lines + piece.count(b"\n"), unread - len(piece)
        self.seq, self.head = first_seq_of(found) + lines + max(0, unread), sha.hexdigest()
        self._begin_file("reopened")

    def _state(self, torn: str = "") -> dict[str, object]:
        """What a file's first line, and a writer's, says."""
        return {
            "node": self._node,
            "version": self._version,
            "life": self._life,
            "number": self._number,
            "oldest": first_seq_of(self._full[0][0] if self._full else self._files[-1].path),
            "torn": torn,
            "prev": self.head,
        }

    def _begin_file(self, what: str) -> None:
        while os.path.lexists(taken := self.directory / name_of(self.seq + 1)):
            # what has its name is none of this log's files, and may be no file at all
            self.changed = f"{taken.name}: it is in the place of a new file"
            self.seq, self.head, what = self.seq + 1, hashlib.sha256().hexdigest(), "reopened"
        if self._files:
            self._full.append((self._files[-1].path, self._files[-1].size))
        self._files.append(_File(self.directory / name_of(self.seq + 1), 0))
        self._cheap_bytes = 0
        self._prune()
        self._append(what, **self._state())

    def _prune(self) -> None:
        """Give up the oldest files, so that the current one may grow to its bound."""
        while self._full and sum(size for _, size in self._full) + self._file_bytes > self._max_bytes:
            self._doomed.append(self._full.pop(0)[0])

    # --- lines ---

    def take(self, untrusted: Sequence[bytes]) -> None:
        """Make lines of what the signer noted. Nothing is written yet."""
        at = 0
        while at < len(untrusted):
            plain = self._take_plain(untrusted[at : at + AUDIT_BATCH])
            at += plain
            if not plain:
                self._take_one(untrusted[at])
                at += 1

    def _take_one(self, untrusted: bytes) -> None:
        try:
            noted = decode(untrusted)
        except InvariantError:
            noted = None
        if noted is None or not self._is_possible(noted):
            self.unreadable += 1  # its number will be missing
        else:
            self._take(noted)

    def _take_plain(self, untrusted: Sequence[bytes]) -> int:
        """Those from the first on whose lines follow in this file without a word between them. How
        many."""
        if self._lines is None:
            return 0
        file = self._files[-1]
        taken, lines, self.head = self._lines.make(
            untrusted,
            life=int(self._life or "0", 16),
            number=self._number,
            seq=self.seq,
            head=self.head,
            room=self._file_bytes - file.size,
        )
        if taken:
            self.seq += taken
            self.records += taken
            self._number, self._ended, self._why = self._number + taken, False, _NO_ROOM
            file.pending += lines
            file.size += len(lines)
        return taken

    def _is_possible(self, noted: Noted) -> bool:
        if noted.decision.outcome is Outcome.BEGAN:
            return noted.number == 1
        return noted.number > 0 and noted.decision.chain < len(self._chains)

    def _take(self, noted: Noted) -> None:
        life, outcome = f"{noted.life:016x}", noted.decision.outcome
        if life != self._life:
            before = ("ended" if self._ended else "unfinished") if self._life else "first"
            number = int(outcome is Outcome.BEGAN)  # else its first word was lost
            self._append("began", noted.at_ns, life=life, number=number, before=before)
            self._life, self._number, self._ended = life, number, False
        if noted.number <= self._number:
            return
        if outcome in _CHEAP and self._cheap_bytes >= self._file_bytes // 2:
            # its number is missing, and the next line that is written says how many are
            self._why = _NO_SHARE
            return
        self._miss(noted.number - self._number - 1)
        if outcome is Outcome.ENDED:
            self._append("ended", noted.at_ns, number=noted.number)
        else:
            self.records += outcome is not Outcome.FOLDED
            what, values = fields_of(noted, self._chains)
            self._append(what, noted.at_ns, number=noted.number, **values)
        self._number, self._ended = (
            noted.number,
            outcome is Outcome.ENDED,
        )  # behind the line: a new file's first tells the state before it

    def _miss(self, count: int) -> None:
        if count:
            self._append("dropped", count=count, why=self._why)
            self.dropped += count
            self._number += count
        self._why = _NO_ROOM

    def _append(self, what: str, at_ns: int | None = None, /, **values: object) -> None:
        """The next line, of an own file where the current one is full."""
        if what not in HEADS and self._files[-1].size + AUDIT_LINE_MAX_BYTES > self._file_bytes:
            self._begin_file("rotated")
        line, self.head = encode(self.head, self.seq + 1, at_ns or self._clock_ns(), what, **values)
        self.seq += 1
        self._files[-1].pending += line
        self._files[-1].size += len(line)
        self._cheap_bytes += len(line) if what in _CHEAP_WORDS else 0

    # --- the disk ---

    def look(self) -> None:
        """Whether what is written comes where it is looked for. Raises: OSError where the file is
        gone from its name."""
        self._appender.look()

    def flush(self) -> None:
        """Write what is pending. Raises: OSError; what was not written stays pending."""
        try:
            self._flush()
        except OSError as error:
            self._why = _words(error)
            raise

    def _flush(self) -> None:
        while self._files:
            file = self._files[0]
            if file.pending:
                self._appender.open(file.path)
                self._appender.write(file.pending)
            if len(self._files) == 1:
                break
            self._files.popleft()  # it is full
            self._appender.leave()
        while self._doomed:
            self._doomed[0].unlink(missing_ok=True)
            del self._doomed[0]

    def sync(self) -> None:
        """Make durable what was written. Raises: OSError, after the log has been told so once."""
        self._appender.sync()

    def close(self) -> None:
        """All that was taken is written, durable, and said to be. Raises: OSError."""
        self._append("closed")
        self.flush()
        self.sync()
        self._appender.leave()


def _walk_along(paths: Sequence[Path]) -> tuple[Walk, bool, str, int]:
    """Where it ends, whether a newline is missing there, the half line (SIZE:SHA-256) if there is
    one, and how much of the last file refusals have. Raises: Broken."""
    walk, raw, cheap = Walk(), None, 0
    for path in paths:
        if (size := path.stat().st_size) > AUDIT_READ_MAX_BYTES:
            raise Broken(f"{size} bytes, and no file of an audit log has more than {AUDIT_FILE_MAX_BYTES}")
        walk.begin_file()
        cheap = 0
        with path.open("rb") as file:
            for raw in raws_of(file):
                line = feed(walk, raw)
                cheap += raw.size + 1 if line is not None and line.what in _CHEAP_WORDS else 0
    return walk, raw is not None and not raw.finished, walk.torn, cheap


def _words(error: OSError) -> str:
    return said(error)[:WHY_MAX]
