"""Ordered handovers and rolling restarts in the simulated cluster: taken at once by whoever can,
however short a time it has been back.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.sim.machine import Node
from tests.sim.world import World

# less than the news of a closed connection takes: what was sent before arrives before, as on a real
# one
DELAY_S = 0.0001
AT_ONCE_S = 0.1  # of simulated time: two heartbeats, and no election timeout


class Calm(World):
    """Every message arrives, after the same time; no faults but those of the test."""

    def __init__(self, seed: int, nodes: int) -> None:
        super().__init__(seed, nodes)
        self.strict = self.lossy = False
        for name in self.names:
            self.after(self.rng.uniform(0, 0.3), self.nodes[name].restart_if_down)
        self.after(0.0, self.keep_connected)
        for validator in self.validators:
            self.after(self.rng.random(), validator.poll)

    def send(self, src: str, dst: str, payload: bytes) -> bool:
        connection = self.connections.get(frozenset((src, dst)))
        if connection is None or not connection.open or len(connection.established) < 2:
            return False
        if connection.ends[src] == self.nodes[src].incarnation:
            self.after(DELAY_S, self.deliver, connection, src, dst, payload)
            return True
        return False

    def until(self, what: str, condition: Callable[[], Any]) -> Any:
        end = self.now + 30.0
        while self.now < end:
            if found := condition():
                return found
            self.run_until(self.now + 0.005)
        raise AssertionError(f"{what}:\n" + "\n".join(self.trace[-60:]))

    def leader(self) -> Node | None:
        found = [node for node in self.nodes.values() if node.cluster is not None and node.cluster.leading]
        return found[0] if len(found) == 1 else None

    def whole(self) -> Node | None:
        """The leader, when it sees every other member able to take over."""
        leader = self.leader()
        return (
            leader
            if leader is not None and leader.cluster is not None and not leader.cluster.roster.missing()
            else None
        )

    def signs_on(self) -> None:
        before = max(self.signatures)
        self.until("signatures", lambda: max(self.signatures).height > before.height)


@pytest.fixture(params=[(seed, nodes) for seed in range(1, 6) for nodes in (2, 3, 5)], ids=str)
def world(request: pytest.FixtureRequest) -> Iterator[Calm]:
    made = Calm(*request.param)
    made.until("the cluster is born", made.whole)
    made.until("signatures", lambda: made.signatures)
    yield made
    made.close_all()


def hand_over(world: Calm, to: str | None) -> Node:
    """At once, whoever it is; the new leader."""
    old = world.leader()
    assert old is not None
    assert old.cluster is not None
    assert old.raft is not None
    term = old.raft.term
    assert old.cluster.handover.hand_over(to) == ""
    world.run_until(world.now + AT_ONCE_S)
    new = world.leader()
    assert new not in (None, old), "\n".join(world.trace[-40:])
    assert new.raft is not None
    names = sorted(world.names)
    # the next term of the new leader's own (rule 12)
    own = term + 1 + (names.index(new.member) - term - 1) % len(names)
    assert new.raft.term == own, "one election, and nobody stood against it"
    return new


def test_whoever_has_just_come_back_takes_over_at_once(world: Calm) -> None:
    for _ in range(5):
        leader = world.whole()
        back = world.rng.choice([node for node in world.nodes.values() if node is not leader])
        back.crash(power=True)
        world.run_until(world.now + 0.5)
        back.restart_if_down()
        world.until("it is back", world.whole)
        # of two, the one that stayed lost its majority, and either is elected
        if world.leader() is back:
            hand_over(world, leader.name)
        assert hand_over(world, back.name) is back
        world.signs_on()


def test_an_order_to_anybody_is_taken_at_once_after_anybody_came_back(world: Calm) -> None:
    for _ in range(5):
        gone = world.rng.choice(list(world.nodes.values()))
        gone.crash()
        world.run_until(world.now + 0.5)
        gone.restart_if_down()
        world.until("it is back", world.whole)
        hand_over(world, None)
        world.signs_on()


def test_a_rolling_restart_hands_over_at_each_leader_and_signs_on(world: Calm) -> None:
    for node in (*world.nodes.values(), *world.nodes.values()):
        world.until("the one before is back", world.whole)
        led, ordered = world.leader() is node, world.now
        node.restart_now(node.incarnation)
        world.until("it ends", lambda node=node: node.cluster is None)
        if led and len(world.nodes) > 2:
            world.run_until(ordered + AT_ONCE_S)
            assert world.leader() not in (None, node), "\n".join(world.trace[-40:])
        world.until("it is started", lambda node=node: node.cluster is not None)
    world.until("the last one is back", world.whole)
    world.signs_on()
