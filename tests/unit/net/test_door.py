"""The port for agents, in a thread with real sockets: who is let in, who is not, and that nobody is
in the way for ever.
"""

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from nacl.signing import SigningKey

from cometkms.core import choose
from cometkms.errors import BusyError, InvariantError
from cometkms.limits import AGENT_HALF_OPEN_MAX
from cometkms.model import Dialect
from cometkms.net import door as doors
from cometkms.net.door import Admitted, Door, DoorCounters, listen, serve_door
from cometkms.wire.agent_messages import Unpacker, Welcome, decode
from cometkms.wire.identity import Identity
from cometkms.wire.secret_connection import Handshake

CORE = choose.load()
NODE = Identity(SigningKey(b"n" * 32))
AGENT = Identity(SigningKey(b"a" * 32))
STRANGER = Identity(SigningKey(b"s" * 32))
PATIENCE_S = 20.0


@pytest.fixture
def door() -> Iterator[tuple[Door, int]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listeners = listen("127.0.0.1", 0)
    port = listeners[0].getsockname()[1]
    thread = threading.Thread(target=serve_door, args=(theirs, listeners, CORE, NODE, [AGENT.public_key]))
    thread.start()
    yield Door(ours), port
    ours.close()
    thread.join(PATIENCE_S)
    assert not thread.is_alive(), "it ends with its signer"
    for one in (*listeners, theirs):
        one.close()


def dial(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.settimeout(PATIENCE_S)
    return connection


def knock(port: int, identity: Identity) -> tuple[socket.socket, Handshake, Welcome | None]:
    """Prove that key; the welcome, or None when the door closes."""
    connection = dial(port)
    handshake = Handshake(CORE, identity, Dialect.PROTO)
    connection.sendall(handshake.hello)
    plain = b""
    while not handshake.done:
        answer = handshake.feed(connection.recv(4096))
        if answer:
            connection.sendall(answer)
    plain = handshake.leftover
    unpacker = Unpacker()
    while not (found := unpacker.feed(plain)):
        received = connection.recv(4096)
        if not received:
            return connection, handshake, None
        plain = handshake.frames.open(received)
    welcome = decode(found[0])
    assert isinstance(welcome, Welcome)
    return connection, handshake, welcome


def taken(door: Door) -> Admitted:
    ends = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends:
        if (admitted := door.take()) is not None:
            return admitted
        time.sleep(0.01)
    raise AssertionError("nobody was let in")


def counted(door: Door, **wanted: int) -> None:
    ends = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends:
        assert door.take() is None
        if all(getattr(door.counters, name) >= count for name, count in wanted.items()):
            return
        time.sleep(0.01)
    raise AssertionError(door.counters)


def test_a_listed_agent_is_handed_over_with_the_keys_that_it_was_told(door: tuple[Door, int]) -> None:
    mine, port = door
    connection, handshake, welcome = knock(port, AGENT)
    assert handshake.remote_identity == NODE.public_key
    admitted = taken(mine)
    assert welcome is not None
    assert (admitted.key, admitted.from_node, admitted.to_node) == (
        AGENT.public_key,
        welcome.from_node,
        welcome.to_node,
    )
    there, here = CORE.frames(admitted.to_node, admitted.from_node), CORE.frames(welcome.from_node, welcome.to_node)
    connection.sendall(here.seal(b"asked"))
    admitted.connection.setblocking(True)
    assert there.open(admitted.connection.recv(4096)) == b"asked"
    admitted.connection.sendall(there.seal(b"answered"))
    assert here.open(connection.recv(4096)) == b"answered"
    counted(mine, admitted=1)
    connection.close()
    admitted.connection.close()


def test_a_key_that_is_not_listed_is_sent_away_also_one_that_was_struck_off(door: tuple[Door, int]) -> None:
    mine, port = door
    assert knock(port, STRANGER)[2] is None
    mine.allow([STRANGER.public_key])
    connection, _, welcome = knock(port, STRANGER)
    assert welcome is not None
    taken(mine).connection.close()
    assert knock(port, AGENT)[2] is None
    mine.allow([])
    assert knock(port, STRANGER)[2] is None
    counted(mine, unlisted=3)
    connection.close()


def test_who_speaks_another_protocol_is_sent_away_and_who_says_nothing_makes_room(door: tuple[Door, int]) -> None:
    mine, port = door
    rude = dial(port)
    rude.sendall(b"GET / HTTP/1.1\r\n\r\n")
    while rude.recv(4096):
        pass
    silent = [dial(port) for _ in range(AGENT_HALF_OPEN_MAX + 20)]
    connection, _, welcome = knock(port, AGENT)
    assert welcome is not None
    admitted = taken(mine)
    counted(mine, failed=1, pushed_out=20, timed_out=1)
    for one in (*silent, rude, connection, admitted.connection):
        one.close()


def test_an_end_of_the_other_process_is_told() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    mine = Door(ours)
    assert mine.take() is None
    assert mine.counters == DoorCounters()
    theirs.close()
    with pytest.raises(InvariantError):
        mine.take()
    with pytest.raises(InvariantError):
        mine.allow([])
    ours.close()


def test_a_port_in_use_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "_BIND_S", 0.0)
    (taken_port,) = listen("127.0.0.1", 0)
    with pytest.raises(BusyError, match="agent_addr"):
        listen("127.0.0.1", taken_port.getsockname()[1])
    taken_port.close()
