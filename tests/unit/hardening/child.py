"""Run something that cannot be taken back in a process of its own."""

import contextlib
import errno
import json
import os
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any


def in_child(life: Callable[[], Any]) -> Any:
    """What `life` returns, through JSON; "killed by …" if the kernel ended it.

    An exception of its fails the test.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, json.dumps({"returned": life()}).encode())
        except BaseException:  # noqa: BLE001 - told to the parent
            os.write(writing, json.dumps({"raised": traceback.format_exc()}).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    answer = json.loads(told)
    assert "returned" in answer, answer.get("raised")
    return answer["returned"]


def opened(path: Path, mode: str) -> object:
    """A file, for outcome()."""
    return path.open(mode)


def outcome(step: Callable[[], Any]) -> str:
    """ "done", or the name of the error."""
    try:
        result = step()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    if hasattr(result, "close"):
        with contextlib.suppress(OSError):
            result.close()
    return "done"
