"""A store that is gone from its name: nothing is promised, all is known, and all goes on when it is
back.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cometkms.board.sections import MemberState
from cometkms.state.store_watch import StoreWatch, let_promise
from cometkms.wire.queue_messages import PermitGranted, ReserveRefused
from tests.unit.state.doubles import Log
from tests.unit.state.three import Three, come_back, leading, sign_bytes


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, int]]:
    path = tmp_path / "data" / "node0" / "promises"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    monkeypatch.chdir(path.parent)
    fd = os.open(path, os.O_RDWR)
    yield path, fd
    os.close(fd)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("moved", "it was removed, or moved away"),
        ("replaced", "another file stands in its place"),
        ("moved with its directory", "its directory was moved to"),
    ],
)
def test_a_store_that_is_not_at_its_name_is_told_once_and_so_is_its_return(
    store: tuple[Path, int], how: str, words: str
) -> None:
    path, fd = store
    heard: list[str] = []
    log = Log()
    watch = StoreWatch(path, fd, log, heard.append)
    watch.look()
    assert heard == []
    moved = path.parent if how == "moved with its directory" else path
    elsewhere = moved.with_name("elsewhere")
    moved.rename(elsewhere)
    if how == "replaced":
        path.write_bytes(b"x")
    watch.look()
    watch.look()
    (gone,) = heard
    assert gone.startswith(f"the promise store {path} is gone: {words}")
    elsewhere.rename(moved)
    watch.look()
    watch.look()
    assert heard[1:] == [""]


def test_a_store_that_was_removed_with_its_directory_is_gone(store: tuple[Path, int]) -> None:
    path, fd = store
    heard: list[str] = []
    watch = StoreWatch(path, fd, Log(), heard.append)
    path.unlink()
    path.parent.rmdir()
    watch.look()
    assert len(heard) == 1


def test_a_leader_whose_store_is_gone_gives_up_the_lead_and_promises_nothing_until_it_is_back(three: Three) -> None:
    a = leading(three)
    assert isinstance(a.reserve(sign_bytes(1)), PermitGranted)
    let_promise(a.node, "the promise store is gone")
    assert (a.node.leading, a.node.why) == (False, "the promise store is gone")
    assert not a.node.membership.raft_may_vote
    refused = a.reserve(sign_bytes(2), 2)
    assert isinstance(refused, ReserveRefused)
    assert isinstance(a.reserve(sign_bytes(2), 3, urgent=True), ReserveRefused)
    b = three.nodes["b"]
    let_promise(three.nodes["c"].node, "the promise store is gone")
    b.lead()
    assert b.reserve(sign_bytes(2)) is None or isinstance(b.reserve(sign_bytes(2), 2), ReserveRefused)
    assert [three.nodes[name].store.mark(0).sign_bytes for name in ("a", "c")] == [sign_bytes(1)] * 2
    let_promise(a.node, "")
    a.lead()
    let_promise(three.nodes["c"].node, "")
    assert a.node.why == ""
    assert isinstance(a.reserve(sign_bytes(3), 4), PermitGranted)


def test_one_that_promises_nothing_for_that_still_answers_what_it_promised(three: Three) -> None:
    """So that members whose stores were all removed at once come back one after another."""
    leading(three)
    a = three.nodes["a"]
    let_promise(a.node, "the promise store is gone")
    assert a.node.membership.phase is MemberState.COMPLETE
    come_back(three, "b")
    three.wait(1.0)
    assert "b" in three.ready()


def test_a_node_that_starts_stays_one_that_starts(three: Three) -> None:
    leading(three)
    come_back(three, "b", meets=False)
    b = three.nodes["b"]
    let_promise(b.node, "the promise store is gone")
    assert b.node.membership.phase is MemberState.STARTING
    let_promise(b.node, "")
    assert not b.node.membership.ready


@pytest.mark.parametrize("order", ["sealed, gone, back", "gone, sealed, back"])
def test_a_sealed_node_promises_nothing_though_its_store_was_gone_and_is_back(three: Three, order: str) -> None:
    """Its seal lets the next epoch begin: a promise in this one would be beside that."""
    a = leading(three)
    assert isinstance(a.reserve(sign_bytes(1)), PermitGranted)
    membership = a.node.membership
    for step in order.split(", "):
        if step == "sealed":
            membership.seal(("b", "c", "d"))
        else:
            let_promise(a.node, "the promise store is gone" if step == "gone" else "")
    assert not membership.ready
    assert membership.phase is MemberState.SEALED
    assert not membership.raft_may_vote
    assert isinstance(a.reserve(sign_bytes(2), 2, urgent=True), ReserveRefused)


def test_the_others_are_told_and_count_it_as_none_that_could_take_over(three: Three) -> None:
    a, b = leading(three), three.nodes["b"]
    let_promise(b.node, "the promise store is gone")
    three.wait(0.1)
    assert a.node.roster.missing() == ("b",)
    assert a.node.roster.why_not_able("b") == "promises nothing: its store is gone"
    let_promise(b.node, "")
    three.wait(0.1)
    assert a.node.roster.missing() == ()
