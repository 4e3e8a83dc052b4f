"""Nodes that are dialled elsewhere than they listen, and a way that loses large packets: started as
the documents say.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import Client, Cluster
from tests.e2e.namespaces import NONE_HERE, Namespaces, free_network, ip
from tests.e2e.node import PREVOTE, cmkms, free_tcp, until
from tests.e2e.relay import Relay

SMALL_MTU = 1000  # less than one frame of a SecretConnection takes
SEGMENT = 900


class Published(Cluster):
    """Every node is dialled at its relay's port, by whoever dials, and listens at another."""

    def __init__(self, directory: Path, address: str) -> None:
        super().__init__(directory, 3, address)
        self.doors = {name: Relay(self.ports[name]) for name in self.ids}
        self.extra = {name: ["--raft-published", f"127.0.0.1:{door.port}"] for name, door in self.doors.items()}

    def peers_of(self, name: str, members: list[str] | None = None) -> list[str]:
        return [word for other in self.ids for word in ("--peer", f"{other}=127.0.0.1:{self.doors[other].port}")]


def test_nodes_behind_published_ports_are_a_cluster_and_tell_where_they_are_dialled(tmp_path: Path) -> None:
    validator = Client(free_tcp())
    cluster = Published(tmp_path, validator.address)
    try:
        cluster.start()
        validator.must_sign(PREVOTE, 1)
        cluster.wait_whole()
        leader = cluster.wait_leader()
        cluster.kill(leader)
        cluster.wait_leader(besides=leader)
        validator.must_sign(PREVOTE, 2)
        cluster.start(leader)
        cluster.wait_whole()
        shown = {one["id"]: one["addr"] for one in cluster.nodes[leader].status()["members"]}
        assert shown == {name: f"127.0.0.1:{door.port}" for name, door in cluster.doors.items()}
    finally:
        cluster.stop()
        validator.close()


def test_a_port_that_differs_without_a_word_is_refused_with_the_cure(tmp_path: Path) -> None:
    cluster = Published(tmp_path, free_tcp())
    home = cluster.nodes["node0"].home
    done = cmkms(
        "start", "--home", str(home), "--id", "node0", "--raft-addr", f"127.0.0.1:{cluster.ports['node0']}",
        *cluster.peers_of("node0"),
    )  # fmt: skip
    assert done.returncode == 3
    assert f"--raft-published 127.0.0.1:{cluster.doors['node0'].port}" in done.stderr


@pytest.fixture
def lossy(tmp_path: Path) -> Iterator[tuple[Namespaces, Client]]:
    """node2's way to everybody takes small packets only, and says nothing of the others
    that it drops.
    """
    net = free_network()
    made = Namespaces(tmp_path, f"tcp://{Namespaces.host(net)}:26971", net=net)
    if not made.build():
        made.remove()
        pytest.skip(NONE_HERE)
    for number, machine in enumerate(
        made.machines
    ):  # packets as large as they are on the wire: the kernel cuts none late
        assert ip("-n", made.space(machine), "link", "set", f"{made.name}p{number}", "gso_max_segs", "1")
    for number in range(len(made.machines)):
        mtu = SMALL_MTU if number == len(made.machines) - 1 else 1500
        assert ip("link", "set", f"{made.name}v{number}", "mtu", str(mtu))
    validator = Client(*made.addresses)
    try:
        yield made, validator
    finally:
        made.stop()
        validator.close()
        made.remove()


def test_a_way_that_loses_large_packets_is_named_and_smaller_segments_pass(lossy: tuple[Namespaces, Client]) -> None:
    nodes, validator = lossy
    for name in nodes.ids:
        nodes.run(name)
    until("node2 names the way", lambda: "loses large packets" in nodes.log("node2"))
    assert not any("peer connected" in line and "peer=node2" in line for line in nodes.log("node0").splitlines())
    nodes.nodes["node2"].stop()
    nodes.flags = ["--tcp-max-segment", str(SEGMENT)]
    nodes.run("node2")  # on one end: the other is told when the connection is made
    until("node2 is connected", lambda: "peer connected" in nodes.log("node2"))
    validator.must_sign(PREVOTE, 1)

    def led() -> bool:
        leader = nodes.seen_leading()
        if leader not in (None, "node2"):
            nodes.control(str(leader), "leader", "transfer", "--to", "node2")
        return nodes.leads("node2")

    until("node2 leads", led)
    validator.must_sign(PREVOTE, 2)  # the way to the validator is the same
