"""The agent's plain case in the core against the general path: the same messages to nodes and
validator, and the same counters.
"""

import asyncio
import base64
import contextlib
import itertools
import os
import socket
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from cometkms.address import Address
from cometkms.agent.config import AgentSettings, NodeEntry, ValidatorEntry
from cometkms.agent.process import PUBLIC_KEYS_NAME, Agent, _Asker, _load_public_keys
from cometkms.config.values import parse_validator
from cometkms.core import native
from cometkms.core.interface import Core
from cometkms.core.pure import core as pure
from cometkms.log import Log
from cometkms.model import BlockID, Dialect, Kind, Message, Permit, Timestamp, Vote
from cometkms.wire.agent_messages import (
    AgentMessage,
    Answer,
    Ask,
    Hello,
    Lead,
    NotNow,
    Ping,
    ServedChain,
    Unpacker,
    decode,
    encode,
)
from cometkms.wire.identity import Identity
from tests.unit.state.doubles import Log as Told

CORE = native.load()
KEY = SigningKey(bytes(32))
PUBLIC = bytes(KEY.verify_key)
NODES = ("node0", "node1", "node2")
CHAIN = "c"
LOG = Log("error", fd=os.open(os.devnull, os.O_WRONLY))


def pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


class Node:
    """The other end of one node's link."""

    def __init__(self, stage: "Stage", name: str) -> None:
        self.stage, self.name = stage, name
        self.got: list[AgentMessage] = []
        self.open = False
        self.first: AgentMessage = Hello(name, "node0", (ServedChain(CHAIN, PUBLIC),))
        self.connect()

    def connect(self) -> None:
        if self.open:
            return
        self.socket, ours = pair()
        self.unpacker, self.frames, self.open = Unpacker(), CORE.frames(b"t" * 32, b"f" * 32), True
        self.link = self.stage.agent.links[self.name]
        self.link._adopt(ours, self.stage.core.frames(b"f" * 32, b"t" * 32))
        self.send(self.first)

    def send(self, *messages: AgentMessage) -> None:
        if self.open and self.link._socket is not None:
            self.socket.send(b"".join(self.frames.seal(encode(one)) for one in messages))
            self.link._on_readable()

    def send_in_two(self, message: AgentMessage) -> None:
        wire = self.frames.seal(encode(message))
        if self.open and self.link._socket is not None:
            for part in (wire[:100], wire[100:]):
                self.socket.send(part)
                self.link._on_readable()

    def collect(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self.open and (received := self.socket.recv(1 << 16)):
                for one in self.unpacker.feed(self.frames.open(received)):
                    self.got.append(decode(one))

    def lose(self) -> None:
        if self.open:
            self.collect()
            self.socket.close()
            self.open = False
            self.link._on_readable()


class Stage:
    """An agent with one validator and three nodes, in a loop that never turns: what is readable is
    read, and time passes, when the test says so.
    """

    def __init__(self, home: Path, *, hot: bool, core: Core) -> None:
        self.core, self.now = core, 0.0
        self.nodes: dict[str, Node] = {}
        entry = ValidatorEntry(CHAIN, parse_validator("tcp://127.0.0.1:1"))
        nodes = tuple(NodeEntry(name, Address("127.0.0.1", 1), bytes(32)) for name in NODES)
        self.agent = Agent(AgentSettings(home, "a", nodes, (entry,)), core, Identity(SigningKey(b"i" * 32)), LOG)
        self.agent.now = lambda: self.now  # type: ignore[method-assign]
        if not hot:
            for one in (*self.agent.links.values(), self.asker.end):
                one._path = None
        self.nodes = {name: Node(self, name) for name in NODES}
        self.wires: list[bytes] = []
        self.answers: list[bytes] = []
        self.connect_validator()

    @property
    def asker(self) -> _Asker:
        return self.agent.askers[0]

    def connect_validator(self) -> None:
        self.validator, ours = pair()
        self.frames, self.stream = CORE.frames(b"v" * 32, b"w" * 32), b""
        self.asker.end.dialect = Dialect.PROTO  # as the handshake tells
        self.asker.end._adopt(
            ours, self.core.session(Dialect.PROTO, CHAIN, self.core.frames(b"w" * 32, b"v" * 32), b"")
        )

    def close(self) -> None:
        for node in self.nodes.values():
            node.lose()
        self.asker.end._drop("over")
        self.validator.close()

    # --- events ---

    def ask(self, height: int, block: int, kind: str) -> None:
        block_id = BlockID(bytes([block]) * 32, 1, b"p" * 32) if block else BlockID()
        vote = Vote(2, height, 0, block_id, Timestamp(1_700_000_000, 0), extension=b"e" * 10 if block == 2 else b"")
        message = Message(Kind.SIGN_VOTE_REQUEST, "other" if kind == "other chain" else CHAIN, vote=vote)
        if kind == "ping":
            message = Message(Kind.PING_REQUEST)
        elif kind == "bytes":
            message = Message(Kind.SIGN_BYTES_REQUEST, value=b"v" * 32)
        elif kind == "raw bytes":
            message = Message(Kind.SIGN_RAW_BYTES_REQUEST, CHAIN, value=b"v" * 32, unique_id="id")
        elif kind == "key":
            message = Message(Kind.PUB_KEY_REQUEST, CHAIN)
        wire = CORE.encode_message(Dialect.PROTO, message)
        if message.vote is not None:
            self.wires.append(wire)
        sealed = self.frames.seal(wire)
        parts = (sealed[:50], sealed[50:]) if kind == "in two parts" else (sealed,)
        for part in parts:
            if self.asker.end._socket is not None:
                self.validator.send(part)
                self.asker.end._on_readable()
        if message.vote is None:
            self.turn()

    def turn(self) -> None:
        """What was put off with call_soon: the next request, if one is there."""
        self.asker.end._serve()

    def answer(self, who: int, kind: str) -> None:
        """To the last request that this node was asked."""
        node = self.nodes[NODES[who]]
        node.collect()
        asked = [one for one in node.got if isinstance(one, Ask)]
        if not asked:
            return
        last = asked[-1]
        session = CORE.session(last.dialect, CHAIN, None, last.message)
        request = session.next_request()
        assert request is not None
        seq = last.seq + (kind == "of no request")
        if kind == "not now":
            node.send(NotNow(seq, "why", NODES[(who + 1) % 3]))
        elif kind == "refused" or not request.sign_bytes:
            node.send(Answer(seq, session.answer_error(35, "conflict")))
        else:
            slot = CORE.key_slot(bytearray(base64.b64encode(bytes(KEY) + PUBLIC)), CHAIN)
            signed = session.answer_sign(slot, Permit(request.sign_bytes))[1]
            if kind == "wrong":
                at = signed.index(b"\x12\x40") if b"\x12\x40" in signed else len(signed) - 9
                signed = signed[: at + 5] + bytes([signed[at + 5] ^ 1]) + signed[at + 6 :]
            if kind == "in two parts":
                node.send_in_two(Answer(seq, signed))
            elif kind == "twice":
                node.send(Answer(seq, signed), Lead(NODES[who]), Answer(seq, signed))
            else:
                node.send(Answer(seq, signed))
        self.turn()

    def lead(self, who: int, leader: int) -> None:
        self.nodes[NODES[who]].send(Lead(NODES[leader] if leader < 3 else ""))

    def lose(self, who: int) -> None:
        self.nodes[NODES[who]].lose()

    def link(self, who: int) -> None:
        self.nodes[NODES[who]].connect()

    def passes(self, seconds: float) -> None:
        self.now += seconds
        self.asker._on_time()
        self.turn()

    def validator_returns(self) -> None:
        self.collect()
        self.validator.close()
        self.asker.end._on_readable()
        self.connect_validator()

    def collect(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while received := self.validator.recv(1 << 16):
                self.stream += self.frames.open(received)
        while (head := pure.codec.read_length(self.stream)) is not None:
            size = sum(head)
            assert len(self.stream) >= size
            self.answers.append(self.stream[:size])
            self.stream = self.stream[size:]

    def outcome(self) -> dict[str, object]:
        self.collect()
        for node in self.nodes.values():
            node.collect()
        report = self.agent.report()
        for one in report["validators"]:
            one.pop("slowest_s")
        order: dict[int, int] = {}
        asks = {
            name: [
                (order.setdefault(one.seq, len(order)), one.urgent, one.message)
                for one in node.got
                if isinstance(one, Ask)
            ]
            for name, node in self.nodes.items()
        }
        return {
            "answers": self.answers,
            "asks": asks,
            "validators": report["validators"],
            "late": report["late"],
            "up": {name: one["up"] for name, one in report["nodes"].items()},
            "patience": {name: one["patience_s"] for name, one in report["nodes"].items()},
        }


WHO = st.integers(0, 2)
EVENTS = st.one_of(
    st.tuples(
        st.just("ask"),
        st.integers(1, 4),
        st.integers(0, 2),
        st.sampled_from(["plain"] * 5 + ["in two parts", "other chain", "ping", "key", "bytes", "raw bytes"]),
    ),
    st.tuples(st.just("ask"), st.integers(1, 4), st.just(1), st.just("plain")),
    st.tuples(
        st.just("answer"),
        WHO,
        st.sampled_from(["signed"] * 4 + ["refused", "not now", "wrong", "of no request", "in two parts", "twice"]),
    ),
    st.tuples(st.just("answer"), st.just(0), st.just("signed")),
    st.tuples(st.just("lead"), WHO, st.integers(0, 3)),
    st.tuples(st.just("lose"), WHO),
    st.tuples(st.just("link"), WHO),
    st.tuples(st.just("passes"), st.sampled_from([0.001, 0.07, 0.16, 5.0])),
    st.tuples(st.just("validator_returns")),
)


async def _play(home: Path, events: list[tuple], *, hot: bool, core: Core) -> dict[str, object]:
    stage = Stage(home, hot=hot, core=core)
    try:
        for name, *arguments in events:
            getattr(stage, name)(*arguments)
        return stage.outcome()
    finally:
        stage.close()


@settings(max_examples=300, deadline=None)
@given(events=st.lists(EVENTS, max_size=30))
@example(
    events=[
        ("ask", 1, 1, "plain"),
        ("ask", 1, 1, "plain"),
        ("passes", 0.16),
        ("answer", 0, "signed"),
        ("answer", 1, "of no request"),
    ]
)
def test_an_agent_with_the_cores_lanes_and_the_general_path_cannot_be_told_apart(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple]
) -> None:
    """Whatever the validator asks and the nodes answer, in whatever order, and whoever comes and
    goes; the pure core likewise.
    """
    home = tmp_path_factory.getbasetemp()
    found = [
        asyncio.run(_play(home, events, hot=hot, core=core))
        for hot, core in ((True, CORE), (False, CORE), (False, pure.CORE))
    ]
    assert found[0] == found[1] == found[2]


def test_a_plain_request_and_its_signature_pass_without_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        stage = Stage(tmp_path, hot=True, core=CORE)
        try:
            counted = itertools.count()
            monkeypatch.setattr(type(stage.asker), "on_question", lambda _self: next(counted))
            monkeypatch.setattr(type(stage.asker), "_check", lambda _self, _answer: next(counted))
            for height in (1, 2, 3):
                stage.ask(height, 2, "plain")
                stage.answer(0, "signed")
            assert next(counted) == 0
            outcome = stage.outcome()
            assert [len(one) for one in outcome["asks"].values()] == [3, 0, 0]  # type: ignore[attr-defined]
            assert outcome["validators"][0]["counters"].signed == 3  # type: ignore[index]
            for wire in stage.answers:
                vote = CORE.decode_message(Dialect.PROTO, wire).vote
                assert vote is not None
                assert len(vote.signature) == len(vote.extension_signature) == 64
        finally:
            stage.close()

    asyncio.run(main())


def test_what_a_nodes_socket_does_not_take_is_asked_when_it_does(tmp_path: Path) -> None:
    """The core's lane gives back what did not go out, and nothing overtakes it."""

    async def main() -> None:
        stage = Stage(tmp_path, hot=True, core=CORE)
        try:
            node = stage.nodes["node0"]
            link = node.link
            assert link._socket is not None
            assert link.lane is not None
            link._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            pings = 0
            while not link._outbox:
                link.send(Ping(7, ()))
                pings += 1
            assert link.lane.blocked
            node.collect()  # now the socket would take more
            stage.ask(1, 1, "plain")  # the general path's, behind what waits
            assert link._outbox is not None
            while link._outbox:
                node.collect()
                link._outbox._on_writable()
            assert not link.lane.blocked
            node.collect()
            assert [type(one) for one in node.got] == [Ping] * pings + [Ask]
            stage.answer(0, "signed")
            assert stage.outcome()["validators"][0]["counters"].signed == 1  # type: ignore[index]
        finally:
            stage.close()

    asyncio.run(main())


def test_what_a_validators_socket_does_not_take_comes_first_when_it_does(tmp_path: Path) -> None:
    """A validator that does not read: its answer waits, whole and in its place, and the
    next one behind it.
    """

    async def main() -> None:
        stage = Stage(tmp_path, hot=True, core=CORE)
        try:
            end = stage.asker.end
            assert end._socket is not None
            end._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            height = 0
            while not end._outbox:  # what the core sends finds a full socket one day
                height += 1
                stage.ask(height, 1, "plain")
                stage.answer(0, "signed")
            assert end._outbox is not None
            assert end._lane is not None
            assert end._lane.blocked
            stage.ask(height + 1, 1, "plain")
            stage.collect()  # now it would take more
            stage.answer(0, "signed")
            while end._outbox:
                end._outbox._on_writable()
                stage.collect()
            assert not end._lane.blocked
            votes = [CORE.decode_message(Dialect.PROTO, wire).vote for wire in stage.answers]
            assert [vote.height for vote in votes if vote is not None] == list(range(1, height + 2))
            assert len(votes) == height + 1
        finally:
            stage.close()

    asyncio.run(main())


@pytest.mark.parametrize("core", [CORE, pure.CORE], ids=lambda core: core.name)
def test_a_node_that_answers_before_it_says_hello_loses_its_link_and_nothing_is_passed_on(
    tmp_path: Path, core: Core
) -> None:
    async def main() -> None:
        stage = Stage(tmp_path, hot=True, core=core)
        try:
            stage.ask(1, 1, "plain")
            node0, node1 = stage.nodes["node0"], stage.nodes["node1"]
            node0.collect()
            (asked,) = [one for one in node0.got if isinstance(one, Ask)]
            session = CORE.session(asked.dialect, CHAIN, None, asked.message)
            request = session.next_request()
            assert request is not None
            slot = CORE.key_slot(bytearray(base64.b64encode(bytes(KEY) + PUBLIC)), CHAIN)
            signed = session.answer_sign(slot, Permit(request.sign_bytes))[1]
            node1.lose()
            node1.first = Answer(asked.seq, signed)
            node1.connect()
            assert not node1.link.up
            assert node1.link._socket is None
            stage.collect()
            assert stage.answers == []
            node0.send(Answer(asked.seq, signed))
            stage.collect()
            assert len(stage.answers) == 1
        finally:
            stage.close()

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["bytes", "raw bytes"])
def test_bytes_that_are_no_vote_are_refused_in_words_and_no_node_is_asked(tmp_path: Path, kind: str) -> None:
    async def main() -> None:
        stage = Stage(tmp_path, hot=True, core=CORE)
        try:
            stage.ask(1, 1, kind)
            outcome = stage.outcome()
            (answer,) = [CORE.decode_message(Dialect.PROTO, wire) for wire in stage.answers]
            assert (answer.kind, answer.value) == (Kind.SIGN_BYTES_RESPONSE, b"")
            assert answer.error is not None
            assert answer.error.description.startswith("bytes not allowed: ")
            assert not any(outcome["asks"].values())  # type: ignore[attr-defined]
            assert outcome["validators"][0]["counters"].refused == 1  # type: ignore[index]
        finally:
            stage.close()

    asyncio.run(main())


# --- the public key ---

OTHER_PUBLIC = bytes(SigningKey(b"o" * 32).verify_key)


def hello(name: str, key: bytes, *more: ServedChain) -> Hello:
    return Hello(name, "node0", (ServedChain(CHAIN, key), *more))


class Silent(Stage):
    """Its nodes have not said hello: the test does."""

    def __init__(self, home: Path) -> None:
        super().__init__(home, hot=True, core=CORE)
        for name in NODES:
            self.nodes[name].lose()
        self.agent.public_keys.clear()
        self.agent._key_path.unlink()

    def says(self, who: int, key: bytes, *more: ServedChain) -> None:
        """On a link of its own."""
        node = self.nodes[NODES[who]]
        node.lose()
        node.first = hello(node.name, key, *more)
        node.connect()

    @property
    def linked(self) -> set[str]:
        return {name for name, link in self.agent.links.items() if link.up}


def test_a_node_that_lies_about_the_key_before_any_other_keeps_nobody_out(tmp_path: Path) -> None:
    async def main() -> None:
        stage = Silent(tmp_path)
        try:
            stage.says(2, OTHER_PUBLIC)
            stage.says(2, OTHER_PUBLIC)  # twice the same one
            stage.says(0, PUBLIC)
            assert stage.agent.public_keys == {}
            assert not (tmp_path / PUBLIC_KEYS_NAME).exists()
            stage.ask(1, 1, "key")
            stage.collect()
            assert stage.answers == []  # what is not known is not told
            stage.agent.log = Told()
            stage.says(1, PUBLIC)
            assert stage.agent.public_keys == _load_public_keys(tmp_path / PUBLIC_KEYS_NAME) == {CHAIN: PUBLIC}
            known = {"chain": CHAIN, "key": PUBLIC.hex(), "shown_by": "node0, node1"}
            assert stage.agent.log.lines == [f"public key known {known}"]
            assert stage.linked == {"node0", "node1"}
            assert stage.asker.asking.up == {"node0", "node1"}
            stage.collect()
            assert len(stage.answers) == 1
            assert PUBLIC in stage.answers[0]
            stage.says(2, OTHER_PUBLIC)
            assert stage.linked == {"node0", "node1"}
            stage.turn()
            stage.ask(1, 1, "plain")
            stage.answer(0, "signed")
            assert stage.asker.asking.counters.signed == 1
        finally:
            stage.close()

    asyncio.run(main())


def test_a_node_that_goes_before_the_key_is_known_is_not_counted(tmp_path: Path) -> None:
    async def main() -> None:
        stage = Silent(tmp_path)
        try:
            stage.says(0, PUBLIC)
            stage.lose(0)
            stage.says(1, PUBLIC)
            assert stage.agent.public_keys == {}
            stage.says(2, PUBLIC)
            assert stage.agent.public_keys == {CHAIN: PUBLIC}
            assert stage.asker.asking.up == {"node1", "node2"}
        finally:
            stage.close()

    asyncio.run(main())


def test_keys_of_chains_that_an_agent_does_not_serve_are_not_kept(tmp_path: Path) -> None:
    """A node that lies could name a thousand of them, one hello after the other."""

    async def main() -> None:
        stage = Stage(tmp_path, hot=True, core=CORE)
        try:
            for number in range(5):
                stage.lose(2)
                stage.nodes["node2"].first = hello("node2", PUBLIC, ServedChain(f"x-{number}", OTHER_PUBLIC))
                stage.link(2)
            assert stage.agent.links["node2"].up
            assert stage.agent.public_keys == _load_public_keys(tmp_path / PUBLIC_KEYS_NAME) == {CHAIN: PUBLIC}
        finally:
            stage.close()

    asyncio.run(main())
