"""`cmkms version`"""

import platform

import click

from cometkms import __version__
from cometkms.cli.output import show_json
from cometkms.core import choose
from cometkms.core.interface import Core
from cometkms.errors import CometKMSError
from cometkms.keytypes import KEY_TYPES

PROTOCOLS = "CometBFT and Tendermint v0.33 (amino), v0.34 to v0.40, v1.x"


def _keys(core: Core) -> str:
    """The types that this installation signs with, and what the others need."""
    words = []
    for one in KEY_TYPES:
        try:
            core.require(one)
        except CometKMSError:
            words.append(f"{one.name} (with cometkms[{one.extra}])")
        else:
            words.append(one.name)
    return ", ".join(words)


@click.command("version")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(as_json: bool) -> None:
    """This program, its core and the protocols it speaks.

    \b
    Example:
      cmkms version --json
    """
    from importlib.metadata import version as package_version

    core = choose.load()
    facts = {
        "version": __version__,
        "core": core.name,
        "python": platform.python_version(),
        "pynacl": package_version("pynacl"),
        "privval": PROTOCOLS,
        "keys": _keys(core),
    }
    if as_json:
        show_json(facts)
        return
    for name, value in facts.items():
        click.echo(f"{name:<8} {value}")
