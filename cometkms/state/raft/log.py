"""RaftLog: pysyncobj behind its filter and over its journal.

Sans-I/O: bytes and time go in, bytes and events come out.

    bytes in ─▶ wire.decode ─▶ filter ─▶ pysyncobj ─▶ filter ─▶ outgoing ─▶ journal.sync() ─▶ bytes out

Nothing leaves before it is durable: what the library sends within one call is kept, the journal
synced once, then sent.

Terms belong to members (rule 12): of N members the one with rank R stands for election only in
terms that leave the remainder R when they are divided by N. So two members never lead in one term,
whatever any journal forgot. A member whose journal is new, or whose store takes the place of an
earlier one (a whole old home may have been put back, journal and all), may itself have led in terms
that the journal does not know of: until it leads again it stands in terms far above what it sees,
at a random distance.
"""

import random
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from cometkms.durable import Disk
from cometkms.errors import InvariantError, ProtocolError
from cometkms.limits import RAFT_ANEW_S, RAFT_TERM_PER_S, RAFT_UNCOMMITTED_OWN_MAX, TICK_S
from cometkms.logger import Logger
from cometkms.model import HRS, Watermark, quorum_of
from cometkms.rules.flow import NO_FLOW, REST_S, Flow
from cometkms.state.raft import wire
from cometkms.state.raft.filter import ContradictionError, Message, RaftFilter, UnbelievedError, adopt_term
from cometkms.state.raft.journal import Entry, Journal, pack_state, unpack_state
from cometkms.state.raft.pace import (
    ELECTION_MIN_S,
    HEARTBEAT_S,
    ROUND_TRIP_EVERY_S,
    SYNCS_OF_A_VOTE,
    RoundTrips,
    pace_of,
)
from cometkms.state.raft.pinned import Node, SyncObj, SyncObjConf, Transport, next_deadline, replicated, working_for
from cometkms.state.raft.steps import term_ceiling

_COMPACT_ENTRIES: Final = 5000
_COMPACT_BYTES: Final = 8 << 20  # terms and votes count too
_NEVER: Final = 10**9
_STAGGER_FIRST_S: Final = 0.002  # so that the others have seen the connection close too
# a member that was heard is looked for after so long, a leader that was not every HEARTBEAT_S
_SILENT_S: Final = 2 * HEARTBEAT_S
_STOOD_STILL_S: Final = HEARTBEAT_S  # a tick that comes so much later than it was due
#: Marks of one row, committed at once, that are verified in vain before the rest of them is let go
#: of: a signature may cost three milliseconds, and a log holds thousands.
_FALSE_MARKS_MAX: Final = 8
_TRANSFER_WAIT_S: Final = 0.3  # how long the one that was asked to take over has for it, before another is asked …
# … and how long anybody is: well below the five seconds for which an operator's order is waited for
_TRANSFER_S: Final = 3.0
# how far: two leaps meet with this probability, and a term has room for 2**30 of them
_LEAP_BITS: Final = 32


class RaftEvents(Protocol):
    """Who listens."""

    def on_role(self, *, leading: bool, leader: str | None, term: int) -> None:
        """`leading` only when the term is durable and a barrier of this term is applied."""
        ...

    def verifies(self, key: bytes, mark: Watermark) -> bool:
        """Whether the mark is a true signature of the row with that key; nothing else is believed.

        Never raises.
        """
        ...

    def on_applied(self, key: bytes, mark: Watermark) -> None:
        """The state machine moved up for this key."""
        ...


class _Member(Node):  # type: ignore[misc]  # the library has no types
    """A node whose place in a set does not depend on Python's seed."""

    def __hash__(self) -> int:
        return zlib.crc32(self.id.encode())


class _Bridge(Transport):  # type: ignore[misc]
    """The library's transport: hands messages to the RaftLog."""

    def __init__(self, log: "RaftLog", sync_obj: Any, me: Any, others: Any) -> None:
        super().__init__(sync_obj, me, others)
        self._log = log
        self.ready = True

    ready = True

    def tryGetReady(self) -> None: ...  # noqa: N802

    def send(self, node: Any, message: Message) -> bool:
        return self._log.queue(node.id, message)

    def deliver(self, node: Any, message: Message) -> None:
        self._onMessageReceived(node, message)

    def connected(self, node: Any) -> None:
        self._onNodeConnected(node)

    def disconnected(self, node: Any) -> None:
        self._onNodeDisconnected(node)

    def destroy(self) -> None: ...


class _Replica(SyncObj):  # type: ignore[misc]
    """The replicated state machine: per key the last sign state, only ever higher.

    Its methods never raise.
    """

    def __init__(self, log: "RaftLog", *args: Any, **kwargs: Any) -> None:
        self._raft_log = log
        super().__init__(*args, **kwargs)

    @replicated  # type: ignore[untyped-decorator]
    def put(self, mark: Any) -> None:
        self._raft_log.apply(mark)


@dataclass(slots=True)
class _Transfer:
    """A handover under way.

    `able`: who may take over, the first choice first. `asked`: who was told to, last at `asked_at`.
    """

    able: tuple[str, ...]
    until: float
    asked: list[str] = field(default_factory=list)
    asked_at: float = -1e9


class _Facts(NamedTuple):
    """Where the log stands.

    `leader`: the library's word. `last`, `commit`, `applied`: indices of entries.
    """

    term: int
    leader: str | None
    leads: bool
    last: int
    commit: int
    applied: int


@dataclass(frozen=True, slots=True)
class _Beat:
    """A heartbeat, or an answer to one, that changed nothing: the same bytes, while the `facts` are
    the same, change nothing again.

    `answer`: what was sent back, as bytes; None for an answer, and for a heartbeat of
    this node's own.
    """

    payload: bytes
    facts: _Facts
    answer: bytes | None


@dataclass(slots=True)
class _Quiet:
    """What was taken in without the library, and what it has to be told of it.

    Times by the log's clock.
    """

    beats: dict[str, _Beat] = field(default_factory=dict)  # the last one of each connected peer
    # the heartbeat that this leader's library sent last to each
    said: dict[str, _Beat] = field(default_factory=dict)
    again: dict[str, float] = field(default_factory=dict)  # when an answer came again
    told: dict[str, float] = field(
        default_factory=dict
    )  # the newest word of each peer that the leader's library knows of
    renews: bool = False  # the leader was heard since the follower's timer began
    worked_at: float = -1e9  # when the library was last asked to do something


class RaftLog:
    """One member of the replicated log."""

    _known_facts: _Facts | None = None  # until the library is at work again

    def __init__(
        self,
        *,
        me: str,
        members: tuple[str, ...],
        journal: Path,
        disk: Disk | None,
        clock: Callable[[], float],
        rng: random.Random,
        send: Callable[[str, bytes], bool],
        kick: Callable[[], None],
        events: RaftEvents,
        ttl_s: float,
        log: Logger,
        round_trip_s: Callable[[str], float | None] = lambda _peer: None,
        flow: Callable[[str], Flow] = lambda _peer: NO_FLOW,
        unix_s: Callable[[], float] = time.time,
    ) -> None:
        """`clock`: monotonic seconds. `unix_s`: the calendar's. `kick`: ask for a tick() soon.
        `ttl_s`: how long a leader may lead unheard. `round_trip_s`: to a connected member, as last
        measured. `flow`: what promises have said of it.

        Raises: StoreFailure.
        """
        self.rng = rng
        self.journal: Journal = Journal(journal, disk)
        self.fsm: dict[bytes, Watermark] = {}
        self.unproven = 0  # committed entries that were not believed
        # what came since, and is not verified yet
        self._committed: dict[bytes, list[Watermark]] = {}
        self._me = me
        self._others = tuple(name for name in members if name != me)
        self._rank = sorted(members).index(me)
        self._quorum = quorum_of(len(members))
        self._clock = clock
        # the time within a tick: an election is foreseen, and must not begin a moment later
        self._still: float | None = None
        self._send = send
        self._kick = kick
        self._poked = True  # something happened since the last tick
        self._due = clock()  # when time alone is a reason to look
        self._events = events
        self._ttl_s = ttl_s
        self._round_trip_s = round_trip_s
        self._flow = flow
        self._quiet = _Quiet()
        self._round_trips = RoundTrips()
        self._syncs = RoundTrips()  # of this node's journal
        self._synced_s = 0.0  # the longest since they were looked at
        self._measured_at = -1e9
        self._pace = pace_of(0.0, ttl_s)
        self._log = log
        self._unix_s = unix_s
        self._filter = RaftFilter(self.journal, clock, ELECTION_MIN_S, members, unix_s)
        self._stood_in = -1  # the last term that this process took for itself
        self._anew_at = -1e9
        self._outgoing: list[tuple[str, Message]] = []
        self._connected: set[str] = set()
        self._told: set[str] = set()  # peers that the library believes to be connected
        self._heard: dict[str, float] = {}
        # peers that answered this leader's entries on the connection that is there
        self._following: set[str] = set()
        self._held = False
        self._staged: tuple[Entry, Entry, dict[bytes, Watermark]] | None = None
        self._barrier: tuple[int, int] | None = None  # term, index
        self._role: tuple[bool, str | None, int] = (False, None, -1)
        self._stand_at: float | None = None
        self._transfer: _Transfer | None = None
        self._led = False
        self._quiet_until = -1e9  # until then it does not stand for election
        # when the leader had been heard last, the last time that this process stood still
        self._excused = -1.0
        self._failure: BaseException | None = None
        self._path = journal
        if self.journal.untrusted:
            log.error("the journal of the replicated log is made anew", why=self.journal.untrusted)
        self._start()

    def _start(self) -> None:
        members = (self._me, *self._others)
        settings = SyncObjConf(
            autoTick=False,
            appendEntriesUseBatch=False,
            raftMinTimeout=self._pace.earliest_s,
            raftMaxTimeout=self._pace.latest_s,
            appendEntriesPeriod=HEARTBEAT_S,
            leaderFallbackTimeout=self._pace.fallback_s,
            connectionTimeout=self._pace.latest_s,  # of a transport that is not used here, and never less
            commandsWaitLeader=False,
            dynamicMembershipChange=False,
            useFork=False,
            logCompactionMinEntries=_COMPACT_ENTRIES,
            logCompactionMinTime=_NEVER,
            fullDumpFile=str(self._path) if self.journal.snapshot is not None else None,
        )
        self._settings = settings  # the library reads its times from there each time
        self._nodes = {name: _Member(name) for name in members}

        def bridge(sync_obj: Any, me: Any, others: Any) -> _Bridge:
            self._bridge = _Bridge(self, sync_obj, me, others)
            return self._bridge

        with working_for(self):
            self._replica = _Replica(
                self,
                self._nodes[self._me],
                [self._nodes[name] for name in self._others],
                conf=settings,
                nodeClass=_Member,
                transportClass=bridge,
            )
            self._replica.doTick(0.0)
        self.journal.sync()

    # --- what it is ---

    def library_clock(self) -> float:
        """The library's time."""
        return self._clock() if self._still is None else self._still

    @property
    def term(self) -> int:
        """The current term."""
        return int(self._replica.raftCurrentTerm)

    @property
    def last_index(self) -> int:
        """Return the index of the log's last entry."""
        return int(self.journal[-1][1])

    @property
    def commit_index(self) -> int:
        """Return the index of the last entry that a majority holds, as far as this node knows."""
        return int(self._replica.raftCommitIndex)

    @property
    def _uncommitted(self) -> int:
        """Entries that no majority holds, as far as this node knows."""
        return self.last_index - self.commit_index

    @property
    def applied_index(self) -> int:
        """Return the index of the last entry in the state machine."""
        return int(self._replica.raftLastApplied)

    @property
    def leading(self) -> bool:
        """Leader, with a barrier of its term applied."""
        return self._role[0] and self._is_leader

    @property
    def _is_leader(self) -> bool:
        return bool(self._replica._isLeader())

    @property
    def leader(self) -> str | None:
        """Who leads: this node, or one that it heard as leader within the lease.

        None: nobody, or nobody that this node can hear.

        The library keeps the last leader for as long as nobody is connected, because it elects
        nobody then.
        """
        last = self._last_leader
        if last is None or last == self._me:
            return last
        self._hear_promises()
        return last if self._filter.leader_heard_s < self._ttl_s and last in self._connected else None

    @property
    def _last_leader(self) -> str | None:
        """The library's word: the leader of this term, dead or alive."""
        node = self._replica._getLeader()
        return None if node is None else str(node.id)

    @property
    def hears_leader(self) -> bool:
        """Whether another member leads and its heartbeats come."""
        return self.leader in self._connected and self._filter.leader_heard_s < self._ttl_s

    @property
    def lease_left_s(self) -> float:
        """Seconds for which a majority was heard recently enough; 0 when not leading."""
        if not self._is_leader:
            return 0.0
        heard = sorted((self._heard_at(name) for name in self._others), reverse=True)
        if self._quorum < 2:
            return self._ttl_s
        return max(0.0, self._ttl_s - (self._clock() - heard[self._quorum - 2]))

    def _heard_at(self, name: str) -> float:
        """Return when a member was heard last: a promise that it gave is as good as its
        answer to a heartbeat.
        """
        heard_at = self._heard.get(name, -1e9)
        return max(heard_at, self._flow(name).accepted_at) if name in self._connected else heard_at

    def _hear_promises(self) -> None:
        """A follower: the promises that the leader asked for are its heartbeats.

        The next tick renews the library's timer for them.

        For as long only as its own heartbeats may rest: who does not lead any more may ask for
        promises all the same (an agent's urgent request).
        """
        leader = self._last_leader
        if leader is None or leader == self._me or leader not in self._connected:
            return
        asked_at = min(self._flow(leader).promised_at, self._filter.leader_said_at + REST_S + HEARTBEAT_S)
        if asked_at > self._filter.leader_heard_at:
            self._filter.leader_heard_at = asked_at
            self._quiet.renews = True

    # --- what happens ---

    def on_connected(self, peer: str) -> None:
        """A connection to the peer is there."""
        self._answer_for(peer, self._clock())  # before what it held is forgotten
        if not self._connected:
            self._stay_quiet()
        self._connected.add(peer)
        self._quiet.beats.pop(peer, None)
        self._quiet.said.pop(peer, None)
        self._following.discard(peer)
        self._filter.forget_acks(peer)
        self._tell_connections()
        self._poke()

    def on_disconnected(self, peer: str, *, closed: bool) -> None:
        """`closed`: its system closed it.

        If that was the leader, the next is chosen at once, one after the other by rank.
        """
        self._connected.discard(peer)
        was_leader = self._last_leader == peer
        self._tell_connections()
        if not closed or not was_leader:
            return
        ranks = sorted(name for name in (self._me, *self._others) if name != peer)
        self._stand_at = self._clock() + _STAGGER_FIRST_S + self._pace.stagger_s * ranks.index(self._me)
        waiting = self._filter.leader_gone()
        if waiting is not None:
            self._deliver(*waiting)
        self._finish()
        self._poke()

    def on_message(self, peer: str, payload: bytes) -> str:
        """Why it is not believed, and moved nothing; "" when it was taken.

        Raises: ProtocolError (close the connection), StoreFailure.
        """
        if self._comes_again(peer, payload):
            return ""
        message = wire.decode(payload)
        self._heard[peer] = self._clock()
        self._hear_promises()
        if message["type"] == "next_node_idx":
            self._following.add(peer)
            self._quiet.told[peer] = self._heard[peer]
        before = self._facts()
        try:
            wanted, replies = self._filter.inbound(
                peer,
                message,
                term=self.term,
                commit=self.commit_index,
                leading=self._is_leader,
            )
        except UnbelievedError as error:
            return str(error)
        except ContradictionError as error:
            return self._begin_anew(peer, str(error))
        if wanted is not None and wanted["type"] == "timeout_now":
            wanted = self._obey_timeout_now(wanted)
        if wanted is not None:
            self._deliver(peer, wanted)
        for reply in replies:
            self._outgoing.append((peer, reply))
        self._note_beat(peer, payload, message, before)
        self._finish()
        if self._facts() != before or not self._settled or self._transfer is not None:
            self._poke()
        return ""

    def _begin_anew(self, leader: str, why: str) -> str:
        """The leader's log and this one cannot both be right, and which is cannot be known. What
        the log is for, the state machine, stays, and so do term and vote: the log alone begins
        anew, in place, and is filled by whoever leads. Why not, when it did so a moment ago.
        """
        now = self._clock()
        if now - self._anew_at < RAFT_ANEW_S:
            return f"{leader}'s log contradicts this one again: {why}"
        self._anew_at = now
        self._log.warning("the replicated log contradicts the leader's and begins anew", leader=leader, why=why)
        self._empty()
        return ""

    def _empty(self) -> None:
        """The log alone begins anew."""
        self.journal.begin_anew()
        self._filter.begin_anew()
        self._told, self._outgoing, self._barrier, self._transfer = set(), [], None, None
        self._quiet.beats.clear()
        self._quiet.said.clear()
        self._start()
        self._tell_connections()
        self._finish()
        self._poke()

    def _comes_again(self, peer: str, payload: bytes) -> bool:
        """A heartbeat, or its answer, as the last one was, and nothing happened in between: it says
        that the peer lives, and is answered alike.

        Twenty a second of them, through cold caches, are what an idle node does.
        """
        beat = self._quiet.beats.get(peer)
        if beat is None or beat.payload != payload or beat.facts != self._facts() or not self._settled:
            return False
        if self._transfer is not None or self._stand_at is not None:
            return False
        self._heard[peer] = self._clock()
        if beat.answer is None:
            self._quiet.again[peer] = self._heard[peer]
        else:
            self._filter.hear_leader()
            self._quiet.renews = True
            self._send(peer, beat.answer)
            if self._role[1] != peer:  # its lease had run out
                self._tell_role()
        return True

    def _note_beat(self, peer: str, payload: bytes, message: Message, before: _Facts) -> None:
        """Remember it if it changed nothing: a heartbeat without entries that was answered, or the
        answer of one that has the whole log.
        """
        self._quiet.beats.pop(peer, None)
        facts = self._facts()
        if facts != before or not self._settled:
            return
        if message["type"] == "next_node_idx":
            whole = message["success"] and message["next_node_idx"] == self.last_index + 1
            if self._is_leader and message["x_term"] == self.term and whole and not self._outgoing:
                self._quiet.beats[peer] = _Beat(payload, facts, None)
        elif message["type"] == "append_entries" and not self._is_leader and self._last_leader == peer:
            plain = "prevLogIdx" in message and not message.get("entries") and message["term"] == self.term
            if plain and len(self._outgoing) == 1 and self._outgoing[0][0] == peer and self._outgoing[0][1]["success"]:
                self._quiet.beats[peer] = _Beat(payload, facts, wire.encode(self._outgoing[0][1]))

    def _obey_timeout_now(self, message: Message) -> Message | None:
        """The leader wants this node to lead: it stands at the next tick, quiet time or not.

        One that may not vote goes on following.
        """
        if self._held:
            self._filter.transferring = False
            return None
        self._end_quiet()
        self._quiet.renews = False  # it is not the leader's to keep any more
        self._poke()
        return message

    def forget_facts(self) -> None:
        """The library was at work."""
        self._known_facts = None

    def _facts(self) -> _Facts:
        """What a heartbeat and its answer leave as it was.

        Asked for twice a message, it is looked up once: only the library changes it.
        """
        if self._known_facts is None:
            indices = self.last_index, self.commit_index, self.applied_index
            self._known_facts = _Facts(self.term, self._last_leader, self._is_leader, *indices)
        return self._known_facts

    @property
    def _settled(self) -> bool:
        """There is a leader and nothing to commit or apply: until the next deadline the library has
        nothing to do.
        """
        now = self._facts()
        behind = now.applied < now.commit or (now.leads and now.commit < now.last)
        return now.leader is not None and not behind

    def tick(self) -> None:
        """Do what is due; called when idle_for_s() is over, and soon after kick().

        Raises: StoreFailure.
        """
        now = self._clock()
        if not self._poked and now < self._due and (self._stand_at is None or now < self._stand_at):
            return
        poked, self._poked = self._poked, False
        late_s = now - (self._due if self._stand_at is None else min(self._due, self._stand_at))
        self._hear_promises()
        self._excuse(now, late_s)
        self._measure(now)
        if not poked and self._rests(now):
            return
        if self._stand_at is not None and now >= self._stand_at:
            self._stand_at = None
            self._stand()
        self._tell_connections()
        if self.journal.bytes_used > _COMPACT_BYTES:
            self._replica.forceLogCompaction()
        if self._quiet.renews and next_deadline(self._replica) - now < _SILENT_S + _STOOD_STILL_S + TICK_S:
            self._renew(now)
        if not poked and now <= next_deadline(self._replica):
            self._finish()
            self._look_again(now)
            return
        self._answer_for_members(now)
        self._quiet.worked_at = self._still = now
        try:
            self._take_own_term()
            with working_for(self):
                self._replica.doTick(0.0)
        finally:
            self._still = None
        self._filter.transferring = False
        self._go_on_with_transfer()
        self._finish()
        self._look_again(now)

    def _look_again(self, now: float) -> None:
        """A heartbeat later; while the leader's heartbeats come, two: but so early that a process
        which stood still past its deadline finds that it was late for this look.
        """
        deadline = next_deadline(self._replica)
        self._due = min(deadline, now + HEARTBEAT_S)
        if not self._is_leader and self._filter.leader_heard_s < _SILENT_S:
            self._due = max(self._due, min(now + _SILENT_S, deadline - _STOOD_STILL_S - TICK_S))

    def _rests(self, now: float) -> bool:
        """A leader: whether promises say all that a heartbeat would, to every connected member and
        back; to a member without promises the last heartbeat is sent again, as long as its answer
        comes again. The library has nothing to do then; until when, is noted.
        """
        if not self._is_leader or self._held or self._transfer is not None or not self._settled:
            return False
        if now - self._quiet.worked_at >= REST_S or not self._connected:
            return False
        due, facts, again = self._quiet.worked_at + REST_S, self._facts(), []
        for name in self._connected:
            if name not in self._following or self._filter.acked(self.term, name) < self.last_index:
                return False
            flow = self._flow(name)
            if flow.says_it_lives(now - HEARTBEAT_S):
                due = min(due, flow.accepted_at + HEARTBEAT_S)
                continue
            beat = self._quiet.said.get(name)
            if beat is None or beat.facts != facts or now - self._heard_at(name) > _SILENT_S:
                return False
            again.append((name, beat.payload))
            due = min(due, now + HEARTBEAT_S)
        for name, payload in sorted(again):
            self._send(name, payload)
        self._due = due
        return True

    def _renew(self, now: float) -> None:
        """A follower's election timer begins anew when the leader was heard last, as at a heartbeat
        that carries nothing.
        """
        self._quiet.renews = False
        if (leader := self._last_leader) is not None and leader != self._me:
            beat = {"type": "append_entries", "term": self.term, "commit_index": self.commit_index}
            self._deliver_as_of(min(now, self._filter.leader_heard_at), leader, beat)

    def _answer_for_members(self, now: float) -> None:
        """A leader's library, which gives up when nobody answers, is told what promises said, and
        answers that came again.
        """
        for name in sorted(self._connected):
            self._answer_for(name, now)

    def _answer_for(self, name: str, now: float) -> None:
        if not self._is_leader:
            return
        acked, flow = self._filter.acked(self.term, name), self._flow(name)
        lived_at = max(self._quiet.again.get(name, 0.0), flow.accepted_at if flow.rests else 0.0)
        if acked and lived_at > max(self._quiet.told.get(name, 0.0), now - self._ttl_s):
            self._quiet.told[name] = lived_at
            answer = {"type": "next_node_idx", "next_node_idx": acked + 1, "reset": False, "success": True}
            self._deliver_as_of(lived_at, name, answer)

    def _excuse(self, now: float, late_s: float) -> None:
        """A process that stood still did not hear what its leader said meanwhile: that is read
        before an election takes the term from it.

        Once for each silence: a process that is always late must be able to stand.
        """
        if late_s <= _STOOD_STILL_S or self._is_leader or self._filter.transferring:
            return
        if self._filter.leader_heard_at == self._excused:
            return
        self._excused = self._filter.leader_heard_at
        self._quiet_until = max(self._quiet_until, now + HEARTBEAT_S)
        if self._stand_at is not None:
            self._stand_at = max(self._stand_at, now + HEARTBEAT_S)

    def _measure(self, now: float) -> None:
        """Elections keep pace with the round trips between the members, and with the syncs that a
        term and a vote wait for.
        """
        if now - self._measured_at < ROUND_TRIP_EVERY_S:
            return
        self._measured_at = now
        for peer in self._others:
            sample_s = self._round_trip_s(peer) if peer in self._connected else None
            if sample_s is not None:
                self._round_trips.feed(peer, sample_s)
            elif peer not in self._connected:
                self._round_trips.forget(peer)
        self._syncs.feed(self._me, self._synced_s)
        self._synced_s = 0.0
        vote_s = self._round_trips.longest(self._others) + SYNCS_OF_A_VOTE * self._syncs.longest((self._me,))
        self._pace = pace_of(vote_s, self._ttl_s)
        self._settings.raftMinTimeout, self._settings.raftMaxTimeout = self._pace.earliest_s, self._pace.latest_s
        self._settings.leaderFallbackTimeout = self._pace.fallback_s

    def idle_for_s(self) -> float:
        """How long tick() would find nothing to do, if nothing happens."""
        due = self._due if self._stand_at is None else min(self._due, self._stand_at)
        return 0.0 if self._poked else max(0.0, due - self._clock())

    def _poke(self) -> None:
        self._poked = True
        self._kick()

    def submit(self, key: bytes, mark: Watermark) -> bool:
        """A sign state for every node.

        False unless this node leads, and goes on to. Not awaited: it may be lost with the leader.
        """
        if not self.leading or self._transfer is not None or self._uncommitted >= RAFT_UNCOMMITTED_OWN_MAX:
            return False
        with working_for(self):
            self._replica.put([key, *mark.hrs, mark.sign_bytes, mark.signature])
        self._poke()
        return True

    @property
    def handing_over(self) -> bool:
        """Whether a handover is under way."""
        return self._transfer is not None

    def transfer(self, able: tuple[str, ...]) -> None:
        """Hand over to one of `able`, the first choice first: to the first whose log is complete,
        or is so soon. For a leader.

        Whoever does not take over within _TRANSFER_WAIT_S is passed over for the next. Nothing is
        submitted meanwhile, so that a log that is complete stays so.
        """
        self._transfer = _Transfer(able, self._clock() + _TRANSFER_S)
        self._poke()

    def whole(self, name: str) -> bool:
        """Tell a leader whether the member is heard and has everything that is in the log."""
        return self._hears(name) and self._filter.acked(self.term, name) >= self.last_index

    def round_trip_s(self, member: str) -> float | None:
        """Return the longest round trip lately to a member that is connected, or None while it was
        not measured.
        """
        return self._round_trips.longest((member,)) or None

    def _hears(self, name: str) -> bool:
        following = name in self._connected and name in self._following
        return following and self._clock() - self._heard_at(name) < self._ttl_s

    def _go_on_with_transfer(self) -> None:
        """Tell the best that can take over at once to do so; the next one, when that one did not.

        After a tick: all that was submitted is in the log.
        """
        transfer, now = self._transfer, self._clock()
        if transfer is None:
            return
        if not self._is_leader or now >= transfer.until:
            if self._is_leader:
                self._log.warning(
                    "nobody took the leadership over", able=list(transfer.able), asked=list(transfer.asked)
                )
            self._transfer = None
            return
        if now - transfer.asked_at < _TRANSFER_WAIT_S:
            return
        fit = [name for name in transfer.able if self.whole(name)]
        if not fit:
            return
        lively = [name for name in fit if now - self._heard_at(name) < self._ttl_s / 4]
        chosen = min(lively or fit, key=transfer.asked.count)
        transfer.asked.append(chosen)
        transfer.asked_at = now
        self._outgoing.append((chosen, {"type": "timeout_now", "term": self.term}))

    def resign(self) -> None:
        """Step down without a successor."""
        if self._is_leader:
            self._deliver(self._others[0], adopt_term(self.term + 1))
            self._finish()

    def settle(self) -> None:
        """Say at birth that there was no journal before this one. Raises: StoreFailure."""
        if self.journal.pending:
            self.journal.settle()

    def doubt(self) -> None:
        """This member's store takes the place of an earlier one, which may have led in terms that
        this journal does not know of: it may be an old copy as the store was. Raises: StoreFailure.
        """
        if not self.journal.pending:
            self.journal.doubt()

    def _take_own_term(self) -> None:
        """If the library is about to stand for election: in the next term that is this member's.
        Not with a log that the others would not take from a leader (state/raft/filter.py): that one
        begins anew, and the election is the next one.
        """
        if self._is_leader or not self._told or next_deadline(self._replica) >= self.library_clock():
            return
        if self._uncommitted > RAFT_UNCOMMITTED_OWN_MAX:
            self._log.warning(
                "a leader left entries without a majority: the replicated log begins anew", entries=self._uncommitted
            )
            self._empty()
            return
        members = len(self._others) + 1
        # from where it leapt to it goes on by steps
        leaps = self.journal.pending and self.term != self._stood_in
        # Close below the ceiling is above whatever it led in; what the others stand in next must be
        # believed, too.
        room = max(0, term_ceiling(self._unix_s()) - RAFT_TERM_PER_S // 4 - self.term)
        above = self.term + (min(room, self.rng.getrandbits(_LEAP_BITS)) if leaps else 0)
        before = above + (self._rank - above - 1) % members  # the library adds one
        self._stood_in = before + 1
        if before > self.term:
            self._deliver(self._others[0], adopt_term(before))

    def hold(self, on: bool) -> None:
        """While a node is not complete: it follows, and neither votes nor stands nor leads."""
        if self._held and not on:
            self._stay_quiet()
        self._held = on
        self._poked = True
        if on:
            self.resign()
        self._tell_connections()

    def close(self) -> None:
        """Let go of the journal."""
        self.journal.close()

    # --- inside ---

    def _tell_connections(self) -> None:
        """The library stands for election only when it believes in a connection: a node that may
        not vote has none.
        """
        quiet = self._held or self._clock() < self._quiet_until
        wanted = set() if quiet else self._connected
        with working_for(self):
            for name in sorted(wanted - self._told):
                self._bridge.connected(self._nodes[name])
            for name in sorted(self._told - wanted):
                self._bridge.disconnected(self._nodes[name])
        self._told = set(wanted)

    def _stay_quiet(self) -> None:
        """Stay quiet for an election timeout.

        Whoever led, or saw nobody, has a deadline that is long past: it would take the
        term from who leads.
        """
        self._quiet_until = self._clock() + self.rng.uniform(self._pace.earliest_s, self._pace.latest_s)

    def _end_quiet(self) -> None:
        """Whoever led gave the term away, or is gone: there is nobody to take it from."""
        self._quiet_until = -1e9
        self._tell_connections()

    def _stand(self) -> None:
        """The leader's connection closed and nobody else leads yet: an election at once, through
        the library's own door.
        """
        leader = self._last_leader
        if leader is None or leader in self._connected or leader == self._me or self._held:
            return
        self._end_quiet()
        self._quiet.renews = False
        self._deliver(leader, {"type": "timeout_now", "term": self.term})

    def _deliver(self, peer: str, message: Message) -> None:
        with working_for(self):
            self._bridge.deliver(self._nodes[peer], message)

    def _deliver_as_of(self, at: float, peer: str, message: Message) -> None:
        """What came at that time, by the clock: the library counts its deadlines from there."""
        self._still = at
        try:
            self._deliver(peer, message)
        finally:
            self._still = None

    def queue(self, peer: str, message: Message) -> bool:
        """What the library sends; it leaves after the sync."""
        if peer not in self._connected:
            return False
        stamped = self._filter.outbound(self.term, message)
        if stamped is not None and not (self._held and message["type"] in ("request_vote", "response_vote")):
            self._outgoing.append((peer, stamped))
        return True

    def _finish(self) -> None:
        """Durable, then sent, then told."""
        self._believe()
        if self._failure is not None:
            raise self._failure
        leads = self._is_leader
        if self._led and not leads:
            self._stay_quiet()
            self._tell_connections()
        self._led = leads
        if leads and self.journal.pending:
            self.journal.settle()
        began = self._clock()
        self.journal.sync()
        self._synced_s = max(self._synced_s, self._clock() - began)
        outgoing, self._outgoing = self._outgoing, []
        for peer, message in outgoing:
            if peer in self._connected:
                payload = wire.encode(message)
                self._send(peer, payload)
                self._note_said(peer, message, payload)
        self._tell_role()

    def _note_said(self, peer: str, message: Message, payload: bytes) -> None:
        """Remember a heartbeat that says what is so now, of the whole log: it can be said again."""
        if message["type"] != "append_entries":
            return
        plain = self._is_leader and not message.get("entries") and message.get("prevLogIdx") == self.last_index
        if plain and message["term"] == self.term and message["commit_index"] == self.commit_index:
            self._quiet.said[peer] = _Beat(payload, self._facts(), None)
        else:
            self._quiet.said.pop(peer, None)

    def _tell_role(self) -> None:
        term = self.term
        leading = False
        if self._is_leader:
            if self._barrier is None or self._barrier[0] != term:
                self._barrier = (term, self.last_index)
            leading = self.applied_index >= self._barrier[1]
        else:
            self._barrier = None
        role = (leading, self.leader, term)
        if role != self._role:
            self._role = role
            self._events.on_role(leading=leading, leader=role[1], term=term)

    # --- the state machine ---

    def apply(self, untrusted: Any) -> None:
        """A committed entry; _believe() verifies it. Never raises for what it holds."""
        if wire.is_mark(untrusted):
            key, height, round_, step, sign_bytes, signature = untrusted
            mark = Watermark(HRS(height, round_, step), sign_bytes, signature)
            self._committed.setdefault(key, []).append(mark)

    def _believe(self) -> None:
        """Move the state machine to the highest that was committed of each row.
        Verifies no more than that: what a follower that starts again is told to be
        committed is thousands of entries at once.

        Any member may have put it there, so it counts only with a signature of a row that this node
        knows: one that is forged, and one that says where somebody promised, would hold back what
        is true below it, and with it the state files.
        """
        committed, self._committed = self._committed, {}
        for key, marks in committed.items():
            try:
                self._believe_one_of(key, sorted(marks, key=lambda one: one.hrs, reverse=True))
            except BaseException as error:  # noqa: BLE001 - out of the library's stack, which would apply it again for ever
                self._failure = error

    def _believe_one_of(self, key: bytes, marks: list[Watermark]) -> None:
        """`marks`: the highest first."""
        before = self.fsm.get(key, Watermark()).hrs
        for tried, mark in enumerate(marks):
            if mark.hrs <= before:
                return
            if tried < _FALSE_MARKS_MAX and self._events.verifies(key, mark):
                self.fsm[key] = mark
                self._events.on_applied(key, mark)
                return
            self.unproven += 1

    def take_snapshot(self, first: Entry, second: Entry) -> None:
        """The library compacts: the state machine is that of `second`, the last applied entry."""
        if second[1] != self.applied_index or first[1] + 1 != second[1]:
            self._failure = InvariantError(f"a snapshot at {second[1]}, and {self.applied_index} is applied")
        self._believe()
        self.journal.staged = dict(self.fsm)

    def load_snapshot(self) -> tuple[Entry, Entry]:
        """Load the snapshot, at start or after a leader's was staged."""
        if self._staged is not None:
            first, second, state = self._staged
            self._staged = None
            self.journal.staged = state
        else:
            first, second, state = self.journal[0], self.journal[1], self.journal.snapshot or {}
        for key, mark in sorted(state.items()):
            self.apply([key, *mark.hrs, mark.sign_bytes, mark.signature])
        self._believe()
        if self.journal.staged is not None:  # what did not count is not handed on either
            self.journal.staged = dict(self.fsm)
        return first, second

    def snapshot_blob(self) -> bytes:
        """Return the snapshot for a peer that is behind the log's beginning."""
        state: Mapping[bytes, Watermark] = self.journal.snapshot or {}
        return wire.encode_snapshot(self.journal[0], self.journal[1], pack_state(state))

    def stage_snapshot(self, untrusted: bytes) -> bool:
        """A leader's snapshot; the filter let it pass. Raises nothing: False refuses it."""
        try:
            first, second, packed = wire.decode_snapshot(untrusted)
            self._staged = (first, second, unpack_state(packed))
        except ProtocolError as error:
            self._log.error("a snapshot makes no sense", why=str(error))
            return False
        return True
