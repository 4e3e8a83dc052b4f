"""The files of an audit log, read: streaming, in bounded memory, while its node writes or from
copies.

DIRECTORY/000000000001.jsonl, …: a file is named by the seq of its first line.
"""

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from cometkms.audit.lines import Line, LineError, parse
from cometkms.audit.walk import Broken, NoLine, Place, Signatures, Walk, place_of
from cometkms.limits import AUDIT_LINE_MAX_BYTES, AUDIT_SEQ_MAX

_NAME = re.compile(r"(\d{12,20})\.jsonl\Z")
_OVERRUN = re.compile(rb'"hash":"[0-9a-f]{64}"\}.')  # a newline that became something else


def directory_of(home: Path, node_id: str) -> Path:
    """Where a node keeps it."""
    return home / "data" / node_id / "audit"


def name_of(seq: int) -> str:
    """Return the name of the file whose first line that is."""
    return f"{seq:012d}.jsonl"


def first_seq_of(path: Path) -> int:
    """Return the number that name_of() put into a name; 0: not a file of an audit log."""
    found = _NAME.match(path.name)
    return int(found[1]) if found and name_of(int(found[1])) == path.name else 0


def files_in(directory: Path) -> list[Path]:
    """Its files, oldest first; what else has such a name is none. Raises: OSError."""
    named = (path for path in directory.iterdir() if 0 < first_seq_of(path) <= AUDIT_SEQ_MAX)
    return sorted((path for path in named if path.is_file()), key=first_seq_of)


@dataclass(frozen=True, slots=True)
class Raw:
    """What stands between two newlines. `at`: its offset. `text` is cut at AUDIT_LINE_MAX_BYTES +
    1; `mark`: SIZE:SHA-256 of all of it."""

    at: int
    text: bytes
    size: int
    finished: bool
    digest: Callable[[], str]

    @property
    def mark(self) -> str:
        return f"{self.size}:{self.digest()}"


def raws_of(file: BinaryIO) -> Iterator[Raw]:
    """Give the raw lines from where the file stands to its end. Raises: OSError."""
    at = file.tell()
    while piece := file.readline(AUDIT_LINE_MAX_BYTES + 2):
        text = piece.removesuffix(b"\n")
        if piece.endswith(b"\n") or len(piece) < AUDIT_LINE_MAX_BYTES + 2:
            raw = Raw(at, text, len(text), piece.endswith(b"\n"), hashlib.sha256(text).hexdigest)
        else:
            raw = _long(file, at, piece)
        yield raw
        at += raw.size + raw.finished


def _long(file: BinaryIO, at: int, begin: bytes) -> Raw:
    """More than a line: counted and hashed, not kept."""
    sha, size, piece = hashlib.sha256(begin), len(begin), b""
    while not piece.endswith(b"\n") and (piece := file.readline(1 << 16)):
        sha.update(piece.removesuffix(b"\n"))
        size += len(piece.removesuffix(b"\n"))
    return Raw(at, begin[: AUDIT_LINE_MAX_BYTES + 1], size, piece.endswith(b"\n"), sha.hexdigest)


def feed(walk: Walk, raw: Raw) -> Line | None:
    """One line into a walk. Raises: Broken."""
    if raw.size > AUDIT_LINE_MAX_BYTES:
        walk.feed_long(raw.mark)
        return None
    return walk.feed(raw.text, raw.mark)


@dataclass(frozen=True, slots=True)
class Break:
    """The first line of a file that does not follow. `seq`: of the last one that does."""

    file: str
    line: int
    seq: int
    why: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}, behind seq {self.seq}: {self.why}"


@dataclass(slots=True)
class Report:
    """What a log says of itself. `walk`: where it ends."""

    walk: Walk = field(default_factory=Walk)
    files: list[str] = field(default_factory=list)
    lines: int = 0
    broken: list[Break] = field(default_factory=list)  # one a file at most
    alarms: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        return not self.broken and not self.alarms


def verify(directory: Path, wanted: Mapping[int, str] | None = None) -> Report:
    """Every line of every file. `wanted`: the hashes at some seqs, as they were noted down
    elsewhere. Raises: OSError."""
    check = _Check(directory, dict(wanted or {}))
    check.run()
    return check.report


class _Check:
    def __init__(self, directory: Path, wanted: dict[int, str]) -> None:
        self.report = Report()
        self._walk = self.report.walk
        self._directory = directory
        self._wanted = wanted
        self._line = self._torn_line = 0
        self._anew = False  # what stands before the next file is not known

    def run(self) -> None:
        """Raises: OSError."""
        done = 0
        while left := [path for path in files_in(self._directory) if first_seq_of(path) > done]:
            for path in left:  # the node may remove the oldest and begin a new one meanwhile
                done = first_seq_of(path)
                try:
                    file = path.open("rb")
                except FileNotFoundError:
                    self._anew = True
                    self.report.notes.append(f"{path.name} was removed by a rotation while the others were read")
                    continue
                with file:
                    self._file(path, file)
        self._judge()

    def _file(self, path: Path, file: BinaryIO) -> None:
        self.report.files.append(path.name)
        self._walk.begin_file(anew=self._anew)
        self._anew = False
        self._line = 0
        try:
            final = self._has_successor(path)
            rest = self._lines(path, file, final=final)
            if not final and self._has_successor(path):  # it was the last one while it was read
                file.seek(rest)
                self._lines(path, file, final=True)
            self._walk.end()
        except Broken as error:
            line = self._torn_line if isinstance(error, NoLine) else self._line
            self.report.broken.append(Break(path.name, line, self._walk.seq, str(error)))
            self._anew = True

    def _lines(self, path: Path, file: BinaryIO, *, final: bool) -> int:
        """Read the lines to the end, or to an unfinished line where one may be, and return the
        offset. Raises: Broken."""
        for raw in raws_of(file):
            if not raw.finished and not final and not _is_whole(raw):
                if _OVERRUN.search(raw.text):
                    self._line += 1
                    raise Broken("it goes on behind its end")
                note = f"{path.name} ends in an unfinished line ({raw.size} bytes): it is being written, or its writer was killed there"
                self.report.notes.append(note)
                return raw.at
            self._line += 1
            if not self._walk.torn:
                self._torn_line = self._line
            line = feed(self._walk, raw)
            if line is None:
                continue
            if self._line == 1 and line.seq != first_seq_of(path):
                raise Broken(f"its first line has the seq {line.seq}, not that of its name")
            self.report.lines += 1
            wanted = self._wanted.pop(line.seq, line.hash)
            if wanted != line.hash:
                self.report.alarms.append(f"NOT AS EXPECTED: seq {line.seq} has the hash {line.hash}, not {wanted}")
        return file.tell()

    def _has_successor(self, path: Path) -> bool:
        return any(first_seq_of(other) > first_seq_of(path) for other in files_in(self._directory))

    def _judge(self) -> None:
        report, walk = self.report, self._walk
        for seq in sorted(self._wanted):
            report.alarms.append(
                f"NOT AS EXPECTED: there is no seq {seq}; the lines here are {walk.first_seq} to {walk.seq}"
            )
        if walk.first_seq > walk.oldest > 0 and not report.broken:
            text = f"MISSING: the log begins at seq {walk.first_seq}, and its last files say that seq {walk.oldest} was kept"
            report.alarms.append(text)
        if walk.counts["reopened"]:
            report.alarms.append(
                "CHANGED: a writer found the file before a `reopened` line changed, and began a new one"
            )
        self._judge_signatures(walk.signatures)

    def _judge_signatures(self, signatures: Signatures) -> None:
        report, lowered = self.report, signatures.lowered
        for line in self._signed_at(lowered) if lowered else ():
            place = place_of(line)
            if line.fields["bytes"] != lowered[place]:
                signatures.alarm(*place, str(line.fields["bytes"]), lowered[place], line.seq)
        report.alarms += [f"DOUBLE SIGNATURE: {one}" for one in signatures.doubles]
        for chain, at in lowered:
            text = f"chain {chain}, {at} was signed after a higher place"
            report.alarms.append(f"SIGNED BELOW THE WATERMARK: {text}")

    def _signed_at(self, places: Mapping[Place, str]) -> Iterator[Line]:
        for path in files_in(self._directory):
            for line in lines_of(path, lambda text: b'"what":"signed"' in text):
                if place_of(line) in places:
                    yield line


def lines_of(path: Path, may: Callable[[bytes], bool]) -> Iterator[Line]:
    """The lines of a file for which `may` says so, unverified; what is no line is left out. Raises:
    OSError."""
    with path.open("rb") as file:
        for raw in raws_of(file):
            if raw.size > AUDIT_LINE_MAX_BYTES or not may(raw.text):
                continue
            with contextlib.suppress(LineError):
                yield parse(raw.text)


def _is_whole(raw: Raw) -> bool:
    """A line that lacks its newline only."""
    try:
        parse(raw.text)
    except LineError:
        return False
    return True
