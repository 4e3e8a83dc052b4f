"""Command lines that are plain enough to be understood without click: those of the units."""

from collections.abc import Callable, Sequence
from pathlib import Path

from cometkms.cli.agent_run import run_agent
from cometkms.cli.loading import loading
from cometkms.cli.start_run import run_plainly


def plainly(arguments: Sequence[str]) -> Callable[[], int] | None:
    """What `agent --home DIR` or `start --home DIR` runs, with DIR made absolute; None for every
    other command line, which click is to read.
    """
    match list(arguments):
        case ["agent" | "start" as name, "--home", text] if text and not text.startswith("-"):
            return lambda: (run_agent if name == "agent" else run_plainly)(_absolute(text))
        case _:
            return None


def _absolute(text: str) -> Path:
    """Read a home as click's way does.

    Raises: ConfigError; OSError where the working directory is gone.
    """
    with loading():
        from cometkms.config.values import expanded
    return expanded(Path(text)).absolute()
