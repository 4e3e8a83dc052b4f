"""The privval session over the C core: one C call each way, nothing allocated in C."""

import mmap
from dataclasses import replace
from typing import Any

from cometkms._native import ffi, lib
from cometkms.core.interface import Frames, KeySlot, Relayed
from cometkms.core.native.crypto import NativeFrames, NativeKeySlot, NativeNoise, bytes_refusal, permitted, slot_refusal
from cometkms.core.native.seam import borrowed, bytes_of, check, cut_text, to_request, to_wire
from cometkms.errors import InvariantError
from cometkms.keytypes import KEY_TYPE_UNKNOWN, no_amino_key, raw_of, type_of
from cometkms.model import BYTES_KINDS, Dialect, Line, Permit, Request


class NativeSession:
    """Turn a validator's ciphertext into requests and outcomes into ciphertext, in C
    and without I/O.
    """

    __slots__ = ("_chain_id", "_dialect", "_memory", "_refused", "_signature", "_size", "c", "inbox")

    def __init__(
        self, dialect: Dialect, chain_id: str, frames: NativeFrames | NativeNoise | None, pending: bytes
    ) -> None:
        """Takes over `frames`.

        The struct lives in anonymous memory: pages never touched cost nothing.
        """
        keep: list[Any] = []
        self._dialect = dialect
        self._chain_id = chain_id
        self._memory = mmap.mmap(-1, ffi.sizeof("ck_session"))
        self.c = ffi.cast("ck_session *", ffi.from_buffer(self._memory))
        self._size = ffi.new("size_t *")
        self._signature = ffi.new("uint8_t[]", lib.CK_SIGNATURE_MAX)
        self._refused = ffi.new("int *")
        self.inbox = memoryview(ffi.buffer(self.c.inbox))
        c_frames = frames.c if isinstance(frames, NativeFrames) else ffi.NULL
        c_noise = frames.c if isinstance(frames, NativeNoise) else ffi.NULL
        status = lib.ck_session_open(
            self.c, dialect, borrowed(to_wire(chain_id), keep), c_frames, c_noise, borrowed(pending, keep)
        )
        if frames is not None:
            frames.close()
        check(status, "session")

    def received(self, size: int) -> None:
        """Take up the first bytes of the inbox, which were filled."""
        status = lib.ck_session_received(self.c, size)
        if status != lib.CK_OK:
            check(status, "frame")

    def next_request(self) -> Request | None:
        """Return the next whole request, or None where more must be received first."""
        status = lib.ck_session_next(self.c, ffi.addressof(self.c, "request"))
        if status == lib.CK_MORE:
            return None
        if status != lib.CK_OK:
            check(status, "message")
        return self.pending_request()

    def pending_request(self) -> Request:
        """The request that waits for its answer, as next_request() gave it."""
        message = self.c.message
        chain_id = self._chain_id if self._dialect is Dialect.AMINO else _text(bytes_of(message.chain_id))
        request = to_request(self.c.request, chain_id, bytes_of(message.ballot.block_id.hash))
        if request.kind not in BYTES_KINDS:
            return request
        return replace(request, value=bytes_of(message.value), unique_id=_text(bytes_of(message.unique_id)))

    @property
    def partial(self) -> bool:
        """Tell whether part of a frame or message has arrived, so that a deadline must run."""
        return bool(lib.ck_session_partial(self.c))

    @property
    def line(self) -> Line:
        """Return the validator's release line, as far as its votes on this connection have told."""
        return Line(self.c.line)

    def answer_pong(self) -> bytes:
        """Answer the pending ping."""
        return self._sent(lib.ck_session_pong(self.c, self._size))

    def answer_pub_key(self, public_key: bytes) -> bytes:
        """Answer with the public key in one response that every release line reads as its own."""
        key_type = type_of(public_key)
        if self._dialect is Dialect.AMINO and not key_type.in_amino:
            return self.answer_error(KEY_TYPE_UNKNOWN, no_amino_key(key_type))
        keep: list[Any] = []
        raw = borrowed(raw_of(public_key), keep)
        return self._sent(lib.ck_session_pub_key(self.c, key_type.number, raw, self._size))

    def answer_error(self, code: int, description: str) -> bytes:
        """Answer the pending request with a RemoteSignerError."""
        keep: list[Any] = []
        return self._sent(lib.ck_session_error(self.c, code, borrowed(cut_text(description), keep), self._size))

    def answer_empty(self) -> bytes:
        """Answer with a pong, which the validator takes for a passing trouble."""
        return self._sent(lib.ck_session_empty(self.c, self._size))

    def prepare(self, slot: KeySlot) -> None:
        """Prepare the key slot for what the pending request asks to be signed."""
        lib.ck_session_prepare(self.c, _native_slot(slot).c)

    def answer_sign(self, slot: KeySlot, permit: Permit) -> tuple[bytes, bytes]:
        """Sign exactly the permit's bytes and answer with the signature."""
        native, sign_bytes = _native_slot(slot), permitted(permit)
        status = lib.ck_session_sign(self.c, native.c, sign_bytes, len(sign_bytes), self._signature, self._size)
        if status == lib.CK_REFUSED:
            raise InvariantError(slot_refusal(slot.last_signed, sign_bytes))
        frame = self._sent(status)
        return bytes(ffi.buffer(self._signature, native.key_type.signature_bytes)), frame

    def answer_repeat(self, slot: KeySlot, sign_bytes: bytes, signature: bytes) -> bytes:
        """Answer with a signature that is already known for these bytes."""
        keep: list[Any] = []
        native, given = _native_slot(slot), borrowed(signature, keep)
        status = lib.ck_session_repeat(self.c, native.c, sign_bytes, len(sign_bytes), given, self._size)
        if status == lib.CK_REFUSED:
            raise InvariantError(slot_refusal(slot.last_signed, sign_bytes))
        return self._sent(status)

    def answer_bytes(self, slot: KeySlot) -> tuple[bytes, bytes]:
        """Sign what the pending SignBytes or SignRawBytes asks for."""
        native = _native_slot(slot)
        status = lib.ck_session_sign_bytes(self.c, native.c, self._signature, self._size)
        if status == lib.CK_REFUSED:
            message = self.c.message
            raise InvariantError(bytes_refusal(bytes_of(message.value), _text(bytes_of(message.unique_id))))
        frame = self._sent(status)
        return bytes(ffi.buffer(self._signature, native.key_type.signature_bytes)), frame

    def pending_wire(self) -> bytes:
        """Return the pending request as it came, with its length."""
        return bytes_of(lib.ck_session_pending(self.c))

    def answer_relayed(self, public_key: bytes, untrusted_answer: bytes) -> Relayed | None:
        """Answer the pending vote or proposal as another signer did, unless that is no
        answer to it.
        """
        keep: list[Any] = []
        key, answer = borrowed(raw_of(public_key), keep), borrowed(untrusted_answer, keep)
        status = lib.ck_session_relay(self.c, type_of(public_key).number, key, answer, self._refused, self._size)
        if status == lib.CK_MORE:
            return None
        return Relayed(frame=self._sent(status), refused=bool(self._refused[0]))

    def close(self) -> None:
        """Wipe the ciphers."""
        lib.ck_session_wipe(self.c)

    def _sent(self, status: int) -> bytes:
        if status != lib.CK_OK:
            check(status, "answer")
        return bytes(ffi.buffer(self.c.outbox, self._size[0]))


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _native_slot(slot: KeySlot) -> NativeKeySlot:
    if not isinstance(slot, NativeKeySlot):
        raise InvariantError(f"a {type(slot).__name__} in a native session")
    return slot


def session(dialect: Dialect, chain_id: str, frames: Frames | None, pending: bytes) -> NativeSession:
    """Make the session of a connection whose handshake is over."""
    if frames is not None and not isinstance(frames, NativeFrames | NativeNoise):
        raise InvariantError(f"{type(frames).__name__} in a native session")
    return NativeSession(dialect, chain_id, frames, pending)
