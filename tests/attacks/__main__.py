"""`python -m tests.attacks --seconds N` (`make attack`): every attack on real nodes again and
again, and simulated members that lie beside it.

Each time the simulation has other seeds; one that fails is printed and replayed with `python -m
tests.sim --rogue --seed N`. Ends with the first failure, or when the time is over and everything
was run at least once.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

SEEDS = 500  # of each turn


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.attacks")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--first", type=int, default=int(time.time()), help="the first seed")
    chosen = parser.parse_args()
    ends, first, turns = time.monotonic() + chosen.seconds, chosen.first, 0
    while turns == 0 or time.monotonic() < ends:
        liars = ["tests.sim", "--rogue", "--first", str(first), "--seeds", str(SEEDS), "--jobs", "1"]
        simulated = subprocess.Popen([sys.executable, "-m", *liars])
        try:
            real = subprocess.call([sys.executable, "-m", "pytest", "-q", str(Path(__file__).parent)])
        except BaseException:
            simulated.kill()
            raise
        turns, first = turns + 1, first + SEEDS
        if simulated.wait() or real:
            return 1
    print(f"{turns} times through, {turns * SEEDS} seeds from {chosen.first}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
