"""The table of situations on real nodes: who leads × who is there × what is signed, and every voice
of a node says the same.
"""

import html
import os
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import Client, Cluster
from tests.e2e.node import PREVOTE, Node, ballot, cmkms, free_tcp, until

GOOD, BAD = "All is well", "Not signing"


class Asker:
    """A validator that asks for one height after the other, as long as it lives."""

    def __init__(self, client: Client) -> None:
        self.client, self.height, self.stopping = client, 0, False
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        while not self.stopping:
            try:
                if not self.client.ask(cmd="pub_key").get("pub_key"):
                    continue
                answer = self.client.ask(**ballot(PREVOTE, self.height + 1))
            except AssertionError:  # it was killed, or nobody serves it now
                if self.client.process.poll() is not None:
                    return
                continue
            except (OSError, ValueError):
                return
            self.height += bool(answer.get("signature"))

    def stop(self) -> None:
        self.stopping = True
        self._thread.join(60)


@pytest.fixture
def validator() -> Iterator[Client]:
    made = Client(free_tcp())
    yield made
    made.close()


@pytest.fixture
def cluster(tmp_path: Path, validator: Client) -> Iterator[Cluster]:
    made = Cluster(tmp_path, 3, validator.address, relays=True)
    yield made
    made.stop()


@pytest.fixture
def asker(validator: Client) -> Iterator[Asker]:
    made = Asker(validator)
    yield made
    made.stop()


def voices(cluster: Cluster, name: str) -> dict[str, Any]:
    """What each voice of a node says, all of one moment as far as can be."""
    node = cluster.nodes[name]
    status = node.status()
    page = node.fetch("/")[1]
    shown = cluster.control(name, "leader", "show")
    code, said = node.fetch("/healthz")
    headline = re.search(r"<h1>(.*?)</h1>", page)
    has_leader = re.search(r"^cometkms_has_leader (\S+)", node.fetch("/metrics")[1], re.M)
    command = cmkms("status", "--home", str(node.home), "--http-addr", f"127.0.0.1:{node.http_port}")
    return {
        "leads": status["situation"]["leads"], "signs": status["situation"]["signs"], "there": status["situation"]["there"],
        "verdict": status["situation"]["verdict"], "headline": status["situation"]["headline"], "page": headline[1] if headline else "",
        "healthz": code, "why": said, "healthy": status["healthy"], "leader": status.get("leader_id"), "show": shown.stdout, "show_code": shown.returncode,
        "has_leader": has_leader is not None and float(has_leader[1]) == 1, "status_code": command.returncode, "status": command.stdout,
        "doctor_fails": "no node leads" in cluster.control(name, "doctor").stdout, "alerts": {one["name"] for one in status["alerts"]},
    }  # fmt: skip


def lead(cluster: Cluster, leader: str) -> None:
    """On a busy machine the leadership moves by itself: back to where the test wants it."""
    if cluster.up(leader) and not cluster.status(leader).get("is_leader"):
        cluster.control(leader, "leader", "transfer", "--to", leader)


def agree(
    cluster: Cluster,
    name: str,
    leads: str,
    signs: str,
    there: str,
    *,
    healthy: bool,
    verdict: str,
    says: str = "",
    leader: str = "",
) -> dict[str, Any]:
    """Wait for the cell; then all voices are of it. `leader`: who is to lead."""
    seen: dict[str, Any] = {}

    def fits() -> bool:
        seen.clear()
        if leader:
            lead(cluster, leader)
        if cluster.status(name).get("situation", {}).get("leads") != leads:
            return False
        try:
            seen.update(voices(cluster, name))
        except OSError:
            return False
        found = (seen["leads"], seen["signs"], seen["there"], seen["verdict"], seen["healthy"])
        somebody = leads in ("here", "elsewhere", "waiting")
        return (
            found == (leads, signs, there, verdict, healthy)
            and says in seen["headline"]
            and seen["headline"] == html.unescape(seen["page"])
            and seen["headline"] in seen["status"]
            and (seen["healthz"] == 200) is healthy
            and (seen["status_code"] == 0) is healthy
            and (seen["show_code"] == 0) is somebody
            and seen["has_leader"] is somebody
            and (seen["leader"] is not None) is somebody
            and seen["doctor_fails"] is (leads == "nobody")
        )

    try:
        until(f"{name} is at {leads}, {signs}, {there}", fits)
    except AssertionError:
        print(seen)
        raise
    return seen


def settled(cluster: Cluster) -> tuple[str, list[str]]:
    """All three are there and one signs. Its name, and the others'."""
    cluster.start()
    leader = cluster.wait_leader()
    for name in cluster.ids:
        cluster.wait_state(name, "complete")
    until(
        "signatures are learned of everywhere",
        lambda: all(cluster.nodes[name].status()["situation"]["signs"] == "signed" for name in cluster.ids),
    )
    return leader, [name for name in cluster.ids if name != leader]


def test_all_is_well(cluster: Cluster, asker: Asker) -> None:
    leader, others = settled(cluster)
    agree(
        cluster,
        leader,
        "here",
        "signed",
        "all",
        healthy=True,
        verdict=GOOD,
        says=f"{leader} leads and signs.",
        leader=leader,
    )
    for name in others:
        agree(
            cluster,
            name,
            "elsewhere",
            "signed",
            "all",
            healthy=True,
            verdict=GOOD,
            says=f"{leader} leads and signs. {name} follows.",
            leader=leader,
        )


@pytest.mark.parametrize("order", ["follower first", "leader first", "both at once"])
def test_nobody_leads_where_a_majority_is_gone_and_the_survivor_says_so_everywhere(
    cluster: Cluster, asker: Asker, order: str
) -> None:
    leader, (first, last) = settled(cluster)
    if order == "follower first":
        cluster.kill(first)
        until("the leader misses it", lambda: cluster.nodes[leader].status()["situation"]["there"] == "bare")
        cluster.kill(leader)
    elif order == "leader first":
        cluster.kill(leader)
        until("somebody else leads", lambda: cluster.leader() in (first, last))
        cluster.kill(first)
    else:
        for name in (leader, first):
            cluster.nodes[name].process.kill()  # type: ignore[union-attr]
        for name in (leader, first):
            cluster.kill(name)
    seen = agree(
        cluster,
        last,
        "nobody",
        "nobody",
        "short",
        healthy=False,
        verdict=BAD,
        says="1 of 3 nodes is there, 2 are needed",
    )
    assert leader in seen["headline"] and first in seen["headline"], "who is missing is named"
    assert "nobody leads" in seen["show"]
    until("it is an alert", lambda: {"no_leader", "quorum_minimum"} <= voices(cluster, last)["alerts"])
    cluster.start(leader)
    until("two are enough again", cluster.nodes[last].healthy)


@pytest.mark.parametrize("how", ["killed", "frozen", "cut off"])
def test_a_leader_that_is_lost_is_followed_by_another_and_itself_knows_of_nobody(
    cluster: Cluster, asker: Asker, how: str
) -> None:
    leader, others = settled(cluster)
    if how == "killed":
        cluster.kill(leader)
    elif how == "frozen":
        cluster.freeze(leader)
    else:
        for name in others:
            cluster.cut(leader, name)
    heir = until(
        "another leads", lambda: next((name for name in others if cluster.status(name).get("is_leader")), None)
    )
    follower = next(name for name in others if name != heir)
    agree(cluster, heir, "here", "signed", "bare", healthy=True, verdict=GOOD, leader=heir)
    agree(
        cluster,
        follower,
        "elsewhere",
        "signed",
        "bare",
        healthy=True,
        verdict=GOOD,
        says=f"{heir} leads and signs.",
        leader=heir,
    )
    if how == "cut off":
        agree(cluster, leader, "nobody", "nobody", "short", healthy=False, verdict=BAD)
        for name in others:
            cluster.cut(leader, name, on=False)
    elif how == "frozen":
        cluster.thaw(leader)
    else:
        cluster.start(leader)
    agree(cluster, leader, "elsewhere", "signed", "all", healthy=True, verdict=GOOD, leader=heir)


def test_a_recovering_node_says_that_it_does_not_count_beside_who_leads(cluster: Cluster, asker: Asker) -> None:
    leader, (lost, other) = settled(cluster)
    cluster.kill(lost)
    cluster.wipe(lost)
    cluster.cut(lost, other)  # it must read both to be complete again
    cluster.start(lost)
    cluster.wait_state(lost, "recovering")
    seen = agree(
        cluster,
        lost,
        "elsewhere",
        "signed",
        "short",
        healthy=False,
        verdict=GOOD,
        says=f"{leader} leads and signs. {lost} is recovering",
        leader=leader,
    )
    assert f"{other} (not connected" in seen["why"]
    assert any("is lost" in one for one in cluster.nodes[lost].status()["warnings"])
    until("the leader says who recovers", lambda: "peer_recovering" in voices(cluster, leader)["alerts"])
    cluster.cut(lost, other, on=False)
    agree(cluster, lost, "elsewhere", "signed", "all", healthy=True, verdict=GOOD, leader=leader)
    until("it has nothing to warn of any more", lambda: cluster.nodes[lost].status()["warnings"] == [])


def test_between_two_epochs_nobody_leads_and_each_node_says_why(cluster: Cluster, asker: Asker) -> None:
    """A majority is sealed while it runs; the third, which has the lead then, has
    nobody left to sign with.
    """
    leader, (first, last) = settled(cluster)
    for name in (leader, first):
        lead(cluster, name if name == leader else last)
        sealed = cluster.control(name, "epoch", "seal", "--next", f"{leader},{first},{last}", "--yes")
        assert sealed.returncode == 0, sealed.stderr
    for name in (leader, first):
        seen = agree(cluster, name, "nobody", "nobody", "short", healthy=False, verdict=BAD)
        assert "sealed" in seen["headline"] + seen["why"]
    seen = agree(cluster, last, "nobody", "nobody", "short", healthy=False, verdict=BAD)
    assert f"{', '.join(sorted((leader, first)))} sealed" in seen["headline"]
    cure = "this epoch is over; cure: seal this node, too"
    until(f"{last} says the cure", lambda: cure in cluster.status(last).get("why", ""))
    signed = asker.height
    for name in (leader, first):
        cluster.nodes[name].stop()
        started = cluster.control(
            name, "start", "--raft-addr", f"127.0.0.1:{cluster.ports[name]}", *cluster.peers_of(name)
        )
        assert (started.returncode, "was sealed here" in started.stderr) == (5, True)
    assert asker.height == signed


def test_a_validator_that_is_absent_is_told_by_the_leader_and_not_seen_by_a_follower(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, 3, free_tcp())
    try:
        cluster.start()
        for name in cluster.ids:  # each leads once and looks for a validator; then one stays
            until(f"{name} looked", lambda name=name: "no validator is reached from here" in cluster.log(name))
        leader = cluster.wait_leader()
        follower = next(name for name in cluster.ids if name != leader)
        agree(
            cluster,
            leader,
            "here",
            "no_validator",
            "all",
            healthy=True,
            verdict=BAD,
            says="Nothing is signed: no validator is connected.",
            leader=leader,
        )
        agree(
            cluster,
            follower,
            "elsewhere",
            "not_seen",
            "all",
            healthy=True,
            verdict=GOOD,
            says=f"{leader} leads. No signature was seen",
            leader=leader,
        )
        until(
            "it is an alert",
            lambda: (now := cluster.leader()) is not None and "validator_away" in voices(cluster, now)["alerts"],
        )
    finally:
        cluster.stop()


def test_a_validator_of_another_chain_is_refused_and_the_node_is_not_healthy(tmp_path: Path) -> None:
    validator = Client(free_tcp(), chain="another-1")
    cluster = Cluster(tmp_path, 3, validator.address)
    asker = Asker(validator)
    try:
        cluster.start()
        leader = cluster.wait_leader()
        seen = agree(
            cluster,
            leader,
            "here",
            "refused",
            "all",
            healthy=False,
            verdict=BAD,
            says="Nothing is signed: every request of",
            leader=leader,
        )
        assert "wrong chain" in seen["why"] and "another-1" in seen["why"]
        alert = until(
            "it is an alert",
            lambda: next(
                (one for one in cluster.nodes[leader].status()["alerts"] if one["name"] == "requests_refused"), None
            ),
        )
        assert "`chain_id` in config.toml" in alert["cure"] and "recover anything" in alert["cure"]
    finally:
        asker.stop()
        validator.close()
        cluster.stop()


def share_secret(cluster: Cluster) -> None:
    """A cluster.key of this test's own: two nodes of one id and secret are not allowed to run on
    one machine, and tests run beside each other.
    """
    words = os.urandom(32).hex()
    for node in cluster.nodes.values():
        secret = node.key_path.with_name("cluster.key")
        secret.write_text(words)
        secret.chmod(0o600)


def test_a_chain_that_only_the_leader_has_is_told_as_that(tmp_path: Path) -> None:
    """An operator adds a chain's table one node at a time: what is missing are the others' tables,
    and the first chain is signed all the while.
    """
    validators = {"chain-a": Client(free_tcp(), chain="chain-a"), "chain-b": Client(free_tcp(), chain="chain-b")}
    cluster = Cluster(tmp_path, 3, validators["chain-a"].address, chain="chain-a")
    node = cluster.nodes["node0"]
    askers = [Asker(validators["chain-a"])]
    try:
        share_secret(cluster)
        cluster.start()
        cluster.wait_leader()
        until("the first chain is signed", lambda: askers[0].height > 2)
        node.stop()
        config = node.home / "config.toml"
        kept = [line for line in config.read_text().splitlines() if not line.startswith(("chain_id", "validator_addr"))]
        for chain, validator in validators.items():
            kept += ["[[chain]]", f'id = "{chain}"', f'validator_addr = "{validator.address}"']
            if chain == "chain-a":
                kept += [f'{kind}_file = "priv/priv_validator_{kind}.json"' for kind in ("key", "state")]
        config.write_text("\n".join([*kept, ""]))
        assert cmkms("keys", "new", "--home", str(node.home), "--chain-id", "chain-b").returncode == 0
        state = node.home / "priv" / "chain-b" / "priv_validator_state.json"
        state.write_text('{"height":"0","round":0,"step":0}')
        cluster.start("node0")
        askers.append(Asker(validators["chain-b"]))

        def told() -> dict[str, Any] | None:
            status = cluster.status("node0")
            if status and not status.get("is_leader"):
                cluster.control("node0", "leader", "transfer", "--to", "node0")
            found = {one["name"]: one for one in status.get("alerts", [])}
            if not found.keys() >= {"requests_refused", "config_differs"}:
                return None
            has_come = "node1, node2 have no chain chain-b with this node's key; nothing is signed"
            return found if has_come in found["requests_refused"]["what"] else None  # both have joined

        found = until(lambda: f"both alerts: {cluster.status('node0')}", told)
        cure, differs = found["requests_refused"]["cure"], found["config_differs"]["what"]
        assert "chain-b" in cure and "config.toml of every node" in cure
        assert "is configured differently" in differs and "chain-b" in differs
        assert askers[1].height == 0
        signed = askers[0].height
        until("the first chain is signed on", lambda: askers[0].height > signed)
    finally:
        for asker in askers:
            asker.stop()
        for validator in validators.values():
            validator.close()
        cluster.stop()


def test_a_height_far_above_the_last_one_is_refused_until_a_usual_one_is_asked(tmp_path: Path) -> None:
    validator = Client(free_tcp())
    node = Node(tmp_path / "node", validator.address).start("--id", "node0", wait=False)
    cluster = Cluster.__new__(Cluster)
    cluster.nodes = {"node0": node}
    try:
        validator.must_sign(PREVOTE, 5)
        for _ in range(3):
            validator.must_refuse(PREVOTE, 9_000_000)
        seen = agree(cluster, "node0", "here", "refused", "alone", healthy=False, verdict=BAD, says="height jump")
        until("it is an alert", lambda: "requests_refused" in voices(cluster, "node0")["alerts"])
        validator.must_sign(PREVOTE, 6)
        agree(cluster, "node0", "here", "signed", "alone", healthy=True, verdict=GOOD)
        assert seen["status_code"] == 1
    finally:
        validator.close()
        node.stop()


def test_nodes_with_a_key_each_answer_nothing_and_whoever_leads_says_so(tmp_path: Path) -> None:
    """One cluster.key, three validator keys: they are connected, elect each other in turn, and
    promise for none of the three.
    """
    validator = Client(free_tcp())
    asker = Asker(validator)
    cluster = Cluster(tmp_path, 3, validator.address)
    try:
        share_secret(cluster)
        for name in cluster.ids:
            if name != "node0":
                shutil.copy(Node(tmp_path / f"other-{name}").key_path, cluster.nodes[name].key_path)
        cluster.start()
        for name in cluster.ids:
            until(
                f"{name} says that nothing is signed",
                lambda name=name: cluster.status(name).get("situation", {}).get("signs") == "unanswered",
                120,
            )
        assert asker.height == 0
        until(
            "it is an alert",
            lambda: "config_differs" in {one["name"] for one in cluster.status("node0").get("alerts", [])},
        )
    finally:
        asker.stop()
        validator.close()
        cluster.stop()
