"""The agents' messages: what is encoded comes back, and nothing else is believed."""

import struct
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometkms.errors import ProtocolError
from cometkms.limits import (
    AGENT_ABOUT_MAX,
    AGENT_FRAME_MAX_BYTES,
    AGENT_TEXT_MAX_BYTES,
    CHAIN_ID_MAX_BYTES,
    CHAINS_MAX,
    MESSAGE_MAX_BYTES,
)
from cometkms.model import Dialect
from cometkms.protocol.agent_messages import (
    AgentMessage,
    Answer,
    Ask,
    Hello,
    Lead,
    NotNow,
    Ping,
    Pong,
    ServedChain,
    Unpacker,
    Welcome,
    decode,
    encode,
    shown,
)

MESSAGES: list[AgentMessage] = [
    Welcome(1, b"a" * 32, b"b" * 32),
    Hello("node0", "", (ServedChain("chain-1", b"k" * 32), ServedChain("chain-2", b"l" * 32))),
    Hello("n" * 64, "l" * 64, tuple(ServedChain("c" * CHAIN_ID_MAX_BYTES, b"k" * 32) for _ in range(CHAINS_MAX))),
    Ask((1 << 64) - 1, "c" * CHAIN_ID_MAX_BYTES, Dialect.AMINO, True, b"m" * MESSAGE_MAX_BYTES),
    Ask(0, "chain-1", Dialect.PROTO, False, b"m"),
    Answer(7, b"answer"),
    NotNow(7, "this node does not lead", "node1"),
    Lead("node2"),
    Ping(3, tuple((f"name {n}", "t" * AGENT_TEXT_MAX_BYTES) for n in range(AGENT_ABOUT_MAX))),
    Pong(3),
]


@pytest.mark.parametrize("message", MESSAGES)
def test_what_is_encoded_comes_back_also_in_pieces(message: AgentMessage) -> None:
    wire = encode(message)
    assert len(wire) - 4 <= AGENT_FRAME_MAX_BYTES
    unpacker, found = Unpacker(), []
    step = max(1, len(wire) // 7)
    for at in range(0, len(wire), step):
        found += unpacker.feed(wire[at : at + step])
    assert [decode(one) for one in found] == [message]
    assert not unpacker.partial


@pytest.mark.parametrize(
    "value",
    [
        [], 5, [99], [-1], [True], {"a": 1}, [2, 1, "chain", 0, True], [2, 1, "chain", 2, True, b"m"], [2, 1, "chain", 0, 1, b"m"],
        [2, 1, "chain", 0, True, b""], [2, 1, "chain", 0, True, "text"], [2, -1, "chain", 0, True, b"m"], [2, True, "chain", 0, True, b"m"],
        [2, 1, "c" * (CHAIN_ID_MAX_BYTES + 1), 0, True, b"m"], [2, 1, "a\nb", 0, True, b"m"], [1, "node", "", [["chain", b"short"]]],
        [1, "node", "", [["chain", b"k" * 32]] * (CHAINS_MAX + 1)], [0, 1, b"a" * 31, b"b" * 32], [6, 1, [["name"]]], [6, 1, [["n", "\x1b[2J"]]],
        [6, 1, [["n", "t"]] * (AGENT_ABOUT_MAX + 1)], [4, 1, "why\n", "node"], [7, 1 << 64],
    ],
)  # fmt: skip
def test_what_has_another_form_is_refused(value: Any) -> None:
    try:
        wire = msgpack.packb(value)
    except OverflowError:
        return
    with pytest.raises(ProtocolError):
        decode(wire)


def test_a_length_out_of_bounds_is_refused_before_anything_is_kept() -> None:
    for size in (0, AGENT_FRAME_MAX_BYTES + 1, 0xFFFFFFFF):
        with pytest.raises(ProtocolError):
            Unpacker().feed(struct.pack(">I", size))


@given(st.binary(max_size=200))
def test_junk_raises_what_closes_the_connection_and_nothing_else(junk: bytes) -> None:
    try:
        message = decode(junk)
    except ProtocolError:
        return
    assert decode(encode(message)[4:]) == message


def test_texts_are_made_fit_to_be_shown() -> None:
    assert shown("tcp://h:1 ü\x1b[2J") == "tcp://h:1 ??[2J"
    assert len(shown("x" * 999)) == AGENT_TEXT_MAX_BYTES
