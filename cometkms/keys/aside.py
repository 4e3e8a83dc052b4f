"""Do something with a secret in a process of its own, which cannot be dumped and ends at once, with whoever started it at the latest."""

import os
from collections.abc import Callable
from typing import Final

from cometkms.errors import KeyFileError
from cometkms.ipc.prctl import die_with_parent, make_undumpable

_TOLD_MAX_BYTES: Final = 4000  # below PIPE_BUF: one write, whole


def aside(work: Callable[[], bytes]) -> bytes:
    """What `work` returns, at most _TOLD_MAX_BYTES. Raises: KeyFileError with the words of what it raised."""
    reading, writing = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:  # pragma: no cover - the child
        code = 1
        try:
            os.close(reading)
            make_undumpable()
            die_with_parent(parent)
            os.write(writing, work()[:_TOLD_MAX_BYTES])
            code = 0
        except BaseException as error:  # noqa: BLE001 - told to the parent
            os.write(writing, str(error).encode("utf-8", "replace")[:_TOLD_MAX_BYTES])
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read(_TOLD_MAX_BYTES)
    _, status = os.waitpid(pid, 0)
    if status != 0:
        raise KeyFileError(told.decode("utf-8", "replace") or "the process that opens the key ended without a word")
    return told
