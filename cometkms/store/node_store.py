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
| missing        | another id, data here      | the id changed: refuse to start (both)                                                 |
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
says that nothing was signed is, where a rename kept beside it what the store knows of the other id.
A chain of which a rename kept how far it came, and which the store does not know: the store was
made anew since, and one node alone refuses to start.

Then, for each chain, the higher of store and state file wins; bytes of the file are kept only with
a signature that verifies, else the place is burnt. One of several has signatures of the others in
its file, beyond what it promised; two different bytes at one place are burnt. One node alone writes
its store first: a file that shows what the store lacks says that an old copy of the store was put
back, or that another signer wrote the file. The file follows up to a second later, so it does not
say how far that went: refuse to start.
"""

import contextlib
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cometkms.core.interface import Core
from cometkms.durable import (
    Disk,
    FormatError,
    check_room_in,
    check_way,
    discarding,
    make_directory,
    open_regular,
    read_bounded,
    read_file,
    sync_directory,
    write_atomically,
)
from cometkms.errors import OTHER_USER_CURE, StateError, StoreFailure, cure_of_file, is_no_file, os_words
from cometkms.limits import BIRTH_NONCE_BYTES, EPOCHS_ENDED_MAX
from cometkms.model import HRS, Incarnation, Row, Watermark
from cometkms.rules.birth import NodeState
from cometkms.rules.burnt import Heights, burnt_up_to
from cometkms.rules.epoch import Ended, sealed_words
from cometkms.rules.incarnation import FIRST, Statement
from cometkms.rules.recovery import agreed_mark
from cometkms.store import state_file
from cometkms.store.born import BORN_NAME, FIRST_EPOCH, Born, load_born, save_born, sorted_rows, united
from cometkms.store.exported import check_export, forget_export, refuse_exported
from cometkms.store.kept import UnreadableKeptError, kept_marks
from cometkms.store.promise_store import (
    BROKEN,
    FILE_BYTES,
    STORE_NAME,
    CorruptStoreError,
    Header,
    PromiseStore,
    corrupt,
    held_alone,
    marks_in,
    readable_header,
    readable_known,
    readable_marks,
    survey,
)

JOURNAL_NAME = "raft"  # of the replicated log, beside the store
_ADOPTED_MAX_BYTES = 1 << 16
#: What is left to a node that lost its store and its state file.
_RECOVER = "read the chain's head height from two nodes you trust and run `cmkms recover --min-height HEIGHT` with a height above it"
_FROM_OTHERS = (
    'while all others run, write {"height":"0","round":0,"step":0} into the state file and start: it reads what it lost from them. '
    "Where one of them is lost for good, too, `cmkms recover` instead (docs/RUNBOOK.md)"
)


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
    from_files, held = [], dict(readable_marks(files.store_path))
    for chain in files.chains:
        refuse_unrenamed(files, chain, read_state(files, chain, core), core)
        refuse_forgotten(files, chain, core)
        from_files.append(mark_of_files(files, chain, core, held))
    written = tuple(chain.state_path.stat().st_mtime for chain in files.chains)
    store, told = _open_or_bear(files, from_files, disk)
    try:
        _check_header(store, files)
        for chain, in_file in zip(files.chains, from_files, strict=True):
            refuse_lost_row(files, chain, store.rows if _knows_its_own(store.header) else None)
            if chain.row in store.rows:
                refuse_lacking(files, chain, store.mark(store.rows.index(chain.row)), in_file)
        warnings: list[str] = list(told)
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
    adopted = _read_adopted(files, store.header)
    return OpenedNode(store, rows, tuple(signed), tuple(warnings), adopted, written, read_ended(files), told)


def verified_state(files: NodeFiles, chain: ChainFiles, core: Core) -> Watermark:
    """The state file's mark; bytes without a signature that verifies are not known bytes.

    Raises: StateError with the cure.
    """
    mark = read_state(files, chain, core)
    if mark.sign_bytes and not core.verify(chain.row.public_key, mark.sign_bytes, mark.signature):
        return Watermark(mark.hrs)
    return mark


def mark_of_files(files: NodeFiles, chain: ChainFiles, core: Core, held: Collection[Row]) -> Watermark:
    """What the files beside the store say of a chain: its state file, and of one that the store
    does not know (`held`: the rows that it has), burnt, what a rename kept of it.

    Raises: StateError with the cure; not where there is no state file.
    """
    mark = verified_state(files, chain, core) if os.path.lexists(chain.state_path) else Watermark()
    if chain.row in held:
        return mark
    return max(mark, kept_mark(files, chain, core), key=lambda one: one.hrs)


def kept_mark(files: NodeFiles, chain: ChainFiles, core: Core) -> Watermark:
    """The highest place, burnt, in the state files that a rename kept of this chain; 0 where it
    kept none. Raises: StateError where one cannot be read.
    """
    if not os.path.lexists(chain.state_path.parent):
        return Watermark()
    in_use = [one.state_path for one in files.chains]
    try:
        found = kept_marks(chain.state_path, chain.row.chain_id, core.parse_sign_bytes, in_use)
    except UnreadableKeptError as error:
        if not _is_sealed(files):
            raise
        cure = f"put it back as it was; where it is lost, move it away, {_height_for_the_next_epoch(files, chain)}"
        raise UnreadableKeptError(error.what, cure=cure) from error
    return Watermark(max((one.hrs for one, _ in found), default=HRS(0, 0, 0)))


def read_state(files: NodeFiles, chain: ChainFiles, core: Core) -> Watermark:
    """What the state file says.

    Raises: StateError with the cure, which for a file that is lost depends on what the store knows.
    """
    try:
        return state_file.load(chain.state_path, chain.row.chain_id, core.parse_sign_bytes)
    except state_file.LostFileError as error:
        rows = dict(readable_marks(files.store_path))
        held = rows.get(chain.row)
        if held is None:
            if left := _ids_left(files, chain, rows):
                raise _unrenamed(files, chain, left, error.what, error.cure) from None
            if not os.path.lexists(files.store_path) and files.node_id in read_born(files):
                raise _lost(files, f"{error.what}. ", "both", _RECOVER if files.alone else _FROM_OTHERS) from None
            raise
        path, chain_id = chain.state_path, chain.row.chain_id
        stands = held.hrs if held.hrs > HRS(0, 0, 0) else "0"
        is_there = os.path.lexists(path)
        raise StateError(
            f"{error.what if is_there else f'{path} is missing'}. The store {files.store_path} knows what this node promised: {chain_id} stands at "
            f"{stands} there. That nobody went further with that file, and that this is no old copy of the store, cannot be seen without it",
            cure=f"if so, {'move it away, and ' if is_there else ''}`cmkms state export --chain-id {chain_id} --out {path}` writes it from the store; "
            "where another signer used the key since, its file instead (stop that one first)",
        ) from None


def _lost(files: NodeFiles, before: str, what: str, otherwise: str) -> StateError:
    """The store is missing, of a node that born.json knows; `what` is to be put back."""
    return StateError(
        f"{before}{files.store_path} is missing, and {born_path(files)} says that node {files.node_id!r} was born here: what it promised is "
        "lost, so it does not sign",
        cure=f"put {what} back, as this node left it; else, {otherwise}",
    )


def refuse_unrenamed(files: NodeFiles, chain: ChainFiles, in_file: Watermark, core: Core) -> None:
    """A state file without sign bytes names no chain: where the store knows this key under an id
    that is not configured any more, and not under this one, a burnt place is that id's; and that
    nothing was signed is said of this one where a rename kept that id's file.

    `in_file`: as read_state() has it. Raises: StateError.
    """
    if in_file.sign_bytes:
        return
    held = dict(readable_marks(files.store_path))
    left = _ids_left(files, chain, held)
    if in_file.hrs == HRS(0, 0, 0):
        left = [one for one in left if not _is_kept(files, chain, one, held[Row(chain.row.key, one)], core)]
    if left:
        stands = f"stands at {in_file.hrs}" if in_file.hrs > HRS(0, 0, 0) else "says that nothing was signed"
        what = f"{chain.state_path} {stands}, and does not say of which chain"
        own = f"it is another chain, and that file its own: `cmkms state import --chain-id {chain.row.chain_id} {chain.state_path}`"
        # a lower file leaves the rest of what was burnt behind; the rename says what to do then
        if all(in_file.hrs >= mark.hrs for row, mark in held.items() if row.chain_id in left):
            own = f"{chain.row.chain_id} was meant when that place was burnt under another id, or {own}"
        own = f"where {own}"
        kept = kept_mark(files, chain, core)
        # an import of a lower one is refused; nor does one node alone know what it signed above it
        if kept.hrs > (HRS(0, 0, 0) if files.alone else in_file.hrs):
            own = f"a rename kept {chain.row.chain_id} up to {kept.hrs} beside that file: the rename says how it goes on above"
        raise _unrenamed(files, chain, left, what, own)


def _is_kept(files: NodeFiles, chain: ChainFiles, left: str, held: Watermark, core: Core) -> bool:
    """Whether a rename kept what the store holds of an id that was left: signed on afterwards, it
    is to be kept again. Raises: StateError.
    """
    in_use = [one.state_path for one in files.chains]
    found = kept_marks(chain.state_path, left, core.parse_sign_bytes, in_use)
    return any(one.hrs >= held.hrs for one, _ in found)


def refuse_forgotten(files: NodeFiles, chain: ChainFiles, core: Core) -> None:
    """One node alone whose store does not know a chain of which a rename kept how far this home had
    come: the store was made anew since, and what was signed after the file was kept is not known.

    Raises: StateError.
    """
    held = dict(readable_marks(files.store_path))
    if not files.alone or not held or chain.row in held:
        return
    kept = kept_mark(files, chain, core)
    if kept.hrs > HRS(0, 0, 0):
        chain_id = chain.row.chain_id
        raise StateError(
            f"a rename kept beside {chain.state_path} that this home signed for {chain_id} up to {kept.hrs}, and {files.store_path} does not know "
            f"{chain_id}: it was made anew since, and what was promised there is not known, so it does not sign",
            cure=f"the {files.store_path.parent} of that time; where that is gone, {_RECOVER}",
        )


def _ids_left(files: NodeFiles, chain: ChainFiles, held: Mapping[Row, Watermark]) -> list[str]:
    """The ids under which the store knows this chain's key, and which are configured no more; none
    where it knows this chain.
    """
    if chain.row in held:
        return []
    configured = {one.row for one in files.chains}
    return sorted(
        row.chain_id
        for row, mark in held.items()
        if row.key == chain.row.key and row not in configured and mark.hrs > HRS(0, 0, 0)
    )


def _unrenamed(files: NodeFiles, chain: ChainFiles, left: Sequence[str], what: str, otherwise: str) -> StateError:
    new = chain.row.chain_id
    return StateError(
        f"{what}. The store {files.store_path} knows this key under {', '.join(left)}, and not under {new}",
        cure=f"where {left[0]} goes on as {new}: `cmkms chain rename --from {left[0]} --to {new} --yes`; where the id is mistyped, the right one; "
        f"{otherwise}",
    )


def _open_or_bear(
    files: NodeFiles, from_files: list[Watermark], disk: Disk | None
) -> tuple[PromiseStore, tuple[str, ...]]:
    """The open store, and what the operator should know of how it came to be."""
    if os.path.lexists(files.store_path):
        try:
            store = PromiseStore.open(files.store_path, disk)
            if not _is_of_an_epoch_that_is_over(store.header, files):
                return store, ()
            store.close()
            return _put_back(files, from_files, disk)
        except CorruptStoreError as error:
            if files.alone:
                raise
            left = _left_of(files)
            _epoch_due(files)  # says so, where it is sealed for others
            with _aside(files.store_path) as kept:
                if files.node_id not in read_born(files):  # it never promised: it begins again
                    return _make(files, from_files, NodeState.EMPTY, FIRST_EPOCH, left, disk), (
                        f"{error.what}. It is kept as {kept}",
                    )
                store = _make(files, from_files, NodeState.RECOVERING, _epoch_due(files), left, disk)
            return store, (
                f"{error.what}. It is kept as {kept}; this node reads what it must not forget from all the others",
            )
    born = read_born(files)
    if files.node_id in born:
        epoch = _epoch_due(files)
        if files.alone:
            raise _lost(files, "", "the store", _RECOVER)
        store = _make(files, from_files, NodeState.RECOVERING, epoch, _Left(), disk)
        return store, ("what this node promised is lost: it reads it from all the others before it promises again",)
    if born and not files.alone and not any(has_data_of(files, one) for one in born):
        store = _make(files, from_files, NodeState.RECOVERING, read_epoch(files), _Left(), disk)
        return store, (
            f"{born_path(files)} came from another node: if {files.node_id!r} promised anything before, it is lost; it reads all the others before it "
            "promises",
        )
    if born:
        names = ", ".join(repr(one) for one in born)
        raise StateError(
            f"this home belongs to node {names} and the id is now {files.node_id!r}",
            cure=f"start with --id {born[0]} (the id defaults to the "
            "host's name); a second node needs a home of its own",
        )
    state = NodeState.COMPLETE if files.alone else NodeState.EMPTY
    return _make(files, from_files, state, FIRST_EPOCH, _Left(), disk), ()


@dataclass(frozen=True, slots=True)
class _Left:
    """What is still readable of a store: marks, this member's incarnation there, and
    those of the others.
    """

    marks: tuple[tuple[Row, Watermark], ...] = ()
    incarnation: Incarnation = FIRST
    known: tuple[Statement, ...] = ()


def _left_of(files: NodeFiles) -> _Left:
    """Incarnations count within one epoch. Raises: FormatError."""
    path = files.store_path
    marks, header = readable_marks(path), readable_header(path)
    if header is None or (header.epoch, header.members) != (_epoch_left(files), files.members):
        return _Left(tuple(marks))
    return _Left(tuple(marks), header.incarnation, tuple(readable_known(path)))


def has_data_of(files: NodeFiles, node_id: str) -> bool:
    """Whether this home has the data of a node of that id."""
    return (files.store_path.parent.parent / node_id / STORE_NAME).exists()


def _epoch_due(files: NodeFiles) -> int:
    """The epoch in which this home's node takes part if its store is lost: the next, where its own
    is sealed, for its seal is out for ever.

    Raises: StateError where it is sealed for others than the peer list names.
    """
    following = read_following(files) if files.node_id in read_born(files) else ()
    if not following:
        return read_epoch(files)
    if following != files.members:
        raise StateError(
            f"{born_path(files)} says that epoch {read_epoch(files)} is sealed here, for {', '.join(following)}, and the peer list names "
            f"{', '.join(files.members)}: this node promises nothing more in its epoch",
            cure="the peer list of those who follow, once they run; if it is to come back after another change of members, `cmkms member` here with the "
            "seals of that; until then it stays stopped",
        )
    return read_epoch(files) + 1


def _is_of_an_epoch_that_is_over(header: Header, files: NodeFiles) -> bool:
    """An old copy of data/ was put back: this very node was in a later epoch, or is sealed since."""
    if files.node_id != header.owner or files.node_id not in read_born(files):
        return False
    sealed_since = (
        header.epoch == read_epoch(files) and bool(read_following(files)) and header.state is not NodeState.SEALED
    )
    return header.epoch < read_epoch(files) or sealed_since


def _over(files: NodeFiles) -> str:
    return (
        f"{files.store_path} is of an epoch that is over: {born_path(files)} says that this node was in a later one, or sealed since. An old copy "
        "was put back, or it comes back after a change of members"
    )


def _over_error(files: NodeFiles) -> StateError:
    """What one node alone forgot nobody tells it; one of several, though an old peer list names
    it alone, reads it from the others.
    """
    members = read_following(files) or tuple(read_born_members(files)) or files.members
    otherwise = "`cmkms recover --min-height HEIGHT`"
    if len(members) > 1:
        otherwise = f"started with the peer list of {', '.join(members)}, it reads what it lost from the others"
    return StateError(f"{_over(files)}, and what it forgot is not known", cure=f"the newest copy; else {otherwise}")


def refuse_over(header: Header, files: NodeFiles) -> None:
    """An old copy of a node's store, with the peer list of that time perhaps, knows nothing of what
    its members signed since: no mark of it goes out, and none is lowered in it.

    Raises: StateError, in a start's words.
    """
    if _is_of_an_epoch_that_is_over(header, files):
        _epoch_due(files)
        raise _over_error(files)


def refuse_not_current(header: Header, files: NodeFiles) -> None:
    """Whose mark is to go out or down is the node that was in this home last, with its members.

    Raises: StateError.
    """
    refuse_over(header, files)
    refuse_anothers(header, files)
    if header.epoch == read_epoch(files):
        _refuse_members(files, tuple(read_born_members(files)))


def _put_back(files: NodeFiles, from_files: list[Watermark], disk: Disk | None) -> tuple[PromiseStore, tuple[str, ...]]:
    """What this node promised since is lost: as one that lost its store.

    Raises: StateError for one node alone.
    """
    epoch = _epoch_due(files)
    said = _over(files)
    if files.alone:
        raise _over_error(files)
    left = _Left(tuple(readable_marks(files.store_path)))
    with _aside(files.store_path) as kept:
        store = _make(files, from_files, NodeState.RECOVERING, epoch, left, disk)
    return store, (f"{said}. It is kept as {kept}; this node reads what it must not forget from all the others",)


def _make(
    files: NodeFiles,
    from_files: list[Watermark],
    state: NodeState,
    epoch: int,
    left_of_old: _Left,
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


def _check_owner(store: PromiseStore, files: NodeFiles) -> None:
    """Raises: StateError."""
    if store.header.owner != files.node_id:
        raise StateError(
            f"{store.path} belongs to node {store.header.owner!r}, and this is node {files.node_id!r}",
            cure=f"start with --id {store.header.owner}, or give this node a home of its own; never copy a store",
        )


def _check_header(store: PromiseStore, files: NodeFiles) -> None:
    """Raises: StateError."""
    _check_owner(store, files)
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


def bring_up(store: PromiseStore, chain: ChainFiles, in_file: Watermark, warn: Callable[[str], None]) -> int:
    """Write the chain's row, at the higher of store and file; return its number.

    `in_file` has bytes only with a verified signature. Raises: StateError, StoreFailure.
    """
    if chain.row not in store.rows:
        fresh = len(store.header.members) == 1 or store.header.state is NodeState.EMPTY
        return store.add_row(chain.row, in_file, opened=fresh)
    number = store.rows.index(chain.row)
    store.name_key(number, chain.row)
    held = store.mark(number)
    agreed = reconcile(held, in_file, warn, chain.row.chain_id)
    if agreed != held:
        store.write_mark(number, agreed)
    return number


def refuse_lacking(files: NodeFiles, chain: ChainFiles, held: Watermark, in_file: Watermark) -> None:
    """Raises: StateError where one node alone has a state file that shows what its store, which is
    written first, does not hold.

    `in_file` has bytes only with a verified signature.
    """
    if not files.alone or not _lacks(held, in_file):
        return
    chain_id, path = chain.row.chain_id, chain.state_path
    if in_file.hrs > held.hrs:
        what = f"the state file {path} ({in_file.hrs}) is ahead of the store {files.store_path} ({held.hrs})"
        why = "an old copy of the store was put back, or another signer wrote that file"
    else:
        what = f"store and state file hold different bytes at {held.hrs}"
        why = "another signer uses this key, or wrote that file"
    raise StateError(
        f"{chain_id}: {what}: {why}. What this key has signed since is not known, so it does not sign",
        cure=f"an old copy: the {files.store_path.parent} that this node ran with last; where that is gone, or another signer has the key: stop that one for "
        "good, read the chain's head height from two nodes you trust and run `cmkms recover --min-height HEIGHT` with a height above it. Only where "
        f"another signer wrote that very file, and is off for good, `cmkms state import --chain-id {chain_id} {path}` is enough; after a "
        "`cmkms chain reset` that was cut short, that again",
    )


def _lacks(held: Watermark, in_file: Watermark) -> bool:
    """Whether a state file shows a place, or bytes at the store's own place, that the
    store does not hold.
    """
    if in_file.hrs != held.hrs:
        return in_file.hrs > held.hrs
    return bool(in_file.sign_bytes and held.sign_bytes) and in_file.sign_bytes != held.sign_bytes


def reconcile(held: Watermark, in_file: Watermark, warn: Callable[[str], None], chain_id: str) -> Watermark:
    """What store and state file make together; `in_file` has bytes only with a verified signature."""
    if in_file.hrs > held.hrs:
        return in_file
    if in_file.hrs < held.hrs or in_file == held or held.hrs == HRS(0, 0, 0):
        return held
    if not held.sign_bytes:
        return held
    if in_file.sign_bytes == held.sign_bytes:
        return replace(held, signature=held.signature or in_file.signature)
    if in_file.sign_bytes:
        warn(
            f"{chain_id}: store and state file hold different bytes at {held.hrs}: nothing is signed there again (did another signer use this key?)"
        )
    else:
        warn(f"{chain_id}: the state file names {held.hrs} without a signature: nothing is signed there again")
    return Watermark(held.hrs)


class BornFiles:
    """Every born.json of a home, read once: later a process may be shut off from
    reading beside the key.
    """

    def __init__(self, files: NodeFiles) -> None:
        """Raises: StateError for a file that cannot be understood."""
        self._files = files
        self._known = [load_born(path) for path in born_places(files)]
        self._held = {path: load_born(path) for path in files.born_paths}

    def write(
        self,
        epoch: int = FIRST_EPOCH,
        following: tuple[str, ...] = (),
        folders: Mapping[Path, int] | None = None,
        ended: tuple[Ended, ...] = (),
        begun: Iterable[Row] = (),
    ) -> None:
        """Say beside every state file that this node was born here; `following`: and that its epoch
        is sealed for these.

        `folders`: the files' directories, open. `ended`: beside what is known of epochs that did.
        `begun`: rows that the store has, beside those that were begun before. Raises: StoreFailure.
        """
        known = united([*self._known, *self._held.values()])
        both = (*(one for one in known.ended if one not in ended), *ended)
        said = Born(
            known.ids if self._files.node_id in known.ids else (*known.ids, self._files.node_id),
            epoch,
            self._files.members,
            following,
            both[-EPOCHS_ENDED_MAX:],
            sorted_rows((*known.begun, *begun)),
            known.lost,
            known.lost_unnamed,
        )
        for path, held in self._held.items():
            if said != held:
                save_born(path, said, folders[path.parent] if folders is not None else None)
                self._held[path] = said

    def seals(self, epoch: int) -> tuple[str, ...]:
        """Return for whom that epoch is sealed, or () when it is not, or nothing here says so."""
        known = [*self._held.values(), *self._known]
        return next((one.following for one in known if one.following and one.epoch == epoch), ())

    @property
    def following(self) -> tuple[str, ...]:
        """Return for whom this home's epoch is sealed, or () when it does not say."""
        return united([*self._known, *self._held.values()]).following


def write_born(
    files: NodeFiles,
    epoch: int = FIRST_EPOCH,
    following: tuple[str, ...] = (),
    ended: tuple[Ended, ...] = (),
    begun: Iterable[Row] = (),
) -> None:
    """Write durably beside the state files that this node was born here.

    Raises: StoreFailure, StateError.
    """
    BornFiles(files).write(epoch, following, ended=ended, begun=begun)


def born_places(files: NodeFiles) -> tuple[Path, ...]:
    """Every born.json that this home may have: those beside its state files, and those beside where
    state files may have been before its config.toml was changed, in priv/ and in a directory of
    priv/. One that this user may not look into was none of this node's. Raises: StateError.
    """
    priv = files.home / "priv"
    try:
        inside = [one for one in sorted(priv.iterdir()) if one.is_dir() and os.access(one, os.X_OK)]
    except (FileNotFoundError, NotADirectoryError):
        return files.born_paths
    except OSError as error:
        cure = cure_of_file(error, "give it to the node's user")
        raise StateError(f"{priv} cannot be read: {os_words(error)}", cure=cure) from error
    return tuple(dict.fromkeys((*files.born_paths, *(one / BORN_NAME for one in (priv, *inside)))))


def born_path(files: NodeFiles) -> Path:
    """The first born.json that is there, to name it. Raises: StateError."""
    return next((one for one in born_places(files) if os.path.lexists(one)), files.born_paths[0])


def _read_all(files: NodeFiles) -> Born:
    """What every born.json of the home says, together.

    Raises: StateError for a file that cannot be understood.
    """
    return united([load_born(path) for path in born_places(files)])


def read_born(files: NodeFiles) -> list[str]:
    """Every id born in this home. Raises: StateError for a file that cannot be understood."""
    return list(_read_all(files).ids)


def read_born_members(files: NodeFiles) -> list[str]:
    """The members of the epoch that this home was last in; [] when it does not say.

    Raises: StateError.
    """
    return list(_read_all(files).members)


def read_following(files: NodeFiles) -> tuple[str, ...]:
    """The members for whom this home's epoch was sealed; () when it does not say.

    Raises: StateError.
    """
    return _read_all(files).following


def read_ended(files: NodeFiles) -> tuple[Ended, ...]:
    """The last epochs that seals ended in this home. Raises: StateError."""
    return _read_all(files).ended


def read_epoch(files: NodeFiles) -> int:
    """The epoch this home was last in. Raises: StateError."""
    return _read_all(files).epoch


def _knows_its_own(header: Header) -> bool:
    """Whether it knows what it promised: else it reads the others before it promises more."""
    return header.state not in (NodeState.EMPTY, NodeState.RECOVERING)


def _is_sealed(files: NodeFiles) -> bool:
    header = readable_header(files.store_path)
    return header is not None and header.state is NodeState.SEALED


def _height_for_the_next_epoch(files: NodeFiles, chain: ChainFiles) -> str:
    """Nothing is recovered where the store is sealed: what is lost is burnt where it goes on."""
    chain_id = chain.row.chain_id
    beside = "" if len(files.chains) == 1 else ", and one for each other chain"
    return (
        f"read the head height of {chain_id} from two nodes you trust, and give `--min-height {chain_id}=HEIGHT` with a height above it{beside}, to "
        "`cmkms epoch begin` or `cmkms member`, the same on every member; or, where the key goes out, to `cmkms export`"
    )


def _has_signed(chain: ChainFiles) -> bool:
    return not state_file.says_nothing_was_signed(chain.state_path, chain.row.chain_id)


def refuse_lost_row(files: NodeFiles, chain: ChainFiles, held: Collection[Row] | None) -> None:
    """Raises: StateError where this home has begun a chain that a store which knows what it
    promised does not have, or where what it promised there is lost.

    `held`: the rows that it has; None: of a store that reads the others before it promises. What
    was promised in a lost row those may have lost, too.
    """
    known = _read_all(files)
    row, path = chain.row, files.store_path
    if row in known.lost:
        what = f"says that what this node promised there is lost: {path} was recovered without this chain"
        back = ""
    elif known.lost_unnamed and row not in (*known.begun, *(held or ())) and _has_signed(chain):
        what = f"says that {path} was made anew when it was not known any more which chains this home had begun. {chain.state_path} says that this one "
        what += "was, here or elsewhere"
        back = ""
    elif held is not None and row in known.begun and row not in held:
        what = f"says that this node has begun this chain, and {path} does not know it: an older copy of the store was put back, or it was recovered "
        what += "without this chain"
        back = f"put {path.parent} back as this node left it; else, "
        if not files.alone and not _is_sealed(files):
            back += f"while all others run, move {path.parent} away and start: it reads what it lost from them. Where they do not know it either, "
    else:
        return
    beside = "" if len(files.chains) == 1 else ", beside one for each other chain"
    cure = f"read the chain's head height from two nodes you trust and run `cmkms recover --min-height {row.chain_id}=HEIGHT` with a height above it{beside}"
    if _is_sealed(files):
        cure = _height_for_the_next_epoch(files, chain)
    elif not files.alone:
        cure = f"with all members stopped, {cure}, the same on every one of them before any is started: the others may have forgotten it, too"
    raise StateError(
        f"{row.chain_id}: {born_path(files)} {what}. What this key has signed there since is not known, so it does not sign",
        cure=f"{back}{cure}",
    )


def note_begun(files: NodeFiles, rows: Collection[Row]) -> None:
    """Write durably that these rows were begun here: the store has them. Raises: StoreFailure,
    StateError.
    """
    for path in files.born_paths:
        known = load_born(path)
        begun = sorted_rows((*known.begun, *rows))
        if begun != known.begun:
            save_born(path, replace(known, begun=begun))


def note_found(files: NodeFiles, rows: Collection[Row]) -> None:
    """Write durably that these rows are lost no more: they are burnt on the operator's word.

    Raises: StoreFailure, StateError.
    """
    for path in born_places(files):
        known = load_born(path)
        lost = tuple(row for row in known.lost if row not in rows)
        if lost != known.lost:
            save_born(path, replace(known, lost=lost))


def refuse_lost(files: NodeFiles, chain: ChainFiles, told: Collection[Row] = ()) -> None:
    """refuse_lost_row() of the store that is there, read only, and of the rows that others have
    `told` of. Raises: StateError.
    """
    header = readable_header(files.store_path)
    if header is not None:
        held = {*dict(readable_marks(files.store_path)), *told}
        refuse_lost_row(files, chain, held if _knows_its_own(header) else None)


def adopt_answer(files: NodeFiles, dead: Path) -> tuple[str, tuple[Watermark, ...]]:
    """Rule 14: a dead member's store, read after this node's loss, counts as that member's answer
    to this node's recovery.

    This node's store must be recovering (start it once). Returns: the member and the new mark of
    each configured chain. Raises: StateError, BusyError, StoreFailure.
    """
    other = PromiseStore.read(dead)
    header = other.header
    marks = {row: other.mark(number) for number, row in enumerate(other.rows)}
    knows = [one for name in header.members if (one := other.known(name)) is not None]
    other.close()
    store = PromiseStore.open(files.store_path)
    try:
        own = store.header
        if own.state is not NodeState.RECOVERING:
            raise StateError(f"this node is {own.state.name.lower()}, not recovering: it needs no other's store")
        if header.owner == own.owner or header.owner not in own.members:
            raise StateError(f"{dead} belongs to {header.owner!r}, which is no other member of this epoch")
        if (header.epoch, header.members) != (own.epoch, own.members):
            raise StateError(
                f"{dead} is of epoch {header.epoch} of {', '.join(header.members)}, and this node of epoch {own.epoch}"
            )
        if header.state not in (NodeState.BORN, NodeState.COMPLETE):
            raise StateError(
                f"{dead} is of a node that was {header.state.name.lower()}: it does not know what it promised"
            )
        for number, row in enumerate(store.rows):
            if row in marks and marks[row].hrs > store.mark(number).hrs:
                store.write_mark(number, Watermark(marks[row].hrs))
        for row in [one for one, mark in marks.items() if one not in store.rows and mark.hrs > HRS(0, 0, 0)]:
            # of a chain that is not configured any more
            store.add_row(row, Watermark(marks[row].hrs), opened=False)
        for one in knows:
            held = store.known(one.member)
            if one.member != own.owner and (held is None or held.incarnation < one.incarnation):
                store.record(one)
        of_me = max((one.incarnation for one in knows if one.member == own.owner), default=FIRST)
        if of_me > own.incarnation:
            store.write_header(replace(own, incarnation=of_me, unclaimed=True))
        adopted = {**_read_adopted(files, own), header.owner: header.incarnation}
        document = {"birth_nonce": own.birth_nonce.hex(), "members": adopted}
        write_atomically(files.adopted_path, json.dumps(document).encode())
        by_row = {row: store.mark(number) for number, row in enumerate(store.rows)}
    finally:
        store.close()
    return header.owner, tuple(by_row.get(chain.row, Watermark()) for chain in files.chains)


def _read_adopted(files: NodeFiles, header: Header) -> dict[str, Incarnation]:
    """The members whose stores were read in person, for this very loss, and those stores'
    incarnations.
    """
    try:
        document = json.loads(read_file(files.adopted_path, _ADOPTED_MAX_BYTES))
        if document["birth_nonce"] != header.birth_nonce.hex() or header.state is not NodeState.RECOVERING:
            return {}
        members = document["members"]
        if isinstance(members, list):  # written before there were incarnations
            members = dict.fromkeys(members, FIRST)
        return {str(one): Incarnation(*map(int, its)) for one, its in members.items() if one in header.members}
    except FileNotFoundError:
        return {}
    except OSError as error:
        words = os_words(error)
        cure = cure_of_file(error, "give it to the node's user")
        raise StateError(f"{files.adopted_path} cannot be read: {words}", cure=cure) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StateError(f"{files.adopted_path} cannot be understood", cure="remove it") from error


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a recovery made: the new mark of each chain, and where the old store is kept, and the
    state files that could not be understood.

    `lost`: the chains that are not configured, and of which it is not known any more what was
    promised there: nothing is signed there before another recovery burns them. `lost_unnamed`: that
    there may be more, of which nothing that is left says that they were begun.
    """

    marks: tuple[Watermark, ...]
    store: Path | None
    state_files: tuple[Path, ...]
    lost: tuple[str, ...] = ()
    lost_unnamed: bool = False


def recover(files: NodeFiles, heights: Heights, core: Core) -> Recovered:
    """Make a new store in which every height up to `heights` is burnt; the old one is kept aside,
    and so is a state file that cannot be understood.

    Never below what is readable in the old store or a state file, also one that a rename kept. The
    old store is held meanwhile: it is no running node's.

    Raises: StateError, also for a state file of another chain; BusyError, StoreFailure.
    """
    heights.check(chain.row.chain_id for chain in files.chains)
    check_store_way(files.store_path)
    _refuse_unread(files)
    with held_alone(files.store_path):
        return _recover(files, heights, core)


def _recover(files: NodeFiles, heights: Heights, core: Core) -> Recovered:
    _refuse_sealed(files)
    _refuse_other_members(files)
    born, is_whole = _born_left(files)
    born_files = [*files.born_paths, *(one for one in born_places(files) if os.path.lexists(one))]
    check_state_files(files.chains, born_files)
    for chain in files.chains:
        check_export(chain.state_path, files.store_path)
    left = _left_of(files)
    known = dict(left.marks)
    epoch = _epoch_left(files)
    marks, lost = [], []
    for chain in files.chains:
        candidates = [burnt_up_to(heights.of(chain.row.chain_id)), known.get(chain.row, Watermark())]
        try:
            candidates.append(verified_state(files, chain, core))
        except state_file.OfAnotherChainError:
            raise  # it is not lost, and would be: nothing else knows that chain
        except StateError:  # a lost state file is one reason to recover
            lost.append(chain.state_path)
        candidates.append(kept_mark(files, chain, core))
        marks.append(max(candidates, key=lambda mark: mark.hrs))
    configured = {chain.row for chain in files.chains}
    forgotten = set(born.lost)
    unnamed = born.lost_unnamed
    if not (is_whole and _is_exact(files, born, core)):
        forgotten |= {*born.begun, *known}
        had_store = os.path.lexists(files.store_path)
        header = readable_header(files.store_path)
        has_lived = bool(born.ids) or (had_store and not (header is not None and header.state is NodeState.EMPTY))
        unnamed = unnamed or not is_whole or (has_lived and not born.begun)  # an older version's names none
    forgotten -= configured
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
    # else the new store would be taken for a whole one, were this interrupted
    if forgotten - set(born.lost) or unnamed is not born.lost_unnamed:
        _note_lost(files, forgotten, unnamed=unnamed)
    kept = _put_in_place(files.store_path, lambda path: PromiseStore.create(path, header, rows, known=left.known))
    old = f" (the old one is kept as {kept})" if kept is not None else ""
    aside = []
    with after_store(files.store_path, f"the new store{old} burns what was asked for"):
        for chain, mark in zip(files.chains, marks, strict=True):
            if chain.state_path in lost:
                aside.append(_set_aside(chain.state_path))
            state_file.save(chain.state_path, mark)
            forget_export(chain.state_path, chain.row.chain_id, files.store_path)
        begun = sorted_rows((*born.begun, *(row for row, _ in rows)))
        said = Born((files.node_id,), epoch, files.members, (), born.ended, begun, sorted_rows(forgotten), unnamed)
        for path in dict.fromkeys(born_files):
            save_born(path, said)
    return Recovered(
        tuple(marks),
        kept,
        tuple(path for path in aside if path is not None),
        tuple(row.chain_id for row in said.lost),
        unnamed,
    )


def _is_exact(files: NodeFiles, born: Born, core: Core) -> bool:
    """Whether the store that is there is whole, and nothing shows that it is an old copy: then it
    holds all that was promised in chains that are not configured.
    """
    try:
        found = survey(files.store_path)
        in_files = {chain.row: verified_state(files, chain, core) for chain in files.chains}
    except (OSError, StateError):
        return False
    header, held = found.header, dict(found.rows)
    if found.problems or header is None or (header.owner, header.members) != (files.node_id, files.members):
        return False
    if header.state is not NodeState.COMPLETE or header.epoch != _epoch_left(files):
        return False
    if any(row not in held for row in born.begun if row not in born.lost):
        return False
    return not files.alone or not any(row in held and _lacks(held[row], in_file) for row, in_file in in_files.items())


def _note_lost(files: NodeFiles, rows: Collection[Row], *, unnamed: bool) -> None:
    """Write durably that these rows are lost, and whether there may be more. A born.json that
    cannot be understood stays as it is: a recovery that finds one takes no store for exact. Raises:
    StoreFailure.
    """
    for path in files.born_paths:
        with contextlib.suppress(StateError):
            known = load_born(path)
            begun, lost = sorted_rows((*known.begun, *rows)), sorted_rows((*known.lost, *rows))
            save_born(path, replace(known, begun=begun, lost=lost, lost_unnamed=unnamed))


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


def check_state_files(chains: Iterable[ChainFiles], born: Iterable[Path] = ()) -> None:
    """Whether the state files, and these born.json, can be replaced: they are written after the
    store, and nothing is to be half done. Raises: StateError.
    """
    for path in (*(chain.state_path for chain in chains), *born):
        if os.path.lexists(path) and not path.is_file():
            what = BORN_NAME if path.name == BORN_NAME else "the state file"
            raise StateError(
                f"{path} is {'a directory' if path.is_dir() else 'no file'}, and {what} is written there",
                cure="move it away; nothing was changed",
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


def _born_left(files: NodeFiles) -> tuple[Born, bool]:
    """What those born.json that can be read say together, and whether all can.

    Raises: FormatError.
    """
    found, is_whole = [], True
    for path in born_places(files):
        try:
            found.append(load_born(path))
        except FormatError:
            raise
        except StateError:  # a file that cannot be understood is one reason to recover
            is_whole = False
    return united(found), is_whole


def _refuse_sealed(files: NodeFiles) -> None:
    """Its seal is out, and says that it promises nothing more in this epoch. Raises: StateError."""
    header = readable_header(files.store_path)
    if header is not None and header.state is NodeState.SEALED:
        raise StateError(
            f"{files.store_path}: epoch {header.epoch} is sealed here: there is no way back into it",
            cure="the same `cmkms member` command again, or `cmkms epoch begin`",
        )


def _refuse_other_members(files: NodeFiles) -> None:
    """A forgotten peer list must not make one node of several its own majority. Raises: StateError."""
    header = readable_header(files.store_path)
    if header is not None and header.state is NodeState.RECOVERING and header.members == files.members:
        return  # the list of the epoch that it recovers in, which others have said
    if header is not None and header.state is NodeState.EMPTY and files.alone:
        refuse_anothers(header, files)
    born, _ = _born_left(files)
    _refuse_members(files, born.following or born.members)


def _refuse_members(files: NodeFiles, members: tuple[str, ...]) -> None:
    """Raises: StateError where born.json says other members."""
    if members and members != files.members:
        raise StateError(
            f"{born_path(files)} says that this node is one of {', '.join(members)}, and the peer list names {', '.join(files.members)}",
            cure="give the same peer list as before; members change with `cmkms member`",
        )


def _epoch_left(files: NodeFiles) -> int:
    """What is left of the knowledge which epoch this is."""
    header, epoch = readable_header(files.store_path), FIRST_EPOCH
    with contextlib.suppress(StateError):
        epoch = _epoch_due(files)
    return max(epoch, header.epoch) if header is not None and header.owner == files.node_id else epoch


def _name_aside(path: Path) -> Path:
    number = 1
    while os.path.lexists(kept := path.with_name(f"{path.name}.old-{number}")):
        number += 1
    return kept


def _set_aside(path: Path) -> Path | None:
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
def _aside(path: Path) -> Iterator[Path | None]:
    """Keep the old store aside while a new one is made. Where that fails it is put back, so that
    the next start knows as much, or the failure says where it is.

    Raises: StoreFailure.
    """
    with held_alone(path):
        kept = _set_aside(path)
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


def _put_in_place(path: Path, make: Callable[[Path], PromiseStore]) -> Path | None:
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
                kept = _set_aside(path)
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


def known_mark(files: NodeFiles, chain: ChainFiles, core: Core) -> Watermark | None:
    """The higher of store and state file, read only; None where neither knows the chain. One that
    the store does not know is at what a rename kept of it, too.

    Raises: StateError.

    A store that lost records is read as far as it checks: whoever acts on this opens it
    (raise_mark), which is strict.
    """
    held = held_mark(files.store_path, chain.row)
    in_files = mark_of_files(files, chain, core, () if held is None else (chain.row,))
    if not os.path.lexists(chain.state_path) and in_files.hrs == HRS(0, 0, 0):
        return held
    return in_files if held is None else reconcile(held, in_files, lambda _: None, chain.row.chain_id)


def held_mark(store: Path, row: Row) -> Watermark | None:
    """The store's mark of a row, as far as it checks, read only; None where the store
    or the row is not there.

    Raises: StateError for a store that is there and cannot be read: what it holds is not known.
    """
    check_store_way(store)
    try:
        return dict(marks_in(store, read_bounded(store, FILE_BYTES))).get(row)
    except FileNotFoundError:
        return None
    except OSError as error:
        cure = cure_of_file(error, OTHER_USER_CURE)
        raise StateError(f"{store} cannot be read: {os_words(error)}", cure=cure) from error


def raise_mark(files: NodeFiles, chain: ChainFiles, marks: Sequence[Watermark], core: Core) -> Watermark:
    """Raise a chain's mark to the highest of other signers' marks; never below what is known here.

    The node must be stopped.

    Returns: the mark that stands from now on. Raises: StateError, BusyError, StoreFailure.
    """
    check_beside([chain.state_path], files.store_path)
    refuse_lost(files, chain)
    known = known_mark(files, chain, core)
    agreed = higher_mark(known, marks, chain.row, core)
    held = dict(readable_marks(files.store_path)).get(chain.row)
    in_file = verified_state(files, chain, core) if os.path.lexists(chain.state_path) else None
    is_behind = files.alone and held is not None and in_file is not None and in_file.hrs > held.hrs
    if is_behind and held is not None and in_file is not None and all(one.hrs < in_file.hrs for one in marks):
        refuse_lacking(files, chain, held, in_file)  # no other signer says that it wrote that file
    stands = held is not None or in_file == agreed  # else the node would begin below what a rename kept
    if agreed == known and in_file is not None and stands and not is_behind:
        forget_export(chain.state_path, chain.row.chain_id, files.store_path)
        return agreed
    import_mark(files, chain, agreed, core)
    return agreed


def higher_mark(known: Watermark | None, marks: Sequence[Watermark], row: Row, core: Core) -> Watermark:
    """What `known` here and other signers' `marks` make together: the highest, burnt unless signed.

    Raises: StateError for two signatures at one place.
    """

    def verifies(mark: Watermark) -> bool:
        return bool(mark.sign_bytes) and core.verify(row.public_key, mark.sign_bytes, mark.signature)

    own = known or Watermark()
    found = agreed_mark(Watermark(), marks, keep_own=False, verifies=verifies)
    signed = {mark.sign_bytes for mark in (own, *marks) if mark.hrs == max(own.hrs, found.hrs) and verifies(mark)}
    if len(signed) > 1:
        raise StateError(
            f"there are two signatures of this key at {max(own.hrs, found.hrs)}: the key was used in two places",
            cure="find out where, and go on above that height with --min-height",
        )
    if found.hrs != own.hrs:
        return max(own, found, key=lambda mark: mark.hrs)
    if own.signature and not found.sign_bytes:
        return own
    return reconcile(own, found, lambda _: None, row.chain_id)


def import_mark(files: NodeFiles, chain: ChainFiles, mark: Watermark, core: Core) -> Watermark:
    """Raise a chain's mark to one from another signer: store first, state file after.

    A store that is sealed takes it, too: it promises nothing more, and the next epoch
    begins above what it shows. Raises: StateError if anything known here is higher, or
    holds other bytes at that place.
    """
    if mark.sign_bytes and not core.verify(chain.row.public_key, mark.sign_bytes, mark.signature):
        mark = Watermark(mark.hrs)
    known = mark_of_files(files, chain, core, dict(readable_marks(files.store_path)))
    refuse_lost(files, chain)
    check_state_files([chain])
    check_beside([chain.state_path], files.store_path)
    stored = has_store(files.store_path)
    if stored:
        store = PromiseStore.open(files.store_path)
        try:
            if store.header.state is NodeState.SEALED:
                _check_owner(store, files)
            else:
                _check_header(store, files)
            number = store.rows.index(chain.row) if chain.row in store.rows else store.add_row(chain.row, known)
            _refuse_lower(mark, max(known, store.mark(number), key=lambda one: one.hrs))
            store.write_mark(number, reconcile(store.mark(number), mark, lambda _: None, chain.row.chain_id))
            if store.header.state not in (NodeState.EMPTY, NodeState.RECOVERING):
                note_begun(files, [chain.row])
        finally:
            store.close()
    else:
        _refuse_lower(mark, known)
    with after_store(files.store_path, f"it stands at {mark.hrs}") if stored else contextlib.nullcontext():
        state_file.save(chain.state_path, mark)
        forget_export(chain.state_path, chain.row.chain_id, files.store_path)
    return mark


def _refuse_lower(mark: Watermark, known: Watermark) -> None:
    if mark.hrs < known.hrs:
        raise StateError(
            f"the file stands at {mark.hrs} and this node already knows {known.hrs}: a watermark never goes down",
            cure="none; the higher one is the right one",
        )
    if mark.hrs == known.hrs and mark.sign_bytes and known.sign_bytes and mark.sign_bytes != known.sign_bytes:
        raise StateError(f"the file holds other bytes at {mark.hrs} than this node: one of them must not exist")
