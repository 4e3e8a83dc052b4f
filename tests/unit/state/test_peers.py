"""The peers' channel over real sockets: members get through, and nobody else gets anything out of it."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cometkms.address import Address
from cometkms.core.interface import Core
from cometkms.errors import BusyError, ProtocolError
from cometkms.limits import PEER_FRAME_MAX_BYTES, PEER_GREETINGS_MAX, PEER_HALF_OPEN_MAX
from cometkms.model import Dialect
from cometkms.net.stream import FrameType
from cometkms.state.peers import PeerNetwork, PeerTarget, judge_pong
from cometkms.wire.identity import Identity
from cometkms.wire.secret_connection import Handshake
from tests.e2e.node import free_port


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def _say(self, event: str, **fields: object) -> None:
        self.lines.append(f"{event} {fields}")

    info = warning = error = _say

    def text(self) -> str:
        return "\n".join(self.lines)


class End:
    """One node: its network, and what it was told."""

    def __init__(self, name: str, port: int, identity: Identity) -> None:
        self.name, self.port, self.identity = name, port, identity
        self.log = Log()
        self.got: list[tuple[str, bytes]] = []
        self.events: list[str] = []
        self.refuse: str | None = None
        self.strangers: list[tuple[bytes, bytes]] = []
        self.known_stranger: str | None = None
        self.broken = False
        self.network: PeerNetwork

    def open(self, core: Core, *others: "End", key: bytes | None = None) -> None:
        peers = tuple(
            PeerTarget(one.name, key or one.identity.public_key, Address("127.0.0.1", one.port)) for one in others
        )
        self.network = PeerNetwork(
            core=core, me=self.name, identity=self.identity, peers=peers,
            listen=Address("127.0.0.1", self.port), events=self, log=self.log,
        )  # fmt: skip
        self.network.start()

    def hello(self, peer: str) -> bytes:
        return b"hello from " + self.name.encode()

    def on_hello(self, peer: str, payload: bytes, address: str) -> str | None:
        assert payload == b"hello from " + peer.encode()
        return self.refuse

    def on_stranger(self, public_key: bytes, payload: bytes, address: str) -> str | None:
        self.strangers.append((public_key, payload))
        return self.known_stranger

    def on_connected(self, peer: str) -> None:
        self.events.append(f"+{peer}")

    def on_frame(self, peer: str, payload: bytes) -> None:
        if self.broken:
            raise ProtocolError("makes no sense")
        self.got.append((peer, payload))

    def on_disconnected(self, peer: str, why: str, *, closed: bool) -> None:
        self.events.append(f"-{peer} {'closed' if closed else 'lost'}")


def pair() -> tuple[End, End]:
    return End("a", free_port(), Identity.generate()), End("b", free_port(), Identity.generate())


async def until(condition: Callable[[], Any], patience_s: float = 120.0) -> None:
    async with asyncio.timeout(patience_s):
        while not condition():
            await asyncio.sleep(0.005)


async def ended(reader: asyncio.StreamReader) -> None:
    """The other side closes, with a reset when it did not read everything."""
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(120):
            while await reader.read(4096):
                pass


def run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(work())  # type: ignore[arg-type]


def test_members_exchange_frames_in_order_whatever_their_size(core: Core) -> None:
    async def work() -> None:
        a, b = pair()
        a.open(core, b)
        b.open(core, a)
        await until(lambda: a.network.connected() and b.network.connected())
        sent = [bytes([n]) * size for n, size in enumerate((0, 1, 1023, 1024, 5000, PEER_FRAME_MAX_BYTES))]
        for one in sent:
            assert a.network.send("b", one)
            assert b.network.send("a", one)
        await until(lambda: len(a.got) == len(b.got) == len(sent))
        assert [payload for _, payload in b.got] == sent
        assert a.events == ["+b"]
        await a.network.stop()
        await until(lambda: "-a closed" in b.events)
        assert not b.network.send("a", b"x")
        await b.network.stop()

    run(work)


def test_a_peer_that_comes_back_is_connected_again(core: Core) -> None:
    async def work() -> None:
        a, b = pair()
        a.open(core, b)
        for _ in range(2):
            b.open(core, a)
            await until(lambda: a.network.connected() and b.network.connected())
            await b.network.stop()
            await until(lambda: not a.network.connected())
        assert a.events == ["+b", "-b closed"] * 2
        await a.network.stop()

    run(work)


def test_a_ping_measures_the_round_trip_and_the_other_ends_clock(core: Core) -> None:
    """Both ends are this machine: its clock differs from itself by half a round trip at most."""

    async def work() -> None:
        a, b = pair()
        a.open(core, b)
        b.open(core, a)
        await until(lambda: a.network.document()[0]["rtt_us"] is not None)
        found = a.network.document()[0]
        assert abs(found["clock_ahead_ms"]) <= found["rtt_us"] / 2000 + 0.2
        await a.network.stop()
        await b.network.stop()

    run(work)


def test_a_clock_is_judged_in_the_middle_of_the_round_trip() -> None:
    assert judge_pong(1_000_000, 90_250_000_000, monotonic_ns=1_500_000, unix_ns=90_000_500_000) == (500.0, 249.8)
    assert judge_pong(5, 0, monotonic_ns=4, unix_ns=2_000_000_000) == (0.0, -2000.0)


def test_another_identity_is_refused_on_both_sides_and_counted(core: Core) -> None:
    async def work() -> None:
        a, b = pair()
        a.open(core, b, key=Identity.generate().public_key)
        b.open(core, a, key=Identity.generate().public_key)
        await until(lambda: "is no member" in a.log.text() and "is not 'a' of this cluster" in b.log.text())
        assert a.network.counters()["strangers"] >= 1
        assert not a.events
        assert not b.events
        await a.network.stop()
        await b.network.stop()

    run(work)


def test_a_stranger_that_is_known_otherwise_is_told_why_on_both_sides(core: Core) -> None:
    async def work() -> None:
        a, b = pair()
        a.known_stranger = "'b' is not in the list here"
        a.open(core)
        b.open(core, a)
        await until(lambda: "refused by a: 'b' is not in the list here" in b.log.text())
        assert "'b' is not in the list here" in a.log.text()
        assert a.strangers[0] == (b.identity.public_key, b"hello from b")
        assert not a.events
        assert not b.events
        await a.network.stop()
        await b.network.stop()

    run(work)


def test_a_refused_hello_tells_both_sides_the_reason(core: Core) -> None:
    async def work() -> None:
        a, b = pair()
        a.refuse = "epochs differ: 1 here, 2 there"
        a.open(core, b)
        b.open(core, a)
        await until(lambda: "epochs differ" in a.log.text() and "refused by a: epochs differ" in b.log.text())
        assert not a.events
        assert not b.events
        assert a.network.counters()["refused"] >= 1
        await a.network.stop()
        await b.network.stop()

    run(work)


def test_half_open_connections_do_not_keep_a_member_out(core: Core) -> None:
    async def work() -> None:
        a, b = pair()
        a.open(core, b)
        flood = []
        for _ in range(3 * PEER_HALF_OPEN_MAX):
            one = socket.socket()
            one.setblocking(False)
            await asyncio.get_running_loop().sock_connect(one, ("127.0.0.1", a.port))
            flood.append(one)
        await until(lambda: a.network.counters()["accepted"] >= len(flood))
        b.open(core, a)
        await until(lambda: a.network.connected())
        assert a.network.counters()["half_open_dropped"] >= PEER_HALF_OPEN_MAX
        for one in flood:
            one.close()
        await a.network.stop()
        await b.network.stop()

    run(work)


@pytest.mark.parametrize("untrusted", [b"GET / HTTP/1.1\r\n\r\n", b"\x22\x0a\x20" + bytes(32), b"\xff" * 4096])
def test_bytes_that_are_no_handshake_end_the_connection(core: Core, untrusted: bytes) -> None:
    async def work() -> None:
        a, b = pair()
        a.open(core, b)
        reader, writer = await asyncio.open_connection("127.0.0.1", a.port)
        writer.write(untrusted)
        await ended(reader)
        writer.close()
        assert a.network.counters()["handshake_failed"] == 1
        await a.network.stop()

    run(work)


async def authenticated(
    core: Core, a: End, b: End
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, Handshake, bytes]:
    """A hand-made connection with b's identity; also all bytes that b sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", a.port)
    handshake = Handshake(core, b.identity, Dialect.PROTO)
    sent = handshake.hello
    writer.write(sent)
    while not handshake.done:
        answer = handshake.feed(await reader.read(2048))
        sent += answer
        writer.write(answer)
    return reader, writer, handshake, sent


def test_a_member_that_opens_one_connection_after_the_other_keeps_a_few(core: Core) -> None:
    """It proved who it is, so it is no stranger: without a bound of its own it would use up this process's descriptors."""

    async def work() -> None:
        a, b = pair()
        a.open(core, b)
        opened = [await authenticated(core, a, b) for _ in range(3 * PEER_GREETINGS_MAX)]
        for reader, *_ in opened[:-PEER_GREETINGS_MAX]:
            await ended(reader)
        kept = opened[-PEER_GREETINGS_MAX:]
        reader, writer, handshake, _ = kept[-1]
        hello = b"hello from b"
        sealed = handshake.frames.seal(struct.pack("<IB", 1 + len(hello), FrameType.HELLO) + hello)
        writer.write(sealed + handshake.frames.seal(struct.pack("<IB", 1, FrameType.OK)))
        await until(lambda: a.events == ["+b"])
        assert a.network.counters()["half_open_dropped"] == 2 * PEER_GREETINGS_MAX
        for _, one, *_ in opened:
            one.close()
        await until(lambda: a.events == ["+b", "-b closed"])
        await a.network.stop()

    run(work)


@pytest.mark.parametrize(
    "frame",
    [
        struct.pack("<IB", 1 << 30, FrameType.HELLO),
        struct.pack("<IB", 1, FrameType.DATA),
        struct.pack("<IB", 1, 99),
        struct.pack("<IB", 0, 0),
    ],
    ids=["a huge length", "data before the hello", "an unknown type", "a length of nothing"],
)
def test_what_breaks_the_framing_is_closed_and_counted(core: Core, frame: bytes) -> None:
    async def work() -> None:
        a, b = pair()
        a.open(core, b)
        reader, writer, handshake, _ = await authenticated(core, a, b)
        writer.write(handshake.frames.seal(frame))
        await ended(reader)
        writer.close()
        assert a.network.counters()["bad_frames"] == 1
        assert not a.events
        await a.network.stop()

    run(work)


def test_a_replayed_handshake_authenticates_nobody(core: Core) -> None:
    async def work() -> None:
        a, b = pair()
        a.open(core, b)
        _, writer, _, sent = await authenticated(core, a, b)
        writer.close()
        reader, again = await asyncio.open_connection("127.0.0.1", a.port)
        again.write(sent)
        await ended(reader)
        again.close()
        assert a.network.counters()["handshake_failed"] == 1
        await a.network.stop()

    run(work)


def test_a_message_that_makes_no_sense_closes_the_connection(core: Core) -> None:
    async def work() -> None:
        a, b = pair()
        a.open(core, b)
        b.open(core, a)
        await until(lambda: a.network.connected() and b.network.connected())
        a.broken = True
        b.network.send("a", b"x")
        await until(lambda: "-b lost" in a.events)
        assert a.network.counters()["bad_frames"] == 1
        await a.network.stop()
        await b.network.stop()

    run(work)


def test_a_taken_port_is_an_error_that_names_it(core: Core) -> None:
    async def work() -> None:
        a, b = pair()
        with socket.create_server(("127.0.0.1", a.port)), pytest.raises(BusyError, match=str(a.port)):
            a.open(core, b)

    run(work)
