"""`python -m tests.busy COMMAND…`: run it while every core and the disk are kept busy, and end with
its exit code.

What a test may not depend on is a quiet machine: a second that takes two, a sync that takes a tenth
of one. The load is one process a core that counts, and one that writes and syncs a small file in
the present directory over and over. It ends with the command, with this process, and after
LONGEST_S in any case.
"""

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

LONGEST_S = 3 * 3600
WRITTEN_BYTES = 1 << 20  # between two syncs
FILE_BYTES = 64 << 20
PR_SET_PDEATHSIG = 1


def compute() -> None:
    for _ in range(1_000_000):
        pass


def write(descriptor: int) -> None:
    for at in range(0, FILE_BYTES, WRITTEN_BYTES):
        os.pwrite(descriptor, os.urandom(WRITTEN_BYTES), at)
        os.fsync(descriptor)


def _end_with_parent(number: signal.Signals, parent: int) -> None:
    """The kernel sends the signal when the parent ends; at once, where it ended before
    that was asked for.
    """
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def fork(work: Callable[[], None]) -> int:
    """A process that does it again and again; its pid."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    _end_with_parent(signal.SIGKILL, parent)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end = time.monotonic() + LONGEST_S
    while time.monotonic() < end:
        work()
    os._exit(0)


def _end(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def main(command: list[str]) -> int:
    parent = os.getppid()
    signal.signal(signal.SIGTERM, _end)
    _end_with_parent(signal.SIGTERM, parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the command, whose end ends this
    load: list[int] = []
    with tempfile.TemporaryFile(dir=".", prefix=".busy-") as file:
        process = subprocess.Popen(command, restore_signals=True, preexec_fn=_take_interrupts(os.getpid()))
        try:
            load += [fork(compute) for _ in range(os.cpu_count() or 1)]
            load.append(fork(lambda: write(file.fileno())))
            return process.wait()
        finally:
            process.terminate()
            process.wait()
            for pid in load:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def _take_interrupts(parent: int) -> Callable[[], None]:
    def take() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _end_with_parent(signal.SIGTERM, parent)

    return take


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
