"""One seeded run: N nodes, their disks, network, signers and validators under faults; what must hold is checked after each step.

check after each step     no two sign bytes at one place; no mark below its former self; every permit rests on a majority of
                          durable promises of those bytes; no term in which two processes led; a leader whenever a majority of
                          complete members has been connected for ELECTED_S
after the faults          everybody is up and reachable: it signs again, and every node comes to know the last signature

In every other seed the fast path serves what is plain, in C, over the world's own disk, network and clock (fast.py); in the rest the
general path does everything.
"""

import contextlib
import heapq
import itertools
import random
import select
import shutil
import tempfile
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from nacl.signing import SigningKey

from cometkms.core import choose
from cometkms.errors import CometKMSError, OperatorError, ProtocolError, StateError, SupersededError
from cometkms.keys.cluster import cluster_digest
from cometkms.limits import RAFT_COUNTED_FROM_UNIX_S, START_READ_S
from cometkms.model import HRS, BlockID, Dialect, Kind, Message, Reason, Request, Row, Step, Timestamp, Vote, Watermark
from cometkms.rules.birth import NodeState
from cometkms.rules.epoch import doubt
from cometkms.signer.chain import ChainSigner
from cometkms.state import membership
from cometkms.state.node import ClusterNode
from cometkms.state.raft import RaftLog
from cometkms.state.roster import Epoch
from cometkms.store import epoch as epochs
from cometkms.store import state_file
from cometkms.store.epoch import Seal
from cometkms.store.node_store import ChainFiles, NodeFiles, OpenedNode, open_node, recover, write_born
from cometkms.wire.identity import Identity as NodeIdentity
from cometkms.wire.peer_messages import Action
from cometkms.wire.queue_messages import (
    Leader,
    Lease,
    Mark,
    PermitGranted,
    QueueMessage,
    ReserveRefused,
    SignerHello,
    StateHello,
)
from cometkms.wire.queue_messages import encode as encode_queue
from tests.sim.agents import Agent, Asker
from tests.sim.disk import SimDisk

CHAIN = "sim-1"
TTL_S = 0.4
TICK_S = 0.01
SILENT_S = 2.0
ELECTED_S = 2.0  # a majority of connected, complete members has a leader within this
SAID_S = TTL_S + 0.6  # a node that hears no leader says so within this: what was on its way arrives first
LOOK_S = 0.05
ABSURD = 1_000_000  # heights above the chain's head
KEY = SigningKey(b"simulated validator key, 32 byte")
SECRET = b64encode(bytes(KEY) + bytes(KEY.verify_key))
ROW = Row(bytes(KEY.verify_key), CHAIN)
CORE = choose.load()
if CORE.name == "native":
    from tests.sim import fast as paths
    from tests.sim import relays
FAULTS = {
    "crash": 6, "power": 4, "cut": 4, "one-way": 2, "heal": 6, "freeze": 4, "signer": 2, "disk": 2, "wipe": 3,
    "transfer": 2, "order": 2, "kill all": 0.5, "ambush": 3, "stuck signer": 2, "unreached": 2,
    "replace": 3,
}  # fmt: skip


class Violation(AssertionError):
    """What must never be, was."""


class SilentLog:
    """Keeps the last events for the trace."""

    def __init__(self, world: "World", name: str) -> None:
        self._world, self._name = world, name

    def _say(self, event: str, **fields: object) -> None:
        self._world.note(f"{self._name}: {event} {fields or ''}")

    debug = info = warning = error = _say


@dataclass
class Connection:
    """Both directions of one channel between two processes. Frames arrive in order unless the world says otherwise."""

    ends: dict[str, int]  # node → its incarnation
    established: set[str] = field(default_factory=set)
    last_arrival: dict[str, float] = field(default_factory=dict)
    heard: dict[str, float] = field(default_factory=dict)
    open: bool = True
    gone: set[str] = field(default_factory=set)  # ends that know it is closed: until then, what was sent arrives
    streams: dict[str, "paths.PeerEnd"] = field(default_factory=dict)  # ends with a fast path


class Node:
    """One machine: its home, disk, and the life of its state and signer processes. `member`: whose node runs there.

    `name`: the machine's, by which the network knows it: one that took another's place has another.
    """

    cluster_class: type[ClusterNode] = ClusterNode
    may_be_fast = True

    def __init__(self, world: "World", name: str, member: str = "") -> None:
        self.world, self.name, self.member = world, name, member or name
        self.rng = random.Random(f"{world.seed} {name}")
        self.home = world.directory / name
        self.superseded = False
        self.born = next(world.order)
        self.disk = SimDisk(self.rng)
        self.incarnation = 0
        self.opened: OpenedNode | None = None
        self.cluster: ClusterNode | None = None
        self.raft: RaftLog | None = None
        self.signer: Signer | None = None
        self.frozen_until = 0.0
        self.offset = self.rng.uniform(0, 1000)  # of its monotonic clock
        self.wall_offset = (
            1e9 * random.Random(f"{world.seed} {name} wall").random()
        )  # thirty years: nothing rests on it
        self.signed_at = self.wall_clock()  # when its state file was written
        self.kicked = False
        self.unled_since = self.unreached_until = 0.0
        self.high = HRS(0, 0, 0)  # the highest mark this home ever showed, since it was last wiped or rolled back
        self.checked: Watermark | None = None
        path = self.home / "priv" / "priv_validator_state.json"
        path.parent.mkdir(parents=True)
        state_file.save(path, Watermark())
        self.files = NodeFiles.at(self.home, self.member, (ChainFiles(ROW, path),), world.names)
        self.fast: paths.FastState | None = None
        self.calls: paths.Calls | None = None
        self.queues: paths.Queues | None = None
        self.seen = -1  # of the row's sequence, where the fast path writes it too
        if world.fast and self.may_be_fast:
            self.calls = paths.Calls(
                self.disk, lambda: int(self.clock() * 1e9), paths.record_durable(self), world.count
            )
            self.queues = paths.Queues()
            world.watch(self.queues.requests.fileno(), self.on_requests)
            world.watch(self.queues.permits.fileno(), self.on_permits)

    @property
    def epoch(self) -> int:
        """Its store's; 0 while it is down."""
        return self.opened.store.header.epoch if self.opened is not None else 0

    @property
    def journal(self) -> Path:
        return self.files.store_path.with_name("raft")

    # --- processes ---

    def start(self) -> None:
        """The state process and, if it is not there, the signer."""
        world = self.world
        self.incarnation += 1
        self.disk.fail_next, self.disk.dark = "", False
        try:
            self.opened = open_node(self.files, CORE, self.disk)
        except OperatorError as error:
            if self.world.change is not None and "was sealed here" in str(error):
                return  # it is begun when the seals are there
            raise Violation(f"{self.name} does not start: {error}") from error
        if self.opened.store.header.state is NodeState.RECOVERING:
            self.high = HRS(0, 0, 0)  # a store that does not check was put aside: what it held is not counted on
        self.check()
        self.cluster = self.cluster_class(
            epoch=Epoch(
                self.member,
                self.epoch,
                self.files.members,
                cluster_digest(self.epoch, world.keys),
                world.keys,
                world.identities[self.member].sign,
            ),
            store=self.opened.store,
            rows=self.opened.rows,
            signed=self.opened.signed,
            raft=self.make_raft if len(world.names) > 1 else None,
            core=CORE,
            nonce=self.rng.getrandbits(62) + 1,
            ttl_s=TTL_S,
            strict=world.strict,
            facts=world.facts.get(self.member, ()),
            outside=self,
            clock=self.clock,
            wall_clock=self.wall_clock,
            signed_at=(self.signed_at,),
            log=SilentLog(world, self.name),
        )
        if self.queues is not None:
            self.queues.requests.discard()
            self.fast, self.seen = paths.FastState(self), -1
        if self.signer is None:
            self.signer = Signer(self)
        self.guarded(self.cluster.start)
        world.after(TICK_S * self.rng.random(), self.tick, self.incarnation)

    def make_raft(self, node: ClusterNode) -> RaftLog:
        self.raft = RaftLog(
            me=self.member,
            members=self.files.members,
            journal=self.journal,
            disk=self.disk,
            clock=self.clock,
            rng=self.rng,
            send=node.roster.send_raft,
            kick=self.kick,
            events=self,
            ttl_s=TTL_S,
            log=SilentLog(self.world, self.name),
            unix_s=self.calendar,
            round_trip_s=lambda peer: self.world.round_trip_to(self.member, peer),
            flow=node.roster.flow,
        )
        return self.raft

    def crash(self, *, power: bool = False, why: str = "crash") -> None:
        """The state process dies; with `power`, the whole machine."""
        if self.cluster is None:
            return
        self.world.note(f"{self.name}: {why}{' (power)' if power else ''}")
        for held in (self.raft, self.opened and self.opened.store):
            if held is not None:
                held.close()
        self.cluster = self.raft = self.opened = self.fast = None
        self.incarnation += 1
        if power:
            self.disk.power_fails()
            self.signer = None
        for connection in self.world.connections_of(self.name):
            self.world.close(connection, self.name, closed=True)

    def guarded(self, step: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        """What a process does when its code raises: it ends, and its supervisor starts it again."""
        if self.cluster is None:
            return
        try:
            step(*arguments, **named)
            if self.disk.dark:  # whoever did not notice that the power failed
                self.crash(power=True, why="dark")
                self.world.after(0.3, self.restart_if_down)
        except ProtocolError:
            raise  # the connection's end
        except CometKMSError as error:
            self.world.on_ended(self, error)
            self.crash(power=self.disk.dark, why=f"{type(error).__name__}: {error}")
            if isinstance(error, SupersededError):
                self.world.on_superseded(self)
                return
            self.world.after(self.rng.uniform(0.05, 0.5), self.restart_if_down)

    def restart_if_down(self) -> None:
        if self.cluster is None and not self.superseded:
            self.start()

    def clock(self) -> float:
        return self.world.now + self.offset

    def calendar(self) -> float:
        """Seconds since 1970: an hour into the program's own counting, and wrong by a second at most."""
        return RAFT_COUNTED_FROM_UNIX_S + 3600.0 + self.world.now + self.offset / 1000

    def wall_clock(self) -> float:
        return self.world.now + self.wall_offset

    def tick(self, incarnation: int) -> None:
        if incarnation != self.incarnation or self.cluster is None:
            return
        if self.world.stands_still(self.frozen_until, self.tick, incarnation):
            return
        self.guarded(self.cluster.tick)
        self.world.after(TICK_S, self.tick, incarnation)

    def kick(self) -> None:
        if not self.kicked:
            self.kicked = True
            self.world.after(0.00005, self.on_kick, self.incarnation)

    def on_kick(self, incarnation: int) -> None:
        self.kicked = False
        if incarnation == self.incarnation and self.cluster is not None and self.world.now >= self.frozen_until:
            self.guarded(self.cluster.tick)

    # --- state.node.Outside and the replicated log's events ---

    def send(self, member: str, payload: bytes) -> bool:
        return self.world.send(self.name, member, payload)

    def ends(self) -> list["paths.PeerEnd"]:
        """Of this machine's connections that are there."""
        found = [connection.streams.get(self.name) for connection in self.world.connections_of(self.name)]
        return [end for end in found if end is not None and end.lives]

    def on_requests(self) -> None:
        """The signer woke the state process."""
        if self.fast is None:
            return
        if self.world.stands_still(self.frozen_until, self.on_requests):
            return
        self.guarded(self.fast.on_queue)

    def on_permits(self) -> None:
        """The state process woke the signer."""
        if self.signer is None or self.signer.fast is None:
            return
        if self.world.stands_still(self.signer.still_until, self.on_permits):
            return
        self.signer.fast.on_queue()

    def disconnect(self, member: str, why: str) -> None:
        self.world.note(f"{self.name}: disconnects {member}: {why}")
        for connection in self.world.connections_of(self.name):
            if member in (self.world.nodes[end].member for end in connection.ends):
                self.world.close(connection, self.name, closed=True)

    def to_signer(self, message: QueueMessage) -> None:
        if isinstance(message, PermitGranted):
            self.world.judge_permit(message.permit.sign_bytes)
        if self.queues is not None:
            if not self.queues.permits.push(encode_queue(message)):
                self.world.note(f"{self.name}: the queue to the signer is full")
        elif self.signer is not None:
            self.world.after(self.rng.uniform(0, 0.0005), self.signer.on_message, message)

    def on_signed(self, row: int, mark: Watermark) -> None:
        self.world.after(self.rng.uniform(0.005, 0.05), self.save, mark)

    def save(self, mark: Watermark) -> None:
        path = self.files.chains[0].state_path
        if state_file.load(path, CHAIN, CORE.parse_sign_bytes).hrs < mark.hrs:
            state_file.save(path, mark)
            self.signed_at = self.wall_clock()

    def before_birth(self) -> None:
        write_born(self.files, self.epoch)

    def on_sealed(self, following: tuple[str, ...]) -> None:
        write_born(self.files, self.epoch, following)

    def mark_raised(self, row: int) -> None:
        assert self.opened is not None
        self.save(Watermark(self.opened.store.mark(row).hrs))

    def happened(self, what: str, **fields: object) -> None: ...

    def on_role(self, *, leading: bool, leader: str | None, term: int) -> None:
        if leader == self.member:
            self.world.elected_at = self.world.now
        if leading:
            self.world.judge_leader(self, term)
        if self.cluster is not None:
            self.cluster.on_role(leading=leading, leader=leader, term=term)

    def verifies(self, key: bytes, mark: Watermark) -> bool:
        return self.cluster is None or self.cluster.verifies(key, mark)

    def on_applied(self, key: bytes, mark: Watermark) -> None:
        if self.cluster is not None:
            self.cluster.on_applied(key, mark)

    def restart(self) -> str:
        """A drill's order: the process ends well, and starts again."""
        self.world.after(0.05, self.restart_now, self.incarnation)
        return ""

    def restart_now(self, incarnation: int) -> None:
        """In the supervisor's order: the state process hands over, the signer ends, then the state process."""
        if incarnation == self.incarnation and self.cluster is not None:
            self.guarded(self.cluster.handover.hand_over)
            self.signer = None
            self.world.after(self.rng.uniform(0.003, 0.02), self.end_in_order, incarnation)

    def end_in_order(self, incarnation: int) -> None:
        if incarnation == self.incarnation and self.cluster is not None:
            self.guarded(self.cluster.flush)
            self.crash(why="ordered restart")
            self.world.after(0.3, self.restart_if_down)

    def signer_trouble(self) -> str:
        return ""

    def signer_beat(self) -> int:
        return self.signer.beats if self.signer is not None else 0

    def validator_reached(self) -> bool | None:
        return self.world.now >= self.unreached_until if self.signer is not None else None

    def replace_signer(self) -> None:
        """What the supervisor does: the process is killed; another boots."""
        self.signer = None
        self.world.after(self.rng.uniform(0.1, 0.6), self.boot_signer, self.incarnation)

    def boot_signer(self, incarnation: int) -> None:
        if self.signer is None and incarnation == self.incarnation and self.cluster is not None:
            self.signer = Signer(self)

    # --- checks ---

    def check(self) -> None:
        if self.opened is None:
            return
        if self.fast is not None:
            news = self.fast.hot.news(0, self.seen)  # what C holds, whether or not the store has looked
            if news is None:
                return
            self.seen, mark = news.sequence, Watermark(news.mark, news.sign_bytes)
        else:
            mark = self.opened.store.mark(0)
        if mark is self.checked:
            return
        self.checked = mark
        if mark.hrs < self.high:
            raise Violation(f"{self.name}'s mark fell from {tuple(self.high)} to {tuple(mark.hrs)}")
        self.high = mark.hrs
        if mark.hrs.height >= ABSURD:
            raise Violation(f"{self.name} promised at height {mark.hrs.height}, and no chain has come so far")
        if mark.sign_bytes and self.opened.store.header.state is NodeState.COMPLETE:
            self.world.promised.setdefault((mark.hrs, mark.sign_bytes), set()).add(self.member)


class Signer:
    """One signer process: the real critical section and key slot; its validators are there while it has the lease."""

    def __init__(self, node: Node) -> None:
        self.node, self.world = node, node.world
        self.nonce = node.rng.getrandbits(62)
        self.beats = 0
        self.stuck_until = 0.0
        self.leased = False
        self.lease_until = 0.0
        self.chain = ChainSigner(
            row=0,
            chain_id=CHAIN,
            slot=CORE.key_slot(bytearray(SECRET), CHAIN),
            core=CORE,
            nonce=self.nonce,
            send=self.send,
            clock_ns=lambda: int(self.node.clock() * 1e9),
            log=SilentLog(self.world, f"{node.name}'s signer"),
        )
        self.fast = paths.FastSigner(self) if node.queues is not None else None
        self.port = relays.Port(self.fast) if self.fast is not None else None
        self.send(SignerHello(self.nonce))
        self.world.after(0.1, self.tick)

    @property
    def alive(self) -> bool:
        return self.node.signer is self

    def send(self, message: QueueMessage) -> bool:
        if self.node.queues is not None:
            return self.node.queues.requests.push(encode_queue(message))
        self.world.after(self.node.rng.uniform(0, 0.0005), self.arrive, message, self.node.incarnation)
        return True

    def arrive(self, message: QueueMessage, incarnation: int) -> None:
        node = self.node
        if node.cluster is None or incarnation != node.incarnation:
            return  # a new state process discards what was asked of its predecessor
        if self.world.now < node.frozen_until:
            self.world.after(node.frozen_until - self.world.now, self.arrive, message, incarnation)
            return
        node.guarded(node.cluster.on_signer, message)

    def on_message(self, message: QueueMessage) -> None:
        if not self.alive:
            return
        if self.world.now < self.still_until:
            self.world.after(self.still_until - self.world.now, self.on_message, message)
            return
        match message:
            case PermitGranted():
                self.chain.on_permit(message)
            case ReserveRefused():
                self.chain.on_refused(message)
            case StateHello():
                self.send(SignerHello(self.nonce))
                self.chain.on_state_hello()
            case Mark() if message.nonce == self.nonce:
                self.chain.on_mark(message)
            case Lease() if message.nonce == self.nonce:
                self.beats += 1
                self.lease_until = self.world.now + message.ttl_ms / 1000 if message.granted else 0.0
                self._set_leased(message.granted)
            case Leader() if message.nonce == self.nonce and self.port is not None:
                self.port.on_standing(leads=self.leased, leader=message.name)
            case _:
                pass

    def _set_leased(self, leased: bool) -> None:
        if self.leased and not leased:
            self.chain.abandon()
            if self.fast is not None:
                self.fast.release()
        self.leased = leased
        if self.port is not None:
            self.port.on_standing(leads=leased)

    def tick(self) -> None:
        if not self.alive:
            return
        self.world.after(0.1, self.tick)
        if self.world.now < self.still_until:
            return
        self.beats += 1
        if self.world.now > self.lease_until:
            self._set_leased(False)
        self.chain.expire()
        self.chain.report()
        if self.fast is not None:
            self.fast.count_signatures()
        if self.port is not None:
            self.port.check()

    @property
    def still_until(self) -> float:
        """With its whole machine, or alone."""
        return max(self.stuck_until, self.node.frozen_until)

    def serves(self, _session: object) -> bool:
        return self.alive and self.leased


class Validator:
    """Asks the signer that dialled it for votes, place after place; its blocks are its own. A `Requester`."""

    def __init__(self, world: "World", number: int) -> None:
        self.world, self.number = world, number
        self.name = f"validator {number}"
        self.rng = random.Random(f"{world.seed} validator {number}")
        self.jumps = random.Random(f"{world.seed} jumps of {number}")
        self.hostile = False  # what it asked last no chain has come to
        self.place = HRS(1, 0, Step.PREVOTE)
        self.asked_at = -1e9
        self.asked: tuple[Vote, Signer] | None = None
        self.session: Any = None
        self.lines: dict[Signer, paths.Line] = {}  # its connections
        self.patience_s = world.patience_s

    def serves(self, session: Any) -> bool:
        return self.asked is not None and self.session is session and self.asked[1].serves(session)

    def poll(self) -> None:
        """Every few milliseconds: ask, or give up and ask another."""
        self.world.after(self.rng.uniform(*self.world.poll_s), self.poll)
        if self.asked is not None and self.world.now - self.asked_at < self.patience_s:
            return
        if self.asked is not None and self.asked[1] in self.lines:
            self.lines.pop(self.asked[1]).drop()  # as a validator does whose signer is too slow
        signer = self.world.dialling_signer(self.rng)
        if signer is None:
            self.asked = None
            return
        vote = self.world.vote_of(self.rng, self.place)
        self.hostile = self.world.signatures != {} and self.jumps.random() < self.world.jumps
        if self.hostile:
            vote = replace(vote, height=self.place.height + self.jumps.choice((ABSURD, 2**40)))
        self.asked, self.asked_at = (vote, signer), self.world.now
        if signer.fast is not None:
            self.ask_over_line(signer, vote)
            return
        self.session, request = asked_for(vote)
        signer.chain.submit(self, self.session, request, int(signer.node.clock() * 1e9))

    def deliver(self, frame: bytes, *, refused: bool | None = None) -> None:
        """The answer: a signature, a refusal (the next place, then), or nothing (the same again)."""
        if self.asked is None:
            return
        vote, _ = self.asked
        self.asked = None
        message = CORE.decode_message(Dialect.PROTO, frame)
        if self.hostile:
            self.world.judge_jump(vote, message)
        elif message.vote is not None and message.vote.signature:
            self.world.judge_signature(self.place, vote, message.vote)
            self.advance()
        elif message.error is not None and message.error.code:
            self.world.stats["refused"] = self.world.stats.get("refused", 0) + 1
            self.advance()

    def ask_over_line(self, signer: Signer, vote: Vote) -> None:
        """On the connection that it has with the signer, or on another. Now and then it does not wait for long."""
        wire = self.world.wire
        self.patience_s = wire.uniform(0.0, 0.02) if wire.random() < self.world.impatience else self.world.patience_s
        line = self.lines.get(signer)
        if line is None or not line.open or line.asked is not None:
            line = self.lines[signer] = paths.Line(self, signer)
        line.ask(vote)

    def on_line(self, line: "paths.Line", vote: Vote, frame: bytes) -> None:
        """An answer that left the signer's machine: to what it waits for, or too late."""
        if self.asked is not None and self.asked[0] is vote and self.lines.get(self.asked[1]) is line:
            self.deliver(frame)
            return
        message = CORE.decode_message(Dialect.PROTO, frame)
        if message.vote is not None and message.vote.signature:
            if vote.height >= ABSURD:
                self.world.judge_jump(vote, message)
            else:
                self.world.judge_signature(place_of(vote), vote, message.vote)

    def forget(self) -> None:
        """Restarted without its memory: it asks for what it asked before, and for other blocks."""
        self.place = HRS(max(1, self.place.height - self.rng.randrange(4)), 0, self.rng.choice((2, 3)))

    def advance(self) -> None:
        self.place = self.world.next_place(self.rng, self.place)


def place_of(vote: Vote) -> HRS:
    """Where it is a vote for."""
    return HRS(vote.height, vote.round, Step.PREVOTE if vote.type == 1 else Step.PRECOMMIT)


def asked_for(vote: Vote) -> tuple[Any, Request]:
    """A session with the request for that vote in it, and the request."""
    session = CORE.session(Dialect.PROTO, CHAIN, None, b"")
    wire = CORE.encode_message(Dialect.PROTO, Message(Kind.SIGN_VOTE_REQUEST, CHAIN, vote=vote))
    session.inbox[: len(wire)] = wire
    session.received(len(wire))
    request = session.next_request()
    assert request is not None
    return session, request


@dataclass
class Change:
    """An epoch that ends: the seals so far, and who was told to begin the next."""

    epoch: int
    seals: dict[str, Seal] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)  # why a member gave no seal, as it last said
    begun: set[str] = field(default_factory=set)
    enough: bool = False
    tries: int = 0
    min_height: int | None = None


def is_fast(seed: int) -> bool:
    """Every other seed, and of each number of nodes (`nodes_of`) every other one."""
    return (seed + seed // 8) % 2 == 1


class World:
    """Everything there is, and the only source of time and chance."""

    chain_id = CHAIN
    violation = Violation

    def __init__(self, seed: int, nodes: int = 3, *, fast: bool | None = None) -> None:
        """`fast`: whether the fast path serves what is plain; None: as is_fast() says."""
        self.seed = seed
        self.fast = (is_fast(seed) if fast is None else fast) and CORE.name == "native"
        self.wire = random.Random(f"{seed} wire")  # of what the fast path's sockets do
        self.epoll = select.epoll()
        self.woken: dict[int, Callable[[], None]] = {}
        self.rng = random.Random(seed)
        self.now = 0.0
        self.names = tuple(f"n{number}" for number in range(nodes))
        self.quorum = nodes // 2 + 1
        self.identities = {name: NodeIdentity(SigningKey(name.encode().ljust(32, b"s"))) for name in self.names}
        self.keys = {name: identity.public_key for name, identity in self.identities.items()}
        self.strict = nodes > 1 and self.rng.random() < 0.25
        self.lossy = self.rng.random() < 0.5
        self.patience_s = 5.0
        self.impatience = 0.02  # of a validator's requests on a connection are given up within 20 ms
        # How often a validator looks whether it has something to ask. In some, promises flow as fast as they are given: heartbeats rest.
        self.poll_s = (0.001, 0.006) if seed % 7 == 4 else (0.005, 0.03)
        self.agents_rest = 0.5  # of the looks at which an agent has nothing to ask
        self.spikes = 0.05  # of the frames come up to 0.2 s late
        self.round_trip_s = self.jitter_s = 0.0  # far members; the jitter comes on top
        self.facts: dict[str, tuple[tuple[str, str], ...]] = {}  # of each member, as its process starts
        self.waking: set[int] = set()
        self.queue: list[tuple[float, int, Callable[..., None], tuple[Any, ...], dict[str, Any]]] = []
        self.order = itertools.count()
        self.trace: list[str] = []
        self.stats: dict[str, int] = {}
        self.cuts: set[tuple[str, str]] = set()
        self.connections: dict[frozenset[str], Connection] = {}
        self.signatures: dict[HRS, bytes] = {}
        self.promised: dict[tuple[HRS, bytes], set[str]] = {}
        self.leaders: dict[tuple[int, int], tuple[str, int]] = {}  # by epoch and term: node and its incarnation
        self.majorities: dict[
            tuple[tuple[str, int], ...], float
        ] = {}  # since when they are whole: members and incarnations
        self.led_at = self.elected_at = 0.0
        self.change: Change | None = None
        self.operator = random.Random(
            f"{seed} operator"
        )  # who changes the members, beside everything else that happens
        self.carries_seals = (
            random.Random(f"{seed} seals").random() < 0.5
        )  # to each member that is stopped, before it is sealed
        self.directory = Path(tempfile.mkdtemp(prefix="cmkms-sim-", dir="/dev/shm"))  # a memory file system
        self.nodes = {name: Node(self, name) for name in self.names}
        self.validators: list[Validator | Asker] = [Validator(self, number) for number in range(2)]
        self.agents = random.Random(f"{seed} agents").choice(
            (0, 0, 1, 2)
        )  # that ask any node, beside who waits for a signer
        self.validators += [
            relays.RelayAgent(self, number) if self.fast else Agent(self, number) for number in range(self.agents)
        ]
        self.healing = False
        self.stores_lost_at_once = True  # more may be than the liveness table allows
        self.changes = 0.4  # of runs with an epoch that ends
        self.jumps = 0.0  # of requests that are for a height which no chain has come to
        self.quiet_until = 0.0
        self.rollbacks = False  # old stores are put back without strict_start: outside the fault model, for mutants

    # --- time ---

    def note(self, what: str) -> None:
        self.trace.append(f"{self.now:9.4f} {what}")
        if len(self.trace) > 4000:
            del self.trace[:2000]

    def after(self, delay_s: float, step: Callable[..., None], *arguments: Any, **named: Any) -> None:
        heapq.heappush(self.queue, (self.now + delay_s, next(self.order), step, arguments, named))

    def stands_still(self, until: float, step: Callable[..., None], *arguments: Any) -> bool:
        """Whether a process is frozen until then; `step` comes again when it is not: it may be woken early."""
        if self.now >= until:
            return False
        self.after(min(until - self.now, LOOK_S), step, *arguments)
        return True

    def run_until(self, end: float) -> None:
        while self.queue and self.queue[0][0] <= end:
            at, _, step, arguments, named = heapq.heappop(self.queue)
            self.now = max(self.now, at)
            step(*arguments, **named)
            for node in self.nodes.values():
                node.check()
            if self.fast:
                self.look_at_wakeups()
        self.now = end

    def watch(self, fd: int, step: Callable[[], None]) -> None:
        """Once somebody makes the descriptor readable, `step` follows a little later."""
        self.epoll.register(fd, select.EPOLLIN | select.EPOLLET)
        self.woken[fd] = step

    def look_at_wakeups(self) -> None:
        for fd, _ in self.epoll.poll(0):
            if fd not in self.waking:
                self.waking.add(fd)
                self.after(self.wire.uniform(0, 0.0005), self.wake, fd)

    def wake(self, fd: int) -> None:
        self.waking.discard(fd)
        self.woken[fd]()

    def count(self, what: str) -> None:
        """One more of them, for the statistics."""
        self.stats[what] = self.stats.get(what, 0) + 1

    # --- network ---

    def latency_s(self) -> float:
        """One way, between two machines that are far apart."""
        return (self.round_trip_s + self.rng.uniform(0, self.jitter_s)) / 2 if self.round_trip_s else 0.0

    def round_trip_to(self, _member: str, _peer: str) -> float:
        """As a ping between two members measures it."""
        return self.latency_s() + self.latency_s()

    def connections_of(self, name: str) -> list[Connection]:
        return [connection for connection in self.connections.values() if name in connection.ends]

    def keep_connected(self) -> None:
        """Redial whatever is not connected and can be; notice what fell silent."""
        self.after(self.rng.uniform(0.01, 0.05), self.keep_connected)
        for a, b in itertools.combinations(sorted(self.nodes), 2):
            if self.nodes[a].member == self.nodes[b].member:
                continue
            pair = frozenset((a, b))
            connection = self.connections.get(pair)
            if connection is not None and connection.open:
                for end, other in ((a, b), (b, a)):
                    if self.pings_pass(connection, other, end):
                        connection.heard[end] = self.now
                    if self.now - connection.heard.get(end, self.now) > SILENT_S:
                        self.close(connection, end, closed=False)
                        break
                continue
            up = all(self.nodes[x].cluster is not None and self.now >= self.nodes[x].frozen_until for x in (a, b))
            up = up and not (self.occupied(a, b) or self.occupied(b, a))
            if up and (a, b) not in self.cuts and (b, a) not in self.cuts:
                self.connect(a, b)

    def occupied(self, name: str, other: str) -> bool:
        """Whether it has a connection to another machine of the other's member; now and then it is dialled all the same."""
        return self.link(name, self.nodes[other].member) is not None and self.rng.random() < 0.9

    def link(self, name: str, member: str) -> Connection | None:
        """The machine's connection to whichever machine of the member it has one with."""
        for end, node in self.nodes.items():
            connection = self.connections.get(frozenset((name, end))) if node.member == member else None
            if connection is not None and connection.open and name in connection.ends:
                return connection
        return None

    def pings_pass(self, connection: Connection, src: str, dst: str) -> bool:
        """What keeps a connection alive on which nothing else is said (state/peers/)."""
        node = self.nodes.get(src)
        if node is None or node.cluster is None or node.incarnation != connection.ends[src]:
            return False
        return self.now >= node.frozen_until and (src, dst) not in self.cuts

    def connect(self, a: str, b: str) -> None:
        one, two = self.nodes[a], self.nodes[b]
        assert one.cluster is not None
        assert two.cluster is not None
        connection = Connection({a: one.incarnation, b: two.incarnation}, heard={a: self.now, b: self.now})
        self.connections[frozenset((a, b))] = connection
        hellos = {a: one.cluster.hello(two.member), b: two.cluster.hello(one.member)}
        for me, other in ((one, b), (two, a)):
            self.after(
                self.rng.uniform(0.0001, 0.002) + self.latency_s(), self.greet, connection, me, other, hellos[other]
            )

    def greet(self, connection: Connection, node: Node, other: str, hello: bytes) -> None:
        if not connection.open or node.cluster is None or connection.ends[node.name] != node.incarnation:
            return
        reason: list[str | None] = [None]

        def judge() -> None:
            assert node.cluster is not None
            reason[0] = node.cluster.on_hello(self.nodes[other].member, hello, other)

        try:
            node.guarded(judge)
        except ProtocolError as error:
            reason[0] = str(error)
        if node.cluster is None or not connection.open:
            return
        if reason[0] is not None:
            self.note(f"{node.name} refuses {other}: {reason[0]}")
            self.close(connection, node.name, closed=False)
            return
        connection.established.add(node.name)
        if len(connection.established) == 2:
            for name in sorted(connection.ends):
                if self.nodes[name].fast is not None:
                    (end,) = connection.ends.keys() - {name}
                    connection.streams[name] = paths.PeerEnd(self.nodes[name], connection, end)
                self.after(0.0002, self.establish, connection, name)

    def establish(self, connection: Connection, name: str) -> None:
        node = self.nodes[name]
        if connection.open and node.cluster is not None and connection.ends[name] == node.incarnation:
            (other,) = connection.ends.keys() - {name}
            connection.last_arrival[name] = self.now
            connection.heard[name] = self.now
            for end in list(self.nodes):  # a newer connection takes the place of an older one
                older = self.connections.get(frozenset((name, end)))
                if older not in (None, connection) and self.nodes[end].member == self.nodes[other].member:
                    assert older is not None
                    self.close(older, name, closed=True)
            if name in connection.streams:
                connection.streams[name].establish()
            node.guarded(node.cluster.on_connected, self.nodes[other].member)

    def close(self, connection: Connection, by: str, *, closed: bool) -> None:
        """`closed`: the other end hears of it at once, unless the network is cut."""
        if not connection.open:
            return
        connection.open = False
        if by in connection.streams:
            connection.streams[by].close()
        for name, incarnation in sorted(connection.ends.items()):
            (other,) = connection.ends.keys() - {name}
            told = closed and name != by and (by, name) not in self.cuts
            delay = self.rng.uniform(0.0002, 0.003) if told or name == by else SILENT_S
            delay += self.latency_s() if told else 0.0
            self.after(delay, self.lost, connection, name, incarnation, other, told)

    def lost(self, connection: Connection, name: str, incarnation: int, other: str, closed: bool) -> None:
        node = self.nodes[name]
        if node.cluster is None or node.incarnation != incarnation:
            return
        if self.now < node.frozen_until:
            self.after(node.frozen_until - self.now, self.lost, connection, name, incarnation, other, closed)
            return
        connection.gone.add(name)
        if name in connection.streams:
            connection.streams[name].close()
        member = self.nodes[other].member
        if self.link(name, member) is not None:
            return  # superseded
        node.guarded(node.cluster.on_disconnected, member, closed=closed)

    def send(self, src: str, member: str, payload: bytes) -> bool:
        connection = self.link(src, member)
        if connection is None or len(connection.established) < 2:
            return False
        (dst,) = connection.ends.keys() - {src}
        if connection.ends[src] != self.nodes[src].incarnation:
            return False
        if src in connection.streams:
            connection.streams[src].write(payload)
            return not (self.lossy and self.wire.random() < 0.002)
        return self.transmit(connection, src, dst, payload)

    def transmit(self, connection: Connection, src: str, dst: str, payload: bytes) -> bool:
        """A message is on its way. What the sender hears of it is worth nothing."""
        if not connection.open or (src, dst) in self.cuts:
            return True  # into the void
        delay = self.rng.uniform(0.0001, 0.001) if self.rng.random() >= self.spikes else self.rng.uniform(0.001, 0.2)
        arrival = self.now + delay + self.latency_s()
        if not (self.lossy and self.rng.random() < 0.02):  # else it overtakes
            arrival = max(arrival, connection.last_arrival.get(dst, 0.0))
            connection.last_arrival[dst] = arrival
        self.after(arrival - self.now, self.deliver, connection, src, dst, payload)
        if self.lossy and self.rng.random() < 0.01:
            self.after(arrival - self.now + self.rng.uniform(0, 0.3), self.deliver, connection, src, dst, payload)
        return not (self.lossy and self.rng.random() < 0.002)

    def deliver(self, connection: Connection, src: str, dst: str, payload: bytes) -> None:
        node = self.nodes[dst]
        if dst in connection.gone or self.connections.get(frozenset((src, dst))) is not connection:
            return
        if node.cluster is None or connection.ends[dst] != node.incarnation:
            return
        if dst in connection.streams:
            connection.streams[dst].arrive(payload)
            return
        if self.now < node.frozen_until:
            self.after(node.frozen_until - self.now, self.deliver, connection, src, dst, payload)
            return
        connection.heard[dst] = self.now
        try:
            node.guarded(node.cluster.on_frame, self.nodes[src].member, payload)
        except ProtocolError as error:
            self.on_broken(connection, src, dst, error)

    def on_broken(self, connection: Connection, src: str, dst: str, error: ProtocolError) -> None:
        """`dst` ends the connection for what came on it."""
        self.note(f"{dst}: {src} broke the protocol: {error}")
        self.stats["broke the protocol"] = self.stats.get("broke the protocol", 0) + 1
        self.close(connection, dst, closed=True)

    def dialling_signer(self, rng: random.Random) -> Signer | None:
        """A signer that holds the lease, as it sees it; two at once are possible, and each validator may meet either."""
        found = [
            node.signer
            for node in self.nodes.values()
            if node.signer is not None
            and node.signer.leased
            and self.now >= max(node.signer.still_until, node.unreached_until)
        ]
        return rng.choice(found) if found else None

    @staticmethod
    def vote_of(rng: random.Random, place: HRS) -> Vote:
        """What a validator wants there: its own block, or nil."""
        block = BlockID(bytes([rng.choice((1, 2))]) * 32, 1, b"p" * 32) if rng.random() < 0.9 else BlockID()
        stamp = Timestamp(1_700_000_000 + rng.randrange(5), 0)
        return Vote(1 if place.step == Step.PREVOTE else 2, place.height, place.round, block, stamp)

    def next_place(self, rng: random.Random, place: HRS) -> HRS:
        """Where a validator asks next."""
        if place.step == Step.PREVOTE:
            following = HRS(place.height, place.round, Step.PRECOMMIT)
        elif rng.random() < 0.2:
            following = HRS(place.height, place.round + 1, Step.PREVOTE)
        else:
            following = HRS(place.height + 1, 0, Step.PREVOTE)
        if rng.random() < 0.08:  # restarted without its memory: it asks for what it asked before, and for other blocks
            return HRS(max(1, following.height - rng.randrange(1, 4)), 0, rng.choice((2, 3)))
        top = max(one.place for one in self.validators)
        if top.height > following.height + 1:  # it was away: consensus went on without it
            return HRS(top.height, 0, Step.PREVOTE)
        return following

    # --- judges ---

    def judge_signature(self, place: HRS, asked: Vote, answered: Vote) -> None:
        vote = Vote(asked.type, asked.height, asked.round, asked.block_id, answered.timestamp)
        request = CORE.check_request(Dialect.PROTO, CHAIN, Message(Kind.SIGN_VOTE_REQUEST, CHAIN, vote=vote))
        if not CORE.verify(ROW.public_key, request.sign_bytes, answered.signature):
            raise Violation(f"a signature at {tuple(place)} does not verify")
        known = self.signatures.setdefault(request.hrs, request.sign_bytes)
        if known != request.sign_bytes:
            raise Violation(f"DOUBLE SIGN at {tuple(place)}: {known.hex()} and {request.sign_bytes.hex()}")
        self.stats["signed"] = self.stats.get("signed", 0) + 1

    def judge_jump(self, asked: Vote, answer: Message) -> None:
        """A height to which no chain has come is not signed, and no mark goes there (rule 13)."""
        if answer.vote is not None and answer.vote.signature:
            raise Violation(f"height {asked.height} was signed, and no chain has come so far")
        refused = answer.error is not None and answer.error.code == Reason.JUMP
        self.stats["jumps refused"] = self.stats.get("jumps refused", 0) + refused

    @staticmethod
    def judge_reservation(asked: Vote | None, signed: HRS) -> None:
        """The sign rule holds by itself in C, whatever the state process and the key slot would refuse."""
        if asked is None or place_of(asked) <= signed:
            raise Violation(f"C reserves a place that is signed: {asked and place_of(asked)}, and {signed} is signed")

    def judge_permit(self, sign_bytes: bytes) -> None:
        hrs = CORE.parse_sign_bytes(sign_bytes).hrs
        for node in self.nodes.values():
            node.check()
        holders = self.promised.get((hrs, sign_bytes), set())
        if len(holders) < self.quorum:
            raise Violation(f"a permit at {tuple(hrs)} rests on {sorted(holders)} only")

    def judge_leader(self, node: Node, term: int) -> None:
        """A process that has no memory of a term may not lead in it again either."""
        me = (node.name, node.incarnation)
        place = (node.epoch, term)
        if self.leaders.setdefault(place, me) != me:
            raise Violation(f"two leaders in epoch {node.epoch}, term {term}: {self.leaders[place]} and {me}")

    def judge_liveness(self) -> None:
        """Many times a second: whoever could sign together has somebody who leads."""
        self.after(LOOK_S, self.judge_liveness)
        whole = [
            node
            for node in self.nodes.values()
            if node.cluster is not None and self.now >= node.frozen_until and node.cluster.membership.ready
        ]
        found = {
            tuple((node.name, node.incarnation) for node in some)
            for size in range(self.quorum, len(whole) + 1)
            for some in itertools.combinations(whole, size)
            if all(a.member != b.member and self.linked(a.name, b.name) for a, b in itertools.combinations(some, 2))
        }
        self.majorities = {some: self.majorities.get(some, self.now) for some in found}
        if any(node.cluster is not None and node.cluster.leading for node in whole):
            self.led_at = self.now
        led = self.now - self.elected_at < LOOK_S or any(
            node.cluster is not None and node.cluster.leader == node.member for node in self.nodes.values()
        )
        for node in self.nodes.values():
            if led or node not in whole:
                node.unled_since = self.now
            elif self.now - node.unled_since > SAID_S and not node.cluster.why:  # type: ignore[union-attr]
                raise Violation(f"nobody leads, and {node.name} does not say so")
        since = min(self.majorities.values(), default=self.now)
        if self.now - since > ELECTED_S:
            self.stats["looks at a whole majority"] = self.stats.get("looks at a whole majority", 0) + 1
            if self.now - self.led_at > ELECTED_S:
                some = next(one for one, at in self.majorities.items() if at == since)
                raise Violation(f"nobody leads though {[name for name, _ in some]} are complete and connected")

    def linked(self, a: str, b: str) -> bool:
        """Whether the two exchange what they want to say, both ways."""
        connection = self.connections.get(frozenset((a, b)))
        if connection is None or not connection.open or connection.gone or len(connection.established) < 2:
            return False
        return (a, b) not in self.cuts and (b, a) not in self.cuts

    # --- faults ---

    def fault(self) -> None:
        """One of them, now; and the next later."""
        if self.healing:
            return
        self.after(self.rng.expovariate(3.0), self.fault)
        if self.now < self.quiet_until:
            return
        node = self.rng.choice([one for one in self.nodes.values() if not one.superseded])
        kind = self.rng.choices(list(FAULTS), list(FAULTS.values()))[0]
        self.stats[kind] = self.stats.get(kind, 0) + 1
        match kind:
            case "crash" | "power":
                node.crash(power=kind == "power")
                self.after(self.rng.choice((0.01, 0.3, 1.5)), node.restart_if_down)
            case "kill all":
                for one in self.nodes.values():
                    one.crash(power=True)
                    self.after(self.rng.choice((0.01, 0.3, 1.5)), one.restart_if_down)
            case "cut":
                for other in self.nodes:
                    self.cuts |= {(node.name, other), (other, node.name)}
                self.note(f"{node.name}: cut off")
            case "one-way":
                other = self.rng.choice(sorted(self.nodes))
                self.cuts.add((node.name, other))
                self.note(f"{node.name} -> {other}: cut")
            case "heal":
                self.cuts.clear()
            case "freeze":
                node.frozen_until = self.now + self.rng.choice((0.05, 0.5, 2.5))
                self.note(f"{node.name}: frozen until {node.frozen_until:.3f}")
            case "signer":
                node.signer = None
                if node.cluster is not None:
                    node.signer = Signer(node)
            case "stuck signer":
                if node.signer is not None:
                    node.signer.stuck_until = self.now + self.rng.choice((0.2, 1.0, 5.0))
                    self.note(f"{node.name}: its signer is stuck until {node.signer.stuck_until:.3f}")
            case "unreached":
                node.unreached_until = self.now + self.rng.choice((1.0, 10.0))
                self.note(f"{node.name}: reaches no validator until {node.unreached_until:.3f}")
            case "disk":
                node.disk.fail_next = self.rng.choice(("write", "sync", "short", "dark", "dark"))
            case "wipe":
                self.lose_store(node, "wipe")
            case "ambush":
                self.ambush()
            case "replace":
                self.replace(node)
            case "order":
                leader = node.cluster.leader if node.cluster is not None else None
                if node.cluster is not None and leader not in (None, node.member):
                    action = self.rng.choice((Action.TRANSFER, Action.RESTART))
                    node.guarded(node.cluster.handover.drills.ask, leader, action, "", self.on_obeyed)
            case "transfer":
                if node.cluster is not None:
                    node.guarded(node.cluster.handover.hand_over)

    # --- epochs (rule 10): an operator seals some, running or stopped, and begins everywhere, the same members once more ---

    def change_epoch(self) -> None:
        """One change at a time, while a majority is complete."""
        epochs_known = {node.epoch for node in self.nodes.values() if node.opened is not None}
        whole = [
            node
            for node in self.nodes.values()
            if node.opened is not None and node.opened.store.header.state is NodeState.COMPLETE
        ]
        if (
            len(self.nodes) != len(self.names)
            or self.change is not None
            or len(epochs_known) != 1
            or len(whole) < self.quorum
        ):
            return
        self.change = Change(epochs_known.pop())
        self.note(f"epoch {self.change.epoch} ends")
        self.after(self.operator.uniform(0.0, 0.3), self.push_change, self.change)

    def push_change(self, change: "Change") -> None:
        """The operator's next step: one more seal, or, with enough of them, one more beginning."""
        if self.change is not change:
            return
        self.after(self.operator.uniform(0.02, 0.4), self.push_change, change)
        if not change.enough:
            left = [self.nodes[name] for name in self.names if name not in change.seals]
            if left:
                self.seal_one(self.operator.choice(left), change)
            standings = {name: seal.standing for name, seal in change.seals.items()}
            vouch = not doubt(len(self.names), standings)
            change.tries += 1
            change.enough = len(change.seals) >= self.quorum and (vouch or change.tries > 6 * len(self.names))
            if change.enough and not vouch:
                change.min_height = max(self.signatures, default=HRS(0, 0, 0)).height + 1
                self.stats["epoch burnt"] = self.stats.get("epoch burnt", 0) + 1
            return
        left = [self.nodes[name] for name in self.names if name not in change.begun]
        if left:
            self.begin_one(self.operator.choice(left), change)
        else:
            self.change = None
            self.stats["epoch changed"] = self.stats.get("epoch changed", 0) + 1

    def seal_one(self, node: Node, change: "Change") -> None:
        unmet = "has not met" in change.refused.get(node.name, "") and bool(change.seals)
        others = tuple(change.seals.values()) if unmet or self.carries_seals else ()
        if unmet and node.cluster is not None:  # what its refusal says: stopped, with the seals of those who are
            node.crash(why="stopped, to be sealed with the others' seals")
            node.disk.settle()
            self.after(self.operator.uniform(0.01, 0.3), node.restart_if_down)
        try:
            if node.cluster is None:
                seal = epochs.seal(node.files, CORE, self.names, others, strict=self.strict)
            elif node.epoch == change.epoch and self.now >= node.frozen_until:
                seal = node.cluster.seal(self.names)
            else:
                return
        except CometKMSError as error:
            self.note(f"{node.name} is not sealed: {error}")
            change.refused[node.name] = str(error)
            if not isinstance(error, StateError):
                node.crash(power=node.disk.dark, why=f"{type(error).__name__}: {error}")
            return
        if seal.epoch == change.epoch:
            self.note(f"{node.name} is sealed: {seal.standing.name}, {[tuple(mark.hrs) for _, mark in seal.marks]}")
            if unmet:
                self.count("sealed after what the seals say")
            change.seals[node.name] = seal

    def begin_one(self, node: Node, change: "Change") -> None:
        node.crash(why="stopped, to begin")
        node.disk.settle()
        change.begun.add(node.name)
        try:
            epochs.begin(
                node.files,
                list(change.seals.values()),
                CORE,
                min_height=change.min_height,
            )
            self.note(f"{node.name} begins")
        except StateError as error:
            self.note(f"{node.name} does not begin: {error}")
        self.after(self.operator.uniform(0.01, 0.3), node.restart_if_down)

    def on_obeyed(self, why: str) -> None:
        self.stats["order refused" if why else "order obeyed"] = (
            self.stats.get("order refused" if why else "order obeyed", 0) + 1
        )

    def lose_store(self, node: Node, kind: str, old: Path | None = None) -> bool:
        """Only within the fault model: one lost or old store at a time, everybody else complete. `old`: is put back."""
        others = [one for one in self.nodes.values() if one is not node and not one.superseded]
        if node.superseded or not all(
            one.opened is not None and one.opened.store.header.state is NodeState.COMPLETE for one in others
        ):
            return False
        if any(one.cluster is not None and not one.cluster.membership.ready for one in others):
            return False
        if node.opened is not None and node.opened.store.header.state is not NodeState.COMPLETE:
            return False
        folder = node.files.store_path.parent
        node.crash(power=True, why=kind)
        self.stats[kind] = self.stats.get(kind, 0) + 1
        shutil.rmtree(folder, ignore_errors=True)
        node.high = HRS(0, 0, 0)
        if old is not None:
            old.rename(folder)
        self.after(self.rng.choice((0.01, 0.5)), node.restart_if_down)
        return True

    def ambush(self) -> None:
        """The one schedule that tells whether a lost store is counted: the leader and F sign while S is away; F loses its store
        or gets an old one; the leader dies; S is back, and the validators have forgotten what they were given. Or, for the
        replicated log: a leader is elected by F's vote while S sleeps; F loses its journal; the leader dies; S wakes and stands."""
        leader = next((node for node in self.nodes.values() if node.cluster is not None and node.cluster.leading), None)
        rest = [node for node in self.nodes.values() if node is not leader]
        if leader is None or len(rest) < 2:
            return
        away, victim = self.rng.sample(rest, 2)
        if any(
            node.opened is None or node.opened.store.header.state is not NodeState.COMPLETE for node in (away, victim)
        ):
            return
        for other in self.nodes:
            self.cuts |= {(away.name, other), (other, away.name)}
        self.note(f"ambush: {away.name} is away")
        if self.rng.random() < 0.3:
            away.frozen_until = self.now + 0.7  # it does not even stand
            leader.guarded(leader.cluster.handover.hand_over, victim.member)
            self.after(0.6, self.spring_at_vote, away)
            return
        copy = None
        if self.strict or self.rollbacks:
            copy = self.directory / f"{victim.name}.{next(self.order)}"
            shutil.copytree(victim.files.store_path.parent, copy)
        self.after(self.rng.uniform(0.2, 0.6), self.spring, leader, victim, copy)

    def spring(self, leader: Node, victim: Node, copy: Path | None) -> None:
        if self.healing:
            return
        lost = self.lose_store(victim, "rollback" if copy is not None else "wipe", copy)
        if not lost:
            return
        leader.crash(power=True, why="ambush")
        self.after(self.rng.uniform(1.0, 3.0), leader.restart_if_down)
        self.cuts.clear()
        for validator in self.validators:
            validator.forget()

    def on_ended(self, node: Node, error: CometKMSError) -> None:
        """A process ended by what its own code raised."""
        self.stats[type(error).__name__] = self.stats.get(type(error).__name__, 0) + 1

    def on_superseded(self, node: Node) -> None:
        """It ends for good. Where no other machine stands for its member, an older copy was put back: the operator moves it away."""
        self.stats["superseded"] = self.stats.get("superseded", 0) + 1
        node.signer = None
        if any(one.member == node.member and one is not node and not one.superseded for one in self.nodes.values()):
            node.superseded = True
            return
        shutil.rmtree(node.files.store_path.parent, ignore_errors=True)
        node.high = HRS(0, 0, 0)
        self.after(0.5, node.restart_if_down)

    def whole(self) -> bool:
        """Every machine runs, complete and ready, and no member has two."""
        found = [node for node in self.nodes.values() if not node.superseded]
        return len(found) == len(self.names) and all(
            node.cluster is not None and node.cluster.membership.ready for node in found
        )

    def replace(self, old: Node) -> None:
        """A machine is cut off, and another takes its place with nothing but the key; then both are there, each with another part of
        the others; then everybody meets, in any order."""
        if len(self.names) < 2 or not self.whole() or self.change is not None:  # one thing after the other
            return
        new = Node(self, f"{old.member}.{next(self.order)}", old.member)
        self.nodes[new.name] = new
        write_born(new.files, 1)
        others = [one.name for one in self.nodes.values() if one.member != old.member and not one.superseded]
        self.cuts.clear()
        for other in others:
            self.cuts |= {(old.name, other), (other, old.name)}
        self.note(f"{new.name} takes the place of {old.name}")
        self.stats["replaced"] = self.stats.get("replaced", 0) + 1
        self.after(self.rng.uniform(0.05, 0.5), new.restart_if_down)
        self.after(self.rng.uniform(0.1, 2.0), self.split, old, new, others)

    def split(self, old: Node, new: Node, others: list[str]) -> None:
        """Each of the two machines with another part of the rest."""
        if self.healing:
            return
        self.cuts.clear()
        halves = self.rng.random() < 0.6
        chosen = self.rng.sample(others, len(others) // 2 if halves else self.rng.randint(0, len(others)))
        if halves:
            self.quiet_until = self.now + 3.0  # time enough for either half to sign
        rest = [name for name in others if name not in chosen]
        apart = [(old.name, name) for name in chosen] + [(new.name, name) for name in rest]
        for one, other in (*apart, *itertools.product(chosen, rest)):
            self.cuts |= {(one, other), (other, one)}
        self.note(f"{old.name} with {rest}, {new.name} with {chosen}")
        for one in self.validators:
            one.forget()
        for one in (old, *(self.nodes[name] for name in rest)):  # what they know must outlive them
            if self.rng.random() < 0.4:
                one.crash(power=self.rng.random() < 0.5)
                self.after(self.rng.uniform(0.01, 0.5), one.restart_if_down)

    def spring_at_vote(self, away: Node) -> None:
        leader = next((node for node in self.nodes.values() if node.cluster is not None and node.cluster.leading), None)
        voters = [node for node in self.nodes.values() if node not in (leader, away)]
        if self.healing or leader is None or leader is away:
            return
        voter = self.rng.choice(voters)
        self.cuts.clear()
        voter.crash(power=True, why="ambush: journal lost")
        voter.journal.unlink(missing_ok=True)
        voter.restart_if_down()
        away.frozen_until = self.now + START_READ_S + self.rng.uniform(0.05, 0.3)
        leader.crash(power=True, why="ambush")
        self.after(START_READ_S + self.rng.uniform(1.0, 3.0), leader.restart_if_down)

    # --- a run ---

    def run(self, seconds: float) -> None:
        """Faults for so long, then peace; raises Violation. The same seed takes the same turns: the incarnations' nonces decide some of them."""
        nonces = random.Random(f"{self.seed} incarnations")
        drawn = [
            patch.object(module, "secrets", SimpleNamespace(randbelow=nonces.randrange))
            for module in (membership, epochs)
        ]
        for one in drawn:
            one.start()
        try:
            for name in self.names:
                self.after(self.rng.uniform(0, 1.0), self.nodes[name].restart_if_down)
            self.after(0.0, self.keep_connected)
            self.after(LOOK_S, self.judge_liveness)
            for validator in self.validators:
                self.after(self.rng.random(), validator.poll)
            self.after(self.rng.uniform(0.2, 2.0), self.fault)
            if self.operator.random() < self.changes:
                self.after(self.operator.uniform(1.0, seconds), self.change_epoch)
            self.run_until(seconds)
            self.heal()
        finally:
            for one in drawn:
                one.stop()
            self.close_all()

    def heal(self) -> None:
        """No more faults: it signs again, and every node learns of it."""
        self.healing = True
        self.cuts.clear()
        for node in tuple(
            self.nodes.values()
        ):  # who replaced a machine switches the old one off, if it did not end by itself
            # with strict_start the old one's last start may be the one that counts: then the new one has ended
            newer = [
                one
                for one in self.nodes.values()
                if one.member == node.member and one.born > node.born and not one.superseded
            ]
            if newer and not node.superseded:
                node.superseded, node.signer = True, None
                node.crash(why="switched off")
        for node in self.nodes.values():
            node.frozen_until = min(node.frozen_until, self.now)
            node.disk.fail_next = ""
            node.unreached_until = 0.0
            if node.signer is not None:
                node.signer.stuck_until = 0.0
            node.restart_if_down()
        self.lossy = False
        top = max(self.signatures, default=HRS(0, 0, 0))
        deadline = self.now + 20.0
        while self.now < deadline:
            self.run_until(self.now + 0.25)
            newest = max(self.signatures, default=HRS(0, 0, 0))
            if newest.height >= top.height + 3 and all(
                self.knows(node, top) for node in self.nodes.values() if not node.superseded
            ):
                return
        found = [node.cluster.membership.phase for node in self.nodes.values() if node.cluster is not None]
        phases = set(found)
        if self.stores_lost_at_once and found.count("recovering") > max(1, (len(self.names) - 1) // 2):
            # More stores lost at once than the liveness table allows: safe, and the operator's turn.
            self.stats["stores lost at once"] = 1
            return
        if self.strict and {"recovering", "starting"} <= phases:
            # The price of strict_start (docs/SAFETY.md): neither answers the other, and the operator must vouch for the stores.
            self.stats["strict deadlock"] = 1
            self.vouch()
            return
        if cut_off := self.sealed_off():
            # A member lost its store while its epoch ended, and too few others are left to be sealed: it says so, and the operator recovers it.
            self.stats["recovered by hand"] = 1
            self.recover_by_hand(cut_off, top.height + 1)
            return
        if not self.signatures and "recovering" in phases:
            # A store lost while the cluster is born: safe, and nothing was signed; the operator wipes all and starts again.
            self.stats["lost at birth"] = 1
            return
        states = {
            name: node.cluster and (node.cluster.membership.phase, node.cluster.membership.why)
            for name, node in self.nodes.items()
        }
        raise Violation(
            f"after all faults ended nothing above {tuple(top)} is signed within 20 s: {states}, leader {[n.cluster and n.cluster.leader for n in self.nodes.values()]}"
        )

    def sealed_off(self) -> list["Node"]:
        """Members that recover, wait for one that is sealed, and without which no majority can be sealed: they say so themselves, or, where the
        sealed one is off, the seal that they cannot give does."""
        if self.change is None or self.change.enough:
            return []
        up = [node for node in self.nodes.values() if node.cluster is not None and not node.superseded]
        lost = [node for node in up if node.cluster.membership.phase == "recovering"]  # type: ignore[union-attr]
        if len(self.names) - len(lost) >= self.quorum:
            return []
        others_are = {*self.names} - {node.name for node in lost} == set(self.change.seals)
        return [
            node
            for node in lost
            if "is sealed and answers nobody" in node.cluster.membership.why  # type: ignore[union-attr]
            or (
                others_are
                and "on this node, stopped, cmkms recover --min-height" in self.change.refused.get(node.name, "")
            )
        ]

    def recover_by_hand(self, nodes: list["Node"], height: int) -> None:
        """`cmkms recover --min-height`, typed where the node stands still, and then the change goes on."""
        for node in nodes:
            node.crash(why="stopped, to be recovered")
            node.disk.settle()
            recover(node.files, height, CORE)
            node.restart_if_down()
        self.heal()

    def vouch(self) -> None:
        """Every node says who waits for whom; the operator does what it says, and it signs again. With an old store about it may not be done."""
        waits = {node.cluster.membership.strict_wait for node in self.nodes.values() if node.cluster is not None}
        if len(waits) != 1 or None in waits:
            raise Violation(f"members wait for each other for ever, and say {waits}")
        if "rollback" in self.stats:
            return
        self.strict = False
        (wait,) = waits
        for node in tuple(self.nodes.values()):
            if node.cluster is not None and node.member in wait.starting:  # type: ignore[union-attr]
                node.crash(why="vouched for")
                node.restart_if_down()
        self.stats["vouched for"] = 1
        self.heal()

    @staticmethod
    def knows(node: Node, place: HRS) -> bool:
        return node.cluster is not None and node.cluster.signed(0).hrs >= place

    def close_all(self) -> None:
        for node in self.nodes.values():
            for held in (node.raft, node.opened and node.opened.store):
                if held is not None:
                    with contextlib.suppress(CometKMSError):
                        held.close()
            node.fast = node.signer = None
            if node.queues is not None:
                node.queues.close()
        self.epoll.close()
        shutil.rmtree(self.directory, ignore_errors=True)
