"""A height to which no chain can have come (rule 13) on real nodes: refused, said, admitted by the
operator; and the way down from a mark that is far above the chain.
"""

import json
import os
import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cometkms.limits import HEIGHT_MAX, JUMP_HEIGHTS
from tests.e2e.cluster import Client, Cluster, Judge
from tests.e2e.node import CHAIN, PRECOMMIT, PREVOTE, Node, ballot, cmkms, free_tcp, until

FAR = 5_000_000
LAST = 2 * JUMP_HEIGHTS  # a quick machine is there long before time alone admits it
# heights that are asked for in one go: a busy machine signs them while patience lasts
PORTION = 100


def signs(validator: Client, judge: Judge, height: int) -> None:
    request = ballot(PRECOMMIT, height)
    answer = until(f"{height} is signed", lambda: signed_once(validator, request))
    judge.saw(request, answer)


def signed_once(validator: Client, request: dict[str, Any]) -> dict[str, Any] | None:
    """The answer, when there is one: no connection, and no leader yet, are not."""
    answer = validator.sign(PRECOMMIT, request["height"])
    assert not answer.get("remote"), answer
    return answer if answer.get("signature") else None


def test_a_jump_is_told_with_the_command_that_admits_it_and_signed_after_it(tmp_path: Path) -> None:
    validator = Client(free_tcp())
    node = Node(tmp_path / "node", validator.address).start("--id", "node0", wait=False)
    try:
        validator.must_sign(PREVOTE, 5)
        for _ in range(3):
            validator.must_refuse(PREVOTE, FAR)

        def told() -> dict[str, Any] | None:
            found = [one for one in node.status()["alerts"] if one["name"] == "height_jump"]
            return found[0] if found else None

        alert = until("it is an alert", told)
        assert not node.healthy()
        assert f"height jump. Got {FAR}, and no more than " in alert["what"]
        found = re.search(r"`(cmkms chain admit [^`]*)`", alert["cure"])
        assert found is not None
        command = shlex.split(found[1])[1:]
        home = ("--home", str(node.home), "--id", "node0")
        asked = cmkms(*command, *home)
        assert (asked.returncode, "the height must be typed" in asked.stderr) == (5, True)
        assert f"heights up to {FAR + 1000} are promised here" in asked.stdout
        validator.must_refuse(PREVOTE, FAR)
        done = cmkms(*command, "--yes", *home)
        assert done.returncode == 0, done.stderr
        assert f"admitted {CHAIN} up to height {FAR + 1000}" in done.stdout
        validator.must_sign(PREVOTE, FAR)
        until("it is over", lambda: told() is None and node.healthy())
        again = cmkms(*command, *home)
        assert "plausible; nothing was changed" in again.stdout
        other = cmkms("chain", "admit", "other-1", "--height", "5", "--yes", *home)
        assert other.returncode == 1
        assert f"'other-1' is no chain of this node; it has {CHAIN}" in other.stderr
        until("its log says so", lambda: "height admitted" in node.log())
    finally:
        validator.close()
        node.stop()


def test_the_time_since_the_state_file_was_written_counts_after_a_restart(tmp_path: Path) -> None:
    """A node that stood still for a week, or whose key was jailed, goes on without its operator;
    its next signature begins anew.
    """
    validator = Client(free_tcp())
    node = Node(tmp_path / "node", validator.address).start("--id", "node0", wait=False)
    try:
        validator.must_sign(PRECOMMIT, 5)
        node.stop()
        week_ago = time.time() - 7 * 86400
        os.utime(node.state_path, (week_ago, week_ago))
        node.start("--id", "node0", wait=False)
        signs(validator, Judge(), 1_200_000)
        validator.must_refuse(PRECOMMIT, 2_400_000)
        node.stop()
        node.start("--id", "node0", wait=False)
        until("it is connected", lambda: validator.sign(PRECOMMIT, 2_400_000).get("remote"))
        signs(validator, Judge(), 1_200_001)
    finally:
        validator.close()
        node.stop()


@pytest.fixture
def address() -> str:
    return free_tcp()


@pytest.fixture
def cluster(tmp_path: Path, address: str) -> Iterator[Cluster]:
    made = Cluster(tmp_path, 3, address)
    for name in made.ids:  # commands on a stopped node read the list, too
        path = made.nodes[name].home / "config.toml"
        listed = ", ".join(f'"{one}=127.0.0.1:{port}"' for one, port in made.ports.items())
        lines = [line for line in path.read_text().splitlines() if not line.startswith(("raft_addr", "peer"))]
        path.write_text("\n".join([f'raft_addr = "127.0.0.1:{made.ports[name]}"', f"peer = [{listed}]", *lines]))
    yield made
    made.stop()


def test_what_was_raised_by_mistake_is_lowered_on_all_nodes_and_nothing_is_signed_twice(
    cluster: Cluster, address: str
) -> None:
    """A majority admits a height at which the chain is not, and signs there; then the way down, and
    the first signatures after it.
    """
    judge = Judge()
    validator = Client(address)
    try:
        cluster.start()
        for height in (50, 51):
            signs(validator, judge, height)
        leader = cluster.wait_leader()
        admit = ("chain", "admit", CHAIN, "--height", str(FAR), "--yes")
        said = cluster.control(leader, *admit)
        assert "2 of 3 must find it plausible" in said.stdout, said.stderr
        refused = validator.must_refuse(PRECOMMIT, FAR)
        assert "other nodes do not find plausible" in refused or "no bytes can reach" in refused
        for name in cluster.ids:
            assert cluster.control(name, *admit).returncode == 0
        signs(validator, judge, FAR + 1)
        validator.must_refuse(PRECOMMIT, 52)

        def every_file_shows_it() -> bool:
            return all(
                json.loads(cluster.nodes[name].state_path.read_text())["height"] == str(FAR + 1) for name in cluster.ids
            )

        until("every state file shows it", every_file_shows_it)
        reset = ("chain", "reset", CHAIN, "--height", "60", "--yes-height", "60")
        assert "uses" in cluster.control(leader, *reset).stderr, "not while this node runs"
        cluster.nodes[leader].stop()
        running = cluster.control(leader, *reset)
        assert running.returncode == 6
        assert "answers at" in running.stderr, "nor while another member does"
        for name in cluster.ids:
            if name != leader:
                cluster.nodes[name].stop()
        born = {name: (cluster.nodes[name].state_path.parent / "born.json").read_bytes() for name in cluster.ids}
        for name in cluster.ids:
            unsaid = cluster.control(name, *reset[:-2])
            assert (unsaid.returncode, "the height must be typed" in unsaid.stderr) == (5, True)
            done = cluster.control(name, *reset)
            assert done.returncode == 0, done.stderr
            assert f"stands   {CHAIN} at {FAR + 1}/0/3, signed" in done.stdout
            assert f"it HAS signed at {FAR + 1}/0/3" in done.stdout
            data = cluster.nodes[name].home / "data" / name
            assert (data / "promises.old-1").stat().st_size == (data / "promises").stat().st_size
            assert (data / "raft.old-1").exists()
            assert (
                str(FAR + 1) in cluster.nodes[name].state_path.with_name("priv_validator_state.json.old-1").read_text()
            )
            assert (cluster.nodes[name].state_path.parent / "born.json").read_bytes() == born[name]
        cluster.start()
        cluster.wait_whole()
        for height in (52, 60):
            validator.must_refuse(PRECOMMIT, height)
        signs(validator, judge, 61)
        cluster.kill(cluster.wait_leader())
        signs(validator, judge, 62)
        judge.verdict()
        for name in filter(cluster.up, cluster.ids):
            cluster.wait_state(name, "complete")
    finally:
        validator.close()


def test_a_node_that_was_not_reset_is_outvoted_and_promises_nothing_below_its_mark(
    cluster: Cluster, address: str
) -> None:
    """Two of three were reset: the third's mark comes to none of them, for no signature proves it,
    and it signs nothing below it.
    """
    judge = Judge()
    validator = Client(address)
    try:
        cluster.start()
        signs(validator, judge, 50)
        cluster.wait_whole()
        for name in cluster.ids:
            cluster.nodes[name].stop()
        burnt = ("recover", "--min-height", str(FAR), "--yes-height", str(FAR))
        assert cluster.control("node2", *burnt).returncode == 0
        for name in ("node0", "node1"):
            assert (
                cluster.control(name, "chain", "reset", CHAIN, "--height", "50", "--yes-height", "50").returncode == 0
            )
        cluster.start()
        cluster.wait_whole()
        until(
            "node2's mark is where it was",
            lambda: [one["watermark"]["height"] for one in cluster.status("node2").get("chains", [])] == [FAR],
        )
        until(
            "one that was reset leads",
            lambda: cluster.wait_leader() != "node2" or not cluster.control("node2", "leader", "transfer"),
        )
        signs(validator, judge, 51)
        judge.verdict()
        for name in ("node0", "node1"):
            until(
                f"{name} stands there",
                lambda name=name: cluster.nodes[name].status()["chains"][0]["watermark"]["height"] == 51,
            )
    finally:
        validator.close()


def test_numbers_that_are_no_heights_admit_nothing(tmp_path: Path) -> None:
    node = Node(tmp_path / "node", free_tcp()).start("--id", "node0", wait=False)
    try:
        home = ("--home", str(node.home), "--id", "node0", "--yes")
        for height in ("0", "-1", str(HEIGHT_MAX + 1), "x"):
            assert cmkms("chain", "admit", CHAIN, "--height", height, *home).returncode == 2
    finally:
        node.stop()


@pytest.mark.parametrize("nodes", [1, 3])
def test_one_height_after_another_is_signed_as_quickly_as_it_can_be(tmp_path: Path, nodes: int) -> None:
    """A replay or a measurement: quicker than any chain, and nothing of it is refused."""
    validator = Client(free_tcp())
    cluster = Cluster(tmp_path, nodes, validator.address)
    try:
        cluster.start()
        validator.connect()
        height = 1
        while height <= LAST:
            answer = validator.ask(cmd="bench", height=height, heights=PORTION, warmup=0)
            if answer.get("verified"):
                height += PORTION
                continue
            assert "signerEndpoint returned error" not in answer["error"], "a refusal"
            lost = re.match(
                r"height (\d+) type", answer["error"]
            )  # the lead moved on a busy machine: on with the next height
            assert lost is not None, answer
            height = int(lost[1]) + 1
            validator.connect()
    finally:
        validator.close()
        cluster.stop()
