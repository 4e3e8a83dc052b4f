"""A home whose key was changed does not sign before the operator said where the new key stands."""

from pathlib import Path

import pytest

from cometkms.core.interface import KeySlot
from cometkms.errors import StateError
from cometkms.keytypes import KEY_TYPES
from cometkms.model import HRS, Watermark
from cometkms.rules.burnt import Heights
from cometkms.store import state_file
from cometkms.store.node_files import NodeFiles
from cometkms.store.node_store import open_node
from cometkms.store.raise_mark import import_mark, raise_mark
from cometkms.store.recover import recover
from tests.unit.store.test_key_types import CHAIN, CORE, files_of, mark_at, slot_of

BURNT = Watermark(HRS(5, 0, 2))


@pytest.fixture(params=KEY_TYPES, ids=lambda one: one.name)
def keys(request: pytest.FixtureRequest) -> tuple[KeySlot, KeySlot]:
    return slot_of(request.param), slot_of(request.param)


def lived(home: Path, slot: KeySlot, mark: Watermark) -> NodeFiles:
    """A home whose node has run with this key, up to this mark."""
    files = files_of(home, slot)
    state_file.save(files.chains[0].state_path, mark)
    open_node(files, CORE).store.close()
    return files


def mark_at_start(files: NodeFiles) -> Watermark:
    opened = open_node(files, CORE)
    opened.store.close()
    return opened.store.mark(opened.rows[0])


@pytest.mark.parametrize("is_signed", [True, False], ids=["signed", "burnt"])
def test_a_key_that_comes_into_a_home_of_another_does_not_go_on_from_its_mark(
    tmp_path: Path, keys: tuple[KeySlot, KeySlot], is_signed: bool
) -> None:
    mine, other = keys
    lived(tmp_path, mine, mark_at(mine, 5) if is_signed else BURNT)
    files = files_of(tmp_path, other)
    path, before = files.chains[0].state_path, files.chains[0].state_path.read_bytes()
    with pytest.raises(StateError, match=r"knows this chain with another key .* and not with") as told:
        open_node(files, CORE)
    assert f"move {path} away" in told.value.cure
    assert f"`cmkms state import --chain-id {CHAIN} FILE`" in told.value.cure
    if is_signed:
        with pytest.raises(StateError, match="knows this chain with another key"):
            import_mark(files, files.chains[0], mark_at(other, 96), CORE)
    assert path.read_bytes() == before

    path.rename(path.with_name("away"))
    with pytest.raises(StateError, match="knows this chain with another key"):
        open_node(files, CORE)
    mark = mark_at(other, 96)
    import_mark(files, files.chains[0], mark, CORE)
    assert mark_at_start(files) == mark


@pytest.mark.parametrize("bring", ["import", "raise"])
def test_a_state_file_that_came_with_the_key_counts_by_the_operators_word(
    tmp_path: Path, keys: tuple[KeySlot, KeySlot], bring: str
) -> None:
    mine, other = keys
    lived(tmp_path, mine, mark_at(mine, 5))
    files, mark = files_of(tmp_path, other), mark_at(other, 96)
    chain = files.chains[0]
    state_file.save(chain.state_path, mark)
    with pytest.raises(StateError, match="knows this chain with another key") as told:
        open_node(files, CORE)
    assert f"`cmkms state import --chain-id {CHAIN} {chain.state_path}`" in told.value.cure
    assert "move" not in told.value.cure
    if bring == "import":
        import_mark(files, chain, mark, CORE)
    else:
        raise_mark(files, chain, [mark], CORE)
    assert mark_at_start(files) == mark


def test_the_right_key_back_goes_on_by_the_store_and_the_others_file_is_left(
    tmp_path: Path, keys: tuple[KeySlot, KeySlot]
) -> None:
    """Not "ahead of the store", which would burn heights for nothing."""
    mine, other = keys
    files = lived(tmp_path, mine, mark_at(mine, 5))
    path = files.chains[0].state_path
    state_file.save(path, mark_at(other, 96))
    before = path.read_bytes()
    with pytest.raises(StateError, match=r"its signature is not of the key .* stands at 5/0/3 there") as told:
        open_node(files, CORE)
    assert f"move {path} away, and `cmkms state export --chain-id {CHAIN} --out {path}`" in told.value.cure
    assert "recover" not in str(told.value)
    assert path.read_bytes() == before
    state_file.save(path, mark_at(mine, 5))
    assert mark_at_start(files) == mark_at(mine, 5)


def test_a_recovery_is_the_operators_word_and_keeps_the_other_keys_file(
    tmp_path: Path, keys: tuple[KeySlot, KeySlot]
) -> None:
    mine, other = keys
    lived(tmp_path, mine, mark_at(mine, 5))
    files = files_of(tmp_path, other)
    done = recover(files, Heights(96), CORE)
    assert [one.name for one in done.state_files] == ["state.json.old-1"]
    assert [row.key for row in done.lost_rows] == [files_of(tmp_path, mine).chains[0].row.key]
    assert mark_at_start(files).hrs.height == 96
