"""How high a chain can plausibly have come by now (docs/ARCHITECTURE.md, rule 13). Pure: the time
comes from outside.

    height
      ▲            · reach: JUMP_HEIGHTS above what is known, and JUMP_HEIGHTS_PER_S more with each second
      │        ·
      │    ·   ┌──── a signature that verifies is learned of: known from then on
      │ ·  ────┘     what it took of the JUMP_HEIGHTS comes back with time, too
      └──────────────────────────▶ time

Whoever asks for a place above the reach asks for more than any chain does: it is refused. Only a
signature that verifies moves what is known, and what it skipped is paid from a store of
JUMP_HEIGHTS that fills again at JUMP_SIGNED_PER_S. So a member that promises what nobody signs
raises a row by no more than JUMP_HEIGHTS and JUMP_HEIGHTS_PER_S a second, and a validator that gets
everything signed by no more than JUMP_HEIGHTS and JUMP_SIGNED_PER_S a second, with a true signature
for each step: no faster than one that asks for one height after another, as a replay or a trial
does, which is never held up. The clock is this node's own: one that is wrong refuses a height or
admits one more, and no signature rests on it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from cometkms.limits import HEIGHT_MAX, JUMP_HEIGHTS, JUMP_HEIGHTS_PER_S, JUMP_SIGNED_PER_S


@dataclass(frozen=True, slots=True)
class Known:
    """How high a row has verifiably come. `at`: UNIX seconds when this node learned of it. `spent`:
    of JUMP_HEIGHTS, at that time."""

    height: int
    at: float
    spent: float = 0.0


def reach(known: Known | None, now: float) -> int:
    """The highest plausible height at `now` (UNIX seconds). Nothing known: any height."""
    if known is None:
        return HEIGHT_MAX
    return min(HEIGHT_MAX, known.height + int(JUMP_HEIGHTS - _owed(known, now) + _earned(known, now)))


def learned(known: Known | None, height: int, now: float) -> Known:
    """What is known after a verified signature at `height` was learned of at `now`.

    One above the reach is proven all the same (a majority admitted it), and leaves nothing of
    JUMP_HEIGHTS.
    """
    if known is None:
        return Known(height, now)
    if height <= known.height:
        return known
    skipped = max(0.0, height - known.height - _earned(known, now))
    return Known(height, now, min(float(JUMP_HEIGHTS), _owed(known, now) + skipped))


def admitted(known: Known | None, height: int, now: float) -> Known:
    """What is known after the operator said that the chain has come to `height`."""
    return known if known is not None and height <= known.height else Known(height, now)


def plausible(own_reach: int, others: Iterable[int]) -> int:
    """The highest height that a member's unproven mark may name. `others`: the heights of the other
    members' marks; 0: nothing is known."""
    rest = max(others, default=0)
    return max(own_reach, min(HEIGHT_MAX, rest + JUMP_HEIGHTS) if rest > 0 else 0)


def _owed(known: Known, now: float) -> float:
    """What is left by now of what was spent of JUMP_HEIGHTS."""
    return max(0.0, known.spent - JUMP_SIGNED_PER_S * max(0.0, now - known.at))


def _earned(known: Known, now: float) -> float:
    """Heights that the time since then allows. A clock that went back allows none."""
    return JUMP_HEIGHTS_PER_S * max(0.0, now - known.at)
