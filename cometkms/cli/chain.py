"""`cmkms chain`"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from cometkms.cli.moving import refuse_running_members
from cometkms.cli.options import (
    CommandGroup,
    burn_options,
    demand_height,
    demand_heights,
    home_option,
    json_option,
    load_home,
    one_chain,
)
from cometkms.cli.output import say, show_json
from cometkms.cli.running import ask_node, node_id_option
from cometkms.cli.state import files_of
from cometkms.config.files import CONFIG_NAME
from cometkms.config.load import chain_folder, read_config
from cometkms.config.schema import Chain, Settings
from cometkms.config.values import check_chain_id
from cometkms.core import choose
from cometkms.errors import ConfigError, OperatorError, StateError
from cometkms.keys.validator_key import load_public_key
from cometkms.limits import HEIGHT_MAX, JUMP_HEIGHTS
from cometkms.model import HRS, Row, Watermark
from cometkms.net.comet_rpc import parse_rpc
from cometkms.operator.doctor.blocks import read_head
from cometkms.rules.burnt import Heights, burnt_up_to
from cometkms.store import state_file
from cometkms.store.exported import carry_export
from cometkms.store.home_born import note_found, refuse_lost
from cometkms.store.kept import UnreadableKeptError, highest_kept, kept_already, kept_marks, name_to_keep
from cometkms.store.lock import locked_home
from cometkms.store.marks import bring_up, known_mark, lacks, reconcile, refuse_lacking, verified_state
from cometkms.store.node_files import ChainFiles, NodeFiles, check_beside, has_store
from cometkms.store.owner import refuse_other_home
from cometkms.store.promise_store import PromiseStore, readable_marks
from cometkms.store.reset import reset_mark


@click.group("chain", cls=CommandGroup)
def command() -> None:
    """A chain that goes on under another id, is far above the last signature, or must
    be begun anew.
    """


_height = click.option(
    "--height",
    required=True,
    type=click.IntRange(1, HEIGHT_MAX),
    metavar="H",
    help="The chain's head, from nodes you trust.",
)
_as_json = json_option("What was done")
_rpc = click.option("--rpc", metavar="URL", help="A CometBFT node's RPC (http://HOST:PORT): is the chain there?")


@command.command("admit")
@home_option
@node_id_option
@click.argument("chain_id", metavar="CHAIN")
@_height
@_rpc
@click.option("--yes", is_flag=True, help="Do not ask.")
@_as_json
def admit(
    home: str | None,  # noqa: ARG001
    node_id: str | None,
    chain_id: str,
    height: int,
    rpc: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Tell the running node of this home that the chain has come to height H, farther up than it
    finds plausible.

    A node refuses a height that no chain can have come to since the last signature it knows of
    (reason `jump`). That is so when its clock or its state file's time is wrong, or when a
    validator asks for what is not there. Where the chain is at H, say so on every node: a majority
    must find it plausible, whoever leads among them. It lowers nothing and lets nothing be signed
    twice, and it is forgotten when the node stops.

    \b
    Examples:
      cmkms chain admit my-chain-1 --height 1234567
      cmkms chain admit my-chain-1 --height 1234567 --rpc http://10.0.0.1:26657 --yes
    """
    _check_head(chain_id, height, rpc)
    known = ask_node(node_id, {"op": "reach", "chain_id": chain_id})
    if height <= known["reach"]:
        say(
            f"{known['node_id']} finds every height of {chain_id} up to {known['reach']} plausible; nothing was changed",
            err=as_json,
        )
        if as_json:
            show_json(_admitted(known, chain_id, changed=False))
        return
    say(f"node     {known['node_id']}, which stands at height {known['mark']} of {chain_id}", err=as_json)
    say(
        f"signed   height {known['signed']} at last, as far as it knows: up to {known['reach']} is plausible by now",
        err=as_json,
    )
    say(f"effect   heights up to {height + JUMP_HEIGHTS} are promised here, and 20 more with each second", err=as_json)
    say(
        "risk     if the chain is NOT there: whoever asks can have this key sign so far up that it signs nothing where the chain is",
        err=as_json,
    )
    demand_height(height, height if yes else None, instead="--yes")
    after = ask_node(node_id, {"op": "admit", "chain_id": chain_id, "height": height})
    say(f"admitted {chain_id} up to height {after['reach']}", err=as_json)
    if as_json:
        show_json(_admitted(after, chain_id, changed=True))
    if after["size"] > 1:
        say(
            f"Do the same on the other nodes: {after['quorum']} of {after['size']} must find it plausible, the leader among them.",
            err=as_json,
        )


def _admitted(answer: dict[str, Any], chain_id: str, *, changed: bool) -> dict[str, Any]:
    """`reach`: up to which height the node finds the chain plausible now; `quorum` of
    `size` nodes must.
    """
    return {"chain_id": chain_id, "changed": changed} | {
        key: answer.get(key) for key in ("node_id", "reach", "mark", "signed", "quorum", "size")
    }


@command.command("reset")
@home_option
@node_id_option
@click.argument("chain_id", metavar="CHAIN")
@_height
@_rpc
@click.option("--yes-height", type=int, metavar="H", help="The height once more, instead of typing it.")
@_as_json
def reset(
    home: str | None,  # noqa: ARG001
    node_id: str | None,
    chain_id: str,
    height: int,
    rpc: str | None,
    yes_height: int | None,
    as_json: bool,
) -> None:
    """Lower the mark of a chain to its head H: for a mark that is far above the chain, or a chain
    begun anew under the same id.

    Every place up to H is burnt, and everything above may be signed. ALL nodes must be stopped, and
    the command given on each before any is started. H is the chain's head, or a little more; --rpc
    checks it. What was there is kept beside it.

    \b
    Examples:
      cmkms chain reset my-chain-1 --height 1234567 --rpc http://10.0.0.1:26657
      cmkms chain reset my-chain-1 --height 1234567 --yes-height 1234567
    """
    settings = load_home(node_id=node_id)
    files = files_of(settings)
    target = files.chains[settings.chains.index(one_chain(settings, chain_id))]
    _check_head(chain_id, height, rpc)
    core = choose.load()
    with locked_home(settings.home):
        refuse_running_members(
            settings,
            "its mark would come back from there, or it could sign below it",
            "stop every member, give this command on each",
        )
        refuse_other_home(files)
        stands = known_mark(files, target, core) or Watermark()
        for line in _reset_warning(settings, chain_id, stands, height, rpc):
            say(line, err=as_json)
        demand_height(height, yes_height)
        done = reset_mark(files, target, height)
    if as_json:
        found = {
            "home": str(settings.home),
            "node_id": settings.id,
            "chain_id": chain_id,
            "before": stands.hrs._asdict(),
        }
        show_json({**found, "height": height, "kept": [str(kept) for kept in done.kept]})
        return
    for kept in done.kept:
        say(f"kept     {kept}")
    say(f"stands   {chain_id} at height {height}: nothing is signed there or below")
    if not files.alone:
        say(f"Then: the same on each of {', '.join(files.members)}, and start them when all are done.")


def _reset_warning(settings: Settings, chain_id: str, stands: Watermark, height: int, rpc: str | None) -> list[str]:
    others = [peer.id for peer in settings.peers if peer.id != settings.id]
    lines = [
        f"home     {settings.home}",
        f"node     {settings.id}, {'of a cluster with ' + ', '.join(others) if others else 'alone'}",
        f"stands   {chain_id} at {_place(stands)}, {'signed' if stands.signature else 'not known to be signed'}",
        f"effect   every height up to {height} is burnt; ABOVE it this key signs whatever it is asked for, once",
        f"risk     what this key signed above {height} it may sign again, otherwise, when the chain comes there: a double signature",
    ]
    if stands.signature and stands.hrs.height > height:
        lines.append(
            f"         and it HAS signed at {_place(stands)}: only on a chain that is begun anew, or that is long before it comes there, and then "
            "with a new key by that time"
        )
    if rpc is None:
        lines.append("         the head was not checked: --rpc http://HOST:PORT of a node that you trust does")
    return lines


def _check_head(chain_id: str, height: int, rpc: str | None) -> None:
    """Raises: OperatorError where the chain is not at that height."""
    if rpc is None:
        return
    head = read_head(parse_rpc(rpc))
    if head.chain_id != chain_id:
        raise OperatorError(
            f"{rpc} is of the chain {head.chain_id!r}, not of {chain_id!r}", cure="another --rpc. Nothing was changed"
        )
    if head.catching_up:
        raise OperatorError(
            f"{rpc} is catching up, and does not know the chain's head",
            cure="another --rpc, or wait. Nothing was changed",
        )
    if height < head.height or height > head.height + JUMP_HEIGHTS:
        raise OperatorError(
            f"{rpc} is at height {head.height}, and --height says {height}",
            cure=f"the head or up to {JUMP_HEIGHTS} more. Nothing was changed",
        )


@command.command("rename")
@home_option
@node_id_option
@click.option("--from", "old", required=True, metavar="ID", help="The chain id that this home has signed for.")
@click.option("--to", "new", required=True, metavar="ID", help="The chain id that it is to sign for.")
@click.option("--not-mistyped", is_flag=True,
              help="Your word that what was burnt under --from was not meant for --to, where nothing says so.")  # fmt: skip
@burn_options
@click.option("--yes", is_flag=True, help="Do it. Without this nothing is changed.")
@_as_json
def rename(
    home: str | None,  # noqa: ARG001
    node_id: str | None,
    old: str,
    new: str,
    not_mistyped: bool,
    min_height: Heights | None,
    yes_height: Heights | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Let this home's key sign for another chain id, after an upgrade that changed it.

    The node must be stopped; on every node.

    What was signed under the old id stays in the promise store, for ever: going back later goes on
    above it. The new id begins at 0, or where it stood if this home knows it; above --min-height,
    where the home signed for it before and the store that knew how far is lost. Then set chain_id
    in config.toml, on every node, and start them.

    \b
    Examples:
      cmkms chain rename --from my-chain-1 --to my-chain-2
      cmkms chain rename --from my-chain-1 --to my-chain-2 --yes
      cmkms chain rename --from my-chain-2 --to my-chain-1 --min-height 1234600 --yes
    """
    check_chain_id(new)
    if old == new:
        raise ConfigError(f"the chain id is {old!r} already; nothing was changed")
    settings = load_home(node_id=node_id)
    with locked_home(settings.home):
        chain = _chosen(settings, old, new)
        to_set = _to_set(settings, chain, new)
        store_path = NodeFiles.at(settings.home, settings.id, ()).store_path
        check_beside([chain.state_file], store_path)
        burnt = _burnt(new, min_height, yes_height, ask=yes, as_json=as_json)
        runs = _runs(settings, chain, old, new)
        before, after = _marks(settings, chain, old, new, burnt, runs=runs, not_mistyped=not_mistyped, write=yes)
        stays = runs and (burnt.hrs == HRS(0, 0, 0) or burnt.hrs < after.hrs)
        is_new = stays or _shows(settings, chain, new, after)
        done = _kept(chain, old, before, higher=not stays) if is_new else None
        aside = done or name_to_keep(chain.state_file, old)
        goes = "is" if done else "goes to"
        say(
            f"{old}  stands at {_place(before)} and keeps that in the promise store; its state file {goes} {aside}",
            err=as_json,
        )
        say(f"{new}  begins at {_place(after)}", err=as_json)
        # what the store knows is kept, for the file may be behind it; then the new one in its
        # place: interrupted anywhere a state file is there, and the same command goes on
        if yes:
            carry_export(chain.state_file, old, new, store_path)
            if done is None:
                state_file.save(aside, before)
            if not is_new:
                state_file.save(chain.state_file, after)
    if as_json:
        found = {
            "home": str(settings.home),
            "node_id": settings.id,
            "from": old,
            "to": new,
            "changed": yes and done is None,
        }
        marks = {"from_stands": before.hrs._asdict(), "to_begins": after.hrs._asdict(), "kept": str(aside)}
        show_json({**found, **marks, "set": to_set})
    if not yes:
        say("It is done already." if done else "Nothing was changed; --yes does it.", err=as_json)
        return
    if done:
        say("It is done already: nothing was changed.", err=as_json)
    say(
        f"Then: set {_in_config(settings, chain, new)}, do both on every node, and start them.",
        err=as_json,
    )


def _shows(settings: Settings, chain: Chain, new: str, after: Watermark) -> bool:
    """Whether the state file is what a rename writes that begins the new id there, or what the node
    signed under it since.
    """
    core, row = choose.load(), Row(load_public_key(chain.key_file), new)
    files = NodeFiles.at(settings.home, settings.id, ())
    try:
        shown = verified_state(files, ChainFiles(row, chain.state_file), core)
    except StateError:
        return False
    return shown == state_file.as_written(after) or bool(
        shown.sign_bytes and after.sign_bytes and not lacks(after, shown)
    )


def _runs(settings: Settings, chain: Chain, old: str, new: str) -> bool:
    """Whether the state file is the new id's already, and says nothing of the old one: it is signed
    for the new one, which the store knows as far; or the new one is configured, the store has come
    as far with it, and a rename kept something of the old one, which the others may have raised
    since; or it stands, burnt, where the new one stands in the store, and a rename kept what that
    has of the old one.

    Raises: StateError.
    """
    files, core = NodeFiles.at(settings.home, settings.id, ()), choose.load()
    target, other = (Row(load_public_key(chain.key_file), one) for one in (old, new))
    held = dict(readable_marks(files.store_path))
    left, stands = held.get(target), held.get(other)
    if left is None or stands is None:
        return False
    try:
        shown = verified_state(files, ChainFiles(other, chain.state_file), core)
    except StateError:
        return False
    if shown.sign_bytes or chain.id == new:
        return not lacks(stands, shown) and bool(shown.sign_bytes or _kept(chain, old, left, higher=False))
    return shown.hrs == stands.hrs and _kept(chain, old, left, higher=True) is not None


def _kept(chain: Chain, old: str, stands: Watermark, *, higher: bool) -> Path | None:
    """The file that a rename kept of the old id as it stands; without `higher` the highest of it
    counts as well, for what the others know of an id that was left raises it. Raises: StateError.
    """
    parse = choose.load().parse_sign_bytes
    done = kept_already(chain.state_file, old, stands, parse)
    found = highest_kept(chain.state_file, old, parse)
    return done if done or higher or found is None else found[1]


def _was_left(chain: Chain, old: str, before: Watermark, in_file: Watermark) -> bool:
    """Whether the old id was left by a rename before, on the operator's word: it was none that was
    mistyped. A burnt place in the state file, above what was kept, was burnt under it since, and
    may have been meant for another one. Raises: StateError.
    """
    found = highest_kept(chain.state_file, old, choose.load().parse_sign_bytes)
    return found is not None and (in_file.hrs == HRS(0, 0, 0) or found[0].hrs >= before.hrs)


def _chosen(settings: Settings, old: str, new: str) -> Chain:
    """Whichever of the two ids is configured already. Raises: ConfigError."""
    found = [chain for chain in settings.chains if chain.id in (old, new)]
    if len(found) != 1:
        known = ", ".join(chain.id for chain in settings.chains)
        raise ConfigError(
            f"this home has the chains {known}, and one of them must be {old!r} or {new!r}; nothing was changed",
            cure="--from",
        )
    _refuse_moved(settings, found[0], old)
    return found[0]


def _refuse_moved(settings: Settings, chain: Chain, old: str) -> None:
    """A [[chain]] table whose files have their default places got others with its id.

    Raises: ConfigError.
    """
    before = chain_folder(settings.home, old, several=len(settings.chains) > 1)
    left = replace(chain, key_file=before / chain.key_file.name, state_file=before / chain.state_file.name)
    defaults = _at_default(settings, chain)
    if "key_file" in defaults and not chain.key_file.exists() and left.key_file.exists():
        lines = {name: _in_home(settings, getattr(left, name)) for name in defaults}
        raise ConfigError(
            f"{chain.key_file} is missing, and {left.key_file} is there: the files of {old} are where its id was their directory's name. "
            "Nothing was changed",
            cure=f"{_lines(lines)} in its [[chain]] table, then the same again",
        )


def _to_set(settings: Settings, chain: Chain, new: str) -> dict[str, str]:
    """What config.toml must say of the chain from now on: its id, and where its files are, if they
    have their default places, for those go with the id.
    """
    if not read_config(settings.home).get("chain"):
        return {"chain_id": new}
    after = chain_folder(settings.home, new, several=len(settings.chains) > 1)
    paths = {name: getattr(chain, name) for name in _at_default(settings, chain)}
    return {"id": new} | {name: _in_home(settings, path) for name, path in paths.items() if path.parent != after}


def _in_config(settings: Settings, chain: Chain, new: str) -> str:
    """What _to_set() says, and where."""
    to_set = _to_set(settings, chain, new)
    table = f"the [[chain]] table of {chain.id} in " if "id" in to_set else ""
    return f"{_lines(to_set)} in {table}{settings.home / CONFIG_NAME}"


def _at_default(settings: Settings, chain: Chain) -> list[str]:
    """Which of its files' places config.toml does not name."""
    tables = read_config(settings.home).get("chain", [])
    names = ("key_file", "state_file")
    return [name for one in tables if one.get("id") == chain.id for name in names if not one.get(name)]


def _in_home(settings: Settings, path: Path) -> str:
    return str(path.relative_to(settings.home))


def _lines(values: dict[str, str]) -> str:
    return ", ".join(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items())


def _burnt(new: str, heights: Heights | None, typed: Heights | None, *, ask: bool, as_json: bool) -> Watermark:
    """Up to where the new id is burnt on the operator's word, said once more with `ask`; 0 without
    one. Raises: StateError, Abort.
    """
    if heights is None:
        return Watermark()
    heights.check([new])
    say(f"effect   every height of {new} up to {heights.of(new)} is burnt: nothing is signed there", err=as_json)
    say(f"risk     if this key has signed for {new} ABOVE that height: a double signature", err=as_json)
    if ask:
        demand_heights(heights, typed)
    return burnt_up_to(heights.of(new))


def _marks(
    settings: Settings,
    chain: Chain,
    old: str,
    new: str,
    burnt: Watermark,
    *,
    runs: bool,
    not_mistyped: bool,
    write: bool,
) -> tuple[Watermark, Watermark]:
    """Where both ids stand; the new one at `burnt` at least, which the store has with `write`
    before any other file is touched.

    One of several nodes may have a state file that is ahead of its store, as it has the others'
    signatures: with `write` the store is raised to one that verifies, as at a start. A burnt place
    names no chain: after half a rename it is the other id's. `runs`: what _runs() says of it.
    Raises: StateError unless the store then holds everything that the file shows; StoreFailure.
    """
    core = choose.load()
    public_key = load_public_key(chain.key_file)
    files = NodeFiles.at(settings.home, settings.id, (), tuple(peer.id for peer in settings.peers))
    target, other = (ChainFiles(Row(public_key, one), chain.state_file) for one in (old, new))
    refuse_other_home(files)
    in_file = Watermark() if runs else verified_state(files, target, core)
    path = files.store_path
    if not has_store(path):
        raise StateError(
            f"{path} is missing, so nothing would keep what was signed under {old}. Nothing was changed",
            cure=f"start the node once with {_in_config(settings, chain, old)}, which makes one or says what was lost; stop it, and do this again",
        )
    store = PromiseStore.open(path) if write else PromiseStore.read(path)
    try:
        # the peers may have been given to `start` alone: the store knows whether there are others
        files = replace(files, members=store.header.members)
        held = {row: store.mark(number) for number, row in enumerate(store.rows)}
        before, after = (held.get(Row(public_key, one), Watermark()) for one in (old, new))
        refuse_lost(replace(files, chains=(target,)), target)
        if chain.id == old or in_file.sign_bytes:  # else it may be the new id's, as is said below
            refuse_lacking(files, target, before, in_file, core)
        _refuse_forgotten(settings, chain, path, new, after, burnt, alone=files.alone)
        if burnt.hrs == HRS(0, 0, 0):
            _refuse_lost(replace(files, chains=(other,)))
        after = max(after, burnt, key=lambda mark: mark.hrs)
        if before.hrs < in_file.hrs:
            if not in_file.sign_bytes:
                raise StateError(
                    f"{path} knows {old} up to {_place(before)}, and {chain.state_file} shows {_place(in_file)}, without a signature that says for "
                    "which id. Nothing was changed",
                    cure=f"where it was renamed already, set {_in_config(settings, chain, new)}; else start the node once with "
                    f"{_in_config(settings, chain, old)}, stop it, and do this again",
                )
            before = in_file
            if write:
                bring_up(store, target, in_file, lambda warning: say(warning, err=True))
        elif (
            before.hrs > after.hrs
            and not (before.sign_bytes or in_file.sign_bytes or not_mistyped)
            and not _was_left(chain, old, before, in_file)
        ):
            first, file = "", str(chain.state_file)
            if in_file.hrs < before.hrs:  # the store alone knows how much was burnt
                first, file = f"`cmkms state export --chain-id {old} --out FILE`, then ", "FILE"
                if chain.id != old:
                    first = f"{_in_config(settings, chain, old)}, {first}"
            raise StateError(
                f"{path} has {old} burnt up to {_place(before)}, and nothing here shows that it was ever signed for: if {old} was a mistyped {new} by "
                f"then, that height was meant for {new}, which would begin at {_place(after)}, below what it signed. Nothing was changed",
                cure=f"if so, or in doubt, {first}{_in_config(settings, chain, new)} and `cmkms state import --chain-id {new} {file}`, "
                f"which burns as much under {new}; only where {old} is a chain that goes on as {new}, the same command with --not-mistyped",
            )
        if write and burnt.hrs > HRS(0, 0, 0):
            bring_up(store, other, after, lambda _: None)
            note_found(replace(files, chains=(other,)), [other.row])
    finally:
        store.close()
    return reconcile(before, in_file, lambda _: None, old), after


def _refuse_lost(files: NodeFiles) -> None:
    """Raises: StateError where this home has begun the chain of `files`, and its store forgot it."""
    try:
        refuse_lost(files, files.chains[0])
    except StateError as error:
        new = files.chains[0].row.chain_id
        every = (
            ""
            if files.alone
            else "; the same on every member, all stopped, before any is started: they may have forgotten it, too"
        )
        raise StateError(
            f"{error.what}. Nothing was changed",
            cure=f"the newest {files.store_path.parent}, where an older copy was put back; else, read that chain's head height from two nodes you trust, "
            f"and the same command with --min-height HEIGHT and a height above it, which begins {new} there{every}",
        ) from error


def _refuse_forgotten(
    settings: Settings, chain: Chain, store: Path, new: str, held: Watermark, burnt: Watermark, *, alone: bool
) -> None:
    """A store that was made anew while the home signed for another id does not know how far it had
    come under this one: it is asked for the chain's head, and burns up to it, before the other id
    can be set anywhere. Raises: StateError.
    """
    in_use = [one.state_file for one in settings.chains]
    try:
        found = kept_marks(chain.state_file, new, choose.load().parse_sign_bytes, in_use)
    except UnreadableKeptError as error:  # recover is for the id that is configured
        raise StateError(
            error.what,
            cure=f"put it back as it was; where it is lost, move it away, read the head height of {new} from two nodes you trust, and the same "
            f"command with --min-height HEIGHT and a height above it, which begins {new} there",
        ) from error
    start = (
        ""
        if alone
        else "start this node as it is, while all others run, and stop it: it takes what they know. If they have forgotten it, too: "
    )
    for mark, kept in sorted(found, key=lambda one: one[0].hrs, reverse=True):
        if mark.hrs <= max(held.hrs, burnt.hrs):
            return
        raise StateError(
            f"{kept} says that this home signed for {new} up to {_place(mark)}, and {store} knows it up to {_place(held)}: the store was "
            "made anew since, or an older copy was put back, and what was promised there is not known. Nothing was changed",
            cure=f"{start}read that chain's head height from two nodes you trust, and the same command with --min-height HEIGHT and a height above it, "
            f"which begins {new} there. Only where `cmkms chain reset` lowered the mark since, or the file was kept of another id: move that file away",
        )


def _place(mark: Watermark) -> str:
    return "0" if mark.hrs == HRS(0, 0, 0) else f"{mark.hrs}"
