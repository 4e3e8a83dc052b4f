"""Messages, judgement and sign bytes over the C core. The seam where `Any` ends: cffi values become model values here."""

from typing import Any

from cometkms._native import ffi, lib
from cometkms.errors import InvariantError, ProtocolError
from cometkms.limits import CHAIN_ID_MAX_BYTES, MESSAGE_MAX_BYTES
from cometkms.model import (
    HRS,
    BlockID,
    Dialect,
    Kind,
    Message,
    Proposal,
    Reason,
    RemoteSignerError,
    Request,
    SignBytes,
    Timestamp,
    Vote,
)

_WORDS = {
    lib.CK_MORE: "truncated",
    lib.CK_MALFORMED: "malformed",
    lib.CK_TOO_LARGE: "too large",
    lib.CK_BAD_TAG: "authentication failed",
    lib.CK_EXHAUSTED: "nonce counter exhausted",
    lib.CK_LOW_ORDER: "low-order public key",
}
_OURS = {
    lib.CK_NO_ROOM: "the output does not fit its bound",
    lib.CK_REFUSED: "refused",
    lib.CK_NO_SODIUM: "libsodium is not loaded",
}
_VOTES = (Kind.SIGN_VOTE_REQUEST, Kind.SIGNED_VOTE_RESPONSE)


def check(status: int, what: str) -> None:
    """Turn a status into the exception it means. Raises: ProtocolError (the peer's fault), InvariantError (ours)."""
    if status == lib.CK_OK:
        return
    if status in _WORDS:
        raise ProtocolError(f"{what}: {_WORDS[status]}")
    raise InvariantError(f"{what}: {_OURS.get(status, status)}")


def borrowed(data: bytes, keep: list[Any]) -> Any:
    """A ck_bytes over `data`, which `keep` holds for as long as C may look at it."""
    view = ffi.from_buffer("uint8_t[]", data)
    keep.append(view)
    return {"at": view, "len": len(data)}


def _bytes(value: Any) -> bytes:
    return bytes(ffi.buffer(value.at, value.len)) if value.len else b""


def to_text(data: bytes) -> str:
    """Text from the wire: never raises, and encodes back to the same bytes."""
    return data.decode("utf-8", "surrogateescape")


def to_wire(text: str) -> bytes:
    """Inverse of to_text()."""
    return text.encode("utf-8", "surrogateescape")


def decode_message(dialect: Dialect, untrusted: bytes) -> Message:
    """See interface.Core."""
    length, used = ffi.new("size_t *"), ffi.new("size_t *")
    data = ffi.from_buffer("uint8_t[]", untrusted)
    check(lib.ck_read_length(data, len(untrusted), MESSAGE_MAX_BYTES, length, used), "length prefix")
    if length[0] != len(untrusted) - used[0]:
        raise ProtocolError(f"message announces {length[0]} bytes and has {len(untrusted) - used[0]}")
    message = ffi.new("ck_message *")
    check(lib.ck_decode_message(dialect, data + used[0], length[0], message), "message")
    return _message(message)


def _message(m: Any) -> Message:
    kind = Kind(m.kind)
    ballot = m.ballot
    is_response = kind in (Kind.SIGNED_VOTE_RESPONSE, Kind.SIGNED_PROPOSAL_RESPONSE)
    return Message(
        kind=kind,
        chain_id=to_text(_bytes(m.chain_id)),
        pub_key=_bytes(m.pub_key),
        vote=_vote(ballot) if m.has_ballot and kind in _VOTES else None,
        proposal=_proposal(ballot) if m.has_ballot and kind not in _VOTES else None,
        error=RemoteSignerError(m.error_code, to_text(_bytes(m.error_text)))
        if m.has_error and (is_response or kind is Kind.PUB_KEY_RESPONSE)
        else None,
    )


def _block_id(b: Any) -> BlockID:
    return BlockID(_bytes(b.hash), b.parts_total, _bytes(b.parts_hash))


def _vote(b: Any) -> Vote:
    return Vote(
        b.type,
        b.height,
        b.round,
        _block_id(b.block_id),
        Timestamp(b.timestamp.seconds, b.timestamp.nanos),
        _bytes(b.validator_address),
        b.validator_index,
        _bytes(b.signature),
        _bytes(b.extension),
        _bytes(b.extension_signature),
    )


def _proposal(b: Any) -> Proposal:
    return Proposal(
        b.type,
        b.height,
        b.round,
        b.pol_round,
        _block_id(b.block_id),
        Timestamp(b.timestamp.seconds, b.timestamp.nanos),
        _bytes(b.signature),
    )


def _fill_ballot(out: Any, ballot: Vote | Proposal, keep: list[Any]) -> None:
    out.type, out.height, out.round = ballot.type, ballot.height, ballot.round
    out.block_id.hash = borrowed(ballot.block_id.hash, keep)
    out.block_id.parts_total = ballot.block_id.parts_total
    out.block_id.parts_hash = borrowed(ballot.block_id.parts_hash, keep)
    out.timestamp = {"seconds": ballot.timestamp.seconds, "nanos": ballot.timestamp.nanos}
    out.signature = borrowed(ballot.signature, keep)
    if isinstance(ballot, Proposal):
        out.pol_round = ballot.pol_round
        return
    out.validator_address = borrowed(ballot.validator_address, keep)
    out.validator_index = ballot.validator_index
    out.extension = borrowed(ballot.extension, keep)
    out.extension_signature = borrowed(ballot.extension_signature, keep)


def _to_c(dialect: Dialect, message: Message, keep: list[Any]) -> Any:
    m = ffi.new("ck_message *")
    keep.append(m)
    m.kind = message.kind
    m.chain_id = borrowed(to_wire(message.chain_id), keep)
    m.pub_key = borrowed(message.pub_key, keep)
    if message.error is not None:
        m.has_error, m.error_code = 1, message.error.code
        m.error_text = borrowed(to_wire(message.error.description), keep)
    ballot = message.vote if message.kind in _VOTES else message.proposal
    if ballot is not None:
        m.has_ballot = 1
        _fill_ballot(m.ballot, ballot, keep)
    elif dialect is Dialect.PROTO:
        m.ballot.timestamp.seconds = Timestamp().seconds
    return m


def encode_message(dialect: Dialect, message: Message) -> bytes:
    """See interface.Core. Raises: InvariantError for what has no encoding."""
    keep: list[Any] = []
    m = _to_c(dialect, message, keep)
    out, size = ffi.new("uint8_t[]", _room(message)), ffi.new("size_t *")
    check(lib.ck_encode_message(dialect, m, out, len(out), size), "encoding")
    return bytes(ffi.buffer(out, size[0]))


def _room(message: Message) -> int:
    """An upper bound of a message's encoding: its variable parts and room for all fixed ones."""
    variable = len(to_wire(message.chain_id)) + len(message.pub_key)
    if message.error is not None:
        variable += len(to_wire(message.error.description))
    ballot = message.vote or message.proposal
    if ballot is not None:
        variable += len(ballot.block_id.hash) + len(ballot.block_id.parts_hash) + len(ballot.signature)
    if message.vote is not None:
        vote = message.vote
        variable += len(vote.validator_address) + len(vote.extension) + len(vote.extension_signature)
    return variable + 512


def check_request(dialect: Dialect, chain_id: str, message: Message) -> Request:
    """See interface.Core."""
    keep: list[Any] = []
    request = ffi.new("ck_request *")
    m = _to_c(dialect, message, keep)
    lib.ck_check_request(dialect, borrowed(to_wire(chain_id), keep), m, request)
    ballot = message.vote or message.proposal
    block_hash = ballot.block_id.hash if ballot is not None else b""
    return to_request(request, message.chain_id, block_hash)


def to_request(r: Any, chain_id: str, block_hash: bytes) -> Request:
    """model.Request of a ck_request."""
    return Request(
        Kind(r.kind),
        Reason(r.reason),
        chain_id,
        HRS(r.height, r.round, r.step),
        bytes(ffi.buffer(r.sign_bytes, r.sign_bytes_len)),
        Timestamp(r.timestamp.seconds, r.timestamp.nanos) if r.sign_bytes_len else Timestamp(),
        block_hash if r.sign_bytes_len else b"",
    )


def extension_sign_bytes(chain_id: str, hrs: HRS, extension: bytes) -> bytes:
    """See interface.Core."""
    keep: list[Any] = []
    out, size = ffi.new("uint8_t[]", len(extension) + CHAIN_ID_MAX_BYTES + 64), ffi.new("size_t *")
    name = borrowed(to_wire(chain_id), keep)
    status = lib.ck_extension_sign_bytes(name, hrs.height, hrs.round, borrowed(extension, keep), out, len(out), size)
    check(status, "extension sign bytes")
    return bytes(ffi.buffer(out, size[0]))


def parse_sign_bytes(untrusted: bytes) -> SignBytes:
    """See interface.Core."""
    parsed = ffi.new("ck_sign_bytes *")
    data = ffi.from_buffer("uint8_t[]", untrusted)
    check(lib.ck_parse_sign_bytes(data, len(untrusted), parsed), "sign bytes")
    return SignBytes(
        parsed.type,
        HRS(parsed.height, parsed.round, parsed.step),
        Timestamp(parsed.timestamp.seconds, parsed.timestamp.nanos),
        to_text(_bytes(parsed.chain_id)),
        _bytes(parsed.block_hash),
    )


def same_but_timestamp(a: bytes, b: bytes) -> bool:
    """See interface.Core."""
    return bool(lib.ck_same_but_timestamp(a, len(a), b, len(b)))
