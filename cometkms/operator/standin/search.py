"""Which height a validator without a memory asks for, when the signer has signed before: found by
what is refused. Pure."""

from dataclasses import dataclass
from typing import Final

from cometkms.model import Reason

#: Refused for a place that is at or below what was signed, or too near above it.
_TOO_LOW: Final = frozenset(
    {Reason.HEIGHT_REGRESSION, Reason.ROUND_REGRESSION, Reason.STEP_REGRESSION, Reason.CONFLICT, Reason.BURNT}
)
HEIGHT_MAX: Final = (1 << 62) - 1  # far above any chain's, and every step from there fits an int64


@dataclass(slots=True)
class Search:
    """The next height to ask for. `refusals`: since the last signature."""

    height: int = 1
    refusals: int = 0
    _low: int = 0  # the highest that is too low
    _high: int = HEIGHT_MAX  # the lowest that is too high
    _step: int = 1

    def signed(self) -> None:
        """The height is signed: the next one."""
        self.height += 1
        self.refusals, self._low, self._high, self._step = 0, 0, HEIGHT_MAX, 1

    def refused(self, code: int) -> bool:
        """The height is refused with that code. Whether another height may be signed; else the same
        is asked for again."""
        self.refusals += 1
        if code in _TOO_LOW:
            self._low = self.height
        elif code == Reason.JUMP:
            self._high = self.height
        else:
            return False
        if (
            self._high - self._low < 2
        ):  # what was too high was so then: the bound grows with time, and another signer may have come
            self._high, self._step = HEIGHT_MAX, 1
            return False
        self.height = min(self._low + self._step, (self._low + self._high) // 2)
        self._step = 2 * self._step if self._step < HEIGHT_MAX else self._step
        return True
