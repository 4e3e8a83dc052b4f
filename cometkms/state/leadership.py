"""Whether this node leads, and what its signer is told of that. Sans-I/O.

Who leads decides who dials the validators, and nothing else: what may be signed is decided by
promises. A new leader's order: term durable, barrier applied (both in RaftLog), the others' marks
read, then the signer's lease.
"""

from collections.abc import Callable
from typing import Protocol

from cometkms.board.sections import EventKind
from cometkms.limits import LEADER_READ_S, SIGNER_LEASE_RENEW_S
from cometkms.logger import Logger
from cometkms.model import Watermark
from cometkms.state.reservations import Reservations
from cometkms.state.roster import Epoch, Roster
from cometkms.state.shell import Outside
from cometkms.state.signatures import Signatures
from cometkms.wire.peer_messages import Marks, Purpose, Read
from cometkms.wire.queue_messages import Leader, Lease, Mark


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


class Leadership:
    """Hold the lease while this node leads, and tell the signer."""

    def __init__(
        self,
        *,
        epoch: Epoch,
        nonce: int,
        rows: tuple[int, ...],
        ttl_s: float,
        roster: Roster,
        reservations: Reservations,
        signatures: Signatures,
        outside: Outside,
        number: Callable[[], int],
        counters: dict[str, int],
        clock: Callable[[], float],
        log: Logger,
    ) -> None:
        """`rows`: the store's row of each configured chain.

        `ttl_s`: of the lease. `number()`: of a request to the members.
        """
        self.raft: ReplicatedLog | None = None  # none for one node alone
        self.leased = False
        self.changes = 0
        self.signer = 0  # the nonce of the living signer; 0: none has said hello
        self._epoch = epoch
        self._nonce = nonce
        self._rows = rows
        self._ttl_s = ttl_s
        self._membership = roster.membership
        self._roster = roster
        self._reservations = reservations
        self._signatures = signatures
        self._outside = outside
        self._number = number
        self._counters = counters
        self._clock = clock
        self._log = log
        self._lease_sent_at = -1e9
        self._led_since: float | None = None
        self._request_id = 0
        self._unread: set[str] = set()  # members whose marks a new leader waits for
        self._last_leader: tuple[str, int] | None = None  # and its term
        self._held = True

    # --- what it is ---

    @property
    def leader(self) -> str | None:
        """The leader's id, as far as this node knows."""
        return self.raft.leader if self.raft is not None else self._epoch.me

    @property
    def term(self) -> int:
        """The replicated log's; 0 for one node alone."""
        return self.raft.term if self.raft is not None else 0

    @property
    def leads_log(self) -> bool:
        """Whether this node leads the replicated log, with or without a lease."""
        return self.raft is not None and self.raft.leading

    @property
    def why(self) -> str:
        """What stands in the way of signing here, as far as this node knows; "" when it promises
        and somebody leads.
        """
        if (why := self._membership.why) or self.raft is None:
            return why
        if self.leased or self.raft.hears_leader:
            return ""
        epoch, quorum = self._epoch, self._epoch.quorum
        if sealed := self._membership.ending:
            return (
                f"nobody leads: {', '.join(sealed)} sealed, and {quorum} nodes that are not are needed: this epoch is over; cure: seal this node, "
                "too, by the command that sealed them, and begin the next epoch"
            )
        there = [epoch.me, *self._roster.connected]
        if len(there) < quorum:
            away = ", ".join(name for name in epoch.others if name not in there)
            return f"nobody leads: {away} not connected here, and {quorum} of {len(epoch.members)} nodes are needed"
        unready = [name for name in self._roster.missing() if name in there]
        if len(there) - len(unready) < quorum:
            return f"nobody leads: {', '.join(unready)} not complete yet, and {quorum} complete nodes are needed"
        return f"nobody leads: {', '.join(there)} elect a leader"

    @property
    def why_not(self) -> str:
        """Why this node does not lead; "" when it does."""
        if not self._membership.ready:
            return self._membership.why
        return "" if self.leased else f"{self._epoch.me} does not lead"

    def lease_left_s(self) -> float:
        """Seconds for which a leader may go on without hearing from anybody; 0 when it
        may not sign.
        """
        if not self.leased:
            return 0.0
        return self.raft.lease_left_s if self.raft is not None else self._ttl_s

    # --- the lead ---

    def begin(self, raft: ReplicatedLog) -> None:
        """Who leads is decided there. It holds still until this node may vote."""
        self.raft = raft
        raft.hold(True)

    def hold(self) -> None:
        """The replicated log votes and leads as soon as the node may, and no longer."""
        held = not self._membership.raft_may_vote
        if held != self._held and self.raft is not None:
            self._held = held
            self.raft.hold(held)

    def replicate(self, key: bytes, mark: Watermark) -> None:
        """Give a signature to the replicated log, or show it to the members where this
        node does not lead.
        """
        if self.raft is None or not self.raft.submit(key, mark):
            self._membership.tell()

    def on_raft(self, member: str, payload: bytes) -> None:
        """A member's message of the replicated log."""
        if self.raft is None or not self._membership.is_current(member):
            return
        self.hold()  # whoever was told that this node is complete may hand over to it at once
        why = self.raft.on_message(member, payload)
        if why:  # it cannot be true: it is counted, and said the first time and at each doubling
            self._counters["false_raft"] = count = self._counters.get("false_raft", 0) + 1
            if count & (count - 1) == 0:
                self._log.error(
                    "a member's word on the replicated log is not believed", member=member, why=why, times=count
                )

    def on_role(self, *, leading: bool, leader: str | None, term: int) -> None:
        """Learn from the replicated log whether this node leads: `leading` once its
        barrier is applied.
        """
        self._log.info("role", leading=leading, leader=leader or "", term=term)
        if leader is not None and (leader, term) != self._last_leader:
            self.changes += self._last_leader is not None
            self._last_leader = (leader, term)
        self._outside.happened(EventKind.LEADER, leader=leader, term=term)
        self._tell_leader()
        self._led_since = None
        if leading:
            self._led_since = self._clock()
            self._signatures.replicate_all()
            self._request_id = self._number()
            self._unread = set(self._roster.connected)
            for name in sorted(self._unread):
                read = Read(self._nonce, self._request_id, Purpose.LEADER, self._membership.own())
                self._roster.send(name, read)
        self.update_lease()

    def on_marks(self, member: str, marks: Marks) -> None:
        """A member shows where it stands: a new leader asked."""
        if marks.nonce == self._nonce and marks.request_id == self._request_id:
            self._unread.discard(member)

    def on_connected(self, member: str) -> None:
        """Both hellos were accepted."""
        if self.raft is not None:
            self.raft.on_connected(member)

    def on_disconnected(self, member: str, *, closed: bool) -> None:
        """The member's connection is gone: a new leader does not wait for it.

        `closed`: by the other end.
        """
        self._unread.discard(member)
        if self.raft is not None:
            self.raft.on_disconnected(member, closed=closed)
        self.update_lease()

    def _may_lead(self) -> bool:
        if not self._membership.ready:
            return False
        if self.raft is None:
            return True
        if not self.raft.leading or self._led_since is None or self.raft.lease_left_s <= 0:
            return False
        return not self._unread or self.leased or self._clock() - self._led_since >= LEADER_READ_S

    def update_lease(self) -> None:
        """Grant or withdraw the signer's lease, as it is now; renew it where it goes on."""
        may = self._may_lead()
        if may != self.leased:
            self.leased = may
            self._log.info("lease", granted=may)
            self._outside.happened(EventKind.LEASE, granted=may)
            if not may:
                self._reservations.forget_places()
            self._tell_lease()
        elif may and self.raft is not None and self._clock() - self._lease_sent_at >= SIGNER_LEASE_RENEW_S:
            self._lease_sent_at = self._clock()
            self._outside.to_signer(self._lease())

    # --- the signer ---

    def on_signer(self, nonce: int) -> None:
        """Another signer process lives: it has asked for nothing yet."""
        self.signer = nonce
        self._reservations.forget_signer()
        self._tell_lease()

    def tell_signer(self, row: int, mark: Watermark) -> None:
        """A signature was made elsewhere: the signer that holds the lease is to know of it."""
        if self.leased and row in self._rows:
            self._outside.to_signer(Mark(self.signer, self._rows.index(row), mark))

    def _tell_lease(self) -> None:
        """Where each chain stands, then whether the signer may dial."""
        self._lease_sent_at = self._clock()
        for chain, row in enumerate(self._rows):
            self._outside.to_signer(Mark(self.signer, chain, self._signatures.of(row)))
        self._tell_leader()
        self._outside.to_signer(self._lease())

    def _tell_leader(self) -> None:
        """Agents are told by the signer."""
        self._outside.to_signer(Leader(self.signer, self.leader or ""))

    def _lease(self) -> Lease:
        ttl_ms = int(self._ttl_s * 1000) if self.raft is not None else 0
        return Lease(self.signer, granted=self.leased, ttl_ms=ttl_ms)
