"""The drill's steps over a cluster that is made up: whom it moves, what it waits for, what it
measures, and how it ends badly.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cometkms.model import HRS
from cometkms.operator.drill.plan import (
    ORDER_AGAIN_S,
    PATIENCE_S,
    TRANSITIONS,
    Command,
    Drill,
    Kind,
    Phase,
    choose,
    planned,
)
from cometkms.operator.drill.report import document, problems_of, table
from cometkms.operator.drill.view import MemberView, Seen, View

TICK_S = 0.05


class Cluster:
    """Members that obey or do not, and a chain that makes a block every `pace_s` while
    somebody leads.
    """

    def __init__(self, members: str = "abc", me: str = "c", leader: str = "a", chains: int = 1) -> None:
        self.names, self.me, self.leader = list(members), me, leader
        self.chains = tuple(f"chain-{number}" for number in range(chains))
        self.now, self.pace_s, self.height, self.number = 1000.0, 0.25, 10, 0
        self.connects = dict.fromkeys(self.names, 1)
        self.back_at: dict[str, float] = {}
        self.next_block = self.now
        self.pending: list[Seen] = []
        self.orders: list[Command] = []
        self.skip: set[int] = set()
        self.precommits = True
        self.refuse = ""
        self.deaf = 0  # orders to hand over that are obeyed and come to nothing
        self.returns = True

    def view(self) -> View:
        found, self.pending = tuple(self.pending), []
        members = tuple(
            MemberView(name, name == self.me, name not in self.back_at, "complete", self.connects[name])
            for name in self.names
        )
        return View(
            self.now,
            self.me,
            self.leader or None,
            "",
            self.chains,
            members,
            (self.now,) * len(self.chains),
            found,
            0,
            self.number,
        )

    def pass_time(self) -> None:
        self.now += TICK_S
        for name, at in tuple(self.back_at.items()):
            if self.returns and self.now >= at:
                del self.back_at[name]
                self.connects[name] += 1
        if self.leader and self.now >= self.next_block:
            self.next_block = self.now + self.pace_s
            self.height += 1
            for chain in range(len(self.chains)):
                if self.height not in self.skip:
                    step = 3 if self.precommits else 2
                    self.pending.append(Seen(self.number, self.now, chain, HRS(self.height, 0, step), self.leader))
                    self.number += 1

    def obey(self, given: Command) -> str:
        self.orders.append(given)
        if self.refuse:
            return self.refuse
        if given.kind is not Kind.RESTART and self.deaf:
            self.deaf -= 1
        elif given.kind is Kind.RESTART:
            assert self.leader != self.me, "the one that watches was restarted"
            victim = self.leader
            self.back_at[victim] = self.now + 1.0
            self.leader = next(name for name in self.names if name != victim)
            self.next_block = self.now + 0.4
        else:
            self.leader = given.to
            self.next_block = self.now + 0.1
        return ""


def run(
    cluster: Cluster, rounds: int = 1, on_tick: Callable[[Drill], None] = lambda _drill: None, most: int = 30_000
) -> Drill:
    drill = Drill(cluster.view(), rounds)
    for _ in range(most):
        cluster.pass_time()
        drill.on_view(cluster.view())
        if (given := drill.command()) is not None:
            drill.on_order(cluster.obey(given))
        on_tick(drill)
        if drill.phase is Phase.DONE:
            return drill
    raise AssertionError(f"not done: {drill.phase}, {drill.reports}")


def problems(cluster: Cluster, drill: Drill) -> list[str]:
    chains = drill.chain_reports()
    found = problems_of(drill, chains, cluster.view(), [])
    assert document(drill, chains, found)["ok"] is not bool(found)
    assert table(drill, chains, found)[-1] == ("the drill failed" if found else "all is well")
    return found


def test_a_good_drill_moves_restarts_and_puts_back() -> None:
    cluster = Cluster()
    drill = run(cluster)
    assert [(step.kind, step.leader, step.to) for step in drill.reports] == [
        (Kind.TRANSFER, "a", "b"),
        (Kind.RESTART, "b", "a"),
    ]
    assert cluster.leader == "a"
    assert problems(cluster, drill) == []
    assert drill.usual_s == pytest.approx(0.25, abs=0.1)
    assert drill.reports[1].gap_s == pytest.approx(0.45, abs=0.25)
    [chain] = drill.chain_reports()
    assert (chain.missed, chain.no_precommit) == ((), ())
    assert chain.last > chain.first + 6


@pytest.mark.parametrize("members", ["ab", "abc", "abcde"])
@pytest.mark.parametrize("leader", ["a", "b"])
@pytest.mark.parametrize("rounds", [1, 3])
def test_the_watching_node_is_never_restarted_and_the_first_leader_leads_in_the_end(
    members: str, leader: str, rounds: int
) -> None:
    cluster = Cluster(members, me=members[-1], leader=leader)
    drill = run(cluster, rounds)
    assert problems(cluster, drill) == []
    assert cluster.leader == leader
    counted = Counter(given.kind for given in cluster.orders)
    assert counted[Kind.RESTART] == rounds
    assert counted[Kind.TRANSFER] >= rounds


def test_a_cluster_of_several_chains_waits_for_each() -> None:
    cluster = Cluster(chains=3)
    assert problems(cluster, run(cluster)) == []


def test_a_height_without_a_signature_is_found() -> None:
    cluster = Cluster()
    cluster.skip = {18}
    assert problems(cluster, run(cluster)) == ["chain-0: nothing was seen signed at 18"]


def test_a_height_without_its_precommit_is_found_where_the_others_have_theirs() -> None:
    cluster = Cluster()
    drill = run(cluster, on_tick=lambda drill: setattr(cluster, "precommits", cluster.height != 19))
    assert problems(cluster, drill) == ["chain-0: no precommit was seen at 20"]
    cluster = Cluster()
    cluster.precommits = False
    assert problems(cluster, run(cluster)) == []


def test_what_a_leader_signed_last_is_not_said_to_be_missing() -> None:
    first = Cluster().view()
    drill = Drill(first, 1)
    signers = {10: "b", 11: "b", 12: "b", 13: "a", 14: "a", 15: "a"}
    seen = [
        Seen(number, float(number), 0, HRS(height, 0, step), signers[height])
        for number, (height, step) in enumerate(product(signers, (1, 2, 3)))
        if (height, step) not in ((12, 3), (14, 3))
    ]
    drill.on_view(replace(first, signatures=tuple(seen)))
    drill._reliable = frozenset([0])
    [chain] = drill.chain_reports()
    assert (chain.missed, chain.no_precommit, chain.untold) == ((), (14,), (12,))
    assert "whether 12 has its precommit is not known here" in chain.note
    assert chain.note in table(drill, [chain], [])
    assert document(drill, [chain], [])["chains"][0]["untold"] == [12]


def test_signatures_that_were_forgotten_before_they_were_read_are_not_taken_for_missed_ones() -> None:
    cluster = Cluster()
    cluster.skip = {18}
    drill = run(cluster)
    drill.lost_sight = True
    assert ["came faster" in one for one in problems(cluster, drill)] == [True]


def test_a_refused_order_is_given_again_until_its_time_is_up() -> None:
    cluster = Cluster()
    cluster.refuse = "not now"
    drill = run(cluster)
    assert drill.problem == f"transfer of a: waited {PATIENCE_S[Phase.ORDER]:.0f} s for the order to be obeyed: not now"
    assert 10 < len(cluster.orders) <= PATIENCE_S[Phase.ORDER] / ORDER_AGAIN_S + 2
    assert drill.reports[0].problem


def test_an_order_that_is_refused_for_a_while_goes_through() -> None:
    cluster = Cluster()
    cluster.refuse = "it runs for 1 s only"
    drill = run(
        cluster, on_tick=lambda _: setattr(cluster, "refuse", "" if len(cluster.orders) > 3 else cluster.refuse)
    )
    assert problems(cluster, drill) == []


def test_a_hand_over_that_nobody_took_is_ordered_again() -> None:
    cluster = Cluster()
    cluster.deaf = 1
    drill = run(cluster)
    assert problems(cluster, drill) == []
    assert Counter(given.kind for given in cluster.orders)[Kind.TRANSFER] == 2


def test_a_hand_over_that_nobody_ever_takes_fails_and_says_so() -> None:
    cluster = Cluster()
    cluster.deaf = 100
    drill = run(cluster)
    assert "waited 30 s for another leader" in drill.problem
    assert len(cluster.orders) == 3


def test_a_member_that_does_not_come_back_fails_and_the_leadership_goes_back() -> None:
    cluster = Cluster(leader="b")
    cluster.returns = False
    drill = run(cluster)
    found = problems(cluster, drill)
    assert any("restart of a" in one for one in found)
    assert "a is not complete at the end" in found
    assert cluster.leader == "b"


def test_a_chain_that_stands_still_is_not_touched() -> None:
    cluster = Cluster()
    cluster.next_block = float("inf")
    drill = run(cluster)
    assert (cluster.orders, drill.reports) == ([], [])
    assert "heights of each chain" in drill.problem


@pytest.mark.parametrize("phase", [Phase.WATCH, Phase.ORDER, Phase.CHANGE, Phase.GATHER, Phase.SIGN])
@pytest.mark.parametrize("step", [1, 2])
def test_an_interruption_ends_the_step_and_puts_the_leadership_back(phase: Phase, step: int) -> None:
    cluster = Cluster()
    done: list[bool] = []

    def interrupt(drill: Drill) -> None:
        at = len(drill.reports) == (0 if phase is Phase.WATCH else step)
        if not done and at and (drill.phase is phase or (phase is Phase.ORDER and drill.phase is Phase.CHANGE)):
            done.append(True)
            drill.on_order("interrupted")
            drill.interrupt()
            drill.interrupt()

    drill = run(cluster, rounds=5, on_tick=interrupt)
    assert problems(cluster, drill) == ["the drill was interrupted"]
    assert cluster.leader == "a"
    assert cluster.view().missing == ()
    assert Counter(given.kind for given in cluster.orders)[Kind.RESTART] <= 1


def test_an_interruption_before_an_order_is_given_gives_none() -> None:
    cluster = Cluster()
    drill = Drill(cluster.view(), 1)
    while drill.phase is Phase.WATCH:
        cluster.pass_time()
        drill.on_view(cluster.view())
    drill.interrupt()
    assert (drill.phase, drill.reports, cluster.orders) == (Phase.DONE, [], [])


@pytest.mark.parametrize("source", Phase)
@pytest.mark.parametrize("target", Phase)
def test_only_what_the_table_holds_happens(source: Phase, target: Phase) -> None:
    drill = Drill(Cluster().view(), 1)
    drill.phase = source
    if target in TRANSITIONS[source]:
        drill._enter(target)
        assert drill.phase is target
    else:
        with pytest.raises(ValueError, match="cannot go"):
            drill._enter(target)
        assert drill.phase is source


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_whatever_happens_it_ends_and_says_what_is_not_well(data: st.DataObject) -> None:
    """Refusals, deafness, skipped heights, members that stay away, leaders that vanish, an
    interruption: at any time.
    """
    cluster = Cluster(data.draw(st.sampled_from(["ab", "abc", "abcde"])), me="b")
    trouble = data.draw(
        st.dictionaries(
            st.integers(0, 2000),
            st.sampled_from(["refuse", "fine", "deaf", "stay", "return", "none", "some", "stop"]),
            max_size=6,
        )
    )
    ticks = iter(range(1 << 30))

    def happen(drill: Drill) -> None:
        match trouble.get(next(ticks)):
            case "refuse":
                cluster.refuse = "no"
            case "fine":
                cluster.refuse = ""
            case "deaf":
                cluster.deaf = 2
            case "stay":
                cluster.returns = False
            case "return":
                cluster.returns = True
            case "none":
                cluster.leader = ""
            case "some":
                cluster.leader = cluster.leader or "a"
            case "stop":
                drill.interrupt()
            case _:
                pass

    drill = run(cluster, data.draw(st.integers(1, 2)), happen, most=60_000)
    found = problems(cluster, drill)
    if cluster.leader != "a" or cluster.view().missing or drill.interrupted:
        assert found


def test_the_plan_in_words_names_everybody() -> None:
    lines = planned(Cluster().view(), 1)
    assert lines == [
        "a hands the leadership to b",
        "b is stopped and started while it leads; another node takes over",
        "a leads again",
    ]
    two = planned(Cluster("ab", me="b").view(), 1)
    assert two[:3] == [
        "a hands the leadership to b",
        "b hands the leadership to a: b watches and is not restarted",
        "a is stopped and started while it leads; another node takes over",
    ]


def test_the_watching_node_leads_only_when_nobody_else_is_left() -> None:
    view = Cluster().view()
    assert (choose(view, "a"), choose(view, "b"), choose(view, "c")) == ("b", "a", "a")
    assert choose(Cluster("ab", me="b").view(), "a") == "b"
