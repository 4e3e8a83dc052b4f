"""The signer's hot path over the C core (csrc/sign.h).

What is plain is told there; see interface.SignPath.
"""

from typing import Any, Final

from cometkms._native import ffi, lib
from cometkms.core.interface import Frames, KeySlot, Queue, Session, Signature, Trail, Turn, Underway
from cometkms.core.native.audit import NativeTrail, asker_of
from cometkms.core.native.crypto import NativeFrames, NativeKeySlot
from cometkms.core.native.lanes import FrameLane, SessionLane
from cometkms.core.native.queue import RingQueue
from cometkms.core.native.seam import check, check_turn, read_watermark, to_hrs, write_watermark
from cometkms.core.native.session import NativeSession
from cometkms.errors import InvariantError
from cometkms.model import Dialect, Request, Watermark

_DONE: Final = int(lib.CK_DONE)
_NOTHING: Final = int(lib.CK_NOTHING)
_RESERVED: Final = int(lib.CK_RESERVED)


class NativeWatermarks:
    """The chains' watermarks where C has them (ck_section): a view, which keeps none of its own."""

    __slots__ = ("_signer",)

    def __init__(self, signer: Any) -> None:
        self._signer = signer

    def __getitem__(self, chain: int) -> Watermark:
        section = self._section(chain)
        return read_watermark(section, section.last)

    def __setitem__(self, chain: int, watermark: Watermark) -> None:
        section = self._section(chain)
        write_watermark(section, section.last, watermark)

    def _section(self, chain: int) -> Any:
        if not 0 <= chain < self._signer.chains:
            raise IndexError(f"chain {chain} of {self._signer.chains}")
        return self._signer.sections[chain]


class NativeSignLane(SessionLane):
    """Serve one connection to a validator and handle its plain requests as they arrive."""

    __slots__ = ("_path",)

    def __init__(
        self, path: "NativeSignPath", chain: int, number: int, session: NativeSession, fd: int, asker: Any
    ) -> None:
        self._path = path
        super().__init__(ffi.new("ck_sign_lane *"), session, fd)
        self.c.chain, self.c.number, self.c.asker = chain, number, asker[0]

    def turn(self) -> Request | Turn:
        """Receive once and look for one request, which is the owner's to answer where
        it is not plain.
        """
        found = self._what(lib.ck_sign_lane_turn(self._path.c, self.c, self._found, self._error))
        if found == _RESERVED:
            return Turn.RESERVED
        return Turn.NOTHING if found == _NOTHING else self.session.pending_request()

    def close(self) -> None:
        """Forget the connection, which is closed, and a reservation of its request."""
        self._path.forget(self)


class _DeskChain:
    """One chain for which a desk's agent may ask; to the path what a NativeSignLane is."""

    __slots__ = ("c", "session")

    def __init__(self, desk: Any, chain: int, number: int, session: NativeSession, asker: Any) -> None:
        self.session = session  # keeps its struct alive
        self.c = ffi.new("ck_sign_lane *")
        self.c.session, self.c.agent, self.c.chain, self.c.number = (
            session.c,
            ffi.addressof(desk, "link"),
            chain,
            number,
        )
        self.c.fd, self.c.asker = -1, asker[0]


class NativeDesk(FrameLane):
    """Serve one agent's link at a node and handle its plain requests as they arrive."""

    __slots__ = ("_c", "_chains", "_path", "_reserved")

    def __init__(self, path: "NativeSignPath", frames: NativeFrames, fd: int) -> None:
        self._path = path
        self._c = ffi.new("ck_desk *")
        super().__init__(self._c.link, frames, fd)
        self._chains: dict[int, _DeskChain] = {}
        self._reserved = ffi.new("uint32_t *")

    def serve(self, chain: int, number: int, chain_id: str, *, validator: bytes, identity: bytes) -> NativeSession:
        """Let the agent ask for that chain with this session, which the desk owns from now on."""
        session = NativeSession(Dialect.PROTO, chain_id, None, b"")
        one = _DeskChain(self._c, chain, number, session, asker_of(validator, identity))
        self._chains[number] = self._path.lanes[number] = one
        self._c.of[self._c.chains] = one.c
        self._c.chains += 1
        return session

    def turn(self, *, serve: bool) -> tuple[bytes, int]:
        """Receive once, reserve the plain requests in front, and return the rest for the owner."""
        status = lib.ck_desk_turn(
            self._path.c, self._c, serve, self._reserved, self._rest_at, self._rest_len, self._error
        )
        if status != lib.CK_OK:
            check_turn(status, self._error[0])
        return self._rest(self._c.link.plain), self._reserved[0]

    def asked(self, number: int) -> int | None:
        """Return the agent's number of the request that waits for its answer."""
        one = self._chains[number].c
        return int(one.seq) if one.asked else None

    def forget(self, number: int) -> None:
        """Expect no answer to the request any more and free its session for the next."""
        one = self._chains[number].c
        self._path.drop(one)
        one.asked = 0
        lib.ck_session_forget(one.session)

    def close(self) -> None:
        """Forget everything of a link that is closed, and close its sessions."""
        for number, one in self._chains.items():
            self.forget(number)
            one.session.close()
            if self._path.lanes.get(number) is one:
                del self._path.lanes[number]


class NativeSignPath:
    """Sign the plain requests of all connections in C. Only sign_path() makes one."""

    def __init__(
        self, c: Any, reservations: RingQueue, permits: RingQueue, slots: list[NativeKeySlot], trail: NativeTrail | None
    ) -> None:
        self.c = c
        self.marks = NativeWatermarks(c)
        self._permits = permits
        self._keep = (reservations, slots, trail)  # their memory
        self.lanes: dict[int, NativeSignLane | _DeskChain] = {}
        self._answered, self._taken = ffi.new("uint32_t *"), ffi.new("uint32_t *")

    def lane(
        self, chain: int, number: int, session: Session, fd: int, *, validator: bytes = b"", identity: bytes = b""
    ) -> NativeSignLane:
        """Make the fast path's end of a validator's connection."""
        if not isinstance(session, NativeSession):
            raise InvariantError("the hot path takes the C core's sessions only")
        asker = asker_of(validator, identity)
        self.lanes[number] = lane = NativeSignLane(self, chain, number, session, fd, asker)
        return lane

    def forget(self, lane: NativeSignLane) -> None:
        """Its connection is closed: nobody is there to answer."""
        self.drop(lane.c)
        if self.lanes.get(lane.c.number) is lane:
            del self.lanes[lane.c.number]

    def drop(self, link: Any) -> None:
        """Forget its reservation, if that is the one under way."""
        section = self.c.sections[link.chain]
        if section.asker == link:
            section.asker = ffi.NULL

    def desk(self, frames: Frames, fd: int) -> NativeDesk:
        """Make the fast path's end of an agent's link."""
        if not isinstance(frames, NativeFrames):
            raise InvariantError("the hot path takes the C core's ciphers only")
        return NativeDesk(self, frames, fd)

    def take(self) -> tuple[bytes | None, list[int], bool]:
        """Take the state process's messages up to the first that is not plain."""
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
        """Return how many signatures drain() would give."""
        return int(self.c.done_to - self.c.done_from)

    def drain(self) -> list[Signature]:
        """Return the signatures made in C since the last call."""
        found = []
        for number in range(self.c.done_from, self.c.done_to):
            one = self.c.done[number % _DONE]
            block_hash = bytes(ffi.buffer(one.block_hash, one.block_hash_len))
            found.append(Signature(one.chain, one.link, to_hrs(one.at), block_hash, one.at_ns, one.took_ns))
        self.c.done_from = self.c.done_to
        return found

    def open(self, chain: int, *, opened: bool) -> None:
        """Let the section take plain requests, or none, from now on."""
        self.c.sections[chain].open = opened

    def take_unreported(self, chain: int) -> bool:
        """Tell whether the queue was too full for the last signature's report, which
        the caller then makes.
        """
        section = self.c.sections[chain]
        unreported, section.unreported = bool(section.unreported), 0
        return unreported

    def waits_since_ns(self, chain: int) -> int | None:
        """Return when the reservation under way was made, if there is one."""
        section = self.c.sections[chain]
        return int(section.since_ns) if section.asker != ffi.NULL else None

    def abandon(self, chain: int) -> Underway | None:
        """Give back the reservation under way."""
        section = self.c.sections[chain]
        if section.asker == ffi.NULL:
            return None
        number = int(section.asker.number)
        section.asker = ffi.NULL
        session = self.lanes[number].session
        return Underway(
            number, session, session.pending_request(), int(section.request_id), section.started_ns, section.since_ns
        )


def sign_path(
    *, nonce: int, reservations: Queue, permits: Queue, slots: list[KeySlot], trail: Trail | None = None
) -> NativeSignPath:
    """Make the signer's fast path over both queues."""
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
