"""`cmkms recover`"""

import click

from cometkms import core as cores
from cometkms.cli.options import UNSET_CHAIN, chosen_home, home_option, load_home
from cometkms.cli.state import files_of
from cometkms.errors import StateError
from cometkms.limits import HEIGHT_MAX
from cometkms.store.lock import locked_home
from cometkms.store.node_store import recover


@click.command("recover")
@home_option
@click.option("--id", "node_id", default=None, metavar="ID", help="Node id.  [default: the home's]")
@click.option(
    "--min-height",
    required=True,
    type=click.IntRange(1, HEIGHT_MAX),
    metavar="H",
    help="Nothing is signed at H or below, ever again.",
)
@click.option("--confirm", type=int, metavar="H", help="The height once more, instead of typing it.")
def command(home: str | None, node_id: str | None, min_height: int, confirm: int | None) -> None:  # noqa: ARG001
    """Make a new promise store after the old one was lost or corrupted. The node must be stopped.

    Every height up to H is burnt: this node signs nothing there again. H must be at least the chain's head + 1, read after the loss from
    two nodes you trust, plus a margin. What is still readable in the old store or a state file is never undercut. The old store is kept
    beside the new one.

    \b
    Example:
      cmkms recover --min-height 1234600
    """
    settings = load_home(node_id=node_id)
    if any(chain.id == UNSET_CHAIN for chain in settings.chains):
        raise StateError("which chain? cure: set chain_id in config.toml first")
    click.echo(f"home     {chosen_home()}")
    click.echo(f"node     {settings.id}")
    click.echo(f"chains   {', '.join(chain.id for chain in settings.chains)}")
    click.echo(f"effect   a new store in which every height up to {min_height} is burnt; the old one is kept aside")
    click.echo(
        "risk     if this key has signed, or any other signer with this key may sign, ABOVE that height: a double signature"
    )
    typed = confirm if confirm is not None else click.prompt("Type the height to go on", type=int)
    if typed != min_height:
        raise StateError(f"{typed} was typed, {min_height} was asked for: nothing was changed")
    with locked_home(chosen_home()):
        kept, marks = recover(files_of(settings), min_height, cores.load())
    if kept is not None:
        click.echo(f"kept     {kept}")
    for chain, mark in zip(settings.chains, marks, strict=True):
        click.echo(f"burnt    {chain.id} up to height {mark.hrs.height} round {mark.hrs.round} step {mark.hrs.step}")
