"""Tell a validator's dialect from the first bytes it sends."""

from typing import Final

from cometkms.model import Dialect

# uvarint length, then either a protobuf tag of Message.sum (0x0a, 0x12, … 0x42) or an amino prefix. The first request on a
# fresh unix connection is PubKeyRequest or PingRequest.
_AMINO_PREFIXES: Final = (
    bytes.fromhex("cb94d620"),  # PubKeyRequest
    bytes.fromhex("f3f41204"),  # SignVoteRequest
    bytes.fromhex("bde498e2"),  # SignProposalRequest
    bytes.fromhex("1badb60d"),  # PingRequest
)
_PROTO_TAGS: Final = frozenset(kind << 3 | 2 for kind in range(1, 9))


def sniff_dialect(first: bytes) -> Dialect | None:
    """The dialect of a plain privval stream, or None: more bytes are needed. What is neither is taken for PROTO, whose decoder says why not."""
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
