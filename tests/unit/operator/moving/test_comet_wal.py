"""The height that a node's own log has finished.

The records are made here as consensus/wal.go describes them.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cometkms.limits import HEIGHT_MAX
from cometkms.operator.moving import comet_wal
from cometkms.operator.moving.comet_wal import Finished, finished_height


def crc32c(data: bytes) -> int:
    """Bit by bit, by the definition."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def record(message: bytes) -> bytes:
    timed = field(1, b"\x08" + varint(1_700_000_000) + b"\x10" + varint(5)) + field(2, message)
    return crc32c(timed).to_bytes(4) + len(timed).to_bytes(4) + timed


def ended(height: int) -> bytes:
    return record(field(4, b"\x08" + varint(height)))


def other(size: int = 300) -> bytes:
    return record(field(2, bytes(size)))


def timeout(height: int) -> bytes:
    return record(field(3, b"\x10" + varint(height)))


def test_the_checksum_is_castagnolis() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert comet_wal._crc32c(b"123456789") == 0xE3069283


def test_the_last_finished_height_is_found_among_other_records(tmp_path: Path) -> None:
    wal = tmp_path / "wal"
    wal.write_bytes(ended(0) + other() + timeout(12) + ended(11) + other(70_000) + ended(12) + timeout(13) + other())
    assert finished_height(wal) == Finished(12)


def test_a_turned_log_is_looked_for_in_the_newest_file_that_names_one(tmp_path: Path) -> None:
    wal = tmp_path / "wal"
    wal.write_bytes(other())
    (tmp_path / "wal.009").write_bytes(ended(7))
    (tmp_path / "wal.010").write_bytes(ended(8) + other())
    (tmp_path / "wal.bak").write_bytes(ended(99))
    assert finished_height(wal) == Finished(8)


@pytest.mark.parametrize("cut", [1, 9, 25])
def test_a_record_that_is_cut_off_ends_the_file(tmp_path: Path, cut: int) -> None:
    wal = tmp_path / "wal"
    wal.write_bytes(ended(5) + ended(6)[:-cut])
    assert finished_height(wal) == Finished(5)


def test_a_record_that_is_bent_ends_the_file_and_what_is_behind_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    wal = tmp_path / "wal"
    bent = bytearray(ended(6))
    bent[-1] ^= 1
    wal.write_bytes(ended(5) + bent + ended(9))
    at = len(ended(5))
    assert finished_height(wal) == Finished(
        5, (f"{wal} holds no record at byte {at}, and what is behind was not read",)
    )


def test_what_is_no_log_says_nothing_and_is_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "wal")
    no_file = Finished(0, (f"{tmp_path / 'wal'} cannot be read: it is no regular file",))
    assert finished_height(tmp_path / "wal") == no_file
    assert finished_height(tmp_path / "none" / "wal") == Finished(0)
    (tmp_path / "wal.000").write_bytes(ended(4))
    assert finished_height(tmp_path / "wal") == Finished(4, no_file.unread)


LARGE = bytes(4) + (1 << 20).to_bytes(4) + bytes(1 << 20)  # a block's part, which is not looked into
#: What stands behind `first` in the newest file, what is said, and whether older ones are asked.
HUGE = {
    "zeros": (lambda: bytes(80 << 20), "holds no record at byte", True),
    "noise": (lambda: b"\x00\x00\x00\x00\x00\x00\x00\x05noise" * (5 << 20), "holds no record at byte", True),
    "large records": (lambda: LARGE * 70, "bytes, and only the first 67108864 were read", True),
    "tiny records": (lambda: timeout(1) * (1 << 19), "holds more than 262144 records", False),
}


@pytest.mark.parametrize(("made", "words", "goes_on"), HUGE.values(), ids=HUGE)
@pytest.mark.parametrize("height", [0, 7], ids=["no height", "a height first"])
def test_a_log_without_end_is_read_up_to_a_bound_and_that_is_said(
    tmp_path: Path, made: Callable[[], bytes], words: str, goes_on: bool, height: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And neither its own first height nor an older file's is taken for the last one in silence."""
    looked: list[int] = []
    real = comet_wal._crc32c

    def counted(record: bytes) -> int:
        looked.append(len(record))
        return real(record)

    monkeypatch.setattr(comet_wal, "_crc32c", counted)
    wal = tmp_path / "wal"
    wal.write_bytes((ended(height) if height else b"") + made())
    (tmp_path / "wal.000").write_bytes(ended(3))
    found = finished_height(wal)
    assert found.height == (height or (3 if goes_on else 0))
    assert found.unread[0].startswith(f"{wal} ")
    assert words in found.unread[0]
    assert found.unread[1:] == (() if height or goes_on else (f"{tmp_path / 'wal.000'} was not read",))
    assert len(looked) <= comet_wal._RECORDS_MOST
    assert max(looked, default=0) < 64


def test_a_sparse_file_of_a_terabyte_is_not_read_to_its_end(tmp_path: Path) -> None:
    wal = tmp_path / "wal"
    wal.write_bytes(ended(7))
    os.truncate(wal, 1 << 40)
    (unread,) = finished_height(wal).unread
    assert finished_height(wal).height == 7
    assert f"holds no record at byte {len(ended(7))}" in unread


def test_a_log_whose_newest_files_name_no_height_says_that_older_ones_were_not_read(tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / f"wal.00{number}").write_bytes(ended(9) if number == 0 else other())
    wal = tmp_path / "wal"
    wal.write_bytes(other())
    found = finished_height(wal)
    assert found.height == 0
    assert "the newest 4 files of this log name no finished height" in found.unread[0]


@settings(deadline=None)
@given(st.binary(max_size=400) | st.lists(st.integers(0, HEIGHT_MAX).map(ended) | st.binary(max_size=60)).map(b"".join))
def test_whatever_stands_in_it_is_a_height(tmp_path_factory: pytest.TempPathFactory, untrusted: bytes) -> None:
    wal = tmp_path_factory.mktemp("wal") / "wal"
    wal.write_bytes(untrusted)
    assert 0 <= finished_height(wal).height <= HEIGHT_MAX


@given(st.binary(max_size=40))
def test_a_whole_record_of_anything_is_a_height_or_none(
    tmp_path_factory: pytest.TempPathFactory, untrusted: bytes
) -> None:
    wal = tmp_path_factory.mktemp("wal") / "wal"
    wal.write_bytes(crc32c(untrusted).to_bytes(4) + len(untrusted).to_bytes(4) + untrusted)
    assert 0 <= finished_height(wal).height <= HEIGHT_MAX
