"""One node of the cluster, sans-I/O: promises, Raft, lease and the signer's wishes in one loop without waits.

    signer ── Reserve ──▶ Proposer ── own promise, synced ── Promise ──▶ others
    signer ◀─ Permit ──── a majority holds exactly these bytes ◀── Promised ──┘
    signer ── Signed ───▶ the replicated sign state (not awaited) ──▶ every node's state file

Who leads decides who dials the validators, and nothing else: what may be signed is decided by promises. A new leader's order:
term durable, barrier applied (both in RaftLog), the others' marks read, then the signer's lease.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol, Unpack

from cometkms import __version__
from cometkms.board.sections import EventFields, EventKind
from cometkms.core.interface import Core, HotPath
from cometkms.errors import InvariantError, ProtocolError
from cometkms.histogram import Histogram
from cometkms.limits import (
    CHAINS_MAX,
    JUMP_HEIGHTS,
    LEADER_READ_S,
    SIGN_STATE_HEIGHTS,
    SIGN_STATE_LATEST_S,
    SIGN_STATE_LOOK_S,
    SIGN_STATE_QUIET_S,
    SIGNER_LEASE_RENEW_S,
    TICK_MIN_S,
    TICK_S,
)
from cometkms.logger import Logger
from cometkms.model import HRS, Incarnation, Permit, Reason, Refusal, Row, Watermark, quorum_of
from cometkms.rules.birth import NodeState
from cometkms.rules.flow import Flow
from cometkms.rules.incarnation import Statement, believable_seq, statement_bytes
from cometkms.rules.jump import Known
from cometkms.state.acceptor import Acceptor
from cometkms.state.drills import DrillPorts, Drills, News
from cometkms.state.facts import RENEWAL, RENEWAL_FACT, Difference, SelfReport, differences
from cometkms.state.favourite import MAJORITY_FACT, PREFERRED, Favourite, FavouritePorts
from cometkms.state.membership import Membership, Ports
from cometkms.state.proposer import Proposer, Verdict
from cometkms.state.serving import why_not_proposed
from cometkms.state.useful import REACH_FACT, Cause, Reach, Usefulness, UsefulPorts
from cometkms.store.epoch import Seal
from cometkms.store.promise_store import PromiseStore
from cometkms.wire.peer_messages import (
    PEER_PROTOCOL_VERSION,
    Facts,
    FactsNews,
    Hello,
    LifeNews,
    Marks,
    Obeyed,
    Order,
    OtherProtocol,
    PeerMessage,
    Promise,
    Promised,
    Purpose,
    Raft,
    Read,
    decode,
    decode_hello,
    encode,
    make_facts,
)
from cometkms.wire.queue_messages import (
    Leader,
    Lease,
    Mark,
    PermitGranted,
    QueueMessage,
    Reserve,
    ReserveRefused,
    Signed,
    SignerHello,
    StateHello,
)
from cometkms.wire.why import PeerCode, Why

_HOT_PATIENCE_NS: Final = 50_000_000  # then this module asks for it, and sees what stands in the way
_NEVER: Final = float("inf")
_BEAT_MAX_BYTES: Final = 512  # a heartbeat of the replicated log has about 100
_STUCK_AFTER_TTLS: Final = 2  # a leader whose request got no answers for so long hands over


class ReplicatedLog(Protocol):
    """What the node needs of cometkms.state.raft.RaftLog."""

    @property
    def leading(self) -> bool: ...
    @property
    def leader(self) -> str | None: ...
    @property
    def hears_leader(self) -> bool: ...
    @property
    def term(self) -> int: ...
    @property
    def lease_left_s(self) -> float: ...
    def on_connected(self, peer: str) -> None: ...
    def on_disconnected(self, peer: str, *, closed: bool) -> None: ...
    def on_message(self, peer: str, payload: bytes) -> str: ...
    def tick(self) -> None: ...
    def idle_for_s(self) -> float: ...
    def submit(self, key: bytes, mark: Watermark) -> bool: ...
    @property
    def handing_over(self) -> bool: ...
    def transfer(self, able: tuple[str, ...]) -> None: ...
    def whole(self, name: str) -> bool: ...
    def round_trip_s(self, member: str) -> float | None: ...
    def settle(self) -> None: ...
    def doubt(self) -> None: ...
    def hold(self, on: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class Epoch:
    """The list of members that counts now, and this node's place in it.

    The digest is that of the number, the ids and the identity keys. `keys` are the members' identity keys, and `sign` signs with this node's.
    """

    me: str
    number: int
    members: tuple[str, ...]
    digest: bytes
    keys: Mapping[str, bytes] = field(default_factory=dict)
    sign: Callable[[bytes], bytes] = lambda _statement: b""

    @property
    def others(self) -> tuple[str, ...]:
        """Every other member."""
        return tuple(name for name in self.members if name != self.me)


class Outside(Protocol):
    """What the shell does for the node."""

    def send(self, member: str, payload: bytes) -> bool:
        """Send to a connected member, and return False when it is not connected."""
        ...

    def disconnect(self, member: str, why: str) -> None:
        """Close the connection to a member, if there is one."""
        ...

    def to_signer(self, message: QueueMessage) -> None: ...

    def on_signed(self, row: int, mark: Watermark) -> None:
        """The highest verified signature of a row moved: its state file follows."""
        ...

    def before_birth(self) -> None:
        """Durably say beside the state files that this node was born here. Raises: StoreFailure."""
        ...

    def on_sealed(self, following: tuple[str, ...]) -> None:
        """Durably say there for whom this node's epoch is sealed. Raises: StoreFailure."""
        ...

    def mark_raised(self, row: int) -> None:
        """A mark was raised by what others hold, without a signature: the state file follows."""
        ...

    def restart(self) -> str:
        """Stop this node in order and start it again, soon; "" or why that cannot be."""
        ...

    def signer_trouble(self) -> str:
        """What of the signer's work stands in the way of a drill, in words; "" when nothing does."""
        ...

    def signer_beat(self) -> int:
        """A number that changes whenever the signer's loop beats; 0: its process has not beaten yet."""
        ...

    def validator_reached(self) -> bool | None:
        """Whether a validator is connected to this node's signer; None when that is not known."""
        ...

    def replace_signer(self) -> None:
        """Ask for a new signer process: the one that is there does not move."""
        ...

    def happened(self, what: EventKind, **fields: Unpack[EventFields]) -> None:
        """Something rare that operators want to see, with its time; EventKind says which fields each kind has."""
        ...


def _known_at_start(
    rows: tuple[int, ...], signed: tuple[Watermark, ...], signed_at: tuple[float, ...], now: float
) -> dict[int, Known]:
    """What the state files show, since they were written; a file of a time to come is as if it were written now."""
    written = signed_at or (now,) * len(rows)
    found = zip(rows, signed, written, strict=True)
    return {row: Known(mark.hrs.height, min(at, now)) for row, mark, at in found if mark.hrs.height > 0}


def row_key(row: Row) -> bytes:
    """A row's name in the replicated log: 32 bytes."""
    return hashlib.blake2b(row.key + row.chain_id.encode(), digest_size=32, person=b"cmkms-row").digest()


@dataclass(slots=True)
class _Member:
    """What this process knows of another member."""

    nonce: int = 0  # of the process it counts; 0: none
    seq: int = 0  # the highest it acknowledged
    address: str = ""
    connected: bool = False
    rows: frozenset[Row] = frozenset()
    refused: str = ""  # with a code: wire/why.py
    heard_at: float = 0.0
    told_at: float = 0.0  # when it last told where its promises stand
    promised_at: float = 0.0  # when this node last promised for it, on the connection that is there …
    accepted_at: float = 0.0  # … and when it last promised for this node
    version: str = ""
    facts: Facts = ()
    differs: tuple[Difference, ...] = ()
    told_life: bool = False  # on the connection that is there
    able_at: float = _NEVER  # since when it is connected, complete and no longer starting
    heard: tuple[bytes, PeerMessage] = (b"", Raft(b""))  # the last frame of the replicated log, and what it said …
    said: tuple[bytes, bytes] = (b"", b"")  # … and what the replicated log last had this node say, as a frame

    def heard_again(self, untrusted: bytes) -> PeerMessage:
        """decode(). The same bytes say the same: the heartbeats of an idle cluster are the same bytes for hours. Raises: ProtocolError."""
        if untrusted != self.heard[0]:
            message = decode(untrusted)
            if not isinstance(message, Raft) or len(untrusted) > _BEAT_MAX_BYTES:
                return message
            self.heard = untrusted, message
        return self.heard[1]

    def said_again(self, payload: bytes) -> bytes:
        """encode() of a message of the replicated log."""
        if payload != self.said[0]:
            self.said = payload, encode(Raft(payload))
        return self.said[1]


class ClusterNode:
    """Decide as one member among the others what is promised, who leads and what the signer is told.

    Every method may raise StoreFailure or BehindError: the process then ends.
    """

    def __init__(
        self,
        *,
        epoch: Epoch,
        store: PromiseStore,
        rows: tuple[int, ...],
        signed: tuple[Watermark, ...],
        raft: Callable[["ClusterNode"], ReplicatedLog] | None,
        core: Core,
        nonce: int,
        ttl_s: float,
        strict: bool,
        adopted: Mapping[str, Incarnation] | None = None,
        facts: Facts = (),
        outside: Outside,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        signed_at: tuple[float, ...] = (),
        log: Logger,
    ) -> None:
        """`rows`: the store's row of each configured chain; `signed`: its last verified signature (or burnt place).

        `raft`: makes the replicated log; None for one node alone. `clock`: monotonic seconds. `ttl_s`: of the lease.
        `wall_clock`: UNIX seconds. `signed_at`: likewise, when each of `signed` was written down; () where that is not known: now.
        `facts`: what the others are told of this node's settings.
        """
        self.epoch = epoch
        self.sync_ns = Histogram()  # this node's own promises, for itself or a member
        self.round_trip_ns = Histogram()
        self._store = store
        self._rows = rows
        self._chain_of = {row: chain for chain, row in enumerate(rows)}
        self._core = core
        self._nonce = nonce
        self._ttl_s = ttl_s
        self._facts = make_facts({**dict(facts), RENEWAL_FACT: RENEWAL})
        self._outside = outside
        self._clock = clock
        self._log = log
        self.hot: HotPath | None = None
        self._signed: dict[int, Watermark] = {}
        self.counters: dict[str, int] = {}
        self._false_marks_of: set[int] = set()  # rows of which the log was told
        self._by_key = {row_key(row): number for number, row in enumerate(store.rows)}
        self._members = {name: _Member() for name in epoch.others}
        self._acceptor = Acceptor(
            store,
            rows,
            parse_sign_bytes=core.parse_sign_bytes,
            wall_clock=wall_clock,
            known=_known_at_start(rows, signed, signed_at, wall_clock()),
        )
        self._pending: dict[int, tuple[Reserve, float]] = {}  # by the store's row
        self._request_id = 0
        self._signer = 0  # nonce of the living signer
        self._leased = False
        self._lease_sent_at = -1e9
        self._lead_since: float | None = None
        self._lead_request = 0
        self._lead_waits: set[str] = set()
        self._asked_at = -1e9
        self._unreplicated: dict[int, float] = {}
        self._replicated: dict[int, int] = {}  # the height of what this node last gave to the log, by row
        self._proposers = {
            row: Proposer(
                row=row,
                public_key=store.rows[row].key,
                me=epoch.me,
                others=epoch.others,
                acceptor=self._acceptor,
                ask=self._ask,
                same_but_timestamp=core.same_but_timestamp,
            )
            for row in rows
        }
        for row, mark in zip(rows, signed, strict=True):
            self._learn_signed(row, mark, tell=False)
        self.leader_changes = 0
        self.proposed_without_lead = 0  # what agents asked for urgently
        self._last_leader: tuple[str, int] | None = None  # and its term
        self._raft: ReplicatedLog | None = None
        self._raft = raft(self) if raft is not None else None
        ports = Ports(
            send=self._send,
            before_birth=outside.before_birth,
            on_sealed=outside.on_sealed,
            mark_raised=outside.mark_raised,
            settle_raft=self._settle_raft,
            doubt_raft=self._doubt_raft,
            known_signed=lambda row: self._signed.get(row, Watermark()),
            reach=self._believed_reach,
            recovered=self._on_recovered,
            verifies=self._verifies,
            prove=lambda one: epoch.sign(statement_bytes(epoch.digest, epoch.me, one)),
            proven=self._proven,
            disconnect=outside.disconnect,
            forget=self._forget,
        )
        self.membership = Membership(
            store=store,
            others=epoch.others,
            nonce=nonce,
            strict=strict,
            adopted=adopted or {},
            ports=ports,
            clock=clock,
            wall_clock=wall_clock,
            log=log,
        )
        early, self.counters = (
            self.counters,
            self.membership.counters,
        )  # the journal is read before there is a membership
        self.counters.update(early)
        self.drills = Drills(
            nonce=nonce,
            ports=DrillPorts(
                others=epoch.others,
                send=self._send,
                leads=self._why_not_leading,
                missing=self._missing,
                hand_over=self.hand_over,
                restart=outside.restart,
                trouble=outside.signer_trouble,
            ),
            clock=clock,
            log=log,
            heard=self._on_news,
        )
        self.useful = Usefulness(
            ports=UsefulPorts(
                beat=outside.signer_beat,
                reached=outside.validator_reached,
                able=lambda: tuple(name for name in epoch.others if name not in self._missing()),
                says=self._reach_of,
                hand_over=self._begin_handover,
                replace_signer=outside.replace_signer,
                tell=self._tell_reach,
                happened=self._on_handing_over,
            ),
            clock=clock,
            log=log,
        )
        self.favourite = Favourite(
            me=epoch.me,
            ports=FavouritePorts(
                facts=lambda name: dict(self._facts if name == epoch.me else self._members[name].facts),
                able=lambda: tuple(name for name in epoch.others if name not in self._missing()),
                says=self._reach_of,
                whole=lambda name: self._raft is not None and self._raft.whole(name),
                busy=lambda: self._clock() - self._asked_at < SIGN_STATE_QUIET_S,
                waiting=self._waits_for_promises,
                hand_over=self._begin_handover,
                majority_s=self._majority_s,
                tell=lambda ms: self._tell_fact(MAJORITY_FACT, ms),
                happened=self._on_preferred,
            ),
            clock=clock,
            log=log,
        )
        self._held = True
        if self._raft is not None:
            self._raft.hold(True)

    # --- the hot path ---

    @property
    def nonce(self) -> int:
        """The nonce that identifies this process to the other members."""
        return self._nonce

    def may(self) -> tuple[bool, bool]:
        """Whether this node may promise, and propose, now."""
        return self.membership.ready, self._leased

    def attach(self, hot: HotPath) -> None:
        """From now on the plain case is handled there (interface.HotPath); everything else is still decided here."""
        self.hot = hot
        self._store.attach(hot, self._rows)
        for row, mark in self._signed.items():
            hot.raise_floor(row, mark.hrs)
        for row in self._rows:
            self._tell_reach_of(row)
        for member in self._members:
            self._tell_hot(member)

    def on_hot(self) -> None:
        """A reservation was handled there."""
        self._asked_at = self._clock()

    def _raise_floor(self, row: int, hrs: HRS) -> None:
        """Something is known of the place that the hot path does not look at."""
        if self.hot is not None:
            self.hot.raise_floor(row, hrs)

    def _raise_shown_floor(self, row: int, hrs: HRS) -> None:
        """A member says that it stands there. One that says more than is plausible, or than a chain skips at once, takes the hot path from
        nobody: who really stands there refuses, and is heard then."""
        if hrs.height <= min(self._acceptor.reach(row), self._store.mark(row).hrs.height + JUMP_HEIGHTS):
            self._raise_floor(row, hrs)

    def _tell_reach_of(self, row: int) -> None:
        """How far up a place is plain there: as far as it is plausible now, and no farther than a chain skips at once.

        A long skip is decided here, where the report of the signature before it has been heard; and so is a row's first place.
        """
        if self.hot is not None:
            height = self._store.mark(row).hrs.height
            self.hot.set_reach(row, min(self._acceptor.reach(row), height + JUMP_HEIGHTS) if height > 0 else 0)

    def _believed_reach(self, row: int) -> int:
        """How high a member's unproven mark may lie by what this node knows; 0 where it knows nothing of the row."""
        return self._acceptor.reach(row) if self._store.mark(row).hrs.height > 0 else 0

    def _on_recovered(self, row: int) -> None:
        self._acceptor.on_recovered(row)
        self._tell_reach_of(row)

    def reach(self, chain: int) -> int:
        """The highest height of a chain that is plausible by now (rule 13)."""
        return self._acceptor.reach(self._rows[chain])

    def admit(self, chain: int, height: int) -> None:
        """Rule 14: the operator's word that the chain has come to `height`. This node alone, until its process ends."""
        row = self._rows[chain]
        self._acceptor.admit(row, height)
        self._tell_reach_of(row)
        self._log.warning("height admitted", chain=self._store.rows[row].chain_id, height=height)

    def _take_back(self, row: int) -> None:
        """The reservation that waits in the hot path for a majority is asked for again from here: accepts are for ever."""
        abandoned = self.hot.abandon(row) if self.hot is not None else None
        if abandoned is not None:
            self._reserve(
                Reserve(abandoned.nonce, abandoned.request_id, abandoned.chain, abandoned.hrs, abandoned.sign_bytes)
            )

    # --- what it is ---

    @property
    def leading(self) -> bool:
        """Whether this node's signer may dial: it leads, has heard a majority within the lease, and may promise."""
        return self._leased

    @property
    def leader(self) -> str | None:
        """The leader's id, as far as this node knows."""
        if self._raft is None:
            return self.epoch.me
        return self._raft.leader

    @property
    def why(self) -> str:
        """What stands in the way of signing here, as far as this node knows; "" when it promises and somebody leads."""
        if self.membership.why or self._raft is None:
            return self.membership.why
        if self._leased or self._raft.hears_leader:
            return ""
        if sealed := self.membership.ending:
            return (
                f"nobody leads: {', '.join(sealed)} sealed, and {self.quorum} nodes that are not are needed: this epoch is over; cure: seal this node, "
                "too, by the command that sealed them, and begin the next epoch"
            )
        there = [self.epoch.me, *(name for name, one in self._members.items() if one.connected)]
        if len(there) < self.quorum:
            away = ", ".join(name for name, one in self._members.items() if not one.connected)
            return f"nobody leads: {away} not connected here, and {self.quorum} of {len(self.epoch.members)} nodes are needed"
        unready = [name for name in self._missing() if name in there]
        if len(there) - len(unready) < self.quorum:
            return f"nobody leads: {', '.join(unready)} not complete yet, and {self.quorum} complete nodes are needed"
        return f"nobody leads: {', '.join(there)} elect a leader"

    @property
    def quorum(self) -> int:
        """Members needed for a permit."""
        return quorum_of(len(self.epoch.members))

    @property
    def raft(self) -> ReplicatedLog | None:
        """The replicated log; None for one node alone."""
        return self._raft

    def signed(self, chain: int) -> Watermark:
        """The last place of a chain with a verified signature (or a burnt one from its state file)."""
        return self._signed.get(self._rows[chain], Watermark())

    def member(self, name: str) -> _Member:
        """What is known of another member."""
        return self._members[name]

    def seq_of(self, member: str) -> int:
        """The highest seq that the member acknowledged to this process."""
        return max(self._members[member].seq, self.hot.seq_of(member) if self.hot is not None else 0)

    def flow(self, member: str) -> Flow:
        """What promises have said of a member, for the replicated log."""
        known = self._members[member]
        promised_at, accepted_at = self.hot.flow(member) if self.hot is not None else (0.0, 0.0)
        return Flow(
            max(promised_at, known.promised_at),
            max(accepted_at, known.accepted_at),
            rests=dict(known.facts).get(RENEWAL_FACT) == RENEWAL,
        )

    def lease_left_s(self) -> float:
        """Seconds for which a leader may go on without hearing from anybody; 0 when it may not sign."""
        if not self._leased:
            return 0.0
        return self._raft.lease_left_s if self._raft is not None else self._ttl_s

    # --- the signer ---

    def on_signer(self, message: QueueMessage) -> None:
        """A message of the signer's queue."""
        match message:
            case Reserve():
                self._reserve(message)
            case Signed():
                self._on_signed(message)
            case SignerHello():
                self._on_hello(message)
            case _:
                raise InvariantError(f"the signer sent a state's message: {type(message).__name__}")

    def start(self) -> None:
        """Say hello to a signer that lives already, so that it asks again."""
        self._outside.to_signer(StateHello(self._nonce))
        self.tick()

    def _on_hello(self, hello: SignerHello) -> None:
        self._signer = hello.nonce
        self._pending.clear()
        if self.hot is not None:
            for row in self._rows:
                self.hot.abandon(row)
        self._tell_lease()

    def _tell_lease(self) -> None:
        """Where each chain stands, then whether the signer may dial."""
        self._lease_sent_at = self._clock()
        for chain, row in enumerate(self._rows):
            self._outside.to_signer(Mark(self._signer, chain, self._signed.get(row, Watermark())))
        self._tell_leader()
        self._outside.to_signer(self._lease())

    def _tell_leader(self) -> None:
        """Agents are told by the signer."""
        self._outside.to_signer(Leader(self._signer, self.leader or ""))

    def _lease(self) -> Lease:
        ttl_ms = int(self._ttl_s * 1000) if self._raft is not None else 0
        return Lease(self._signer, granted=self._leased, ttl_ms=ttl_ms)

    def _reserve(self, asked: Reserve) -> None:
        started = self._clock()
        self._asked_at = started
        row = self._rows[asked.row]
        if self.hot is not None:
            self.hot.abandon(row)
        refusal = why_not_proposed(urgent=asked.urgent, leads=self._leased, ready=self.membership.ready)
        if refusal is not None:
            self._refuse(asked, refusal)
            return
        self.proposed_without_lead += not self._leased
        self._pending[row] = (asked, started)
        try:
            outcome = self._proposers[row].propose(asked.hrs, asked.sign_bytes)
        except ProtocolError as error:
            raise InvariantError(f"the signer asked for bytes that are not canonical: {error}") from error
        self.sync_ns.add(int((self._clock() - started) * 1e9))
        self._tell_reach_of(row)
        self._settle(row, outcome)

    def _settle(self, row: int, verdict: Verdict | None) -> None:
        """Tell the signer, if it is decided and it still waits."""
        if verdict is None or row not in self._pending:
            return
        asked, started = self._pending.pop(row)
        if isinstance(verdict, Permit):
            permitted = self._core.parse_sign_bytes(verdict.sign_bytes).hrs
            if permitted != asked.hrs:
                raise InvariantError(f"a permit for {tuple(permitted)} meets a request for {tuple(asked.hrs)}")
            self._outside.to_signer(PermitGranted(asked.nonce, asked.request_id, asked.row, verdict))
            self.round_trip_ns.add(int((self._clock() - started) * 1e9))
            return
        self._refuse(asked, verdict)

    def _refuse(self, asked: Reserve, refusal: Refusal) -> None:
        row = self._rows[asked.row]
        self.counters[refusal.reason.name.lower()] = self.counters.get(refusal.reason.name.lower(), 0) + 1
        shown = HRS(self.reach(asked.row), 0, 0) if refusal.reason is Reason.JUMP else self._proposers[row].closed_up_to
        self._outside.to_signer(ReserveRefused(asked.nonce, asked.request_id, asked.row, refusal.reason, shown))
        self._log.error(
            "promise refused",
            chain=self._store.rows[row].chain_id,
            asked="/".join(map(str, asked.hrs)),
            reason=refusal.reason.name.lower(),
            why=refusal.text,
        )

    def _on_signed(self, signed: Signed) -> None:
        """The signer made it with a permit of this cluster: it needs no second check before it goes to the log."""
        row = self._rows[signed.row]
        mark = Watermark(signed.hrs, signed.sign_bytes, signed.signature)
        if self._is_news(row, mark):
            self._signed[row] = mark
            self._acceptor.on_signed(row, mark)
            self._raise_floor(row, mark.hrs)
            self._tell_reach_of(row)
            self._outside.on_signed(row, mark)
            self._unreplicated.setdefault(row, self._clock())

    def seal(self, following: tuple[str, ...]) -> Seal:
        """This node's part in its epoch is over. See Membership.seal()."""
        seal = self.membership.seal(following)
        self._update_lease()
        return seal

    # --- the others ---

    def hello(self, member: str) -> bytes:
        """The first message to a member."""
        epoch = self.epoch
        return encode(
            Hello(
                PEER_PROTOCOL_VERSION,
                __version__,
                epoch.me,
                self._nonce,
                epoch.number,
                epoch.members,
                epoch.digest,
                tuple(self._store.rows[row] for row in self._rows),
                self._store.seq,
                self.seq_of(member),
                self._facts,
                self.membership.own(),
                self.membership.known(),
            )
        )

    @property
    def facts(self) -> Facts:
        """What this node says of its settings."""
        return self._facts

    def tell_facts(self, facts: Facts) -> None:
        """This node's facts changed: the connected members hear of it, the others in the next hello."""
        self._facts = facts
        for member, known in self._members.items():
            self._compare(member, known)
            if known.connected:
                self._send(member, FactsNews(facts))

    @property
    def differences(self) -> tuple[Difference, ...]:
        """Where this node's settings differ from what a member last said of its own."""
        return tuple(one for known in self._members.values() for one in known.differs)

    def _compare(self, member: str, known: _Member) -> None:
        """What is new among the differences is said once."""
        if not known.version:
            return
        mine = SelfReport(__version__, self._facts, frozenset(self._store.rows[row] for row in self._rows))
        found = differences(member, mine, SelfReport(known.version, known.facts, known.rows))
        for one in found:
            if one not in known.differs:
                self._log.warning("nodes differ", **one.document(), cure="the same on every node")
        known.differs = found

    def on_hello(self, member: str, payload: bytes, address: str) -> str | None:
        """Judge a member's hello: None, or why it is refused. Raises: ProtocolError, BehindError."""
        hello = decode_hello(payload)
        known = self._members[member]
        reason = self._judge_hello(member, hello, known)
        known.refused = reason or Why(PeerCode.OTHER, "")
        if reason is not None or isinstance(hello, OtherProtocol):
            return reason
        known.nonce, known.address = hello.nonce, address
        known.version, known.facts, known.rows = hello.version, hello.facts, frozenset(hello.rows)
        self._compare(member, known)
        if hello.own is None:
            return None
        if hello.seq < self.seq_of(member):
            self._log.error("a member's store is older than what it acknowledged", member=member)
        known.seq = max(known.seq, hello.seq)
        return None

    def _forget(self, member: str) -> None:
        """Another store stands for it: its seq began anew."""
        self._members[member].seq = 0
        self._tell_hot(member)

    def _tell_hot(self, member: str) -> None:
        """Which incarnation the member's promises and accepts must bear there."""
        if self.hot is not None:
            self.hot.set_member(member, self.membership.recorded(member), self._members[member].seq)

    def _proven(self, statement: Statement) -> bool:
        """Whether the member that it names signed it, in this epoch."""
        key = self.epoch.keys.get(statement.member)
        if key is None or not statement.signature:
            return False
        text = statement_bytes(self.epoch.digest, statement.member, statement.incarnation)
        return self._core.verify(key, text, statement.signature)

    def _judge_hello(self, member: str, hello: Hello | OtherProtocol, known: _Member) -> Why | None:
        epoch = self.epoch
        if isinstance(hello, OtherProtocol):
            return Why(
                PeerCode.PROTOCOL,
                f"{epoch.me} runs CometKMS {__version__} with the peers' protocol {PEER_PROTOCOL_VERSION}, {member} runs "
                f"{hello.version} with protocol {hello.protocol}: they do not understand each other; cure: versions with the "
                "same protocol on every node (docs/UPGRADING.md)",
            )
        if hello.node != member:
            return Why(PeerCode.NAME, f"a node that calls itself {hello.node!r} has the identity of {member!r}")
        if hello.nonce == self._nonce:
            return Why(PeerCode.MYSELF, "this is the same process")
        if hello.epoch != epoch.number or hello.members != epoch.members:
            if hello.members == epoch.members:
                self.membership.on_later_epoch(member, hello.epoch)
            return Why(
                PeerCode.MEMBERS,
                f"epochs or peer lists differ: {epoch.me} has epoch {epoch.number} of {', '.join(epoch.members)}; "
                f"{hello.node} has epoch {hello.epoch} of {', '.join(hello.members)}",
            )
        if hello.digest != epoch.digest:
            return Why(
                PeerCode.DIGEST,
                f"digests differ: {epoch.me} has {epoch.digest.hex()[:16]}, {hello.node} has {hello.digest.hex()[:16]}",
            )
        if hello.own is not None:
            reason = self.membership.judge_hello(member, hello)
            if reason is not None:
                return reason
        if known.connected and known.nonce not in (0, hello.nonce):
            return Why(
                PeerCode.DUPLICATE,
                f"two processes with the id {member!r}: the first answers from {known.address} still",
            )
        if hello.own is None:
            return self.membership.judge_hello(member, hello)
        self.membership.on_remembered(member, hello.remembers)
        return None

    def on_unlisted(self, hello: Hello, address: str) -> Why:
        """A node that holds the key and is not in the list here: why it is refused. One node alone signs no more (rule 9)."""
        epoch = self.epoch
        theirs = ", ".join(hello.members)
        if len(epoch.members) > 1:
            return Why(
                PeerCode.UNLISTED,
                f"{hello.node!r} is not in the peer list of {epoch.me!r} ({', '.join(epoch.members)}); its own list has {theirs}; "
                "cure: the same list on every node",
            )
        reason = Why(
            PeerCode.ALONE,
            f"{epoch.me!r} is configured as one node alone; {hello.node!r} holds the same key in a cluster of {theirs}",
        )
        if hello.seq:  # it has promised: two majorities of one key
            self.membership.retire(
                f"{hello.node!r} at {address} has signed with this key in a cluster of {theirs}, and this node is configured alone: it signs no "
                "more until it is started again; cure: stop it, give it the cluster's peer list, or take its key away"
            )
            self._update_lease()
        return reason

    def on_connected(self, member: str) -> None:
        """Both hellos were accepted."""
        known = self._members[member]
        if not self.membership.is_current(member):  # recorded while the hellos crossed
            self._outside.disconnect(member, f"another store stands for {member} now")
            return
        known.connected, known.heard_at = True, self._clock()
        self._tell_hot(member)
        self.membership.on_connected(member)
        if self._raft is not None:
            self._raft.on_connected(member)
        self._offer(member)

    def on_disconnected(self, member: str, *, closed: bool) -> None:
        """`closed`: by the other end; else it fell silent."""
        known = self._members[member]
        known.connected = known.told_life = False
        known.promised_at = known.accepted_at = 0.0
        self._note_able(member)
        self._lead_waits.discard(member)
        for proposer in self._proposers.values():
            proposer.on_member_gone(member)
        self.membership.on_disconnected(member)
        if self._raft is not None:
            self._raft.on_disconnected(member, closed=closed)
        self._update_lease()

    def on_frame(self, member: str, payload: bytes) -> None:
        """A message of a connected member. Raises: ProtocolError: close the connection."""
        message = self._members[member].heard_again(payload)
        self._members[member].heard_at = self._clock()
        match message:
            case Promise():
                self._on_promise(member, message)
            case Promised():
                self._on_promised(member, message)
            case Raft():
                if self._raft is not None and self.membership.is_current(member):
                    self._hold_raft()  # whoever was told that this node is complete may hand over to it at once
                    self._note_unbelieved(member, self._raft.on_message(member, message.payload))
            case LifeNews():
                self._members[member].told_at = self._clock()
                self.membership.on_life(member, message)
                self._members[member].told_life = True
                self._note_able(member)
                for one in message.marks:
                    self._learn_shown(member, one.row, one.mark)
                self._offer(member)
            case Read():
                self.membership.on_read(member, message)
            case Marks():
                self._on_marks(member, message)
            case _:
                self._on_rare(member, message)

    def _on_rare(self, member: str, message: PeerMessage) -> None:
        match message:
            case FactsNews():
                known = self._members[member]
                known.facts = message.facts
                self._compare(member, known)
            case Order():
                self.drills.on_order(member, message)
            case Obeyed():
                self.drills.on_obeyed(member, message)
            case _:
                raise ProtocolError(f"a {type(message).__name__} came out of order")

    def _note_unbelieved(self, member: str, why: str) -> None:
        """A member said what cannot be true: it is counted, and said the first time and at each doubling."""
        if not why:
            return
        count = self.counters.get("false_raft", 0) + 1
        self.counters["false_raft"] = count
        if count & (count - 1) == 0:
            self._log.error(
                "a member's word on the replicated log is not believed", member=member, why=why, times=count
            )

    def _send(self, member: str, message: PeerMessage) -> bool:
        return self._outside.send(member, encode(message))

    def send_raft(self, member: str, payload: bytes) -> bool:
        """Send a message of the replicated log."""
        return self._outside.send(member, self._members[member].said_again(payload))

    def _ask(self, member: str, row: int, sign_bytes: bytes) -> int | None:
        if not self._members[member].connected:
            return None
        self._request_id += 1
        request_id = self._request_id * CHAINS_MAX + row  # so that the answer finds its row
        request = Promise(
            self._nonce,
            request_id,
            self._store.rows[row].key,
            sign_bytes,
            self._store.seq,
            self.membership.incarnation,
        )
        return request_id if self._send(member, request) else None

    def _on_promise(self, member: str, asked: Promise) -> None:
        """Another node's proposal: rule, sync, answer. Raises: ProtocolError for bytes that are not canonical, or of an earlier store."""
        self.membership.check_bears(member, asked.incarnation, "promise")
        self._learn_seq(member, asked.seq)
        refusal, mark = self._promise(asked)
        reason = refusal.reason if refusal is not None else Reason.NONE
        answer = Promised(asked.nonce, asked.request_id, reason, mark, self._store.seq, self.membership.incarnation)
        self._send(member, answer)
        if refusal is None:
            self._members[member].promised_at = self._clock()
        else:
            name = refusal.reason.name.lower()
            self.counters[name] = self.counters.get(name, 0) + 1
            self._log.info("promise refused to a member", member=member, reason=name, why=refusal.text)

    def _learn_seq(self, member: str, seq: int) -> None:
        """Raises: ProtocolError for a step that no promises make."""
        known = self._members[member]
        if not believable_seq(self.seq_of(member), seq):
            raise ProtocolError(f"{member} says that its store has made {seq} promises, after {known.seq}")
        known.seq = max(known.seq, seq)

    def _promise(self, asked: Promise) -> tuple[Refusal | None, Watermark]:
        """The refusal, if it is one, and the mark that forbids it."""
        located = self._acceptor.locate(asked.public_key, asked.sign_bytes)
        if isinstance(located, Refusal):
            return located, Watermark()
        if not self.membership.ready:
            return Refusal(Reason.NOT_COMPLETE, self.membership.why), Watermark()
        row, hrs = located
        started = self._clock()
        refusal = self._acceptor.promise(row, hrs, asked.sign_bytes)
        if refusal is None:
            self.sync_ns.add(int((self._clock() - started) * 1e9))
            self._tell_reach_of(row)
            return None, Watermark()
        mark, signed = self._store.mark(row), self._signed.get(row, Watermark())
        if signed.signature and (signed.hrs > mark.hrs or signed.sign_bytes == mark.sign_bytes):
            mark = signed
        return refusal, mark

    def _on_promised(self, member: str, answer: Promised) -> None:
        if answer.reason is not Reason.NONE and not self.membership.bears_any(member):
            return  # it has lost its store and says so
        self.membership.check_bears(member, answer.incarnation, "accept")
        self._learn_seq(member, answer.seq)
        row = answer.request_id % CHAINS_MAX
        if answer.reason is not Reason.NONE and row in self._proposers:
            self._raise_shown_floor(row, answer.mark.hrs)
        if answer.nonce != self._nonce or row not in self._proposers:
            return
        if answer.reason is not Reason.NONE:
            self._learn_marked(row, answer.mark)
        else:
            self._members[member].accepted_at = self._clock()
        outcome = self._proposers[row].on_promised(member, answer.request_id, answer.reason, answer.mark)
        self._settle(row, outcome)
        self._take_back(row)

    def _offer(self, member: str) -> None:
        """The member is there or has changed: what waits for a majority is asked of it again."""
        for row in self._rows:
            self._take_back(row)
        for row in tuple(self._pending):
            self._settle(row, self._proposers[row].on_member(member))

    # --- signatures ---

    def _is_news(self, row: int, mark: Watermark) -> bool:
        known = self._signed.get(row, Watermark())
        return mark.hrs > known.hrs or (mark.hrs == known.hrs and not known.signature and bool(mark.signature))

    def _verifies(self, row: Row, mark: Watermark) -> bool:
        """Whether the mark is a true signature of the row's key, for its chain, at the place it names."""
        if not mark.signature or not mark.sign_bytes:
            return False
        try:
            parsed = self._core.parse_sign_bytes(mark.sign_bytes)
        except ProtocolError:
            return False
        if parsed.hrs != mark.hrs or parsed.chain_id != row.chain_id:
            return False
        return self._core.verify(row.public_key, mark.sign_bytes, mark.signature)

    def _learn_signed(self, row: int, mark: Watermark, *, tell: bool = True) -> None:
        """A signature from a file, the log or a member, verified here before it has any effect (rule 6)."""
        if not self._is_news(row, mark) or (not mark.signature and tell):
            return
        if mark.signature:
            parsed = self._store.rows[row]
            if not self._verifies(parsed, mark):
                self._log.error("a signature that does not verify was shown", chain=parsed.chain_id)
                return
            self._acceptor.on_signed(row, mark)
        self._signed[row] = mark
        self._raise_floor(row, mark.hrs)
        self._tell_reach_of(row)
        if tell:
            self._outside.on_signed(row, mark)
            if self._leased and row in self._chain_of:
                self._outside.to_signer(Mark(self._signer, self._chain_of[row], mark))

    def _learn_marked(self, row: int, mark: Watermark, *, logged: bool = False) -> None:
        """`logged`: the replicated log has it. Else its leader puts it there: who made it may not have led, and could only show it."""
        if not mark.signature or not self._is_news(row, mark):
            return
        self._learn_signed(row, mark)
        if not logged and self._raft is not None and self._raft.leading and not self._is_news(row, mark):
            self._unreplicated.setdefault(row, self._clock())

    def _learn_shown(self, member: str, shown: Row, mark: Watermark) -> None:
        number = self._by_key.get(row_key(shown))
        if number is not None and number in self._chain_of:
            self._learn_marked(number, mark)
            self._proposers[number].hint(member, mark)
            self._raise_shown_floor(number, mark.hrs)

    def verifies(self, key: bytes, mark: Watermark) -> bool:
        """Whether a mark of the replicated sign state is a true signature of the row with that key, which this node knows."""
        number = self._by_key.get(key)
        if number is None:
            return False
        row = self._store.rows[number]
        if (mark.signature and mark == self._signed.get(number)) or self._verifies(row, mark):
            return True
        self.counters["false_mark"] = self.counters.get("false_mark", 0) + 1
        if number not in self._false_marks_of:
            self._false_marks_of.add(number)
            self._log.error(
                "a mark without a true signature stands in the replicated sign state: it is not believed",
                chain=row.chain_id,
                place="/".join(map(str, mark.hrs)),
            )
        return False

    def on_applied(self, key: bytes, mark: Watermark) -> None:
        """The replicated sign state moved."""
        number = self._by_key.get(key)
        if number is not None:
            self._learn_marked(number, mark, logged=True)

    # --- leadership ---

    def on_role(self, *, leading: bool, leader: str | None, term: int) -> None:
        """Learn from the replicated log whether this node leads: `leading` once its barrier is applied."""
        self._log.info("role", leading=leading, leader=leader or "", term=term)
        if leader is not None and (leader, term) != self._last_leader:
            self.leader_changes += self._last_leader is not None
            self._last_leader = (leader, term)
        self._outside.happened(EventKind.LEADER, leader=leader, term=term)
        self.favourite.on_leader(leader)
        self._tell_leader()
        self._lead_since = None
        if leading:
            self._lead_since = self._clock()
            for row, mark in self._signed.items():  # what was signed while nobody led
                if mark.signature:
                    self._unreplicated.setdefault(row, self._clock())
            self._request_id += 1
            self._lead_request = self._request_id
            self._lead_waits = {name for name, one in self._members.items() if one.connected}
            for name in sorted(self._lead_waits):
                self._send(name, Read(self._nonce, self._lead_request, Purpose.LEADER, self.membership.own()))
        self._update_lease()

    def _on_marks(self, member: str, marks: Marks) -> None:
        if marks.nonce == self._nonce and marks.request_id == self._lead_request:
            self._lead_waits.discard(member)
        for one in marks.marks:
            self._learn_shown(member, one.row, one.mark)
        self.membership.on_marks(member, marks)
        self._update_lease()

    def _may_lead(self) -> bool:
        if not self.membership.ready:
            return False
        if self._raft is None:
            return True
        if not self._raft.leading or self._lead_since is None or self._raft.lease_left_s <= 0:
            return False
        return not self._lead_waits or self._leased or self._clock() - self._lead_since >= LEADER_READ_S

    def _update_lease(self) -> None:
        may = self._may_lead()
        if may != self._leased:
            self._leased = may
            self._log.info("lease", granted=may)
            self._outside.happened(EventKind.LEASE, granted=may)
            if not may:
                self._pending.clear()
                for row, proposer in self._proposers.items():
                    proposer.forget()
                    if self.hot is not None:
                        self.hot.abandon(row)
            self._tell_lease()
        elif may and self._raft is not None and self._clock() - self._lease_sent_at >= SIGNER_LEASE_RENEW_S:
            self._lease_sent_at = self._clock()
            self._outside.to_signer(self._lease())

    def hand_over(self, to: str | None = None, *, in_turn: bool = False) -> str:
        """Pass the leadership on, to the given member or to whoever can take it: "" when that is under way, else why it is not.

        Asked are members that are complete, connected and no longer starting: the one that has been so for longest first; `in_turn`: the
        one that follows in the list of members, so that each gets it, where two would hand it to each other for ever.
        """
        if self._raft is None:
            return "this node is alone"
        if not self._raft.leading:
            return f"{self.epoch.me} does not lead"
        wanted = (to,) if to is not None else self.epoch.others
        why = {name: self._why_not_able(name) for name in wanted}
        able = [name for name in self._after_me() if not why.get(name, "not wanted")]
        if not in_turn:
            able.sort(key=lambda name: self._members[name].able_at)
        if not able:
            return ", ".join(f"{name} {reason}" for name, reason in sorted(why.items()))
        self._raft.transfer(tuple(able))
        return ""

    def _after_me(self) -> tuple[str, ...]:
        """The other members, from the one that follows this one in the list on."""
        members, place = self.epoch.members, self.epoch.members.index(self.epoch.me)
        return members[place + 1 :] + members[:place]

    def _begin_handover(self, to: str | None) -> bool:
        """Whether a handover begins now: not while another is under way."""
        return self._raft is not None and not self._raft.handing_over and not self.hand_over(to)

    def _why_not_able(self, name: str) -> str:
        """What keeps a member from taking over, in words; "" when nothing does."""
        if not self._members[name].connected:
            return "is not connected"
        news = self.membership.life_of(name)
        if news is None or not self._members[name].told_life:
            return "has not said yet whether it is complete"
        if news.starting:
            return "is starting"
        state = news.life.state
        return "" if state is NodeState.COMPLETE else f"is {state.name.lower()}"

    def _note_able(self, name: str) -> None:
        """Since when a member could take over."""
        known = self._members[name]
        if self._why_not_able(name):
            known.able_at = _NEVER
        elif known.able_at == _NEVER:
            known.able_at = self._clock()

    def _why_not_leading(self) -> str:
        if not self.membership.ready:
            return self.membership.why
        return "" if self._leased else f"{self.epoch.me} does not lead"

    def _missing(self) -> tuple[str, ...]:
        """Members that are away, or not complete and ready."""
        return tuple(name for name in self._members if self._why_not_able(name))

    def _reach_of(self, member: str) -> Reach:
        told = dict(self._members[member].facts).get(REACH_FACT, "")
        return Reach(told) if told in set(Reach) else Reach.UNKNOWN

    def _tell_reach(self, reach: Reach) -> None:
        self._tell_fact(REACH_FACT, reach.value)

    def _tell_fact(self, name: str, text: str) -> None:
        self.tell_facts(make_facts({**dict(self._facts), name: text}))

    def _waits_for_promises(self) -> bool:
        """Whether a reservation waits for a majority."""
        return bool(self._pending) or (self.hot is not None and bool(self.hot.waiting(0)))

    def _majority_s(self) -> float | None:
        """The round trip to the farthest of the members that a permit of this node needs; None where too few are measured."""
        raft = self._raft
        if raft is None:
            return None
        known = sorted(trip for name in self.epoch.others if (trip := raft.round_trip_s(name)) is not None)
        return known[self.quorum - 2] if len(known) >= self.quorum - 1 else None

    def _on_news(self, member: str, news: News) -> None:
        """A leader's own word, or (member "") this node's."""
        if news is News.PREFERRED:
            self.favourite.on_preferred()
            self._outside.happened(EventKind.PREFERRED, peer=member)
            return
        self.favourite.on_order()
        if news is News.ORDERED:
            self._outside.happened(EventKind.ORDERED, peer=member or self.epoch.me)

    def _on_preferred(self, to: str) -> None:
        self._outside.happened(EventKind.HANDING_OVER, reason=PREFERRED, peer=to)
        self.drills.tell(News.PREFERRED)

    @property
    def handovers(self) -> dict[str, int]:
        """How often this node handed over by itself, by reason."""
        return {**self.useful.counters, **self.favourite.counters}

    def _on_handing_over(self, cause: Cause, to: str) -> None:
        self._outside.happened(EventKind.HANDING_OVER, reason=cause.value, peer=to)

    # --- time ---

    def idle_for_s(self) -> float:
        """How long nothing needs a tick, if nothing happens: a follower is woken by its leader's heartbeats and little else."""
        if self._raft is None or self.membership.reading or self._waits_for_promises():
            return TICK_S
        idle_s = max(self._raft.idle_for_s(), TICK_MIN_S)
        return min(idle_s, SIGN_STATE_LOOK_S) if self._unreplicated else idle_s

    def tick(self) -> None:
        """When idle_for_s() is over (one node alone: rarely). Raises: StoreFailure, BehindError."""
        self.membership.tick()
        if self._raft is not None:
            self._hold_raft()
            self._raft.tick()
            self._replicate()
            self._check_stuck()
        self._update_lease()
        if self._raft is not None:
            leads = self._leased and self._signer != 0
            self.useful.look(leads=leads)
            self.favourite.look(leads=leads)

    def _hold_raft(self) -> None:
        """The replicated log votes and leads as soon as the node may, and no longer."""
        held = not self.membership.raft_may_vote
        if held != self._held and self._raft is not None:
            self._held = held
            self._raft.hold(held)

    def _replicate(self) -> None:
        """Newest signatures into the log, when no request is near: a burst does not pay for it, but what the members find plausible is to
        keep up with it (rule 13). Who does not lead shows them instead."""
        if not self._unreplicated or self._raft is None:
            return
        now = self._clock()
        quiet = now - self._asked_at >= SIGN_STATE_QUIET_S
        for row, since in tuple(self._unreplicated.items()):
            height = self._signed[row].hrs.height
            far = height - self._replicated.get(row, 0) >= SIGN_STATE_HEIGHTS
            if quiet or far or now - since >= SIGN_STATE_LATEST_S:
                del self._unreplicated[row]
                self._replicated[row] = height
                if not self._raft.submit(row_key(self._store.rows[row]), self._signed[row]):
                    self.membership.tell()

    def flush(self) -> None:
        """Send to the others what was signed last, before the end, if this node still leads."""
        self._asked_at = -1e9
        self._replicate()
        if self._raft is not None:
            self._raft.tick()

    def _check_stuck(self) -> None:
        """A leader whose requests nobody answers, while Raft is well, lets another try; who does not lead lets go of them."""
        if self._raft is None:
            return
        if self.hot is not None:
            for row in self.hot.waiting(_HOT_PATIENCE_NS):
                self._take_back(row)
        now = self._clock()
        for row, (asked, since) in tuple(self._pending.items()):
            if now - since > _STUCK_AFTER_TTLS * self._ttl_s:
                self._log.warning("no majority answers this node's requests", place="/".join(map(str, asked.hrs)))
                del self._pending[row]
                if self._leased:
                    self.hand_over(in_turn=True)

    def _settle_raft(self) -> None:
        if self._raft is not None:
            self._raft.settle()

    def _doubt_raft(self) -> None:
        if self._raft is not None:
            self._raft.doubt()

    def place(self, chain: int) -> HRS:
        """The promise position of a chain."""
        return self._store.mark(self._rows[chain]).hrs
