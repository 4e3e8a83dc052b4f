"""One process writes the board as fast as it can, this one reads it.

Exit code 0 and what was seen, or what was wrong.

python -m tests.unit.board.board_traffic beat|section AMOUNT
"""

import os
import signal
import sys
from collections.abc import Callable

from cometkms.board.status_board import Board
from cometkms.hardening.prctl import die_with_parent

DISTINCT_MIN = 10


def while_writing(write: Callable[[], None], read: Callable[[], None]) -> None:
    """Run `read` while another process runs `write`, without end."""
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            die_with_parent(parent)
            write()
        finally:
            os._exit(1)
    try:
        read()
    finally:
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
        sys.exit("the writer ended by itself")


def beat(amount: int) -> None:
    board = Board((), ("signer",))
    board.beat("signer")

    def write() -> None:
        while True:
            board.beat("signer")

    def read() -> None:
        for _ in range(amount):
            age = board.beat_ages_s()["signer"]
            if age is None or age > 3600:
                sys.exit(f"a heartbeat under way was read as {age}")

    while_writing(write, read)
    print(amount)


def section(amount: int) -> None:
    """Documents of very different sizes, so that any mixture of two fails: their parts
    say the same number.
    """
    board = Board(("api",), ())
    documents = [{"n": n, "filling": "x" * (n * 613 % 60_000), "again": n} for n in range(100)]
    board.section("api").write(documents[0])

    def write() -> None:
        while True:
            for document in documents:
                board.section("api").write(document)

    seen: set[int] = set()

    def read() -> None:
        reads = 0
        while (
            reads < amount or len(seen) < DISTINCT_MIN
        ):  # the writer must have been at work; the test has the deadline
            reads += 1
            document = board.section("api").read()
            if document is None:
                continue
            if document != documents[document["n"]]:
                sys.exit(f"a torn read: {document['n']}, {document['again']}, {len(document['filling'])}")
            seen.add(document["n"])

    while_writing(write, read)
    print(len(seen))


if __name__ == "__main__":
    {"beat": beat, "section": section}[sys.argv[1]](int(sys.argv[2]))
