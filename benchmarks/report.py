"""A run as a terminal shows it."""

from collections.abc import Iterator
from typing import Any

from benchmarks.figures import Change

_HIDDEN = ("p50 spread", "p99 spread", "all_ms", "timeline", "pss_mib", "not run")


def section(name: str, rows: dict[str, dict[str, Any]]) -> Iterator[str]:
    """One table: a line a row, a column a figure."""
    columns = list(dict.fromkeys(key for row in rows.values() for key in row if key not in _HIDDEN))
    wide = max([len(name), *map(len, rows)])
    yield ""
    yield f"{name:{wide}}  " + "  ".join(f"{key:>12}" for key in columns)
    for label, row in rows.items():
        if "not run" in row:
            yield f"{label:{wide}}  not run: {row['not run']}"
            continue
        yield f"{label:{wide}}  " + "  ".join(f"{_cell(row.get(key)):>{max(12, len(key))}}" for key in columns)
    for label, row in rows.items():
        if "pss_mib" in row:
            yield f"{label}, memory (PSS, MiB): " + ", ".join(f"{key} {value}" for key, value in row["pss_mib"].items())


def changes(found: list[Change]) -> Iterator[str]:
    """What moved, first; then how many did not."""
    moved = [change for change in found if change.moved]
    yield ""
    unknown = sum(change.noise is None for change in found)
    yield f"compared with the other run: {len(moved)} of {len(found)} ratios moved beyond noise; {unknown} of too few rounds"
    for change in moved:
        yield f"  {change.verdict:8} {change.where}: {change.old} -> {change.new} (noise {change.noise})"


def _cell(value: object) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int | float) else str(value)
