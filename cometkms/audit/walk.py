"""Walk along the lines of an audit log and find the first that does not follow. Pure: lines in,
findings out.

The writer walks along its last file before it goes on, with the same rules as who verifies.
"""

import hashlib
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Final

from cometkms.audit.lines import DECISIONS, FOLDED, HEADS, NO_HASH, OF_BYTES, Line, LineError, parse
from cometkms.model import HRS

_PLACES_MAX: Final = 4096  # signed places a chain remembers, for naming a double signature at once
_ALARMS_MAX: Final = 100

Place = tuple[str, HRS]  # chain, where


def place_of(line: Line) -> Place:
    """Where a decision was made."""
    return str(line.fields["chain"]), HRS(line.fields["height"], line.fields["round"], line.fields["step"])


class Broken(ValueError):
    """This line does not follow from what stands before it; the text says why."""


class NoLine(Broken):
    """The bytes before this line are none, and it does not explain them."""


@dataclass(frozen=True, slots=True)
class Torn:
    """Bytes that are no line: perhaps what a killed writer or a power cut left, which the next line
    then says. `why`: what is wrong."""

    mark: str  # SIZE:SHA-256
    why: str

    def and_then(self, mark: str) -> "Torn":
        """More of it, behind a newline: SIZE of all, and SHA-256 of both marks."""
        size = int(self.mark.partition(":")[0]) + 1 + int(mark.partition(":")[0])
        return Torn(f"{size}:{hashlib.sha256(f'{self.mark},{mark}'.encode()).hexdigest()}", self.why)


@dataclass(slots=True)
class Signatures:
    """What was signed where. A node's own watermark only rises: so must the places here, and one
    place has one hash."""

    doubles: list[str] = field(default_factory=list)
    lowered: dict[Place, str] = field(default_factory=dict)  # signed below an earlier one; its hash
    _known: dict[str, OrderedDict[HRS, str]] = field(default_factory=dict)

    def add(self, line: Line) -> None:
        """Take in a `signed` line."""
        chain, at = place_of(line)
        known = self._known.setdefault(chain, OrderedDict())
        mark = str(line.fields["bytes"])
        if at in known:
            if known[at] != mark:
                self.alarm(chain, at, known[at], mark, line.seq)
            return
        if known and at < next(reversed(known)):
            if len(self.lowered) < _ALARMS_MAX:
                self.lowered.setdefault((chain, at), mark)
            return
        known[at] = mark
        if len(known) > _PLACES_MAX:
            known.popitem(last=False)

    def alarm(self, chain: str, at: HRS, first: str, second: str, seq: int) -> None:
        """Two signatures for one place."""
        text = f"chain {chain}, {at}: {first} and {second} (line seq {seq})"
        if len(self.doubles) < _ALARMS_MAX and text not in self.doubles:
            self.doubles.append(text)


@dataclass(slots=True)
class Walk:
    """Where the log stands behind the lines fed so far. `first_seq` 0: none yet. `fresh`: whatever
    a file begins with is believed."""

    seq: int = 0
    head: str = NO_HASH
    node: str = ""
    life: str = ""
    number: int = 0
    oldest: int = 0
    ended: bool = True  # the signer's life: by a word of its own
    closed: bool = True  # the writer's
    first_seq: int = 0
    first_prev: str = NO_HASH
    first_at: str = ""
    last_at: str = ""
    dropped: int = 0
    unclean: int = 0  # writers that ended without a word
    halves: int = 0  # half lines that the next one explains
    counts: Counter[str] = field(default_factory=Counter)
    signatures: Signatures = field(default_factory=Signatures)
    fresh: bool = True
    _torn: Torn | None = None
    _file_begins: bool = True

    def begin_file(self, *, anew: bool = False) -> None:
        """The next line is a file's first. `anew`: what stands before it is not known."""
        self._torn, self._file_begins = None, True
        self.fresh = self.fresh or anew

    def feed(self, untrusted: bytes, mark: str) -> Line | None:
        """The next line, without its newline; `mark`: its SIZE:SHA-256. None: it is none, which the
        next one that is must explain.

        Raises: Broken; nothing has moved then.
        """
        try:
            line = parse(untrusted)
        except LineError as error:
            self._tear(mark, str(error))
            return None
        self._check(line)
        self._take(line)
        return line

    def feed_long(self, mark: str) -> None:
        """Take the next bytes as feed() does, where they are too many for a line."""
        self._tear(mark, "too long for a line")

    def _tear(self, mark: str, why: str) -> None:
        self._torn = self._torn.and_then(mark) if self._torn else Torn(mark, why)

    @property
    def torn(self) -> str:
        """What stands at the end and is no line: SIZE:SHA-256; "": nothing."""
        return self._torn.mark if self._torn else ""

    def end(self) -> None:
        """Nothing follows that could explain it. Raises: NoLine for bytes that are none."""
        if self._torn:
            raise NoLine(self._torn.why)

    def _check(self, line: Line) -> None:
        fields, what = line.fields, line.what
        torn = fields.get("torn", "")
        if self._torn and torn != self._torn.mark:
            raise NoLine(self._torn.why)
        if torn and not self._torn:
            raise Broken("it speaks of a half line before it, and there is none")
        if self._file_begins != (what in HEADS) and not (what == "opened" and not self._file_begins):
            raise Broken(f"a file begins with {', '.join(HEADS)}, not with {what}" if self._file_begins
                         else f"{what} stands at a file's beginning only")  # fmt: skip
        fresh = self.fresh or what == "reopened"
        if line.seq <= self.seq or (not fresh and line.seq != self.seq + 1):
            raise Broken(f"seq {line.seq} follows seq {self.seq}")
        if fresh and line.seq == 1 and fields["prev"] != NO_HASH:
            raise Broken("the first line of all follows nothing")
        if not line.follows(fields["prev"] if fresh else self.head):
            raise Broken("its hash does not follow")
        if what in HEADS and not fresh and (fields["prev"], fields["life"], fields["number"]) != (
            self.head, self.life, self.number
        ):  # fmt: skip
            raise Broken("it does not say how the line before left it")
        if "number" in fields and what not in HEADS:
            wanted = (0, 1) if what == "began" else (self.number + 1,)
            if fields["number"] not in wanted:
                raise Broken(
                    f"decision {fields['number']} follows decision {self.number}, and none is said to be dropped"
                )

    def _take(self, line: Line) -> None:
        fields, what = line.fields, line.what
        if self.first_seq == 0:
            self.first_seq, self.first_prev, self.first_at = line.seq, str(fields["prev"]), str(fields["at"])
        self.halves += self._torn is not None
        if self.fresh:
            self.closed, self.ended = True, not fields["life"]
        self.seq, self.head, self.last_at = line.seq, line.hash, str(fields["at"])
        self._torn, self._file_begins, self.fresh = None, False, False
        self.counts[what] += 1
        if what in HEADS:
            self.node, self.oldest = str(fields["node"]), int(fields["oldest"])
            self.life, self.number = str(fields["life"]), int(fields["number"])
            if what != "rotated" and not self.closed:
                self.unclean += 1
            self.closed = False
        elif what == "began":
            self.life, self.number, self.ended = str(fields["life"]), int(fields["number"]), False
        elif what == "dropped":
            self.number += int(fields["count"])
            self.dropped += int(fields["count"])
        elif what == "closed":
            self.closed = True
        elif what in ("ended", FOLDED) or what in DECISIONS or what in OF_BYTES:
            self.number, self.ended = int(fields["number"]), what == "ended"
            if what == "signed":
                self.signatures.add(line)
