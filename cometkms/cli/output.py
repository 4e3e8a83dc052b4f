"""How commands speak: a line is a line, whatever a peer, a server or a file put into it."""

import json

import click

from cometkms.errors import CometKMSError
from cometkms.printable import printable


def say(line: object, *, err: bool = False) -> None:
    """One line on stdout, or stderr."""
    click.echo(printable(str(line)), err=err)


def show_json(document: object) -> None:
    """One JSON document on stdout, for a program: what `--json` prints
    (docs/CONFIGURATION.md, "For programs").
    """
    click.echo(json.dumps(document, indent=2))


def say_error(error: CometKMSError) -> None:
    """Print an error on stderr, a line for each of its parts."""
    click.echo("Error: " + "\n".join(printable(str(part)) for part in error.parts), err=True)
