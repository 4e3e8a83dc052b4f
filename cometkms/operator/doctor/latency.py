"""How long a signature will take from here, from the round trips and the disk, held against the
time between two blocks. Pure.

    own sync ─────────┐
    round trip to the member that completes the majority + its sync ─┴─▶ permit ─▶ signature

The requests leave before the own disk is synced (state/proposer.py), so the longer of the two
counts; a member's sync is taken for as long as this node's. What the program itself takes is far
below a millisecond (docs/PERFORMANCE.md), and the way to the validator is not in it: that way is
there with any signer on another machine.

Why a fifth of the block time. In each height a validator signs a prevote and then a precommit, and
where it proposes a proposal before them: each waits for the one before. With a fifth each, three
signatures leave two fifths of the block's time for the votes' own way through the network and the
block's execution; beyond it this validator's votes are the late ones. Without --rpc a block is
taken for one second, which is CometBFT's own pause between two blocks (timeout_commit).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from cometkms.operator.doctor.chain import ChainFacts
from cometkms.operator.doctor.finding import Finding, note, ok, warn

AREA: Final = "latency"
BLOCK_S: Final = 1.0  # CometBFT's timeout_commit
SHARE: Final = 5  # a signature may take one part of so many


@dataclass(slots=True)
class Measured:
    """What other checks found on their way.

    `round_trips_ms`: of the members that answered; None: not looked at.
    """

    sync_ms: float | None = None
    round_trips_ms: dict[str, float] | None = None
    block_s: float | None = None
    blocks: int = field(default=0)


def judge_latency(measured: Measured, members: int) -> list[Finding]:
    """`members`: of the cluster, this node included; 1: it is alone."""
    if measured.sync_ms is None:
        return []
    needed = members // 2  # others that a permit waits for
    trips = sorted((ms, name) for name, ms in (measured.round_trips_ms or {}).items())
    if len(trips) < needed:
        words = (
            f"what a signature takes is not known: {len(trips)} of the {needed} other nodes that it needs were measured"
        )
        return [note(AREA, words)]
    round_trip_ms, name = trips[needed - 1] if needed else (0.0, "")
    expected_ms = round_trip_ms + measured.sync_ms
    parts = f"a sync of {measured.sync_ms:.2f} ms"
    if needed:
        parts += f" and {round_trip_ms:.2f} ms to {name} and back, which completes the majority"
    if measured.block_s is None:
        block_s, blocks = (
            BLOCK_S,
            f"{BLOCK_S:g} s, the shortest block that CometBFT makes by default (--rpc measures it)",
        )
    else:
        block_s, blocks = measured.block_s, f"{measured.block_s:.2f} s, as the last {measured.blocks} took"
    words = f"a signature from here takes about {expected_ms:.2f} ms: {parts}; a block takes {blocks}"
    if expected_ms / 1000 <= block_s / SHARE:
        return [ok(AREA, words)]
    cure = (
        "a disk that syncs faster"
        if measured.sync_ms > round_trip_ms
        else (
            'members nearer to each other, or leader_priority = "nearest" on every node, so that the one leads that has a majority nearby'
        )
    )
    return [warn(AREA, f"{words}: that is more than a fifth of it, and a block waits for two or three of them", cure)]


def round_trips_of(members: Sequence[Mapping[str, object]]) -> dict[str, float]:
    """Milliseconds, of a running node's own word about the others; whatever is no
    number was not measured.
    """
    found = {}
    for member in members:
        rtt_us = member.get("rtt_us")
        if not member.get("self") and member.get("connected") and isinstance(rtt_us, int | float) and rtt_us >= 0:
            found[str(member.get("id"))] = rtt_us / 1000
    return found


def block_time(facts: ChainFacts) -> tuple[float, int] | None:
    """Seconds between two blocks, and over how many; None where the chain shows fewer than two, or
    no time that passes.
    """
    dated = [one for one in facts.commits if one.time_s is not None]
    if not dated or dated[0].time_s is None:
        return None
    blocks, seconds = facts.head.height - dated[0].height, facts.head.time_s - dated[0].time_s
    return (seconds / blocks, blocks) if blocks > 0 and seconds > 0 else None
