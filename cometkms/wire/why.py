"""Why two nodes are not connected: a code for programs, with the words for people beside it. Pure.

Alerts, the doctor and tests match the code; the words may change. A node that refuses another tells
it both ("[digest] digests differ: …"): a version that knows no codes shows them as part of the
words, and a code that this version does not know is `other`.
"""

import re
from enum import StrEnum
from typing import Final


class PeerCode(StrEnum):
    """What stands between this node and a member."""

    # one of the two refuses the other, and says so
    PROTOCOL = "protocol"  # versions whose peers' protocols differ
    MEMBERS = "members"  # other epochs, or other peer lists
    DIGEST = "digest"  # the same members, and other identities of theirs
    UNLISTED = "unlisted"  # a node that holds the key and is in no list here
    ALONE = "alone"  # one of the two is configured as one node alone
    DUPLICATE = "duplicate"  # a second process with the id of one that is there
    MYSELF = "myself"  # the address leads to this very process
    NAME = "name"  # it calls itself otherwise than its identity says
    KEY = "key"  # it does not hold the key of this cluster
    SUPERSEDED = "superseded"  # another store stands for that member now
    # what it says of itself or of this node is beyond any believable step
    UNBELIEVED = "unbelieved"
    # nobody answers, or not as a node does
    DOWN = "down"  # its machine answers, and nothing listens there
    UNREACHABLE = "unreachable"  # nothing answers at its address
    UNRESOLVED = "unresolved"  # its name leads nowhere
    NOT_DIALLED = "not_dialled"  # of the two it is the one that dials, and it has not come
    # it has not come, and a node that calls itself so, or comes from its address, does not hold the
    # key: that is nobody's proven word
    STRANGER = "stranger"
    HANDSHAKE = "handshake"  # it takes the connection, and what follows does not come through
    CLOSED_EARLY = "closed_early"  # it closed the connection before it said who it is
    # the connection was there
    CLOSED = "closed"
    SILENT = "silent"
    NOT_ACKNOWLEDGED = "not_acknowledged"  # what was sent did not arrive
    BROKE_PROTOCOL = "broke_protocol"
    OTHER = "other"


#: The two nodes were made to differ: no waiting and no network cures it.
CONFIGURED: Final = frozenset(
    {
        PeerCode.PROTOCOL,
        PeerCode.MEMBERS,
        PeerCode.DIGEST,
        PeerCode.UNLISTED,
        PeerCode.ALONE,
        PeerCode.NAME,
        PeerCode.KEY,
    }
)
_TOLD: Final = re.compile(r"\[([a-z_]{1,32})\] ")


class Why(str):
    """Words with a code."""

    __slots__ = ("code",)
    code: PeerCode

    def __new__(cls, code: PeerCode, words: str) -> "Why":
        """`words`: for people."""
        made = super().__new__(cls, words)
        made.code = code
        return made


def code_of(why: str) -> PeerCode:
    """Return the code of words that may have one."""
    return why.code if isinstance(why, Why) else PeerCode.OTHER


def encode_why(why: str, most: int) -> bytes:
    """Encode the words for the other end, in `most` bytes at most."""
    return f"[{code_of(why).value}] {why}".encode("utf-8", "replace")[:most]


def decode_why(untrusted: bytes, before: str) -> Why:
    """What the other end said; `before` is put in front of its words."""
    words = untrusted.decode("utf-8", "replace")
    code = PeerCode.OTHER
    if (told := _TOLD.match(words)) is not None:
        words = words[told.end() :]
        code = next((one for one in PeerCode if one.value == told[1]), PeerCode.OTHER)
    return Why(code, f"{before}{words}")
