"""`cmkms member`: the offline steps of a change of members, one machine after another, each as
often as one likes.

    a member that stays or goes     seal it for the next list (while it runs, if it can)
    a member that stays             stop it; with the seals of a majority: the new peer list, and
                                    begin
    a new machine                   with the seals: the new peer list; begin only if those that stay
                                    are no majority, else start it empty
    one that comes back             likewise: its store is of an epoch that ended without it, and it
                                    starts as one that lost its store

What was done is read from what is there: the store's epoch and state, the peer list, the seals in
HOME/seals. Nothing else is kept, so the same command goes on wherever it was interrupted. The peer
list of a node is changed only after it is sealed, and before it begins: a node that starts
meanwhile would not sign anyway.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from cometkms.cli.epoch import although_option, begin_here, read_seals, running_here, seal_document, seal_here
from cometkms.cli.options import (
    CommandGroup,
    F,
    burn_options,
    chosen_home,
    home_option,
    json_option,
    load_home,
    must_confirm,
)
from cometkms.cli.output import say, show_json
from cometkms.cli.running import node_id_option
from cometkms.cli.state import files_of
from cometkms.config.cluster import DEFAULT_RAFT_ADDR
from cometkms.config.files import CONFIG_NAME
from cometkms.config.load import read_config
from cometkms.config.rewrite import rewrite_config
from cometkms.config.schema import Peer, Settings
from cometkms.config.table import BY_KEY
from cometkms.config.values import check_node_id, parse_peer
from cometkms.durable import write_atomically
from cometkms.errors import ConfigError, StateError
from cometkms.model import quorum_of
from cometkms.rules.birth import NodeState
from cometkms.rules.burnt import Heights
from cometkms.rules.epoch import doubt
from cometkms.store import epoch as epochs
from cometkms.store.home_born import read_born, read_epoch, read_following, write_born
from cometkms.store.lock import locked_home
from cometkms.store.node_files import has_store, make_home_directory, refuse_gone_out
from cometkms.store.owner import refuse_other_home
from cometkms.store.promise_store import Header, survey

SEALS_DIRECTORY: Final = "seals"


class _Told:
    """What is said: to a person line by line, and with --json to a program at the end, the lines on
    stderr then.
    """

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._found: dict[str, Any] = {
            "done": False,
            "seal": None,
            "wrote": None,
            "begun": None,
            "steps": [],
            "notes": [],
        }

    @property
    def on_stderr(self) -> bool:
        """Where lines for people go."""
        return self._as_json

    def note(self, fact: str, value: object) -> None:
        """One fact of the document."""
        self._found[fact] = value

    def say(self, what: str, words: str) -> None:
        """A line that begins with `what`; what is to be done next, and what to know, is in the
        document too.
        """
        if what in ("next", "then"):
            self._found["steps"].append(words)
        elif what in ("note", "begins"):
            self._found["notes"].append(words)
        elif what == "done":
            self._found["done"] = True
        say(f"{what:<8} {words}", err=self._as_json or what in ("note", "begins"))

    def end(self, here: "_Here") -> None:
        """Print the document, with --json."""
        if self._as_json:
            of = {"home": str(here.settings.home), "node_id": here.settings.id, "members": list(here.following)}
            show_json({**of, **self._found})


@dataclass(frozen=True, slots=True)
class _Given:
    """What the command line says, and whom to tell.

    `words`: of the change, to be repeated on the other machines. `gone`: who is to
    leave, if anybody.
    """

    words: str
    gone: str
    told: _Told
    node_id: str | None
    seal_paths: tuple[Path, ...]
    min_height: Heights | None
    yes_height: Heights | None
    although: bool
    yes: bool


@dataclass(frozen=True, slots=True)
class _Here:
    """This home.

    `peers`: the next list. `header`: of its store; None where there is none. `running`: what the
    node here says, if one runs.
    """

    settings: Settings
    peers: tuple[Peer, ...]
    header: Header | None
    running: dict[str, Any] | None

    @property
    def following(self) -> tuple[str, ...]:
        return tuple(sorted(peer.id for peer in self.peers))

    @property
    def state(self) -> NodeState | None:
        return self.header.state if self.header is not None else None

    @property
    def has_begun(self) -> bool:
        """Its store is of an epoch of exactly these members."""
        return (
            self.header is not None
            and self.header.members == self.following
            and self.state
            in (
                NodeState.BORN,
                NodeState.COMPLETE,
            )
        )

    @property
    def has_left(self) -> bool:
        """Its epoch is sealed here for others: it is no member of the next one."""
        following = read_following(files_of(self.settings)) if self.state is NodeState.SEALED else ()
        return bool(following) and self.settings.id not in following


@click.group("member", cls=CommandGroup)
def command() -> None:
    """Add, remove or replace members of a cluster: the same command on every machine, again until
    it says that it is done there.

    First on the old members, while they run: each is sealed, signs no more, and leaves
    its seal in HOME/seals. Then the seals are copied into HOME/seals of every next
    member, the nodes are stopped, and the command is repeated there: it writes the peer
    list and begins the next epoch. It says what comes next, and where. A step that is
    done is not done again; stop anywhere and go on later.
    """


def _options(function: F) -> F:
    for option in reversed(
        (
            home_option,
            node_id_option,
            click.option("--seal-file", "seal_paths", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
                         help="A file with seals, besides those in HOME/seals (repeatable)."),
            burn_options,
            although_option,
            click.option("--yes", is_flag=True, help="Do not ask."),
            json_option("What was done, and what comes next,"),
        )
    ):  # fmt: skip
        function = option(function)
    return function


@command.command("add")
@click.argument("entries", nargs=-1, required=True, metavar="ID=HOST:PORT...")
@_options
def add(home: str | None, entries: tuple[str, ...], as_json: bool, **given: Any) -> None:  # noqa: ARG001
    """More members. One node alone names itself too, as the others are to reach it.

    \b
    Examples:
      cmkms member add node3=10.0.0.13:9430 node4=10.0.0.14:9430
      cmkms member add node0=10.0.0.10:9430 node1=10.0.0.11:9430 node2=10.0.0.12:9430
    """
    added = [parse_peer(one) for one in entries]

    def change(peers: list[Peer]) -> list[Peer]:
        for one in added:
            peers = _with(peers, one)
        return peers

    _go(change, _Given(f"add {' '.join(entries)}", "", _Told(as_json=as_json), **given))


@command.command("remove")
@click.argument("name", metavar="ID")
@_options
def remove(home: str | None, name: str, as_json: bool, **given: Any) -> None:  # noqa: ARG001
    """One member less.

    The one that goes is sealed like the others, if it can be, and is stopped for good.

    \b
    Example:
      cmkms member remove node4
    """
    gone, told = check_node_id(name), _Told(as_json=as_json)

    def change(peers: list[Peer]) -> list[Peer]:
        if all(one.id != gone for one in peers):
            told.say("note", f"{gone} is not in the peer list here: it is out already, or was never in it")
        return [one for one in peers if one.id != gone]

    _go(
        change,
        _Given(f"remove {name}", gone, told, **given),
    )


@command.command("replace")
@click.argument("old", metavar="ID")
@click.argument("new", metavar="ID=HOST:PORT")
@_options
def replace_member(home: str | None, old: str, new: str, as_json: bool, **given: Any) -> None:  # noqa: ARG001
    """Another machine under another id in the place of one.

    (The same id on a new machine needs none of this: start it empty.)

    \b
    Example:
      cmkms member replace node2 node3=10.0.0.13:9430
    """
    gone, come = check_node_id(old), parse_peer(new)
    if come.id == gone:
        raise ConfigError(
            f"{gone} keeps its id: that is no change of members",
            cure="the new address in every peer list, then start the new machine with an empty "
            "data directory; it reads what it needs from the others",
        )

    def change(peers: list[Peer]) -> list[Peer]:
        if {gone, come.id} <= {one.id for one in peers}:
            raise ConfigError(
                f"{gone} and {come.id} are both in the peer list here",
                cure=f"cmkms member remove {gone}; or, where this machine comes back and its list is an old one, first the list of a living node's config.toml",
            )
        if peers and not {gone, come.id} & {one.id for one in peers}:
            raise ConfigError(
                f"{gone} is not in the peer list here, which names {', '.join(one.id for one in peers)}",
                cure="the id of the one that goes. Nothing was changed",
            )
        return _with([come if one.id == gone else one for one in peers], come)

    _go(change, _Given(f"replace {old} {new}", gone, _Told(as_json=as_json), **given))


def _with(peers: list[Peer], new: Peer) -> list[Peer]:
    """Raises: ConfigError for an id that is there at another address."""
    there = next((one for one in peers if one.id == new.id), None)
    if there is not None and there.address != new.address:
        raise ConfigError(
            f"{new.id} is in the peer list at {there.address}, not {new.address}",
            cure="that address, or change it in every list first: an address needs no new epoch",
        )
    return peers if there is not None else [*peers, new]


# --- what is here ---


def _go(change: Callable[[list[Peer]], list[Peer]], given: _Given) -> None:
    here = _look(change, given)
    if here.settings.id not in here.following:
        _refuse_unnamed(here, given)
        _leave(here, given)
    elif _comes_back(here, given):
        _join(here, given)
    elif here.has_begun and not _is_named_by_newer_seals(here, given):
        _finish(here, given)
    elif here.state in (NodeState.COMPLETE, NodeState.SEALED):
        _seal_and_begin(here, given)
    else:
        _join(here, given)
    given.told.end(here)


def _refuse_unnamed(here: _Here, given: _Given) -> None:
    """Nobody leaves for good because a list forgot it. Raises: ConfigError."""
    own = here.settings.id
    if given.gone == own:
        return
    raise ConfigError(
        f"the next members would be {', '.join(here.following)}, and this node, {own}, would be none of them, for good: its own peer list is empty",
        cure=f"where it stays, name it too, with the address at which the others reach it: cmkms member add {own}=HOST:PORT "
        f"{' '.join(f'{one.id}={one.address}' for one in here.peers)}. Nothing was changed",
    )


def _look(change: Callable[[list[Peer]], list[Peer]], given: _Given) -> _Here:
    """Raises: ConfigError, StateError."""
    home = chosen_home()
    document = read_config(home)
    peers = tuple(change(list(_listed(home))))
    if not peers:
        raise ConfigError("nobody would be left", cure="the last node is stopped, not removed")
    running = running_here(given.node_id)
    node_id = given.node_id or (str(running["node_id"]) if running is not None else None)
    own_id = node_id or document.get("id") or os.environ.get(BY_KEY["id"].variable, "")
    own = next((one for one in peers if one.id == own_id), None)
    if own is None:
        settings = load_home(node_id=node_id)
    else:
        raft_addr = str(own.address) if _listens_nowhere(document) else None
        settings = load_home(
            node_id=node_id, peer=tuple(f"{one.id}={one.address}" for one in peers), raft_addr=raft_addr
        )
    files = files_of(settings)
    path = files.store_path
    refuse_other_home(files)
    refuse_gone_out(files.chains, files.store_path)
    return _Here(settings, peers, survey(path).header if has_store(path) else None, running)


def _listens_nowhere(document: dict[str, Any]) -> bool:
    """One node alone, whose raft_addr nobody has set: it gets the address at which the others are
    to reach it.
    """
    return document.get("raft_addr", DEFAULT_RAFT_ADDR) == DEFAULT_RAFT_ADDR and not os.environ.get(
        BY_KEY["raft_addr"].variable
    )


def _listed(home: Path) -> tuple[Peer, ...]:
    """The peer list as it is set now, whether or not it names this node. Raises: ConfigError."""
    variable = os.environ.get(BY_KEY["peer"].variable, "").strip()
    texts = (
        [part.strip() for part in variable.split(",") if part.strip()]
        if variable
        else read_config(home).get("peer", [])
    )
    return tuple(parse_peer(one) for one in texts)


def _newest_seals(here: _Here, given: _Given) -> list[epochs.Seal]:
    """The newest epoch's, from HOME/seals and the command line. Raises: StateError."""
    folder = here.settings.home / SEALS_DIRECTORY
    found: dict[str, epochs.Seal] = {}
    for one in read_seals((*sorted(folder.glob("*.seal")), *given.seal_paths)):
        known = found.get(one.node, one)
        found[one.node] = max(known, one, key=lambda seal: (seal.epoch, seal.incarnation, seal.standing))
    newest = max((one.epoch for one in found.values()), default=0)
    return [one for _, one in sorted(found.items()) if one.epoch == newest]


def _seals(here: _Here, given: _Given) -> list[epochs.Seal]:
    """Those with which this change begins; [] when there are older ones only.

    Raises: StateError for those of another change.
    """
    seals = _newest_seals(here, given)
    ended = here.header.epoch + here.has_left if here.header is not None else 0
    odd = next((one for one in seals if one.following != here.following), None)
    if odd is not None and odd.epoch >= ended:
        # it was no part of what the others did since
        old_list = here.header is None or here.header.epoch < odd.epoch
        first = "first the peer list of a living node's config.toml here; else " if old_list else ""
        raise StateError(
            f"{odd.node} is sealed in epoch {odd.epoch} for {', '.join(odd.following)}, and this change makes {', '.join(here.following)}",
            cure=f"{first}the change that was begun; another one after it. Where no majority can be sealed for that list any more, take {odd.node}'s seal out "
            f"of HOME/{SEALS_DIRECTORY} (docs/RUNBOOK.md, members are sealed for different lists)",
        )
    return seals if odd is None else []


def _is_named_by_newer_seals(here: _Here, given: _Given) -> bool:
    """The same members once more: a step that was begun elsewhere."""
    seals = _seals(here, given)
    return bool(seals) and here.header is not None and seals[0].epoch >= here.header.epoch


def _comes_back(here: _Here, given: _Given) -> bool:
    """Its store is of an epoch that ended without it: it was taken out, or was away while the
    members changed.
    """
    epoch = max((one.epoch for one in _newest_seals(here, given)), default=0)
    return here.has_left or (here.header is not None and here.header.epoch < epoch)


# --- the steps ---


def _keep_seal(here: _Here, given: _Given) -> epochs.Seal:
    """Seal this node, or see that it is, and keep its seal in HOME/seals. Not where one of those
    there is for another list.

    Raises: OperatorError, StateError, Abort.
    """
    if here.state is NodeState.COMPLETE:
        _seals(here, given)
    others = [
        one
        for one in _newest_seals(here, given)
        if here.header is not None and one.epoch == here.header.epoch and one.following == here.following
    ]
    folder = here.settings.home / SEALS_DIRECTORY
    prepare = partial(make_home_directory, folder)
    seal = seal_here(here.settings.id, here.following, given.yes, others, prepare, although=given.although)
    path = folder / f"{seal.node}-epoch-{seal.epoch}.seal"
    text = epochs.seal_text(seal) + "\n"
    if not path.exists() or path.read_text() != text:
        write_atomically(path, text.encode())
    given.told.say(
        "sealed", f"{seal.node} in epoch {seal.epoch} of {', '.join(seal.members)}; next: {', '.join(seal.following)}"
    )
    given.told.say("seal", f"{path}")
    given.told.note("seal", {**seal_document(seal), "file": str(path)})
    return seal


def _leave(here: _Here, given: _Given) -> None:
    """This node is no member of the next epoch. Raises: OperatorError, StateError."""
    if here.state not in (NodeState.COMPLETE, NodeState.SEALED):
        given.told.say(
            "done", f"{here.settings.id} is no member of the next epoch, and has no seal to give: stop it for good"
        )
        return
    _keep_seal(here, given)
    given.told.say(
        "next",
        f"copy that file into HOME/{SEALS_DIRECTORY} of {', '.join(here.following)}; there: cmkms member {given.words}",
    )
    given.told.say("then", f"{here.settings.id} stays stopped for good; its key and its data are of no more use")


def _seal_and_begin(here: _Here, given: _Given) -> None:
    """A member of the epoch that ends and of the next.

    Raises: OperatorError, StateError, StoreFailure, Abort.
    """
    if here.state is NodeState.COMPLETE and here.running is not None:
        away = [f"{one['id']} is {_how_it_is(one)}" for one in here.running["others"] if not one["whole"]]
        if away:
            given.told.say(
                "note", f"{'; '.join(away)}: a majority must be sealed, and who recovers has no seal to give"
            )
    if len(here.following) in (2, 4, 6):
        given.told.say("note", f"{len(here.following)} nodes bear no more losses than {len(here.following) - 1}")
    own = _keep_seal(here, given)
    seals = {one.node: one for one in _seals(here, given)} | {own.node: own}
    _begin_or_say_what_is_missing(here, given, list(seals.values()))


def _how_it_is(member: dict[str, Any]) -> str:
    """What this node knows of another."""
    state = (member["there"] and member["state"]) or "away"
    if not member["sealed_for"]:
        return str(state)
    return f"sealed for {member['sealed_for']}{'' if member['there'] else ', and away'}"


def _begin_or_say_what_is_missing(here: _Here, given: _Given, seals: list[epochs.Seal]) -> None:
    """Raises: OperatorError, StateError, StoreFailure."""
    members = seals[0].members
    left = [name for name in members if name not in {one.node for one in seals}]
    if _are_too_few(here, given, seals):
        return
    why = doubt(len(members), {one.node: one.standing for one in seals})
    if why and given.min_height is None:
        raise StateError(
            f"these seals do not show all that epoch {seals[0].epoch} may have signed: {why}",
            cure=f"the same command on {', '.join(left) or 'the others'}, if "
            "it is there, and its seal here; or read the chain's head height from two nodes you trust, now, and give one above it, the same on every "
            "member: --min-height HEIGHT",
        )
    if here.running is not None:
        given.told.say("next", f"stop this node (it is sealed and signs nothing); then: cmkms member {given.words}")
        return
    _write_list(here, given.told)
    told = given.told
    told.note("begun", begin_here(here.settings, seals, given.min_height, given.yes_height, err=told.on_stderr))
    _tell_start(here, given.told)


def _are_too_few(here: _Here, given: _Given, seals: list[epochs.Seal]) -> bool:
    """Whether the epoch that ends is not over by these seals; said then."""
    members, sealed = seals[0].members, {one.node for one in seals}
    short = quorum_of(len(members)) - len(sealed)
    if short <= 0:
        return False
    left = ", ".join(name for name in members if name not in sealed)
    given.told.say(
        "next", f"{short} more of {left} must be sealed, while they run if they can. There: cmkms member {given.words}"
    )
    given.told.say(
        "then",
        f"copy HOME/{SEALS_DIRECTORY}/*.seal from each to each of {', '.join(here.following)}; there, stopped: the same command again",
    )
    return True


def _join(here: _Here, given: _Given) -> None:
    """A new machine, one that comes back, or a member that lost its store.

    Raises: OperatorError, StateError, StoreFailure.
    """
    if here.running is not None and here.state is None:
        raise StateError(f"{here.settings.id} runs and has no store", cure="stop it first")
    folder = here.settings.home / SEALS_DIRECTORY
    seals = _seals(here, given)
    if not seals:
        folder.mkdir(mode=0o700, exist_ok=True)
        given.told.say(
            "ready", f"{here.settings.id}: the key is here; the next members are {', '.join(here.following)}"
        )
        given.told.say("next", f"on the old members, while they run: cmkms member {given.words}")
        given.told.say("then", f"copy their seals into {folder}; here: the same command again")
        return
    old = seals[0]
    stay = [name for name in here.following if name in old.members]
    lost = here.settings.id in old.members or _was_in(here, old.epoch + 1)
    if not lost and len(stay) < quorum_of(len(here.following)):
        if here.running is not None:
            given.told.say("next", f"stop this node (it signs nothing); then: cmkms member {given.words}")
            return
        given.told.say(
            "begins",
            f"{here.settings.id}, epoch {old.epoch + 1}: right ONCE; a member that has begun and lost its store is started empty instead",
        )
        if not given.yes:
            must_confirm(f"Has no machine with the id {here.settings.id} begun it before?")
        _begin_or_say_what_is_missing(here, given, seals)
        return
    is_old = here.state in (NodeState.COMPLETE, NodeState.SEALED)
    if here.settings.id in old.members and not is_old and _must_be_recovered(here, given, seals):
        return
    if here.running is not None and not is_old and here.running["members"] == list(here.following):
        given.told.say("done", f"{here.settings.id} runs and reads what it needs from the others: cmkms peers")
        return
    if here.running is not None:
        given.told.say("next", f"stop this node; then: cmkms member {given.words}")
        return
    files = files_of(here.settings)
    has_lived = files.node_id in read_born(files) and read_epoch(files) <= old.epoch
    if has_lived and _are_too_few(here, given, seals):  # one that was taken out, and comes back
        return
    with locked_home(here.settings.home):
        _write_list(here, given.told)
        # so that it starts as one that lost its store, in the next epoch; what the old one shows is
        # kept
        if has_lived:
            write_born(files, old.epoch + 1)
    given.told.say(
        "next",
        f"when {', '.join(stay)} run in epoch {old.epoch + 1}: start this node{'' if is_old else ', empty'}. It reads what it needs from all of them",
    )


def _must_be_recovered(here: _Here, given: _Given, seals: list[epochs.Seal]) -> bool:
    """Whether the epoch that ends is not over, and this member of it, which lost what it promised,
    may be needed for that; said then.

    Raises: StateError, BusyError, StoreFailure.
    """
    old, sealed = seals[0], {one.node for one in seals}
    short = quorum_of(len(old.members)) - len(sealed)
    # the others have told it that it is
    if short <= 0 or (here.header is not None and here.header.epoch > old.epoch):
        return False
    if here.running is None:  # it is recovered in that epoch, whatever is left here
        files = replace(files_of(here.settings), members=old.members)
        with locked_home(here.settings.home):
            if files.node_id not in read_born(files) or read_epoch(files) < old.epoch:
                write_born(files, old.epoch)
    stop = "" if here.running is None else "stop this node; "
    recover = f"{stop}cmkms recover --min-height HEIGHT, one above the chain's head, read now from two nodes you trust; then cmkms member {given.words}"
    left = [name for name in old.members if name not in sealed | {here.settings.id}]
    if len(left) >= short:
        given.told.say("next", f"{short} more of {', '.join(left)} must be sealed. There: cmkms member {given.words}")
        given.told.say("then", f"their seals into HOME/{SEALS_DIRECTORY} here, and the same command again")
        given.told.say(
            "then", f"where they cannot be sealed any more: this node lost what it promised, so here: {recover}"
        )
    else:
        given.told.say("next", f"this node lost what it promised, and without its seal there is no majority: {recover}")
    return True


def _was_in(here: _Here, epoch: int) -> bool:
    files = files_of(here.settings)
    return files.node_id in read_born(files) and read_epoch(files) >= epoch


def _write_list(here: _Here, told: _Told) -> None:
    """The next peer list, where it is set. Raises: ConfigError, StoreFailure."""
    entries = [f"{one.id}={one.address}" for one in here.peers]
    variable = BY_KEY["peer"].variable
    if os.environ.get(variable, "").strip():
        if tuple(sorted(one.id for one in _listed(here.settings.home))) != here.following:
            raise ConfigError(
                f"the peer list comes from {variable}",
                cure=f"{variable}={','.join(entries)}, then the same command again",
            )
        return
    values: dict[str, str | list[str]] = {"peer": entries}
    own = next(str(one.address) for one in here.peers if one.id == here.settings.id)
    if _listens_nowhere(read_config(here.settings.home)):
        values["raft_addr"] = own
    if rewrite_config(here.settings.home, values):
        told.note("wrote", str(here.settings.home / CONFIG_NAME))
        told.say("wrote", f"{here.settings.home / CONFIG_NAME}: peer = {', '.join(entries)}")


def _finish(here: _Here, given: _Given) -> None:
    """Raises: ConfigError, StoreFailure, BusyError."""
    if here.running is None:
        with locked_home(here.settings.home):
            _write_list(here, given.told)
        _tell_start(here, given.told)
        return
    others = [f"{one['id']} {one['state'] or 'not seen yet'}" for one in here.running["others"]]
    given.told.say(
        "done",
        f"{here.settings.id} is {here.running['state']} in epoch {here.running['epoch']}; {', '.join(others) or 'alone'}",
    )


def _tell_start(here: _Here, told: _Told) -> None:
    majority = quorum_of(len(here.following))
    told.say(
        "next", f"start this node. It signs when {majority} of {', '.join(here.following)} run; the rest may come later"
    )
