"""What `cmkms agent` runs, and when its arguments are plain enough to be understood without click."""

from collections.abc import Sequence
from pathlib import Path

from cometkms.cli.loading import loading


def plain_home(arguments: Sequence[str]) -> Path | None:
    """The home that `agent --home DIR` names, absolute; None for every other command line, which
    click is to read.
    """
    match list(arguments):
        case ["agent", "--home", text] if text and not text.startswith("-"):
            return Path(text).expanduser().absolute()
        case _:
            return None


def run_agent(home: Path) -> int:
    """Run the agent of that home until it is told to stop; the exit code.

    Raises: CometKMSError when it cannot start.
    """
    with loading():
        from cometkms.agent.config import load
        from cometkms.agent.process import run
        from cometkms.hardening.prctl import make_undumpable
        from cometkms.log import Log
    settings = load(home)
    make_undumpable()
    return run(settings, Log(settings.log_level, settings.log_format, immediate=False, agent=settings.name))
