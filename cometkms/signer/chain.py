"""One chain's critical section: requests of all its validators, one at a time. Sans-I/O.

    IDLE ── submit: the rule says sign ──▶ RESERVING ── permit / refusal / deadline / requester gone ──▶ IDLE

The dangerous order, told once:

    decide      rules.sign.decide() over the last *signed* place        submit()
    reserve     the state process makes the place durable               Reserve → PermitGranted
    sign        exactly the permit's bytes, in the key slot             on_permit()
    reply       to the validator that asked                             on_permit()
    report      to the state process, after the reply                   Signed

Two validators that ask for one place at once: the second waits in line, then the rule decides over
what the first got.

The plain case of all this (a place above the watermark, nobody else in the section) is done by the
core's SignPath where it has one. Whatever else happens to the section happens `with
self._section()`, which takes the reservation over from there and hands the section back at its end.
The watermark stands in one place, the path's. Bytes that are no vote have no place, so they do not
pass through the section: sign_bytes() answers at once, while this node leads. Nothing waits without
a deadline: expire() answers empty after PERMIT_TIMEOUT_S, and the validator asks again.
"""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

from cometkms.board.sections import CountersReport, RefusalReport
from cometkms.core.interface import Core, Desk, KeySlot, Session, Signature, SignLane, SignPath, Trail
from cometkms.errors import InvariantError, ProtocolError
from cometkms.histogram import Histogram
from cometkms.limits import (
    AUDIT_VALIDATOR_MAX_BYTES,
    CHAIN_ID_MAX_BYTES,
    PERMIT_TIMEOUT_S,
    REFUSAL_WORDS_MAX,
    REFUSALS_KEPT,
)
from cometkms.logger import Logger
from cometkms.model import (
    BYTES_KINDS,
    FINAL_REASONS,
    HRS,
    NO_BYTES,
    OLDER_REASONS,
    AllowedBytes,
    Decision,
    Kind,
    Outcome,
    Permit,
    Reason,
    Refusal,
    Request,
    Watermark,
)
from cometkms.rules.raw_bytes import decide_bytes
from cometkms.rules.sign import Repeat, decide
from cometkms.signer.answers import Answers
from cometkms.signer.fold import Folds
from cometkms.signer.tally import Tally
from cometkms.wire.decisions import BytesNote
from cometkms.wire.queue_messages import Mark, PermitGranted, QueueMessage, Reserve, ReserveRefused, Signed


class Requester(Protocol):
    """A validator's connection, as the critical section sees it."""

    @property
    def name(self) -> str: ...

    @property
    def remote_identity(self) -> bytes:
        """The SecretConnection's key at the other end; b"" on a unix socket."""
        ...

    def serves(self, session: Session) -> bool:
        """Return False once the connection of that session is closed: nobody is there to answer."""
        ...

    def deliver(self, frame: bytes, *, refused: bool | None = None) -> None:
        """Write the answer to the pending request and go on with the next.

        `refused`: it is a final no, or (False) a signature.
        """
        ...


@dataclass(slots=True)
class Counters:
    """Outcomes since the signer started."""

    signed: int = 0
    repeated: int = 0
    pub_keys: int = 0
    signed_values: int = 0  # v1.x's SignBytes
    # Celestia's, by their unique id, which the settings name
    signed_raw: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    unanswered: dict[str, int] = field(default_factory=dict)

    def document(self) -> CountersReport:
        """Return what the status board shows."""
        return CountersReport(
            signed=self.signed,
            repeated=self.repeated,
            refused=dict(self.refused),
            unanswered=dict(self.unanswered),
            pub_keys=self.pub_keys,
            signed_values=self.signed_values,
            signed_raw=dict(self.signed_raw),
        )

    def count_refused(self, reason: Reason) -> None:
        """A final answer: RemoteSignerError."""
        self.refused[reason.name.lower()] = self.refused.get(reason.name.lower(), 0) + 1

    def count_unanswered(self, reason: Reason) -> None:
        """An empty answer: the validator asks again."""
        self.unanswered[reason.name.lower()] = self.unanswered.get(reason.name.lower(), 0) + 1


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request in line or under way. started_ns: CLOCK_MONOTONIC when its last byte arrived.
    urgent: see submit().
    """

    requester: Requester
    session: Session
    request: Request
    started_ns: int
    urgent: bool = False

    @property
    def alive(self) -> bool:
        """Whether the connection it came on is still there."""
        return self.requester.serves(self.session)


@dataclass(frozen=True, slots=True)
class _Denied:
    """A request that got no signature. at: UNIX seconds."""

    requester: Requester
    request: Request
    refusal: Refusal
    at: float


@dataclass(frozen=True, slots=True)
class _Reserving:
    asked: _Asked
    request_id: int
    since_ns: int


@dataclass(frozen=True, slots=True)
class _SignedBytes:
    """Bytes that are no vote, signed. took_ns: since the request's last byte."""

    note: BytesNote
    took_ns: int


@dataclass(frozen=True, slots=True)
class _Repeated:
    """A signature that was sent again. took_ns: since the request's last byte."""

    requester: Requester
    request: Request
    took_ns: int


#: How the audit log calls what became of a request for bytes that are no vote: it has no place.
_OF_BYTES: Final = {Outcome.SIGNED_BYTES: Outcome.SIGNED_BYTES, Outcome.REFUSED: Outcome.REFUSED_BYTES}


class ChainSigner:
    """Decides, reserves, signs and answers for one chain."""

    def __init__(
        self,
        *,
        chain: int,
        chain_id: str,
        slot: KeySlot,
        core: Core,
        nonce: int,
        send: Callable[[QueueMessage], bool],
        clock_ns: Callable[[], int],
        log: Logger,
        path: SignPath,
        count_made: Callable[[], None] = lambda: None,
        trail: Trail | None = None,
    ) -> None:
        """`send` hands a message to the state process, False when the queue is full; `clock_ns` is
        monotonic; `trail`: the audit log.

        The plain requests are `path`'s, and the watermark stands there. `count_made()` tells every
        chain what the path signed: failures are counted behind that.
        """
        self.chain = chain
        self.chain_id = chain_id
        self.slot = slot
        self.counters = Counters()
        # for /status, oldest first
        self.refusals: deque[RefusalReport] = deque(maxlen=REFUSALS_KEPT)
        self.latency = Histogram()
        self.tally = Tally()
        self.answers = Answers()
        self.last_signed_at: float | None = None  # unix time …
        self.last_signed_ns = 0  # … and the same moment by the monotonic clock
        # whether this node has the lease: bytes that are no vote are signed then only
        self.leads = False
        self._core = core
        self._nonce = nonce
        self._send = send
        self._clock_ns = clock_ns
        self._log = log
        self._trail = trail
        self._reserving: _Reserving | None = None
        self._line: deque[_Asked] = deque()
        self._last_request_id = 0
        self._knows_mark = False
        self._unreported: Signed | None = None
        self._path = path
        self._count_made = count_made
        self._askers: dict[int, Requester] = {}
        self._folds: Folds[tuple[Outcome, Reason, str], _Denied] = Folds()
        self._allowed = NO_BYTES
        self._signed_folds: Folds[tuple[str, str], _SignedBytes] = Folds()
        self._repeated_folds: Folds[tuple[str, HRS], _Repeated] = Folds()

    @property
    def watermark(self) -> Watermark:
        """The last place that was signed, or may have been."""
        return self._path.marks[self.chain]

    def lane(self, number: int, requester: Requester, session: Session, fd: int) -> SignLane | None:
        """The path's part of a requester's new connection; None: its owner receives everything.

        `number`: one for each requester.
        """
        self.tally.on_connected()
        self._askers[number] = requester
        validator = _cut(requester.name)
        return self._path.lane(self.chain, number, session, fd, validator=validator, identity=requester.remote_identity)

    def at_desk(self, desk: Desk, number: int, requester: Requester) -> Session:
        """Let an agent's link ask the path for this chain; the session that its requests are in.

        `number`: as of lane().
        """
        self._askers[number] = requester
        validator = _cut(requester.name)
        return desk.serve(self.chain, number, self.chain_id, validator=validator, identity=requester.remote_identity)

    @contextlib.contextmanager
    def _section(self) -> Iterator[None]:
        """Take over what the path did, and its reservation; at the end the path serves again,
        unless somebody waits here.
        """
        underway = self._path.abandon(self.chain)
        if underway is not None:
            asked = _Asked(self._askers[underway.link], underway.session, underway.request, underway.started_ns)
            self._reserving = _Reserving(asked, underway.request_id, underway.since_ns)
        idle = False  # after an error the path serves nothing before this side has been here again
        try:
            yield
            idle = self._knows_mark and self._reserving is None and not self._line
        finally:
            self._path.open(self.chain, opened=idle)

    @property
    def ready(self) -> bool:
        """Whether the state process has told this signer where the chain stands."""
        return self._knows_mark

    def on_mark(self, mark: Mark) -> None:
        """The last signed (or burnt) place according to the state process; never lowers
        what is known here.
        """
        with self._section():
            self._knows_mark = True
            self.slot.raise_mark(mark.watermark.hrs, mark.watermark.sign_bytes)
            if mark.watermark.hrs > self.watermark.hrs:
                self._path.marks[self.chain] = mark.watermark

    def submit(
        self, requester: Requester, session: Session, request: Request, started_ns: int, *, urgent: bool = False
    ) -> None:
        """Take a vote's or proposal's request; the answer goes to requester.deliver(),
        now or later.

        `urgent`: the state process is to reserve the place even while this node does not lead.
        """
        with self._section():
            # an agent may give up one request after the other while the first waits for its
            # majority: those hold no memory
            if self._line:
                self._line = deque(one for one in self._line if one.alive)
            self._line.append(_Asked(requester, session, request, started_ns, urgent))
            if self._reserving is not None and not self._reserving.asked.alive:
                # nobody waits for that permit; if it comes, it is for nothing
                self._reserving = None
            if self._reserving is None:
                self._advance()

    def on_permit(self, granted: PermitGranted) -> None:
        """The bytes are durable: sign exactly them and answer."""
        with self._section():
            reserving = self._take(granted.nonce, granted.request_id)
            if reserving is not None:
                asked = reserving.asked
                if asked.alive:
                    self._sign_and_reply(asked, granted.permit)
                else:
                    self._log.info(
                        "requester gone before its permit", chain=self.chain_id, validator=asked.requester.name
                    )
                self._advance()

    def on_refused(self, refused: ReserveRefused) -> None:
        """The state process holds a promise that forbids these bytes."""
        with self._section():
            reserving = self._take(refused.nonce, refused.request_id)
            if reserving is not None:
                asked = reserving.asked
                text = _refused_words(refused, asked.request.hrs)
                if asked.alive:
                    self._refuse(asked, Refusal(refused.reason, text))
                self._advance()

    def on_state_hello(self) -> None:
        """The state process is there (again): report and ask again what it may never have seen."""
        with self._section():
            if self.watermark.signature:
                self._unreported = Signed(
                    self.chain, self.watermark.hrs, self.watermark.sign_bytes, self.watermark.signature
                )
            self.report()
            if self._reserving is not None and self._reserving.asked.alive:
                self._ask(self._reserving.asked, self._reserving.request_id)

    def report(self) -> None:
        """Hand a signature to the state process that its full queue did not take before."""
        if self._path.take_unreported(self.chain):
            last = self.watermark
            self._unreported = Signed(self.chain, last.hrs, last.sign_bytes, last.signature)
        if self._unreported is not None and self._send(self._unreported):
            self._unreported = None

    def take_lead(self) -> None:
        """The lease is there: what failed long before it is past."""
        self.leads = True
        self.answers.on_lead(time.time())

    def abandon(self) -> None:
        """The lease is gone and so is every requester: the state process has forgotten what was
        asked, and no answer will come.
        """
        self.leads = False
        self.tally.on_lease_lost()
        with self._section():
            lost = [self._reserving.asked] if self._reserving is not None else []
            self._count_made()
            for asked in [
                one for one in (*lost, *self._line) if one.alive
            ]:  # its connection is closed in place of an answer
                self.answers.on_failed(
                    asked.requester.name, time.time(), Reason.NOT_LEADER, "the lead was lost before a majority promised"
                )
            self._reserving = None
            self._line.clear()

    def expire(self) -> None:
        """Answer empty if the permit did not come within PERMIT_TIMEOUT_S.

        Called from the process's timer.
        """
        since_ns = self._path.waits_since_ns(self.chain)
        if self._reserving is not None:
            since_ns = self._reserving.since_ns
        if since_ns is None or self._clock_ns() - since_ns < PERMIT_TIMEOUT_S * 1e9:
            return
        with self._section():
            reserving, self._reserving = self._reserving, None
            if reserving is not None and reserving.asked.alive:
                self._answer_empty(reserving.asked, Reason.NO_PERMIT)
            self._advance()

    def allow_bytes(self, allowed: AllowedBytes) -> None:
        """What may be signed besides votes from now on, by the rule and by the key slot.

        The count of an id that is taken back goes with it.
        """
        self.slot.allow_bytes(values=allowed.values, unique_ids=allowed.unique_ids)
        self._allowed = allowed
        counts = self.counters.signed_raw
        self.counters.signed_raw = {
            unique_id: counts[unique_id] for unique_id in allowed.unique_ids if unique_id in counts
        }

    def sign_bytes(self, requester: Requester, session: Session, request: Request, started_ns: int) -> None:
        """Answer a request for bytes that are no vote, at once: it has no place, needs no permit
        and moves no watermark.
        """
        asked = _Asked(requester, session, request, started_ns)
        refusal = decide_bytes(self._allowed, request)
        if refusal is not None:
            self._refuse(asked, refusal)
            return
        if not self.leads:
            self._answer_empty(asked, Reason.NOT_LEADER)
            return
        try:
            _, frame = session.answer_bytes(self.slot)
        except InvariantError as error:
            self._log.error("bytes not signed", chain=self.chain_id, validator=requester.name, why=str(error))
            self._answer_empty(asked, Reason.NO_PERMIT)
            return
        requester.deliver(frame, refused=False)
        self._count_bytes(asked)

    def _count_bytes(self, asked: _Asked) -> None:
        """What was signed is counted and audited each time; of many alike the log tells
        how many there were.
        """
        request, now_ns = asked.request, self._clock_ns()
        if request.kind is Kind.SIGN_RAW_BYTES_REQUEST:
            self.counters.signed_raw[request.unique_id] = self.counters.signed_raw.get(request.unique_id, 0) + 1
        else:
            self.counters.signed_values += 1
        self.note(Outcome.SIGNED_BYTES, Reason.NONE, request, asked.requester, b"", now_ns - asked.started_ns)
        made = _SignedBytes(BytesNote.of(request), now_ns - asked.started_ns)
        kind = (asked.requester.name, request.unique_id)
        if self._signed_folds.add(kind, made, now_ns):
            self._tell_signed_bytes(kind, made)

    def _tell_signed_bytes(self, kind: tuple[str, str], made: "_SignedBytes", more: int = 0) -> None:
        """Log signed bytes. There were `more` alike since it was told; their latest is shown."""
        validator, unique_id = kind
        fields: dict[str, object] = {"unique_id": unique_id} if unique_id else {}
        if more:
            fields["more"] = more
        self._log.info(
            "signed bytes",
            chain=self.chain_id,
            validator=validator,
            sha256=made.note.digest,
            length=made.note.length,
            us=made.took_ns // 1000,
            **fields,
        )

    def _advance(self) -> None:
        """Serve the line until one request needs a permit or nobody waits."""
        while self._reserving is None and self._line:
            asked = self._line.popleft()
            if asked.alive:
                self._decide(asked)

    def _decide(self, asked: _Asked) -> None:
        if not self._knows_mark:
            self._answer_empty(asked, Reason.STATE_AWAY)
            return
        outcome = decide(self.watermark, asked.request, same_but_timestamp=self._core.same_but_timestamp)
        if isinstance(outcome, Refusal):
            self._refuse(asked, outcome)
        elif isinstance(outcome, Repeat):
            self._repeat(asked, outcome)
        else:
            self._last_request_id += 1
            self._reserving = _Reserving(asked, self._last_request_id, self._clock_ns())
            if self._ask(asked, self._last_request_id):
                asked.session.prepare(self.slot)
            else:
                self._reserving = None
                self._answer_empty(asked, Reason.NO_PERMIT)

    def _ask(self, asked: _Asked, request_id: int) -> bool:
        request = asked.request
        return self._send(Reserve(self._nonce, request_id, self.chain, request.hrs, request.sign_bytes, asked.urgent))

    def _take(self, nonce: int, request_id: int) -> _Reserving | None:
        """The reservation this answer belongs to; None for an answer to an expired one or to an
        earlier signer.
        """
        reserving = self._reserving
        if reserving is None or nonce != self._nonce or request_id != reserving.request_id:
            return None
        self._reserving = None
        return reserving

    def _sign_and_reply(self, asked: _Asked, permit: Permit) -> None:
        request, sign_bytes = asked.request, permit.sign_bytes
        try:
            signature, frame = asked.session.answer_sign(self.slot, permit)
        except InvariantError as error:
            self._log.error("not signed", chain=self.chain_id, place=str(request.hrs), why=str(error))
            self._answer_empty(asked, Reason.NO_PERMIT)
            return
        self._path.marks[self.chain] = Watermark(request.hrs, sign_bytes, signature)
        asked.requester.deliver(frame, refused=False)
        self._unreported = Signed(self.chain, request.hrs, sign_bytes, signature)
        self.report()
        self._count_signed(asked.requester, request.hrs, self._clock_ns())
        took_ns = self._clock_ns() - asked.started_ns
        self.latency.add(took_ns)
        self._say("signed", request.hrs, request.block_hash, asked.requester, took_ns)
        self.note(Outcome.SIGNED, Reason.NONE, request, asked.requester, sign_bytes, took_ns)

    def _repeat(self, asked: _Asked, repeat: Repeat) -> None:
        try:
            frame = asked.session.answer_repeat(self.slot, repeat.sign_bytes, repeat.signature)
        except InvariantError as error:
            self._log.error("not repeated", chain=self.chain_id, place=str(asked.request.hrs), why=str(error))
            self._answer_empty(asked, Reason.NO_PERMIT)
            return
        asked.requester.deliver(frame, refused=False)
        self.counters.repeated += 1
        self.answers.on_signed(asked.requester.name, time.time())
        now_ns = self._clock_ns()
        again = _Repeated(asked.requester, asked.request, now_ns - asked.started_ns)
        self.latency.add(again.took_ns)
        if self._repeated_folds.add((asked.requester.name, asked.request.hrs), again, now_ns):
            self._tell_repeated(again)
            self.note(Outcome.REPEATED, Reason.NONE, again.request, again.requester, repeat.sign_bytes, again.took_ns)

    def _tell_repeated(self, again: "_Repeated", more: int = 0) -> None:
        """Log repeats.

        `more`: so many more for that place since it was told: a validator may ask for its last vote
        as often as it likes.
        """
        fields = {"more": more} if more else {}
        request = again.request
        self._say("repeated", request.hrs, request.block_hash, again.requester, again.took_ns, **fields)

    def on_signature(self, made: Signature) -> None:
        """The path signed and answered, a moment ago."""
        asker = self._askers[made.link]
        self._count_signed(asker, made.hrs, made.at_ns)
        self.latency.add(made.took_ns)
        self._say("signed", made.hrs, made.block_hash, asker, made.took_ns)

    def _count_signed(self, asker: Requester, hrs: HRS, at_ns: int) -> None:
        """`at_ns`: monotonic."""
        at = time.time() - (self._clock_ns() - at_ns) / 1e9
        self.counters.signed += 1
        self.answers.on_signed(asker.name, at)
        self.last_signed_at, self.last_signed_ns = at, at_ns
        self.tally.on_signed(hrs, at)

    def note(
        self,
        outcome: Outcome,
        reason: Reason,
        request: Request,
        requester: Requester,
        sign_bytes: bytes,
        took_ns: int = 0,
    ) -> None:
        """One decision for the audit log, after its answer. The path notes its own signatures."""
        if self._trail is not None:
            if request.kind in BYTES_KINDS and outcome in _OF_BYTES:
                outcome, sign_bytes = _OF_BYTES[outcome], BytesNote.of(request).pack()
            decision = Decision(
                outcome=outcome,
                reason=reason,
                kind=request.kind,
                chain=self.chain,
                hrs=request.hrs,
                sign_bytes=sign_bytes,
                block_hash=request.block_hash,
                validator=_cut(requester.name),
                identity=requester.remote_identity,
                took_ns=took_ns,
            )
            self._trail.note(decision)

    def _say(
        self, outcome: str, hrs: HRS, block_hash: bytes, requester: Requester, took_ns: int, **fields: object
    ) -> None:
        self._log.info(
            outcome,
            chain=self.chain_id,
            height=hrs.height,
            round=hrs.round,
            step=hrs.step,
            block=block_hash,
            validator=requester.name,
            us=took_ns // 1000,
            **fields,
        )

    def _refuse(self, asked: _Asked, refusal: Refusal) -> None:
        if refusal.reason not in FINAL_REASONS:
            self._answer_empty(asked, refusal.reason)
            return
        asked.requester.deliver(asked.session.answer_error(int(refusal.reason), refusal.text), refused=True)
        self.on_refusal(asked.requester, asked.request, refusal)

    def on_refusal(self, requester: Requester, request: Request, refusal: Refusal) -> None:
        """A final refusal was answered: count it, and tell it unless it is one of many alike."""
        self.counters.count_refused(refusal.reason)
        self._settle(Outcome.REFUSED, requester, request, refusal)

    def _answer_empty(self, asked: _Asked, reason: Reason) -> None:
        asked.requester.deliver(asked.session.answer_empty())
        self.counters.count_unanswered(reason)
        self.tally.on_unanswered(asked.request.hrs)
        self._settle(Outcome.UNANSWERED, asked.requester, asked.request, Refusal(reason, _words(reason)))

    def _settle(self, outcome: Outcome, requester: Requester, request: Request, refusal: Refusal) -> None:
        self._count_made()
        denied = _Denied(requester, request, refusal, time.time())
        self.answers.on_failed(requester.name, denied.at, refusal.reason, _why(request, refusal))
        if self._folds.add((outcome, refusal.reason, requester.name), denied, self._clock_ns()):
            self._tell(outcome, denied)
            self.note(outcome, refusal.reason, request, requester, request.sign_bytes)

    def tell_folded(self, *, all_of_it: bool = False) -> None:
        """How many more there were of what was told, where it is time to say it.

        Called from the process's timer, and at its end.
        """
        now_ns = self._clock_ns()
        signed = self._signed_folds.rest(now_ns) if all_of_it else self._signed_folds.due(now_ns)
        for kind, made, count in signed:
            self._tell_signed_bytes(kind, made, count)
        repeated = self._repeated_folds.rest(now_ns) if all_of_it else self._repeated_folds.due(now_ns)
        for _, again, count in repeated:
            self._tell_repeated(again, count)
            self.note(Outcome.FOLDED, Reason.NONE, again.request, again.requester, b"", Decision.took_of(count))
        for (outcome, reason, _), denied, count in self._folds.rest(now_ns) if all_of_it else self._folds.due(now_ns):
            self._tell(outcome, denied, count)
            took_ns = Decision.took_of(count)
            self.note(Outcome.FOLDED, reason, denied.request, denied.requester, denied.request.sign_bytes, took_ns)

    def _tell(self, outcome: Outcome, denied: "_Denied", more: int = 0) -> None:
        """Tell the log and the page.

        There were `more` alike since it was told; their latest is shown.
        """
        request, refusal, last = denied.request, denied.refusal, self.watermark
        fields: dict[str, object] = {"more": more} if more else {}
        if request.kind in BYTES_KINDS:
            untrusted = BytesNote.of(request)
            fields |= {
                "kind": request.kind,
                "why": refusal.text,
                "sha256": untrusted.digest,
                "length": untrusted.length,
            }
            if untrusted.unique_id:
                fields["unique_id"] = untrusted.unique_id
            if outcome is Outcome.REFUSED:
                self._keep(denied, more)
        elif outcome is Outcome.REFUSED:
            fields |= {
                "kind": request.kind,
                "why": refusal.text,
                "asked_block": request.block_hash,
                "signed": str(last.hrs),
                "signed_bytes": last.sign_bytes,
            }
            self._keep(denied, more)
        if outcome is Outcome.REFUSED and refusal.reason is Reason.WRONG_CHAIN:
            fields["asked_chain"] = request.chain_id[:CHAIN_ID_MAX_BYTES]
        tell = self._log.info if refusal.reason in OLDER_REASONS else self._log.error
        tell(
            outcome.name.lower(),
            chain=self.chain_id,
            validator=denied.requester.name,
            reason=refusal.reason.name.lower(),
            asked=str(request.hrs),
            **fields,
        )

    def _keep(self, denied: "_Denied", more: int) -> None:
        """Keep both sides of a refusal, for /status."""
        request, refusal, last = denied.request, denied.refusal, self.watermark
        times = f"{more} more like one before, the latest: " if more else ""
        self.refusals.append(
            RefusalReport(
                at=denied.at,
                reason=refusal.reason.name.lower(),
                why=(times + _why(request, refusal))[:REFUSAL_WORDS_MAX],
                validator=denied.requester.name,
                asked=str(request.hrs),
                asked_block=request.block_hash.hex(),
                signed=str(last.hrs),
                signed_block=self._block_of(last.sign_bytes).hex(),
                burnt=last.hrs.height > 0 and not last.sign_bytes,
            )
        )

    def _block_of(self, sign_bytes: bytes) -> bytes:
        """The block that was signed; b"" is nil, or not known."""
        try:
            return self._core.parse_sign_bytes(sign_bytes).block_hash if sign_bytes else b""
        except ProtocolError:
            return b""


def _refused_words(refused: ReserveRefused, hrs: HRS) -> str:
    """Return both sides of what the state process refused.

    A jump bears the highest plausible height.
    """
    if refused.reason is not Reason.JUMP:
        return f"{_words(refused.reason)}: asked for {hrs}, promised up to {refused.mark}"
    if hrs.height > refused.mark.height:
        return f"height jump. Got {hrs.height}, and no more than {refused.mark.height} is plausible by now"
    return f"height jump. Got {hrs.height}, which other nodes do not find plausible by now"


def _why(request: Request, refusal: Refusal) -> str:
    """The refusal in words, with the name of the other chain."""
    untrusted_id = request.chain_id[:CHAIN_ID_MAX_BYTES]
    asked = f"; asked for {untrusted_id!r}" if refusal.reason is Reason.WRONG_CHAIN else ""
    return (refusal.text + asked)[:REFUSAL_WORDS_MAX]


def _cut(address: str) -> bytes:
    """An address as the audit log holds it: one that is too long ends in "…"."""
    data = address.encode("utf-8", "replace")
    if len(data) <= AUDIT_VALIDATOR_MAX_BYTES:
        return data
    return data[: AUDIT_VALIDATOR_MAX_BYTES - 3].decode("utf-8", "ignore").encode() + "…".encode()


def _words(reason: Reason) -> str:
    return reason.name.lower().replace("_", " ")
