"""Protobuf fields as gogoproto's generated code reads and writes them. Pure: bytes in, values out.

gogoproto is looser than the specification in two places, which csrc/wire.c follows too: a tag's
number is cut to 32 bits, and an end of group closes whichever group is open.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cometkms.errors import ProtocolError
from cometkms.model import Timestamp

VARINT: Final = 0
FIXED64: Final = 1
DELIMITED: Final = 2
GROUP: Final = 3
END_GROUP: Final = 4
FIXED32: Final = 5

VARINT_MAX_BYTES: Final = 10
SECONDS_MIN: Final = -62135596800  # 0001-01-01
SECONDS_END: Final = 253402300800  # 10000-01-01, the first second that is too late
NANOS_MAX: Final = 999_999_999


class Reader:
    """A position in bytes that are known to hold a whole message, so that their end is
    the sender's fault.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, size: int) -> bytes:
        """The next `size` bytes. Raises: ProtocolError if there are fewer."""
        if size > self.left:
            raise ProtocolError(f"a field of {size} bytes where {self.left} are left")
        taken = self._data[self._at : self._at + size]
        self._at += size
        return taken

    def varint(self) -> int:
        """Read at most ten bytes as an unsigned 64-bit value; bits beyond are dropped,
        as gogoproto does.
        """
        return self._base128() & 0xFFFF_FFFF_FFFF_FFFF

    def uvarint(self) -> int:
        """Read a number as Go's encoding/binary does: at most ten bytes, and a value over 64 bits
        raises ProtocolError.
        """
        value = self._base128()
        if value >= 1 << 64:
            raise ProtocolError("a varint over 64 bits")
        return value

    def fixed64(self) -> int:
        """Eight bytes, little-endian, as a signed value."""
        return int.from_bytes(self.take(8), "little", signed=True)

    def _base128(self) -> int:
        value = 0
        for i in range(VARINT_MAX_BYTES):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << (7 * i)
            if byte < 0x80:
                return value
        raise ProtocolError(f"a varint longer than {VARINT_MAX_BYTES} bytes")


def int64(value: int) -> int:
    """The low 64 bits as a signed value."""
    return ((value & 0xFFFF_FFFF_FFFF_FFFF) ^ (1 << 63)) - (1 << 63)


def int32(value: int) -> int:
    """The low 32 bits as a signed value."""
    return ((value & 0xFFFF_FFFF) ^ (1 << 31)) - (1 << 31)


@dataclass(frozen=True, slots=True)
class Field:
    """One field, read whole.

    The accessors raise ProtocolError when its wire type is not the one they need.
    """

    number: int
    wire: int
    value: int = 0
    content: bytes = b""

    def as_int64(self) -> int:
        return int64(self._of(VARINT).value)

    def as_int32(self) -> int:
        """Truncated, as gogoproto does."""
        return int32(self._of(VARINT).value)

    def as_uint32(self) -> int:
        """Truncated, as gogoproto does."""
        return self._of(VARINT).value & 0xFFFF_FFFF

    def as_fixed64(self) -> int:
        return self._of(FIXED64).value

    def as_bytes(self) -> bytes:
        return self._of(DELIMITED).content

    def _of(self, wire: int) -> "Field":
        if self.wire != wire:
            raise ProtocolError(f"field {self.number} has wire type {self.wire}, not {wire}")
        return self


def fields(data: bytes) -> Iterator[Field]:
    """The fields of a message in the order they come; unknown groups are skipped whole
    and have no value.

    Raises: ProtocolError at the first byte that is no field.
    """
    reader = Reader(data)
    while reader.left:
        tag = reader.varint()
        number, wire = int32(tag >> 3), tag & 7
        if number <= 0:
            raise ProtocolError(f"field number {number}")
        if wire == GROUP:
            _skip_group(reader)
            yield Field(number, wire)
        else:
            yield _valued(reader, number, wire)


def _valued(reader: Reader, number: int, wire: int) -> Field:
    if wire == VARINT:
        return Field(number, wire, value=reader.varint())
    if wire == FIXED64:
        return Field(number, wire, value=reader.fixed64())
    if wire == DELIMITED:
        return Field(number, wire, content=reader.take(reader.varint()))
    if wire == FIXED32:
        return Field(number, wire, content=reader.take(4))
    raise ProtocolError(f"field {number} has wire type {wire}")


def _skip_group(reader: Reader) -> None:
    """Read to the end of a group whose start was read.

    It counts and does not recurse; each level costs the sender a byte.
    """
    depth = 1
    while depth:
        tag = reader.varint()
        wire = tag & 7
        if wire == GROUP:
            depth += 1
        elif wire == END_GROUP:
            depth -= 1
        else:
            _valued(reader, tag >> 3, wire)


def decode_timestamp(data: bytes) -> Timestamp:
    """google.protobuf.Timestamp; what is absent is zero (1970)."""
    seconds = nanos = 0
    for field in fields(data):
        if field.number == 1:
            seconds = field.as_int64()
        elif field.number == 2:
            nanos = field.as_int32()
    return Timestamp(seconds, nanos)


def varint(value: int) -> bytes:
    """Minimal varint of a signed or unsigned 64-bit value; a negative one takes ten bytes."""
    value &= 0xFFFF_FFFF_FFFF_FFFF
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def delimited(data: bytes) -> bytes:
    """`data` behind its length."""
    return varint(len(data)) + data


def tag(number: int, wire: int) -> bytes:
    return varint(number << 3 | wire)


def put_int(number: int, value: int) -> bytes:
    """A varint field; nothing if the value is zero."""
    return tag(number, VARINT) + varint(value) if value else b""


def put_fixed64(number: int, value: int) -> bytes:
    """An sfixed64 field; nothing if the value is zero."""
    return tag(number, FIXED64) + value.to_bytes(8, "little", signed=True) if value else b""


def put_bytes(number: int, data: bytes) -> bytes:
    """A bytes field; nothing if it is empty."""
    return put_part(number, data) if data else b""


def put_part(number: int, data: bytes) -> bytes:
    """An embedded message, written even when it is empty."""
    return tag(number, DELIMITED) + delimited(data)


def put_timestamp(number: int, timestamp: Timestamp) -> bytes:
    return put_part(number, put_int(1, timestamp.seconds) + put_int(2, timestamp.nanos))


def decode_text(data: bytes) -> str:
    """Text that may not be UTF-8: it never raises, and encode_text() gives the same bytes again."""
    return data.decode("utf-8", "surrogateescape")


def encode_text(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
