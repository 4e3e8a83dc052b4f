"""Three nodes, one signer: what a user of a cluster does, and what happens to it."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import Client, Cluster, rivalry
from tests.e2e.node import PRECOMMIT, PREVOTE, ballot, free_tcp, until


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


def test_three_nodes_with_empty_data_directories_sign_and_every_node_follows(
    cluster: Cluster, validator: Client
) -> None:
    cluster.start()
    leader = cluster.wait_leader()
    for height in range(1, 6):
        validator.must_sign(PREVOTE, height)
        validator.must_sign(PRECOMMIT, height)
    for name in cluster.ids:
        until(f"{name}'s state file", lambda name=name: cluster.nodes[name].file_state()["height"] == "5")
        until(f"{name} knows", lambda name=name: cluster.status(name).get("last_sign_state", {}).get("height") == 5)
        status = cluster.status(name)
        assert status["is_leader"] == (name == leader)
        assert (status["leader_id"], status["leader_addr"]) == (leader, f"127.0.0.1:{cluster.ports[leader]}")
        assert status["last_sign_state"]["signature"]
        assert [one["id"] for one in status["members"]] == cluster.ids
        assert all(one["connected"] for one in status["members"])
        assert status["healthy"], status["trouble"]
    assert len({cluster.status(name)["digest"] for name in cluster.ids}) == 1
    assert len({cluster.status(name)["term"] for name in cluster.ids}) == 1


def test_the_plain_case_takes_the_fast_path_on_every_node(cluster: Cluster, validator: Client) -> None:
    cluster.start()
    leader = cluster.wait_leader()
    for height in range(1, 31):
        validator.must_sign(PREVOTE, height)

    def count(name: str, what: str) -> int:
        return int(cluster.status(name).get("fast_path", {}).get(what, 0))

    until("the leader permits there", lambda: count(leader, "permitted") >= 28)
    for name in cluster.ids:
        if name != leader:
            until(f"{name} promises there", lambda name=name: count(name, "answered") >= 28)


def test_the_first_start_waits_for_every_node_and_names_who_is_missing(cluster: Cluster, validator: Client) -> None:
    cluster.start("node0", "node1")
    until("node0 misses node2", lambda: "missing: node2" in cluster.status("node0").get("why", ""))
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{cluster.nodes['node0'].http_port}/healthz", timeout=5)
    assert b"node2" in refused.value.read()
    assert cluster.leader() is None
    cluster.start("node2")
    cluster.wait_leader()
    validator.must_sign(PREVOTE, 1)


def test_a_stopped_leader_hands_over_first_and_every_restart_signs_on(cluster: Cluster, validator: Client) -> None:
    cluster.start()
    for height in range(1, 4):
        leader = cluster.wait_leader()
        validator.must_sign(PREVOTE, 10 * height)
        assert cluster.nodes[leader].stop() == 0
        validator.must_sign(PREVOTE, 10 * height + 1)
        cluster.start(leader)
        cluster.wait_state(leader, "complete")
    cluster.stop()
    cluster.start()
    cluster.wait_leader()
    validator.must_sign(PREVOTE, 100)
    assert "regression" in validator.must_refuse(PREVOTE, 31)


def test_leadership_is_transferred_by_command(cluster: Cluster, validator: Client) -> None:
    cluster.start()
    leader = cluster.wait_leader()
    validator.must_sign(PREVOTE, 1)
    to = next(name for name in cluster.ids if name != leader)
    done = until(
        "the transfer",
        lambda: (out := cluster.control(leader, "leader", "transfer", "--to", to)).returncode == 0 and out,
    )
    assert to in done.stdout
    assert cluster.wait_leader(besides=leader) == to
    validator.must_sign(PREVOTE, 2)
    shown = cluster.control(to, "peers", "--json")
    assert {one["id"] for one in json.loads(shown.stdout)["members"]} == set(cluster.ids)


def test_a_lost_quorum_signs_nothing_says_so_and_resumes_by_itself(cluster: Cluster, validator: Client) -> None:
    cluster.start()
    leader = cluster.wait_leader()
    validator.must_sign(PREVOTE, 1)
    others = [name for name in cluster.ids if name != leader]
    for name in others:
        cluster.kill(name)
    until("it does not lead", lambda: not cluster.status(leader).get("is_leader", True))
    answer = validator.ask(**ballot(PREVOTE, 2))
    assert not answer.get("signature")
    assert not answer.get("remote"), "an answer that CometBFT repeats, not a final refusal"
    until("healthz says so", lambda: not cluster.nodes[leader].healthy())
    cluster.start(others[0])
    validator.must_sign(PREVOTE, 2)


@pytest.mark.parametrize("whom", ["leader", "follower"])
def test_a_wiped_node_recovers_by_itself_and_never_counts_before(
    cluster: Cluster, validator: Client, whom: str
) -> None:
    cluster.start()
    leader = cluster.wait_leader()
    validator.must_sign(PREVOTE, 7)
    victim = leader if whom == "leader" else next(name for name in cluster.ids if name != leader)
    third = next(name for name in cluster.ids if name not in (leader, victim))
    cluster.kill(victim)
    validator.must_sign(PREVOTE, 8)
    cluster.kill(third)
    cluster.wipe(victim)
    cluster.start(victim)
    until("it says what it waits for", lambda: third in cluster.status(victim).get("why", ""))
    assert cluster.status(victim)["node_state"] == "recovering"
    assert not validator.ask(**ballot(PREVOTE, 9)).get("signature"), "one node and a recovering one are no majority"
    cluster.start(third)
    cluster.wait_state(victim, "complete")
    validator.must_sign(PREVOTE, 10)  # 9 was promised once and signed by nobody: burnt for whoever read it
    assert "regression" in validator.must_refuse(PREVOTE, 7)


@pytest.mark.parametrize("count", [2, 5])
def test_other_sizes(tmp_path: Path, validator: Client, count: int) -> None:
    cluster = Cluster(tmp_path, count, validator.address)
    try:
        cluster.start()
        leader = cluster.wait_leader()
        validator.must_sign(PREVOTE, 1)
        if count == 2:
            assert "losing one of two stops signing" in cluster.log(leader)
            cluster.kill(next(name for name in cluster.ids if name != leader))
            until("it does not lead", lambda: not cluster.status(leader).get("is_leader", True))
            assert not validator.ask(**ballot(PREVOTE, 2)).get("signature")
        else:
            cluster.kill(leader)
            validator.must_sign(PREVOTE, 2)
            cluster.kill(cluster.wait_leader())
            validator.must_sign(PREVOTE, 3)
    finally:
        cluster.stop()


def test_a_frozen_leader_is_replaced_and_signs_nothing_of_its_own_when_it_thaws(tmp_path: Path) -> None:
    with rivalry(tmp_path) as (cluster, rivals):
        leader = cluster.wait_leader()
        cluster.freeze(leader)
        cluster.wait_leader(besides=leader)
        rivals.progress(5)
        cluster.thaw(leader)
        rivals.progress(10)


def test_killed_leaders_under_conflicting_validators(tmp_path: Path) -> None:
    with rivalry(tmp_path) as (cluster, rivals):
        for _ in range(4):
            leader = cluster.wait_leader()
            cluster.kill(leader)
            rivals.progress(5)
            cluster.start(leader)
            cluster.wait_state(leader, "complete")


def test_a_leader_that_is_cut_off_stops_and_another_takes_over(tmp_path: Path) -> None:
    with rivalry(tmp_path, relays=True) as (cluster, rivals):
        leader = cluster.wait_leader()
        others = [name for name in cluster.ids if name != leader]
        for other in others:
            cluster.cut(leader, other)
        until("it stops", lambda: not cluster.status(leader)["is_leader"])
        cluster.wait_leader(besides=leader)
        rivals.progress(5)
        for other in others:
            cluster.cut(leader, other, on=False)
        rivals.progress(5)
        until("it follows", lambda: all(one["connected"] for one in cluster.status(leader)["members"]))
        for other in others:  # one direction only, then slow
            cluster.relays[max(leader, other), min(leader, other)].mute = "out"
        rivals.progress(5)
        for relay in cluster.relays.values():
            relay.mute, relay.delay_s = "", 0.02
        rivals.progress(5)
