"""Agents of the fast seeds: the agent's process and the nodes' port for agents that ship, the C
core's path at both ends, over the world's clock and sockets.

    Loop        what a process has in asyncio's loop's place
    Port        a signer's port for agents (cometkms.signer.agent_link), and the door in front of it
    Link        an agent's connection to a signer: both ends' ciphers are real, and the world has
                its hands on the messages between them
    Client      the validator at its connection to the agent
    RelayAgent  an agent (cometkms.agent.process) and its validator

Dialling, handshakes and the pauses between two dials are the world's. A message between an agent
and a node comes late, twice, before an older one, or never, as between agents and nodes of the
general path (agents.py); what a lying node says is sealed as that node's. An agent is killed before
or after any of its sends, in C or in Python, and before it looks at what arrived; then another
process starts, which finds the public keys that were kept, and nothing else. Now and then an agent
stands still, and a validator hangs up before it has its answer.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nacl.signing import SigningKey

from cometkms.address import Address
from cometkms.agent.config import AgentSettings, NodeEntry, ValidatorEntry
from cometkms.agent.process import Agent as AgentProcess
from cometkms.config.values import parse_validator
from cometkms.core import choose
from cometkms.core.interface import Frames, Passed
from cometkms.core.native.relay import NativeRelayPath
from cometkms.core.native.sign import NativeDesk
from cometkms.errors import ProtocolError
from cometkms.limits import AGENT_PING_S
from cometkms.model import HRS, Dialect, Kind, Message
from cometkms.net.door import Admitted, DoorCounters
from cometkms.signer.agent_link import AgentPort
from cometkms.wire.agent_messages import AgentMessage, Answer, Ask, Hello, Lead, NotNow, Unpacker, decode, encode
from cometkms.wire.identity import Identity
from tests.sim import fast as paths
from tests.sim import ground
from tests.sim.agents import DOUBLED, KILLED, LIED, LOST, Asked, Asker
from tests.sim.disk import SimDisk

if TYPE_CHECKING:
    from tests.sim.fast import FastSigner
    from tests.sim.signing import Signer
    from tests.sim.world import World

CORE = choose.load()
SPOKEN = 0.002  # of what a liar is asked, something breaks the protocol
FROZEN = 0.001  # of the looks at which an agent stands still for a while
# of the signers that end, the connections say nothing any more, as when their host is gone
GONE = 0.5
U64 = (1 << 64) - 1


class Timer:
    """What call_later() gives."""

    def __init__(self, step: Callable[[], object]) -> None:
        self.step = step
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Ended:
    """What create_future() gives: somebody is told once."""

    def __init__(self) -> None:
        self.told: str | None = None
        self.then: Callable[[], None] = lambda: None

    def done(self) -> bool:
        return self.told is not None

    def set_result(self, why: str) -> None:
        self.told = why
        self.then()


class Loop:
    """A process's loop. `alive`: whether the process is there; `still_until`: when it moves again."""

    def __init__(
        self,
        world: "World",
        calls: "paths.Calls",
        *,
        clock: Callable[[], float],
        alive: Callable[[], bool],
        still_until: Callable[[], float],
    ) -> None:
        self.world, self.calls, self.time = world, calls, clock
        self.alive, self.still_until = alive, still_until
        self._readers: dict[int, Callable[[], object]] = {}
        self._writers: dict[int, Callable[[], object]] = {}
        self._awaited: set[tuple[int, bool]] = set()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Be what asyncio.get_running_loop() gives."""
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self)  # type: ignore[arg-type] # as much of a loop as the processes ask for
        try:
            yield
        finally:
            asyncio._set_running_loop(before)

    def run(self, step: Callable[..., object], *arguments: Any, **named: Any) -> None:
        """Do a step of the process, if it is there."""
        if self.alive():
            with self.running():
                self.calls.run(step, *arguments, **named)

    # --- asyncio's ---

    def call_later(self, delay_s: float, step: Callable[..., object], *arguments: Any) -> Timer:
        timer = Timer(lambda: step(*arguments))
        self.world.after(max(0.0, delay_s), self._due, timer)
        return timer

    def call_at(self, at: float, step: Callable[..., object], *arguments: Any) -> Timer:
        return self.call_later(at - self.time(), step, *arguments)

    def call_soon(self, step: Callable[..., object], *arguments: Any) -> Timer:
        return self.call_later(0.0, step, *arguments)

    def create_future(self) -> Ended:
        return Ended()

    def add_reader(self, fd: int, step: Callable[[], object]) -> None:
        self._readers[fd] = step
        self.look(fd)

    def remove_reader(self, fd: int) -> bool:
        return self._readers.pop(fd, None) is not None

    def add_writer(self, fd: int, step: Callable[[], object]) -> None:
        self._writers[fd] = step
        self._await(fd, self.world.wire.uniform(0.0005, 0.02), writes=True)

    def remove_writer(self, fd: int) -> bool:
        return self._writers.pop(fd, None) is not None

    # --- inside ---

    def _due(self, timer: Timer) -> None:
        if timer.cancelled or not self.alive():
            return
        if not self.world.stands_still(self.still_until(), self._due, timer):
            self.run(timer.step)

    def look(self, fd: int) -> None:
        """Something may have arrived there, which is read a little later."""
        socket = self.calls.sockets.get(fd)
        if fd in self._readers and socket is not None and (socket.arrived or socket.ended):
            self._await(fd, self.world.wire.uniform(0, 0.0003), writes=False)

    def _await(self, fd: int, delay_s: float, *, writes: bool) -> None:
        if (fd, writes) not in self._awaited:
            self._awaited.add((fd, writes))
            self.world.after(delay_s, self._on_ready, fd, writes)

    def _on_ready(self, fd: int, writes: bool) -> None:
        if not self.alive():
            return
        if self.world.stands_still(self.still_until(), self._on_ready, fd, writes):
            return
        self._awaited.discard((fd, writes))
        step = (self._writers if writes else self._readers).get(fd)
        if step is not None:
            self.run(step)
        if writes and fd in self._writers:
            self._await(fd, self.world.wire.uniform(0.0005, 0.02), writes=True)
        self.look(fd)


class StreamSocket(paths.Socket):
    """A socket as the processes' own Python uses it. `closed`: is told once when it is."""

    def __init__(
        self, loop: Loop, take: Callable[[bytes], None], room: Callable[[int], int], closed: Callable[[], None]
    ) -> None:
        super().__init__(loop.calls, take, room)
        self._closed: Callable[[], None] | None = closed

    def fileno(self) -> int:
        return self.fd

    def close(self) -> None:
        super().close()
        closed, self._closed = self._closed, None
        if closed is not None:
            closed()


class Entrance:
    """The door's end that a port reads: whom it admitted."""

    def __init__(self, loop: Loop) -> None:
        self.counters = DoorCounters()
        self.listed: set[bytes] = set()
        self._loop = loop
        self._socket = paths.Socket(loop.calls, lambda _data: None, lambda size: size)
        self._admitted: deque[Admitted] = deque()

    def fileno(self) -> int:
        return self._socket.fd

    def allow(self, keys: set[bytes]) -> None:
        self.listed = keys

    def take(self) -> Admitted | None:
        self._socket.arrived.clear()
        return self._admitted.popleft() if self._admitted else None

    def admit(self, admitted: Admitted) -> None:
        self._admitted.append(admitted)
        self._socket.arrived += b"A"
        self._loop.look(self._socket.fd)


class JudgedDesk(NativeDesk):
    """The sign rule holds by itself in C, for agents too. Raises: Violation."""

    __slots__ = ("_world",)

    def __init__(self, fast: "FastSigner", frames: Frames, fd: int) -> None:
        super().__init__(fast.path, frames, fd)  # type: ignore[arg-type] # the C core's
        self._world = fast.world

    def turn(self, *, serve: bool) -> tuple[bytes, int]:
        section = self._path.c.sections[0]
        signed = HRS(section.last.height, section.last.round, section.last.step)
        rest, reserved = super().turn(serve=serve)
        if reserved:
            request = section.asker.session.request
            at = HRS(request.height, request.round, request.step)
            if at <= signed:
                raise self._world.violation(f"C reserves {at} for an agent, and {signed} is signed")
            self._world.count("reserved in C for an agent")
        return rest, reserved


class Port:
    """A signer's port for agents, as signer/process.py has it."""

    def __init__(self, fast: "FastSigner") -> None:
        signer, world = fast.signer, fast.world
        self.signer = signer
        self.loop = Loop(
            world,
            fast.calls,
            clock=signer.node.clock,
            alive=lambda: signer.alive,
            still_until=lambda: signer.still_until,
        )
        self.entrance = Entrance(self.loop)
        with self.loop.running():
            self._port = AgentPort(
                door=self.entrance,  # type: ignore[arg-type] # its socket is the world's
                chains={ground.CHAIN: signer.chain},
                listed={
                    ground.CHAIN: {f"agent-{number}": identity_of(number).public_key for number in range(world.agents)}
                },
                core=CORE,
                node=signer.node.member,
                log=ground.SilentLog(world, f"{signer.node.name}'s port"),
                desk=lambda frames, fd: JudgedDesk(fast, frames, fd),
                new_number=lambda: next(fast.numbers),
                settle=fast.settle,
            )
            self._port.start()

    def on_standing(self, *, leads: bool, leader: str | None = None) -> None:
        self.loop.run(self._port.on_standing, leads=leads, leader=leader)

    def on_answered(self, number: int) -> None:
        self.loop.run(self._port.on_answered, number)

    def check(self) -> None:
        self.loop.run(self._port.check)


def identity_of(number: int) -> Identity:
    """An agent's own key."""
    return Identity(SigningKey(f"agent {number}".encode().ljust(32, b"a")))


class Side:
    """A process's end of a link."""

    def __init__(self, link: "Link", loop: Loop, *, near: bool) -> None:
        self.link, self.loop, self.near = link, loop, near
        self.socket = StreamSocket(loop, self._on_sent, link.room, self._on_closed)
        # opens what the process sends, seals what it receives
        self._frames = CORE.frames(paths.KEY_OUT, paths.KEY_IN)
        self._unpacker = Unpacker()
        self._coming = bytearray()

    def _on_sent(self, sealed: bytes) -> None:
        agent = self.link.agent
        if not self.loop.alive() or (self.near and agent.dies("before")):
            return
        try:
            found = self._unpacker.feed(self._frames.open(sealed))
        except ProtocolError as error:
            raise agent.world.violation(f"bytes leave for a link out of their order: {error}") from error
        for data in found:
            self.link.transmit(self, decode(data), in_c=self.loop.calls.sending)
        if self.near:
            agent.dies("after")

    def arrive(self, message: bytes) -> None:
        """The network brings a message, whole or in two pieces."""
        rng = self.link.agent.rng
        self._coming += self._frames.seal(message)
        self._bring(rng.randrange(len(self._coming)) if rng.random() < paths.CUT else len(self._coming))

    def _bring(self, size: int) -> None:
        self.socket.arrived += self._coming[:size]
        del self._coming[:size]
        if self._coming:
            self.link.agent.world.after(self.link.agent.rng.uniform(0, 0.002), self._bring, len(self._coming))
        self.loop.look(self.socket.fd)

    def end(self) -> None:
        """The other end closed it."""
        self.socket.ended = True
        self.loop.look(self.socket.fd)

    def _on_closed(self) -> None:
        other = self.link.far if self.near else self.link.near
        self.link.agent.world.after(self.link.agent.rng.uniform(0.0002, 0.003), other.end)


class Link:
    """An agent's connection to a signer."""

    def __init__(self, agent: "RelayAgent", name: str, signer: "Signer") -> None:
        assert signer.port is not None
        self.agent, self.name, self.signer = agent, name, signer
        self.near = Side(self, agent.loop, near=True)
        self.far = Side(self, signer.port.loop, near=False)
        self.deserted = False  # the signer's process is gone, and this connection knows
        self._greeted_at = float("inf")
        # on this connection: another process of the agent's begins with number one again
        self._asked = Asked()
        signer.port.entrance.admit(
            Admitted(agent.identity.public_key, paths.KEY_OUT, paths.KEY_IN, self.far.socket)  # type: ignore[arg-type]
        )

    def room(self, size: int) -> int:
        rng = self.agent.rng
        return rng.randrange(size) if self.agent.world.lossy and rng.random() < paths.SHORT else size

    def transmit(self, side: Side, message: AgentMessage, *, in_c: bool) -> None:
        """A message is on its way."""
        agent, world, rng = self.agent, self.agent.world, self.agent.rng
        match message:
            case Ask(seq, _, dialect, _, wire):
                vote = CORE.decode_message(dialect, wire).vote
                assert vote is not None
                self._asked.note(seq, vote)
                if in_c:
                    world.count("asked in C")
                if self.name == agent.liar and rng.random() < LIED:
                    self.lie(seq, vote)
            case Answer(seq, wire):
                agent.judge_answer(self._asked.get(seq), wire)
                if in_c:
                    world.count("answered in C")
        other = self.far if side.near else self.near
        if isinstance(message, Hello):  # on a connection it is the first
            self._greeted_at = world.now + rng.uniform(0.0001, 0.001)
            world.after(self._greeted_at - world.now, other.arrive, encode(message))
            return
        if rng.random() < LOST and not world.healing:
            return
        for _ in range(1 + (rng.random() < DOUBLED)):
            late = rng.random() < world.spikes
            at = world.now + (rng.uniform(0, 0.3) if late else rng.uniform(0.0001, 0.001))
            if not side.near:
                at = max(at, self._greeted_at + 1e-6, self.signer.node.unreached_until)
            world.after(at - world.now, other.arrive, encode(message))

    def lie(self, seq: int, vote: Any) -> None:
        """Somebody with that node's identity says something, to this request or to another."""
        agent, world, rng = self.agent, self.agent.world, self.agent.rng
        world.count("lies to agents")
        number = rng.choice((seq, seq, seq, max(0, seq - 1), seq + 1, 0, U64))
        leader = rng.choice(("", self.name, "nobody", *world.names))
        said: AgentMessage
        if rng.random() < SPOKEN / LIED:
            said = rng.choice((Hello(self.name, leader, ()), Ask(number, ground.CHAIN, Dialect.PROTO, False, b"?")))
        else:
            said = rng.choice(
                (
                    NotNow(number, "because", leader),
                    Lead(leader),
                    Answer(number, agent.lie_about(vote)),
                    Answer(number, agent.lie_about(vote)),
                )
            )
        world.after(rng.uniform(0.0001, 0.001), self.near.arrive, encode(said))

    def watch(self) -> None:
        """Where the signer's process is gone: the agent hears of it, or nothing any more."""
        if not self.deserted and not self.signer.alive:
            self.deserted = True
            if self.agent.rng.random() >= GONE:
                self.agent.world.after(self.agent.rng.uniform(0.0002, 0.003), self.near.end)


class Client:
    """The validator's end of its connection to the agent; for every other one sealed."""

    def __init__(self, agent: "RelayAgent", number: int) -> None:
        self.agent = agent
        self.loop = agent.loop
        sealed = number % 2 == 1
        self._frames = CORE.frames(paths.KEY_OUT, paths.KEY_IN) if sealed else None
        self._answer = bytearray()
        self.asks_key = False
        self.open = True
        self.socket = StreamSocket(self.loop, self._on_sent, agent.room, self._on_closed)
        end = agent.process.askers[0].end
        end.dialect = Dialect.PROTO
        theirs = CORE.frames(paths.KEY_IN, paths.KEY_OUT) if sealed else None
        self.ended = end._adopt(self.socket, CORE.session(Dialect.PROTO, ground.CHAIN, theirs, b""))  # type: ignore[arg-type]

    def ask(self, message: Message) -> None:
        """It asks, in one piece or two."""
        wire = CORE.encode_message(Dialect.PROTO, message)
        self._bring(self._frames.seal(wire) if self._frames is not None else wire)

    def _bring(self, data: bytes) -> None:
        rng = self.agent.rng
        cut = rng.randrange(len(data)) if rng.random() < paths.CUT else len(data)
        self.socket.arrived += data[:cut]
        if cut < len(data):
            self.agent.world.after(rng.uniform(0, 0.002), self._bring, data[cut:])
        self.loop.look(self.socket.fd)

    def hang_up(self) -> None:
        """The validator closes it."""
        if self.open:
            self.open = False
            self.socket.ended = True
            self.loop.look(self.socket.fd)

    def _on_sent(self, data: bytes) -> None:
        if not self.loop.alive() or self.agent.dies("before"):
            return
        try:
            self._answer += self._frames.open(data) if self._frames is not None else data
        except ProtocolError as error:
            raise self.agent.world.violation(f"an agent sends bytes out of their order: {error}") from error
        while (size := paths.message_size(self._answer)) is not None:
            frame = bytes(self._answer[:size])
            del self._answer[:size]
            if self.open:
                self.agent.on_answer(self, frame, in_c=self.loop.calls.sending)
        self.agent.dies("after")

    def _on_closed(self) -> None:
        self.open = False


class _CountedProcess(AgentProcess):
    """What the core passed on is counted."""

    world: "World"

    def on_passed(self, node: str, passed: Passed) -> None:
        self.world.count("passed on in C")
        super().on_passed(node, passed)


class RelayAgent(Asker):
    """One agent's process after the other, and the validator beside them."""

    process: _CountedProcess
    loop: Loop

    def __init__(self, world: "World", number: int) -> None:
        super().__init__(world, number)
        self.identity = identity_of(number)
        home = world.directory / f"agent-{number}"
        home.mkdir()
        self.settings = AgentSettings(
            home,
            f"agent-{number}",
            tuple(NodeEntry(name, Address("127.0.0.1", 1), world.keys[name]) for name in world.names),
            (ValidatorEntry(ground.CHAIN, parse_validator("unix:///validator.sock")),),
        )
        self.life = 0
        self.still_until = 0.0
        self.links: dict[str, Link] = {}
        self.client: Client | None = None
        self._clients = itertools.count()
        world.after(0.0, self.start)

    def room(self, size: int) -> int:
        return self.rng.randrange(size) if self.world.lossy and self.rng.random() < paths.SHORT else size

    # --- the process ---

    def start(self) -> None:
        """Another process begins."""
        self.life += 1
        life, world = self.life, self.world
        calls = paths.Calls(SimDisk(self.rng), lambda: int(world.now * 1e9), lambda _sector: None, world.count)
        self.loop = Loop(
            world,
            calls,
            clock=lambda: world.now,
            alive=lambda: self.life == life,
            still_until=lambda: self.still_until,
        )
        self.links.clear()
        self.client = None
        with self.loop.running():
            self.process = _CountedProcess(
                self.settings,
                CORE,
                self.identity,
                ground.SilentLog(world, f"agent {self.number}"),  # type: ignore[arg-type]
                clock=lambda: world.now,
            )
        self.process.world = world
        assert isinstance(self.process.path, NativeRelayPath)
        self.process.path.c.calls = calls.table
        for name in world.names:
            world.after(self.rng.uniform(0, 0.02), self.dial, life, name)
        world.after(self.rng.uniform(0, 0.02), self.dial_validator, life)
        world.after(AGENT_PING_S, self.look_around, life)

    def dies(self, when: str) -> bool:
        """Whether the process is killed now."""
        if self.world.healing or self.rng.random() >= KILLED:
            return False
        self.world.note(f"agent {self.number} is killed {when} it sent something")
        self.world.count("agents killed")
        self.kill()
        return True

    def kill(self) -> None:
        """Its connections end, and it starts again soon.

        C may be under way in it: what it still sends goes nowhere.
        """
        self.life += 1
        self.asked_at = None
        for link in self.links.values():
            self.world.after(self.rng.uniform(0.0002, 0.003), link.far.end)
        if self.client is not None:
            self.client.open = False
        self.world.after(self.rng.uniform(0.02, 0.3), self.start)

    def look_around(self, life: int) -> None:
        """Once a second: its deadlines and pings."""
        if life != self.life:
            return
        self.world.after(AGENT_PING_S, self.look_around, life)
        if self.world.now >= self.still_until:
            self.loop.run(self.process.check)
            for link in self.process.links.values():
                self.loop.run(link.ping)

    # --- its connections ---

    def dial(self, life: int, name: str) -> None:
        """Connect to whichever machine stands for the member."""
        if life != self.life:
            return
        world = self.world
        found = [
            node.signer
            for node in world.nodes.values()
            if node.member == name and not node.superseded and node.signer is not None and node.cluster is not None
        ]
        signer = self.rng.choice(found) if found else None
        if signer is None or world.now < max(signer.still_until, signer.node.unreached_until, self.still_until):
            world.after(self.rng.uniform(0.01, 0.1), self.dial, life, name)
            return
        self.links[name] = link = Link(self, name, signer)

        def adopt() -> None:
            frames = CORE.frames(paths.KEY_IN, paths.KEY_OUT)
            ended = self.process.links[name]._adopt(link.near.socket, frames)  # type: ignore[arg-type]
            assert isinstance(ended, Ended)
            ended.then = lambda: self.world.after(self.rng.uniform(0.01, 0.1), self.dial, life, name)

        self.loop.run(adopt)

    def dial_validator(self, life: int) -> None:
        """The agent connects to the validator, which begins with its question for the key."""
        if life != self.life:
            return

        def adopt() -> None:
            self.client = client = Client(self, next(self._clients))
            client.ended.then = lambda: self.on_validator_lost(life)  # type: ignore[attr-defined] # an Ended

        self.loop.run(adopt)
        assert self.client is not None
        self.client.asks_key = True
        self.client.ask(Message(Kind.PUB_KEY_REQUEST, ground.CHAIN))

    def on_validator_lost(self, life: int) -> None:
        """The agent knows that the connection is gone."""
        self.asked_at = None
        if self.client is not None:
            self.client.open = False
        self.world.after(self.rng.uniform(0.01, 0.1), self.dial_validator, life)

    # --- the validator ---

    def poll(self) -> None:
        """Every few milliseconds: look at what became of the last request, or ask for
        the next place.
        """
        world = self.world
        world.after(self.rng.uniform(0.002, 0.01), self.poll)
        for link in self.links.values():
            link.watch()
        if world.now < self.still_until:
            return
        if self.rng.random() < FROZEN and not world.healing:
            self.still_until = world.now + self.rng.uniform(0.05, 1.0)
            world.count("agents frozen")
            if self.asked_at is not None:
                self.asked_at += self.still_until - world.now
            return
        if self.client is None or not self.client.open or self.client.asks_key:
            return
        if self.asked_at is not None:
            self.judge_time()
            return
        if self.rng.random() < world.agents_rest:
            return
        self.vote = world.vote_of(self.rng, self.place)
        self.asked_at = world.now
        self.client.ask(Message(Kind.SIGN_VOTE_REQUEST, ground.CHAIN, vote=self.vote))
        if self.rng.random() < world.impatience and not world.healing:
            world.after(self.rng.uniform(0, 0.02), self.give_up, self.client)

    def give_up(self, client: Client) -> None:
        """The validator ends, or has had enough."""
        if client is self.client and client.open:
            self.asked_at = None
            client.hang_up()

    def on_answer(self, client: Client, frame: bytes, *, in_c: bool) -> None:
        """Bytes that left the agent for its validator."""
        message = CORE.decode_message(Dialect.PROTO, frame)
        if message.kind is Kind.PUB_KEY_RESPONSE:
            if not client.asks_key or message.pub_key != ground.ROW.public_key:
                raise ground.Violation(f"agent {self.number} tells the key {message.pub_key!r}")
            client.asks_key = False
            return
        self.over()
        assert self.vote is not None
        error, vote = message.error, message.vote
        if not (error is not None and error.code) and (vote is None or not vote.signature):
            if in_c:
                raise ground.Violation(f"agent {self.number} answers empty in C")
            self.world.count("empty answers of agents")
            return
        self.judge_passed_on(frame, self.vote)
        self.place = self.world.next_place(self.rng, self.place)
