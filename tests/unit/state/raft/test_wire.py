"""Raft's messages on the wire: what is sent comes back, and nothing else gets in."""

from typing import Any

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cometkms.errors import ProtocolError
from cometkms.limits import HEIGHT_MAX, PEER_FRAME_MAX_BYTES, ROUND_MAX, SIGN_BYTES_MAX_BYTES
from cometkms.state.raft import wire

KEY = b"k" * 32
MARK = (KEY, 7, 0, 2, b"sign bytes", b"s" * 64)
NO_OP = b"\x01"


def put(*marks: Any, method: Any = 0) -> bytes:
    return b"\x00" + msgpack.packb((method, marks))


PUT = put(MARK)
SNAPSHOT = wire.encode_snapshot((NO_OP, 4, 1), (PUT, 5, 2), [MARK])
MESSAGES: dict[str, dict[str, Any]] = {
    "request_vote": {
        "type": "request_vote",
        "term": 3,
        "last_log_index": 9,
        "last_log_term": 2,
        "x_transfer": True,
    },
    "request_vote of a new log": {"type": "request_vote", "term": 3, "last_log_index": 1, "last_log_term": -1},
    "response_vote": {"type": "response_vote", "term": 3},
    "append_entries": {
        "type": "append_entries",
        "term": 3,
        "commit_index": 8,
        "prevLogIdx": 9,
        "prevLogTerm": 2,
        "entries": ((NO_OP, 10, 3), (PUT, 11, 3)),
    },
    "heartbeat": {
        "type": "append_entries",
        "term": 3,
        "commit_index": 8,
        "prevLogIdx": None,
        "prevLogTerm": None,
        "entries": (),
    },
    "snapshot": {
        "type": "append_entries",
        "term": 3,
        "commit_index": 8,
        "serialized": (SNAPSHOT, True, True),
        "x_snap": 5,
    },
    "no snapshot yet": {"type": "append_entries", "term": 3, "commit_index": 8, "serialized": None},
    "next_node_idx": {"type": "next_node_idx", "next_node_idx": 12, "reset": False, "success": True, "x_term": 3},
    "timeout_now": {"type": "timeout_now", "term": 3},
    "x_newer_term": {"type": "x_newer_term", "term": 4},
}
EACH = pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES.keys())


def refused(message: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        wire.decode(wire.encode(message))


def entries(*listed: Any) -> dict[str, Any]:
    return {**MESSAGES["append_entries"], "entries": listed}


# --- there and back ---


@EACH
def test_every_message_comes_back_as_it_was_sent(message: dict[str, Any]) -> None:
    assert wire.decode(wire.encode(message)) == message


def test_a_snapshot_comes_back_as_it_was_sent() -> None:
    assert wire.decode_snapshot(SNAPSHOT) == ((NO_OP, 4, 1), (PUT, 5, 2), (MARK,))


# --- shape ---


@EACH
def test_an_unknown_key_is_refused(message: dict[str, Any]) -> None:
    refused({**message, "more": 1})


@EACH
def test_the_keys_of_pickled_transmissions_are_refused(message: dict[str, Any]) -> None:
    refused({**message, "transmission": "start", "data": b"x"})


@pytest.mark.parametrize(
    "kind", ["apply_command", "apply_command_response", "readonly", "status", "", None, 3, b"timeout_now"]
)
def test_a_kind_that_is_not_ours_is_refused(kind: Any) -> None:
    refused({"type": kind, "term": 3})


@pytest.mark.parametrize("value", [None, 1, "timeout_now", [], ["timeout_now"], {}, {"term": 3}])
def test_what_is_no_message_is_refused(value: Any) -> None:
    with pytest.raises(ProtocolError):
        wire.decode(msgpack.packb(value))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x80\x80",
        wire.encode(MESSAGES["timeout_now"]) + b"\x00",
        wire.encode(MESSAGES["timeout_now"])[:-1],
        b"\x81\x01\x02",
        b"\x91" * 5000,
        b"\x81\xa4type\xa2\xff\xff",
        msgpack.packb({"type": "timeout_now", "term": msgpack.ExtType(1, b"x")}),
        msgpack.packb(msgpack.Timestamp(1)),
    ],
)
def test_bytes_that_are_no_message_are_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        wire.decode(data)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        (name, key)
        for name, message in MESSAGES.items()
        for key in message
        if key not in ("type", "x_transfer", "x_snap", "serialized", "entries")
        and not (name == "heartbeat" and key.startswith("prev"))
    ],
)
def test_a_field_that_is_missing_is_refused(name: str, key: str) -> None:
    refused({field: value for field, value in MESSAGES[name].items() if field != key})


@pytest.mark.parametrize("given", [{"prevLogIdx": None}, {"prevLogTerm": None}])
def test_the_index_before_and_its_term_are_given_together(given: dict[str, Any]) -> None:
    refused({**MESSAGES["append_entries"], **given})


# --- bounds ---


@EACH
@pytest.mark.parametrize("term", [-1, wire.TERM_MAX, 1 << 63, (1 << 64) - 1, 1.0, True, "3", None, b"3", [3]])
def test_a_term_out_of_bounds_is_refused(message: dict[str, Any], term: Any) -> None:
    refused({**message, "term" if "term" in message else "x_term": term})


@EACH
def test_the_highest_term_is_let_in(message: dict[str, Any]) -> None:
    name = "term" if "term" in message else "x_term"
    assert wire.decode(wire.encode({**message, name: wire.TERM_MAX - 1}))[name] == wire.TERM_MAX - 1


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("request_vote", "last_log_index"),
        ("append_entries", "commit_index"),
        ("append_entries", "prevLogIdx"),
        ("snapshot", "x_snap"),
        ("next_node_idx", "next_node_idx"),
    ],
)
@pytest.mark.parametrize("index", [-1, 1 << 62, (1 << 64) - 1, 1.5, False, "1"])
def test_an_index_out_of_bounds_is_refused(name: str, key: str, index: Any) -> None:
    refused({**MESSAGES[name], key: index})


@pytest.mark.parametrize("term", [-2, wire.TERM_MAX, None, "2"])
def test_the_last_log_term_of_a_vote_is_bounded(term: Any) -> None:
    refused({**MESSAGES["request_vote"], "last_log_term": term})


@pytest.mark.parametrize(
    ("name", "key"), [("request_vote", "x_transfer"), ("next_node_idx", "reset"), ("next_node_idx", "success")]
)
@pytest.mark.parametrize("value", [0, 1, "yes"])
def test_a_number_is_no_truth_value(name: str, key: str, value: Any) -> None:
    refused({**MESSAGES[name], key: value})


@pytest.mark.parametrize(
    "serialized",
    [
        SNAPSHOT,
        (),
        (SNAPSHOT,),
        (SNAPSHOT, True, False),
        (SNAPSHOT, False, True),
        ("text", True, True),
        (bytes(PEER_FRAME_MAX_BYTES + 1), True, True),
    ],
    ids=["bare", "empty", "short", "not last", "not first", "text", "too long"],
)
def test_a_snapshot_that_is_not_whole_is_refused(serialized: Any) -> None:
    refused({**MESSAGES["snapshot"], "serialized": serialized})


# --- entries ---


@pytest.mark.parametrize(
    "listed",
    [
        ((NO_OP, 11, 3), (NO_OP, 10, 3)),
        ((NO_OP, 10, 3), (NO_OP, 10, 3)),
        ((NO_OP, 10, 3), (NO_OP, 12, 3)),
        ((NO_OP, 10, 3), (NO_OP, 11, 2)),
    ],
    ids=["backwards", "twice", "a gap", "an older term"],
)
def test_entries_out_of_order_are_refused(listed: Any) -> None:
    refused(entries(*listed))


def test_more_entries_than_a_batch_holds_are_refused() -> None:
    many = [(NO_OP, 10 + n, 3) for n in range(4097)]
    assert len(wire.decode(wire.encode(entries(*many[:-1])))["entries"]) == 4096
    refused(entries(*many))


@pytest.mark.parametrize(
    "command",
    [
        b"",
        b"\x02" + msgpack.packb(("add", "node9")),
        b"\x03\x01",
        b"\x04",
        b"\x01\x00",
        b"\x00",
        b"\x00" + msgpack.packb(0),
        b"\x00" + msgpack.packb((0,)),
        b"\x00" + msgpack.packb((0, (MARK,), {"callback": 1})),
        PUT + b"\x00",
        put(),
        put(MARK, MARK),
        put(MARK, method=1),
        put(MARK, method=False),
        put(MARK, method="put"),
        b"\x00" + b"\x80\x04K\x00.",
        "text",
        None,
    ],
)
def test_a_command_of_another_type_is_refused(command: Any) -> None:
    refused(entries((command, 10, 3)))
    with pytest.raises(ProtocolError):
        wire.decode_snapshot(wire.encode_snapshot((NO_OP, 4, 1), (command, 5, 2), []))


@pytest.mark.parametrize("entry", [(), (NO_OP,), (NO_OP, 10), (NO_OP, 10, 3, 0), (NO_OP, -1, 3), (NO_OP, 10, -1), 5])
def test_an_entry_of_another_shape_is_refused(entry: Any) -> None:
    refused(entries(entry))


BAD_MARKS: dict[str, Any] = {
    "short key": (KEY[:-1], *MARK[1:]),
    "text key": ("k" * 32, *MARK[1:]),
    "negative height": (KEY, -1, *MARK[2:]),
    "height too high": (KEY, HEIGHT_MAX + 1, *MARK[2:]),
    "height is a truth value": (KEY, True, *MARK[2:]),
    "negative round": (KEY, 7, -1, *MARK[3:]),
    "round too high": (KEY, 7, ROUND_MAX + 1, *MARK[3:]),
    "negative step": (KEY, 7, 0, -1, *MARK[4:]),
    "step too high": (KEY, 7, 0, 4, *MARK[4:]),
    "sign bytes too long": (*MARK[:4], bytes(SIGN_BYTES_MAX_BYTES + 1), MARK[5]),
    "sign bytes are text": (*MARK[:4], "text", MARK[5]),
    "signature too short": (*MARK[:5], bytes(63)),
    "signature too long": (*MARK[:5], bytes(97)),
    "signature of no type": (*MARK[:5], bytes(66)),
    "a field more": (*MARK, 0),
    "a field less": MARK[:5],
    "nothing": None,
}


@pytest.mark.parametrize("mark", BAD_MARKS.values(), ids=BAD_MARKS.keys())
def test_a_mark_that_makes_no_sense_is_refused(mark: Any) -> None:
    assert not wire.is_mark(mark)
    refused(entries((put(mark), 10, 3)))
    with pytest.raises(ProtocolError):
        wire.decode_snapshot(wire.encode_snapshot((NO_OP, 4, 1), (PUT, 5, 2), [MARK, mark]))


@pytest.mark.parametrize(
    "mark",
    [
        (KEY, 0, 0, 0, b"", b""),
        (KEY, HEIGHT_MAX, ROUND_MAX, 3, bytes(SIGN_BYTES_MAX_BYTES), bytes(64)),
    ],
)
def test_a_mark_at_the_bounds_is_let_in(mark: Any) -> None:
    assert wire.is_mark(mark)
    assert wire.decode(wire.encode(entries((put(mark), 10, 3))))["entries"] == ((put(mark), 10, 3),)


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        msgpack.packb(None),
        msgpack.packb([]),
        msgpack.packb({}),
        msgpack.packb("abc"),
        msgpack.packb([(NO_OP, 4, 1), (NO_OP, 6, 1), []]),
        msgpack.packb([(NO_OP, 4, 1), (NO_OP, 4, 1), []]),
        msgpack.packb([(NO_OP, 4, 1), (NO_OP, 5, 1), None]),
        msgpack.packb([(NO_OP, 4, 1), (NO_OP, 5, 1), {}]),
        msgpack.packb([(NO_OP, 4, 1), (NO_OP, 5, 1), [], 0]),
        SNAPSHOT + b"\x00",
        SNAPSHOT[:-1],
    ],
)
def test_a_snapshot_that_makes_no_sense_is_refused(packed: bytes) -> None:
    with pytest.raises(ProtocolError):
        wire.decode_snapshot(packed)


# --- anything at all ---

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=80),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


def only_protocol_errors(data: bytes) -> None:
    for decode in (wire.decode, wire.decode_snapshot):
        try:
            decode(data)
        except ProtocolError:
            continue


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\xdf\xff\xff\xff\xff")
@example(b"\xc6\xff\xff\xff\xff")
def test_random_bytes_raise_nothing_but_a_protocol_error(data: bytes) -> None:
    only_protocol_errors(data)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([*map(wire.encode, MESSAGES.values()), SNAPSHOT]),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, 400),
)
def test_mutated_messages_raise_nothing_but_a_protocol_error(
    data: bytes, changes: list[tuple[int, int]], keep: int
) -> None:
    mutated = bytearray(data)
    for at, value in changes:
        mutated[at % len(mutated)] = value
    only_protocol_errors(bytes(mutated))
    only_protocol_errors(bytes(mutated[:keep]))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(list(MESSAGES.values())), st.data())
def test_a_field_with_anything_in_it_raises_nothing_but_a_protocol_error(
    message: dict[str, Any], data: st.DataObject
) -> None:
    key = data.draw(st.sampled_from(sorted(message)))
    only_protocol_errors(wire.encode({**message, key: data.draw(ANYTHING)}))


@settings(max_examples=300, deadline=None)
@given(ANYTHING)
def test_a_command_with_anything_in_it_is_judged_without_raising(value: Any) -> None:
    assert wire.is_entry((b"\x00" + msgpack.packb((0, (value,))), 1, 1)) == wire.is_mark(value)
    assert not wire.is_entry((b"\x00" + msgpack.packb(value), 1, 1))
