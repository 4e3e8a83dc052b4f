"""The mark of a chain at start: what its state file, what a rename kept, and the promise store say
together.

The higher of them wins; a file's bytes are kept only with a signature that verifies. node_store.py
has the table of which home is refused.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cometkms.core.interface import Core
from cometkms.durable import read_bounded
from cometkms.errors import OTHER_USER_CURE, StateError, cure_of_file, os_words
from cometkms.model import HRS, Row, Watermark
from cometkms.rules.birth import NodeState
from cometkms.store import state_file
from cometkms.store.another_key import FROM_OTHERS, refuse_anothers_file, stands_in_store
from cometkms.store.home_born import born_path, height_for_the_next_epoch, is_sealed, read_born
from cometkms.store.kept import UnreadableKeptError, kept_marks, surely_kept, surely_kept_marks
from cometkms.store.node_files import ChainFiles, NodeFiles, check_store_way
from cometkms.store.promise_store import FILE_BYTES, PromiseStore, marks_in, readable_marks

#: What is left to a node that lost its store and its state file.
RECOVER_CURE = "read the chain's head height from two nodes you trust and run `cmkms recover --min-height HEIGHT` with a height above it"


def verified_state(files: NodeFiles, chain: ChainFiles, core: Core) -> Watermark:
    """The state file's mark; bytes without a signature are not known bytes.

    Raises: StateError with the cure, also for a file whose signature is another key's.
    """
    mark = read_state(files, chain, core)
    refuse_anothers_file(files, chain, mark, core)
    return state_file.as_written(mark)


def mark_of_files(files: NodeFiles, chain: ChainFiles, core: Core, held: Mapping[Row, Watermark]) -> Watermark:
    """What the files beside the store say of a chain: its state file, and, burnt, what a rename
    kept of it above what the store holds (`held`: the marks of the rows that it has).

    Raises: StateError with the cure; not where there is no state file.
    """
    mark = verified_state(files, chain, core) if os.path.lexists(chain.state_path) else Watermark()
    return max(mark, kept_above(files, chain, core, held), key=lambda one: one.hrs)


def kept_above(files: NodeFiles, chain: ChainFiles, core: Core, held: Mapping[Row, Watermark]) -> Watermark:
    """What a rename kept of a chain above what the store holds of it, burnt; 0 where that is
    nothing. A store that holds less than a rename read in it is an older one.

    Raises: StateError where one cannot be read.
    """
    kept = kept_mark(files, chain, core, surely=chain.row in held)
    return kept if kept.hrs > held.get(chain.row, Watermark()).hrs else Watermark()


def kept_mark(files: NodeFiles, chain: ChainFiles, core: Core, *, surely: bool = False) -> Watermark:
    """The highest place, burnt, in the state files that a rename kept of this chain; 0 where it
    kept none. `surely`: without those that may be of another id. Raises: StateError where one
    cannot be read.
    """
    if not os.path.lexists(chain.state_path.parent):
        return Watermark()
    in_use = [one.state_path for one in files.chains]
    try:
        path, chain_id, parse = chain.state_path, chain.row.chain_id, core.parse_sign_bytes
        found = surely_kept_marks(path, chain_id, parse) if surely else kept_marks(path, chain_id, parse, in_use)
    except UnreadableKeptError as error:
        if not is_sealed(files):
            raise
        cure = f"put it back as it was; where it is lost, move it away, {height_for_the_next_epoch(files, chain)}"
        raise UnreadableKeptError(error.what, cure=cure) from error
    return Watermark(max((one.hrs for one, _ in found), default=HRS(0, 0, 0)))


def read_state(files: NodeFiles, chain: ChainFiles, core: Core) -> Watermark:
    """What the state file says.

    Raises: StateError with the cure, which for a file that is lost depends on what the store knows.
    """
    state_file.refuse_something_else(chain.state_path)
    try:
        return state_file.load(chain.state_path, chain.row.chain_id, core.parse_sign_bytes, "state_file")
    except state_file.LostFileError as error:
        rows = dict(readable_marks(files.store_path))
        held = rows.get(chain.row)
        if held is None:
            if left := _ids_left(files, chain, rows):
                raise _unrenamed(files, chain, left, error.what, error.cure) from None
            if not os.path.lexists(files.store_path) and files.node_id in read_born(files):
                raise lost_error(
                    files, f"{error.what}. ", "both", RECOVER_CURE if files.alone else FROM_OTHERS
                ) from None
            raise
        is_there = os.path.lexists(chain.state_path)
        what = error.what if is_there else f"{chain.state_path} is missing"
        raise stands_in_store(files, chain, held, what, "move it away, and " if is_there else "") from None


def lost_error(files: NodeFiles, before: str, what: str, otherwise: str) -> StateError:
    """The store is missing, of a node that born.json knows; `what` is to be put back."""
    told = born_path(files, lambda one: files.node_id in one.ids)
    return StateError(
        f"{before}{files.store_path} is missing, and {told} says that node {files.node_id!r} was born here: what it promised is "
        "lost, so it does not sign",
        cure=f"put {what} back, as this node left it; else, {otherwise}",
    )


def refuse_unrenamed(files: NodeFiles, chain: ChainFiles, in_file: Watermark, core: Core) -> None:
    """A state file without sign bytes names no chain: where the store knows this key under an id
    that is not configured any more, and not under this one, a burnt place is that id's; and that
    nothing was signed is said of this one where a rename kept the file of the id before it.

    `in_file`: as read_state() has it. Raises: StateError.
    """
    if in_file.sign_bytes:
        return
    held = dict(readable_marks(files.store_path))
    left = _ids_left(files, chain, held)
    if left and in_file.hrs == HRS(0, 0, 0):
        left = _unkept(files, chain, left, held, core)
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


def _unkept(
    files: NodeFiles, chain: ChainFiles, left: Sequence[str], held: Mapping[Row, Watermark], core: Core
) -> list[str]:
    """Those of the ids left that a rename to this chain has yet to keep. Raises: StateError.

    The last one was kept as it stands: signed on afterwards, it is to be kept again. The ones
    before it were left in an earlier rename, and what the others knew of them may have raised them
    since. One that no rename kept is another member's word, or a height that was burnt under a
    mistyped id: of one node alone that is not left behind below the chain.
    """
    in_use, parse = [one.state_path for one in files.chains], core.parse_sign_bytes
    others = [row for row in held if row.key == chain.row.key and row not in {one.row for one in files.chains}]
    kept = {row.chain_id: kept_marks(chain.state_path, row.chain_id, parse, in_use) for row in others}
    last = [held[row].hrs for row in others if any(one.hrs >= held[row].hrs for one, _ in kept[row.chain_id])]
    unkept = [one for one in left if all(mark.hrs < held[Row(chain.row.key, one)].hrs for mark, _ in kept[one])]
    if not last:
        return unkept
    return [one for one in unkept if files.alone and not kept[one] and held[Row(chain.row.key, one)].hrs > max(last)]


def refuse_forgotten(files: NodeFiles, chain: ChainFiles, core: Core) -> None:
    """One node alone whose store knows less of a chain than a rename kept of how far this home had
    come: the store was made anew since, or an old copy was put back, and what was signed after the
    file was kept is not known.

    Raises: StateError.
    """
    held = dict(readable_marks(files.store_path))
    if not files.alone or not held:
        return
    kept = kept_above(files, chain, core, held)
    if kept.hrs > HRS(0, 0, 0):
        chain_id = chain.row.chain_id
        knows = f"does not know {chain_id}: it was made anew since"
        if chain.row in held:
            knows = f"holds {held[chain.row].hrs}: an old copy of it was put back"
        raise StateError(
            f"a rename kept beside {chain.state_path} that this home signed for {chain_id} up to {kept.hrs}, and {files.store_path} {knows}, "
            "and what was promised there is not known, so it does not sign",
            cure=f"the {files.store_path.parent} of that time; where that is gone, {RECOVER_CURE}",
        )


def _ids_left(files: NodeFiles, chain: ChainFiles, held: Mapping[Row, Watermark]) -> list[str]:
    """The ids under which the store knows this chain's key, and which are configured no more, the
    one that was left last before all others: no rename kept it, or it was begun last. None where
    the store knows this chain.
    """
    if chain.row in held:
        return []
    configured = {one.row for one in files.chains}
    found = [
        row.chain_id
        for row, mark in held.items()
        if row.key == chain.row.key and row not in configured and mark.hrs > HRS(0, 0, 0)
    ]
    found.reverse()
    return sorted(found, key=lambda one: bool(_kept_beside(chain, one)))


def _kept_beside(chain: ChainFiles, chain_id: str) -> list[Path]:
    """Raises: StateError where the directory cannot be read."""
    return surely_kept(chain.state_path, chain_id) if os.path.lexists(chain.state_path.parent) else []


def _unrenamed(files: NodeFiles, chain: ChainFiles, left: Sequence[str], what: str, otherwise: str) -> StateError:
    new = chain.row.chain_id
    return StateError(
        f"{what}. The store {files.store_path} knows this key under {', '.join(left)}, and not under {new}",
        cure=f"where {left[0]} goes on as {new}: `cmkms chain rename --from {left[0]} --to {new} --yes`; where the id is mistyped, the right one; "
        f"{otherwise}",
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


def refuse_unset(files: NodeFiles, chain: ChainFiles, held: Watermark, in_file: Watermark, core: Core) -> None:
    """A rename wrote where the new id begins into the state file, and the settings have the old id
    still: the place, burnt and above this chain's, is the one that the store has for an id that is
    not configured, and what the store has of this one was kept.

    Raises: StateError.
    """
    if in_file.sign_bytes or in_file.hrs <= held.hrs:
        return
    others = {one.row for one in files.chains} | {chain.row}
    new = sorted(
        row.chain_id
        for row, mark in readable_marks(files.store_path)
        if row.key == chain.row.key and row not in others and mark.hrs == in_file.hrs
    )
    if not new or kept_mark(files, chain, core, surely=True).hrs != held.hrs:
        return
    old, words = chain.row.chain_id, " or ".join(new)
    raise StateError(
        f"{old}: `cmkms chain rename` to {words} is not finished: the state file {chain.state_path} stands at {in_file.hrs}, where {words} begins, and "
        f"what the store {files.store_path} has of {old} ({held.hrs}) is kept beside it, but {old} is configured still",
        cure=f"{state_file.id_in_config(new[0])}, then start; where {old} was never renamed, the {files.store_path.parent} that this node ran with last",
    )


def refuse_lacking(files: NodeFiles, chain: ChainFiles, held: Watermark, in_file: Watermark, core: Core) -> None:
    """Raises: StateError where one node alone has a state file that shows what its store, which is
    written first, does not hold; or any node the one of a rename that is not finished.

    `in_file` has bytes only with a verified signature.
    """
    refuse_unset(files, chain, held, in_file, core)
    if not files.alone or not lacks(held, in_file):
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
        f"good, {RECOVER_CURE}. Only where "
        f"another signer wrote that very file, and is off for good, `cmkms state import --chain-id {chain_id} {path}` is enough; after a "
        "`cmkms chain reset` that was cut short, that again",
    )


def lacks(held: Watermark, in_file: Watermark) -> bool:
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


def known_mark(files: NodeFiles, chain: ChainFiles, core: Core) -> Watermark | None:
    """The highest of store, state file and what a rename kept, read only; None where none knows the
    chain.

    Raises: StateError.

    A store that lost records is read as far as it checks: whoever acts on this opens it
    (raise_mark), which is strict.
    """
    held = held_mark(files.store_path, chain.row)
    in_files = mark_of_files(files, chain, core, {} if held is None else {chain.row: held})
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
