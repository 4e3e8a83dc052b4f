"""The `cmkms` command: one file per command, the only importer of click.

`commands` has the list of them; it is imported when something else than the plain `cmkms agent
--home DIR` is asked for: while an agent starts, its validator waits, and the library for command
lines would be a fifth of what that start computes.
"""

import sys

from cometkms.cli.agent_run import plain_home, run_agent
from cometkms.ipc.descriptors import open_standard


def main() -> None:
    """The console script.

    Errors of the operator's are one message and an exit code; bugs are a traceback and 70.
    """
    open_standard()
    home = plain_home(sys.argv[1:])
    try:
        code = run_agent(home) if home is not None else _command()
    except BrokenPipeError:
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - the last frame: what nobody caught is a bug of ours, told as one
        from cometkms.cli.commands import tell

        sys.exit(tell(error))
    sys.exit(code)


def _command() -> int:
    """Run the command that the arguments name."""
    from cometkms.cli.commands import run

    return run()
