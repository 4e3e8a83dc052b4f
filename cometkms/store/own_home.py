"""What the files of a home of this program say that are taken for another signer's: as much as its
promise store, which is written first.

A state file follows its store by up to a second, so after a `kill -9` it is behind what was signed.
Whoever goes by a file that stands in a home of this program asks here: the mark is the higher of
that home's store and file, or the reason why it is not known.
"""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cometkms.core.interface import Core
from cometkms.errors import StateError
from cometkms.model import Row, Watermark
from cometkms.rules.birth import NodeState
from cometkms.store.born import BORN_NAME
from cometkms.store.epoch import promised
from cometkms.store.exported import refuse_exported
from cometkms.store.home_born import path_of_epoch, read_born, read_epoch, read_following
from cometkms.store.lock import LOCK_NAME, locked_home
from cometkms.store.node_files import ChainFiles, NodeFiles
from cometkms.store.promise_store import Header, PromiseStore

_PRIV: Final = "priv"
_STORES: Final = "data/*/promises"
_EXPORT: Final = (
    "`cmkms export --to filepv DIR` there (in a cluster with the seals of a majority), and the files in DIR"
)
_LOST: Final = (
    "where that is lost for good, copies of key and state in a directory of their own, and in every home made from them, before its first start, "
    "`cmkms recover --min-height HEIGHT` above the chain's head"
)


def own_mark(state_path: Path, row: Row, core: Core, own: Path | None = None) -> Watermark | None:
    """How far a key has signed a chain by the home of this program that a state file stands in;
    None where it stands in none, or in one that has never run.

    `own`: a state file of the home that it is brought into, whose own note that its key went out
    refuses nothing here: what is brought may answer it.

    Only reads, and holds that home's lock meanwhile: its node must be stopped. Raises: StateError
    with the cure; BusyError; StoreFailure.
    """
    named = dict.fromkeys((state_path.absolute(), Path(os.path.realpath(state_path))))
    found = next(((home, path) for path in named if (home := home_of(path)) is not None), None)
    if found is None:
        for path in named:
            if own is None or not in_one_home(path, own):
                refuse_exported(path, row.chain_id)
        return None
    home, state_path = found
    stores = sorted(home.glob(_STORES))
    what = f"{state_path} stands beside a {BORN_NAME}: a node of this program keeps it, and its promise store knows more than the file"
    if len(stores) != 1:
        there = f"{home} has {', '.join(map(str, stores))}" if stores else f"there is no store in {home}"
        raise StateError(f"{what}; {there}", cure=f"{_EXPORT}; {_LOST}")
    # where that file is missing it is a copy that has never run, and stays as it is
    with locked_home(home) if os.path.lexists(home / LOCK_NAME) else contextlib.nullcontext():
        store = PromiseStore.read(stores[0])
        header, rows = store.header, store.rows
        store.close()
        files = NodeFiles.at(home, header.owner, (ChainFiles(row, state_path),))
        why = _not_all(files, header, stores[0])
        if not why and row not in rows:
            why = f"{stores[0]} does not know this key under {row.chain_id}"
        if why:
            whom = ", ".join(read_following(files)) if header.state is NodeState.SEALED else ""
            first = f"it is sealed for {whom}: go by the home of one of these, {_EXPORT}" if whom else _EXPORT
            raise StateError(f"{what}; {why}", cure=f"{first}; {_LOST}")
        refuse_exported(state_path, row.chain_id, files.store_path)
        return promised(files, files.chains[0], [], core)


def home_of(path: Path) -> Path | None:
    """The home whose node keeps a state file; where that cannot be found and one has run beside the
    file, the directory that it stands in. None: it is nobody's here.
    """
    for folder in (path.parent, path.parent.parent):
        if folder.name == _PRIV and any(folder.parent.glob(_STORES)):
            return folder.parent
    return path.parent if os.path.lexists(path.with_name(BORN_NAME)) else None


def refuse_target(path: Path, home: Path, own: Iterable[Path]) -> None:
    """A key goes out of a home into none of this program: there it would count as another signer's,
    and bring nothing back.

    `own`: the home's files, wherever they are. Raises: StateError.
    """
    real, mine = Path(os.path.realpath(path)), Path(os.path.realpath(home))
    inside = any(real.is_relative_to(mine / name) for name in ("priv", "data"))
    if inside or any(_is_one(path, one) for one in own):
        raise StateError(
            f"{path} is this home's own ({home}): nothing leaves it that way, and it would be shut as one whose key another signer has",
            cure="the other signer's home, or a directory of its own",
        )
    refuse_kept(path, home, (), "a directory of its own, and `cmkms import` from that into the home that is to sign")


def refuse_kept(path: Path, home: Path, own: Iterable[Path], cure: str) -> None:
    """What the node of another home keeps, or one of `own`, is not written over: its store knows
    nothing of it. Raises: StateError.
    """
    if any(_is_one(path, one) for one in own):
        raise StateError(f"{path} is another file of this home", cure=cure)
    for name in (path.absolute(), Path(os.path.realpath(path))):
        other = home_of(name)
        if other is not None and not _is_one(other, home):
            raise StateError(f"{path} is in {other}, a home of this program whose node has run", cure=cure)


def _is_one(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return os.path.realpath(path) == os.path.realpath(other)


def in_one_home(path: Path, other: Path) -> bool:
    """Whether two files that may stand in a priv/, or in a directory of it, stand in one home."""
    return _around(path) == _around(other)


def _around(path: Path) -> Path:
    never_run = (folder.parent for folder in (path.parent, path.parent.parent) if folder.name == _PRIV)
    return home_of(path) or next(never_run, path.parent)


def _not_all(files: NodeFiles, header: Header, store: Path) -> str:
    """Why a home's store does not show everything that was signed; "" where it does.

    Raises: StateError for a born.json that cannot be read.
    """
    if len(header.members) > 1:
        return f"that is one of {', '.join(header.members)}, and what they signed a majority of them knows"
    if header.state is not NodeState.COMPLETE:  # of one that is sealed the next epoch may have signed on
        return f"{store}: that node is {header.state.name.lower()}"
    here = files.store_path == store and files.node_id in read_born(files)
    if not here or read_following(files) or read_epoch(files) != header.epoch:
        return (
            f"{store} (node {header.owner}, epoch {header.epoch}) is not the one that {path_of_epoch(files)} tells of"
        )
    return ""
