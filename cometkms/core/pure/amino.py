"""Privval messages of v0.33 (go-amino 0.14). Twin: csrc/amino.c.

Stricter than protobuf: field numbers only ever rise, so nothing repeats; a varint over 64 bits is
an error; embedded values that encode to nothing are left out, and an absent timestamp is 1970. A
message starts with four bytes derived from its registered name. Integers are Go's 64-bit int: one
that does not fit our 32-bit fields is malformed, since no chain gets there.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from cometkms.core.pure.wire import (
    DELIMITED,
    FIXED32,
    FIXED64,
    NANOS_MAX,
    SECONDS_END,
    SECONDS_MIN,
    VARINT,
    Field,
    Reader,
    decode_text,
    delimited,
    encode_text,
    put_bytes,
    put_int,
    put_part,
    put_timestamp,
)
from cometkms.errors import InvariantError, ProtocolError
from cometkms.keytypes import ED25519, SECP256K1, raw_of, type_of, typed
from cometkms.model import BlockID, Kind, Message, Proposal, RemoteSignerError, Timestamp, Vote

_PREFIX_BYTES: Final = 4
_FIELD_NUMBER_MAX: Final = (1 << 29) - 1
_EPOCH: Final = Timestamp(0, 0)  # what an absent timestamp means here
_INT32: Final = range(-(1 << 31), 1 << 31)
_UINT32: Final = range(1 << 32)
_BYTE: Final = range(1 << 8)  # SignedMsgType

#: First four bytes of a message, from the hash of
#: "tendermint/remotesigner/PubKeyRequest" and so on.
PREFIXES: Final = {
    Kind.PUB_KEY_REQUEST: bytes.fromhex("cb94d620"),
    Kind.PUB_KEY_RESPONSE: bytes.fromhex("170ed57c"),
    Kind.SIGN_VOTE_REQUEST: bytes.fromhex("f3f41204"),
    Kind.SIGNED_VOTE_RESPONSE: bytes.fromhex("b248a616"),
    Kind.SIGN_PROPOSAL_REQUEST: bytes.fromhex("bde498e2"),
    Kind.SIGNED_PROPOSAL_RESPONSE: bytes.fromhex("4a04fb87"),
    Kind.PING_REQUEST: bytes.fromhex("1badb60d"),
    Kind.PING_RESPONSE: bytes.fromhex("a29a031a"),
}
_KINDS: Final = {prefix: kind for kind, prefix in PREFIXES.items()}
#: First four bytes of a public key, from the hash of "tendermint/PubKeyEd25519" and so on.
_KEY_PREFIXES: Final = {ED25519.name: bytes.fromhex("1624de64"), SECP256K1.name: bytes.fromhex("eb5ae987")}
_KEY_TYPES: Final = {_KEY_PREFIXES[one.name]: one for one in (ED25519, SECP256K1)}


def decode(body: bytes) -> Message:
    """One message without its length prefix. Raises: ProtocolError.

    An empty body is amino's nil, and a name we do not know is a message we do not know: both
    Kind.UNKNOWN.
    """
    if not body:
        return Message(Kind.UNKNOWN)
    reader = Reader(body)
    kind = _KINDS.get(reader.take(_PREFIX_BYTES), Kind.UNKNOWN)
    message = Message(kind)
    if kind is Kind.UNKNOWN:
        return message
    for field in _fields(reader.take(reader.left)):
        if field.number == 1:
            message = _decode_first(field, message)
        elif field.number == 2 and kind in _RESPONSES:
            message = replace(message, error=_decode_error(field.as_bytes()))
    return message


_RESPONSES: Final = frozenset({Kind.PUB_KEY_RESPONSE, Kind.SIGNED_VOTE_RESPONSE, Kind.SIGNED_PROPOSAL_RESPONSE})


def _decode_first(field: Field, message: Message) -> Message:
    match message.kind:
        case Kind.PUB_KEY_RESPONSE:
            return replace(message, pub_key=_decode_pub_key(field.as_bytes()))
        case Kind.SIGN_VOTE_REQUEST | Kind.SIGNED_VOTE_RESPONSE:
            return replace(message, vote=_decode_vote(field.as_bytes()))
        case Kind.SIGN_PROPOSAL_REQUEST | Kind.SIGNED_PROPOSAL_RESPONSE:
            return replace(message, proposal=_decode_proposal(field.as_bytes()))
        case _:
            return message  # the others know no field


def _fields(data: bytes) -> Iterator[Field]:
    """The fields of a struct.

    Raises: ProtocolError at the first that is none, or whose number does not rise.
    """
    reader = Reader(data)
    last = 0
    while reader.left:
        tag = reader.uvarint()
        number, wire = tag >> 3, tag & 7
        if not last < number <= _FIELD_NUMBER_MAX:
            raise ProtocolError(f"field {number} behind field {last}")
        last = number
        yield _valued(reader, number, wire)


def _valued(reader: Reader, number: int, wire: int) -> Field:
    if wire == VARINT:
        return Field(number, wire, value=reader.uvarint())
    if wire == FIXED64:
        return Field(number, wire, value=reader.fixed64())
    if wire == DELIMITED:
        return Field(number, wire, content=reader.take(reader.uvarint()))
    if wire == FIXED32:
        return Field(number, wire, content=reader.take(4))
    raise ProtocolError(f"field {number} has wire type {wire}")


def _within(allowed: range, field: Field) -> int:
    value = field.as_int64()
    if value not in allowed:
        raise ProtocolError(f"field {field.number} holds {value}")
    return value


def _decode_vote(body: bytes) -> Vote:
    vote = Vote(timestamp=_EPOCH)
    for field in _fields(body):
        match field.number:
            case 1:
                vote = replace(vote, type=_within(_BYTE, field))
            case 2:
                vote = replace(vote, height=field.as_int64())
            case 3:
                vote = replace(vote, round=_within(_INT32, field))
            case 4:
                vote = replace(vote, block_id=_decode_block_id(field.as_bytes()))
            case 5:
                vote = replace(vote, timestamp=_decode_timestamp(field.as_bytes()))
            case 6:
                vote = replace(vote, validator_address=field.as_bytes())
            case 7:
                vote = replace(vote, validator_index=_within(_INT32, field))
            case 8:
                vote = replace(vote, signature=field.as_bytes())
    return vote


def _decode_proposal(body: bytes) -> Proposal:
    proposal = Proposal(timestamp=_EPOCH)
    for field in _fields(body):
        match field.number:
            case 1:
                proposal = replace(proposal, type=_within(_BYTE, field))
            case 2:
                proposal = replace(proposal, height=field.as_int64())
            case 3:
                proposal = replace(proposal, round=_within(_INT32, field))
            case 4:
                proposal = replace(proposal, pol_round=_within(_INT32, field))
            case 5:
                proposal = replace(proposal, block_id=_decode_block_id(field.as_bytes()))
            case 6:
                proposal = replace(proposal, timestamp=_decode_timestamp(field.as_bytes()))
            case 7:
                proposal = replace(proposal, signature=field.as_bytes())
    return proposal


def _decode_block_id(body: bytes) -> BlockID:
    block_id = BlockID()
    for field in _fields(body):
        if field.number == 1:
            block_id = replace(block_id, hash=field.as_bytes())
        elif field.number == 2:
            block_id = _decode_part_set_header(field.as_bytes(), block_id)
    return block_id


def _decode_part_set_header(body: bytes, block_id: BlockID) -> BlockID:
    for field in _fields(body):
        if field.number == 1:
            block_id = replace(block_id, parts_total=_within(_UINT32, field))
        elif field.number == 2:
            block_id = replace(block_id, parts_hash=field.as_bytes())
    return block_id


def _decode_timestamp(body: bytes) -> Timestamp:
    """go-amino itself refuses a time outside the years 1 to 9999, and knows no fields but these."""
    seconds = nanos = 0
    for field in _fields(body):
        if field.number == 1:
            seconds = field.as_int64()
        elif field.number == 2:
            nanos = field.as_int64()
        else:
            raise ProtocolError(f"a timestamp with field {field.number}")
    if not (SECONDS_MIN <= seconds < SECONDS_END and 0 <= nanos <= NANOS_MAX):
        raise ProtocolError(f"a timestamp of {seconds} seconds and {nanos} nanoseconds")
    return Timestamp(seconds, nanos)


def _decode_pub_key(body: bytes) -> bytes:
    """A registered key: four bytes of prefix and a byte array. b"" for a key of another type."""
    reader = Reader(body)
    key_type = _KEY_TYPES.get(reader.take(_PREFIX_BYTES))
    if key_type is None:
        return b""
    key = reader.take(reader.uvarint())
    if reader.left or len(key) != key_type.public_bytes:
        raise ProtocolError(f"a key of type {key_type.name} of {len(key)} bytes with {reader.left} behind it")
    return typed(key_type, key)


def _decode_error(body: bytes) -> RemoteSignerError:
    error = RemoteSignerError()
    for field in _fields(body):
        if field.number == 1:
            error = replace(error, code=_within(_INT32, field))
        elif field.number == 2:
            error = replace(error, description=decode_text(field.as_bytes()))
    return error


def encode(message: Message) -> bytes:
    """One message with its length prefix."""
    if message.kind is Kind.UNKNOWN:
        return delimited(b"")
    body = _encode_first(message)
    if message.kind not in PREFIXES:
        raise InvariantError(f"v0.33 has no {message.kind.name}")
    if message.kind in _RESPONSES and message.error is not None:
        body += put_part(2, put_int(1, message.error.code) + put_bytes(2, encode_text(message.error.description)))
    return delimited(PREFIXES[message.kind] + body)


def _encode_first(message: Message) -> bytes:
    if message.kind is Kind.PUB_KEY_RESPONSE and message.pub_key:
        key_type = type_of(message.pub_key)
        if key_type.name not in _KEY_PREFIXES:
            raise InvariantError(f"v0.33 has no keys of type {key_type.name}")
        return put_part(1, _KEY_PREFIXES[key_type.name] + delimited(raw_of(message.pub_key)))
    if message.kind in (Kind.SIGN_VOTE_REQUEST, Kind.SIGNED_VOTE_RESPONSE) and message.vote is not None:
        return put_part(1, _encode_vote(message.vote))
    if message.kind in (Kind.SIGN_PROPOSAL_REQUEST, Kind.SIGNED_PROPOSAL_RESPONSE) and message.proposal is not None:
        return put_part(1, _encode_proposal(message.proposal))
    return b""


def _encode_vote(vote: Vote) -> bytes:
    return (
        put_int(1, vote.type)
        + put_int(2, vote.height)
        + put_int(3, vote.round)
        + put_bytes(4, _encode_block_id(vote.block_id))
        + put_amino_timestamp(5, vote.timestamp)
        + put_bytes(6, vote.validator_address)
        + put_int(7, vote.validator_index)
        + put_bytes(8, vote.signature)
    )


def _encode_proposal(proposal: Proposal) -> bytes:
    return (
        put_int(1, proposal.type)
        + put_int(2, proposal.height)
        + put_int(3, proposal.round)
        + put_int(4, proposal.pol_round)
        + put_bytes(5, _encode_block_id(proposal.block_id))
        + put_amino_timestamp(6, proposal.timestamp)
        + put_bytes(7, proposal.signature)
    )


def _encode_block_id(block_id: BlockID) -> bytes:
    header = put_int(1, block_id.parts_total) + put_bytes(2, block_id.parts_hash)
    return put_bytes(1, block_id.hash) + put_bytes(2, header)


def put_amino_timestamp(number: int, timestamp: Timestamp) -> bytes:
    """A timestamp field; nothing for 1970-01-01, which encodes to nothing."""
    return b"" if timestamp == _EPOCH else put_timestamp(number, timestamp)
