"""Whether a home belongs to the key that is configured: its state file, and what its promise store
knows of the chain.

A key that is put into another home goes on from that home's mark, and not from its own: it signs
twice what it signed elsewhere. Two things tell: the state file's signature, and a store that knows
the chain with another key alone. Either stops the node. What settles where a new key stands is the
operator's word: `cmkms state import`, `import`, `recover` or `chain reset` give it a row of its
own, and the other key's stays.
"""

import contextlib
import os
from collections.abc import Sequence

from cometkms.core.interface import Core
from cometkms.errors import StateError
from cometkms.model import HRS, Row, Watermark
from cometkms.rules.birth import NodeState
from cometkms.store import state_file
from cometkms.store.node_files import ChainFiles, NodeFiles
from cometkms.store.promise_store import readable_header, readable_marks, survey

#: What is left to a member that lost its state file and its promises.
FROM_OTHERS = (
    'while all others run, write {"height":"0","round":0,"step":0} into the state file and start: it reads what it lost from them. '
    "Where one of them is lost for good, too, `cmkms recover` instead (docs/RUNBOOK.md)"
)


def short(row: Row) -> str:
    """A key as it is named in words: the first bytes of what the store has of it."""
    return row.key.hex()[:16]


def is_anothers(row: Row, in_file: Watermark, core: Core) -> bool:
    """Whether a state file shows a signature that the key did not make. One without a signature
    names no key.
    """
    return bool(in_file.signature) and not core.verify(row.public_key, in_file.sign_bytes, in_file.signature)


def other_keys(files: NodeFiles, chain: ChainFiles) -> Sequence[Row]:
    """The rows of the chain that are other keys'; none where the store has this key's."""
    try:
        found = survey(files.store_path)
    except OSError:  # there is none, or it is told why it cannot be read
        return ()
    rows = [row for row, _ in found.rows]
    if found.problems or chain.row in rows:
        return ()
    return [row for row in rows if row.chain_id == chain.row.chain_id]


def refuse_anothers_file(files: NodeFiles, chain: ChainFiles, in_file: Watermark, core: Core) -> None:
    """Such a file says nothing of this key, and is the only one that says where the other stands:
    it is not gone by, nor written over. Raises: StateError with the cure.
    """
    if not is_anothers(chain.row, in_file, core):
        return
    refuse_another_key(files, chain, core)
    held = dict(readable_marks(files.store_path))
    path, key = chain.state_path, short(chain.row)
    what = f"{path}: its signature is not of the key {key}: {_whose(chain, in_file, held, core)}"
    back = f"where {key} is the wrong key, the one that belongs here back into its file; else,"
    if chain.row in held:
        told = stands_in_store(files, chain, held[chain.row], what, f"move {path} away, and ")
        raise StateError(told.what, cure=f"{back} {told.cure}")
    raise StateError(
        f"{what}. How far {key} has signed is not known here, so it does not sign",
        cure=f"{back} move {path} away, and put there the state file of the signer that used this key last (stop that one first); only for a key that "
        'never signed anything write {"height":"0","round":0,"step":0} into it',
    )


def refuse_another_key(files: NodeFiles, chain: ChainFiles, core: Core) -> None:
    """The store knows the chain with another key, and not with this one. What a damaged store knows
    is not said here. Raises: StateError with the cure.
    """
    others = other_keys(files, chain)
    if not others:
        return
    path, chain_id, key = chain.state_path, chain.row.chain_id, short(chain.row)
    in_file = Watermark()
    with contextlib.suppress(StateError):  # then it is moved away like the other key's
        in_file = state_file.load(path, chain_id, core.parse_sign_bytes)
    names, nor, away, file = ", ".join(map(short, others)), "", "", "FILE"
    if is_anothers(chain.row, in_file, core):
        nor = f"; nor is the signature in {path} of the key {key}"
    if in_file.signature and not nor:
        file = str(path)
    elif os.path.lexists(path):
        away = f"move {path} away (it may be the other key's), then "
    every = "" if files.alone else ", on every member, all stopped"
    raise StateError(
        f"{chain_id}: the store {files.store_path} knows this chain with another key ({names}), and not with {key}{nor}. How far {key} has signed is "
        "not known here, so it does not sign",
        cure=f"the key {names} back into its file; a key of another home stays in that one. Only where {key} is to sign here from now on: "
        f"{away}`cmkms state import --chain-id {chain_id} {file}` with the state file of the signer that used this key last (stop that one for good first); "
        f'for a key that never signed anything, a FILE of {{"height":"0","round":0,"step":0}}{every}',
    )


def stands_in_store(files: NodeFiles, chain: ChainFiles, held: Watermark, what: str, first: str) -> StateError:
    """The state file says nothing of this key, and the store knows it.

    `what`: why the file says nothing; `first`: what is to be done before the cure.
    """
    path, chain_id = chain.state_path, chain.row.chain_id
    stands = held.hrs if held.hrs > HRS(0, 0, 0) else "0"
    header = readable_header(files.store_path)
    if header is not None and header.state is NodeState.RECOVERING:
        return StateError(
            f"{what}. The store {files.store_path} is of a node that lost what it promised, and has yet to read it from the others",
            cure=f"{first}{FROM_OTHERS}",
        )
    return StateError(
        f"{what}. The store {files.store_path} knows what this node promised: {chain_id} stands at "
        f"{stands} there. That nobody went further with that file, and that this is no old copy of the store, cannot be seen without it",
        cure=f"if so, {first}`cmkms state export --chain-id {chain_id} --out {path}` writes it from the store; "
        "where another signer used the key since, its file instead (stop that one first)",
    )


def _whose(chain: ChainFiles, in_file: Watermark, held: dict[Row, Watermark], core: Core) -> str:
    """The store has 32 bytes of a key, and only an ed25519 key's signatures verify with these."""
    for row in held:
        if row.chain_id == chain.row.chain_id and not is_anothers(row, in_file, core):
            return f"this state is of the key {short(row)}, which the store knows, too"
    return "this state is another key's, or was changed"
