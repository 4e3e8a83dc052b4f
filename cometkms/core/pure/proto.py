"""Privval messages of v0.34 to v0.40 (package tendermint.privval) and of v1.x
(cometbft.privval.v1). Twin: csrc/proto.c.

v1.x has more fields than v0.x and no other meaning for any, so that one reader serves both.

By gogoproto's rules: unknown fields are skipped, a repeated scalar's last value wins, repeated
messages merge (but a timestamp is replaced), each member of the oneof starts afresh and the last
one wins, and embedded messages that are not nullable are always written.
"""

from dataclasses import replace
from typing import Final

from cometkms.core.pure.wire import (
    decode_text,
    decode_timestamp,
    delimited,
    encode_text,
    fields,
    put_bytes,
    put_int,
    put_part,
    put_timestamp,
)
from cometkms.errors import ProtocolError
from cometkms.keytypes import by_number, raw_of, type_of, typed
from cometkms.model import BlockID, Kind, Message, Proposal, RemoteSignerError, Vote

_BYTES_FIELDS: Final = (1, 2, 3)
# the members of PublicKey: ed25519, secp256k1, bls12381, mldsa65, secp256k1eth
_KEYS: Final = range(1, 6)


def decode(body: bytes) -> Message:
    """One message without its length prefix. Raises: ProtocolError."""
    message = Message(Kind.UNKNOWN)
    for field in fields(body):
        if field.number <= Kind.SIGN_BYTES_RESPONSE:  # the last one that is a field's number
            message = _decode_member(Kind(field.number), field.as_bytes())
    return message


def _decode_member(kind: Kind, body: bytes) -> Message:
    match kind:
        case Kind.PUB_KEY_REQUEST:
            return _decode_pub_key_request(body)
        case Kind.PUB_KEY_RESPONSE:
            return _decode_pub_key_response(body)
        case Kind.SIGN_VOTE_REQUEST | Kind.SIGNED_VOTE_RESPONSE:
            return _decode_vote_message(kind, body)
        case Kind.SIGN_PROPOSAL_REQUEST | Kind.SIGNED_PROPOSAL_RESPONSE:
            return _decode_proposal_message(kind, body)
        case Kind.SIGN_BYTES_REQUEST:
            return _decode_bytes_request(body)
        case Kind.SIGN_BYTES_RESPONSE:
            return _decode_bytes_response(body)
        case _:
            for _ in fields(body):  # a ping knows no field, but what it carries must be fields
                pass
            return Message(kind)


def _decode_pub_key_request(body: bytes) -> Message:
    message = Message(Kind.PUB_KEY_REQUEST)
    for field in fields(body):
        if field.number == 1:
            message = replace(message, chain_id=decode_text(field.as_bytes()))
    return message


def _decode_pub_key_response(body: bytes) -> Message:
    message = Message(Kind.PUB_KEY_RESPONSE, pub_key=None)
    for field in fields(body):
        match field.number:
            case 1:
                message = replace(message, pub_key=_decode_pub_key(field.as_bytes(), message.pub_key or b""))
            case 2:
                message = replace(message, error=_decode_error(field.as_bytes(), message.error))
            case 3:
                message = replace(message, pub_key_bytes=field.as_bytes())
            case 4:
                message = replace(message, pub_key_type=decode_text(field.as_bytes()))
    return message


def _decode_bytes_request(body: bytes) -> Message:
    """Two requests share a tag: v1.x's SignBytes with the value in field 1, and Celestia's
    SignRawBytes with a chain's id, raw bytes and a unique id. The latter two are never empty there,
    so that their presence tells. Another field is of a request that is not known here.
    """
    parts: dict[int, bytes] = {}
    has_others = False
    for field in fields(body):
        if field.number in _BYTES_FIELDS:
            parts[field.number] = field.as_bytes()
        else:
            has_others = True
    first = parts.pop(1, b"")
    if not parts:
        return Message(Kind.SIGN_BYTES_REQUEST, value=first, has_others=has_others)
    return Message(
        Kind.SIGN_RAW_BYTES_REQUEST,
        chain_id=decode_text(first),
        value=parts.get(2, b""),
        unique_id=decode_text(parts.get(3, b"")),
        has_others=has_others,
    )


def _decode_bytes_response(body: bytes) -> Message:
    message = Message(Kind.SIGN_BYTES_RESPONSE)
    for field in fields(body):
        if field.number == 1:
            message = replace(message, value=field.as_bytes())
        elif field.number == 2:
            message = _decode_second(field.as_bytes(), message)
    return message


def _decode_vote_message(kind: Kind, body: bytes) -> Message:
    message = Message(kind)
    for field in fields(body):
        if field.number == 1:
            message = replace(message, vote=_decode_vote(field.as_bytes(), message.vote or Vote()))
        elif field.number == 2:
            message = _decode_second(field.as_bytes(), message)
        elif field.number == 3 and kind is Kind.SIGN_VOTE_REQUEST:
            # a bool: any value but zero is true
            message = replace(message, skip_extension=field.as_int64() != 0)
    return message


def _decode_proposal_message(kind: Kind, body: bytes) -> Message:
    message = Message(kind)
    for field in fields(body):
        if field.number == 1:
            proposal = _decode_proposal(field.as_bytes(), message.proposal or Proposal())
            message = replace(message, proposal=proposal)
        elif field.number == 2:
            message = _decode_second(field.as_bytes(), message)
    return message


def _decode_second(body: bytes, message: Message) -> Message:
    """Field 2: a sign request's chain id, a response's error."""
    if message.kind in (Kind.SIGN_VOTE_REQUEST, Kind.SIGN_PROPOSAL_REQUEST):
        return replace(message, chain_id=decode_text(body))
    return replace(message, error=_decode_error(body, message.error))


def _decode_pub_key(body: bytes, key: bytes) -> bytes:
    """PublicKey's oneof: the key with its type, or b"" when the last member is of a type that is
    not built here.
    """
    for field in fields(body):
        if field.number in _KEYS:
            raw, key_type = field.as_bytes(), by_number(field.number)
            try:
                key = typed(key_type, raw) if key_type is not None else b""
            except ValueError as error:
                raise ProtocolError(str(error)) from None
    return key


def _decode_error(body: bytes, known: RemoteSignerError | None) -> RemoteSignerError:
    error = known or RemoteSignerError()
    for field in fields(body):
        if field.number == 1:
            error = replace(error, code=field.as_int32())
        elif field.number == 2:
            error = replace(error, description=decode_text(field.as_bytes()))
    return error


def _decode_vote(body: bytes, vote: Vote) -> Vote:
    for field in fields(body):
        match field.number:
            case 1:
                vote = replace(vote, type=field.as_int32())
            case 2:
                vote = replace(vote, height=field.as_int64())
            case 3:
                vote = replace(vote, round=field.as_int32())
            case 4:
                vote = replace(vote, block_id=_decode_block_id(field.as_bytes(), vote.block_id))
            case 5:
                vote = replace(vote, timestamp=decode_timestamp(field.as_bytes()))
            case 6:
                vote = replace(vote, validator_address=field.as_bytes())
            case 7:
                vote = replace(vote, validator_index=field.as_int32())
            case 8:
                vote = replace(vote, signature=field.as_bytes())
            case 9:
                vote = replace(vote, extension=field.as_bytes())
            case 10:
                vote = replace(vote, extension_signature=field.as_bytes())
    return vote


def _decode_proposal(body: bytes, proposal: Proposal) -> Proposal:
    for field in fields(body):
        match field.number:
            case 1:
                proposal = replace(proposal, type=field.as_int32())
            case 2:
                proposal = replace(proposal, height=field.as_int64())
            case 3:
                proposal = replace(proposal, round=field.as_int32())
            case 4:
                proposal = replace(proposal, pol_round=field.as_int32())
            case 5:
                proposal = replace(proposal, block_id=_decode_block_id(field.as_bytes(), proposal.block_id))
            case 6:
                proposal = replace(proposal, timestamp=decode_timestamp(field.as_bytes()))
            case 7:
                proposal = replace(proposal, signature=field.as_bytes())
    return proposal


def _decode_block_id(body: bytes, block_id: BlockID) -> BlockID:
    for field in fields(body):
        if field.number == 1:
            block_id = replace(block_id, hash=field.as_bytes())
        elif field.number == 2:
            block_id = _decode_part_set_header(field.as_bytes(), block_id)
    return block_id


def _decode_part_set_header(body: bytes, block_id: BlockID) -> BlockID:
    for field in fields(body):
        if field.number == 1:
            block_id = replace(block_id, parts_total=field.as_uint32())
        elif field.number == 2:
            block_id = replace(block_id, parts_hash=field.as_bytes())
    return block_id


def encode(message: Message) -> bytes:
    """One message with its length prefix."""
    if message.kind is Kind.UNKNOWN:
        return delimited(b"")
    tag = Kind.SIGN_BYTES_REQUEST if message.kind is Kind.SIGN_RAW_BYTES_REQUEST else message.kind
    return delimited(put_part(tag, _encode_member(message)))


def _encode_member(message: Message) -> bytes:
    """What is inside the member of Message.sum.

    A signed vote or proposal is written even when it is empty.
    """
    match message.kind:
        case Kind.PUB_KEY_REQUEST:
            member = put_bytes(1, encode_text(message.chain_id))
        case Kind.SIGN_VOTE_REQUEST:
            member = _encode_payload(message) + put_bytes(2, encode_text(message.chain_id))
            member += put_int(3, message.skip_extension)
        case Kind.SIGN_PROPOSAL_REQUEST:
            member = _encode_payload(message) + put_bytes(2, encode_text(message.chain_id))
        case Kind.PUB_KEY_RESPONSE:
            member = b"" if message.pub_key is None else put_part(1, _encode_pub_key(message.pub_key))
            member += _encode_error(message.error)
            member += put_bytes(3, message.pub_key_bytes) + put_bytes(4, encode_text(message.pub_key_type))
        case Kind.SIGNED_VOTE_RESPONSE:
            member = put_part(1, _encode_vote(message.vote or Vote())) + _encode_error(message.error)
        case Kind.SIGNED_PROPOSAL_RESPONSE:
            member = put_part(1, _encode_proposal(message.proposal or Proposal())) + _encode_error(message.error)
        case Kind.SIGN_BYTES_REQUEST:
            member = put_bytes(1, message.value)
        # the last two also where they are empty: they tell what it is
        case Kind.SIGN_RAW_BYTES_REQUEST:
            member = put_bytes(1, encode_text(message.chain_id)) + put_part(2, message.value)
            member += put_part(3, encode_text(message.unique_id))
        case Kind.SIGN_BYTES_RESPONSE:
            member = put_bytes(1, message.value) + _encode_error(message.error)
        case _:
            member = b""  # pings are empty
    return member


def _encode_pub_key(public_key: bytes) -> bytes:
    return put_bytes(type_of(public_key).number, raw_of(public_key)) if public_key else b""


def _encode_payload(message: Message) -> bytes:
    """A sign request's vote or proposal, if it is there."""
    if message.kind is Kind.SIGN_VOTE_REQUEST and message.vote is not None:
        return put_part(1, _encode_vote(message.vote))
    if message.kind is Kind.SIGN_PROPOSAL_REQUEST and message.proposal is not None:
        return put_part(1, _encode_proposal(message.proposal))
    return b""


def _encode_error(error: RemoteSignerError | None) -> bytes:
    if error is None:
        return b""
    return put_part(2, put_int(1, error.code) + put_bytes(2, encode_text(error.description)))


def _encode_vote(vote: Vote) -> bytes:
    return (
        put_int(1, vote.type)
        + put_int(2, vote.height)
        + put_int(3, vote.round)
        + put_part(4, _encode_block_id(vote.block_id))
        + put_timestamp(5, vote.timestamp)
        + put_bytes(6, vote.validator_address)
        + put_int(7, vote.validator_index)
        + put_bytes(8, vote.signature)
        + put_bytes(9, vote.extension)
        + put_bytes(10, vote.extension_signature)
    )


def _encode_proposal(proposal: Proposal) -> bytes:
    return (
        put_int(1, proposal.type)
        + put_int(2, proposal.height)
        + put_int(3, proposal.round)
        + put_int(4, proposal.pol_round)
        + put_part(5, _encode_block_id(proposal.block_id))
        + put_timestamp(6, proposal.timestamp)
        + put_bytes(7, proposal.signature)
    )


def _encode_block_id(block_id: BlockID) -> bytes:
    header = put_int(1, block_id.parts_total) + put_bytes(2, block_id.parts_hash)
    return put_bytes(1, block_id.hash) + put_part(2, header)
