"""Bring up a node's durable state at start: store, state files and born.json must agree, or the
node does not sign.

docs/ARCHITECTURE.md, and the rules 2, 7, 8, 9 and 10 behind it:

| the store is … | and born.json names …      | one node alone                                     | one of several                    |
|----------------|----------------------------|----------------------------------------------------|-----------------------------------|
| there          | anything                   | open it; foreign owner or members: refuse to start (both); one that is empty or        |
|                |                            | recovering holds no promise, and follows the peer list                                 |
| corrupt        | this node                  | refuse to start                                    | kept aside; recovering            |
| corrupt        | nobody                     | refuse to start                                    | kept aside; empty                 |
| missing        | nobody                     | birth: at the state files' marks, complete at once | empty: birth with the others      |
| missing        | this node                  | refuse to start, `cmkms recover`                   | recovering                        |
| missing        | another id, or data/ does  | the id changed: refuse to start (both)                                                 |
| missing        | another id, no data here   | refuse to start                                    | priv/ was copied: recovering      |
| older epoch    | this node, a later epoch   | refuse to start                                    | kept aside; recovering            |
| without a row  | that row as begun here     | refuse to start (both); one that is empty or recovering reads the others first         |
| with or not    | that row as lost           | refuse to start (both), `cmkms recover` with a height for it; one that is empty or     |
|                |                            | recovering, too: the others may not know it either                                     |
| without a row  | that lost ones are unnamed | the same, where the state file says that the chain was signed for                      |

born.json is read wherever a state file may have been (born_places), and a row that is begun or lost
there counts for the chains that are configured only.

A state file that does not say of which chain it is, where the store knows its key only under an id
that is not configured any more, is not known to be this chain's: refuse to start (both). One that
says that nothing was signed is, where a rename kept beside it what the store knows of the last id.
Where a rename wrote the place of an id that the store knows, and the settings have the id that was
left still: refuse to start (both), and name the one to set.
A chain of which a rename kept more than the store knows: the store was made anew since, or an old
copy was put back, and one node alone refuses to start.

A state file whose signature is not of the configured key is another key's, and a store that knows
the chain with another key and not with this one was another key's: refuse to start (both), until
the operator's word has given the key a row (another_key.py).

Then, for each chain, the higher of store and state file wins; bytes of the file are kept only with
their signature, else the place is burnt. One of several has signatures of the others in
its file, beyond what it promised; two different bytes at one place are burnt. One node alone writes
its store first: a file that shows what the store lacks says that an old copy of the store was put
back, or that another signer wrote the file. The file follows up to a second later, so it does not
say how far that went: refuse to start.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from cometkms.core.interface import Core
from cometkms.durable import Disk
from cometkms.limits import BIRTH_NONCE_BYTES
from cometkms.model import Incarnation, Watermark
from cometkms.rules.birth import NodeState
from cometkms.rules.epoch import Ended
from cometkms.store import state_file
from cometkms.store.adopted import read_adopted
from cometkms.store.another_key import refuse_another_key, refuse_anothers_file
from cometkms.store.born import FIRST_EPOCH
from cometkms.store.exported import refuse_exported
from cometkms.store.home_born import (
    born_path,
    knows_its_own,
    read_born,
    read_ended,
    read_epoch,
    refuse_lost_row,
    why_not_fixed,
    write_born,
)
from cometkms.store.marks import (
    RECOVER_CURE,
    bring_up,
    lost_error,
    mark_of_files,
    read_state,
    refuse_forgotten,
    refuse_lacking,
    refuse_unrenamed,
)
from cometkms.store.node_files import NodeFiles, aside, check_store_way, make_home_directory
from cometkms.store.owner import (
    Left,
    check_header,
    epoch_due,
    is_of_an_epoch_that_is_over,
    left_of,
    over_error,
    over_words,
    refuse_other_home,
    refuse_out_before_rename,
)
from cometkms.store.promise_store import CorruptStoreError, Header, PromiseStore, readable_marks


@dataclass(frozen=True, slots=True)
class OpenedNode:
    """rows[i], signed[i]: the store's row of the i-th configured chain and its last signed (or
    burnt) place.

    `signed_at`: UNIX seconds when each of `signed` was written into its state file. `ended`: epochs
    that seals ended here. `adopted`: members that count as read in this recovery, because the
    operator brought their stores, and those stores' incarnations. `told`: those of the warnings
    that are over once this node is complete.
    """

    store: PromiseStore
    rows: tuple[int, ...]
    signed: tuple[Watermark, ...]
    warnings: tuple[str, ...]
    adopted: Mapping[str, Incarnation] = field(default_factory=dict)
    signed_at: tuple[float, ...] = ()
    ended: tuple[Ended, ...] = ()
    told: tuple[str, ...] = ()


def open_node(files: NodeFiles, core: Core, disk: Disk | None = None) -> OpenedNode:
    """Open the store of a node by the table at the head of this module.

    No file is written before all are read.

    Raises: StateError with the cure; BusyError; StoreFailure.
    """
    check_store_way(files.store_path)
    for chain in files.chains:
        refuse_exported(chain.state_path, chain.row.chain_id, files.store_path)
        refuse_out_before_rename(files, chain)
    from_files, held = [], dict(readable_marks(files.store_path))
    for chain in files.chains:
        refuse_another_key(files, chain, core)
        in_file = read_state(files, chain, core)
        refuse_anothers_file(files, chain, in_file, core)
        refuse_unrenamed(files, chain, in_file, core)
        refuse_forgotten(files, chain, core)
        from_files.append(mark_of_files(files, chain, core, held))
    written = tuple(chain.state_path.stat().st_mtime for chain in files.chains)
    store, told = _open_or_bear(files, from_files, disk)
    try:
        check_header(store, files)
        for chain, in_file in zip(files.chains, from_files, strict=True):
            refuse_lost_row(files, chain, store.rows if knows_its_own(store.header) else None)
            if chain.row in store.rows:
                refuse_lacking(files, chain, store.mark(store.rows.index(chain.row)), in_file, core)
        warnings: list[str] = list(told)
        if (unfit := why_not_fixed(files)) is not None:
            warnings.append(str(unfit))
        rows = tuple(
            bring_up(store, chain, mark, warnings.append) for chain, mark in zip(files.chains, from_files, strict=True)
        )
        if store.header.state in (NodeState.BORN, NodeState.COMPLETE):
            write_born(files, store.header.epoch, begun=store.rows)
        signed = []
        for chain, row, in_file in zip(files.chains, rows, from_files, strict=True):
            mark = store.mark(row)
            if (mark.hrs > in_file.hrs and mark.signature) or (
                mark.hrs == in_file.hrs and not mark.sign_bytes and in_file.sign_bytes
            ):
                state_file.save(chain.state_path, mark)
            signed.append(mark if mark.signature or not mark.sign_bytes else in_file)
    except BaseException:
        store.close()
        raise
    adopted = read_adopted(files, store.header)
    return OpenedNode(store, rows, tuple(signed), tuple(warnings), adopted, written, read_ended(files), told)


def _open_or_bear(
    files: NodeFiles, from_files: list[Watermark], disk: Disk | None
) -> tuple[PromiseStore, tuple[str, ...]]:
    """The open store, and what the operator should know of how it came to be."""
    if os.path.lexists(files.store_path):
        try:
            store = PromiseStore.open(files.store_path, disk)
            if not is_of_an_epoch_that_is_over(store.header, files):
                return store, ()
            store.close()
            return _put_back(files, from_files, disk)
        except CorruptStoreError as error:
            if files.alone:
                raise
            left = left_of(files)
            epoch_due(files)  # says so, where it is sealed for others
            with aside(files.store_path) as kept:
                if files.node_id not in read_born(files):  # it never promised: it begins again
                    return _make(files, from_files, NodeState.EMPTY, FIRST_EPOCH, left, disk), (
                        f"{error.what}. It is kept as {kept}",
                    )
                store = _make(files, from_files, NodeState.RECOVERING, epoch_due(files), left, disk)
            return store, (
                f"{error.what}. It is kept as {kept}; this node reads what it must not forget from all the others",
            )
    born = read_born(files)
    if files.node_id in born:
        epoch = epoch_due(files)
        if files.alone:
            raise lost_error(files, "", "the store", RECOVER_CURE)
        store = _make(files, from_files, NodeState.RECOVERING, epoch, Left(), disk)
        return store, ("what this node promised is lost: it reads it from all the others before it promises again",)
    refuse_other_home(files)
    if born:
        store = _make(files, from_files, NodeState.RECOVERING, read_epoch(files), Left(), disk)
        told = born_path(files, lambda one: bool(one.ids))
        return store, (
            f"{told} came from another node: if {files.node_id!r} promised anything before, it is lost; it reads all the others before it "
            "promises",
        )
    state = NodeState.COMPLETE if files.alone else NodeState.EMPTY
    return _make(files, from_files, state, FIRST_EPOCH, Left(), disk), ()


def _put_back(files: NodeFiles, from_files: list[Watermark], disk: Disk | None) -> tuple[PromiseStore, tuple[str, ...]]:
    """What this node promised since is lost: as one that lost its store.

    Raises: StateError for one node alone.
    """
    epoch = epoch_due(files)
    said = over_words(files)
    if files.alone:
        raise over_error(files)
    left = Left(tuple(readable_marks(files.store_path)))
    with aside(files.store_path) as kept:
        store = _make(files, from_files, NodeState.RECOVERING, epoch, left, disk)
    return store, (f"{said}. It is kept as {kept}; this node reads what it must not forget from all the others",)


def _make(
    files: NodeFiles,
    from_files: list[Watermark],
    state: NodeState,
    epoch: int,
    left_of_old: Left,
    disk: Disk | None,
) -> PromiseStore:
    """A new store at the state files' marks, or higher ones that are left of an old one."""
    make_home_directory(files.store_path.parent)
    header = Header(
        files.node_id,
        epoch,
        files.members,
        state,
        os.urandom(BIRTH_NONCE_BYTES),
        incarnation=left_of_old.incarnation,
        unclaimed=state is NodeState.RECOVERING,
    )
    left = dict(left_of_old.marks)
    rows = []
    for chain, in_file in zip(files.chains, from_files, strict=True):
        rows.append((chain.row, max(in_file, left.pop(chain.row, in_file), key=lambda mark: mark.hrs)))
    return PromiseStore.create(
        files.store_path,
        header,
        [*rows, *left.items()],
        disk,
        opened=state is not NodeState.RECOVERING,
        known=left_of_old.known,
    )
