"""`cmkms start`"""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from cometkms.cli.options import chosen_home, home_option, one_of
from cometkms.cli.start_run import run_node
from cometkms.config.table import SETTINGS, Flags, Given, Setting

F = TypeVar("F", bound=Callable[..., Any])


def _flags(function: F) -> F:
    """Give a command the flag of every setting, in the table's order."""
    for one in reversed(SETTINGS):
        function = _flag(one)(function)
    return function


def _flag(one: Setting) -> Callable[[F], F]:
    if one.kind is bool:
        return click.option(f"{one.flag}/--no-{one.flag[2:]}", default=None, help=one.words)
    complete = one_of(one.choices) if one.choices else None
    return click.option(
        one.flag, metavar=one.metavar, multiple=one.kind is list, shell_complete=complete, help=one.words
    )


@click.command("start")
@home_option
@_flags
def command(
    home: str | None,  # noqa: ARG001 - kept in the context by the option's callback
    **given: Given,
) -> int:
    """Run the node until SIGTERM or Ctrl-C.

    Every flag has a COMETKMS_* variable and a key in config.toml; a flag wins over the variable,
    the variable over the file.

    \b
    Examples:
      cmkms start
      cmkms start --validator-addr tcp://10.0.0.1:26658 --validator-addr unix:///run/privval.sock --chain-id my-chain-1
      COMETKMS_LOG_FORMAT=json cmkms start --home /var/lib/cmkms
      cmkms start --id n0 --raft-addr 10.0.0.10:9430 --peer n0=10.0.0.10:9430 --peer n1=10.0.0.11:9430 --peer n2=10.0.0.12:9430
    """
    return run_node(chosen_home(), Flags(**given))
