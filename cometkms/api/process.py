"""The api process: the status page, /healthz, /status and /metrics over HTTP, and alerts in the
log, from the status board.

Never: sees the key; talks to the other processes; answers anything that changes something.
"""

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from cometkms.board.sections import AlertReport, ApiSection
from cometkms.board.status_board import Board, Section
from cometkms.calm_log import CalmLog
from cometkms.config.schema import Settings
from cometkms.hardening.children import Keeps, shut_child
from cometkms.hardening.measures import Mode, tell
from cometkms.hardening.scheduling import Turn, take_turn
from cometkms.hardening.user import Whom
from cometkms.ipc.child import ChildContext, run_loop
from cometkms.limits import ALERTS_TOLD_MAX, API_UID, CALM_BEAT_S
from cometkms.log import Log

if TYPE_CHECKING:
    from cometkms.api.watch import Watch
    from cometkms.board.sections import BoardReader

#: Imported when they are first needed.
LATE: Final[tuple[str, ...]] = ("uvicorn.lifespan.off",)


@dataclass(frozen=True, slots=True)
class ApiParts:
    """What the supervisor made before the fork."""

    settings: Settings
    board: Board
    log: Log


def run(context: ChildContext, parts: ApiParts) -> int:
    """The process's whole life; returns its exit code. Raises: CometKMSError when it cannot
    start."""
    from cometkms.api.app import make_app
    from cometkms.api.server import bind, is_loopback, serve
    from cometkms.api.watch import Watch
    from cometkms.board.shape import ShapedBoard

    log = parts.log.bind(immediate=False, module="api")
    listener = bind(parts.settings.http_addr.host, parts.settings.http_addr.port)
    # what a section holds is its writer's word
    board = ShapedBoard(cast("BoardReader", parts.board))

    calm = CalmLog(log, time.monotonic)  # strangers choose how often they ask

    def on_failure(path: str, error: BaseException) -> None:
        calm.error("request failed", path=path, why=f"{type(error).__name__}: {error}")

    watch = Watch(board, parts.settings.alerts, log)
    app = make_app(board, on_failure, watch, loopback_only=is_loopback(listener))
    keeps = Keeps(
        Whom("cmkms-api", API_UID),
        accepts=True,
        shut=_keys(parts.settings),
        apart=parts.settings.secret_files,
        late=LATE,
    )
    mode = Mode(parts.settings.hardening)
    turn = take_turn("api", mode, Turn.LATER)
    measures = (*shut_child("api", mode, os.getppid(), keeps), turn)
    tell(log, measures)

    def tell_others() -> None:
        """What the webhook process sends: this one alone knows which alerts are raised."""
        alerts: list[AlertReport] = watch.alerts()[:ALERTS_TOLD_MAX]
        section.publish(ApiSection(hardening=hardening, looks_since=looks_since, alerts=alerts))

    section: Section[ApiSection] = parts.board.section("api")
    hardening, looks_since = [one.document() for one in measures], time.time()
    tell_others()

    async def main(stop: asyncio.Event) -> None:
        def look() -> None:
            try:
                if watch.look_if_written():
                    tell_others()
            except Exception as error:  # noqa: BLE001 - another process's words: they end no reader
                on_failure("the board", error)

        context.on_reload(lambda new: watch.set_bounds(new.alerts))
        look()
        context.on_beat(look)
        context.on_beat(calm.tell_held)
        said = asyncio.create_task(_say_the_end(stop, watch))
        await serve(app, listener, stop, context.ready, lambda what: calm.error("http server", what=what.strip()))
        await said
        calm.tell_held(everything=True)

    return run_loop(context, main, log, CALM_BEAT_S)


async def _say_the_end(stop: asyncio.Event, watch: "Watch") -> None:
    """Whoever reads the stream must not keep the process from stopping."""
    await stop.wait()
    watch.close()


def _keys(settings: Settings) -> tuple[Path, ...]:
    return tuple(chain.key_file for chain in settings.chains)
