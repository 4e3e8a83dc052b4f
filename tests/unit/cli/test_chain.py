"""`cmkms chain admit | reset`: what they ask, refuse and check.

(On running nodes: tests/e2e/test_jumps.py.)
"""

import itertools
import json
import re
import tomllib
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from nacl.signing import SigningKey

from cometkms.cli.chain import command
from cometkms.cli.state import files_of
from cometkms.config.load import load_settings
from cometkms.config.schema import Settings
from cometkms.config.table import Flags
from cometkms.errors import BusyError, CometKMSError, ConfigError, OperatorError, StateError, StoreFailure
from cometkms.limits import JUMP_HEIGHTS
from cometkms.model import HRS, Watermark
from cometkms.rules.burnt import burnt_up_to
from cometkms.store import state_file
from cometkms.store.lock import locked_home
from cometkms.store.marks import known_mark, read_state, refuse_unrenamed
from cometkms.store.node_store import open_node
from cometkms.store.promise_store import PromiseStore, readable_marks
from cometkms.store.raise_mark import raise_mark
from tests.e2e.node import cmkms
from tests.unit.cli.fake_node import FakeNode
from tests.unit.net.fake_rpc import RECORDED, FakeRpc
from tests.unit.state.three import CORE, sign_bytes

NOT_MISTYPED = "--not-mistyped"  # where nothing but a command's burnt height stands under the id
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
        done = invoke(home, "rename", "--from", "testnet-1", "--to", "testnet-2", NOT_MISTYPED, *flags, "--json")
        found = json.loads(done.stdout)
        assert (found["changed"], found["from_stands"]["height"], found["to_begins"]["height"]) == (changed, 50, 0)
        assert Path(found["kept"]).exists() is changed


def signed_by(
    home: Path, height: int, chain: str = "testnet-1", key_name: str = "priv_validator_key.json"
) -> Watermark:
    key = json.loads((home / "priv" / key_name).read_text())["priv_key"]["value"]
    data = sign_bytes(height, chain=chain)
    return Watermark(CORE.parse_sign_bytes(data).hrs, data, SigningKey(b64decode(key)[:32]).sign(data).signature)


def burn(home: Path, height: int) -> None:
    """In the chain that is configured; unlike `recover` it takes no other one for lost."""
    files = files_of(load_settings(home, Flags()))
    raise_mark(files, files.chains[0], [burnt_up_to(height)], CORE)


def test_a_chain_that_was_left_and_then_lost_is_gone_back_to_with_a_height_alone(home: Path) -> None:
    rename = ("rename", "--from", "b", "--to", "testnet-1", NOT_MISTYPED, "--yes")
    config = home / "config.toml"
    assert cmkms("recover", "--home", str(home), "--min-height", "100", "--yes-height", "100").returncode == 0
    done = invoke(home, "rename", "--from", "testnet-1", "--to", "b", NOT_MISTYPED, "--yes")
    assert done.exception is None
    config.write_text(config.read_text().replace('chain_id = "testnet-1"', 'chain_id = "b"'))
    assert cmkms("recover", "--home", str(home), "--min-height", "900", "--yes-height", "900").returncode == 0
    assert "what this node promised there is lost" in refusal(invoke(home, *rename), StateError)
    done = invoke(home, *rename, "--min-height", "150", "--yes-height", "150")
    assert done.exception is None, done
    stand = {row.chain_id: mark.hrs.height for row, mark in readable_marks(home / "data" / "node0" / "promises")}
    assert stand == {"testnet-1": 150, "b": 900}


def test_a_rename_that_is_given_twice_takes_no_mark_of_the_other_id_for_its_own(home: Path) -> None:
    """A burnt place in a state file names no chain."""
    there, back = (
        ("rename", "--from", *ids, NOT_MISTYPED, "--yes")
        for ids in (("testnet-1", "--to", "b"), ("b", "--to", "testnet-1"))
    )
    state = home / "priv" / "priv_validator_state.json"
    config = home / "config.toml"
    assert cmkms("recover", "--home", str(home), "--min-height", "100", "--yes-height", "100").returncode == 0
    assert invoke(home, *there).exception is None
    config.write_text(config.read_text().replace('chain_id = "testnet-1"', 'chain_id = "b"'))
    burn(home, 900)
    assert invoke(home, *back).exception is None
    config.write_text(config.read_text().replace('chain_id = "b"', 'chain_id = "testnet-1"'))
    assert invoke(home, *there).exception is None
    before = state.read_text()
    assert (
        f'It is done already: nothing was changed.\nThen: set chain_id = "b" in {config}' in invoke(home, *there).output
    )
    assert state.read_text() == before
    kept = {one: one.read_bytes() for one in state.parent.glob(f"{state.name}.testnet-1@*")}
    for one in kept:
        one.unlink()
    said = refusal(invoke(home, *there), StateError)
    assert f'where it was renamed already, set chain_id = "b" in {config}' in said, "nothing shows that it was"
    for one, data in kept.items():
        one.write_bytes(data)
    with pytest.raises(StateError, match="`cmkms chain rename` to b is not finished"):
        stands(home)
    assert state.read_text() == before
    assert {row.chain_id: mark.hrs.height for row, mark in readable_marks(home / "data" / "node0" / "promises")} == {
        "testnet-1": 100,
        "b": 900,
    }


def test_a_rename_that_is_given_again_says_that_it_is_done_and_keeps_no_more_copies(alone: Path) -> None:
    rename = ("rename", "--from", "hub", "--to", "b")

    def files() -> dict[str, bytes]:
        return {one.name: one.read_bytes() for one in (alone / "priv").iterdir()}

    assert "done already" not in invoke(alone, *rename).output
    first = json.loads(invoke(alone, *rename, "--yes", "--json").stdout)
    before = files()
    assert first["changed"]
    again = invoke(alone, *rename, "--yes")
    assert "It is done already: nothing was changed.\nThen: set chain_id" in again.output
    found = json.loads(invoke(alone, *rename, "--yes", "--json").stdout)
    assert found == {**first, "changed": False}
    assert "It is done already." in invoke(alone, *rename).output
    assert files() == before
    Path(first["kept"]).unlink()
    assert json.loads(invoke(alone, *rename, "--yes", "--json").stdout)["changed"], "a copy that is gone is kept again"
    assert files() == before


def marks_of(home: Path) -> dict[str, int]:
    return {row.chain_id: mark.hrs.height for row, mark in readable_marks(home / "data" / "node0" / "promises")}


def changes(home: Path, *arguments: str) -> bool:
    """Whether a rename was done by this; that it was already is said, and leaves all files alone."""
    before = {one.name: one.read_bytes() for one in (home / "priv").iterdir()}, marks_of(home)
    done = invoke(home, *arguments)
    assert done.exception is None, done
    after = {one.name: one.read_bytes() for one in (home / "priv").iterdir()}, marks_of(home)
    assert ("It is done already: nothing was changed." in done.output) is (before == after)
    return before != after


@pytest.mark.parametrize("burn", [(), ("--min-height", "100", "--yes-height", "100")], ids=["at 0", "at 100"])
@pytest.mark.parametrize("lags", [False, True], ids=["the file is whole", "the file lags"])
def test_a_rename_of_an_id_that_was_signed_for_is_done_already_before_and_after_a_start(
    alone: Path, burn: tuple[str, ...], *, lags: bool
) -> None:
    state = alone / "priv" / "priv_validator_state.json"
    if not lags:
        state_file.save(state, signed_by(alone, 7, "hub"))
        store = PromiseStore.open(alone / "data" / "node0" / "promises")
        store.write_mark(0, replace(signed_by(alone, 8, "hub"), signature=b""))  # as the proposer does
        store.close()
        state_file.save(state, signed_by(alone, 8, "hub"))
    there, back = (
        ("rename", "--from", *ids, NOT_MISTYPED, "--yes") for ids in (("hub", "--to", "b"), ("b", "--to", "hub"))
    )
    assert changes(alone, *there, *burn)
    assert not changes(alone, *there, *burn)
    assert "It is done already." in invoke(alone, *there[:-1], *burn).output
    under(alone, "b")
    begins = stands(alone)
    assert not changes(alone, *there, *burn)
    assert stands(alone) == begins
    assert changes(alone, *back)
    assert not changes(alone, *back)
    under(alone, "hub")
    assert stands(alone).height == (7 if lags else 8)
    assert not changes(alone, *back)
    assert stands(alone).height == (7 if lags else 8)


def test_a_rename_after_the_new_id_was_signed_for_is_done_already(alone: Path) -> None:
    """The state file names its chain by itself; one that is ahead of the store is refused."""
    rename = ("rename", "--from", "hub", "--to", "b", "--yes")
    assert changes(alone, *rename)
    under(alone, "b")
    stands(alone)
    store = PromiseStore.open(path := alone / "data" / "node0" / "promises")
    store.write_mark(1, replace(signed_by(alone, 3, "b"), signature=b""))
    store.close()
    state = alone / "priv" / "priv_validator_state.json"
    state_file.save(state, signed_by(alone, 3, "b"))
    assert not changes(alone, *rename)
    under(alone, "hub")
    assert not changes(alone, *rename), "only the setting is to be corrected"
    assert not changes(alone, *rename, "--min-height", "2", "--yes-height", "2")
    assert changes(alone, *rename, "--min-height", "60", "--yes-height", "60")
    assert marks_of(alone) == {"hub": 7, "b": 60}
    state_file.save(state, signed_by(alone, 61, "b"))
    older = path.read_bytes()
    for configured in ("hub", "b"):
        under(alone, configured)
        assert isinstance(invoke(alone, *rename).exception, StateError)
    assert path.read_bytes() == older


def test_a_start_and_the_doctor_name_the_rename_whose_id_is_not_set(alone: Path) -> None:
    """Not an old copy of the store, whose cure would end the rename in a recovery."""
    burn = ("--min-height", "100", "--yes-height", "100")
    assert changes(alone, "rename", "--from", "hub", "--to", "b", *burn, "--yes")
    with pytest.raises(StateError) as caught:
        stands(alone)
    told = cmkms("doctor", "--home", str(alone)).stdout
    assert "old copy" not in told
    for said in (str(caught.value), told):
        assert "`cmkms chain rename` to b is not finished" in said
        assert 'chain_id = "b" in config.toml' in said
        assert not re.search(r"`cmkms (recover|state import)", said)
    under(alone, "b")
    assert stands(alone).height == 100


@pytest.mark.parametrize("what", ["the old id went on", "another place", "no copy was kept"])
def test_whatever_else_is_ahead_of_the_store_is_an_old_copy_or_anothers_as_before(alone: Path, what: str) -> None:
    burn, state = ("--min-height", "100", "--yes-height", "100"), alone / "priv" / "priv_validator_state.json"
    rename = ("rename", "--from", "hub", "--to", "b", *burn, "--yes")
    assert changes(alone, *rename)
    if what == "the old id went on":
        store = PromiseStore.open(alone / "data" / "node0" / "promises")
        store.write_mark(0, signed_by(alone, 41, "hub"))
        store.close()
    elif what == "another place":
        state_file.save(state, burnt_up_to(101))
    else:
        state.with_name(f"{state.name}.hub@1").unlink()
    with pytest.raises(StateError, match="is ahead of the store"):
        stands(alone)
    before = state.read_bytes(), marks_of(alone)
    assert "is ahead of the store" in refusal(invoke(alone, *rename), StateError)
    under(alone, "b")
    if what == "the old id went on":
        assert changes(alone, *rename), "b stands where the file says, and what hub signed since is kept"
        assert [mark.hrs.height for mark in kept_of(alone, "hub")] == [7, 41]
    else:
        said = refusal(invoke(alone, *rename), StateError)
        assert 'where it was renamed already, set chain_id = "b"' in said
    assert (state.read_bytes(), marks_of(alone)) == before


def test_a_rename_after_which_the_id_in_the_settings_was_forgotten_is_given_once_more(home: Path) -> None:
    """RUNBOOK "Another chain id": meanwhile the node signs for the old id, in the new one's file."""
    config, state = home / "config.toml", home / "priv" / "priv_validator_state.json"
    rename = ("rename", "--from", "testnet-1", "--to", "b", "--yes")
    state_file.save(state, signed_by(home, 40))

    def node_stands_at() -> int:
        files = files_of(load_settings(home, Flags()))
        opened = open_node(files, CORE)
        try:
            return opened.store.mark(opened.rows[0]).hrs.height
        finally:
            opened.store.close()

    assert node_stands_at() == 40
    assert invoke(home, *rename).exception is None
    assert node_stands_at() == 40, "of the old id"
    config.write_text(config.read_text().replace('chain_id = "testnet-1"', 'chain_id = "b"'))
    with pytest.raises(StateError) as caught:
        node_stands_at()
    assert "`cmkms chain rename --from testnet-1 --to b`" in caught.value.cure
    assert invoke(home, *rename).exception is None
    assert node_stands_at() == 0


def raise_in_store(home: Path, chain_id: str, mark: Watermark) -> None:
    """As a node does that learns from the others how far they had come under an id."""
    store = PromiseStore.open(home / "data" / "node0" / "promises")
    (number,) = [number for number, row in enumerate(store.rows) if row.chain_id == chain_id]
    store.write_mark(number, mark)
    store.close()


RENAMED = ("rename", "--from", "hub", "--to", "hub-2", "--yes")
RENAMED_AGAIN = ("rename", "--from", "hub-2", "--to", "hub-3", "--yes")


@pytest.fixture(params=["burnt", "signed"])
def raised(request: pytest.FixtureRequest, alone: Path) -> Path:
    """The same home under hub-2, where a start has learnt that hub had come to 9 elsewhere."""
    assert changes(alone, *RENAMED)
    under(alone, "hub-2")
    assert stands(alone) == HRS(0, 0, 0)
    raise_in_store(alone, "hub", burnt_up_to(9) if request.param == "burnt" else signed_by(alone, 9, "hub"))
    return alone


@pytest.mark.parametrize("height", [None, 3], ids=["nothing was signed since", "signed since"])
def test_an_id_that_was_left_may_be_raised_and_the_next_rename_goes_as_on_any_node(
    raised: Path, height: int | None
) -> None:
    if height is not None:
        raise_in_store(raised, "hub-2", signed_by(raised, height, "hub-2"))
        state_file.save(raised / "priv" / "priv_validator_state.json", signed_by(raised, height, "hub-2"))
    assert not changes(raised, *RENAMED)
    assert changes(raised, *RENAMED_AGAIN)
    assert not changes(raised, *RENAMED_AGAIN)
    under(raised, "hub-3")
    assert not changes(raised, *RENAMED_AGAIN)
    assert stands(raised) == HRS(0, 0, 0)
    assert not changes(raised, *RENAMED_AGAIN)
    assert marks_of(raised) == {"hub": 9, "hub-2": height or 0, "hub-3": 0}


def test_a_rename_whose_cure_an_older_version_gave_for_the_id_before_the_last_goes_through(raised: Path) -> None:
    raise_in_store(raised, "hub-2", signed_by(raised, 3, "hub-2"))
    assert changes(raised, *RENAMED_AGAIN)
    under(raised, "hub-3")
    assert changes(raised, "rename", "--from", "hub", "--to", "hub-3", "--yes")
    assert stands(raised) == HRS(0, 0, 0)


def test_a_rename_that_is_given_again_is_done_though_the_state_file_lags_behind_the_store(raised: Path) -> None:
    """A member learns of the new id, too, before its state file shows anything."""
    raise_in_store(raised, "hub-2", burnt_up_to(3))
    assert not changes(raised, *RENAMED)
    state_file.save(raised / "priv" / "priv_validator_state.json", burnt_up_to(2))
    assert not changes(raised, *RENAMED)
    state_file.save(raised / "priv" / "priv_validator_state.json", signed_by(raised, 3, "hub-2"))
    raise_in_store(raised, "hub-2", burnt_up_to(4))
    assert not changes(raised, *RENAMED)
    assert changes(raised, *RENAMED, "--min-height", "60", "--yes-height", "60")


def test_what_was_raised_after_a_rename_is_where_the_id_goes_on_when_it_comes_back(raised: Path) -> None:
    back = ("rename", "--from", "hub-2", "--to", "hub", "--yes")
    assert changes(raised, *back)
    under(raised, "hub")
    assert stands(raised).height == 9
    assert not changes(raised, *back)
    raise_in_store(raised, "hub", signed_by(raised, 12, "hub"))
    assert changes(raised, *RENAMED)
    under(raised, "hub-2")
    assert stands(raised) == HRS(0, 0, 0)
    assert [mark.hrs.height for mark in kept_of(raised, "hub")] == [7, 12]


def test_an_id_that_was_kept_is_not_mistyped_while_the_state_file_says_that_nothing_was_signed(alone: Path) -> None:
    """Its setting was forgotten, and the others raised it under the old id."""
    assert changes(alone, *RENAMED)
    raise_in_store(alone, "hub", burnt_up_to(9))
    under(alone, "hub-2")
    with pytest.raises(StateError, match="`cmkms chain rename --from hub --to hub-2 --yes`"):
        stands(alone)
    kept = alone / "priv" / "priv_validator_state.json.hub@1"
    data = kept.read_bytes()
    kept.unlink()
    assert "nothing here shows that it was ever signed for" in refusal(invoke(alone, *RENAMED), StateError)
    kept.write_bytes(data)
    assert changes(alone, *RENAMED)
    assert stands(alone) == HRS(0, 0, 0)
    assert not changes(alone, *RENAMED)


def test_what_was_burnt_under_an_id_that_was_left_long_ago_is_not_lost_to_a_rename(alone: Path) -> None:
    """An old config.toml was put back, and the height of another signer taken under its id."""
    assert changes(alone, *RENAMED)
    under(alone, "hub-2")
    stands(alone)
    under(alone, "hub")
    files = files_of(load_home(alone))
    raise_mark(files, files.chains[0], [burnt_up_to(900)], CORE)
    before = marks_of(alone)
    for configured in ("hub", "hub-2"):
        under(alone, configured)
        assert isinstance(invoke(alone, *RENAMED).exception, StateError)
    assert marks_of(alone) == before


def test_a_start_after_two_renames_names_the_last_id(raised: Path) -> None:
    """It was signed for, and the second rename forgotten; or the first and the second were done."""
    raise_in_store(raised, "hub-2", signed_by(raised, 3, "hub-2"))
    under(raised, "hub-3")
    for done in (False, True):
        if done:
            assert changes(raised, *RENAMED_AGAIN)
            raise_in_store(raised, "hub-2", signed_by(raised, 5, "hub-2"))
        with pytest.raises(StateError) as caught:
            stands(raised)
        assert "`cmkms chain rename --from hub-2 --to hub-3 --yes`" in caught.value.cure
    assert changes(raised, *RENAMED_AGAIN)
    assert stands(raised) == HRS(0, 0, 0)


@pytest.mark.parametrize("several", [True, False], ids=["one of three", "alone"])
@pytest.mark.parametrize("height", [2, 900])
def test_an_id_that_no_rename_kept_here_stops_a_node_alone_where_it_is_above_the_last_one(
    alone: Path, height: int, *, several: bool
) -> None:
    """A new machine has it from the others; one node alone burnt it, maybe under a mistyped id."""
    store = PromiseStore.open(alone / "data" / "node0" / "promises")
    store.add_row(replace(store.rows[0], chain_id="a-hub"), burnt_up_to(height))
    if several:
        store.write_header(replace(store.header, members=("node0", "node1", "node2"), record=()))
    store.close()
    assert changes(alone, *RENAMED)
    under(alone, "hub-2")
    settings = load_home(alone)
    files = files_of(settings)
    if several:
        files = replace(files, members=("node0", "node1", "node2"))
    (chain,) = files.chains
    shown = read_state(files, chain, CORE)
    if height > 7 and not several:
        with pytest.raises(StateError, match="chain rename --from a-hub --to hub-2"):
            refuse_unrenamed(files, chain, shown, CORE)
    else:
        refuse_unrenamed(files, chain, shown, CORE)


def test_every_state_file_that_was_kept_of_an_id_counts(home: Path) -> None:
    """Also where one before it was moved away; the highest is named."""
    kept = home / "priv" / "priv_validator_state.b-2.json"
    assert cmkms("recover", "--home", str(home), "--min-height", "5", "--yes-height", "5").returncode == 0
    state_file.save(kept, Watermark(HRS(700, 0, 3)))
    state_file.save(kept.with_name("priv_validator_state.b-7.json"), Watermark(HRS(100, 0, 3)))
    said = refusal(invoke(home, "rename", "--from", "testnet-1", "--to", "b", "--yes"), StateError)
    assert f"{kept} says that this home signed for b up to 700" in said


def test_a_second_rename_of_an_id_is_not_taken_for_one_of_another_id(home: Path) -> None:
    """The second that is kept of `hub`, and the first of `hub-2`."""
    assert cmkms("recover", "--home", str(home), "--min-height", "5", "--yes-height", "5").returncode == 0
    config, ids = home / "config.toml", ("testnet-1", "hub", "x", "hub", "y", "hub-2", "z")
    for old, new in itertools.pairwise(ids):
        assert invoke(home, "rename", "--from", old, "--to", new, NOT_MISTYPED, "--yes").exception is None
        config.write_text(config.read_text().replace(f'chain_id = "{old}"', f'chain_id = "{new}"'))
        if new.startswith("hub"):
            burn(home, 70 if new == "hub" else 900)
    kept = sorted(path.name for path in (home / "priv").glob("priv_validator_state.json.hub*"))
    assert [name.partition(".json.")[2] for name in kept] == ["hub-2@1", "hub@1", "hub@2"]
    done = invoke(home, "rename", "--from", "z", "--to", "hub", "--json")
    assert done.exception is None, done
    assert json.loads(done.stdout)["to_begins"]["height"] == 70


@pytest.fixture
def alone(tmp_path: Path) -> Path:
    """One node, which signed for hub up to 7, and was killed: its state file had come to 5."""
    home = tmp_path / "alone"
    made = cmkms("init", "--home", str(home), "--new-key", "--chain-id", "hub", "--id", "node0")
    assert made.returncode == 0, made.stderr
    files = files_of(load_home(home))
    opened = open_node(files, CORE)
    for height in (5, 7):
        opened.store.write_mark(opened.rows[0], signed_by(home, height, "hub"))
    opened.store.close()
    state_file.save(files.chains[0].state_path, signed_by(home, 5, "hub"))
    return home


def load_home(home: Path) -> Settings:
    return load_settings(home, Flags(validator_addr=("tcp://127.0.0.1:1",)))


def under(home: Path, new: str) -> None:
    """The id that config.toml has from now on."""
    config = home / "config.toml"
    config.write_text(re.sub(r"^chain_id = .*$", f'chain_id = "{new}"', config.read_text(), flags=re.M))


def stands(home: Path) -> HRS:
    """Where a start finds the configured chain."""
    opened = open_node(files_of(load_home(home)), CORE)
    try:
        return opened.store.mark(opened.rows[0]).hrs
    finally:
        opened.store.close()


def test_a_rename_keeps_what_the_store_knows_and_the_state_file_lacks(alone: Path) -> None:
    """A copy of the file would undercut what the command says, and every cure that goes by it."""
    done = invoke(alone, "rename", "--from", "hub", "--to", "hub-2", "--yes", "--json")
    found = json.loads(done.stdout)
    assert found["from_stands"]["height"] == 7
    kept = state_file.load(Path(found["kept"]), "hub", CORE.parse_sign_bytes)
    assert kept == signed_by(alone, 7, "hub"), "signed, for the store knows the signature"


def test_a_place_whose_signature_the_store_does_not_know_is_kept_burnt(alone: Path) -> None:
    store = PromiseStore.open(alone / "data" / "node0" / "promises")
    store.write_mark(0, replace(signed_by(alone, 8, "hub"), signature=b""))
    store.close()
    done = invoke(alone, "rename", "--from", "hub", "--to", "hub-2", "--yes", "--json")
    kept = Path(json.loads(done.stdout)["kept"])
    assert state_file.load(kept, "hub", CORE.parse_sign_bytes) == Watermark(HRS(8, 0, 2))


def test_what_was_signed_after_a_rename_is_kept_again_though_the_state_file_does_not_show_it(alone: Path) -> None:
    """The id in config.toml was forgotten, the node went on under the old one, and was killed."""
    rename = ("rename", "--from", "hub", "--to", "hub-2", "--yes")
    assert invoke(alone, *rename).exception is None
    store = PromiseStore.open(alone / "data" / "node0" / "promises")
    store.write_mark(0, signed_by(alone, 41, "hub"))
    store.close()
    under(alone, "hub-2")
    with pytest.raises(StateError, match="`cmkms chain rename --from hub --to hub-2 --yes`"):
        stands(alone)
    assert invoke(alone, *rename).exception is None
    assert stands(alone) == HRS(0, 0, 0)
    assert [mark.hrs.height for mark in kept_of(alone, "hub")] == [7, 41]


def test_an_older_store_than_a_rename_read_does_not_start_under_the_id_that_was_left(alone: Path) -> None:
    """The state file says 0 since, so it does not show that an old copy of data/ was put back."""
    path = alone / "data" / "node0" / "promises"
    older = path.read_bytes()
    store = PromiseStore.open(path)
    store.write_mark(0, signed_by(alone, 9, "hub"))
    store.close()
    assert invoke(alone, "rename", "--from", "hub", "--to", "hub-2", "--yes").exception is None
    assert stands(alone).height == 9, "a node of the newest store goes on under the old id"
    path.write_bytes(older)
    state_file.save(alone / "priv" / "priv_validator_state.json", Watermark())
    with pytest.raises(StateError, match=r"signed for hub up to 9/0/2, and .*promises holds 7/0/2: an old copy"):
        stands(alone)
    out = str(alone.with_name("out"))
    gone_out = cmkms("export", "--home", str(alone), "--to", "filepv", out, "--yes")
    assert gone_out.returncode == 5, gone_out
    assert "an old copy of it was put back" in gone_out.stderr
    assert cmkms("recover", "--home", str(alone), "--min-height", "50", "--yes-height", "50").returncode == 0
    assert stands(alone).height == 50


def test_a_member_takes_what_a_rename_kept_above_an_older_store_for_burnt(home: Path) -> None:
    """The state file says that nothing was signed, and the store had come to 90 when it was read."""
    assert cmkms("recover", "--home", str(home), "--min-height", "90", "--yes-height", "90").returncode == 0
    state = home / "priv" / "priv_validator_state.json"
    state_file.save(state.with_name(f"{state.name}.testnet-1@1"), signed_by(home, 95))
    opened = open_node(files_of(load_settings(home, Flags())), CORE)
    assert opened.store.mark(opened.rows[0]) == Watermark(HRS(95, 0, 2))
    opened.store.close()


def test_a_reset_goes_below_what_a_rename_kept_and_moves_that_aside(alone: Path) -> None:
    for old, new in (("hub", "hub-2"), ("hub-2", "hub")):
        assert invoke(alone, "rename", "--from", old, "--to", new, "--yes").exception is None
        under(alone, new)
        stands(alone)
    assert [mark.hrs.height for mark in kept_of(alone, "hub")] == [7]
    done = invoke(alone, "reset", "hub", "--height", "3", "--yes-height", "3")
    assert done.exception is None, done
    kept = alone / "priv" / "priv_validator_state.json.hub@1.old-1"
    assert f"kept     {kept}" in done.output
    assert state_file.load(kept, "hub", CORE.parse_sign_bytes).hrs.height == 7
    assert stands(alone).height == 3


def kept_of(home: Path, chain_id: str) -> list[Watermark]:
    names = sorted((home / "priv").glob(f"priv_validator_state.json.{chain_id}@*"))
    return [state_file.load(name, chain_id, CORE.parse_sign_bytes) for name in names]


@pytest.fixture
def forgotten(alone: Path) -> Path:
    """The same home under hub-2, whose store was made anew meanwhile."""
    assert invoke(alone, "rename", "--from", "hub", "--to", "hub-2", "--yes").exception is None
    under(alone, "hub-2")
    (alone / "data" / "node0" / "promises").unlink()
    assert cmkms("recover", "--home", str(alone), "--min-height", "10", "--yes-height", "10").returncode == 0
    return alone


BACK = ("rename", "--from", "hub-2", "--to", "hub", NOT_MISTYPED)


def test_a_rename_back_to_what_the_store_forgot_burns_up_to_a_height_before_anything_else_is_changed(
    forgotten: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = refusal(invoke(forgotten, *BACK, "--yes"), StateError)
    assert "this home signed for hub up to 7/0/2" in said
    assert "the same command with --min-height HEIGHT and a height above it, which begins hub there" in said
    for height, typed in (("50", ()), ("50", ("--yes-height", "5")), ("6", ("--yes-height", "6"))):
        refused = refusal(invoke(forgotten, *BACK, "--min-height", height, *typed, "--yes"), StateError)
        assert "up to 7/0/2" in refused if height == "6" else "othing was changed" in refused
    before = (forgotten / "data" / "node0" / "promises").read_bytes()
    burn = (*BACK, "--min-height", "50", "--yes-height", "50")
    shown = invoke(forgotten, *burn)
    assert "every height of hub up to 50 is burnt" in shown.output
    assert (forgotten / "data" / "node0" / "promises").read_bytes() == before, "without --yes"

    def fails(*_: object) -> None:
        raise StoreFailure("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr("cometkms.cli.chain.carry_export", fails)
        assert isinstance(invoke(forgotten, *burn, "--yes").exception, StoreFailure)
    under(forgotten, "hub")
    assert stands(forgotten).height == 50, "the id may be set already: the store has the height first"
    done = invoke(forgotten, *BACK, "--yes")
    assert done.exception is None, "the store knows what was burnt: no height is asked for again"
    assert stands(forgotten).height == 50


def test_who_puts_a_kept_state_file_in_its_place_by_hand_does_not_sign_above_it(forgotten: Path) -> None:
    """What was signed after it was kept is not known; a start and the doctor name the recovery."""
    state = forgotten / "priv" / "priv_validator_state.json"
    state.write_bytes(state.with_name(f"{state.name}.hub@1").read_bytes())
    under(forgotten, "hub")
    with pytest.raises(StateError, match=r"up to 7/0/2, and .* does not know hub: .*`cmkms recover --min-height"):
        stands(forgotten)
    assert "`cmkms recover --min-height" in cmkms("doctor", "--home", str(forgotten)).stdout
    assert cmkms("recover", "--home", str(forgotten), "--min-height", "50", "--yes-height", "50").returncode == 0
    assert stands(forgotten).height == 50


def test_nor_does_who_imports_a_burnt_copy_of_it_as_a_cure_says(forgotten: Path) -> None:
    """An older version kept a copy of a state file that was behind the store."""
    state = forgotten / "priv" / "priv_validator_state.json"
    for path in (state, state.with_name(f"{state.name}.hub@1")):
        state_file.save(path, Watermark(HRS(5, 0, 2)))
    under(forgotten, "hub")
    with pytest.raises(StateError) as caught:
        stands(forgotten)
    assert "a rename kept hub up to 5/0/2 beside that file: the rename says how it goes on above" in caught.value.cure
    assert "state import" not in caught.value.cure
    assert "--min-height HEIGHT" in refusal(invoke(forgotten, *BACK, "--yes"), StateError)


def test_a_kept_state_file_that_cannot_be_understood_is_moved_away_and_a_height_burnt(forgotten: Path) -> None:
    """A recovery alone is refused: what the file says would be undercut."""
    state = forgotten / "priv" / "priv_validator_state.json"
    kept = state.with_name(f"{state.name}.hub@1")
    whole = kept.read_bytes()
    kept.write_text("{")
    said = refusal(invoke(forgotten, *BACK, "--min-height", "50", "--yes-height", "50", "--yes"), StateError)
    assert "where it is lost, move it away, read the head height of hub" in said
    assert "the same command with --min-height HEIGHT" in said
    state.write_bytes(whole)
    under(forgotten, "hub")
    recover = ("recover", "--home", str(forgotten), "--min-height", "50", "--yes-height", "50")
    done = cmkms(*recover)
    assert done.returncode == 5
    assert f"{kept} is not a validator's state file" in done.stderr
    assert "where it is lost, move it away" in done.stderr
    kept.unlink()
    assert cmkms(*recover).returncode == 0
    assert stands(forgotten).height == 50


SEVERAL = {
    "default": "",
    "configured": 'key_file = "priv/one.key"\nstate_file = "priv/one.json"\n',
    "the key alone": 'key_file = "priv/one.key"\n',
    "the state alone": 'state_file = "priv/one.json"\n',
    "absolute": 'key_file = "HOME/elsewhere/one.key"\nstate_file = "HOME/elsewhere/one.json"\n',
}


def several(home: Path, places: str) -> None:
    """Two [[chain]] tables in the place of the one chain of a home, which knows both."""
    config, priv = home / "config.toml", home / "priv"
    left = [one for one in config.read_text().splitlines() if not one.startswith(("chain_id", "validator_addr"))]
    tables = [
        f'[[chain]]\nid = "{chain}"\nvalidator_addr = ["tcp://127.0.0.1:{port}"]\n{more}'
        for port, (chain, more) in enumerate({"hub": places.replace("HOME", str(home)), "zone": ""}.items(), 1)
    ]
    config.write_text("\n".join([*left, *tables]))
    key, state = (priv / f"priv_validator_{what}.json" for what in ("key", "state"))
    for chain in load_settings(home, Flags()).chains:
        for path, old in ((chain.key_file, key), (chain.state_file, state)):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(old.read_bytes())
            path.chmod(0o600)
    key.unlink()
    state.unlink()
    heights = ("--min-height", "hub=50", "--min-height", "zone=70")
    done = cmkms("recover", "--home", str(home), *heights, *(one.replace("min", "yes") for one in heights))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("places", SEVERAL.values(), ids=SEVERAL)
def test_with_what_the_rename_says_the_home_starts_wherever_its_files_are(home: Path, places: str) -> None:
    several(home, places)
    done = invoke(home, "rename", "--from", "hub", "--to", "hub-2", NOT_MISTYPED, "--yes")
    assert done.exception is None, done
    (said,) = re.findall(r"^Then: set (.*) in the \[\[chain\]\] table of hub in ", done.output, flags=re.M)
    lines = said.replace(", ", "\n")
    assert set(tomllib.loads(lines)) == {"id"} | {name for name in ("key_file", "state_file") if name not in places}, (
        "nothing is to be set that need not be"
    )
    config = home / "config.toml"
    config.write_text(config.read_text().replace('id = "hub"', lines))
    opened = open_node(files_of(load_settings(home, Flags())), CORE)
    try:
        at = {opened.store.rows[row].chain_id: opened.store.mark(row).hrs.height for row in opened.rows}
        assert at == {"hub-2": 0, "zone": 70}
        assert "hub" in [row.chain_id for row in opened.store.rows], "what was signed under it is kept"
    finally:
        opened.store.close()


LEFT: dict[str, Callable[[Path], object]] = {
    "burnt": lambda path: None,
    "not JSON": lambda path: path.write_text("{"),
    "empty": lambda path: path.write_text(""),
    "missing": lambda path: path.unlink(),
    "a directory": lambda path: (path.unlink(), path.mkdir()),
    "signed": lambda path: state_file.save(path, signed_by(path.parents[1], 95)),
}


@pytest.mark.parametrize("left", LEFT)
def test_an_id_that_was_changed_without_a_rename_does_not_start_whatever_its_state_file_is(
    home: Path, left: str
) -> None:
    """The store knows the key under the old id only, and the file does not say whose it is."""
    assert cmkms("recover", "--home", str(home), "--min-height", "90", "--yes-height", "90").returncode == 0
    config, state = home / "config.toml", home / "priv" / "priv_validator_state.json"
    LEFT[left](state)
    config.write_text(config.read_text().replace('chain_id = "testnet-1"', 'chain_id = "b"'))
    files = files_of(load_settings(home, Flags()))
    before = files.store_path.read_bytes()
    with pytest.raises(StateError) as caught:
        open_node(files, CORE)
    told = cmkms("doctor", "--home", str(home))
    if left in ("signed", "a directory"):
        assert ("is of the chain 'testnet-1'" if left == "signed" else "it is no regular file") in str(caught.value)
    else:
        cure = "where testnet-1 goes on as b: `cmkms chain rename --from testnet-1 --to b --yes`"
        assert "knows this key under testnet-1, and not under b" in str(caught.value)
        assert cure in str(caught.value)
        assert cure in told.stdout
    assert "is new to this node's store" not in told.stdout
    assert files.store_path.read_bytes() == before
    if left == "burnt":
        assert invoke(home, "rename", "--from", "testnet-1", "--to", "b", NOT_MISTYPED, "--yes").exception is None
        opened = open_node(files, CORE)
        assert opened.store.mark(opened.rows[0]).hrs.height == 0
        opened.store.close()


def test_a_burnt_state_file_of_another_chain_is_taken_on_the_operators_word(home: Path) -> None:
    """It was there before the node knew of that chain, whose key is the same."""
    assert cmkms("recover", "--home", str(home), "--min-height", "90", "--yes-height", "90").returncode == 0
    config, state = home / "config.toml", home / "priv" / "priv_validator_state.json"
    text, removed = re.subn(r"^peer = .*?\]$", "", config.read_text(), flags=re.M | re.S)
    assert removed == 1
    config.write_text(text.replace('chain_id = "testnet-1"', 'chain_id = "b"'))
    state.write_text('{"height":"7","round":0,"step":3}')
    store = PromiseStore.open(home / "data" / "node0" / "promises")
    store.write_header(replace(store.header, members=("node0",)))
    store.close()
    files = files_of(load_settings(home, Flags()))
    with pytest.raises(StateError, match=f"that file its own: `cmkms state import --chain-id b {state}`"):
        open_node(files, CORE)
    done = cmkms("state", "import", "--home", str(home), str(state))
    assert done.returncode == 0, done.stderr
    opened = open_node(files, CORE)
    assert opened.store.mark(opened.rows[0]).hrs == HRS(7, 0, 3)
    opened.store.close()


def test_a_height_that_was_burnt_under_a_mistyped_id_is_not_lost_to_a_rename(home: Path) -> None:
    """Whatever burnt it, it was meant for the id that the chain has; and a start names the rename."""
    config, state = home / "config.toml", home / "priv" / "priv_validator_state.json"
    assert cmkms("recover", "--home", str(home), "--min-height", "90", "--yes-height", "90").returncode == 0
    config.write_text(config.read_text().replace('chain_id = "testnet-1"', 'chain_id = "b"'))
    before = state.read_bytes(), list(readable_marks(store := home / "data" / "node0" / "promises"))
    for flags in ((), ("--yes",)):
        said = refusal(invoke(home, "rename", "--from", "testnet-1", "--to", "b", *flags), StateError)
        assert "that height was meant for b, which would begin at 0" in said
        assert (state.read_bytes(), list(readable_marks(store))) == before
    # as it says
    done = cmkms("state", "import", "--home", str(home), str(state))
    assert done.returncode == 0, done.stderr
    opened = open_node(files_of(load_settings(home, Flags())), CORE)
    assert opened.store.mark(opened.rows[0]).hrs.height == 90
    opened.store.close()
    assert invoke(home, "rename", "--from", "testnet-1", "--to", "b").exception is None, "it begins no lower"


def without_c(home: Path, *, older: bool = True) -> Path:
    """A home that signed for testnet-1 up to 95, was renamed to b and lost its store; under
    testnet-1 again, without a rename. Returns the state file of b, burnt up to 20.

    `older`: its born.json is of a version that did not remember which chains it had begun, and
    wrote none beside the store.
    """
    config, state = home / "config.toml", home / "priv" / "priv_validator_state.json"
    assert cmkms("recover", "--home", str(home), "--min-height", "90", "--yes-height", "90").returncode == 0
    state_file.save(state, signed_by(home, 95))
    assert invoke(home, "rename", "--from", "testnet-1", "--to", "b", "--yes").exception is None
    (home / "data" / "node0" / "promises").unlink()
    config.write_text(config.read_text().replace('chain_id = "testnet-1"', 'chain_id = "b"'))
    assert cmkms("recover", "--home", str(home), "--min-height", "20", "--yes-height", "20").returncode == 0
    config.write_text(config.read_text().replace('chain_id = "b"', 'chain_id = "testnet-1"'))
    if older:
        (home / "data" / "node0" / "born.json").unlink()
        (state.parent / "born.json").write_text(json.dumps({"ids": ["node0"], "members": ["node0", "node1", "node2"]}))
    return state


def test_a_chain_that_was_lost_behind_a_rename_goes_on_above_a_height_that_is_burnt_alone(home: Path) -> None:
    """What a rename kept is a state file, which may be behind what was promised."""
    state = without_c(home, older=False)
    other = home / "other.json"
    other.write_text('{"height":"120","round":0,"step":3}')
    state_file.save(state.with_name(f"{state.name}.b@1"), burnt_up_to(20))
    state.write_text('{"height":"0","round":0,"step":0}')
    files = files_of(load_settings(home, Flags()))
    with pytest.raises(StateError, match=r"^testnet-1: .*promised there is lost.*recover --min-height testnet-1="):
        open_node(files, CORE)
    done = cmkms("state", "import", "--home", str(home), str(other))
    assert (done.returncode, "promised there is lost" in done.stderr) == (5, True)
    done = cmkms("recover", "--home", str(home), "--min-height", "testnet-1=97", "--yes-height", "testnet-1=97")
    assert done.returncode == 0, done.stderr
    opened = open_node(files, CORE)
    assert opened.store.mark(opened.rows[0]).hrs.height == 97
    opened.store.close()


def test_a_way_back_to_a_chain_that_a_recovery_left_out_burns_a_height_there(home: Path) -> None:
    """Also where nothing was kept of it: born.json says that it was begun here, and is lost."""
    state = without_c(home, older=False)
    config = home / "config.toml"
    config.write_text(config.read_text().replace('chain_id = "testnet-1"', 'chain_id = "b"'))
    state.with_name(f"{state.name}.testnet-1@1").unlink()
    back = ("rename", "--from", "b", "--to", "testnet-1", NOT_MISTYPED, "--yes")
    said = refusal(invoke(home, *back), StateError)
    assert "testnet-1: " in said
    assert "promised there is lost" in said
    assert "the same command with --min-height HEIGHT" in said
    done = invoke(home, *back, "--min-height", "200", "--yes-height", "200")
    assert done.exception is None, done
    config.write_text(config.read_text().replace('chain_id = "b"', 'chain_id = "testnet-1"'))
    opened = open_node(files_of(load_settings(home, Flags())), CORE)
    assert opened.store.mark(opened.rows[0]).hrs.height == 200
    opened.store.close()


def test_a_member_is_told_to_burn_the_chain_that_it_goes_back_to_on_every_member(home: Path) -> None:
    """Of this one's loss the others do not know: who reads it would begin at what it holds."""
    state = without_c(home, older=False)
    config = home / "config.toml"
    config.write_text(config.read_text().replace('chain_id = "testnet-1"', 'chain_id = "b"'))
    state.with_name(f"{state.name}.testnet-1@1").unlink()
    store = PromiseStore.open(files_of(load_settings(home, Flags())).store_path)
    store.write_header(replace(store.header, members=("node0", "node1", "node2")))
    store.close()
    said = refusal(invoke(home, "rename", "--from", "b", "--to", "testnet-1", NOT_MISTYPED, "--yes"), StateError)
    assert "begins testnet-1 there; the same on every member, all stopped, before any is started" in said


@pytest.mark.parametrize("height", [20, 25, 95, 120])
def test_no_import_goes_below_what_a_rename_kept(home: Path, height: int) -> None:
    """Which the store that was made anew does not know."""
    state = without_c(home)
    with pytest.raises(StateError) as caught:
        open_node(files_of(load_settings(home, Flags())), CORE)
    assert "a rename kept testnet-1 up to 95/0/2 beside that file" in caught.value.cure
    assert "state import" not in caught.value.cure, "of this one it is refused"
    other = home / "other.json"
    other.write_text(f'{{"height":"{height}","round":0,"step":3}}')
    done = cmkms("state", "import", "--home", str(home), str(other))
    files = files_of(load_settings(home, Flags()))
    if height < 95:
        assert done.returncode == 5
        assert "this node already knows 95/0/2" in done.stderr
        assert state_file.load(state, "testnet-1", CORE.parse_sign_bytes).hrs.height == 20
        stands = raise_mark(files, files.chains[0], [Watermark(HRS(height, 0, 3))], CORE)
        assert stands.hrs == HRS(95, 0, 2), "an import from another signer takes the higher one"
    else:
        assert done.returncode == 0, done.stderr
    opened = open_node(files, CORE)
    assert opened.store.mark(opened.rows[0]).hrs.height == max(height, 95)
    opened.store.close()


def test_a_start_does_not_go_below_what_a_rename_kept(home: Path) -> None:
    """With a state file that says that nothing was signed, which is anybody's."""
    state = without_c(home)
    state.write_text('{"height":"0","round":0,"step":0}')
    files = files_of(load_settings(home, Flags()))
    assert known_mark(files, files.chains[0], CORE) == Watermark(HRS(95, 0, 2))
    with pytest.raises(
        StateError, match=r"says that nothing was signed.*knows this key under b, and not under testnet-1"
    ):
        open_node(files, CORE)
    state_file.save(state.with_name(f"{state.name}.b@1"), burnt_up_to(20))
    opened = open_node(files, CORE)
    assert opened.store.mark(opened.rows[0]).hrs == HRS(95, 0, 2)
    opened.store.close()


@pytest.mark.parametrize("height", [0, 40])
def test_where_the_store_alone_knows_what_was_burnt_under_a_mistyped_id_it_is_asked(home: Path, height: int) -> None:
    """The state file is behind: a recovery was cut short, or the rename was done and repented of."""
    config, state = home / "config.toml", home / "priv" / "priv_validator_state.json"
    assert cmkms("recover", "--home", str(home), "--min-height", "90", "--yes-height", "90").returncode == 0
    state.write_text(f'{{"height":"{height}","round":0,"step":0}}')
    said = refusal(invoke(home, "rename", "--from", "testnet-1", "--to", "b", "--yes"), StateError)
    assert (
        f'`cmkms state export --chain-id testnet-1 --out FILE`, then chain_id = "b" in {config} and '
        "`cmkms state import --chain-id b FILE`"
    ) in said
    out = str(home / "FILE")
    assert cmkms("state", "export", "--home", str(home), "--out", out).returncode == 0
    config.write_text(config.read_text().replace('chain_id = "testnet-1"', 'chain_id = "b"'))
    with pytest.raises(StateError, match="where it is another chain, and that file its own"):
        open_node(files_of(load_settings(home, Flags())), CORE)
    done = cmkms("state", "import", "--home", str(home), out)
    assert done.returncode == 0, done.stderr
    opened = open_node(files_of(load_settings(home, Flags())), CORE)
    assert opened.store.mark(opened.rows[0]).hrs.height == 90
    opened.store.close()


IN_TABLE = re.compile(r"((?:\w+ = \"[^\"]*\"(?:, )?)+) in the \[\[chain\]\] table of (\S+) in ")
COMMAND = re.compile(r"`cmkms ([^`]*)`")


def follow(home: Path, cure: str) -> None:
    """The first commands and the last lines for config.toml that a cure names, in a home with
    [[chain]] tables; FILE is any file.
    """
    config = home / "config.toml"
    commands = [one.replace("FILE", str(home / "FILE")).split() for one in COMMAND.findall(cure)]
    for words in commands[:-1]:
        done = cmkms(*words, "--home", str(home))
        assert done.returncode == 0, done.stderr
    (*_, (lines, table)) = IN_TABLE.findall(cure)
    assert f'id = "{table}"\n' in config.read_text()
    config.write_text(config.read_text().replace(f'id = "{table}"\n', lines.replace(", ", "\n") + "\n"))
    done = cmkms(*commands[-1], "--home", str(home))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("height", [50, 20], ids=["the state file knows", "the store alone knows"])
@pytest.mark.parametrize("places", ["default", "configured"])
def test_with_tables_a_cure_says_what_to_set_in_the_chains_own_and_which_chain_a_command_means(
    home: Path, places: str, height: int
) -> None:
    several(home, SEVERAL[places])
    state = next(one.state_file for one in load_settings(home, Flags()).chains if one.id == "hub")
    state_file.save(state, burnt_up_to(height))
    rename = ("rename", "--from", "hub", "--to", "hub-2", "--yes")
    said = refusal(invoke(home, *rename), StateError)
    follow(home, said.partition("; cure: ")[2].partition("; only where")[0])
    files = files_of(load_settings(home, Flags()))
    opened = open_node(files, CORE)
    at = {opened.store.rows[row].chain_id: opened.store.mark(row).hrs.height for row in opened.rows}
    opened.store.close()
    assert at == {"hub-2": 50, "zone": 70}


def test_with_tables_a_state_file_of_another_chain_is_told_with_the_tables_id(home: Path) -> None:
    several(home, SEVERAL["configured"])
    config = home / "config.toml"
    state_file.save(home / "priv" / "one.json", signed_by(home, 60, "hub", "one.key"))
    config.write_text(config.read_text().replace('id = "hub"', 'id = "hob"'))
    with pytest.raises(StateError) as caught:
        open_node(files_of(load_settings(home, Flags())), CORE)
    (line,) = re.findall(r'with \[\[chain\]\] tables: (id = "[^"]*") in this chain\'s', caught.value.cure)
    config.write_text(config.read_text().replace('id = "hob"', line))
    open_node(files_of(load_settings(home, Flags())), CORE).store.close()
    import_as_told = "`cmkms state import --chain-id hub-2 "
    config.write_text(config.read_text().replace('id = "hub"', 'id = "hub-2"'))
    state_file.save(home / "priv" / "one.json", burnt_up_to(80))
    with pytest.raises(StateError) as caught:
        open_node(files_of(load_settings(home, Flags())), CORE)
    assert import_as_told in caught.value.cure
    done = cmkms(*COMMAND.findall(caught.value.cure)[-1].split(), "--home", str(home))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("height", [90, 80], ids=["burnt where it signed", "burnt above"])
def test_an_id_whose_state_file_shows_that_it_signed_was_not_mistyped(home: Path, height: int) -> None:
    """A member that read what it lost from the others knows the place, and not always the bytes."""
    state = home / "priv" / "priv_validator_state.json"
    assert cmkms("recover", "--home", str(home), "--min-height", "90", "--yes-height", "90").returncode == 0
    state_file.save(state, signed_by(home, height))
    assert invoke(home, "rename", "--from", "testnet-1", "--to", "b").exception is None


def test_a_table_whose_id_was_changed_first_is_told_where_its_files_are(home: Path) -> None:
    several(home, "")
    config = home / "config.toml"
    config.write_text(config.read_text().replace('id = "hub"', 'id = "hub-2"'))
    said = refusal(invoke(home, "rename", "--from", "hub", "--to", "hub-2", "--yes"), ConfigError)
    lines = 'key_file = "priv/hub/priv_validator_key.json", state_file = "priv/hub/priv_validator_state.json"'
    assert f"cure: {lines} in its [[chain]] table, then the same again" in said
    config.write_text(config.read_text().replace('id = "hub-2"', 'id = "hub-2"\n' + lines.replace(", ", "\n")))
    done = invoke(home, "rename", "--from", "hub", "--to", "hub-2", NOT_MISTYPED, "--yes", "--json")
    assert done.exception is None, done
    assert json.loads(done.stdout)["set"] == {"id": "hub-2"}
    open_node(files_of(load_settings(home, Flags())), CORE).store.close()


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
    assert f'start the node once with chain_id = "testnet-1" in {home / "config.toml"}' in said


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
