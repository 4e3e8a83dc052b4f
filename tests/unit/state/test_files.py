"""The state files follow what was signed, and at the end they are in step, or it is said that they
are not.
"""

import asyncio
import threading

import pytest

from cometkms.errors import InvariantError, StoreFailure, TooSlowError
from cometkms.model import HRS, Watermark
from cometkms.state import files as module
from cometkms.state.files import StateFiles


class Disk:
    """Two chains' files; writing waits for `free`."""

    def __init__(self) -> None:
        self.held = [Watermark(), Watermark()]
        self.free, self.asked = threading.Event(), threading.Event()
        self.failure: Exception | None = None

    def write(self, which: int, mark: Watermark) -> None:
        self.asked.set()
        self.free.wait()
        if self.failure is not None:
            raise self.failure
        self.held[which] = mark


def mark(height: int) -> Watermark:
    return Watermark(HRS(height, 0, 2))


async def _after_two_signatures(disk: Disk, failed: list[BaseException]) -> StateFiles:
    """The first is being written, the second waits for that."""
    files = StateFiles(
        [(0, Watermark()), (1, Watermark())], write=disk.write, loop=asyncio.get_running_loop(), fail=failed.append
    )
    files.on_signed(0, mark(1))
    while not disk.asked.is_set():
        await asyncio.sleep(0.001)
    files.on_signed(0, mark(2))
    files.on_signed(1, mark(7))
    return files


def test_at_the_end_a_slow_disk_is_waited_for() -> None:
    """And everything that was signed by then is written, in order."""
    disk = Disk()

    async def main() -> None:
        files = await _after_two_signatures(disk, [])
        threading.Timer(0.2, disk.free.set).start()
        files.finish()

    asyncio.run(main())
    assert disk.held == [mark(2), mark(7)]


def test_a_disk_that_takes_too_long_is_told_and_nothing_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STATE_FILES_S", 0.05)
    disk = Disk()

    async def main() -> None:
        files = await _after_two_signatures(disk, [])
        with pytest.raises(TooSlowError, match=r"was not written within 0\.05 s, and is behind what was signed"):
            files.finish()
        disk.free.set()

    asyncio.run(main())


@pytest.mark.parametrize("failure", [StoreFailure("disk full"), InvariantError("the writer is gone")])
def test_a_write_that_fails_at_the_end_is_told(failure: Exception) -> None:
    disk, failed = Disk(), []
    disk.failure = failure

    async def main() -> None:
        files = await _after_two_signatures(disk, failed)
        disk.free.set()
        with pytest.raises(type(failure), match=str(failure)):
            files.finish()

    asyncio.run(main())
