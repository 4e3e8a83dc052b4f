"""An agent's requests on the hot path against the general path: the same messages to the agents,
reservations, watermark and counters.
"""

import asyncio
import contextlib
import itertools
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cometkms.core import native
from cometkms.model import HRS, BlockID, Dialect, Kind, Message, Reason, Timestamp, Vote
from cometkms.net.door import Admitted
from cometkms.signer.agent_link import AgentLink, AgentPort
from cometkms.wire.agent_messages import (
    AgentMessage,
    Answer,
    Ask,
    Hello,
    NotNow,
    Ping,
    Pong,
    Unpacker,
    decode,
    encode,
)
from cometkms.wire.queue_messages import Reserve, Signed
from tests.unit.signer.test_agent_link import Door
from tests.unit.signer.test_chain import Log
from tests.unit.signer.test_sign import KEY, Stage

CORE = native.load()
KEYS = (b"a" * 32, b"b" * 32)
AGENTS = len(KEYS)


class Agent:
    """The other end of one agent's link, which it makes anew when it is asked to."""

    def __init__(self, stage: "AgentStage", key: bytes) -> None:
        self.stage, self.key = stage, key
        self.seq = 0
        self.got: list[AgentMessage] = []
        self.connect()

    def connect(self) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        self.socket, self.unpacker = ours, Unpacker()
        self.frames = CORE.frames(b"f" * 32, b"t" * 32)
        self.stage.door.waiting.append(Admitted(self.key, b"f" * 32, b"t" * 32, theirs))
        self.stage.port._on_door()

    @property
    def link(self) -> AgentLink | None:
        return self.stage.port._links.get(self.key)

    def send(self, *messages: bytes) -> None:
        if self.link is None:
            return  # the node closed it
        self.socket.send(b"".join(self.frames.seal(one) for one in messages))
        if self.link is not None:
            self.link._on_readable()

    def collect(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while received := self.socket.recv(1 << 16):
                self.got += [decode(one) for one in self.unpacker.feed(self.frames.open(received))]

    def reconnect(self) -> None:
        self.collect()
        self.socket.close()
        if self.link is not None:
            self.link._on_readable()
        self.connect()


def _timeless(document: dict) -> dict:
    return {
        name: _timeless(value) if isinstance(value, dict) else value
        for name, value in document.items()
        if not isinstance(value, float)
    }


class AgentStage(Stage):
    """The validators of a Stage, and two agents.

    Runs in a loop that never turns: what is readable is read when the test says so.
    """

    def __init__(self, *, hot: bool) -> None:
        super().__init__(hot=hot)
        self.door = Door()
        numbers = itertools.count(10)
        self.port = AgentPort(
            door=self.door,  # type: ignore[arg-type]
            chains={"c": self.chain},
            listed={"c": {f"agent-{number}": key for number, key in enumerate(KEYS)}},
            core=CORE,
            node="node0",
            log=Log(),
            desk=self.path.desk if self.path is not None else lambda _frames, _fd: None,
            new_number=lambda: next(numbers),
        )
        self.agents = [Agent(self, key) for key in KEYS]

    def close(self) -> None:
        for agent in self.agents:
            agent.socket.close()
        self.port.close()
        self.door.close()
        super().close()

    def on_answered(self, number: int) -> None:
        if number < 10:
            super().on_answered(number)
        else:
            self.port.on_answered(number)

    # --- events ---

    def request(self, height: int, block: int, dialect: Dialect = Dialect.PROTO) -> bytes:
        block_id = BlockID(bytes([block]) * 32, 1, b"p" * 32) if block else BlockID()
        vote = Vote(2, height, 0, block_id, Timestamp(1_700_000_000, 0), extension=b"e" * 10 if block == 2 else b"")
        chain = "c" if dialect is Dialect.PROTO else ""
        return CORE.encode_message(dialect, Message(Kind.SIGN_VOTE_REQUEST, chain, vote=vote))

    def agent_asks(self, who: int, height: int, block: int, kind: str) -> None:
        agent = self.agents[who]
        agent.seq += kind != "again"
        message = self.request(height, block)
        match kind:
            case "other chain":
                agent.send(encode(Ask(agent.seq, "d", Dialect.PROTO, urgent=False, message=message)))
            case "no request":
                ping = CORE.encode_message(Dialect.PROTO, Message(Kind.PING_REQUEST))
                agent.send(encode(Ask(agent.seq, "c", Dialect.PROTO, urgent=False, message=ping)))
            case "in two parts":
                first = encode(Ask(agent.seq, "c", Dialect.PROTO, urgent=False, message=message))
                agent.send(first[:40])
                agent.send(first[40:], encode(Ping(7, ())))
            case "behind a ping":
                agent.send(
                    encode(Ping(7, ())), encode(Ask(agent.seq, "c", Dialect.PROTO, urgent=False, message=message))
                )
            case "amino":
                amino = self.request(height, min(block, 1), Dialect.AMINO)
                agent.send(encode(Ask(agent.seq, "c", Dialect.AMINO, urgent=False, message=amino)))
            case _:
                agent.send(encode(Ask(agent.seq, "c", Dialect.PROTO, kind == "urgent", message)))

    def leads(self, now: bool) -> None:
        if not now:
            self.chain.abandon()
        self.port.on_standing(leads=now, leader="node0" if now else "node1")

    def agent_reconnects(self, who: int) -> None:
        self.agents[who].reconnect()

    def rested(self) -> None:
        """The pauses behind refusals are over."""
        for link in list(self.port._links.values()):
            for chain, (timer, _) in list(link._resting.items()):
                timer.cancel()
                link._rested(chain)

    def outcome(self) -> dict[str, object]:
        found = super().outcome()
        for agent in self.agents:
            agent.collect()
        return found | {
            "agents": [agent.got for agent in self.agents],
            "links": self.port.document()["links"],
            "shown": [_timeless(one) for one in self.port.documents(self.chain)],
        }


HEIGHTS = st.integers(1, 4)
KINDS = st.sampled_from(
    ["plain"] * 6 + ["again", "urgent", "other chain", "no request", "in two parts", "behind a ping", "amino"]
)
EVENTS = st.one_of(
    st.tuples(st.just("agent_asks"), st.integers(0, AGENTS - 1), HEIGHTS, st.integers(0, 2), KINDS),
    st.tuples(st.just("agent_asks"), st.just(0), HEIGHTS, st.just(1), st.just("plain")),
    st.tuples(st.just("ask"), st.just(0), HEIGHTS, st.integers(0, 2), st.integers(0, 1)),
    st.tuples(st.just("permit"), st.integers(0, 2), st.sampled_from([0, 0, 0, 9])),
    st.tuples(st.just("permit"), st.just(0), st.just(0)),
    st.tuples(st.just("refuse"), st.sampled_from([Reason.CONFLICT, Reason.NO_PERMIT, Reason.NOT_LEADER])),
    st.tuples(st.just("mark"), HEIGHTS),
    st.tuples(st.just("expire")),
    st.tuples(st.just("leads"), st.booleans()),
    st.tuples(st.just("agent_reconnects"), st.integers(0, AGENTS - 1)),
    st.tuples(st.just("rested")),
    st.tuples(st.just("hello")),
)


async def _play(events: list[tuple], *, hot: bool) -> dict[str, object]:
    stage = AgentStage(hot=hot)
    try:
        stage.mark(0)
        stage.leads(True)
        for name, *arguments in events:
            getattr(stage, name)(*arguments)
        return stage.outcome()
    finally:
        stage.close()


@settings(max_examples=300, deadline=None)
@given(st.lists(EVENTS, max_size=30))
def test_an_agents_request_on_the_hot_path_and_on_the_general_path_cannot_be_told_apart(events: list[tuple]) -> None:
    """Whatever agents and validators ask, whatever is permitted, refused, lost or late,
    in whatever order.
    """
    general, hot = (asyncio.run(_play(events, hot=hot)) for hot in (False, True))
    assert general == hot


def run(scene) -> None:  # type: ignore[no-untyped-def]
    async def main() -> None:
        stage = AgentStage(hot=True)
        try:
            stage.mark(0)
            stage.leads(True)
            scene(stage)
        finally:
            stage.close()

    asyncio.run(main())


def test_a_plain_request_of_an_agent_is_reserved_and_answered_without_python() -> None:
    def scene(stage: AgentStage) -> None:
        stage.agent_asks(0, 5, 1, "plain")
        assert stage.path is not None
        assert stage.path.waits_since_ns(0) is not None
        stage.permit(0, 0)
        assert stage.path.unseen == 1
        outcome = stage.outcome()
        hello, _, answer = stage.agents[0].got
        assert isinstance(hello, Hello)
        assert isinstance(answer, Answer)
        assert answer.seq == 1
        signed = CORE.decode_message(Dialect.PROTO, answer.message)
        assert signed.vote is not None
        KEY.verify_key.verify(stage.chain.watermark.sign_bytes, signed.vote.signature)
        assert stage.chain.watermark.hrs == HRS(5, 0, 3)
        assert [type(one) for one in stage.sent] == [Reserve, Signed]
        assert outcome["links"][0]["requests"] == 1  # type: ignore[index]
        ((_, decision),) = outcome["noted"]  # type: ignore[misc]
        assert (decision.validator, decision.identity) == (b"agent:agent-0", KEYS[0])

    run(scene)


@pytest.mark.parametrize(
    ("kind", "block"), [("urgent", 1), ("other chain", 1), ("no request", 1), ("in two parts", 1), ("behind a ping", 1)]
)
def test_what_is_not_plain_is_the_general_paths(kind: str, block: int) -> None:
    def scene(stage: AgentStage) -> None:
        stage.agent_asks(0, 5, block, kind)
        assert stage.path is not None
        assert stage.path.waits_since_ns(0) is None

    run(scene)


def test_what_the_socket_does_not_take_is_sent_before_anything_else() -> None:
    """An agent that does not read: the answer waits, whole and in its place, and nothing of the
    core's overtakes it.
    """

    def scene(stage: AgentStage) -> None:
        agent = stage.agents[0]
        link = agent.link
        assert link is not None
        assert link._desk is not None
        theirs = link._socket
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        filler = encode(Pong(1))
        pings = 0
        while not link._outbox:
            link._outbox.write(link._frames.seal(filler))
            pings += 1
        assert link._desk.blocked
        stage.agent_asks(0, 5, 1, "plain")  # blocked: the general path's, behind what waits
        stage.permit(0, 0)
        agent.collect()
        while link._outbox:
            link._outbox._on_writable()
            agent.collect()
        assert not link._desk.blocked
        stage.agent_asks(0, 6, 1, "plain")
        assert stage.path is not None
        assert stage.path.waits_since_ns(0) is not None
        while True:  # the next answer finds a full socket, when the core sends it
            try:
                theirs.send(bytes(1))
            except BlockingIOError:
                break
        stage.permit(0, 0)
        assert link._desk.blocked
        assert len(link._outbox) == 1044
        answers = [one.seq for one in agent.got if isinstance(one, Answer)]
        assert answers == [1]
        assert sum(isinstance(one, Pong) for one in agent.got) == pings

    run(scene)


def test_an_answer_does_not_overtake_what_the_agent_has_not_read() -> None:
    """It was asked before the socket was full, and the socket has room again before the bytes that
    wait were sent.
    """

    def scene(stage: AgentStage) -> None:
        agent = stage.agents[0]
        link = agent.link
        assert link is not None
        assert link._desk is not None
        stage.agent_asks(0, 5, 1, "plain")
        assert stage.path is not None
        assert stage.path.waits_since_ns(0) is not None
        link._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        pings = 0
        while not link._outbox:
            link._outbox.write(link._frames.seal(encode(Pong(1))))
            pings += 1
        agent.collect()
        stage.permit(0, 0)
        while link._outbox:
            link._outbox._on_writable()
            agent.collect()
        assert [type(one) for one in agent.got[-pings - 1 :]] == [Pong] * pings + [Answer]

    run(scene)


def test_what_is_asked_once_more_while_it_is_under_way_has_one_answer() -> None:
    def scene(stage: AgentStage) -> None:
        stage.agent_asks(0, 5, 1, "plain")
        stage.agent_asks(0, 5, 1, "again")
        stage.permit(0, 0)
        assert stage.path is not None
        assert stage.path.unseen == 1  # the core's, as if it had been asked once
        stage.outcome()
        assert [one.seq for one in stage.agents[0].got if isinstance(one, Answer)] == [1]

    run(scene)


def test_what_is_under_way_when_the_lease_ends_is_told_not_now() -> None:
    def scene(stage: AgentStage) -> None:
        stage.agent_asks(0, 5, 1, "plain")
        stage.leads(False)
        stage.permit(0, 0)
        stage.outcome()
        assert stage.agents[0].got[-2] == NotNow(1, "no majority promised", "node0")
        assert stage.chain.watermark.hrs.height == 0

    run(scene)
