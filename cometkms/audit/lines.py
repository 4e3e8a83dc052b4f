"""One line of the audit log. Pure.

A line is one JSON object in one form only: the keys of its kind in their order, no spaces, ASCII,
and at its end

    "hash": SHA-256(the hash of the line before, 64 hex digits ‖ this line up to and without `,"hash":`)

So a line cannot be changed, moved, doubled or left out without a line whose hash does not follow.

    opened    a writer began, here or in a new file      rotated   the file before was full
    reopened  the file before was found changed          closed    the writer was stopped, all it had taken is written
    began     a signer process (`life`) began            ended     it was stopped, this was its last number
    dropped   so many decisions are missing here         unsynced  the lines before may not survive a power cut
    signed, repeated, refused, unanswered                a decision
    signed_bytes, refused_bytes                          likewise, of bytes that are no vote
    folded    so many requests more were refused, or not answered, for that reason; without one: so
              many more were answered again
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from cometkms.limits import AUDIT_LINE_MAX_BYTES
from cometkms.model import Outcome

NO_HASH: Final = "0" * 64  # before the first line of all
DECISIONS: Final = tuple(
    one.name.lower() for one in (Outcome.SIGNED, Outcome.REPEATED, Outcome.REFUSED, Outcome.UNANSWERED)
)
#: Decisions about bytes that are no vote: they have no place.
OF_BYTES: Final = tuple(one.name.lower() for one in (Outcome.SIGNED_BYTES, Outcome.REFUSED_BYTES))
FOLDED: Final = Outcome.FOLDED.name.lower()
HEADS: Final = ("opened", "rotated", "reopened")  # what a file may begin with
WHY_MAX: Final = 100

_HEX = re.compile(r"[0-9a-f]{64}\Z")
_OPTIONAL_HEX = re.compile(r"([0-9a-f]{2})*\Z")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z\Z")
_LIFE = re.compile(r"([0-9a-f]{16})?\Z")
_TORN = re.compile(r"([1-9]\d*:[0-9a-f]{64})?\Z")
_ANY = re.compile(r".*\Z", re.DOTALL)
_WORD = re.compile(r"[a-z_]*\Z")

#: The values a key may have: a number from 0 (or from -1, for heights and rounds as they were
#: asked), or text of a form.
_FORMS: Final[Mapping[str, int | re.Pattern[str]]] = {
    "seq": 1,
    "at": _TIME,
    "node": _ANY,
    "version": _ANY,
    "life": _LIFE,
    "number": 0,
    "oldest": 1,
    "torn": _TORN,
    "prev": _HEX,
    "before": re.compile(r"(first|ended|unfinished)\Z"),
    "count": 1,
    "why": _ANY,
    "chain": _ANY,
    "height": -(1 << 63),
    "round": -(1 << 31),
    "step": 0,
    "kind": _WORD,
    "reason": _WORD,
    "bytes": re.compile(r"([0-9a-f]{64})?\Z"),
    "block": _OPTIONAL_HEX,
    "length": 0,
    "unique_id": re.compile(r"[ -~]*\Z"),
    "validator": _ANY,
    "identity": re.compile(r"([0-9a-f]{64})?\Z"),
    "us": 0,
}
_HEAD_KEYS: Final = ("node", "version", "life", "number", "oldest", "torn", "prev")
_DECISION_KEYS: Final = (
    *("number", "chain", "height", "round", "step", "kind", "reason"),
    *("bytes", "block", "validator", "identity", "us"),
)
_BYTES_KEYS: Final = (
    *("number", "chain", "kind", "reason", "bytes", "length", "unique_id"),
    *("validator", "identity", "us"),
)
#: The keys of each kind of line, in their order, between `seq`, `at`, `what` and `hash`.
KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(HEADS, _HEAD_KEYS),
    "closed": (),
    "began": ("life", "number", "before"),
    "ended": ("number",),
    "dropped": ("count", "why"),
    "unsynced": ("why",),
    **dict.fromkeys(DECISIONS, _DECISION_KEYS),
    **dict.fromkeys(OF_BYTES, _BYTES_KEYS),
    FOLDED: ("number", "chain", "reason", "validator", "count"),
}


class LineError(ValueError):
    """What stands there is no line of an audit log; the text says why."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line. `body`: what its hash is over, behind the hash of the line before."""

    fields: Mapping[str, Any]
    body: bytes

    @property
    def seq(self) -> int:
        return int(self.fields["seq"])

    @property
    def what(self) -> str:
        return str(self.fields["what"])

    @property
    def hash(self) -> str:
        return str(self.fields["hash"])

    def follows(self, head: str) -> bool:
        """Whether its hash is over what stands here and that line before it."""
        return self.hash == hash_of(head, self.body)


def hash_of(head: str, body: bytes) -> str:
    """Hash a line together with the hash of the line before it."""
    return hashlib.sha256(head.encode() + body).hexdigest()


def encode(head: str, seq: int, at_ns: int, what: str, **values: object) -> tuple[bytes, str]:
    """A line with its newline, and its hash. `values`: all keys of KEYS[what]."""
    fields = {"seq": seq, "at": time_of(at_ns), "what": what, **{key: values[key] for key in KEYS[what]}}
    body = json.dumps(fields, separators=(",", ":")).encode()[:-1]
    mark = hash_of(head, body)
    return b'%s,"hash":"%s"}\n' % (body, mark.encode()), mark


def parse(untrusted: bytes) -> Line:
    """A line without its newline. Strict: encode() gives the same bytes. Raises: LineError."""
    if len(untrusted) > AUDIT_LINE_MAX_BYTES:
        raise LineError(f"more than {AUDIT_LINE_MAX_BYTES} bytes")
    try:
        fields = json.loads(untrusted.decode())  # bytes would be read in whatever encoding they seem to have
    except (ValueError, RecursionError):
        raise LineError("nothing but zeros" if untrusted and not untrusted.strip(b"\0") else "no JSON") from None
    if not isinstance(fields, dict):
        raise LineError("no JSON object")
    what = fields.get("what")
    if not isinstance(what, str) or what not in KEYS:
        raise LineError(f"no kind of line: {str(what)[:WHY_MAX]!r}")
    keys = ("seq", "at", "what", *KEYS[what], "hash")
    if tuple(fields) != keys:
        raise LineError(f"the keys of {what} are {', '.join(keys)}")
    for key, value in fields.items():
        if key != "what" and not _has_form(key, value):
            raise LineError(f"{key} cannot be {str(value)[:WHY_MAX]!r}")
    if json.dumps(fields, separators=(",", ":")).encode() != untrusted:
        raise LineError("written in another form")
    return Line(fields, untrusted[: -len(',"hash":""}') - 64])


def _has_form(key: str, value: object) -> bool:
    form = _HEX if key == "hash" else _FORMS[key]
    if isinstance(form, int):
        return type(value) is int and form <= value < 1 << 64
    return isinstance(value, str) and form.match(value) is not None


def time_of(at_ns: int) -> str:
    """UNIX nanoseconds as UTC."""
    second, rest = divmod(at_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
