"""Canonical vote, proposal and vote extension: what ed25519 signs (PROTOCOL §4).

Pure. Twin: csrc/signbytes.c.

The two dialects' bytes differ in three places: amino writes a part set header as (hash,
total), pol_round as fixed64, and leaves out a timestamp of 1970. Reading accepts
either: it decodes loosely, then writes what it understood in both dialects, and only
bytes equal to one of the two are canonical.
"""

from dataclasses import dataclass, replace

from cometkms.core.pure.amino import put_amino_timestamp
from cometkms.core.pure.check import is_nil, judge_ballot, step_of
from cometkms.core.pure.wire import (
    FIXED64,
    VARINT,
    Field,
    decode_text,
    decode_timestamp,
    delimited,
    encode_text,
    fields,
    int64,
    put_bytes,
    put_fixed64,
    put_int,
    put_part,
    put_timestamp,
)
from cometkms.errors import InvariantError, ProtocolError
from cometkms.limits import CHAIN_ID_MAX_BYTES, SIGN_BYTES_MAX_BYTES, VOTE_EXTENSION_MAX_BYTES
from cometkms.model import HRS, BlockID, Dialect, Proposal, Reason, SignBytes, SignedType, Timestamp, Vote

_ABSENT = Timestamp(0, 0)
_INT32 = range(-(1 << 31), 1 << 31)


def canonical(dialect: Dialect, chain_id: str, ballot: Vote | Proposal) -> bytes:
    """Canonical bytes with length prefix of a vote or proposal that check.judge_ballot passes.

    Raises: InvariantError for a chain id over CHAIN_ID_MAX_BYTES.
    """
    before, timestamp, behind = _parts(dialect, chain_id, ballot)
    return delimited(before + timestamp + behind)


def _parts(dialect: Dialect, chain_id: str, ballot: Vote | Proposal) -> tuple[bytes, bytes, bytes]:
    """The canonical body as (fields before the timestamp, the timestamp's field, fields behind it)."""
    before = put_int(1, ballot.type) + put_fixed64(2, ballot.height) + put_fixed64(3, ballot.round)
    if isinstance(ballot, Proposal):
        put_pol_round = put_fixed64 if dialect is Dialect.AMINO else put_int
        before += put_pol_round(4, ballot.pol_round) + _put_block_id(dialect, 5, ballot.block_id)
        number = 6
    else:
        before += _put_block_id(dialect, 4, ballot.block_id)
        number = 5
    put_time = put_amino_timestamp if dialect is Dialect.AMINO else put_timestamp
    return before, put_time(number, ballot.timestamp), put_bytes(number + 1, _bounded(chain_id))


def _bounded(chain_id: str) -> bytes:
    data = encode_text(chain_id)
    if len(data) > CHAIN_ID_MAX_BYTES:
        raise InvariantError(f"a chain id of {len(data)} bytes, over {CHAIN_ID_MAX_BYTES}")
    return data


def _put_block_id(dialect: Dialect, number: int, block_id: BlockID) -> bytes:
    if is_nil(block_id):
        return b""
    if dialect is Dialect.AMINO:
        header = put_bytes(1, block_id.parts_hash) + put_int(2, block_id.parts_total)
    else:
        header = put_int(1, block_id.parts_total) + put_bytes(2, block_id.parts_hash)
    return put_part(number, put_bytes(1, block_id.hash) + put_part(2, header))


def extension(chain_id: str, hrs: HRS, content: bytes) -> bytes:
    """Canonical bytes with length prefix of a vote extension.

    Raises: InvariantError over VOTE_EXTENSION_MAX_BYTES.
    """
    if len(content) > VOTE_EXTENSION_MAX_BYTES:
        raise InvariantError(f"an extension of {len(content)} bytes, over {VOTE_EXTENSION_MAX_BYTES}")
    return delimited(
        put_bytes(1, content)
        + put_fixed64(2, hrs.height)
        + put_fixed64(3, hrs.round)
        + put_bytes(4, _bounded(chain_id))
    )


@dataclass(frozen=True, slots=True)
class _Canonical:
    """Sign bytes understood: in this dialect they are this ballot's, for this chain."""

    dialect: Dialect
    ballot: Vote | Proposal
    chain_id: str


def parse(untrusted: bytes) -> SignBytes:
    """Read strictly canonical bytes of either dialect. Raises: ProtocolError."""
    read = _read(untrusted)
    ballot = read.ballot
    return SignBytes(
        type=ballot.type,
        hrs=HRS(ballot.height, ballot.round, step_of(ballot.type)),
        timestamp=ballot.timestamp,
        chain_id=read.chain_id,
        block_hash=ballot.block_id.hash,
    )


def same_but_timestamp(a: bytes, b: bytes) -> bool:
    """Whether both are canonical and differ at most in their timestamp."""
    try:
        reads = _read(a), _read(b)
    except ProtocolError:
        return False
    (a_before, _, a_behind), (b_before, _, b_behind) = (_parts(r.dialect, r.chain_id, r.ballot) for r in reads)
    return (a_before, a_behind) == (b_before, b_behind)


def _read(untrusted: bytes) -> _Canonical:
    if len(untrusted) > SIGN_BYTES_MAX_BYTES:
        raise ProtocolError(f"{len(untrusted)} bytes are more than sign bytes can be")
    ballot, chain_id = _read_body(untrusted)
    reason = judge_ballot(ballot)
    if reason is not Reason.NONE:
        raise ProtocolError(f"sign bytes that nobody may sign: {reason.name}")
    if len(encode_text(chain_id)) > CHAIN_ID_MAX_BYTES:
        raise ProtocolError(f"sign bytes with a chain id of more than {CHAIN_ID_MAX_BYTES} bytes")
    for dialect in Dialect:
        if canonical(dialect, chain_id, ballot) == untrusted:
            return _Canonical(dialect, ballot, chain_id)
    raise ProtocolError("sign bytes that are not canonical")


def _read_body(untrusted: bytes) -> tuple[Vote | Proposal, str]:
    """Read loosely what stands behind the length prefix, which re-encoding will check."""
    if not untrusted:
        raise ProtocolError("no sign bytes")
    skip = 2 if untrusted[0] >= 0x80 else 1  # SIGN_BYTES_MAX_BYTES has two bytes of length
    all_fields = fields(untrusted[skip:])
    first = next(all_fields, None)
    if first is None or first.number != 1:
        raise ProtocolError("sign bytes that do not start with a type")
    signed_type = first.as_int32()
    if signed_type == SignedType.PROPOSAL:
        return _read_proposal(Proposal(type=signed_type, timestamp=_ABSENT), list(all_fields))
    return _read_vote(Vote(type=signed_type, timestamp=_ABSENT), list(all_fields))


def _read_vote(vote: Vote, rest: list[Field]) -> tuple[Vote, str]:
    chain_id = ""
    for field in rest:
        match field.number:
            case 2:
                vote = replace(vote, height=field.as_fixed64())
            case 3:
                vote = replace(vote, round=_narrow(field))
            case 4:
                vote = replace(vote, block_id=_read_block_id(field.as_bytes(), vote.block_id))
            case 5:
                vote = replace(vote, timestamp=decode_timestamp(field.as_bytes()))
            case 6:
                chain_id = decode_text(field.as_bytes())
            case _:
                raise ProtocolError(f"a canonical vote with field {field.number}")
    return vote, chain_id


def _read_proposal(proposal: Proposal, rest: list[Field]) -> tuple[Proposal, str]:
    chain_id = ""
    for field in rest:
        match field.number:
            case 2:
                proposal = replace(proposal, height=field.as_fixed64())
            case 3:
                proposal = replace(proposal, round=_narrow(field))
            case 4:
                proposal = replace(proposal, pol_round=_narrow(field))
            case 5:
                proposal = replace(proposal, block_id=_read_block_id(field.as_bytes(), proposal.block_id))
            case 6:
                proposal = replace(proposal, timestamp=decode_timestamp(field.as_bytes()))
            case 7:
                chain_id = decode_text(field.as_bytes())
            case _:
                raise ProtocolError(f"a canonical proposal with field {field.number}")
    return proposal, chain_id


def _narrow(field: Field) -> int:
    """A 64-bit value that must fit 32 bits, from a fixed64 or (pol_round in protobuf) a varint."""
    value = int64(field.value)
    if field.wire not in (VARINT, FIXED64) or value not in _INT32:
        raise ProtocolError(f"canonical field {field.number} of wire type {field.wire} holds {value}")
    return value


def _read_block_id(body: bytes, block_id: BlockID) -> BlockID:
    for field in fields(body):
        if field.number == 1:
            block_id = replace(block_id, hash=field.as_bytes())
        else:
            block_id = _read_part_set_header(field.as_bytes(), block_id)
    return block_id


def _read_part_set_header(body: bytes, block_id: BlockID) -> BlockID:
    """Either dialect's: the wire types tell total from hash."""
    for field in fields(body):
        if field.wire == VARINT:
            block_id = replace(block_id, parts_total=field.as_uint32())
        else:
            block_id = replace(block_id, parts_hash=field.as_bytes())
    return block_id
