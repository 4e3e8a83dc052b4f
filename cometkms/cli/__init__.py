"""The `cmkms` command: one file per command, the only importer of click.

`commands` has the list of them; it is imported when something else is asked for than an agent or a
node of a home (`plain`): while an agent starts, its validator waits, and the library for command
lines would be a fifth of what that start computes; all processes of a node would hold it as long as
they run.
"""

import sys

from cometkms.cli.plain import plainly
from cometkms.cli.stopping import stop_at_once
from cometkms.ipc.descriptors import open_standard


def main() -> None:
    """The console script.

    Errors of the operator's are one message and an exit code; bugs are a traceback and 70.
    """
    if sys.argv[1:2] == ["start"]:
        stop_at_once()
    open_standard()
    run = plainly(sys.argv[1:]) or _command
    try:
        code = run()
    except BrokenPipeError:
        sys.exit(1)
    except KeyboardInterrupt:
        print("\nAborted", file=sys.stderr)
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - the last frame: what nobody caught is a bug of ours, told as one
        from cometkms.cli.commands import tell

        sys.exit(tell(error))
    sys.exit(code)


def _command() -> int:
    """Run the command that the arguments name."""
    from cometkms.cli.commands import run

    return run()
