"""One connection to a member whose identity is proven: hellos, then frames until it is closed.

Nothing but the table below changes what a link is; a frame that it does not have in the link's
state breaks the protocol. What a frame of data means is not known here, and neither is which of a
member's connections counts: network.py knows that.
"""

import asyncio
import errno
import socket
import struct
import time
from enum import Enum, auto
from typing import Final, Protocol

from cometkms.core.interface import Frames
from cometkms.errors import ProtocolError, said
from cometkms.limits import PEER_FRAME_MAX_BYTES, PEER_HANDSHAKE_TIMEOUT_S, PEER_OUTBOX_MAX_BYTES, PEER_SILENT_S
from cometkms.logger import Logger
from cometkms.net.outbox import Outbox
from cometkms.net.reading import to_the_end
from cometkms.state.peers.frames import FrameType, Stream
from cometkms.state.peers.handshake import LOST
from cometkms.wire.why import PeerCode, Why, decode_why, encode_why

USER_TIMEOUT_MS: Final = 2000
GOODBYE_MAX_BYTES: Final = 1024
_STAMP: Final = struct.Struct("<Q")  # a ping: the sender's monotonic ns
_ECHO: Final = struct.Struct("<QQ")  # a pong: the same, and the answerer's unix ns
_SIZES: Final = {FrameType.PING: _STAMP.size, FrameType.PONG: _ECHO.size}
_CLOSED_EARLY: Final = Why(
    PeerCode.CLOSED_EARLY,
    "closed by the peer before its hello: it may not know this node (another peer list or key there)",
)


class LinkStep(Enum):
    """How far the two ends are with each other."""

    GREETING = auto()  # both hellos are under way
    ACCEPTED = auto()  # this node accepted the other's hello
    WELCOME = auto()  # the other accepted this node's hello
    ESTABLISHED = auto()
    CLOSED = auto()


TRANSITIONS: Final[dict[LinkStep, dict[FrameType, LinkStep]]] = {
    LinkStep.GREETING: {
        FrameType.HELLO: LinkStep.ACCEPTED,
        FrameType.OK: LinkStep.WELCOME,
        FrameType.GOODBYE: LinkStep.CLOSED,
    },
    LinkStep.ACCEPTED: {FrameType.OK: LinkStep.ESTABLISHED, FrameType.GOODBYE: LinkStep.CLOSED},
    LinkStep.WELCOME: {FrameType.HELLO: LinkStep.ESTABLISHED, FrameType.GOODBYE: LinkStep.CLOSED},
    LinkStep.ESTABLISHED: {
        FrameType.DATA: LinkStep.ESTABLISHED,
        FrameType.PING: LinkStep.ESTABLISHED,
        FrameType.PONG: LinkStep.ESTABLISHED,
        FrameType.GOODBYE: LinkStep.CLOSED,
    },
    LinkStep.CLOSED: {},
}


class LinkOwner(Protocol):
    """What a link tells its network."""

    def judge_hello(self, link: "PeerLink", payload: bytes) -> str | None:
        """Return why the member is refused, or None. Raises: ProtocolError."""
        ...

    def on_established(self, link: "PeerLink") -> None:
        """Both hellos were accepted."""
        ...

    def on_data(self, link: "PeerLink", payload: bytes) -> None:
        """Raises: ProtocolError, and the connection is closed."""
        ...

    def on_pong(self, link: "PeerLink", rtt_us: float, clock_ahead_ms: float) -> None:
        """The round trip was measured."""
        ...

    def on_refused(self, link: "PeerLink", reason: str) -> None:
        """One of the two refused the other; the link is closed next."""
        ...

    def on_closed(self, link: "PeerLink", why: str, *, closed: bool) -> None:
        """`closed`: by the other end's system at once; else it fell silent, or this node closed it."""
        ...


class PeerLink(Stream):
    """Move the frames of one connection, in its owner's loop, until it is closed."""

    def __init__(
        self,
        owner: LinkOwner,
        peer: str,
        connection: socket.socket,
        frames: Frames,
        leftover: bytes,
        *,
        address: str,
        inbox: bytearray,
        counters: dict[str, int],
        log: Logger,
    ) -> None:
        """`inbox`: where all links of a network receive; `counters`: the network's."""
        super().__init__(connection, frames, leftover, Outbox(connection, lost=self._on_lost))
        self.peer = peer
        self.socket = connection
        self.address = address
        self.step = LinkStep.GREETING
        self.established = False  # stays true when it is closed
        self.heard_at = time.monotonic()
        self._owner = owner
        self._inbox = inbox
        self._counters = counters
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._closed: asyncio.Future[None] = self._loop.create_future()

    @property
    def open(self) -> bool:
        """Whether frames are still sent and received."""
        return self.step is not LinkStep.CLOSED

    async def serve(self, hello: bytes) -> bool:
        """Say hello, then move frames until the end. Return whether the connection was established."""
        self.say(FrameType.HELLO, hello)
        if self.open:
            self._loop.add_reader(self.socket.fileno(), to_the_end(self.socket, self._on_readable))
            deadline = self._loop.call_later(PEER_HANDSHAKE_TIMEOUT_S, self._on_no_hello)
            self._take_frames()
            try:
                await self._closed
            except asyncio.CancelledError:
                self.close("this node stops")
                raise
            finally:
                deadline.cancel()
        return self.established

    def say(self, kind: FrameType, payload: bytes) -> bool:
        """Send a frame.

        False: nobody reads it, and the link is closed out of the sender's stack, which does not
        expect to be called back.
        """
        if not self.open or not self.write(kind, payload):
            return False
        if len(self.outbox) > PEER_OUTBOX_MAX_BYTES:
            self._close_soon(Why(PeerCode.NOT_ACKNOWLEDGED, "it does not read what is sent"))
            return False
        return True

    def beat(self, now: float) -> None:
        """Ask for a sign of life, or close the link when there was none for too long.

        `now`: monotonic seconds.
        """
        if now - self.heard_at > PEER_SILENT_S:
            self._counters["silent"] += 1
            self.close(Why(PeerCode.SILENT, f"silent for {PEER_SILENT_S:g} s"))
        else:
            self.say(FrameType.PING, _STAMP.pack(time.monotonic_ns()))

    def close(self, why: str, *, closed: bool = False) -> None:
        """Close it, once. `closed`: the other end's system did."""
        if not self.open:
            return
        self.step = LinkStep.CLOSED
        if self.lane is not None:
            self.lane.close()
        self._loop.remove_reader(self.socket.fileno())
        self.outbox.close()
        self.socket.close()
        self.frames.close()
        if not self._closed.done():
            self._closed.set_result(None)
        self._owner.on_closed(self, why, closed=closed)

    def _close_soon(self, why: str) -> None:
        self._loop.call_soon(lambda: self.close(why, closed=True))

    def _on_lost(self, error: OSError) -> None:
        self._close_soon(_why_lost(error))

    def _on_no_hello(self) -> None:
        if not self.established:
            self.close(Why(PeerCode.HANDSHAKE, f"no hello came within {PEER_HANDSHAKE_TIMEOUT_S:g} s: {LOST}"))

    # --- frames ---

    def _on_readable(self) -> None:
        try:
            more = self.receive(self._inbox)
        except (BlockingIOError, InterruptedError):
            return
        except EOFError:
            heard = self.step in (LinkStep.ACCEPTED, LinkStep.ESTABLISHED)
            self.close(Why(PeerCode.CLOSED, "closed by the peer") if heard else _CLOSED_EARLY, closed=True)
            return
        except OSError as error:
            self.close(_why_lost(error), closed=True)
            return
        except ProtocolError as error:
            self._counters["bad_frames"] += 1
            self.close(Why(PeerCode.BROKE_PROTOCOL, str(error)))
            return
        self.heard_at = time.monotonic()
        if more:
            self._take_frames()

    def _take_frames(self) -> None:
        try:
            while self.open and (frame := self.reader.next()) is not None:
                self._on_frame(*frame)
        except ProtocolError as error:
            self._counters["bad_frames"] += 1
            self._log.error("a peer broke the protocol", peer=self.peer, why=str(error))
            self.close(Why(PeerCode.BROKE_PROTOCOL, str(error)))

    def _on_frame(self, kind: FrameType, payload: bytes) -> None:
        following = TRANSITIONS[self.step].get(kind)
        if following is None or len(payload) != _SIZES.get(kind, len(payload)):
            raise ProtocolError(f"a {kind.name} frame came out of order")
        if kind is FrameType.DATA:
            self._owner.on_data(self, payload)
        elif kind is FrameType.PING:
            self.say(FrameType.PONG, payload + _STAMP.pack(time.time_ns()))
        elif kind is FrameType.PONG:
            measured = judge_pong(*_ECHO.unpack(payload), monotonic_ns=time.monotonic_ns(), unix_ns=time.time_ns())
            self._owner.on_pong(self, *measured)
        elif kind is FrameType.GOODBYE:
            self._refuse(decode_why(payload[:GOODBYE_MAX_BYTES], f"refused by {self.peer}: "))
        elif kind is FrameType.OK or self._takes_hello(payload):
            self._enter(following)

    def _takes_hello(self, payload: bytes) -> bool:
        reason = self._owner.judge_hello(self, payload)
        if reason is not None:
            self.say(FrameType.GOODBYE, encode_why(reason, GOODBYE_MAX_BYTES))
            self._refuse(reason)
            return False
        self.reader.most = PEER_FRAME_MAX_BYTES
        self.say(FrameType.OK, b"")
        return True

    def _refuse(self, reason: str) -> None:
        self._owner.on_refused(self, reason)
        self.close(reason)

    def _enter(self, step: LinkStep) -> None:
        if not self.open:
            return
        self.step = step
        if step is LinkStep.ESTABLISHED:
            self.established = True
            self._owner.on_established(self)


def judge_pong(sent_ns: int, its_unix_ns: int, *, monotonic_ns: int, unix_ns: int) -> tuple[float, float]:
    """Return the round trip in microseconds, and by how many milliseconds the answerer's wall clock
    is ahead of this node's.

    `sent_ns`: this node's monotonic clock at the ping. As in NTP, the other clock was read in the
    middle of the round trip.
    """
    round_trip_ns = max(0, monotonic_ns - sent_ns)
    ahead_ns = its_unix_ns - (unix_ns - round_trip_ns // 2)
    return round(round_trip_ns / 1000, 1), round(ahead_ns / 1e6, 1)


def _why_lost(error: OSError) -> Why:
    """Say why a connection that was there ended with an error."""
    if error.errno == errno.ETIMEDOUT:
        words = f"what was sent was not acknowledged within {USER_TIMEOUT_MS / 1000:g} s: the way is cut, or loses large packets"
        return Why(PeerCode.NOT_ACKNOWLEDGED, words)
    return Why(PeerCode.CLOSED, said(error))
