"""One node of the cluster, sans-I/O: where each message goes, in one loop without waits.

    the signer's queue ──▶ ┌──────┐ ──▶ reservations ──▶ proposer ──▶ acceptor ──▶ the store
    members' frames ─────▶ │ node │ ──▶ acceptor (their promises), membership, roster, signatures
    the replicated log ──▶ │      │ ──▶ leadership, signatures
    time ────────────────▶ └──────┘ ──▶ each of them

It is entered once a message, and decides nothing itself.
"""

import itertools
from collections.abc import Callable, Mapping

from cometkms.core.interface import Core, HotPath
from cometkms.core.pure.hot import PureHotPath
from cometkms.errors import InvariantError, ProtocolError
from cometkms.limits import SIGN_STATE_LOOK_S, TICK_MIN_S, TICK_S
from cometkms.logger import Logger
from cometkms.model import Incarnation, Watermark
from cometkms.rules.incarnation import statement_bytes
from cometkms.rules.jump import Known
from cometkms.state.acceptor import Acceptor
from cometkms.state.handover import Handover
from cometkms.state.leadership import Leadership, ReplicatedLog
from cometkms.state.membership import Membership, Ports
from cometkms.state.reservations import Reservations
from cometkms.state.roster import Epoch, Roster
from cometkms.state.shell import Outside
from cometkms.state.signatures import Signatures
from cometkms.store.epoch import Seal
from cometkms.store.promise_store import PromiseStore
from cometkms.wire.peer_messages import (
    Facts,
    FactsNews,
    Hello,
    LifeNews,
    Marks,
    Obeyed,
    Order,
    Promise,
    Promised,
    Raft,
    Read,
)
from cometkms.wire.queue_messages import QueueMessage, Reserve, Signed, SignerHello, StateHello
from cometkms.wire.why import Why


def _known_at_start(
    rows: tuple[int, ...], signed: tuple[Watermark, ...], signed_at: tuple[float, ...], now: float
) -> dict[int, Known]:
    """What the state files show, since they were written; a file of a time to come is as if it were
    written now.
    """
    written = signed_at or (now,) * len(rows)
    found = zip(rows, signed, written, strict=True)
    return {row: Known(mark.hrs.height, min(at, now)) for row, mark, at in found if mark.hrs.height > 0}


class ClusterNode:
    """One member among the others: its parts, and the way of each message to them.

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
        fast: Callable[["ClusterNode"], HotPath] | None = None,
        log: Logger,
    ) -> None:
        """`rows`: the store's row of each configured chain; `signed`: its last verified signature
        (or burnt place), `signed_at` when it was written down, () where that is not known: now.
        `nonce`: tells this process from the member's others. `raft`: makes the replicated log; None
        for one node alone. `fast`: makes what handles the plain case; None: nothing is plain.
        `clock`: monotonic seconds; `wall_clock`: UNIX seconds. `ttl_s`: of the lease. `facts`: what
        the others are told of this node's settings.
        """
        self.epoch = epoch
        self.nonce = nonce
        self.rows = rows
        self._outside = outside
        self.counters: dict[str, int] = {}
        number = itertools.count(1).__next__
        hot = PureHotPath() if fast is None else fast(self)
        store.keep_in(hot.records)
        self.acceptor = Acceptor(
            store,
            rows,
            hot=hot,
            parse_sign_bytes=core.parse_sign_bytes,
            wall_clock=wall_clock,
            known=_known_at_start(rows, signed, signed_at, wall_clock()),
            majority=epoch.quorum,
        )
        self.signatures = Signatures(
            store=store,
            core=core,
            acceptor=self.acceptor,
            hot=hot,
            outside=outside,
            counters=self.counters,
            clock=clock,
            log=log,
        )
        self.roster = Roster(
            epoch=epoch,
            nonce=nonce,
            store=store,
            rows=rows,
            facts=facts,
            hot=hot,
            outside=outside,
            clock=clock,
            log=log,
        )
        self.membership = Membership(
            store=store,
            others=epoch.others,
            nonce=nonce,
            strict=strict,
            adopted=adopted or {},
            ports=Ports(
                send=self.roster.send,
                before_birth=outside.before_birth,
                on_sealed=outside.on_sealed,
                mark_raised=outside.mark_raised,
                settle_raft=self._settle_raft,
                doubt_raft=self._doubt_raft,
                known_signed=self.signatures.of,
                reach=self.acceptor.believed_reach,
                recovered=self.acceptor.on_recovered,
                verifies=self.signatures.verifies,
                prove=lambda one: epoch.sign(statement_bytes(epoch.digest, epoch.me, one)),
                proven=lambda statement: epoch.proves(statement, core.verify),
                disconnect=outside.disconnect,
                why_away=outside.why_away,
                forget=self.roster.forget,
            ),
            clock=clock,
            wall_clock=wall_clock,
            log=log,
        )
        self.membership.counters = self.counters
        self.roster.begin(self.membership)
        self.reservations = Reservations(
            epoch=epoch,
            nonce=nonce,
            store=store,
            rows=rows,
            core=core,
            acceptor=self.acceptor,
            roster=self.roster,
            signatures=self.signatures,
            hot=hot,
            outside=outside,
            number=number,
            ttl_s=ttl_s,
            counters=self.counters,
            clock=clock,
            log=log,
        )
        self.leadership = self.signatures.lead = self.reservations.lead = Leadership(
            epoch=epoch,
            nonce=nonce,
            rows=rows,
            ttl_s=ttl_s,
            roster=self.roster,
            reservations=self.reservations,
            signatures=self.signatures,
            outside=outside,
            number=number,
            counters=self.counters,
            clock=clock,
            log=log,
        )
        self.handover = Handover(
            epoch=epoch,
            nonce=nonce,
            roster=self.roster,
            reservations=self.reservations,
            leadership=self.leadership,
            outside=outside,
            clock=clock,
            log=log,
        )
        for row, mark in zip(rows, signed, strict=True):
            self.signatures.begin_with(row, mark)
        self.verifies, self.on_applied = self.signatures.believes, self.signatures.on_applied  # events of the log
        if raft is not None:
            self.leadership.begin(raft(self))

    def may(self) -> tuple[bool, bool]:
        """Whether this node may promise, and propose, now."""
        return self.membership.ready, self.leadership.leased

    @property
    def leading(self) -> bool:
        """Whether the signer may dial: it leads, heard a majority within the lease, may promise."""
        return self.leadership.leased

    @property
    def leader(self) -> str | None:
        """The leader's id, as far as this node knows."""
        return self.leadership.leader

    @property
    def why(self) -> str:
        """What stands in the way of signing here; "" when it promises and somebody leads."""
        return self.leadership.why

    def signed(self, chain: int) -> Watermark:
        """A chain's last place with a verified signature (or a burnt one of its state file)."""
        return self.signatures.of(self.rows[chain])

    # --- the signer ---

    def start(self) -> None:
        """Say hello to a signer that lives already, so that it asks again."""
        self._outside.to_signer(StateHello(self.nonce))
        self.tick()

    def on_signer(self, message: QueueMessage) -> None:
        """A message of the signer's queue."""
        match message:
            case Reserve():
                self.reservations.reserve(message)
            case Signed():
                mark = Watermark(message.hrs, message.sign_bytes, message.signature)
                self.signatures.on_made(self.rows[message.chain], mark)
            case SignerHello():
                self.leadership.on_signer(message.nonce)
            case _:
                raise InvariantError(f"the signer sent a state's message: {type(message).__name__}")

    def seal(self, following: tuple[str, ...]) -> Seal:
        """This node's part in its epoch is over. See Membership.seal()."""
        seal = self.membership.seal(following)
        self.leadership.update_lease()
        return seal

    # --- the others ---

    def hello(self, member: str) -> bytes:
        """The first message to a member."""
        return self.roster.hello(member)

    def on_hello(self, member: str, payload: bytes, address: str) -> str | None:
        """Judge a member's hello: None, or why it is refused. Raises: ProtocolError, BehindError."""
        return self.roster.on_hello(member, payload, address)

    def on_unlisted(self, hello: Hello, address: str) -> Why:
        """A node that holds the key and is not in the list here: why it is refused."""
        reason = self.roster.on_unlisted(hello, address)
        self.leadership.update_lease()
        return reason

    def on_connected(self, member: str) -> None:
        """Both hellos were accepted."""
        if self.roster.on_connected(member):
            self.membership.on_connected(member)
            self.leadership.on_connected(member)
            self.reservations.offer(member)

    def on_disconnected(self, member: str, *, closed: bool) -> None:
        """`closed`: by the other end; else it fell silent."""
        self.roster.on_disconnected(member)
        self.reservations.on_member_gone(member)
        self.membership.on_disconnected(member)
        self.leadership.on_disconnected(member, closed=closed)

    def on_frame(self, member: str, payload: bytes) -> None:
        """A message of a connected member. Raises: ProtocolError: close the connection."""
        message = self.roster.heard(member, payload)
        match message:
            case Promise():
                self.reservations.on_promise(member, message)
            case Promised():
                self.reservations.on_promised(member, message)
            case Raft():
                self.leadership.on_raft(member, message.payload)
            case LifeNews():
                self.membership.on_life(member, message)
                self.roster.on_life(member)
                self.reservations.on_shown(member, message.marks)
                self.reservations.offer(member)
            case Read():
                self.membership.on_read(member, message)
            case Marks():
                self.leadership.on_marks(member, message)
                self.reservations.on_shown(member, message.marks)
                self.membership.on_marks(member, message)
                self.leadership.update_lease()
            case FactsNews():
                self.roster.on_facts(member, message.facts)
            case Order():
                self.handover.drills.on_order(member, message)
            case Obeyed():
                self.handover.drills.on_obeyed(member, message)
            case _:
                raise ProtocolError(f"a {type(message).__name__} came out of order")

    # --- the replicated log ---

    def on_role(self, *, leading: bool, leader: str | None, term: int) -> None:
        """Learn whether this node leads: `leading` once its barrier is applied."""
        self.leadership.on_role(leading=leading, leader=leader, term=term)
        self.handover.favourite.on_leader(leader)

    def _settle_raft(self) -> None:
        if self.leadership.raft is not None:
            self.leadership.raft.settle()

    def _doubt_raft(self) -> None:
        if self.leadership.raft is not None:
            self.leadership.raft.doubt()

    # --- time ---

    def idle_for_s(self) -> float:
        """How long nothing needs a tick, if nothing happens: a follower's leader wakes it."""
        raft = self.leadership.raft
        if raft is None or self.membership.reading or self.reservations.waiting:
            return TICK_S
        idle_s = max(raft.idle_for_s(), TICK_MIN_S)
        return min(idle_s, SIGN_STATE_LOOK_S) if self.signatures.waiting else idle_s

    def tick(self) -> None:
        """When idle_for_s() is over (one node alone: rarely). Raises: StoreFailure, BehindError."""
        self.membership.tick()
        if (raft := self.leadership.raft) is not None:
            self.leadership.hold()
            raft.tick()
            self.signatures.replicate(self.reservations.quiet_s)
            self.handover.look()
        self.leadership.update_lease()
        if raft is not None:
            self.handover.look_at_use()

    def flush(self) -> None:
        """Send to the others what was signed last, before the end, if this node still leads."""
        if self.leadership.raft is not None:
            self.signatures.replicate(float("inf"))
            self.leadership.raft.tick()
