"""Count durations into logarithmic buckets and read quantiles from them.

Constant memory, a microsecond per sample.
"""

from bisect import bisect_right
from itertools import pairwise
from typing import Annotated, Final, TypedDict

_SUB_BITS: Final = 5  # 32 buckets an octave: a quantile is at most 3 % off
_SUB: Final = 1 << _SUB_BITS
_OCTAVES: Final = 36  # nanoseconds up to 2^40, eighteen minutes

#: Upper bounds of the buckets that a monitor sees, in microseconds: dense where signing is (0.2 to
#: 3 ms), up to the permit's deadline.
BOUNDS_US: Final = (
    50, 100, 200, 300, 500, 750, 1000, 1500, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
)  # fmt: skip


class Buckets(TypedDict, total=False):
    """A histogram on the status board.

    `buckets`: for each bound, how many durations were at most so long, [us, count].
    """

    count: int
    sum_us: float
    buckets: list[Annotated[list[int], 2]]  # the length of each


class Quantiles(TypedDict, total=False):
    """Latencies in microseconds, with the number of samples they rest on.

    A process that has none yet shows an empty one.
    """

    count: int
    p50: float
    p90: float
    p99: float
    max: float


class AllQuantiles(TypedDict):
    """What quantiles from the status board are held against: all of them, or none."""

    count: int
    p50: float
    p90: float
    p99: float
    max: float


class Histogram:
    """Durations in nanoseconds."""

    __slots__ = ("_counts", "count", "max_ns", "sum_ns")

    def __init__(self) -> None:
        self._counts = [0] * (_OCTAVES * _SUB)
        self.count = 0
        self.max_ns = 0
        self.sum_ns = 0

    def add(self, duration_ns: int) -> None:
        """Count one duration; negative ones count as zero."""
        value = max(duration_ns, 0)
        octave = max(value.bit_length() - 1 - _SUB_BITS, 0)
        index = (octave << _SUB_BITS) + (value >> octave)
        counts = self._counts
        counts[min(index, len(counts) - 1)] += 1
        self.count += 1
        self.sum_ns += value
        self.max_ns = max(self.max_ns, value)

    def quantile_ns(self, fraction: float) -> int:
        """The upper edge of the bucket that holds the quantile, at most the maximum seen; 0 when
        nothing was counted.
        """
        if self.count == 0:
            return 0
        wanted = max(1, -(-self.count * fraction // 1))
        seen = 0
        for index, count in enumerate(self._counts):
            seen += count
            if seen >= wanted:
                return min(_upper_edge(index), self.max_ns)
        return self.max_ns

    def summary_us(self) -> Quantiles:
        """Return what the status document shows."""
        p50, p90, p99 = (round(self.quantile_ns(fraction) / 1000, 1) for fraction in (0.5, 0.9, 0.99))
        return Quantiles(count=self.count, p50=p50, p90=p90, p99=p99, max=round(self.max_ns / 1000, 1))

    def buckets_us(self) -> Buckets:
        """The durations below each of BOUNDS_US, for the status document.

        One up to 3 % below a bound may count as above it.
        """
        counts, seen, found = self._counts, 0, []
        for bound, (begin, end) in zip(BOUNDS_US, pairwise(_CUTS), strict=True):
            seen += sum(counts[begin:end])
            found.append([bound, seen])
        return {"count": self.count, "sum_us": round(self.sum_ns / 1000, 1), "buckets": found}


def _upper_edge(index: int) -> int:
    """Largest value that Histogram.add puts into the bucket `index`."""
    octave = max((index >> _SUB_BITS) - 1, 0)
    mantissa = index - (octave << _SUB_BITS)
    return ((mantissa + 1) << octave) - 1


#: _CUTS[i] to _CUTS[i + 1]: the buckets of Histogram that lie wholly between BOUNDS_US[i - 1] and
#: BOUNDS_US[i].
_CUTS: Final = (
    0,
    *(bisect_right(range(_OCTAVES * _SUB), bound * 1000, key=_upper_edge) for bound in BOUNDS_US),
)
