"""Tracing of the hot path for `python -m benchmarks.budget`: COMETKMS_TRACE=DIRECTORY makes every
process write its marks there when it ends.
"""

import mmap
import os
from pathlib import Path
from typing import Any, Final

from cometkms._native import ffi, lib

_MARKS: Final = 1 << 16


class Trace:
    """Marks of this process, from now on.

    The file is opened at once: later the process may be shut off from all files.
    """

    def __init__(self, directory: Path, name: str) -> None:
        """Raises: OSError when the directory cannot be written."""
        self._file = (directory / f"{name}-{os.getpid()}.trace").open("wb")
        self._memory = mmap.mmap(-1, _MARKS * ffi.sizeof("ck_trace_mark"))
        self._c: Any = ffi.new("ck_trace *")
        self._c.cap, self._c.marks = _MARKS, ffi.cast("ck_trace_mark *", ffi.from_buffer(self._memory))
        lib.ck_tracing = self._c

    def save(self) -> None:
        """Write the newest marks, one a line: ns point chain height round step."""
        lib.ck_tracing = ffi.NULL
        with self._file as file:
            for index in range(max(0, self._c.count - _MARKS), self._c.count):
                mark = self._c.marks[index % _MARKS]
                place = mark.at
                file.write(f"{mark.ns} {mark.point} {mark.chain} {place.height} {place.round} {place.step}\n".encode())
