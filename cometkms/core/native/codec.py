"""The codec's seam to C: Python values in, Python values out. What it means is in csrc/privval.h.

Twin: cometkms/core/pure/codec.py. `Any` (cffi's values) does not leave this module.
"""

from typing import Any, Final

from cometkms._native import ffi, lib
from cometkms.errors import InvariantError, ProtocolError
from cometkms.keytypes import by_number, raw_of, type_of, typed
from cometkms.limits import EXTENSION_SIGN_BYTES_MAX_BYTES, MESSAGE_MAX_BYTES, SIGN_BYTES_MAX_BYTES
from cometkms.model import (
    BYTES_KINDS,
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

_ENVELOPE_MAX_BYTES: Final = 512  # a message without its byte strings: tags, lengths, integers
_VOTE_KINDS: Final = frozenset({Kind.SIGN_VOTE_REQUEST, Kind.SIGNED_VOTE_RESPONSE})
_PROPOSAL_KINDS: Final = frozenset({Kind.SIGN_PROPOSAL_REQUEST, Kind.SIGNED_PROPOSAL_RESPONSE})
_LENGTH_ERRORS: Final = {
    lib.CK_MORE: "the message is cut short inside its length",
    lib.CK_MALFORMED: "the message's length is not a minimal varint of 64 bits",
    lib.CK_TOO_LARGE: f"the message's length is over {MESSAGE_MAX_BYTES} bytes",
}


def decode_message(dialect: Dialect, untrusted: bytes) -> Message:
    """Decode one length-prefixed message. Raises: ProtocolError. See interface.Core."""
    buffer = ffi.from_buffer("uint8_t[]", untrusted)
    length, used = ffi.new("size_t *"), ffi.new("size_t *")
    status = lib.ck_read_length(buffer, len(buffer), MESSAGE_MAX_BYTES, length, used)
    if status != lib.CK_OK:
        raise ProtocolError(_LENGTH_ERRORS[status])
    if length[0] != len(buffer) - used[0]:
        raise ProtocolError(f"a message of {length[0]} bytes was announced, {len(buffer) - used[0]} are there")
    message = ffi.new("ck_message *")
    if lib.ck_decode_message(dialect, buffer + used[0], length[0], message) != lib.CK_OK:
        raise ProtocolError(f"a {dialect.name} message of {length[0]} bytes does not decode")
    return _message_from(message)


def encode_message(dialect: Dialect, message: Message) -> bytes:
    """Encode with length prefix.

    Raises: InvariantError for values that no field can hold. See interface.Core.
    """
    lent = _Lent()
    raw = lent.message(message)
    return _written(lent.total + _ENVELOPE_MAX_BYTES, lib.ck_encode_message, dialect, raw)


def check_request(dialect: Dialect, chain_id: str, message: Message) -> Request:
    """Judge a request and make its sign bytes. See interface.Core."""
    lent = _Lent()
    raw = lent.message(message)
    out = ffi.new("ck_request *")
    lib.ck_check_request(dialect, lent.text(chain_id), raw, out)
    return Request(
        kind=message.kind,
        reason=Reason(out.reason),
        chain_id=chain_id if dialect is Dialect.AMINO else message.chain_id,
        hrs=HRS(out.height, out.round, out.step),
        sign_bytes=bytes(ffi.buffer(out.sign_bytes, out.sign_bytes_len)),
        timestamp=Timestamp(out.timestamp.seconds, out.timestamp.nanos),
        block_hash=_bytes_of(raw.ballot.block_id.hash) if out.sign_bytes_len else b"",
        value=message.value if message.kind in BYTES_KINDS else b"",
        unique_id=message.unique_id,
    )


def canonical_sign_bytes(dialect: Dialect, chain_id: str, ballot: Vote | Proposal) -> bytes:
    """Canonical bytes of a vote or proposal that check_request would pass.

    Raises: InvariantError for one that it would not pass.
    """
    lent = _Lent()
    kind = Kind.SIGN_VOTE_REQUEST if isinstance(ballot, Vote) else Kind.SIGN_PROPOSAL_REQUEST
    vote, proposal = (ballot, None) if isinstance(ballot, Vote) else (None, ballot)
    raw = lent.message(Message(kind, vote=vote, proposal=proposal))
    reason = lib.ck_judge_ballot(proposal is not None, False, ffi.addressof(raw, "ballot"))
    if reason != Reason.NONE:
        raise InvariantError(f"no canonical form: {Reason(reason).name}")
    address = ffi.addressof(raw, "ballot")
    return _written(SIGN_BYTES_MAX_BYTES, lib.ck_canonical, dialect, address, lent.text(chain_id))


def extension_sign_bytes(chain_id: str, hrs: HRS, extension: bytes) -> bytes:
    """Canonical vote extension.

    Raises: InvariantError over VOTE_EXTENSION_MAX_BYTES. See interface.Core.
    """
    lent = _Lent()
    room = min(len(extension) + SIGN_BYTES_MAX_BYTES, EXTENSION_SIGN_BYTES_MAX_BYTES)
    return _written(
        room, lib.ck_extension_sign_bytes, lent.text(chain_id), hrs.height, hrs.round, lent.bytes(extension)
    )


def parse_sign_bytes(untrusted: bytes) -> SignBytes:
    """Read strictly canonical bytes of either dialect. Raises: ProtocolError. See interface.Core."""
    buffer = ffi.from_buffer("uint8_t[]", untrusted)
    out = ffi.new("ck_sign_bytes *")
    if lib.ck_parse_sign_bytes(buffer, len(buffer), out) != lib.CK_OK:
        raise ProtocolError(f"{len(buffer)} bytes are not canonical sign bytes")
    return SignBytes(
        type=out.type,
        hrs=HRS(out.height, out.round, out.step),
        timestamp=Timestamp(out.timestamp.seconds, out.timestamp.nanos),
        chain_id=_text_of(out.chain_id),
        block_hash=_bytes_of(out.block_hash),
    )


def same_but_timestamp(a: bytes, b: bytes) -> bool:
    """Whether both are canonical and differ at most in their timestamp. See interface.Core."""
    buffer_a, buffer_b = ffi.from_buffer("uint8_t[]", a), ffi.from_buffer("uint8_t[]", b)
    return bool(lib.ck_same_but_timestamp(buffer_a, len(buffer_a), buffer_b, len(buffer_b)))


def reads_as_vote(untrusted: bytes) -> bool:
    """Tell whether the value reads as what is signed of a vote, a proposal or an
    extension of any chain.
    """
    lent = _Lent()
    return bool(lib.ck_reads_as_vote(lent.bytes(untrusted)))


def raw_bytes(chain_id: str, raw: bytes, unique_id: str) -> bytes:
    """Build the bytes that are signed for Celestia's SignRawBytesRequest."""
    lent = _Lent()
    parts = (lent.text(chain_id), lent.bytes(raw), lent.text(unique_id))
    return _written(lent.total + _ENVELOPE_MAX_BYTES, lib.ck_raw_bytes, *parts)


class _Lent:
    """Python bytes lent to C structs: they live as long as this object. `total`: how many."""

    def __init__(self) -> None:
        self._kept: list[Any] = []
        self.total = 0

    def bytes(self, data: bytes) -> Any:
        """A ck_bytes that borrows `data`."""
        buffer = ffi.from_buffer("uint8_t[]", data)
        self.total += len(data)
        lent = ffi.new("ck_bytes *", (buffer, len(data)))
        self._kept += (buffer, lent)
        return lent[0]

    def text(self, text: str) -> Any:
        try:
            return self.bytes(text.encode("utf-8", "surrogateescape"))
        except UnicodeEncodeError as error:
            raise InvariantError(f"text that is no UTF-8: {error}") from error

    def message(self, message: Message) -> Any:
        """A ck_message * of `message`.

        Raises: InvariantError for a value that its C field cannot hold.
        """
        raw = ffi.new("ck_message *")
        self._kept.append(raw)
        try:
            self._fill(raw, message)
        except OverflowError as error:
            raise InvariantError(f"a {message.kind.name} holds a value that its field cannot: {error}") from error
        return raw

    def _fill(self, raw: Any, message: Message) -> None:
        raw.kind = message.kind
        raw.chain_id = self.text(message.chain_id)
        raw.has_pub_key = message.kind is Kind.PUB_KEY_RESPONSE and message.pub_key is not None
        if message.pub_key:
            self._fill_pub_key(raw, message)
        raw.pub_key_bytes = self.bytes(message.pub_key_bytes)
        raw.pub_key_type = self.text(message.pub_key_type)
        raw.skip_extension = message.skip_extension
        raw.value = self.bytes(message.value)
        raw.unique_id = self.text(message.unique_id)
        raw.has_others = message.has_others
        if message.error is not None:
            raw.has_error = 1
            raw.error_code = message.error.code
            raw.error_text = self.text(message.error.description)
        if message.kind in _VOTE_KINDS and message.vote is not None:
            raw.has_ballot = 1
            self._fill_vote(raw.ballot, message.vote)
        if message.kind in _PROPOSAL_KINDS and message.proposal is not None:
            raw.has_ballot = 1
            self._fill_shared(raw.ballot, message.proposal)
            raw.ballot.pol_round = message.proposal.pol_round

    def _fill_pub_key(self, raw: Any, message: Message) -> None:
        public_key = message.pub_key or b""
        try:
            raw.pub_key_number, raw.pub_key = type_of(public_key).number, self.bytes(raw_of(public_key))
        except ValueError as error:
            raise InvariantError(str(error)) from None

    def _fill_vote(self, raw: Any, vote: Vote) -> None:
        self._fill_shared(raw, vote)
        raw.validator_address = self.bytes(vote.validator_address)
        raw.validator_index = vote.validator_index
        raw.extension = self.bytes(vote.extension)
        raw.extension_signature = self.bytes(vote.extension_signature)

    def _fill_shared(self, raw: Any, ballot: Vote | Proposal) -> None:
        raw.type, raw.height, raw.round = ballot.type, ballot.height, ballot.round
        raw.block_id.hash = self.bytes(ballot.block_id.hash)
        raw.block_id.parts_total = ballot.block_id.parts_total
        raw.block_id.parts_hash = self.bytes(ballot.block_id.parts_hash)
        raw.timestamp.seconds, raw.timestamp.nanos = ballot.timestamp.seconds, ballot.timestamp.nanos
        raw.signature = self.bytes(ballot.signature)


def _written(room: int, function: Any, *arguments: Any) -> bytes:
    """Call an encoder that writes (out, cap, len). Raises: InvariantError when it cannot."""
    out, length = ffi.new("uint8_t[]", room), ffi.new("size_t *")
    try:
        status = function(*arguments, out, room, length)
    except OverflowError as error:
        raise InvariantError(f"a value that its field cannot hold: {error}") from error
    if status != lib.CK_OK:
        raise InvariantError(f"the C core refuses to encode: status {status}, {room} bytes of room")
    return bytes(ffi.buffer(out, length[0]))


def _bytes_of(raw: Any) -> bytes:
    return bytes(ffi.buffer(raw.at, raw.len)) if raw.len else b""


def _text_of(raw: Any) -> str:
    return _bytes_of(raw).decode("utf-8", "surrogateescape")


def _message_from(raw: Any) -> Message:
    kind = Kind(raw.kind)
    error = RemoteSignerError(raw.error_code, _text_of(raw.error_text)) if raw.has_error else None
    return Message(
        kind=kind,
        chain_id=_text_of(raw.chain_id),
        pub_key=None if kind is Kind.PUB_KEY_RESPONSE and not raw.has_pub_key else _public_key_of(raw),
        pub_key_bytes=_bytes_of(raw.pub_key_bytes),
        pub_key_type=_text_of(raw.pub_key_type),
        vote=_vote_from(raw.ballot) if raw.has_ballot and kind in _VOTE_KINDS else None,
        proposal=_proposal_from(raw.ballot) if raw.has_ballot and kind in _PROPOSAL_KINDS else None,
        error=error,
        skip_extension=bool(raw.skip_extension),
        value=_bytes_of(raw.value),
        unique_id=_text_of(raw.unique_id),
        has_others=bool(raw.has_others),
    )


def _public_key_of(raw: Any) -> bytes:
    key_type = by_number(raw.pub_key_number)
    return typed(key_type, _bytes_of(raw.pub_key)) if key_type is not None and raw.pub_key.len else b""


def _vote_from(raw: Any) -> Vote:
    return Vote(
        type=raw.type,
        height=raw.height,
        round=raw.round,
        block_id=_block_id_from(raw.block_id),
        timestamp=Timestamp(raw.timestamp.seconds, raw.timestamp.nanos),
        validator_address=_bytes_of(raw.validator_address),
        validator_index=raw.validator_index,
        signature=_bytes_of(raw.signature),
        extension=_bytes_of(raw.extension),
        extension_signature=_bytes_of(raw.extension_signature),
    )


def _proposal_from(raw: Any) -> Proposal:
    return Proposal(
        type=raw.type,
        height=raw.height,
        round=raw.round,
        pol_round=raw.pol_round,
        block_id=_block_id_from(raw.block_id),
        timestamp=Timestamp(raw.timestamp.seconds, raw.timestamp.nanos),
        signature=_bytes_of(raw.signature),
    )


def _block_id_from(raw: Any) -> BlockID:
    return BlockID(_bytes_of(raw.hash), raw.parts_total, _bytes_of(raw.parts_hash))
