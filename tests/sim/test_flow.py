"""While promises flow, heartbeats rest, and nothing about who leads changes: not while they flow,
not when they stop, not by a fault.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from cometkms.model import HRS, Step, Watermark
from cometkms.rules.flow import REST_S
from cometkms.state.facts import RENEWAL_FACT
from cometkms.state.raft import RaftLog, wire
from cometkms.state.raft.filter import RaftFilter
from cometkms.state.raft.pace import HEARTBEAT_S
from cometkms.state.roster import Roster
from tests.sim.machine import Node
from tests.sim.test_far import born, bound_s, wait_leader
from tests.sim.world import World

SEEDS = range(1, 3)
FLOW_S = 3.0
LOOK_S = 0.01


@pytest.fixture
def beats(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Messages that were sent, by their kind; sign states that were submitted; and what the library
    was asked to say (`asked`).
    """
    found: Counter[str] = Counter()
    stock, send = RaftFilter.outbound, Roster.send_raft

    def outbound(self: RaftFilter, term: int, message: dict[str, Any]) -> dict[str, Any] | None:
        found["asked"] += message["type"] == "append_entries"
        return stock(self, term, message)

    def sent(self: Roster, member: str, payload: bytes) -> bool:
        kind = wire.decode(payload)["type"]
        found[kind] += 1
        found[f"{kind} to {member}"] += 1
        return send(self, member, payload)

    submit = RaftLog.submit

    def submitted(self: RaftLog, key: bytes, mark: Watermark) -> bool:
        found["submitted"] += 1
        return submit(self, key, mark)

    monkeypatch.setattr(RaftFilter, "outbound", outbound)
    monkeypatch.setattr(Roster, "send_raft", sent)
    monkeypatch.setattr(RaftLog, "submit", submitted)
    return found


@pytest.fixture
def worlds() -> Iterator[list[World]]:
    made: list[World] = []
    yield made
    for world in made:
        world.close_all()


def flowing(worlds: list[World], seed: int) -> tuple[World, Node]:
    """A cluster of three whose one validator asks for the next vote as soon as it has the last."""
    world = born(seed, 0, 0)
    worlds.append(world)
    world.poll_s = (0.001, 0.006)
    validator = world.validators[0]

    def advance() -> None:
        """Round after round: it forgets nothing and repeats nothing."""
        validator.place = HRS(validator.place.height, validator.place.round + 1, Step.PREVOTE)

    validator.advance = advance  # type: ignore[method-assign]
    world.after(0.0, validator.poll)
    world.run_until(world.now + 2.0)
    return world, wait_leader(world)


def stop(world: World) -> None:
    """The validator asks for nothing more."""
    world.validators[0].poll = lambda: None  # type: ignore[method-assign]


def leads_on(world: World, leader: Node, seconds: float) -> None:
    """At every look everybody who is there says that it leads, in the same term."""
    assert leader.raft is not None
    term, until = leader.raft.term, world.now + seconds
    while world.now < until:
        world.run_until(world.now + LOOK_S)
        assert leader.cluster is not None
        assert leader.cluster.leading
        for node in world.nodes.values():
            if node.cluster is not None and world.now >= node.frozen_until:
                assert node.cluster.leader == leader.member
                assert node.cluster.why == ""
    assert leader.raft.term == term


@pytest.mark.parametrize("seed", SEEDS)
def test_while_promises_flow_heartbeats_rest(seed: int, worlds: list[World], beats: Counter[str]) -> None:
    world, leader = flowing(worlds, seed)
    beats.clear()
    signed = world.stats["signed"]
    leads_on(world, leader, FLOW_S)
    assert world.stats["signed"] - signed > FLOW_S / HEARTBEAT_S, "promises flow"
    # of a sign state an entry and twice its commit, to two members
    replicated = 6 * beats["submitted"]
    assert beats["append_entries"] <= 2 * (FLOW_S / REST_S + 1) + replicated
    assert beats["append_entries"] < 2 * FLOW_S / HEARTBEAT_S * 0.6
    beats.clear()
    stop(world)
    leads_on(world, leader, FLOW_S)
    assert beats["append_entries"] > 2 * FLOW_S / HEARTBEAT_S * 0.8, "they are back"
    assert beats["asked"] <= 2 * (FLOW_S / REST_S + 1) + 6 * beats["submitted"], "and cost the library nothing"
    assert beats["next_node_idx"] > 2 * FLOW_S / HEARTBEAT_S * 0.8
    assert beats["request_vote"] == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_beside_a_member_that_does_not_take_promises_for_heartbeats_they_never_rest(
    seed: int, worlds: list[World], beats: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stock = Roster.hello

    def hello(self: Roster, member: str) -> bytes:
        if self._epoch.me == "n2":
            self.facts = tuple(one for one in self.facts if one[0] != RENEWAL_FACT)
        return stock(self, member)

    monkeypatch.setattr(Roster, "hello", hello)
    world, leader = flowing(worlds, seed)
    if leader.member == "n2":
        leader.crash()
        leader = wait_leader(world, besides="n2")
        world.run_until(world.now + 2.0)
        leader = wait_leader(world)
    beats.clear()
    leads_on(world, leader, FLOW_S)
    assert leader.member != "n2"
    assert beats["append_entries to n2"] > FLOW_S / HEARTBEAT_S * 0.8
    assert beats["append_entries"] < 2 * FLOW_S / HEARTBEAT_S * 0.9, "those to the other rest"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_follower_that_falls_silent_takes_no_leader_away(seed: int, worlds: list[World]) -> None:
    world, leader = flowing(worlds, seed)
    other = next(node for node in world.nodes.values() if node is not leader)
    other.frozen_until = world.now + 1.0
    leads_on(world, leader, 0.9)
    signed = world.stats["signed"]
    world.run_until(world.now + 2.0)
    assert world.stats["signed"] > signed
    wait_leader(world)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("how", ["silent", "killed"])
def test_a_leader_that_is_lost_while_promises_flow_has_a_successor_in_time(
    seed: int, how: str, worlds: list[World]
) -> None:
    world, leader = flowing(worlds, seed)
    at = world.now
    if how == "silent":
        leader.frozen_until = world.now + 60.0
    else:
        leader.crash(power=True)
    wait_leader(world, besides=leader.name)
    # What the last promise renewed begins anew at the look after it, at most a heartbeat later.
    assert world.now - at <= bound_s(0, 0) + (0.3 + HEARTBEAT_S if how == "silent" else 0.0)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_handover_that_is_ordered_while_heartbeats_rest_is_taken_at_once(seed: int, worlds: list[World]) -> None:
    world, leader = flowing(worlds, seed)
    at = world.now
    assert leader.cluster is not None
    assert leader.cluster.handover.hand_over() == ""
    wait_leader(world, besides=leader.name)
    assert world.now - at < 0.2
