"""How far a CometBFT node itself has come: the last height that its consensus log says is finished
(consensus/wal.go).

    WAL, WAL.000, WAL.001 …    records: CRC-32C (4 bytes), length (4 bytes), both big-endian, then a
                               protobuf TimedWALMessage
    TimedWALMessage.msg = 2, WALMessage.end_height = 4, EndHeight.height = 1

Only as much is read as is needed: the newest file that names a finished height. A record that was
cut off, or whose checksum is wrong, ends a file, as it does for CometBFT. Tendermint before v0.34
wrote amino: nothing is found in it, and nothing is guessed.
"""

import re
from pathlib import Path
from typing import Final

from cometkms.durable import open_regular
from cometkms.limits import HEIGHT_MAX

_RECORD_MOST: Final = (1 << 20) + 1024  # CometBFT's maxMsgSizeBytes, and a little
_FILE_MOST: Final = 64 << 20  # a file is turned at 10 MiB
_FILES_MOST: Final = 4  # heights are finished every few seconds
_POLYNOMIAL: Final = 0x82F63B78


def finished_height(wal: Path) -> int:
    """0 where no file says one. Raises: nothing; what cannot be read says nothing."""
    numbered = [path for path in _beside(wal) if re.fullmatch(re.escape(wal.name) + r"\.\d+", path.name)]
    numbered.sort(key=lambda path: int(path.suffix[1:]), reverse=True)
    for path in (wal, *numbered)[:_FILES_MOST]:
        height = _highest_in(_read(path))
        if height:
            return height
    return 0


def _beside(wal: Path) -> list[Path]:
    try:
        return list(wal.parent.iterdir())
    except OSError:
        return []


def _read(path: Path) -> bytes:
    try:
        with open(open_regular(path), "rb") as file:
            return file.read(_FILE_MOST)
    except OSError:
        return b""


def _highest_in(data: bytes) -> int:
    highest, at = 0, 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8])
        record = data[at + 8 : at + 8 + size]
        if size > _RECORD_MOST or len(record) < size:
            break
        # An EndHeight is a few bytes; votes and block parts are passed over without a
        # look at what they hold.
        if size < 64:
            if _crc32c(record) != int.from_bytes(data[at : at + 4]):
                break
            highest = max(highest, _end_height(record))
        at += 8 + size
    return highest


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
