"""The state process: owns the promise store, the peers' port, Raft and the state files, and grants permits.

Never: sees the validator key; answers before the store is durable; unpickles a byte.

A shell: cometkms.state.node decides. The store's write and sync happen in the loop, on purpose: nothing else this process does may
overtake them. A state file follows each signature after the reply (files.py).
"""

import asyncio
import base64
import contextlib
import os
import platform
import random
import secrets
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Unpack

from cometkms import __version__
from cometkms.board.sections import (
    BehindReport,
    EventFields,
    EventKind,
    LastSignState,
    LinkState,
    MarkReport,
    MemberReport,
    MemberState,
    RowReport,
    SignerSection,
    StateSection,
    StrictWaitReport,
    WatermarkReport,
)
from cometkms.board.shape import shape
from cometkms.board.status_board import Section
from cometkms.calm_log import CalmLog
from cometkms.config.facts import bytes_fact, settings_facts, validators_fact
from cometkms.config.reload import Reloadable
from cometkms.config.schema import Chain, Settings
from cometkms.core import choose
from cometkms.core.interface import Core, Frames, HotPath, Lane, Queue
from cometkms.durable import hand_over
from cometkms.errors import BusyError, StateError, StoreFailure
from cometkms.hardening.children import Keeps, shut_child
from cometkms.hardening.confine import DNS_PORT, NameWatch, is_address
from cometkms.hardening.measures import Measure, Mode, tell
from cometkms.hardening.scheduling import take_turn, turn_of_signing
from cometkms.hardening.user import Whom
from cometkms.ipc.child import HAND_OVER_SIGNAL, ChildContext, run_loop, watch_names
from cometkms.keys.cluster import ClusterIdentity, Derivation, cluster_digest
from cometkms.limits import (
    ASKED_RESTARTS_MAX,
    ASKED_RESTARTS_S,
    DRILL_ANSWER_S,
    HEIGHT_MAX,
    SIGNATURE_PAGE_ENTRIES,
    STATE_UID,
    STATUS_LATEST_S,
    STATUS_QUIET_S,
    TICK_S,
    TRANSFER_TIMEOUT_S,
)
from cometkms.log import Log
from cometkms.model import HRS, Watermark
from cometkms.net.control import ControlServer, listen_control
from cometkms.rules.birth import NodeState
from cometkms.state.events import StateEvents
from cometkms.state.favourite import PRIORITY_FACT
from cometkms.state.files import StateFiles
from cometkms.state.history import NOBODY, SignatureRing
from cometkms.state.lag import LagMeter
from cometkms.state.node import ClusterNode, Epoch
from cometkms.state.peers import PeerNetwork, PeerTarget
from cometkms.state.raft import RaftLog
from cometkms.state.ticks import Ticks
from cometkms.state.writer import StateWriter, start_writer
from cometkms.store.epoch import following_of, seal_text
from cometkms.store.node_store import JOURNAL_NAME, NodeFiles, OpenedNode, open_node
from cometkms.store.twin import take_name
from cometkms.wire.peer_id import peer_id
from cometkms.wire.peer_messages import (
    CERTIFICATE_FACT,
    Action,
    Facts,
    OtherProtocol,
    certificate_of,
    decode_hello,
    make_facts,
)
from cometkms.wire.queue_messages import QueueMessage, decode, encode

#: Imported when they are first needed.
LATE: Final[tuple[str, ...]] = ()
CONTROL_NAME: Final = "control.sock"
_SEAL_WAIT_S: Final = (
    3.0  # for the others' answers, asked again every half second; below the patience of who asks for the seal
)
_REFUSED_LATELY_S: Final = (
    10.0  # a refusal beside a connection that stands is old after so long: one that is refused dials every second
)
_RESTART_AFTER_S: Final = 0.05
_SAID_AFTER_S: Final = 1.0  # a reason not to sign that has lasted for so long stands in the log
_EVENT_DELAY_S: Final = 0.01  # what happens together is published together


@dataclass(frozen=True, slots=True)
class StateParts:
    """What the supervisor made before the fork; and `derivation`, begun behind it: who this node is among its key's nodes."""

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
    control = listen_control(home / CONTROL_NAME)
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

    name = take_name(bytes(kin.identity.key), parts.settings.id)  # a copy of this home that is started here is noticed
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
        Whom("cmkms-state", STATE_UID, hand=lambda uid, gid: hand_over(home, uid, gid)),
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


class _State:
    """The shell around one ClusterNode: queues, sockets, timers, files. An `Outside`, a `PeerEvents` and a `RaftEvents`."""

    def __init__(
        self,
        parts: StateParts,
        kin: ClusterIdentity,
        core: Core,
        opened: OpenedNode,
        writer: StateWriter,
        control: socket.socket,
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
        self._hardening = [one.document() for one in measures]
        self._log = CalmLog(log, time.monotonic)
        self._loop = asyncio.get_running_loop()
        self._glanced: tuple[object, ...] = ()
        self._ticks = Ticks(self._loop, step=self._tick, idle_for_s=self._idle_for_s)
        self._why, self._why_since, self._said = "", 0.0, ""
        self._lag = LagMeter()
        self._published_at = -STATUS_LATEST_S
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
        )
        self._ring = SignatureRing()
        self._files = StateFiles(
            list(zip(opened.rows, opened.signed, strict=True)),
            write=writer.write,
            loop=self._loop,
            fail=self._fail,
        )
        self._chain_ids = {row: chain.id for chain, row in zip(settings.chains, opened.rows, strict=True)}
        self._publishing: asyncio.TimerHandle | None = None
        self._events = StateEvents(wall_clock=time.time, clock=time.monotonic, on_event=self._publish_soon)
        self._hot: HotPath | None = None
        self._network = self._make_network(core, parts)
        self._raft: RaftLog | None = None
        self.node = ClusterNode(
            epoch=epoch,
            store=opened.store,
            rows=opened.rows,
            signed=opened.signed,
            raft=None if self._alone else self._make_raft,
            core=core,
            nonce=secrets.randbits(63) + 1,
            ttl_s=settings.default_ttl_s,
            strict=settings.strict_start,
            adopted=opened.adopted,
            facts=make_facts(
                {
                    **settings_facts(settings),
                    "core": choose.chosen_name(),
                    "python": platform.python_version(),
                    "noise_identity": peer_id(kin.noise_key),
                    CERTIFICATE_FACT: kin.certificate.hex(),
                }
            ),
            outside=self,
            clock=time.monotonic,
            wall_clock=time.time,
            signed_at=opened.signed_at,
            log=self._log,
        )
        self._attach_hot_path(core, opened)
        quiet = frozenset({"watch"})
        self._control = ControlServer(Path(CONTROL_NAME), self._on_control, self._log, quiet, control)

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

    def _attach_hot_path(self, core: Core, opened: OpenedNode) -> None:
        node = self.node
        self._hot = core.hot_path(
            path=opened.store.path,
            fd=opened.store.fileno(),
            nonce=node.nonce,
            quorum=node.quorum,
            others=node.epoch.others,
            rows=opened.store.rows,
            chains=opened.rows,
            permits=self._parts.permits,
            may=node.may,
            on_synced=node.sync_ns.add,
            on_permit=node.round_trip_ns.add,
        )
        if self._hot is not None:
            node.attach(self._hot)

    def _make_lane(self, peer: str, frames: Frames, fd: int) -> Lane | None:
        return self._hot.lane(peer, frames, fd) if self._hot is not None else None

    def _make_raft(self, node: ClusterNode) -> RaftLog:
        settings = self._parts.settings
        self.node = node
        self._raft = RaftLog(
            me=settings.id,
            members=self._parts.files.members,
            journal=Path(JOURNAL_NAME),
            disk=None,
            clock=time.monotonic,
            rng=random.Random(secrets.randbits(64)),  # noqa: S311 - election timeouts
            send=node.send_raft,
            kick=self._ticks.kick,
            events=node,
            ttl_s=settings.default_ttl_s,
            log=self._log,
            round_trip_s=self._network.round_trip_s,
            flow=node.flow,
        )
        return self._raft

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
        self._write_board()
        self._context.on_beat(self._publish)

    def _listen_alone(self) -> None:
        """Listen for a cluster with the same key, which this node must not stand beside (rule 9), and for nobody else."""
        try:
            self._network.start()
        except BusyError as error:
            self._log.warning("a cluster with the same key would not be noticed here", why=str(error))

    async def stop(self) -> None:
        """The signer is gone: take its last reports, bring the files in step, close."""
        self._on_queue()
        self.node.flush()
        await asyncio.sleep(0)
        await self._network.stop()
        await self._control.stop()
        self._files.finish()
        if self._raft is not None:
            self._raft.close()
        self._writer.close()
        self._log.tell_held(everything=True)
        self._opened.store.close()

    def on_reload(self, new: Reloadable) -> None:
        """The other nodes compare the new addresses with theirs, and hear whom the lead shall return to."""
        told = {
            **dict(self.node.facts),
            "validators": validators_fact(new.validator_addrs, new.agents),
            "signed_bytes": bytes_fact(new.allowed_bytes),
            PRIORITY_FACT: new.leader_priority,
        }
        self.node.tell_facts(make_facts(told))

    def is_away(self) -> bool:
        """Whether a member is not connected."""
        return any(not self.node.member(name).connected for name in self.node.epoch.others)

    def hand_over(self) -> None:
        """This process is about to stop."""
        self.node.hand_over()

    def _tick(self) -> None:
        self.node.tick()

    def _idle_for_s(self) -> float:
        return self.node.idle_for_s()

    def _fail(self, error: BaseException) -> None:
        """End the process: a file that cannot be written is never ignored."""
        self._loop.call_exception_handler({"message": "a file that must be written", "exception": error})

    # --- the signer's queue ---

    def _on_queue(self) -> None:
        if self._hot is not None:
            self._on_queue_hot(self._hot)
            return
        while (untrusted := self._parts.requests.pop()) is not None:
            self._files.asked_at = self._loop.time()
            self.node.on_signer(decode(untrusted))

    def _on_queue_hot(self, hot: HotPath) -> None:
        """Plain reservations are on their way before the rest is looked at, reports of earlier signatures mostly."""
        while True:
            rest, taken = hot.take(self._parts.requests)
            if taken == 0:
                return
            self._network.collect_unsent()
            self._files.asked_at = self._loop.time()
            self.node.on_hot()
            for untrusted in rest:
                self.node.on_signer(decode(untrusted))

    def disconnect(self, member: str, why: str) -> None:
        """Close the connection to a member, if there is one."""
        self._network.disconnect(member, why)

    def to_signer(self, message: QueueMessage) -> None:
        """Put a message into the signer's queue."""
        if not self._parts.permits.push(encode(message)):
            self._log.error("queue to the signer is full", message=type(message).__name__)

    # --- files ---

    def on_signed(self, row: int, mark: Watermark) -> None:
        """Let the state file follow the highest verified signature of a row."""
        self._files.on_signed(row, mark)
        self._ring.add(self._loop.time(), row, mark.hrs, self._leader_number())
        if row in self._chain_ids:
            self._events.on_signed(row, self._chain_ids[row], mark.hrs)

    def _leader_number(self) -> int:
        members, leader = self._parts.files.members, self.node.leader
        return members.index(leader) if leader in members else NOBODY

    def happened(self, what: EventKind, **fields: Unpack[EventFields]) -> None:
        """Show operators something rare, with its time."""
        self._events.add(what, **fields)

    def mark_raised(self, row: int) -> None:
        """Let the state file follow a mark that others' records raised, without a signature."""
        self._files.on_raised(row, self._opened.store.mark(row))

    def before_birth(self) -> None:
        """Write durably beside the state files that this node was born here."""
        self._writer.write_born(self._opened.store.header.epoch)

    def on_sealed(self, following: tuple[str, ...]) -> None:
        """Write durably for whom this node's epoch is sealed."""
        self._writer.write_born(self._opened.store.header.epoch, following)

    def restart(self) -> str:
        """Ask for an orderly restart of this node, and return why that cannot be.

        The supervisor does it, once the answer has left. Any member may order it, so not without end.
        """
        if self._context.asked_restarts >= ASKED_RESTARTS_MAX:
            return f"it was restarted by order {ASKED_RESTARTS_MAX} times within {ASKED_RESTARTS_S / 3600:g} hours"
        self._loop.call_later(_RESTART_AFTER_S, self._context.ask_for_restart)
        return ""

    def signer_trouble(self) -> str:
        """Tell what of the signer's work stands in the way of a drill."""
        return signer_trouble(self._signer_section())

    def signer_beat(self) -> int:
        """Return a number that changes whenever the signer's loop beats."""
        return self._context.board.last_beat("signer")

    def _signer_section(self) -> SignerSection | None:
        return shape({"signer": self._context.board.section("signer").read()})["signer"]

    def validator_reached(self) -> bool | None:
        """Tell whether a validator is connected to this node's signer, where that is known."""
        return validator_reached(self._signer_section())

    def replace_signer(self) -> None:
        """Ask the supervisor for a new signer process, because the present one does not move. The supervisor looks at its heartbeat, too."""
        self._context.ask_for_new_signer()

    # --- the network ---

    def send(self, member: str, payload: bytes) -> bool:
        """Send to a member, and return False where it is not connected."""
        return self._network.send(member, payload)

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

    # --- the operator ---

    async def _on_control(self, request: dict[str, Any]) -> dict[str, Any]:
        match request.get("op"):
            case "peers":
                return {"ok": True, **{key: value for key, value in self._document().items() if key != "events"}}
            case "watch":
                return {"ok": True, **self._watch(request.get("since"))}
            case "leader_transfer":
                return await self._transfer(request.get("to"))
            case "seal":
                return await self._seal(request.get("next"))
            case "reach" | "admit" as what:
                return self._reach(request.get("chain_id"), request.get("height") if what == "admit" else None)
            case "order":
                return await self._on_order(request.get("action"), request.get("to"))
            case other:
                return {"ok": False, "error": f"unknown operation {other!r}"}

    def _reach(self, chain_id: object, untrusted_height: object) -> dict[str, Any]:
        """How high a chain can plausibly have come by now (rule 13); with a height: after the operator said that it has come there."""
        ids = [chain.id for chain in self._parts.settings.chains]
        if not isinstance(chain_id, str) or chain_id not in ids:
            return {"ok": False, "error": f"{chain_id!r} is no chain of this node; it has {', '.join(ids)}"}
        chain = ids.index(chain_id)
        if untrusted_height is not None:
            if type(untrusted_height) is not int or not 0 < untrusted_height <= HEIGHT_MAX:
                return {"ok": False, "error": f"{untrusted_height!r} is no height"}
            if untrusted_height > self.node.reach(chain):
                self.node.admit(chain, untrusted_height)
                self._events.add(EventKind.HEIGHT_ADMITTED, chain=chain_id, height=untrusted_height)
        return {
            "ok": True,
            "node_id": self.node.epoch.me,
            "reach": self.node.reach(chain),
            "mark": self.node.place(chain).height,
            "signed": self.node.signed(chain).hrs.height,
            "quorum": self.node.quorum,
            "size": len(self.node.epoch.members),
        }

    async def _seal(self, untrusted_next: object) -> dict[str, Any]:
        """This node's seal, as one line of text. A start read that is under way is waited for: a store that was compared vouches for more."""
        if not isinstance(untrusted_next, str):
            return {"ok": False, "error": "a seal names who follows: id,id,…"}
        until = self._loop.time() + _SEAL_WAIT_S
        while self.node.membership.reading and self._loop.time() < until:
            await asyncio.sleep(TICK_S)
        try:
            return {"ok": True, "seal": seal_text(self.node.seal(following_of(untrusted_next)))}
        except StateError as error:
            return {"ok": False, "error": str(error)}
        except StoreFailure as error:
            self._fail(error)
            return {"ok": False, "error": str(error)}
        finally:
            self._publish_soon()

    async def _transfer(self, to: object) -> dict[str, Any]:
        """Wherever the leader is: it is asked, and the change is waited for here. Whoever leads next is asked when nobody did, or no longer."""
        node, started = self.node, self._loop.time()
        if to is not None and (not isinstance(to, str) or to not in node.epoch.members):
            return {"ok": False, "error": f"{to!r} is no member; the members are: {', '.join(node.epoch.members)}"}
        if to is not None and to == node.leader:
            return {"ok": True, "from": to, "to": to, "took_ms": 0.0}
        until = started + TRANSFER_TIMEOUT_S
        while True:
            before = await self._leader_besides(None, until)
            if before is None:
                return {"ok": False, "error": self._nobody_leads()}
            why = await self._order(Action.TRANSFER, to or "") if before != to else ""
            if not why:
                break
            if node.leader == before or self._loop.time() >= until:
                return {"ok": False, "error": why}
        after = before if before == to else await self._leader_besides(before, until)
        if after is None:
            return {
                "ok": False,
                "error": f"no other node took over within {TRANSFER_TIMEOUT_S:g} s; {before} may lead on",
            }
        return {"ok": True, "from": before, "to": after, "took_ms": round((self._loop.time() - started) * 1000, 1)}

    async def _leader_besides(self, known: str | None, until: float) -> str | None:
        """Who leads, as soon as that is somebody besides `known`; None when the time is over."""
        while (leader := self.node.leader) in (None, known) and self._loop.time() < until:
            await asyncio.sleep(TICK_S)
        return leader if leader != known else None

    async def _on_order(self, untrusted_action: object, to: object) -> dict[str, Any]:
        action = next((one for one in Action if one.name.lower() == untrusted_action), None)
        if action is None or not isinstance(to, str):
            return {"ok": False, "error": "an order is check, transfer or restart, and to whom"}
        leader = self.node.leader
        if action is Action.RESTART and leader == self.node.epoch.me:
            return {
                "ok": False,
                "error": f"{leader} leads and is asked here: another node's restart can be watched from it, not its own",
            }
        why = await self._order(action, to)
        return {"ok": True, "leader": leader, "why": why}

    async def _order(self, action: Action, to: str) -> str:
        """Send the order to the leader, wherever it is, and return "" or why not."""
        node, leader = self.node, self.node.leader
        if leader is None:
            return self._nobody_leads()
        if leader == node.epoch.me:
            return node.drills.obey("the operator", action, to)
        answer: asyncio.Future[str] = self._loop.create_future()
        asked = node.drills.ask(leader, action, to, lambda why: None if answer.done() else answer.set_result(why))
        if not asked:
            return f"{leader} leads and is not connected"
        try:
            async with asyncio.timeout(DRILL_ANSWER_S):
                why = await answer
        except TimeoutError:
            return f"{leader} leads and did not answer within {DRILL_ANSWER_S:g} s"
        return f"{leader}: {why}" if why else ""

    def _nobody_leads(self) -> str:
        return f"nobody leads: {(self.node.why or 'a leader is being elected').removeprefix('nobody leads: ')}"

    def _watch(self, untrusted_since: object) -> dict[str, Any]:
        """What a drill polls: who leads, who is there, and the signatures learned of since the given number."""
        node = self.node
        since = untrusted_since if isinstance(untrusted_since, int) and untrusted_since >= 0 else self._ring.next
        members = self._parts.files.members
        found = self._ring.since(since, SIGNATURE_PAGE_ENTRIES)
        return {
            "now": self._loop.time(),
            "node_id": node.epoch.me,
            "leader_id": node.leader,
            "term": node.raft.term if node.raft is not None else 0,
            "why": node.why,
            "chains": [chain.id for chain in self._parts.settings.chains],
            "signed_at": [self._ring.newest_at(row) for row in self._opened.rows],
            "members": [
                {key: one.get(key) for key in ("id", "self", "connected", "state", "connects")}
                for one in self._members({})
            ],
            "signatures": [
                [
                    one.number,
                    one.at,
                    self._opened.rows.index(one.row),
                    *one.hrs,
                    members[one.by] if one.by != NOBODY else "",
                ]
                for one in found
                if one.row in self._opened.rows
            ],
            "oldest": self._ring.oldest,
            "next": found[-1].number + 1 if found else self._ring.next,
        }

    # --- the status board ---

    def _publish(self) -> None:
        """When it is quiet and something that matters has changed; and once a second, for what moves all the time."""
        now = self._loop.time()
        if now - self._published_at < STATUS_LATEST_S:
            idle_s = self._hot.idle_s() if self._hot is not None else now - self._files.asked_at
            if idle_s < STATUS_QUIET_S or self._glance() == self._glanced:
                return
        self._log.tell_held()
        self._write_board()

    def _glance(self) -> tuple[object, ...]:
        """What a reader of the board wants to know at once, if no event says it. Composing all of it takes a hundred times as long."""
        node, store = self.node, self._opened.store
        term = node.raft.term if node.raft is not None else 0
        return node.leading, node.leader, node.why, node.membership.phase, term, store.seq, node.leader_changes

    def _publish_soon(self) -> None:
        """Something rare happened: whoever watches need not wait for the next beat."""
        if self._publishing is None:
            self._publishing = self._loop.call_later(_EVENT_DELAY_S, self._publish_event)

    def _publish_event(self) -> None:
        self._publishing = None
        self._write_board()

    def _write_board(self) -> None:
        self._published_at = self._loop.time()
        self._glanced = self._glance()
        document = self._document()
        self._say_why(document["why"])
        self._parts.board.publish(document)

    def _say_why(self, why: str) -> None:
        """Log why nobody leads once it has lasted: an election is over before that."""
        now = self._loop.time()
        if why != self._why:
            self._why, self._why_since = why, now
        if why and why != self._said and now - self._why_since >= _SAID_AFTER_S:
            self._said = why
            self._log.warning("not signing", why=why)
        elif not why:
            self._said = ""

    def _document(self) -> StateSection:
        """The state's section of the status board."""
        settings, store, node = self._parts.settings, self._opened.store, self.node
        addresses = {peer.id: str(peer.address) for peer in settings.peers} | {
            settings.id: str(settings.raft_published or settings.raft_addr)
        }
        leader, wait = node.leader, node.membership.strict_wait
        members = self._members(addresses)
        self._events.see_states(settings.id, {one["id"]: one.get("state") for one in members})
        return StateSection(
            node_id=settings.id,
            is_leader=node.leading,
            leader_id=leader,
            leader_addr=addresses.get(leader) if leader is not None else None,
            epoch=store.header.epoch,
            digest=node.epoch.digest.hex(),
            members=members,
            config_differences=[one.document() for one in node.differences],
            next=list(self._writer.following) if node.membership.state is NodeState.SEALED else [],
            node_state=node.membership.phase,
            why=node.why,
            strict_wait=StrictWaitReport(lost=list(wait.lost), starting=list(wait.starting)) if wait else None,
            term=node.raft.term if node.raft is not None else 0,
            lease_left_s=round(node.lease_left_s(), 2),
            seq=store.seq,
            rows=[self._row(chain, row) for chain, row in zip(settings.chains, self._opened.rows, strict=True)],
            hardening=self._hardening,
            warnings=list(self._opened.warnings),
            refused=dict(node.counters),
            peers_port=self._network.counters(),
            fdatasync_us=node.sync_ns.summary_us(),
            sync_hist=node.sync_ns.buckets_us(),
            fast_path=self._hot.counters() if self._hot is not None else {},
            permit_us=node.round_trip_ns.summary_us(),
            permit_hist=node.round_trip_ns.buckets_us(),
            leader_changes=node.leader_changes,
            proposed_without_lead=node.proposed_without_lead,
            handovers=dict(node.handovers),
            ring_depth={"requests": self._parts.requests.depth(), "permits": self._parts.permits.depth()},
            events=self._events.document(),
        )

    def _row(self, chain: Chain, row: int) -> RowReport:
        store = self._opened.store
        return RowReport(
            chain_id=chain.id,
            public_key=store.rows[row].public_key.hex(),
            watermark=_watermark_document(store.mark(row)),
            last_sign_state=_last_sign_state(self._files.signed(row)),
            signed_at=self._events.signed_at(row),
        )

    def _members(self, addresses: dict[str, str]) -> list[MemberReport]:
        settings, node = self._parts.settings, self.node
        links = {one["id"]: one for one in self._network.document()}
        places = tuple(node.place(number) for number in range(len(settings.chains)))
        if not node.leading:
            self._lag = LagMeter()
        return [
            self._myself(addresses.get(name, ""), places)
            if name == settings.id
            else self._other(name, addresses.get(name, ""), links.get(name), places)
            for name in node.epoch.members
        ]

    def _myself(self, addr: str, places: tuple[HRS, ...]) -> MemberReport:
        settings, node = self._parts.settings, self.node
        return MemberReport(
            id=settings.id,
            addr=addr,
            self=True,
            connected=True,
            state=node.membership.phase,
            seq=self._opened.store.seq,
            version=__version__,
            facts=_shown(node.facts),
            marks=[_place(chain.id, hrs) for chain, hrs in zip(settings.chains, places, strict=True)],
        )

    def _other(self, name: str, addr: str, link: MemberReport | None, places: tuple[HRS, ...]) -> MemberReport:
        """`link`: what the network says of the member; `places`: this node's own."""
        node = self.node
        known, news = node.member(name), node.membership.life_of(name)
        seq = node.seq_of(name)
        entry = MemberReport(id=name, addr=addr, self=False)
        entry.update(link or {})
        entry["addr"] = addr
        entry["connected"] = known.connected
        entry["state"] = (
            (MemberState.STARTING if news.starting else MemberState[news.life.state.name]) if news else None
        )
        entry["seq"] = seq
        entry["marks"] = [_place(one.row.chain_id, one.mark.hrs) for one in news.marks] if news else []
        entry["marks_at"] = round(time.time() - (self._loop.time() - known.told_at), 1) if known.told_at else None
        if node.leading:
            ids = [chain.id for chain in self._parts.settings.chains]
            lag = self._lag.look(name, seq, self._opened.store.seq, places, self._loop.time())
            entry["behind"] = BehindReport(promises=lag.promises, heights=dict(zip(ids, lag.heights, strict=True)))
            if known.connected and (acked := self._lag.acknowledged(name)) is not None:
                entry["marks"] = [_place(chain, hrs) for chain, hrs in zip(ids, acked.places, strict=True)]
                entry["marks_at"] = round(time.time() - (self._loop.time() - acked.at), 1)
        old = known.connected and time.time() - entry.get("refused_at", 0.0) > _REFUSED_LATELY_S
        entry["error"] = "" if old else entry.get("last_error", "")
        entry["error_code"] = "" if old else entry.get("error_code", "")
        entry["version"], entry["facts"] = known.version, _shown(known.facts)
        return entry


def signer_trouble(section: SignerSection | None) -> str:
    """What the signer's section says that a drill must not begin with: a validator that is not connected."""
    if section is None:
        return "the signer has not reported yet"
    away = [
        f"{validator.get('addr')} of {chain.get('chain_id')} is {validator.get('state')}"
        for chain in section.get("chains", [])
        for validator in chain.get("validators", [])
        if validator.get("state") != LinkState.CONNECTED
    ]
    return f"not every validator is connected: {', '.join(away)}" if away else ""


def validator_reached(section: SignerSection | None) -> bool | None:
    """Whether the signer's section shows a connected validator, of any chain; None: it does not say."""
    chains = section.get("chains", []) if section is not None else []
    states = [validator.get("state") for chain in chains for validator in chain.get("validators", [])]
    return LinkState.CONNECTED in states if states else None


def _shown(facts: Facts) -> dict[str, str]:
    """What a person compares."""
    return {name: text for name, text in facts if name != CERTIFICATE_FACT}


def _place(chain_id: str, hrs: HRS) -> MarkReport:
    return MarkReport(chain_id=chain_id, height=hrs.height, round=hrs.round, step=hrs.step)


def _watermark_document(mark: Watermark) -> WatermarkReport:
    burnt = mark.hrs > HRS(0, 0, 0) and not mark.sign_bytes
    return WatermarkReport(height=mark.hrs.height, round=mark.hrs.round, step=mark.hrs.step, burnt=burnt)


def _last_sign_state(signed: Watermark) -> LastSignState:
    """Show the last signed state as the Go CometKMS does: signature and signbytes are left out when empty."""
    document = LastSignState(height=signed.hrs.height, round=signed.hrs.round, step=signed.hrs.step)
    if signed.signature:
        document["signature"] = base64.b64encode(signed.signature).decode()
    if signed.sign_bytes:
        document["signbytes"] = signed.sign_bytes.hex().upper()
    return document
