"""Load a running node's settings anew. The decision what may change is config/reload.py's; here are
the file, the log and the board."""

import os
import time
from collections.abc import Callable

from cometkms.board.sections import ReloadReport
from cometkms.config.load import load_settings, read_config
from cometkms.config.reload import encode, overridden, plan_reload, reloadable
from cometkms.config.schema import Settings
from cometkms.config.table import Flags
from cometkms.errors import said
from cometkms.log import LEVELS, Log
from cometkms.supervisor.reloading import Reloaded


class Reloader:
    """The settings that this node runs with, now. Flags and variables stay what they were at the
    start."""

    def __init__(self, settings: Settings, flags: Flags, log: Log, set_level: Callable[[str], None]) -> None:
        """`set_level`: of this process's own logs, which later children inherit."""
        self.settings = settings
        self._flags = flags
        self._log = log
        self._set_level = set_level

    def __call__(self) -> Reloaded:
        """Reload the settings and tell every child. A file that is wrong changes nothing."""
        at = time.time()
        try:
            loaded = load_settings(self.settings.home, self._flags, here=True)
            plan = plan_reload(self.settings, loaded)
            document = encode(reloadable(plan.settings))
            without_effect = overridden(self._flags, os.environ, read_config(self.settings.home))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a file: a node that signs does not end for it
            self._log.error(
                "not reloaded",
                why=said(error),
                what="nothing was changed; the node runs on with what it had",
                cure="put config.toml right and reload again",
            )
            return Reloaded(None, ReloadReport(at=at, changed=[], needs_restart=[], error=said(error)))
        quieter = LEVELS[plan.settings.log_level] > LEVELS[self.settings.log_level]
        self.settings = plan.settings
        if not quieter:
            self._set_level(plan.settings.log_level)
        for what in plan.needs_restart:
            self._log.warning("not reloadable", what=what, cure="restart the node for it")
        for what in without_effect:
            self._log.warning("not reloadable", what=what)
        self._log.info("reloaded", changed="; ".join(plan.changed) or "nothing")
        # last where less is logged from now on: this was to be heard
        self._set_level(plan.settings.log_level)
        needs_restart = [*plan.needs_restart, *without_effect]
        report = ReloadReport(at=at, changed=list(plan.changed), needs_restart=needs_restart, error="")
        return Reloaded(document if plan.changed else None, report)
