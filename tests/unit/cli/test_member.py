"""`cmkms member`: which step is due on a machine, by what is there.

(Its steps on running nodes: tests/e2e/test_cluster_commands.py.)
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cometkms.cli.member import command
from cometkms.config.load import read_config
from cometkms.core import choose
from cometkms.errors import CometKMSError, ConfigError, OperatorError, StateError
from cometkms.keys.validator_key import load_public_key
from cometkms.model import HRS, Row, Watermark
from cometkms.rules.birth import NodeState
from cometkms.rules.burnt import Heights
from cometkms.rules.epoch import Standing
from cometkms.store.born import Born, save_born
from cometkms.store.epoch import Seal, parse_seal, seal_text
from cometkms.store.node_files import ChainFiles, NodeFiles
from cometkms.store.node_store import open_node
from cometkms.store.promise_store import Header, PromiseStore
from cometkms.store.recover import recover
from tests.e2e.node import cmkms
from tests.unit.cli.fake_node import FakeNode

OLD = ("node0", "node1", "node2")
NEW = ("node0", "node1", "node3")
REPLACE = ("replace", "node2", "node3=127.0.0.1:9555")


@pytest.fixture
def homes(tmp_path: Path) -> dict[str, Path]:
    """node0 to node2, complete in epoch 1; node3 with the key and node0's settings, but for its id
    and address.
    """
    assert cmkms("testnet", "--dir", str(tmp_path / "net")).returncode == 0
    found = {name: tmp_path / "net" / name for name in OLD}
    for name, home in found.items():
        put_store(home, name)
    new = tmp_path / "net" / "node3"
    shutil.copytree(found["node0"] / "priv", new / "priv")
    text = (found["node0"] / "config.toml").read_text()
    text = text.replace('id = "node0"', 'id = "node3"').replace(
        'raft_addr = "127.0.0.1:9430"', 'raft_addr = "127.0.0.1:9555"'
    )
    (new / "config.toml").write_text(text)
    (new / "data").mkdir()
    return {**found, "node3": new}


def put_store(home: Path, name: str, state: NodeState = NodeState.COMPLETE, height: int = 12, epoch: int = 1) -> None:
    path = home / "data" / name / "promises"
    path.parent.mkdir(parents=True, exist_ok=True)
    header = Header(name, epoch, OLD, state, bytes(8), tuple(bytes(8) for _ in OLD))
    PromiseStore.create(path, header, [(row_of(home), Watermark(HRS(height, 0, 3)))]).close()


def row_of(home: Path) -> Row:
    return Row(load_public_key(home / "priv" / "priv_validator_key.json"), "testnet-1")


def invoke(home: Path, *arguments: str, yes: bool = True, **options: Any) -> Result:
    verb, *rest = arguments
    said = ["--yes"] if yes else []
    return CliRunner().invoke(command, [verb, "--home", str(home), *rest, *said], standalone_mode=False, **options)


def told(home: Path, *arguments: str) -> list[str]:
    result = invoke(home, *arguments)
    assert result.exception is None, result
    return result.stdout.splitlines()


def refusal(result: Result, kind: type[CometKMSError]) -> str:
    assert isinstance(result.exception, kind), result
    return str(result.exception)


def put_seal(
    home: Path, node: str, standing: Standing = Standing.CONFIRMED, following: tuple[str, ...] = NEW, epoch: int = 1
) -> None:
    seal = Seal(node, epoch, OLD, following, standing, ((row_of(home), Watermark(HRS(14, 0, 2))),))
    (home / "seals").mkdir(exist_ok=True)
    (home / "seals" / f"{node}-epoch-{epoch}.seal").write_text(seal_text(seal) + "\n")


def header_of(home: Path) -> Header:
    store = PromiseStore.open(home / "data" / home.name / "promises")
    store.close()
    return store.header


def peers_of(home: Path) -> tuple[str, ...]:
    return tuple(one.partition("=")[0] for one in read_config(home)["peer"])


def test_a_new_machine_is_prepared_before_anything_is_sealed(homes: dict[str, Path]) -> None:
    lines = told(homes["node3"], *REPLACE)
    assert lines[0] == "ready    node3: the key is here; the next members are node0, node1, node3"
    assert lines[1] == "next     on the old members, while they run: cmkms member replace node2 node3=127.0.0.1:9555"
    assert (homes["node3"] / "seals").is_dir()
    assert peers_of(homes["node3"]) == OLD, "nothing is written before it is due"


def test_an_old_member_is_sealed_and_its_list_stays_until_enough_are(homes: dict[str, Path]) -> None:
    """A node with another list than its store would not start: it is changed only when it begins."""
    lines = told(homes["node0"], *REPLACE)
    assert lines[0] == "sealed   node0 in epoch 1 of node0, node1, node2; next: node0, node1, node3"
    assert lines[2].startswith("next     1 more of node1, node2 must be sealed, while they run if they can.")
    assert header_of(homes["node0"]).state is NodeState.SEALED
    assert peers_of(homes["node0"]) == OLD
    seal = parse_seal((homes["node0"] / "seals" / "node0-epoch-1.seal").read_text())
    assert seal.following == NEW
    assert told(homes["node0"], *REPLACE) == lines, "and again"


def test_with_the_seals_of_a_majority_the_list_is_written_and_the_epoch_begins(homes: dict[str, Path]) -> None:
    home = homes["node0"]
    told(home, *REPLACE)
    put_seal(home, "node0")  # as it was sealed while it ran
    put_seal(home, "node1")
    store = PromiseStore.open(home / "data" / "node0" / "promises")
    store.write_header(Header(**{**fields(store.header), "confirmed": True}))
    store.close()
    lines = told(home, *REPLACE)
    assert any(line.startswith(f"wrote    {home}/config.toml: peer = node0=") for line in lines)
    assert "node0 begins epoch 2 with node0, node1, node3" in lines
    assert "chain testnet-1  height 14 round 0 step 2 (burnt)" in lines
    assert peers_of(home) == NEW
    assert (header_of(home).epoch, header_of(home).members) == (2, NEW)
    assert told(home, *REPLACE)[-1].startswith("next     start this node.")


def fields(header: Header) -> dict[str, Any]:
    return {name: getattr(header, name) for name in Header.__slots__}


def documented(home: Path, *arguments: str) -> dict[str, Any]:
    result = invoke(home, *arguments, "--json")
    assert result.exception is None, result
    return json.loads(result.stdout)


def test_a_program_is_told_what_was_done_and_what_comes_next(homes: dict[str, Path]) -> None:
    home = homes["node0"]
    of = {"home": str(home), "node_id": "node0", "members": list(NEW), "done": False}
    nothing = {"wrote": None, "begun": None, "notes": []}
    sealed = documented(home, *REPLACE)
    file = home / "seals" / "node0-epoch-1.seal"
    seal = {"node_id": "node0", "epoch": 1, "members": list(OLD), "state": "sealed", "next": list(NEW)}
    seal |= {"seal": file.read_text().strip(), "file": str(file)}
    lines = told(home, *REPLACE)
    following = [line[9:] for line in lines if line.startswith(("next ", "then "))]
    assert len(following) == 2
    assert sealed == {**of, **nothing, "seal": seal, "steps": following}

    put_seal(home, "node0")  # as it was sealed while it ran
    put_seal(home, "node1")
    store = PromiseStore.open(home / "data" / "node0" / "promises")
    store.write_header(Header(**{**fields(store.header), "confirmed": True}))
    store.close()
    begun = documented(home, *REPLACE)
    assert begun["wrote"] == str(home / "config.toml")
    chains = [{"chain_id": "testnet-1", "height": 14, "round": 0, "step": 2, "known": "burnt"}]
    assert begun["begun"] == {
        "home": str(home),
        "node_id": "node0",
        "epoch": 2,
        "members": list(NEW),
        "seals_of": ["node0", "node1"],
        "chains": chains,
    }
    assert begun["steps"][-1].startswith("start this node. It signs when 2 of node0, node1, node3 run")

    runs = [{"id": name, "self": name == "node0", "state": "complete"} for name in NEW]
    answer = {"ok": True, "node_id": "node0", "epoch": 2, "members": runs, "node_state": "complete"}
    running = FakeNode(home, "node0", answer)
    try:
        assert documented(home, *REPLACE) == {**of, **nothing, "done": True, "seal": None, "steps": []}
    finally:
        running.close()


def test_seals_that_do_not_vouch_demand_a_height_here_too(homes: dict[str, Path]) -> None:
    home = homes["node0"]
    told(home, *REPLACE)
    put_seal(home, "node1")
    said = refusal(invoke(home, *REPLACE), StateError)
    assert "node0 was sealed without having been compared with every other member" in said
    assert "--min-height" in said
    assert peers_of(home) == OLD
    lines = told(home, *REPLACE, "--min-height", "30", "--yes-height", "30")
    assert "chain testnet-1  height 30 round 2147483647 step 3 (burnt)" in lines


def test_an_interrupted_beginning_goes_on(homes: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The list is written, the store is not: it is sealed still, and signs nothing."""
    home, height = homes["node0"], ("--min-height", "30", "--yes-height", "30")
    told(home, *REPLACE)
    put_seal(home, "node1")

    def fail(*_: object) -> None:
        raise OSError("cut")

    with monkeypatch.context() as patched:
        patched.setattr("cometkms.store.epoch.write_atomically", fail)
        assert invoke(home, *REPLACE, *height).exception is not None
    assert peers_of(home) == NEW
    assert header_of(home).state is NodeState.SEALED
    assert "node0 begins epoch 2 with node0, node1, node3" in told(home, *REPLACE, *height)


def test_a_new_machine_starts_empty_where_those_that_stay_are_a_majority(homes: dict[str, Path]) -> None:
    """It reads what it needs from them; it could begin a second time without being
    found out, so it never does.
    """
    home = homes["node3"]
    put_seal(home, "node0")
    put_seal(home, "node1")
    lines = told(home, *REPLACE)
    assert lines[-1].startswith("next     when node0, node1 run in epoch 2: start this node, empty.")
    assert peers_of(home) == NEW
    assert not (home / "data" / "node3" / "promises").exists()


def test_a_new_machine_begins_once_where_those_that_stay_are_none(homes: dict[str, Path], tmp_path: Path) -> None:
    home = homes["node3"]
    (home / "data" / "node3").mkdir()
    seal = Seal("node0", 1, ("node0",), NEW, Standing.UNCONFIRMED, ((row_of(home), Watermark(HRS(14, 0, 2))),))
    file = tmp_path / "node0.seal"
    file.write_text(seal_text(seal))
    change = (*REPLACE, "--seal-file", str(file))
    assert "in scripts: --yes" in refusal(invoke(home, *change, yes=False, input="n\n"), OperatorError)
    assert "node3 begins epoch 2 with node0, node1, node3" in told(home, *change)
    shutil.rmtree(home / "data" / "node3")  # lost: born.json knows
    assert told(home, *change)[-1].startswith("next     when node0 run in epoch 2: start this node, empty.")


def test_who_goes_is_sealed_and_stays_stopped(homes: dict[str, Path]) -> None:
    lines = told(homes["node2"], *REPLACE)
    assert lines[-1].startswith("then     node2 stays stopped for good")
    assert header_of(homes["node2"]).state is NodeState.SEALED
    assert peers_of(homes["node2"]) == OLD


def started(home: Path) -> tuple[NodeState, int, tuple[str, ...]]:
    """What the node's next start makes of its home."""
    name, members = home.name, peers_of(home)
    chain = ChainFiles(row_of(home), home / "priv" / "priv_validator_state.json")
    opened = open_node(NodeFiles.at(home, name, (chain,), members), choose.load())
    opened.store.close()
    return opened.store.header.state, opened.store.header.epoch, opened.store.header.members


def recovered(home: Path) -> None:
    chain = ChainFiles(row_of(home), home / "priv" / "priv_validator_state.json")
    recover(NodeFiles.at(home, home.name, (chain,), OLD), Heights(30), choose.load())


def test_a_member_that_lost_its_store_is_told_when_its_seal_is_needed_and_how_it_comes_to_one(
    homes: dict[str, Path],
) -> None:
    """The others may be sealed and off, or lost for good: then the operator recovers it, and the
    seals in its home are as good as meeting them.
    """
    home = homes["node1"]
    shutil.rmtree(home / "data" / "node1")
    put_seal(home, "node0")
    lines = told(home, *REPLACE)
    assert lines[0].startswith("next     1 more of node2 must be sealed. There: cmkms member replace")
    assert lines[2].startswith(
        "then     where they cannot be sealed any more: this node lost what it promised, so here: cmkms recover"
    )
    assert told(home, *REPLACE) == lines
    assert started(home) == (NodeState.RECOVERING, 1, OLD), "it is recovered in the epoch that ends"
    assert told(home, *REPLACE) == lines
    members = [{"id": name, "self": name == "node1", "state": None} for name in OLD]
    answer = {"ok": True, "node_id": "node1", "epoch": 1, "members": members, "node_state": "recovering"}
    running = FakeNode(home, "node1", answer)
    try:
        assert "so here: stop this node; cmkms recover --min-height HEIGHT" in told(home, *REPLACE)[2]
    finally:
        running.close()
    recovered(home)
    seal = home / "seals" / "node0-epoch-1.seal"
    kept = seal.read_text()
    seal.unlink()
    assert "has not met 1 of node0, node2 since" in refusal(invoke(home, *REPLACE), StateError)
    seal.write_text(kept)
    said = refusal(invoke(home, *REPLACE), StateError)
    assert "these seals do not show all that epoch 1 may have signed" in said, "two of three, one of them stopped"
    own = parse_seal((home / "seals" / "node1-epoch-1.seal").read_text())
    assert own.incarnation.number == 1
    height = ("--min-height", "30", "--yes-height", "30")
    assert "node1 begins epoch 2 with node0, node1, node3" in told(home, *REPLACE, *height)


def test_a_member_that_recovers_in_the_epoch_that_follows_is_not_sent_back_for_seals(homes: dict[str, Path]) -> None:
    """The others begin and tell it so; not all seals were carried here."""
    home = homes["node1"]
    change = ("add", read_config(home)["peer"][0])
    (home / "data" / "node1" / "promises").unlink()
    put_store(home, "node1", NodeState.RECOVERING, epoch=2)
    put_seal(home, "node0", following=OLD)
    members = [{"id": name, "self": name == "node1", "state": None} for name in OLD]
    answer = {"ok": True, "node_id": "node1", "epoch": 2, "members": members, "node_state": "recovering"}
    running = FakeNode(home, "node1", answer)
    try:
        assert told(home, *change) == ["done     node1 runs and reads what it needs from the others: cmkms peers"]
    finally:
        running.close()


def test_of_two_members_the_one_that_lost_its_store_is_needed(tmp_path: Path) -> None:
    assert cmkms("testnet", "--dir", str(tmp_path / "net"), "--nodes", "2").returncode == 0
    home, two = tmp_path / "net" / "node1", ("node0", "node1")
    change = ("add", read_config(home)["peer"][0])
    seal = Seal("node0", 1, two, two, Standing.CONFIRMED, ((row_of(home), Watermark(HRS(14, 0, 2))),))
    (home / "seals").mkdir()
    (home / "seals" / "node0-epoch-1.seal").write_text(seal_text(seal) + "\n")
    [line] = told(home, *change)
    assert line.startswith(
        "next     this node lost what it promised, and without its seal there is no majority: cmkms recover"
    )


def two_left(homes: dict[str, Path]) -> tuple[str, ...]:
    """node2 was taken out in epoch 1; the seals with which node0 and node1 end epoch 2.

    Gives the change that brings it back.
    """
    home, two = homes["node2"], ("node0", "node1")
    for name in two:
        seal = Seal(name, 2, two, OLD, Standing.CONFIRMED, ((row_of(home), Watermark(HRS(20, 0, 2))),))
        (homes[name] / f"{name}-epoch-2.seal").write_text(seal_text(seal))
    return ("add", read_config(home)["peer"][2])


@pytest.mark.parametrize("left", ["sealed", "sealed, its data moved away", "away", "away, its data moved away"])
def test_a_machine_that_was_a_member_comes_back_under_its_id(homes: dict[str, Path], left: str) -> None:
    """What it promised since its epoch is not there: it recovers in the epoch that follows, and
    never in its own.
    """
    home, data = homes["node2"], homes["node2"] / "data" / "node2"
    assert started(home) == (NodeState.COMPLETE, 1, OLD)
    if left.startswith("sealed"):
        told(home, "remove", "node2")
    back = two_left(homes)
    if left.startswith("sealed"):
        assert told(home, *back)[0] == "ready    node2: the key is here; the next members are node0, node1, node2"
    if "moved" in left:
        data.rename(home / "data.old")
    (home / "seals").mkdir(exist_ok=True)
    shutil.copy(homes["node0"] / "node0-epoch-2.seal", home / "seals")
    lines = told(home, *back)
    assert ("moved" in left and "sealed" not in left) or lines[0].startswith("next     1 more of node1 must be sealed")
    for again in range(2):
        if not again:
            shutil.copy(homes["node1"] / "node1-epoch-2.seal", home / "seals")
        lines = told(home, *back)
        assert lines[-1].startswith("next     when node0, node1 run in epoch 3: start this node")
    assert started(home) == (NodeState.RECOVERING, 3, OLD)
    assert started(home) == (NodeState.RECOVERING, 3, OLD), "and again"
    if "moved" not in left:
        assert (data / "promises.old-1").exists(), "what it promised is kept"
        assert header_of(home).state is NodeState.RECOVERING
    begun = invoke(home, "add", read_config(home)["peer"][2])
    assert begun.exception is None, "asked once more, it is told the same"
    assert started(home) == (NodeState.RECOVERING, 3, OLD)


def test_a_machine_that_comes_back_with_an_old_list_is_told_whose_to_take(homes: dict[str, Path]) -> None:
    """node1 left meanwhile: this machine's list names it still, and the seals do not."""
    home = homes["node2"]
    seal = Seal(
        "node0", 2, ("node0",), ("node0", "node2"), Standing.CONFIRMED, ((row_of(home), Watermark(HRS(20, 0, 2))),)
    )
    (home / "seals").mkdir()
    (home / "seals" / "node0-epoch-2.seal").write_text(seal_text(seal))
    said = refusal(invoke(home, "add", read_config(home)["peer"][2]), StateError)
    assert "is sealed in epoch 2 for node0, node2, and this change makes node0, node1, node2" in said
    assert "first the peer list of a living node's config.toml here" in said
    zero = read_config(home)["peer"][0]
    text = (home / "config.toml").read_text()
    line = next(line for line in text.splitlines() if line.startswith("peer ="))
    (home / "config.toml").write_text(text.replace(line, f'peer = ["{zero}"]'))
    assert "node2 begins epoch 3 with node0, node2" in told(home, "add", "node2=127.0.0.1:9432")


def test_a_machine_that_runs_in_an_epoch_that_is_over_is_stopped_first(homes: dict[str, Path]) -> None:
    home = homes["node2"]
    back = two_left(homes)
    for name in ("node0", "node1"):
        put = home / "seals"
        put.mkdir(exist_ok=True)
        shutil.copy(homes[name] / f"{name}-epoch-2.seal", put)
    members = [{"id": name, "self": name == "node2", "state": None} for name in OLD]
    answer = {"ok": True, "node_id": "node2", "epoch": 1, "members": members, "node_state": "complete"}
    running = FakeNode(home, "node2", answer)
    try:
        assert told(home, *back) == [f"next     stop this node; then: cmkms member {' '.join(back)}"]
        assert all(asked["op"] == "peers" for asked in running.asked), (
            "it is not sealed for an epoch that it has no part in"
        )
    finally:
        running.close()


def test_a_change_that_was_begun_is_not_mixed_with_another(homes: dict[str, Path]) -> None:
    home = homes["node0"]
    told(home, *REPLACE)
    said = refusal(invoke(home, "remove", "node2"), StateError)
    assert "sealed for other members than node0, node1, for ever" in said
    put_seal(homes["node1"], "node0")
    said = refusal(invoke(homes["node1"], "remove", "node2"), StateError)
    assert header_of(homes["node1"]).state is NodeState.COMPLETE, "it is not sealed for a list that nobody shares"
    assert "is sealed in epoch 1 for node0, node1, node3, and this change makes node0, node1" in said
    assert "take node0's seal out of HOME/seals" in said, (
        "as where node0 is lost since: nobody else is sealed for that list"
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("replace", "node2", "node2=127.0.0.1:9555"), "keeps its id"),
        (("replace", "node2", "node1=127.0.0.1:9431"), "node2 and node1 are both in the peer list here"),
        (("add", "node1=127.0.0.1:9555"), "node1 is in the peer list at"),
        (("add", "node9"), "is no peer"),
        (
            ("replace", "node7", "node3=127.0.0.1:9555"),
            "node7 is not in the peer list here, which names node0, node1, node2",
        ),
    ],
)
def test_what_is_no_change_of_members_is_said(homes: dict[str, Path], change: Sequence[str], words: str) -> None:
    assert words in refusal(invoke(homes["node0"], *change), ConfigError)
    assert header_of(homes["node0"]).state is NodeState.COMPLETE


def test_that_nobody_of_that_name_is_there_to_be_removed_is_said(homes: dict[str, Path]) -> None:
    notes = documented(homes["node0"], "remove", "node7")["notes"]
    assert notes == ["node7 is not in the peer list here: it is out already, or was never in it"]
    assert header_of(homes["node0"]).state is NodeState.COMPLETE


@pytest.fixture
def alone(tmp_path: Path) -> Path:
    """node0, complete, without a peer list."""
    home = tmp_path / "node0"
    made = cmkms(
        "init", "--home", str(home), "--id", "node0", "--new-key", "--chain-id", "testnet-1", "--validator-addr", "tcp://127.0.0.1:1"
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    chain = ChainFiles(row_of(home), home / "priv" / "priv_validator_state.json")
    open_node(NodeFiles.at(home, "node0", (chain,)), choose.load()).store.close()
    return home


@pytest.mark.parametrize(
    "change",
    [
        ("add", "node1=127.0.0.1:9431"),
        ("add", "node1=127.0.0.1:9431", "node2=127.0.0.1:9432"),
        ("replace", "node7", "node1=127.0.0.1:9431"),
    ],
)
def test_one_node_alone_is_not_removed_because_a_list_that_was_empty_does_not_name_it(
    alone: Path, change: Sequence[str]
) -> None:
    said = refusal(invoke(alone, *change), ConfigError)
    assert "this node, node0, would be none of them, for good: its own peer list is empty" in said
    assert "cmkms member add node0=HOST:PORT node1=127.0.0.1:9431" in said
    assert header_of(alone).state is NodeState.COMPLETE
    assert not (alone / "seals").exists()


def test_one_node_alone_names_itself_and_goes_on_or_is_replaced_by_name(alone: Path) -> None:
    added = ("add", "node0=127.0.0.1:9430", "node1=127.0.0.1:9431", "--min-height", "9", "--yes-height", "9")
    assert "node0 begins epoch 2 with node0, node1" in told(alone, *added)
    assert read_config(alone)["peer"] == ["node0=127.0.0.1:9430", "node1=127.0.0.1:9431"]
    assert told(alone, "replace", "node0", "node3=127.0.0.1:9433")[-1].startswith(
        "then     node0 stays stopped for good"
    )


@pytest.mark.parametrize("name", ["node0", "alone"])
def test_a_home_that_belongs_to_another_id_changes_no_members_as_it(request: pytest.FixtureRequest, name: str) -> None:
    """`--id` mistyped: the seals and the list would be of a node that never was here."""
    home = request.getfixturevalue("alone") if name == "alone" else request.getfixturevalue("homes")[name]
    before = (home / "config.toml").read_text()
    result = invoke(home, "add", "node3=127.0.0.1:9555", "node4=127.0.0.1:9556", "--id", "node3")
    said = refusal(result, StateError)
    assert "this home belongs to node 'node0' and the id is now 'node3'; cure: start with --id node0" in said
    assert (home / "config.toml").read_text() == before
    assert not (home / "seals").exists()


ADD = ("add", "node0=127.0.0.1:9430", "node1=127.0.0.1:9431")


@pytest.mark.parametrize("out", [False, True], ids=["lost", "out"])
@pytest.mark.parametrize("change", [ADD, REPLACE], ids=["one node alone adds", "of several one is replaced"])
def test_a_chain_that_is_not_configured_and_not_known_ends_no_epoch(
    request: pytest.FixtureRequest, change: tuple[str, ...], out: bool
) -> None:
    home = request.getfixturevalue("alone") if change is ADD else request.getfixturevalue("homes")["node0"]
    zone = Row(row_of(home).public_key, "zone")
    store = PromiseStore.open(home / "data" / "node0" / "promises")
    store.add_row(zone, Watermark(HRS(6, 0, 2)))
    store.close()
    of = ("node0",) if change is ADD else OLD
    save_born(home / "priv" / "born.json", Born(("node0",), 1, of, begun=(zone,), lost=() if out else (zone,)))
    if out:
        note = {"format": 1, "chains": {"zone": ["filepv", "/x", "6/0/2"]}}
        (home / "priv" / "exported.json").write_text(json.dumps(note))
    said = refusal(invoke(home, *change), StateError)
    assert said.startswith("zone: ")
    assert ("went out, to filepv" if out else "promised there is lost, and it is not configured") in said
    assert header_of(home).state is NodeState.COMPLETE
    (home / "priv" / "exported.json").unlink(missing_ok=True)
    save_born(home / "priv" / "born.json", Born(("node0",), 1, of, begun=(zone,)))
    assert told(home, *change)[0].startswith("sealed   node0 in epoch 1")


def test_a_list_that_forgot_a_node_does_not_remove_it(homes: dict[str, Path]) -> None:
    home = homes["node2"]
    text = (home / "config.toml").read_text()
    line = next(line for line in text.splitlines() if line.startswith("peer ="))
    (home / "config.toml").write_text(text.replace(line, f"peer = {json.dumps(read_config(home)['peer'][:2])}"))
    said = refusal(invoke(home, "add", "node3=127.0.0.1:9555"), ConfigError)
    assert "it must name this node too" in said
    assert header_of(home).state is NodeState.COMPLETE


def test_without_a_yes_nothing_is_sealed(homes: dict[str, Path]) -> None:
    assert "in scripts: --yes" in refusal(invoke(homes["node0"], *REPLACE, yes=False), OperatorError)
    assert header_of(homes["node0"]).state is NodeState.COMPLETE


def test_a_list_from_the_environment_is_the_operators_to_change(
    homes: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, height = homes["node0"], ("--min-height", "30", "--yes-height", "30")
    monkeypatch.setenv("COMETKMS_PEER", ",".join(read_config(home)["peer"]))
    told(home, *REPLACE)
    put_seal(home, "node1")
    said = refusal(invoke(home, *REPLACE, *height), ConfigError)
    assert "COMETKMS_PEER=node0=" in said
    wanted = said.partition("COMETKMS_PEER=")[2].partition(",  ")[0].partition(", then")[0]
    monkeypatch.setenv("COMETKMS_PEER", wanted)
    assert "node0 begins epoch 2 with node0, node1, node3" in told(home, *REPLACE, *height)
    assert peers_of(home) == OLD


def test_a_node_that_runs_is_asked_and_then_to_be_stopped(homes: dict[str, Path]) -> None:
    home = homes["node0"]
    put_seal(home, "node0")
    put_seal(home, "node1")
    text = (home / "seals" / "node0-epoch-1.seal").read_text().strip()
    others = [
        {"id": "node1", "connected": True, "state": "sealed", "facts": {"sealed_for": "node0, node1, node3"}},
        {"id": "node2", "connected": False, "state": None},
    ]
    answer = {"ok": True, "node_id": "node0", "epoch": 1, "node_state": "complete", "seal": text}
    running = FakeNode(home, "node0", {**answer, "members": [{"id": "node0", "self": True}, *others]})
    try:
        result = invoke(home, *REPLACE)
        assert result.exception is None, result
        assert result.stdout.splitlines()[-1].startswith("next     stop this node (it is sealed and signs nothing)")
        assert "node1 is sealed for node0, node1, node3; node2 is away: a majority must be sealed" in result.stderr
        assert {"op": "seal", "next": "node0,node1,node3"} in running.asked
        assert invoke(home, *REPLACE, "--although-sealed-for-others").exception is None
        assert {"op": "seal", "next": "node0,node1,node3", "although": True} in running.asked
    finally:
        running.close()
    assert peers_of(home) == OLD
