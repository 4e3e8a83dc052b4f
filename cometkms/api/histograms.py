"""What was counted between two readings of a cumulative histogram. Pure.

A histogram of the status board counts since its process began; a page and an alert want the last
second, or the last minute.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from cometkms.histogram import Buckets


@dataclass(frozen=True, slots=True)
class Counted:
    """Samples by bucket. bounds: ascending, microseconds; counts: one more than bounds, the last is
    what lies above all."""

    bounds: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()

    @property
    def total(self) -> int:
        """All samples."""
        return sum(self.counts)

    def above(self, bound_us: float) -> int:
        """Samples in buckets that lie above the bound as a whole."""
        return sum(count for low, count in zip((0.0, *self.bounds), self.counts, strict=True) if low >= bound_us)

    def quantile_us(self, fraction: float) -> float | None:
        """Interpolated within its bucket; above the last bound that bound is all that is known.
        None: no sample."""
        wanted, seen = self.total * fraction, 0
        if not self.total:
            return None
        for low, high, count in zip((0.0, *self.bounds), (*self.bounds, self.bounds[-1]), self.counts, strict=True):
            if count and seen + count >= wanted:
                return low + (high - low) * (wanted - seen) / count
            seen += count
        return self.bounds[-1]


def read(report: Buckets) -> Counted:
    """A cumulative report as counts by bucket; nothing where the process has not said anything."""
    buckets = report.get("buckets", [])
    if not buckets:
        return Counted()
    counts, before = [], 0
    for _, cumulative in buckets:
        counts.append(int(cumulative) - before)
        before = int(cumulative)
    counts.append(max(0, report.get("count", before) - before))
    return Counted(tuple(bound for bound, _ in buckets), tuple(counts))


def together(several: Iterable[Counted]) -> Counted:
    """The sum of histograms with the same bounds; those without any sample yet count for
    nothing."""
    known = [one for one in several if one.bounds]
    if not known:
        return Counted()
    alike = [one for one in known if one.bounds == known[0].bounds]
    return Counted(known[0].bounds, tuple(sum(column) for column in zip(*(one.counts for one in alike), strict=True)))


def since(now: Counted, before: Counted) -> Counted:
    """What came between; all of `now` when its process began anew in between (a count fell)."""
    if before.bounds != now.bounds or any(new < old for new, old in zip(now.counts, before.counts, strict=True)):
        return now
    return Counted(now.bounds, tuple(new - old for new, old in zip(now.counts, before.counts, strict=True)))
