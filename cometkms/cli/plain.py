"""Command lines that are plain enough to be understood without click: those of the units."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from cometkms.cli.agent_run import run_agent
from cometkms.cli.start_run import run_plainly


def plainly(arguments: Sequence[str]) -> Callable[[], int] | None:
    """What `agent --home DIR` or `start --home DIR` runs, with DIR made absolute; None for every
    other command line, which click is to read.
    """
    match list(arguments):
        case ["agent" | "start" as name, "--home", text] if text and not text.startswith("-"):
            return partial(run_agent if name == "agent" else run_plainly, Path(text).expanduser().absolute())
        case _:
            return None
