"""What the signer and the state process say to each other over the queues. Encode and decode, no
I/O.

signer → state                                     state → signer
  SIGNER_HELLO  here I am, tell me the marks          STATE_HELLO  here I am (again): say hello, ask again
  RESERVE       may I sign these bytes there?         MARK         the last signed (or burnt) place of a chain
  SIGNED        I did, here is the signature          LEASE        you may (not) dial the validators
                                                      LEADER       who leads: what agents are told
                                                      PERMIT       these bytes are durable: sign exactly them
                                                      REFUSED      no, and this is the mark that forbids it

`nonce` names one life of one signer process: an answer to a signer that died is not taken for one
to its successor. Both ends are ours, but a length from shared memory is untrusted: whatever does
not decode raises InvariantError.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from cometkms.errors import InvariantError
from cometkms.keytypes import SIGNATURE_SIZES
from cometkms.layouts import layout
from cometkms.limits import NODE_ID_MAX_BYTES, SIGN_BYTES_MAX_BYTES
from cometkms.model import HRS, Permit, Reason, Watermark


class Tag(IntEnum):
    """First byte of every message."""

    SIGNER_HELLO = 1
    RESERVE = 2
    SIGNED = 3
    STATE_HELLO = 16
    MARK = 17
    LEASE = 18
    PERMIT = 19
    REFUSED = 20
    LEADER = 21


@dataclass(frozen=True, slots=True)
class SignerHello:
    nonce: int


@dataclass(frozen=True, slots=True)
class Reserve:
    """`urgent`: an agent got no answer elsewhere; a node that does not lead proposes it all the
    same."""

    nonce: int
    request_id: int
    chain: int
    hrs: HRS
    sign_bytes: bytes
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Signed:
    chain: int
    hrs: HRS
    sign_bytes: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class StateHello:
    nonce: int


@dataclass(frozen=True, slots=True)
class Mark:
    nonce: int
    chain: int
    watermark: Watermark


@dataclass(frozen=True, slots=True)
class Lease:
    """`ttl_ms`: it ends by itself unless renewed within so long; 0: it does not (one node
    alone)."""

    nonce: int
    granted: bool
    ttl_ms: int = 0


@dataclass(frozen=True, slots=True)
class Leader:
    """`name`: the id of the node that leads, "" when this one does not know."""

    nonce: int
    name: str


@dataclass(frozen=True, slots=True)
class PermitGranted:
    nonce: int
    request_id: int
    chain: int
    permit: Permit


@dataclass(frozen=True, slots=True)
class ReserveRefused:
    nonce: int
    request_id: int
    chain: int
    reason: Reason
    mark: HRS


QueueMessage = SignerHello | Reserve | Signed | StateHello | Mark | Lease | Leader | PermitGranted | ReserveRefused

HEAD: Final = layout("queue")
_NO_PLACE = HRS(0, 0, 0)


def _pack(
    tag: Tag,
    nonce: int = 0,
    request_id: int = 0,
    chain: int = 0,
    hrs: HRS = _NO_PLACE,
    flag: int = 0,
    sign_bytes: bytes = b"",
    signature: bytes = b"",
) -> bytes:
    head = HEAD.pack(tag, nonce, request_id, chain, *hrs, flag, len(sign_bytes), len(signature))
    return head + sign_bytes + signature


def encode(message: QueueMessage) -> bytes:
    """Encode a message in at most QUEUE_SLOT_BYTES - 8 bytes."""
    match message:
        case Reserve(nonce, request_id, chain, hrs, sign_bytes, urgent):
            return _pack(Tag.RESERVE, nonce, request_id, chain, hrs, int(urgent), sign_bytes)
        case PermitGranted(nonce, request_id, chain, permit):
            return _pack(Tag.PERMIT, nonce, request_id, chain, _NO_PLACE, 0, permit.sign_bytes)
        case Signed(chain, hrs, sign_bytes, signature):
            return _pack(Tag.SIGNED, 0, 0, chain, hrs, 0, sign_bytes, signature)
        case ReserveRefused(nonce, request_id, chain, reason, mark):
            return _pack(Tag.REFUSED, nonce, request_id, chain, mark, reason)
        case Mark(nonce, chain, watermark):
            return _pack(Tag.MARK, nonce, 0, chain, watermark.hrs, 0, watermark.sign_bytes, watermark.signature)
        case Lease(nonce, granted, ttl_ms):
            return _pack(Tag.LEASE, nonce, ttl_ms, flag=int(granted))
        case Leader(nonce, name):
            return _pack(Tag.LEADER, nonce, sign_bytes=name.encode())
        case SignerHello(nonce):
            return _pack(Tag.SIGNER_HELLO, nonce)
        case StateHello(nonce):
            return _pack(Tag.STATE_HELLO, nonce)


def decode(untrusted: bytes) -> QueueMessage:
    """Decode what encode() made. Raises: InvariantError with what is wrong."""
    if len(untrusted) < HEAD.size:
        raise InvariantError(f"queue message of {len(untrusted)} bytes, a head has {HEAD.size}")
    tag, nonce, request_id, chain, height, round_, step, flag, bytes_size, signature_size = HEAD.unpack_from(untrusted)
    if HEAD.size + bytes_size + signature_size != len(untrusted):
        raise InvariantError(f"queue message of {len(untrusted)} bytes announces {bytes_size} + {signature_size}")
    if bytes_size > SIGN_BYTES_MAX_BYTES or signature_size not in SIGNATURE_SIZES:
        raise InvariantError(f"queue message with {bytes_size} sign bytes and a signature of {signature_size}")
    sign_bytes = untrusted[HEAD.size : HEAD.size + bytes_size]
    signature = untrusted[HEAD.size + bytes_size :]
    hrs = HRS(height, round_, step)
    match tag:
        case Tag.RESERVE:
            return Reserve(nonce, request_id, chain, hrs, sign_bytes, bool(flag))
        case Tag.PERMIT:
            return PermitGranted(nonce, request_id, chain, Permit(sign_bytes))
        case Tag.SIGNED:
            return Signed(chain, hrs, sign_bytes, signature)
        case Tag.REFUSED:
            return ReserveRefused(nonce, request_id, chain, _reason(flag), hrs)
        case Tag.MARK:
            return Mark(nonce, chain, Watermark(hrs, sign_bytes, signature))
        case Tag.LEASE:
            return Lease(nonce, bool(flag), request_id)
        case Tag.LEADER:
            return Leader(nonce, _name(sign_bytes))
        case Tag.SIGNER_HELLO:
            return SignerHello(nonce)
        case Tag.STATE_HELLO:
            return StateHello(nonce)
    raise InvariantError(f"queue message with the unknown tag {tag}")


def _name(untrusted: bytes) -> str:
    try:
        return untrusted[: NODE_ID_MAX_BYTES + 1].decode()
    except UnicodeDecodeError:
        raise InvariantError("queue message with a name that is no UTF-8") from None


def _reason(untrusted: int) -> Reason:
    try:
        return Reason(untrusted)
    except ValueError:
        raise InvariantError(f"queue message with the unknown reason {untrusted}") from None
