"""A node's end of its agents' links, over real sockets: what is served, what is told NOT_NOW, and
what ends a link.
"""

import asyncio
import itertools
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cometkms.core import choose
from cometkms.core.interface import Session
from cometkms.limits import AGENT_PATIENCE_MIN_S, AGENT_TURN_MESSAGES, SIGNED_LATELY_S
from cometkms.model import BlockID, Dialect, Kind, Message, Reason, Timestamp, Vote
from cometkms.net.door import Admitted, DoorCounters
from cometkms.signer.agent_link import AgentPort
from cometkms.signer.answers import Answers
from cometkms.wire.agent_messages import (
    AgentMessage,
    Answer,
    Ask,
    Hello,
    Lead,
    NotNow,
    Ping,
    Pong,
    ServedChain,
    Unpacker,
    decode,
    encode,
)

CORE = choose.load()
KEY, OTHER = b"a" * 32, b"b" * 32
PUBLIC = b"p" * 32


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def _say(self, event: str, **fields: object) -> None:
        self.lines.append(f"{event} {fields}")

    debug = info = warning = error = _say


class Tally:
    def on_connected(self) -> None: ...
    def on_lease_lost(self) -> None: ...


class Slot:
    public_key = PUBLIC


class Chain:
    """A critical section that answers when the test says so."""

    def __init__(self) -> None:
        self.chain_id, self.slot, self.tally, self.answers = "chain", Slot(), Tally(), Answers()
        self.asked: list[tuple[Any, Session, Any, bool]] = []

    def submit(self, requester: Any, session: Session, request: Any, started_ns: int, *, urgent: bool = False) -> None:
        assert started_ns
        self.asked.append((requester, session, request, urgent))


class Door:
    """Hands over what the test puts in."""

    counters = DoorCounters()

    def __init__(self) -> None:
        self.waiting: list[Admitted] = []
        self.listed: set[bytes] = set()
        self._wake, self._woken = socket.socketpair()
        self._woken.setblocking(False)

    def fileno(self) -> int:
        return self._woken.fileno()

    def allow(self, listed: Any) -> None:
        self.listed = set(listed)

    def take(self) -> Admitted | None:
        return self.waiting.pop(0) if self.waiting else None

    def close(self) -> None:
        self._wake.close()
        self._woken.close()


class Agent:
    """The other end of one link."""

    def __init__(self, port: AgentPort, door: Door, key: bytes = KEY) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        self.socket, self.unpacker, self.got = ours, Unpacker(), []
        self.frames = CORE.frames(b"f" * 32, b"t" * 32)
        door.waiting.append(Admitted(key, b"f" * 32, b"t" * 32, theirs))
        port._on_door()

    def send(self, *messages: AgentMessage) -> None:
        self.socket.send(b"".join(self.frames.seal(encode(one)) for one in messages))

    async def next(self) -> AgentMessage | None:
        """None: the node closed the link."""
        loop = asyncio.get_running_loop()
        while not self.got:
            async with asyncio.timeout(20):
                received = await loop.sock_recv(self.socket, 65536)
            if not received:
                return None
            self.got += [decode(one) for one in self.unpacker.feed(self.frames.open(received))]
        return self.got.pop(0)


Scene = Callable[[AgentPort, Door, Chain], Awaitable[None]]


def play(scene: Scene) -> None:
    async def run() -> None:
        door, chain = Door(), Chain()
        port = AgentPort(
            door=door, chains={"chain": chain}, listed={"chain": {"sentry-a": KEY}}, core=CORE, node="node0", log=Log()  # type: ignore[arg-type, dict-item]
        )  # fmt: skip
        port.start()
        assert door.listed == {KEY}
        try:
            await scene(port, door, chain)
        finally:
            port.close()
            door.close()

    asyncio.run(run())


def request(height: int = 5, dialect: Dialect = Dialect.PROTO) -> bytes:
    vote = Vote(1, height, 0, BlockID(b"a" * 32, 1, b"p" * 32), Timestamp(1_700_000_000, 5))
    return CORE.encode_message(dialect, Message(Kind.SIGN_VOTE_REQUEST, "chain", vote=vote))


def ask(seq: int, *, urgent: bool = False, chain: str = "chain", message: bytes = b"") -> Ask:
    return Ask(seq, chain, Dialect.PROTO, urgent, message or request())


def test_a_node_that_leads_serves_and_one_that_does_not_names_the_leader_unless_it_is_urgent() -> None:
    async def scene(port: AgentPort, door: Door, chain: Chain) -> None:
        agent = Agent(port, door)
        assert await agent.next() == Hello("node0", "", (ServedChain("chain", PUBLIC),))
        port.on_standing(leads=False, leader="node2")
        assert await agent.next() == Lead("node2")
        agent.send(ask(1))
        assert await agent.next() == NotNow(1, "this node does not lead", "node2")
        agent.send(ask(1, urgent=True), Ping(7, (("host", "h"),)))
        assert await agent.next() == Pong(7)
        (requester, session, asked, urgent) = chain.asked.pop()
        assert (asked.hrs.height, urgent, requester.name, requester.serves(session)) == (
            5,
            True,
            "agent:sentry-a",
            True,
        )
        requester.deliver(b"signature", refused=False)
        assert await agent.next() == Answer(1, b"signature")
        assert not requester.serves(session)
        port.on_standing(leads=True, leader="node0")
        assert await agent.next() == Lead("node0")
        agent.send(ask(2), Ping(8, ()))
        assert await agent.next() == Pong(8)
        assert chain.asked[0][3] is False
        chain.asked[0][0].deliver(b"empty")
        assert await agent.next() == NotNow(2, "no majority promised", "node0")
        shown = port.document()["links"][0]
        assert (shown["requests"], shown["without_lead"], shown["about"]) == (2, 1, {})
        assert port.documents(chain)[0]["state"] == "connected"  # type: ignore[arg-type]

    play(scene)


def test_a_newer_request_takes_the_place_of_an_older_one_and_the_same_one_is_not_asked_twice() -> None:
    async def scene(port: AgentPort, door: Door, chain: Chain) -> None:
        agent = Agent(port, door)
        await agent.next()
        agent.send(ask(1, urgent=True), ask(1, urgent=True), ask(2, urgent=True), Ping(1, ()))
        assert await agent.next() == Pong(1)
        assert len(chain.asked) == 2
        (first, session, _, _), (second, _, _, _) = chain.asked
        assert not first.serves(session)
        first.deliver(b"late", refused=False)
        second.deliver(b"signature", refused=False)
        assert await agent.next() == Answer(2, b"signature")

    play(scene)


def test_what_was_asked_of_a_leader_is_told_not_now_when_it_leads_no_more() -> None:
    """The state process has forgotten it: no permit will come."""

    async def scene(port: AgentPort, door: Door, chain: Chain) -> None:
        port.on_standing(leads=True, leader="node0")
        agent = Agent(port, door)
        await agent.next()
        agent.send(ask(1), Ping(1, ()))
        await agent.next()
        port.on_standing(leads=False)
        assert await agent.next() == NotNow(1, "no majority promised", "node0")
        requester, session, _, _ = chain.asked[0]
        assert not requester.serves(session)

    play(scene)


@pytest.mark.parametrize(
    "other",
    [
        Message(Kind.PING_REQUEST),
        Message(Kind.SIGN_BYTES_REQUEST, value=b"v" * 32),
        Message(Kind.SIGN_RAW_BYTES_REQUEST, "chain", value=b"v" * 32, unique_id="id"),
    ],
    ids=["ping", "SignBytes", "SignRawBytes"],
)
def test_another_chain_and_another_signed_kind_get_nothing(other: Message) -> None:
    """Bytes that are no vote have no place that would guard them, so that no agent may
    ask for them.
    """

    async def scene(port: AgentPort, door: Door, chain: Chain) -> None:
        agent = Agent(port, door)
        await agent.next()
        agent.send(ask(1, urgent=True, chain="other"))
        assert await agent.next() == NotNow(1, "this agent is not listed for other", "")
        agent.send(ask(2, urgent=True, message=CORE.encode_message(Dialect.PROTO, other)))
        assert await agent.next() is None
        assert chain.asked == []

    play(scene)


@pytest.mark.parametrize(
    "junk",
    [encode(Lead("x")), b"\0\0\0\2\xff\xff", b"\xff\xff\xff\xff", encode(ask(1, urgent=True, message=b"\5junk!"))],
)
def test_what_no_agent_sends_ends_the_link(junk: bytes) -> None:
    async def scene(port: AgentPort, door: Door, chain: Chain) -> None:
        agent = Agent(port, door)
        await agent.next()
        agent.socket.send(agent.frames.seal(junk))
        assert await agent.next() is None
        assert chain.asked == []
        assert port.documents(chain)[0]["state"] == "waiting"  # type: ignore[arg-type]

    play(scene)


def test_who_is_struck_off_the_list_or_comes_anew_loses_the_older_link() -> None:
    async def scene(port: AgentPort, door: Door, chain: Chain) -> None:
        first = Agent(port, door)
        await first.next()
        second = Agent(port, door)
        assert isinstance(await second.next(), Hello)
        assert await first.next() is None
        stranger = Agent(port, door, OTHER)
        assert await stranger.next() is None
        port.relist({"chain": {"sentry-b": OTHER}})
        assert await second.next() is None
        assert door.listed == {OTHER}
        assert isinstance(await Agent(port, door, OTHER).next(), Hello)
        assert chain.asked == []

    play(scene)


def test_what_failed_for_an_agent_is_past_while_its_link_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(port: AgentPort, door: Door, chain: Chain) -> None:
        agent = Agent(port, door)
        for at in (10.0, 11.0):
            chain.answers.on_failed("agent:sentry-a", at, Reason.JUMP, "")
        agent.socket.close()
        while port.documents(chain)[0]["state"] == "connected":  # type: ignore[arg-type]
            await asyncio.sleep(0)
        assert port.documents(chain)[0]["failing"]["count"] == 2  # type: ignore[arg-type, index]
        left_at = time.monotonic()
        monkeypatch.setattr("cometkms.signer.agent_link.time.monotonic", lambda: left_at + SIGNED_LATELY_S)
        assert port.documents(chain)[0]["failing"] is None  # type: ignore[arg-type]
        Agent(port, door)
        assert port.documents(chain)[0]["failing"] is None, "of before"  # type: ignore[arg-type]
        monkeypatch.undo()

    play(scene)


def test_refusals_slow_an_agent_down_but_are_answered_before_it_asks_the_next_node() -> None:
    async def scene(port: AgentPort, door: Door, chain: Chain) -> None:
        agent = Agent(port, door)
        await agent.next()
        for seq in range(1, 12):
            agent.send(ask(seq, urgent=True))
            while len(chain.asked) < seq:
                await asyncio.sleep(0.001)
            chain.asked[-1][0].deliver(b"refused", refused=True)
            assert await agent.next() == Answer(seq, b"refused")
        (link,) = port._links.values()
        assert 0 < link._pauses["chain"] < AGENT_PATIENCE_MIN_S
        agent.send(ask(99, urgent=True))
        while len(chain.asked) < 12:
            await asyncio.sleep(0.001)
        chain.asked[-1][0].deliver(b"signature", refused=False)
        assert await agent.next() == Answer(99, b"signature")
        assert link._pauses == {}

    play(scene)


def test_a_flood_is_read_a_few_messages_at_a_time_and_everybody_else_has_turns_in_between() -> None:
    """Else one agent's 64 KiB of requests hold the signer's loop for so long that its heartbeat is
    missed, and the lead moves.
    """

    async def scene(port: AgentPort, door: Door, chain: Chain) -> None:
        port.on_standing(leads=True, leader="node0")
        agent = Agent(port, door)
        await agent.next()
        seen, loop = [0], asyncio.get_running_loop()

        def somebody_else() -> None:
            seen.append(len(chain.asked))
            if seen[-1] < count:
                loop.call_soon(somebody_else)

        count = 10 * AGENT_TURN_MESSAGES + 1
        agent.send(*(ask(number) for number in range(1, count + 1)), Ping(7, ()))
        loop.call_soon(somebody_else)
        assert await agent.next() == Pong(7)
        assert seen[-1] == count
        assert max(after - before for before, after in itertools.pairwise(seen)) <= AGENT_TURN_MESSAGES
        agent.send(ask(count + 1))
        while len(chain.asked) == count:
            await asyncio.sleep(0.001)

    play(scene)


def test_a_link_that_ends_in_the_middle_of_a_flood_is_over() -> None:
    async def scene(port: AgentPort, door: Door, chain: Chain) -> None:
        port.on_standing(leads=True, leader="node0")
        agent = Agent(port, door)
        await agent.next()
        agent.send(*(ask(number) for number in range(1, 5 * AGENT_TURN_MESSAGES)))
        while not chain.asked:
            await asyncio.sleep(0)
        port.relist({"chain": {}})
        before = len(chain.asked)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(chain.asked) == before
        assert await agent.next() is None

    play(scene)
