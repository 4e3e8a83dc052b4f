"""Raft's journal on disk: what comes back after a restart, a crash at any point, decay,
and a disk that fails.
"""

import contextlib
import errno
import os
import socket
import stat
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from cometkms.errors import StoreFailure, disk_failure
from cometkms.hardening import landlock
from cometkms.hardening.children import WORK
from cometkms.hardening.landlock import Beneath, Ruleset
from cometkms.hardening.prctl import make_undumpable
from cometkms.limits import RAFT_JOURNAL_MAX_BYTES, SIGN_BYTES_MAX_BYTES
from cometkms.model import HRS, Watermark
from cometkms.state.raft.journal import Journal, discard_journal, pack_state, unpack_state
from tests.unit.hardening.child import in_child

STATE = {b"k" * 32: Watermark(HRS(9, 1, 2), b"sign bytes", b"s" * 64), b"a" * 32: Watermark(HRS(3, 0, 3), b"", b"")}
HEAD_BYTES = 12  # length and checksum


class FailingDisk:
    """A disk whose next write or sync can be made to fail."""

    def __init__(self) -> None:
        self.fail = ""

    def pread(self, fd: int, size: int, offset: int, /) -> bytes:
        return os.pread(fd, size, offset)

    def pwrite(self, fd: int, data: bytes, offset: int, /) -> int:
        if self.fail == "write":
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.pwrite(fd, data[: len(data) // 2] if self.fail == "short" else data, offset)

    def fdatasync(self, fd: int, /) -> None:
        if self.fail == "sync":
            raise OSError(errno.EIO, "Input/output error")
        os.fdatasync(fd)


class LosesPower(Exception):
    """Raised where the machine stops."""


def command(index: int) -> bytes:
    return b"command %d" % index


def fill(journal: Journal, first: int, last: int, term: int = 1) -> None:
    for index in range(first, last + 1):
        journal.add(command(index), index, term)
    journal.sync()


def trusted(path: Path, last: int, term: int = 5) -> Journal:
    """A journal with entries 1..last that may vote."""
    journal = Journal(path)
    journal.settle()
    journal.setCurrentTerm(term, "node1")
    fill(journal, 1, last)
    return journal


def records(path: Path) -> list[tuple[int, int]]:
    """Where each record begins and ends."""
    data = path.read_bytes()
    found, at = [], 0
    while size := struct.unpack_from("<I", data, at)[0]:
        found.append((at, at + HEAD_BYTES + size))
        at += HEAD_BYTES + size
    return found


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def assert_not_trusted(journal: Journal, old_term: int) -> None:
    assert journal.untrusted
    assert journal.pending
    assert journal.term > old_term
    assert journal.voted_for is None
    assert len(journal) == 0
    assert journal.snapshot is None


# --- opening again ---


def test_a_journal_that_was_not_there_is_pending_and_empty(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "raft")
    assert (journal.pending, journal.untrusted, journal.term, journal.voted_for, len(journal)) == (True, "", 0, None, 0)


def test_a_journal_opened_again_gives_the_same_entries_term_and_vote(tmp_path: Path) -> None:
    journal = trusted(tmp_path / "raft", 40)
    held = journal[:]
    journal.close()
    again = Journal(tmp_path / "raft")
    assert again[:] == held == [(command(n), n, 1) for n in range(1, 41)]
    assert (again.getCurrentTerm(), again.getVotedForNodeId()) == (5, "node1")
    assert (again.pending, again.untrusted) == (False, "")


def test_a_pending_journal_is_still_pending_when_opened_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "raft")
    journal.setCurrentTerm(3, None)
    fill(journal, 1, 3)
    journal.close()
    again = Journal(tmp_path / "raft")
    assert (again.pending, again.term, len(again)) == (True, 3, 3)


def test_a_journal_of_an_older_version_that_had_learnt_is_settled(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "raft")
    journal._append("L", 6, 5, 90)
    journal.sync()
    journal.close()
    assert not Journal(tmp_path / "raft").pending


def test_a_journal_that_is_doubted_is_pending_until_its_node_leads_again_also_after_a_restart(tmp_path: Path) -> None:
    journal = trusted(tmp_path / "raft", 3)
    journal.doubt()
    journal.close()
    again = Journal(tmp_path / "raft")
    assert (again.pending, len(again), again.term) == (True, 3, 5)
    again.settle()
    again.close()
    assert not Journal(tmp_path / "raft").pending


def test_what_was_not_synced_is_not_there_after_a_restart(tmp_path: Path) -> None:
    journal = trusted(tmp_path / "raft", 3)
    journal.add(command(4), 4, 1)
    journal.setCurrentTerm(77, "node2")
    journal.close()
    again = Journal(tmp_path / "raft")
    assert (len(again), again.term, again.untrusted) == (3, 5, "")


def test_a_tail_that_was_cut_and_replaced_comes_back_as_it_was_replaced(tmp_path: Path) -> None:
    journal = trusted(tmp_path / "raft", 10)
    journal.deleteEntriesFrom(6)
    journal.add(b"other", 7, 2)
    journal.sync()
    held = journal[:]
    journal.close()
    assert Journal(tmp_path / "raft")[:] == held
    assert held[-2:] == [(command(6), 6, 1), (b"other", 7, 2)]


def test_the_commit_index_after_a_restart_is_only_what_the_snapshot_covers(tmp_path: Path) -> None:
    journal = trusted(tmp_path / "raft", 10)
    journal.setRaftCommitIndex(9)
    journal.sync()
    journal.close()
    again = Journal(tmp_path / "raft")
    assert again.getRaftCommitIndex() == 1
    again.compact(again[3], again[4], STATE, again[5:])
    again.setRaftCommitIndex(9)
    again.close()
    assert Journal(tmp_path / "raft").getRaftCommitIndex() == 5


def test_term_at_answers_only_for_entries_that_are_there(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "raft")
    assert journal.term_at(1) is None
    journal.compact((b"\x01", 5, 2), (b"\x01", 6, 3), STATE, [(b"\x01", 7, 4)])
    assert [journal.term_at(index) for index in range(4, 9)] == [None, 2, 3, 4, None]


def test_a_discarded_journal_is_kept_aside_and_the_next_one_is_new(tmp_path: Path) -> None:
    trusted(tmp_path / "raft", 3).close()
    before = (tmp_path / "raft").read_bytes()
    discard_journal(tmp_path / "raft")
    discard_journal(tmp_path / "raft")  # nothing is there: nothing happens
    assert (tmp_path / "raft.broken").read_bytes() == before
    assert Journal(tmp_path / "raft").pending


# --- torn, decayed ---


def test_a_last_record_torn_at_any_byte_is_not_trusted(tmp_path: Path) -> None:
    path = tmp_path / "raft"
    trusted(path, 3).close()
    whole = path.read_bytes()
    begin, end = records(path)[-1]
    assert whole[end - 1] != 0
    for cut in range(begin + 1, end):
        path.write_bytes(whole[:cut] + bytes(len(whole) - cut))
        journal = Journal(path)
        assert_not_trusted(journal, old_term=5)
        journal.close()


def test_a_file_that_ends_inside_the_last_record_is_not_trusted(tmp_path: Path) -> None:
    path = tmp_path / "raft"
    trusted(path, 3).close()
    whole = path.read_bytes()
    begin, end = records(path)[-1]
    for cut in range(begin + 1, end):
        path.write_bytes(whole[:cut])
        journal = Journal(path)
        assert_not_trusted(journal, old_term=5)
        journal.close()


def test_a_last_record_that_was_never_written_leaves_the_ones_before(tmp_path: Path) -> None:
    path = tmp_path / "raft"
    trusted(path, 3).close()
    begin, end = records(path)[-1]
    overwrite(path, begin, bytes(end - begin))
    journal = Journal(path)
    assert (journal.untrusted, journal.pending, len(journal), journal.term) == ("", False, 2, 5)


def test_a_flipped_bit_in_any_record_is_not_trusted(tmp_path: Path) -> None:
    path = tmp_path / "raft"
    trusted(path, 6).close()
    whole = path.read_bytes()
    for begin, end in records(path):
        for at in (begin, begin + 4, begin + HEAD_BYTES, end - 1):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
            journal = Journal(path)
            assert journal.untrusted, f"at {at}"
            assert journal.pending
            assert len(journal) == 0
            journal.close()


def test_a_record_zeroed_in_the_middle_is_not_the_end(tmp_path: Path) -> None:
    path = tmp_path / "raft"
    trusted(path, 6).close()
    begin, end = records(path)[-3]
    overwrite(path, begin, bytes(end - begin))
    assert_not_trusted(Journal(path), old_term=5)


def test_a_record_missing_from_the_middle_is_not_trusted(tmp_path: Path) -> None:
    path = tmp_path / "raft"
    trusted(path, 6).close()
    whole = path.read_bytes()
    begin, end = records(path)[-3]
    path.write_bytes(whole[:begin] + whole[end:])
    assert_not_trusted(Journal(path), old_term=5)


def test_zeros_behind_the_last_record_are_its_end(tmp_path: Path) -> None:
    path = tmp_path / "raft"
    trusted(path, 6).close()
    path.write_bytes(path.read_bytes() + bytes(100_001))
    journal = Journal(path)
    assert (journal.untrusted, len(journal)) == ("", 6)
    fill(journal, 7, 9)
    journal.close()
    assert len(Journal(path)) == 9


@pytest.mark.parametrize("distance", [0, 1, 11, 12, 4096])
def test_a_byte_behind_the_zeros_is_not_trusted(tmp_path: Path, distance: int) -> None:
    path = tmp_path / "raft"
    trusted(path, 6).close()
    overwrite(path, records(path)[-1][1] + distance, b"\x01")
    assert_not_trusted(Journal(path), old_term=5)


def test_a_last_byte_of_the_file_that_is_no_zero_is_not_trusted(tmp_path: Path) -> None:
    path = tmp_path / "raft"
    trusted(path, 6).close()
    overwrite(path, path.stat().st_size - 1, b"\x01")
    assert_not_trusted(Journal(path), old_term=5)


def test_a_journal_that_is_not_trusted_is_kept_aside(tmp_path: Path) -> None:
    path = tmp_path / "raft"
    trusted(path, 6).close()
    overwrite(path, records(path)[-1][1], b"\x01")
    before = path.read_bytes()
    journal = Journal(path)
    assert (tmp_path / "raft.broken").read_bytes() == before
    journal.close()
    again = Journal(path)
    assert (again.untrusted, again.pending, again.term) == ("", True, 6)


@pytest.mark.parametrize("size", [0, 1, 4096, 1 << 20])
def test_a_file_without_any_record_is_not_trusted(tmp_path: Path, size: int) -> None:
    (tmp_path / "raft").write_bytes(bytes(size))
    assert_not_trusted(Journal(tmp_path / "raft"), old_term=0)


def a_socket(path: Path) -> None:
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as one:
        one.bind(path.name)


def without_end(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(RAFT_JOURNAL_MAX_BYTES + 1)


NO_JOURNALS = pytest.mark.parametrize(
    "put", [os.mkfifo, Path.mkdir, a_socket, without_end, lambda path: path.symlink_to("nowhere")],
    ids=["a FIFO", "a directory", "a socket", "a file without end", "a link"],
)  # fmt: skip


@NO_JOURNALS
@pytest.mark.parametrize("before", [None, Path.mkdir, Path.touch], ids=["", "a directory aside", "a file aside"])
def test_what_is_no_journal_is_put_aside_like_a_broken_one(
    tmp_path: Path, put: Callable[[Path], None], before: Callable[[Path], None] | None
) -> None:
    """It ended the node at each start, or was read for minutes; a broken journal never did."""
    path = tmp_path / "raft"
    if before is not None:
        before(tmp_path / "raft.broken")
    put(path)
    journal = Journal(path)
    assert journal.untrusted
    assert (journal.pending, journal.term) == (True, 1)
    assert stat.S_ISREG(path.lstat().st_mode)
    assert not Journal(path).untrusted
    assert not (tmp_path / "nowhere").exists()


@NO_JOURNALS
def test_it_is_put_aside_by_a_process_that_is_shut_off_too(tmp_path: Path, put: Callable[[Path], None]) -> None:
    """Which may not make a FIFO or a link, and so gives none another name."""
    put(tmp_path / "raft")

    def life() -> str:
        make_undumpable()
        landlock.restrict(Ruleset((Beneath(tmp_path, WORK),)), landlock.abi())
        return Journal(tmp_path / "raft").untrusted

    assert in_child(life)
    assert not Journal(tmp_path / "raft").untrusted


@pytest.mark.parametrize("stop", ["pwrite", "fdatasync"])
@pytest.mark.parametrize("survives", [0, 1])
def test_a_new_journal_that_loses_power_while_it_is_made_is_still_pending(
    tmp_path: Path, stop: str, survives: int
) -> None:
    disk = FailingDisk()
    called = getattr(disk, stop)
    calls = []

    def stops(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) > survives:
            raise LosesPower
        return called(*arguments)

    setattr(disk, stop, stops)
    with contextlib.suppress(LosesPower):
        Journal(tmp_path / "raft", disk)
    assert Journal(tmp_path / "raft").pending
    assert calls


# --- compaction ---


def compacted(path: Path) -> Journal:
    journal = trusted(path, 20)
    journal.staged = dict(STATE)
    journal.deleteEntriesTo(14)
    return journal


def test_a_compacted_journal_opened_again_gives_the_same(tmp_path: Path) -> None:
    journal = compacted(tmp_path / "raft")
    fill(journal, 21, 25)
    held = journal[:]
    journal.close()
    again = Journal(tmp_path / "raft")
    assert again[:] == held
    assert (again[0][1], again[-1][1], again.snapshot, again.staged) == (15, 25, STATE, None)
    assert (again.term, again.voted_for, again.pending) == (5, "node1", False)


def test_a_pending_journal_that_is_compacted_stays_pending(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "raft")
    fill(journal, 1, 5)
    journal.staged = {}
    journal.deleteEntriesTo(2)
    journal.close()
    assert Journal(tmp_path / "raft").pending


@pytest.mark.parametrize("left_over", [b"", b"\xff" * 5000, bytes(2 << 20)])
def test_a_file_left_over_by_a_crash_while_compacting_is_ignored(tmp_path: Path, left_over: bytes) -> None:
    journal = trusted(tmp_path / "raft", 20)
    journal.close()
    (tmp_path / "raft.new").write_bytes(left_over)
    again = Journal(tmp_path / "raft")
    assert (again.untrusted, len(again), again.term) == ("", 20, 5)
    again.staged = dict(STATE)
    again.deleteEntriesTo(14)
    again.close()
    after = Journal(tmp_path / "raft")
    assert (after.untrusted, after[0][1], after[-1][1], after.snapshot) == ("", 15, 20, STATE)
    assert not (tmp_path / "raft.new").exists()


@pytest.mark.parametrize("stop", ["write", "sync", "rename", "renamed"])
def test_a_crash_anywhere_in_a_compaction_leaves_the_old_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: str
) -> None:
    disk = FailingDisk()
    trusted(tmp_path / "raft", 20).close()
    journal = Journal(tmp_path / "raft", disk)
    journal.staged = dict(STATE)

    def stops(*_: object) -> None:
        raise LosesPower

    with monkeypatch.context() as patch, pytest.raises(LosesPower):
        match stop:
            case "write":
                patch.setattr(disk, "pwrite", stops)
            case "sync":
                patch.setattr(disk, "fdatasync", stops)
            case "rename":
                patch.setattr(Path, "rename", stops)
            case _:
                patch.setattr("cometkms.state.raft.journal.sync_directory", stops)
        journal.deleteEntriesTo(14)
    again = Journal(tmp_path / "raft")
    assert again.untrusted == ""
    assert again[0][1] == (15 if stop == "renamed" else 1)
    assert (again[-1][1], again.term, again.voted_for, again.pending) == (20, 5, "node1", False)


def test_a_compaction_without_its_snapshot_is_refused(tmp_path: Path) -> None:
    journal = trusted(tmp_path / "raft", 20)
    with pytest.raises(ValueError, match="without its snapshot"):
        journal.deleteEntriesTo(3)
    assert len(journal) == 20


def test_a_compaction_that_would_leave_less_than_two_entries_is_refused(tmp_path: Path) -> None:
    journal = trusted(tmp_path / "raft", 20)
    journal.staged = dict(STATE)
    with pytest.raises(ValueError, match="without its snapshot"):
        journal.deleteEntriesTo(19)
    assert len(journal) == 20


def test_bytes_stay_bounded_over_entries_that_are_compacted(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "raft")
    body = b"c" * (SIGN_BYTES_MAX_BYTES + 150)
    highest = 0
    for index in range(1, 6001):
        journal.add(body, index, 1)
        if index % 100 == 0:
            journal.sync()
        if len(journal) > 1000:
            journal.staged = dict(STATE)
            journal.deleteEntriesTo(len(journal) - 2)
        highest = max(highest, journal.bytes_used)
    journal.sync()
    assert highest < 1002 * (len(body) + 40)
    assert (tmp_path / "raft").stat().st_size <= 2 << 20
    used = journal.bytes_used
    journal.close()
    again = Journal(tmp_path / "raft")
    assert (again[-1][1], again.bytes_used, again.untrusted) == (6000, used, "")


def test_a_journal_grows_past_its_preallocation_and_comes_back_whole(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "raft")
    for index in range(1, 41):
        journal.add(b"%02d" % index * 50_000, index, 1)
        journal.sync()
    held = journal[:]
    journal.close()
    again = Journal(tmp_path / "raft")
    assert again.untrusted == ""
    assert again[:] == held


def test_a_batch_larger_than_the_growth_of_the_file_comes_back_whole(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "raft")
    for index in range(1, 41):
        journal.add(b"%02d" % index * 50_000, index, 1)
    journal.sync()
    fill(journal, 41, 42)
    held = journal[:]
    journal.close()
    again = Journal(tmp_path / "raft")
    assert again.untrusted == ""
    assert again[:] == held


# --- a leader's snapshot ---


def install(journal: Journal, first: tuple[bytes, int, int], second: tuple[bytes, int, int]) -> None:
    journal.staged = dict(STATE)
    journal.clear()
    journal.add(*first)
    journal.add(*second)


def test_an_installed_snapshot_keeps_the_tail_that_matches_it(tmp_path: Path) -> None:
    journal = trusted(tmp_path / "raft", 20)
    install(journal, journal[10], journal[11])
    journal.close()
    again = Journal(tmp_path / "raft")
    assert again[:] == [(command(n), n, 1) for n in range(11, 21)]
    assert again.snapshot == STATE


def test_an_installed_snapshot_of_another_term_drops_the_whole_log(tmp_path: Path) -> None:
    journal = trusted(tmp_path / "raft", 20)
    install(journal, (b"\x01", 11, 2), (b"\x01", 12, 2))
    journal.close()
    again = Journal(tmp_path / "raft")
    assert again[:] == [(b"\x01", 11, 2), (b"\x01", 12, 2)]
    assert (again.term, again.voted_for, again.pending) == (5, "node1", False)


def test_an_installed_snapshot_beyond_the_log_replaces_it(tmp_path: Path) -> None:
    journal = trusted(tmp_path / "raft", 20)
    install(journal, (b"\x01", 99, 4), (b"\x01", 100, 5))
    fill(journal, 101, 102, term=5)
    journal.close()
    again = Journal(tmp_path / "raft")
    assert [entry[1] for entry in again[:]] == [99, 100, 101, 102]


@pytest.mark.parametrize("added", [0, 1])
def test_a_crash_in_the_middle_of_installing_leaves_the_old_log(tmp_path: Path, added: int) -> None:
    journal = trusted(tmp_path / "raft", 20)
    journal.staged = dict(STATE)
    journal.clear()
    for index in range(added):
        journal.add(b"\x01", 99 + index, 4)
    journal.sync()
    journal.close()
    again = Journal(tmp_path / "raft")
    assert (len(again), again.snapshot, again.untrusted) == (20, None, "")


# --- a disk that fails ---


@pytest.mark.parametrize("fail", ["write", "short", "sync"])
def test_a_journal_that_failed_once_is_dead_for_ever(tmp_path: Path, fail: str) -> None:
    disk = FailingDisk()
    journal = Journal(tmp_path / "raft", disk)
    journal.settle()
    fill(journal, 1, 3)
    disk.fail = fail
    journal.add(command(4), 4, 1)
    with pytest.raises(StoreFailure):
        journal.sync()
    disk.fail = ""
    before = (tmp_path / "raft").read_bytes()
    for attempt in (
        journal.sync,
        journal.settle,
        lambda: journal.compact(journal[0], journal[1], STATE, []),
        journal.sync,
    ):
        with pytest.raises(StoreFailure, match="not trusted any more"):
            attempt()
    assert (tmp_path / "raft").read_bytes() == before


@pytest.mark.parametrize("fail", ["write", "short", "sync"])
def test_a_compaction_that_fails_is_the_end_and_leaves_the_old_file(tmp_path: Path, fail: str) -> None:
    trusted(tmp_path / "raft", 20).close()
    disk = FailingDisk()
    journal = Journal(tmp_path / "raft", disk)
    journal.staged = dict(STATE)
    disk.fail = fail
    with pytest.raises(StoreFailure):
        journal.deleteEntriesTo(14)
    disk.fail = ""
    with pytest.raises(StoreFailure, match="not trusted any more"):
        journal.sync()
    again = Journal(tmp_path / "raft")
    assert (again.untrusted, len(again)) == ("", 20)


@pytest.mark.parametrize("fail", ["write", "short", "sync"])
def test_a_journal_that_cannot_be_made_is_a_store_failure(tmp_path: Path, fail: str) -> None:
    disk = FailingDisk()
    disk.fail = fail
    with pytest.raises(StoreFailure):
        Journal(tmp_path / "raft", disk)


@pytest.mark.parametrize("fail", ["write", "short", "sync"])
@pytest.mark.parametrize("compacts", [False, True])
def test_a_failing_disk_is_told_with_the_whole_path_and_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail: str, compacts: bool
) -> None:
    """Its process stands in its directory, and names the journal without one."""
    monkeypatch.chdir(tmp_path)
    disk = FailingDisk()
    journal = Journal(Path("raft"), disk)
    fill(journal, 1, 20)
    journal.add(command(21), 21, 1)
    disk.fail = fail
    with pytest.raises(StoreFailure) as failed:
        if compacts:
            journal.compact(journal[0], journal[1], STATE, [])
        else:
            journal.sync()
    disk.fail = ""
    told = str(disk_failure(failed.value))
    words = "input/output error; cure: the disk" if fail == "sync" else "no space left on device; cure: make room"
    assert told.startswith(f"{tmp_path / 'raft'}: {words}"), told


def test_a_disk_that_takes_a_write_in_parts_is_given_the_rest(tmp_path: Path) -> None:
    class InParts(FailingDisk):
        def pwrite(self, fd: int, data: bytes, offset: int, /) -> int:
            return os.pwrite(fd, data[: 1 + len(data) // 2], offset)

    journal = Journal(tmp_path / "raft", InParts())
    fill(journal, 1, 20)
    journal.sync()
    again = Journal(tmp_path / "raft")
    assert (again.untrusted, len(again)) == ("", 20)


def test_a_journal_in_a_directory_that_is_not_there_is_a_store_failure(tmp_path: Path) -> None:
    with pytest.raises(StoreFailure):
        Journal(tmp_path / "nowhere" / "raft")


# --- the state machine's form ---


def test_a_packed_state_comes_back_and_does_not_depend_on_the_order() -> None:
    turned = dict(reversed(STATE.items()))
    assert pack_state(turned) == pack_state(STATE)
    assert unpack_state(pack_state(STATE)) == STATE
