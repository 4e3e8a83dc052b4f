"""`cmkms state`"""

import contextlib
import os
from pathlib import Path

import click

from cometkms.cli.moving import refuse_running_members
from cometkms.cli.options import CommandGroup, chain_option, chosen_home, home_option, json_option, load_home, one_chain
from cometkms.cli.output import show_json
from cometkms.config.files import is_own_name
from cometkms.config.schema import Chain, Settings
from cometkms.core import choose
from cometkms.durable import check_way, open_regular, write_atomically
from cometkms.errors import StateError, os_words
from cometkms.keys.validator_key import load_public_key
from cometkms.model import HRS, Row, Watermark, quorum_of
from cometkms.rules.birth import NodeState
from cometkms.rules.epoch import sealed_words
from cometkms.store import epoch as epochs
from cometkms.store import state_file
from cometkms.store.exported import refuse_own_file, refuse_second_export, refuse_unshown, went_out
from cometkms.store.home_born import read_born, read_following
from cometkms.store.lock import locked_home
from cometkms.store.marks import held_mark
from cometkms.store.node_files import ChainFiles, NodeFiles, has_store
from cometkms.store.own_home import in_one_home, own_mark, refuse_kept
from cometkms.store.owner import refuse_other_home
from cometkms.store.promise_store import Header, readable_header
from cometkms.store.raise_mark import import_mark


def files_of(settings: Settings) -> NodeFiles:
    """The node's durable files."""
    chains = tuple(
        ChainFiles(Row(load_public_key(chain.key_file), chain.id), chain.state_file) for chain in settings.chains
    )
    return NodeFiles.at(settings.home, settings.id, chains, tuple(peer.id for peer in settings.peers))


@click.group("state", cls=CommandGroup)
def command() -> None:
    """Show, import or export the watermark: the last height, round and step promised or signed."""


_node_id = click.option("--id", "node_id", default=None, metavar="ID", help="Node id.  [default: the home's]")


@command.command("show")
@home_option
@chain_option
@_node_id
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def show(home: str | None, chain_id: str | None, node_id: str | None, as_json: bool) -> None:  # noqa: ARG001
    """The watermark in the promise store and in the state file.

    Where the node does not promise by its store, as it is recovering, sealed or lost, a line says
    so. Reads only; works beside a running node.

    \b
    Examples:
      cmkms state show
      cmkms state show --json
    """
    settings = load_home(chain_id, node_id)
    chain = one_chain(settings, chain_id)
    store, in_file = _known(settings, chain)
    files = _files_of_one(settings, chain)
    header = readable_header(files.store_path)
    state = header.state.name.lower() if header is not None else None
    why_not = _why_not_promising(files, header)
    if as_json:
        marks = {"store": _document(store), "file": _document(in_file)}
        show_json({"chain_id": chain.id, **marks, "state": state, "why_not_promising": why_not})
        return
    click.echo(f"chain {chain.id}")
    click.echo(f"store {_words(store)}")
    click.echo(f"file  {_words(in_file)}  {chain.state_file}")
    if why_not:
        click.echo(f"node  {state or 'lost'}: {why_not}")


@command.command("import")
@home_option
@chain_option
@_node_id
@click.argument("file", metavar="FILE", type=click.Path())
@json_option("What was done")
def import_state(
    home: str | None,  # noqa: ARG001
    chain_id: str | None,
    node_id: str | None,
    file: str,
    as_json: bool,
) -> None:
    """Raise the watermark to that of another signer's priv_validator_state.json.

    Refuses to go lower; the node must be stopped.

    In a cluster: on a majority of the nodes, before any of them starts again.

    \b
    Example:
      cmkms state import ~/.cometbft/data/priv_validator_state.json
    """
    settings = load_home(chain_id, node_id)
    chain = one_chain(settings, chain_id)
    core = choose.load()
    _check_given(Path(file))
    files = files_of(settings)
    target = files.chains[settings.chains.index(chain)]
    refuse_own_file(Path(file), chain.state_file, chain.id, files.store_path)
    mark = _brought(Path(file), target)
    if not files.alone and has_store(files.store_path):
        refuse_running_members(settings)
    with locked_home(chosen_home()):  # no export comes between what is asked here and what is written
        if went := went_out(chain.state_file, chain.id, files.store_path):
            refuse_unshown(went, mark.hrs, typed=False, unused=False)
        imported = import_mark(files, target, mark, core)
    click.echo(f"watermark of {chain.id}: {_words(imported)}", err=as_json)
    if as_json:
        show_json(
            {"home": str(settings.home), "node_id": settings.id, "chain_id": chain.id, "stands": _document(imported)}
        )
    if not files.alone:
        need = quorum_of(len(files.members))
        click.echo(
            f"note: on this node only; it holds once {need} of {', '.join(files.members)} have it: import it there too",
            err=True,
        )


def _brought(path: Path, chain: ChainFiles) -> Watermark:
    """What a state file brings: of another home of this program as much as its store. This one's
    own says what another signer wrote into it.

    Raises: StateError, BusyError, StoreFailure.
    """
    core = choose.load()
    mark = None
    if not in_one_home(Path(os.path.realpath(path)), Path(os.path.realpath(chain.state_path))):
        mark = own_mark(path, chain.row, core)
    return mark or state_file.load(path, chain.row.chain_id, core.parse_sign_bytes)


def _check_given(path: Path) -> None:
    """A slip of the path: nothing is to be written there, and nothing is lost. Raises: StateError."""
    try:
        check_way(path.absolute().parent)
        os.close(open_regular(path))
    except PermissionError:  # reading it says what helps
        return
    except FileNotFoundError:
        what = f"{path} is missing"
    except OSError as error:
        what = f"{error.filename} cannot be read: {os_words(error)}"
    else:
        return
    raise StateError(what, cure="the path of the other signer's priv_validator_state.json")


@command.command("export")
@home_option
@chain_option
@_node_id
@click.option("--out", metavar="FILE", type=click.Path(), help="Write there.  [default: standard output]")
def export(home: str | None, chain_id: str | None, node_id: str | None, out: str | None) -> None:  # noqa: ARG001
    """The watermark as a priv_validator_state.json for FilePV or tmkms.

    The node must be stopped, and stays so while another signer has the key. Where the store is
    damaged, lost, sealed or behind the state file, or of a member that is recovering or empty, or
    the key is another signer's already, what was signed is not known and nothing is written; a home
    that never ran has its state file only.
    That the watermark went out is noted by `cmkms export` alone. In a cluster this is what this one
    member knows, and one that was away is behind: `cmkms export` brings out what a sealed majority
    of it signed.

    \b
    Example:
      cmkms state export --out ~/.cometbft/data/priv_validator_state.json
    """
    settings = load_home(chain_id, node_id)
    chain = one_chain(settings, chain_id)
    files = _files_of_one(settings, chain)
    refuse_second_export(went_out(chain.state_file, chain.id, files.store_path))
    # its own state file that is lost is written from the store, and nothing leaves
    is_own = out is not None and os.path.realpath(out) == os.path.realpath(chain.state_file)
    if out is not None and not is_own:
        others = (one.state_file for one in settings.chains if one.state_file != chain.state_file)
        refuse_kept(Path(out), settings.home, others, "another --out, and `cmkms state import` where it is to count")
    restores = is_own and not os.path.lexists(chain.state_file)
    mark, members = epochs.member_mark(files, files.chains[0], choose.load(), restores=restores)
    if mark.hrs > HRS(0, 0, 0) and not mark.signature:
        click.echo(
            "note: the signature at this place is not known here, so FilePV will refuse to sign there again", err=True
        )
    if len(members) > 1:
        click.echo(
            f"note: this is where {settings.id} stands, one of {', '.join(members)}: the others may have signed above it while it was away. What "
            f"the cluster signed comes out with the seals of a majority of them: `cmkms epoch seal` there, then `cmkms export --chain-id {chain.id}`",
            err=True,
        )
    data = state_file.encode(mark)
    if out is None:
        click.echo(data.decode())
        return
    _check_out(Path(out).absolute(), chain, mark)
    write_atomically(Path(out), data)
    click.echo(f"wrote {out}: {_words(mark)}")


def _check_out(out: Path, chain: Chain, mark: Watermark) -> None:
    """Raises: StateError where anything but a state file of this chain would be lost, or that one
    would stand lower.
    """
    if not out.parent.is_dir():
        raise StateError(f"{out} cannot be written: there is no such directory", cure="another --out, or make it first")
    if os.path.lexists(out) and not out.is_file():
        raise StateError(f"{out} is no file", cure="another --out, or move away what is there")
    if is_own_name(Path(os.path.realpath(out)).name):
        raise StateError(f"{out}: a node keeps a file of that name itself", cure="another --out")
    if not os.path.lexists(out) or out.stat().st_size == 0:
        return
    state_file.refuse_something_else(out, "another --out")
    try:
        there = state_file.load(out, chain.id, choose.load().parse_sign_bytes)
    except StateError as error:
        what = f"{out} is there, and is no state file of {chain.id}: it is left as it is"
        raise StateError(what, cure="another --out, or move away what is there") from error
    if there.hrs > mark.hrs or (there.hrs == mark.hrs and there.sign_bytes not in (b"", mark.sign_bytes)):
        raise StateError(
            f"{out} stands at {_words(there)}, and this would be {_words(mark)}: nothing is lowered, and no signature is forgotten",
            cure="another --out; whoever goes by that file goes by it as it is",
        )


def _files_of_one(settings: Settings, chain: Chain) -> NodeFiles:
    """Like files_of(), where another chain's key need not be readable."""
    one = ChainFiles(Row(load_public_key(chain.key_file), chain.id), chain.state_file)
    return NodeFiles.at(settings.home, settings.id, (one,), tuple(peer.id for peer in settings.peers))


def _known(settings: Settings, chain: Chain) -> tuple[Watermark | None, Watermark | None]:
    """(store, file): None where there is none."""
    files = _files_of_one(settings, chain)
    refuse_other_home(files, readable=True)
    store = held_mark(files.store_path, files.chains[0].row)
    state_file.refuse_something_else(chain.state_file)
    in_file = (
        state_file.load(chain.state_file, chain.id, choose.load().parse_sign_bytes, "state_file")
        if os.path.lexists(chain.state_file)
        else None
    )
    return store, in_file


def _why_not_promising(files: NodeFiles, header: Header | None) -> str:
    """Why the store's place is not how far this node went; "" where it is, or it went nowhere."""
    following: tuple[str, ...] = ()
    is_lost = False
    with contextlib.suppress(StateError):  # a born.json that cannot be understood is the doctor's to tell
        following = read_following(files)
        is_lost = not os.path.lexists(files.store_path) and files.node_id in read_born(files)
    if header is None:
        return "its store is lost, and with it what it promised" if is_lost else ""
    match header.state:
        case NodeState.RECOVERING:
            return "it lost what it promised, and has yet to read it from the others: it may have promised more than its store has"
        case NodeState.SEALED:
            return sealed_words(header.epoch, files.node_id, following)
        case NodeState.EMPTY:
            return "it is not born yet: it has promised nothing by this store"
        case _:
            return ""


def _document(mark: Watermark | None) -> dict[str, object] | None:
    if mark is None:
        return None
    known = "signed" if mark.signature else "promised" if mark.sign_bytes else "burnt"
    return {
        "height": mark.hrs.height,
        "round": mark.hrs.round,
        "step": mark.hrs.step,
        "known": known if mark.hrs > HRS(0, 0, 0) else "nothing signed yet",
        "signbytes": mark.sign_bytes.hex().upper(),
    }


def _words(mark: Watermark | None) -> str:
    document = _document(mark)
    if document is None:
        return "none"
    return f"height {document['height']} round {document['round']} step {document['step']} ({document['known']})"
