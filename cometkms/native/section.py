"""The signer's hot path over the C core (csrc/section.h). What is plain is told there; see interface.SignPath."""

import os
import struct
from typing import Any, Final

from cometkms._native import ffi, lib
from cometkms.errors import InvariantError
from cometkms.interface import KeySlot, Queue, Session, Signature, Trail, Turn, Underway
from cometkms.model import HRS, Request, Watermark
from cometkms.native.audit import NativeTrail, asker_of
from cometkms.native.crypto import NativeKeySlot
from cometkms.native.queue import RingQueue
from cometkms.native.seam import check
from cometkms.native.session import NativeSession

_DONE: Final = int(lib.CK_DONE)
_DONE_FORM: Final = struct.Struct("@H2xIqiiQQ32sN")  # ck_done
_DONE_BYTES: Final = int(ffi.sizeof("ck_done"))
if _DONE_FORM.size != _DONE_BYTES:
    raise InvariantError(f"a ck_done of {_DONE_BYTES} bytes does not unpack as {_DONE_FORM.size}")
_NOTHING: Final = int(lib.CK_NOTHING)
_RESERVED: Final = int(lib.CK_RESERVED)


def _hrs(raw: Any) -> HRS:
    return HRS(raw.height, raw.round, raw.step)


class NativeSignLane:
    """See interface.SignLane."""

    __slots__ = ("_error", "_found", "_path", "c", "session")

    def __init__(
        self, path: "NativeSignPath", chain: int, number: int, session: NativeSession, fd: int, asker: Any
    ) -> None:
        self._path = path
        self.session = session  # keeps its struct alive
        self.c = ffi.new("ck_link *")
        self.c.session, self.c.fd, self.c.chain, self.c.number, self.c.asker = session.c, fd, chain, number, asker[0]
        self._found, self._error = ffi.new("int *"), ffi.new("int *")

    @property
    def blocked(self) -> bool:
        """See interface.SignLane."""
        return bool(self.c.blocked)

    @blocked.setter
    def blocked(self, value: bool) -> None:
        self.c.blocked = value

    def turn(self) -> Request | Turn:
        """See interface.SignLane."""
        status = lib.ck_link_turn(self._path.c, self.c, self._found, self._error)
        if status == lib.CK_OK:
            found = self._found[0]
            if found == _RESERVED:
                return Turn.RESERVED
            return Turn.NOTHING if found == _NOTHING else self.session.pending_request()
        if status == lib.CK_MORE:
            raise BlockingIOError
        if status == lib.CK_CLOSED:
            raise EOFError
        if status == lib.CK_SOCKET:
            raise OSError(self._error[0], os.strerror(self._error[0]))
        check(status, "frame or message")
        raise InvariantError(f"a turn ended with the status {status}")

    def take_unsent(self) -> bytes:
        """See interface.SignLane."""
        at, size = self.c.unsent_at, self.c.unsent
        if not size:
            return b""
        self.c.unsent = 0
        return bytes(ffi.buffer(self.c.session.outbox + at, size))

    def close(self) -> None:
        """See interface.SignLane."""
        self._path.forget(self)


class NativeSignPath:
    """See interface.SignPath. Made by sign_path()."""

    def __init__(
        self, c: Any, reservations: RingQueue, permits: RingQueue, slots: list[NativeKeySlot], trail: NativeTrail | None
    ) -> None:
        self.c = c
        self._permits = permits
        self._keep = (reservations, slots, trail)  # their memory
        self._signature_bytes = [slot.key_type.signature_bytes for slot in slots]  # of each chain
        self._done = ffi.buffer(c.done)
        self._lanes: dict[int, NativeSignLane] = {}
        self._answered, self._taken = ffi.new("uint32_t *"), ffi.new("uint32_t *")

    def lane(
        self, chain: int, number: int, session: Session, fd: int, *, validator: bytes = b"", identity: bytes = b""
    ) -> NativeSignLane:
        """See interface.SignPath."""
        if not isinstance(session, NativeSession):
            raise InvariantError("the hot path takes the C core's sessions only")
        asker = asker_of(validator, identity)
        self._lanes[number] = lane = NativeSignLane(self, chain, number, session, fd, asker)
        return lane

    def forget(self, lane: NativeSignLane) -> None:
        """Its connection is closed: nobody is there to answer."""
        section = self.c.sections[lane.c.chain]
        if section.asker == lane.c:
            section.asker = ffi.NULL
        if self._lanes.get(lane.c.number) is lane:
            del self._lanes[lane.c.number]

    def take(self) -> tuple[bytes | None, list[int], bool]:
        """See interface.SignPath."""
        self._take()
        if self._taken[0] == 0:  # clear the wake-up, then look again: a push in between is not lost
            self._permits.clear()
            self._take()
        size = self.c.rest_len
        message = bytes(ffi.buffer(self.c.rest, size)) if size else None
        return message, list(self.c.answered[0 : self._answered[0]]), self._taken[0] > 0

    def _take(self) -> None:
        check(lib.ck_signer_take(self.c, self._answered, self._taken), "the state process's queue")

    @property
    def unseen(self) -> int:
        """See interface.SignPath."""
        return int(self.c.done_to - self.c.done_from)

    def drain(self) -> list[Signature]:
        """See interface.SignPath."""
        found = []
        for number in range(self.c.done_from, self.c.done_to):
            at = number % _DONE * _DONE_BYTES
            chain, link, height, round_, step, at_ns, took_ns, block_hash, size = _DONE_FORM.unpack_from(self._done, at)
            found.append(Signature(chain, link, HRS(height, round_, step), block_hash[:size], at_ns, took_ns))
        self.c.done_from = self.c.done_to
        return found

    def push(self, chain: int, watermark: Watermark, *, opened: bool) -> None:
        """See interface.SignPath."""
        section = self.c.sections[chain]
        section.last = tuple(watermark.hrs)
        ffi.memmove(section.bytes, watermark.sign_bytes, len(watermark.sign_bytes))
        section.bytes_len = len(watermark.sign_bytes)
        section.open = opened

    def news(self, chain: int, signatures: int) -> tuple[int, Watermark] | None:
        """See interface.SignPath."""
        section = self.c.sections[chain]
        if section.signatures == signatures:
            return None
        sign_bytes = bytes(ffi.buffer(section.bytes, section.bytes_len))
        signature = bytes(ffi.buffer(section.signature, self._signature_bytes[chain]))
        return int(section.signatures), Watermark(_hrs(section.last), sign_bytes, signature)

    def take_unreported(self, chain: int) -> bool:
        """See interface.SignPath."""
        section = self.c.sections[chain]
        unreported, section.unreported = bool(section.unreported), 0
        return unreported

    def waits_since_ns(self, chain: int) -> int | None:
        """See interface.SignPath."""
        section = self.c.sections[chain]
        return int(section.since_ns) if section.asker != ffi.NULL else None

    def abandon(self, chain: int) -> Underway | None:
        """See interface.SignPath."""
        section = self.c.sections[chain]
        if section.asker == ffi.NULL:
            return None
        number = int(section.asker.number)
        section.asker = ffi.NULL
        session = self._lanes[number].session
        return Underway(
            number, session, session.pending_request(), int(section.request_id), section.started_ns, section.since_ns
        )


def sign_path(
    *, nonce: int, reservations: Queue, permits: Queue, slots: list[KeySlot], trail: Trail | None = None
) -> NativeSignPath | None:
    """See interface.Core."""
    if not isinstance(reservations, RingQueue) or not isinstance(permits, RingQueue):
        raise InvariantError("the hot path takes the C core's queues only")
    native = [slot for slot in slots if isinstance(slot, NativeKeySlot)]
    if len(native) != len(slots):
        raise InvariantError("the hot path takes the C core's key slots only")
    c = ffi.new("ck_signer *")
    if trail is not None:
        if not isinstance(trail, NativeTrail):
            raise InvariantError("the hot path takes the C core's trail only")
        c.audit = trail.c
    c.calls = lib.ck_calls_of_libc()
    c.nonce, c.chains = nonce, len(native)
    c.reservations, c.reservations_wake, c.permits = reservations.ring, reservations.fileno(), permits.ring
    for number, slot in enumerate(native):
        c.sections[number].slot = slot.c
    return NativeSignPath(c, reservations, permits, native, trail)
