"""The peers' channel: one authenticated, encrypted connection per pair of nodes (PROTOCOL §2 with pinned identities).

    dial / accept ─▶ handshake ─▶ hello ⇄ ─▶ ok ⇄ ─▶ frames … ─▶ closed ─▶ dial again

The node with the larger id dials. Nothing is parsed before the handshake proved the other end's identity but the handshake itself:
small bounded reads, a deadline, a cap on half-open connections. Then frames (net/stream.py). What a frame means is not known here.
"""

import asyncio
import errno
import random
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from cometkms.address import Address
from cometkms.board.sections import MemberReport, PeerState
from cometkms.core.interface import Core, Frames, Lane
from cometkms.errors import BusyError, ProtocolError, os_words, said
from cometkms.limits import (
    INBOX_BYTES,
    PEER_FRAME_MAX_BYTES,
    PEER_GREETINGS_MAX,
    PEER_HALF_OPEN_MAX,
    PEER_HANDSHAKE_TIMEOUT_S,
    PEER_HELLO_MAX_BYTES,
    PEER_OUTBOX_MAX_BYTES,
    PEER_PING_S,
    PEER_SILENT_S,
    REDIAL_MAX_S,
    REDIAL_MIN_S,
)
from cometkms.logger import Logger
from cometkms.model import Dialect
from cometkms.net.dial import connect, limit_segment
from cometkms.net.listen import cure_of_listening
from cometkms.net.stream import HEAD, FrameReader, FrameType, Stream
from cometkms.wire.identity import Identity
from cometkms.wire.secret_connection import Handshake
from cometkms.wire.why import PeerCode, Why, code_of, decode_why, encode_why

_STAMP: Final = struct.Struct("<Q")  # a ping: the sender's monotonic ns
_ECHO: Final = struct.Struct("<QQ")  # a pong: the same, and the answerer's unix ns
_RECEIVE_BYTES: Final = 2048  # before the other end is known
_GOODBYE_MAX_BYTES: Final = 1024
_REDIAL_SOON_S: Final = 0.01  # after an established connection was closed
_ACCEPT_PAUSE_S: Final = 0.2  # without descriptors
_BACKLOG: Final = 64
_USER_TIMEOUT_MS: Final = 2000
_LOST: Final = "it hangs, or the way there loses large packets (its MTU)"
_CLOSED_EARLY: Final = Why(
    PeerCode.CLOSED_EARLY,
    "closed by the peer before its hello: it may not know this node (another peer list or key there)",
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
        """None, or why the peer is refused: it is told, both sides log it. Raises: ProtocolError."""
        ...

    def on_stranger(self, public_key: bytes, payload: bytes, address: str) -> str | None:
        """The hello of an identity that is no peer's: why it is refused, if it is told at all. Raises: ProtocolError."""
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


class _Link(Stream):
    """One authenticated connection to a peer, as this network drives it."""

    def __init__(self, peer: str, connection: socket.socket, frames: Frames, leftover: bytes, address: str) -> None:
        super().__init__(connection, frames, leftover)
        self.peer = peer
        self.socket = connection
        self.address = address
        self.we_accepted = self.they_accepted = False
        self.began_at = self.heard_at = time.monotonic()
        self.open = True
        self.watched = False  # the loop says when the socket takes bytes again
        self.closed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    @property
    def established(self) -> bool:
        return self.we_accepted and self.they_accepted


@dataclass(slots=True)
class _Peer:
    """What is kept of a peer over its connections."""

    target: PeerTarget
    link: _Link | None = None
    greeting: list[_Link] = field(default_factory=list)  # whose hellos are not both accepted, the oldest first
    state: PeerState = PeerState.WAITING
    since: float = 0.0  # unix time, of the state
    last_contact: float = 0.0  # unix time
    rtt_us: float | None = None
    clock_ahead_ms: float | None = None  # its wall clock against ours, half a round trip uncertain
    connects: int = 0
    frames_in: int = 0
    frames_out: int = 0
    last_error: str = ""
    refused_at: float = 0.0  # unix time: when one of the two last refused the other, whatever connection is there


def judge_pong(sent_ns: int, its_unix_ns: int, *, monotonic_ns: int, unix_ns: int) -> tuple[float, float]:
    """Round trip in microseconds, and milliseconds by which the answerer's wall clock is ahead of ours.

    `sent_ns`: our monotonic clock at the ping. As in NTP, its clock was read in the middle of the round trip.
    """
    round_trip_ns = max(0, monotonic_ns - sent_ns)
    ahead_ns = its_unix_ns - (unix_ns - round_trip_ns // 2)
    return round(round_trip_ns / 1000, 1), round(ahead_ns / 1e6, 1)


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
        """`make_lane`: makes what handles a peer's plain messages as they arrive, given its id, ciphers and descriptor.

        `max_segment`: bytes of data in one packet at most, 0: what the interface takes.
        """
        self._max_segment = max_segment
        self._core = core
        self._make_lane = make_lane
        self._me = me
        self._identity = identity
        self._peers = {peer.id: _Peer(peer) for peer in peers}
        self._by_key = {peer.public_key: peer.id for peer in peers}
        self._listen = listen
        self._events = events
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._listeners: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._half_open: dict[asyncio.Task[None], socket.socket] = {}  # in order of arrival
        self._inbox = bytearray(INBOX_BYTES)
        self._stopping = False
        self._said = ""  # of strangers, so that one that comes again is not said again
        self._counters = dict.fromkeys(
            ("accepted", "strangers", "refused", "half_open_dropped", "handshake_failed", "bad_frames", "silent"), 0
        )

    # --- life ---

    def start(self) -> None:
        """Listen and dial. Raises: BusyError when the port is taken."""
        try:
            self._bind()
        except BaseException:
            self._unbind()
            raise
        self._watch_listeners()
        for peer in self._peers.values():
            if self._me > peer.target.id:
                self._spawn(self._dial(peer))
        if self._peers:
            self._loop.call_later(PEER_PING_S, self._tick)

    async def stop(self) -> None:
        """Close everything, with a goodbye."""
        self._stopping = True
        self._unbind()
        for peer in self._peers.values():
            if peer.link is not None:
                self._close(peer.link, "this node stops", closed=False)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _unbind(self) -> None:
        for listener in self._listeners:
            self._loop.remove_reader(listener.fileno())
            listener.close()
        self._listeners.clear()

    def _bind(self) -> None:
        host = self._listen.host or None
        try:
            found = socket.getaddrinfo(host, self._listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except OSError as error:
            raise BusyError(f"raft_addr {self._listen.host!r} has no address: {os_words(error)}") from error
        for family, kind, protocol, _, address in found:
            listener = socket.socket(family, kind, protocol)
            try:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                limit_segment(listener, self._max_segment)
                listener.setblocking(False)
                listener.bind(address)
                listener.listen(_BACKLOG)
            except OSError as error:
                listener.close()
                if family == socket.AF_INET6 and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    continue
                cure = cure_of_listening(
                    error, "stop what uses the port, or set another raft_addr (and the same in every node's peer list)"
                )
                raise BusyError(
                    f"raft_addr {self._listen} cannot be listened on: {os_words(error)}", cure=cure
                ) from error
            self._listeners.append(listener)

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_task)
        return task

    def _on_task(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._half_open.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._loop.call_exception_handler({"message": "peers", "exception": error})

    # --- what the node does with it ---

    def connected(self) -> frozenset[str]:
        """Peers with whom both hellos were accepted."""
        return frozenset(name for name, peer in self._peers.items() if peer.link is not None)

    def send(self, peer: str, payload: bytes) -> bool:
        """False: not connected, or it does not read and was disconnected now."""
        known = self._peers[peer]
        if known.link is None:
            return False
        known.frames_out += 1
        return self._write(known.link, FrameType.DATA, payload)

    def disconnect(self, peer: str, why: str) -> None:
        """Close the connection to a peer, if there is one."""
        link = self._peers[peer].link
        if link is not None:
            self._close(link, why, closed=False)

    def counters(self) -> dict[str, int]:
        """Return how often something was refused at the port, since the start."""
        return dict(self._counters)

    def round_trip_s(self, peer: str) -> float | None:
        """Return the round trip to a peer as last measured, or None while it was not."""
        rtt_us = self._peers[peer].rtt_us
        return None if rtt_us is None else rtt_us / 1e6

    def document(self) -> list[MemberReport]:
        """Every peer, for /status."""
        return [
            MemberReport(
                id=peer.target.id,
                addr=str(peer.target.address),
                connected=peer.link is not None,
                connection=peer.state,
                since=peer.since,
                last_contact=round(peer.last_contact, 1),
                rtt_us=peer.rtt_us,
                clock_ahead_ms=peer.clock_ahead_ms,
                connects=peer.connects,
                last_error=peer.last_error,
                error_code=code_of(peer.last_error).value if peer.last_error else "",
                refused_at=round(peer.refused_at, 1),
            )
            for peer in self._peers.values()
        ]

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
        self._enter(peer, PeerState.DIALING)
        target = peer.target.address
        address = f"{target.host}:{target.port}"
        try:
            connection = await connect(target, self._max_segment)
        except OSError as error:
            why = _why(error)
            self._fail(peer, Why(code_of(why), f"{address}: {why}"))
            return False
        try:
            self._enter(peer, PeerState.HANDSHAKE)
            async with asyncio.timeout(PEER_HANDSHAKE_TIMEOUT_S):
                handshake = await self._handshake(connection)
            if handshake.remote_identity != peer.target.public_key:
                self._counters["strangers"] += 1
                raise _StrangerError(
                    f"the node at {address} is not {peer.target.id!r} of this cluster: another validator key or cluster.key, or the address of "
                    "another node"
                )
        except (OSError, ProtocolError) as error:
            connection.close()
            self._counters["handshake_failed"] += 1
            self._fail(peer, _why_no_handshake(error, address))
            return False
        except BaseException:
            connection.close()
            raise
        return await self._greet(peer, connection, handshake, address)

    def _watch_listeners(self) -> None:
        if not self._stopping:
            for listener in self._listeners:
                self._loop.add_reader(listener.fileno(), self._on_acceptable, listener)

    def _on_acceptable(self, listener: socket.socket) -> None:
        for _ in range(_BACKLOG):
            try:
                connection, address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionError):
                return
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    raise
                self._log.error("no descriptor for a peer", why=said(error))
                for one in self._listeners:
                    self._loop.remove_reader(one.fileno())
                self._loop.call_later(_ACCEPT_PAUSE_S, self._watch_listeners)
                return
            self._counters["accepted"] += 1
            self._make_room()
            connection.setblocking(False)
            task = self._spawn(self._accept(connection, f"{address[0]}:{address[1]}"))
            self._half_open[task] = connection

    def _make_room(self) -> None:
        """The oldest half-open connection goes: a real peer is through within milliseconds, a flood is not."""
        while len(self._half_open) >= PEER_HALF_OPEN_MAX:
            task, _ = next(iter(self._half_open.items()))
            del self._half_open[task]
            task.cancel()
            self._counters["half_open_dropped"] += 1

    async def _accept(self, connection: socket.socket, address: str) -> None:
        try:
            _set_options(connection)
            async with asyncio.timeout(PEER_HANDSHAKE_TIMEOUT_S):
                handshake = await self._handshake(connection)
        except (OSError, ProtocolError) as error:
            connection.close()
            self._counters["handshake_failed"] += 1
            self._say_stranger(address, said(error))
            return
        except BaseException:
            connection.close()
            raise
        name = self._by_key.get(handshake.remote_identity)
        if name is None:
            self._counters["strangers"] += 1
            try:
                self._say_stranger(address, await self._hear_stranger(connection, handshake, address))
            finally:
                handshake.frames.close()
                connection.close()
            return
        task = asyncio.current_task()
        if task is not None:
            self._half_open.pop(task, None)
        await self._greet(self._peers[name], connection, handshake, address)

    async def _hear_stranger(self, connection: socket.socket, handshake: Handshake, address: str) -> str:
        """Who it is. One that holds the cluster's secret is told why it is refused, so that both sides can say it; others hear nothing."""
        identity = handshake.remote_identity
        unknown = f"identity {identity.hex()[:16]} is no member: another validator key or cluster.key"
        reader = FrameReader(PEER_HELLO_MAX_BYTES)
        reader.feed(handshake.leftover)
        try:
            async with asyncio.timeout(PEER_HANDSHAKE_TIMEOUT_S):
                while (frame := reader.next()) is None:
                    received = await self._loop.sock_recv(connection, _RECEIVE_BYTES)
                    if not received:
                        return unknown
                    reader.feed(handshake.frames.open(received))
                kind, payload = frame
                reason = self._events.on_stranger(identity, payload, address) if kind is FrameType.HELLO else None
                if reason is None:
                    return unknown
                words = encode_why(reason, _GOODBYE_MAX_BYTES)
                sealed = handshake.frames.seal(HEAD.pack(1 + len(words), FrameType.GOODBYE) + words)
                await self._loop.sock_sendall(connection, sealed)
                return reason
        except (OSError, ProtocolError):
            return unknown

    def _say_stranger(self, address: str, why: str) -> None:
        host = address.rpartition(":")[0]
        if (said := f"{host} {why}") != self._said:
            self._said = said
            self._log.warning("stranger at the peers' port", address=address, why=why)

    async def _handshake(self, connection: socket.socket) -> Handshake:
        """Raises: ProtocolError, OSError."""
        handshake = Handshake(self._core, self._identity, Dialect.PROTO)
        await self._loop.sock_sendall(connection, handshake.hello)
        while not handshake.done:
            received = await self._loop.sock_recv(connection, _RECEIVE_BYTES)
            if not received:
                raise ConnectionResetError(errno.ECONNRESET, "closed during the handshake")
            answer = handshake.feed(received)
            if answer:
                await self._loop.sock_sendall(connection, answer)
        return handshake

    async def _greet(self, peer: _Peer, connection: socket.socket, handshake: Handshake, address: str) -> bool:
        """Hellos, then frames until the end. Whether the connection was established."""
        link = _Link(peer.target.id, connection, handshake.frames, handshake.leftover, address)
        peer.greeting.append(link)
        if len(peer.greeting) > PEER_GREETINGS_MAX:  # a member that opens one after the other uses up no descriptors
            self._counters["half_open_dropped"] += 1
            self._close(peer.greeting[0], "it said no hello before newer connections came", closed=False)
        self._enter(peer, PeerState.HELLO if peer.link is None else peer.state)
        self._write(link, FrameType.HELLO, self._events.hello(link.peer))
        if link.open:
            self._loop.add_reader(connection.fileno(), self._on_readable, link)
            deadline = self._loop.call_later(PEER_HANDSHAKE_TIMEOUT_S, self._on_no_hello, link)
            self._take_frames(link)
            try:
                await link.closed
            except asyncio.CancelledError:
                self._close(link, "this node stops", closed=False)
                raise
            finally:
                deadline.cancel()
        return link.established

    def _on_no_hello(self, link: _Link) -> None:
        if not link.established:
            self._close(
                link,
                Why(PeerCode.HANDSHAKE, f"no hello came within {PEER_HANDSHAKE_TIMEOUT_S:g} s: {_LOST}"),
                closed=False,
            )

    # --- frames ---

    def _on_readable(self, link: _Link) -> None:
        try:
            more = link.receive(self._inbox)
        except (BlockingIOError, InterruptedError):
            return
        except EOFError:
            why = Why(PeerCode.CLOSED, "closed by the peer") if link.we_accepted else _CLOSED_EARLY
            self._close(link, why, closed=True)
            return
        except OSError as error:
            self._close(link, _why_lost(error), closed=True)
            return
        except ProtocolError as error:
            self._counters["bad_frames"] += 1
            self._close(link, Why(PeerCode.BROKE_PROTOCOL, str(error)), closed=False)
            return
        link.heard_at = time.monotonic()
        self._watch(link)
        if more:
            self._take_frames(link)

    def collect_unsent(self) -> None:
        """The lanes were asked to send: what a socket did not take goes out when it does."""
        for peer in self._peers.values():
            if peer.link is not None:
                peer.link.collect()
                self._watch(peer.link)

    def _watch(self, link: _Link) -> None:
        """While bytes wait in the outbox, and no longer, the loop says when the socket takes some."""
        waits = link.waits
        if waits and not link.watched:
            self._loop.add_writer(link.socket.fileno(), self._on_writable, link)
        elif link.watched and not waits:
            self._loop.remove_writer(link.socket.fileno())
        link.watched = waits

    def _take_frames(self, link: _Link) -> None:
        try:
            while link.open and (frame := link.reader.next()) is not None:
                self._on_frame(link, *frame)
        except ProtocolError as error:
            self._counters["bad_frames"] += 1
            self._log.error("a peer broke the protocol", peer=link.peer, why=str(error))
            self._close(link, Why(PeerCode.BROKE_PROTOCOL, str(error)), closed=False)

    def _on_frame(self, link: _Link, kind: FrameType, payload: bytes) -> None:
        peer = self._peers[link.peer]
        if kind is FrameType.DATA and link.established:
            peer.frames_in += 1
            self._events.on_frame(link.peer, payload)
        elif kind is FrameType.PING and link.established and len(payload) == _STAMP.size:
            self._write(link, FrameType.PONG, payload + _STAMP.pack(time.time_ns()))
        elif kind is FrameType.PONG and link.established and len(payload) == _ECHO.size:
            peer.rtt_us, peer.clock_ahead_ms = judge_pong(
                *_ECHO.unpack(payload), monotonic_ns=time.monotonic_ns(), unix_ns=time.time_ns()
            )
        elif kind is FrameType.GOODBYE:
            self._refused(link, decode_why(payload[:_GOODBYE_MAX_BYTES], f"refused by {link.peer}: "))
        elif kind is FrameType.HELLO and not link.we_accepted:
            reason = self._events.on_hello(link.peer, payload, link.address)
            if reason is not None:
                self._write(link, FrameType.GOODBYE, encode_why(reason, _GOODBYE_MAX_BYTES))
                self._refused(link, reason)
                return
            link.we_accepted = True
            link.reader.most = PEER_FRAME_MAX_BYTES
            self._write(link, FrameType.OK, b"")
            self._establish(link)
        elif kind is FrameType.OK and not link.they_accepted:
            link.they_accepted = True
            self._establish(link)
        else:
            raise ProtocolError(f"a {kind.name} frame came out of order")

    def _refused(self, link: _Link, reason: str) -> None:
        peer = self._peers[link.peer]
        self._counters["refused"] += 1
        if reason != peer.last_error:
            self._log.error("peer refused", peer=link.peer, address=link.address, why=reason)
        peer.last_error, peer.refused_at = reason, time.time()
        self._close(link, reason, closed=False)

    def _establish(self, link: _Link) -> None:
        """A newer connection takes the place of an older one: the peer is one process, and knows which it uses."""
        if not link.established or not link.open:
            return
        peer = self._peers[link.peer]
        if peer.link is not None:
            self._close(peer.link, "superseded by a newer connection", closed=False)
        peer.link = link
        peer.greeting.remove(link)
        link.adopt(self._make_lane(link.peer, link.frames, link.socket.fileno()))
        peer.connects += 1
        peer.last_error = ""
        self._enter(peer, PeerState.CONNECTED)
        self._log.info("peer connected", peer=link.peer, address=link.address)
        self._events.on_connected(link.peer)

    def _write(self, link: _Link, kind: FrameType, payload: bytes) -> bool:
        if not link.open:
            return False
        try:
            link.write(kind, payload)
        except OSError as error:
            self._loop.call_soon(self._close_later, link, _why_lost(error))
            return False
        self._watch(link)
        if len(link.outbox) > PEER_OUTBOX_MAX_BYTES:
            self._loop.call_soon(
                self._close_later, link, Why(PeerCode.NOT_ACKNOWLEDGED, "it does not read what is sent")
            )
            return False
        return True

    def _close_later(self, link: _Link, why: str) -> None:
        """Out of the sender's stack: it does not expect to be called back."""
        self._close(link, why, closed=True)

    def _on_writable(self, link: _Link) -> None:
        try:
            link.flush()
        except OSError as error:
            self._close(link, _why_lost(error), closed=True)
            return
        self._watch(link)

    def _close(self, link: _Link, why: str, *, closed: bool) -> None:
        """Once; the peer is told to its events only if this was its connection."""
        if not link.open:
            return
        link.open = False
        if link.lane is not None:
            link.lane.close()
        self._loop.remove_reader(link.socket.fileno())
        self._loop.remove_writer(link.socket.fileno())
        link.socket.close()
        link.frames.close()
        if not link.closed.done():
            link.closed.set_result(closed)
        peer = self._peers[link.peer]
        if link in peer.greeting:
            peer.greeting.remove(link)
        if peer.link is link:
            peer.link = None
            self._enter(peer, PeerState.WAITING)
            peer.last_contact = time.time() - (time.monotonic() - link.heard_at)
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
            link = peer.link
            if link is None:
                continue
            peer.last_contact = time.time() - (now - link.heard_at)
            if now - link.heard_at > PEER_SILENT_S:
                self._counters["silent"] += 1
                self._close(link, Why(PeerCode.SILENT, f"silent for {PEER_SILENT_S:g} s"), closed=False)
            else:
                self._write(link, FrameType.PING, _STAMP.pack(time.monotonic_ns()))

    def _enter(self, peer: _Peer, state: PeerState) -> None:
        if state != peer.state:
            peer.state, peer.since = state, time.time()

    def _fail(self, peer: _Peer, why: str) -> None:
        self._enter(peer, PeerState.WAITING)
        if why != peer.last_error:
            peer.last_error = why
            self._log.warning("peer not connected", peer=peer.target.id, why=why)


def _set_options(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)


class _StrangerError(ProtocolError):
    """Somebody else answers at a member's address."""


def _why(error: BaseException) -> Why:
    """Why no connection was made."""
    if isinstance(error, socket.gaierror):
        return Why(PeerCode.UNRESOLVED, f"the name is not known: {os_words(error)}")
    if isinstance(error, OSError) and error.errno == errno.ECONNREFUSED:
        return Why(PeerCode.DOWN, said(error))
    return Why(PeerCode.UNREACHABLE, said(error))


def _why_no_handshake(error: BaseException, address: str) -> Why:
    """A connection was made, and no member was found at its end."""
    if isinstance(error, _StrangerError):
        return Why(PeerCode.KEY, str(error))
    if isinstance(error, TimeoutError):
        words = f"{address} takes the connection, and no handshake came within {PEER_HANDSHAKE_TIMEOUT_S:g} s: {_LOST}"
        return Why(PeerCode.HANDSHAKE, words)
    if isinstance(error, ConnectionResetError):
        return Why(PeerCode.CLOSED_EARLY, said(error))
    return Why(PeerCode.HANDSHAKE, said(error))


def _why_lost(error: OSError) -> Why:
    """A connection that was there ended with an error."""
    if error.errno == errno.ETIMEDOUT:
        words = f"what was sent was not acknowledged within {_USER_TIMEOUT_MS / 1000:g} s: the way is cut, or loses large packets"
        return Why(PeerCode.NOT_ACKNOWLEDGED, words)
    return Why(PeerCode.CLOSED, said(error))
