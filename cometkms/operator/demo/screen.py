"""The demo's terminal: one live line, lasting lines above it, keys. Elsewhere: plain lines, no
keys, no colour."""

import asyncio
import contextlib
import os
import sys
import termios
import time
import tty
from collections.abc import Iterator
from typing import IO, Final

from cometkms.printable import rewritable

LIVE_INTERVAL_S: Final = 1.0  # where a line cannot be rewritten
_BOLD: Final = "1"
_COLUMNS_UNKNOWN: Final = 1000
_CLEAR_LINE: Final = "\r\x1b[K"


class Screen:
    """Shows; in place and in colour on a terminal only that is not dumb (and no colour where
    NO_COLOR is set).
    """

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self.is_terminal = out.isatty()
        self._rewrites = rewritable(out)
        self._colour = self._rewrites and not os.environ.get("NO_COLOR")
        self._next = 0.0
        self._live = False

    def show(self, line: str) -> None:
        """The live line: rewritten in place where a terminal can, one line a second elsewhere."""
        if self._rewrites:
            print(f"{_CLEAR_LINE}{line[: self._columns() - 1]}", end="", file=self._out, flush=True)
            self._live = True
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + LIVE_INTERVAL_S
            print(line, file=self._out, flush=True)

    def _columns(self) -> int:
        """A line that wraps cannot be rewritten. 0 columns: the terminal does not know."""
        return os.get_terminal_size(self._out.fileno()).columns or _COLUMNS_UNKNOWN

    def say(self, line: str, *, loud: bool = False) -> None:
        """A line that stays, above the live one."""
        start = _CLEAR_LINE if self._live else ""
        shown = f"\x1b[{_BOLD}m{line}\x1b[0m" if loud and self._colour else line
        print(f"{start}{shown}", file=self._out, flush=True)
        self._live = False

    def finish(self) -> None:
        """The live line stays; what follows begins below it."""
        if self._live:
            print(file=self._out, flush=True)
            self._live = False


@contextlib.contextmanager
def pressed_keys(screen: Screen) -> Iterator["asyncio.Queue[str]"]:
    """Each key at the terminal, as it is pressed, if there is one on both ends. The terminal is put
    back at the end."""
    keys: asyncio.Queue[str] = asyncio.Queue()
    if not (screen.is_terminal and sys.stdin.isatty()):
        yield keys
        return
    loop, fd = asyncio.get_running_loop(), sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    tty.setcbreak(fd)

    def on_key() -> None:
        pressed = os.read(fd, 64)
        if not pressed:  # the terminal is gone
            loop.remove_reader(fd)
        for key in pressed.decode("ascii", "ignore"):
            keys.put_nowait(key)

    loop.add_reader(fd, on_key)
    try:
        yield keys
    finally:
        loop.remove_reader(fd)
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
