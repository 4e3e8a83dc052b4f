"""What nodes say to each other inside an authenticated channel. Strict msgpack, encode and decode,
no I/O.

A message is one msgpack array: its tag, then its fields in the order of the class. Types, lengths
and ranges are checked one by one before anything is made of them; whatever does not fit raises
ProtocolError, and the channel closes the connection.

    HELLO      who I am, my digest, what I remember of you: first, both ways; begins alike in every
               version
    LIFE       my node state, birth nonce or record, my marks, whose incarnations I know: after the
               hello, and when it changes
    PROMISE    may these bytes be signed? From the leader to all
    PROMISED   yes, durable; or no, and this is my mark
    READ       tell me your marks (start, recovery, new leader)
    MARKS      these; or: I am recovering too
    RAFT       a message of the replicated log, opaque here
    FACTS      what of my settings the others compare with theirs: in the hello, and when it changes
    ORDER      an operator's word to the leader: hand over, restart, or say what stands in the way
    OBEYED     yes; or no, and why
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, Final

import msgpack

from cometkms.errors import ProtocolError
from cometkms.keytypes import SIGNATURE_SIZES
from cometkms.limits import (
    BIRTH_NONCE_BYTES,
    CHAIN_ID_MAX_BYTES,
    CHAINS_MAX,
    DRILL_WORDS_MAX_BYTES,
    FACT_NAME_MAX_BYTES,
    FACT_TEXT_MAX_BYTES,
    FACTS_MAX,
    HEIGHT_MAX,
    INCARNATION_MAX,
    INCARNATION_NONCE_MAX,
    MEMBERS_MAX,
    NODE_ID_MAX_BYTES,
    PEER_FRAME_MAX_BYTES,
    PEER_HELLO_MAX_BYTES,
    ROUND_MAX,
    SEQ_MAX,
    SIGN_BYTES_MAX_BYTES,
)
from cometkms.model import HRS, Incarnation, Reason, Row, Watermark
from cometkms.rules.birth import Life, NodeState
from cometkms.rules.incarnation import Statement

PEER_PROTOCOL_VERSION: Final = 2
_SIGNATURE_BYTES: Final = 64  # of a member's identity, which is ed25519
_U64_MAX: Final = (1 << 64) - 1
_VERSION_TEXT_MAX: Final = 32
_HELLO_HEAD: Final = 3  # tag, protocol, version text: the same place in every version

#: Short printable texts by name, sorted: what a node says of itself that others compare or show.
#: Unknown names are kept.
Facts = tuple[tuple[str, str], ...]
#: The fact with which a node that is in nobody's list shows that it holds the cluster's secret
#: (keys/cluster.py), in hex.
CERTIFICATE_FACT: Final = "kin"


class Purpose(IntEnum):
    """Why a member's marks are read: who may answer differs (rule 8)."""

    START = 0
    RECOVERY = 1
    LEADER = 2
    RAFT = 3


class Action(IntEnum):
    """What an operator asks of the leader (state/drills.py)."""

    CHECK = 0
    TRANSFER = 1
    RESTART = 2


@dataclass(frozen=True, slots=True)
class Hello:
    """`nonce` names one life of one state process. `remembers`: the highest seq this process knows
    of the receiver's store.

    `own`: the sender's incarnation, signed; None while it has to take one. `known`: what it has
    recorded of the others.

    The tag, `protocol` and `version` stand first in every version of the protocol: whatever
    follows, another version is told apart by them (decode_hello).
    """

    protocol: int
    version: str
    node: str
    nonce: int
    epoch: int
    members: tuple[str, ...]
    digest: bytes
    rows: tuple[Row, ...]
    seq: int
    remembers: int
    facts: Facts
    own: Statement | None
    known: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class OtherProtocol:
    """A hello of another version of the peers' protocol: all that can be known of it."""

    protocol: int
    version: str


@dataclass(frozen=True, slots=True)
class RowMark:
    """A row's mark. `opened`: whether the row is promised in."""

    row: Row
    mark: Watermark
    opened: bool


@dataclass(frozen=True, slots=True)
class LifeNews:
    """`starting`: complete, and still reading at its start. `own`, `known`: see Hello."""

    life: Life
    starting: bool
    marks: tuple[RowMark, ...]
    own: Statement | None
    known: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Promise:
    """The place and the chain are in the bytes; the row's key is not. `public_key`: model.Row.key.
    `seq`: the proposer's durable one, without this."""

    nonce: int
    request_id: int
    public_key: bytes
    sign_bytes: bytes
    seq: int
    incarnation: Incarnation


@dataclass(frozen=True, slots=True)
class Promised:
    """`reason` NONE: accepted and durable. Else `mark` forbids it. `seq`: the acceptor's, after
    it."""

    nonce: int
    request_id: int
    reason: Reason
    mark: Watermark
    seq: int
    incarnation: Incarnation


@dataclass(frozen=True, slots=True)
class Read:
    """`own`: the reader's incarnation, which is recorded before the answer; None: it has none yet,
    and takes no answer."""

    nonce: int
    request_id: int
    purpose: Purpose
    own: Statement | None


@dataclass(frozen=True, slots=True)
class Marks:
    """`real` False: this node is recovering (or may not answer this purpose) and its marks say
    nothing.

    `raft_term`, `raft_log_term`, `raft_index`: 0 since nothing waits for a log any more (rule 12),
    and read by nobody. `own`, `known`: see Hello.
    """

    nonce: int
    request_id: int
    real: bool
    life: Life
    marks: tuple[RowMark, ...]
    seq: int
    raft_term: int
    raft_log_term: int
    raft_index: int
    own: Statement | None
    known: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Raft:
    payload: bytes


@dataclass(frozen=True, slots=True)
class FactsNews:
    """The sender's facts changed while it runs."""

    facts: Facts


@dataclass(frozen=True, slots=True)
class Order:
    """`to`: who is to lead; "": whoever can."""

    nonce: int
    request_id: int
    action: Action
    to: str


@dataclass(frozen=True, slots=True)
class Obeyed:
    """`why`: why not; "" when it is done or under way."""

    nonce: int
    request_id: int
    why: str


PeerMessage = Hello | LifeNews | Promise | Promised | Read | Marks | Raft | FactsNews | Order | Obeyed

_TAGS: Final[tuple[type[PeerMessage], ...]] = (
    Hello, LifeNews, Promise, Promised, Read, Marks, Raft, FactsNews, Order, Obeyed,
)  # fmt: skip


# --- values ---


def _integer(untrusted: Any, most: int = _U64_MAX) -> int:
    if type(untrusted) is not int or not 0 <= untrusted <= most:
        raise ProtocolError(f"an integer up to {most} was expected")
    return untrusted


def _truth(untrusted: Any) -> bool:
    if type(untrusted) is not bool:
        raise ProtocolError("true or false was expected")
    return untrusted


def _blob(untrusted: Any, *sizes: int) -> bytes:
    if type(untrusted) is not bytes or len(untrusted) not in sizes:
        raise ProtocolError(f"bytes of length {' or '.join(map(str, sizes))} were expected")
    return untrusted


def _bounded(untrusted: Any, most: int) -> bytes:
    if type(untrusted) is not bytes or len(untrusted) > most:
        raise ProtocolError(f"at most {most} bytes were expected")
    return untrusted


def _text(untrusted: Any, most: int) -> str:
    if type(untrusted) is not str or not untrusted or len(untrusted.encode("utf-8", "surrogatepass")) > most:
        raise ProtocolError(f"a text of 1 to {most} bytes was expected")
    return untrusted


def _printable(untrusted: Any, most: int) -> str:
    """ASCII without control characters: it is shown in logs and pages."""
    text = _text(untrusted, most)
    if not (text.isascii() and text.isprintable()):
        raise ProtocolError("a text of printable ASCII was expected")
    return text


def _list(untrusted: Any, most: int) -> list[Any]:
    if type(untrusted) is not list or len(untrusted) > most:
        raise ProtocolError(f"a list of at most {most} was expected")
    return untrusted


def _exactly(untrusted: Any, count: int) -> list[Any]:
    if type(untrusted) is not list or len(untrusted) != count:
        raise ProtocolError(f"a list of {count} was expected")
    return untrusted


def _put_row(row: Row) -> list[Any]:
    return [row.key, row.chain_id]


def _take_row(untrusted: Any) -> Row:
    public_key, chain_id = _exactly(untrusted, 2)
    return Row(_blob(public_key, 32), _text(chain_id, CHAIN_ID_MAX_BYTES))


def _put_mark(mark: Watermark) -> list[Any]:
    return [*mark.hrs, mark.sign_bytes, mark.signature]


def _take_mark(untrusted: Any) -> Watermark:
    height, round_, step, sign_bytes, signature = _exactly(untrusted, 5)
    hrs = HRS(_integer(height, HEIGHT_MAX), _integer(round_, ROUND_MAX), _integer(step, 3))
    return Watermark(hrs, _bounded(sign_bytes, SIGN_BYTES_MAX_BYTES), _blob(signature, *SIGNATURE_SIZES))


def _put_row_marks(marks: tuple[RowMark, ...]) -> list[Any]:
    return [[*_put_row(one.row), _put_mark(one.mark), one.opened] for one in marks]


def _take_row_marks(untrusted: Any) -> tuple[RowMark, ...]:
    found = []
    for one in _list(untrusted, CHAINS_MAX):
        public_key, chain_id, mark, opened = _exactly(one, 4)
        found.append(RowMark(_take_row([public_key, chain_id]), _take_mark(mark), _truth(opened)))
    return tuple(found)


def _put_life(life: Life) -> list[Any]:
    return [int(life.state), life.nonce, [[name, nonce] for name, nonce in life.record]]


def _take_life(untrusted: Any) -> Life:
    state, nonce, record = _exactly(untrusted, 3)
    entries = []
    for one in _list(record, MEMBERS_MAX):
        name, its_nonce = _exactly(one, 2)
        entries.append((_text(name, NODE_ID_MAX_BYTES), _blob(its_nonce, BIRTH_NONCE_BYTES)))
    return Life(NodeState(_integer(state, max(NodeState))), _blob(nonce, 0, BIRTH_NONCE_BYTES), tuple(entries))


def _put_facts(facts: Facts) -> list[Any]:
    return [[name, text] for name, text in facts]


def _take_facts(untrusted: Any) -> Facts:
    found: Facts = ()
    for one in _list(untrusted, FACTS_MAX):
        name, text = _exactly(one, 2)
        fact = (_printable(name, FACT_NAME_MAX_BYTES), _printable(text, FACT_TEXT_MAX_BYTES))
        if found and fact[0] <= found[-1][0]:
            raise ProtocolError("facts in the order of their names, each once, were expected")
        found += (fact,)
    return found


def certificate_of(facts: Facts) -> bytes:
    """b"" where there is none, or no hex."""
    try:
        return bytes.fromhex(dict(facts).get(CERTIFICATE_FACT, ""))
    except ValueError:
        return b""


def make_facts(told: Mapping[str, str]) -> Facts:
    """Facts that every peer takes: empty ones left out, the rest cut to what a message may hold, in
    order."""
    facts = []
    for name, text in sorted(told.items()):
        shown = "".join(one if one.isascii() and one.isprintable() else "?" for one in text)[:FACT_TEXT_MAX_BYTES]
        if shown:
            facts.append((name, shown))
    return _take_facts(_put_facts(tuple(facts)))


def _put_incarnation(incarnation: Incarnation) -> list[Any]:
    return list(incarnation)


def _take_incarnation(untrusted: Any) -> Incarnation:
    number, nonce = _exactly(untrusted, 2)
    return Incarnation(_integer(number, INCARNATION_MAX), _integer(nonce, INCARNATION_NONCE_MAX))


def _put_statement(statement: Statement) -> list[Any]:
    return [statement.member, *statement.incarnation, statement.signature]


def _take_statement(untrusted: Any) -> Statement:
    member, number, nonce, signature = _exactly(untrusted, 4)
    incarnation = _take_incarnation([number, nonce])
    return Statement(_text(member, NODE_ID_MAX_BYTES), incarnation, _blob(signature, 0, _SIGNATURE_BYTES))


def _take_statements(untrusted: Any) -> tuple[Statement, ...]:
    return tuple(_take_statement(one) for one in _list(untrusted, MEMBERS_MAX))


def _take_reason(untrusted: Any) -> Reason:
    try:
        return Reason(_integer(untrusted))
    except ValueError:
        raise ProtocolError(f"{untrusted} is no reason") from None


def _take_purpose(untrusted: Any) -> Purpose:
    return Purpose(_integer(untrusted, max(Purpose)))


def _take_action(untrusted: Any) -> Action:
    return Action(_integer(untrusted, max(Action)))


def _maybe_text(untrusted: Any, most: int) -> str:
    return "" if untrusted == "" else _text(untrusted, most)


def _as_it_is(value: Any) -> Any:
    return value


_U64: Final = (_as_it_is, _integer)
_SEQ: Final = (_as_it_is, lambda one: _integer(one, SEQ_MAX))
_INCARNATION: Final = (_put_incarnation, _take_incarnation)
_OWN: Final = (
    lambda own: None if own is None else _put_statement(own),
    lambda one: None if one is None else _take_statement(one),
)
_KNOWN: Final = (lambda known: [_put_statement(one) for one in known], _take_statements)
_LIFE: Final = (_put_life, _take_life)
_ROW_MARKS: Final = (_put_row_marks, _take_row_marks)
_MARK: Final = (_put_mark, _take_mark)
_TRUTH: Final = (_as_it_is, _truth)
_FACTS: Final = (_put_facts, _take_facts)

#: How each field goes to the wire and comes from it, in the order of the class.
_FIELDS: Final[dict[type[PeerMessage], tuple[tuple[Callable[[Any], Any], Callable[[Any], Any]], ...]]] = {
    Hello: (
        _U64,
        (_as_it_is, lambda one: _printable(one, _VERSION_TEXT_MAX)),
        (_as_it_is, lambda one: _text(one, NODE_ID_MAX_BYTES)),
        _U64,
        _U64,
        (list, lambda one: tuple(_text(name, NODE_ID_MAX_BYTES) for name in _list(one, MEMBERS_MAX))),
        (_as_it_is, lambda one: _blob(one, 32)),
        (lambda rows: [_put_row(one) for one in rows], lambda one: tuple(_take_row(x) for x in _list(one, CHAINS_MAX))),
        _SEQ,
        _SEQ,
        _FACTS,
        _OWN,
        _KNOWN,
    ),
    LifeNews: (_LIFE, _TRUTH, _ROW_MARKS, _OWN, _KNOWN),
    Promise: (
        _U64,
        _U64,
        (_as_it_is, lambda one: _blob(one, 32)),
        (_as_it_is, lambda one: _bounded(one, SIGN_BYTES_MAX_BYTES)),
        _SEQ,
        _INCARNATION,
    ),
    Promised: (_U64, _U64, (int, _take_reason), _MARK, _SEQ, _INCARNATION),
    Read: (_U64, _U64, (int, _take_purpose), _OWN),
    Marks: (_U64, _U64, _TRUTH, _LIFE, _ROW_MARKS, _SEQ, _U64, _U64, _U64, _OWN, _KNOWN),
    Raft: ((_as_it_is, lambda one: _bounded(one, PEER_FRAME_MAX_BYTES)),),
    FactsNews: (_FACTS,),
    Order: (_U64, _U64, (int, _take_action), (_as_it_is, lambda one: _maybe_text(one, NODE_ID_MAX_BYTES))),
    Obeyed: (_U64, _U64, (_as_it_is, lambda one: _maybe_text(one, DRILL_WORDS_MAX_BYTES))),
}
_LAYOUT: Final = {
    kind: (tag, tuple(field.name for field in fields(kind)), _FIELDS[kind]) for tag, kind in enumerate(_TAGS)
}


_STRICT: Final[dict[str, Any]] = {
    "raw": False, "strict_map_key": True, "max_array_len": 4 * CHAINS_MAX, "max_map_len": 0, "max_ext_len": 0,
}  # fmt: skip


def encode(message: PeerMessage) -> bytes:
    """Encode a message in at most PEER_FRAME_MAX_BYTES."""
    tag, names, codecs = _LAYOUT[type(message)]
    values = [put(getattr(message, name)) for name, (put, _) in zip(names, codecs, strict=True)]
    packed: bytes = msgpack.packb([tag, *values])
    return packed


def decode(untrusted: bytes) -> PeerMessage:
    """Decode what encode() made. Raises: ProtocolError with what is wrong."""
    try:
        value = msgpack.unpackb(
            untrusted, max_str_len=PEER_FRAME_MAX_BYTES, max_bin_len=PEER_FRAME_MAX_BYTES, **_STRICT
        )
    except (ValueError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise ProtocolError(f"a peer's message is no msgpack of ours: {error}") from None
    if type(value) is not list or not value or type(value[0]) is not int or not 0 <= value[0] < len(_TAGS):
        raise ProtocolError("a peer's message has an unknown tag")
    kind = _TAGS[value[0]]
    codecs = _FIELDS[kind]
    if len(value) != 1 + len(codecs):
        raise ProtocolError(f"a {kind.__name__} has {len(codecs)} fields, not {len(value) - 1}")
    return kind(*[take(one) for one, (_, take) in zip(value[1:], codecs, strict=True)])


def decode_hello(untrusted: bytes) -> Hello | OtherProtocol:
    """The first message of a peer. Raises: ProtocolError, for anything but a hello."""
    other = _other_protocol(untrusted)
    if other is not None:
        return other
    hello = decode(untrusted)
    if not isinstance(hello, Hello):
        raise ProtocolError(f"a {type(hello).__name__} came before the hello")
    return hello


def _other_protocol(untrusted: bytes) -> OtherProtocol | None:
    """Judge a hello's first three values alone; None: it is none, or of this version. Raises:
    ProtocolError."""
    reader = msgpack.Unpacker(
        max_buffer_size=PEER_HELLO_MAX_BYTES, max_str_len=_VERSION_TEXT_MAX, max_bin_len=0, **_STRICT
    )
    try:
        reader.feed(untrusted)
        if reader.read_array_header() < _HELLO_HEAD or reader.unpack() != _TAGS.index(Hello):
            return None
        untrusted_protocol, untrusted_version = reader.unpack(), reader.unpack()
    except (ValueError, RecursionError, msgpack.exceptions.UnpackException):
        return None  # decode() says what is wrong
    protocol = _integer(untrusted_protocol)
    if protocol == PEER_PROTOCOL_VERSION:
        return None
    return OtherProtocol(protocol, _printable(untrusted_version, _VERSION_TEXT_MAX))
