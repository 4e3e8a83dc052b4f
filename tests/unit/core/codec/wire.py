"""Write wire bytes by hand, also those that no encoder would write.

Own code: nothing here comes from the cores.
"""

VARINT, FIXED64, DELIMITED, GROUP, END_GROUP, FIXED32 = range(6)


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def tag(number: int, wire: int) -> bytes:
    return varint(number << 3 | wire)


def number(field: int, value: int) -> bytes:
    """A varint field."""
    return tag(field, VARINT) + varint(value)


def part(field: int, *contents: bytes) -> bytes:
    """A length-delimited field around `contents`."""
    content = b"".join(contents)
    return tag(field, DELIMITED) + varint(len(content)) + content


def framed(*contents: bytes) -> bytes:
    """A message: `contents` behind their length."""
    content = b"".join(contents)
    return varint(len(content)) + content
