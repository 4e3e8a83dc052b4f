"""What the born.json files of a home say: of whom it was born, in which epoch, which chains have
begun here, and which are lost.

docs/SAFETY.md, rules 7 to 9. Every place where a state file may have been is read (born_places),
and what is written beside state files stands in one that no chain's path moves, too (fixed_place).
"""

import contextlib
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from cometkms.durable import FormatError, check_room_in, check_way
from cometkms.errors import StateError, cure_of_file, os_words
from cometkms.limits import EPOCHS_ENDED_MAX
from cometkms.model import Row
from cometkms.rules.birth import NodeState
from cometkms.rules.epoch import Ended
from cometkms.store import state_file
from cometkms.store.born import BORN_NAME, FIRST_EPOCH, Born, load_born, save_born, sorted_rows, united
from cometkms.store.node_files import ChainFiles, NodeFiles, make_home_directory, refuse_row_gone_out
from cometkms.store.promise_store import STORE_NAME, Header, readable_header, readable_marks


def has_data_of(files: NodeFiles, node_id: str) -> bool:
    """Whether this home has the data of a node of that id."""
    return (files.store_path.parent.parent / node_id / STORE_NAME).exists()


class BornFiles:
    """Every born.json of a home, read once: later a process may be shut off from
    reading beside the key.
    """

    def __init__(self, files: NodeFiles) -> None:
        """Raises: StateError for a file that cannot be understood."""
        self._files = files
        self._known = [load_born(path) for path in born_places(files)]
        self._held = {path: load_born(path) for path in written_places(files)}

    @property
    def folders(self) -> tuple[Path, ...]:
        """The directories in which write() writes."""
        return tuple(dict.fromkeys(path.parent for path in self._held))

    def write(
        self,
        epoch: int = FIRST_EPOCH,
        following: tuple[str, ...] = (),
        folders: Mapping[Path, int] | None = None,
        ended: tuple[Ended, ...] = (),
        begun: Iterable[Row] = (),
    ) -> None:
        """Say beside every state file, and in the fixed place, that this node was born here;
        `following`: and that its epoch is sealed for these.

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
    """Write durably beside the state files, and in the fixed place, that this node was born here.

    Raises: StoreFailure, StateError.
    """
    BornFiles(files).write(epoch, following, ended=ended, begun=begun)


def born_places(files: NodeFiles) -> tuple[Path, ...]:
    """Every born.json that this home may have: those beside its state files, and those beside where
    state files may have been before its config.toml was changed, in priv/ and in a directory of
    priv/. One that this user may not look into was none of this node's. And the one beside the
    store, where it is there, which says what is lost alone. Raises: StateError.
    """
    beside = beside_store(files)
    also = (beside,) if os.path.lexists(beside) else ()
    return tuple(dict.fromkeys((*files.born_paths, *_in_priv(files), *also)))


def _in_priv(files: NodeFiles) -> tuple[Path, ...]:
    """Those that are read whatever config.toml says. Raises: StateError."""
    priv = files.home / "priv"
    try:
        check_way(priv)
        inside = [one for one in sorted(priv.iterdir()) if one.is_dir() and os.access(one, os.X_OK)]
    except FileNotFoundError:
        return ()
    except OSError as error:
        cure = cure_of_file(error, "give it to the node's user")
        raise StateError(f"{priv} cannot be read: {os_words(error)}", cure=cure) from error
    return tuple(one / BORN_NAME for one in (priv, *inside))


def fixed_place(files: NodeFiles) -> Path | None:
    """priv/born.json, where no state file lies in priv/ or in a directory of it: what stands beside
    those alone is not read any more once other chains are configured. Raises: StateError.
    """
    read = _in_priv(files)
    return None if any(path in read for path in files.born_paths) else files.home / "priv" / BORN_NAME


def demand_fixed_place(files: NodeFiles) -> None:
    """Make its directory, where there is none. Raises: StateError where it cannot be written."""
    path = fixed_place(files)
    if path is None:
        return
    make_home_directory(path.parent)
    try:
        check_room_in(path.parent)
    except OSError as error:
        raise StateError(
            f"{path} cannot be written: {os_words(error)}. What this home must not forget stands beside the state files alone, and is not read there "
            "once config.toml names other chains, or other places",
            cure=cure_of_file(error, f"make {path.parent} writable for the node's user"),
        ) from error


def why_not_fixed(files: NodeFiles) -> StateError | None:
    """Why nothing can be written in the fixed place: no reason not to start, as nothing was lost."""
    try:
        demand_fixed_place(files)
    except StateError as error:
        return error
    return None


def written_places(files: NodeFiles) -> tuple[Path, ...]:
    """Those that every writer writes: beside the state files, and the fixed place, where that can
    be written; the start says where it cannot. Raises: StateError.
    """
    fixed = fixed_place(files)
    return files.born_paths if fixed is None or why_not_fixed(files) else (*files.born_paths, fixed)


def beside_store(files: NodeFiles) -> Path:
    """The born.json that goes with the store: an older priv/ alone does not forget what is lost."""
    return files.store_path.with_name(BORN_NAME)


def born_path(files: NodeFiles, says: Callable[[Born], bool]) -> Path:
    """The first born.json that says so, to name it. Raises: StateError."""
    places = born_places(files)
    for path in places:
        with contextlib.suppress(StateError):  # it is another file's word that is told
            if says(load_born(path)):
                return path
    return places[0]


def path_of_epoch(files: NodeFiles) -> Path:
    """The one that says in which epoch this home was last, and for whom that is sealed, if it is.
    Raises: StateError.
    """
    known = _read_all(files)
    return born_path(files, lambda one: (one.epoch, one.following) == (known.epoch, known.following))


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


def knows_its_own(header: Header) -> bool:
    """Whether it knows what it promised: else it reads the others before it promises more."""
    return header.state not in (NodeState.EMPTY, NodeState.RECOVERING)


def is_sealed(files: NodeFiles) -> bool:
    header = readable_header(files.store_path)
    return header is not None and header.state is NodeState.SEALED


def height_for_the_next_epoch(files: NodeFiles, chain: ChainFiles) -> str:
    """Nothing is recovered where the store is sealed: what is lost is burnt where it goes on."""
    chain_id = chain.row.chain_id
    beside = "" if len(files.chains) == 1 else ", and one for each other chain"
    return (
        f"read the head height of {chain_id} from two nodes you trust, and give `--min-height {chain_id}=HEIGHT` with a height above it{beside}, to "
        "`cmkms epoch begin` or `cmkms member`, the same on every member; or, where the key goes out, to `cmkms export`"
    )


def _has_signed(chain: ChainFiles) -> bool:
    return not state_file.says_nothing_was_signed(chain.state_path, chain.row.chain_id)


def refuse_lost_row(
    files: NodeFiles, chain: ChainFiles, held: Collection[Row] | None, *, brought: bool = False
) -> None:
    """Raises: StateError where this home has begun a chain that a store which knows what it
    promised does not have, or where what it promised there is lost.

    `held`: the rows that it has; None: of a store that reads the others before it promises. What
    was promised in a lost row those may have lost, too. `brought`: a mark is to come in from
    elsewhere, which says nothing of what this home has promised, nor does a state file that is not
    there.
    """
    known = _read_all(files)
    row, path = chain.row, files.store_path
    if row in known.lost:
        what = f"says that what this node promised there is lost: {path} was recovered without this chain"
        back, told = "", born_path(files, lambda one: row in one.lost)
    elif known.lost_unnamed and row not in (*known.begun, *(held or ())) and (brought or _has_signed(chain)):
        what = f"says that {path} was made anew when it was not known any more which chains this home had begun. "
        what += (
            "Whether this one was is not known, nor how far"
            if brought
            else f"{chain.state_path} says that this one was, here or elsewhere"
        )
        back, told = "", born_path(files, lambda one: one.lost_unnamed)
    elif held is not None and row in known.begun and row not in held:
        what = f"says that this node has begun this chain, and {path} does not know it: an older copy of the store was put back, or it was recovered "
        what += "without this chain"
        back, told = (
            f"put {path.parent} back as this node left it; else, ",
            born_path(files, lambda one: row in one.begun),
        )
        if not files.alone and not is_sealed(files):
            back += f"while all others run, move {path.parent} away and start: it reads what it lost from them. Where they do not know it either, "
    else:
        return
    beside = "" if len(files.chains) == 1 else ", beside one for each other chain"
    cure = f"read the chain's head height from two nodes you trust and run `cmkms recover --min-height {row.chain_id}=HEIGHT` with a height above it{beside}"
    if is_sealed(files):
        cure = height_for_the_next_epoch(files, chain)
    elif not files.alone:
        cure = f"with all members stopped, {cure}, the same on every one of them before any is started: the others may have forgotten it, too"
    raise StateError(
        f"{row.chain_id}: {told} {what}. What this key has signed there since is not known, so it does not sign",
        cure=f"{back}{cure}",
    )


def read_lost(files: NodeFiles) -> tuple[Row, ...]:
    """The rows whose promises no store of this home has any more. Raises: StateError."""
    return _read_all(files).lost


def refuse_unconfigured(files: NodeFiles, rows: Iterable[Row], *, told: bool = False) -> None:
    """No seal vouches for, and no epoch begins at, what is left here of a chain that is not
    configured and whose promises are lost, or whose key is another signer's: a member that
    configures it there would sign again what was signed.

    `rows`: of the store, or of it and of seals. `told`: the operator's word burns a height in each
    of them. Raises: StateError.
    """
    configured, lost = {chain.row for chain in files.chains}, read_lost(files)
    for row in sorted_rows(one for one in rows if one not in configured):
        refuse_row_gone_out(files, row)
        if row in lost and not told:
            raise _lost_and_unconfigured(files, row)


def _lost_and_unconfigured(files: NodeFiles, row: Row) -> StateError:
    name = row.chain_id
    cure = f"put this chain's table back into config.toml, read its head height from two nodes you trust, and `cmkms recover --min-height {name}=HEIGHT` "
    cure += "with a height above it, beside one for each other chain; then the same command again"
    if is_sealed(files):
        cure = f"the same command with `--min-height {name}=HEIGHT`, a height above its head, read from two nodes you trust, and one for each other chain, "
        cure += "the same on every member"
    told = born_path(files, lambda one: row in one.lost)
    return StateError(
        f"{name}: {told} says that what this node promised there is lost, and it is not configured: the members of the next epoch would go on "
        "at what is left of it, below what was signed",
        cure=f"{cure}. Nothing was changed",
    )


def note_begun(files: NodeFiles, rows: Collection[Row]) -> None:
    """Write durably that these rows were begun here: the store has them. Raises: StoreFailure,
    StateError.
    """
    for path in written_places(files):
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


def refuse_lost(files: NodeFiles, chain: ChainFiles, told: Collection[Row] = (), *, brought: bool = False) -> None:
    """refuse_lost_row() of the store that is there, read only, and of the rows that others have
    `told` of. Raises: StateError.
    """
    header = readable_header(files.store_path)
    if header is not None:
        held = {*dict(readable_marks(files.store_path)), *told}
        refuse_lost_row(files, chain, held if knows_its_own(header) else None, brought=brought)


def note_lost(files: NodeFiles, rows: Collection[Row], *, unnamed: bool) -> None:
    """Write durably that these rows are lost, and whether there may be more, beside the store, too.
    A born.json that cannot be understood stays as it is: a recovery that finds one says that there
    may be more. Raises: StoreFailure.
    """
    for path in (*written_places(files), beside_store(files)):
        with contextlib.suppress(StateError):
            known = load_born(path)
            begun, lost = sorted_rows((*known.begun, *rows)), sorted_rows((*known.lost, *rows))
            save_born(path, replace(known, begun=begun, lost=lost, lost_unnamed=unnamed))


def born_left(files: NodeFiles) -> tuple[Born, bool]:
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
