"""One member in foreign hands: a real process with its real identity lies to two real nodes.

Nothing of it lasts once it is gone.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cometkms.errors import SupersededError
from cometkms.limits import JUMP_HEIGHTS, JUMP_HEIGHTS_PER_S
from tests.attacks.member import LIES
from tests.e2e.cluster import Client, Cluster
from tests.e2e.node import CHAIN, PATIENCE_S, PREVOTE, free_tcp, until

pytestmark = pytest.mark.long

LIAR = "node2"
HONEST = ("node0", "node1")
OFTEN = 40  # lies, to both together, before it is judged
ELECTIONS = ("terms far away", "a mismatched index")  # what a successor is needed after
ON_THE_LOG = ("terms far away", "indices far away", "others' terms")
LINES_MAX = 400  # of the log: some kinds of line, LOG_BURST of each and one in LOG_EVERY_S
JOURNAL_MAX = 2 << 20  # bytes of a file that holds what one term can leave without a majority


class Attacked:
    """Three nodes, the height that was signed last, and the liar in node2's place."""

    def __init__(self, directory: Path) -> None:
        self.validator = Client(free_tcp())
        self.cluster = Cluster(directory, 3, self.validator.address)
        self.height = 0
        self.out = directory / "liar.out"

    def sign(self) -> None:
        self.height += 1
        self.validator.must_sign(PREVOTE, self.height)

    def lie(self, lie: str) -> subprocess.Popen[bytes]:
        cluster = self.cluster
        ports = ",".join(f"{name}={port}" for name, port in cluster.ports.items())
        with self.out.open("wb") as out:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.attacks.member", lie, str(cluster.nodes[LIAR].home), LIAR, ports, CHAIN],
                stdout=out,
            )

    def told(self) -> dict[str, int]:
        """How many lies each honest node was told."""
        found = dict.fromkeys(HONEST, 0)
        for line in self.out.read_text().splitlines():
            found[json.loads(line)["peer"]] += 1
        return found

    def listeners(self) -> dict[str, int]:
        """The honest nodes' state processes, which hear the members: one that ended has another
        number. A signer may be replaced on a machine that is slow.
        """
        children = {name: self.cluster.nodes[name].status()["children"] for name in HONEST}
        return {name: one["pid"] for name, found in children.items() for one in found if one["name"] == "state"}

    def refused(self, reason: str) -> float:
        """What the honest nodes count of it."""
        total = 0.0
        for name in HONEST:
            lines = self.cluster.nodes[name].fetch("/metrics")[1].splitlines()
            mine = [
                one
                for one in lines
                if one.startswith("cometkms_promises_refused_total{") and f'reason="{reason}"' in one
            ]
            total += sum(float(one.rsplit(" ", 1)[1]) for one in mine)
        return total


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    made = Attacked(tmp_path_factory.mktemp("attacked"))
    try:
        made.cluster.start()
        made.cluster.wait_whole()
        made.sign()
        yield made
    finally:
        made.validator.close()
        made.cluster.stop()


@pytest.mark.parametrize("lie", [lie for lie in LIES if lie != "restarts"])
def test_a_lie_ends_no_honest_process_and_lasts_no_longer_than_the_liar(attacked: Attacked, lie: str) -> None:
    """While it is there it may stop the cluster. When it is gone the two honest ones sign by
    themselves; when the third node is back they elect another leader when the one that they have
    ends, and every state file follows what was signed.
    """
    cluster = attacked.cluster
    before, counted = attacked.listeners(), attacked.refused("false_raft")
    written = {name: len(cluster.log(name).splitlines()) for name in HONEST}
    cluster.nodes[LIAR].stop()
    liar = attacked.lie(lie)
    try:
        if lie in ("accepts", "refusals"):
            for _ in range(10):
                attacked.sign()  # the other two are a majority without it
        else:
            until(lambda: f"it lied enough: {attacked.told()}", lambda: min(attacked.told().values()) >= OFTEN / 2)
        if lie in ON_THE_LOG:
            until("it is counted", lambda: attacked.refused("false_raft") > counted)
            assert any("a member's word on the replicated log is not believed" in cluster.log(name) for name in HONEST)
    finally:
        liar.kill()
        liar.wait()
    assert attacked.listeners() == before
    attacked.sign()
    if lie == "words for the log":  # of hundreds of each kind
        for name in HONEST:
            assert "promise refused to a member" in cluster.log(name)
            assert len(cluster.log(name).splitlines()) - written[name] < LINES_MAX
    if lie == "a log without end":
        assert all((cluster.nodes[name].home / "data" / name / "raft").stat().st_size <= JOURNAL_MAX for name in HONEST)
    cluster.start(LIAR)
    # taken in this member's name: its real machine ends, and begins with nothing
    if lie == "a store of its own":
        process = cluster.nodes[LIAR].process
        assert process is not None
        assert process.wait(timeout=PATIENCE_S) == SupersededError.exit_code
        cluster.wipe(LIAR)
        cluster.start(LIAR)
    cluster.wait_whole()
    attacked.sign()
    if lie in ELECTIONS:
        leader = cluster.wait_leader()
        cluster.kill(leader)
        attacked.sign()
        cluster.start(leader)
        cluster.wait_whole()
        attacked.sign()
    for name in cluster.ids:
        until(
            lambda name=name: f"{name}'s state file follows to {attacked.height}",
            lambda name=name: int(json.loads(cluster.nodes[name].state_path.read_text())["height"]) == attacked.height,
        )


def test_a_member_that_has_the_others_start_again_raises_their_marks_by_what_a_start_allows(tmp_path: Path) -> None:
    """An order to restart is a drill's, and any member may give it, up to a number a day."""
    attacked = Attacked(tmp_path)
    cluster, begun = attacked.cluster, time.time()
    try:
        cluster.start()
        cluster.wait_whole()
        attacked.sign()
        cluster.nodes[LIAR].stop()
        liar = attacked.lie("restarts")
        until("they started again", lambda: sum(cluster.log(name).count("planned restart") for name in HONEST) >= 4)
        liar.kill()
        liar.wait()
        cluster.wait_leader(besides=LIAR)
        until("both run again", lambda: all(cluster.status(name).get("chains") for name in HONEST))
        starts = 1 + sum(cluster.log(name).count("planned restart") for name in HONEST)
        allowed = 1 + JUMP_HEIGHTS * starts + JUMP_HEIGHTS_PER_S * (time.time() - begun + 1)
        marks = [cluster.nodes[name].status()["chains"][0]["watermark"]["height"] for name in HONEST]
        assert all(JUMP_HEIGHTS / 2 < mark <= allowed for mark in marks), (marks, allowed)
    finally:
        attacked.validator.close()
        cluster.stop()
