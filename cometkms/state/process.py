"""The state process: owns the promise store, the peers' port, Raft and the state files,
and grants permits.

Never: sees the validator key; answers before the store is durable; unpickles a byte.

A shell: node.py sends each message to what decides, outside.py does what that asks for, control.py
answers the operator and report.py shows how it stands. The store's write and sync happen in the
loop, on purpose: nothing else this process does may overtake them. A state file follows each
signature after the reply (files.py).
"""

import asyncio
import contextlib
import functools
import os
import platform
import random
import secrets
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cometkms.board.sections import EventKind, StateSection
from cometkms.board.status_board import Section
from cometkms.calm_log import CalmLog
from cometkms.config.facts import bytes_fact, settings_facts, validators_fact
from cometkms.config.reload import Reloadable
from cometkms.config.schema import Settings
from cometkms.core import choose
from cometkms.core.interface import Core, Frames, HotPath, Lane, Queue
from cometkms.durable import hand_over
from cometkms.errors import BusyError
from cometkms.hardening.account import STATE_NAME
from cometkms.hardening.children import Keeps, shut_child
from cometkms.hardening.confine import DNS_PORT, NameWatch, is_address
from cometkms.hardening.measures import Measure, Mode, tell
from cometkms.hardening.scheduling import take_turn, turn_of_signing
from cometkms.hardening.user import Whom
from cometkms.ipc.child import HAND_OVER_SIGNAL, ChildContext, run_loop, watch_names
from cometkms.keys.cluster import ClusterIdentity, Derivation, cluster_digest
from cometkms.limits import STATE_UID, TICK_S
from cometkms.log import Log
from cometkms.net.control import ControlServer, listen_control, listen_spare
from cometkms.state.control import OperatorDesk
from cometkms.state.events import StateEvents
from cometkms.state.favourite import PRIORITY_FACT
from cometkms.state.files import StateFiles
from cometkms.state.history import NOBODY, SignatureRing
from cometkms.state.node import ClusterNode
from cometkms.state.outside import NodeOutside
from cometkms.state.peers.network import PeerNetwork, PeerTarget
from cometkms.state.raft import RaftLog
from cometkms.state.report import StateReport
from cometkms.state.roster import Epoch
from cometkms.state.store_watch import watch_store
from cometkms.state.ticks import Ticks
from cometkms.state.writer import StateWriter, start_writer
from cometkms.store.clone import take_name
from cometkms.store.node_files import JOURNAL_NAME, NodeFiles
from cometkms.store.node_store import OpenedNode, open_node
from cometkms.wire.peer_id import peer_id
from cometkms.wire.peer_messages import CERTIFICATE_FACT, Facts, OtherProtocol, certificate_of, decode_hello, make_facts
from cometkms.wire.queue_messages import decode

#: Imported when they are first needed.
LATE: Final[tuple[str, ...]] = ()
CONTROL_NAME: Final = "control.sock"
_ASKED_OFTEN: Final = frozenset({"watch"})
_EVENT_DELAY_S: Final = 0.01  # what happens together is published together


@dataclass(frozen=True, slots=True)
class StateParts:
    """What the supervisor made before the fork; and `derivation`, begun behind it: who this node is
    among its key's nodes.
    """

    settings: Settings
    files: NodeFiles
    derivation: Derivation
    requests: Queue  # this process pops
    permits: Queue  # this process pushes
    board: Section[StateSection]
    log: Log


def run(context: ChildContext, parts: StateParts) -> int:
    """The process's whole life; returns its exit code. Raises: CometKMSError when it cannot start."""
    log = parts.log.bind(immediate=False, module="state")
    core = choose.load()
    opened = open_node(parts.files, core)
    for warning in opened.warnings:
        log.error("state reconciled", what=warning)
    mode, home = Mode(parts.settings.hardening), parts.files.store_path.parent
    writer = start_writer(parts.settings.home, parts.files, _secrets(parts.settings), mode, core)
    control = listen_control(home / CONTROL_NAME), listen_spare(home / CONTROL_NAME, log)
    os.chdir(
        home
    )  # what it works with from here on has no directory's name: as another user it could not come here by one

    kin = parts.derivation.take()  # after the fork: the process that writes does not have it
    names = NameWatch()

    async def main(stop: asyncio.Event) -> None:
        state = _State(parts, kin, core, opened, writer, control, measures, log, context)
        await state.start()
        context.on_reload(state.on_reload)
        if _has_names(parts.settings):
            watch_names(context, names, state.is_away, log, state.hand_over)
        context.ready()
        await stop.wait()
        await state.stop()

    # a copy of this home that is started here is noticed
    name = take_name(bytes(kin.identity.key), parts.settings.id)
    with name or contextlib.nullcontext(), choose.tracing(context.name):
        turn = take_turn("state", mode, turn_of_signing(realtime=parts.settings.realtime))
        measures = (*_shut(parts.settings, parts.files), turn, *writer.measures)
        tell(log, [one for one in measures if one.process == "state"])
        return run_loop(context, main, log)


def _shut(settings: Settings, files: NodeFiles) -> tuple[Measure, ...]:
    """Leave this process nothing but its own directory, in which it stands."""
    home = files.store_path.parent
    others = [peer.address for peer in settings.peers if peer.id != settings.id]
    names = _has_names(settings)
    keeps = Keeps(
        Whom(STATE_NAME, STATE_UID, hand=lambda uid, gid: hand_over(home, uid, gid)),
        work=(home,),
        names=names,
        tcp=True,
        connect=frozenset(one.port for one in others) | (frozenset({DNS_PORT}) if names else frozenset()),
        bind=frozenset({settings.raft_addr.port}),
        shut=_secrets(settings),
        apart=settings.secret_files,
        late=LATE,
    )
    return shut_child("state", Mode(settings.hardening), os.getppid(), keeps)


def _has_names(settings: Settings) -> bool:
    addresses = [*(peer.address for peer in settings.peers), settings.raft_addr]
    return any(not is_address(one.host) for one in addresses if one.host)


def _secrets(settings: Settings) -> tuple[Path, ...]:
    return tuple(chain.key_file for chain in settings.chains)


def _facts(settings: Settings, kin: ClusterIdentity) -> Facts:
    """Return what the other members compare with their own, and the certificate that this node
    shows to strangers.
    """
    return make_facts(
        {
            **settings_facts(settings),
            "core": choose.chosen_name(),
            "python": platform.python_version(),
            "noise_identity": peer_id(kin.noise_key),
            CERTIFICATE_FACT: kin.certificate.hex(),
        }
    )


class _State:
    """Make one ClusterNode with what stands around it, and drive it from the queue, the peers and
    the clock. A `PeerEvents`.
    """

    def __init__(
        self,
        parts: StateParts,
        kin: ClusterIdentity,
        core: Core,
        opened: OpenedNode,
        writer: StateWriter,
        control: tuple[socket.socket, socket.socket | None],
        measures: tuple[Measure, ...],
        log: Log,
        context: ChildContext,
    ) -> None:
        settings = parts.settings
        self._parts = parts
        self._kin = kin
        self._context = context
        self._opened = opened
        self._writer = writer
        self._log = CalmLog(log, time.monotonic)
        self._loop = asyncio.get_running_loop()
        self._ticks = Ticks(self._loop, step=self._tick, idle_for_s=self._idle_for_s)
        members = parts.files.members
        self._alone = parts.files.alone
        self._keys = {} if self._alone else {name: kin.public_keys[name] for name in members}
        number = opened.store.header.epoch
        epoch = Epoch(
            settings.id,
            number,
            members,
            cluster_digest(number, self._keys),
            self._keys,
            kin.identity.sign,
            opened.ended,
        )
        ring = SignatureRing()
        self._files = StateFiles(
            list(zip(opened.rows, opened.signed, strict=True)),
            write=writer.write,
            loop=self._loop,
            fail=self._fail,
        )
        self._publishing: asyncio.TimerHandle | None = None
        self._events = StateEvents(wall_clock=time.time, clock=time.monotonic, on_event=self._publish_soon)
        self._network = self._make_network(core, parts)
        outside = NodeOutside(
            network=self._network,
            permits=parts.permits,
            store=opened.store,
            files=self._files,
            writer=writer,
            ring=ring,
            events=self._events,
            chain_ids={row: chain.id for chain, row in zip(settings.chains, opened.rows, strict=True)},
            leader_number=self._leader_number,
            context=context,
            log=self._log,
        )
        self.node = ClusterNode(
            epoch=epoch,
            store=opened.store,
            rows=opened.rows,
            signed=opened.signed,
            raft=None if self._alone else self._make_raft,
            fast=functools.partial(self._make_hot, core, opened),
            core=core,
            nonce=secrets.randbits(63) + 1,
            ttl_s=settings.default_ttl_s,
            strict=settings.strict_start,
            adopted=opened.adopted,
            facts=_facts(settings, kin),
            outside=outside,
            clock=time.monotonic,
            wall_clock=time.time,
            signed_at=opened.signed_at,
            log=self._log,
        )
        self._report = StateReport(
            settings=settings,
            opened=opened,
            node=self.node,
            hot=self._hot,
            network=self._network,
            files=self._files,
            writer=writer,
            queues=(parts.requests, parts.permits),
            events=self._events,
            hardening=[one.document() for one in measures],
            board=parts.board,
            log=self._log,
        )
        desk = OperatorDesk(
            settings=settings,
            rows=opened.rows,
            node=self.node,
            ring=ring,
            report=self._report,
            events=self._events,
            fail=self._fail,
            publish_soon=self._publish_soon,
            log=self._log,
        )
        self._control = ControlServer(Path(CONTROL_NAME), desk.answer, self._log, _ASKED_OFTEN, *control)

    def _make_network(self, core: Core, parts: StateParts) -> PeerNetwork:
        settings = parts.settings
        return PeerNetwork(
            core=core,
            me=settings.id,
            identity=self._kin.identity,
            peers=tuple(
                PeerTarget(peer.id, self._keys[peer.id], peer.address)
                for peer in settings.peers
                if peer.id != settings.id
            ),
            listen=settings.raft_addr,
            events=self,
            log=self._log,
            make_lane=self._make_lane,
            max_segment=settings.tcp_max_segment,
        )

    def _make_hot(self, core: Core, opened: OpenedNode, node: ClusterNode) -> HotPath:
        self._hot = core.hot_path(
            path=opened.store.path,
            fd=opened.store.fileno(),
            nonce=node.nonce,
            quorum=node.epoch.quorum,
            others=node.epoch.others,
            rows=opened.store.rows,
            chains=opened.rows,
            permits=self._parts.permits,
            may=node.may,
            # made after this
            on_synced=lambda took_ns: node.reservations.sync_ns.add(took_ns),  # noqa: PLW0108
            on_permit=lambda took_ns: node.reservations.round_trip_ns.add(took_ns),  # noqa: PLW0108
        )
        return self._hot

    def _make_lane(self, peer: str, frames: Frames, fd: int) -> Lane | None:
        return self._hot.lane(peer, frames, fd)

    def _make_raft(self, node: ClusterNode) -> RaftLog:
        settings = self._parts.settings
        self.node = node
        return RaftLog(
            me=settings.id,
            members=self._parts.files.members,
            journal=Path(JOURNAL_NAME),
            disk=None,
            clock=time.monotonic,
            rng=random.Random(secrets.randbits(64)),  # noqa: S311 - election timeouts
            send=node.roster.send_raft,
            kick=self._ticks.kick,
            events=node,
            ttl_s=settings.default_ttl_s,
            log=self._log,
            round_trip_s=self._network.round_trip_s,
            flow=node.roster.flow,
        )

    # --- life ---

    async def start(self) -> None:
        """Forget what was asked of a predecessor; listen, dial, tick. Raises: BusyError."""
        self._parts.requests.discard()
        self._loop.add_reader(self._parts.requests.fileno(), self._on_queue)
        self._loop.add_signal_handler(HAND_OVER_SIGNAL, self.hand_over)
        if self._alone:
            self._listen_alone()
        else:
            self._network.start()
            self._ticks.start(TICK_S)
        self._control.start()
        self._events.add(EventKind.STARTED)
        self.node.start()
        self._report.write()
        self._context.on_beat(watch_store(self._opened.store, self.node, self._log, self._publish_soon))
        self._context.on_beat(self._control.look)
        self._context.on_beat(self._report.on_beat)

    def _listen_alone(self) -> None:
        """Listen only for a cluster with the same key, which it must not stand beside (rule 9)."""
        try:
            self._network.start()
        except BusyError as error:
            self._log.warning("a cluster with the same key would not be noticed here", why=str(error))

    async def stop(self) -> None:
        """The signer is gone: take its last reports, do nothing more by itself, bring the state
        files in step.

        What is open stays open: the loop may still call what was due, and the process ends.
        """
        self._on_queue()
        self.node.flush()
        await asyncio.sleep(0)
        self._loop.remove_reader(self._parts.requests.fileno())
        self._ticks.stop()
        await self._network.stop()
        await self._control.stop()
        self._files.finish()
        self._log.tell_held(everything=True)

    def on_reload(self, new: Reloadable) -> None:
        """The other nodes compare the new addresses with theirs, and hear whom the lead
        shall return to.
        """
        told = {
            **dict(self.node.roster.facts),
            "validators": validators_fact(new.validator_addrs, new.agents),
            "signed_bytes": bytes_fact(new.allowed_bytes),
            PRIORITY_FACT: new.leader_priority,
        }
        self.node.roster.tell_facts(make_facts(told))

    def is_away(self) -> bool:
        """Whether a member is not connected."""
        return any(not self.node.roster.members[name].connected for name in self.node.epoch.others)

    def hand_over(self) -> None:
        """This process is about to stop."""
        self.node.handover.hand_over()

    def _tick(self) -> None:
        self.node.tick()

    def _idle_for_s(self) -> float:
        return self.node.idle_for_s()

    def _fail(self, error: BaseException) -> None:
        """End the process: a file that cannot be written is never ignored."""
        self._loop.call_exception_handler({"message": "a file that must be written", "exception": error})

    # --- the signer's queue ---

    def _on_queue(self) -> None:
        """Plain reservations are on their way before the rest is looked at: reports, mostly."""
        while True:
            rest, taken = self._hot.take(self._parts.requests)
            if taken == 0:
                return
            self._network.collect_unsent()
            self._files.asked_at = self._loop.time()
            self.node.reservations.on_hot()
            for untrusted in rest:
                self.node.on_signer(decode(untrusted))

    def _leader_number(self) -> int:
        members, leader = self._parts.files.members, self.node.leader
        return members.index(leader) if leader in members else NOBODY

    # --- the network ---

    def hello(self, peer: str) -> bytes:
        """Return this node's first frame to that peer."""
        return self.node.hello(peer)

    def on_hello(self, peer: str, payload: bytes, address: str) -> str | None:
        """Judge a peer's hello, and return why it is refused."""
        return self.node.on_hello(peer, payload, address)

    def on_stranger(self, public_key: bytes, payload: bytes, address: str) -> str | None:
        """Judge the hello of an identity that is no peer's, and return why it is refused."""
        hello = decode_hello(payload)
        if isinstance(hello, OtherProtocol):
            return None
        if not self._kin.certifies(hello.node, public_key, certificate_of(hello.facts)):
            return None
        return self.node.on_unlisted(hello, address)

    def on_connected(self, peer: str) -> None:
        """Take up a peer after both hellos were accepted."""
        self._events.add(EventKind.PEER_CONNECTED, peer=peer)
        self.node.on_connected(peer)

    def on_frame(self, peer: str, payload: bytes) -> None:
        """Handle one frame of a peer."""
        self.node.on_frame(peer, payload)

    def on_disconnected(self, peer: str, why: str, *, closed: bool) -> None:
        """Let go of a peer whose connection is gone."""
        self._log.info("peer disconnected", peer=peer, why=why)
        self._events.add(EventKind.PEER_DISCONNECTED, peer=peer, why=why, closed=closed)
        self.node.on_disconnected(peer, closed=closed)

    # --- the status board ---

    def _publish_soon(self) -> None:
        """Something rare happened: whoever watches need not wait for the next beat."""
        if self._publishing is None:
            self._publishing = self._loop.call_later(_EVENT_DELAY_S, self._publish_event)

    def _publish_event(self) -> None:
        self._publishing = None
        self._report.write()
