"""The one way down: a mark that the operator lowers, offline; what was there is kept, and the store
stays the same one.
"""

import json
from pathlib import Path

import pytest

from cometkms.core import choose
from cometkms.errors import BusyError, StateError, StoreFailure
from cometkms.limits import BLOCK_BYTES, ROUND_MAX
from cometkms.model import HRS, Row, Watermark
from cometkms.rules.birth import NodeState
from cometkms.rules.burnt import Heights
from cometkms.store import state_file
from cometkms.store.home_born import write_born
from cometkms.store.marks import held_mark, known_mark
from cometkms.store.node_files import ChainFiles, NodeFiles
from cometkms.store.node_store import open_node
from cometkms.store.promise_store import Header, PromiseStore, marks_in, readable_marks, survey
from cometkms.store.recover import recover
from cometkms.store.reset import reset_mark

CORE = choose.load()
POISON = Watermark(HRS(199_000_000, 0, 2))
BURNT = Watermark(HRS(60, ROUND_MAX, 3))
ROW, OTHER = Row(b"k" * 32, "c"), Row(b"k" * 32, "d")
MEMBERS = ("a", "b", "c")


def made(tmp_path: Path, state: NodeState = NodeState.COMPLETE) -> NodeFiles:
    paths = {row.chain_id: tmp_path / "priv" / f"{row.chain_id}.json" for row in (ROW, OTHER)}
    paths["c"].parent.mkdir()
    for path in paths.values():
        state_file.save(path, POISON)
    chains = tuple(ChainFiles(row, paths[row.chain_id]) for row in (ROW, OTHER))
    files = NodeFiles.at(tmp_path, "a", chains, MEMBERS)
    files.store_path.parent.mkdir(parents=True)
    header = Header("a", 1, MEMBERS, state, b"n" * 8, (b"n" * 8,) * 3 if state is NodeState.COMPLETE else (), 40)
    PromiseStore.create(files.store_path, header, [(ROW, POISON), (OTHER, POISON)]).close()
    write_born(files, begun=[ROW, OTHER])
    files.store_path.with_name("raft").write_bytes(b"journal")
    return files


def test_the_mark_is_the_operators_and_what_was_there_is_kept(tmp_path: Path) -> None:
    files = made(tmp_path)
    store = files.store_path.read_bytes()
    born = files.born_paths[0].read_bytes()
    done = reset_mark(files, files.chains[0], 60)
    assert done.mark == BURNT
    names = {path.name: path for path in done.kept}
    assert sorted(names) == ["c.json.old-1", "promises.old-1", "raft.old-1"]
    assert len(names["promises.old-1"].read_bytes()) == len(store)
    assert json.loads(names["c.json.old-1"].read_text())["height"] == "199000000"
    assert names["raft.old-1"].read_bytes() == b"journal"
    assert files.born_paths[0].read_bytes() == born
    opened = open_node(files, CORE)
    try:
        assert opened.signed == (BURNT, POISON), "the other chain stays where it is"
        assert opened.store.mark(0) == BURNT
        assert opened.store.header.state is NodeState.COMPLETE
        assert opened.store.header.birth_nonce == b"n" * 8
        assert opened.store.seq > 40, "no member takes it for an older store"
    finally:
        opened.store.close()
    again = reset_mark(files, files.chains[0], 60)
    assert [path.name for path in again.kept] == ["promises.old-2", "c.json.old-2"]


def test_whoever_reads_the_store_before_the_next_start_reads_the_lowered_mark(tmp_path: Path) -> None:
    """The slot that was not written holds the higher one until then."""
    files = made(tmp_path)
    reset_mark(files, files.chains[0], 60)
    expected = [(ROW, BURNT), (OTHER, POISON)]
    before = files.store_path.read_bytes()
    assert survey(files.store_path).rows == tuple(expected)
    assert readable_marks(files.store_path) == marks_in(files.store_path, before) == expected
    assert held_mark(files.store_path, ROW) == known_mark(files, files.chains[0], CORE) == BURNT
    looked = PromiseStore.read(files.store_path)
    assert looked.mark(0) == BURNT
    with pytest.raises(StoreFailure, match="it was opened to be read"):
        looked.write_mark(0, POISON)
    looked.close()
    assert files.store_path.read_bytes() == before
    marks = recover(files, Heights(70), CORE).marks
    assert marks[0].hrs == HRS(70, ROUND_MAX, 3), "and not back at where it stood before the reset"


@pytest.mark.parametrize("newest_is_torn", [True, False])
def test_of_two_slots_the_newest_that_checks_counts(tmp_path: Path, newest_is_torn: bool) -> None:
    files = made(tmp_path)
    reset_mark(files, files.chains[0], 60)
    data = bytearray(files.store_path.read_bytes())
    lowered = next(at for at in (2 * BLOCK_BYTES, 3 * BLOCK_BYTES) if marks_of(data, without=at) == POISON)
    torn = lowered if newest_is_torn else 5 * BLOCK_BYTES - lowered
    data[torn + 100] ^= 1
    assert dict(marks_in(files.store_path, bytes(data)))[ROW] == (POISON if newest_is_torn else BURNT)


def marks_of(data: bytearray, without: int) -> Watermark:
    """What a store shows of ROW with one slot torn."""
    torn = bytearray(data)
    torn[without + 100] ^= 1
    return dict(marks_in(Path("store"), bytes(torn)))[ROW]


def test_the_kept_store_is_whole(tmp_path: Path) -> None:
    files = made(tmp_path)
    (kept, *_) = reset_mark(files, files.chains[0], 60).kept
    store = PromiseStore.open(kept)
    assert store.mark(0) == POISON
    store.close()


@pytest.mark.parametrize("after", ["the store", "nothing"])
def test_a_crash_in_between_leaves_the_higher_one_and_the_command_is_given_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    files = made(tmp_path)

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    broken = (state_file, "save") if after == "the store" else (PromiseStore, "reset_mark")
    with monkeypatch.context() as patched:
        patched.setattr(*broken, dies)
        with pytest.raises(KeyboardInterrupt):
            reset_mark(files, files.chains[0], 60)
    opened = open_node(files, CORE)
    assert opened.store.mark(0).hrs == POISON.hrs
    opened.store.close()
    reset_mark(files, files.chains[0], 60)
    opened = open_node(files, CORE)
    assert opened.store.mark(0) == BURNT
    opened.store.close()


def test_without_a_store_the_state_file_is_what_a_recovery_begins_from(tmp_path: Path) -> None:
    files = made(tmp_path)
    files.store_path.unlink()
    assert [path.name for path in reset_mark(files, files.chains[0], 60).kept] == ["c.json.old-1"]
    opened = open_node(files, CORE)
    assert opened.store.header.state is NodeState.RECOVERING
    assert opened.store.mark(0) == BURNT
    opened.store.close()


def test_a_sealed_store_another_nodes_and_one_in_use_are_left_alone(tmp_path: Path) -> None:
    files = made(tmp_path, NodeState.SEALED)
    before = files.store_path.read_bytes()
    with pytest.raises(StateError, match="its seal says where it stood"):
        reset_mark(files, files.chains[0], 60)
    with pytest.raises(StateError, match="of node 'a' of a, b, c, and this is 'a' of a"):
        reset_mark(NodeFiles.at(tmp_path, "a", files.chains), files.chains[0], 60)
    held = PromiseStore.open(files.store_path)
    with pytest.raises(BusyError):
        reset_mark(files, files.chains[0], 60)
    held.close()
    store = PromiseStore.open(files.store_path)
    assert store.mark(0) == POISON
    store.close()
    assert len(before) == files.store_path.stat().st_size
    assert state_file.load(files.chains[0].state_path, "c", CORE.parse_sign_bytes) == POISON
