"""The status board: a reader gets a whole document or none, whatever the writer is
doing or died of.
"""

import os
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable

import pytest

from cometkms.board.status_board import Board, Section
from cometkms.errors import InvariantError
from cometkms.limits import BOARD_SECTION_BYTES

CONTENT_MAX = BOARD_SECTION_BYTES - 16
HEAD_AT, CONTENT_AT = 8, 16


@pytest.fixture
def board() -> Board:
    return Board(("supervisor", "state", "signer"), ("state", "signer"))


def in_another_process(work: Callable[[], object]) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0


def test_a_section_holds_nothing_until_its_writer_wrote(board: Board) -> None:
    assert board.sections() == {"supervisor": None, "state": None, "signer": None}


def test_a_document_is_read_as_it_was_written_and_replaced_whole(board: Board) -> None:
    section = board.section("state")
    for document in ({"a": 1, "b": [None, True, "ü"]}, {"longer": "x" * 5000}, {}, {"n": 2.5}):
        section.write(document)
        assert section.read() == document


def test_another_process_reads_what_was_written_and_writes_its_own(board: Board) -> None:
    board.section("state").write({"from": "parent"})

    def child() -> None:
        if board.section("state").read() != {"from": "parent"}:
            os._exit(2)
        board.section("signer").write({"from": "child"})

    in_another_process(child)
    assert board.sections() == {"supervisor": None, "state": {"from": "parent"}, "signer": {"from": "child"}}


def test_the_largest_document_fits_and_touches_no_neighbour(board: Board) -> None:
    for name in ("supervisor", "signer"):
        board.section(name).write({"is": name})
    board.beat("state")
    largest = {"x": "y" * (CONTENT_MAX - len('{"x":""}'))}
    board.section("state").write(largest)
    assert board.sections() == {"supervisor": {"is": "supervisor"}, "state": largest, "signer": {"is": "signer"}}


def test_a_document_that_does_not_fit_is_refused_and_the_old_one_stays(board: Board) -> None:
    section = board.section("state")
    section.write({"old": 1})
    with pytest.raises(InvariantError, match=str(CONTENT_MAX)):
        section.write({"x": "y" * (CONTENT_MAX - len('{"x":""}') + 1)})
    assert section.read() == {"old": 1}


def test_what_was_not_written_again_is_not_read_again(board: Board) -> None:
    section = board.section("state")
    section.write({"n": [1]})
    first = section.read()
    assert section.read() is first
    section.write({"n": [1]})
    assert section.read() == first
    section.write({"n": [2]})
    assert section.read() == {"n": [2]}
    assert first == {"n": [1]}


def test_a_new_document_beneath_a_sequence_that_was_seen_is_read(board: Board) -> None:
    """A CPU may show the new sequence before the new content: the old content is not kept for it."""
    section = board.section("state")
    put(section, b'{"is": "old"}')
    assert section.read() == {"is": "old"}
    put(section, b'{"is": "new"}')
    assert section.read() == {"is": "new"}


# --- what a reader may meet in the memory: a writer's half-done work, seen in any order ---


def memory_of(section: Section) -> tuple[memoryview, int]:
    return section._memory.writable, section._offset


def make_odd(section: Section) -> None:
    section._memory.writable.cast("Q")[section._offset // 8] += 1


def test_while_the_sequence_is_odd_nothing_is_read(board: Board) -> None:
    section = board.section("state")
    section.write({"n": 1})
    make_odd(section)
    assert section.read() is None


def test_a_successor_of_a_writer_that_died_while_writing_is_read(board: Board) -> None:
    section = board.section("state")
    section.write({"n": 1})
    make_odd(section)
    section.write({"n": 2})
    assert section.read() == {"n": 2}
    assert section._words[section._offset // 8] % 2 == 0


@pytest.mark.parametrize("size", [0, CONTENT_MAX + 1, 2**32 - 1])
def test_an_impossible_length_is_not_read(board: Board, size: int) -> None:
    """0 with checksum 0 is what a reader sees whose CPU shows it the new sequence before the head."""
    section = board.section("state")
    section.write({"n": 1})
    memory, at = memory_of(section)
    struct.pack_into("=II", memory, at + HEAD_AT, size, 0)
    assert section.read() is None


@pytest.mark.parametrize("position", [HEAD_AT, HEAD_AT + 4, CONTENT_AT, CONTENT_AT + 4])
def test_what_does_not_match_its_checksum_is_not_read(board: Board, position: int) -> None:
    section = board.section("state")
    section.write({"n": 1})
    memory, at = memory_of(section)
    memory[at + position] ^= 1
    assert section.read() is None


def test_a_writer_that_finished_meanwhile_is_read_at_the_next_try(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = board.section("state")
    section.write({"n": 1})
    make_odd(section)

    def finish(_seconds: float) -> None:
        section.write({"n": 2})

    monkeypatch.setattr("cometkms.board.status_board.time.sleep", finish)
    assert section.read() == {"n": 2}


def traffic(what: str, amount: int) -> int:
    command = [sys.executable, "-m", "tests.unit.board.board_traffic", what, str(amount)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_no_torn_document_is_read_beside_a_writer_at_full_speed() -> None:
    assert traffic("section", 500) >= 10


def test_a_heartbeat_is_never_absent_while_it_is_renewed() -> None:
    """Were it, the supervisor would take a living loop for a hung one and kill it."""
    assert traffic("beat", 300_000) == 300_000


# --- whatever a writer in foreign hands leaves there, a reader gets a document of bounded depth, size and numbers, or none ---


def put(section: Section, data: bytes) -> None:
    memory, at = memory_of(section)
    struct.pack_into("=II", memory, at + HEAD_AT, len(data), zlib.crc32(data))
    memory[at + CONTENT_AT : at + CONTENT_AT + len(data)] = data
    memory.cast("Q")[at // 8] = 2


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe{}",
        b'{"a": NaN}',
        b'{"a": [Infinity]}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": %d}' % 2**64,
        b'{"a": [{"b": -%d}]}' % 10**4000,
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": "\\ud800"}',
        b'{"\\uDC80": 1}',
        b'{"a": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        b'{"a": ' + b"[" * 25 + b"]" * 25 + b"}",
        b'{"a":' * 25 + b"1" + b"}" * 25,
        b'{"a": [' + b"0," * 100_000 + b"0]}",
    ],
    ids=lambda data: data[:12].decode("ascii", "replace"),
)
def test_what_is_no_bounded_document_is_not_read(board: Board, data: bytes) -> None:
    section = board.section("state")
    put(section, b'{"a": "\\ud83d\\ude00", "n": [18446744073709551615, -1.5e300, true]}')
    assert section.read() == {"a": "\U0001f600", "n": [2**64 - 1, -1.5e300, True]}
    put(section, data)
    assert section.read() is None


def test_a_sequence_at_its_end_goes_on(board: Board) -> None:
    section = board.section("state")
    memory, at = memory_of(section)
    memory.cast("Q")[at // 8] = 2**64 - 1
    section.write({"n": 1})
    section.write({"n": 2})
    assert section.read() == {"n": 2}


def test_half_a_character_of_a_files_name_is_replaced_by_the_writer(board: Board) -> None:
    board.section("state").write({"home": "/srv/\udcff", "face": "\U0001f600"})
    assert board.section("state").read() == {"home": "/srv/?", "face": "\U0001f600"}


# --- walls ---


def test_a_child_writes_its_own_part_only(board: Board) -> None:
    board.section("signer").write({"from": "parent"})

    def child() -> None:
        board.become("state")
        board.section("state").write({"from": "child"})
        board.beat("state")
        for attempt in (
            lambda: board.section("signer").write({"from": "child"}),
            lambda: board.section("supervisor").write({}),
            lambda: board.beat("signer"),
            lambda: board.forget_beat("signer"),
        ):
            with pytest.raises(InvariantError, match="not the writer"):
                attempt()

    in_another_process(child)
    assert board.sections() == {"supervisor": None, "state": {"from": "child"}, "signer": {"from": "parent"}}
    assert board.beat_ages_s()["signer"] is None
    board.section("signer").write({"from": "parent again"})
    assert board.section("signer").read() == {"from": "parent again"}


# --- heartbeats ---


def test_a_loop_that_never_beat_has_no_age(board: Board) -> None:
    assert board.beat_ages_s() == {"state": None, "signer": None}


def test_the_age_is_the_time_since_the_last_beat_of_any_process(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    before = time.monotonic_ns()
    in_another_process(lambda: board.beat("signer"))
    after = time.monotonic_ns()
    monkeypatch.setattr("cometkms.board.status_board.time.monotonic_ns", lambda: after + 3_000_000_000)
    ages = board.beat_ages_s()
    assert ages["state"] is None
    assert ages["signer"] is not None
    assert 3.0 <= ages["signer"] <= 3.0 + (after - before) / 1e9


def test_a_beat_after_the_readers_clock_is_not_of_negative_age(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    board.beat("state")
    now = time.monotonic_ns()
    monkeypatch.setattr("cometkms.board.status_board.time.monotonic_ns", lambda: now - 500_000_000)
    assert board.beat_ages_s()["state"] == 0


def test_a_beat_from_far_ahead_was_made_up_and_counts_for_nothing(board: Board) -> None:
    """Every process reads one clock: whoever writes a beat of tomorrow wants never to be given up."""
    board._memories["state"].writable.cast("Q")[0] = time.monotonic_ns() + 60_000_000_000
    board._memories["signer"].writable.cast("Q")[0] = 2**64 - 1
    assert board.beat_ages_s() == {"state": None, "signer": None}


def test_a_forgotten_beat_is_gone(board: Board) -> None:
    board.beat("state")
    board.beat("signer")
    board.forget_beat("state")
    ages = board.beat_ages_s()
    assert ages["state"] is None
    assert ages["signer"] is not None


def test_every_write_of_anybody_is_noticed_without_reading_what_was_written(board: Board) -> None:
    seen = {board.written()}
    for name in ("state", "signer", "state"):
        board.section(name).write({"same": "words"})
        seen.add(board.written())
    assert len(seen) == 4
    assert board.written() == board.written()
    in_another_process(lambda: board.section("signer").write({}))
    assert board.written() not in seen


def test_what_was_published_last_is_not_written_again(board: Board) -> None:
    section, seen = board.section("state"), set()
    for words in ("one", "one", "two", "one"):
        section.publish({"words": words})
        assert section.read() == {"words": words}
        seen.add(section.sequence)
    assert len(seen) == 3
