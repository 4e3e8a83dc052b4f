"""The lead returns to whom `leader_priority` prefers, in simulated clusters that sign meanwhile;
and it does not circle.
"""

from collections.abc import Callable

import pytest

from cometkms import limits
from cometkms.state import favourite as module
from cometkms.wire.peer_messages import Action, make_facts
from tests.sim.machine import Node
from tests.sim.test_handover import Calm

SHORTER = 20  # every time that the favourite waits for, so that the simulation ends
CALM_S, ORDER_S = limits.FAVOURITE_CALM_S / SHORTER, limits.FAVOURITE_ORDER_S / SHORTER
SOON_S = CALM_S + limits.FAVOURITE_QUIET_S / SHORTER + 5.0


@pytest.fixture(autouse=True)
def shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CALM", "QUIET", "KEPT", "AGAIN_MAX", "ORDER", "TELL", "LOOK"):
        monkeypatch.setattr(module, f"FAVOURITE_{name}_S", getattr(limits, f"FAVOURITE_{name}_S") / SHORTER)


class Preferring(Calm):
    """The last member is preferred. `led`: everybody who led, in order."""

    def __init__(self, seed: int, nodes: int = 3, facts: dict[str, dict[str, str]] | None = None) -> None:
        self.trips_s: dict[frozenset[str], float] = {}
        super().__init__(seed, nodes)
        self.poll_s = (0.1, 0.3)
        self.agents_rest = 0.97  # as rarely as the other validators
        preferred = {name: {"leader_priority": "0"} for name in self.names} | {
            self.names[-1]: {"leader_priority": "90"}
        }
        self.facts = {name: make_facts(told) for name, told in (facts or preferred).items()}
        self.favourite = self.names[-1]
        self.led: list[str] = []

    def round_trip_to(self, member: str, peer: str) -> float:
        return self.trips_s.get(frozenset((member, peer)), 0.001)

    def until(self, what: str, condition: Callable[[], object], patience_s: float = 30.0) -> object:
        end = self.now + patience_s
        while self.now < end:
            leader = self.leader()
            if leader is not None and self.led[-1:] != [leader.name]:
                self.led.append(leader.name)
            if found := condition():
                return found
            self.run_until(self.now + 0.05)
        raise AssertionError(f"{what}:\n" + "\n".join(self.trace[-60:]))

    def run_for(self, seconds: float) -> list[str]:
        """Who led meanwhile."""
        del self.led[:-1]
        end = self.now + seconds
        self.until("the time is over", lambda: self.now >= end, seconds + 1.0)
        return list(self.led)

    def led_by(self, name: str) -> Callable[[], bool]:
        return lambda: (leader := self.leader()) is not None and leader.name == name


@pytest.fixture(params=[1, 2])
def world(request: pytest.FixtureRequest) -> Preferring:
    made = Preferring(request.param)
    request.addfinalizer(made.close_all)
    made.until("the cluster is born", made.whole)
    return made


def move(world: Preferring, to: str) -> Node:
    """The lead, without an order: as when the leader's process ends well."""
    leader = world.leader()
    assert leader is not None
    assert leader.cluster is not None
    if leader.name != to:
        assert leader.cluster.handover.hand_over(to) == ""
        world.until(f"{to} leads", world.led_by(to))
    return world.nodes[to]


def test_the_lead_returns_after_a_minute_and_stays(world: Preferring) -> None:
    world.until("the favourite leads", world.led_by(world.favourite), SOON_S)
    assert world.run_for(30.0) == [world.favourite]
    world.nodes[world.favourite].crash(power=True)
    world.until("another leads", lambda: world.leader() not in (None, world.nodes[world.favourite]))
    world.nodes[world.favourite].restart_if_down()
    world.until("all are there", world.whole)
    back_at = world.now
    world.until("the favourite leads again", world.led_by(world.favourite), 3 * SOON_S)
    assert world.now - back_at >= CALM_S - 0.5
    world.signs_on()


def test_a_favourite_that_reaches_no_validator_gets_the_lead_ever_more_rarely(world: Preferring) -> None:
    world.nodes[world.favourite].unreached_until = float("inf")
    tried = world.run_for(180.0).count(world.favourite)
    assert 2 <= tried <= 6, tried
    world.nodes[world.favourite].unreached_until = 0.0
    world.until("it leads when it is well again", world.led_by(world.favourite), 180.0)
    assert world.run_for(30.0) == [world.favourite]


def test_within_a_drill_and_after_an_order_the_lead_stays_where_it_was_put(world: Preferring) -> None:
    world.until("the favourite leads", world.led_by(world.favourite), SOON_S)
    leader = world.nodes[world.favourite]
    assert leader.cluster is not None
    assert leader.cluster.handover.drills.obey("operator", Action.TRANSFER, "n0") == ""
    world.until("n0 leads", world.led_by("n0"))
    assert world.run_for(ORDER_S - 1.0) == ["n0"]
    checked = world.nodes["n0"].cluster
    assert checked is not None
    assert checked.handover.drills.obey("drill", Action.CHECK, "") == ""
    assert world.run_for(ORDER_S - 1.0) == ["n0"]
    world.until("it returns then", world.led_by(world.favourite), SOON_S)


def test_members_that_come_and_go_keep_the_lead_where_it_is(world: Preferring) -> None:
    move(world, "n0")
    for _ in range(6):
        assert world.run_for(CALM_S / 2) == ["n0"]
        world.nodes["n1"].crash()
        world.run_for(0.5)
        world.nodes["n1"].restart_if_down()
        world.until("it is back", world.whole)


@pytest.mark.parametrize("seed", [1, 2])
def test_nearest_is_whoever_has_a_majority_nearby(seed: int) -> None:
    """Two at one place, and one that is far from both: one of the two leads, and they
    do not take turns.
    """
    world = Preferring(seed, facts={name: {"leader_priority": "nearest"} for name in ("n0", "n1", "n2")})
    world.trips_s = {frozenset(("n0", "n2")): 0.08, frozenset(("n1", "n2")): 0.09, frozenset(("n0", "n1")): 0.002}
    try:
        world.until("the cluster is born", world.whole)
        move(world, "n2")
        world.until(
            "one of the near ones leads", lambda: world.leader() in (world.nodes["n0"], world.nodes["n1"]), SOON_S
        )
        assert len(world.run_for(60.0)) == 1
    finally:
        world.close_all()


@pytest.mark.parametrize("facts", [{}, {"n0": {"leader_priority": "nearest"}, "n1": {"leader_priority": "70"}}])
def test_without_a_common_word_the_lead_stays(facts: dict[str, dict[str, str]]) -> None:
    world = Preferring(1, facts=facts or {"n0": {}, "n1": {}, "n2": {}})
    try:
        world.until("the cluster is born", world.whole)
        move(world, "n0")
        assert world.run_for(30.0) == ["n0"]
    finally:
        world.close_all()
