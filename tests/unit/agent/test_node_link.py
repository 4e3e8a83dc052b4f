"""The agent's link to a node, against a real door in a thread: the node's key is pinned, and what
comes before its hello is not believed.
"""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable

from nacl.signing import SigningKey

from cometkms.address import Address
from cometkms.agent.config import NodeEntry
from cometkms.agent.node_link import NodeLink, next_backoff_s
from cometkms.core import choose
from cometkms.limits import AGENT_SILENT_S, REDIAL_MAX_S, REDIAL_MIN_S
from cometkms.log import Log
from cometkms.net.door import Admitted, Door, listen, serve_door
from cometkms.wire.agent_messages import AgentMessage, Hello, Lead, Ping, Pong, ServedChain, Unpacker, decode, encode
from cometkms.wire.identity import Identity

CORE = choose.load()
NODE, AGENT = Identity(SigningKey(b"n" * 32)), Identity(SigningKey(b"a" * 32))


class Above:
    def __init__(self) -> None:
        self.told: list[tuple[str, object]] = []

    def on_hello(self, node: str, hello: Hello) -> None:
        self.told.append((node, hello))

    def on_lost(self, node: str) -> None:
        self.told.append((node, None))

    def on_node(self, node: str, message: AgentMessage) -> None:
        self.told.append((node, message))


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def play(key: bytes, scene: Callable[[NodeLink, Above, Door], Awaitable[None]]) -> None:
    """A link to node0, which is configured with that key."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listeners = listen("127.0.0.1", 0)
    thread = threading.Thread(target=serve_door, args=(theirs, listeners, CORE, NODE, [AGENT.public_key]))
    thread.start()

    async def run() -> None:
        above = Above()
        entry = NodeEntry("node0", Address("127.0.0.1", listeners[0].getsockname()[1]), key)
        link = NodeLink(entry, core=CORE, identity=AGENT, above=above, about=lambda: (), log=Log("error"))
        task = asyncio.create_task(link.run())
        try:
            await scene(link, above, Door(ours))
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    try:
        asyncio.run(run())
    finally:
        ours.close()
        thread.join(20)
        for one in (*listeners, theirs):
            one.close()


async def admitted(door: Door) -> Admitted:
    found: list[Admitted] = []

    def look() -> bool:
        one = door.take()
        found.extend([one] if one is not None else [])
        return bool(found)

    await until(look)
    return found[0]


def test_a_node_that_proves_another_key_than_the_configured_one_is_refused() -> None:
    """Whoever answers at the node's address is not the node."""

    async def scene(link: NodeLink, above: Above, door: Door) -> None:
        await until(lambda: "proves the key" in link.last_error)
        one = await admitted(door)  # the door knew the agent, which went away without a word
        await until(lambda: _ended(one.connection))
        assert above.told == []
        assert not link.up

    play(b"k" * 32, scene)


def test_after_the_welcome_the_hello_comes_first_and_names_the_node() -> None:
    hello = Hello("node0", "node1", (ServedChain("chain", b"p" * 32),))

    async def scene(link: NodeLink, above: Above, door: Door) -> None:
        for first in (Lead("node1"), Hello("node9", "", ())):
            one = await admitted(door)
            one.connection.send(CORE.frames(one.to_node, one.from_node).seal(encode(first)))
            await until(lambda one=one: _ended(one.connection))
            assert above.told == []
        one = await admitted(door)
        frames = CORE.frames(one.to_node, one.from_node)
        one.connection.send(frames.seal(encode(hello)) + frames.seal(encode(Lead("node2"))))
        await until(lambda: len(above.told) == 2)
        assert above.told == [("node0", hello), ("node0", Lead("node2"))]
        assert link.up
        one.connection.close()
        await until(lambda: above.told[-1] == ("node0", None))

    play(NODE.public_key, scene)


def test_a_second_hello_ends_the_link() -> None:
    """Each would be a line in the log, and a look at every key."""
    hello = Hello("node0", "", (ServedChain("chain", b"p" * 32),))

    async def scene(link: NodeLink, above: Above, door: Door) -> None:
        one = await admitted(door)
        frames = CORE.frames(one.to_node, one.from_node)
        one.connection.send(frames.seal(encode(hello)) + frames.seal(encode(hello)))
        await until(lambda: _ended(one.connection))
        assert above.told == [("node0", hello), ("node0", None)]
        assert "a second time" in link.last_error

    play(NODE.public_key, scene)


def test_a_round_trip_is_measured_finer_than_the_loops_clock_counts() -> None:
    """In one network it takes a tenth of a millisecond, and uvloop's clock counts whole ones."""

    async def scene(link: NodeLink, above: Above, door: Door) -> None:
        one = await admitted(door)
        frames, unpacker = CORE.frames(one.to_node, one.from_node), Unpacker()
        one.connection.send(frames.seal(encode(Hello("node0", "", ()))))
        await until(lambda: link.up)
        found: list[bytes] = []

        def look() -> bool:
            try:
                found.extend(unpacker.feed(frames.open(one.connection.recv(65536))))
            except BlockingIOError:
                return False
            return bool(found)

        await until(look)
        ping = decode(found[0])
        assert isinstance(ping, Ping)
        sent_at = link._pings[ping.number]
        link._clock = lambda: sent_at + 0.000125
        one.connection.send(frames.seal(encode(Pong(ping.number))))
        await until(lambda: link.round_trip_s)
        assert round(link.round_trip_s, 7) == 0.000125

    play(NODE.public_key, scene)


def _ended(connection: socket.socket) -> bool:
    """Whether the other end closed it; what it sent before is read away."""
    try:
        return connection.recv(65536) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_a_link_that_stood_is_dialled_again_at_once_and_one_that_never_does_ever_more_slowly() -> None:
    """Two agents with one key end each other's links as soon as they have them."""
    pauses = [next_backoff_s(0.0, 0.0)]
    while pauses[-1] < REDIAL_MAX_S:
        pauses.append(next_backoff_s(pauses[-1], lived_s=AGENT_SILENT_S / 2))
    assert pauses == sorted(pauses)
    assert pauses[0] == REDIAL_MIN_S
    assert next_backoff_s(REDIAL_MAX_S, lived_s=0.0) == REDIAL_MAX_S
    assert next_backoff_s(REDIAL_MAX_S, lived_s=AGENT_SILENT_S) == REDIAL_MIN_S


def test_the_nodes_name_is_resolved_again_at_each_dial() -> None:
    """Pods move: the second dial goes where the name points then."""

    async def scene(link: NodeLink, above: Above, door: Door) -> None:
        asked: list[str] = []
        loop = asyncio.get_running_loop()
        known = loop.getaddrinfo

        async def look_up(host: str, *more: object, **how: object) -> object:
            asked.append(host)
            return await known("127.0.0.1" if len(asked) > 1 else "127.0.0.2", *more, **how)  # type: ignore[arg-type]

        (await admitted(door)).connection.close()
        link.entry = NodeEntry("node0", Address("node0.test", link.entry.address.port), link.entry.key)
        loop.getaddrinfo = look_up  # type: ignore[method-assign, assignment]
        await admitted(door)
        assert asked == ["node0.test", "node0.test"]
        assert above.told == []

    play(NODE.public_key, scene)
