"""The codec in pure Python: readable, obvious, slow.

Its twin, cometkms/core/native/codec.py, must give the same answers.
"""

from typing import Final

from cometkms.core.pure import amino, check, proto, rawbytes, signbytes
from cometkms.core.pure.wire import VARINT_MAX_BYTES, encode_text
from cometkms.errors import InvariantError, ProtocolError
from cometkms.keytypes import type_of
from cometkms.limits import CHAIN_ID_MAX_BYTES, MESSAGE_MAX_BYTES
from cometkms.model import BYTES_KINDS, HRS, Dialect, Message, Proposal, Reason, Request, Timestamp, Vote

_INT32: Final = range(-(1 << 31), 1 << 31)
_INT64: Final = range(-(1 << 63), 1 << 63)
_UINT32: Final = range(1 << 32)

parse_sign_bytes = signbytes.parse
same_but_timestamp = signbytes.same_but_timestamp


def read_length(untrusted: bytes) -> tuple[int, int] | None:
    """The length prefix as (length, bytes it takes); None while it is not whole.

    Raises: ProtocolError if it is not a minimal varint of 64 bits, or over MESSAGE_MAX_BYTES.
    """
    value = 0
    for i, byte in enumerate(untrusted[:VARINT_MAX_BYTES]):
        value |= (byte & 0x7F) << (7 * i)
        if byte >= 0x80:
            continue
        if (i and not byte) or value >= 1 << 64:
            raise ProtocolError("the message's length is not a minimal varint of 64 bits")
        if value > MESSAGE_MAX_BYTES:
            raise ProtocolError(f"the message's length is over {MESSAGE_MAX_BYTES} bytes")
        return value, i + 1
    if len(untrusted) >= VARINT_MAX_BYTES:
        raise ProtocolError("the message's length is not a minimal varint of 64 bits")
    return None


def decode_message(dialect: Dialect, untrusted: bytes) -> Message:
    """Decode one length-prefixed message. Raises: ProtocolError. See interface.Core."""
    prefix = read_length(untrusted)
    if prefix is None:
        raise ProtocolError("the message is cut short inside its length")
    length, used = prefix
    if length != len(untrusted) - used:
        raise ProtocolError(f"a message of {length} bytes was announced, {len(untrusted) - used} are there")
    body = bytes(untrusted[used:])
    return amino.decode(body) if dialect is Dialect.AMINO else proto.decode(body)


def encode_message(dialect: Dialect, message: Message) -> bytes:
    """Encode with length prefix.

    Raises: InvariantError for values that no field can hold. See interface.Core.
    """
    _require_encodable(message)
    if message.has_others:
        raise InvariantError("a message with fields that are not known cannot be encoded")
    encoded = amino.encode(message) if dialect is Dialect.AMINO else proto.encode(message)
    if len(encoded) > MESSAGE_MAX_BYTES + 3:  # so large a length takes three bytes
        raise InvariantError(f"a message of {len(encoded)} bytes, over {MESSAGE_MAX_BYTES}")
    return encoded


def check_request(dialect: Dialect, chain_id: str, message: Message) -> Request:
    """Judge a request and make its sign bytes. See interface.Core."""
    _require_encodable(message)
    is_bytes = message.kind in BYTES_KINDS
    reason = rawbytes.judge(chain_id, message) if is_bytes else check.judge(dialect, chain_id, message)
    asked = chain_id if dialect is Dialect.AMINO else message.chain_id
    ballot = check.payload(message)
    if ballot is not None and reason is Reason.NONE and len(_encoded_text(chain_id)) > CHAIN_ID_MAX_BYTES:
        reason = Reason.WRONG_CHAIN  # no chain may be called so: nothing is signed for it
    if ballot is None or reason is not Reason.NONE:
        value = message.value if is_bytes else b""
        return Request(message.kind, reason, asked, HRS(0, 0, 0), b"", Timestamp(), b"", value, message.unique_id)
    return Request(
        kind=message.kind,
        reason=reason,
        chain_id=asked,
        hrs=HRS(ballot.height, ballot.round, check.step_of(ballot.type)),
        sign_bytes=signbytes.canonical(dialect, chain_id, ballot),
        timestamp=ballot.timestamp,
        block_hash=ballot.block_id.hash,
    )


def canonical_sign_bytes(dialect: Dialect, chain_id: str, ballot: Vote | Proposal) -> bytes:
    """Canonical bytes of a vote or proposal that check_request would pass.

    Raises: InvariantError for one that it would not pass.
    """
    reason = check.judge_ballot(ballot)
    if reason is not Reason.NONE:
        raise InvariantError(f"no canonical form: {reason.name}")
    return signbytes.canonical(dialect, chain_id, ballot)


def extension_sign_bytes(chain_id: str, hrs: HRS, extension: bytes) -> bytes:
    """Canonical vote extension.

    Raises: InvariantError over VOTE_EXTENSION_MAX_BYTES. See interface.Core.
    """
    _require("height", hrs.height, _INT64)
    _require("round", hrs.round, _INT32)
    return signbytes.extension(chain_id, hrs, extension)


def _require(name: str, value: int, allowed: range) -> None:
    if not allowed.start <= value < allowed.stop:  # `in` walks the whole range for an IntEnum
        raise InvariantError(f"{name} is {value}, its field holds {allowed.start} to {allowed.stop - 1}")


def _encoded_text(text: str) -> bytes:
    try:
        return encode_text(text)
    except UnicodeEncodeError as error:
        raise InvariantError(f"text that is no UTF-8: {error}") from error


def _require_encodable(message: Message) -> None:
    """The bounds of the C core's fields hold here too, so that neither core writes what
    it could not read.
    """
    _encoded_text(message.chain_id)
    _encoded_text(message.pub_key_type)
    _encoded_text(message.unique_id)
    if message.pub_key:
        try:
            type_of(message.pub_key)
        except ValueError as error:
            raise InvariantError(str(error)) from None
    if message.error is not None:
        _encoded_text(message.error.description)
        _require("error code", message.error.code, _INT32)
    ballot = check.payload(message)
    if ballot is None:
        return
    _require("type", ballot.type, _INT32)
    _require("height", ballot.height, _INT64)
    _require("round", ballot.round, _INT32)
    _require("parts_total", ballot.block_id.parts_total, _UINT32)
    _require("seconds", ballot.timestamp.seconds, _INT64)
    _require("nanos", ballot.timestamp.nanos, _INT32)
    if isinstance(ballot, Vote):
        _require("validator_index", ballot.validator_index, _INT32)
    else:
        _require("pol_round", ballot.pol_round, _INT32)
