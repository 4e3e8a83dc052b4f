"""Cutting length-prefixed messages off a stream."""

import pytest

from cometkms.errors import ProtocolError
from cometkms.limits import MESSAGE_MAX_BYTES
from cometkms.operator.standin.link import take_message


def uvarint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


@pytest.mark.parametrize("size", [0, 1, 127, 128, 300, 20000])
def test_a_message_is_taken_once_it_is_whole_and_not_before(size):
    message = uvarint(size) + b"x" * size
    buffer = bytearray()
    for byte in message[:-1]:
        buffer.append(byte)
        assert take_message(buffer) is None
    buffer += message[-1:] + b"\x01"
    assert take_message(buffer) == message
    assert buffer == b"\x01"


@pytest.mark.parametrize("prefix", [uvarint(MESSAGE_MAX_BYTES + 1), b"\xff" * 10, b"\x80" * 10])
def test_an_impossible_length_is_the_signers_fault(prefix):
    with pytest.raises(ProtocolError):
        take_message(bytearray(prefix))
