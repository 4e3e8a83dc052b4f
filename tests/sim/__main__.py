"""`python -m tests.sim --seeds N`: N seeded runs; a failing one prints its trace and can be run
alone with --seed.
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from functools import partial

from tests.sim.ground import Violation
from tests.sim.rogue import RogueWorld
from tests.sim.world import World


def run(
    job: tuple[int, int, float], *, rogue: bool = False, fast: bool | None = None
) -> tuple[int, Counter[str], str, list[str], float]:
    """Seed, statistics, violation or "", the trace's end, simulated seconds.

    `rogue`: one member of three lies (rogue.py).

    `fast`: whether C serves what is plain; None: in every other seed.
    """
    seed, nodes, seconds = job
    world = RogueWorld(seed, fast=fast) if rogue else World(seed, nodes, fast=fast)
    problem = ""
    try:
        world.run(seconds)
    except Violation as error:
        problem = str(error)
    except Exception as error:  # noqa: BLE001 - a crash of the code under test is a finding too
        problem = f"{type(error).__name__}: {error}"
    return seed, Counter(world.stats), problem, world.trace[-200:] if problem else [], world.now


def nodes_of(seed: int) -> int:
    """Mostly three; two and five in between."""
    return (3, 3, 3, 2, 3, 3, 5, 3)[seed % 8]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim")
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--seed", type=int, help="this one only, with its whole trace")
    parser.add_argument("--nodes", type=int, help="instead of a mix")
    parser.add_argument("--seconds", type=float, default=6.0, help="simulated, under faults")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rogue", action="store_true", help="one member of three is malicious (rogue.py)")
    parser.add_argument("--path", choices=("fast", "general"), help="in every seed, instead of alternately")
    chosen = parser.parse_args()
    fast = None if chosen.path is None else chosen.path == "fast"
    if chosen.seed is not None:
        seed, stats, problem, trace, _ = run(
            (chosen.seed, chosen.nodes or nodes_of(chosen.seed), chosen.seconds), rogue=chosen.rogue, fast=fast
        )
        print("\n".join(trace))
        print(f"seed {seed}: {problem or 'holds'} {dict(stats)}")
        return 1 if problem else 0
    jobs = (
        (seed, chosen.nodes or nodes_of(seed), chosen.seconds)
        for seed in range(chosen.first, chosen.first + chosen.seeds)
    )
    total: Counter[str] = Counter()
    simulated, failed, begun = 0.0, [], time.monotonic()
    with multiprocessing.Pool(chosen.jobs) as pool:
        for seed, stats, problem, trace, seconds in pool.imap_unordered(
            partial(run, rogue=chosen.rogue, fast=fast), jobs, chunksize=4
        ):
            total += stats
            simulated += seconds
            if problem:
                failed.append(seed)
                if len(failed) <= 3:
                    print("\n".join(trace[-60:]))
                    print(f"seed {seed}: {problem}", flush=True)
    took = time.monotonic() - begun
    print(
        f"{chosen.seeds} seeds, {simulated:.0f} simulated seconds in {took:.0f} s; {len(failed)} failed {failed[:10]}"
    )
    print(" ".join(f"{name}={count}" for name, count in sorted(total.items())))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
