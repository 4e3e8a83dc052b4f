"""One seeded run: N nodes, their disks, network, signers and validators under faults; what must
hold is checked after each step.

check after each step     no two sign bytes at one place; no mark below its former self; every
                          permit rests on a majority of durable promises of those bytes; no term in
                          which two processes led; a leader whenever a majority of complete members
                          has been connected for ELECTED_S
after the faults          everybody is up and reachable: it signs again, and every node comes to
                          know the last signature

In every other seed the fast path serves what is plain, in C, over the world's own disk, network and
clock (fast.py); in the rest the general path does everything.
"""

import contextlib
import heapq
import itertools
import random
import select
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from nacl.signing import SigningKey

from cometkms.errors import CometKMSError, ProtocolError, StateError
from cometkms.limits import START_READ_S
from cometkms.model import HRS, BlockID, Dialect, Kind, Message, Reason, Step, Timestamp, Vote
from cometkms.rules.birth import NodeState
from cometkms.rules.burnt import Heights
from cometkms.rules.epoch import doubt
from cometkms.state import membership
from cometkms.store import epoch as epochs
from cometkms.store.epoch import Seal
from cometkms.store.home_born import write_born
from cometkms.store.recover import recover
from cometkms.wire.identity import Identity as NodeIdentity
from cometkms.wire.peer_messages import Action, FactsNews, LifeNews, decode
from tests.sim.agents import Agent, Asker
from tests.sim.ground import (
    CHAIN,
    CORE,
    ELECTED_S,
    LOOK_S,
    ROW,
    SAID_S,
    SENT_AGAIN_S,
    SILENT_S,
    Connection,
    Violation,
    place_of,
)
from tests.sim.machine import Node
from tests.sim.signing import Signer, Validator

if CORE.name == "native":
    from tests.sim import fast as paths
    from tests.sim import relays
FAULTS = {
    "crash": 6, "power": 4, "cut": 4, "one-way": 2, "heal": 6, "freeze": 4, "signer": 2, "disk": 2, "wipe": 3,
    "transfer": 2, "order": 2, "kill all": 0.5, "ambush": 3, "stuck signer": 2, "unreached": 2,
    "replace": 3,
}  # fmt: skip


@dataclass
class Change:
    """An epoch that ends: the seals so far, and who was told to begin the next."""

    epoch: int
    seals: dict[str, Seal] = field(default_factory=dict)
    # why a member gave no seal, as it last said
    refused: dict[str, str] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)
    enough: bool = False
    tries: int = 0
    min_height: int | None = None


def is_fast(seed: int) -> bool:
    """Every other seed, and of each number of nodes (`nodes_of`) every other one."""
    return (seed + seed // 8) % 2 == 1


def is_news(payload: bytes) -> bool:
    """Whether a member says how it stands, as it does when that changes."""
    try:
        return isinstance(decode(payload), LifeNews | FactsNews)
    except ProtocolError:
        return False


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
        # of a validator's requests on a connection are given up within 20 ms
        self.impatience = 0.02
        # How often a validator looks whether it has something to ask. In some, promises flow as
        # fast as they are given: heartbeats rest.
        self.poll_s = (0.001, 0.006) if seed % 7 == 4 else (0.005, 0.03)
        self.agents_rest = 0.5  # of the looks at which an agent has nothing to ask
        self.spikes = 0.05  # of the frames come up to 0.2 s late
        self.round_trip_s = self.jitter_s = 0.0  # far members; the jitter comes on top
        # of each member, as its process starts
        self.facts: dict[str, tuple[tuple[str, str], ...]] = {}
        self.waking: set[int] = set()
        self.queue: list[tuple[float, int, Callable[..., None], tuple[Any, ...], dict[str, Any]]] = []
        self.order = itertools.count()
        self.trace: list[str] = []
        self.stats: dict[str, int] = {}
        self.cuts: set[tuple[str, str]] = set()
        self.connections: dict[frozenset[str], Connection] = {}
        self.signatures: dict[HRS, bytes] = {}
        self.promised: dict[tuple[HRS, bytes], set[str]] = {}
        # by epoch and term: node and its incarnation
        self.leaders: dict[tuple[int, int], tuple[str, int]] = {}
        self.majorities: dict[
            tuple[tuple[str, int], ...], float
        ] = {}  # since when they are whole: members and incarnations
        self.led_at = self.elected_at = 0.0
        self.change: Change | None = None
        self.operator = random.Random(
            f"{seed} operator"
        )  # who changes the members, beside everything else that happens
        # to each member that is stopped, before it is sealed
        self.carries_seals = random.Random(f"{seed} seals").random() < 0.5
        # a memory file system
        self.directory = Path(tempfile.mkdtemp(prefix="cmkms-sim-", dir="/dev/shm"))
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
        # old stores are put back without strict_start: outside the fault model, for mutants
        self.rollbacks = False

    # --- time ---

    def note(self, what: str) -> None:
        self.trace.append(f"{self.now:9.4f} {what}")
        if len(self.trace) > 4000:
            del self.trace[:2000]

    def after(self, delay_s: float, step: Callable[..., None], *arguments: Any, **named: Any) -> None:
        heapq.heappush(self.queue, (self.now + delay_s, next(self.order), step, arguments, named))

    def stands_still(self, until: float, step: Callable[..., None], *arguments: Any) -> bool:
        """Whether a process is frozen until then; `step` comes again when it is not: it may be
        woken early.
        """
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
        """Whether it has a connection to another machine of the other's member; now and then it is
        dialled all the same.
        """
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
            connection.last_arrival[name] = max(self.now, connection.last_arrival.get(name, 0.0))
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
        """A message is on its way. What the sender hears of it is worth nothing.

        Half of the worlds are harsher than TCP and its frames: a message overtakes another, or
        comes twice, or a cut swallows it. Not so what is said of oneself when it changes, and only
        then: nobody could know the last word from an earlier one, or say it once more.
        """
        if not connection.open:
            return True  # into the void
        held = connection.held.setdefault(dst, [])
        if (held or (src, dst) in self.cuts) and is_news(payload):
            if not held:
                self.after(SENT_AGAIN_S, self.send_again, connection, src, dst)
            held.append(payload)
            return True
        if (src, dst) in self.cuts:
            return True
        in_turn = self.lossy and is_news(payload)
        delay = self.rng.uniform(0.0001, 0.001) if self.rng.random() >= self.spikes else self.rng.uniform(0.001, 0.2)
        arrival = self.now + delay + self.latency_s()
        if not (self.lossy and self.rng.random() < 0.02) or in_turn:  # else it overtakes
            arrival = max(arrival, connection.last_arrival.get(dst, 0.0))
            connection.last_arrival[dst] = arrival
        self.after(arrival - self.now, self.deliver, connection, src, dst, payload)
        if self.lossy and self.rng.random() < 0.01 and not in_turn:
            self.after(arrival - self.now + self.rng.uniform(0, 0.3), self.deliver, connection, src, dst, payload)
        return not (self.lossy and self.rng.random() < 0.002)

    def send_again(self, connection: Connection, src: str, dst: str) -> None:
        """As TCP does, for as long as the connection lasts, with what a member says of itself."""
        if connection.open and (src, dst) in self.cuts:
            self.after(SENT_AGAIN_S, self.send_again, connection, src, dst)
        else:
            for payload in connection.held.pop(dst):
                self.transmit(connection, src, dst, payload)

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
        """A signer that holds the lease, as it sees it; two at once are possible, and each
        validator may meet either.
        """
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
        # restarted without its memory: it asks for what it asked before, and for other blocks
        if rng.random() < 0.08:
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
        """The sign rule holds by itself in C, whatever the state process and the key
        slot would refuse.
        """
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
        # what its refusal says: stopped, with the seals of those who are
        if unmet and node.cluster is not None:
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
                heights=Heights(change.min_height) if change.min_height is not None else None,
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
        """Only within the fault model: one lost or old store at a time, everybody else complete.

        `old`: is put back.
        """
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
        """The one schedule that tells whether a lost store is counted: the leader and F
        sign while S is away; F loses its store or gets an old one; the leader dies; S
        is back, and the validators have forgotten what they were given. Or, for the
        replicated log: a leader is elected by F's vote while S sleeps; F loses its
        journal; the leader dies; S wakes and stands.
        """
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
        """It ends for good.

        Where no other machine stands for its member, an older copy was put back: the
        operator moves it away.
        """
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
        """A machine is cut off, and another takes its place with nothing but the key; then both are
        there, each with another part of the others; then everybody meets, in any order.
        """
        # one thing after the other
        if len(self.names) < 2 or not self.whole() or self.change is not None:
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
        """Faults for so long, then peace; raises Violation.

        The same seed takes the same turns: the incarnations' nonces decide some of them.
        """
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
            # with strict_start the old one's last start may be the one that counts: then the new
            # one has ended
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
            # More stores lost at once than the liveness table allows: safe, and the
            # operator's turn.
            self.stats["stores lost at once"] = 1
            return
        if self.strict and {"recovering", "starting"} <= phases:
            # The price of strict_start (docs/SAFETY.md): neither answers the other, and the
            # operator must vouch for the stores.
            self.stats["strict deadlock"] = 1
            self.vouch()
            return
        if cut_off := self.sealed_off():
            # A member lost its store while its epoch ended, and too few others are left to be
            # sealed: it says so, and the operator recovers it.
            self.stats["recovered by hand"] = 1
            self.recover_by_hand(cut_off, top.height + 1)
            return
        if not self.signatures and "recovering" in phases:
            # A store lost while the cluster is born: safe, and nothing was signed; the operator
            # wipes all and starts again.
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
        """Members that recover, wait for one that is sealed, and without which no
        majority can be sealed: they say so themselves, or, where the sealed one is off,
        the seal that they cannot give does.
        """
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
        """`cmkms recover --min-height`, typed where the node stands still, and then the
        change goes on.
        """
        for node in nodes:
            node.crash(why="stopped, to be recovered")
            node.disk.settle()
            recover(node.files, Heights(height), CORE)
            node.restart_if_down()
        self.heal()

    def vouch(self) -> None:
        """Every node says who waits for whom; the operator does what it says, and it signs again.

        With an old store about it may not be done.
        """
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
