"""Tell the first of many alike, then how many more, at growing intervals. Pure: the clock is a
number.

A hostile or misconfigured validator is refused thousands of times a second for one reason. What is
said of it (log, audit log, page) is bounded by time and by the kinds that there are, not by how
often it asks; the counters count every one.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from cometkms.limits import FOLD_FIRST_S, FOLD_KINDS_MAX, FOLD_MAX_S

_S: Final = 1_000_000_000  # nanoseconds

Kind = TypeVar("Kind", bound=Hashable)
What = TypeVar("What")


@dataclass(slots=True)
class _Alike(Generic[What]):
    latest: What
    seen_ns: int
    told_ns: int
    interval_s: float = FOLD_FIRST_S
    untold: int = 0

    def is_due(self, now_ns: int) -> bool:
        return self.untold > 0 and now_ns - self.told_ns >= self.interval_s * _S

    def tell(self, now_ns: int) -> int:
        count, self.untold = self.untold, 0
        self.told_ns, self.interval_s = now_ns, min(2 * self.interval_s, FOLD_MAX_S)
        return count


class Folds(Generic[Kind, What]):
    """What was told, by its kind; at most FOLD_KINDS_MAX of them."""

    def __init__(self) -> None:
        self._alike: dict[Kind, _Alike[What]] = {}

    def add(self, kind: Kind, what: What, now_ns: int) -> bool:
        """Whether this is the first of its kind: it is to be told now. Else it is counted, and told
        by due()."""
        known = self._alike.get(kind)
        if known is None or (known.untold == 0 and now_ns - known.seen_ns >= FOLD_MAX_S * _S):
            if known is None and len(self._alike) >= FOLD_KINDS_MAX:
                del self._alike[min(self._alike, key=lambda one: self._alike[one].seen_ns)]
            self._alike[kind] = _Alike(what, now_ns, now_ns)
            return True
        known.latest, known.seen_ns = what, now_ns
        known.untold += 1
        return False

    def due(self, now_ns: int) -> list[tuple[Kind, What, int]]:
        """What is to be told now: the kind, the latest of it, and how many there were since it was
        told."""
        return [(kind, one.latest, one.tell(now_ns)) for kind, one in self._alike.items() if one.is_due(now_ns)]

    def rest(self, now_ns: int) -> list[tuple[Kind, What, int]]:
        """All that was counted and not told yet: nothing follows."""
        return [(kind, one.latest, one.tell(now_ns)) for kind, one in self._alike.items() if one.untold]
