"""One event a line, with fields: what, node, chain, height, round, step, outcome.

Never a key, never a payload.

    plain   I[2026-11-23|09:46:39.123] signed                       chain=test-1 height=5 round=0 step=2 us=312
    json    {"ts":"2026-11-23T09:46:39.123Z","level":"info","event":"signed","chain":"test-1","height":5,…}

An event costs its caller an append. flush() formats and writes, from the process's timer, and never
blocks: it writes only what the descriptor takes at once. Events beyond the bound are counted, and
the count is logged.
"""

import json
import os
import select
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from typing import Final

from cometkms.errors import InvariantError
from cometkms.printable import printable

_QUEUE_EVENTS: Final = 10_000
_CHUNK_BYTES: Final = 4096  # PIPE_BUF: what poll() promises a pipe takes
_VALUE_MAX: Final = 512
_EVENT_WIDTH: Final = 44  # as CometBFT's tmfmt logger
LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_Field = str | int | float | bytes | None


class Log:
    """`level`: debug, info or error (warnings count as info); `fields` go into every line."""

    def __init__(
        self, level: str = "info", line_format: str = "plain", *, fd: int = 1, immediate: bool = True, **fields: object
    ) -> None:
        """`immediate`: write each event at once (supervisor, commands); else flush() does, from a
        loop's timer.
        """
        self._threshold = LEVELS[level]
        self._json = line_format == "json"
        self._fd = fd
        self._immediate = immediate
        self._fields = {key: _plain(value) for key, value in fields.items()}
        self._queue: deque[tuple[float, str, str, dict[str, object]]] = deque()
        self._pending = b""
        self._dropped = 0
        self._wake: Callable[[Callable[[], None]], object] | None = None
        self._woken = False

    def attach(self, call_soon: Callable[[Callable[[], None]], object] | None) -> None:
        """Write events from the loop, as soon as it has nothing better to do; None: there is no
        loop any more.
        """
        self._wake = call_soon

    def set_level(self, level: str) -> None:
        """Set the level from now on; logs that were bound before keep theirs."""
        self._threshold = LEVELS[level]

    def bind(self, *, immediate: bool | None = None, **fields: object) -> "Log":
        """A log of the same kind with more fields and a queue of its own."""
        child = Log(fd=self._fd, immediate=self._immediate if immediate is None else immediate)
        child._threshold, child._json = self._threshold, self._json
        child._fields = {**self._fields, **{key: _plain(value) for key, value in fields.items()}}
        return child

    @property
    def waiting(self) -> int:
        """Events that were not written yet."""
        return len(self._queue)

    def debug(self, event: str, **fields: object) -> None:
        """Log an event for developers."""
        self._add("debug", event, fields)

    def info(self, event: str, **fields: object) -> None:
        """What happened."""
        self._add("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """What the operator should look at."""
        self._add("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        """What failed or was refused."""
        self._add("error", event, fields)

    def _add(self, level: str, event: str, fields: dict[str, object]) -> None:
        if LEVELS[level] < self._threshold:
            return
        if len(self._queue) >= _QUEUE_EVENTS:
            self._dropped += 1
            return
        self._queue.append((time.time(), level, event, fields))
        if self._immediate:
            self.flush(deadline_s=1.0)
        elif self._wake is not None and not self._woken:
            self._woken = True
            self._wake(self.flush)

    def flush(self, deadline_s: float = 0.0) -> None:
        """Write what the descriptor takes; wait up to `deadline_s` for it to take all."""
        self._woken = False
        until = time.monotonic() + deadline_s
        while self._queue or self._pending:
            if not self._pending:
                self._pending = self._next_chunk()
            poll = select.poll()
            poll.register(self._fd, select.POLLOUT)
            if not poll.poll(max(0, int((until - time.monotonic()) * 1000))):
                return
            try:
                written = os.write(self._fd, self._pending[:_CHUNK_BYTES])
            except BlockingIOError:
                return
            except OSError:  # nobody reads: a signer does not stop for that
                self._pending = b""
                self._queue.clear()
                return
            self._pending = self._pending[written:]

    def _next_chunk(self) -> bytes:
        lines: list[bytes] = []
        size = 0
        while self._queue and size < _CHUNK_BYTES:
            lines.append(self._line(*self._queue.popleft()))
            size += len(lines[-1])
        if self._dropped:
            lines.append(self._line(time.time(), "error", "log events dropped", {"count": self._dropped}))
            self._dropped = 0
        return b"".join(lines)

    def _line(self, when: float, level: str, event: str, fields: dict[str, object]) -> bytes:
        merged = {**self._fields, **{key: _plain(value) for key, value in fields.items()}}
        second, millis = divmod(int(when * 1000), 1000)
        if self._json:
            head = {"ts": f"{_second(second, '%Y-%m-%dT%H:%M:%S')}.{millis:03d}Z", "level": level, "event": event}
            return json.dumps({**head, **merged}, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
        stamp = f"{level[0].upper()}[{_second(second, '%Y-%m-%d|%H:%M:%S')}.{millis:03d}]"
        words = " ".join([f"{key}={_word(value)}" for key, value in merged.items()])
        line = f"{stamp} {printable(event):<{_EVENT_WIDTH}} {words}".rstrip()
        return line.encode("ascii", "backslashreplace") + b"\n"


@lru_cache(maxsize=2)
def _second(second: int, form: str) -> str:
    return datetime.fromtimestamp(second, UTC).strftime(form)


def _plain(value: object) -> _Field:
    """Only plain values reach a log: an object that may hold a secret or a payload is a bug."""
    if type(value) is int:
        return value
    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, bytes):
        return value.hex()[:_VALUE_MAX]
    if isinstance(value, str):
        return value if len(value) <= _VALUE_MAX else value[:_VALUE_MAX] + "…"
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, tuple | list):
        return ",".join(str(_plain(one)) for one in value)[:_VALUE_MAX]
    raise InvariantError(f"a {type(value).__name__} must not be logged")


def _word(value: _Field) -> str:
    if type(value) is int:
        return str(value)
    text = printable(str(value)) if value is not None else "-"
    return json.dumps(text, ensure_ascii=False) if not text or " " in text or '"' in text or "=" in text else text
