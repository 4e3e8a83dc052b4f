"""Validators that now and then ask for a height to which no chain has come, of nodes whose clocks
differ by years, under all faults.
"""

import pytest

from tests.sim.__main__ import nodes_of
from tests.sim.world import World

SEEDS, PORTION = 40, 10
SECONDS = 6.0  # simulated, under faults


@pytest.mark.parametrize("first", range(1, SEEDS + 1, PORTION))
def test_no_such_height_is_promised_or_signed_and_the_chain_goes_on(first: int) -> None:
    refused = 0
    for seed in range(first, first + PORTION):
        world = World(seed, nodes_of(seed))
        world.jumps = 0.1
        world.run(SECONDS)
        refused += world.stats.get("jumps refused", 0)
    assert refused > 0
