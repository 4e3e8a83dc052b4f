"""`cmkms recover`"""

import sys

import click

from cometkms import core as cores
from cometkms.cli.options import UNSET_CHAIN, chosen_home, home_option, load_home
from cometkms.cli.running import node_id_option
from cometkms.cli.state import files_of
from cometkms.config.schema import Settings
from cometkms.errors import StateError
from cometkms.limits import HEIGHT_MAX
from cometkms.store.lock import locked_home
from cometkms.store.node_store import recover


@click.command("recover")
@home_option
@node_id_option
@click.option(
    "--min-height",
    required=True,
    type=click.IntRange(1, HEIGHT_MAX),
    metavar="H",
    help="Nothing is signed at H or below, ever again.",
)
@click.option("--yes-height", type=int, metavar="H", help="The height once more, instead of typing it.")
def command(home: str | None, node_id: str | None, min_height: int, yes_height: int | None) -> None:  # noqa: ARG001
    """Make a new promise store after the old one was lost or corrupted. The node must be stopped.

    Every height up to H is burnt: this node signs nothing there again. H must be at least the chain's head + 1, read after the loss from
    two nodes you trust, plus a margin. What is still readable in the old store or a state file is never undercut. The old store is kept
    beside the new one.

    A node of a cluster needs this only if another node is lost for good: else it reads what it lost from the others, by itself.

    \b
    Examples:
      cmkms recover --min-height 1234600
      cmkms recover --min-height 1234600 --yes-height 1234600
    """
    settings = load_home(node_id=node_id)
    if any(chain.id == UNSET_CHAIN for chain in settings.chains):
        raise StateError("which chain? cure: set chain_id in config.toml first")
    for line in warning(settings, min_height):
        click.echo(line)
    _demand(min_height, yes_height)
    with locked_home(chosen_home()):
        kept, marks = recover(files_of(settings), min_height, cores.load())
    if kept is not None:
        click.echo(f"kept     {kept}")
    for chain, mark in zip(settings.chains, marks, strict=True):
        click.echo(f"burnt    {chain.id} up to height {mark.hrs.height} round {mark.hrs.round} step {mark.hrs.step}")


def warning(settings: Settings, min_height: int) -> list[str]:
    """What will be done and what it risks."""
    others = [peer.id for peer in settings.peers if peer.id != settings.id]
    lines = [
        f"home     {settings.home}",
        f"node     {settings.id}, {'of a cluster with ' + ', '.join(others) if others else 'alone: no peer list is configured'}",
        f"chains   {', '.join(chain.id for chain in settings.chains)}",
        f"effect   a new store in which every height up to {min_height} is burnt; the old one is kept aside",
        "risk     if this key has signed, or any other signer with this key may sign, ABOVE that height: a double signature",
    ]
    if others:
        lines.append(
            "         a height below the chain's head + 1, or a head read BEFORE the store was lost: likewise. If the other nodes can all be "
            "started, do that instead: this node then recovers by itself, at the exact place"
        )
    return lines


def _demand(min_height: int, yes_height: int | None) -> None:
    """Raises: StateError unless the operator says the height once more."""
    typed = yes_height
    if typed is None:
        if not sys.stdin.isatty():
            raise StateError(
                f"the height must be typed, and nobody is there to type it; cure: --yes-height {min_height}. Nothing was changed"
            )
        typed = click.prompt("Type the height to go on", type=int)
    if typed != min_height:
        raise StateError(f"{typed} was typed, {min_height} was asked for: nothing was changed")
