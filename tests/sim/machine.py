"""One machine of the simulation: its home and disk, and the life of its state and signer processes."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cometkms.core.interface import HotPath
from cometkms.errors import CometKMSError, OperatorError, ProtocolError, SupersededError
from cometkms.keys.cluster import cluster_digest
from cometkms.limits import RAFT_COUNTED_FROM_UNIX_S
from cometkms.model import HRS, Watermark
from cometkms.rules.birth import NodeState
from cometkms.state.node import ClusterNode
from cometkms.state.raft import RaftLog
from cometkms.state.roster import Epoch
from cometkms.store import state_file
from cometkms.store.home_born import write_born
from cometkms.store.node_files import ChainFiles, NodeFiles
from cometkms.store.node_store import OpenedNode, open_node
from cometkms.wire.queue_messages import (
    PermitGranted,
    QueueMessage,
)
from cometkms.wire.queue_messages import encode as encode_queue
from tests.sim.disk import SimDisk
from tests.sim.ground import ABSURD, CHAIN, CORE, ROW, TICK_S, TTL_S, SilentLog, Violation
from tests.sim.signing import Signer

if CORE.name == "native":
    from tests.sim import fast as paths

if TYPE_CHECKING:
    from tests.sim.world import World


class Node:
    """One machine: its home, disk, and the life of its state and signer processes.

    `member`: whose node runs there.

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
        # thirty years: nothing rests on it
        self.wall_offset = 1e9 * random.Random(f"{world.seed} {name} wall").random()
        self.signed_at = self.wall_clock()  # when its state file was written
        self.kicked = False
        self.unled_since = self.unreached_until = 0.0
        # the highest mark this home ever showed, since it was last wiped or rolled back
        self.high = HRS(0, 0, 0)
        self.checked: Watermark | None = None
        path = self.home / "priv" / "priv_validator_state.json"
        path.parent.mkdir(parents=True)
        state_file.save(path, Watermark())
        self.files = NodeFiles.at(self.home, self.member, (ChainFiles(ROW, path),), world.names)
        self.fast: paths.FastState | None = None
        self.calls: paths.Calls | None = None
        self.queues: paths.Queues | None = None
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
            # a store that does not check was put aside: what it held is not counted on
            self.high = HRS(0, 0, 0)
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
            fast=self.make_fast if self.queues is not None else None,
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
        self.checked = None  # a store that is opened again is looked at again
        if self.signer is None:
            self.signer = Signer(self)
        self.guarded(self.cluster.start)
        world.after(TICK_S * self.rng.random(), self.tick, self.incarnation)

    def make_fast(self, node: ClusterNode) -> HotPath:
        assert self.queues is not None
        self.queues.requests.discard()
        self.fast = paths.FastState(self, node)
        return self.fast.hot

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
        """Seconds since 1970: an hour into the program's own counting, and wrong by a
        second at most.
        """
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

    def why_away(self, member: str) -> str:
        return ""

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
        """In the supervisor's order: the state process hands over, the signer ends,
        then the state process.
        """
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
        mark = self.opened.store.mark(0)
        if mark == self.checked:
            return
        self.checked = mark
        if mark.hrs < self.high:
            raise Violation(f"{self.name}'s mark fell from {tuple(self.high)} to {tuple(mark.hrs)}")
        self.high = mark.hrs
        if mark.hrs.height >= ABSURD:
            raise Violation(f"{self.name} promised at height {mark.hrs.height}, and no chain has come so far")
        if mark.sign_bytes and self.opened.store.header.state is NodeState.COMPLETE:
            self.world.promised.setdefault((mark.hrs, mark.sign_bytes), set()).add(self.member)
