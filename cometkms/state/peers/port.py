"""The peers' port: who connects proves a member's identity, or learns nothing and is forgotten.

Nothing is parsed before the handshake proved the other end's identity but the handshake itself:
small bounded reads, a deadline, a cap on half-open connections.
"""

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final

from cometkms.address import Address
from cometkms.core.interface import Core
from cometkms.errors import BusyError, ProtocolError, os_words, said
from cometkms.limits import PEER_HALF_OPEN_MAX, PEER_HANDSHAKE_TIMEOUT_S, PEER_HELLO_MAX_BYTES
from cometkms.logger import Logger
from cometkms.net.dial import limit_segment
from cometkms.net.listen import cure_of_listening
from cometkms.state.peers.frames import HEAD, FrameReader, FrameType
from cometkms.state.peers.handshake import RECEIVE_BYTES, shake
from cometkms.state.peers.link import GOODBYE_MAX_BYTES, USER_TIMEOUT_MS
from cometkms.wire.identity import Identity
from cometkms.wire.secret_connection import Handshake
from cometkms.wire.why import PeerCode, Why, encode_why

_ACCEPT_PAUSE_S: Final = 0.2  # without descriptors
_BACKLOG: Final = 64


class PeerPort:
    """Listen, and hand over the connections at whose other end a member is."""

    def __init__(
        self,
        *,
        core: Core,
        identity: Identity,
        members: Mapping[bytes, str],
        listen: Address,
        max_segment: int,
        greet: Callable[[str, socket.socket, Handshake, str], Awaitable[object]],
        on_stranger: Callable[[bytes, bytes, str], str | None],
        on_claim: Callable[[str, str], None],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        counters: dict[str, int],
        log: Logger,
    ) -> None:
        """`members`: ids by public key; `greet` takes a member's connection over; `on_stranger`:
        PeerEvents'; `on_claim`: a stranger's host, and the member that it calls itself, "" for
        none; `spawn` runs a task.
        """
        self._core = core
        self._identity = identity
        self._members = members
        self._listen = listen
        self._max_segment = max_segment
        self._greet = greet
        self._on_stranger = on_stranger
        self._on_claim = on_claim
        self._spawn = spawn
        self._counters = counters
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._listeners: list[socket.socket] = []
        self._half_open: dict[asyncio.Task[None], None] = {}  # in order of arrival
        self._said = ""  # of strangers, so that one that comes again is not said again

    def open(self) -> None:
        """Listen. Raises: BusyError when the port is taken."""
        try:
            self._bind()
        except BaseException:
            self.close()
            raise
        self._watch()

    def close(self) -> None:
        """Listen no more."""
        for listener in self._listeners:
            self._loop.remove_reader(listener.fileno())
            listener.close()
        self._listeners.clear()

    def _bind(self) -> None:
        host = self._listen.host or None
        try:
            found = socket.getaddrinfo(host, self._listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except OSError as error:
            words = f"raft_addr {self._listen.host!r} has no address: {os_words(error)}"
            raise BusyError(words, cure=cure_of_listening(error, "")) from error
        missing: OSError | None = None
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
                    missing = error  # where it has others, it listens there
                    continue
                raise self._busy(error) from error
            self._listeners.append(listener)
        if missing is not None and not self._listeners:
            raise self._busy(missing) from missing

    def _busy(self, error: OSError) -> BusyError:
        busy = "stop what uses the port, or set another raft_addr (and the same in every node's peer list)"
        words = f"raft_addr {self._listen} cannot be listened on: {os_words(error)}"
        return BusyError(words, cure=cure_of_listening(error, busy))

    def _watch(self) -> None:
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
                self._loop.call_later(_ACCEPT_PAUSE_S, self._watch)
                return
            self._counters["accepted"] += 1
            self._make_room()
            connection.setblocking(False)
            task = self._spawn(self._accept(connection, f"{address[0]}:{address[1]}"))
            self._half_open[task] = None
            task.add_done_callback(lambda done: self._half_open.pop(done, None))

    def _make_room(self) -> None:
        """The oldest half-open connection goes: a real peer is through within
        milliseconds, a flood is not.
        """
        while len(self._half_open) >= PEER_HALF_OPEN_MAX:
            task = next(iter(self._half_open))
            del self._half_open[task]
            task.cancel()
            self._counters["half_open_dropped"] += 1

    async def _accept(self, connection: socket.socket, address: str) -> None:
        try:
            _set_options(connection)
            handshake = await shake(self._core, self._identity, connection)
        except (OSError, ProtocolError) as error:
            connection.close()
            self._counters["handshake_failed"] += 1
            self._say_stranger(address, said(error))
            return
        except BaseException:
            connection.close()
            raise
        name = self._members.get(handshake.remote_identity)
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
        await self._greet(name, connection, handshake, address)

    async def _hear_stranger(self, connection: socket.socket, handshake: Handshake, address: str) -> str:
        """Say who it is.

        One that holds the cluster's secret is told why it is refused, so that both sides can say
        it; others hear nothing.
        """
        identity = handshake.remote_identity
        unknown = f"identity {identity.hex()[:16]} is no member: another validator key or cluster.key"
        reader = FrameReader(PEER_HELLO_MAX_BYTES)
        reader.feed(handshake.leftover)
        try:
            async with asyncio.timeout(PEER_HANDSHAKE_TIMEOUT_S):
                while (frame := reader.next()) is None:
                    received = await self._loop.sock_recv(connection, RECEIVE_BYTES)
                    if not received:
                        self._hear_claim(identity, address, "")
                        return unknown
                    reader.feed(handshake.frames.open(received))
                kind, payload = frame
                if (named := self._named(payload)) and kind is FrameType.GOODBYE:
                    self._hear_claim(identity, address, named)
                    return f"{unknown}; it calls itself {named!r}"
                reason = self._on_stranger(identity, payload, address) if kind is FrameType.HELLO else None
                if reason is None:
                    self._hear_claim(identity, address, "")
                    return unknown
                words = encode_why(reason, GOODBYE_MAX_BYTES)
                await self._loop.sock_sendall(connection, farewell(handshake, words))
                return reason
        except (OSError, ProtocolError):
            return unknown

    def _hear_claim(self, identity: bytes, address: str, name: str) -> None:
        if identity != self._identity.public_key:  # an address in the list that leads here
            self._on_claim(_host(address), name)

    def _named(self, untrusted: bytes) -> str:
        """Return the member as which a stranger says goodbye; "" for anything else."""
        return next((name for name in self._members.values() if untrusted == who_goes(name)), "")

    def _say_stranger(self, address: str, why: str) -> None:
        if (said := f"{_host(address)} {why}") != self._said:
            self._said = said
            self._log.warning("stranger at the peers' port", address=address, why=why)


def _host(address: str) -> str:
    return address.rpartition(":")[0]


def who_goes(me: str) -> bytes:
    """What a node says to whoever answers at a member's address and is not that member: its own
    id, so that the other end can say who has another key."""
    return encode_why(Why(PeerCode.KEY, me), GOODBYE_MAX_BYTES)


def farewell(handshake: Handshake, words: bytes) -> bytes:
    """Return the frame that says why this node goes."""
    return handshake.frames.seal(HEAD.pack(1 + len(words), FrameType.GOODBYE) + words)


def _set_options(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
