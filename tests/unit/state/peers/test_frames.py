"""Frames over one sealed stream: however the bytes are cut, and whatever the socket
takes of them at a time.
"""

import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometkms.core import choose
from cometkms.errors import ProtocolError
from cometkms.limits import INBOX_BYTES
from cometkms.state.peers.frames import FrameReader, FrameType, Stream

CORE = choose.load()
KEY_IN, KEY_OUT = b"i" * 32, b"o" * 32


class Socket:
    """Takes as many bytes as `room` says, one number a call; then all."""

    def __init__(self, room: Sequence[int] = ()) -> None:
        self.room = list(room)
        self.taken = b""
        self.arrives: list[bytes] = []

    def send(self, data: bytes | bytearray) -> int:
        size = min(self.room.pop(0), len(data)) if self.room else len(data)
        if size == 0:
            raise BlockingIOError
        self.taken += bytes(data[:size])
        return size

    def recv_into(self, buffer: bytearray) -> int:
        if not self.arrives:
            raise BlockingIOError
        data = self.arrives.pop(0)
        buffer[: len(data)] = data
        return len(data)


class Lane:
    """A lane that leaves bytes unsent, and gives back what it was given."""

    def __init__(self) -> None:
        self.blocked = False
        self.unsent = b""
        self.served = 0
        self.turns: list[bool] = []

    def turn(self, *, serve: bool) -> bytes:
        self.turns.append(serve)
        return b"\x05"

    def take_unsent(self) -> bytes:
        unsent, self.unsent = self.unsent, b""
        return unsent

    def close(self) -> None: ...


def stream(socket: Socket) -> Stream:
    return Stream(socket, CORE.frames(KEY_IN, KEY_OUT), b"")


@given(st.lists(st.binary(max_size=60), max_size=8), st.data())
def test_any_split_of_the_stream_gives_the_same_frames(payloads: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(struct.pack("<IB", 1 + len(one), FrameType.DATA) + one for one in payloads)
    reader, found = FrameReader(64), []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        reader.feed(stream[:cut])
        stream = stream[cut:]
        while (frame := reader.next()) is not None:
            found.append(frame)
    assert found == [(FrameType.DATA, one) for one in payloads]


@given(st.lists(st.binary(max_size=2000), max_size=6), st.lists(st.integers(0, 900), max_size=30))
def test_whatever_the_socket_takes_at_a_time_the_frames_leave_whole_and_in_their_order(
    payloads: list[bytes], room: list[int]
) -> None:
    socket = Socket(room)
    sender = stream(socket)
    for payload in payloads:
        sender.write(FrameType.DATA, payload)
    while sender.outbox.waits:
        sender.outbox.flush()
    reader = FrameReader(4000)
    reader.feed(CORE.frames(KEY_OUT, KEY_IN).open(socket.taken))
    found = []
    while (frame := reader.next()) is not None:
        found.append(frame)
    assert found == [(FrameType.DATA, payload) for payload in payloads]


def test_a_lane_is_blocked_while_bytes_wait_and_its_own_unsent_bytes_leave_first() -> None:
    socket, lane = Socket([0, 3]), Lane()
    one = stream(socket)
    one.adopt(lane)
    lane.blocked, lane.unsent = True, b"sealed by the lane"
    one.outbox.collect()
    one.write(FrameType.PING, b"behind it")
    assert one.outbox.waits
    assert len(one.outbox) > len(b"sealed by the lane")
    one.outbox.flush()  # takes nothing
    one.outbox.flush()
    assert (socket.taken, lane.blocked) == (b"sea", True)
    one.outbox.flush()
    assert (socket.taken[:18], lane.blocked, one.outbox.waits) == (b"sealed by the lane", False, False)


def test_a_lane_that_is_adopted_behind_waiting_bytes_is_blocked() -> None:
    one, lane = stream(Socket([0])), Lane()
    one.write(FrameType.OK, b"")
    one.adopt(lane)
    assert lane.blocked


def test_a_lane_that_took_back_nothing_is_let_go_at_the_next_flush() -> None:
    one, lane = stream(Socket()), Lane()
    one.adopt(lane)
    lane.blocked = True
    one.outbox.collect()
    assert one.outbox.waits
    one.outbox.flush()
    assert not lane.blocked


def test_a_lane_serves_nothing_while_a_part_of_a_frame_waits_here() -> None:
    one, lane = stream(Socket()), Lane()
    one.adopt(lane)
    assert one.receive(bytearray(8))
    assert one.receive(bytearray(8))
    assert lane.turns == [True, False]


def test_the_end_a_bad_tag_and_an_empty_socket_are_told_apart() -> None:
    socket = Socket()
    one, inbox = stream(socket), bytearray(INBOX_BYTES)
    with pytest.raises(BlockingIOError):
        one.receive(inbox)
    socket.arrives = [b"", b"x" * 1044]
    with pytest.raises(EOFError):
        one.receive(inbox)
    with pytest.raises(ProtocolError):
        one.receive(inbox)
