"""Files of a home of this program, taken for another signer's: its store counts, or nothing does."""

import json
from pathlib import Path

import pytest

from cometkms.core.pure import core as pure
from cometkms.errors import BusyError, StateError
from cometkms.model import HRS, Row, Watermark
from cometkms.rules.birth import NodeState
from cometkms.store import epoch as epochs
from cometkms.store import state_file
from cometkms.store.lock import locked_home
from cometkms.store.node_files import ChainFiles, NodeFiles
from cometkms.store.node_store import open_node
from cometkms.store.own_home import home_of, own_mark
from cometkms.store.promise_store import Header, PromiseStore
from tests.unit.cli.test_cli import tree
from tests.unit.store.test_promise_store import PUBLIC, ROW, mark_at

CORE = pure.CORE


def lived(home: Path, folder: str = "priv") -> Path:
    """A node that was killed: its store stands at 7, and its state file at 5. Returns: that file."""
    state = home / folder / "priv_validator_state.json"
    state.parent.mkdir(parents=True)
    state_file.save(state, mark_at(5))
    opened = open_node(NodeFiles.at(home, "node0", (ChainFiles(ROW, state),)), CORE)
    opened.store.write_mark(0, mark_at(7))
    opened.store.close()
    (home / "cmkms.lock").touch()
    return state


@pytest.mark.parametrize("folder", ["priv", "priv/hub"])
def test_the_store_s_mark_is_the_home_s_and_nothing_is_written(tmp_path: Path, folder: str) -> None:
    state = lived(tmp_path / "home", folder)
    before = tree(tmp_path)
    assert own_mark(state, ROW, CORE) == mark_at(7)
    link = tmp_path / "link.json"
    link.symlink_to(state)
    assert own_mark(link, ROW, CORE) == mark_at(7)
    link.unlink()
    assert tree(tmp_path) == before


def test_what_has_never_run_here_is_not_asked(tmp_path: Path) -> None:
    """A home that was made and never started, and what was exported into one."""
    state = lived(tmp_path / "home")
    never = tmp_path / "never" / "priv" / state.name
    out = tmp_path / "home" / "out" / state.name
    for path in (never, out):
        path.parent.mkdir(parents=True)
        path.write_bytes(state.read_bytes())
        assert home_of(path) is None
        assert own_mark(path, ROW, CORE) is None


def test_a_node_that_runs_is_to_be_stopped_first(tmp_path: Path) -> None:
    state = lived(tmp_path / "home")
    with locked_home(tmp_path / "home"), pytest.raises(BusyError, match="stop it first"):
        own_mark(state, ROW, CORE)


def refused(state: Path, words: str, row: Row = ROW) -> None:
    with pytest.raises(StateError, match=words) as caught:
        own_mark(state, row, CORE)
    assert "cmkms export --to filepv DIR" in caught.value.cure
    assert "cmkms recover --min-height" in caught.value.cure


def test_a_priv_without_its_store_says_too_little(tmp_path: Path) -> None:
    state = lived(tmp_path / "home")
    copied = tmp_path / "backup"
    (tmp_path / "home" / "priv").rename(copied)
    refused(copied / state.name, r"stands beside a born\.json.*there is no store in .*backup")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"epoch": 2}, r"epoch 1\) is not the one"),
        ({"next": ["node1"]}, r"epoch 1\) is not the one"),
        ({"ids": ["node1"]}, r"\(node node0, epoch 1\) is not the one"),
    ],
)
def test_a_store_that_born_json_does_not_tell_of_is_an_old_copy(
    tmp_path: Path, changed: dict[str, object], words: str
) -> None:
    state = lived(tmp_path / "home")
    born = state.with_name("born.json")
    born.write_text(json.dumps({**json.loads(born.read_bytes()), **changed}))
    refused(state, words)
    born.unlink()
    refused(state, "is not the one")


def test_a_second_store_and_a_key_that_the_store_does_not_know_are_refused(tmp_path: Path) -> None:
    home = tmp_path / "home"
    state = lived(home)
    refused(state, "does not know this key under hub-9", Row(PUBLIC, "hub-9"))
    store = home / "data" / "node0" / "promises"
    other = home / "data" / "node1"
    other.mkdir()
    (other / "promises").write_bytes(store.read_bytes())
    refused(state, "node0/promises, .*node1/promises")


def test_one_of_several_does_not_speak_for_its_cluster(tmp_path: Path) -> None:
    state = lived(tmp_path / "home")
    store = tmp_path / "home" / "data" / "node0" / "promises"
    store.unlink()
    header = Header("node0", 1, ("node0", "node1", "node2"), NodeState.COMPLETE, bytes(8))
    PromiseStore.create(store, header, [(ROW, mark_at(7))]).close()
    refused(state, "one of node0, node1, node2")


def test_a_state_file_ahead_of_its_store_is_an_old_copy_s(tmp_path: Path) -> None:
    state = lived(tmp_path / "home")
    state_file.save(state, mark_at(9))
    with pytest.raises(StateError, match="is ahead of the store"):
        own_mark(state, ROW, CORE)


def test_a_home_whose_key_went_out_says_what_that_one_signed_no_more(tmp_path: Path) -> None:
    state = lived(tmp_path / "home")
    state.with_name("exported.json").write_text(json.dumps({"chains": {ROW.chain_id: ["filepv", "/there"]}}))
    with pytest.raises(StateError, match="this key went out"):
        own_mark(state, ROW, CORE)


def test_the_key_of_a_home_that_has_never_run_may_have_gone_out_too(tmp_path: Path) -> None:
    """What its state file says is what went out; the home itself may bring back what came of it."""
    state = tmp_path / "home" / "priv" / "priv_validator_state.json"
    hub = state.parent / "hub" / state.name
    hub.parent.mkdir(parents=True)
    for path in (state, hub):
        state_file.save(path, mark_at(5))
    state.with_name("exported.json").write_text(json.dumps({"chains": {ROW.chain_id: ["filepv", "/there"]}}))
    link = tmp_path / "link.json"
    link.symlink_to(state)
    for path in (state, hub, link):
        with pytest.raises(StateError, match="this key went out"):
            own_mark(path, ROW, CORE)
        with pytest.raises(StateError, match="this key went out"):
            own_mark(path, ROW, CORE, tmp_path / "other" / "priv" / state.name)
    assert own_mark(hub, ROW, CORE, state) is None


def test_a_node_that_is_sealed_does_not_know_what_the_next_epoch_signs(tmp_path: Path) -> None:
    state = lived(tmp_path / "home")
    files = NodeFiles.at(tmp_path / "home", "node0", (ChainFiles(ROW, state),))
    epochs.seal(files, CORE, ("node0", "node1", "node2"))
    refused(state, "that node is sealed")


def test_a_place_that_is_promised_and_not_signed_is_burnt(tmp_path: Path) -> None:
    state = lived(tmp_path / "home")
    store = PromiseStore.open(tmp_path / "home" / "data" / "node0" / "promises")
    store.write_mark(0, Watermark(HRS(8, 0, 1), b""))
    store.close()
    assert own_mark(state, ROW, CORE) == Watermark(HRS(8, 0, 1))
