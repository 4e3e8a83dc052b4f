"""Bad days: wrong lists, keys, ids and chains.

Each node says which, on both sides, and nothing is signed by the wrong one.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import Client, Cluster
from tests.e2e.node import PATIENCE_S, PREVOTE, Node, ballot, cmkms, free_port, free_tcp, until


@pytest.fixture
def validator() -> Iterator[Client]:
    made = Client(free_tcp())
    yield made
    made.close()


@pytest.fixture
def cluster(tmp_path: Path, validator: Client) -> Iterator[Cluster]:
    made = Cluster(tmp_path, 3, validator.address)
    yield made
    made.stop()


def says(cluster: Cluster, name: str, *words: str) -> None:
    until(f"{name} says {words}", lambda: all(word in cluster.log(name) for word in words))


def test_another_validator_key_is_a_stranger_to_both(cluster: Cluster, validator: Client, tmp_path: Path) -> None:
    shutil.copy(Node(tmp_path / "other").key_path, cluster.nodes["node2"].key_path)
    cluster.start()
    says(cluster, "node0", "stranger at the peers' port", "another validator key")
    says(cluster, "node2", "is not 'node0' of this cluster")
    for name in ("node0", "node1"):

        def told(name: str = name) -> dict[str, Any] | None:
            words = "calls itself 'node2' and has another validator key or cluster.key"
            alerts = [one for one in cluster.nodes[name].status()["alerts"] if one["name"] == "peer_away"]
            return next((one for one in alerts if one["subject"] == "node2" and words in one["what"]), None)

        alert = until(f"{name} names node2", told)
        assert "`cmkms config digest` there and here" in alert["cure"]
    assert cluster.leader() is None
    assert not validator.ask(**ballot(PREVOTE, 1)).get("signature")


def test_different_peer_lists_meet_and_refuse_each_other(cluster: Cluster, validator: Client) -> None:
    cluster.start("node0", "node1", members=["node0", "node1"])
    cluster.start("node2")
    says(cluster, "node0", "stranger at the peers' port", "'node2' is not in the peer list of 'node0' (node0, node1)")
    says(cluster, "node2", "refused by node0", "its own list has node0, node1, node2")
    cluster.wait_leader()
    validator.must_sign(PREVOTE, 1)  # the two agree; the third refuses to be part of it
    cluster.wait_state("node2", "empty")


def test_a_node_configured_alone_beside_its_cluster_signs_no_more_once_it_is_met(
    cluster: Cluster, validator: Client
) -> None:
    cluster.start()
    cluster.wait_leader()
    validator.must_sign(PREVOTE, 1)
    alone = cluster.nodes["node0"]
    alone.stop()
    cluster.wipe("node0")
    (alone.key_path.parent / "born.json").unlink()
    cluster.start("node0", members=["node0"])
    until("node0 stands down", lambda: "configured alone" in cluster.status("node0").get("why", ""))
    assert not until("it answers", lambda: cluster.status("node0"))["is_leader"]
    assert not alone.healthy()
    says(cluster, "node0", "stranger at the peers' port", "holds the same key in a cluster of node0, node1, node2")
    says(cluster, "node1", "refused by node0", "is configured as one node alone")


def test_a_node_restarted_with_another_list_does_not_start(cluster: Cluster, validator: Client) -> None:
    cluster.start()
    leader = cluster.wait_leader()
    validator.must_sign(PREVOTE, 1)
    victim = next(name for name in cluster.ids if name != leader)
    cluster.nodes[victim].stop()
    cluster.start(victim, members=[victim])
    process = cluster.nodes[victim].process
    assert process is not None
    assert process.wait(timeout=PATIENCE_S) == 5
    assert "makes a second majority" in cluster.log(victim)
    assert "change the members with `cmkms member`" in cluster.log(victim)


def test_the_same_node_started_twice_is_refused_by_its_home(cluster: Cluster) -> None:
    cluster.start()
    cluster.wait_leader()
    second = cluster.nodes["node0"].process
    cluster.start("node0")
    twice = cluster.nodes["node0"].process
    assert twice is not None
    assert twice.wait(timeout=PATIENCE_S) == 6
    cluster.nodes["node0"].process = second


def test_a_chain_that_the_others_do_not_have_is_not_signed(tmp_path: Path, validator: Client) -> None:
    cluster = Cluster(tmp_path, 3, validator.address)
    try:
        for name in ("node1", "node2"):
            cluster.extra[name] = ["--chain-id", "another"]
        cluster.start()
        says(cluster, "node0", "nodes differ", "chains", "another")
        says(cluster, "node1", "nodes differ", "chains", "test-1")
        leader = cluster.wait_leader()
        assert not validator.ask(**ballot(PREVOTE, 1)).get("signature"), leader
    finally:
        cluster.stop()


def test_a_copy_of_a_home_beside_it_does_not_start_on_one_machine(
    cluster: Cluster, validator: Client, tmp_path: Path
) -> None:
    """Another directory, another port: the home's lock does not see it."""
    cluster.start()
    cluster.wait_leader()
    validator.must_sign(PREVOTE, 1)
    copy = tmp_path / "copy"
    shutil.copytree(cluster.nodes["node0"].home, copy, ignore=shutil.ignore_patterns("*.sock"))
    cluster.ports = {**cluster.ports, "node0": free_port()}
    done = cmkms(
        "start",
        *("--home", str(copy), "--id", "node0", "--http-addr", f"127.0.0.1:{free_port()}"),
        *("--raft-addr", f"127.0.0.1:{cluster.ports['node0']}", *cluster.peers_of("node0")),
    )
    assert done.returncode == 6
    assert "runs the node 'node0' with this very key, from another home" in done.stderr
    validator.must_sign(PREVOTE, 2)


def test_a_mistyped_chain_id_is_named_as_that_and_nothing_is_to_be_recovered(tmp_path: Path, validator: Client) -> None:
    node = Node(tmp_path / "node", validator.address).start("--id", "node0", wait=False)
    try:
        validator.must_sign(PREVOTE, 5)
        assert node.stop() == 0
        node.start("--id", "node0", "--chain-id", "tset-1", wait=False)
        assert node.process is not None
        assert node.process.wait(PATIENCE_S) == 5
        said = node.log()[node.log().rindex("Error: ") :]
        assert "is of the chain 'test-1', and 'tset-1' is configured as chain_id" in said
        assert 'if that is mistyped, chain_id = "test-1" in config.toml' in said
        assert "recover --min-height" not in said
        node.start("--id", "node0", wait=False)
        validator.must_refuse(PREVOTE, 4)
        validator.must_sign(PREVOTE, 6)
    finally:
        node.stop()


def test_faults_of_validator_addr_name_validator_addr(tmp_path: Path) -> None:
    Node(tmp_path / "node", "tcp://127.0.0.1:1")
    config = tmp_path / "node" / "config.toml"
    config.write_text(config.read_text().replace("tcp://127.0.0.1:1", "http://127.0.0.1:1"))
    done = cmkms("config", "check", "--home", str(tmp_path / "node"))
    assert done.returncode == 3
    assert "config.toml: validator_addr: " in done.stderr
    assert "chain_id: " not in done.stderr


def test_the_status_of_another_home_is_not_taken_for_this_ones(tmp_path: Path, validator: Client) -> None:
    """Two homes at one HTTP address, as a container's health check would ask: whoever
    answers is compared.
    """
    node = Node(tmp_path / "node", validator.address).start("--id", "node0")
    other = Node(tmp_path / "other", validator.address)
    try:
        for home in (node.home, other.home):
            config = home / "config.toml"
            config.write_text(config.read_text().replace("127.0.0.1:8080", f"127.0.0.1:{node.http_port}"))
        mine = cmkms("status", "--home", str(node.home))
        assert (mine.returncode, "healthy" in mine.stdout) == (0, True), mine.stdout + mine.stderr
        theirs = cmkms("status", "--home", str(other.home))
        assert theirs.returncode == 1
        assert f"of the home {node.home} answers at" in theirs.stderr
        assert theirs.stdout == ""
    finally:
        node.stop()
