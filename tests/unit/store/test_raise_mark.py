"""Raising a watermark to what other signers say: never down, burnt unless signed, strict where two
signatures meet.
"""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from cometkms.core.pure import core as pure
from cometkms.errors import StateError
from cometkms.model import Watermark
from cometkms.rules.birth import NodeState
from cometkms.rules.epoch import Standing
from cometkms.store import epoch as epochs
from cometkms.store import state_file
from cometkms.store.marks import known_mark
from cometkms.store.node_files import ChainFiles, NodeFiles
from cometkms.store.node_store import open_node
from cometkms.store.promise_store import Header, PromiseStore
from cometkms.store.raise_mark import higher_mark, raise_mark
from tests.unit.store.test_promise_store import ROW, mark_at

CORE = pure.CORE


def files(home: Path, name: str = "n0", members: tuple[str, ...] = ()) -> NodeFiles:
    (home / "priv").mkdir(parents=True, exist_ok=True)
    return NodeFiles.at(home, name, (ChainFiles(ROW, home / "priv" / "state.json"),), members)


def burnt(height: int) -> Watermark:
    return Watermark(mark_at(height).hrs)


def unsigned(height: int, block: bytes = b"a") -> Watermark:
    mark = mark_at(height, block)
    return Watermark(mark.hrs, mark.sign_bytes)


@pytest.mark.parametrize(
    ("known", "marks", "expected"),
    [
        (None, [], Watermark()),
        (None, [burnt(5), mark_at(7)], mark_at(7)),
        (mark_at(9), [mark_at(7), burnt(8)], mark_at(9)),
        (mark_at(5), [burnt(7), mark_at(6)], burnt(7)),
        (mark_at(5), [burnt(5)], mark_at(5)),
        (mark_at(5), [unsigned(5, b"b")], mark_at(5)),
        (unsigned(5), [mark_at(5)], mark_at(5)),
        (unsigned(5), [burnt(5)], burnt(5)),
        (unsigned(5), [mark_at(5, b"b")], burnt(5)),
        (unsigned(5), [burnt(4)], unsigned(5)),
        (burnt(5), [mark_at(5)], burnt(5)),
        (None, [unsigned(5)], burnt(5)),
        (None, [burnt(5), mark_at(5)], mark_at(5)),
    ],
)
def test_what_two_sides_make_together(
    tmp_path: Path, known: Watermark | None, marks: list[Watermark], expected: Watermark
) -> None:
    row = files(tmp_path).chains[0].row
    assert higher_mark(known, marks, row, CORE) == expected


@pytest.mark.parametrize("known", [None, mark_at(5)])
def test_two_signatures_at_one_place_are_refused(tmp_path: Path, known: Watermark | None) -> None:
    row = files(tmp_path).chains[0].row
    marks = [mark_at(5, b"b")] if known else [mark_at(5), mark_at(5, b"b")]
    with pytest.raises(StateError, match=r"two signatures of this key at 5/0/3.*--min-height"):
        higher_mark(known, marks, row, CORE)
    assert higher_mark(known, [*marks, burnt(6)], row, CORE) == burnt(6)


def test_a_fresh_home_gets_a_state_file_and_starts_from_it(tmp_path: Path) -> None:
    node = files(tmp_path)
    assert known_mark(node, node.chains[0], CORE) is None
    assert raise_mark(node, node.chains[0], [mark_at(7), burnt(3)], CORE) == mark_at(7)
    assert known_mark(node, node.chains[0], CORE) == mark_at(7)
    opened = open_node(node, CORE)
    assert opened.signed == (mark_at(7),)
    opened.store.close()


def test_a_node_that_has_lived_is_raised_in_store_and_file_and_never_lowered(tmp_path: Path) -> None:
    node = files(tmp_path)
    raise_mark(node, node.chains[0], [mark_at(7)], CORE)
    open_node(node, CORE).store.close()
    for marks, expected in (([mark_at(5)], mark_at(7)), ([burnt(9)], burnt(9)), ([mark_at(8)], burnt(9))):
        assert raise_mark(node, node.chains[0], marks, CORE) == expected
        assert known_mark(node, node.chains[0], CORE) == expected
        opened = open_node(node, CORE)
        assert opened.store.mark(opened.rows[0]).hrs == expected.hrs
        opened.store.close()


def test_a_store_that_is_sealed_is_raised_too_and_the_next_epoch_begins_above(tmp_path: Path) -> None:
    """A key that went out of a cluster comes back before the epoch that its seals name begins."""
    node = files(tmp_path)
    state_file.save(node.chains[0].state_path, mark_at(5))
    open_node(node, CORE).store.close()
    seals = [epochs.seal(node, CORE, node.members)]
    assert raise_mark(node, node.chains[0], [mark_at(9)], CORE) == mark_at(9)
    with pytest.raises(StateError, match="was sealed here"):
        open_node(node, CORE)
    assert dict(epochs.seal(node, CORE, node.members).marks)[node.chains[0].row] == mark_at(9)
    assert dict(epochs.begin(node, seals, CORE).marks)[node.chains[0].row] == mark_at(9)
    other = replace(node, node_id="other", store_path=node.store_path)
    with pytest.raises(StateError, match="belongs to node"):
        raise_mark(other, node.chains[0], [mark_at(10)], CORE)


def test_a_promise_without_a_signature_is_burnt_when_another_signed_there(tmp_path: Path) -> None:
    node = files(tmp_path)
    state_file.save(node.chains[0].state_path, Watermark())
    opened = open_node(node, CORE)
    opened.store.write_mark(opened.rows[0], unsigned(5))
    opened.store.close()
    assert raise_mark(node, node.chains[0], [mark_at(5, b"b")], CORE) == burnt(5)
    opened = open_node(node, CORE)
    assert opened.store.mark(opened.rows[0]) == burnt(5)
    opened.store.close()


# --- the way out: epochs.promised ---


def test_one_node_alone_shows_what_it_promised_signed_or_not(tmp_path: Path) -> None:
    node = files(tmp_path)
    with pytest.raises(StateError, match="nothing is known"):
        epochs.promised(node, node.chains[0], [], CORE)
    state_file.save(node.chains[0].state_path, mark_at(4))
    assert epochs.promised(node, node.chains[0], [], CORE) == mark_at(4)
    opened = open_node(node, CORE)
    opened.store.write_mark(opened.rows[0], unsigned(5))
    opened.store.close()
    assert epochs.promised(node, node.chains[0], [], CORE) == burnt(5)


def test_one_whose_state_file_is_lost_does_not_say_that_its_store_is_the_newest(tmp_path: Path) -> None:
    node = files(tmp_path)
    state_file.save(node.chains[0].state_path, mark_at(4))
    open_node(node, CORE).store.close()
    node.chains[0].state_path.unlink()
    with pytest.raises(StateError, match="stands at 4/0/3 there"):
        epochs.promised(node, node.chains[0], [], CORE)
    assert epochs.promised(node, node.chains[0], [], CORE, 9).hrs.height == 9


def test_a_node_that_lost_its_store_does_not_know(tmp_path: Path) -> None:
    node = files(tmp_path)
    state_file.save(node.chains[0].state_path, mark_at(4))
    open_node(node, CORE).store.close()
    node.store_path.unlink()
    with pytest.raises(StateError, match=r"what it promised is not known.*cmkms recover"):
        epochs.promised(node, node.chains[0], [], CORE)


def cluster_node(tmp_path: Path, name: str, mark: Watermark) -> NodeFiles:
    node = files(tmp_path / name, name, ("n0", "n1", "n2"))
    state_file.save(node.chains[0].state_path, Watermark())
    node.store_path.parent.mkdir(parents=True)
    header = Header(name, 1, ("n0", "n1", "n2"), NodeState.COMPLETE, bytes(8))
    PromiseStore.create(node.store_path, header, [(node.chains[0].row, mark)]).close()
    return node


def test_of_a_cluster_a_sealed_majority_shows_it(tmp_path: Path) -> None:
    """n0 is behind: what n1 and n2 promised together stands in n1's seal."""
    one, other = cluster_node(tmp_path, "n0", mark_at(5)), cluster_node(tmp_path, "n1", unsigned(8))
    with pytest.raises(StateError, match="no seal was given"):
        epochs.promised(one, one.chains[0], [], CORE)
    following = ("n0", "n1", "n2")
    seals = [epochs.seal(other, CORE, following)]
    with pytest.raises(StateError, match="a majority is 2"):
        epochs.promised(one, one.chains[0], seals, CORE)
    epochs.seal(one, CORE, following)  # its own store counts then
    with pytest.raises(StateError, match=r"do not show all that may have been signed: 1 of 3 .*--min-height"):
        # both were stopped: one may be an old copy
        epochs.promised(one, one.chains[0], seals, CORE)
    assert epochs.promised(one, one.chains[0], seals, CORE, 12).hrs.height == 12
    third = cluster_node(tmp_path, "n2", mark_at(3))
    seals.append(epochs.seal(third, CORE, following))
    assert epochs.promised(one, one.chains[0], seals, CORE) == burnt(8)
    opened_again = PromiseStore.open(one.store_path)
    assert opened_again.header.state is NodeState.SEALED
    opened_again.close()


def test_seals_of_another_cluster_or_epoch_are_refused(tmp_path: Path) -> None:
    node = cluster_node(tmp_path, "n0", mark_at(5))
    for members, epoch in ((("a", "b", "c"), 1), (("n0", "n1", "n2"), 2)):
        seals = [epochs.Seal(name, epoch, members, members, Standing.CONFIRMED, ()) for name in members[:2]]
        with pytest.raises(StateError, match="cure: the seals of this cluster"):
            epochs.promised(node, node.chains[0], seals, CORE)


def test_when_each_state_file_was_written_is_known_before_a_start_writes_it_anew(tmp_path: Path) -> None:
    """What is plausible is counted from there (rule 13)."""
    made = files(tmp_path)
    path = made.chains[0].state_path
    state_file.save(path, mark_at(5))
    os.utime(path, (1_600_000_000, 1_600_000_000))
    opened = open_node(made, CORE)
    assert opened.signed_at == (1_600_000_000.0,)
    opened.store.write_mark(0, mark_at(9))
    opened.store.close()
    again = open_node(made, CORE)
    assert again.signed == (mark_at(9),)
    assert again.signed_at == (1_600_000_000.0,)
    assert path.stat().st_mtime > 1_600_000_000
    again.store.close()
