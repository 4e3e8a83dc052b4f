"""What the state process shows of itself on the status board, and when: at every event, and
otherwise while it is quiet.
"""

import asyncio
import base64
import time
from typing import Final

from cometkms import __version__
from cometkms.board.sections import (
    BehindReport,
    LastSignState,
    MarkReport,
    MemberReport,
    MemberState,
    RowReport,
    StateSection,
    StrictWaitReport,
    WatermarkReport,
)
from cometkms.board.status_board import Section
from cometkms.calm_log import CalmLog
from cometkms.config.schema import Chain, Settings
from cometkms.core.interface import HotPath, Queue
from cometkms.hardening.measures import MeasureReport
from cometkms.limits import STATUS_LATEST_S, STATUS_QUIET_S
from cometkms.model import HRS, Watermark
from cometkms.rules.birth import NodeState
from cometkms.state.events import StateEvents
from cometkms.state.files import StateFiles
from cometkms.state.lag import LagMeter
from cometkms.state.node import ClusterNode
from cometkms.state.peers.network import PeerNetwork
from cometkms.state.writer import StateWriter
from cometkms.store.node_store import OpenedNode
from cometkms.wire.peer_messages import CERTIFICATE_FACT, Facts

# a refusal beside a connection that stands is old after so long: one that is refused dials every
# second
_REFUSED_LATELY_S: Final = 10.0
_SAID_AFTER_S: Final = 1.0  # a reason not to sign that has lasted for so long stands in the log


class StateReport:
    """Compose the state process's section of the status board from the node and what
    stands around it.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        opened: OpenedNode,
        node: ClusterNode,
        hot: HotPath,
        network: PeerNetwork,
        files: StateFiles,
        writer: StateWriter,
        queues: tuple[Queue, Queue],
        events: StateEvents,
        hardening: list[MeasureReport],
        board: Section[StateSection],
        log: CalmLog,
    ) -> None:
        """`queues`: the signer's requests and the permits for it."""
        self._settings = settings
        self._opened = opened
        self._node = node
        self._hot = hot
        self._network = network
        self._files = files
        self._writer = writer
        self._requests, self._permits = queues
        self._events = events
        self._hardening = hardening
        self._board = board
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._glanced: tuple[object, ...] = ()
        self._why, self._why_since, self._said = "", 0.0, ""
        self._lag = LagMeter()
        self._published_at = -STATUS_LATEST_S

    def on_beat(self) -> None:
        """Publish when it is quiet and something that matters has changed; and once a second, for
        what moves all the time.
        """
        now = self._loop.time()
        if now - self._published_at < STATUS_LATEST_S:
            idle_s = min(self._hot.idle_s(), now - self._files.asked_at)
            if idle_s < STATUS_QUIET_S or self._glance() == self._glanced:
                return
        self._log.tell_held()
        self.write()

    def write(self) -> None:
        """Publish what stands at this moment, and log a reason not to sign that has lasted."""
        self._published_at = self._loop.time()
        self._glanced = self._glance()
        document = self.document()
        self._say_why(document["why"])
        self._board.publish(document)

    def _glance(self) -> tuple[object, ...]:
        """What a reader of the board wants to know at once, if no event says it.

        Composing all of it takes a hundred times as long.
        """
        node, store = self._node, self._opened.store
        term = node.leadership.term
        return node.leading, node.leader, node.why, node.membership.phase, term, store.seq, node.leadership.changes

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

    def document(self) -> StateSection:
        """Return the state's section of the status board."""
        settings, store, node = self._settings, self._opened.store, self._node
        addresses = {peer.id: str(peer.address) for peer in settings.peers} | {
            settings.id: str(settings.raft_published or settings.raft_addr)
        }
        leader, wait = node.leader, node.membership.strict_wait
        members = self.members(addresses)
        self._events.see_states(settings.id, {one["id"]: one.get("state") for one in members})
        return StateSection(
            node_id=settings.id,
            is_leader=node.leading,
            leader_id=leader,
            leader_addr=addresses.get(leader) if leader is not None else None,
            epoch=store.header.epoch,
            digest=node.epoch.digest.hex(),
            members=members,
            config_differences=[one.document() for one in node.roster.differences],
            next=list(self._writer.following) if node.membership.state is NodeState.SEALED else [],
            node_state=node.membership.phase,
            why=node.why,
            store_gone=node.membership.gone,
            strict_wait=StrictWaitReport(lost=list(wait.lost), starting=list(wait.starting)) if wait else None,
            term=node.leadership.term,
            lease_left_s=round(node.leadership.lease_left_s(), 2),
            seq=store.seq,
            rows=[self._row(chain, row) for chain, row in zip(settings.chains, self._opened.rows, strict=True)],
            hardening=self._hardening,
            warnings=self._warnings(),
            refused=dict(node.counters),
            peers_port=self._network.counters(),
            fdatasync_us=node.reservations.sync_ns.summary_us(),
            sync_hist=node.reservations.sync_ns.buckets_us(),
            fast_path=self._hot.counters(),
            permit_us=node.reservations.round_trip_ns.summary_us(),
            permit_hist=node.reservations.round_trip_ns.buckets_us(),
            leader_changes=node.leadership.changes,
            proposed_without_lead=node.reservations.without_lead,
            handovers=dict(node.handover.counters),
            ring_depth={"requests": self._requests.depth(), "permits": self._permits.depth()},
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
            signed_at_mono=self._events.signed_at_mono(row),
        )

    def members(self, addresses: dict[str, str]) -> list[MemberReport]:
        """Return what is known of each member, this node among them; `addresses`: where
        each is dialled.
        """
        settings, node = self._settings, self._node
        links = {one["id"]: one for one in self._network.document()}
        places = tuple(node.acceptor.mark(row).hrs for row in self._opened.rows)
        if not node.leading:
            self._lag = LagMeter()
        return [
            self._myself(addresses.get(name, ""), places)
            if name == settings.id
            else self._other(name, addresses.get(name, ""), links.get(name), places)
            for name in node.epoch.members
        ]

    def _myself(self, addr: str, places: tuple[HRS, ...]) -> MemberReport:
        settings, node = self._settings, self._node
        return MemberReport(
            id=settings.id,
            addr=addr,
            self=True,
            connected=True,
            state=node.membership.phase,
            seq=self._opened.store.seq,
            version=__version__,
            facts=_shown(node.roster.facts),
            marks=[_place(chain.id, hrs) for chain, hrs in zip(settings.chains, places, strict=True)],
        )

    def _warnings(self) -> list[str]:
        """What was found at the start, as long as it matters."""
        over = self._opened.told if self._node.membership.phase is MemberState.COMPLETE else ()
        return [one for one in self._opened.warnings if one not in over]

    def _other(self, name: str, addr: str, link: MemberReport | None, places: tuple[HRS, ...]) -> MemberReport:
        """`link`: what the network says of the member; `places`: this node's own."""
        node = self._node
        known, news = node.roster.members[name], node.membership.life_of(name)
        seq = node.roster.seq_of(name)
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
            ids = [chain.id for chain in self._settings.chains]
            lag = self._lag.look(name, seq, self._opened.store.seq, places, self._loop.time())
            entry["behind"] = BehindReport(promises=lag.promises, heights=dict(zip(ids, lag.heights, strict=True)))
            if known.connected and (acked := self._lag.acknowledged(name)) is not None:
                entry["marks"] = [_place(chain, hrs) for chain, hrs in zip(ids, acked.places, strict=True)]
                entry["marks_at"] = round(time.time() - (self._loop.time() - acked.at), 1)
        old = known.connected and time.time() - entry.get("refused_at", 0.0) > _REFUSED_LATELY_S
        entry["error"] = "" if old else entry.get("last_error", "")
        entry["error_code"] = "" if old else entry.get("error_code", "")
        entry["version"], entry["facts"] = known.version, _shown(known.facts)
        rows = [
            (chain.id, self._opened.store.rows[row])
            for chain, row in zip(self._settings.chains, self._opened.rows, strict=True)
        ]
        # of a member that was never here, nothing is known
        entry["lacks"] = [chain_id for chain_id, row in rows if known.version and row not in known.rows]
        return entry


def _shown(facts: Facts) -> dict[str, str]:
    """What a person compares."""
    return {name: text for name, text in facts if name != CERTIFICATE_FACT}


def _place(chain_id: str, hrs: HRS) -> MarkReport:
    return MarkReport(chain_id=chain_id, height=hrs.height, round=hrs.round, step=hrs.step)


def _watermark_document(mark: Watermark) -> WatermarkReport:
    burnt = mark.hrs > HRS(0, 0, 0) and not mark.sign_bytes
    return WatermarkReport(height=mark.hrs.height, round=mark.hrs.round, step=mark.hrs.step, burnt=burnt)


def _last_sign_state(signed: Watermark) -> LastSignState:
    """Show the last signed state as the Go CometKMS does: signature and signbytes are
    left out when empty.
    """
    document = LastSignState(height=signed.hrs.height, round=signed.hrs.round, step=signed.hrs.step)
    if signed.signature:
        document["signature"] = base64.b64encode(signed.signature).decode()
    if signed.sign_bytes:
        document["signbytes"] = signed.sign_bytes.hex().upper()
    return document
