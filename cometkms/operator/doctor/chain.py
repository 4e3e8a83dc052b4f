"""With --rpc: whether the chain and this home agree about what this key signed."""

import time
from dataclasses import dataclass
from typing import Final

from cometkms.core.interface import Core
from cometkms.keys.public import address_of
from cometkms.limits import JUMP_HEIGHTS, RPC_BLOCKS_MAX
from cometkms.model import Row, Watermark
from cometkms.net.comet_rpc import RpcAddress
from cometkms.operator.doctor.blocks import (
    Commit,
    Head,
    contradicts,
    is_above,
    is_our_signature,
    read_commits,
    read_head,
    read_validator_power,
)
from cometkms.operator.doctor.clock import judge_chain_clock
from cometkms.operator.doctor.finding import Finding, fail, note, ok, warn

AREA: Final = "chain"
_SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class Known:
    """What is known here of the chain, read after its blocks were.

    `alone`: this home is all there is; `running`: the node runs.
    """

    row: Row
    mark: Watermark | None
    alone: bool
    running: bool


@dataclass(frozen=True, slots=True)
class ChainFacts:
    """`power` None: the key is not in the validator set of `validators`."""

    head: Head
    power: int | None
    validators: int
    commits: tuple[Commit, ...]
    now_s: float


def gather_chain(rpc: RpcAddress, row: Row, blocks: int) -> ChainFacts:
    """The head, the validator set, the last `blocks` commits.

    The head's own commit is still growing: it is left out.

    Raises: OperatorError.
    """
    head, now = read_head(rpc), time.time()
    if head.chain_id != row.chain_id or head.height == 0:
        return ChainFacts(head, None, 0, (), now)
    address = address_of(row.public_key)
    power, validators = read_validator_power(rpc, head.height, address)
    first = head.height - min(blocks, RPC_BLOCKS_MAX)
    commits = tuple(read_commits(rpc, first, head.height - 1, address))
    return ChainFacts(head, power, validators, commits, now)


def judge_chain(facts: ChainFacts, known: Known, core: Core) -> list[Finding]:
    """All that can be told of it."""
    head = facts.head
    if head.chain_id != known.row.chain_id:
        return [
            fail(
                AREA,
                f"the RPC node is of {head.chain_id!r}, and this node signs for {known.row.chain_id!r}",
                "the RPC of that chain's node",
            )
        ]
    found = [_judge_head(head), *judge_chain_clock(head.offset_s, head.time_s, facts.now_s)]
    found.append(_judge_set(facts, known))
    signed = [commit for commit in facts.commits if commit.signed]
    forged = [
        commit for commit in signed if not is_our_signature(commit, known.row.chain_id, known.row.public_key, core)
    ]
    if forged:
        found.append(
            warn(
                AREA,
                f"the RPC node shows signatures that this key did not make, at {_heights(forged)}",
                "another RPC node: this one is wrong, or of an unknown version",
            )
        )
        signed = [commit for commit in signed if commit not in forged]
    found += _judge_signatures(facts, signed)
    found += _judge_marks(signed, known)
    found += _judge_height(head, known.mark)
    return found


def _judge_height(head: Head, mark: Watermark | None) -> list[Finding]:
    """Nothing is signed below the mark: one that is far above the chain keeps the key silent until
    the chain comes there.
    """
    if mark is None or head.catching_up or mark.hrs.height <= head.height + JUMP_HEIGHTS:
        return []
    return [
        fail(
            AREA,
            f"the watermark {mark.hrs} lies {mark.hrs.height - head.height} heights above the chain's head {head.height}: nothing is signed "
            "until the chain is there",
            "if the chain's head is right, lower it on every node, all stopped: `cmkms chain reset` (docs/RUNBOOK.md, A mark far above the chain)",
        )
    ]


def _judge_head(head: Head) -> Finding:
    shown = f"{head.chain_id} is at height {head.height}"
    if head.catching_up:
        return warn(
            AREA,
            f"{shown}, and the RPC node is still catching up: the chain's head is higher",
            "wait until it is there, or ask another one",
        )
    return ok(AREA, f"{shown}, CometBFT {head.version}")


def _judge_set(facts: ChainFacts, known: Known) -> Finding:
    address = address_of(known.row.public_key)
    if facts.power is None:
        return warn(
            AREA,
            f"{address} is not among the {facts.validators} validators: nothing is asked of this key",
            "check the key; or the validator is jailed or not bonded",
        )
    return ok(AREA, f"{address} is a validator of {facts.validators}, with power {facts.power}")


def _judge_signatures(facts: ChainFacts, signed: list[Commit]) -> list[Finding]:
    if not facts.commits or facts.power is None:
        return []
    first, last = facts.commits[0].height, facts.commits[-1].height
    heights = {commit.height for commit in signed}
    missed = [commit for commit in facts.commits if commit.height not in heights]
    if missed:
        count = f"{len(missed)} of the blocks {first} to {last} have no signature of this key"
        return [warn(AREA, f"{count}: {_heights(missed)}", "`cmkms status` and the validator's log at those heights")]
    return [ok(AREA, f"every block from {first} to {last} is signed by this key")]


def _judge_marks(signed: list[Commit], known: Known) -> list[Finding]:
    """The chain against what is known here: a signature above it was made elsewhere."""
    mark = known.mark
    for commit in signed:
        if mark is not None and contradicts(commit, mark):
            return [
                fail(
                    AREA,
                    f"the chain has another signature of this key at {commit.place} than this home: two signers use the key",
                    "stop both at once, find the other one, and go on above that height with `cmkms recover --min-height`",
                )
            ]
    above = [commit for commit in signed if is_above(commit, mark)]
    shown = str(mark.hrs) if mark is not None else "nothing"
    if not above:
        newest = f"; the newest on chain is {max(commit.place for commit in signed)}" if signed else ""
        return [ok(AREA, f"nothing on the chain is above the watermark {shown}{newest}")]
    highest = max(commit.place for commit in above)
    words = f"the chain has signatures of this key up to {highest}, and this home knows {shown}"
    if not known.alone and not known.running:
        return [
            note(
                AREA,
                f"{words}: signed while this node was away, if another node of the cluster runs; it reads them at its start",
            )
        ]
    return [
        fail(
            AREA,
            f"{words}: another signer runs with this key, or this home lost its state",
            "stop every other signer of this key; if there is none, `cmkms recover --min-height HEIGHT` with a height above the chain's head",
        )
    ]


def _heights(commits: list[Commit]) -> str:
    shown = ", ".join(str(commit.height) for commit in commits[:_SHOWN])
    return f"{shown} and {len(commits) - _SHOWN} more" if len(commits) > _SHOWN else shown
