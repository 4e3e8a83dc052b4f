"""`cmkms epoch`: what it asks, refuses and prints. (Its steps on running nodes: tests/e2e/test_epochs.py.)"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cometkms.cli.epoch import command
from cometkms.errors import BusyError, CometKMSError, ConfigError, StateError
from cometkms.keys.validator_key import load_public_key
from cometkms.model import HRS, Row, Watermark
from cometkms.rules.birth import NodeState
from cometkms.store.epoch import Seal, parse_seal, seal_text
from cometkms.store.lock import locked_home
from cometkms.store.promise_store import Header, PromiseStore
from tests.e2e.node import cmkms
from tests.unit.cli.fake_node import FakeNode

MEMBERS = ("node0", "node1", "node2")
PLACE = HRS(12, 0, 3)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """node0 of three, complete, its last promise at PLACE."""
    assert cmkms("testnet", "--dir", str(tmp_path / "net")).returncode == 0
    home = tmp_path / "net" / "node0"
    path = home / "data" / "node0" / "promises"
    path.parent.mkdir(parents=True)
    header = Header("node0", 1, MEMBERS, NodeState.COMPLETE, bytes(8), tuple(bytes(8) for _ in MEMBERS))
    PromiseStore.create(path, header, [(row_of(home), Watermark(PLACE))]).close()
    return home


def row_of(home: Path) -> Row:
    return Row(load_public_key(home / "priv" / "priv_validator_key.json"), "testnet-1")


def invoke(home: Path, *arguments: str, **options: Any) -> Result:
    verb, *rest = arguments
    return CliRunner().invoke(command, [verb, "--home", str(home), *rest], standalone_mode=False, **options)


def refusal(result: Result, kind: type[CometKMSError]) -> str:
    assert isinstance(result.exception, kind), result
    return str(result.exception)


def state_of(home: Path) -> dict[str, Any]:
    result = invoke(home, "show", "--json")
    assert result.exception is None, result
    return json.loads(result.output)


def seal_of(home: Path, node: str, *, epoch: int = 1, place: HRS = PLACE) -> str:
    return seal_text(Seal(node, epoch, MEMBERS, ((row_of(home), Watermark(place)),)))


def flags(*texts: str) -> Iterator[str]:
    for text in texts:
        yield from ("--seal", text)


def test_show_reads_the_store_of_a_stopped_node_and_asks_a_running_one(home: Path) -> None:
    assert invoke(home, "show").output.splitlines() == [
        "epoch    1",
        "members  node0, node1, node2",
        "state    complete",
    ]
    answer = {"ok": True, "epoch": 7, "members": [{"id": "a"}, {"id": "b"}], "node_state": "starting"}
    running = FakeNode(home, "node0", answer)
    try:
        assert state_of(home) == {"epoch": 7, "members": ["a", "b"], "state": "starting"}
    finally:
        running.close()


def test_show_of_a_node_that_never_ran_says_that(home: Path) -> None:
    assert state_of(home.with_name("node1")) == {"epoch": 1, "members": list(MEMBERS), "state": "no store yet"}


def test_seal_ends_the_nodes_promises_and_prints_one_line(home: Path) -> None:
    result = invoke(home, "seal", "--yes")
    assert result.exception is None, result
    assert len(result.stdout.splitlines()) == 1
    assert parse_seal(result.stdout) == Seal("node0", 1, MEMBERS, ((row_of(home), Watermark(PLACE)),))
    assert state_of(home)["state"] == "sealed"


def test_seal_asks_and_a_no_changes_nothing(home: Path) -> None:
    refused = invoke(home, "seal", input="n\n")
    assert refused.exception is not None
    assert refused.stdout == ""
    assert state_of(home)["state"] == "complete"
    assert "promises nothing more, for ever" in invoke(home, "seal", input="y\n").stderr
    assert state_of(home)["state"] == "sealed"


def test_a_sealed_node_prints_its_seal_again_without_asking(home: Path) -> None:
    first = invoke(home, "seal", "--yes").stdout
    again = invoke(home, "seal")
    assert (again.exception, again.stdout) == (None, first)


def test_a_node_without_a_store_has_no_seal(home: Path) -> None:
    """It may have promised and lost it: what it would print would be a lie."""
    (home / "data" / "node0" / "promises").unlink()
    assert "no seal to give" in refusal(invoke(home, "seal", "--yes"), StateError)


@pytest.mark.parametrize("verb", ["show", "seal", "begin"])
def test_a_running_node_is_not_touched(home: Path, verb: str) -> None:
    seals = flags(seal_of(home, "node0"), seal_of(home, "node1"))
    more = {"show": [], "seal": ["--yes"], "begin": ["--members", "node0,node1,node2", *seals]}[verb]
    with locked_home(home):
        refusal(invoke(home, verb, *more), BusyError)
    assert state_of(home) == {"epoch": 1, "members": list(MEMBERS), "state": "complete"}


def test_begin_takes_seals_from_flags_and_files_and_tells_where_it_stands(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "two.seals"
    file.write_text(f"{seal_of(home, 'node1', place=HRS(13, 0, 1))}\n\n{seal_of(home, 'node2')}\n")
    result = invoke(
        home, "begin", "--members", "node2, node1,node0", *flags(seal_of(home, "node0")), "--seal-file", str(file)
    )  # fmt: skip
    assert result.exception is None, result
    assert result.output.splitlines()[:3] == [
        "node0 begins epoch 2 with node0, node1, node2",
        "from the seals of node0, node1, node2",
        "chain testnet-1  height 13 round 0 step 1 (burnt)",
    ]
    assert state_of(home) == {"epoch": 2, "members": list(MEMBERS), "state": "complete"}


def test_begin_a_second_time_changes_nothing(home: Path) -> None:
    """Else what was promised since would be forgotten."""
    seals = [*flags(seal_of(home, "node0"), seal_of(home, "node1"))]
    assert invoke(home, "begin", "--members", ",".join(MEMBERS), *seals).exception is None
    assert "of epoch 2 already" in refusal(invoke(home, "begin", "--members", ",".join(MEMBERS), *seals), StateError)


def test_begin_wants_the_members_said_twice(home: Path) -> None:
    """A peer list that was forgotten on one node would be another epoch's."""
    seals = flags(seal_of(home, "node0"), seal_of(home, "node1"))
    said = refusal(invoke(home, "begin", "--members", "node0,node1", *seals), ConfigError)
    assert "names node0, node1 and the peer list of this node node0, node1, node2" in said
    assert state_of(home)["epoch"] == 1


@pytest.mark.parametrize(
    ("owners", "words"),
    [
        ([], "no seal was given"),
        (["node0"], "a majority is 2"),
        (["node0", "node0"], "a majority is 2"),
        (["node0", "node9"], "was no member"),
        (["node0", "epoch 2"], "different epochs"),
        (["node0", "half"], "is no seal"),
        (["node0", "nonsense"], "is no seal"),
    ],
)
def test_begin_without_a_majority_of_one_epoch_changes_nothing(home: Path, owners: list[str], words: str) -> None:
    odd = {
        "epoch 2": seal_of(home, "node1", epoch=2),
        "half": seal_of(home, "node1")[:-8],
        "nonsense": "nonsense",
    }
    seals = flags(*(odd.get(owner) or seal_of(home, owner) for owner in owners))
    assert words in refusal(invoke(home, "begin", "--members", ",".join(MEMBERS), *seals), StateError)
    assert state_of(home) == {"epoch": 1, "members": list(MEMBERS), "state": "complete"}


def test_a_seal_file_that_is_missing_is_named(home: Path) -> None:
    said = refusal(invoke(home, "begin", "--members", ",".join(MEMBERS), "--seal-file", "/no/such"), StateError)
    assert "/no/such cannot be read" in said
