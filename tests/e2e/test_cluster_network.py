"""Partitions by the kernel: each node in its own network namespace, the leader's or a follower's
cable pulled out.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import Client
from tests.e2e.namespaces import NONE_HERE, Namespaces, free_network
from tests.e2e.node import PREVOTE, until


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[Namespaces, Client]]:
    net = free_network()
    made = Namespaces(tmp_path, f"tcp://{Namespaces.host(net)}:26970", net=net)
    if not made.build():
        made.remove()
        pytest.skip(f"{NONE_HERE}; tests/e2e/test_cluster.py cuts the same links by relays")
    validator = Client(*made.addresses)
    try:
        yield made, validator
    finally:
        made.stop()
        validator.close()
        made.remove()


def test_a_leader_and_then_a_follower_are_cut_off_by_the_kernel(cluster: tuple[Namespaces, Client]) -> None:
    nodes, validator = cluster
    for name in nodes.ids:
        nodes.run(name)
    leader = until("a leader", nodes.seen_leading)
    validator.must_sign(PREVOTE, 1)
    nodes.pull(leader)
    until(
        "it stops by itself", lambda: nodes.log(leader).rfind("granted=False") > nodes.log(leader).rfind("granted=True")
    )
    second = until("another leads", lambda: (now := nodes.seen_leading()) != leader and now)
    validator.must_sign(PREVOTE, 2)
    nodes.pull(leader, out=False)
    until(
        "it is back",
        lambda: f"peer={second}" in nodes.log(leader).rsplit("granted=False", 1)[1].rsplit("peer connected", 1)[-1],
    )
    follower = next(name for name in nodes.ids if name not in (leader, second))
    nodes.pull(follower)
    validator.must_sign(PREVOTE, 3)
    nodes.pull(follower, out=False)
    validator.must_sign(PREVOTE, 4)
