"""Count durations into logarithmic buckets and read quantiles from them. Constant memory, a microsecond per sample."""

from typing import Final

_SUB_BITS: Final = 5  # 32 buckets an octave: a quantile is at most 3 % off
_SUB: Final = 1 << _SUB_BITS
_OCTAVES: Final = 36  # nanoseconds up to 2^40, eighteen minutes


class Histogram:
    """Durations in nanoseconds."""

    __slots__ = ("_counts", "count", "max_ns")

    def __init__(self) -> None:
        self._counts = [0] * (_OCTAVES * _SUB)
        self.count = 0
        self.max_ns = 0

    def add(self, duration_ns: int) -> None:
        """Count one duration; negative ones count as zero."""
        value = max(duration_ns, 0)
        octave = max(value.bit_length() - 1 - _SUB_BITS, 0)
        index = (octave << _SUB_BITS) + (value >> octave)
        counts = self._counts
        counts[min(index, len(counts) - 1)] += 1
        self.count += 1
        self.max_ns = max(self.max_ns, value)

    def quantile_ns(self, fraction: float) -> int:
        """The upper edge of the bucket that holds the quantile, at most the maximum seen; 0 when nothing was counted."""
        if self.count == 0:
            return 0
        wanted = max(1, -(-self.count * fraction // 1))
        seen = 0
        for index, count in enumerate(self._counts):
            seen += count
            if seen >= wanted:
                return min(_upper_edge(index), self.max_ns)
        return self.max_ns

    def summary_us(self) -> dict[str, float | int]:
        """count, p50, p90, p99 and max in microseconds, for the status document."""
        quantiles = {name: round(self.quantile_ns(q) / 1000, 1) for name, q in _QUANTILES}
        return {"count": self.count, **quantiles, "max": round(self.max_ns / 1000, 1)}


_QUANTILES: Final = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))


def _upper_edge(index: int) -> int:
    """Largest value that Histogram.add puts into the bucket `index`."""
    octave = max((index >> _SUB_BITS) - 1, 0)
    mantissa = index - (octave << _SUB_BITS)
    return ((mantissa + 1) << octave) - 1
