"""The simulation runs the agents' path that ships, at both ends, and its faults reach it."""

from collections import Counter

import pytest

from tests.sim import relays
from tests.sim.agents import Agent
from tests.sim.ground import Violation
from tests.sim.relays import RelayAgent
from tests.sim.world import World

IN_C = {"asked in C", "reserved in C for an agent", "answered in C", "passed on in C"}
FAULTS = {"agents killed", "agents frozen", "lies to agents", "empty answers of agents", "short send in C"}
SEEDS = range(1, 61)


def agents_of(*, fast: bool) -> Counter[str]:
    """What became of the seeds that have agents, until everything that is looked for was there."""
    found: Counter[str] = Counter()
    for seed in SEEDS:
        world = World(seed, 3, fast=fast)
        if world.agents:
            world.run(6.0)
            found += Counter(world.stats)
        else:
            world.close_all()
        if found.keys() >= IN_C | FAULTS:
            break
    return found


def test_agents_are_asked_served_and_answered_in_c_and_every_fault_reaches_them() -> None:
    found = agents_of(fast=True)
    assert found.keys() >= IN_C | FAULTS
    assert found["signed through an agent"] > 0


def test_a_fast_seed_has_the_agents_that_ship_and_a_general_one_the_readable_ones() -> None:
    seed = next(seed for seed in SEEDS if World(seed, 3, fast=False).agents == 2)
    for fast, kind in ((True, RelayAgent), (False, Agent)):
        world = World(seed, 3, fast=fast)
        assert [type(one) for one in world.validators[2:]] == [kind, kind]
        world.close_all()


def test_the_same_seed_takes_the_same_turns() -> None:
    stats = []
    for _ in range(2):
        world = World(8, 3, fast=True)
        assert world.agents
        world.run(3.0)
        stats.append((world.stats, world.now, world.signatures))
    assert stats[0] == stats[1]


def test_what_leaves_a_nodes_desk_is_judged_though_no_agent_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the places that are signed not known, the first reservation above them would be told for
    a second one.
    """
    monkeypatch.setattr(relays, "HRS", lambda height, round_, step: (-height, round_, step))
    with pytest.raises(Violation, match=r"C reserves .* for an agent"):
        agents_of(fast=True)
