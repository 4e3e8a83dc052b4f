"""Bytes that are no vote: which values a key that signs votes may sign besides, and what Celestia's
raw bytes become.

Pure. The argument is in docs/SAFETY.md, "Bytes that are no vote". Twin: csrc/rawbytes.c.

Reading is as loose as gogoproto's, which takes whatever amino takes, and looser: a known field of
another type is passed over. So a value that any implementation could take for a vote is one here.
What it asks for besides is what every vote of every chain has, a type and a chain's id (an
extension: a height and a chain's id), so that a hash is hardly ever one.
"""

import re
from typing import Final

from cometkms.core.pure import signbytes
from cometkms.core.pure.check import judge_chain
from cometkms.core.pure.wire import DELIMITED, FIXED64, VARINT, Reader, delimited, encode_text, fields, int32, put_part
from cometkms.errors import ProtocolError
from cometkms.limits import CHAIN_ID_MAX_BYTES, RAW_UNIQUE_ID_MAX_BYTES, RAW_VALUE_MAX_BYTES
from cometkms.model import Dialect, Kind, Message, Reason, SignedType

DOMAIN: Final = b"COMET::RAW_BYTES::SIGN"

_TYPES: Final = frozenset({SignedType.PREVOTE, SignedType.PRECOMMIT, SignedType.PROPOSAL})
_EXTENSION_CHAIN: Final = 4
_BALLOT_CHAINS: Final = (6, 7)  # of a vote, of a proposal
#: A chain's id comes from a JSON file, so it is UTF-8; its encoding's shape is looked
#: at, and no more.
_CHAIN_ID: Final = re.compile(
    rb"(?:[\x00-\x7f]|[\xc0-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf7][\x80-\xbf]{3})+"
)


def reads_as_vote(value: bytes) -> bool:
    """Whether the value is what is signed of a vote, a proposal or a vote extension of any chain,
    in either encoding, or reads as one: with its length in front or without, fields in any order,
    repeated or unknown ones among them.
    """
    if _body_reads_as_vote(value) or _body_is_canonical(value):
        return True
    reader = Reader(value)
    try:
        length = reader.varint()  # in any form: more bytes than it needs are read too
    except ProtocolError:
        return False
    if length != reader.left:
        return False
    body = reader.take(length)
    return _body_reads_as_vote(body) or _body_is_canonical(body)


def is_another_request_s(value: bytes) -> bool:
    """Whether the value is, or reads as, what is signed of another request than SignBytes."""
    return reads_as_vote(value) or value.startswith(DOMAIN)


def raw_bytes(chain_id: str, raw: bytes, unique_id: str) -> bytes:
    """What is signed of Celestia's SignRawBytesRequest: its domain, the length, and the request's
    three fields encoded anew.
    """
    request = put_part(1, encode_text(chain_id)) + put_part(2, raw) + put_part(3, encode_text(unique_id))
    return DOMAIN + delimited(request)


def judge(chain_id: str, message: Message) -> Reason:
    """Whether a request for bytes that are no vote makes sense; whether it is allowed here is
    decided elsewhere.
    """
    if message.kind is Kind.SIGN_RAW_BYTES_REQUEST:
        reason = judge_chain(Dialect.PROTO, chain_id, message)
        if reason is not Reason.NONE:
            return reason
        if not 0 < len(encode_text(message.unique_id)) <= RAW_UNIQUE_ID_MAX_BYTES:
            return Reason.BAD_BYTES
    if message.has_others or not 0 < len(message.value) <= RAW_VALUE_MAX_BYTES:
        return Reason.BAD_BYTES
    if message.kind is Kind.SIGN_BYTES_REQUEST and is_another_request_s(message.value):
        return Reason.BYTES_ARE_A_VOTE
    return Reason.NONE


def _body_reads_as_vote(body: bytes) -> bool:
    """A body, without its length: loosely."""
    signed_type = height = 0
    # by field number: whether the last such field could be a chain's id
    is_id: dict[int, bool] = {}
    try:
        for field in fields(body):
            if field.number == 1 and field.wire == VARINT:
                signed_type = int32(field.value)
            elif field.number == 2 and field.wire == FIXED64:
                height = field.value
            elif field.wire == DELIMITED:
                is_id[field.number] = _could_be_chain_id(field.content)
    except ProtocolError:
        return False
    is_ballot = signed_type in _TYPES and any(is_id.get(number) for number in _BALLOT_CHAINS)
    return is_ballot or (height > 0 and is_id.get(_EXTENSION_CHAIN, False))


def _could_be_chain_id(text: bytes) -> bool:
    return len(text) <= CHAIN_ID_MAX_BYTES and _CHAIN_ID.fullmatch(text) is not None


def _body_is_canonical(body: bytes) -> bool:
    """A body, without its length: exactly.

    It may lack what _body_reads_as_vote() asks for, such as a chain's id.
    """
    try:
        signbytes.parse(delimited(body))
    except ProtocolError:
        return False
    return True
