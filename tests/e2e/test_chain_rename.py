"""A key that goes on under another chain id: the new one begins at 0, and what was signed under the
old one is never forgotten.
"""

import itertools
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import Client, Cluster, Judge
from tests.e2e.node import PATIENCE_S, PRECOMMIT, Node, ballot, cmkms, free_tcp, until
from tests.e2e.test_cluster_commands import Judged, Member, judge, leader_of, make_homes, validator, whole

__all__ = ["judge", "make_homes", "validator"]

STATE = "priv/priv_validator_state.json"


@pytest.fixture
def address() -> str:
    return free_tcp()


@pytest.fixture
def cluster(tmp_path: Path, address: str) -> Iterator[Cluster]:
    made = Cluster(tmp_path, 3, address)
    yield made
    made.stop()


def rename(node: Node, name: str, old: str, new: str, *more: str) -> str:
    done = cmkms("chain", "rename", "--home", str(node.home), "--id", name, "--from", old, "--to", new, *more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_three_nodes_go_on_under_another_id_and_back(cluster: Cluster, address: str) -> None:
    def signs(chain: str, low: int | None, height: int) -> None:
        for name in cluster.ids:
            cluster.extra[name] = ["--chain-id", chain]
        cluster.start()
        validator = Client(address, chain=chain)
        try:
            if low is not None:
                validator.must_refuse(PRECOMMIT, low)
            validator.must_sign(PRECOMMIT, height)
        finally:
            validator.close()
        for name in cluster.ids:
            cluster.nodes[name].stop()

    signs("test-1", None, 100)
    before = cluster.nodes["node0"].state_path.read_text()
    assert "Nothing was changed" in rename(cluster.nodes["node0"], "node0", "test-1", "test-2")
    assert cluster.nodes["node0"].state_path.read_text() == before
    for name in cluster.ids:
        assert "test-2  begins at 0" in rename(cluster.nodes[name], name, "test-1", "test-2", "--yes")
    signs("test-2", None, 3)
    back = [rename(cluster.nodes[name], name, "test-2", "test-1", "--yes") for name in cluster.ids]
    assert sum("test-1  begins at 100/0/3" in said for said in back) >= 2, "a majority promised it, and knows"
    signs("test-1", 99, 101)


def test_while_a_node_is_forgotten_nothing_is_signed_under_the_new_id(cluster: Cluster, address: str) -> None:
    """RUNBOOK "Another chain id": it comes back as it was; and it does not start under the new id
    before it is done there.
    """
    cluster.start()
    validator = Client(address)
    validator.must_sign(PRECOMMIT, 100)
    cluster.wait_whole()
    for name in cluster.ids:
        cluster.nodes[name].stop()
    validator.close()
    for name in ("node0", "node1"):
        rename(cluster.nodes[name], name, "test-1", "test-2", "--yes")
        cluster.extra[name] = ["--chain-id", "test-2"]
    cluster.start("node0", "node1", "node2")  # node2 as it was
    until("it is told that the others have another chain", lambda: "config_differs" in cluster.log("node2"))
    validator = Client(address, chain="test-2")
    assert not validator.ask(**ballot(PRECOMMIT, 3)).get("signature")
    validator.close()
    cluster.nodes["node2"].stop()
    cluster.extra["node2"] = ["--chain-id", "test-2"]
    forgotten = cluster.nodes["node2"].start("--id", "node2", *cluster.extra["node2"], wait=False)
    assert forgotten.process is not None
    assert forgotten.process.wait(PATIENCE_S) == 5, cluster.log("node2")
    rename(forgotten, "node2", "test-1", "test-2", "--yes")
    cluster.start("node2")
    cluster.wait_whole()
    validator = Client(address, chain="test-2")
    validator.must_sign(PRECOMMIT, 4)
    validator.must_refuse(PRECOMMIT, 3, block="bb")
    validator.close()


def test_what_the_store_does_not_know_is_not_forgotten(tmp_path: Path, address: str) -> None:
    """A state file that another signer wrote, and that this home never started with:
    its mark would be lost.
    """
    node = Node(tmp_path / "node", address)
    node.start("--id", "node0").stop()
    node.state_path.write_text('{"height":"500","round":0,"step":3}')
    done = cmkms(
        "chain", "rename", "--home", str(node.home), "--id", "node0", "--from", "test-1", "--to", "test-2", "--yes"
    )
    assert done.returncode == 5
    assert "is ahead of the store" in done.stderr
    assert "500" in node.state_path.read_text()
    taken = cmkms("state", "import", "--home", str(node.home), "--id", "node0", str(node.state_path))
    assert taken.returncode == 0, taken.stderr
    node.start("--id", "node0")
    running = cmkms(
        "chain", "rename", "--home", str(node.home), "--id", "node0", "--from", "test-1", "--to", "test-2", "--yes"
    )
    assert running.returncode == 6
    node.stop()
    assert "test-1  stands at 500/0/3" in rename(node, "node0", "test-1", "test-2", "--not-mistyped")


def serve(member: Member, chain: str, serves: Judged) -> None:
    """Its config.toml names another chain, and another validator."""
    path = member.home / "config.toml"
    lines = [one for one in path.read_text().splitlines() if not one.startswith("chain_id =")]
    path.write_text("\n".join([f'chain_id = "{chain}"', *lines]))
    member.serves(serves)


def goes_back(members: list[Member], source: str, validator: Judged, height: int) -> None:
    """All are stopped: from that id to the first one, which signed up to this height, and on."""
    for member in members:
        said = member.run("chain", "rename", "--from", source, "--to", "test-1", "--yes").stdout
        assert f"test-1  begins at {height}/0/3" in said
        serve(member, "test-1", validator)
    for member in members:
        member.start()
    validator.connect()
    validator.must_refuse(PRECOMMIT, height, block="bb")
    validator.must_sign(PRECOMMIT, height + 1)


@pytest.fixture
def elsewhere() -> Iterator[Judged]:
    """Who asks under the other id."""
    found = Judged(Judge(), "test-2")
    yield found
    found.close()


def gone_on(members: list[Member], validator: Judged, elsewhere: Judged) -> None:
    """They signed height 5, and now 2 under the other id; with a new replicated log, for that has
    the last signature under every id.
    """
    for member in members:
        member.start()
    validator.connect()
    validator.must_sign(PRECOMMIT, 5)
    until("each knows of it", lambda: all('"5"' in (one.home / STATE).read_text() for one in members))
    for member in members:
        member.stop()
    for member in members:
        member.run("chain", "rename", "--from", "test-1", "--to", "test-2", "--yes")
        serve(member, "test-2", elsewhere)
        member.run("chain", "reset", "test-2", "--height", "1", "--yes-height", "1")
    for member in members:
        member.start()
    elsewhere.connect()
    elsewhere.must_sign(PRECOMMIT, 2)


def test_two_upgrades_go_on_every_node_though_one_was_behind_at_the_first(
    make_homes: Callable[..., list[Member]], validator: Judged
) -> None:
    """It learns from the others, burnt, how far they had come under the first id."""
    members = [one.start() for one in make_homes("net", 3)]
    validator.connect()
    validator.must_sign(PRECOMMIT, 5)
    until("each knows of it", lambda: all('"5"' in (one.home / STATE).read_text() for one in members))
    leader = leader_of(members)
    behind, beside = (one for one in members if one is not leader)
    behind.stop()
    for height in (6, 7, 8):
        validator.must_sign(PRECOMMIT, height)
    for one in (beside, leader):
        one.stop()
    config = behind.home / "config.toml"
    text = config.read_text()
    assert "strict_start = false" in text
    config.write_text(text.replace("strict_start = false", "strict_start = true"))  # it hears everybody first
    ids = ("test-1", "test-2", "test-3")
    for old, new in itertools.pairwise(ids):
        rename = ("chain", "rename", "--from", old, "--to", new, "--yes")
        served = Judged(Judge(), new)
        try:
            for member in members:
                assert f"{new}  begins at 0" in member.run(*rename).stdout
                serve(member, new, served)
                assert "It is done already: nothing was changed." in member.run(*rename).stdout
            for member in members:
                member.start()
            served.connect()
            served.must_sign(PRECOMMIT, 2)
            whole(members)
            until("it was told", lambda: re.search(r"mark raised by .*chain=test-1 .*burnt=True", behind.log()))
        finally:
            served.close()
        served.judge.verdict()
        for member in members:
            member.stop()
            before = (member.home / STATE).read_bytes()
            assert "It is done already: nothing was changed." in member.run(*rename).stdout
            assert (member.home / STATE).read_bytes() == before
    assert sorted(one.name for one in (behind.home / "priv").glob("*@*")) == [
        f"priv_validator_state.json.{one}@1" for one in ids[:2]
    ]
    goes_back(members, "test-3", validator, 8)


def test_stores_lost_one_after_the_other_under_another_id_do_not_forget_the_one_that_was_left(
    make_homes: Callable[..., list[Member]], validator: Judged, elsewhere: Judged
) -> None:
    """RUNBOOK "Another chain id", then "Replace a machine, or its disk" on each in turn, and back."""
    members = make_homes("net", 3)
    gone_on(members, validator, elsewhere)
    for member in members:
        whole(members)
        member.stop()
        shutil.rmtree(member.home / "data")
        member.start()
    whole(members)
    elsewhere.connect()
    elsewhere.must_sign(PRECOMMIT, 3)
    for member in members:
        member.stop()
    goes_back(members, "test-2", validator, 5)


def test_one_node_whose_store_was_made_anew_under_another_id_says_what_it_forgot(
    make_homes: Callable[..., list[Member]], validator: Judged, elsewhere: Judged
) -> None:
    [node] = make_homes("net", 1)
    gone_on([node], validator, elsewhere)
    node.stop()
    shutil.rmtree(node.home / "data")
    node.run("recover", "--min-height", "10", "--yes-height", "10")
    for flags in ((), ("--yes",)):
        said = node.run("chain", "rename", "--from", "test-2", "--to", "test-1", *flags, code=5).stderr
        assert "this home signed for test-1 up to 5/0/3" in said
        assert "knows it up to 0: the store was made anew since" in said
    # half of an older version's words: the copy alone starts nothing
    state = node.home / STATE
    burnt = state.read_text()
    shutil.copy(node.home / "priv" / "priv_validator_state.json.test-1@1", state)
    serve(node, "test-1", validator)
    assert "does not know test-1" in node.run("start", code=5).stderr
    # as it says
    serve(node, "test-2", elsewhere)
    state.write_text(burnt)
    burn = ("--min-height", "7", "--yes-height", "7", "--yes")
    node.run("chain", "rename", "--from", "test-2", "--to", "test-1", "--not-mistyped", *burn)
    serve(node, "test-1", validator)
    node.start()
    validator.connect()
    validator.must_refuse(PRECOMMIT, 5, block="bb")
    validator.must_sign(PRECOMMIT, 8)
    node.stop()
    assert "test-2  begins at 10/" in node.run("chain", "rename", "--from", "test-1", "--to", "test-2").stdout
