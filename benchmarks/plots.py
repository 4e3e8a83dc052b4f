"""Pictures of a run, each as SVG and PNG: latency distributions, the budget, failover, growth."""

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
mpl.rcParams["svg.hashsalt"] = "cometkms"
from matplotlib import pyplot as plt  # noqa: E402 - after the backend is chosen
from matplotlib.figure import Figure  # noqa: E402

_QUANTILES = ("p50", "p90", "p99", "p99.9", "max")


def _save(figure: Figure, out: Path, name: str) -> list[Path]:
    paths = [out / f"{name}.svg", out / f"{name}.png"]
    figure.tight_layout()
    for path in paths:
        figure.savefig(path, dpi=120)
    plt.close(figure)
    return paths


def latencies(sections: dict[str, dict[str, Any]], out: Path) -> list[Path]:
    """Of each configuration its quantiles on a logarithmic axis; the floors are dashed."""
    figure, axes = plt.subplots(figsize=(9, 5))
    for section, rows in sections.items():
        for name, row in rows.items():
            label = name if len(sections) == 1 else f"{section}: {name}"
            axes.plot(
                _QUANTILES, [row[key] for key in _QUANTILES], "--" if "floor" in name else "-", marker="o", label=label
            )
    axes.set_yscale("log")
    axes.set_ylabel("microseconds, as CometBFT's client sees it")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend(fontsize=8)
    return _save(figure, out, "latency")


def stacked(hops: dict[str, dict[str, float]], out: Path) -> list[Path]:
    """The budget: {configuration: {hop: microseconds}}, one bar each."""
    figure, axes = plt.subplots(figsize=(11, 1.6 + 1.1 * len(hops)))
    names = list(dict.fromkeys(hop for row in hops.values() for hop in row))
    colours = plt.get_cmap("tab20")
    left = dict.fromkeys(hops, 0.0)
    for number, hop in enumerate(names):
        values = [row.get(hop, 0.0) for row in hops.values()]
        axes.barh(list(hops), values, left=list(left.values()), color=colours(number % 20), label=hop)
        for (configuration, start), value in zip(list(left.items()), values, strict=True):
            if value >= 15:
                axes.text(start + value / 2, configuration, f"{value:.0f}", ha="center", va="center", fontsize=8)
            left[configuration] = start + value
    axes.set_xlabel("microseconds of one signature, p50 of each hop")
    axes.invert_yaxis()
    axes.legend(fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.3))
    return _save(figure, out, "budget")


def failover(faults: dict[str, Any], out: Path) -> list[Path]:
    """Above: every round's longest gap; below: one round's timeline of gaps."""
    figure, (above, below) = plt.subplots(2, 1, figsize=(9, 7))
    for number, (name, row) in enumerate(faults.items()):
        above.plot([max(value, 1) for value in row["all_ms"]], [number] * row["rounds"], "o", alpha=0.5)
        for end, length in row["timeline"]:
            below.barh(name, max(length, 4), left=end - length, color="tab:red")
        below.barh(name, 0)
    above.set_xscale("log")
    above.set_yticks(range(len(faults)), list(faults))
    above.set_xlabel("milliseconds without a signature (20 ms and less count as none)")
    above.grid(visible=True, which="both", alpha=0.3)
    below.axvline(0, color="black", linewidth=1)
    below.set_xlabel("milliseconds since the fault; red: nothing was signed")
    return _save(figure, out, "failover")


def growth(sections: dict[str, dict[str, Any]], out: Path) -> list[Path]:
    """p50 and p99 of every step, a panel a section."""
    figure, panels = plt.subplots(len(sections), 1, figsize=(9, 3 * len(sections)), squeeze=False)
    for axes, (section, rows) in zip(panels[:, 0], sections.items(), strict=True):
        for key in ("p50", "p99"):
            axes.plot(range(len(rows)), [row[key] for row in rows.values()], marker="o", label=key)
        axes.set_xticks(range(len(rows)), list(rows), fontsize=7, rotation=10)
        axes.set_yscale("log")
        axes.set_title(section, fontsize=9)
        axes.set_ylabel("microseconds")
        axes.grid(visible=True, which="both", alpha=0.3)
        axes.legend(fontsize=8)
    return _save(figure, out, "growth")


def draw(sections: dict[str, Any], out: Path) -> list[Path]:
    """Whatever of the run can be drawn."""
    from benchmarks.budget import stack

    made = []
    loops = {name: rows for name, rows in sections.items() if name in ("one node", "three nodes")}
    if loops:
        made += latencies(loops, out)
    if "budget" in sections:
        made += stacked(stack(sections["budget"]), out)
    if "failover" in sections:
        made += failover(sections["failover"], out)
    steps = {name: rows for name, rows in sections.items() if name.startswith("growth")}
    if steps:
        made += growth(steps, out)
    return made
