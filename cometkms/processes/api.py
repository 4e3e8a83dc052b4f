"""The api process: /healthz, /status and /metrics over HTTP, from the status board.

Never: sees the key; talks to the other processes; answers anything that changes something.
"""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from cometkms.config.schema import Settings
from cometkms.hardening.children import Keeps, shut_child
from cometkms.hardening.measures import Mode, tell
from cometkms.ipc.board import Board
from cometkms.log import Log
from cometkms.processes.child import ChildContext, run_loop

if TYPE_CHECKING:
    from cometkms.api.sections import BoardReader


@dataclass(frozen=True, slots=True)
class ApiParts:
    """What the supervisor made before the fork."""

    settings: Settings
    board: Board
    log: Log


def run(context: ChildContext, parts: ApiParts) -> int:
    """The process's whole life; returns its exit code. Raises: CometKMSError when it cannot start."""
    from cometkms.api.app import make_app
    from cometkms.api.server import bind, serve

    log = parts.log.bind(immediate=False, module="api")
    listener = bind(parts.settings.http_addr.host, parts.settings.http_addr.port)

    def on_failure(path: str, error: BaseException) -> None:
        log.error("request failed", path=path, why=f"{type(error).__name__}: {error}")

    app = make_app(cast("BoardReader", parts.board), on_failure)  # what a section holds is its writer's word
    measures = shut_child("api", Mode(parts.settings.hardening), os.getppid(), _keeps(parts.settings))
    tell(log, measures)
    parts.board.section("api").write({"hardening": [one.document() for one in measures]})

    async def main(stop: asyncio.Event) -> None:
        await serve(app, listener, stop, context.ready, lambda what: log.error("http server", what=what))

    return run_loop(context, main, log)


def _keeps(settings: Settings) -> Keeps:
    """Its port is open; of files what the other processes use of the machine (api/process_use.py)."""
    return Keeps(read=(Path("/proc"),), shut=tuple(chain.key_file for chain in settings.chains))
