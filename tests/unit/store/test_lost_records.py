"""A slot that the disk lost, and gives as zeros, is never taken for one that was never written; and
no crash, however many in a row, leaves a store that looks so.
"""

import itertools
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from cometkms.core import native
from cometkms.errors import StateError
from cometkms.limits import BLOCK_BYTES, SECTOR_BYTES
from cometkms.model import HRS, Incarnation, Row, Watermark
from cometkms.rules.birth import NodeState
from cometkms.rules.incarnation import Statement
from cometkms.store import state_file
from cometkms.store.node_files import ChainFiles, NodeFiles
from cometkms.store.node_store import open_node
from cometkms.store.promise_store import CorruptStoreError, Header, PromiseStore, survey

CORE = native.load()
MEMBERS = ("node0", "node1", "node2")
ROWS: Final = [Row(bytes([number]) * 32, f"chain-{number}") for number in range(4)]
MEMBER_OFFSET: Final = 1024
PROMISED = NodeState.COMPLETE
Known = dict[str, Statement | None]
_NUMBER = itertools.count()


class Killed(BaseException):
    """The process ends here."""


class Cache:
    """A page cache over a file: it survives a killed process, and of what was not synced each
    sector may be lost when the power fails.
    """

    def __init__(self) -> None:
        self.left = 0  # the call that kills; 0 for none
        self.unsynced: list[tuple[int, bytes]] = []

    def _kills(self) -> bool:
        self.left -= 1
        return self.left == 0

    def pwrite(self, fd: int, data: bytes, offset: int, /) -> int:
        self.unsynced.append((offset, os.pread(fd, len(data), offset)))
        written = os.pwrite(fd, data, offset)
        if self._kills():
            raise Killed
        return written

    def pread(self, fd: int, size: int, offset: int, /) -> bytes:
        return os.pread(fd, size, offset)

    def fdatasync(self, _fd: int, /) -> None:
        if self._kills():
            raise Killed
        self.unsynced.clear()

    def lose_power(self, path: Path, kept: int) -> None:
        """`kept`: by bit, which of the unsynced sectors reached the disk."""
        with path.open("r+b") as file:
            for number, (offset, old) in reversed(list(enumerate(self.unsynced))):
                if not kept >> number & 1:
                    file.seek(offset)
                    file.write(old)
        self.unsynced.clear()


def shown(store: PromiseStore) -> tuple[Header, list[tuple[Row, Watermark, bool]], Known]:
    rows = [(row, store.mark(number), store.opened(number)) for number, row in enumerate(store.rows)]
    return store.header, rows, {member: store.known(member) for member in MEMBERS}


def told(stands: tuple[Header, list[tuple[Row, Watermark, bool]], Known]) -> tuple[object, ...]:
    """What is missed: who holds no promises may have been killed while it forgot its members."""
    header, rows, _ = stands
    return (header, rows) if header.state is NodeState.RECOVERING else stands


def apply(store: PromiseStore, what: str, number: int) -> None:
    """Each way in which anything writes to a store."""
    header, rows = store.header, len(store.rows)
    row = number % max(rows, 1)
    match what:
        case "add" if rows < len(ROWS):
            store.add_row(ROWS[rows], Watermark(HRS(number, 0, 1), b"started"), opened=bool(number % 2))
        case "promise" if rows:
            store.write_mark(row, Watermark(HRS(store.mark(row).hrs.height + 1, 0, 2), b"promised"))
        case "reset" if rows:
            store.reset_mark(row, Watermark(HRS(number, 0, 3)))
        case "open" if rows:
            store.open_row(row)
        case "seal":
            store.write_header(replace(header, state=NodeState.SEALED, following=b"f" * 32))
        case "recovering":
            store.write_header(replace(header, state=NodeState.RECOVERING, unclaimed=True, following=b""))
        case "complete":
            store.write_header(replace(header, state=PROMISED, unclaimed=False, following=b""))
        case "incarnation":
            store.write_header(replace(header, incarnation=Incarnation(header.incarnation.number + 1, 1)))
        case "record":
            member = MEMBERS[1 + number % 2]
            held = store.known(member)
            higher = held.incarnation.number + 1 if held is not None else 1
            store.record(Statement(member, Incarnation(higher, 2), b"s" * 64))
        case "forget" if header.state is NodeState.RECOVERING:  # Membership.on_later_epoch
            store.forget_members()


def of_copy(path: Path, *steps: tuple[str, int]) -> tuple[Header, list[tuple[Row, Watermark, bool]], Known]:
    """What a copy of the store shows after these steps."""
    copy = path.with_name(f"{path.name}.copy")
    shutil.copyfile(path, copy)
    store = PromiseStore.open(copy, Cache())
    try:
        for what, number in steps:
            apply(store, what, number)
        return shown(store)
    finally:
        store.close()


def slots(store: PromiseStore) -> list[tuple[int, int]]:
    """Where both slots of each record stand that was ever written."""
    pairs = [(0, BLOCK_BYTES)]
    pairs += [((2 + 2 * number) * BLOCK_BYTES, (3 + 2 * number) * BLOCK_BYTES) for number in range(len(store.rows))]
    numbers = [number for number, member in enumerate(MEMBERS) if store.known(member) is not None]
    pairs += [(2 * n * BLOCK_BYTES + MEMBER_OFFSET, (2 * n + 1) * BLOCK_BYTES + MEMBER_OFFSET) for n in numbers]
    return pairs


def emptied(data: bytes, *offsets: int) -> bytes:
    lost = bytearray(data)
    for offset in offsets:
        lost[offset : offset + SECTOR_BYTES] = bytes(SECTOR_BYTES)
    return bytes(lost)


def make(path: Path, rows: int, *, older: bool) -> None:
    """`older`: as a version wrote it that gave a pair's second slot no first record."""
    header = Header("node0", 1, MEMBERS, PROMISED, bytes(8), (bytes(8),) * 3)
    store = PromiseStore.create(path, header, [(row, Watermark(HRS(5, 0, 1))) for row in ROWS[:rows]], Cache())
    second = [pair[1] for pair in slots(store)]
    store.close()
    if older:
        path.write_bytes(emptied(path.read_bytes(), *second))


WHAT = (
    "add",
    "promise",
    "promise",
    "reset",
    "open",
    "seal",
    "recovering",
    "complete",
    "incarnation",
    "record",
    "record",
    "forget",
    "restart",
)
CRASH = st.tuples(st.integers(0, 9), st.booleans(), st.integers(0, 63))
STEPS = st.lists(st.tuples(st.sampled_from(WHAT), st.integers(1, 9), st.lists(CRASH, max_size=4)), max_size=14)


def restarted(path: Path, disk: Cache, crashes: list[tuple[int, bool, int]]) -> PromiseStore:
    """Killed again at each start, with the power lost or not, and then started."""
    for at, dark, kept in crashes:
        disk.left = at
        try:
            PromiseStore.open(path, disk).close()
        except Killed:
            if dark:
                disk.lose_power(path, kept)
    disk.left = 0
    return PromiseStore.open(path, disk)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2), st.booleans(), st.lists(CRASH, max_size=2), STEPS)
@example(0, True, [(2, False, 0), (2, True, 0b10)], [])  # both of the header's slots under way
def test_whatever_is_written_and_wherever_it_is_killed_it_opens_and_no_empty_slot_is_overlooked(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rows: int,
    older: bool,
    first: list[tuple[int, bool, int]],
    steps: list[tuple[str, int, list[tuple[int, bool, int]]]],
) -> None:
    monkeypatch.setattr("cometkms.store.promise_store._SURVEY_AGAIN_S", 0.0)
    path, disk = tmp_path / f"promises{next(_NUMBER)}", Cache()
    make(path, rows, older=older)
    store = restarted(path, disk, first)
    for what, number, crashes in steps:
        before, after = shown(store), of_copy(path, (what, number))
        if not crashes:
            apply(store, what, number)
            assert shown(store) == after
            continue
        (at, dark, kept), *again = crashes
        disk.left = at
        try:
            apply(store, what, number)
        except Killed:
            if dark:
                disk.lose_power(path, kept)
        store.close()
        store = restarted(path, disk, again)
        found = shown(store)
        if what == "forget":  # half done; it is done again before the epoch moves
            assert found[:2] == before[:2]
        else:
            assert found in (before, after)
    stands, pairs, data = shown(store), slots(store), path.read_bytes()
    assert survey(path).problems == ()
    store.close()
    for offset in itertools.chain.from_iterable(pairs):
        held = data[offset : offset + SECTOR_BYTES]
        put(path, offset, bytes(SECTOR_BYTES))
        refused = is_refused(path, offset)
        event("refused" if refused else "lacks nothing")
        assert refused or told(of_copy(path)) == told(stands)
        put(path, offset, held)


def put(path: Path, offset: int, sector: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(sector)


def is_refused(path: Path, offset: int) -> bool:
    try:
        PromiseStore.read(path).close()
    except CorruptStoreError as error:
        assert "it is empty, and was written" in str(error)
        assert offset % BLOCK_BYTES or survey(path).problems
        return True
    return False


@pytest.mark.parametrize("newest", [True, False])
@pytest.mark.parametrize("promises", [1, 2, 3])
def test_a_row_in_which_anything_was_promised_misses_neither_slot(tmp_path: Path, promises: int, newest: bool) -> None:
    path = tmp_path / "promises"
    make(path, 1, older=False)
    store = PromiseStore.open(path)
    store.add_row(ROWS[1], Watermark(HRS(5, 0, 1)))
    for _ in range(promises):
        apply(store, "promise", 1)
    pair, data = slots(store)[2], path.read_bytes()
    held = store.mark(1).hrs
    store.close()
    numbers = [int.from_bytes(data[at + 8 : at + 16], "little") for at in pair]
    lost = pair[numbers.index(max(numbers) if newest else min(numbers))]
    path.write_bytes(emptied(data, lost))
    with pytest.raises(StateError, match=rf"slot . of row 1 .offset {lost}.: it is empty, and was written") as caught:
        PromiseStore.open(path)
    assert "cmkms recover --min-height" in caught.value.cure
    assert [problem.split(":")[1] for problem in survey(path).problems] == [" it is empty, and was written"]
    assert held == HRS(5 + promises, 0, 2)


@pytest.mark.parametrize("number", [0, 1])
def test_the_header_and_what_is_known_of_a_member_miss_neither_slot(tmp_path: Path, number: int) -> None:
    path = tmp_path / "promises"
    make(path, 1, older=False)
    store = PromiseStore.open(path)
    for what in ("record", "record", "seal"):
        apply(store, what, 1)
    header, _, known = slots(store)
    store.close()
    data = path.read_bytes()
    for pair, what in ((header, "the header"), (known, "member node2")):
        path.write_bytes(emptied(data, pair[number]))
        with pytest.raises(CorruptStoreError, match=rf"slot {number} of {what}.*it is empty, and was written"):
            PromiseStore.open(path)


def test_members_that_were_half_forgotten_stop_no_start(tmp_path: Path) -> None:
    """Only who holds no promises forgets them."""
    path = tmp_path / "promises"
    make(path, 1, older=False)
    store = PromiseStore.open(path)
    for what in ("record", "record", "recovering"):
        apply(store, what, 1)
    pair = slots(store)[-1]
    store.close()
    for offset in pair:
        path.write_bytes(emptied(path.read_bytes(), offset))
        PromiseStore.open(path).close()


# --- a node's start ---


def started(home: Path, heights: int, members: tuple[str, ...]) -> NodeFiles:
    (home / "priv").mkdir(parents=True)
    state_path = home / "priv" / "priv_validator_state.json"
    state_file.save(state_path, Watermark(HRS(5, 0, 1)))
    files = NodeFiles.at(home, "node0", (ChainFiles(ROWS[0], state_path),), members)
    opened = open_node(files, CORE)
    if opened.store.header.state is NodeState.EMPTY:
        opened.store.write_header(replace(opened.store.header, state=PROMISED, record=(bytes(8),) * len(members)))
        opened.store.close()
        opened = open_node(files, CORE)
    for _ in range(heights):
        apply(opened.store, "promise", 0)
    opened.store.close()
    return files


def without_newest(files: NodeFiles) -> None:
    data = files.store_path.read_bytes()
    newest = max((2, 3), key=lambda block: data[block * BLOCK_BYTES + 8 : block * BLOCK_BYTES + 16][::-1])
    files.store_path.write_bytes(emptied(data, newest * BLOCK_BYTES))


@pytest.mark.parametrize("heights", [1, 2])
def test_one_node_alone_does_not_start_where_its_last_promise_was_lost(tmp_path: Path, heights: int) -> None:
    files = started(tmp_path, heights, ("node0",))
    without_newest(files)
    with pytest.raises(StateError, match="it is empty, and was written"):
        open_node(files, CORE)


def test_one_of_several_reads_the_others(tmp_path: Path) -> None:
    files = started(tmp_path, 2, MEMBERS)
    without_newest(files)
    opened = open_node(files, CORE)
    assert opened.store.header.state is NodeState.RECOVERING
    assert "it is empty, and was written" in opened.warnings[0]
    opened.store.close()


def test_a_row_of_which_both_slots_were_lost_is_missed_by_the_home(tmp_path: Path) -> None:
    """The store alone cannot tell it from one that was never written."""
    files = started(tmp_path, 2, ("node0",))
    files.store_path.write_bytes(emptied(files.store_path.read_bytes(), 2 * BLOCK_BYTES, 3 * BLOCK_BYTES))
    with pytest.raises(StateError):
        open_node(files, CORE)
