"""What is asked for, by the signer and by the members' signers: each reservation, until a majority
holds its bytes or none can. Sans-I/O.

    signer ── Reserve ──▶ Proposer ── own promise, synced ── Promise ──▶ others
    signer ◀─ Permit ──── a majority holds exactly these bytes ◀── Promised ──┘

A reservation under way is on one side, here or on the fast path. When anything unusual happens to
one that waits there, it is taken over and every member is asked again. This is safe: an accept is
never withdrawn, so asking twice only costs a message.
"""

from collections.abc import Callable
from typing import Final

from cometkms.core.interface import Core, HotPath
from cometkms.errors import InvariantError, ProtocolError
from cometkms.histogram import Histogram
from cometkms.limits import CHAINS_MAX
from cometkms.logger import Logger
from cometkms.model import HRS, Reason, Refusal, Watermark
from cometkms.state.acceptor import Acceptor
from cometkms.state.proposer import Proposer, Verdict
from cometkms.state.roster import Epoch, Roster
from cometkms.state.shell import Outside
from cometkms.state.signatures import Lead, Signatures, row_key
from cometkms.store.promise_store import PromiseStore
from cometkms.wire.peer_messages import Promise, Promised, RowMark
from cometkms.wire.queue_messages import PermitGranted, Reserve, ReserveRefused

# then this module asks for it, and sees what stands in the way
_HOT_PATIENCE_NS: Final = 50_000_000
_STUCK_AFTER_TTLS: Final = 2  # a request without answers for so long is let go of


def _why_not_proposed(*, urgent: bool, leads: bool, ready: bool) -> Refusal | None:
    """Whether this node proposes what its signer asks for: None, or why not. `leads`: holds the
    lease; `ready`: may promise now.

    | the signer asks …                                     | this node leads | it does not lead                         |
    |-------------------------------------------------------|-----------------|------------------------------------------|
    | for a validator's connection, or an agent's first try | proposes        | refuses: NOT_LEADER                      |
    | urgently: an agent was answered nowhere else          | proposes        | proposes, if it may promise itself       |

    Who proposes has no part in safety: a permit is a majority's promises for exactly these bytes,
    whoever counts them (rule 3), and the models let any node propose anything at any time. The lead
    is what normally keeps two nodes from proposing at once.
    """
    if ready and (leads or urgent):
        return None
    if not urgent:
        return Refusal(Reason.NOT_LEADER, "this node does not lead")
    return Refusal(Reason.NOT_COMPLETE, "this node is not complete: it promises nothing, and proposes nothing")


class Reservations:
    """Carry each of the signer's reservations to a permit or a refusal, and promise what other
    members carry.
    """

    lead: Lead

    def __init__(
        self,
        *,
        epoch: Epoch,
        nonce: int,
        store: PromiseStore,
        rows: tuple[int, ...],
        core: Core,
        acceptor: Acceptor,
        roster: Roster,
        signatures: Signatures,
        hot: HotPath,
        outside: Outside,
        number: Callable[[], int],
        ttl_s: float,
        counters: dict[str, int],
        clock: Callable[[], float],
        log: Logger,
    ) -> None:
        """`rows`: the store's row of each configured chain.

        `number()`: of a request to the members. `ttl_s`: of the lease.
        """
        self.sync_ns = Histogram()  # this node's own promises, for itself or a member
        self.round_trip_ns = Histogram()
        self.asked_at = -1e9
        self.without_lead = 0  # what agents asked for urgently
        self._hot = hot
        self._nonce = nonce
        self._store = store
        self._rows = rows
        self._core = core
        self._acceptor = acceptor
        self._membership = roster.membership
        self._roster = roster
        self._signatures = signatures
        self._outside = outside
        self._number = number
        self._ttl_s = ttl_s
        self._counters = counters
        self._clock = clock
        self._log = log
        self._pending: dict[int, tuple[Reserve, float]] = {}  # by the store's row
        self._keys = {row: store.rows[row].key for row in rows}
        self._proposers = {
            row: Proposer(
                row=row,
                public_key=self._keys[row],
                me=epoch.me,
                others=epoch.others,
                acceptor=acceptor,
                ask=self._ask,
                same_but_timestamp=core.same_but_timestamp,
            )
            for row in rows
        }

    # --- the signer ---

    def reserve(self, asked: Reserve) -> None:
        """Propose what the signer asks for, or refuse it."""
        self.asked_at = started = self._clock()
        row = self._rows[asked.chain]
        self._hot.abandon(row)
        leads = self.lead.leased
        refusal = _why_not_proposed(urgent=asked.urgent, leads=leads, ready=self._membership.ready)
        if refusal is not None:
            self._refuse(asked, refusal)
            return
        self.without_lead += not leads
        self._pending[row] = (asked, started)
        try:
            verdict = self._proposers[row].propose(asked.hrs, asked.sign_bytes)
        except ProtocolError as error:
            raise InvariantError(f"the signer asked for bytes that are not canonical: {error}") from error
        self.sync_ns.add(int((self._clock() - started) * 1e9))
        self._settle(row, verdict)

    def _settle(self, row: int, verdict: Verdict | None) -> None:
        """Tell the signer, if it is decided and it still waits."""
        if verdict is None or row not in self._pending:
            return
        asked, started = self._pending.pop(row)
        if isinstance(verdict, Refusal):
            self._refuse(asked, verdict)
            return
        permitted = self._core.parse_sign_bytes(verdict.sign_bytes).hrs
        if permitted != asked.hrs:
            raise InvariantError(f"a permit for {tuple(permitted)} meets a request for {tuple(asked.hrs)}")
        self._outside.to_signer(PermitGranted(asked.nonce, asked.request_id, asked.chain, verdict))
        self.round_trip_ns.add(int((self._clock() - started) * 1e9))

    def _refuse(self, asked: Reserve, refusal: Refusal) -> None:
        row, reason = self._rows[asked.chain], self._count(refusal)
        jump = refusal.reason is Reason.JUMP
        shown = HRS(self._acceptor.reach(row), 0, 0) if jump else self._proposers[row].closed_up_to
        self._outside.to_signer(ReserveRefused(asked.nonce, asked.request_id, asked.chain, refusal.reason, shown))
        self._log.error(
            "promise refused",
            chain=self._store.rows[row].chain_id,
            asked="/".join(map(str, asked.hrs)),
            reason=reason,
            why=refusal.text,
        )

    def _count(self, refusal: Refusal) -> str:
        """Count it; its reason's name."""
        reason = refusal.reason.name.lower()
        self._counters[reason] = self._counters.get(reason, 0) + 1
        return reason

    def forget_signer(self) -> None:
        """Nobody waits any more for what was asked for."""
        self._pending.clear()
        for row in self._rows:
            self._hot.abandon(row)

    def forget_places(self) -> None:
        """The lease is gone: the places under way, too, are nobody's. Promises stay what they are."""
        self.forget_signer()
        for proposer in self._proposers.values():
            proposer.forget()

    # --- the members ---

    def _ask(self, member: str, row: int, sign_bytes: bytes) -> int | None:
        if not self._roster.members[member].connected:
            return None
        request_id = self._number() * CHAINS_MAX + row  # so that the answer finds its row
        request = Promise(
            self._nonce,
            request_id,
            self._keys[row],
            sign_bytes,
            self._store.seq,
            self._store.header.incarnation,
        )
        return request_id if self._roster.send(member, request) else None

    def on_promise(self, member: str, asked: Promise) -> None:
        """Another node's proposal: rule, sync, answer.

        Raises: ProtocolError for bytes that are not canonical.
        """
        refusal, mark = self._promise(asked)
        reason = refusal.reason if refusal is not None else Reason.NONE
        seq, incarnation = self._store.seq, self._store.header.incarnation
        self._roster.send(member, Promised(asked.nonce, asked.request_id, reason, mark, seq, incarnation))
        if refusal is None:
            self._roster.members[member].promised_at = self._clock()
        else:
            name = self._count(refusal)
            self._log.info("promise refused to a member", member=member, reason=name, why=refusal.text)

    def _promise(self, asked: Promise) -> tuple[Refusal | None, Watermark]:
        """The refusal, if it is one, and the mark that forbids it."""
        located = self._acceptor.locate(asked.public_key, asked.sign_bytes)
        if isinstance(located, Refusal):
            return located, Watermark()
        if not self._membership.ready:
            return Refusal(Reason.NOT_COMPLETE, self._membership.why), Watermark()
        row, hrs = located
        started = self._clock()
        refusal = self._acceptor.promise(row, hrs, asked.sign_bytes)
        if refusal is not None:
            return refusal, self._acceptor.forbids(row)
        self.sync_ns.add(int((self._clock() - started) * 1e9))
        return None, Watermark()

    def on_promised(self, member: str, answer: Promised) -> None:
        """A member accepts or refuses. Raises: StoreFailure."""
        accepted = answer.reason is Reason.NONE
        if not accepted and not self._membership.bears_any(member):
            return  # it has lost its store and says so
        row = answer.request_id % CHAINS_MAX
        if row not in self._proposers:
            return
        if not accepted:
            self._hear(row, member, answer.mark)
        if answer.nonce != self._nonce:
            return
        if accepted:
            self._roster.members[member].accepted_at = self._clock()
        else:
            self._signatures.on_shown(row, answer.mark)
        verdict = self._proposers[row].on_promised(member, answer.request_id, answer.reason, answer.mark)
        self._settle(row, verdict)
        self._take_over(row)

    def on_shown(self, member: str, marks: tuple[RowMark, ...]) -> None:
        """A member shows where its rows stand: hints, and news where a signature proves one."""
        for shown in marks:
            row = self._signatures.number_of(row_key(shown.row))
            if row is not None and row in self._proposers:
                self._signatures.on_shown(row, shown.mark)
                self._proposers[row].hint(member, shown.mark)
                self._hear(row, member, shown.mark)

    def _hear(self, row: int, member: str, mark: Watermark) -> None:
        learned = self._acceptor.on_shown(row, member, mark)
        if learned:
            self._log.warning(
                "a majority of the other nodes was recovered to a height above what was plausible here: it is taken for the chain's",
                chain=self._store.rows[row].chain_id,
                height=learned,
            )

    def offer(self, member: str) -> None:
        """The member is there or has changed: what waits for a majority is asked of it again."""
        for row in self._rows:
            self._take_over(row)
        for row in tuple(self._pending):
            self._settle(row, self._proposers[row].on_member(member))

    def on_member_gone(self, member: str) -> None:
        """Its connection ended."""
        for proposer in self._proposers.values():
            proposer.on_member_gone(member)

    # --- what waits ---

    def on_hot(self) -> None:
        """The fast path handled a reservation."""
        self.asked_at = self._clock()

    def _take_over(self, row: int) -> None:
        """Take over a reservation that the fast path could not finish, and ask every member again."""
        waiting = self._hot.abandon(row)
        if waiting is not None:
            self.reserve(Reserve(waiting.nonce, waiting.request_id, waiting.chain, waiting.hrs, waiting.sign_bytes))

    @property
    def quiet_s(self) -> float:
        """Seconds since the last reservation."""
        return self._clock() - self.asked_at

    @property
    def waiting(self) -> bool:
        """Whether a reservation waits for a majority."""
        return bool(self._pending) or bool(self._hot.waiting(0))

    def look(self) -> bool:
        """Take over what waits for long on the fast path, and let go of what nobody answers;
        whether there was any of the latter.
        """
        for row in self._hot.waiting(_HOT_PATIENCE_NS):
            self._take_over(row)
        now, stuck = self._clock(), False
        for row, (asked, since) in tuple(self._pending.items()):
            if now - since > _STUCK_AFTER_TTLS * self._ttl_s:
                self._log.warning("no majority answers this node's requests", place="/".join(map(str, asked.hrs)))
                del self._pending[row]
                stuck = True
        return stuck
