"""How far a CometBFT node itself has come: the last height that its consensus log says is finished
(consensus/wal.go).

    WAL, WAL.000, WAL.001 …    records: CRC-32C (4 bytes), length (4 bytes), both big-endian, then a
                               protobuf TimedWALMessage
    TimedWALMessage.msg = 2, WALMessage.end_height = 4, EndHeight.height = 1

Only as much is read as is needed: the newest file that names a finished height. A record that was
cut off ends a file, as it does for CometBFT. Whatever else is not read to its end (a file or
records beyond the bounds here, bytes that are no record, a file that cannot be opened) is told: it
may name a height above the one that was found. Tendermint before v0.34 wrote amino: nothing is
found in it, and nothing is guessed.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cometkms.durable import open_regular
from cometkms.errors import os_words
from cometkms.limits import HEIGHT_MAX

_RECORD_MOST: Final = (1 << 20) + 1024  # CometBFT's maxMsgSizeBytes, and a little
_FILE_MOST: Final = 64 << 20  # a file is turned at 10 MiB
_FILES_MOST: Final = 4  # heights are finished every few seconds
_RECORDS_MOST: Final = 1 << 18  # in all files: 40 bytes each in a turned one of 10 MiB, and most are longer
_HEAD_BYTES: Final = 8  # of a record: checksum and length
_POLYNOMIAL: Final = 0x82F63B78


@dataclass(frozen=True, slots=True)
class Finished:
    """`height`: 0 where no file says one. `unread`: what was not read, in words; () where all was
    that is needed, and the node itself has finished no higher one.
    """

    height: int
    unread: tuple[str, ...] = ()


def finished_height(wal: Path) -> Finished:
    """Read the log. Raises: nothing; what cannot be read is told."""
    numbered = [path for path in _beside(wal) if re.fullmatch(re.escape(wal.name) + r"\.\d+", path.name)]
    numbered.sort(key=lambda path: int(path.suffix[1:]), reverse=True)
    unread: list[str] = []
    records = 0
    for path in (wal, *numbered)[:_FILES_MOST]:
        if records == _RECORDS_MOST:
            unread.append(f"{path} was not read")
            break
        found = _look(path, _RECORDS_MOST - records)
        records += found.records
        if found.unread:
            unread.append(f"{path} {found.unread}")
        if found.height:
            return Finished(found.height, tuple(unread))
    if len(numbered) >= _FILES_MOST:
        unread.append(
            f"{wal}: the newest {_FILES_MOST} files of this log name no finished height, and older ones were not read"
        )
    return Finished(0, tuple(unread))


def _beside(wal: Path) -> list[Path]:
    try:
        return list(wal.parent.iterdir())
    except OSError:
        return []


@dataclass(frozen=True, slots=True)
class _Found:
    """In one file. `unread`: why not all of it was read; "" where it was."""

    height: int
    records: int
    unread: str


def _look(path: Path, records_most: int) -> _Found:
    try:
        with open(open_regular(path), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read(_FILE_MOST)
    except FileNotFoundError:
        return _Found(0, 0, "")
    except OSError as error:
        return _Found(0, 0, f"cannot be read: {os_words(error)}")
    found = _scan(data, records_most)
    if size > _FILE_MOST and not found.unread:
        more = f"has {size} bytes, and only the first {_FILE_MOST} were read"
        return _Found(found.height, found.records, more)
    return found


def _scan(data: bytes, records_most: int) -> _Found:
    """The highest height up to the first thing that is no record."""
    highest, records, at = 0, 0, 0
    while at + _HEAD_BYTES <= len(data):
        if records == records_most:
            return _Found(
                highest, records, f"holds more than {records_most} records, and the rest of them was not read"
            )
        size = int.from_bytes(data[at + 4 : at + _HEAD_BYTES])
        record = data[at + _HEAD_BYTES : at + _HEAD_BYTES + size] if size <= _RECORD_MOST else b""
        # An EndHeight is a few bytes; votes and block parts are passed over without a
        # look at what they hold. No record is empty: zeros are none.
        is_bent = len(record) == size < 64 and _crc32c(record) != int.from_bytes(data[at : at + 4])
        if not 0 < size <= _RECORD_MOST or is_bent:
            return _Found(highest, records, f"holds no record at byte {at}, and what is behind was not read")
        if len(record) < size:
            break
        if size < 64:
            highest = max(highest, _end_height(record))
        records += 1
        at += _HEAD_BYTES + size
    return _Found(highest, records, "")


def _end_height(record: bytes) -> int:
    try:
        message = _field(record, 2)
        ended = _field(message, 4) if isinstance(message, bytes) else None
        height = _field(ended, 1) if isinstance(ended, bytes) else None
    except (IndexError, ValueError):
        return 0
    return height if isinstance(height, int) and height <= HEIGHT_MAX else 0


def _field(data: bytes, wanted: int) -> int | bytes | None:
    """The last value of a protobuf field. Raises: IndexError, ValueError for what is no protobuf."""
    at, found = 0, None
    while at < len(data):
        tag, at = _varint(data, at)
        value: int | bytes
        if tag & 7 == 0:
            value, at = _varint(data, at)
        elif tag & 7 == 2:
            size, at = _varint(data, at)
            if size > len(data) - at:
                raise ValueError("cut off")
            value, at = data[at : at + size], at + size
        else:
            raise ValueError("a field of another type")
        if tag >> 3 == wanted:
            found = value
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than ten bytes")


def _turned(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte


_TABLE: Final = tuple(map(_turned, range(256)))


def _crc32c(data: bytes) -> int:
    value = 0xFFFFFFFF
    for byte in data:
        value = _TABLE[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF
