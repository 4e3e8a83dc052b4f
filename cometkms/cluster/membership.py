"""Whether this node may promise, and what it must learn first (docs/ARCHITECTURE.md, rules 7 to 11). Sans-I/O.

    EMPTY ─ all seen empty ─▶ BORN ─ all seen born ─▶ COMPLETE ─ process start ─▶ (starting) ─ read ─▶ ready
      └─ shown a record without this node's nonce ─▶ RECOVERING ─ every other member read ─▶ COMPLETE, ready

Every transition is durable before anybody is told. A complete node that learns that it is behind writes RECOVERING and ends its
process: proposals that are under way must not meet a store that forgot (BehindError).
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from cometkms.errors import BehindError, InvariantError
from cometkms.limits import EPOCH_MAX, READ_AGAIN_S, START_READ_S
from cometkms.model import HRS, Row, Watermark
from cometkms.protocol.peer_messages import (
    Confirm,
    Confirmed,
    LifeNews,
    Marks,
    PeerMessage,
    Purpose,
    Read,
    RowMark,
)
from cometkms.rules.birth import Life, NodeState, Record, next_life
from cometkms.rules.epoch import Standing
from cometkms.rules.recovery import Answer, absurd, agreed_mark, may_end
from cometkms.store.epoch import Seal, sealed_header
from cometkms.store.promise_store import Header, PromiseStore

_ANSWERING: Final = {NodeState.BORN, NodeState.COMPLETE}


class MembershipLog(Protocol):
    """What it says to the operator."""

    def info(self, event: str, **fields: object) -> None: ...

    def warning(self, event: str, **fields: object) -> None: ...

    def error(self, event: str, **fields: object) -> None: ...


@dataclass(frozen=True, slots=True)
class Ports:
    """What the node around it does for it.

    before_birth, before_seal(following): durable steps that must precede BORN and SEALED (born.json).
    mark_raised(row): a mark was raised: the state file follows.
    raft_place(): its term, and the last entry's term and index. raft_is_mute(): its log has not reached what was learnt.
    learn_raft(term, log term, index): rule 12, durable. known_signed(row): the highest verified signature of a row.
    verifies(row, mark): whether the mark's signature is the row's.
    """

    send: Callable[[str, PeerMessage], bool]
    before_birth: Callable[[], None]
    before_seal: Callable[[tuple[str, ...]], None]
    mark_raised: Callable[[int], None]
    learn_raft: Callable[[int, int, int], None]
    raft_place: Callable[[], tuple[int, int, int]]
    raft_is_mute: Callable[[], bool]
    known_signed: Callable[[int], Watermark]
    verifies: Callable[[Row, Watermark], bool]


@dataclass(slots=True)
class _Reading:
    """One process's read of all the others, asked again until it is answered. `best`: highest mark read, per member and row."""

    purpose: Purpose
    since: float
    asked_at: float = -1e9
    request_id: int = 0
    answers: dict[str, Answer] = field(default_factory=dict)
    best: dict[str, dict[Row, Watermark]] = field(default_factory=dict)
    records: set[Record] = field(default_factory=set)
    term: int = 0
    log_end: tuple[int, int] = (0, 0)  # the furthest log's last entry: term, index
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
        adopted: tuple[str, ...],
        raft_fresh: bool,
        ports: Ports,
        clock: Callable[[], float],
        log: MembershipLog,
    ) -> None:
        """`nonce`: this process's. `strict`: rule 8's strict_start. `adopted`: members whose
        stores the operator brought: they count as read in a recovery (rule 14). `raft_fresh`: the Raft journal was not there (rule 12)."""
        self._store = store
        self._me = store.header.owner
        self._others = others
        self._nonce = nonce
        self._strict = strict
        self._adopted = adopted
        self._ports = ports
        self._clock = clock
        self._log = log
        self._connected: set[str] = set()
        self._lives: dict[str, LifeNews] = {}
        self._request_id = 0
        self._confirmed: set[str] = set()
        self._confirming = 0
        self._raft_pending = raft_fresh and bool(others)
        self._raft_read_at = -1e9
        self.highest_remembered = 0  # of this node's seq, by anybody
        self.ready = not others and self.state is NodeState.COMPLETE
        self._retired = ""
        self.confirmed = (
            False  # nothing that any other member knew of is missing in the store, since this process began
        )
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
        """Rule 12: a node that lost its Raft journal, or is not ready, neither votes nor leads."""
        return self.ready and not self._raft_pending

    @property
    def phase(self) -> str:
        """For /status: the durable state, or "starting"."""
        if self.state is NodeState.COMPLETE and not self.ready:
            return "starting"
        return self.state.name.lower()

    @property
    def why(self) -> str:
        """Why it does not promise yet, naming whom it waits for; "" when it does."""
        if self._retired:
            return self._retired
        if self.state is NodeState.SEALED:
            return "its epoch is sealed: it refuses everything further; cure: cmkms epoch begin on the members of the next, or cmkms member again"
        if self.ready and self._raft_pending:
            return f"the replicated log was lost; waiting to read {self._names(self._unread())}"
        if self.ready:
            return ""
        missing = [name for name in self._others if name not in self._connected]
        if self.state in (NodeState.EMPTY, NodeState.BORN):
            if missing:
                return f"the first start waits until every node was seen; missing: {self._names(missing)}"
            odd = [f"{name} is {news.life.state.name.lower()}" for name, news in sorted(self._lives.items())]
            return f"being born; {', '.join(odd)}"
        told = self._reading.told if self._reading is not None else ""
        if told:
            return told
        unread = self._unread()
        if self.state is NodeState.RECOVERING:
            return f"what it promised is lost; every other node must be read first; not read yet: {self._names(unread)}"
        if self._confirming:
            return f"waiting to be confirmed by {self._names([n for n in self._others if n not in self._confirmed])}"
        return f"reading the others' marks at start; not read yet: {self._names(unread)}"

    def life_of(self, member: str) -> LifeNews | None:
        """The last word of a member, in this process."""
        return self._lives.get(member)

    def _names(self, names: list[str]) -> str:
        return (
            ", ".join(name if name in self._connected else f"{name} (not connected)" for name in sorted(names))
            or "nobody"
        )

    def _unread(self) -> list[str]:
        read = self._reading.answers if self._reading is not None else {}
        return [name for name in self._others if name not in read or not read[name].real]

    def news(self) -> LifeNews:
        """What the others are told."""
        return LifeNews(self._store.header.life, self.phase == "starting", self._row_marks())

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

    # --- what happens ---

    def on_connected(self, member: str) -> None:
        """After the hellos."""
        self._connected.add(member)
        self._ports.send(member, self.news())
        if self._reading is not None:
            self._ask(member)
        if self._confirming:
            self._ports.send(member, Confirm(self._nonce, self._confirming))

    def on_disconnected(self, member: str) -> None:
        """Its answers stay: marks never fall."""
        self._connected.discard(member)

    def on_life(self, member: str, news: LifeNews) -> None:
        """A member's last word. Raises: StoreFailure."""
        self._lives[member] = news
        if not self._others or self.state in (NodeState.RECOVERING, NodeState.SEALED):
            return
        before = self._store.header.life
        lives = {name: one.life for name, one in self._lives.items()}
        while (after := next_life(self._me, before, lives, len(self._others) + 1)) != before:
            self._become(after)
            before = after
        self._open_rows()

    @property
    def reading(self) -> bool:
        """Whether the others' answers are waited for."""
        return self._reading is not None

    def tick(self) -> None:
        """Ask again what was not answered; end a start read whose time is up. Raises: StoreFailure."""
        now = self._clock()
        if self._reading is None:
            if self.ready and self._others and self._ports.raft_is_mute() and now - self._raft_read_at >= READ_AGAIN_S:
                self._raft_read_at = now  # the log that was the furthest may be lost since: what is left is enough
                self._reading = _Reading(Purpose.RAFT, now)
            return
        if now - self._reading.asked_at >= READ_AGAIN_S:
            self._ask_all()
        self._judge(now)

    def on_read(self, member: str, read: Read) -> None:
        """Answer with the marks, or say that they are lost. Starting nodes answer starting nodes, not recovering ones."""
        real = self.state in _ANSWERING
        if read.purpose is Purpose.RECOVERY and self.phase == "starting":
            real = False
        term, log_term, index = self._ports.raft_place()
        answer = Marks(
            read.nonce,
            read.request_id,
            real,
            self._store.header.life,
            self._row_marks() if real else (),
            self._store.seq,
            term,
            log_term,
            index,
        )
        self._ports.send(member, answer)

    def on_marks(self, member: str, marks: Marks) -> None:
        """An answer to this process's read. Raises: StoreFailure."""
        reading = self._reading
        if reading is None or marks.nonce != self._nonce or marks.request_id != reading.request_id:
            return
        declared = marks.life.state is NodeState.RECOVERING
        if not marks.real and not declared:
            return
        reading.term = max(reading.term, marks.raft_term)
        reading.log_end = max(reading.log_end, (marks.raft_log_term, marks.raft_index))
        reading.order += 1
        if marks.real:
            reading.answers[member] = Answer(reading.order, real=True)
            best = reading.best.setdefault(member, {})
            for one in marks.marks:
                if one.row not in best or one.mark.hrs >= best[one.row].hrs:
                    best[one.row] = one.mark
            if marks.life.record:
                reading.records.add(marks.life.record)
        else:
            reading.answers.setdefault(member, Answer(reading.order, real=False))
        self._judge(self._clock())

    def on_confirm(self, member: str, confirm: Confirm) -> None:
        """The connection's process is the one counted: two of one id never have one at the same time (rule 11)."""
        self._ports.send(member, Confirmed(confirm.nonce, confirm.request_id, counted=True))

    def on_confirmed(self, member: str, confirmed: Confirmed) -> None:
        """strict_start's second round. Raises: StoreFailure."""
        if confirmed.nonce != self._nonce or confirmed.request_id != self._confirming or not self._confirming:
            return
        if not confirmed.counted:
            self._log.error("another process of this id is counted", by=member)
            self._confirming, self._confirmed = 0, set()
            self._begin_reading()
            return
        self._confirmed.add(member)
        if len(self._confirmed) == len(self._others):
            self._confirming = 0
            self._become_ready()

    def on_remembered(self, member: str, remembered: int) -> None:
        """What a member remembers of this node's seq. Raises: BehindError when the store is older than that (rule 8)."""
        self.highest_remembered = max(self.highest_remembered, remembered)
        if self.state in (NodeState.BORN, NodeState.COMPLETE) and remembered > self._store.seq:
            self._store.write_header(replace(self._store.header, state=NodeState.RECOVERING, record=()))
            raise BehindError(
                f"{member} has seen promise {remembered} of this node, and its store ends at {self._store.seq}: an older copy was put back. "
                "It starts again as a node that lost its promises"
            )

    def on_later_epoch(self, member: str, epoch: int) -> None:
        """A member of the same list says that the epoch is a later one. A node that has promised nothing that it knows of believes a majority.

        Raises: BehindError once a majority of that epoch's members, or all others of two, said the same: "recovering" in that epoch is
        durable then. StoreFailure.
        """
        header = self._store.header
        if self.state not in (NodeState.EMPTY, NodeState.RECOVERING) or not header.epoch < epoch < EPOCH_MAX:
            return
        self._epochs[member] = epoch
        said = [name for name, one in self._epochs.items() if one == epoch]
        if len(said) < min(len(header.members) // 2 + 1, len(self._others)):
            return
        self._store.write_header(replace(header, epoch=epoch, state=NodeState.RECOVERING, record=()))
        raise BehindError(
            f"{', '.join(sorted(said))} are in epoch {epoch} with these members, and this node, which holds no promises, was in epoch {header.epoch}: it "
            f"starts again as a member of epoch {epoch} that lost its promises"
        )

    def seal(self, following: tuple[str, ...]) -> Seal:
        """Promise nothing more in this epoch, for ever, and let `following` alone begin the next. Again: the same seal.

        Raises: StateError when it knows not what it promised, or is sealed for others; StoreFailure.
        """
        header = sealed_header(self._store.header, following, confirmed=self.confirmed)
        self._ports.before_seal(following)
        self.ready, self._reading, self._confirming = False, None, 0
        if header != self._store.header:
            self._write_header(header)
            self._log.warning("sealed", epoch=header.epoch, next=", ".join(following), confirmed=header.confirmed)
        standing = Standing.CONFIRMED if header.confirmed else Standing.UNCONFIRMED
        marks = tuple((one.row, one.mark) for one in self._row_marks())
        self._tell_all()
        return Seal(header.owner, header.epoch, header.members, following, standing, marks)

    def retire(self, why: str) -> None:
        """For the rest of this process's life: somebody else may be counting on the same key."""
        self.ready, self._retired = False, why

    # --- transitions ---

    def _become(self, life: Life) -> None:
        header = self._store.header
        if life.state is NodeState.BORN:
            self._ports.before_birth()
            self._raise_to({name: self._shown(name) for name in self._lives}, keep_own=False)
        nonces = tuple(nonce for _, nonce in life.record)
        if life.record and tuple(name for name, _ in life.record) != header.members:
            self._log.error("a birth record of other members was shown", record=[name for name, _ in life.record])
            return
        self._write_header(replace(header, state=life.state, record=nonces))
        self.confirmed = life.state is NodeState.COMPLETE  # everybody was seen born, and nobody had promised anything
        self._log.info("node state", state=life.state.name.lower())
        if life.state is NodeState.COMPLETE:
            self._ports.learn_raft(0, 0, 0)  # it never had a Raft journal to lose: everybody was seen born
            self._raft_pending = False
            self._reading = None
            self._become_ready()
        elif life.state is NodeState.RECOVERING:
            self._begin_reading()
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
            self._reading.answers = {name: Answer(0, real=True) for name in self._adopted}

    def _ask_all(self) -> None:
        reading = self._reading
        if reading is None:
            return
        reading.asked_at = self._clock()
        if reading.request_id == 0:
            self._request_id += 1
            reading.request_id = self._request_id
        for member in sorted(self._connected):
            self._ask(member)

    def _ask(self, member: str) -> None:
        reading = self._reading
        if reading is None:
            return
        if reading.request_id == 0:
            self._request_id += 1
            reading.request_id = self._request_id
        self._ports.send(member, Read(self._nonce, reading.request_id, reading.purpose))

    def _judge(self, now: float) -> None:
        """End the read when enough was answered."""
        reading = self._reading
        if reading is None:
            return
        everybody = may_end(len(self._others) + 1, reading.answers)
        if reading.purpose is Purpose.RECOVERY:
            if everybody:
                self._recover(reading)
            return
        if reading.purpose is Purpose.RAFT:
            if everybody:
                self._ports.learn_raft(reading.term, *reading.log_end)
                self._reading = None
            return
        if not reading.over and (everybody or (not self._strict and now - reading.since >= START_READ_S)):
            reading.over = True
            self._raise_to(reading.best, keep_own=True)
            if self._strict:
                self._request_id += 1
                self._confirming, self._confirmed = self._request_id, set()
                for member in sorted(self._connected):
                    self._ports.send(member, Confirm(self._nonce, self._confirming))
            else:
                self._become_ready()
        if everybody:
            self.confirmed = self._lacks_nothing(reading)
            if self._raft_pending:
                self._ports.learn_raft(reading.term, *reading.log_end)
                self._raft_pending = False
            self._reading = None

    def _lacks_nothing(self, reading: _Reading) -> bool:
        """Whether the store stands at or above every mark that was read: a later answer may have come when nothing was raised any more."""
        own = {row: self._store.mark(number).hrs for number, row in enumerate(self._store.rows)}
        return all(row in own and one.hrs <= own[row] for rows in reading.best.values() for row, one in rows.items())

    def _recover(self, reading: _Reading) -> None:
        if len(reading.records) > 1:
            reading.told = "the other nodes show different birth records: they are not one cluster"
            return
        for number, row in enumerate(self._store.rows):
            read = {name: best[row] for name, best in reading.best.items() if row in best}
            member = absurd(self._store.mark(number), read, verifies=self._verifier(row))
            if member is not None:
                reading.told = (
                    f"{member}'s mark of {row.chain_id} ({read[member].hrs.height}) lies absurdly far above all others and no signature proves "
                    "it; cure: find out why, then cmkms recover --min-height HEIGHT"
                )
                return
        self._raise_to(reading.best, keep_own=False)
        self._ports.learn_raft(reading.term, *reading.log_end)
        self._raft_pending = False
        self._ports.before_birth()
        header = self._store.header
        record = next(iter(reading.records), ())
        base = header.seq_base + max(0, self.highest_remembered + 1 - self._store.seq)
        nonces = tuple(nonce for _, nonce in record)
        self._write_header(replace(header, state=NodeState.COMPLETE, record=nonces, seq_base=base))
        self.confirmed = True
        self._log.info("recovered: every other node was read", state="complete")
        self._reading = None
        self._become_ready()
        self._open_rows()

    def _become_ready(self) -> None:
        if self.state is not NodeState.COMPLETE:
            raise InvariantError(f"a node that is {self.state.name.lower()} was to promise")
        self.ready = True
        self._tell_all()

    def tell(self) -> None:
        """Show the connected members where this node stands: signatures that the replicated log cannot carry any more."""
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
            while own.hrs > HRS(0, 0, 0) and (odd := absurd(own, read, verifies=self._verifier(row))) is not None:
                self._log.error("a mark absurdly far above all others is not believed", of=odd, chain=row.chain_id)
                del read[odd]
            mark = agreed_mark(own, read.values(), keep_own=keep_own, verifies=self._verifier(row))
            if mark.hrs > own.hrs or (mark.hrs == own.hrs and mark.sign_bytes != own.sign_bytes):
                self._raise_mark(number, mark)

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
        """A row that is new here may be promised in once every member's mark for it was seen, or one in which it is open."""
        for number, row in enumerate(self._store.rows):
            if self._store.opened(number) or self.state is not NodeState.COMPLETE:
                continue
            shown = {
                name: one for name, news in self._lives.items() for one in news.marks if one.row == row
            }  # fmt: skip
            if len(shown) == len(self._others) or any(one.opened for one in shown.values()):
                best = {name: {row: one.mark} for name, one in shown.items()}
                own = self._store.mark(number)
                mark = agreed_mark(
                    own, [rows[row] for rows in best.values()], keep_own=False, verifies=self._verifier(row)
                )
                if mark.hrs > own.hrs:
                    self._raise_mark(number, mark)
                self._store.open_row(number)
                self._log.info("row opened", chain=row.chain_id)
                self._tell_all()
