"""Keeps every chain's priv_validator_state.json in step, after the reply and off the
loop: newest mark only, one write at a time. Another process writes them (writer.py);
the thread here waits for it.

A file follows as soon as no request has come for `_QUIET_S`, and at least every
`_LATEST_S`: a validator at its own pace finds it in step within milliseconds, a burst
of requests does not pay for it.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from cometkms.errors import TooSlowError
from cometkms.limits import STATE_FILES_S
from cometkms.model import Watermark

_QUIET_S: Final = 0.01
_LATEST_S: Final = 1.0


class StateFiles:
    """The state files of one node, by the store's row."""

    def __init__(
        self,
        files: Sequence[tuple[int, Watermark]],
        *,
        write: Callable[[int, Watermark], None],
        loop: asyncio.AbstractEventLoop,
        fail: Callable[[BaseException], None],
    ) -> None:
        """`files`: row, and what the file holds.

        `write`: replaces the one with that number. `fail` ends the process.
        """
        self.loop = loop
        self.fail = fail
        self.asked_at = 0.0  # loop time of the last request
        self.writer = ThreadPoolExecutor(1, thread_name_prefix="state-files")
        self._files = {row: _StateFile(self, number, mark, write) for number, (row, mark) in enumerate(files)}

    def signed(self, row: int) -> Watermark:
        """What the row's file holds, or is about to hold."""
        return self._files[row].wanted

    def on_signed(self, row: int, mark: Watermark) -> None:
        """A signature left.

        Never lowers what is known. A row that is configured no more, a chain's earlier
        id, has no file.
        """
        if row not in self._files:
            return
        known = self._files[row].wanted
        if mark.hrs > known.hrs or (mark.hrs == known.hrs and not known.signature):
            self._files[row].want(mark)

    def on_raised(self, row: int, mark: Watermark) -> None:
        """What others hold raised the mark; without a signature it stands in the file
        as a place only.
        """
        if row in self._files and mark.hrs > self._files[row].wanted.hrs:
            self._files[row].want(mark if mark.signature else Watermark(mark.hrs))

    def finish(self) -> None:
        """Wait for the writes under way, at the end, and write what is left.

        Raises: StoreFailure; InvariantError; TooSlowError where the disk takes longer than
        STATE_FILES_S: no write has failed, so a node that restarts may go on.
        """
        until = time.monotonic() + STATE_FILES_S
        try:
            for one in self._files.values():
                one.finish(until)
        except TimeoutError:
            raise TooSlowError(
                f"a state file was not written within {STATE_FILES_S:g} s, and is behind what was signed",
                cure="look at the disk; bring another signer what `cmkms export` writes, not that file",
            ) from None
        self.writer.shutdown()


class _StateFile:
    def __init__(
        self, files: StateFiles, number: int, held: Watermark, write: Callable[[int, Watermark], None]
    ) -> None:
        self.wanted = held
        self._files = files
        self._number = number
        self._replace = write
        self._written = held
        self._writing: Future[None] | None = None
        self._behind_since = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def want(self, mark: Watermark) -> None:
        """The file is to hold this next."""
        if self.wanted is self._written:
            self._behind_since = self._files.loop.time()
        self.wanted = mark
        self._schedule()

    def _schedule(self) -> None:
        if self._timer is None and self._writing is None:
            self._timer = self._files.loop.call_later(_QUIET_S, self._start)

    def _start(self) -> None:
        self._timer = None
        now = self._files.loop.time()
        if now - self._files.asked_at < _QUIET_S and now - self._behind_since < _LATEST_S:
            self._schedule()
            return
        self._writing = self._files.writer.submit(self._write, self.wanted)
        self._writing.add_done_callback(lambda done: self._files.loop.call_soon_threadsafe(self._on_written, done))

    def _write(self, mark: Watermark) -> None:
        """Write the file, in the helper thread. Raises: StoreFailure, InvariantError."""
        self._replace(self._number, mark)
        self._written = mark

    def _on_written(self, done: Future[None]) -> None:
        self._writing = None
        error = done.exception()
        if error is not None:
            self._files.fail(error)
        elif self._written is not self.wanted:
            self._behind_since = self._files.loop.time()
            self._schedule()

    def finish(self, until: float) -> None:
        """Write what is still to be written, and end. `until`: monotonic. Raises: TimeoutError, and
        what the write raises."""
        if self._timer is not None:
            self._timer.cancel()
        if self._writing is not None:
            self._writing.result(max(0.0, until - time.monotonic()))
        if self._written != self.wanted:
            last = self._files.writer.submit(self._write, self.wanted)
            last.result(max(0.0, until - time.monotonic()))
