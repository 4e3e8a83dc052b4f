"""What speaks against an old signer's own states: other files, the node, the chain, the promise
store of a home of this program, and the silence of a state that says nothing.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

from cometkms.core.interface import Core
from cometkms.errors import ConfigError, OperatorError, StateError
from cometkms.keys.public import address_of
from cometkms.model import HRS, Row
from cometkms.net.comet_rpc import RpcAddress
from cometkms.operator.doctor.blocks import is_our_signature, read_commit, read_head, read_validator_power
from cometkms.operator.moving.old_signer import TYPED, OldSigner, OldState, highest
from cometkms.rules.burnt import burnt_up_to
from cometkms.store.node_files import ChainFiles
from cometkms.store.own_home import in_one_home, own_mark

_BLOCKS: Final = 20  # of the chain's last ones: a validator that signs is in most of them


def judge(old: OldSigner, never_signed: bool) -> tuple[StateError, ...]:
    """Every reason not to believe the states alone, each with its cure.

    A height that the operator types answers them all.
    """
    doubts = list(old.doubts)
    top = highest(old.states)
    for state in old.seen:
        if state.mark.hrs > top:
            what = f" ({state.what})" if state.what else ""
            doubts.append(
                StateError(
                    f"{state.path}{what} says height {state.mark.hrs.height}, and the state in use height {top.height}: "
                    "one of them is not what this key has signed last",
                    cure="--min-height HEIGHT, at both of them or above, and above the chain's head; or move that file away if it is of another key or chain",
                )
            )
    if top == HRS(0, 0, 0):
        doubts += _nothing_signed(old, never_signed)
    elif never_signed:
        doubts.append(
            StateError(f"--never-signed is your word, and the files say height {top.height}", cure="leave it out")
        )
    return tuple(doubts)


def _nothing_signed(old: OldSigner, never_signed: bool) -> list[StateError]:
    """A state of 0/0/0, or none, is a key that was never used, or one whose state is
    somewhere else.
    """
    where = ", ".join(str(state.path) for state in old.states) or "no state file"
    if old.in_use:
        return [
            StateError(
                f"{where} says that this key has signed nothing, but it was in use: {'; '.join(old.in_use)}",
                cure=f"the state that its signer kept, with --state-file; or {TYPED}",
            )
        ]
    if never_signed:
        return []
    return [
        StateError(
            f"{where} says that this key has signed nothing, and a state that was lost or never written says the same",
            cure=f"{TYPED}; or --never-signed, your word that no signer has ever used this key",
        )
    ]


def ask_homes(old: OldSigner, target: ChainFiles, core: Core) -> OldSigner:
    """Add what the promise stores of the homes of this program say that these files stand in: a
    state file follows its store, and after a crash it is behind.

    `target`: of the home that they are brought into, whose key may be named, too. Raises:
    BusyError for a home whose node runs; StoreFailure.
    """
    named, own = [Path(state.path) for state in old.states], target.state_path.absolute()
    if old.key_path is not None and not in_one_home(old.key_path.absolute(), own):
        named.append(old.key_path.with_name(target.state_path.name))
    states, doubts = list(old.states), list(old.doubts)
    for path in dict.fromkeys(named):
        try:
            mark = own_mark(path, target.row, core, own)
        except StateError as error:
            doubts.append(StateError(error.what, cure=f"{error.cure}; or {TYPED}"))
        else:
            states += [OldState(path, mark, "with that home's promise store")] if mark is not None else []
    return replace(old, states=tuple(states), doubts=tuple(doubts))


def ask_chain(old: OldSigner, rpc: RpcAddress, row: Row, core: Core) -> OldSigner:
    """Add what the chain shows of the key: whether it validates, and its signatures in the last
    blocks. Raises: OperatorError.
    """
    head = read_head(rpc)
    if head.chain_id != row.chain_id:
        raise ConfigError(
            f"{rpc} is a node of {head.chain_id!r}, and {row.chain_id!r} is asked for",
            cure="--rpc of a node of that chain",
        )
    if head.height == 0:
        return old
    address = address_of(row.public_key)
    power, _ = read_validator_power(rpc, head.height, address)
    signed = _signed_lately(rpc, head.height - 1, row, core)
    in_use, seen = list(old.in_use), list(old.seen)
    if power is not None:
        in_use.append(f"{rpc} has it as a validator at height {head.height}")
    if signed:
        in_use.append(f"{rpc} has its signature at height {signed}")
        if signed > highest(old.states).height:
            place = burnt_up_to(signed)
            seen.append(OldState(str(rpc), place, "its signature on the chain"))
    notes = (*old.notes, f"{rpc}: the chain's head is at height {head.height}")
    return replace(old, seen=tuple(seen), in_use=tuple(in_use), notes=notes)


def _signed_lately(rpc: RpcAddress, last: int, row: Row, core: Core) -> int:
    """The highest of the last heights that has a signature of the key; 0 for none.

    A node keeps only some blocks. Raises: OperatorError.
    """
    address = address_of(row.public_key)
    for height in range(last, max(0, last - _BLOCKS), -1):
        try:
            commit = read_commit(rpc, height, address)
        except OperatorError:
            if height == last:
                raise
            return 0
        if commit.signed and is_our_signature(commit, row.chain_id, row.public_key, core):
            return commit.height
    return 0
