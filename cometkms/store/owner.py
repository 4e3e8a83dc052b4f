"""Whose a promise store is, of which members and which epoch, and what a home is told that has the
wrong one.
"""

import contextlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

from cometkms.errors import StateError
from cometkms.model import Incarnation, Row, Watermark
from cometkms.rules.birth import NodeState
from cometkms.rules.epoch import sealed_words
from cometkms.rules.incarnation import FIRST, Statement
from cometkms.store.born import FIRST_EPOCH, load_born
from cometkms.store.exported import refuse_exported
from cometkms.store.home_born import (
    born_left,
    born_path,
    born_places,
    path_of_epoch,
    read_born,
    read_born_members,
    read_epoch,
    read_following,
)
from cometkms.store.node_files import ChainFiles, NodeFiles
from cometkms.store.promise_store import (
    STORE_NAME,
    Header,
    PromiseStore,
    corrupt,
    readable_header,
    readable_known,
    readable_marks,
)


@dataclass(frozen=True, slots=True)
class Left:
    """What is still readable of a store: marks, this member's incarnation there, and
    those of the others.
    """

    marks: tuple[tuple[Row, Watermark], ...] = ()
    incarnation: Incarnation = FIRST
    known: tuple[Statement, ...] = ()


def left_of(files: NodeFiles) -> Left:
    """Incarnations count within one epoch. Raises: FormatError."""
    path = files.store_path
    marks, header = readable_marks(path), readable_header(path)
    if header is None or (header.epoch, header.members) != (epoch_left(files), files.members):
        return Left(tuple(marks))
    return Left(tuple(marks), header.incarnation, tuple(readable_known(path)))


def epoch_due(files: NodeFiles) -> int:
    """The epoch in which this home's node takes part if its store is lost: the next, where its own
    is sealed, for its seal is out for ever.

    Raises: StateError where it is sealed for others than the peer list names.
    """
    following = read_following(files) if files.node_id in read_born(files) else ()
    if not following:
        return read_epoch(files)
    if following != files.members:
        raise StateError(
            f"{path_of_epoch(files)} says that epoch {read_epoch(files)} is sealed here, for {', '.join(following)}, and the peer list names "
            f"{', '.join(files.members)}: this node promises nothing more in its epoch",
            cure="the peer list of those who follow, once they run; if it is to come back after another change of members, `cmkms member` here with the "
            "seals of that; until then it stays stopped",
        )
    return read_epoch(files) + 1


def is_of_an_epoch_that_is_over(header: Header, files: NodeFiles) -> bool:
    """An old copy of data/ was put back: this very node was in a later epoch, or is sealed since."""
    if files.node_id != header.owner or files.node_id not in read_born(files):
        return False
    sealed_since = (
        header.epoch == read_epoch(files) and bool(read_following(files)) and header.state is not NodeState.SEALED
    )
    return header.epoch < read_epoch(files) or sealed_since


def over_words(files: NodeFiles) -> str:
    """What the store of an epoch that is over is, and how it may have come here."""
    return (
        f"{files.store_path} is of an epoch that is over: {path_of_epoch(files)} says that this node was in a later one, or sealed since. An old copy "
        "was put back, or it comes back after a change of members"
    )


def over_error(files: NodeFiles) -> StateError:
    """What one node alone forgot nobody tells it; one of several, though an old peer list names
    it alone, reads it from the others.
    """
    members = read_following(files) or tuple(read_born_members(files)) or files.members
    otherwise = "`cmkms recover --min-height HEIGHT`"
    if len(members) > 1:
        otherwise = f"started with the peer list of {', '.join(members)}, it reads what it lost from the others"
    return StateError(
        f"{over_words(files)}, and what it forgot is not known", cure=f"the newest copy; else {otherwise}"
    )


def refuse_over(header: Header, files: NodeFiles) -> None:
    """An old copy of a node's store, with the peer list of that time perhaps, knows nothing of what
    its members signed since: no mark of it goes out, and none is lowered in it.

    Raises: StateError, in a start's words.
    """
    if is_of_an_epoch_that_is_over(header, files):
        epoch_due(files)
        raise over_error(files)


def refuse_not_current(header: Header, files: NodeFiles) -> None:
    """Whose mark is to go out or down is the node that was in this home last, with its members.

    Raises: StateError.
    """
    refuse_over(header, files)
    refuse_anothers(header, files)
    if header.epoch == read_epoch(files):
        _refuse_members(files, tuple(read_born_members(files)))


def refuse_other_home(files: NodeFiles, *, readable: bool = False) -> None:
    """A home that has run under another id says nothing of this one: neither its state files nor a
    missing store. Where priv/ alone was copied to another member, born.json tells of nobody here.

    `readable`: what of born.json can be read is enough, for whoever repairs or shows a home.
    Raises: StateError.
    """
    if os.path.lexists(files.store_path):
        return
    born = list(born_left(files)[0].ids) if readable else read_born(files)
    here = [path.parent.name for path in sorted(files.store_path.parent.parent.glob(f"*/{STORE_NAME}"))]
    if files.node_id in born or not (born or here) or not (here or files.alone):
        return
    names = list(dict.fromkeys((*here, *born)))
    if not here and (elsewhere := _told_elsewhere(files)) is not None:
        raise StateError(
            f"{elsewhere.parent} has the notes of node {', '.join(map(repr, names))} beside its state file ({elsewhere}), and this is node {files.node_id!r}",
            cure=f"another directory for the state file of each node: `state_file` in config.toml; where this home is that node's, start with --id {names[0]}",
        )
    raise StateError(
        f"this home belongs to node {', '.join(map(repr, names))} and the id is now {files.node_id!r}",
        cure=f"start with --id {names[0]} (the id defaults to the host's name); a second node needs a home of its own",
    )


def _told_elsewhere(files: NodeFiles) -> Path | None:
    """The born.json out of this home that names a node, where none in it names one: another home's
    state file is there, too.
    """
    told = []
    for path in born_places(files):
        with contextlib.suppress(StateError):  # whoever repairs a home goes by what can be read
            told += [Path(os.path.normpath(path))] if load_born(path).ids else []
    return None if not told or any(files.home in path.parents for path in told) else told[0]


def other_ids(files: NodeFiles, chain: ChainFiles) -> list[str]:
    """The ids under which the store knows a chain's key, and which are not configured: of a rename
    that config.toml has not or no more.
    """
    configured = {one.row for one in files.chains}
    held = dict(readable_marks(files.store_path))
    return [row.chain_id for row in held if row.key == chain.row.key and row not in configured]


def refuse_out_before_rename(files: NodeFiles, chain: ChainFiles) -> None:
    """The key went out under an id that was left since, and this home has not begun the new one:
    the other signer went on with that chain, whatever it is called now.

    Raises: StateError.
    """
    if chain.row not in dict(readable_marks(files.store_path)):
        for chain_id in other_ids(files, chain):
            refuse_exported(chain.state_path, chain_id, files.store_path)


def check_owner(store: PromiseStore, files: NodeFiles) -> None:
    """Raises: StateError."""
    if store.header.owner != files.node_id:
        raise StateError(
            f"{store.path} belongs to node {store.header.owner!r}, and this is node {files.node_id!r}",
            cure=f"start with --id {store.header.owner}, or give this node a home of its own; never copy a store",
        )


def check_header(store: PromiseStore, files: NodeFiles) -> None:
    """Raises: StateError."""
    check_owner(store, files)
    header = store.header
    if header.members != files.members and header.state in (NodeState.EMPTY, NodeState.RECOVERING) and not files.alone:
        store.write_header(
            replace(header, members=files.members, record=())
        )  # it holds no promise: the list is the operator's
        header = store.header
    if header.members != files.members:
        raise StateError(
            f"{store.path} is of epoch {header.epoch} with the members {', '.join(header.members)}, and the peer list names "
            f"{', '.join(files.members)}: a list that only one node changes makes a second majority",
            cure="put the list back, or change the members with `cmkms member`",
        )
    if header.state is NodeState.SEALED:
        raise sealed_error(files, header)
    if files.alone and header.state is not NodeState.COMPLETE:
        raise corrupt(store.path, f"its node is {header.state.name.lower()}, not complete")


def refuse_anothers(header: Header, files: NodeFiles) -> None:
    """A forgotten peer list must not make a command take one node of several for one that is alone.

    Raises: StateError unless the store is this node's, of these members.
    """
    if header.owner != files.node_id or header.members != files.members:
        raise StateError(
            f"{files.store_path} is of node {header.owner!r} of {', '.join(header.members)}, and this is {files.node_id!r} of "
            f"{', '.join(files.members)}",
            cure="the --id and the peer list that it was started with. Nothing was changed",
        )


def sealed_error(files: NodeFiles, header: Header) -> StateError:
    """Make the error of a store that is sealed, with what is to be done there.

    Raises: StateError for a born.json that cannot be understood.
    """
    following = read_following(files)
    what = f"{files.store_path}: {sealed_words(header.epoch, files.node_id, following)}"
    if following and files.node_id not in following:
        whom = ", ".join(following)
        return StateError(
            what,
            cure=f"nothing here; its seal (HOME/seals) goes to {whom}. Is it to come back later: `cmkms member add {files.node_id}=HOST:PORT`, here too, "
            "with the `peer` of a living node's config.toml",
        )
    return StateError(
        what,
        cure="the same `cmkms member` command again, or `cmkms epoch begin` with the seals of a majority on the members of the next epoch",
    )


def refuse_sealed(files: NodeFiles) -> None:
    """Its seal is out, and says that it promises nothing more in this epoch. Raises: StateError."""
    header = readable_header(files.store_path)
    if header is not None and header.state is NodeState.SEALED:
        raise StateError(
            f"{files.store_path}: epoch {header.epoch} is sealed here: there is no way back into it",
            cure="the same `cmkms member` command again, or `cmkms epoch begin`",
        )


def refuse_other_members(files: NodeFiles) -> None:
    """A forgotten peer list must not make one node of several its own majority. Raises: StateError."""
    header = readable_header(files.store_path)
    if header is not None and header.state is NodeState.RECOVERING and header.members == files.members:
        return  # the list of the epoch that it recovers in, which others have said
    if header is not None and header.state is NodeState.EMPTY and files.alone:
        refuse_anothers(header, files)
    born, _ = born_left(files)
    _refuse_members(files, born.following or born.members)


def _refuse_members(files: NodeFiles, members: tuple[str, ...]) -> None:
    """Raises: StateError where born.json says other members."""
    if members and members != files.members:
        told = born_path(files, lambda one: members in (one.following, one.members))
        raise StateError(
            f"{told} says that this node is one of {', '.join(members)}, and the peer list names {', '.join(files.members)}",
            cure="give the same peer list as before; members change with `cmkms member`",
        )


def epoch_left(files: NodeFiles) -> int:
    """What is left of the knowledge which epoch this is."""
    header, epoch = readable_header(files.store_path), FIRST_EPOCH
    with contextlib.suppress(StateError):
        epoch = epoch_due(files)
    return max(epoch, header.epoch) if header is not None and header.owner == files.node_id else epoch
