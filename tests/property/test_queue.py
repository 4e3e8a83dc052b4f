"""Any sequence of pushes, pops and discards: each queue behaves as a deque with a bound."""

import select
import struct
from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cometkms.core.interface import Queue
from cometkms.core.native.queue import RingQueue
from cometkms.core.pure.queue import SocketQueue
from cometkms.limits import QUEUE_SLOT_BYTES, QUEUE_SLOTS

MESSAGES = st.binary(min_size=1, max_size=QUEUE_SLOT_BYTES - 8)


class QueueAgainstDeque(RuleBasedStateMachine):
    """One process plays both ends.

    `bound`: how many messages it holds; None: at least one, the kernel decides.
    """

    queue: Queue
    bound: int | None = None

    def __init__(self) -> None:
        super().__init__()
        self.model: deque[bytes] = deque()
        self.must_wake = False  # a wake-up was sent and the queue was not seen empty since

    def push_one(self, message: bytes, wake: bool) -> bool:
        held = len(self.model)
        accepted = self.queue.push(message, wake=wake)
        if self.bound is not None:
            assert accepted == (held < self.bound)
        else:
            assert accepted or held
        if accepted:
            self.model.append(message)
            self.must_wake |= wake
        return accepted

    @rule(message=MESSAGES, wake=st.booleans())
    def push(self, message: bytes, wake: bool) -> None:
        self.push_one(message, wake)

    @rule(message=MESSAGES)
    def fill(self, message: bytes) -> None:
        while self.push_one(message, True):
            pass

    @rule()
    def pop(self) -> None:
        expected = self.model.popleft() if self.model else None
        assert self.queue.pop() == expected
        if expected is None:
            self.must_wake = False

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def pop_many(self, data: st.DataObject) -> None:
        for _ in range(data.draw(st.integers(1, len(self.model)))):
            assert self.queue.pop() == self.model.popleft()

    @rule()
    def discard(self) -> None:
        assert self.queue.discard() == len(self.model)
        self.model.clear()
        self.must_wake = False

    @rule()
    def spin(self) -> None:
        assert self.queue.spin(1) == bool(self.model)

    @invariant()
    def the_consumer_is_awake_while_it_must_be(self) -> None:
        if self.must_wake and self.model:
            assert select.select([self.queue.fileno()], [], [], 0)[0]

    def teardown(self) -> None:
        while self.model:
            assert self.queue.pop() == self.model.popleft()
        assert self.queue.pop() is None
        assert not select.select([self.queue.fileno()], [], [], 0)[0]
        self.queue.close()


class RingAgainstDeque(QueueAgainstDeque):
    bound = QUEUE_SLOTS

    @initialize(start=st.integers(0, 2**64 - 1) | st.integers(2**64 - 2 * QUEUE_SLOTS, 2**64 - 1))
    def begin(self, start: int) -> None:
        """Indices anywhere, also where they are about to wrap."""
        ring = RingQueue()
        for offset in (0, 64):
            struct.pack_into("=Q", ring._memory, offset, start)
        self.queue = ring


class SocketAgainstDeque(QueueAgainstDeque):
    @initialize()
    def begin(self) -> None:
        self.queue = SocketQueue()


RingAgainstDeque.TestCase.settings = SocketAgainstDeque.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None
)
TestRingAgainstDeque = RingAgainstDeque.TestCase
TestSocketAgainstDeque = SocketAgainstDeque.TestCase
