"""Members far apart: a leader that ends, or falls silent, has a successor within six round trips
and 0.3 s. In simulated time.
"""

import pytest

from tests.sim.machine import Node
from tests.sim.world import World

ROWS = [
    (round_trip_ms, jitter_ms)
    for round_trip_ms in (0, 50, 100, 150, 200, 250, 300, 400)
    for jitter_ms in (0, 50, 200)
    if round_trip_ms or not jitter_ms
]
SEEDS = 4
LOOK_S = 0.01
FIXED_S = 0.3


def leader(world: World, besides: str = "") -> Node | None:
    return next(
        (
            node
            for node in world.nodes.values()
            if node.name != besides
            and node.cluster is not None
            and node.cluster.leading
            and world.now >= node.frozen_until
        ),
        None,
    )


def wait_leader(world: World, besides: str = "", patience_s: float = 30.0) -> Node:
    until = world.now + patience_s
    while world.now < until:
        found = leader(world, besides)
        if found is not None:
            return found
        world.run_until(world.now + LOOK_S)
    raise AssertionError(f"nobody leads within {patience_s:g} s of simulated time")


def born(seed: int, round_trip_ms: int, jitter_ms: int) -> World:
    """Three complete nodes, one of which leads; nothing is lost on the way."""
    world = World(seed, 3)
    world.lossy = world.strict = False
    world.spikes = 0.0
    world.healing = True  # no faults but the test's
    world.round_trip_s, world.jitter_s = round_trip_ms / 1000, jitter_ms / 1000
    for node in world.nodes.values():
        node.restart_if_down()
    world.after(0.0, world.keep_connected)
    wait_leader(world)
    world.run_until(world.now + 5.0)
    return world


def took_s(seed: int, round_trip_ms: int, jitter_ms: int, *, silent: bool) -> float:
    world = born(seed, round_trip_ms, jitter_ms)
    try:
        before = wait_leader(world)
        at = world.now
        if silent:
            before.frozen_until = world.now + 60.0
        else:
            before.crash(power=True)
        wait_leader(world, besides=before.name)
        return world.now - at
    finally:
        world.close_all()


def bound_s(round_trip_ms: int, jitter_ms: int) -> float:
    return 6 * (round_trip_ms + jitter_ms) / 1000 + FIXED_S


@pytest.mark.parametrize(("round_trip_ms", "jitter_ms"), ROWS)
def test_a_leader_that_ends_has_a_successor_in_time(round_trip_ms: int, jitter_ms: int) -> None:
    took = [took_s(seed, round_trip_ms, jitter_ms, silent=False) for seed in range(1, SEEDS + 1)]
    assert max(took) <= bound_s(round_trip_ms, jitter_ms), took


@pytest.mark.parametrize(("round_trip_ms", "jitter_ms"), ROWS)
def test_a_leader_that_falls_silent_has_a_successor_in_time(round_trip_ms: int, jitter_ms: int) -> None:
    """Silence is noticed later than an end: by the floor of an election, and the wait for hints."""
    took = [took_s(seed, round_trip_ms, jitter_ms, silent=True) for seed in range(1, SEEDS + 1)]
    assert max(took) <= bound_s(round_trip_ms, jitter_ms) + 0.3, took


@pytest.mark.parametrize(("round_trip_ms", "jitter_ms"), ROWS)
def test_a_leader_that_is_well_leads_on(round_trip_ms: int, jitter_ms: int) -> None:
    world = born(1, round_trip_ms, jitter_ms)
    try:
        node = wait_leader(world)
        assert node.raft is not None
        term = node.raft.term
        for _ in range(200):
            world.run_until(world.now + 0.1)
            assert node.cluster is not None
            assert node.cluster.leading
        assert node.raft.term == term
    finally:
        world.close_all()
