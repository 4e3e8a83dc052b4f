"""The simulation runs the fast path that ships, and its faults reach it."""

from collections import Counter
from unittest.mock import patch

import pytest

from tests.sim import fast as paths
from tests.sim import machine
from tests.sim import world as worlds
from tests.sim.__main__ import nodes_of
from tests.sim.ground import Violation
from tests.sim.world import World, is_fast

IN_C = {"reserved in C", "permits in C", "signed in C"}
FAULTS_IN_C = {
    "write failed in C", "short write in C", "sync failed in C", "power lost in C's sync", "short send in C", "bytes lost",
}  # fmt: skip


def simulated(seed: int, nodes: int, *, fast: bool, seconds: float = 3.0) -> Counter[str]:
    world = World(seed, nodes, fast=fast)
    world.run(seconds)
    return Counter(world.stats)


def test_either_path_has_seeds_of_every_number_of_nodes() -> None:
    found = {(nodes_of(seed), is_fast(seed)) for seed in range(1, 33)}
    assert found == {(nodes, fast) for nodes in (2, 3, 5) for fast in (False, True)}
    assert sum(is_fast(seed) for seed in range(200)) == 100


@pytest.mark.parametrize("nodes", [2, 3, 5])
def test_c_reserves_permits_and_signs_in_a_fast_seed_and_nothing_in_a_general_one(nodes: int) -> None:
    fast, general = simulated(3, nodes, fast=True), simulated(3, nodes, fast=False)
    assert fast.keys() >= IN_C
    assert not general.keys() & IN_C
    assert general["signed"] > 0


def test_the_faults_of_disk_and_network_reach_c() -> None:
    """Each kind, within few seeds; and what must never be is not."""
    found: Counter[str] = Counter()
    with patch.dict(worlds.FAULTS, {"disk": 1.0}, clear=True), patch.object(paths, "SPOILT", 0.01):
        for seed in range(1, 41):
            found += simulated(seed, 3, fast=True)
            if found.keys() >= FAULTS_IN_C:
                break
    assert found.keys() >= FAULTS_IN_C
    assert found["StoreFailure"] > 0


def test_a_permit_that_c_made_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were no sync to make anything durable, every one of them would rest on nothing."""
    monkeypatch.setattr("tests.sim.fast.record_durable", lambda _node: lambda _sector: None)
    monkeypatch.setattr(machine.Node, "check", lambda _self: None)
    with pytest.raises(Violation, match=r"a permit at .* rests on"):
        simulated(3, 3, fast=True)
