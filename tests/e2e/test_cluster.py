"""Three nodes, one signer: what a user of a cluster does, and what happens to it."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from cometkms.errors import OperatorError
from cometkms.net.control import ask
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
    cluster.wait_leader()
    for height in range(1, 6):
        validator.must_sign(PREVOTE, height)
        validator.must_sign(PRECOMMIT, height)
    for name in cluster.ids:
        until(f"{name}'s state file", lambda name=name: cluster.nodes[name].file_state()["height"] == "5")
    seen = {}

    def at_one() -> bool:
        """What they say of themselves and of each other agrees; a node that is elected meanwhile is
        agreed on soon.
        """
        seen.update({name: cluster.status(name) for name in cluster.ids})
        if not all(seen.values()):
            return False
        leaders = [name for name, status in seen.items() if status["is_leader"]]
        return (
            len(leaders) == 1
            and {status["leader_id"] for status in seen.values()} == set(leaders)
            and len({status["term"] for status in seen.values()}) == 1
            and all(status.get("last_sign_state", {}).get("height") == 5 for status in seen.values())
            and all(status["healthy"] for status in seen.values())
            and all(one["connected"] for status in seen.values() for one in status["members"])
        )

    until(lambda: f"all are at one: {seen}", at_one)
    for status in seen.values():
        assert status["leader_addr"] == f"127.0.0.1:{cluster.ports[status['leader_id']]}"
        assert status["last_sign_state"]["signature"]
        assert [one["id"] for one in status["members"]] == cluster.ids
    assert len({status["digest"] for status in seen.values()}) == 1


def test_the_plain_case_takes_the_fast_path_on_every_node(cluster: Cluster, validator: Client) -> None:
    cluster.start()
    cluster.wait_whole()
    heights = iter(range(1, 10_000))

    def count(name: str | None, what: str) -> int:
        return int(cluster.status(name).get("fast_path", {}).get(what, 0)) if name else 0

    def taken() -> bool:
        """Whoever leads permits there, and the others promise there."""
        for height in (next(heights) for _ in range(30)):
            validator.must_sign(PREVOTE, height)
        leader = cluster.leader()
        others = [name for name in cluster.ids if name != leader]
        return count(leader, "permitted") >= 28 and all(count(name, "answered") >= 28 for name in others)

    until("the plain case takes the fast path", taken)


def test_the_first_start_waits_for_every_node_and_names_who_is_missing(cluster: Cluster, validator: Client) -> None:
    cluster.start("node0", "node1")
    until("node0 misses node2", lambda: "missing: node2" in cluster.status("node0").get("why", ""))
    code, why = cluster.nodes["node0"].fetch("/healthz")
    assert code == 503 and "node2" in why
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
    cluster.wait_whole()
    validator.must_sign(PREVOTE, 1)
    said = []

    def ordered() -> str:
        """To one that does not lead: it does then, and says so."""
        leader = cluster.wait_leader()
        to = next(name for name in cluster.ids if name != leader)
        done = cluster.control(to, "leader", "transfer", "--to", to)
        said.append(done.stdout + done.stderr)
        return to if done.returncode == 0 and f"handed over to {to} in" in done.stdout else ""

    to = until(lambda: f"a transfer: {said}", ordered)
    validator.must_sign(PREVOTE, 2)
    until("a log says so", lambda: any(f"to={to} obeyed=True" in cluster.log(name) for name in cluster.ids))
    shown = cluster.control(to, "peers", "--json")
    assert {one["id"] for one in json.loads(shown.stdout)["members"]} == set(cluster.ids)


def ordered_from(cluster: Cluster, name: str) -> dict[str, str]:
    """`cmkms leader transfer`, without the time that a new process takes.

    Raises: OperatorError with the no.
    """
    path = cluster.nodes[name].home / "data" / name / "control.sock"
    answer: dict[str, str] = ask(path, {"op": "leader_transfer", "to": None})
    return answer


def test_an_order_right_after_a_node_came_back_is_obeyed(cluster: Cluster, validator: Client) -> None:
    """Whoever is back keeps quiet for a moment, so that it takes the lead from nobody: an order is
    none the worse for it.
    """
    cluster.start()
    cluster.wait_whole()
    for number, whom in enumerate(("leader", "follower", "leader"), start=1):
        leader = cluster.wait_leader()
        victim = leader if whom == "leader" else next(name for name in cluster.ids if name != leader)
        cluster.kill(victim)
        validator.must_sign(PREVOTE, 2 * number)
        cluster.start(victim)
        cluster.wait_state(victim, "complete")
        refusals: list[str] = []

        def handed_over(name: str = victim, refusals: list[str] = refusals) -> bool:
            try:
                answer = ordered_from(cluster, name)
            except OperatorError as error:
                refusals.append(str(error))
                return False
            assert answer["from"] != answer["to"]
            return True

        until(lambda refusals=refusals: f"the lead is handed over: {refusals}", handed_over)
        validator.must_sign(PREVOTE, 2 * number + 1)


@pytest.mark.parametrize("how", ["stopped and started", "restarted in place"])
def test_a_rolling_restart_signs_on(tmp_path: Path, how: str) -> None:
    """One node after the other, each as soon as the one before is complete: nothing that is signed
    is lost on the way.
    """
    with rivalry(tmp_path) as (cluster, rivals):
        cluster.wait_whole()
        for name in (*cluster.ids, cluster.ids[0]):
            if how == "stopped and started":
                assert cluster.nodes[name].stop() == 0
                cluster.start(name)
            else:
                process = cluster.nodes[name].process
                assert process is not None
                before = set(cluster.tree(name))
                process.send_signal(signal.SIGUSR2)
                until("no child is the same", lambda name=name, old=before: len(old & set(cluster.tree(name))) == 1)
            cluster.wait_state(name, "complete")
            rivals.progress(2)
        cluster.wait_whole()
        rivals.progress(5)


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
    cluster.wait_state(victim, "recovering")
    until("it says what it waits for", lambda: third in cluster.status(victim).get("why", ""))
    assert not validator.ask(**ballot(PREVOTE, 9)).get("signature"), "one node and a recovering one are no majority"
    cluster.start(third)
    cluster.wait_state(victim, "complete")
    # 9 was promised once and signed by nobody: burnt for whoever read it
    validator.must_sign(PREVOTE, 10)
    assert "regression" in validator.must_refuse(PREVOTE, 7)


@pytest.mark.parametrize("count", [2, 5])
def test_other_sizes(tmp_path: Path, validator: Client, count: int) -> None:
    cluster = Cluster(tmp_path, count, validator.address)
    try:
        cluster.start()
        leader = cluster.wait_leader()
        validator.must_sign(PREVOTE, 1)
        if count == 2:
            until("it is warned of", lambda: "losing one of two stops signing" in cluster.log(leader))
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
        until("it stops", lambda: not cluster.status(leader).get("is_leader", True))
        cluster.wait_leader(besides=leader)
        rivals.progress(5)
        for other in others:
            cluster.cut(leader, other, on=False)
        rivals.progress(5)
        until(
            "it follows",
            lambda: all(one["connected"] for one in cluster.status(leader).get("members", [{"connected": False}])),
        )
        for other in others:  # one direction only, then slow
            cluster.relays[max(leader, other), min(leader, other)].mute = "out"
        rivals.progress(5)
        for relay in cluster.relays.values():
            relay.mute, relay.delay_s = "", 0.02
        rivals.progress(5)
