"""CPU time and memory of another process of this machine, from /proc. One read of a file that the
kernel makes up."""

import os
from pathlib import Path
from typing import Final

from cometkms.board.sections import UseReport

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
