"""When a leader hands over by itself: its signer does not move, or reaches no validator; and when
it must not.
"""

from itertools import pairwise
from typing import Any

import pytest

from cometkms.board.sections import Reach
from cometkms.limits import (
    HAND_OVER_AGAIN_S,
    SIGNER_CALM_S,
    SIGNER_REPLACE_S,
    SIGNER_SILENT_MAX_S,
    SIGNER_SILENT_S,
    UNREACHED_AGAIN_MAX_S,
    UNREACHED_AGAIN_S,
    UNREACHED_S,
)
from cometkms.state.useful import Cause, Usefulness, UsefulPorts

STEP_S = 0.05


class Leader:
    """A node's surroundings; time is stepped by hand.

    The signer beats with each step unless it is stuck.
    """

    def __init__(self, name: str = "a", others: tuple[str, ...] = ("b", "c")) -> None:
        self.name, self.others = name, others
        self.now, self.beats, self.stuck, self.gone = 1000.0, 1, False, False
        self.leads = self.takes_over = True
        self.reached: bool | None = True
        self.able = others
        self.facts: dict[str, Reach] = {}
        self.handed: list[str | None] = []
        self.replaced = 0
        self.said: list[Reach] = []
        self.happened: list[tuple[Cause, str]] = []
        self.logged: list[str] = []
        self.useful = Usefulness(
            ports=UsefulPorts(
                beat=lambda: 0 if self.gone else self.beats,
                reached=lambda: self.reached,
                able=lambda: self.able,
                says=lambda name: self.facts.get(name, Reach.UNKNOWN),
                hand_over=self.hand_over,
                replace_signer=self.replace,
                tell=self.said.append,
                happened=lambda cause, to: self.happened.append((cause, to)),
            ),
            clock=lambda: self.now,
            log=self,
        )

    def warning(self, event: str, **_fields: object) -> None:
        self.logged.append(event)

    def hand_over(self, to: str | None) -> bool:
        if self.takes_over:
            self.handed.append(to)
            self.leads = False
        return self.takes_over

    def replace(self) -> None:
        self.replaced += 1

    def run(self, seconds: float, step_s: float = STEP_S) -> float:
        """Until the lead goes, or for so long; returns how long it was."""
        begun = self.now
        while self.now - begun < seconds:
            self.now += step_s
            self.beats += not self.stuck
            led = self.leads
            self.useful.look(leads=self.leads)
            if led and not self.leads:
                break
        return self.now - begun

    def lead_again(self) -> None:
        self.stuck = self.gone = False
        self.run(1.0)
        self.leads = True
        self.run(1.0)


def test_a_signer_that_beats_keeps_the_lead() -> None:
    leader = Leader()
    leader.run(60.0)
    assert (leader.handed, leader.replaced, leader.logged) == ([], 0, [])


def test_a_signer_that_does_not_move_loses_the_lead_in_time_and_is_replaced() -> None:
    leader = Leader()
    leader.run(1.0)
    leader.stuck = True
    took_s = leader.run(5.0)
    assert SIGNER_SILENT_S <= took_s < 0.5
    assert (leader.handed, leader.replaced, leader.happened) == ([None], 1, [(Cause.SIGNER_SILENT, "")])
    assert leader.useful.counters == {"signer_silent": 1}
    leader.run(5.0)
    assert (leader.handed, leader.replaced) == ([None], 1), "without the lead its silence is the supervisor's business"


def test_a_signer_process_that_was_replaced_loses_the_lead_at_once() -> None:
    leader = Leader()
    leader.run(1.0)
    leader.gone = True
    assert leader.run(5.0) == pytest.approx(STEP_S)
    assert (leader.replaced, leader.happened) == (0, [(Cause.SIGNER_GONE, "")])


def test_without_anybody_to_lead_a_stuck_signer_is_replaced_a_little_later_and_once() -> None:
    leader = Leader()
    leader.run(1.0)
    leader.takes_over, leader.stuck = False, True
    leader.run(SIGNER_REPLACE_S - 0.2)
    assert leader.replaced == 0
    leader.run(5.0)
    assert (leader.replaced, leader.handed, leader.useful.counters) == (1, [], {})
    assert leader.logged == ["the signer does not move"]


def test_whoever_can_take_over_a_moment_later_does() -> None:
    leader = Leader()
    leader.run(1.0)
    leader.takes_over, leader.stuck = False, True
    leader.run(0.6)
    leader.takes_over = True
    assert leader.run(5.0) == pytest.approx(STEP_S)


def test_a_handover_that_is_under_way_is_given_its_time() -> None:
    """The member that was asked does not take over at once: it is not asked with every look."""
    leader = Leader()
    leader.run(1.0)
    asked = []

    def ask(to: str | None) -> bool:
        asked.append(leader.now)
        return True

    leader.useful._ports = UsefulPorts(
        **{**{field: getattr(leader.useful._ports, field) for field in UsefulPorts.__slots__}, "hand_over": ask}
    )
    leader.stuck = True
    leader.run(2.0)
    assert len(asked) >= 2
    assert all(later - earlier >= HAND_OVER_AGAIN_S for earlier, later in pairwise(asked))
    assert leader.replaced == 1


@pytest.mark.parametrize("pause_s", [0.3, 1.0, 30.0])
def test_a_machine_that_stood_still_is_no_signer_that_does(pause_s: float) -> None:
    """This loop was held up as well, so it looks again before it judges."""
    leader = Leader()
    leader.run(1.0)
    leader.stuck = True
    leader.run(STEP_S)
    leader.now += pause_s
    leader.run(STEP_S)
    leader.stuck = False
    leader.run(1.0)
    assert (leader.handed, leader.replaced) == ([], 0)


def test_a_loop_that_is_slow_itself_needs_as_many_looks() -> None:
    leader = Leader()
    leader.run(1.0, step_s=0.2)
    leader.stuck = True
    assert leader.run(20.0, step_s=0.2) >= 1.0


def test_a_signer_that_is_often_late_is_waited_for_longer_and_longer_until_it_was_calm() -> None:
    leader, took = Leader(), []
    for _ in range(6):
        leader.lead_again()
        leader.stuck = True
        took.append(leader.run(20.0))
    assert took == sorted(took)
    assert took[1] >= 2 * SIGNER_SILENT_S
    assert took[-1] == pytest.approx(SIGNER_SILENT_MAX_S, abs=0.2)
    leader.lead_again()
    leader.run(SIGNER_CALM_S + 1)
    leader.stuck = True
    assert leader.run(20.0) < 0.5


def test_a_leader_without_a_validator_hands_over_and_says_so() -> None:
    leader = Leader()
    leader.reached = False
    took_s = leader.run(30.0)
    assert UNREACHED_S <= took_s < UNREACHED_S + 2
    assert (leader.handed, leader.said, leader.happened) == (["b"], [Reach.NO], [(Cause.NO_VALIDATOR, "b")])


def test_a_member_that_reaches_one_is_asked_first_and_one_that_does_not_never() -> None:
    for facts, able, wanted in (
        ({"c": Reach.YES}, ("b", "c"), ["c"]),
        ({"b": Reach.NO}, ("b", "c"), ["c"]),
        ({"b": Reach.NO, "c": Reach.NO}, ("b", "c"), []),
        ({}, (), []),
        ({"c": Reach.YES}, ("b",), ["b"]),
    ):
        leader = Leader()
        leader.reached, leader.facts, leader.able = False, facts, able
        leader.run(30.0)
        assert leader.handed == wanted, facts
        assert leader.said == [Reach.NO]


def test_a_validator_that_comes_back_is_told_and_a_short_absence_changes_nothing() -> None:
    leader = Leader()
    leader.run(2.0)
    leader.reached = False
    leader.run(UNREACHED_S - 1)
    leader.reached = True
    leader.run(30.0)
    assert (leader.handed, leader.said) == ([], [Reach.YES])


def test_what_is_not_known_moves_nothing() -> None:
    leader = Leader()
    leader.reached = None
    leader.run(60.0)
    assert (leader.handed, leader.said) == ([], [])


class Members:
    """Three of them, one of whom leads; each hears what the others say."""

    def __init__(self) -> None:
        self.leader = 0
        self.changes = 0
        self.all: list[Any] = []
        for name in "abc":
            one = Leader(name, tuple(other for other in "abc" if other != name))
            one.leads, one.reached = name == "a", False
            self.all.append(one)
        for one in self.all:
            one.useful._ports = UsefulPorts(
                **{
                    **{field: getattr(one.useful._ports, field) for field in UsefulPorts.__slots__},
                    "says": lambda name: self.all["abc".index(name)].useful.reach,
                    "hand_over": self.hand_over,
                }
            )

    def hand_over(self, to: str | None) -> bool:
        assert to is not None
        self.all[self.leader].leads = False
        self.leader = "abc".index(to)
        self.all[self.leader].leads = True
        self.changes += 1
        return True

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP_S)):
            for one in self.all:
                one.now += STEP_S
                one.beats += 1
                one.useful.look(leads=one.leads)


def test_with_a_validator_that_is_down_every_member_leads_once_and_then_ever_more_rarely() -> None:
    members = Members()
    members.run(20.0)
    assert members.changes == 2, "each tried, and the last one stays"
    members.run(3600.0)
    assert members.changes <= 2 + 2 * (3600 / UNREACHED_AGAIN_MAX_S + UNREACHED_AGAIN_MAX_S / UNREACHED_AGAIN_S)


@pytest.mark.parametrize("who", [0, 1, 2])
def test_the_lead_comes_to_the_only_member_that_reaches_the_validator(who: int) -> None:
    members = Members()
    members.all[who].reached = True
    members.run(30.0)
    assert members.leader == who
    changes = members.changes
    members.run(600.0)
    assert members.changes == changes


@pytest.mark.parametrize(("down_s", "soon_s"), [(15.0, 40.0), (60.0, 90.0), (3600.0, 300.0)])
@pytest.mark.parametrize("other", [1, 2])
def test_a_validator_that_comes_back_for_one_other_member_is_found_in_minutes_at_most(
    down_s: float, soon_s: float, other: int
) -> None:
    """No follower tries its port, so only the lead tells: ten minutes without a signature were the
    price of an hour's outage.
    """
    members = Members()
    members.run(down_s)
    found = (members.leader + other) % 3
    members.all[found].reached = True
    members.run(soon_s)
    assert members.leader == found


def test_a_member_that_reaches_it_only_later_gets_the_lead_later() -> None:
    members = Members()
    members.run(60.0)
    for one in members.all:
        one.reached = one is not members.all[members.leader]
    members.run(UNREACHED_AGAIN_MAX_S + 60)
    assert members.all[members.leader].reached
