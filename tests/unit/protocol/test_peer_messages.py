"""The peers' messages: every one comes back as it went, and nothing else is let in."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometkms.errors import ProtocolError
from cometkms.limits import HEIGHT_MAX, ROUND_MAX
from cometkms.model import HRS, Reason, Row, Watermark
from cometkms.protocol.peer_messages import (
    Confirm,
    Confirmed,
    Hello,
    LifeNews,
    Marks,
    PeerMessage,
    Promise,
    Promised,
    Purpose,
    Raft,
    Read,
    RowMark,
    decode,
    encode,
)
from cometkms.rules.birth import Life, NodeState

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
MESSAGE = st.one_of(
    st.builds(Hello, U64, NAME, NAME, U64, U64, NAMES, st.binary(min_size=32, max_size=32), ROWS, U64, U64),
    st.builds(LifeNews, LIFE, st.booleans(), ROW_MARKS),
    st.builds(Promise, U64, U64, st.binary(min_size=32, max_size=32), st.binary(max_size=200)),
    st.builds(Promised, U64, U64, st.sampled_from(Reason), MARK, U64),
    st.builds(Read, U64, U64, st.sampled_from(Purpose)),
    st.builds(Marks, U64, U64, st.booleans(), LIFE, ROW_MARKS, U64, U64, U64, U64),
    st.builds(Confirm, U64, U64),
    st.builds(Confirmed, U64, U64, st.booleans()),
    st.builds(Raft, st.binary(max_size=300)),
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
        [2, 1, 2, b"k" * 31, b"x"],
        [2, 1, 2, b"k" * 32, b"x" * 225],
        [2, -1, 2, b"k" * 32, b"x"],
        [2, 1, 2, b"k" * 32, b"x", 5],
        [3, 1, 2, 9999, [1, 1, 1, b"", b""], 5],
        [3, 1, 2, 0, [1, 1, 4, b"", b""], 5],
        [3, 1, 2, 0, [1, 1, 1, b"", b"short"], 5],
        [4, 1, 2, 9],
        [8, "text"],
    ],
)  # fmt: skip
def test_what_does_not_fit_the_schema_is_refused(value: object) -> None:
    with pytest.raises(ProtocolError):
        decode(msgpack.packb(value))
