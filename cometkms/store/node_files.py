"""Where a node's files lie, what stands in the way to one, and how a store is set aside or put in
place.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cometkms.durable import (
    check_room_in,
    check_way,
    discarding,
    make_directory,
    open_regular,
    read_file,
    sync_directory,
    write_atomically,
)
from cometkms.errors import OTHER_USER_CURE, StateError, StoreFailure, cure_of_file, os_words
from cometkms.model import Row
from cometkms.store.born import BORN_NAME, load_born
from cometkms.store.exported import check_export, refuse_exported, went_out
from cometkms.store.promise_store import FILE_BYTES, STORE_NAME, PromiseStore, held_alone
from cometkms.store.state_file import refuse_something_else

JOURNAL_NAME = "raft"  # of the replicated log, beside the store


@dataclass(frozen=True, slots=True)
class ChainFiles:
    """A configured chain: its row and its state file."""

    row: Row
    state_path: Path


@dataclass(frozen=True, slots=True)
class NodeFiles:
    """Where a node keeps its state.

    `store_path`: data/<id>/promises. `members`: the configured ids, sorted, with this one.
    """

    node_id: str
    store_path: Path
    chains: tuple[ChainFiles, ...]
    members: tuple[str, ...]

    @staticmethod
    def at(home: Path, node_id: str, chains: tuple[ChainFiles, ...], members: tuple[str, ...] = ()) -> "NodeFiles":
        """The layout of a home. No members: one node alone."""
        return NodeFiles(node_id, home / "data" / node_id / STORE_NAME, chains, tuple(sorted({node_id, *members})))

    @property
    def alone(self) -> bool:
        """One node, which is its own majority."""
        return len(self.members) == 1

    @property
    def home(self) -> Path:
        """The directory that data/ is in."""
        return self.store_path.parents[2]

    @property
    def adopted_path(self) -> Path:
        """Which dead members' stores were read for a recovery."""
        return self.store_path.with_name("adopted.json")

    @property
    def born_paths(self) -> tuple[Path, ...]:
        """born.json beside each state file."""
        return tuple(sorted({chain.state_path.parent / BORN_NAME for chain in self.chains}))


def make_home_directory(path: Path) -> None:
    """A directory in a node's home, and those above it. Raises: StateError."""
    try:
        make_directory(path)
    except OSError as error:
        raise StateError(
            f"{error.filename or path} cannot be made: {os_words(error)}",
            cure=cure_of_file(error, "give the home and what is in it to the node's user"),
        ) from error


def check_store_way(path: Path) -> None:
    """Whether a store that is not there is not hidden: behind a link to a disk that is not mounted,
    say, or in a directory that this user may not look into. Raises: StateError.
    """
    _check_way(path, "what this node promised")


def check_beside(state_paths: Iterable[Path], store_path: Path) -> None:
    """Whether born.json and exported.json beside these state files, and the store, can be read, or
    are not there: who writes past one that is out of reach undercuts what it says.

    Raises: StateError.
    """
    for path in state_paths:
        _check_way(path, f"what stands in {path.parent}")
        load_born(path.with_name(BORN_NAME))
        check_export(path, store_path)


def refuse_gone_out(chains: Iterable[ChainFiles], store_path: Path) -> None:
    """What another signer has signed since is not known here, so no seal vouches for it, no epoch
    begins above it, and no mark is lowered beside it. Raises: StateError, as check_beside() too.
    """
    for chain in chains:
        check_beside([chain.state_path], store_path)
        refuse_exported(chain.state_path, chain.row.chain_id, store_path)


def refuse_row_gone_out(files: NodeFiles, row: Row) -> None:
    """refuse_gone_out() of a row that is not configured: whoever configures it in the next epoch
    would sign again what the other signer has signed. Raises: StateError.
    """
    went = went_out(files.home / "priv" / STORE_NAME, row.chain_id, files.store_path)
    if went is not None:
        raise StateError(
            f"{row.chain_id}: {went}: what it signed there since is not known here, and the members of the next epoch would sign it again",
            cure=f"put this chain's table back into config.toml; when that signer is off for good, bring its watermark back, `cmkms import --from {went.kind} "
            f"PATH --chain-id {row.chain_id}`, with the files on the machine where it ran, or with --min-height and a height above all that it signed; then "
            "the same command again. Nothing was changed",
        )


def _check_way(path: Path, what: str) -> None:
    """Raises: StateError."""
    try:
        check_way(path.parent)
        with contextlib.suppress(FileNotFoundError):
            path.lstat()
    except OSError as error:
        raise StateError(
            f"{error.filename}: {os_words(error)}, so {what} cannot be read",
            cure=cure_of_file(error, "give the home and what is in it to the node's user"),
        ) from error


def has_store(path: Path) -> bool:
    """Whether a store is there. One that is out of reach, and what stands in its place, is not a
    missing one. Raises: StateError.
    """
    check_store_way(path)
    try:
        os.close(open_regular(path))
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StateError(
            f"{path} cannot be opened: {os_words(error)}", cure=cure_of_file(error, OTHER_USER_CURE)
        ) from error
    return True


def check_state_files(chains: Iterable[ChainFiles], born: Iterable[Path] = ()) -> None:
    """Whether the state files, and these born.json, can be replaced: they are written after the
    store, and nothing is to be half done. Raises: StateError, also for a file that is recognisably
    something else than a state file.
    """
    state_paths = [chain.state_path for chain in chains]
    for path in state_paths:
        refuse_something_else(path)
    for path in (*state_paths, *born):
        if os.path.lexists(path) and not path.is_file():
            what = BORN_NAME if path.name == BORN_NAME else "the state file"
            right = (
                ""
                if what == BORN_NAME
                else ", or, if config.toml leads there by mistake, the right path into state_file"
            )
            raise StateError(
                f"{path} is {'a directory' if path.is_dir() else 'no file'}, and {what} is written there",
                cure=f"move it away{right}; nothing was changed",
            )
        try:
            check_room_in(path.parent)
        except OSError as error:
            cure = cure_of_file(error, "make it writable for who runs this, or make room")
            raise StateError(f"{path} cannot be written: {os_words(error)}; nothing was changed", cure=cure) from error


@contextlib.contextmanager
def after_store(store: Path, what: str) -> Iterator[None]:
    """Say with a failure of what is written behind the store that the store is: `what`."""
    try:
        yield
    except StoreFailure as error:
        cure = error.cure or "make it writable and make room"
        raise StoreFailure(
            f"{error.what}. {store} is written already: {what}; the state files or born.json beside them are not, or not all",
            cure=f"{cure}, then the same command again, before the node is started",
        ) from error


def _name_aside(path: Path) -> Path:
    number = 1
    while os.path.lexists(kept := path.with_name(f"{path.name}.old-{number}")):
        number += 1
    return kept


def set_aside(path: Path) -> Path | None:
    """Where what stands at the path is kept; None where nothing does. Raises: StoreFailure."""
    if not os.path.lexists(path):
        return None
    kept = _name_aside(path)
    try:
        path.rename(kept)
    except OSError as error:
        denied = f"the node's user must be able to write {path.parent}" if isinstance(error, PermissionError) else ""
        raise StoreFailure(
            f"{path} could not be kept aside: {os_words(error)}", cure=cure_of_file(error, denied)
        ) from error
    return kept


@contextlib.contextmanager
def aside(path: Path) -> Iterator[Path | None]:
    """Keep the old store aside while a new one is made. Where that fails it is put back, so that
    the next start knows as much, or the failure says where it is.

    Raises: StoreFailure.
    """
    with held_alone(path):
        kept = set_aside(path)
    try:
        yield kept
    except BaseException as error:
        if kept is None:
            raise
        try:
            kept.rename(path)
        except OSError:
            if isinstance(error, StoreFailure):
                raise StoreFailure(f"{error.what}. The old one is kept as {kept}", cure=error.cure) from error
        raise


def put_in_place(path: Path, make: Callable[[Path], PromiseStore]) -> Path | None:
    """A new store in one step, and where a copy of the old one is: interrupted anywhere, what the
    old one shows is not undercut later.

    An old one that cannot be read is renamed; the caller holds it. Raises: StoreFailure,
    StateError, BusyError.
    """
    made = path.with_name(f"{path.name}.made")
    kept: Path | None = None
    try:
        made.unlink(missing_ok=True)
        with discarding(made):
            make(made).close()
            try:
                old = read_file(path, FILE_BYTES)[:FILE_BYTES]
            except FileNotFoundError:
                pass
            except OSError:
                kept = set_aside(path)
            else:
                kept = _name_aside(path)
                write_atomically(kept, old)
            try:
                made.replace(path)
            except OSError:
                if kept is not None and os.path.lexists(path):
                    kept.unlink()  # only a copy: the old one is still in its place
                    kept = None
                raise
        sync_directory(path.parent)
    except OSError as error:
        where = f". The old one is kept as {kept}" if kept is not None else ""
        raise StoreFailure(f"{path} could not be made: {os_words(error)}{where}") from error
    return kept
