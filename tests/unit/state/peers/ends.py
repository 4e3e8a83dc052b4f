"""Two nodes' networks over real sockets, and what each was told."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from cometkms.address import Address
from cometkms.core.interface import Core
from cometkms.errors import ProtocolError
from cometkms.model import Dialect
from cometkms.state.peers.network import PeerNetwork, PeerTarget
from cometkms.wire.identity import Identity
from cometkms.wire.secret_connection import Handshake
from tests.e2e.node import free_port
from tests.unit.state.doubles import Log


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
