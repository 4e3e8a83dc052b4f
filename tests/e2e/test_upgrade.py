"""docs/UPGRADING.md, done: a cluster goes to another version node by node while it signs, and what
does not fit says so.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cometkms import __version__
from cometkms.wire.peer_messages import PEER_PROTOCOL_VERSION
from tests.e2e.cluster import Cluster, Rivals, rivalry
from tests.e2e.node import PATIENCE_S, PRECOMMIT, PREVOTE, until
from tests.e2e.versions import other_version

pytestmark = pytest.mark.long

NEXT = "99.1.0"
FOREIGN, FOREIGN_PROTOCOL = "100.0.0", PEER_PROTOCOL_VERSION + 50


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Rivals]]:
    with rivalry(tmp_path_factory.mktemp("cluster")) as found:
        yield found


def version_of(cluster: Cluster, name: str) -> str:
    return str(cluster.status(name).get("node", {}).get("version", ""))


def restart(cluster: Cluster, name: str, **variables: str) -> None:
    """One node, as the procedure says: a planned stop, the start, and then it is waited for."""
    assert cluster.nodes[name].stop() == 0
    cluster.variables[name] = variables
    cluster.start(name)
    until(f"{name} is whole again", lambda: cluster.status(name).get("healthy"))


def lost(rivals: Rivals) -> list[tuple[int, int, int]]:
    """Places that were passed by without a signature."""
    signed, height = set(rivals.judge.signatures), rivals.height
    return [
        place for h in range(1, height + 1) for place in ((h, 0, PREVOTE), (h, 0, PRECOMMIT)) if place not in signed
    ]


def test_a_cluster_goes_to_another_version_node_by_node_and_signs_all_the_while(
    running: tuple[Cluster, Rivals], tmp_path: Path
) -> None:
    cluster, rivals = running
    until("all are up", lambda: {version_of(cluster, name) for name in cluster.ids} == {__version__})
    variables = other_version(tmp_path, NEXT)
    leader = cluster.wait_leader()
    leases = sum(cluster.log(name).count("granted=True") for name in cluster.ids)
    followers = [name for name in cluster.ids if name != leader]
    for name in (*followers, leader):  # the leader last: one handover instead of three
        restart(cluster, name, **variables)
        until("it says so", lambda name=name: version_of(cluster, name) == NEXT)
        rivals.progress(3)  # mixed versions, but for the last time
    cluster.wait_leader()
    until("all say so", lambda: {version_of(cluster, name) for name in cluster.ids} == {NEXT})
    until("all have one digest", lambda: len({cluster.status(name).get("digest") for name in cluster.ids}) == 1)
    changes = sum(cluster.log(name).count("granted=True") for name in cluster.ids) - leases
    # what was under way at a change of the leader, at most
    assert len(lost(rivals)) <= changes, lost(rivals)
    assert not rivals.judge.double


def test_a_version_of_another_protocol_is_refused_on_both_sides_with_both_versions_and_the_cure(
    running: tuple[Cluster, Rivals], tmp_path: Path
) -> None:
    cluster, rivals = running
    leader = cluster.wait_leader()
    name = next(one for one in cluster.ids if one != leader)
    before = cluster.variables.get(name, {})
    assert cluster.nodes[name].stop() == 0
    cluster.variables[name] = other_version(tmp_path, FOREIGN, FOREIGN_PROTOCOL)
    cluster.start(name)

    def refused_at(here: str, there: str) -> str | None:
        members = {one["id"]: one for one in cluster.status(here).get("members", [])}
        error = str(members.get(there, {}).get("error", ""))
        return error if FOREIGN in error else None

    for here, there in ((leader, name), (name, leader)):
        words = until(f"{here} refuses {there}", lambda here=here, there=there: refused_at(here, there))
        assert all(str(one) in words for one in (NEXT, PEER_PROTOCOL_VERSION, FOREIGN_PROTOCOL))
        assert "cure" in words
        until("its log says it, too", lambda here=here: FOREIGN in cluster.log(here))
    rivals.progress(3)  # the others are a majority, and do not mind
    assert not until("it answers", lambda: cluster.status(name))["is_leader"]
    assert cluster.nodes[name].stop() == 0
    cluster.variables[name] = before
    cluster.start(name)
    until(f"{name} is back", lambda: cluster.status(name).get("healthy"))
    rivals.progress(3)


def test_an_older_version_leaves_a_newer_ones_store_alone(running: tuple[Cluster, Rivals]) -> None:
    cluster, rivals = running
    leader = cluster.wait_leader()
    name = next(one for one in cluster.ids if one != leader)
    node = cluster.nodes[name]
    assert node.stop() == 0
    store = node.home / "data" / name / "promises"
    mine = store.read_bytes()
    newer = mine.replace(b"CMKMSH02", b"CMKMSH09")
    store.write_bytes(newer)
    cluster.start(name)
    assert node.process is not None
    assert node.process.wait(timeout=PATIENCE_S) == 5
    assert "has the format 9" in node.log()
    assert store.read_bytes() == newer
    store.write_bytes(mine)
    cluster.start(name)
    until(f"{name} is back", lambda: cluster.status(name).get("healthy"))
    rivals.progress(3)
