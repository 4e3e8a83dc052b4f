"""`cmkms version`"""

import json
import platform

import click

from cometkms import __version__
from cometkms import core as cores

PROTOCOLS = "CometBFT and Tendermint v0.33 (amino), v0.34 to v0.40"


@click.command("version")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(as_json: bool) -> None:
    """This program, its core and the protocols it speaks.

    \b
    Example:
      cmkms version --json
    """
    from importlib.metadata import version as package_version

    facts = {
        "version": __version__,
        "core": cores.load().name,
        "python": platform.python_version(),
        "pynacl": package_version("pynacl"),
        "privval": PROTOCOLS,
    }
    if as_json:
        click.echo(json.dumps(facts))
        return
    for name, value in facts.items():
        click.echo(f"{name:<8} {value}")
