"""Lower a chain's mark on the operator's word (docs/ARCHITECTURE.md, rule 14): the one way down.

The node must be stopped, and every other.

    kept aside   promises.old-N, raft.old-N, and the state file, with those that a rename kept of the
                 chain, beside themselves
    then         the row's mark and the state file: every place up to the head that the operator
                 gave is burnt

A crash in between leaves the higher of store and state file, which is what the next start goes by
(one node alone does not start: its state file is ahead then): the command is given again. The store
stays the same one (owner, epoch, incarnation, seq), and born.json what it is: to the other members
this node has forgotten nothing.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from cometkms.durable import read_file, sync_directory, write_atomically
from cometkms.errors import StateError, StoreFailure, os_words
from cometkms.model import Watermark
from cometkms.rules.birth import NodeState
from cometkms.rules.burnt import burnt_up_to
from cometkms.store import state_file
from cometkms.store.home_born import note_begun, refuse_lost
from cometkms.store.kept import surely_kept
from cometkms.store.node_files import (
    JOURNAL_NAME,
    ChainFiles,
    NodeFiles,
    after_store,
    check_state_files,
    has_store,
    refuse_gone_out,
)
from cometkms.store.owner import refuse_not_current, refuse_other_home
from cometkms.store.promise_store import PromiseStore


@dataclass(frozen=True, slots=True)
class Reset:
    """`kept`: where what was there is. `mark`: where the chain stands from now on."""

    kept: tuple[Path, ...]
    mark: Watermark


def reset_mark(files: NodeFiles, chain: ChainFiles, height: int) -> Reset:
    """Let the chain stand at `height`, whatever it stood at. The caller holds the home.

    Raises: StateError where the epoch is sealed here, or over, the store is another node's, or the
    chain's key went out; BusyError; StoreFailure.
    """
    mark = burnt_up_to(height)
    refuse_other_home(files)
    check_state_files([chain])
    refuse_gone_out([chain], files.store_path)
    refuse_lost(files, chain)
    kept: list[Path] = []
    stored = has_store(files.store_path)
    if stored:
        store = PromiseStore.open(files.store_path)
        try:
            header = store.header
            refuse_not_current(header, files)
            if header.state is NodeState.SEALED:
                raise StateError(
                    f"epoch {header.epoch} is sealed here, and its seal says where it stood: a mark in it is not lowered any more",
                    cure="`cmkms epoch begin` first. Nothing was changed",
                )
            kept += [_copied(files.store_path), *_copied_if_there(chain.state_path)]
            kept += _moved(files.store_path.with_name(JOURNAL_NAME))
            kept += [one for path in surely_kept(chain.state_path, chain.row.chain_id) for one in _moved(path)]
            if chain.row in store.rows:
                store.reset_mark(store.rows.index(chain.row), mark)
            else:
                store.add_row(chain.row, mark, opened=files.alone)
            if header.state not in (NodeState.EMPTY, NodeState.RECOVERING):
                note_begun(files, [chain.row])
        finally:
            store.close()
    else:
        kept += _copied_if_there(chain.state_path)
    with after_store(files.store_path, f"it stands at {mark.hrs}") if stored else nullcontext():
        state_file.save(chain.state_path, mark)
    return Reset(tuple(kept), mark)


def _free(path: Path) -> Path:
    """A name beside it that is not taken."""
    number = 1
    while (found := path.with_name(f"{path.name}.old-{number}")).exists():
        number += 1
    return found


def _copied(path: Path) -> Path:
    """Durable on return. Raises: StoreFailure."""
    kept = _free(path)
    try:
        write_atomically(kept, read_file(path, path.stat().st_size))
    except OSError as error:
        raise StoreFailure(f"{path} could not be kept as {kept}: {os_words(error)}") from error
    return kept


def _copied_if_there(path: Path) -> list[Path]:
    return [_copied(path)] if path.exists() else []


def _moved(path: Path) -> list[Path]:
    """The replicated log holds what was signed at the heights that are left: the node follows with
    a new one (rule 12). Raises: StoreFailure.
    """
    if not path.exists():
        return []
    kept = _free(path)
    try:
        path.rename(kept)
        sync_directory(path.parent)
    except OSError as error:
        raise StoreFailure(f"{path} could not be kept as {kept}: {os_words(error)}") from error
    return [kept]
