"""`cmkms epoch`"""

import json
from pathlib import Path
from typing import Any, Final

import click

from cometkms import core as cores
from cometkms.cli.options import chosen_home, home_option, load_home
from cometkms.cli.output import say
from cometkms.cli.running import ask_node, node_id_option
from cometkms.cli.state import files_of
from cometkms.errors import ConfigError, OperatorError, StateError, os_words
from cometkms.model import HRS
from cometkms.rules.birth import NodeState
from cometkms.store import epoch as epochs
from cometkms.store.lock import locked_home
from cometkms.store.node_store import NodeFiles, read_epoch

_SEAL_FILE_MAX_BYTES: Final = 1 << 20


@click.group("epoch")
def command() -> None:
    """Change the members of a cluster. A majority of the old members is sealed; the new ones begin from their seals."""


@command.command("show")
@home_option
@node_id_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def show(home: str | None, node_id: str | None, as_json: bool) -> None:  # noqa: ARG001
    """This node's epoch, its members and its state. Works while the node runs, and when it is stopped.

    \b
    Example:
      cmkms epoch show
    """
    found = _running(node_id) or _stopped(files_of(load_home(node_id=node_id)))
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    say(f"epoch    {found['epoch']}")
    say(f"members  {', '.join(found['members'])}")
    say(f"state    {found['state']}")


def _running(node_id: str | None) -> dict[str, Any] | None:
    """What the node says; None when none runs here."""
    try:
        answer = ask_node(node_id, {"op": "peers"})
    except OperatorError:
        return None
    members = [member["id"] for member in answer.get("members", [])]
    return {"epoch": answer.get("epoch"), "members": members, "state": answer.get("node_state")}


def _stopped(files: NodeFiles) -> dict[str, Any]:
    """What its store says. Raises: StateError, BusyError."""
    if not files.store_path.exists():
        return {"epoch": read_epoch(files), "members": list(files.members), "state": "no store yet"}
    with locked_home(chosen_home()):
        header = epochs.read_header(files)
    return {"epoch": header.epoch, "members": list(header.members), "state": header.state.name.lower()}


@command.command("seal")
@home_option
@node_id_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def seal(home: str | None, node_id: str | None, yes: bool) -> None:  # noqa: ARG001
    """End this node's part in its epoch: its store refuses everything further, for ever. Prints its seal, one line; again when it is sealed.

    The node must be stopped. Seal a majority of the members and the epoch is over: none of the rest can sign in it.

    \b
    Example:
      cmkms epoch seal > node0.seal
    """
    files = files_of(load_home(node_id=node_id))
    with locked_home(chosen_home()):
        _confirm(files, yes)
        sealed = epochs.seal(files, cores.load())
    others = ", ".join(name for name in sealed.members if name != sealed.node)
    say(f"{sealed.node} is sealed in epoch {sealed.epoch}{' with ' + others if others else ''}", err=True)
    click.echo(epochs.seal_text(sealed))


def _confirm(files: NodeFiles, yes: bool) -> None:
    """A store that is sealed already loses nothing more. Raises: StateError, Abort."""
    if not files.store_path.exists():
        raise StateError(
            f"{files.store_path} is missing: a node that never promised, or that lost what it promised, has no seal to give"
        )
    header = epochs.read_header(files)
    if header.state is NodeState.SEALED:
        return
    say(
        f"node     {files.node_id}, epoch {header.epoch} of {', '.join(header.members)}\n"
        "effect   this store promises nothing more, for ever; the node signs again only as a member of a next epoch (cmkms epoch begin)",
        err=True,
    )
    if not yes:
        click.confirm("Seal it?", abort=True, err=True)


@command.command("begin")
@home_option
@node_id_option
@click.option(
    "--members",
    required=True,
    metavar="ID,ID,…",
    help="The members of the new epoch: the ids of the peer list, once more.",
)
@click.option("--seal", "texts", multiple=True, metavar="TEXT", help="A seal of an old member (repeatable).")
@click.option("--seal-file", "paths", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
              help="A file with seals, one a line (repeatable).")  # fmt: skip
def begin(home: str | None, node_id: str | None, members: str, texts: tuple[str, ...], paths: tuple[Path, ...]) -> None:  # noqa: ARG001
    """Make this node's store for the next epoch, from the seals of a majority of the old members. The node must be stopped.

    Run it with the same seals on every new member; the peer list must name the new members already. Places that an old member had promised
    are burnt unless their signature is known. An old store is kept beside the new one.

    \b
    Examples:
      cmkms epoch begin --members node0,node1,node2 --seal-file node0.seal
      cmkms epoch begin --members node0,node1,node3 --seal-file node0.seal --seal-file node1.seal
    """
    files = files_of(load_home(node_id=node_id))
    named = tuple(sorted(part.strip() for part in members.split(",")))
    if named != files.members:
        raise ConfigError(
            f"--members names {', '.join(named)} and the peer list of this node {', '.join(files.members)}; cure: write the new peer list into "
            "config.toml (or COMETKMS_PEER) of every new member first"
        )
    seals = [*map(epochs.parse_seal, texts), *read_seals(paths)]
    with locked_home(chosen_home()):
        epoch, marks = epochs.begin(files, seals, cores.load())
    say(f"{files.node_id} begins epoch {epoch} with {', '.join(files.members)}")
    say(f"from the seals of {', '.join(sorted({seal.node for seal in seals}))}")
    for row, mark in marks:
        known = "signed" if mark.signature else "burnt" if mark.hrs > HRS(0, 0, 0) else "nothing signed yet"
        say(f"chain {row.chain_id}  height {mark.hrs.height} round {mark.hrs.round} step {mark.hrs.step} ({known})")
    if len(files.members) > 1:
        say("Do the same with the same seals on every other member, then start them all.")


def read_seals(paths: tuple[Path, ...]) -> list[epochs.Seal]:
    """The seals of some files, one a line. Raises: StateError."""
    return [epochs.parse_seal(text) for text in _lines(paths)]


def _lines(paths: tuple[Path, ...]) -> list[str]:
    """Raises: StateError."""
    found: list[str] = []
    for path in paths:
        try:
            text = path.read_bytes()[:_SEAL_FILE_MAX_BYTES].decode()
        except (OSError, UnicodeDecodeError) as error:
            raise StateError(
                f"{path} cannot be read: {os_words(error) if isinstance(error, OSError) else error}"
            ) from error
        found += [line for line in text.splitlines() if line.strip()]
    return found
