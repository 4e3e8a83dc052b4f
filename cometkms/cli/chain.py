"""`cmkms chain`"""

import re
from pathlib import Path

import click

from cometkms import core as cores
from cometkms.cli.options import home_option, load_home
from cometkms.cli.running import node_id_option
from cometkms.config.load import CONFIG_NAME
from cometkms.config.schema import Chain, Settings
from cometkms.config.values import check_chain_id
from cometkms.errors import ConfigError, StateError
from cometkms.keys.validator_key import load_public_key
from cometkms.model import HRS, Row, Watermark
from cometkms.store import state_file
from cometkms.store.files import sync_directory
from cometkms.store.lock import locked_home
from cometkms.store.node_store import NodeFiles
from cometkms.store.promise_store import PromiseStore


@click.group("chain")
def command() -> None:
    """A chain that goes on under another id."""


@command.command("rename")
@home_option
@node_id_option
@click.option("--from", "old", required=True, metavar="ID", help="The chain id that this home has signed for.")
@click.option("--to", "new", required=True, metavar="ID", help="The chain id that it is to sign for.")
@click.option("--yes", is_flag=True, help="Do it. Without this nothing is changed.")
def rename(home: str | None, node_id: str | None, old: str, new: str, yes: bool) -> None:  # noqa: ARG001
    """Let this home's key sign for another chain id, after an upgrade that changed it. The node must be stopped; on every node.

    What was signed under the old id stays in the promise store, for ever: going back later goes on above it. The new id begins at
    0, or where it stood if this home knows it. Then set chain_id in config.toml, on every node, and start them.

    \b
    Examples:
      cmkms chain rename --from my-chain-1 --to my-chain-2
      cmkms chain rename --from my-chain-1 --to my-chain-2 --yes
    """
    check_chain_id(new)
    if old == new:
        raise ConfigError(f"the chain id is {old!r} already; nothing was changed")
    settings = load_home(node_id=node_id)
    with locked_home(settings.home):
        chain = _chosen(settings, old, new)
        before, after = _marks(settings, chain, old, new)
        aside = _aside(chain.state_file, old)
        click.echo(
            f"{old}  stands at {_place(before)} and keeps that in the promise store; its state file goes to {aside}"
        )
        click.echo(f"{new}  begins at {_place(after)}")
        if not yes:
            click.echo("Nothing was changed; --yes does it.")
            return
        chain.state_file.rename(aside)
        sync_directory(aside.parent)
        state_file.save(chain.state_file, after)
    click.echo(f"Then: set chain_id of {settings.home / CONFIG_NAME} to {new}, do both on every node, and start them.")


def _chosen(settings: Settings, old: str, new: str) -> Chain:
    """Whichever of the two ids is configured already. Raises: ConfigError."""
    found = [chain for chain in settings.chains if chain.id in (old, new)]
    if len(found) != 1:
        known = ", ".join(chain.id for chain in settings.chains)
        raise ConfigError(
            f"this home has the chains {known}, and one of them must be {old!r} or {new!r}; nothing was changed; cure: --from"
        )
    return found[0]


def _marks(settings: Settings, chain: Chain, old: str, new: str) -> tuple[Watermark, Watermark]:
    """Where both ids stand. Raises: StateError unless the store holds everything that the state file shows."""
    core = cores.load()
    in_file = state_file.load(chain.state_file, old, core.parse_sign_bytes)
    public_key = load_public_key(chain.key_file)
    path = NodeFiles.at(settings.home, settings.id, ()).store_path
    store = PromiseStore.open(path)
    try:
        held = {row: store.mark(number) for number, row in enumerate(store.rows)}
    finally:
        store.close()
    before = held.get(Row(public_key, old), Watermark())
    if before.hrs < in_file.hrs:
        raise StateError(
            f"{path} knows {old} up to {_place(before)}, and {chain.state_file} shows {_place(in_file)}: what was signed would be forgotten. Nothing "
            f"was changed; cure: start the node once with chain_id {old}, stop it, and do this again"
        )
    return before, held.get(Row(public_key, new), Watermark())


def _aside(path: Path, old: str) -> Path:
    """A name of its own that is not taken."""
    name = re.sub(r"[^A-Za-z0-9._-]", "_", old)
    number, found = 1, path.with_name(f"{path.stem}.{name}.json")
    while found.exists():
        number += 1
        found = path.with_name(f"{path.stem}.{name}-{number}.json")
    return found


def _place(mark: Watermark) -> str:
    return "0" if mark.hrs == HRS(0, 0, 0) else f"{mark.hrs.height}/{mark.hrs.round}/{mark.hrs.step}"
