"""Queues, board and messages between processes."""

import os
import random
import signal
import struct
import time
from collections import deque
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cometkms.errors import InvariantError
from cometkms.interface import Queue
from cometkms.ipc.board import Board
from cometkms.ipc.messages import (
    Lease,
    Mark,
    PermitGranted,
    Reserve,
    ReserveRefused,
    Signed,
    SignerHello,
    StateHello,
    decode,
    encode,
)
from cometkms.ipc.queues import make_queue
from cometkms.limits import BOARD_SECTION_BYTES, QUEUE_SLOT_BYTES, QUEUE_SLOTS
from cometkms.model import HRS, Reason, Watermark

PAYLOAD_MAX = QUEUE_SLOT_BYTES - 8


@pytest.fixture(params=["native", "pure"])
def queue(request: pytest.FixtureRequest) -> Queue:
    return make_queue(request.param)


def wait_readable(queue: Queue, patience_s: float = 20) -> bool:
    import select

    return bool(select.select([queue.fileno()], [], [], patience_s)[0])


def test_messages_come_out_in_order_and_whole(queue: Queue) -> None:
    messages = [bytes([n % 251]) * (1 + n * 37 % PAYLOAD_MAX) for n in range(100)]
    for message in messages:
        assert queue.push(message)
    assert [queue.pop() for _ in messages] == messages
    assert queue.pop() is None


def test_impossible_lengths_are_refused(queue: Queue) -> None:
    for message in (b"", bytes(PAYLOAD_MAX + 1)):
        with pytest.raises(InvariantError):
            queue.push(message)
    assert queue.push(bytes(PAYLOAD_MAX))


def test_a_full_queue_says_so_and_loses_nothing(queue: Queue) -> None:
    count = 0
    while queue.push(struct.pack("<Q", count)):
        count += 1
        assert count < 100_000
    assert count >= QUEUE_SLOTS or count > 50
    for number in range(count):
        assert queue.pop() == struct.pack("<Q", number)
    assert queue.push(b"again")
    assert queue.discard() == 1


def test_the_consumer_is_woken_and_sleeps_again(queue: Queue) -> None:
    assert not wait_readable(queue, 0)
    queue.push(b"x")
    assert wait_readable(queue, 5)
    assert queue.pop() == b"x"
    assert queue.pop() is None
    assert not wait_readable(queue, 0)


def test_spin_finds_what_is_there_and_gives_up(queue: Queue) -> None:
    assert not queue.spin(1000)
    queue.push(b"x")
    assert queue.spin(1000)


def consume(queue: Queue, wanted: int) -> None:
    """A consumer process: the numbers must follow one another. Exits 0 or 1."""
    expected = None
    while expected is None or expected < wanted:
        if not wait_readable(queue):
            os._exit(2)
        while (message := queue.pop()) is not None:
            number = struct.unpack_from("<Q", message)[0]
            if expected is not None and number != expected:
                os._exit(1)
            expected = number + 1
    os._exit(0)


def spawn(run: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            run()
        finally:
            os._exit(3)
    return pid


def test_two_processes_hand_over_many_messages(queue: Queue) -> None:
    wanted = 50_000
    consumer = spawn(lambda: consume(queue, wanted))
    for number in range(wanted):
        while not queue.push(struct.pack("<Q", number) + bytes(number % 200)):
            time.sleep(0)
    assert os.waitstatus_to_exitcode(os.waitpid(consumer, 0)[1]) == 0


def test_a_killed_consumer_is_replaced_and_nothing_is_corrupt(queue: Queue) -> None:
    """What the dead one had taken is gone; what follows comes in order, once."""
    choose, number = random.Random(1), 0
    for _ in range(10):
        consumer = spawn(lambda: consume(queue, 1 << 60))
        for _ in range(choose.randint(10, 2000)):
            if queue.push(struct.pack("<Q", number)):
                number += 1
        os.kill(consumer, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(consumer, 0)[1]) == -signal.SIGKILL
    seen = []
    while (message := queue.pop()) is not None:
        seen.append(struct.unpack("<Q", message)[0])
    assert seen == list(range(number - len(seen), number))


@pytest.mark.parametrize("core_name", ["native", "pure"])
@given(st.lists(st.one_of(st.binary(min_size=1, max_size=PAYLOAD_MAX), st.none()), max_size=60))
@settings(max_examples=100, deadline=None)
def test_the_queue_is_a_queue(core_name: str, operations: list[bytes | None]) -> None:
    queue, model = make_queue(core_name), deque[bytes]()
    for operation in operations:
        if operation is None:
            assert queue.pop() == (model.popleft() if model else None)
        elif queue.push(operation):
            model.append(operation)
    queue.close()  # type: ignore[attr-defined]


MESSAGES = [
    SignerHello(1),
    StateHello((1 << 64) - 1),
    Reserve(2, 3, 4, HRS(5, 6, 3), b"bytes"),
    Signed(1, HRS(9, 0, 1), b"b" * 224, b"s" * 64),
    Mark(7, 2, Watermark(HRS(1, 2, 3), b"", b"")),
    Mark(7, 2, Watermark(HRS((1 << 63) - 1, (1 << 31) - 1, 3), b"x", b"s" * 64)),
    Lease(8, granted=True),
    PermitGranted(1, 2, 3, b"bytes"),
    ReserveRefused(1, 2, 3, Reason.CONFLICT, HRS(4, 5, 2)),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_messages_decode_to_what_was_encoded_and_fit_a_slot(message: object) -> None:
    encoded = encode(message)  # type: ignore[arg-type]
    assert len(encoded) <= PAYLOAD_MAX
    assert decode(encoded) == message


@given(st.binary(max_size=400))
@settings(max_examples=300, deadline=None)
def test_what_does_not_decode_is_our_bug_and_said(data: bytes) -> None:
    try:
        decode(data)
    except (InvariantError, ValueError):
        return


def test_a_board_section_is_whole_or_not_read() -> None:
    board = Board(("state",), ("state",))
    assert board.sections() == {"state": None}

    def write() -> None:
        number = 0
        while True:
            number += 1
            board.section("state").write({"number": number, "padding": "x" * (number % 5000), "again": number})

    writer = spawn(write)
    read = 0
    deadline = time.monotonic() + 20
    while read < 500 and time.monotonic() < deadline:
        document = board.section("state").read()
        if document is not None:
            assert document["number"] == document["again"]
            read += 1
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    assert read == 500
    board.section("state").write({"number": 0})  # a successor of a writer that died in the middle
    assert board.section("state").read() == {"number": 0}


def test_a_document_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InvariantError):
        Board(("state",), ()).section("state").write({"x": "y" * BOARD_SECTION_BYTES})


def test_heartbeats_age_and_are_forgotten() -> None:
    board = Board((), ("signer", "api"))
    assert board.beat_ages_s() == {"signer": None, "api": None}
    board.beat("signer")
    age = board.beat_ages_s()["signer"]
    assert age is not None
    assert 0 <= age < 20
    board.forget_beat("signer")
    assert board.beat_ages_s()["signer"] is None
