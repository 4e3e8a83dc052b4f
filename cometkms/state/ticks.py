"""When the state process looks at its node again: after the node's idle time, or at
once when it is kicked.

The time for which a tick is set is kept here and not asked of the event loop: uvloop answers
`call_later` with a handle that does not know its time (`when()`) where the delay is shorter than
half a millisecond, and a leader far behind asks for none at all.

The loop's timers have whole milliseconds, and its clock says the one that has begun: a timer may
end more than a millisecond early. The look then finds nothing to do, and the next one follows a
millisecond later: of a leader's 55 wake-ups a second five were that. So a long delay ends in the
millisecond behind the one that it is meant for.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Final

_LONG_S: Final = 0.02  # below it somebody may wait for the look
_MS_PER_S: Final = 1000


class Ticks:
    """One timer, and one kick that waits for the loop's next round."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, step: Callable[[], object], idle_for_s: Callable[[], float]
    ) -> None:
        """`step`: looks at the node.

        `idle_for_s`: seconds for which nothing needs a look afterwards, as far as the node knows.
        """
        self._loop = loop
        self._step = step
        self._idle_for_s = idle_for_s
        self._kicked = False
        self._stopped = False
        self._timer: asyncio.Handle | None = None
        self._due = 0.0  # of the loop's clock: when the look is due

    def start(self, after_s: float) -> None:
        """Look for the first time in `after_s` seconds."""
        self._set(after_s)

    def stop(self) -> None:
        """Look no more, kicked or not."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def kick(self) -> None:
        """There is something to do before the next look."""
        if not self._kicked and not self._stopped:
            self._kicked = True
            self._loop.call_soon(self._on_kick)

    def _set(self, after_s: float) -> None:
        self._due = self._loop.time() + after_s
        if after_s >= _LONG_S:
            after_s = (math.ceil(after_s * _MS_PER_S) + 1) / _MS_PER_S
        self._timer = self._loop.call_later(after_s, self._on_time)

    def _on_time(self) -> None:
        self._step()
        self._set(self._idle_for_s())

    def _on_kick(self) -> None:
        self._kicked = False
        if self._stopped:
            return
        self._step()
        idle_s = self._idle_for_s()
        if self._timer is not None and self._loop.time() + idle_s < self._due:
            self._timer.cancel()
            self._set(idle_s)
