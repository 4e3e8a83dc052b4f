"""Do something with a secret in a process of its own, which cannot be dumped and ends at once, with whoever started it at the latest."""

import contextlib
import os
from collections.abc import Callable
from typing import Final

from cometkms.errors import KeyFileError
from cometkms.ipc.prctl import die_with_parent, make_undumpable

_TOLD_MAX_BYTES: Final = 4000  # below PIPE_BUF: one write, whole


class Aside:
    """Work under way in such a process. Nothing of what it gives is here before take()."""

    def __init__(self, work: Callable[[], bytes]) -> None:
        """Fork it. What `work` returns, at most _TOLD_MAX_BYTES, waits in a pipe."""
        self._reading, writing = os.pipe2(os.O_CLOEXEC)
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:  # pragma: no cover - the child
            code = 1
            try:
                os.close(self._reading)
                make_undumpable()
                die_with_parent(parent)
                os.write(writing, work()[:_TOLD_MAX_BYTES])
                code = 0
            except BaseException as error:  # noqa: BLE001 - told to the parent
                with contextlib.suppress(OSError):
                    os.write(writing, str(error).encode("utf-8", "replace")[:_TOLD_MAX_BYTES])
            finally:
                os._exit(code)
        os.close(writing)

    def wait(self) -> None:
        """Until the process has ended; what it gave stays in the pipe. Raises: KeyFileError with the words of what the work raised."""
        if self._pid:
            pid, self._pid = self._pid, 0
            _, status = os.waitpid(pid, 0)
            if status != 0:
                words = self._read().decode("utf-8", "replace")
                raise KeyFileError(words or "the process that opens the key ended without a word")

    def take(self) -> bytes:
        """What the work gave; once. Raises: KeyFileError, as wait()."""
        self.wait()
        return self._read()

    def _read(self) -> bytes:
        with os.fdopen(self._reading, "rb") as pipe:
            return pipe.read(_TOLD_MAX_BYTES)


def aside(work: Callable[[], bytes]) -> bytes:
    """What `work` returns, at most _TOLD_MAX_BYTES. Raises: KeyFileError with the words of what it raised."""
    return Aside(work).take()
