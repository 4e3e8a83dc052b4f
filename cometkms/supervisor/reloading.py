"""One reload at a time: every child that runs is told, and it is over when all have taken the new
settings or their time is up."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cometkms.board.sections import ChildState, ReloadReport
from cometkms.board.status_board import Board
from cometkms.ipc.child import RELOAD_SECTION
from cometkms.limits import RELOAD_TIMEOUT_S
from cometkms.supervisor.child import Child, SupervisorLog
from cometkms.supervisor.service import Service


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What a reload came to. `document`: for the children, None where nothing changed for them;
    `report`: for the board."""

    document: dict[str, object] | None
    report: ReloadReport


class Reloading:
    """What became of the reloads of this node's life."""

    def __init__(
        self,
        load: Callable[[], Reloaded] | None,
        children: Sequence[Child],
        board: Board,
        service: Service,
        log: SupervisorLog,
    ) -> None:
        """`load`: Supervisor's `reload`."""
        self.count = 0  # of those that the children hear of
        self._load = load
        self._children = children
        self._board = board
        self._service = service
        self._log = log
        self._until = 0.0  # monotonic; 0: none is under way

    def begin(self) -> ReloadReport | None:
        """Load the settings, tell the children, and return what there is to report; None: there is
        nothing to reload."""
        if self._load is None:
            self._log.info("SIGHUP ignored", why="there is nothing to reload")
            return None
        self._service.reloading()
        reloaded = self._load()
        if reloaded.document is not None:
            self._board.section(RELOAD_SECTION).write(reloaded.document)
            self.count += 1
            for child in self._children:
                if child.state is ChildState.RUNNING and not child.killed_hung:
                    child.tell_reload(self.count)
        self._until = time.monotonic() + RELOAD_TIMEOUT_S
        return reloaded.report

    def on_up(self, child: Child) -> None:
        """Tell a child that has come up what was reloaded while it booted, with the settings of
        before."""
        if child.knows < self.count:
            child.tell_reload(self.count)

    def settle(self) -> None:
        """Call it done when every child has taken it over. One that hangs is not waited for: it
        starts again with the new settings."""
        if not self._until:
            return
        late = [child for child in self._children if child.reloading]
        anew = [
            child
            for child in self._children
            if child.state in (ChildState.STOPPING, ChildState.IDLE, ChildState.BOOTING)
        ]
        if (late or anew) and time.monotonic() < self._until:
            return
        for child in late:
            child.reloading = False
            self._log.error(
                "child did not take the reload over", child=child.name, why="its loop did not answer in time"
            )
        self._until = 0.0
        self._service.reloaded()
