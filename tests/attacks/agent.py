"""An agent whose key is listed, in the hands of somebody who says through it whatever he likes."""

import contextlib
import socket
import time
from pathlib import Path

from cometkms.agent.config import load
from cometkms.core import choose
from cometkms.keys.identity import load_identity
from cometkms.limits import FRAME_SEALED_BYTES
from cometkms.model import BlockID, Dialect, Kind, Message, Timestamp, Vote
from cometkms.wire.agent_messages import AgentMessage, Ask, Hello, Unpacker, Welcome, decode, encode
from cometkms.wire.secret_connection import Handshake
from tests.e2e.node import CHAIN, PATIENCE_S

CORE = choose.load()


def vote(height: int, block: int = 1, extension: bytes = b"", chain: str = CHAIN) -> bytes:
    """A validator's request for a precommit."""
    asked = Vote(
        2, height, 0, BlockID(bytes([block]) * 32, 1, b"p" * 32), Timestamp(1_700_000_000, 0), extension=extension
    )
    return CORE.encode_message(Dialect.PROTO, Message(Kind.SIGN_VOTE_REQUEST, chain, vote=asked))


class StolenAgent:
    """A link to the first node of that agent's settings, blocking.

    Raises: OSError, ProtocolError when the node sends it away.
    """

    def __init__(self, home: Path, node: int = 0) -> None:
        entry = load(home).nodes[node]
        self.socket = socket.create_connection((entry.address.host, entry.address.port), timeout=PATIENCE_S)
        self.seq = int(time.time() * 1e6)
        handshake = Handshake(CORE, load_identity(home), Dialect.PROTO)
        self.socket.sendall(handshake.hello)
        # what follows the welcome is under its keys
        left = len(handshake.hello) + 2 * FRAME_SEALED_BYTES
        while not handshake.done:
            received = self._receive(left)
            left -= len(received)
            if answer := handshake.feed(received):
                self.socket.sendall(answer)
        unpacker, plain = Unpacker(), handshake.leftover
        while not (found := unpacker.feed(plain)):
            received = self._receive(left)
            left -= len(received)
            plain = handshake.frames.open(received)
        welcome = decode(found[0])
        assert isinstance(welcome, Welcome)
        self.frames = CORE.frames(welcome.from_node, welcome.to_node)
        self.unpacker = Unpacker()
        self.heard: list[AgentMessage] = []
        assert isinstance(self.hear(), Hello)

    def _receive(self, most: int) -> bytes:
        received = self.socket.recv(most)
        if not received:
            raise ConnectionResetError("sent away")
        return received

    def hear(self) -> AgentMessage:
        """The next message."""
        while not self.heard:
            self.heard += [decode(one) for one in self.unpacker.feed(self.frames.open(self._receive(65536)))]
        return self.heard.pop(0)

    def say(self, *messages: AgentMessage) -> None:
        """All at once, and whatever comes back is thrown away."""
        self.say_bytes(b"".join(encode(one) for one in messages))

    def say_bytes(self, plain: bytes) -> None:
        """The same of bytes that are no messages."""
        self.socket.sendall(self.frames.seal(plain))
        self.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while self._receive(1 << 20):
                pass
        self.socket.settimeout(PATIENCE_S)

    def ask(self, wire: bytes, *, urgent: bool = True, chain: str = CHAIN) -> Ask:
        self.seq += 1
        return Ask(self.seq, chain, Dialect.PROTO, urgent, wire)

    def close(self) -> None:
        self.socket.close()
