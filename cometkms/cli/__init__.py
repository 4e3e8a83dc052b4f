"""The `cmkms` command: one file per command, the only importer of click."""

import sys
import traceback

import click

from cometkms import __version__
from cometkms.cli import (
    audit,
    chain,
    completion,
    config_cmd,
    demo,
    doctor,
    drill,
    epoch,
    export,
    import_cmd,
    init,
    keys,
    leader,
    member,
    peers,
    recover,
    standin,
    start,
    state,
    status,
    testnet,
    version,
)
from cometkms.cli.options import EXIT_CODES, home_option
from cometkms.cli.output import say_error
from cometkms.errors import CometKMSError, disk_failure


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
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


for _command in (
    init.command,
    testnet.command,
    start.command,
    status.command,
    peers.command,
    leader.command,
    doctor.command,
    drill.command,
    keys.command,
    state.command,
    chain.command,
    import_cmd.command,
    export.command,
    audit.command,
    recover.command,
    epoch.command,
    member.command,
    config_cmd.command,
    demo.command,
    standin.command,
    version.command,
    completion.command,
):
    cli.add_command(_command)


def _tell(error: Exception) -> int:
    """Say what went wrong; the exit code. A disk that is full or fails is said to be that, whatever stumbled over it."""
    if (failure := disk_failure(error)) is not None:
        error = failure
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if isinstance(error, CometKMSError):
        say_error(error)
        return error.exit_code
    traceback.print_exception(error)
    return 70


def main() -> None:
    """The console script. Errors of the operator's are one message and an exit code; bugs are a traceback and 70."""
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("Aborted", err=True)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - the last frame: what nobody caught is a bug of ours, told as one
        sys.exit(_tell(error))
    sys.exit(code if isinstance(code, int) else 0)
