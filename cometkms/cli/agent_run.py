"""What `cmkms agent` runs."""

from pathlib import Path

from cometkms.cli.loading import loading


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
