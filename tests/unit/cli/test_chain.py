"""`cmkms chain admit | reset`: what they ask, refuse and check.

(On running nodes: tests/e2e/test_jumps.py.)
"""

import json
import re
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from nacl.signing import SigningKey

from cometkms.cli.chain import command
from cometkms.errors import BusyError, CometKMSError, ConfigError, OperatorError, StateError
from cometkms.limits import JUMP_HEIGHTS
from cometkms.model import HRS, Watermark
from cometkms.store import state_file
from cometkms.store.lock import locked_home
from cometkms.store.promise_store import readable_marks
from tests.e2e.node import cmkms
from tests.unit.cli.fake_node import FakeNode
from tests.unit.net.fake_rpc import RECORDED, FakeRpc
from tests.unit.state.three import CORE, sign_bytes

KNOWN = {"ok": True, "node_id": "node0", "reach": 1100, "mark": 90, "signed": 88, "quorum": 2, "size": 3}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """node0 of three; nobody listens at the others' addresses."""
    assert cmkms("testnet", "--dir", str(tmp_path / "net")).returncode == 0
    return tmp_path / "net" / "node0"


@pytest.fixture
def node(home: Path) -> Iterator[FakeNode]:
    made = FakeNode(home, "node0", KNOWN)
    yield made
    made.close()


def invoke(home: Path, *arguments: str, **options: Any) -> Result:
    verb, *rest = arguments
    return CliRunner().invoke(command, [verb, "--home", str(home), *rest], standalone_mode=False, **options)


def refusal(result: Result, kind: type[CometKMSError]) -> str:
    assert isinstance(result.exception, kind), result
    return str(result.exception)


def head_at(height: int, chain_id: str = "testnet-1", *, catching_up: bool = False) -> FakeRpc:
    recorded = RECORDED["status"]["result"]
    status = {
        **recorded,
        "node_info": {**recorded["node_info"], "network": chain_id},
        "sync_info": {**recorded["sync_info"], "latest_block_height": str(height), "catching_up": catching_up},
    }
    return FakeRpc(lambda _method, _arguments: {"result": status})


def test_a_height_is_admitted_only_when_it_is_said_twice(home: Path, node: FakeNode) -> None:
    asked = invoke(home, "admit", "testnet-1", "--height", "5000")
    assert "nobody is there to type it; cure: --yes. Nothing was changed" in refusal(asked, StateError)
    assert "which stands at height 90" in asked.output
    assert "height 88 at last, as far as it knows: up to 1100 is plausible by now" in asked.output
    assert [one["op"] for one in node.asked] == ["reach"]
    done = invoke(home, "admit", "testnet-1", "--height", "5000", "--yes")
    assert done.exception is None, done
    assert node.asked[-1] == {"op": "admit", "chain_id": "testnet-1", "height": 5000}
    assert "2 of 3 must find it plausible, the leader among them" in done.output


def test_what_was_admitted_is_json_for_who_asks_for_it(home: Path, node: FakeNode) -> None:
    told = {key: KNOWN[key] for key in ("node_id", "reach", "mark", "signed", "quorum", "size")}
    done = invoke(home, "admit", "testnet-1", "--height", "5000", "--yes", "--json")
    assert json.loads(done.stdout) == {"chain_id": "testnet-1", "changed": True, **told}
    done = invoke(home, "admit", "testnet-1", "--height", "1000", "--yes", "--json")
    assert json.loads(done.stdout) == {"chain_id": "testnet-1", "changed": False, **told}
    assert node.asked[-1]["op"] == "reach"


def test_what_was_reset_and_renamed_is_json_for_who_asks_for_it(home: Path) -> None:
    assert cmkms("recover", "--home", str(home), "--min-height", "9000", "--yes-height", "9000").returncode == 0
    done = invoke(home, "reset", "testnet-1", "--height", "50", "--yes-height", "50", "--json")
    found = json.loads(done.stdout)
    assert (found["chain_id"], found["height"], found["before"]["height"]) == ("testnet-1", 50, 9000)
    assert found["kept"]
    assert all(Path(kept).exists() for kept in found["kept"])
    for flags, changed in (((), False), (("--yes",), True)):
        done = invoke(home, "rename", "--from", "testnet-1", "--to", "testnet-2", *flags, "--json")
        found = json.loads(done.stdout)
        assert (found["changed"], found["from_stands"]["height"], found["to_begins"]["height"]) == (changed, 50, 0)
        assert Path(found["kept"]).exists() is changed


def signed_by(home: Path, height: int) -> Watermark:
    key = json.loads((home / "priv" / "priv_validator_key.json").read_text())["priv_key"]["value"]
    data = sign_bytes(height, chain="testnet-1")
    return Watermark(CORE.parse_sign_bytes(data).hrs, data, SigningKey(b64decode(key)[:32]).sign(data).signature)


def test_a_rename_that_is_given_twice_takes_no_mark_of_the_other_id_for_its_own(home: Path) -> None:
    """A burnt place in a state file names no chain."""
    there, back = (
        ("rename", "--from", *ids, "--yes") for ids in (("testnet-1", "--to", "b"), ("b", "--to", "testnet-1"))
    )
    state = home / "priv" / "priv_validator_state.json"
    config = home / "config.toml"
    assert cmkms("recover", "--home", str(home), "--min-height", "100", "--yes-height", "100").returncode == 0
    assert invoke(home, *there).exception is None
    config.write_text(config.read_text().replace('chain_id = "testnet-1"', 'chain_id = "b"'))
    assert cmkms("recover", "--home", str(home), "--min-height", "900", "--yes-height", "900").returncode == 0
    assert invoke(home, *back).exception is None
    config.write_text(config.read_text().replace('chain_id = "b"', 'chain_id = "testnet-1"'))
    assert invoke(home, *there).exception is None
    before = state.read_text()
    said = refusal(invoke(home, *there), StateError)
    assert "where it was renamed already, set chain_id to b" in said
    assert state.read_text() == before
    assert {row.chain_id: mark.hrs.height for row, mark in readable_marks(home / "data" / "node0" / "promises")} == {
        "testnet-1": 100,
        "b": 900,
    }


def test_every_state_file_that_was_kept_of_an_id_counts(home: Path) -> None:
    """Also where one before it was moved away; the highest is named."""
    kept = home / "priv" / "priv_validator_state.b-2.json"
    assert cmkms("recover", "--home", str(home), "--min-height", "5", "--yes-height", "5").returncode == 0
    state_file.save(kept, Watermark(HRS(700, 0, 3)))
    state_file.save(kept.with_name("priv_validator_state.b-7.json"), Watermark(HRS(100, 0, 3)))
    said = refusal(invoke(home, "rename", "--from", "testnet-1", "--to", "b", "--yes"), StateError)
    assert f"{kept} says that this home signed for b up to 700" in said


@pytest.mark.parametrize("listed", [True, False], ids=["peers in config.toml", "peers given to start alone"])
def test_a_member_whose_state_file_is_ahead_keeps_what_the_others_signed(home: Path, listed: bool) -> None:
    """A follower need not have promised what the others signed: its store is raised to the file, as
    at a start. One node alone has such a file from nobody.
    """
    assert cmkms("recover", "--home", str(home), "--min-height", "90", "--yes-height", "90").returncode == 0
    state_file.save(home / "priv" / "priv_validator_state.json", signed_by(home, 95))
    if not listed:
        config = home / "config.toml"
        text, removed = re.subn(r"^peer = .*?\]$", "", config.read_text(), flags=re.M | re.S)
        assert removed == 1
        config.write_text(text)
    for flags, held in (((), 90), (("--yes",), 95)):
        done = invoke(home, "rename", "--from", "testnet-1", "--to", "testnet-2", *flags, "--json")
        assert done.exception is None, done
        assert json.loads(done.stdout)["from_stands"]["height"] == 95
        assert [mark.hrs.height for _, mark in readable_marks(home / "data" / "node0" / "promises")] == [held]


def test_a_home_without_a_store_is_renamed_after_a_start_that_makes_one(home: Path) -> None:
    said = refusal(invoke(home, "rename", "--from", "testnet-1", "--to", "testnet-2", "--yes"), StateError)
    assert "promises is missing, so nothing would keep what was signed under testnet-1. Nothing was changed" in said
    assert "start the node once with chain_id testnet-1" in said


def test_what_is_plausible_already_is_not_admitted(home: Path, node: FakeNode) -> None:
    done = invoke(home, "admit", "testnet-1", "--height", "1100", "--yes")
    assert "up to 1100 plausible; nothing was changed" in done.output
    assert [one["op"] for one in node.asked] == ["reach"]


@pytest.mark.parametrize("verb", ["admit", "reset"])
@pytest.mark.parametrize(
    ("rpc", "words"),
    [
        (lambda: head_at(6000), "is at height 6000, and --height says 5000"),
        (lambda: head_at(5000 - JUMP_HEIGHTS - 1), f"is at height {4999 - JUMP_HEIGHTS}, and --height says 5000"),
        (lambda: head_at(5000, "other-1"), "is of the chain 'other-1', not of 'testnet-1'"),
        (lambda: head_at(5000, catching_up=True), "is catching up"),
    ],
    ids=["below the head", "far above the head", "another chain", "catching up"],
)
def test_a_height_at_which_the_chain_is_not_changes_nothing(home: Path, verb: str, rpc: Any, words: str) -> None:
    with rpc() as fake:
        said = refusal(invoke(home, verb, "testnet-1", "--height", "5000", "--rpc", fake.url), OperatorError)
    assert words in said
    assert said.endswith("Nothing was changed")


def test_the_head_that_a_node_shows_is_taken(home: Path, node: FakeNode) -> None:
    with head_at(5000) as fake:
        done = invoke(home, "admit", "testnet-1", "--height", "5000", "--rpc", fake.url, "--yes")
    assert done.exception is None, done
    assert node.asked[-1]["height"] == 5000


def state_of(home: Path) -> str:
    return (home / "priv" / "priv_validator_state.json").read_text()


def test_a_reset_says_what_it_risks_and_changes_nothing_until_the_height_is_typed(home: Path) -> None:
    before = state_of(home)
    for typed in ((), ("--yes-height", "61")):
        asked = invoke(home, "reset", "testnet-1", "--height", "60", *typed)
        assert "Nothing was changed" in refusal(asked, StateError) or "nothing was changed" in str(asked.exception)
        assert "of a cluster with node1, node2" in asked.output
        assert "a double signature" in asked.output
        assert "the head was not checked: --rpc" in asked.output
    assert state_of(home) == before
    done = invoke(home, "reset", "testnet-1", "--height", "60", "--yes-height", "60")
    assert done.exception is None, done
    assert '"height": "60"' in state_of(home)
    assert "Then: the same on each of node0, node1, node2" in done.output


def test_a_reset_is_refused_while_the_node_runs_and_for_a_chain_that_is_not_here(home: Path) -> None:
    with locked_home(home):
        assert "uses" in refusal(invoke(home, "reset", "testnet-1", "--height", "60", "--yes-height", "60"), BusyError)
    assert "this home has testnet-1" in refusal(
        invoke(home, "reset", "other-1", "--height", "60", "--yes-height", "60"), ConfigError
    )
    assert refusal(invoke(home, "admit", "testnet-1", "--height", "5000", "--yes"), OperatorError)
