"""What the modules over the C core share: statuses as exceptions, bytes lent to C, C structs as
model values.
"""

import os
from typing import Any, Final, NoReturn

from cometkms._native import ffi, lib
from cometkms.core.interface import Buffer
from cometkms.errors import InvariantError, ProtocolError
from cometkms.limits import ERROR_TEXT_MAX_BYTES
from cometkms.model import HRS, Kind, Reason, Request, Timestamp, Watermark

_THE_PEERS: Final = {
    lib.CK_MORE: "truncated",
    lib.CK_MALFORMED: "malformed",
    lib.CK_TOO_LARGE: "announces or brings more than its bound",
    lib.CK_BAD_TAG: "authentication failed",
    lib.CK_EXHAUSTED: "nonce counter exhausted",
    lib.CK_LOW_ORDER: "low-order public key",
}
_OURS: Final = {
    lib.CK_NO_ROOM: "the output does not fit its bound",
    lib.CK_REFUSED: "refused",
    lib.CK_NO_SODIUM: "libsodium is not loaded",
    lib.CK_NO_LIBRARY: "the library of the key's type is not loaded",
}


def check(status: int, what: str) -> None:
    """Turn a status into the exception it means.

    Raises: ProtocolError (the peer's fault), InvariantError (ours).
    """
    if status == lib.CK_OK:
        return
    if status in _THE_PEERS:
        raise ProtocolError(f"{what}: {_THE_PEERS[status]}")
    raise InvariantError(f"{what}: {_OURS.get(status, status)}")


def check_turn(status: int, error: int) -> NoReturn:
    """Check what a turn that received came to; `error` is its errno. Raises: BlockingIOError when
    nothing had arrived, EOFError at the stream's end, OSError, ProtocolError, InvariantError.
    """
    if status == lib.CK_MORE:
        raise BlockingIOError
    if status == lib.CK_CLOSED:
        raise EOFError
    if status == lib.CK_SOCKET:
        raise OSError(error, os.strerror(error))
    check(status, "frame or message")
    raise InvariantError(f"a turn ended with the status {status}")


def borrowed(data: Buffer, keep: list[Any]) -> Any:
    """A ck_bytes over `data`, which `keep` holds for as long as C may look at it."""
    view = ffi.from_buffer("uint8_t[]", data)
    keep.append(view)
    return {"at": view, "len": len(data)}


def to_wire(text: str) -> bytes:
    """Text as it was, or is to be, on the wire."""
    return text.encode("utf-8", "surrogateescape")


def bytes_of(raw: Any) -> bytes:
    """The bytes of a ck_bytes."""
    return bytes(ffi.buffer(raw.at, raw.len)) if raw.len else b""


def to_hrs(raw: Any) -> HRS:
    """The place of a ck_hrs."""
    return HRS(raw.height, raw.round, raw.step)


def read_watermark(raw: Any, at: Any) -> Watermark:
    """The watermark in a C struct with bytes and signature; `at`: its place."""
    bytes_size, signature_size = raw.bytes_len, raw.signature_len
    signature = ffi.buffer(raw.signature, signature_size)[:] if signature_size else b""
    return Watermark(to_hrs(at), ffi.buffer(raw.bytes, bytes_size)[:], signature)


def write_watermark(raw: Any, at: Any, mark: Watermark) -> None:
    """Put a watermark into such a struct.

    Raises: InvariantError, with nothing changed, for one that it has no room for.
    """
    sign_bytes, signature = mark.sign_bytes, mark.signature
    if len(sign_bytes) > len(raw.bytes) or len(signature) > len(raw.signature):
        raise InvariantError(f"{len(sign_bytes)} sign bytes and a signature of {len(signature)} have no room in C")
    at.height, at.round, at.step = mark.hrs
    ffi.memmove(raw.bytes, sign_bytes, len(sign_bytes))
    ffi.memmove(raw.signature, signature, len(signature))
    raw.bytes_len, raw.signature_len = len(sign_bytes), len(signature)


def to_request(raw: Any, chain_id: str, block_hash: bytes) -> Request:
    """model.Request of a ck_request."""
    size = raw.sign_bytes_len
    return Request(
        Kind(raw.kind),
        Reason(raw.reason),
        chain_id,
        to_hrs(raw),
        bytes(ffi.buffer(raw.sign_bytes, size)),
        Timestamp(raw.timestamp.seconds, raw.timestamp.nanos),
        block_hash if size else b"",
    )


def cut_text(description: str) -> bytes:
    """Keep at most ERROR_TEXT_MAX_BYTES of UTF-8, cut between characters."""
    data = description.encode("utf-8", "replace")[:ERROR_TEXT_MAX_BYTES]
    return data.decode("utf-8", "ignore").encode()
