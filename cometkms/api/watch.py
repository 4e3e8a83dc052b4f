"""Look at the status board a few times a second: feed the history, evaluate the alerts, wake
whoever reads the stream.

The only place of the api process that remembers. Sans-I/O but for the board; its loop is
api/process.py's.
"""

import asyncio
import time
from collections.abc import Callable

from cometkms.api.alerts import RULES, Alerts
from cometkms.api.history import History, alert_event
from cometkms.api.page import parts
from cometkms.api.status import Status, compose_status
from cometkms.api.view import View, view_of
from cometkms.board.sections import AlertReport, BoardReader
from cometkms.config.schema import AlertBounds
from cometkms.limits import EVENTS_KEPT, STREAM_TICK_S
from cometkms.logger import Logger


class Watch:
    """What a page, /status and the metrics show of now and of the last ten minutes."""

    def __init__(
        self,
        board: BoardReader,
        bounds: AlertBounds,
        log: Logger,
        *,
        wall_clock: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.history = History()
        self.closed = False
        self._board = board
        self._alerts = Alerts(bounds)
        self._log = log
        self._wall_clock = wall_clock
        self._clock = clock
        self._evaluated_at = -STREAM_TICK_S
        self._written: tuple[int, ...] = ()
        self._looked_at = -STREAM_TICK_S
        self._turn = asyncio.Event()  # replaced at every wake-up
        self.turns = 0
        self._made: tuple[int, dict[str, str], float] | None = None

    def set_bounds(self, bounds: AlertBounds) -> None:
        """Take other bounds from the next look on."""
        self._alerts.bounds = bounds

    def alerts(self) -> list[AlertReport]:
        """Raised now, the worst first."""
        return self._alerts.current()

    def raised(self) -> dict[str, bool]:
        """Every alert there is, for /metrics."""
        now = {one["name"] for one in self.alerts()}
        return {name: name in now for name in RULES}

    def now(self) -> float:
        """UNIX seconds."""
        return self._wall_clock()

    def status(self) -> Status:
        """All of GET /status, as the board has it now; the events are those of every process, and
        the alerts'."""
        self.look_if_written()  # its events are not to be older than the rest of it
        status = self._compose()
        status["events"] = list(self.history.events)[-EVENTS_KEPT:] or status["events"]
        return status

    def _compose(self) -> Status:
        status = compose_status(self._board.sections(), self._board.beat_ages_s(), self._wall_clock(), self._clock())
        status["alerts"] = self.alerts()
        return status

    def view(self) -> View:
        """What the page shows."""
        return view_of(self.status(), self.history, self.alerts(), self._wall_clock())

    def parts(self) -> tuple[dict[str, str], float]:
        """The page's parts and their time; made once a turn, whoever asks."""
        if self._made is None or self._made[0] != self.turns:
            view = self.view()
            self._made = (self.turns, parts(view), view.now)
        return self._made[1], self._made[2]

    def look_if_written(self) -> bool:
        """Look, if anything was written to the board since the last look, or that is a second ago:
        what is silent is to be seen, too.

        Called every HISTORY_SAMPLE_S. Whether it looked.
        """
        written, now = self._board.written(), self._clock()
        if written == self._written and now - self._looked_at < STREAM_TICK_S:
            return False
        self._written, self._looked_at = written, now
        self.look()
        return True

    def look(self) -> Status:
        """Look at the board once. Readers are woken once a second, and at once when something
        happened."""
        status = self._compose()
        news = self.history.sample(status, self._wall_clock())
        now = self._clock()
        if news or now - self._evaluated_at >= STREAM_TICK_S:
            self._evaluated_at = now
            self._tell_alerts(status, now)
            status["alerts"] = self.alerts()
            self._wake()
        return status

    def _tell_alerts(self, status: Status, now: float) -> None:
        for change in self._alerts.evaluate(status, self._wall_clock(), now):
            alert = change.alert
            self.history.note(alert_event(change.raised, alert, self._wall_clock()))
            if change.raised:
                self._log.error("alert raised", name=alert["name"], what=alert["what"], cure=alert["cure"])
            else:
                self._log.info("alert over", name=alert["name"], what=alert["what"])

    def _wake(self) -> None:
        self.turns += 1
        turn, self._turn = self._turn, asyncio.Event()
        turn.set()

    async def next_turn(self) -> None:
        """Wait until there is something newer to show, or the end."""
        if not self.closed:
            await self._turn.wait()

    def close(self) -> None:
        """The process stops: every stream ends."""
        self.closed = True
        self._wake()
