"""Whether this node may promise, and what it must learn first (docs/ARCHITECTURE.md, rules 7 to 11
and 15). Sans-I/O.

    EMPTY ─ all seen empty ─▶ BORN ─ all seen born ─▶ COMPLETE ─ process start ─▶ (starting) ─ read ─▶ ready
      └─ shown a record without this node's nonce ─▶ RECOVERING ─ every other member read ─▶ COMPLETE, ready

Every transition is durable before anybody is told. A complete node that learns that it is behind
writes RECOVERING and ends its process: proposals that are under way must not meet a store that
forgot (BehindError).
"""

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from cometkms.board.sections import MemberState
from cometkms.errors import BehindError, InvariantError, ProtocolError, SupersededError
from cometkms.limits import (
    EPOCH_MAX,
    INCARNATION_NONCE_MAX,
    READ_AGAIN_S,
    SHOWN_RECORDS_MAX,
    SHOWN_ROWS_MAX,
    START_READ_S,
)
from cometkms.logger import Logger
from cometkms.model import HRS, Incarnation, Row, Watermark, quorum_of
from cometkms.rules.birth import Life, NodeState, Record, next_life, record_shown
from cometkms.rules.epoch import Standing, sealed_words
from cometkms.rules.incarnation import (
    FIRST,
    Answer,
    Statement,
    Verdict,
    counting,
    incarnation_ceiling,
    judge,
    next_incarnation,
    raised_seq,
)
from cometkms.rules.recovery import absurd, agreed_mark, may_end
from cometkms.store.epoch import Seal, of_store, sealed_header
from cometkms.store.promise_store import Header, PromiseStore
from cometkms.wire.peer_messages import (
    Hello,
    LifeNews,
    Marks,
    PeerMessage,
    Purpose,
    Read,
    RowMark,
)
from cometkms.wire.why import PeerCode, Why

_ANSWERING: Final = {NodeState.BORN, NodeState.COMPLETE}


@dataclass(frozen=True, slots=True)
class Ports:
    """What the node around it does for it.

    before_birth: durable steps that must precede BORN (born.json). on_sealed(following): those that
    must follow SEALED, before the seal is shown. mark_raised(row): a mark was raised: the state
    file follows. settle_raft(): this node was never born before, so it never led (rule 12);
    durable. doubt_raft(): an earlier store of this member may have led in terms that the journal
    beside this one does not know of; durable. known_signed(row): the highest verified signature of
    a row. reach(row): how high an unproven mark of a row may lie by what is known here, 0 where
    nothing is. recovered(row): its mark was read from all others. verifies(row, mark): whether the
    mark's signature is the row's. prove(incarnation): this member's signature over it.
    proven(statement): whether the member that it names signed it. disconnect(member, why): it is an
    earlier store's process. why_away(member): why it is not connected, "" where that is not known.
    forget(member): a store began anew: what was known of the earlier one's
    seq is nothing.
    """

    send: Callable[[str, PeerMessage], bool]
    before_birth: Callable[[], None]
    on_sealed: Callable[[tuple[str, ...]], None]
    mark_raised: Callable[[int], None]
    settle_raft: Callable[[], None]
    doubt_raft: Callable[[], None]
    known_signed: Callable[[int], Watermark]
    reach: Callable[[int], int]
    recovered: Callable[[int], None]
    verifies: Callable[[Row, Watermark], bool]
    prove: Callable[[Incarnation], bytes]
    proven: Callable[[Statement], bool]
    disconnect: Callable[[str, str], None]
    why_away: Callable[[str], str]
    forget: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class StrictWait:
    """`lost`: members whose promises are lost.

    `starting`: those that start and wait for them, and for whom they wait.
    """

    lost: tuple[str, ...]
    starting: tuple[str, ...]

    @property
    def words(self) -> str:
        """What an operator must know, and do."""
        lost, starting = " and ".join(self.lost), " and ".join(self.starting)
        return (
            f"{lost} lost what it promised and waits for the marks of {starting}; with strict_start {starting} waits for {lost} in turn, and "
            f"neither goes on by itself; cure: if no older copy of data/ was put back on {starting}, restart {starting} once with "
            "`strict_start = false` (docs/RUNBOOK.md, strict_wait)"
        )


def _can_answer(news: LifeNews) -> bool:
    return news.life.state in _ANSWERING and not news.starting


@dataclass(slots=True)
class _Reading:
    """One process's read of all the others, asked again until it is answered. `best`: highest mark
    read, per member and row of the store's, and the mark shown last of rows that the store does not
    have. `records`: the birth record that each showed last.
    """

    purpose: Purpose
    since: float
    asked_at: float = -1e9
    request_id: int = 0
    answers: dict[str, Answer] = field(default_factory=dict)
    best: dict[str, dict[Row, Watermark]] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    order: int = 0
    over: bool = False
    told: str = ""


class Membership:
    """The life of one node in its epoch. `ready` is the only thing that lets it promise or propose."""

    def __init__(
        self,
        *,
        store: PromiseStore,
        others: tuple[str, ...],
        nonce: int,
        strict: bool,
        adopted: Mapping[str, Incarnation],
        ports: Ports,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        log: Logger,
    ) -> None:
        """`wall_clock`: UNIX seconds, by which the ceiling of incarnations grows. `nonce`: this
        process's. `strict`: rule 8's strict_start. `adopted`: members whose stores the operator
        brought, and those stores' incarnations: they count as read in a recovery (rule 14).
        """
        self._store = store
        self._me = store.header.owner
        self._others = others
        self._nonce = nonce
        self._strict = strict
        self._adopted = dict(adopted)
        self._ports = ports
        self._clock = clock
        self._wall_clock = wall_clock
        self._log = log
        self._connected: set[str] = set()
        self._lives: dict[str, LifeNews] = {}
        self._showed: list[Record] = []  # of a node that is born, in this process; the last one now
        # the sealed members, once they leave no majority to promise in this epoch
        self.ending: tuple[str, ...] = ()
        self._request_id = 0
        # by who said hello last; None: it has none yet
        self._borne: dict[str, Incarnation | None] = {}
        # members that let this process in, and said what they know of this one
        self._heard: set[str] = set()
        self._highest_of_me = FIRST
        # who showed this member's signature over an earlier store's incarnation in this epoch
        self._stood_before = ""
        self._own: Statement | None = None  # signed once
        self._accusers: dict[str, int] = {}  # who has seen a higher seq of this store than it shows
        self._said: set[str] = set()
        header = store.header
        lost = header.state is NodeState.RECOVERING and header.incarnation == FIRST
        starts = strict and header.state is NodeState.COMPLETE
        self._claiming = bool(others) and (header.unclaimed or lost or starts)
        self.counters: dict[str, int] = {}
        self.gone = ""  # why the store is not where the next start looks for it
        self._served = False  # it would promise, were its store not gone
        self._serve(on=not others and self.state is NodeState.COMPLETE)
        self._retired = ""
        self._following: tuple[
            str, ...
        ] = ()  # for whom it was sealed; a sealed store starts no more, so in this process
        # nothing that any other member knew of is missing in the store, since this process began
        self.confirmed = False
        self._epochs: dict[str, int] = {}  # the later epoch that a member says it is in
        self._reading: _Reading | None = None
        if others:
            self._begin_reading()

    # --- what it is ---

    @property
    def state(self) -> NodeState:
        """The durable one."""
        return self._store.header.state

    @property
    def raft_may_vote(self) -> bool:
        """A node that may not promise neither votes nor leads: it could not do a
        leader's work. Nor does one to which no majority of this epoch can promise any
        more. Nothing else is asked (rule 12).
        """
        return self.ready and not self.ending

    @property
    def phase(self) -> MemberState:
        """Return what /status shows: the durable state, or "starting"."""
        if self.state is NodeState.COMPLETE and not self._served:
            return MemberState.STARTING
        return MemberState[self.state.name]

    @property
    def strict_wait(self) -> StrictWait | None:
        """Who waits for each other for ever, because of strict_start; None while nobody is known
        to. A node that waits for nobody sees it, too.

        A member that lost its store gives no marks before it has read all others; one that starts
        gives none to it (its own may be old), and with strict_start it counts only when all others
        gave it theirs. Nothing that any of them holds can tell whether a store that was lost and
        one that is old forgot the same promise: the operator's word is needed.
        """
        if not self._others or len(self._connected) < len(self._others):
            return None
        lives = {name: self._lives.get(name) for name in self._others}
        lost = {name for name, news in lives.items() if news is not None and news.life.state is NodeState.RECOVERING}
        starting = {name for name, news in lives.items() if news is not None and news.starting}
        if self.state is NodeState.RECOVERING:
            lost.add(self._me)
        elif self._strict and self.phase is MemberState.STARTING and self._reading is not None:
            starting.add(self._me)
        return StrictWait(tuple(sorted(lost)), tuple(sorted(starting))) if lost and starting else None

    @property
    def why(self) -> str:
        """Why it does not promise yet, naming whom it waits for; "" when it does."""
        if self._retired or self.gone:
            return self._retired or self.gone
        if self.state is NodeState.SEALED:
            return sealed_words(self._store.header.epoch, self._me, self._following)
        if self.ready:
            return ""
        missing = [name for name in self._others if name not in self._connected]
        if self.state in (NodeState.EMPTY, NodeState.BORN):
            mine = self._store.header.life.nonce
            strange = sorted(
                name for name, one in self._lives.items() if one.life.record and (self._me, mine) not in one.life.record
            )
            if missing and strange:
                return f"{', '.join(strange)} was born without this node: a majority must say so before it recovers; missing: {self._names(missing)}"
            if missing:
                return f"the first start waits until every node was seen; missing: {self._names(missing)}"
            odd = [self._of_birth(name, news.life) for name, news in sorted(self._lives.items())]
            return f"being born; {', '.join(odd)}"
        told = self._reading.told if self._reading is not None else ""
        if told:
            return told
        if (wait := self.strict_wait) is not None and self._me in wait.starting:
            return wait.words
        if self._claiming:
            unheard = [name for name in self._others if name not in self._heard and name not in self._adopted]
            return (
                "its store takes the place of an earlier one: what the others know of that must be heard first; not heard yet: "
                f"{self._names(unheard)}; cure: start them, or where one runs, `cmkms doctor` here says what lets it come. Where one is sealed and "
                f"stopped: stop this node, then the `cmkms member` command of that change here{self._strict_words}"
            )
        if self._accusers:
            return (
                f"{', '.join(sorted(self._accusers))} remembers promises of this node that its store does not hold: every other node is read "
                f"first; not read yet: {self._names(self._unread())}"
            )
        unread = self._unread()
        if self.state is NodeState.RECOVERING:
            if sealed := self._sealed(unread):
                return (
                    f"what it promised is lost, and {self._names(sealed)}, which must be read first, is sealed and answers nobody any more; "
                    "cure: the `cmkms member` command of that change here: this node begins the next epoch from the seals of a majority; where no "
                    "majority can be sealed without it, stop it, cmkms recover --min-height HEIGHT here, then that command again, with their seals"
                )
            return f"what it promised is lost; every other node must be read first; not read yet: {self._names(unread)}"
        return f"reading the others' marks at start; not read yet: {self._names(unread)}{self._strict_words}"

    def _of_birth(self, name: str, life: Life) -> str:
        """What another member is, and what keeps this one from being complete with it."""
        mine, what = self._life, f"{name} is {life.state.name.lower()}"
        if life.record and (self._me, mine.nonce) not in life.record:
            return f"{what} without this node's store"
        return f"{what} with other stores" if mine.record and life.record not in ((), mine.record) else what

    @property
    def _strict_words(self) -> str:
        """What must be known where a start waits for all: one of them may never come."""
        if not self._strict or self.state is not NodeState.COMPLETE:
            return ""
        return (
            "; strict_start waits for all of them: if one is lost for good, and no older copy of data/ was put back here, restart this node "
            "once with `strict_start = false` (docs/RUNBOOK.md, strict_wait)"
        )

    def life_of(self, member: str) -> LifeNews | None:
        """The last word of a member, in this process."""
        return self._lives.get(member)

    def _names(self, names: list[str]) -> str:
        return ", ".join(self._named(name) for name in sorted(names)) or "nobody"

    def _named(self, name: str) -> str:
        news = self._lives.get(name)
        if name not in self._connected:
            return f"{name} (not connected{': ' + why if (why := self._ports.why_away(name)) else ''})"
        return f"{name} (starting)" if news is not None and news.starting else name

    def _sealed(self, names: list[str]) -> list[str]:
        return [name for name in names if name in self._lives and self._lives[name].life.state is NodeState.SEALED]

    def _unread(self) -> list[str]:
        read = self._counting(self._reading) if self._reading is not None else {}
        return [name for name in self._others if name not in read or not read[name].real]

    def news(self) -> LifeNews:
        """What the others are told."""
        return LifeNews(self._life, self.phase is MemberState.STARTING, self._row_marks(), self.own(), self.known())

    @property
    def _life(self) -> Life:
        """What it shows of itself: of a node that is born the record follows what the others show
        (rules/birth.py).
        """
        life = self._store.header.life
        return replace(life, record=self._showed[-1]) if life.state is NodeState.BORN and self._showed else life

    def _row_marks(self) -> tuple[RowMark, ...]:
        found = []
        for number, row in enumerate(self._store.rows):
            mark, signed = self._store.mark(number), self._ports.known_signed(number)
            if (
                signed.signature
                and signed.hrs >= mark.hrs
                and (signed.hrs > mark.hrs or signed.sign_bytes == mark.sign_bytes)
            ):
                mark = signed
            found.append(RowMark(row, mark, self._store.opened(number)))
        return tuple(found)

    # --- incarnations (rule 15; rules/incarnation.py has the tables) ---

    @property
    def incarnation(self) -> Incarnation:
        """This store's."""
        return self._store.header.incarnation

    @property
    def _ceiling(self) -> int:
        return incarnation_ceiling(self._wall_clock())

    def own(self) -> Statement | None:
        """What it bears; None while it has to take a higher one."""
        if self._claiming or self.state is NodeState.EMPTY:
            return None
        if self._own is None or self._own.incarnation != self.incarnation:
            signature = self._ports.prove(self.incarnation) if self.incarnation > FIRST else b""
            self._own = Statement(self._me, self.incarnation, signature)
        return self._own

    def recorded(self, member: str) -> Incarnation:
        """The highest known of another member."""
        statement = self._store.known(member)
        return statement.incarnation if statement is not None else FIRST

    def known(self) -> tuple[Statement, ...]:
        """What the others are told: of every other member that did not stay what it was at birth."""
        return tuple(one for name in self._others if (one := self._store.known(name)) is not None)

    def judge_hello(self, member: str, hello: Hello) -> Why | None:
        """Whether this member's process may be connected; what it bears is recorded first.

        Raises: SupersededError, StoreFailure.
        """
        self.learn(member, hello.known)
        return self._take_own(member, hello.own)

    def _take_own(self, member: str, own: Statement | None) -> Why | None:
        """What a connection's process says that it bears: None, or why it is refused."""
        if own is None:
            self._borne[member] = None
            return None
        if own.member != member:
            return Why(PeerCode.UNBELIEVED, f"{member} bears an incarnation of {own.member}")
        recorded = self.recorded(member)
        verdict = judge(recorded, own.incarnation, self._ceiling)
        if verdict is Verdict.REFUSE:
            self._count("old_incarnation")
            return Why(
                PeerCode.SUPERSEDED,
                f"another store stands for {member} now: {self._me} has recorded its incarnation {recorded}, and this process bears "
                f"{own.incarnation}: what it promised counts no more; cure: stop it if the machine was replaced, else find out who began as {member}",
            )
        if verdict is Verdict.ABSURD or (own.incarnation > FIRST and not self._ports.proven(own)):
            self._count("false_incarnation")
            return Why(
                PeerCode.UNBELIEVED,
                f"{member} bears the incarnation {own.incarnation} after {recorded}, which is not believed",
            )
        if verdict is Verdict.RECORD:
            self._record(own)
        elif own.incarnation > FIRST and own != self._store.known(member):
            self._store.record(own)  # the same, signed by another identity key
        self._borne[member] = own.incarnation
        return None

    def _take_news(self, member: str, own: Statement | None) -> None:
        """A process that had no incarnation yet may have taken one. Raises: ProtocolError."""
        reason = self._take_own(member, own) if own is not None else None
        if reason is not None:
            raise ProtocolError(reason)

    def learn(self, by: str, known: Iterable[Statement]) -> None:
        """What a member knows of the others' incarnations: only their own signatures are believed.

        Raises: SupersededError, StoreFailure.
        """
        for one in known:
            if one.member == self._me:
                self._on_own_record(by, one)
            elif one.member in self._others and one.member != by:
                news = judge(self.recorded(one.member), one.incarnation, self._ceiling) is Verdict.RECORD
                if news and self._ports.proven(one):
                    self._record(one)

    def _record(self, statement: Statement) -> None:
        """Durable before anything is answered to whom bears it.

        The earlier store's process is heard no more.
        """
        member = statement.member
        self._store.record(statement)
        self._ports.forget(member)
        self._accusers.pop(member, None)
        self._log.warning("a member began anew", member=member, incarnation=str(statement.incarnation))
        if member in self._connected and self._borne.get(member) is not None:
            self._count("old_incarnation")
            self._ports.disconnect(member, f"another store stands for {member} now")
        self._tell_all()

    def _on_own_record(self, by: str, record: Statement) -> None:
        header = self._store.header
        if header.state is NodeState.EMPTY or (
            self._claiming and (header.unclaimed or header.state is NodeState.RECOVERING)
        ):
            if self._ports.proven(record):
                self._stood_before = by
            near = record.incarnation.number < self._ceiling
            if near or self._ports.proven(record):
                self._highest_of_me = max(self._highest_of_me, record.incarnation)
        elif record.incarnation > self.incarnation:
            if self._ports.proven(record):
                raise SupersededError(
                    f"another store stands for {self._me} now: {by} shows the incarnation {record.incarnation}, signed by {self._me}'s "
                    f"identity, and the store here is {self.incarnation}. What this process promised counts no more, and it ends",
                    cure="leave this "
                    "machine off if it was replaced. If no other one stands for it (an older copy of its data was put back), move data/ away and start it: it "
                    "then reads what it must not forget from all the others",
                )
            self._say_once("an unproven higher incarnation of this node", by=by, incarnation=str(record.incarnation))
            self._count("false_incarnation")

    def _claim(self) -> None:
        """Take a higher incarnation, durably, once all that must have said what they know of this
        member. Raises: StoreFailure.
        """
        header = self._store.header
        if not self._claiming or header.state not in (NodeState.RECOVERING, NodeState.COMPLETE):
            return
        unheard = [name for name in self._others if name not in self._heard and name not in self._adopted]
        quorum = quorum_of(1 + len(self._others))
        if unheard and (header.state is NodeState.RECOVERING or self._strict or len(self._heard) + 1 < quorum):
            return
        if header.unclaimed and header.state is NodeState.COMPLETE and header.record and self._stood_before:
            self._write_header(replace(header, state=NodeState.RECOVERING, record=()))
            raise BehindError(
                f"{self._stood_before} has recorded another store of this member in epoch {header.epoch}: it began before, and what it promised is "
                "not in the store that has begun now. It starts again as a node that lost its promises"
            )
        self._ports.doubt_raft()
        nonce = secrets.randbelow(INCARNATION_NONCE_MAX) + 1
        incarnation = next_incarnation((header.incarnation, self._highest_of_me), nonce)
        self._write_header(replace(header, incarnation=incarnation, unclaimed=False))
        self._claiming = False
        self._log.info("this store takes the place of an earlier one", incarnation=str(incarnation))
        self._tell_all()
        if self._reading is not None:
            self._reading.since = self._clock()
            self._ask_all()

    def bears_any(self, member: str) -> bool:
        """Whether its process has an incarnation already."""
        return self._borne.get(member) is not None

    def check_bears(self, member: str, incarnation: Incarnation, what: str) -> None:
        """Check what a promise or an accept bears.

        Raises: ProtocolError unless it is what is recorded of its member.
        """
        recorded = self.recorded(member)
        if incarnation != recorded or self._borne.get(member) != recorded:
            self._count("old_incarnation")
            raise ProtocolError(
                f"{member}'s {what} bears the incarnation {incarnation}, and {recorded} is recorded of it"
            )

    def is_current(self, member: str) -> bool:
        """Whether the connection's process is of the highest store known of its member, or of one
        that is still to take its place.
        """
        return self._borne.get(member) in (None, self.recorded(member))

    def _count(self, what: str) -> None:
        self.counters[what] = self.counters.get(what, 0) + 1

    def _say_once(self, event: str, by: str, **fields: object) -> None:
        """Once for each member: what it says may be new each time."""
        if (said := f"{event} {by}") not in self._said:
            self._said.add(said)
            self._log.error(event, by=by, **fields)

    # --- what happens ---

    def on_connected(self, member: str) -> None:
        """Take up a member whose hello was accepted."""
        self._connected.add(member)
        self._heard.add(member)
        self._ports.send(member, self.news())
        self._claim()
        if self._reading is not None:
            self._ask(member)

    def on_disconnected(self, member: str) -> None:
        """Its answers stay: marks never fall."""
        self._connected.discard(member)

    def on_life(self, member: str, news: LifeNews) -> None:
        """A member's last word. Raises: SupersededError, StoreFailure, ProtocolError."""
        self._take_news(member, news.own)
        self.learn(member, news.known)
        could_answer = member in self._lives and _can_answer(self._lives[member])
        self._lives[member] = news
        sealed, members = self._sealed(sorted(self._lives)), len(self._others) + 1
        self.ending = tuple(sealed) if members - len(sealed) < quorum_of(members) else ()
        if self._reading is not None and _can_answer(news) and not could_answer:
            self._ask(member)
        if not self._others or self.state in (NodeState.RECOVERING, NodeState.SEALED):
            return
        self._grow({name: one.life for name, one in self._lives.items()})
        self._open_rows()

    def _grow(self, lives: Mapping[str, Life]) -> None:
        """Rule 9, as far as it goes by what was seen. Raises: StoreFailure."""
        members = len(self._others) + 1
        while True:
            before, shown = self._store.header.life, self._life.record
            record = record_shown(self._me, before, lives, members, self._showed)
            if before.state is NodeState.BORN and (record != shown or not self._showed):
                self._showed = [*(one for one in self._showed[-SHOWN_RECORDS_MAX:] if one != record), record]
                if record != shown:
                    self._tell_all()
            after = next_life(self._me, before, record, lives, members)
            if after == before:
                return
            self._become(after)
            if self._store.header.life == before:
                return

    @property
    def reading(self) -> bool:
        """Whether the others' answers are waited for."""
        return self._reading is not None

    def tick(self) -> None:
        """Ask again what was not answered; end a start read whose time is up. Raises: StoreFailure."""
        now = self._clock()
        if self._reading is None:
            return
        if now - self._reading.asked_at >= READ_AGAIN_S:
            self._ask_all()
        self._judge(now)

    def on_read(self, member: str, read: Read) -> None:
        """Answer with the marks, or say that they are lost.

        Starting nodes answer starting nodes, not recovering ones.

        What the reader bears is durable here before the answer leaves. Raises: ProtocolError,
        StoreFailure.
        """
        self._take_news(member, read.own)
        real = self.state in _ANSWERING
        if read.purpose is Purpose.RECOVERY and self.phase is MemberState.STARTING:
            real = False
        answer = Marks(
            read.nonce,
            read.request_id,
            real,
            self._life,
            self._row_marks() if real else (),
            self._store.seq,
            raft_term=0,
            raft_log_term=0,
            raft_index=0,
            own=self.own(),
            known=self.known(),
        )
        self._ports.send(member, answer)

    def on_marks(self, member: str, marks: Marks) -> None:
        """An answer to this process's read. Raises: SupersededError, StoreFailure, ProtocolError."""
        self._take_news(member, marks.own)
        self.learn(member, marks.known)
        reading = self._reading
        if reading is None or marks.nonce != self._nonce or marks.request_id != reading.request_id:
            return
        declared = marks.life.state is NodeState.RECOVERING
        if marks.own is None or (not marks.real and not declared):
            return
        borne, knows = marks.own.incarnation, {one.member: one.incarnation for one in marks.known}
        before = reading.answers.get(member)
        if before is not None and before.incarnation != borne:
            reading.best.pop(member, None)
            before = None
        reading.order += 1
        if marks.real:
            reading.answers[member] = Answer(reading.order, True, borne, knows)
            own = set(self._store.rows)
            best = {row: mark for row, mark in reading.best.get(member, {}).items() if row in own}
            for one in marks.marks:
                if one.mark.hrs >= best.get(one.row, Watermark()).hrs and (
                    one.row in own or one.mark.hrs > HRS(0, 0, 0)
                ):
                    best[one.row] = one.mark
            reading.best[member] = best
            if marks.life.record:
                reading.records[member] = marks.life.record
        elif before is None or not before.real:
            order = before.order if before is not None else reading.order
            reading.answers[member] = Answer(order, False, borne, knows)
        self._judge(self._clock())

    def on_remembered(self, member: str, remembered: int) -> None:
        """What a member remembers of this store's seq (rule 8).

        One member's word makes this node read every other one before it promises again, while that
        member is there. The word of a majority makes it a node that lost its promises. A word
        beyond what promises can have made counts likewise, and moves no seq: whoever says it may
        have been told so in this member's name. Raises: BehindError: it is durably that.
        """
        store = self._store
        if self.own() is None or self.state not in _ANSWERING or remembered <= store.seq:
            self._accusers.pop(member, None)
            return
        if raised_seq(store.seq, remembered) == store.seq:
            self._count("false_seq")
        self._accusers[member] = remembered
        self.confirmed = False
        if len(self._accusers) >= quorum_of(1 + len(self._others)):
            store.write_header(replace(store.header, state=NodeState.RECOVERING, record=(), unclaimed=True))
            raise BehindError(
                f"{' and '.join(sorted(self._accusers))} have seen promise {remembered} of this node, and its store ends at {store.seq}: an older "
                "copy was put back. It starts again as a node that lost its promises"
            )
        self._log.error(
            "a member has seen a later promise of this node than its store holds: was an older copy put back?",
            member=member, seen=remembered, held=store.seq,
        )  # fmt: skip
        self._count("store_behind")
        if self.state is NodeState.COMPLETE:
            self._serve(on=False)
            self._begin_reading()

    def on_later_epoch(self, member: str, epoch: int) -> None:
        """A member of the same list says that the epoch is a later one.

        A node that has promised nothing that it knows of believes a majority.

        Raises: BehindError once a majority of that epoch's members, or all others of two, said the
        same: "recovering" in that epoch is durable then. StoreFailure.
        """
        header = self._store.header
        if self.state not in (NodeState.EMPTY, NodeState.RECOVERING) or not header.epoch < epoch < EPOCH_MAX:
            return
        self._epochs[member] = epoch
        said = [name for name, one in self._epochs.items() if one == epoch]
        if len(said) < min(quorum_of(len(header.members)), len(self._others)):
            return
        # what was known of their incarnations was of the earlier epoch
        self._store.forget_members()
        lost = replace(header, epoch=epoch, state=NodeState.RECOVERING, record=(), incarnation=FIRST, unclaimed=True)
        self._store.write_header(lost)
        raise BehindError(
            f"{', '.join(sorted(said))} are in epoch {epoch} with these members, and this node, which holds no promises, was in epoch {header.epoch}: it "
            f"starts again as a member of epoch {epoch} that lost its promises"
        )

    def seal(self, following: tuple[str, ...]) -> Seal:
        """Promise nothing more in this epoch, for ever, and let `following` alone begin the next.

        Again: the same seal.

        Raises: StateError when it knows not what it promised, or is sealed for others;
        StoreFailure.
        """
        header = sealed_header(self._store.header, following, confirmed=self.confirmed, strict=self._strict)
        self._serve(on=False)
        self._reading = None
        if header != self._store.header:
            self._write_header(header)
            self._log.warning("sealed", epoch=header.epoch, next=", ".join(following), confirmed=header.confirmed)
        self._ports.on_sealed(following)
        self._following = following
        standing = Standing.CONFIRMED if header.confirmed else Standing.UNCONFIRMED
        marks = tuple((one.row, one.mark) for one in self._row_marks())
        self._tell_all()
        return of_store(self._store, standing, marks, following)

    def retire(self, why: str) -> None:
        """Stop serving for the rest of this process's life: somebody else may be
        counting on the same key.
        """
        self._serve(on=False)
        self._retired = why

    def on_store(self, gone: str) -> None:
        """The store's file is gone from its name: what is promised now would be forgotten by the
        next start, so nothing is. What was promised is still known, and answers who reads it. "":
        it is there again.
        """
        self.gone = gone
        self._serve(on=self._served)

    def _serve(self, *, on: bool) -> None:
        self._served = on
        self.ready = on and not self.gone and self.state is NodeState.COMPLETE

    # --- transitions ---

    def _become(self, life: Life) -> None:
        header = self._store.header
        if life.state is NodeState.BORN:
            self._ports.before_birth()
            self._raise_to({name: self._shown(name) for name in self._lives}, keep_own=False)
        elif life.state is NodeState.COMPLETE and life.record != header.life.record:
            # a store that was not there when this one was born: its marks were not seen then
            self._raise_to({name: self._shown(name) for name in self._lives}, keep_own=False)
        nonces = tuple(nonce for _, nonce in life.record)
        if life.record and tuple(name for name, _ in life.record) != header.members:
            self._log.error("a birth record of other members was shown", record=[name for name, _ in life.record])
            return
        lost = life.state is NodeState.RECOVERING
        self._write_header(replace(header, state=life.state, record=nonces, unclaimed=lost))
        # everybody was seen born, and nobody had promised anything
        self.confirmed = life.state is NodeState.COMPLETE
        self._log.info("node state", state=life.state.name.lower())
        if life.state is NodeState.COMPLETE:
            self._ports.settle_raft()
            self._reading = None
            self._become_ready()
        elif lost:
            self._claiming = True
            self._begin_reading()
            self._claim()
        self._tell_all()

    def _write_header(self, header: Header) -> None:
        self._store.write_header(header)

    def _shown(self, member: str) -> dict[Row, Watermark]:
        news = self._lives.get(member)
        return {one.row: one.mark for one in news.marks} if news is not None else {}

    def _begin_reading(self) -> None:
        if self.state in (NodeState.EMPTY, NodeState.BORN, NodeState.SEALED):
            return
        purpose = Purpose.RECOVERY if self.state is NodeState.RECOVERING else Purpose.START
        self._reading = _Reading(purpose, self._clock())
        if purpose is Purpose.RECOVERY:
            self._reading.answers = {name: Answer(0, True, one) for name, one in self._adopted.items()}

    def _ask_all(self) -> None:
        reading = self._reading
        if reading is None or self._claiming:
            return
        reading.asked_at = self._clock()
        if reading.request_id == 0:
            self._request_id += 1
            reading.request_id = self._request_id
        for member in sorted(self._connected):
            self._ask(member)

    def _ask(self, member: str) -> None:
        reading = self._reading
        if reading is None or self._claiming:
            return
        if reading.request_id == 0:
            self._request_id += 1
            reading.request_id = self._request_id
        self._ports.send(member, Read(self._nonce, reading.request_id, reading.purpose, self.own()))

    def _counting(self, reading: _Reading) -> dict[str, Answer]:
        records = {name: self.recorded(name) for name in self._others}
        return counting(self._me, self.incarnation, records, reading.answers)

    def _judge(self, now: float) -> None:
        """End the read when enough was answered."""
        reading = self._reading
        if reading is None:
            return
        if self._claiming:
            return
        everybody = may_end(len(self._others) + 1, self._counting(reading))
        if reading.purpose is Purpose.RECOVERY:
            if everybody:
                self._recover(reading)
            return
        # a single member's word makes a start wait for everybody only while that member is there
        whole = self._strict or any(name in self._connected for name in self._accusers)
        if not reading.over and (everybody or (not whole and now - reading.since >= START_READ_S)):
            reading.over = True
            self._add_rows(reading.best)
            self._raise_to(reading.best, keep_own=True)
            if self._accusers and everybody:
                header, seq = self._store.header, self._store.seq
                raised = max(raised_seq(seq, one) for one in self._accusers.values())
                self._write_header(replace(header, seq_base=header.seq_base + raised - seq))
            self._accusers = {}
            self._become_ready()
        if everybody:
            self._add_rows(reading.best)
            self.confirmed = self._lacks_nothing(reading)
            # what stands above may be a promise that is on its way here: read again until nothing
            # does, for a seal vouches only then
            again = _Reading(Purpose.START, reading.since, asked_at=now, over=True)
            self._reading = None if self.confirmed else again

    def _lacks_nothing(self, reading: _Reading) -> bool:
        """Whether the store stands at or above every mark that was read: a later answer may have
        come when nothing was raised any more.
        """
        own = {row: self._store.mark(number).hrs for number, row in enumerate(self._store.rows)}
        return all(row in own and one.hrs <= own[row] for rows in reading.best.values() for row, one in rows.items())

    def _recover(self, reading: _Reading) -> None:
        if len(set(reading.records.values())) > 1:
            self._read_anew(
                reading,
                reading.records,
                "the other nodes show different birth records: they are not one cluster; cure: stop what is of another one. If both are of this one, and a "
                "member lied at its birth: stop this node, cmkms recover --min-height HEIGHT here",
            )
            return
        for number, row in enumerate(self._store.rows):
            read = {name: best[row] for name, best in reading.best.items() if row in best}
            member = absurd(self._ports.reach(number), read, verifies=self._verifier(row))
            if member is not None:
                self._read_anew(
                    reading,
                    (member,),
                    f"{member}'s mark of {row.chain_id} ({read[member].hrs.height}) lies absurdly far above all others and no signature proves "
                    "it; cure: find out why, then cmkms recover --min-height HEIGHT",
                )
                return
        if full := self._add_rows(reading.best):
            self._read_anew(reading, tuple(reading.best), full)
            return
        self._raise_to(reading.best, keep_own=False)
        for number in range(len(self._store.rows)):
            self._ports.recovered(number)
        self._ports.before_birth()
        header = self._store.header
        record = next(iter(reading.records.values()), ())
        nonces = tuple(nonce for _, nonce in record)
        self._write_header(replace(header, state=NodeState.COMPLETE, record=nonces))
        self.confirmed = True
        self._log.info("recovered: every other node was read", state="complete")
        self._reading = None
        self._become_ready()
        self._open_rows()

    def _read_anew(self, reading: _Reading, members: Iterable[str], why: str) -> None:
        """What they answered cannot be: it is forgotten, and they are asked again, so that what one
        made up goes when he does.
        """
        reading.told = why
        for name in tuple(members):
            for answered in (reading.answers, reading.best, reading.records):
                answered.pop(name, None)
            if name in self._adopted:
                reading.answers[name] = Answer(0, True, self._adopted[name])

    def _become_ready(self) -> None:
        if self.state is not NodeState.COMPLETE:
            raise InvariantError(f"a node that is {self.state.name.lower()} was to promise")
        self._serve(on=True)
        self._tell_all()

    def tell(self) -> None:
        """Show the connected members where this node stands: signatures that the replicated log
        cannot carry any more.
        """
        self._tell_all()

    def _tell_all(self) -> None:
        for member in sorted(self._connected):
            self._ports.send(member, self.news())

    def _verifier(self, row: Row) -> Callable[[Watermark], bool]:
        return lambda mark: self._ports.verifies(row, mark)

    def _raise_to(self, best: dict[str, dict[Row, Watermark]], *, keep_own: bool) -> None:
        """Own marks up to the highest read; at equal ones own bytes stay own. Raises: StoreFailure."""
        for number, row in enumerate(self._store.rows):
            own = self._store.mark(number)
            read = {name: rows[row] for name, rows in best.items() if row in rows}
            self._drop_absurd(number, read)
            mark = agreed_mark(own, read.values(), keep_own=keep_own, verifies=self._verifier(row))
            if mark.hrs > own.hrs or (mark.hrs == own.hrs and mark.sign_bytes != own.sign_bytes):
                self._raise_mark(number, mark)

    def _add_rows(self, best: dict[str, dict[Row, Watermark]]) -> str:
        """Take the rows that only others have: of chains that are not configured here, or no
        longer. Why that cannot be; "" when it is done.

        Should such a chain be served again, what this node promised there and lost is not shown by
        a majority any more once another member has lost it, too. Raises: StoreFailure.
        """
        rows = self._store.rows
        new = {row for shown in best.values() for row in shown}.difference(rows)
        if new and len(rows) + len(new) > SHOWN_ROWS_MAX:
            why = (
                f"the others have promised for {len(new)} chains that this node does not know, beside its own {len(rows)}, and more than "
                f"{SHOWN_ROWS_MAX} in all are not taken from them; cure: configure the same chains here as there"
            )
            self._say_once(why, by=", ".join(sorted(best)))
            return why
        for row in sorted(new, key=lambda one: (one.chain_id, one.key)):
            read = [shown[row] for shown in best.values() if row in shown]
            mark = agreed_mark(Watermark(), read, keep_own=False, verifies=self._verifier(row))
            self._log.warning(
                "a chain that only the others knew is kept in mind", chain=row.chain_id, at="/".join(map(str, mark.hrs))
            )
            self._store.add_row(row, mark, opened=False)
        return ""

    def _drop_absurd(self, number: int, read: dict[str, Watermark]) -> None:
        """Where this node knows the row itself, what no member could have come to by
        now is no mark (rule 13).
        """
        row = self._store.rows[number]
        while self._store.mark(number).hrs > HRS(0, 0, 0):
            odd = absurd(self._ports.reach(number), read, verifies=self._verifier(row))
            if odd is None:
                return
            self._log.error("a mark absurdly far above all others is not believed", of=odd, chain=row.chain_id)
            del read[odd]

    def _raise_mark(self, number: int, mark: Watermark) -> None:
        own = self._store.mark(number)
        if mark.hrs == own.hrs and own.sign_bytes and mark.sign_bytes and mark.sign_bytes != own.sign_bytes:
            mark = Watermark(mark.hrs)
        elif mark.hrs == own.hrs and not own.sign_bytes:
            return  # burnt stays burnt
        self._log.warning(
            "mark raised by what the others hold",
            chain=self._store.rows[number].chain_id,
            to="/".join(map(str, mark.hrs)),
            burnt=not mark.sign_bytes,
        )
        self._store.write_mark(number, mark)
        self._ports.mark_raised(number)

    def _open_rows(self) -> None:
        """A row that is new here may be promised in once every member's mark for it was seen, or
        one in which it is open.
        """
        for number, row in enumerate(self._store.rows):
            if self._store.opened(number) or self.state is not NodeState.COMPLETE:
                continue
            shown = {
                name: one for name, news in self._lives.items() for one in news.marks if one.row == row
            }  # fmt: skip
            if len(shown) == len(self._others) or any(one.opened for one in shown.values()):
                read = {name: one.mark for name, one in shown.items()}
                self._drop_absurd(number, read)
                own = self._store.mark(number)
                mark = agreed_mark(own, read.values(), keep_own=False, verifies=self._verifier(row))
                if mark.hrs > own.hrs:
                    self._raise_mark(number, mark)
                self._store.open_row(number)
                self._log.info("row opened", chain=row.chain_id)
                self._tell_all()
