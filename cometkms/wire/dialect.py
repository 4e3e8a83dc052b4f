"""Tell a validator's dialect from the first bytes it sends."""

from typing import Final

from cometkms.model import Dialect, Kind, Line

# uvarint length, then either a protobuf tag of Message.sum (0x0a, 0x12, … 0x52) or an amino prefix.
# The first request on a fresh unix connection is PubKeyRequest or PingRequest.
_AMINO_PREFIXES: Final = (
    bytes.fromhex("cb94d620"),  # PubKeyRequest
    bytes.fromhex("f3f41204"),  # SignVoteRequest
    bytes.fromhex("bde498e2"),  # SignProposalRequest
    bytes.fromhex("1badb60d"),  # PingRequest
)
_PROTO_TAGS: Final = frozenset(kind << 3 | 2 for kind in Kind if Kind.UNKNOWN < kind <= Kind.SIGN_BYTES_RESPONSE)

_LINES: Final = {Line.V0: "v0.34-v0.40", Line.V1: "v1"}
_AMINO_LINE: Final = "v0.33"
#: Every release line that line_words() may name.
LINES: Final = (_AMINO_LINE, *_LINES.values())


def line_words(dialect: Dialect | None, line: Line) -> str | None:
    """The validator's release line for people, or None while it has not told."""
    return _AMINO_LINE if dialect is Dialect.AMINO else _LINES.get(line)


def sniff_dialect(first: bytes) -> Dialect | None:
    """The dialect of a plain privval stream, or None: more bytes are needed. What is neither is
    taken for PROTO, whose decoder says why not."""
    at = 0
    while at < len(first) and first[at] & 0x80:
        at += 1
    body = first[at + 1 : at + 5]
    if not body:
        return None if at < 10 and not (len(first) == 1 and first == b"\0") else Dialect.PROTO
    if body[0] in _PROTO_TAGS:
        return Dialect.PROTO
    if any(prefix.startswith(body) for prefix in _AMINO_PREFIXES):
        return Dialect.AMINO if len(body) == 4 else None
    return Dialect.PROTO
