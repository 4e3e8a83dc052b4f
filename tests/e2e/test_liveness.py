"""What is whole leads and signs: whatever journal was lost, whichever signer stands still, whoever
reaches no validator.
"""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from cometkms.errors import SupersededError
from cometkms.limits import HUNG_AFTER_S, UNREACHED_AGAIN_S
from tests.e2e.cluster import Client, Cluster, rivalry
from tests.e2e.node import PATIENCE_S, PRECOMMIT, PREVOTE, alive, free_tcp, until


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


def born(cluster: Cluster) -> None:
    """Started for the first time and complete, each node: one that is late may still wait to see
    them all, while the others sign.
    """
    cluster.start()
    cluster.wait_whole()


def lead(cluster: Cluster, name: str) -> None:
    """By an operator's word, asked for until it is so."""

    def led() -> bool:
        leader = cluster.wait_leader()
        if leader != name:
            cluster.control(leader, "leader", "transfer", "--to", name)
        return cluster.status(name).get("is_leader", False)

    until(f"{name} leads", led)


def test_two_whole_nodes_lead_without_the_third_and_without_a_journal(cluster: Cluster, validator: Client) -> None:
    """The third holds the furthest log and is dead; the second lost its journal; the first was away
    and is behind.
    """
    born(cluster)
    validator.must_sign(PREVOTE, 1)
    lead(cluster, "node2")
    cluster.kill("node0")
    for height in range(2, 6):
        validator.must_sign(PRECOMMIT, height)
    cluster.kill("node1")
    cluster.kill("node2")
    (cluster.nodes["node1"].home / "data" / "node1" / "raft").unlink()
    cluster.start("node0", "node1")
    leader = cluster.wait_leader()
    assert leader in ("node0", "node1")
    validator.must_sign(PRECOMMIT, 6)
    validator.must_refuse(PRECOMMIT, 5, block="bb")
    until(
        lambda: f"nothing stands in the way: {cluster.reasons()}",
        lambda: [cluster.status(name).get("why") for name in ("node0", "node1")] == ["", ""],
    )
    cluster.start("node2")  # its log contradicts the new one, and it follows all the same
    cluster.wait_state("node2", "complete")
    until("node2 follows", lambda: cluster.status("node2").get("leader_id") == leader)
    for height in range(7, 10):
        validator.must_sign(PRECOMMIT, height)
    until("node2 knows", lambda: cluster.status("node2").get("last_sign_state", {}).get("height") == 9)


def test_every_journal_lost_at_once_and_one_after_the_other(cluster: Cluster, validator: Client) -> None:
    born(cluster)
    validator.must_sign(PREVOTE, 1)
    for name in cluster.ids:
        cluster.kill(name)
    for name in cluster.ids:
        (cluster.nodes[name].home / "data" / name / "raft").unlink()
    cluster.start()
    cluster.wait_leader()
    validator.must_sign(PREVOTE, 2)
    for number, name in enumerate(cluster.ids):
        cluster.kill(name)
        (cluster.nodes[name].home / "data" / name / "raft").unlink()
        cluster.wait_leader()
        cluster.start(name)
        cluster.wait_state(name, "complete")
        validator.must_sign(PREVOTE, 3 + number)


def test_while_nobody_leads_the_survivor_says_why(cluster: Cluster, validator: Client) -> None:
    born(cluster)
    validator.must_sign(PREVOTE, 1)
    for name in ("node1", "node2"):
        cluster.kill(name)
    until("node0 says whom it misses", lambda: "node1, node2 not connected" in cluster.status("node0").get("why", ""))
    until("it is not well", lambda: not cluster.nodes["node0"].healthy())
    until("its log says so", lambda: 'why="nobody leads: node1, node2 not connected here' in cluster.log("node0"))
    ordered = cluster.control("node0", "leader", "transfer")
    assert (ordered.returncode, ordered.stdout) == (1, "")
    assert "nobody leads: node1, node2 not connected here" in ordered.stderr
    cluster.start("node1")
    cluster.wait_leader()
    until("nothing stands in the way", lambda: cluster.status("node0").get("why") == "")


def test_a_frozen_signer_gives_the_lead_away_long_before_it_is_called_hung(tmp_path: Path) -> None:
    """Two validators that want different blocks ask on; the judge sees every signature."""
    with rivalry(tmp_path, 3) as (cluster, rivals):
        for _ in range(2):
            leader = cluster.wait_leader()
            until("it runs for a while", lambda leader=leader: cluster.nodes[leader].child("signer")["uptime_s"] > 1)
            frozen = cluster.nodes[leader].child("signer")["pid"]
            os.kill(frozen, signal.SIGSTOP)
            cluster.wait_leader(besides=leader)
            rivals.progress(10)
            until("the frozen process is replaced", lambda frozen=frozen: not alive(frozen))
            until("counted", lambda leader=leader: handovers(cluster, leader).get("signer_silent", 0) >= 1)
            hung = [line for line in cluster.log(leader).splitlines() if "child hangs" in line]
            assert hung
            silent_s = float(hung[-1].rpartition("silent_s=")[2].split()[0])
            assert silent_s < HUNG_AFTER_S, "the supervisor's own patience was not needed"
            until("its signer is back", lambda leader=leader: cluster.nodes[leader].healthy())
        rivals.progress(10)


def test_a_signer_that_goes_on_after_the_lead_is_gone_disturbs_nobody(tmp_path: Path) -> None:
    with rivalry(tmp_path, 3) as (cluster, rivals):
        leader = cluster.wait_leader()
        pid = cluster.nodes[leader].child("signer")["pid"]
        for _ in range(6):  # too short to be noticed, and long enough to be
            for pause in (signal.SIGSTOP, signal.SIGCONT):
                if alive(pid):
                    os.kill(pid, pause)
                rivals.progress(1)
        rivals.progress(10)


def test_a_killed_signer_gives_the_lead_away(tmp_path: Path) -> None:
    with rivalry(tmp_path, 3) as (cluster, rivals):
        leader = cluster.wait_leader()
        os.kill(cluster.nodes[leader].child("signer")["pid"], signal.SIGKILL)
        rivals.progress(10)
        until("it is whole again", cluster.nodes[leader].healthy)
        rivals.progress(3)


def handovers(cluster: Cluster, name: str) -> dict[str, int]:
    """By themselves, as /metrics counts them."""
    lines = cluster.nodes[name].fetch("/metrics")[1].splitlines()
    begin = "cometkms_handovers_total{reason="
    return {line.split('"')[1]: int(float(line.split()[-1])) for line in lines if line.startswith(begin)}


def test_a_leader_that_reaches_no_validator_leaves_the_lead_to_one_that_does(tmp_path: Path, validator: Client) -> None:
    nowhere = free_tcp()
    cluster = Cluster(tmp_path, 3, validator.address)
    try:
        cluster.extra = {name: ["--validator-addr", nowhere] for name in ("node0", "node1")}
        cluster.start()
        until("node2 leads", lambda: cluster.leader() == "node2")
        validator.must_sign(PREVOTE, 1)
        cluster.control("node2", "leader", "transfer", "--to", "node0")
        until(
            "node2 leads again", lambda: cluster.leader() == "node2" and handovers(cluster, "node0").get("no_validator")
        )
        validator.must_sign(PREVOTE, 2)
        until("its log says why", lambda: "no validator is reached from here" in cluster.log("node0"))

        def told() -> bool:
            facts = {
                one["id"]: one.get("facts", {}).get("reaches_validator")
                for one in cluster.nodes["node1"].status()["members"]
            }
            return (facts["node0"], facts["node2"]) == ("no", "yes")

        until("the third knows of both whether they reach it", told)
    finally:
        cluster.stop()


def test_with_a_validator_that_is_away_the_lead_does_not_circle(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, 3, free_tcp())
    try:
        cluster.start()

        def said() -> bool:
            status = cluster.status("node0")
            facts = [one.get("facts", {}).get("reaches_validator") for one in status.get("members", [])]
            return facts == ["no", "no", "no"]

        until("every node tried", said)
        until("a few more looks", lambda: cluster.nodes["node0"].child("state")["uptime_s"] > 25)
        changes = sum(handovers(cluster, name).get("no_validator", 0) for name in cluster.ids)
        # each member led once, and two are asked again; without a rest it would be one in
        # UNREACHED_S
        uptime_s = cluster.nodes["node0"].child("state")["uptime_s"]
        assert changes <= 2 + 2 * uptime_s / UNREACHED_AGAIN_S
        cluster.wait_leader()
    finally:
        cluster.stop()


def test_strict_start_after_power_was_lost_everywhere_and_one_disk_says_what_to_do_and_that_helps(
    cluster: Cluster, validator: Client
) -> None:
    """docs/RUNBOOK.md, strict_wait, to the first signature."""
    cluster.extra = {name: ["--strict-start"] for name in cluster.ids}
    cluster.start()
    cluster.wait_leader()
    validator.must_sign(PRECOMMIT, 1)
    for name in cluster.ids:
        cluster.kill(name)
    node2 = cluster.nodes["node2"]
    old = node2.home.with_name("old-node2")
    shutil.copytree(node2.home, old, ignore=shutil.ignore_patterns("*control.sock"))
    cluster.wipe("node2")
    cluster.start()
    for name in cluster.ids:
        until(
            f"{name} says who waits for whom",
            lambda name=name: (
                cluster.status(name).get("strict_wait") == {"lost": ["node2"], "starting": ["node0", "node1"]}
                and "strict_wait" in [one["name"] for one in cluster.nodes[name].status()["alerts"]]
            ),
        )
    words = "restart node0 and node1 once with `strict_start = false`"
    for name in ("node0", "node1"):
        until(f"{name} says what to do", lambda name=name: words in cluster.status(name).get("why", ""))
        until(f"{name}'s log, too", lambda name=name: "strict_wait" in cluster.log(name))
        assert "strict_wait" in cluster.control(name, "doctor").stdout
    for name in ("node0", "node1"):
        assert cluster.nodes[name].stop() == 0
        cluster.extra[name] = ["--no-strict-start"]
        cluster.start(name)
    cluster.wait_leader()
    validator.must_sign(PRECOMMIT, 2)
    validator.must_refuse(PRECOMMIT, 1, block="bb")
    for name in cluster.ids:
        cluster.wait_state(name, "complete")
        until("it is over", lambda name=name: cluster.status(name).get("strict_wait") is None)

    assert node2.stop() == 0  # the disk that was lost is found again, and put back
    shutil.rmtree(node2.home)
    old.rename(node2.home)
    cluster.start("node2")
    assert node2.process is not None
    assert node2.process.wait(PATIENCE_S) == SupersededError.exit_code, cluster.log("node2")
    validator.must_sign(PRECOMMIT, 3)
    validator.must_refuse(PRECOMMIT, 2, block="bb")


@pytest.mark.parametrize("one_way_s", [0.1, 0.18])
def test_nodes_far_apart_elect_the_next_leader_again_and_again(tmp_path: Path, one_way_s: float) -> None:
    with rivalry(tmp_path, 3, relays=True) as (cluster, rivals):
        for relay in cluster.relays.values():
            relay.delay_s = one_way_s

        def measured() -> bool:
            trips = [one.get("rtt_us") for one in cluster.status(cluster.wait_leader())["members"] if not one["self"]]
            return all(trip is not None and trip > one_way_s * 1.9e6 for trip in trips)

        until("the nodes know how far they are", measured)
        rivals.progress(2)
        for _ in range(2):
            leader = cluster.wait_leader()
            cluster.kill(leader)
            cluster.wait_leader(besides=leader)
            rivals.progress(2)
            cluster.start(leader)
            cluster.wait_state(leader, "complete")
