"""The hot path in C against the general path: it serves the plain case exactly, with the same bytes
on the wire and on the disk, and nothing else.
"""

import ctypes
import errno
import itertools
import os
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cometkms._native import ffi, lib
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cometkms.core import native
from cometkms.core.interface import RowRecord
from cometkms.core.native.hot import NativeHotPath, NativeLane, NativeRecords
from cometkms.core.native.queue import RingQueue
from cometkms.core.native.sign import NativeSignPath
from cometkms.core.pure.hot import PureRecords
from cometkms.errors import InvariantError, ProtocolError, StateError, StoreFailure, disk_failure
from cometkms.limits import (
    BLOCK_BYTES,
    CHAINS_MAX,
    HEIGHT_MAX,
    SECTOR_BYTES,
    SEQ_MAX,
    SIGN_BYTES_MAX_BYTES,
    SIGNATURE_MAX_BYTES,
)
from cometkms.model import (
    HRS,
    BlockID,
    Dialect,
    Incarnation,
    Kind,
    Message,
    Permit,
    Reason,
    Refusal,
    Row,
    Timestamp,
    Vote,
    Watermark,
)
from cometkms.rules.birth import NodeState
from cometkms.rules.incarnation import FIRST
from cometkms.rules.promise import Accept, decide_promise
from cometkms.state.peers.frames import FrameReader, FrameType
from cometkms.store.promise_store import Header, PromiseStore
from cometkms.wire.peer_messages import PeerMessage, Promise, Promised, Read, decode, encode
from cometkms.wire.queue_messages import PermitGranted, Reserve, Signed
from cometkms.wire.queue_messages import decode as decode_queue
from cometkms.wire.queue_messages import encode as encode_queue

CORE = native.load()
NONCE = (1 << 63) - 5
ROWS = (Row(b"k" * 32, "chain-a"), Row(b"k" * 32, "chain-b"), Row(b"q" * 32, "chain-a"))
KEY_IN, KEY_OUT = b"i" * 32, b"o" * 32


def sign_bytes(row: Row, height: int, round_: int = 0, type_: int = 1, block: bytes = b"a") -> bytes:
    vote = Vote(type_, height, round_, BlockID(block * 32, 1, b"p" * 32), Timestamp(1_700_000_000, 0))
    message = Message(Kind.SIGN_VOTE_REQUEST, row.chain_id, vote=vote)
    return CORE.check_request(Dialect.PROTO, row.chain_id, message).sign_bytes


def place(data: bytes) -> HRS:
    return CORE.parse_sign_bytes(data).hrs


def framed(message: PeerMessage, kind: int = FrameType.DATA) -> bytes:
    payload = encode(message)
    return (1 + len(payload)).to_bytes(4, "little") + bytes([kind]) + payload


@dataclass
class Wire:
    """The other end of a lane."""

    lane: NativeLane
    end: socket.socket

    def __post_init__(self) -> None:
        self.frames = CORE.frames(KEY_OUT, KEY_IN)
        self.reader = FrameReader(1 << 20)

    def send(self, *frames: bytes) -> None:
        self.end.sendall(b"".join(self.frames.seal(one) for one in frames))

    def received(self) -> list[PeerMessage]:
        while True:
            try:
                self.reader.feed(self.frames.open(self.end.recv(1 << 16)))
            except BlockingIOError:
                break
        found = []
        while (frame := self.reader.next()) is not None:
            assert frame[0] is FrameType.DATA
            found.append(decode(frame[1]))
        return found


class Node:
    """A store, the hot path over it, two members' connections, and the signer's queues."""

    def __init__(self, path: Path, members: int = 2) -> None:
        self.path = path
        header = Header("a", 1, ("a", "b", "c"), NodeState.COMPLETE, b"n" * 8, (b"n" * 8,) * 3, 40)
        self.store = PromiseStore.create(path, header, [(row, Watermark()) for row in ROWS])
        self.requests, self.permits = RingQueue(), RingQueue()
        self.promise = self.propose = True
        self.synced: list[int] = []
        self.permitted: list[int] = []
        self.sockets: list[socket.socket] = []
        others = ("b", "c")[:members]
        hot = CORE.hot_path(
            path=path, fd=self.store.fileno(), nonce=NONCE, quorum=(1 + members) // 2 + 1, others=others, rows=ROWS, chains=(2, 0, 1),
            permits=self.permits, may=lambda: (self.promise, self.propose),
            on_synced=self.synced.append, on_permit=self.permitted.append,
        )  # fmt: skip
        assert isinstance(hot, NativeHotPath)
        self.hot = hot
        self.store.keep_in(hot.records)
        for number in range(len(ROWS)):
            hot.set_reach(number, HEIGHT_MAX)
        self.wires = [self.connect(name) for name in others]

    def connect(self, name: str) -> Wire:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        self.sockets += [ours, theirs]
        return Wire(self.hot.lane(name, CORE.frames(KEY_IN, KEY_OUT), ours.fileno()), theirs)

    def reserve(self, chain: int, data: bytes, request_id: int = 7, hrs: HRS | None = None) -> list[bytes]:
        assert self.requests.push(encode_queue(Reserve(99, request_id, chain, hrs or place(data), data)))
        rest, _ = self.hot.take(self.requests)
        return rest

    def granted(self) -> list[PermitGranted]:
        found = []
        while (message := self.permits.pop()) is not None:
            permit = decode_queue(message)
            assert isinstance(permit, PermitGranted)
            found.append(permit)
        return found

    def on_disk(self) -> list[Watermark]:
        """What a restart would find."""
        self.store.close()
        store = PromiseStore.open(self.path)
        try:
            return [store.mark(number) for number in range(len(ROWS))]
        finally:
            store.close()

    def close(self) -> None:
        self.store.close()
        for one in self.sockets:
            one.close()
        self.requests.close()
        self.permits.close()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path / "promises")
    yield made
    made.close()


def promise(row: Row, data: bytes, request_id: int = 5) -> Promise:
    return Promise(1234567890123, request_id, row.public_key, data, 3, FIRST)


# --- a member's request ---


def test_a_promise_is_durable_and_answered_as_the_general_path_would(node: Node) -> None:
    data = sign_bytes(ROWS[1], 10)
    node.wires[0].send(framed(promise(ROWS[1], data)))
    assert node.wires[0].lane.turn(serve=True) == b""
    assert node.wires[0].received() == [Promised(1234567890123, 5, Reason.NONE, Watermark(), 41, FIRST)]
    assert node.store.mark(1) == Watermark(HRS(10, 0, 2), data)
    assert node.store.seq == 41
    assert node.on_disk() == [Watermark(), Watermark(HRS(10, 0, 2), data), Watermark()]


def test_promises_of_several_rows_share_one_sync_and_one_row_twice_does_not(node: Node) -> None:
    wire = node.wires[0]
    asked = [(0, 3), (1, 4), (2, 5), (0, 6)]
    wire.send(*(framed(promise(ROWS[row], sign_bytes(ROWS[row], height), height)) for row, height in asked))
    assert wire.lane.turn(serve=True) == b""
    answers = wire.received()
    assert [one.request_id for one in answers if isinstance(one, Promised)] == [3, 4, 5, 6]
    assert [one.seq for one in answers if isinstance(one, Promised)] == [43, 43, 43, 44]
    assert [mark.hrs.height for mark in node.on_disk()] == [6, 4, 5]


@pytest.mark.parametrize("promises", [1, 2])
def test_a_promise_that_was_written_here_and_the_disk_lost_stops_the_next_start(node: Node, promises: int) -> None:
    for height in range(promises):
        node.wires[0].send(framed(promise(ROWS[1], sign_bytes(ROWS[1], 10 + height))))
        assert node.wires[0].lane.turn(serve=True) == b""
    newest = 4 + (promises - 1) % 2  # slot 0 held the first record, and slot 1 the same
    node.store.close()
    with node.path.open("r+b") as file:
        file.seek(newest * BLOCK_BYTES)
        assert sign_bytes(ROWS[1], 9 + promises) in file.read(SECTOR_BYTES)
        file.seek(newest * BLOCK_BYTES)
        file.write(bytes(SECTOR_BYTES))
    with pytest.raises(StateError, match=r"of row 1.*it is empty, and was written"):
        PromiseStore.open(node.path)


def test_more_requests_than_a_batch_holds_are_all_answered(node: Node) -> None:
    wire = node.wires[0]
    wire.send(*(framed(promise(ROWS[0], sign_bytes(ROWS[0], height), height)) for height in range(1, 31)))
    rest = wire.lane.turn(serve=True)
    assert rest == b""
    assert [one.request_id for one in wire.received() if isinstance(one, Promised)] == list(range(1, 31))


@pytest.mark.parametrize(
    "why",
    [
        "not ready",
        "not serving",
        "unknown key",
        "other chain",
        "closed",
        "not configured here",
        "floor",
        "jump",
        "kind",
    ],
)
def test_what_is_not_plain_is_the_general_paths_untouched(node: Node, why: str) -> None:
    row, data = ROWS[0], sign_bytes(ROWS[0], 10)
    if why == "unknown key":
        row = Row(b"?" * 32, "chain-a")
    elif why == "other chain":
        data = sign_bytes(Row(b"?" * 32, "chain-z"), 10)
    elif why == "floor":
        node.hot.raise_floor(0, HRS(10, 0, 2))
    elif why == "closed":
        node.hot.records[0] = replace(node.hot.records[0], opened=False)
    elif why == "not configured here":
        node.hot.c.store.rows[0].served = 0
    elif why == "jump":
        node.store.write_mark(0, Watermark(HRS(9, 0, 2), sign_bytes(ROWS[0], 9)))
        node.hot.set_reach(0, 9)
    node.promise = why != "not ready"
    before = node.store.mark(0)
    sent = framed(promise(row, data), FrameType.PING if why == "kind" else FrameType.DATA)
    node.wires[0].send(sent)
    assert node.wires[0].lane.turn(serve=why != "not serving") == sent
    assert node.wires[0].received() == []
    assert node.store.mark(0) == before
    assert node.wires[0].lane.served == 0


RECORDS = st.builds(
    RowRecord,
    st.builds(
        Watermark,
        st.builds(HRS, st.integers(0, HEIGHT_MAX), st.integers(0, (1 << 31) - 1), st.integers(0, 3)),
        st.binary(max_size=SIGN_BYTES_MAX_BYTES),
        st.binary(max_size=SIGNATURE_MAX_BYTES),
    ),
    st.integers(0, SEQ_MAX),
    st.booleans(),
    st.integers(0, SEQ_MAX),
    st.integers(0, 1),
)


@settings(deadline=None)
@given(
    records=st.lists(RECORDS, max_size=6), changes=st.lists(st.tuples(st.integers(0, 5), RECORDS), max_size=6), base=...
)
def test_the_records_are_a_list_wherever_they_stand(
    records: list[RowRecord], changes: list[tuple[int, RowRecord]], base: int
) -> None:
    c = ffi.new("ck_hot *")
    of_c, of_python = NativeRecords(c), PureRecords()
    for table in (of_c, of_python):
        table.set_header(base % SEQ_MAX, FIRST)
        for record in records:
            table.append(record)
        for number, record in changes:
            if number < len(table):
                table[number] = record
    assert [of_c[number] for number in range(len(of_c))] == list(of_python)
    assert of_c.seq == of_python.seq % (1 << 64)
    for table in (of_c, of_python):
        with pytest.raises(IndexError):
            table[len(records)]


@pytest.mark.parametrize(
    "changed", [{"sign_bytes": bytes(SIGN_BYTES_MAX_BYTES + 1)}, {"signature": bytes(SIGNATURE_MAX_BYTES + 1)}]
)
def test_a_record_that_has_no_room_in_c_changes_nothing(node: Node, changed: dict[str, bytes]) -> None:
    before = [node.hot.records[number] for number in range(len(ROWS))]
    with pytest.raises(InvariantError):
        node.hot.records[1] = RowRecord(replace(Watermark(HRS(9, 0, 1)), **changed))
    assert [node.hot.records[number] for number in range(len(ROWS))] == before


def test_a_row_that_a_running_node_takes_from_others_counts_in_c_and_is_never_plain_there(node: Node) -> None:
    row = Row(b"z" * 32, "chain-z")
    number = node.store.add_row(row, Watermark(HRS(3, 0, 1)), opened=False)
    for height in (4, 5):
        node.store.write_mark(number, Watermark(HRS(height, 0, 1)))
    sent = framed(promise(row, sign_bytes(row, 10)))
    node.wires[0].send(framed(promise(ROWS[0], sign_bytes(ROWS[0], 10))), sent)
    assert node.wires[0].lane.turn(serve=True) == sent
    (answer,) = node.wires[0].received()
    assert isinstance(answer, Promised)
    assert answer.seq == node.store.seq == 40 + 3
    assert node.store.mark(number).hrs == HRS(5, 0, 1)


def test_a_promise_in_c_forgets_the_signature_of_the_place_before(node: Node) -> None:
    data = sign_bytes(ROWS[0], 10)
    node.store.write_mark(0, Watermark(HRS(9, 0, 2), sign_bytes(ROWS[0], 9), b"s" * 64))
    node.wires[0].send(framed(promise(ROWS[0], data)))
    assert node.wires[0].lane.turn(serve=True) == b""
    assert node.store.mark(0) == Watermark(place(data), data)


def test_nothing_overtakes_what_is_the_general_paths(node: Node) -> None:
    read, asked = framed(Read(1, 2, 0, None)), framed(promise(ROWS[0], sign_bytes(ROWS[0], 10)))  # type: ignore[arg-type]
    node.wires[0].send(asked, read, asked)
    assert node.wires[0].lane.turn(serve=True) == read + asked
    assert len(node.wires[0].received()) == 1


HEIGHTS = st.integers(1, 6)
REACH = 5
STEPS = st.tuples(st.integers(0, 2), HEIGHTS, st.integers(0, 1), st.sampled_from([1, 2]), st.sampled_from([b"a", b"b"]))
BY_GENERAL = st.tuples(st.just("general"), st.integers(0, 2), HEIGHTS)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(STEPS, BY_GENERAL), max_size=25))
def test_it_serves_exactly_what_the_rule_accepts_and_writes(tmp_path: Path, steps: list[tuple[object, ...]]) -> None:
    node = Node(tmp_path / f"promises{next(_NUMBER)}", members=1)
    for number in range(3):
        node.hot.set_reach(number, REACH)
    expected = [Watermark()] * 3
    try:
        for step in steps:
            if step[0] == "general":  # the other side of the store moves a mark
                number, height = int(step[1]), int(step[2])  # type: ignore[call-overload]
                if HRS(height, 9, 3) > expected[number].hrs:
                    expected[number] = Watermark(HRS(height, 9, 3))
                    node.store.write_mark(number, expected[number])
                continue
            number, height, round_, type_, block = step
            row = ROWS[number]  # type: ignore[call-overload]
            data = sign_bytes(row, height, round_, type_, block)  # type: ignore[arg-type]
            decision = decide_promise(expected[number], place(data), data, reach=REACH, signed=Watermark())  # type: ignore[call-overload]
            plain = isinstance(decision, Accept) and decision.write
            sent = framed(promise(row, data))
            node.wires[0].send(sent)
            assert node.wires[0].lane.turn(serve=True) == (b"" if plain else sent)
            assert bool(node.wires[0].received()) == plain
            assert plain or isinstance(decision, Refusal) or not decision.write
            if plain:
                expected[number] = Watermark(place(data), data)  # type: ignore[call-overload]
            assert [node.store.mark(n) for n in range(3)] == expected
        assert node.on_disk() == expected
    finally:
        node.close()


_NUMBER = itertools.count()


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_changed_message_is_served_only_if_it_still_is_one(node: Node, data: st.DataObject) -> None:
    whole = framed(promise(ROWS[0], sign_bytes(ROWS[0], next(_NUMBER) + 1000)))
    answer = framed(Promised(NONCE, (1 << 50) + CHAINS_MAX, Reason.NONE, Watermark(), 3, FIRST))
    sent = bytearray(data.draw(st.sampled_from([whole, answer])))
    for _ in range(data.draw(st.integers(1, 4))):
        sent[data.draw(st.integers(0, len(sent) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del sent[data.draw(st.integers(0, len(sent))) :]
    # what was changed may have become another row's
    before = [node.store.mark(n) for n in range(3)]
    node.wires[0].send(bytes(sent))
    rest = node.wires[0].lane.turn(serve=True)
    assert rest == sent or sent.endswith(rest)
    for one in node.wires[0].received():
        assert isinstance(one, Promised)
        asked = decode(bytes(sent[5 : 4 + int.from_bytes(sent[:4], "little")]))
        assert isinstance(asked, Promise)
        assert any(
            node.store.mark(n).sign_bytes == asked.sign_bytes and place(asked.sign_bytes) > before[n].hrs
            for n in range(3)
        )


@pytest.mark.parametrize("recorded", [FIRST, Incarnation(3, (1 << 63) - 1)], ids=str)
@pytest.mark.parametrize("borne", [FIRST, Incarnation(3, (1 << 63) - 1), Incarnation(3, 7), Incarnation(4, 1)], ids=str)
def test_only_what_bears_what_is_recorded_of_its_sender_is_plain(
    node: Node, recorded: Incarnation, borne: Incarnation
) -> None:
    """Promise and accept alike; and what leaves bears the own one."""
    own = Incarnation(2, 9)
    node.store.write_header(replace(node.store.header, incarnation=own))
    node.hot.set_member("b", recorded, 0)
    asked = framed(replace(promise(ROWS[0], sign_bytes(ROWS[0], 10)), incarnation=borne))
    node.wires[0].send(asked)
    rest = node.wires[0].lane.turn(serve=True)
    assert rest == (b"" if borne == recorded else asked)
    answers = node.wires[0].received()
    assert [one.incarnation for one in answers if isinstance(one, Promised)] == [own] * (borne == recorded)
    assert node.store.mark(0).hrs.height == (10 if borne == recorded else 0)
    assert node.reserve(0, sign_bytes(ROWS[2], 20)) == []
    (request,) = node.wires[0].received()
    assert isinstance(request, Promise)
    assert request.incarnation == own
    accept(node, node.wires[0], request, incarnation=borne)
    assert (node.wires[0].lane.turn(serve=True) == b"") is (borne == recorded)
    assert len(node.granted()) == (borne == recorded)


@pytest.mark.parametrize(("seq", "plain"), [(1 << 40, True), ((1 << 40) + 1, False), ((1 << 64) - 1, False)])
def test_a_seq_that_no_promises_make_is_the_general_paths(node: Node, seq: int, plain: bool) -> None:
    sent = framed(replace(promise(ROWS[0], sign_bytes(ROWS[0], 10)), seq=0))
    raw = bytearray(sent)
    assert raw[-4:] == b"\x00\x92\x00\x00"
    raw[-4:-3] = b"\xcf" + seq.to_bytes(8, "big")
    raw[:4] = (len(raw) - 4).to_bytes(4, "little")
    node.wires[0].send(bytes(raw))
    assert (node.wires[0].lane.turn(serve=True) == b"") is plain
    assert node.hot.seq_of("b") == (seq if plain else 0)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=400))
def test_random_bytes_are_the_general_paths(node: Node, sent: bytes) -> None:
    node.wires[0].send(sent)
    assert node.wires[0].lane.turn(serve=True) == sent


def test_a_bad_tag_the_end_and_an_empty_socket_are_told_apart(node: Node) -> None:
    lane, end = node.wires[0].lane, node.wires[0].end
    with pytest.raises(BlockingIOError):
        lane.turn(serve=True)
    end.sendall(b"x" * 1044)
    with pytest.raises(ProtocolError):
        lane.turn(serve=True)
    end.close()
    with pytest.raises(EOFError):
        lane.turn(serve=True)


# --- the signer's reservation ---


def accept(node: Node, wire: Wire, asked: PeerMessage, **changed: object) -> None:
    assert isinstance(asked, Promise)
    fields = {
        "nonce": asked.nonce,
        "request_id": asked.request_id,
        "reason": Reason.NONE,
        "mark": Watermark(),
        "seq": 9,
        "incarnation": FIRST,
    }
    wire.send(framed(Promised(**{**fields, **changed})))  # type: ignore[arg-type]


def test_the_members_are_asked_after_the_own_promise_and_the_first_accept_is_a_majority(node: Node) -> None:
    data = sign_bytes(ROWS[2], 20)
    assert node.reserve(0, data) == []
    assert node.store.mark(2) == Watermark(HRS(20, 0, 2), data)
    asked = [wire.received() for wire in node.wires]
    for (one,) in asked:
        assert isinstance(one, Promise)
        assert (one.nonce, one.public_key, one.sign_bytes) == (NONCE, ROWS[2].public_key, data)
        assert one.request_id % CHAINS_MAX == 2
    assert node.granted() == []
    accept(node, node.wires[1], asked[1][0])
    assert node.wires[1].lane.turn(serve=True) == b""
    assert node.granted() == [PermitGranted(99, 7, 0, Permit(data))]
    accept(node, node.wires[0], asked[0][0])
    assert node.wires[0].lane.turn(serve=True) == b""
    assert node.granted() == []  # once
    assert node.hot.seq_of("b") == node.hot.seq_of("c") == 9
    assert len(node.synced) == len(node.permitted) == 1
    assert node.on_disk()[2] == Watermark(HRS(20, 0, 2), data)


def test_one_node_alone_is_its_own_majority(tmp_path: Path) -> None:
    node = Node(tmp_path / "promises", members=0)
    data = sign_bytes(ROWS[0], 20)
    assert node.reserve(1, data) == []
    assert node.granted() == [PermitGranted(99, 7, 1, Permit(data))]
    assert node.on_disk()[0].sign_bytes == data
    node.close()


@pytest.mark.parametrize(
    "changed", [{"nonce": 1}, {"request_id": (1 << 50) + 64 * 77 + 2}, {"reason": Reason.CONFLICT}]
)
def test_an_answer_to_something_else_or_a_refusal_is_no_accept(node: Node, changed: dict[str, object]) -> None:
    data = sign_bytes(ROWS[2], 20)
    node.reserve(0, data)
    (asked,) = node.wires[0].received()
    accept(node, node.wires[0], asked, **changed)
    rest = node.wires[0].lane.turn(serve=True)
    assert bool(rest) == ("request_id" not in changed)
    assert node.granted() == []


def test_one_member_does_not_count_twice(tmp_path: Path) -> None:
    node = Node(tmp_path / "promises")
    node.hot.c.quorum = 3
    node.reserve(0, sign_bytes(ROWS[2], 20))
    (asked,) = node.wires[0].received()
    for _ in range(3):
        accept(node, node.wires[0], asked)
    node.wires[0].lane.turn(serve=True)
    assert node.granted() == []
    (other,) = node.wires[1].received()
    accept(node, node.wires[1], other)
    node.wires[1].lane.turn(serve=True)
    assert len(node.granted()) == 1
    node.close()


def test_a_late_accept_of_an_earlier_place_does_not_count_for_the_next(node: Node) -> None:
    node.reserve(0, sign_bytes(ROWS[2], 20))
    (first,) = node.wires[0].received()
    node.reserve(0, sign_bytes(ROWS[2], 21), request_id=8)
    accept(node, node.wires[0], first)
    node.wires[0].lane.turn(serve=True)
    assert node.granted() == []


def test_a_permit_is_for_the_bytes_that_were_asked_whatever_the_mark_is_by_then(node: Node) -> None:
    data = sign_bytes(ROWS[2], 20)
    node.reserve(0, data)
    (asked,) = node.wires[0].received()
    node.store.write_mark(2, Watermark(HRS(30, 0, 3)))
    accept(node, node.wires[0], asked)
    node.wires[0].lane.turn(serve=True)
    assert node.granted() == [PermitGranted(99, 7, 0, Permit(data))]


def test_a_reservation_given_back_is_not_permitted_any_more(node: Node) -> None:
    data = sign_bytes(ROWS[2], 20)
    node.reserve(0, data)
    (asked,) = node.wires[0].received()
    assert node.hot.waiting(0) == [2]
    back = node.hot.abandon(2)
    assert back is not None
    assert (back.nonce, back.request_id, back.chain, back.hrs, back.sign_bytes) == (99, 7, 0, HRS(20, 0, 2), data)
    assert node.hot.abandon(2) is None
    assert node.hot.waiting(0) == []
    accept(node, node.wires[0], asked)
    node.wires[0].lane.turn(serve=True)
    assert node.granted() == []


@pytest.mark.parametrize("why", ["not leading", "not ready", "place", "mark", "floor", "chain", "garbage", "blocked"])
def test_a_reservation_that_is_not_plain_is_the_general_paths(node: Node, why: str) -> None:
    data, chain, hrs = sign_bytes(ROWS[2], 20), 0, None
    node.propose, node.promise = why != "not leading", why != "not ready"
    if why == "place":
        hrs = HRS(21, 0, 2)
    elif why == "mark":
        node.store.write_mark(2, Watermark(HRS(20, 0, 2), data))
    elif why == "floor":
        node.hot.raise_floor(2, HRS(25, 0, 1))
    elif why == "chain":
        chain = 3
    elif why == "garbage":
        data, hrs = b"\x01" + data, HRS(20, 0, 2)
    elif why == "blocked":
        node.wires[1].lane.blocked = True
    before = node.store.mark(2)
    (rest,) = node.reserve(chain, data, hrs=hrs)
    assert decode_queue(rest) == Reserve(99, 7, chain, hrs or place(data), data)
    assert node.store.mark(2) == before
    assert [wire.received() for wire in node.wires] == [[], []]


def test_reports_wait_behind_reservations_and_keep_their_order(node: Node) -> None:
    reports = [Signed(0, HRS(height, 0, 2), sign_bytes(ROWS[2], height), b"s" * 64) for height in (1, 2)]
    data = sign_bytes(ROWS[2], 20)
    for message in (*reports, Reserve(99, 7, 0, place(data), data)):
        assert node.requests.push(encode_queue(message))
    rest, taken = node.hot.take(node.requests)
    assert ([decode_queue(one) for one in rest], taken) == (reports, 3)
    assert len(node.wires[0].received()) == 1
    assert node.hot.take(node.requests) == ([], 0)


def test_a_reservation_of_every_chain_shares_one_sync(node: Node) -> None:
    for chain, number in enumerate((2, 0, 1)):
        data = sign_bytes(ROWS[number], 20)
        assert node.requests.push(encode_queue(Reserve(99, chain, chain, place(data), data)))
    assert node.hot.take(node.requests) == ([], 3)
    assert len(node.synced) == 1
    asked = node.wires[0].received()
    assert len(asked) == 3
    for one in asked:
        accept(node, node.wires[0], one)
    node.wires[0].lane.turn(serve=True)
    assert sorted(one.request_id for one in node.granted()) == [0, 1, 2]


# --- what fails ---


def test_a_store_that_cannot_be_written_answers_nobody_and_stays_dead(node: Node) -> None:
    read_only = os.open(node.path, os.O_RDONLY)
    node.hot.c.store.fd = read_only
    node.wires[0].send(framed(promise(ROWS[0], sign_bytes(ROWS[0], 10))))
    with pytest.raises(StoreFailure):
        node.wires[0].lane.turn(serve=True)
    node.hot.c.store.fd = node.store.fileno()
    with pytest.raises(StoreFailure):
        node.reserve(0, sign_bytes(ROWS[2], 20))
    assert [wire.received() for wire in node.wires] == [[], []]
    assert node.granted() == []
    os.close(read_only)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EROFS, errno.EBADF])
def test_a_store_that_failed_names_its_file_and_the_cure_that_every_file_has(node: Node, number: int) -> None:
    node.hot.c.store.error = number
    with pytest.raises(StoreFailure) as failed:
        node.reserve(0, sign_bytes(ROWS[2], 20))
    words = f"{node.path}: {os.strerror(number).lower()}"
    cure = disk_failure(OSError(number, os.strerror(number), str(node.path)))
    assert str(failed.value) == (words if number == errno.EBADF else str(cure))
    assert str(failed.value).startswith(words)
    assert ("; cure: " in str(failed.value)) == (number != errno.EBADF)


def test_a_socket_that_takes_no_more_leaves_the_rest_to_the_owner(node: Node) -> None:
    wire = node.wires[0]
    height = 1
    while not wire.lane.blocked:
        node.reserve(0, sign_bytes(ROWS[2], height))
        height += 1
        assert height < 5000
    unsent = wire.lane.take_unsent()
    assert unsent
    assert wire.lane.take_unsent() == b""
    assert len(node.reserve(0, sign_bytes(ROWS[2], height))) == 1  # nothing overtakes it
    asked = wire.received()
    wire.frames.open(unsent)  # authentic, and in its place
    assert len(asked) < height


def test_a_full_queue_to_the_signer_is_said(tmp_path: Path) -> None:
    node = Node(tmp_path / "promises", members=0)
    with pytest.raises(InvariantError):
        for height in range(1, 1000):
            node.reserve(0, sign_bytes(ROWS[2], height))
    node.close()


def test_a_lane_that_is_closed_is_not_asked(node: Node) -> None:
    node.wires[0].lane.close()
    node.reserve(0, sign_bytes(ROWS[2], 20))
    assert node.wires[0].received() == []
    assert len(node.wires[1].received()) == 1


def test_a_sync_is_timed_whether_it_is_for_a_member_or_for_this_node(node: Node) -> None:
    wire = node.wires[0]
    wire.send(framed(promise(ROWS[0], sign_bytes(ROWS[0], 5), 1)))
    assert wire.lane.turn(serve=True) == b""
    assert len(node.synced) == 1
    node.reserve(2, sign_bytes(ROWS[1], 5))
    assert len(node.synced) == 2
    assert min(node.synced) > 0


def test_what_flows_is_told_with_its_time_and_each_way_by_itself(node: Node) -> None:
    """For the replicated log, whose heartbeats rest meanwhile."""
    assert [node.hot.flow(name) for name in ("b", "c")] == [(0.0, 0.0), (0.0, 0.0)]
    before = time.monotonic()
    node.wires[0].send(framed(promise(ROWS[0], sign_bytes(ROWS[0], 5))))
    node.wires[0].lane.turn(serve=True)
    promised_at, accepted_at = node.hot.flow("b")
    assert before <= promised_at <= time.monotonic()
    assert (accepted_at, node.hot.flow("c")) == (0.0, (0.0, 0.0))


def test_an_accept_tells_that_its_member_lives_also_when_it_is_late(node: Node) -> None:
    node.reserve(0, sign_bytes(ROWS[2], 20))
    for wire in node.wires:
        (asked,) = wire.received()
        accept(node, wire, asked)
    before = time.monotonic()
    for name, wire in zip(("b", "c"), node.wires, strict=True):
        wire.lane.turn(serve=True)
        promised_at, accepted_at = node.hot.flow(name)
        assert before <= accepted_at <= time.monotonic()
        assert promised_at == 0.0
    node.wires[0].lane.close()
    assert node.hot.flow("b") == (0.0, 0.0)
    node.connect("b")
    assert node.hot.flow("b") == (0.0, 0.0), "a new connection begins anew"


def test_what_is_not_served_here_is_no_flow(node: Node) -> None:
    node.promise = False
    node.wires[0].send(framed(promise(ROWS[0], sign_bytes(ROWS[0], 5))))
    node.wires[0].lane.turn(serve=True)
    assert node.hot.flow("b") == (0.0, 0.0)


# --- the table of system calls ---


def test_a_path_calls_libc_through_a_table_that_is_read_only(node: Node) -> None:
    """What the simulation replaces in its own objects, nothing replaces in a node: the table is
    constant memory of the library.
    """
    table = lib.ck_calls_of_libc()
    signer = CORE.sign_path(nonce=1, reservations=node.requests, permits=node.permits, slots=[])
    assert isinstance(signer, NativeSignPath)
    assert node.hot.c.calls == signer.c.calls == table
    at = int(ffi.cast("uintptr_t", table))
    libc = ctypes.CDLL(None)
    for name in ("recv", "send", "pwrite", "fdatasync"):
        address = ctypes.cast(getattr(libc, name), ctypes.c_void_p).value
        assert int(ffi.cast("uintptr_t", getattr(table, name))) == address
    assert abs(table.now_ns() - time.monotonic_ns()) < 10**9 * 3600
    mapped = [line.split()[:2] for line in Path("/proc/self/maps").read_text().splitlines()]
    (rights,) = [
        rights
        for span, rights in mapped
        if int(span.split("-")[0], 16) <= at < int(span.split("-")[1], 16) - ffi.sizeof("ck_calls")
    ]
    assert rights == "r--p"


def test_nothing_in_the_program_names_the_table_but_who_makes_a_path() -> None:
    package = Path(native.__file__).parents[2]
    sets = re.compile(r"\.calls\b(?!\.now_ns\()")
    found = [
        (path.relative_to(package).as_posix(), line.strip())
        for path in sorted(package.rglob("*.py"))
        for line in path.read_text().splitlines()
        if sets.search(line)
    ]
    expected = "c.calls = lib.ck_calls_of_libc()"
    assert found == [(f"core/native/{name}.py", expected) for name in ("hot", "relay", "sign")]
