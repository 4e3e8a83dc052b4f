"""The nodes' port for agents: a process that accepts strangers, lets the listed agents prove
themselves, and hands their connections over.

So the signer, which holds the key, opens no port and never reads a byte of anybody who is not on
the list; and who takes this process over has the connection's identity of the node and a door that
leads to the signer, no key and no file.

    stranger ── SecretConnection's handshake, both keys proved ──▶ door ── is the key listed? ── WELCOME: fresh keys ──▶ signer

The door ends the handshake's keys with the WELCOME: 64 random bytes that it tells the agent under
them and the signer beside the connection. The agent says nothing before it has them, so no byte is
left in the door.

    door → signer   A | the agent's key 32 | from_node 32 | to_node 32, and the connection beside it      C | counters, 5 numbers of 8 bytes
    signer → door   the keys that are listed, 32 bytes each; none: nobody is
"""

import contextlib
import os
import secrets
import selectors
import socket
import struct
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from cometkms.core.interface import Core
from cometkms.errors import BusyError, InvariantError, ProtocolError, os_words
from cometkms.limits import AGENT_HALF_OPEN_MAX, AGENT_HANDSHAKE_TIMEOUT_S, AGENTS_MAX, CHAINS_MAX
from cometkms.model import Dialect
from cometkms.wire.agent_messages import AGENT_PROTOCOL_VERSION, Welcome, encode
from cometkms.wire.identity import Identity
from cometkms.wire.secret_connection import Handshake

_ADMITTED: Final = b"A"
_COUNTED: Final = b"C"
_COUNTERS: Final = struct.Struct("=5Q")
_KEY_BYTES: Final = 32
_LISTED_MAX_BYTES: Final = CHAINS_MAX * AGENTS_MAX * _KEY_BYTES
_ADMITTED_BYTES: Final = 1 + 3 * _KEY_BYTES
_COUNTED_BYTES: Final = 1 + _COUNTERS.size
_RECEIVE_BYTES: Final = 4096
_BACKLOG: Final = 128
_TELL_EVERY_S: Final = 1.0
_BIND_AGAIN_S: Final = 0.05
# a door whose signer was killed ends at once, or on a busy machine after a while
_BIND_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class DoorCounters:
    """Connections since the door opened. unlisted: proved a key that is not listed; failed: broke
    the handshake off, or broke its rules; timed_out: did not end it in time; pushed_out: made room
    for a newer one."""

    admitted: int = 0
    unlisted: int = 0
    failed: int = 0
    timed_out: int = 0
    pushed_out: int = 0


@dataclass(frozen=True, slots=True)
class Admitted:
    """An agent that proved its key. `from_node`, `to_node`: the keys of the two directions."""

    key: bytes
    from_node: bytes
    to_node: bytes
    connection: socket.socket


def listen(host: str, port: int) -> list[socket.socket]:
    """Listening sockets on every address of the host, "" for all interfaces. Waits a moment for a
    predecessor. Raises: BusyError."""
    ends_at = time.monotonic() + _BIND_S
    while True:
        try:
            return _listen(host, port)
        except OSError as error:
            if time.monotonic() >= ends_at:
                raise BusyError(
                    f"agent_addr {host}:{port} cannot be listened on: {os_words(error)}",
                    cure="an address of this machine and a free port",
                ) from error
            time.sleep(_BIND_AGAIN_S)


def _listen(host: str, port: int) -> list[socket.socket]:
    listeners: list[socket.socket] = []
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    try:
        for family, kind, protocol, _, address in found:
            listener = socket.socket(family, kind, protocol)
            listeners.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.setblocking(False)
            listener.bind(address)
            listener.listen(_BACKLOG)
    except OSError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


class _Visitor:
    """A connection that has not proved who it is."""

    def __init__(self, connection: socket.socket, handshake: Handshake) -> None:
        self.connection = connection
        self.handshake = handshake
        self.until = time.monotonic() + AGENT_HANDSHAKE_TIMEOUT_S


def serve_door(
    connection: socket.socket,
    listeners: Sequence[socket.socket],
    core: Core,
    identity: Identity,
    listed: Iterable[bytes],
) -> None:
    """Serve until the other end is gone. It blocks."""
    _Door(connection, listeners, core, identity, frozenset(listed)).run()


class _Door:
    """The door process's own side."""

    def __init__(
        self,
        connection: socket.socket,
        listeners: Sequence[socket.socket],
        core: Core,
        identity: Identity,
        listed: frozenset[bytes],
    ) -> None:
        self._connection = connection
        self._core = core
        self._identity = identity
        self._listed = listed
        self._visitors: dict[int, _Visitor] = {}  # by descriptor, in order of arrival
        self._counts = dict.fromkeys(DoorCounters.__slots__, 0)
        self._told_at = time.monotonic()
        self._told = DoorCounters()
        self._selector = selectors.PollSelector()
        connection.setblocking(False)
        self._selector.register(connection, selectors.EVENT_READ, self._on_signer)
        for listener in listeners:
            self._selector.register(listener, selectors.EVENT_READ, self._on_stranger)
        self._open = True

    def run(self) -> None:
        """Serve until the signer is gone."""
        while self._open:
            for key, _ in self._selector.select(self._patience_s()):
                # an earlier one of this round may have pushed it out
                if key.fd in self._selector.get_map():
                    key.data(key.fileobj)
            self._expire()
            self._tell()

    def _patience_s(self) -> float | None:
        now = time.monotonic()
        due = [visitor.until for visitor in self._visitors.values()]
        if self._told != DoorCounters(**self._counts):
            due.append(self._told_at + _TELL_EVERY_S)
        return max(0.0, min(due) - now) if due else None

    def _on_signer(self, connection: socket.socket) -> None:
        try:
            listed = connection.recv(_LISTED_MAX_BYTES + 1)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            listed = b""
        if not listed or len(listed) % _KEY_BYTES not in (0, 1) or len(listed) > _LISTED_MAX_BYTES:
            self._open = False  # it is gone, or no honest signer
            return
        # a single byte: nobody is listed
        keys = listed[:-1] if len(listed) % _KEY_BYTES else listed
        self._listed = frozenset(keys[at : at + _KEY_BYTES] for at in range(0, len(keys), _KEY_BYTES))

    def _on_stranger(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return  # it went away, or there are no descriptors just now
        while len(self._visitors) >= AGENT_HALF_OPEN_MAX:
            self._leave(next(iter(self._visitors.values())), "pushed_out")
        connection.setblocking(False)
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        visitor = _Visitor(connection, Handshake(self._core, self._identity, Dialect.PROTO))
        self._visitors[connection.fileno()] = visitor
        self._selector.register(connection, selectors.EVENT_READ, lambda _socket: self._on_visitor(visitor))
        self._send(visitor, visitor.handshake.hello)

    def _on_visitor(self, visitor: _Visitor) -> None:
        try:
            received = visitor.connection.recv(_RECEIVE_BYTES)
            if not received:
                raise ConnectionResetError("it went away")
            answer = visitor.handshake.feed(received)
        except (BlockingIOError, InterruptedError):
            return
        except (OSError, ProtocolError):
            self._leave(visitor, "failed")
            return
        if answer and not self._send(visitor, answer):
            return
        if visitor.handshake.done:
            self._judge(visitor)

    def _judge(self, visitor: _Visitor) -> None:
        key = visitor.handshake.remote_identity
        if key not in self._listed:
            self._leave(visitor, "unlisted")
            return
        if visitor.handshake.leftover:  # it does not wait to be welcomed
            self._leave(visitor, "failed")
            return
        welcome = Welcome(AGENT_PROTOCOL_VERSION, secrets.token_bytes(_KEY_BYTES), secrets.token_bytes(_KEY_BYTES))
        if not self._send(visitor, visitor.handshake.frames.seal(encode(welcome))):
            return
        self._forget(visitor)
        told = _ADMITTED + key + welcome.from_node + welcome.to_node
        try:
            socket.send_fds(self._connection, [told], [visitor.connection.fileno()])
            self._counts["admitted"] += 1
        except (BlockingIOError, InterruptedError):
            self._counts["failed"] += 1  # the signer does not take it: the agent dials again
        except OSError:
            self._open = False
        finally:
            visitor.connection.close()

    def _send(self, visitor: _Visitor, data: bytes) -> bool:
        """A few hundred bytes into an empty buffer. False: it did not take them, and is gone."""
        try:
            sent = visitor.connection.send(data)
        except OSError:
            sent = 0
        if sent != len(data):
            self._leave(visitor, "failed")
        return sent == len(data)

    def _expire(self) -> None:
        now = time.monotonic()
        for visitor in [one for one in self._visitors.values() if one.until <= now]:
            self._leave(visitor, "timed_out")

    def _leave(self, visitor: _Visitor, why: str) -> None:
        if visitor.connection.fileno() in self._visitors:
            self._forget(visitor)
            visitor.connection.close()
            self._counts[why] += 1

    def _forget(self, visitor: _Visitor) -> None:
        self._selector.unregister(visitor.connection)
        del self._visitors[visitor.connection.fileno()]

    def _tell(self) -> None:
        now, counted = time.monotonic(), DoorCounters(**self._counts)
        if counted == self._told or now - self._told_at < _TELL_EVERY_S:
            return
        self._told, self._told_at = counted, now
        with contextlib.suppress(BlockingIOError, InterruptedError):
            self._connection.send(_COUNTED + _COUNTERS.pack(*self._counts.values()))


class Door:
    """The signer's side. Nothing waits."""

    def __init__(self, connection: socket.socket) -> None:
        """`connection`: SOCK_SEQPACKET, to a process in serve_door()."""
        connection.setblocking(False)
        self._connection = connection
        self.counters = DoorCounters()

    def fileno(self) -> int:
        """Readable when take() has something."""
        return self._connection.fileno()

    def allow(self, listed: Iterable[bytes]) -> None:
        """Who is let in from now on. Raises: InvariantError when the other process is gone."""
        try:
            self._connection.send(b"".join(sorted(listed)) or b"\0")
        except OSError:
            raise InvariantError("the process that accepts agents is gone") from None

    def take(self) -> Admitted | None:
        """The next agent that was let in; None: nobody, for now. Raises: InvariantError."""
        while True:
            try:
                told, fds, _, _ = socket.recv_fds(self._connection, _ADMITTED_BYTES + 1, 1)
            except (BlockingIOError, InterruptedError):
                return None
            except OSError:
                told, fds = b"", []
            if told[:1] == _COUNTED and len(told) == _COUNTED_BYTES and not fds:
                self.counters = DoorCounters(*_COUNTERS.unpack(told[1:]))
                continue
            if told[:1] != _ADMITTED or len(told) != _ADMITTED_BYTES or len(fds) != 1:
                for fd in fds:
                    os.close(fd)
                raise InvariantError("the process that accepts agents is gone")
            connection = socket.socket(fileno=fds[0])
            connection.setblocking(False)
            key, from_node, to_node = (told[at : at + _KEY_BYTES] for at in (1, 33, 65))
            return Admitted(key, from_node, to_node, connection)
