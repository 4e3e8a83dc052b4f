"""Whom the lead returns to, when, and when not; and that it does not circle."""

from itertools import pairwise

import pytest

from cometkms.board.sections import Reach
from cometkms.limits import (
    FAVOURITE_AGAIN_MAX_S,
    FAVOURITE_CALM_S,
    FAVOURITE_KEPT_S,
    FAVOURITE_ORDER_S,
    FAVOURITE_QUIET_S,
    FAVOURITE_TAKES_S,
    FAVOURITE_TELL_S,
)
from cometkms.state.favourite import (
    MAJORITY_FACT,
    PREFERRED,
    PRIORITY_FACT,
    Favourite,
    FavouritePorts,
    Standing,
    standing_of,
)

STEP_S = 0.25


class Leader:
    """Node a and what it knows of b and c; time is stepped by hand.

    Whoever is asked takes the lead at once.
    """

    def __init__(self, **priorities: str) -> None:
        self.now = 1000.0
        self.facts = {
            name: {PRIORITY_FACT: text} for name, text in {"a": "50", "b": "50", "c": "50", **priorities}.items()
        }
        self.able: tuple[str, ...] = ("b", "c")
        self.reach: dict[str, Reach] = {}
        self.behind: set[str] = set()
        self.busy = self.waiting = False
        self.takes = True
        self.leader = ""
        self.majority_s: float | None = None
        self.handed: list[str] = []
        self.happened: list[str] = []
        self.favourite = Favourite(
            me="a",
            ports=FavouritePorts(
                facts=lambda name: self.facts[name],
                able=lambda: self.able,
                says=lambda name: self.reach.get(name, Reach.UNKNOWN),
                whole=lambda name: name not in self.behind,
                busy=lambda: self.busy,
                waiting=lambda: self.waiting,
                hand_over=self.hand_over,
                majority_s=lambda: self.majority_s,
                tell=lambda ms: self.facts["a"].update({MAJORITY_FACT: ms}),
                happened=self.happened.append,
            ),
            clock=lambda: self.now,
            log=self,
        )
        self.lead("a")

    def info(self, event: str, **fields: object) -> None: ...

    warning = info

    def lead(self, name: str) -> None:
        self.leader = name
        self.favourite.on_leader(name)

    def hand_over(self, to: str) -> bool:
        self.handed.append(to)
        if self.takes:
            self.lead(to)
        return True

    def run(self, seconds: float) -> float:
        """Until the lead goes from a, or for so long; returns how long it was."""
        begun, handed = self.now, len(self.handed)
        while self.now - begun < seconds and len(self.handed) == handed:
            self.now += STEP_S
            self.favourite.look(leads=self.leader == "a")
        return self.now - begun


def test_the_lead_returns_to_the_highest_number_after_a_minute_of_calm() -> None:
    leader = Leader(b="60", c="70")
    assert FAVOURITE_CALM_S <= leader.run(600.0) <= FAVOURITE_CALM_S + 2.0
    assert (leader.handed, leader.happened, leader.favourite.counters) == (["c"], ["c"], {PREFERRED: 1})


@pytest.mark.parametrize("numbers", [{}, {"a": "51"}, {"b": "49", "c": "0"}, {"a": "100", "b": "100", "c": "100"}])
def test_nobody_better_leaves_the_lead_where_it_is(numbers: dict[str, str]) -> None:
    leader = Leader(**numbers)
    leader.run(3 * FAVOURITE_CALM_S)
    assert leader.handed == []


@pytest.mark.parametrize("text", ["", "high", "101", "-1", "5e1", "٧٠", "999999999999", "nearest", "near"])
def test_what_says_no_number_is_not_better_than_one(text: str) -> None:
    leader = Leader(a="0", b=text)
    del leader.facts["c"][PRIORITY_FACT]
    leader.run(3 * FAVOURITE_CALM_S)
    assert leader.handed == []


def test_a_member_that_comes_or_goes_begins_the_minute_anew() -> None:
    leader = Leader(b="60")
    leader.run(FAVOURITE_CALM_S - 5.0)
    leader.able = ("b",)
    leader.run(2.0)
    leader.able = ("b", "c")
    assert leader.run(600.0) >= FAVOURITE_CALM_S - 2.0


@pytest.mark.parametrize("lacks", ["not able", "no validator", "log behind"])
def test_whoever_is_not_whole_is_passed_over(lacks: str) -> None:
    leader = Leader(b="60", c="70")
    match lacks:
        case "not able":
            leader.able = ("b",)
        case "no validator":
            leader.reach["c"] = Reach.NO
        case _:
            leader.behind.add("c")
    leader.run(600.0)
    assert leader.handed == ["b"]


def test_of_two_alike_the_one_that_reaches_a_validator() -> None:
    leader = Leader(b="60", c="60")
    leader.reach["c"] = Reach.YES
    leader.run(600.0)
    assert leader.handed == ["c"]


def test_it_waits_for_a_moment_without_a_request_and_not_for_ever() -> None:
    leader = Leader(b="60")
    leader.busy = True
    took_s = leader.run(600.0)
    assert FAVOURITE_CALM_S + FAVOURITE_QUIET_S <= took_s <= FAVOURITE_CALM_S + FAVOURITE_QUIET_S + 2.0
    leader = Leader(b="60")
    leader.waiting = True
    leader.run(300.0)
    assert leader.handed == [], "a request that waits for its promises is answered first"


def test_after_an_order_or_within_a_drill_the_lead_stays_where_it_was_put() -> None:
    leader = Leader(b="60")
    leader.run(FAVOURITE_CALM_S / 2)
    for _ in range(3):  # a drill gives its orders more often than that
        leader.favourite.on_order()
        leader.run(FAVOURITE_ORDER_S - 1.0)
    assert leader.handed == []
    assert leader.run(600.0) <= FAVOURITE_CALM_S


def test_whoever_loses_the_lead_early_waits_twice_as_long_each_time_and_no_more_than_an_hour() -> None:
    leader = Leader(b="60")
    waits = []
    for _ in range(10):
        waits.append(leader.run(2 * FAVOURITE_AGAIN_MAX_S))
        leader.now += 3.0  # b reaches no validator
        leader.lead("a")
    assert leader.handed == ["b"] * 10
    assert waits[0] <= FAVOURITE_CALM_S + 2.0
    for before, after in pairwise(waits):
        assert after == pytest.approx(min(2 * before, FAVOURITE_AGAIN_MAX_S), rel=0.05)


def test_a_lead_that_was_kept_is_given_back_after_a_minute_again() -> None:
    leader = Leader(b="60")
    for _ in range(3):
        assert leader.run(600.0) <= FAVOURITE_CALM_S + 2.0
        leader.now += FAVOURITE_KEPT_S
        leader.lead("a")


def test_a_lead_that_went_by_order_or_by_preference_was_not_lost() -> None:
    leader = Leader(b="60")
    leader.run(600.0)
    leader.favourite.on_order()
    leader.now += 3.0
    leader.lead("a")
    assert leader.run(2 * FAVOURITE_ORDER_S) <= FAVOURITE_ORDER_S, "no longer than the order says"
    leader.now += 3.0
    leader.favourite.on_preferred()
    leader.favourite.on_leader(None)
    leader.lead("a")
    assert leader.run(600.0) <= FAVOURITE_CALM_S + 2.0


def test_whoever_does_not_take_the_lead_is_asked_again_later_and_the_next_best_meanwhile() -> None:
    leader = Leader(b="60", c="70")
    leader.takes = False
    leader.run(600.0)
    assert leader.run(600.0) <= FAVOURITE_CALM_S + FAVOURITE_TAKES_S + 2.0
    assert leader.handed == ["c", "b"]
    leader.takes = True
    leader.run(600.0)
    assert leader.handed == ["c", "b", "c"]


def test_nearest_goes_where_a_majority_is_clearly_nearer() -> None:
    leader = Leader(a="nearest", b="nearest", c="nearest")
    leader.majority_s = 0.100
    leader.facts["b"][MAJORITY_FACT] = "81.0"
    leader.run(300.0)
    assert (leader.handed, leader.facts["a"][MAJORITY_FACT]) == ([], "100.0"), "by less than a fifth"
    leader.facts["b"][MAJORITY_FACT] = "79.0"
    leader.facts["c"][MAJORITY_FACT] = "20.0"
    leader.run(300.0)
    assert leader.handed == ["c"]
    near = Leader(a="nearest", b="nearest", c="nearest")
    near.majority_s, near.facts["b"][MAJORITY_FACT] = 0.004, "0.1"
    near.run(300.0)
    assert near.handed == [], "on one site nobody is nearer"


def test_a_round_trip_is_told_rarely_and_when_it_changed() -> None:
    leader = Leader(a="nearest")
    told = []
    for step in range(400):
        leader.majority_s = (50.0 + step % 3) / 1000 if step < 200 else 0.2
        leader.run(1.0)
        told.append(leader.facts["a"].get(MAJORITY_FACT))
    assert len(set(told)) == 2
    leader.majority_s = None
    leader.run(FAVOURITE_TELL_S * 2)
    assert leader.facts["a"][MAJORITY_FACT] == "200.0"


def test_who_does_not_say_nearest_tells_no_round_trip() -> None:
    leader = Leader()
    leader.majority_s = 0.2
    leader.run(30.0)
    assert MAJORITY_FACT not in leader.facts["a"]


@pytest.mark.parametrize(
    ("facts", "standing"),
    [
        ({PRIORITY_FACT: "0"}, Standing(priority=0)),
        ({PRIORITY_FACT: "100"}, Standing(priority=100)),
        ({PRIORITY_FACT: "nearest"}, Standing(nearest=True)),
        ({PRIORITY_FACT: "nearest", MAJORITY_FACT: "12.5"}, Standing(nearest=True, majority_s=0.0125)),
        ({PRIORITY_FACT: "nearest", MAJORITY_FACT: "nan"}, Standing(nearest=True)),
        ({PRIORITY_FACT: "nearest", MAJORITY_FACT: "-1"}, Standing(nearest=True)),
        ({PRIORITY_FACT: "nearest", MAJORITY_FACT: "1e9"}, Standing(nearest=True)),
        ({PRIORITY_FACT: "7", MAJORITY_FACT: "1"}, Standing(priority=7)),
        ({}, Standing()),
    ],
)
def test_a_members_words_are_numbers_or_nothing(facts: dict[str, str], standing: Standing) -> None:
    assert standing_of(facts) == standing
