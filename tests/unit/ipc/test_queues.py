"""The queue between two processes: what each end may rely on, whatever the other one does.

Both implementations.
"""

import os
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator

import pytest

from cometkms.core.interface import Queue
from cometkms.core.native import queue as native_queue
from cometkms.core.native.queue import RingQueue
from cometkms.core.pure.queue import SocketQueue
from cometkms.errors import InvariantError
from cometkms.ipc.queues import make_queue
from cometkms.limits import QUEUE_SLOT_BYTES

PAYLOAD_MAX = QUEUE_SLOT_BYTES - 8
RING_SLOTS = 256
HEAD_AT, TAIL_AT, SLOTS_AT = 0, 64, 128  # csrc/ring.h
INDEX = struct.Struct("=Q")
LENGTH = struct.Struct("=I")


@pytest.fixture(params=["native", "pure"])
def queue(request: pytest.FixtureRequest) -> Iterator[Queue]:
    made = make_queue(request.param)
    yield made
    made.close()


@pytest.fixture
def ring() -> Iterator[RingQueue]:
    made = RingQueue()
    yield made
    made.close()


def awake(queue: Queue) -> bool:
    return bool(select.select([queue.fileno()], [], [], 0)[0])


def indices(ring: RingQueue) -> tuple[int, int]:
    return INDEX.unpack_from(ring._memory, HEAD_AT)[0], INDEX.unpack_from(ring._memory, TAIL_AT)[0]


def test_a_process_that_closes_what_it_inherited_keeps_no_way_in_and_takes_nothing_from_the_others(
    queue: Queue,
) -> None:
    def shared() -> int:
        return sum("/dev/zero" in line for line in open("/proc/self/maps").readlines())

    before = shared()
    pid = os.fork()
    if pid == 0:
        descriptor = queue.fileno()
        queue.close()
        gone = shared() == before - 1
        try:
            os.fstat(descriptor)
        except OSError:
            os._exit(0 if gone else 2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert shared() == before
    assert queue.push(b"still here")
    assert queue.pop() == b"still here"


def test_messages_of_every_size_come_out_as_they_went_in_and_in_order(queue: Queue) -> None:
    for size in range(1, PAYLOAD_MAX + 1):
        sent = [bytes([size % 251]) * size, os.urandom(size)]
        assert [queue.push(message) for message in sent] == [True, True]
        assert [queue.pop(), queue.pop(), queue.pop()] == [*sent, None]


@pytest.mark.parametrize("size", [0, PAYLOAD_MAX + 1, QUEUE_SLOT_BYTES, 70_000])
def test_a_message_that_fits_no_slot_is_our_bug_and_writes_nothing(queue: Queue, size: int) -> None:
    with pytest.raises(InvariantError, match=f"{size} bytes"):
        queue.push(bytes(size))
    assert not awake(queue)
    assert queue.pop() is None


def test_a_full_queue_takes_nothing_and_loses_nothing(queue: Queue) -> None:
    sent = 0
    while queue.push(struct.pack("=Q", sent) * 63):
        sent += 1
    assert sent >= 64
    assert not queue.push(b"too much")
    assert queue.pop() == struct.pack("=Q", 0) * 63
    for expected in range(1, sent):
        assert queue.pop() == struct.pack("=Q", expected) * 63
    assert queue.pop() is None
    assert queue.push(b"room again")
    assert queue.pop() == b"room again"


def test_the_ring_holds_exactly_its_slots(ring: RingQueue) -> None:
    assert [ring.push(b"x") for _ in range(RING_SLOTS + 1)] == [True] * RING_SLOTS + [False]


def test_the_wake_up_lasts_until_the_queue_was_seen_empty(queue: Queue) -> None:
    assert not awake(queue)
    queue.push(b"1")
    queue.push(b"2")
    assert awake(queue)
    assert queue.pop() == b"1"
    assert awake(queue)
    assert queue.pop() == b"2"
    assert queue.pop() is None
    assert not awake(queue)
    queue.push(b"3")
    assert awake(queue)


def test_a_push_without_wake_up_is_found_by_the_next_look(queue: Queue) -> None:
    assert queue.push(b"report", wake=False)
    queue.wake()
    assert awake(queue)
    assert queue.push(b"second", wake=False)
    assert [queue.pop(), queue.pop(), queue.pop()] == [b"report", b"second", None]


def test_a_push_between_the_last_look_and_the_clearing_is_not_lost(
    ring: RingQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The producer's push and wake-up fall exactly between "empty" and "clear": the consumer must
    not sleep on it.
    """
    clear = os.eventfd_read

    def push_then_clear(fd: int) -> int:
        monkeypatch.setattr(native_queue.os, "eventfd_read", clear)
        ring.push(b"in between")
        return clear(fd)

    monkeypatch.setattr(native_queue.os, "eventfd_read", push_then_clear)
    assert ring.pop() == b"in between"
    assert ring.pop() is None


def test_a_wake_up_between_the_clearing_and_the_second_look_stays(
    ring: RingQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    clear = os.eventfd_read

    def clear_then_push(fd: int) -> int:
        monkeypatch.setattr(native_queue.os, "eventfd_read", clear)
        try:
            return clear(fd)
        finally:
            ring.push(b"first")
            ring.push(b"second")

    monkeypatch.setattr(native_queue.os, "eventfd_read", clear_then_push)
    assert ring.pop() == b"first"
    assert awake(ring), "the second message's wake-up was cleared"


def test_a_producer_whose_wake_ups_nobody_reads_is_not_blocked(ring: RingQueue) -> None:
    os.eventfd_write(ring.fileno(), 2**64 - 2)  # the counter is full: a further write would block
    assert ring.push(b"x")
    assert awake(ring)
    assert ring.pop() == b"x"


def test_discard_drops_everything_and_counts_it(queue: Queue) -> None:
    for _ in range(7):
        queue.push(b"old")
    assert queue.discard() == 7
    assert queue.discard() == 0
    assert not awake(queue)
    queue.push(b"new")
    assert queue.pop() == b"new"


def test_depth_is_how_many_messages_wait(queue: Queue) -> None:
    assert queue.depth() == 0
    for number in range(5):
        assert queue.push(b"x")
        assert queue.depth() == number + 1
    for number in range(5):
        assert queue.pop() == b"x"
        assert queue.depth() == 4 - number
    assert queue.pop() is None
    assert queue.depth() == 0
    while queue.push(bytes(400)):
        pass
    full = queue.depth()
    assert not queue.push(b"x")
    assert queue.depth() == full
    assert queue.discard() == full
    assert queue.depth() == 0


def test_depth_of_corrupt_indices_is_bounded(ring: RingQueue) -> None:
    for head, tail in ((0, RING_SLOTS + 1), (1, 0), (2**63, 0)):
        INDEX.pack_into(ring._memory, HEAD_AT, head)
        INDEX.pack_into(ring._memory, TAIL_AT, tail)
        assert ring.depth() == RING_SLOTS


@pytest.mark.parametrize("died_after_counting", [True, False])
def test_a_count_that_an_end_died_over_is_right_again_once_the_queue_was_empty(died_after_counting: bool) -> None:
    queue = SocketQueue()
    try:
        if died_after_counting:  # the producer, before it sent
            queue._counts[0] += 1
        else:  # the consumer, before it counted
            queue.push(b"x")
            queue._reader.recv(QUEUE_SLOT_BYTES)
        assert queue.depth() == 1
        assert queue.pop() is None
        assert queue.depth() == 0
        queue.push(b"y")
        assert queue.depth() == 1
    finally:
        queue.close()


def test_spin_says_whether_there_is_something_to_pop(queue: Queue) -> None:
    assert queue.spin(1000) is False
    queue.push(b"x")
    assert queue.spin(1) is True
    assert queue.pop() == b"x"


# --- what the other side may have done to the shared memory ---


@pytest.mark.parametrize(
    ("head", "tail"), [(0, RING_SLOTS + 1), (1, 0), (0, 2**64 - 1), (2**63, 0), (5, 5 + RING_SLOTS + 1)]
)
def test_corrupt_indices_are_refused_by_both_ends_and_left_alone(ring: RingQueue, head: int, tail: int) -> None:
    INDEX.pack_into(ring._memory, HEAD_AT, head)
    INDEX.pack_into(ring._memory, TAIL_AT, tail)
    with pytest.raises(InvariantError):
        ring.pop()
    with pytest.raises(InvariantError):
        ring.push(b"x")
    assert indices(ring) == (head, tail)


@pytest.mark.parametrize("length", [0, PAYLOAD_MAX + 1, QUEUE_SLOT_BYTES, 2**31, 2**32 - 1])
def test_an_impossible_length_in_shared_memory_is_refused_and_not_taken(ring: RingQueue, length: int) -> None:
    ring.push(b"x")
    LENGTH.pack_into(ring._memory, SLOTS_AT, length)
    for _ in range(2):
        with pytest.raises(InvariantError):
            ring.pop()
    assert indices(ring) == (0, 1)


def test_what_a_producer_wrote_and_did_not_publish_is_invisible(ring: RingQueue) -> None:
    """A producer killed in the middle of a write has not moved the tail; its successor
    writes the slot anew.
    """
    LENGTH.pack_into(ring._memory, SLOTS_AT, 4)
    ring._memory[SLOTS_AT + 8 : SLOTS_AT + 12] = b"half"
    assert ring.pop() is None
    ring.push(b"whole")
    assert ring.pop() == b"whole"


def test_indices_may_wrap(ring: RingQueue) -> None:
    start = 2**64 - 3
    INDEX.pack_into(ring._memory, HEAD_AT, start)
    INDEX.pack_into(ring._memory, TAIL_AT, start)
    for number in range(RING_SLOTS):
        assert ring.push(b"%d" % number)
    assert not ring.push(b"full")
    assert [ring.pop() for _ in range(RING_SLOTS)] == [b"%d" % number for number in range(RING_SLOTS)]
    assert ring.pop() is None


@pytest.mark.parametrize("message", [b"", bytes(PAYLOAD_MAX + 1), bytes(QUEUE_SLOT_BYTES), bytes(4 * QUEUE_SLOT_BYTES)])
def test_an_impossible_message_in_the_socket_is_refused(message: bytes) -> None:
    queue = SocketQueue()
    try:
        with socket.socket(fileno=os.dup(queue._writer.fileno())) as other_side:
            other_side.send(message)
        with pytest.raises(InvariantError):
            queue.pop()
    finally:
        queue.close()


def test_close_gives_back_every_descriptor() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for core_name in ("native", "pure"):
        for _ in range(50):
            make_queue(core_name).close()
    assert len(os.listdir("/proc/self/fd")) == before


# --- real processes: tests/unit/ipc/traffic.py checks order, content, duplicates and gaps, and says how many it saw ---


def traffic(scenario: str, core_name: str, amount: int) -> int:
    """Run a scenario in a process of its own (it forks); returns how many messages arrived, all as
    they should.
    """
    command = [sys.executable, "-m", "tests.unit.ipc.traffic", scenario, core_name, str(amount)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize(("core_name", "amount"), [("native", 600_000), ("pure", 150_000)])
def test_two_processes_at_full_speed_lose_and_change_nothing(core_name: str, amount: int) -> None:
    """The consumer sleeps on the descriptor whenever the queue is empty: one lost wake-up would end
    this in a timeout.
    """
    assert traffic("hammer", core_name, amount) == amount


@pytest.mark.parametrize("core_name", ["native", "pure"])
def test_a_producer_killed_in_the_middle_is_replaced_without_a_trace(core_name: str) -> None:
    assert traffic("kill-producer", core_name, 40) > 0


@pytest.mark.parametrize("core_name", ["native", "pure"])
def test_a_consumer_killed_in_the_middle_is_replaced_without_a_duplicate(core_name: str) -> None:
    assert traffic("kill-consumer", core_name, 40) > 0


def test_a_consumer_stopped_in_the_middle_of_a_full_queue_goes_on_where_it_was() -> None:
    assert traffic("stop-consumer", "native", 10) > 0


def test_the_traffic_script_notices_what_it_must_notice() -> None:
    """The tests above can fail: a message that is dropped, repeated or changed ends the
    script with an error.
    """
    for fault in ("drop", "repeat", "change"):
        command = [sys.executable, "-m", "tests.unit.ipc.traffic", "hammer", "native", "2000", fault]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode not in (0, -signal.SIGKILL), fault
        assert "expected" in done.stderr or "changed" in done.stderr, done.stderr
