"""The peers' messages: every one comes back as it went, and nothing else is let in."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometkms.errors import ProtocolError
from cometkms.limits import (
    FACT_NAME_MAX_BYTES,
    FACT_TEXT_MAX_BYTES,
    FACTS_MAX,
    HEIGHT_MAX,
    INCARNATION_MAX,
    INCARNATION_NONCE_MAX,
    PEER_HELLO_MAX_BYTES,
    ROUND_MAX,
    SEQ_MAX,
)
from cometkms.model import HRS, Incarnation, Reason, Row, Watermark
from cometkms.rules.birth import Life, NodeState
from cometkms.rules.incarnation import Statement
from cometkms.wire.peer_messages import (
    PEER_PROTOCOL_VERSION,
    Action,
    FactsNews,
    Hello,
    LifeNews,
    Marks,
    Obeyed,
    Order,
    OtherProtocol,
    PeerMessage,
    Promise,
    Promised,
    Purpose,
    Raft,
    Read,
    RowMark,
    decode,
    decode_hello,
    encode,
    make_facts,
)

U64 = st.integers(0, (1 << 64) - 1)
NAME = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=20)
ROW = st.builds(Row, st.binary(min_size=32, max_size=32), NAME)
PLACE = st.builds(HRS, st.integers(0, HEIGHT_MAX), st.integers(0, ROUND_MAX), st.integers(0, 3))
MARK = st.builds(Watermark, PLACE, st.binary(max_size=120), st.sampled_from([b"", b"s" * 64]))
NONCE = st.binary(min_size=8, max_size=8)
LIFE = st.builds(Life, st.sampled_from(NodeState), NONCE, st.lists(st.tuples(NAME, NONCE), max_size=7).map(tuple))
ROW_MARKS = st.lists(st.builds(RowMark, ROW, MARK, st.booleans()), max_size=4).map(tuple)
NAMES = st.lists(NAME, max_size=7).map(tuple)
ROWS = st.lists(ROW, max_size=4).map(tuple)
FACTS = st.dictionaries(NAME, st.text(max_size=200), max_size=16).map(make_facts)
SEQ = st.integers(0, SEQ_MAX)
INCARNATION = st.builds(Incarnation, st.integers(0, INCARNATION_MAX), st.integers(0, INCARNATION_NONCE_MAX))
STATEMENT = st.builds(Statement, NAME, INCARNATION, st.sampled_from([b"", b"s" * 64]))
OWN = st.none() | STATEMENT
KNOWN = st.lists(STATEMENT, max_size=7).map(tuple)
HELLO = st.builds(
    Hello, st.just(PEER_PROTOCOL_VERSION), NAME, NAME, U64, U64, NAMES, st.binary(min_size=32, max_size=32), ROWS, SEQ, SEQ, FACTS, OWN, KNOWN
)  # fmt: skip
MESSAGE = st.one_of(
    HELLO,
    st.builds(LifeNews, LIFE, st.booleans(), ROW_MARKS, OWN, KNOWN),
    st.builds(Promise, U64, U64, st.binary(min_size=32, max_size=32), st.binary(max_size=200), SEQ, INCARNATION),
    st.builds(Promised, U64, U64, st.sampled_from(Reason), MARK, SEQ, INCARNATION),
    st.builds(Read, U64, U64, st.sampled_from(Purpose), OWN),
    st.builds(Marks, U64, U64, st.booleans(), LIFE, ROW_MARKS, SEQ, U64, U64, U64, OWN, KNOWN),
    st.builds(Raft, st.binary(max_size=300)),
    st.builds(FactsNews, FACTS),
    st.builds(Order, U64, U64, st.sampled_from(Action), st.just("") | NAME),
    st.builds(Obeyed, U64, U64, st.just("") | NAME),
)


@given(MESSAGE)
def test_every_message_comes_back_as_it_went(message: PeerMessage) -> None:
    assert decode(encode(message)) == message


@given(MESSAGE, st.data())
def test_mutations_are_a_message_or_a_protocol_error(message: PeerMessage, data: st.DataObject) -> None:
    good = encode(message)
    at = data.draw(st.integers(0, len(good) - 1))
    changed = good[:at] + data.draw(st.binary(max_size=4)) + good[at + data.draw(st.integers(0, 3)) :]
    try:
        assert encode(decode(changed))
    except ProtocolError:
        return


@given(st.binary(max_size=300))
def test_random_bytes_raise_nothing_else(untrusted: bytes) -> None:
    try:
        decode(untrusted)
    except ProtocolError:
        return


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        7,
        [99],
        [-1, 1],
        [True, 1, 1],
        [2, 1, 2, b"k" * 31, b"x", 5, [0, 0]],
        [2, 1, 2, b"k" * 32, b"x" * 225, 5, [0, 0]],
        [2, -1, 2, b"k" * 32, b"x", 5, [0, 0]],
        [2, 1, 2, b"k" * 32, b"x", 5],
        [2, 1, 2, b"k" * 32, b"x", SEQ_MAX + 1, [0, 0]],
        [2, 1, 2, b"k" * 32, b"x", (1 << 64) - 1, [0, 0]],
        [2, 1, 2, b"k" * 32, b"x", 5, [INCARNATION_MAX + 1, 0]],
        [2, 1, 2, b"k" * 32, b"x", 5, [0, INCARNATION_NONCE_MAX + 1]],
        [2, 1, 2, b"k" * 32, b"x", 5, [0]],
        [3, 1, 2, 9999, [1, 1, 1, b"", b""], 5, [0, 0]],
        [3, 1, 2, 0, [1, 1, 4, b"", b""], 5, [0, 0]],
        [3, 1, 2, 0, [1, 1, 1, b"", b"short"], 5, [0, 0]],
        [3, 1, 2, 0, [1, 1, 1, b"", b""], 5],
        [3, 1, 2, 0, [1, 1, 1, b"", b""], SEQ_MAX + 1, [0, 0]],
        [4, 1, 2, 9, None],
        [4, 1, 2, 0],
        [4, 1, 2, 0, ["n", 1, 2, b"short"]],
        [4, 1, 2, 0, ["n", INCARNATION_MAX + 1, 2, b""]],
        [4, 1, 2, 0, ["", 1, 2, b""]],
        [1, [0, b"", []], False, [], None, [["n", 1, 2, b""]] * 8],
        [6, "text"],
        [7, [["b", "x"], ["a", "x"]]],
        [7, [["a", "x"], ["a", "y"]]],
        [7, [["a", "line\nbreak"]]],
        [7, [["a", "\x1b[2J"]]],
        [7, [["a", "h\u00f6her"]]],
        [7, [["a", ""]]],
        [7, [["", "x"]]],
        [7, [["a", 7]]],
        [7, [["a", ["x"]]]],
        [7, [["a" * (FACT_NAME_MAX_BYTES + 1), "x"]]],
        [7, [["a", "x" * (FACT_TEXT_MAX_BYTES + 1)]]],
        [7, [[f"{n:02}", "x"] for n in range(FACTS_MAX + 1)]],
        [7, {"a": "x"}],
        [7],
        [8, 1, 2, 3, "node1"],
        [8, 1, 2, -1, "node1"],
        [8, 1, 2, 1, None],
        [8, 1, 2, 1, "n" * 65],
        [8, 1, 2, 1],
        [9, 1, 2, "w" * 1025],
        [9, 1, 2, b""],
        [10],
    ],
)  # fmt: skip
def test_what_does_not_fit_the_schema_is_refused(value: object) -> None:
    with pytest.raises(ProtocolError):
        decode(msgpack.packb(value))


@given(HELLO)
def test_a_hello_of_this_protocol_is_read_whole(hello: Hello) -> None:
    assert decode_hello(encode(hello)) == hello


@given(
    st.integers(0, (1 << 64) - 1).filter(lambda number: number != PEER_PROTOCOL_VERSION),
    NAME,
    st.recursive(
        st.none() | st.booleans() | st.floats() | U64 | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    st.binary(max_size=20),
)
def test_another_protocol_is_told_by_the_first_three_values_whatever_follows(
    protocol: int, version: str, rest: object, tail: bytes
) -> None:
    """Maps, floats, other types and bytes that are no msgpack at all: none of it
    belongs to this version.
    """
    for data in (msgpack.packb([0, protocol, version, rest]) + tail, msgpack.packb([0, protocol, version]) + tail):
        assert decode_hello(data) == OtherProtocol(protocol, version)


def test_another_protocols_hello_may_have_more_fields_than_this_one_reads() -> None:
    assert decode_hello(msgpack.packb([0, 3, "9.9", *range(300)])[:20] + b"\xc1") == OtherProtocol(3, "9.9")


@pytest.mark.parametrize(
    "value",
    [
        [0],
        [0, 2],
        [0, "2", "9.9"],
        [0, -1, "9.9"],
        [0, 2, ""],
        [0, 2, "x" * 33],
        [0, 2, "9.9\n"],
        [0, 2, b"9.9"],
        [0, PEER_PROTOCOL_VERSION, "9.9", "too few"],
        [4, 1, 2, 0],
        [5],
        {},
        7,
    ],
)
def test_what_is_no_hello_is_none_in_any_protocol(value: object) -> None:
    with pytest.raises(ProtocolError):
        decode_hello(msgpack.packb(value))


@given(st.binary(max_size=300))
def test_random_bytes_as_a_hello_raise_nothing_else(untrusted: bytes) -> None:
    try:
        decode_hello(untrusted)
    except ProtocolError:
        return


def test_facts_are_cut_and_cleaned_before_they_are_sent() -> None:
    facts = make_facts({"b": "x\n" * 200, "a": "h\u00f6her", "empty": ""})
    assert facts == (("a", "h?her"), ("b", ("x?" * 200)[:FACT_TEXT_MAX_BYTES]))


def test_the_largest_hello_fits_what_is_read_before_it_is_accepted() -> None:
    rows = tuple(Row(bytes([n]) * 32, f"{n:02}".ljust(64, "c")) for n in range(64))
    facts = tuple((f"{n:02}".ljust(FACT_NAME_MAX_BYTES, "n"), "t" * FACT_TEXT_MAX_BYTES) for n in range(FACTS_MAX))
    most = (1 << 64) - 1
    names = tuple("m" * 64 for _ in range(7))
    known = tuple(Statement("m" * 64, Incarnation(INCARNATION_MAX, INCARNATION_NONCE_MAX), b"s" * 64) for _ in range(7))
    hello = Hello(
        PEER_PROTOCOL_VERSION, "v" * 32, "n" * 64, most, most, names, b"d" * 32, rows, SEQ_MAX, SEQ_MAX, facts, known[0], known
    )  # fmt: skip
    assert len(encode(hello)) <= PEER_HELLO_MAX_BYTES
    assert decode_hello(encode(hello)) == hello
