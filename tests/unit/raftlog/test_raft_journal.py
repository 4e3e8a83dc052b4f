"""Raft's journal: nothing before sync() is promised, nothing after it is lost, and what does not check is not believed."""

from pathlib import Path

import pytest

from cometkms.errors import StoreFailure
from cometkms.model import HRS, Watermark
from cometkms.raftlog.journal import Journal, discard_journal
from tests.sim.disk import SimDisk

KEY = b"k" * 32
MARK = Watermark(HRS(5, 0, 2), b"bytes", b"s" * 64)


def entries(count: int, term: int = 1, first: int = 1) -> list[tuple[bytes, int, int]]:
    return [(bytes([1]), index, term) for index in range(first, first + count)]


def filled(path: Path, count: int = 5) -> Journal:
    journal = Journal(path)
    for entry in entries(count):
        journal.add(*entry)
    journal.setCurrentTerm(3, "node1")
    journal.learn(2, 1, 4)
    journal.sync()
    return journal


def test_term_vote_floor_and_entries_survive_a_restart(tmp_path: Path) -> None:
    filled(tmp_path / "raft").close()
    again = Journal(tmp_path / "raft")
    assert again[:] == entries(5)
    assert (again.term, again.voted_for, again.floor, again.pending) == (3, "node1", (2, 1, 4), False)


def test_a_new_journal_owes_the_read_of_all_others_and_a_restart_does_not_forget_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "raft")
    assert journal.pending
    journal.close()
    assert Journal(tmp_path / "raft").pending


def test_what_was_not_synced_is_not_there_after_a_crash(tmp_path: Path) -> None:
    journal = filled(tmp_path / "raft")
    journal.add(b"\x01", 6, 3)
    journal.setCurrentTerm(4, "node2")
    again = Journal(tmp_path / "raft")
    assert (len(again), again.term) == (5, 3)


def test_a_torn_or_changed_record_makes_it_a_lost_journal_above_every_term_it_still_shows(tmp_path: Path) -> None:
    filled(tmp_path / "raft").close()
    whole = (tmp_path / "raft").read_bytes()
    end = len(whole.rstrip(b"\0"))
    for at in range(0, end, 7):
        path = tmp_path / f"raft{at}"
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        journal = Journal(path)
        assert journal.untrusted, at
        assert journal.pending
        assert len(journal) == 0
        assert path.with_name(path.name + ".broken").exists()
        journal.close()
    journal = Journal(tmp_path / f"raft{7 * ((end - 1) // 7)}")
    assert journal.term >= 3


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_record_that_ends_early_is_not_believed(tmp_path: Path, cut: int) -> None:
    filled(tmp_path / "raft").close()
    whole = (tmp_path / "raft").read_bytes()
    end = len(whole.rstrip(b"\0"))
    (tmp_path / "raft").write_bytes(whole[: end - cut].ljust(len(whole), b"\0"))
    journal = Journal(tmp_path / "raft")
    assert journal.untrusted or len(journal) <= 5


def test_truncation_and_later_entries_replay_in_order(tmp_path: Path) -> None:
    journal = filled(tmp_path / "raft")
    journal.deleteEntriesFrom(3)
    journal.add(b"\x01", 4, 3)
    journal.sync()
    assert Journal(tmp_path / "raft")[:] == [*entries(3), (b"\x01", 4, 3)]


def test_a_compaction_keeps_the_tail_the_state_the_vote_and_the_floor(tmp_path: Path) -> None:
    journal = filled(tmp_path / "raft", 100)
    journal.staged = {KEY: MARK}
    journal.deleteEntriesTo(90)
    assert len(journal) == 10
    again = Journal(tmp_path / "raft")
    assert again[:] == entries(10, first=91)
    assert again.snapshot == {KEY: MARK}
    assert (again.term, again.voted_for, again.floor) == (3, "node1", (2, 1, 4))
    assert again.getRaftCommitIndex() == 92
    assert again.bytes_used < journal.bytes_used + 64


def test_a_crash_before_the_compaction_is_renamed_leaves_the_old_journal(tmp_path: Path) -> None:
    filled(tmp_path / "raft").close()
    (tmp_path / "raft.new").write_bytes(b"half a file")
    assert len(Journal(tmp_path / "raft")) == 5


def test_an_installed_snapshot_keeps_what_follows_its_last_entry(tmp_path: Path) -> None:
    journal = filled(tmp_path / "raft", 6)
    journal.staged = {KEY: MARK}
    journal.clear()
    journal.add(b"\x01", 3, 1)
    journal.add(b"\x01", 4, 1)
    assert [entry[1] for entry in journal] == [3, 4, 5, 6]
    journal.staged = {KEY: MARK}
    journal.clear()
    journal.add(b"\x01", 8, 2)
    journal.add(b"\x01", 9, 2)
    assert [entry[1] for entry in Journal(tmp_path / "raft")] == [8, 9]


@pytest.mark.parametrize("fault", ["write", "sync", "short"])
def test_a_failed_write_or_sync_is_final(tmp_path: Path, fault: str) -> None:
    import random

    disk = SimDisk(random.Random(1))
    journal = Journal(tmp_path / "raft", disk)
    journal.add(b"\x01", 1, 1)
    disk.fail_next = fault
    for _ in range(2):
        with pytest.raises(StoreFailure):
            journal.sync()


def test_discarding_is_harmless_twice(tmp_path: Path) -> None:
    filled(tmp_path / "raft").close()
    discard_journal(tmp_path / "raft")
    discard_journal(tmp_path / "raft")
    assert Journal(tmp_path / "raft").pending
