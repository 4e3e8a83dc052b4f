"""Measure: `make bench`. Tables to the terminal, bench.json, SVG and PNG to --out.
docs/BENCHMARKS.md says how to read them.
"""

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import agent, budget, end_to_end, failover, growth, machine, micro, peers, plots, report
from benchmarks.figures import compare

Sections = dict[str, dict[str, Any]]
Section = Callable[[Path], Sections]  # of an empty directory, which is made
CHAINS = 20


def _sections(*, quick: bool) -> dict[str, Section]:
    rounds, heights = (1, 30) if quick else (5, 500)
    run_ms = 300 if quick else 4000
    return {
        "micro": lambda _: {"micro": micro.run(budget_s=0.02 if quick else 0.3)},
        "one": lambda home: {"one node": end_to_end.closed_loop(home / "one", rounds, heights, 1)},
        "three": lambda home: {"three nodes": end_to_end.closed_loop(home / "three", rounds, heights, 3)},
        "validators": lambda home: {
            "several validators": end_to_end.several_validators(home / "several", max(1, rounds - 3), heights)
        },
        "keys": lambda home: {"key types": end_to_end.key_types(home / "keys", max(1, rounds - 2), heights)},
        "pace": lambda home: {"real pace, three a second": end_to_end.real_pace(home / "pace", 2 if quick else 20)},
        "throughput": lambda home: {
            "one chain": end_to_end.throughput(home / "single", run_ms, 1),
            f"{CHAINS} chains": end_to_end.throughput(home / "chains", run_ms, 3 if quick else CHAINS),
        },
        "budget": lambda home: {"budget": budget.run(home / "budget", heights)},
        "failover": lambda home: {
            "failover": failover.run(
                home / "failover",
                1 if quick else 20,
                ("transfer", failover.JUST_BACK) if quick else tuple(failover.FAULTS),
            )
        },
        "growth": lambda home: growth.run(home / "growth", quick=quick),
        "agent": lambda home: {
            "an agent": agent.latency(home / "agent", max(1, rounds - 1), heights),
            "an agent, no signature for": agent.faults(home / "loss", 1 if quick else 20),
            "an agent's start": agent.starts(home / "starts", rounds * 4),
            "a CometBFT node behind an agent, no block for": agent.blocks(home / "blocks", 1 if quick else 6),
        },
    }


def main() -> int:
    names = list(_sections(quick=True))
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(names)}; all if none is named")
    parser.add_argument(
        "--quick", action="store_true", help="whether everything runs, not how fast: one short round each"
    )
    parser.add_argument("--out", type=Path, default=Path("bench-out"))
    parser.add_argument("--compare", type=Path, metavar="OLD.json", help="say which ratios moved since that run")
    parser.add_argument(
        "--peer",
        action="append",
        default=[],
        metavar="NAME=SCRIPT",
        help="measure another signer, too (docs/BENCHMARKS.md)",
    )
    chosen = parser.parse_args()
    unknown = set(chosen.sections) - set(names)
    if unknown:
        parser.error(f"no section {', '.join(sorted(unknown))}")
    if any(not all(one.partition("=")) for one in chosen.peer):
        parser.error("a peer is given as NAME=SCRIPT")
    old = json.loads(chosen.compare.read_text())["sections"] if chosen.compare else None
    chosen.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=chosen.out) as name:
        home = Path(name).resolve()
        facts = machine.facts(home)
        print(", ".join(f"{key} {value}" for key, value in facts.items()), flush=True)
        found = _measure(_sections(quick=chosen.quick), chosen.sections or names, home)
        if chosen.peer:
            found |= _peers(chosen.peer, home, quick=chosen.quick)
    path = chosen.out / "bench.json"
    path.write_text(json.dumps({"facts": facts, "quick": chosen.quick, "sections": found}, indent=2) + "\n")
    print("\nwritten:", *[path, *plots.draw(found, chosen.out)])
    if old is not None:
        print("\n".join(report.changes(compare(old, found))))
    return 0


def _measure(sections: dict[str, Section], names: list[str], home: Path) -> Sections:
    found: Sections = {}
    homes = (home / f"{number}" for number in itertools.count())

    def measure(section: Section) -> Sections:
        return section(next(homes))

    for name in names:
        began = time.monotonic()
        made = end_to_end.made_again(partial(measure, sections[name]), RuntimeError)
        found |= made
        for title, rows in made.items():
            parts = rows if title == "budget" else {title: rows}
            for part, table in parts.items():
                print("\n".join(report.section(part if part == title else f"{title}: {part}", table)))
        print(f"({name}: {time.monotonic() - began:.0f} s)", flush=True)
    return found


def _peers(given: list[str], home: Path, *, quick: bool) -> Sections:
    scripts = {name: Path(script) for name, _, script in (one.partition("=") for one in given)}
    made: dict[str, Any] = peers.run(scripts, home / "peers", peers.Load(1, 30, 10) if quick else None)
    print("\n".join(report.section("peers", made)))
    return {"peers": made}


if __name__ == "__main__":
    sys.exit(main())
