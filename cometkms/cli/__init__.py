"""The `cmkms` command: one file per command, the only importer of click."""

import sys
import traceback

import click

from cometkms.cli import (
    audit,
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
from cometkms.errors import CometKMSError


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
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
    import_cmd.command,
    export.command,
    audit.command,
    recover.command,
    epoch.command,
    config_cmd.command,
    demo.command,
    standin.command,
    version.command,
    completion.command,
):
    cli.add_command(_command)


def main() -> None:
    """The console script. Errors of the operator's are one message and an exit code; bugs are a traceback and 70."""
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("Aborted", err=True)
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except CometKMSError as error:
        say_error(error)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(1)
    except Exception:  # noqa: BLE001 - the last frame: a bug of ours, told as one
        traceback.print_exc()
        sys.exit(70)
    sys.exit(code if isinstance(code, int) else 0)
