"""Three replicated logs over an in-memory network and clock: who leads, what is replicated, and who
must keep still.
"""

import contextlib
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometkms.durable import Disk
from cometkms.errors import ProtocolError
from cometkms.limits import RAFT_TERM_PER_S, RAFT_UNCOMMITTED_MAX
from cometkms.model import HRS, Watermark
from cometkms.rules.flow import REST_S, Flow
from cometkms.state.raft import RaftLog, wire
from cometkms.state.raft.filter import adopt_term
from cometkms.state.raft.pace import ELECTION_MAX_S, FAR_S, HEARTBEAT_S
from cometkms.state.raft.pinned import next_deadline
from cometkms.state.raft.steps import term_ceiling

KEY = b"k" * 32
FORGED = b"f" * 64
NAMES = ("a", "b", "c")


def mark(height: int) -> Watermark:
    return Watermark(HRS(height, 0, 2), b"bytes at %d" % height, b"s" * 64)


def end_of(log: RaftLog) -> tuple[int, int]:
    """Term and index of the log's last entry."""
    return int(log.journal[-1][2]), int(log.journal[-1][1])


class Quiet:
    def __getattr__(self, _name: str) -> Any:
        return lambda *_a, **_k: None


class Net:
    """Delivers at once, in order; `away` nodes hear and say nothing."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.now, self.starts = directory, 100.0, 0
        self.queue: list[tuple[str, str, bytes]] = []
        self.logs: dict[str, RaftLog] = {}
        self.away: set[str] = set()
        # what waits for those that do not run
        self.still: dict[str, list[tuple[str, str, bytes]]] = {}
        self.roles: list[tuple[str, bool, int]] = []
        self.applied: list[tuple[str, int]] = []
        self.verified: Counter[str] = Counter()  # how often each member verified a signature
        for name in NAMES:
            self.start(name)
            self.logs[name].settle()
        self.connect()

    def start(self, name: str) -> RaftLog:
        (self.directory / name).mkdir(exist_ok=True)
        self.starts += 1
        net = self

        class Events:
            def on_role(self, *, leading: bool, leader: str | None, term: int) -> None:
                net.roles.append((name, leading, term))

            def verifies(self, key: bytes, shown: Watermark) -> bool:
                net.verified[name] += 1
                return key == KEY and bool(shown.signature) and shown.signature != FORGED

            def on_applied(self, key: bytes, applied: Watermark) -> None:
                net.applied.append((name, applied.hrs.height))

        self.logs[name] = RaftLog(
            me=name, members=NAMES, journal=self.directory / name / "raft", disk=self.disk_of(name), clock=lambda: self.time_of(name),
            rng=random.Random(f"{name} {self.starts}"), send=lambda to, data: self.queue.append((name, to, data)) or True,
            kick=lambda: None, events=Events(), ttl_s=0.4, log=Quiet(),
        )  # fmt: skip
        return self.logs[name]

    def disk_of(self, _name: str) -> Disk | None:
        return None

    def time_of(self, _name: str) -> float:
        return self.now

    def connect(self) -> None:
        for one in self.logs.values():
            for other in self.logs:
                if other != one._me:
                    one.on_connected(other)

    def stop(self, name: str, *, closed: bool = True) -> None:
        self.logs.pop(name).close()
        for one in self.logs.values():
            one.on_disconnected(name, closed=closed)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += 0.005
            while self.queue:
                src, dst, data = self.queue.pop(0)
                if dst in self.still:
                    self.still[dst].append((src, dst, data))
                elif dst in self.logs and not self.away & {src, dst}:
                    self.logs[dst].on_message(src, data)
            for name, one in list(self.logs.items()):
                if name not in self.still:
                    one.tick()

    def go_on(self, name: str) -> None:
        """One that stood still: the event loop's timers are first, then what waits in its sockets."""
        waiting = self.still.pop(name)
        self.logs[name].tick()
        self.queue[:0] = waiting

    def leader(self) -> RaftLog | None:
        return next((one for name, one in self.logs.items() if one.leading and name not in self.away), None)


@pytest.fixture
def net(tmp_path: Path) -> Net:
    made = Net(tmp_path)
    made.run(1.0)
    assert made.leader() is not None
    return made


def leader_of(net: Net) -> RaftLog:
    found = net.leader()
    assert found is not None
    return found


def test_there_is_one_leader_and_every_node_knows_it(net: Net) -> None:
    assert {one.leader for one in net.logs.values()} == {leader_of(net)._me}
    assert len({one.term for one in net.logs.values()}) == 1
    assert sum(one.leading for one in net.logs.values()) == 1


FALSE = [
    (KEY, Watermark(HRS(9000, 0, 2), b"bytes", FORGED)),
    (KEY, Watermark(HRS(9000, 0, 2), b"bytes")),
    (KEY, Watermark(HRS(9000, 0, 2))),
    (b"?" * 32, mark(9000)),
]


@pytest.mark.parametrize(
    ("key", "false"), FALSE, ids=["a forged signature", "promised only", "burnt", "an unknown row"]
)
def test_a_rogue_leaders_entry_that_no_signature_proves_holds_nobody_back(
    net: Net, key: bytes, false: Watermark
) -> None:
    leader_of(net).submit(KEY, mark(123))
    net.run(0.2)
    leader_of(net).submit(key, false)
    net.run(0.2)
    leader_of(net).submit(KEY, mark(253))
    net.run(0.2)
    for one in net.logs.values():
        assert one.fsm == {KEY: mark(253)}
        assert one.unproven == 1
    assert {height for _, height in net.applied} == {123, 253}
    follower = next(one._me for one in net.logs.values() if not one.leading)
    net.stop(follower, closed=False)
    again = net.start(follower)
    net.connect()
    net.run(1.0)
    assert again.fsm == {KEY: mark(253)}, "nor after a restart, from its journal"


@pytest.mark.parametrize("forged", [0, 300], ids=["all are true", "and forged ones above them"])
def test_a_node_that_starts_again_does_not_verify_all_that_was_ever_committed(net: Net, forged: int) -> None:
    """A signature may cost three milliseconds.

    Its process would be taken for one that hangs, at each start, by what a rogue left behind, too.
    """
    leader = leader_of(net)
    for height in range(1, 2001):
        leader.submit(KEY, mark(height))
        if height <= forged:
            leader.submit(KEY, Watermark(HRS(9000 + height, 0, 2), b"bytes", FORGED))
        if height % 50 == 0:
            net.run(0.005)
    net.run(0.2)
    follower = others_of(leader)[0]
    net.stop(follower, closed=False)
    again = net.start(follower)
    net.verified.clear()
    net.connect()
    net.run(1.0)
    assert again.applied_index == leader.last_index > 2000
    assert 1 <= net.verified[follower] <= 10
    leader_of(net).submit(KEY, mark(2001))
    net.run(0.2)
    assert again.fsm == {KEY: mark(2001)}


def test_a_rogue_leaders_snapshot_is_believed_as_far_as_its_signatures_go_and_not_handed_on(net: Net) -> None:
    leader = leader_of(net)
    laggard = next(one._me for one in net.logs.values() if one is not leader)
    net.away = {laggard}
    for height in range(1, 5101):
        leader.submit(KEY, mark(height))
        if height % 100 == 0:
            net.run(0.005)
    net.run(0.3)
    forged = dict(FALSE)[KEY]
    for name in {*NAMES} - {
        laggard
    }:  # the laggard stood for election meanwhile: either of them may lead when it is back
        rogue = net.logs[name].journal
        assert rogue.snapshot is not None
        rogue.snapshot = {**rogue.snapshot, KEY: forged, b"?" * 32: mark(9000)}
    net.away = set()
    net.run(1.0)
    log = net.logs[laggard]
    assert log.fsm == {KEY: mark(5100)}, "what followed the snapshot is applied"
    assert log.unproven >= 2
    assert forged not in (log.journal.snapshot or {}).values()
    assert all(height <= 5100 for _, height in net.applied)


class Rogue:
    """A member in foreign hands, in a follower's place: it leads by its own word, in terms that are
    its own, and what it sends is taken.
    """

    def __init__(self, net: Net) -> None:
        self.net, self.me = net, next(one._me for one in net.logs.values() if not one.leading)
        net.stop(self.me)
        net.run(0.5)
        for one in net.logs.values():
            one.on_connected(self.me)
        self.honest = sorted(net.logs)
        self.term = 0

    def takes_over(self) -> None:
        """The next term that is its own, above all that the others are in."""
        highest = max(one.term for one in self.net.logs.values())
        self.term = highest + 1 + (NAMES.index(self.me) - highest - 1) % len(NAMES)

    def tell(self, to: str, **said: Any) -> str:
        return self.net.logs[to].on_message(self.me, wire.encode({"type": "append_entries", "term": self.term, **said}))

    def show_snapshot(self, to: str, end: int) -> None:
        noop = b"\x01"
        blob = wire.encode_snapshot((noop, end - 1, 0), (noop, end, 0), [])
        assert not self.tell(to, commit_index=end, x_snap=end, serialized=(blob, True, True))

    def goes(self) -> None:
        for one in self.net.logs.values():
            one.on_disconnected(self.me, closed=True)

    def append(self, to: str, count: int) -> str:
        """So many more entries that it never commits."""
        end_term, end = end_of(self.net.logs[to])
        entries = tuple((b"\x01", end + 1 + number, self.term) for number in range(count))
        commit = self.net.logs[to].commit_index
        return self.tell(to, commit_index=commit, prevLogIdx=end, prevLogTerm=end_term, entries=entries)


@pytest.mark.parametrize("told", [0, 1], ids=["the first", "the second"])
def test_two_of_which_one_was_shown_a_rogue_leaders_snapshot_go_on_without_the_third(net: Net, told: int) -> None:
    """What one of them takes for committed the other has never heard of, and nobody else is there
    to settle it.
    """
    rogue = Rogue(net)
    rogue.takes_over()
    rogue.show_snapshot(rogue.honest[told], 1000)
    rogue.goes()
    net.run(4.0)
    leader_of(net).submit(KEY, mark(7))
    net.run(0.5)
    assert {one.fsm[KEY] for one in net.logs.values()} == {mark(7)}
    assert len({end_of(one) for one in net.logs.values()}) == 1


def test_a_follower_whose_compacted_log_is_longer_than_the_next_leaders_follows_it(net: Net) -> None:
    """Two of three lost their journals, and lead in later terms: the third, which had it all, is
    one of them again.
    """
    whole = leader_of(net)._me
    for height in range(1, 5101):
        net.logs[whole].submit(KEY, mark(height))
        if height % 100 == 0:
            net.run(0.005)
    net.run(0.3)
    assert net.logs[whole].journal.snapshot is not None
    net.away = {whole}
    for one in NAMES:
        if one != whole:
            lose_journal(net, one)
    net.connect()
    net.run(3.0)
    assert leader_of(net).last_index < 1000
    net.away = set()
    net.run(3.0)
    leader_of(net).submit(KEY, mark(6000))
    net.run(1.0)
    assert {one.fsm[KEY] for one in net.logs.values()} == {mark(6000)}
    assert len({end_of(one) for one in net.logs.values()}) == 1


def test_a_leader_that_never_commits_fills_no_journal_and_holds_up_no_election_once_it_is_gone(net: Net) -> None:
    rogue = Rogue(net)
    rogue.takes_over()
    for _ in range(20):
        answers = {name: rogue.append(name, RAFT_UNCOMMITTED_MAX // 4) for name in rogue.honest}
    assert all("without a majority" in answer for answer in answers.values())
    for name in rogue.honest:
        log = net.logs[name]
        assert log.last_index - log.commit_index <= RAFT_UNCOMMITTED_MAX
        assert log.journal.bytes_used < 1 << 18
    rogue.goes()
    net.run(3.0)
    leader_of(net).submit(KEY, mark(7))
    net.run(0.5)
    assert {one.fsm[KEY] for one in net.logs.values()} == {mark(7)}


def test_leaders_that_never_commit_one_after_another_leave_a_log_that_an_honest_one_can_commit(net: Net) -> None:
    """Each term adds what the last one left room for."""
    rogue = Rogue(net)
    for _ in range(6):
        rogue.takes_over()
        rogue.append(rogue.honest[0], RAFT_UNCOMMITTED_MAX // 3)
        net.run(0.4)
    rogue.takes_over()
    rogue.append(rogue.honest[0], RAFT_UNCOMMITTED_MAX - 1)
    rogue.goes()
    net.run(4.0)
    leader_of(net).submit(KEY, mark(7))
    net.run(0.5)
    assert {one.fsm[KEY] for one in net.logs.values()} == {mark(7)}


def test_a_leader_whose_entries_no_majority_holds_submits_no_more_than_the_others_take(net: Net) -> None:
    leader = leader_of(net)
    sent = sum(
        leader.submit(KEY, mark(height)) for height in range(1, 2 * RAFT_UNCOMMITTED_MAX) if leader.tick() is None
    )
    assert 0 < sent <= RAFT_UNCOMMITTED_MAX // 2
    net.run(0.5)
    assert leader_of(net).submit(KEY, mark(9000))


@pytest.mark.parametrize("first", ["the leader", "a follower"])
@pytest.mark.parametrize("closed", [True, False], ids=["killed", "frozen"])
def test_nobody_leads_for_the_one_that_is_left(net: Net, first: str, closed: bool) -> None:
    """The library keeps the last leader while nobody is connected: a dead one would lead for ever."""
    leader = leader_of(net)._me
    followers = [name for name in NAMES if name != leader]
    for name in (leader, followers[0]) if first == "the leader" else (followers[0], leader):
        net.stop(name, closed=closed)
    left = net.logs[followers[1]]
    net.run(0.5)
    for _ in range(40):
        assert left.leader is None
        net.run(0.25)


def test_a_leader_that_falls_silent_leads_no_longer_than_its_lease_whatever_the_connections_say(net: Net) -> None:
    leader = leader_of(net)._me
    net.away = set(NAMES)
    net.run(0.45)
    assert {one.leader for name, one in net.logs.items() if name != leader} == {None}


def test_the_sign_state_reaches_every_node_and_never_falls(net: Net) -> None:
    for height in (3, 5, 4):
        assert leader_of(net).submit(KEY, mark(height))
        net.run(0.2)
    assert {one.fsm[KEY] for one in net.logs.values()} == {mark(5)}
    follower = next(one for one in net.logs.values() if not one.leading)
    assert not follower.submit(KEY, mark(9))


def test_a_closed_connection_of_the_leader_elects_at_once_and_silence_by_timer(net: Net) -> None:
    net.stop(leader_of(net)._me)
    net.run(0.1)
    assert net.leader() is not None
    term = leader_of(net).term
    net.away = {leader_of(net)._me}
    net.run(0.05)
    assert net.leader() is None
    net.away = set()
    net.run(0.5)
    assert leader_of(net).term >= term


AT_ONCE_S = 0.03  # a few messages there and back, and no timer


def others_of(one: RaftLog) -> tuple[str, ...]:
    return tuple(name for name in NAMES if name != one._me)


def come_back(net: Net, name: str) -> None:
    net.stop(name)
    net.run(0.1)
    net.start(name)
    net.connect()


def test_a_transfer_hands_over_to_the_one_that_was_named_and_the_old_leader_stays_quiet(net: Net) -> None:
    old = leader_of(net)
    to = others_of(old)[1]
    old.transfer((to,))
    net.run(AT_ONCE_S)
    assert leader_of(net)._me == to
    net.run(0.5)
    assert leader_of(net)._me == to


@pytest.mark.parametrize("back_s", [0.0, 0.02, 0.06, 0.1])
@pytest.mark.parametrize("kind", ["restarted", "held"])
def test_a_transfer_to_one_that_is_just_back_is_taken_at_once(net: Net, kind: str, back_s: float) -> None:
    """It keeps quiet, so that it takes the term from nobody; the leader's word ends that."""
    old = leader_of(net)
    to = others_of(old)[0]
    if kind == "restarted":
        come_back(net, to)
    else:
        net.logs[to].hold(True)
        net.run(0.5)
        net.logs[to].hold(False)
    net.run(back_s)
    old.transfer((to,))
    net.run(HEARTBEAT_S + AT_ONCE_S)
    assert leader_of(net)._me == to
    assert net.roles[-1][2] == leader_of(net).term


def test_a_transfer_goes_to_the_first_choice_whose_log_is_complete(net: Net) -> None:
    old = leader_of(net)
    behind, to = others_of(old)
    net.away = {behind}
    old.submit(KEY, mark(4))
    net.run(0.1)
    net.away = set()
    old.transfer((behind, to))
    net.run(0.01)
    net.run(AT_ONCE_S)
    assert leader_of(net)._me == to


def test_a_transfer_waits_for_a_log_that_is_a_moment_behind(net: Net) -> None:
    """An order in the moment after a signature was submitted is no less obeyed than another."""
    old = leader_of(net)
    to = others_of(old)[0]
    old.submit(KEY, mark(4))
    old.transfer((to,))
    assert not old.submit(KEY, mark(5)), (
        "nothing is submitted during a handover: the log would not be complete any more"
    )
    net.run(0.2)
    assert leader_of(net)._me == to
    assert net.logs[to].fsm[KEY] == mark(4)


def test_a_transfer_that_is_not_taken_goes_to_the_next(net: Net) -> None:
    old = leader_of(net)
    deaf, to = others_of(old)
    net.away = {deaf}  # since a moment: its last words are fresh
    old.transfer((deaf, to))
    net.run(0.5)
    assert leader_of(net)._me == to


def test_a_transfer_that_nobody_takes_ends_and_the_leader_leads_on(net: Net) -> None:
    old = leader_of(net)
    term = old.term
    deaf = others_of(old)[0]
    net.away = {deaf}
    old.transfer((deaf,))
    net.run(3.5)
    assert (leader_of(net), old.term) == (old, term)
    assert old.submit(KEY, mark(4))


def test_a_transfer_to_one_on_hold_is_not_taken_then_nor_later(net: Net) -> None:
    """An order that it could not obey does not make it stand when it may."""
    old = leader_of(net)
    term, held = old.term, others_of(old)[0]
    net.logs[held].hold(True)
    old.transfer((held,))
    net.run(3.5)
    net.logs[held].hold(False)
    net.run(1.0)
    assert (leader_of(net), old.term) == (old, term)


def test_a_leader_s_death_finds_its_successor_ready_even_one_that_is_just_back(net: Net) -> None:
    old = leader_of(net)
    back = others_of(old)[0]
    come_back(net, back)
    net.run(0.06)  # it has heard the leader
    net.stop(old._me)
    net.run(0.1)
    assert net.leader() is not None


@pytest.mark.parametrize("still_s", [0.12, 0.2, 0.8, 30.0])
def test_one_that_stood_still_hears_its_leader_before_it_takes_the_term(net: Net, still_s: float) -> None:
    old = leader_of(net)
    term = old.term
    for _ in range(10):
        for name in others_of(old):
            net.still[name] = []
            net.run(still_s)
            net.go_on(name)
            net.run(0.7)
            assert (leader_of(net), old.term, net.logs[name].leader) == (old, term, old._me)


def test_one_that_stood_still_takes_over_at_its_leader_s_word(net: Net) -> None:
    old = leader_of(net)
    to = others_of(old)[0]
    net.still[to] = []
    net.run(0.14)
    old.transfer((to,))
    net.run(0.01)
    waiting = net.still.pop(to)
    for src, dst, data in waiting:  # here they are first, and the timers then
        net.logs[dst].on_message(src, data)
    net.run(AT_ONCE_S)
    assert leader_of(net)._me == to


@pytest.mark.parametrize("closed", [True, False], ids=["killed", "frozen"])
def test_those_that_always_stand_still_choose_a_leader_when_theirs_is_gone(net: Net, closed: bool) -> None:
    """Each silence excuses once."""
    old = leader_of(net)
    net.stop(old._me, closed=closed)
    for _ in range(100):
        for name in net.logs:
            net.still[name] = []
        net.run(0.15)
        for name in net.logs:
            net.go_on(name)
        net.run(0.005)
        if net.leader() is not None:
            return
    raise AssertionError("nobody leads")


@pytest.mark.parametrize("away_s", [0.0, 1.0])
def test_whoever_meets_the_others_again_leaves_the_term_to_who_leads(net: Net, away_s: float) -> None:
    """Its own deadline passed while it saw nobody: it hears the leader before it stands."""
    old = leader_of(net)
    term, name = old.term, next(one for one in NAMES if one != old._me)
    net.stop(name)
    net.run(0.1)
    back = net.start(name)
    net.run(away_s)
    for other in NAMES:
        if other != name:
            back.on_connected(other)
            net.logs[other].on_connected(name)
    net.run(1.0)
    assert (leader_of(net), old.term, back.leader) == (old, term, old._me)


def test_a_leader_that_hears_nobody_loses_its_lease_and_steps_down(net: Net) -> None:
    old = leader_of(net)
    assert old.lease_left_s > 0
    net.away = {old._me}
    net.run(0.45)
    assert old.lease_left_s == 0
    assert not old.leading
    net.run(0.5)
    assert leader_of(net) is not old


def test_a_node_on_hold_follows_and_neither_votes_nor_leads(net: Net) -> None:
    old = leader_of(net)
    held = next(one for one in net.logs.values() if one is not old)
    held.hold(True)
    leader_of(net).submit(KEY, mark(7))
    net.run(0.2)
    assert held.fsm[KEY] == mark(7)
    net.stop(old._me)
    net.run(1.5)
    assert net.leader() is None, "the one that is left needs the held node's vote"
    held.hold(False)
    net.run(1.0)
    assert net.leader() is not None


def lose_journal(net: Net, name: str) -> RaftLog:
    """The node's disk is lost; it starts again with nothing, not yet connected."""
    if name in net.logs:
        net.stop(name, closed=False)
    (net.directory / name / "raft").unlink()
    return net.start(name)


def test_a_node_that_lost_its_journal_and_one_whose_log_is_behind_elect_without_the_third(net: Net) -> None:
    """Whatever the absent third node held: nothing but hints is in it."""
    old = leader_of(net)
    behind, victim = (one._me for one in net.logs.values() if one is not old)
    net.away = {behind}
    net.run(0.2)
    old.submit(KEY, mark(3))
    net.run(0.2)
    fresh = lose_journal(net, victim)
    assert fresh.journal.pending
    net.stop(old._me, closed=False)
    net.away = set()
    net.connect()
    net.run(2.0)
    assert leader_of(net)._me == behind, "its log is the furthest of those that are there"
    assert leader_of(net).submit(KEY, mark(4))
    net.run(0.2)
    assert fresh.fsm[KEY] == mark(4)


def test_a_node_that_lost_its_journal_does_not_take_the_term_from_who_leads(net: Net) -> None:
    old = leader_of(net)
    term, victim = old.term, next(one for one in NAMES if one != old._me)
    back = lose_journal(net, victim)
    for other in NAMES:
        if other != victim:
            back.on_connected(other)
            net.logs[other].on_connected(victim)
    net.run(1.0)
    assert (leader_of(net), old.term, back.term, back.leader) == (old, term, term, old._me)


@pytest.mark.parametrize("held", [False, True], ids=["whole", "on hold"])
def test_a_node_that_lost_its_journal_gets_the_log_again_from_who_leads(net: Net, held: bool) -> None:
    """In the same term: what it acknowledged before it lost that is no more."""
    for height in range(1, 30):
        leader_of(net).submit(KEY, mark(height))
        net.run(0.02)
    term, lost = leader_of(net).term, others_of(leader_of(net))[0]
    again = lose_journal(net, lost)
    again.hold(held)
    for other in others_of(again):
        again.on_connected(other)
        net.logs[other].on_connected(lost)
    net.run(0.5)
    leader_of(net).submit(KEY, mark(50))
    net.run(0.5)
    assert again.fsm[KEY] == mark(50)
    assert leader_of(net).term == term


def test_members_lead_in_terms_of_their_own_only(net: Net) -> None:
    led: dict[int, str] = {}
    for _ in range(12):
        leader = leader_of(net)
        assert led.setdefault(leader.term, leader._me) == leader._me
        assert leader.term % len(NAMES) == NAMES.index(leader._me)
        leader.transfer(leader._others)
        net.run(0.6)
    assert len(set(led.values())) > 1


def test_a_node_that_lost_its_journal_never_leads_again_in_a_term_in_which_it_led(net: Net) -> None:
    """Nobody is left who knows of it."""
    seen: set[int] = set()
    for _ in range(4):
        assert leader_of(net).term not in seen
        seen.add(leader_of(net).term)
        for one in NAMES:
            lose_journal(net, one)
        net.connect()
        net.run(2.0)


def test_a_leap_happens_once_and_is_over_when_the_node_has_led(net: Net) -> None:
    for one in NAMES:
        lose_journal(net, one)
    net.connect()
    net.run(2.0)
    leader = leader_of(net)
    assert not leader.journal.pending
    assert leader.term > 1000
    assert all(one.journal.pending for one in net.logs.values() if one is not leader)
    name, term = leader._me, leader.term
    net.away = {name}
    net.run(0.5)
    net.away = set()
    net.run(1.0)
    assert leader_of(net).term > term


def test_beside_a_term_that_a_thief_took_to_the_ceiling_who_leaps_leaves_room_for_the_next_elections(net: Net) -> None:
    """The calendar stands: whoever stood above the ceiling would be believed by nobody."""
    unix_s = 1_800_000_000.5
    for one in NAMES:
        log = lose_journal(net, one)
        log._unix_s = log._filter._unix_s = lambda: unix_s
        log._deliver(log._others[0], adopt_term(term_ceiling(unix_s) - RAFT_TERM_PER_S))
    net.connect()
    for _ in NAMES:
        net.run(2.0)
        leader = leader_of(net)
        assert term_ceiling(unix_s) - RAFT_TERM_PER_S < leader.term < term_ceiling(unix_s)
        leader.resign()


def test_a_log_that_contradicts_the_next_leader_begins_anew_in_place(net: Net) -> None:
    """The price of rule 12: what was committed with a lost journal's ack may be missing
    from the next leader's log. Term, vote and the state machine stay, no process ends,
    and all logs are one again.
    """
    old = leader_of(net)
    behind, victim = (one._me for one in net.logs.values() if one is not old)
    net.away = {behind}
    net.run(0.2)
    for height in range(3, 8):
        old.submit(KEY, mark(height))
        net.run(0.1)
    net.away = {old._me}
    lose_journal(net, victim)
    net.connect()
    net.run(2.0)
    assert leader_of(net)._me == behind
    net.away = set()
    terms = {name: one.term for name, one in net.logs.items()}
    net.run(2.0)
    assert {one.last_index for one in net.logs.values()} == {leader_of(net).last_index}
    assert {end_of(one) for one in net.logs.values()} == {end_of(leader_of(net))}
    assert all(one.term >= terms[name] for name, one in net.logs.items())
    assert old.fsm[KEY] == mark(7)
    leader_of(net).submit(KEY, mark(9))
    net.run(1.0)
    assert {one.fsm[KEY].hrs.height for one in net.logs.values()} == {9}


@pytest.mark.parametrize("round_trip_s", [0.0, 0.31, FAR_S, 30.0])
def test_a_log_begins_anew_however_far_the_others_are(net: Net, round_trip_s: float) -> None:
    """The library checks its times where a log begins, and some of them are as measured."""
    for one in net.logs.values():
        one._round_trip_s = lambda _peer: round_trip_s
    net.run(1.0)
    follower = next(one for one in net.logs.values() if not one.leading)
    follower._empty()
    net.run(20.0)
    leader_of(net).submit(KEY, mark(9))
    net.run(2.0)
    assert {one.fsm[KEY].hrs.height for one in net.logs.values()} == {9}


def test_a_laggard_behind_the_compacted_log_gets_a_snapshot_and_the_journal_stays_small(net: Net) -> None:
    leader = leader_of(net)
    laggard = next(one._me for one in net.logs.values() if one is not leader)
    net.away = {laggard}
    for height in range(1, 5101):
        leader.submit(KEY, mark(height))
        if height % 100 == 0:
            net.run(0.005)
    net.run(0.3)
    assert len(leader.journal) < 5000
    assert leader.journal.bytes_used < 1 << 20
    net.away = set()
    net.run(1.0)
    assert net.logs[laggard].fsm[KEY] == mark(5100)
    net.stop(laggard, closed=False)
    again = net.start(laggard)
    assert again.fsm[KEY].hrs.height >= 4000, "the snapshot is in the journal"


def test_an_entry_of_another_kind_or_a_foreign_message_is_a_protocol_error(net: Net) -> None:
    for untrusted in (
        b"",
        b"\x80",
        wire.encode({"type": "apply_command", "command": b"x"}),
        wire.encode({"type": "request_vote", "term": 1 << 62, "last_log_index": 1, "last_log_term": 1}),
        wire.encode({"type": "append_entries", "term": 1, "commit_index": 1, "entries": ((b"\x02x", 1, 1),)}),
        wire.encode({"type": "response_vote", "term": 1, "more": 2}),
    ):
        with pytest.raises(ProtocolError):
            leader_of(net).on_message("a" if leader_of(net)._me != "a" else "b", untrusted)


@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_else(untrusted: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        wire.decode(untrusted)


@given(st.data())
def test_mutated_messages_raise_nothing_else(data: st.DataObject) -> None:
    good = wire.encode(
        {
            "type": "append_entries",
            "term": 3,
            "commit_index": 2,
            "prevLogIdx": 1,
            "prevLogTerm": 1,
            "entries": ((b"\x01", 2, 3),),
        }
    )
    at = data.draw(st.integers(0, len(good) - 1))
    changed = good[:at] + data.draw(st.binary(min_size=1, max_size=3)) + good[at + 1 :]
    with contextlib.suppress(ProtocolError):
        wire.decode(changed)


def test_a_heartbeat_that_comes_again_costs_no_work_and_keeps_the_leader(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same bytes while nothing happened: answered as the last one was, for as long as it lasts."""
    leader, decoded = leader_of(net), [0]
    stock = wire.decode

    def decode(payload: bytes) -> dict[str, Any]:
        decoded[0] += 1
        return stock(payload)

    net.run(0.5)
    monkeypatch.setattr(wire, "decode", decode)
    for _ in range(100):
        net.run(0.05)
        assert leader.leading
        assert leader.lease_left_s > 0.2
        assert all(one.hears_leader for one in net.logs.values() if one is not leader)
    assert decoded[0] < 10, "some four hundred heartbeats and answers"


def test_after_something_happened_heartbeats_are_read_again(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry, and what a follower says that is new."""
    leader = leader_of(net)
    net.run(0.5)
    assert leader.submit(b"k" * 32, mark(5))
    net.run(0.2)
    assert all(one.fsm[b"k" * 32].hrs == mark(5).hrs for one in net.logs.values())
    assert all(leader._filter.acked(leader.term, name) == leader.last_index for name in NAMES if name != leader._me)


def test_a_leader_whose_heartbeats_come_again_from_nobody_gives_up(net: Net) -> None:
    """What came again is told to the library once, and is no longer true when nothing comes."""
    leader = leader_of(net)
    net.run(1.0)
    net.away = {name for name in NAMES if name != leader._me}
    net.run(0.45)
    assert leader.lease_left_s == 0.0
    net.run(0.5)
    assert not leader.leading


def test_a_member_that_connects_anew_is_read_anew(net: Net) -> None:
    """Its journal may be another one: nothing that it said before counts."""
    leader = leader_of(net)
    name = next(one for one in NAMES if one != leader._me)
    net.run(0.5)
    leader.on_disconnected(name, closed=False)
    leader.on_connected(name)
    assert leader._filter.acked(leader.term, name) == 0
    net.run(0.2)
    assert leader._filter.acked(leader.term, name) == leader.last_index
    assert leader._hears(name)


def test_who_asks_for_promises_and_does_not_say_that_it_leads_is_not_taken_for_the_leader(net: Net) -> None:
    """It led once, and serves an agent now: its followers elect another."""
    leader = leader_of(net)
    net.run(1.0)
    followers = [one for one in net.logs.values() if one is not leader]
    for one in followers:
        one._flow = lambda _: Flow(promised_at=net.now)
    net.away = {leader._me}
    net.run(REST_S)
    assert all(one.leader == leader._me for one in followers), "heartbeats may rest for so long"
    net.run(2.0)
    assert {one.leader for one in followers} & {one._me for one in followers}


# --- how often an idle member looks, and what that costs ---


def test_an_idle_leader_says_the_same_again_and_asks_its_library_twice_a_second(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The members hear a heartbeat as often as ever, and everybody's timers are where the library
    would have them.
    """
    leader, said, asked = leader_of(net), Counter[str](), Counter[str]()
    term = leader.term
    stock_send, stock_outbound = leader._send, leader._filter.outbound

    def send(to: str, payload: bytes) -> bool:
        said[to] += 1
        return stock_send(to, payload)

    def outbound(in_term: int, message: dict[str, Any]) -> dict[str, Any] | None:
        asked[message["type"]] += 1
        return stock_outbound(in_term, message)

    monkeypatch.setattr(leader, "_send", send)
    monkeypatch.setattr(leader._filter, "outbound", outbound)
    net.run(10.0)
    assert {name: said[name] for name in others_of(leader)} == dict.fromkeys(
        others_of(leader), pytest.approx(190, abs=20)
    )
    assert 2 * 10 / REST_S * 0.8 <= asked["append_entries"] <= 2 * (10 / REST_S + 1)
    assert (leader.leading, leader.term) == (True, term)
    assert leader.lease_left_s > 0.4 - 2 * HEARTBEAT_S - 0.02


def test_an_idle_follower_looks_ten_times_a_second_and_renews_its_timer_from_when_it_heard(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader = leader_of(net)
    follower = net.logs[others_of(leader)[0]]
    looks: list[float] = []
    stock = follower._excuse

    def excuse(now: float, late_s: float) -> None:
        looks.append(now)
        stock(now, late_s)

    monkeypatch.setattr(follower, "_excuse", excuse)
    heard = follower._filter.leader_heard_at
    net.run(10.0)
    assert len(looks) <= 10 * 10.0 + 5
    assert follower._filter.leader_heard_at > heard
    assert follower.leader == leader._me
    assert next_deadline(follower._replica) > net.now - 2 * HEARTBEAT_S
    assert next_deadline(follower._replica) <= follower._filter.leader_heard_at + ELECTION_MAX_S


def test_a_leader_that_falls_silent_has_a_successor_no_later_than_its_followers_timers_say(tmp_path: Path) -> None:
    """An election timeout after it was heard last, and not after the last look: twenty clusters,
    some of which would be late.
    """
    for number in range(20):
        directory = tmp_path / str(number)
        directory.mkdir()
        net = Net(directory)
        net.starts = 100 * number  # other timers
        net.run(1.0 + 0.013 * number)
        old = leader_of(net)
        heard_at = max(net.logs[name]._filter.leader_heard_at for name in others_of(old))
        net.away = {old._me}
        while net.leader() is None:
            net.run(0.005)
            assert net.now - heard_at < 2 * ELECTION_MAX_S, (
                "a split vote may take a second round, nothing takes a third"
            )
        for one in net.logs.values():
            one.close()


def test_one_that_stood_still_past_its_deadline_reads_what_waits_before_it_stands(net: Net) -> None:
    """However short: a look that comes a heartbeat later than it was due was the
    process's own fault.
    """
    leader = leader_of(net)
    name = others_of(leader)[0]
    for still_s in (0.155, 0.2, 0.3, 0.5):
        term = leader.term
        net.still[name] = []
        net.run(still_s)
        net.go_on(name)
        net.run(0.3)
        assert (leader.leading, leader.term) == (True, term)


def test_a_leader_whose_members_come_on_new_connections_after_it_said_the_same_again_leads_on(net: Net) -> None:
    """Its library was last told half a second ago that they live."""
    leader = leader_of(net)
    for _ in range(20):
        net.run(0.47)
        net.connect()
        assert leader.leading
    net.run(1.0)
    assert leader_of(net) is leader


class SlowDisks(Net):
    """Each member has a disk of its own on which a sync takes a while: until it ends that member
    does nothing, and the others go on.
    """

    def __init__(self, directory: Path, sync_s: float, seed: int) -> None:
        self.rng, self.sync_s = random.Random(seed), 0.0
        self.free_at: dict[str, float] = {}
        super().__init__(directory)
        self.sync_s = sync_s
        for one in self.logs.values():
            one.rng = random.Random(self.rng.random())

    def time_of(self, name: str) -> float:
        return max(self.now, self.free_at.get(name, 0.0))

    def disk_of(self, name: str) -> Disk:
        net = self

        class Slow:
            pwrite, pread = staticmethod(os.pwrite), staticmethod(os.pread)

            def fdatasync(self, _fd: int) -> None:
                net.free_at[name] = net.time_of(name) + net.sync_s * net.rng.uniform(0.7, 1.3)

        return Slow()

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += 0.005
            waiting, self.queue = self.queue, []
            for at, (src, dst, data) in enumerate(waiting):
                behind = any(one[:2] == (src, dst) for one in self.queue)
                if behind or max(self.time_of(src), self.time_of(dst)) > self.now:
                    self.queue.append(waiting[at])
                else:
                    self.logs[dst].on_message(src, data)
            for name, one in self.logs.items():
                if self.time_of(name) <= self.now:
                    one.tick()


@pytest.mark.parametrize("sync_s", [0.05, 0.15, 0.3])
def test_members_with_slow_disks_agree_on_a_leader_and_keep_it(tmp_path: Path, sync_s: float) -> None:
    """A term and a vote each wait for a sync: timeouts that forget it let the terms pass each other
    by, for ever.
    """
    for seed in range(8):
        (directory := tmp_path / str(seed)).mkdir()
        net = SlowDisks(directory, sync_s, seed)
        for _ in range(200):
            net.run(0.1)
            if net.leader() is not None:
                break
        leader, term = leader_of(net), leader_of(net).term
        assert term < 40, f"seed {seed}: it took {term} terms"
        net.run(10.0)
        assert net.leader() is leader, f"seed {seed}"
        assert leader.term == term, f"seed {seed}"
