"""The peers' channel: one authenticated, encrypted connection per pair of nodes (PROTOCOL §2 with
pinned identities).

    dial / accept ─▶ handshake ─▶ hello ⇄ ─▶ ok ⇄ ─▶ frames … ─▶ closed ─▶ dial again

The node with the larger id dials (here), the other accepts (port.py); handshake.py proves who it
is, link.py moves the frames of one connection (frames.py). Here is what is kept of each member over
its connections, and which of them counts.
"""

import asyncio
import random
import socket
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from cometkms.address import Address
from cometkms.board.sections import MemberReport, PeerState
from cometkms.core.interface import Core, Frames, Lane
from cometkms.errors import ProtocolError
from cometkms.limits import (
    INBOX_BYTES,
    PEER_GREETINGS_MAX,
    PEER_HANDSHAKE_TIMEOUT_S,
    PEER_PING_S,
    REDIAL_MAX_S,
    REDIAL_MIN_S,
)
from cometkms.logger import Logger
from cometkms.net.dial import connect
from cometkms.state.peers.frames import FrameType
from cometkms.state.peers.handshake import StrangerError, shake, why_no_connection, why_no_handshake
from cometkms.state.peers.link import PeerLink
from cometkms.state.peers.port import PeerPort, farewell, who_goes
from cometkms.wire.identity import Identity
from cometkms.wire.secret_connection import Handshake
from cometkms.wire.why import PeerCode, Why, code_of

_REDIAL_SOON_S: Final = 0.01  # after an established connection was closed


_CLAIM_LASTS_S: Final = 10.0  # what a stranger says of itself; one that is refused dials every second
# errors that do not tell why a member does not come
_PERHAPS_STRANGER: Final = frozenset(
    {PeerCode.NOT_DIALLED, PeerCode.CLOSED, PeerCode.SILENT, PeerCode.NOT_ACKNOWLEDGED, PeerCode.OTHER}
)


@dataclass(frozen=True, slots=True)
class PeerTarget:
    """Another member: the identity it must prove, and where it listens."""

    id: str
    public_key: bytes
    address: Address


class PeerEvents(Protocol):
    """Who makes sense of it."""

    def hello(self, peer: str) -> bytes:
        """Our first frame to that peer."""
        ...

    def on_hello(self, peer: str, payload: bytes, address: str) -> str | None:
        """Return None, or why the peer is refused: it is told, both sides log it.

        Raises: ProtocolError.
        """
        ...

    def on_stranger(self, public_key: bytes, payload: bytes, address: str) -> str | None:
        """The hello of an identity that is no peer's: why it is refused, if it is told at all.

        Raises: ProtocolError.
        """
        ...

    def on_connected(self, peer: str) -> None:
        """Both hellos were accepted."""
        ...

    def on_frame(self, peer: str, payload: bytes) -> None:
        """Raises: ProtocolError: the connection is closed."""
        ...

    def on_disconnected(self, peer: str, why: str, *, closed: bool) -> None:
        """`closed`: by the other end's system at once; else it fell silent, or we closed it."""
        ...


@dataclass(slots=True)
class _Peer:
    """What is kept of a peer over its connections."""

    target: PeerTarget
    link: PeerLink | None = None
    # whose hellos are not both accepted, the oldest first
    greeting: list[PeerLink] = field(default_factory=list)
    state: PeerState = PeerState.WAITING
    # unix time: connected, or not connected, since then, however often it is dialled; 0: never was
    since: float = 0.0
    since_mono: float = 0.0
    last_contact: float = 0.0  # unix time
    heard_at: float = 0.0  # … and the same moment by the monotonic clock
    rtt_us: float | None = None
    clock_ahead_ms: float | None = None  # its wall clock against ours, half a round trip uncertain
    connects: int = 0
    frames_in: int = 0
    frames_out: int = 0
    last_error: str = ""
    # what a stranger said, or where it came from; monotonic: when
    claim: str = ""
    claimed_at: float = 0.0
    # unix time: when one of the two last refused the other, whatever connection is there
    refused_at: float = 0.0

    def enter(self, state: PeerState) -> None:
        """Note when it was connected, and when no more."""
        if state != self.state and PeerState.CONNECTED in (state, self.state):
            self.since, self.since_mono = time.time(), time.monotonic()
        self.state = state

    def hear(self, at: float) -> None:
        """Note when it was last heard. `at`: monotonic."""
        self.last_contact, self.heard_at = time.time() - (time.monotonic() - at), at

    def report(self) -> MemberReport:
        """Return what /status shows of it."""
        error = self._why()
        return MemberReport(
            id=self.target.id,
            addr=str(self.target.address),
            connected=self.link is not None,
            connection=self.state,
            since=self.since,
            since_mono=self.since_mono,
            last_contact=round(self.last_contact, 1),
            last_contact_mono=self.heard_at,
            rtt_us=self.rtt_us,
            clock_ahead_ms=self.clock_ahead_ms,
            connects=self.connects,
            last_error=error,
            error_code=code_of(error).value if error else "",
            refused_at=round(self.refused_at, 1),
        )

    def _why(self) -> str:
        """Return the last error, with what a stranger says of itself beside it. That is nobody's
        proven word: it changes no other code, and is forgotten when no more is heard of it."""
        if self.link is not None or not self.claim or time.monotonic() - self.claimed_at > _CLAIM_LASTS_S:
            return self.last_error
        code = code_of(self.last_error)
        words = f"{self.last_error}; {self.claim}" if self.last_error else self.claim
        return Why(PeerCode.STRANGER if code in _PERHAPS_STRANGER else code, words)


class PeerNetwork:
    """All connections of one node, driven by its loop."""

    def __init__(
        self,
        *,
        core: Core,
        me: str,
        identity: Identity,
        peers: tuple[PeerTarget, ...],
        listen: Address,
        events: PeerEvents,
        log: Logger,
        make_lane: Callable[[str, Frames, int], Lane | None] = lambda *_: None,
        max_segment: int = 0,
    ) -> None:
        """`make_lane`: makes what handles a peer's plain messages as they arrive, given its id,
        ciphers and descriptor.

        `max_segment`: bytes of data in one packet at most, 0: what the interface takes.
        """
        self._max_segment = max_segment
        self._core = core
        self._make_lane = make_lane
        self._me = me
        self._identity = identity
        # of two members the one with the larger id dials
        not_dialled = Why(PeerCode.NOT_DIALLED, f"it dials this node, and has not come to {listen} yet")
        self._peers = {peer.id: _Peer(peer, last_error="" if me > peer.id else not_dialled) for peer in peers}
        # an address that leads to another member, or here, is no key that differs
        self._own = frozenset((identity.public_key, *(peer.public_key for peer in peers)))
        self._events = events
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._inbox = bytearray(INBOX_BYTES)
        self._stopping = False
        self._counters = dict.fromkeys(
            ("accepted", "strangers", "refused", "half_open_dropped", "handshake_failed", "bad_frames", "silent"), 0
        )
        self._port = PeerPort(
            core=core,
            identity=identity,
            members={peer.public_key: peer.id for peer in peers},
            listen=listen,
            max_segment=max_segment,
            greet=self._greet,
            on_stranger=events.on_stranger,
            on_claim=self._on_claim,
            spawn=self._spawn,
            counters=self._counters,
            log=log,
        )

    # --- life ---

    def start(self) -> None:
        """Listen and dial. Raises: BusyError when the port is taken."""
        self._port.open()
        for peer in self._peers.values():
            if self._me > peer.target.id:
                self._spawn(self._dial(peer))
        if self._peers:
            self._loop.call_later(PEER_PING_S, self._tick)

    async def stop(self) -> None:
        """Close everything, with a goodbye."""
        self._stopping = True
        self._port.close()
        for peer in self._peers.values():
            if peer.link is not None:
                peer.link.close("this node stops")
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_task)
        return task

    def _on_task(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._loop.call_exception_handler({"message": "peers", "exception": error})

    # --- what the node does with it ---

    def connected(self) -> frozenset[str]:
        """Peers with whom both hellos were accepted."""
        return frozenset(name for name, peer in self._peers.items() if peer.link is not None)

    def send(self, peer: str, payload: bytes) -> bool:
        """Send to a peer. False: it is not connected, or it does not read and is disconnected now."""
        known = self._peers[peer]
        if known.link is None:
            return False
        known.frames_out += 1
        return known.link.say(FrameType.DATA, payload)

    def disconnect(self, peer: str, why: str) -> None:
        """Close the connection to a peer, if there is one."""
        link = self._peers[peer].link
        if link is not None:
            link.close(why)

    def collect_unsent(self) -> None:
        """The lanes were asked to send: what a socket did not take goes out when it does."""
        for peer in self._peers.values():
            if peer.link is not None:
                peer.link.outbox.collect()

    def counters(self) -> dict[str, int]:
        """Return how often something was refused at the port, since the start."""
        return dict(self._counters)

    def round_trip_s(self, peer: str) -> float | None:
        """Return the round trip to a peer as last measured, or None while it was not."""
        rtt_us = self._peers[peer].rtt_us
        return None if rtt_us is None else rtt_us / 1e6

    def document(self) -> list[MemberReport]:
        """Every peer, for /status."""
        return [peer.report() for peer in self._peers.values()]

    # --- getting connected ---

    async def _dial(self, peer: _Peer) -> None:
        backoff = REDIAL_MIN_S
        while True:
            established = await self._dial_once(peer)
            if established:
                backoff = REDIAL_MIN_S
                await asyncio.sleep(_REDIAL_SOON_S)
                continue
            await asyncio.sleep(backoff * random.uniform(0.75, 1.0))  # noqa: S311 - jitter, not a secret
            backoff = min(backoff * 2, REDIAL_MAX_S)

    async def _dial_once(self, peer: _Peer) -> bool:
        """One connection from dial to close. Whether it was established."""
        peer.enter(PeerState.DIALING)
        target = peer.target.address
        address = f"{target.host}:{target.port}"
        try:
            connection = await connect(target, self._max_segment)
        except OSError as error:
            why = why_no_connection(error)
            self._fail(peer, Why(code_of(why), f"{address}: {why}"))
            return False
        try:
            peer.enter(PeerState.HANDSHAKE)
            handshake = await shake(self._core, self._identity, connection)
            if handshake.remote_identity != peer.target.public_key:
                self._counters["strangers"] += 1
                if handshake.remote_identity not in self._own:
                    await self._say_who_goes(connection, handshake)
                raise StrangerError(
                    f"the node at {address} is not {peer.target.id!r} of this cluster: another validator key or cluster.key, or the address of "
                    "another node"
                )
        except (OSError, ProtocolError) as error:
            connection.close()
            self._counters["handshake_failed"] += 1
            self._fail(peer, why_no_handshake(error, address))
            return False
        except BaseException:
            connection.close()
            raise
        return await self._greet(peer.target.id, connection, handshake, address)

    async def _say_who_goes(self, connection: socket.socket, handshake: Handshake) -> None:
        """Tell a stranger at a member's address this node's id, and nothing else."""
        try:
            async with asyncio.timeout(PEER_HANDSHAKE_TIMEOUT_S):
                await self._loop.sock_sendall(connection, farewell(handshake, who_goes(self._me)))
        except OSError:
            pass  # it has gone first: that it is a stranger is told all the same
        finally:
            handshake.frames.close()

    def _on_claim(self, host: str, name: str) -> None:
        """A stranger came that calls itself a member; without a name it may be the members that
        are to come from its host."""
        for peer in self._peers.values():
            target = peer.target
            if name == target.id or (not name and target.address.host == host and target.id > self._me):
                calls = f"calls itself {name!r} and " if name else ""
                peer.claim = f"a node at {host} {calls}has another validator key or cluster.key"
                peer.claimed_at = time.monotonic()

    async def _greet(self, name: str, connection: socket.socket, handshake: Handshake, address: str) -> bool:
        """Hellos, then frames until the end. Whether the connection was established."""
        peer = self._peers[name]
        link = PeerLink(
            self,
            name,
            connection,
            handshake.frames,
            handshake.leftover,
            address=address,
            inbox=self._inbox,
            counters=self._counters,
            log=self._log,
        )
        peer.greeting.append(link)
        # a member that opens one after the other uses up no descriptors
        if len(peer.greeting) > PEER_GREETINGS_MAX:
            self._counters["half_open_dropped"] += 1
            peer.greeting[0].close("it said no hello before newer connections came")
        peer.enter(PeerState.HELLO if peer.link is None else peer.state)
        return await link.serve(self._events.hello(name))

    # --- what a link tells (link.LinkOwner) ---

    def judge_hello(self, link: PeerLink, payload: bytes) -> str | None:
        """Return why the member is refused, or None. Raises: ProtocolError."""
        return self._events.on_hello(link.peer, payload, link.address)

    def on_established(self, link: PeerLink) -> None:
        """A newer connection takes the place of an older one: the peer is one process, and knows
        which it uses.
        """
        peer = self._peers[link.peer]
        if peer.link is not None:
            peer.link.close("superseded by a newer connection")
        peer.link = link
        peer.greeting.remove(link)
        link.adopt(self._make_lane(link.peer, link.frames, link.socket.fileno()))
        peer.connects += 1
        peer.last_error = ""
        peer.enter(PeerState.CONNECTED)
        self._log.info("peer connected", peer=link.peer, address=link.address)
        self._events.on_connected(link.peer)

    def on_data(self, link: PeerLink, payload: bytes) -> None:
        """Hand a frame to whoever makes sense of it. Raises: ProtocolError."""
        self._peers[link.peer].frames_in += 1
        self._events.on_frame(link.peer, payload)

    def on_pong(self, link: PeerLink, rtt_us: float, clock_ahead_ms: float) -> None:
        """Keep what was measured."""
        peer = self._peers[link.peer]
        peer.rtt_us, peer.clock_ahead_ms = rtt_us, clock_ahead_ms

    def on_refused(self, link: PeerLink, reason: str) -> None:
        """One of the two refused the other."""
        peer = self._peers[link.peer]
        self._counters["refused"] += 1
        if reason != peer.last_error:
            self._log.error("peer refused", peer=link.peer, address=link.address, why=reason)
        peer.last_error, peer.refused_at = reason, time.time()

    def on_closed(self, link: PeerLink, why: str, *, closed: bool) -> None:
        """Tell the events only if this was the peer's connection."""
        peer = self._peers[link.peer]
        if link in peer.greeting:
            peer.greeting.remove(link)
        if peer.link is link:
            peer.link = None
            peer.enter(PeerState.WAITING)
            peer.hear(link.heard_at)
            peer.last_error = why
            self._events.on_disconnected(link.peer, why, closed=closed)
        elif not link.established and peer.link is None:
            self._fail(peer, why)

    # --- time ---

    def _tick(self) -> None:
        if self._stopping:
            return
        self._loop.call_later(PEER_PING_S, self._tick)
        now = time.monotonic()
        for peer in self._peers.values():
            if (link := peer.link) is not None:
                peer.hear(link.heard_at)
                link.beat(now)

    def _fail(self, peer: _Peer, why: str) -> None:
        peer.enter(PeerState.WAITING)
        if why != peer.last_error:
            peer.last_error = why
            self._log.warning("peer not connected", peer=peer.target.id, why=why)
