"""Decode what the signer notes for the audit log. The form is told in cometkms/layouts.py;
encoders: csrc/audit.c, core/pure/audit.py.
"""

import hashlib
import struct
from dataclasses import dataclass
from typing import Final

from cometkms.errors import InvariantError
from cometkms.layouts import layout
from cometkms.limits import AUDIT_VALIDATOR_MAX_BYTES, BLOCK_HASH_BYTES, RAW_UNIQUE_ID_MAX_BYTES, SIGN_BYTES_MAX_BYTES
from cometkms.model import BYTES_OUTCOMES, HRS, Decision, Kind, Outcome, Reason, Request

_HEAD: Final = layout("decision")
_LENGTH: Final = struct.Struct("<I")
_DIGEST_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class BytesNote:
    """What is told of bytes that are no vote: SHA-256 of the value or the raw bytes, their number,
    and Celestia's unique id.

    In a Decision it stands in the place of sign_bytes. `unique_id`: ASCII, what cannot be printed
    shown as "?", and cut to its bound.
    """

    digest: bytes
    length: int
    unique_id: str

    @classmethod
    def of(cls, request: Request) -> "BytesNote":
        """Make the record of a request for bytes that are no vote."""
        untrusted = request.unique_id.encode("ascii", "replace")[:RAW_UNIQUE_ID_MAX_BYTES]
        return cls(hashlib.sha256(request.value).digest(), len(request.value), _plain(untrusted))

    def pack(self) -> bytes:
        """Pack it for Decision.sign_bytes."""
        return self.digest + _LENGTH.pack(self.length) + self.unique_id.encode()

    @classmethod
    def unpack(cls, untrusted: bytes) -> "BytesNote":
        """Decode what pack() made. Raises: InvariantError."""
        if not 0 <= len(untrusted) - _DIGEST_BYTES - _LENGTH.size <= RAW_UNIQUE_ID_MAX_BYTES:
            raise InvariantError(f"a decision about bytes in {len(untrusted)} bytes")
        [length] = _LENGTH.unpack_from(untrusted, _DIGEST_BYTES)
        return cls(untrusted[:_DIGEST_BYTES], length, _plain(untrusted[_DIGEST_BYTES + _LENGTH.size :]))


def _plain(untrusted: bytes) -> str:
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else "?" for byte in untrusted)


@dataclass(frozen=True, slots=True)
class Noted:
    """A decision. `life`: of the signer process; `number`: of its decisions, from 1 without a gap;
    at_ns: UNIX time."""

    life: int
    number: int
    at_ns: int
    decision: Decision


def decode(untrusted: bytes) -> Noted:
    """One message of the queue. Raises: InvariantError with what is wrong."""
    if len(untrusted) < _HEAD.size:
        raise InvariantError(f"a decision of {len(untrusted)} bytes, a head has {_HEAD.size}")
    fields = _HEAD.unpack_from(untrusted)
    life, number, at_ns, height, round_, step, outcome, reason, kind, chain = fields[:10]
    *sizes, took_us = fields[10:]
    if _HEAD.size + sum(sizes) != len(untrusted):
        raise InvariantError(f"a decision of {len(untrusted)} bytes announces {sizes}")
    parts = []
    at = _HEAD.size
    for size in sizes:
        parts.append(untrusted[at : at + size])
        at += size
    sign_bytes, block_hash, identity, validator = parts
    if len(sign_bytes) > SIGN_BYTES_MAX_BYTES or len(block_hash) > BLOCK_HASH_BYTES or len(identity) not in (0, 32):
        raise InvariantError(f"a decision with parts of {sizes} bytes")
    if len(validator) > AUDIT_VALIDATOR_MAX_BYTES:
        raise InvariantError(f"a decision with an address of {len(validator)} bytes")
    try:
        what, why, asked = Outcome(outcome), Reason(reason), Kind(kind)
    except ValueError as error:
        raise InvariantError(f"a decision with {error}") from None
    if what in BYTES_OUTCOMES:
        BytesNote.unpack(sign_bytes)
    hrs = HRS(height, round_, step)
    made = Decision(what, why, asked, chain, hrs, sign_bytes, block_hash, validator, identity, took_us * 1000)
    return Noted(life, number, at_ns, made)
