"""Do something with a secret in a process of its own, which cannot be dumped and ends at once, with
whoever started it at the latest.
"""

import contextlib
import os
import struct
from collections.abc import Callable
from typing import Final

from cometkms.errors import CometKMSError, KeyFileError, said
from cometkms.hardening.prctl import die_with_parent, make_undumpable

_TOLD_MAX_BYTES: Final = 4000  # below PIPE_BUF: one write, whole
# before the words of a failure: the kernel's number for it, 0 where it has none
_NUMBER: Final = struct.Struct("=i")
_WORDS_MAX_BYTES: Final = _TOLD_MAX_BYTES - _NUMBER.size
_BETWEEN: Final = "\0"  # what is wrong, and its cure


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
                    os.write(writing, _NUMBER.pack(_number_of(error)) + _words_of(error))
            finally:
                os._exit(code)
        os.close(writing)

    def wait(self) -> None:
        """Wait until the process has ended; what it gave stays in the pipe.

        Raises: KeyFileError with the words of what the work raised, caused by an OSError where the
        system refused something: a disk that is full or fails is told from a key file that is wrong
        here as well as there.
        """
        if self._pid:
            pid, self._pid = self._pid, 0
            _, status = os.waitpid(pid, 0)
            if status != 0:
                told = self._read()
                if len(told) < _NUMBER.size:
                    raise KeyFileError("the process that opens the key ended without a word")
                (number,) = _NUMBER.unpack_from(told)
                what, _, cure = told[_NUMBER.size :].decode("utf-8", "replace").partition(_BETWEEN)
                raise KeyFileError(what, cure=cure) from (OSError(number, os.strerror(number)) if number else None)

    def take(self) -> bytes:
        """What the work gave; once. Raises: KeyFileError, as wait()."""
        self.wait()
        return self._read()

    def _read(self) -> bytes:
        with os.fdopen(self._reading, "rb") as pipe:
            return pipe.read(_TOLD_MAX_BYTES)


def aside(work: Callable[[], bytes]) -> bytes:
    """What `work` returns, at most _TOLD_MAX_BYTES.

    Raises: KeyFileError with the words of what it raised.
    """
    return Aside(work).take()


def _words_of(error: BaseException) -> bytes:
    """What is wrong and, behind a zero byte, the cure where the error has one."""
    what, cure = (error.what, error.cure) if isinstance(error, CometKMSError) else (said(error), "")
    parts = [one.encode("utf-8", "replace").replace(b"\0", b" ")[: _WORDS_MAX_BYTES // 2] for one in (what, cure)]
    return _BETWEEN.encode().join(parts)


def _number_of(error: BaseException) -> int:
    """What the kernel said, of the OSError that is behind it; 0: none is, or it has a number of
    another kind.
    """
    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, OSError):
        behind = behind.__cause__
    return max(behind.errno or 0, 0) if behind is not None else 0
