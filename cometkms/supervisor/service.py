"""What the service manager is told: once that the node is ready, how it is, and that it lives while
those that sign do."""

import time
from collections.abc import Mapping, Sequence
from typing import Final

from cometkms.board.sections import ChildState
from cometkms.board.status_board import Board
from cometkms.errors import said
from cometkms.ipc.notify import Notifier
from cometkms.supervisor.child import Child, SupervisorLog
from cometkms.supervisor.status_line import status_line

_STATUS_EVERY_S: Final = 1.0  # the service manager's line


class Service:
    """Vouch for the children to the service manager, as far as one listens."""

    def __init__(
        self, notifier: Notifier, children: Sequence[Child], board: Board, hung_after_s: float, log: SupervisorLog
    ) -> None:
        self._notifier = notifier
        self._children = children
        self._board = board
        self._hung_after_s = hung_after_s
        self._log = log
        self._was_ready = False
        self._status_at = 0.0  # monotonic

    def notify(self) -> None:
        """Ready once: when every child has been up. Alive only while those that sign are."""
        if not self._notifier.listens:
            return
        self._notifier.flush()
        now = time.monotonic()
        ages = self._board.beat_ages_s()
        is_up = not self._was_ready and all(child.has_come_up for child in self._children)
        if is_up or now - self._status_at >= _STATUS_EVERY_S:
            self._status_at = now
            self._notifier.status(self._status_words(ages))
        if is_up:
            self._was_ready = True
            self._notifier.ready()
        if all(self.is_well(child, ages) for child in self._children if child.spec.essential):
            self._notifier.watchdog(now)

    def is_well(self, child: Child, ages: Mapping[str, float | None]) -> bool:
        """A child that is late is not vouched for, before it is given up."""
        age = ages[child.name]
        return child.state is ChildState.RUNNING and age is not None and age <= self._hung_after_s / 2

    def reloading(self) -> None:
        """A reload begins."""
        if self._was_ready:
            self._notifier.reloading()

    def reloaded(self) -> None:
        """It is over."""
        if self._was_ready:
            self._notifier.ready()

    def _status_words(self, ages: Mapping[str, float | None]) -> str:
        try:
            return status_line(self._board.sections(), ages, time.time())
        except Exception as error:  # noqa: BLE001 - what children wrote: no word of theirs ends the node
            self._log.error("the processes' own words cannot be told", why=f"{type(error).__name__}: {said(error)}")
            return "what the processes say of themselves cannot be told"
