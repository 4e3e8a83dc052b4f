"""`leader_priority` on real nodes: the lead returns to the preferred one after a time of calm, and
every node says so.

The time is a tenth of what it is: a busy machine may never have a whole minute without an election.
tests/unit/state has the minute.
"""

import time
from functools import partial
from pathlib import Path

from cometkms.limits import FAVOURITE_CALM_S, FAVOURITE_QUIET_S
from tests.e2e.cluster import Client, Cluster
from tests.e2e.node import PATIENCE_S, PRECOMMIT, PREVOTE, free_tcp, until
from tests.e2e.test_liveness import handovers
from tests.e2e.versions import changed

TRIES = 4
SHORTER = 10


def shorter() -> list[tuple[str, str, str]]:
    times = {"FAVOURITE_CALM_S": FAVOURITE_CALM_S, "FAVOURITE_QUIET_S": FAVOURITE_QUIET_S}
    return [("limits.py", f"{name}: Final = {at}", f"{name}: Final = {at / SHORTER}") for name, at in times.items()]


def tells(cluster: Cluster, name: str, words: str) -> bool:
    """Its status page."""
    return words in cluster.nodes[name].fetch("/")[1]


def gave_it(cluster: Cluster, name: str) -> bool:
    """Whether it counts that it gave the lead to the preferred node."""
    return handovers(cluster, name).get("preferred") == 1


def test_the_lead_returns_to_the_preferred_node_and_every_node_says_so(tmp_path: Path) -> None:
    validator = Client(free_tcp())
    cluster = Cluster(tmp_path, 3, validator.address)
    try:
        cluster.extra = {"node2": ["--leader-priority", "90"]}
        cluster.variables = dict.fromkeys(cluster.ids, changed(tmp_path / "shorter", *shorter()))
        cluster.start()
        validator.must_sign(PREVOTE, 1)
        for height in range(2, 2 + TRIES):
            if (
                cluster.wait_leader() == "node2"
            ):  # so that another leads, without an order: after one the lead would stay
                cluster.kill("node2")
                cluster.wait_leader(besides="node2")
                cluster.start("node2")
            cluster.wait_whole()
            before = cluster.wait_leader()
            # twice as long where node2 led first and was killed: whoever loses the lead early waits
            # longer for it
            until("node2 leads again", lambda: cluster.leader() == "node2", patience_s=3 * PATIENCE_S)
            validator.must_sign(PRECOMMIT, height)
            gave = partial(gave_it, cluster, before)
            if any(gave() or time.sleep(1.0) for _ in range(10)):
                # else a leader that had no turn for long was followed by node2 by chance, and it
                # begins anew
                break
        until(f"{before} counts that it gave it", gave)
        for name in cluster.ids:
            facts = {one["id"]: one["facts"]["leader_priority"] for one in cluster.nodes[name].status()["members"]}
            assert facts == {"node0": "50", "node1": "50", "node2": "90"}
            words = f"{before} gave the lead to node2, which leader_priority prefers"
            until(f"{name}'s page tells why", partial(tells, cluster, name, words))
    finally:
        cluster.stop()
        validator.close()
