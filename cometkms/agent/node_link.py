"""The agent's link to one node: dial, prove both keys, be welcomed, ask.

Made anew whenever it ends, for ever; names are resolved each time.
"""

import asyncio
import random
import socket
import time
from collections.abc import Callable
from typing import Final, Protocol

from cometkms.agent.config import NodeEntry
from cometkms.core.interface import Core, Frames, NodeLane, Passed, RelayPath
from cometkms.errors import ProtocolError, os_words
from cometkms.limits import (
    AGENT_HANDSHAKE_TIMEOUT_S,
    AGENT_OUTBOX_MAX_BYTES,
    AGENT_PING_S,
    AGENT_SILENT_S,
    FRAME_SEALED_BYTES,
    REDIAL_MAX_S,
    REDIAL_MIN_S,
)
from cometkms.log import Log
from cometkms.model import Dialect
from cometkms.net.dial import connect
from cometkms.net.outbox import Outbox
from cometkms.net.reading import to_the_end
from cometkms.wire.agent_messages import (
    AGENT_PROTOCOL_VERSION,
    AgentMessage,
    Hello,
    Ping,
    Pong,
    Unpacker,
    Welcome,
    decode,
    encode,
)
from cometkms.wire.identity import Identity
from cometkms.wire.secret_connection import Handshake

_RECEIVE_BYTES: Final = 64 << 10


class Above(Protocol):
    """What a link tells the agent."""

    def on_hello(self, node: str, hello: Hello) -> None: ...

    def on_lost(self, node: str) -> None: ...

    def on_passed(self, node: str, passed: Passed) -> None:
        """The core has answered a validator with what this node said."""
        ...

    def on_node(self, node: str, message: AgentMessage) -> None:
        """Raises: ProtocolError for a message that no node sends."""
        ...


def next_backoff_s(before_s: float, lived_s: float) -> float:
    """The pause before the next dial; pure.

    `before_s`: the one before, 0 at first; `lived_s`: how long the link stood, 0 if never.

    A link that stood is dialled again at once; one that ends soon, again and again, ever more
    slowly. So two agents with one key, of which each node keeps the one that came last, push each
    other out once a second and not twenty times.
    """
    if before_s == 0.0 or lived_s >= AGENT_SILENT_S:
        return REDIAL_MIN_S
    return min(2 * before_s, REDIAL_MAX_S)


class NodeLink:
    """Keep the link to one node."""

    def __init__(
        self,
        entry: NodeEntry,
        *,
        core: Core,
        identity: Identity,
        above: Above,
        about: Callable[[], tuple[tuple[str, str], ...]],
        log: Log,
        path: RelayPath | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`path`: the core's part, if it has one; `clock`: measures round trips, seconds (the
        loop's own counts whole milliseconds).
        """
        self.lane: NodeLane | None = None  # of the connection that is there
        self._path = path
        self.entry = entry
        self.connects = 0
        self.since = time.time()
        self.last_error = ""
        self.round_trip_s = 0.0
        self._core = core
        self._identity = identity
        self._above = above
        self._about = about
        self._log = log
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._frames: Frames | None = None
        self._unpacker = Unpacker()
        self._outbox: Outbox | None = None
        self._closed: asyncio.Future[str] | None = None
        self._greeted = False
        self._greeted_at = 0.0
        self._heard_at = 0.0
        self._pings: dict[int, float] = {}
        self._ping_number = 0

    @property
    def up(self) -> bool:
        """Whether the node has said hello on it."""
        return self._greeted

    async def run(self) -> None:
        """Keep the link up for ever; the task is cancelled to stop."""
        backoff = 0.0
        try:
            while True:
                try:
                    why, served = await self._live()
                except (OSError, ProtocolError) as error:
                    why, served = _words(error), False
                if why != self.last_error or served:
                    self._log.info("node not connected", peer=self.entry.id, why=why)
                self.last_error = why
                lived_s = self._loop.time() - self._greeted_at if served else 0.0
                backoff = next_backoff_s(backoff, lived_s)
                await asyncio.sleep(backoff * random.uniform(0.75, 1.0))  # noqa: S311 - jitter, not a secret
        finally:
            self._drop("stopped")

    async def _live(self) -> tuple[str, bool]:
        """One connection; why it ended, and whether the node had said hello.

        Raises: OSError, ProtocolError.
        """
        connection = await connect(self.entry.address)
        try:
            async with asyncio.timeout(AGENT_HANDSHAKE_TIMEOUT_S):
                frames = await self._shake(connection)
        except BaseException:
            connection.close()
            raise
        closed, before = self._adopt(connection, frames), self.connects
        pinging = asyncio.create_task(self._keep_warm())
        try:
            return await closed, self.connects > before
        finally:
            pinging.cancel()
            self._drop("stopped")

    def _adopt(self, connection: socket.socket, frames: Frames) -> asyncio.Future[str]:
        """The channel stands; what is awaited is why it ended."""
        self._socket, self._frames, self._unpacker = connection, frames, Unpacker()
        self._pings.clear()
        if self._path is not None:
            self.lane = self._path.node(frames, connection.fileno())
        self._outbox = Outbox(connection, lost=lambda error: self._drop(os_words(error)), lane=self.lane)
        self._heard_at = self._loop.time()
        self._closed = self._loop.create_future()
        self._loop.add_reader(connection.fileno(), to_the_end(connection, self._on_readable))
        return self._closed

    async def _shake(self, connection: socket.socket) -> Frames:
        """The handshake, the node's key, its welcome. Raises: OSError, ProtocolError."""
        handshake = Handshake(self._core, self._identity, Dialect.PROTO)
        await self._loop.sock_sendall(connection, handshake.hello)
        # what follows the welcome is under its keys
        left = len(handshake.hello) + 2 * FRAME_SEALED_BYTES
        while not handshake.done:
            received = await self._receive_early(connection, left)
            left -= len(received)
            answer = handshake.feed(received)
            if answer:
                await self._loop.sock_sendall(connection, answer)
        if handshake.remote_identity != self.entry.key:
            raise ProtocolError(
                f"{self.entry.address} proves the key {handshake.remote_identity.hex()}, and {self.entry.key.hex()} is configured "
                f"for {self.entry.id}",
                cure="the line that `cmkms peers --identities` prints there",
            )
        plain = handshake.leftover
        unpacker = Unpacker()
        while not (found := unpacker.feed(plain)):
            if left == 0:
                raise ProtocolError("the node did not welcome this agent")
            received = await self._receive_early(
                connection, left, "this agent's key is not listed there, or it is busy"
            )
            left -= len(received)
            plain = handshake.frames.open(received)
        welcome = decode(found[0])
        if not isinstance(welcome, Welcome) or len(found) > 1 or unpacker.partial:
            raise ProtocolError("the node did not welcome this agent")
        if welcome.protocol != AGENT_PROTOCOL_VERSION:
            raise ProtocolError(
                f"the node speaks the agents' protocol {welcome.protocol}, this agent {AGENT_PROTOCOL_VERSION}",
                cure="versions that agree",
            )
        handshake.frames.close()
        return self._core.frames(welcome.from_node, welcome.to_node)

    async def _receive_early(
        self, connection: socket.socket, most: int, closed: str = "closed during the handshake"
    ) -> bytes:
        received = await self._loop.sock_recv(connection, most)
        if not received:
            raise ConnectionResetError(closed)
        return received

    # --- what it carries ---

    def send(self, message: AgentMessage) -> bool:
        """Send to the node, and return False where there is no link."""
        if self._outbox is None or self._frames is None:
            return False
        self._outbox.write(self._frames.seal(encode(message)))
        if self._outbox is not None and len(self._outbox) > AGENT_OUTBOX_MAX_BYTES:
            self._drop("the node does not read")
        return self._outbox is not None

    def collect(self) -> None:
        """The lane was used: what its socket did not take is sent from here."""
        if self._outbox is not None:
            self._outbox.collect()

    def hang_up(self, why: str) -> None:
        """What it says is not believed. It is dialled again."""
        self._drop(why)

    def _on_readable(self) -> None:
        if self._socket is None or self._frames is None:
            return
        try:
            plain, passed = self._receive(self._socket, self._frames)
            self._heard_at = self._loop.time()
            for one in passed:
                self._above.on_passed(self.entry.id, one)
            for untrusted in self._unpacker.feed(plain) if plain else ():
                self._on_message(decode(untrusted))
        except (BlockingIOError, InterruptedError):
            return
        except EOFError:
            self._drop("closed by the node")
        except (OSError, ProtocolError) as error:
            self._drop(_words(error))

    def _receive(self, connection: socket.socket, frames: Frames) -> tuple[bytes, list[Passed]]:
        """What arrived, decrypted, but for the answers that the lane passed on.

        Raises: BlockingIOError, EOFError, OSError, ProtocolError.
        """
        if self.lane is not None:
            return self.lane.turn(serve=self._greeted and not self._unpacker.partial)
        received = connection.recv(_RECEIVE_BYTES)
        if not received:
            raise EOFError
        return frames.open(received), []

    def _on_message(self, message: AgentMessage) -> None:
        if isinstance(message, Hello):
            if self._greeted:
                raise ProtocolError("the node says hello a second time")
            if message.node != self.entry.id:
                raise ProtocolError(f"the node calls itself {message.node!r}, and {self.entry.id!r} is configured")
            self._greeted, self._greeted_at = True, self._loop.time()
            self.connects += 1
            self.since = time.time()
            self.last_error = ""
            self._log.info(
                "node connected", peer=self.entry.id, chains=", ".join(one.chain_id for one in message.chains)
            )
            self._above.on_hello(self.entry.id, message)
        elif not self._greeted:
            raise ProtocolError("something came before the hello")
        elif isinstance(message, Pong):
            sent_at = self._pings.pop(message.number, None)
            if sent_at is not None:
                self.round_trip_s = self._clock() - sent_at
        else:
            self._above.on_node(self.entry.id, message)

    async def _keep_warm(self) -> None:
        """Ping until the link ends; the task is cancelled then."""
        while True:
            self.ping()
            await asyncio.sleep(AGENT_PING_S)

    def ping(self) -> None:
        """Say how this agent is, and close a link that has been silent for too long.

        Called every AGENT_PING_S.
        """
        if self._loop.time() - self._heard_at > AGENT_SILENT_S:
            self._drop(f"silent for {AGENT_SILENT_S:g} s")
            return
        now = self._clock()
        self._ping_number += 1
        self._pings = {number: at for number, at in self._pings.items() if now - at < AGENT_SILENT_S}
        self._pings[self._ping_number] = now
        self.send(Ping(self._ping_number, self._about()))

    def _drop(self, why: str) -> None:
        """Close the connection, once."""
        connection, frames, outbox = self._socket, self._frames, self._outbox
        self._socket = self._frames = self._outbox = self.lane = None
        if outbox is not None:
            outbox.close()
        if connection is not None:
            self._loop.remove_reader(connection.fileno())
            connection.close()
        if frames is not None:
            frames.close()
        if self._greeted:
            self._greeted = False
            self._above.on_lost(self.entry.id)
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(why)


def _words(error: BaseException) -> str:
    return os_words(error) if isinstance(error, OSError) else str(error) or type(error).__name__
