"""The height that a node's own log has finished.

The records are made here as consensus/wal.go describes them.
"""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cometkms.limits import HEIGHT_MAX
from cometkms.operator.moving import comet_wal
from cometkms.operator.moving.comet_wal import finished_height


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
    assert finished_height(wal) == 12


def test_a_turned_log_is_looked_for_in_the_newest_file_that_names_one(tmp_path: Path) -> None:
    wal = tmp_path / "wal"
    wal.write_bytes(other())
    (tmp_path / "wal.009").write_bytes(ended(7))
    (tmp_path / "wal.010").write_bytes(ended(8) + other())
    (tmp_path / "wal.bak").write_bytes(ended(99))
    assert finished_height(wal) == 8


@pytest.mark.parametrize("cut", [1, 9, 25])
def test_a_record_that_is_cut_off_or_bent_ends_the_file(tmp_path: Path, cut: int) -> None:
    wal = tmp_path / "wal"
    wal.write_bytes(ended(5) + ended(6)[:-cut])
    assert finished_height(wal) == 5
    bent = bytearray(ended(6))
    bent[-1] ^= 1
    wal.write_bytes(ended(5) + bent + ended(9))
    assert finished_height(wal) == 5


def test_what_is_no_log_says_nothing_and_is_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "wal")
    assert finished_height(tmp_path / "wal") == 0
    assert finished_height(tmp_path / "none" / "wal") == 0
    (tmp_path / "wal.000").mkdir()
    assert finished_height(tmp_path / "wal") == 0


@settings(deadline=None)
@given(st.binary(max_size=400) | st.lists(st.integers(0, HEIGHT_MAX).map(ended) | st.binary(max_size=60)).map(b"".join))
def test_whatever_stands_in_it_is_a_height(tmp_path_factory: pytest.TempPathFactory, untrusted: bytes) -> None:
    wal = tmp_path_factory.mktemp("wal") / "wal"
    wal.write_bytes(untrusted)
    assert 0 <= finished_height(wal) <= HEIGHT_MAX


@given(st.binary(max_size=40))
def test_a_whole_record_of_anything_is_a_height_or_none(
    tmp_path_factory: pytest.TempPathFactory, untrusted: bytes
) -> None:
    wal = tmp_path_factory.mktemp("wal") / "wal"
    wal.write_bytes(crc32c(untrusted).to_bytes(4) + len(untrusted).to_bytes(4) + untrusted)
    assert 0 <= finished_height(wal) <= HEIGHT_MAX
