"""Real processes on one queue, forked as the supervisor forks them.

Exit code 0 and the number of messages, or what was wrong.

python -m tests.unit.ipc.traffic hammer|kill-producer|kill-consumer|stop-consumer native|pure AMOUNT [drop|repeat|change]

A message is (producer's life, number within it, checksum) and filling of varying size. The consumer
notes the last number it took in shared memory, where its successor finds it.
"""

import mmap
import os
import random
import select
import signal
import struct
import sys
import time
import zlib
from collections.abc import Callable

from cometkms.core.interface import Queue
from cometkms.hardening.prctl import die_with_parent
from cometkms.ipc.queues import make_queue

HEAD = struct.Struct("=IQI")
FILLINGS = [os.urandom(size) for size in (0, 1, 7, 100, 300, 488)]
FULL_PAUSE_S = 0.0001


class Wrong(Exception):
    """The queue did what it must not."""


def encode(life: int, number: int) -> bytes:
    filling = FILLINGS[number % len(FILLINGS)]
    return HEAD.pack(life, number, zlib.crc32(filling, life ^ (number & 0xFFFFFFFF))) + filling


def decode(message: bytes) -> tuple[int, int]:
    life, number, check = HEAD.unpack_from(message)
    if zlib.crc32(message[HEAD.size :], life ^ (number & 0xFFFFFFFF)) != check:
        raise Wrong(f"message {life}/{number} was changed")
    return life, number


def produce(queue: Queue, life: int, amount: int | None, fault: str) -> None:
    number = 0
    while amount is None or number < amount:
        message = encode(life, number)
        if number == 1000 and fault:
            message = {"drop": encode(life, 1001), "repeat": encode(life, 999), "change": message[:-1] + b"?"}[fault]
        while not queue.push(message):
            time.sleep(FULL_PAUSE_S)
        number += 1


class Notes:
    """What the consumers have taken, in shared memory."""

    def __init__(self) -> None:
        self._words = memoryview(mmap.mmap(-1, 4096)).cast(
            "Q"
        )  # whole words: a killed consumer leaves no half-written one

    def write(self, taken: int, life: int, number: int) -> None:
        self._words[0], self._words[1], self._words[2] = life, number + 1, taken

    def read(self) -> tuple[int, int, int]:
        return self._words[2], self._words[0], self._words[1] - 1


def consume(queue: Queue, notes: Notes, amount: int | None, gap: int) -> None:
    """Until `amount` messages in all.

    A consumer's first message may be `gap` numbers ahead: its predecessor died with them.
    """
    taken, life, number = notes.read()
    while amount is None or taken < amount:
        message = queue.pop()
        if message is None:
            select.select([queue.fileno()], [], [])
            continue
        got_life, got = decode(message)
        if got_life < life:
            raise Wrong(f"expected life {life} or later, got {got_life}/{got}")
        if got_life > life:
            life, number = got_life, -1
        if not number + 1 <= got <= number + 1 + gap:
            raise Wrong(f"expected {life}/{number + 1}, got {got}")
        number, gap = got, 0
        taken += 1
        notes.write(taken, life, number)


def fork(work: Callable[..., None], *arguments: object) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        die_with_parent(parent)
        work(*arguments)
        code = 0
    except Wrong as wrong:
        print(wrong, file=sys.stderr, flush=True)
    finally:
        os._exit(code)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
        raise Wrong(f"process {pid} had ended by itself: {status}")


def await_progress(notes: Notes, amount: int) -> None:
    """Until `amount` more messages were taken; the caller's test has the deadline."""
    goal = notes.read()[0] + amount
    while notes.read()[0] < goal:
        time.sleep(0.0005)
        if os.waitpid(-1, os.WNOHANG)[0]:
            raise Wrong("a process ended by itself")


def hammer(queue: Queue, notes: Notes, amount: int, fault: str) -> None:
    consumer = fork(consume, queue, notes, amount, 0)
    producer = fork(produce, queue, 1, amount, fault)
    _, status = os.waitpid(consumer, 0)
    if status:
        raise Wrong(f"the consumer ended with {status}")
    if os.waitpid(producer, 0)[1]:
        raise Wrong("the producer failed")
    if queue.pop() is not None:
        raise Wrong("something was left behind")


def kill_producer(queue: Queue, notes: Notes, rounds: int) -> None:
    consumer = fork(consume, queue, notes, None, 0)
    for life in range(1, rounds + 1):
        producer = fork(produce, queue, life, None, "")
        await_progress(notes, random.randrange(1, 2000))
        kill(producer)
    kill(consumer)


def kill_consumer(queue: Queue, notes: Notes, rounds: int) -> None:
    producer = fork(produce, queue, 1, None, "")
    for number in range(rounds):
        # one message may have been taken by the predecessor and not noted; none is ever given twice
        consumer = fork(consume, queue, notes, None, min(number, 1))
        await_progress(notes, random.randrange(1, 2000))
        kill(consumer)
    kill(producer)


def stop_consumer(queue: Queue, notes: Notes, rounds: int) -> None:
    producer = fork(produce, queue, 1, None, "")
    consumer = fork(consume, queue, notes, None, 0)
    for _ in range(rounds):
        await_progress(notes, 500)
        os.kill(consumer, signal.SIGSTOP)
        time.sleep(0.02)  # the queue fills meanwhile
        os.kill(consumer, signal.SIGCONT)
    await_progress(notes, 500)
    kill(consumer)
    kill(producer)


def main(scenario: str, core_name: str, amount: str, fault: str = "") -> int:
    queue, notes = make_queue(core_name), Notes()
    try:
        match scenario:
            case "hammer":
                hammer(queue, notes, int(amount), fault)
            case "kill-producer":
                kill_producer(queue, notes, int(amount))
            case "kill-consumer":
                kill_consumer(queue, notes, int(amount))
            case "stop-consumer":
                stop_consumer(queue, notes, int(amount))
    except Wrong as wrong:
        print(wrong, file=sys.stderr)
        return 1
    print(notes.read()[0])
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
