"""CPU time and memory of another process of this machine, from /proc. One read of a file that the
kernel makes up."""

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cometkms.board.sections import ChildState, UseReport
from cometkms.limits import PROCESS_USE_S
from cometkms.supervisor.child import Child

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_UTIME, _STIME, _RSS = 11, 12, 21  # fields behind the command's name, proc(5) less 3


def read_use(pid: int) -> UseReport | None:
    """None: it is gone, or /proc is not to be seen from here (hidepid)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (OSError, UnicodeDecodeError):
        return None
    fields = stat.rpartition(")")[2].split()
    try:
        ticks, pages = int(fields[_UTIME]) + int(fields[_STIME]), int(fields[_RSS])
    except (ValueError, IndexError):
        return None
    return UseReport(cpu_s=ticks / _TICKS_PER_S, resident_bytes=pages * _PAGE_BYTES)


class UseWatch:
    """Read for /metrics what each child uses, since the others may be shut off from /proc."""

    def __init__(self) -> None:
        self._looked_at = 0.0  # monotonic

    def look(self, children: Iterable[Child]) -> None:
        """Note it with each child, every PROCESS_USE_S."""
        now = time.monotonic()
        if now - self._looked_at >= PROCESS_USE_S:
            self._looked_at = now
            for child in children:
                child.use = read_use(child.pid) if child.state is ChildState.RUNNING else None
