"""`cmkms epoch`"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import click

from cometkms.board.sections import SEALED_FOR_FACT, MemberState
from cometkms.cli.options import (
    CommandGroup,
    F,
    burn_options,
    chosen_home,
    demand_heights,
    home_option,
    json_option,
    load_home,
    must_confirm,
)
from cometkms.cli.output import say, show_json
from cometkms.cli.running import ask_node, node_id_option
from cometkms.cli.state import files_of
from cometkms.config.schema import Settings
from cometkms.core import choose
from cometkms.durable import read_given
from cometkms.errors import ConfigError, OperatorError, StateError, said
from cometkms.limits import CONTROL_TIMEOUT_S
from cometkms.model import HRS
from cometkms.rules.birth import NodeState
from cometkms.rules.burnt import Heights
from cometkms.store import epoch as epochs
from cometkms.store.home_born import read_epoch, read_following, read_lost, refuse_unconfigured
from cometkms.store.lock import is_locked, locked_home
from cometkms.store.node_files import NodeFiles, has_store
from cometkms.store.owner import refuse_other_home
from cometkms.store.promise_store import readable_marks

_SEAL_FILE_MAX_BYTES: Final = 1 << 20
_ASK_AGAIN_S: Final = 0.2


def seal_options(whose: str) -> Callable[[F], F]:
    """Give --seal and --seal-file: the seals of each `whose`."""
    options = (
        click.option("--seal", "texts", multiple=True, metavar="TEXT", help=f"A seal of an {whose} (repeatable)."),
        click.option("--seal-file", "paths", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
                     help="A file with seals, one a line (repeatable)."),
    )  # fmt: skip

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def although_option(function: F) -> F:
    """--although-sealed-for-others, where a node is sealed."""
    option = click.option("--although-sealed-for-others", "although", is_flag=True,
                          help="Seal it, although another member says that it is sealed for another list.")  # fmt: skip
    return option(function)


@click.group("epoch", cls=CommandGroup)
def command() -> None:
    """Change the members of a cluster.

    A majority of the old members is sealed; the new ones begin from their seals.
    """


@command.command("show")
@home_option
@node_id_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def show(home: str | None, node_id: str | None, as_json: bool) -> None:  # noqa: ARG001
    """This node's epoch, its members and its state.

    Works while the node runs, and when it is stopped.

    \b
    Example:
      cmkms epoch show
    """
    found = running_here(node_id) or _stopped(files_of(load_home(node_id=node_id)))
    if as_json:
        show_json({name: value for name, value in found.items() if name != "others"})
        return
    say(f"epoch    {found['epoch']}")
    say(f"members  {', '.join(found['members'])}")
    say(f"state    {found['state']}")
    if found["next"]:
        say(f"next     {', '.join(found['next'])}")


def running_here(node_id: str | None) -> dict[str, Any] | None:
    """What the node says; None when none runs here.

    `others`: the id and state of each other member, for whom it says that it is sealed, and whether
    it is there and whole.

    One that has just been started does not listen yet: while a process holds the home it is asked
    again, as long as an answer may take.
    """
    deadline = time.monotonic() + CONTROL_TIMEOUT_S
    while True:
        try:
            answer = ask_node(node_id, {"op": "peers"})
            break
        except OperatorError:
            if not is_locked(chosen_home()) or time.monotonic() > deadline:
                return None
        time.sleep(_ASK_AGAIN_S)
    members = [member["id"] for member in answer.get("members", [])]
    return {
        "node_id": answer.get("node_id"),
        "epoch": answer.get("epoch"),
        "members": members,
        "state": answer.get("node_state"),
        "next": answer.get("next", []),
        "others": [
            {
                "id": one["id"],
                "state": one.get("state"),
                "sealed_for": str((one.get("facts") or {}).get(SEALED_FOR_FACT, "")),
                "there": bool(one.get("connected")),
                "whole": bool(one.get("connected"))
                and one.get("state") in (MemberState.COMPLETE, MemberState.STARTING),
            }
            for one in answer.get("members", [])
            if not one.get("self")
        ],
    }


def _stopped(files: NodeFiles) -> dict[str, Any]:
    """What its store says. Raises: StateError, BusyError."""
    if not has_store(files.store_path):
        refuse_other_home(files)
        members, state, epoch = files.members, "no store yet", read_epoch(files)
    else:
        with locked_home(chosen_home()):
            header = epochs.read_header(files)
        members, state, epoch = header.members, header.state.name.lower(), header.epoch
    following = read_following(files) if state == "sealed" else ()
    return {
        "node_id": files.node_id, "epoch": epoch, "members": list(members), "state": state, "next": list(following),
    }  # fmt: skip


@command.command("seal")
@home_option
@node_id_option
@click.option(
    "--next",
    "following",
    required=True,
    metavar="ID,ID,…",
    help="The members of the next epoch: no others can begin it.",
)
@seal_options("already sealed member")
@although_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option("The seal and what it is of")
def seal(
    home: str | None,  # noqa: ARG001
    node_id: str | None,
    following: str,
    texts: tuple[str, ...],
    paths: tuple[Path, ...],
    although: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """End this node's part in its epoch: its store refuses everything further, for ever.

    Prints its seal, one line; again when it is sealed.

    Seal a majority of the members and the epoch is over: none of the rest can sign in it. The seal
    names who follows, and cannot be made again for others. Seal a node while it runs, if it can
    run: its seal then vouches for all that it promised. It stays up, and signs no more. Where
    another member says that it is sealed for other members than --next, it is not sealed: seals for
    different lists begin no epoch together.

    A stopped node that was recovered with a height (cmkms recover), and has met no other member
    since, is sealed only with the seals of those that it did not meet: they say which store of it
    they knew last.

    \b
    Examples:
      cmkms epoch seal --next node0,node1,node3 > node0.seal
      cmkms epoch seal --next node0,node1,node3 --seal-file node0.seal > node1.seal
    """
    sealed = seal_here(node_id, epochs.following_of(following), yes, _given_seals(texts, paths), although=although)
    others = ", ".join(name for name in sealed.members if name != sealed.node)
    say(
        f"{sealed.node} is sealed in epoch {sealed.epoch}{' with ' + others if others else ''}; {', '.join(sealed.following)} may begin epoch "
        f"{sealed.epoch + 1}",
        err=True,
    )
    if as_json:
        show_json(seal_document(sealed))
    else:
        click.echo(epochs.seal_text(sealed))


def seal_document(seal: epochs.Seal) -> dict[str, Any]:
    """A seal for a program, in the words of `epoch show`; `seal`: the line that --seal takes."""
    return {
        "node_id": seal.node,
        "epoch": seal.epoch,
        "members": list(seal.members),
        "state": "sealed",
        "next": list(seal.following),
        "seal": epochs.seal_text(seal),
    }


def seal_here(
    node_id: str | None,
    following: tuple[str, ...],
    yes: bool,
    others: Sequence[epochs.Seal] = (),
    prepare: Callable[[], None] = lambda: None,
    *,
    although: bool = False,
) -> epochs.Seal:
    """This home's seal, by the node that runs in it or from its files, for which the `others`'
    seals speak, too.

    `prepare`: what must have been possible when the node is sealed; done once it is confirmed.
    `although`: a running node is sealed, too, where another member is for another list.

    Raises: StateError, BusyError, OperatorError, Abort.
    """
    found = running_here(node_id)
    if found is not None:
        _confirm(
            str(found["node_id"]),
            int(found["epoch"]),
            found["members"],
            following,
            yes,
            sealed=found["state"] == "sealed",
        )
        if found["state"] != "sealed":
            _refuse_unconfigured(str(found["node_id"]))
        prepare()
        asked = {"op": "seal", "next": ",".join(following), **({"although": True} if although else {})}
        return epochs.parse_seal(ask_node(node_id, asked)["seal"])
    settings = load_home(node_id=node_id)
    files, strict = files_of(settings), settings.strict_start
    with locked_home(chosen_home()):
        if not has_store(files.store_path):
            refuse_other_home(files)
            raise StateError(
                f"{files.store_path} is missing: a node that never promised, or that lost what it promised, has no seal to give"
            )
        header = epochs.read_header(files)
        epochs.binding(epochs.standing_for(header, others, following, strict=strict), following, strict=strict)
        is_sealed = header.state is NodeState.SEALED
        if len(header.members) > 1 and not is_sealed:
            say(
                "note     this node is stopped: if not all members are sealed, or while they run, `cmkms epoch begin` will demand a height to burn",
                err=True,
            )
        _confirm(files.node_id, header.epoch, header.members, following, yes, sealed=is_sealed)
        prepare()
        return epochs.seal(files, choose.load(), following, others, strict=strict)


def _refuse_unconfigured(node_id: str) -> None:
    """What a node runs with is not known here, but that nothing of it is lost or another signer's:
    it would not have started. Raises: StateError.
    """
    files = NodeFiles.at(chosen_home(), node_id, ())
    refuse_unconfigured(files, (*dict(readable_marks(files.store_path)), *read_lost(files)))


def _confirm(
    node: str, epoch: int, members: Sequence[str], following: tuple[str, ...], yes: bool, *, sealed: bool
) -> None:
    """A store that is sealed already loses nothing more. Raises: StateError, Abort."""
    if sealed:
        return
    for line in (
        f"node     {node}, epoch {epoch} of {', '.join(members)}",
        f"next     epoch {epoch + 1} of {', '.join(following)}: this cannot be made again for others",
        "effect   this store promises nothing more, for ever; the node signs again only as a member of a next epoch (cmkms epoch begin)",
    ):
        say(line, err=True)
    if not yes:
        must_confirm("Seal it?")


@command.command("begin")
@home_option
@node_id_option
@click.option(
    "--members",
    metavar="ID,ID,…",
    help="The members of the new epoch, once more.  [default: those whom the seals name]",
)
@seal_options("old member")
@burn_options
@json_option("What was done")
def begin(
    home: str | None,  # noqa: ARG001
    node_id: str | None,
    members: str | None,
    texts: tuple[str, ...],
    paths: tuple[Path, ...],
    min_height: Heights | None,
    yes_height: Heights | None,
    as_json: bool,
) -> None:
    """Make this node's store for the next epoch, from the seals of a majority of the old members.

    The node must be stopped.

    Run it with the same seals on a majority of the new members, or more; the others may be started
    empty then, and read what they need. The peer list must name exactly the members whom the seals
    name. Places that an old member had promised are burnt unless their signature is known. An old
    store is kept beside the new one. Never a second time on one member: a node that lost its store
    is started, and recovers.

    Where the seals cannot show all that was signed (a stopped member was sealed, and another gave
    no seal), it says so and demands a height: the chain's head + 1, read now from two nodes you
    trust, plus a margin. Nothing is signed at or below it, ever again.

    \b
    Examples:
      cmkms epoch begin --seal-file node0.seal
      cmkms epoch begin --members node0,node1,node3 --seal-file node0.seal --seal-file node1.seal
    """
    settings = load_home(node_id=node_id)
    files = files_of(settings)
    named = epochs.following_of(members) if members is not None else files.members
    if named != files.members:
        raise ConfigError(
            f"--members names {', '.join(named)} and the peer list of this node {', '.join(files.members)}",
            cure="write the new peer list into config.toml (or COMETKMS_PEER) of every new member first",
        )
    begun = begin_here(settings, _given_seals(texts, paths), min_height, yes_height, err=as_json)
    if len(files.members) > 1:
        say(
            f"Do the same with the same seals until a majority of the {len(files.members)} has begun; then start them. The rest may be started empty.",
            err=as_json,
        )
    if as_json:
        show_json(begun)


def begin_here(
    settings: Settings, seals: list[epochs.Seal], heights: Heights | None, typed: Heights | None, *, err: bool
) -> dict[str, Any]:
    """Begin in this home, say where it stands (`err`: on stderr), and give the same for a program.

    Raises: StateError, BusyError, StoreFailure, Abort.
    """
    files = files_of(settings)
    with locked_home(settings.home):
        if heights is not None:
            say(f"effect   {heights.words} is burnt: nothing is signed there again", err=err)
            demand_heights(heights, typed)
        begun = epochs.begin(files, seals, choose.load(), heights=heights)
    sealed = sorted({seal.node for seal in seals})
    say(f"{files.node_id} begins epoch {begun.epoch} with {', '.join(files.members)}", err=err)
    say(f"from the seals of {', '.join(sealed)}", err=err)
    chains = []
    for row, mark in begun.marks:
        known = "signed" if mark.signature else "burnt" if mark.hrs > HRS(0, 0, 0) else "nothing signed yet"
        place = f"height {mark.hrs.height} round {mark.hrs.round} step {mark.hrs.step}"
        say(f"chain {row.chain_id}  {place} ({known})", err=err)
        chains.append({"chain_id": row.chain_id, **mark.hrs._asdict(), "known": known})
    return {
        "home": str(settings.home),
        "node_id": files.node_id,
        "epoch": begun.epoch,
        "members": list(files.members),
        "seals_of": sealed,
        "chains": chains,
    }


def _given_seals(texts: tuple[str, ...], paths: tuple[Path, ...]) -> list[epochs.Seal]:
    """Raises: StateError."""
    return [*map(epochs.parse_seal, texts), *read_seals(paths)]


def read_seals(paths: tuple[Path, ...]) -> list[epochs.Seal]:
    """The seals of some files, one a line. Raises: StateError."""
    return [epochs.parse_seal(text) for text in _lines(paths)]


def _lines(paths: tuple[Path, ...]) -> list[str]:
    """Raises: StateError."""
    found: list[str] = []
    for path in paths:
        try:
            text = read_given(path, _SEAL_FILE_MAX_BYTES).decode()
        except (OSError, UnicodeDecodeError) as error:
            raise StateError(f"{path} cannot be read: {said(error)}") from error
        found += [line for line in text.splitlines() if line.strip()]
    return found
