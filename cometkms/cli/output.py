"""How commands speak: a line is a line, whatever a peer, a server or a file put into it."""

import json

import click

from cometkms.errors import CometKMSError, ConfigError
from cometkms.printable import printable


def say(line: object, *, err: bool = False) -> None:
    """One line on stdout, or stderr."""
    click.echo(printable(str(line)), err=err)


def show_json(document: object) -> None:
    """One JSON document on stdout, for a program: what `--json` prints (docs/CONFIGURATION.md, "For programs")."""
    click.echo(json.dumps(document, indent=2))


def say_error(error: CometKMSError) -> None:
    """On stderr. Only settings, which are the operator's own words, have several lines."""
    lines = str(error).split("\n") if isinstance(error, ConfigError) else [str(error)]
    click.echo("Error: " + "\n".join(printable(line) for line in lines), err=True)
