"""When this node learned of which signature: a ring that a drill measures gaps from.

Preallocated: adding leaves nothing behind.
"""

from array import array
from dataclasses import dataclass
from typing import Final

from cometkms.limits import CHAINS_MAX, SIGNATURE_RING_ENTRIES
from cometkms.model import HRS

NOBODY: Final = 255


@dataclass(frozen=True, slots=True)
class Learned:
    """`at`: monotonic seconds of this node.

    `by`: the number of the member that led then; NOBODY when none was known.
    """

    number: int
    at: float
    row: int
    hrs: HRS
    by: int


class SignatureRing:
    """The newest SIGNATURE_RING_ENTRIES signatures; each has a number that only grows."""

    def __init__(self) -> None:
        size = SIGNATURE_RING_ENTRIES
        self._times = array("d", bytes(8 * size))
        self._heights = array("q", bytes(8 * size))
        self._rounds = array("i", bytes(4 * size))
        self._rest = array("B", bytes(3 * size))  # row, step, by
        self._newest = array("d", [-1.0] * CHAINS_MAX)
        self._next = 0

    def newest_at(self, row: int) -> float | None:
        """Return when a row's newest signature was learned of; None: none was."""
        return self._newest[row] if self._newest[row] >= 0 else None

    @property
    def next(self) -> int:
        """The number that the next one gets."""
        return self._next

    @property
    def oldest(self) -> int:
        """The number of the first one that is still known."""
        return max(0, self._next - SIGNATURE_RING_ENTRIES)

    def add(self, at: float, row: int, hrs: HRS, by: int) -> None:
        """O(1), no allocation that lasts."""
        slot = self._next % SIGNATURE_RING_ENTRIES
        self._times[slot] = at
        self._heights[slot] = hrs.height
        self._rounds[slot] = hrs.round
        self._rest[3 * slot] = row
        self._rest[3 * slot + 1] = hrs.step
        self._rest[3 * slot + 2] = by
        self._newest[row] = at
        self._next += 1

    def since(self, number: int, most: int) -> list[Learned]:
        """Return at most `most` entries from that number on, oldest first; what was
        overwritten is left out.
        """
        first = max(number, self.oldest)
        return [self._entry(one) for one in range(first, min(self._next, first + most))]

    def _entry(self, number: int) -> Learned:
        slot = number % SIGNATURE_RING_ENTRIES
        row, step, by = self._rest[3 * slot : 3 * slot + 3]
        return Learned(number, self._times[slot], row, HRS(self._heights[slot], self._rounds[slot], step), by)
