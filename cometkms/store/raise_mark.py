"""Raise a chain's mark in a home that is stopped, in its state file and its promise store; never
lower it.
"""

import contextlib
import os
from collections.abc import Sequence

from cometkms.core.interface import Core
from cometkms.errors import StateError
from cometkms.model import Row, Watermark
from cometkms.rules.birth import NodeState
from cometkms.rules.recovery import agreed_mark
from cometkms.store import state_file
from cometkms.store.another_key import other_keys
from cometkms.store.exported import forget_export
from cometkms.store.home_born import note_begun, refuse_lost
from cometkms.store.marks import known_mark, mark_of_files, reconcile, refuse_lacking, verified_state
from cometkms.store.node_files import ChainFiles, NodeFiles, after_store, check_beside, check_state_files, has_store
from cometkms.store.owner import check_header, check_owner, refuse_other_home
from cometkms.store.promise_store import PromiseStore, readable_marks


def raise_mark(files: NodeFiles, chain: ChainFiles, marks: Sequence[Watermark], core: Core) -> Watermark:
    """Raise a chain's mark to the highest of other signers' marks; never below what is known here.

    The node must be stopped.

    Returns: the mark that stands from now on. Raises: StateError, BusyError, StoreFailure.
    """
    check_beside([chain.state_path], files.store_path)
    refuse_other_home(files)
    refuse_lost(files, chain, brought=True)
    known = known_mark(files, chain, core)
    agreed = higher_mark(known, marks, chain.row, core)
    held = dict(readable_marks(files.store_path)).get(chain.row)
    in_file = verified_state(files, chain, core) if os.path.lexists(chain.state_path) else None
    is_behind = files.alone and held is not None and in_file is not None and in_file.hrs > held.hrs
    if is_behind and held is not None and in_file is not None and all(one.hrs < in_file.hrs for one in marks):
        refuse_lacking(files, chain, held, in_file, core)  # no other signer says that it wrote that file
    # else the node would begin below what a rename kept, or the store know another key alone
    stands = held is not None or (in_file == agreed and not other_keys(files, chain))
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
    refuse_other_home(files)
    known = mark_of_files(files, chain, core, dict(readable_marks(files.store_path)))
    refuse_lost(files, chain, brought=True)
    check_state_files([chain])
    check_beside([chain.state_path], files.store_path)
    stored = has_store(files.store_path)
    if stored:
        store = PromiseStore.open(files.store_path)
        try:
            if store.header.state is NodeState.SEALED:
                check_owner(store, files)
            else:
                check_header(store, files)
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
