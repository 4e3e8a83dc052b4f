"""The agents' messages: what is encoded comes back, and nothing else is believed."""

import struct
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometkms.core.native.codec import ffi, lib
from cometkms.errors import ProtocolError
from cometkms.limits import (
    AGENT_ABOUT_MAX,
    AGENT_FRAME_MAX_BYTES,
    AGENT_TEXT_MAX_BYTES,
    CHAIN_ID_MAX_BYTES,
    CHAINS_MAX,
    MESSAGE_MAX_BYTES,
    RESPONSE_MAX_BYTES,
)
from cometkms.model import Dialect
from cometkms.wire.agent_messages import (
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


# --- the two that are on a signature's way, in C (csrc/agent_link.h) ---


def _of_c(wire: bytes, kind: str) -> tuple[Any, int] | None:
    """The message in front as the core takes it, and its size; None: it leaves it to Python."""
    view = ffi.from_buffer("uint8_t[]", wire)
    out, used = ffi.new(f"ck_{kind} *"), ffi.new("size_t *")
    if getattr(lib, f"ck_take_{kind}")({"at": view, "len": len(wire)}, out, used) != lib.CK_OK:
        return None
    message = bytes(ffi.buffer(out.message.at, out.message.len))
    if kind == "answer":
        return Answer(out.seq, message), used[0]
    chain_id = bytes(ffi.buffer(out.chain_id.at, out.chain_id.len)) if out.chain_id.len else b""
    return (out.seq, chain_id, out.dialect, bool(out.urgent), message), used[0]


SEQS = st.integers(0, (1 << 64) - 1)
BLOBS = st.binary(min_size=1, max_size=300) | st.just(b"m" * RESPONSE_MAX_BYTES)


@given(
    SEQS,
    st.text(st.characters(codec="ascii", categories=["L", "N"]), max_size=64),
    st.sampled_from(Dialect),
    st.booleans(),
    BLOBS,
    st.binary(max_size=9),
)
def test_an_ask_is_taken_in_c_as_in_python(
    seq: int, chain: str, dialect: Dialect, urgent: bool, message: bytes, behind: bytes
) -> None:
    wire = encode(Ask(seq, chain, dialect, urgent, message))
    assert _of_c(wire + behind, "ask") == ((seq, chain.encode(), dialect, urgent, message), len(wire))
    assert _of_c(wire[:-1], "ask") is None


@given(SEQS, BLOBS, st.binary(max_size=9))
def test_an_answer_is_taken_in_c_as_in_python(seq: int, message: bytes, behind: bytes) -> None:
    wire = encode(Answer(seq, message))
    assert _of_c(wire + behind, "answer") == (Answer(seq, message), len(wire))
    assert _of_c(wire[:-1], "answer") is None


@given(st.sampled_from(MESSAGES), st.integers(0, 500), st.integers(0, 255))
def test_whatever_c_takes_python_takes_for_the_same(message: AgentMessage, at: int, value: int) -> None:
    """One byte changed: what is not plain is left to Python, which refuses or not; what is plain is
    what Python sees.
    """
    changed = bytearray(encode(message))
    changed[at % len(changed)] = value
    for kind in ("ask", "answer"):
        found = _of_c(bytes(changed), kind)
        if found is None:
            continue
        told, used = found
        try:
            expected = decode(bytes(changed[4:used]))
        except ProtocolError:
            # a chain or dialect that nobody has: compared with what is served before it is used
            assert kind == "ask"
            continue
        if isinstance(expected, Ask):
            expected_fields = (
                expected.seq,
                expected.chain_id.encode(),
                expected.dialect,
                expected.urgent,
                expected.message,
            )
            assert told == expected_fields
        else:
            assert told == expected


def test_what_is_longer_than_an_answer_may_be_is_left_to_python() -> None:
    assert _of_c(encode(Ask(1, "c", Dialect.PROTO, False, b"m" * (RESPONSE_MAX_BYTES + 1))), "ask") is None


@pytest.mark.parametrize(
    ("kind", "fields", "more"),
    [
        ("ask", [2, 1, "chain", 0, False, b"m"], b"\x00"),
        ("answer", [3, 1, b"m"], b"\x00"),
        ("ask", [2, 1, "chain", 0, None, b"m"], b""),
        ("ask", [2, 1, "chain", 0, 1, b"m"], b""),
        ("ask", [2, 1, "chain", 0, False, b""], b""),
        ("answer", [3, 1, b""], b""),
        ("ask", [3, 1, "chain", 0, False, b"m"], b""),
        ("answer", [2, 1, b"m"], b""),
    ],
)
def test_what_is_not_quite_a_message_is_left_to_python_which_refuses_it(
    kind: str, fields: list[Any], more: bytes
) -> None:
    """More in its length than its fields, another value than true or false, nothing to pass on,
    another tag.
    """
    body = msgpack.packb(fields) + more
    assert _of_c(struct.pack(">I", len(body)) + body, kind) is None
    with pytest.raises(ProtocolError):
        decode(body)
