"""`cmkms recover`"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from cometkms.cli.options import (
    UNSET_CHAIN,
    burn_options,
    chosen_home,
    demand_heights,
    home_option,
    json_option,
    load_home,
)
from cometkms.cli.output import say, show_json
from cometkms.cli.running import node_id_option
from cometkms.cli.state import files_of
from cometkms.config.schema import Settings
from cometkms.core import choose
from cometkms.errors import StateError
from cometkms.model import Watermark
from cometkms.rules.burnt import Heights
from cometkms.store.adopted import adopt_answer
from cometkms.store.another_key import short
from cometkms.store.exported import WentOut, went_out
from cometkms.store.lock import locked_home
from cometkms.store.node_files import NodeFiles
from cometkms.store.owner import refuse_other_home
from cometkms.store.recover import recover


@click.command("recover")
@home_option
@node_id_option
@burn_options
@click.option(
    "--from-store",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Instead of a height: the store (data/ID/promises) of a member that is dead for good.",
)
@click.option("--yes", is_flag=True, help="With --from-store: do not ask.")
@json_option("What was done")
def command(
    home: str | None,  # noqa: ARG001 - kept in the context by the option's callback
    node_id: str | None,
    min_height: Heights | None,
    yes_height: Heights | None,
    from_store: Path | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Make a new promise store after the old one was lost or corrupted. The node must be stopped.

    Every height up to H is burnt: this node signs nothing there again. H must be at least the
    chain's head + 1, read after the loss from two nodes you trust, plus a margin. What is still
    readable in the old store or a state file is never undercut. The old store is kept beside the
    new one, and so is a state file that is empty, cut short or damaged; what was never one (a key,
    a text, settings) is refused and left as it is. Of several chains each gets its own height,
    --min-height CHAIN=H: one for all would keep the lower ones silent. A chain of this home that is
    not in config.toml now is lost, however whole the old store looks: it does not sign before it is
    there, and this command is given again.

    A node of a cluster needs this only if another node is lost for good: else it reads what it lost
    from the others, by itself. If the lost node's disk is still there, its store, read after this
    node's loss, counts as its answer, and no height is burnt.

    \b
    Examples:
      cmkms recover --min-height 1234600
      cmkms recover --min-height 1234600 --yes-height 1234600
      cmkms recover --min-height hub-4=1234600 --min-height zone-1=88200
      cmkms recover --from-store /mnt/node2-disk/data/node2/promises
    """
    if (min_height is None) == (from_store is None):
        raise click.UsageError("give either --min-height or --from-store")
    settings = load_home(node_id=node_id)
    if any(chain.id == UNSET_CHAIN for chain in settings.chains):
        raise StateError("which chain?", cure="set chain_id in config.toml first")
    done: dict[str, Any] = {}
    if from_store is not None:
        done = _adopt(settings, from_store, yes, as_json)
    elif min_height is not None:
        done = _burn(settings, min_height, yes_height, as_json)
    if as_json:
        show_json(done)


def _adopt(settings: Settings, store: Path, yes: bool, as_json: bool) -> dict[str, Any]:
    """What was done, as a document. With `as_json` the words go to stderr."""
    refuse_other_home(files_of(settings), readable=True)
    for line in (
        f"home     {settings.home}",
        f"node     {settings.id}, recovering",
        f"effect   {store} counts as its owner's answer: every place promised there is burnt here; then the rest of the others are read as usual",
        "risk     if that store was copied BEFORE this node lost its own, or its owner still runs: a double signature",
    ):
        say(line, err=as_json)
    if not yes:
        if not sys.stdin.isatty():
            raise StateError("this must be confirmed, and nobody is there to do it", cure="--yes. Nothing was changed")
        click.confirm("Is its owner dead for good, and was it read after this node's loss?", abort=True, err=True)
    with locked_home(chosen_home()):
        owner, marks = adopt_answer(files_of(settings), store)
    say(f"read     {owner}", err=as_json)
    for chain, mark in zip(settings.chains, marks, strict=True):
        say(f"stands   {chain.id} at height {mark.hrs.height} round {mark.hrs.round} step {mark.hrs.step}", err=as_json)
    say("Start the node: it reads the others that are left, and is a member again.", err=as_json)
    return {"home": str(settings.home), "node_id": settings.id, "read": owner, "chains": _stand(settings, marks)}


def _burn(settings: Settings, heights: Heights, typed: Heights | None, as_json: bool) -> dict[str, Any]:
    """Burn every place up to these heights, and return what is printed as JSON."""
    heights.check(chain.id for chain in settings.chains)
    refuse_other_home(files_of(settings), readable=True)
    went = _went_out(settings, heights)
    for line in (*warning(settings, heights), *_words_of_out(went)):
        say(line, err=as_json)
    demand_heights(heights, typed)
    with locked_home(chosen_home()):
        if _went_out(settings, heights) != went:
            raise StateError(
                "meanwhile a key went out to another signer, or came back: what was shown before the height was typed is not so any more",
                cure="the same command again, and a height by what it says then. Nothing was changed",
            )
        files = files_of(settings)
        done = recover(files, heights, choose.load())
    for path in (done.store, *done.state_files):
        if path is not None:
            say(f"kept     {path}", err=as_json)
    for chain, mark in zip(settings.chains, done.marks, strict=True):
        say(
            f"burnt    {chain.id} up to height {mark.hrs.height} round {mark.hrs.round} step {mark.hrs.step}",
            err=as_json,
        )
        if mark.hrs.height > heights.of(chain.id):
            say(
                f"note     {chain.id}: this node stood above {heights.of(chain.id)} already, so that was no height above this chain's head, "
                "and what was signed since is not burnt: the same once more with one that is, before it starts",
                err=True,
            )
    every = "" if files.alone else ", the same on every member, all stopped: this node alone remembers that it is lost"
    configured = {chain.id for chain in settings.chains}
    for row in done.lost_rows:
        isnt, there = "it is not configured", "with it in config.toml"
        if row.chain_id in configured:
            isnt, there = f"of the key {short(row)}, which is not the one in its file", "with that key there"
        say(
            f"lost     {row.chain_id}: {isnt}, and what was promised there is not known any more: nothing is signed there before another "
            f"recovery {there} burns a height above its head{every}",
            err=as_json,
        )
    if done.lost_unnamed:
        say(
            "lost     which chains this home had begun is not known any more: one that is not configured now, and whose state file says that it was "
            f"signed for, is not signed for before another recovery with it in config.toml burns a height above its head{every}",
            err=as_json,
        )
    return {
        "home": str(settings.home),
        "node_id": settings.id,
        "kept": str(done.store) if done.store is not None else None,
        "state_files_kept": [str(path) for path in done.state_files],
        "chains": _stand(settings, done.marks),
        "lost": list(done.lost),
        "lost_unnamed": done.lost_unnamed,
        "came_back": [
            {
                "chain_id": chain_id,
                "from": one.kind,
                "state_file": one.target,
                "place": one.place and one.place._asdict(),
            }
            for chain_id, one in went.items()
        ],
    }


def _went_out(settings: Settings, heights: Heights) -> dict[str, WentOut]:
    """The chains whose keys another signer has, which a recovery takes for off on the operator's
    word. Raises: StateError for a height below what went out.
    """
    store = NodeFiles.at(settings.home, settings.id, ()).store_path
    found = {chain.id: went_out(chain.state_file, chain.id, store) for chain in settings.chains}
    went = {chain_id: one for chain_id, one in found.items() if one is not None}
    for chain_id, one in went.items():
        if one.place is not None and heights.of(chain_id) < one.place.height:
            raise StateError(
                f"{one}, and {heights.of(chain_id)} is below that",
                cure="the chain's head, read when that signer is off for good, and a height above it. Nothing was changed",
            )
    return went


def _words_of_out(went: dict[str, WentOut]) -> list[str]:
    lines = []
    for chain_id, one in went.items():
        place = f", at {one.place}" if one.place is not None else ""
        lines += [
            f"out      {chain_id}: the key went out to {one.kind} ({one.target}{place}); what that signer has signed since is not known here",
            f"         so it must be off for good, the height above everything that it signed, too: {one.path.name} is taken away, and this node "
            "signs again",
        ]
    return lines


def _stand(settings: Settings, marks: Sequence[Watermark]) -> list[dict[str, Any]]:
    return [{"chain_id": chain.id, **mark.hrs._asdict()} for chain, mark in zip(settings.chains, marks, strict=True)]


def warning(settings: Settings, heights: Heights) -> list[str]:
    """What will be done and what it risks."""
    others = [peer.id for peer in settings.peers if peer.id != settings.id]
    lines = [
        f"home     {settings.home}",
        f"node     {settings.id}, {'of a cluster with ' + ', '.join(others) if others else 'alone: no peer list is configured'}",
        f"chains   {', '.join(chain.id for chain in settings.chains)}",
        f"effect   a new store in which {heights.words} is burnt; the old one is kept aside",
        "risk     if this key has signed, or any other signer with this key may sign, ABOVE that height: a double signature",
    ]
    if others:
        lines.append(
            "         a height below the chain's head + 1, or a head read BEFORE the store was lost: likewise. If the other nodes can all be "
            "started, do that instead: this node then recovers by itself, at the exact place"
        )
    return lines
