"""CPU time and memory of another process of this machine, from /proc. One read of a file that the kernel makes up."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_UTIME, _STIME, _RSS = 11, 12, 21  # fields behind the command's name, proc(5) less 3


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """Since its start, and now."""

    cpu_s: float
    resident_bytes: int


def read_use(pid: int) -> ProcessUse | None:
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
    return ProcessUse(ticks / _TICKS_PER_S, pages * _PAGE_BYTES)
