"""How foreign text, a time and a duration are shown to people, on a terminal, in the
log and on the page.

Foreign text has this one way there: nothing in it moves the cursor, colours, hides or
begins a line.
"""

import os
from datetime import UTC, datetime
from typing import IO, Final

# the last second of the year 9999, where the calendar ends; it begins with 1970 here
_LAST: Final = 253_402_300_799.0


def printable(text: str) -> str:
    """Control characters, line breaks, marks of direction and broken characters as escapes; the
    rest as it is.
    """
    return text if text.isprintable() else "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def rewritable(out: IO[str]) -> bool:
    """Whether what stands there can be written over: a terminal that does not call itself dumb."""
    return out.isatty() and os.environ.get("TERM") != "dumb"


def moment(untrusted_at: float) -> datetime:
    """UNIX seconds as a time of the calendar, in UTC; what is outside of it is its
    first or last one.
    """
    return datetime.fromtimestamp(min(max(untrusted_at, 0.0), _LAST), UTC)


def clock(at: float) -> str:
    """11:02:14.218, UTC."""
    return moment(at).strftime("%H:%M:%S.%f")[:-3]


def duration(seconds: float) -> str:
    """Write a duration as a person says it: 12 ms, 1.4 s, 3 min 20 s."""
    if seconds < 1:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} days"
