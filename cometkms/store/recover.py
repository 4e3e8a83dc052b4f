"""Make the promise store of a home anew, above the heights that the operator typed: `cmkms
recover`.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from cometkms.core.interface import Core
from cometkms.durable import read_bounded, read_file
from cometkms.errors import OTHER_USER_CURE, StateError, cure_of_file, is_no_file, os_words
from cometkms.limits import BIRTH_NONCE_BYTES
from cometkms.model import Row, Watermark
from cometkms.rules.birth import NodeState
from cometkms.rules.burnt import Heights, burnt_up_to
from cometkms.store import state_file
from cometkms.store.another_key import is_anothers
from cometkms.store.born import Born, save_born, sorted_rows
from cometkms.store.exported import check_export, forget_export
from cometkms.store.home_born import (
    beside_store,
    born_left,
    born_places,
    demand_fixed_place,
    note_lost,
    written_places,
)
from cometkms.store.marks import kept_mark, read_state
from cometkms.store.node_files import (
    NodeFiles,
    after_store,
    check_state_files,
    check_store_way,
    make_home_directory,
    put_in_place,
    set_aside,
)
from cometkms.store.owner import epoch_left, left_of, refuse_other_home, refuse_other_members, refuse_sealed
from cometkms.store.promise_store import BROKEN, Header, PromiseStore, held_alone, readable_header


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a recovery made: the new mark of each chain, and where the old store is kept, and the
    state files that could not be understood, or show a signature of another key.

    `lost_rows`: the chains that are not configured, or not with that key, and of which it is not
    known any more what was promised there: nothing is signed there before another recovery burns
    them. `lost_unnamed`: that there may be more, of which nothing that is left says that they were
    begun.
    """

    marks: tuple[Watermark, ...]
    store: Path | None
    state_files: tuple[Path, ...]
    lost_rows: tuple[Row, ...] = ()
    lost_unnamed: bool = False

    @property
    def lost(self) -> tuple[str, ...]:
        """The ids of the chains of `lost_rows`."""
        return tuple(row.chain_id for row in self.lost_rows)


def recover(files: NodeFiles, heights: Heights, core: Core) -> Recovered:
    """Make a new store in which every height up to `heights` is burnt; the old one is kept aside,
    and so is a state file that cannot be understood. What was never one is refused.

    Never below what is readable in the old store or a state file, also one that a rename kept. The
    old store is held meanwhile: it is no running node's.

    Raises: StateError, also for a state file of another chain; BusyError, StoreFailure.
    """
    heights.check(chain.row.chain_id for chain in files.chains)
    check_store_way(files.store_path)
    _refuse_unread(files)
    refuse_other_home(files, readable=True)
    with held_alone(files.store_path):
        return _recover(files, heights, core)


def _recover(files: NodeFiles, heights: Heights, core: Core) -> Recovered:
    refuse_sealed(files)
    refuse_other_members(files)
    born, is_whole = born_left(files)
    born_files = [*written_places(files), *(one for one in born_places(files) if os.path.lexists(one))]
    check_state_files(files.chains, born_files)
    for chain in files.chains:
        check_export(chain.state_path, files.store_path)
    left = left_of(files)
    known = dict(left.marks)
    epoch = epoch_left(files)
    marks, lost = [], []
    for chain in files.chains:
        candidates = [burnt_up_to(heights.of(chain.row.chain_id)), known.get(chain.row, Watermark())]
        try:
            in_file = read_state(files, chain, core)
        except state_file.OfAnotherChainError:
            raise  # it is not lost, and would be: nothing else knows that chain
        except StateError:  # a lost state file is one reason to recover
            lost.append(chain.state_path)
        else:
            of_another = is_anothers(chain.row, in_file, core)  # or it was changed: its place counts
            candidates.append(Watermark(in_file.hrs) if of_another else state_file.as_written(in_file))
            lost += [chain.state_path] * of_another
        candidates.append(kept_mark(files, chain, core))
        marks.append(max(candidates, key=lambda mark: mark.hrs))
    configured = {chain.row for chain in files.chains}
    # an older store, put back, looks as whole as the newest one
    forgotten = {*born.lost, *born.begun, *known} - configured
    had_store = os.path.lexists(files.store_path)
    old = readable_header(files.store_path)
    has_lived = bool(born.ids) or (had_store and not (old is not None and old.state is NodeState.EMPTY))
    # an older version's names none
    unnamed = born.lost_unnamed or not is_whole or (has_lived and not born.begun)
    if forgotten or unnamed:
        demand_fixed_place(files)
    rows = [(chain.row, mark) for chain, mark in zip(files.chains, marks, strict=True)]
    rows += [(row, mark) for row, mark in known.items() if row not in configured]
    make_home_directory(files.store_path.parent)
    header = Header(
        files.node_id,
        epoch,
        files.members,
        NodeState.COMPLETE,
        os.urandom(BIRTH_NONCE_BYTES),
        incarnation=left.incarnation,
        unclaimed=not files.alone,
    )
    # before the new store, which knows no more of them, and may stand there alone
    if forgotten - set(born.lost) or unnamed is not born.lost_unnamed:
        note_lost(files, forgotten, unnamed=unnamed)
    kept = put_in_place(files.store_path, lambda path: PromiseStore.create(path, header, rows, known=left.known))
    aside_words, aside = f" (the old one is kept as {kept})" if kept is not None else "", []
    with after_store(files.store_path, f"the new store{aside_words} burns what was asked for"):
        for chain, mark in zip(files.chains, marks, strict=True):
            if chain.state_path in lost:
                aside.append(set_aside(chain.state_path))
            state_file.save(chain.state_path, mark)
            forget_export(chain.state_path, chain.row.chain_id, files.store_path)
        begun = sorted_rows((*born.begun, *(row for row, _ in rows)))
        said = Born((files.node_id,), epoch, files.members, (), born.ended, begun, sorted_rows(forgotten), unnamed)
        only_lost = Born(begun=said.lost, lost=said.lost, lost_unnamed=unnamed)
        beside = beside_store(files)
        for path in dict.fromkeys((*born_files, *((beside,) if said.lost or unnamed else ()))):
            save_born(path, said if path != beside else only_lost)
    return Recovered(
        tuple(marks),
        kept,
        tuple(path for path in aside if path is not None),
        said.lost,
        unnamed,
    )


def _refuse_unread(files: NodeFiles) -> None:
    """What this user or root may not read, or what is out of reach (behind a link, say), is not
    lost: who goes on without it undercuts what it says. Raises: StateError.
    """
    beside = (*(chain.state_path for chain in files.chains), *born_places(files))
    for path, read in ((files.store_path, read_bounded), *((path, read_file) for path in beside)):
        try:
            read(path, 0)
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno in BROKEN:
                continue
            cure = cure_of_file(error, OTHER_USER_CURE)
            if is_no_file(error):
                cure = f"{cure}; where that is lost for good, move away what stands there"
            raise StateError(
                f"{path} cannot be read: {os_words(error)}, so what it knows is not known to be lost. Nothing was changed",
                cure=cure,
            ) from error
