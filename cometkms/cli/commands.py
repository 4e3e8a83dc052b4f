"""The list of commands: each is imported when it is asked for."""

import importlib
import traceback
from typing import Final

import click

from cometkms import __version__
from cometkms.cli.loading import loading
from cometkms.cli.options import EXIT_CODES, CommandGroup, home_option
from cometkms.cli.output import say_error
from cometkms.errors import (
    INTERNAL_EXIT,
    OTHER_USER_CURE,
    CometKMSError,
    cure_of_file,
    disk_failure,
    place_of,
    said,
)

#: Each command and the module of this package that has it as `command`, in the order of the help.
_MODULES: Final = {
    "init": "init",
    "testnet": "testnet",
    "start": "start",
    "agent": "agent",
    "status": "status",
    "top": "top",
    "events": "events",
    "peers": "peers",
    "leader": "leader",
    "alert": "alert",
    "doctor": "doctor",
    "drill": "drill",
    "keys": "keys",
    "state": "state",
    "chain": "chain",
    "import": "import_cmd",
    "export": "export",
    "audit": "audit",
    "recover": "recover",
    "epoch": "epoch",
    "member": "member",
    "peer-id": "peer_id",
    "config": "config_cmd",
    "demo": "demo",
    "standin": "standin",
    "version": "version",
    "completion": "completion",
}


class _Commands(CommandGroup):
    """Imports a command's module when the command is asked for: what `cmkms status` needs is there
    in a third of the time.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.commands and cmd_name in _MODULES:
            with loading():
                self.add_command(importlib.import_module(f"{__package__}.{_MODULES[cmd_name]}").command)
        return super().get_command(ctx, cmd_name)


@click.group(
    cls=_Commands,
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(
    __version__, "--version", prog_name="cmkms", message="%(prog)s %(version)s", help="The version, and nothing else."
)
@home_option
def cli(home: str | None) -> None:
    """CometKMS: a key management service for CometBFT validators.

    Every signature's watermark is on disk before the signature exists.

    \b
    Examples:
      cmkms init --home ~/.cmkms
      cmkms start --validator-addr tcp://127.0.0.1:26658 --chain-id my-chain-1
      cmkms status
    """


def _is_of_output(error: OSError) -> bool:
    """Whether it was met in printing, not in a file of the node's: the last frame is click's own."""
    passed = error.__traceback__
    while passed is not None and passed.tb_next is not None:
        passed = passed.tb_next
    return passed is not None and passed.tb_frame.f_globals.get("__name__") == click.utils.__name__


def tell(error: Exception) -> int:
    """Say what went wrong; the exit code.

    A disk that is full or fails is said to be that, whatever stumbled over it.
    """
    if isinstance(error, OSError) and _is_of_output(error):
        say_error(CometKMSError(f"standard output cannot be written: {said(error)}"))
        return 1
    if (failure := disk_failure(error)) is not None:
        error = failure
    if isinstance(error, click.exceptions.Abort):
        click.echo("Aborted", err=True)
        return 1
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if isinstance(error, CometKMSError):
        say_error(error)
        return error.exit_code
    # of the machine, and no command foresaw it: words, and what it is about
    if isinstance(error, OSError):
        cure = cure_of_file(error, OTHER_USER_CURE if isinstance(error, PermissionError) and error.filename else "")
        say_error(CometKMSError(f"{place_of(error)}: {said(error)}", cure=cure))
        return 1
    traceback.print_exception(error)
    return INTERNAL_EXIT


def run() -> int:
    """Run the command that the arguments name; its exit code.

    Raises: whatever stopped it, for tell().
    """
    code = cli.main(standalone_mode=False)
    return code if isinstance(code, int) else 0
