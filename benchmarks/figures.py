"""Arithmetic of measurements: quantiles, ratios to the floor of the same run, their spread over
rounds. No I/O.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median
from typing import Any, Final

QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
ROUNDS_MIN: Final = 3  # fewer have no spread to speak of
Rounds = list[list[int]]  # of each round the latencies, nanoseconds


def quantile(ordered: Sequence[float], fraction: float) -> float:
    """Of sorted values; the nearest rank: of twenty, p95 is the nineteenth."""
    return ordered[max(0, ceil(fraction * len(ordered)) - 1)]


def quantiles_us(times_ns: Sequence[int]) -> dict[str, float]:
    """p50, p90, p99, p99.9 and max in microseconds. Raises: ValueError without a value."""
    if not times_ns:
        raise ValueError("nothing was measured")
    ordered = sorted(times_ns)
    found = {name: round(quantile(ordered, q) / 1000, 1) for name, q in QUANTILES.items()}
    return {**found, "max": round(ordered[-1] / 1000, 1)}


def _all(rounds: Rounds) -> list[int]:
    return [time for one in rounds for time in one]


def table(results: dict[str, Rounds], floor: str) -> dict[str, dict[str, Any]]:
    """Of each configuration its quantiles over all rounds, and the ratios to the floor: of the
    whole, and the lowest and highest of the rounds. A configuration that was measured in one round
    only is compared with the floor's same round, or its last.
    """
    base = quantiles_us(_all(results[floor]))
    rows: dict[str, dict[str, Any]] = {}
    for name, rounds in results.items():
        row: dict[str, Any] = dict(quantiles_us(_all(rounds)))
        for key in ("p50", "p99"):
            row[f"{key} / floor"] = round(row[key] / base[key], 2)
            ratios = [
                quantiles_us(one)[key] / quantiles_us(results[floor][min(number, len(results[floor]) - 1)])[key]
                for number, one in enumerate(rounds)
            ]
            row[f"{key} spread"] = [round(min(ratios), 2), round(max(ratios), 2)]
        row["count"] = sum(map(len, rounds))
        row["rounds"] = len(rounds)
        rows[name] = row
    return rows


@dataclass(frozen=True, slots=True)
class Change:
    """A ratio to the floor in two runs. `moved`: by more than both runs' spread."""

    where: str
    old: float
    new: float
    noise: float | None  # None: too few rounds to know

    @property
    def moved(self) -> bool:
        return self.noise is not None and abs(self.new - self.old) > self.noise

    @property
    def verdict(self) -> str:
        """For a person."""
        if self.noise is None:
            return "too few rounds"
        if not self.moved:
            return "within noise"
        return "slower" if self.new > self.old else "faster"


def compare(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    """Every ratio that both runs have.

    Its noise: half of each run's spread over its rounds, added; unknown with too few rounds.
    """
    found = []
    for section, rows in new.items():
        known = old.get(section)
        if not isinstance(rows, dict) or not isinstance(known, dict):
            continue
        for name, row in rows.items():
            before = known.get(name)
            if not isinstance(row, dict) or not isinstance(before, dict):
                continue
            for key in ("p50", "p99"):
                if f"{key} / floor" in row and f"{key} / floor" in before:
                    where = f"{section}: {name}, {key} / floor"
                    found.append(
                        Change(where, before[f"{key} / floor"], row[f"{key} / floor"], _noise(key, before, row))
                    )
    return found


def _noise(key: str, *rows: dict[str, Any]) -> float | None:
    if any(row.get("rounds", 1) < ROUNDS_MIN for row in rows):
        return None
    return round(sum((row[f"{key} spread"][1] - row[f"{key} spread"][0]) / 2 for row in rows), 3)


def gaps(values_ms: Sequence[float]) -> dict[str, Any]:
    """Of each round the longest time without a signature."""
    ordered = sorted(values_ms)
    return {
        "rounds": len(ordered),
        "p50_ms": round(median(ordered), 1),
        "p90_ms": round(quantile(ordered, 0.9), 1),
        "p95_ms": round(quantile(ordered, 0.95), 1),
        "max_ms": round(ordered[-1], 1),
        "all_ms": [round(value, 1) for value in ordered],
    }
