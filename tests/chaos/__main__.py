"""`python -m tests.chaos --seconds 600 --seed 7`: prints the seed and every fault, and ends with
what was seen.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.schedule import Chaos
from tests.e2e.cluster import Cluster, Judge, Rivals
from tests.e2e.node import free_tcp


def run(seconds: float, seed: int, nodes: int, directory: Path, *, quiet: bool = False) -> dict[str, object]:
    """Raises: AssertionError for a double signature, or when it does not sign again."""
    began = time.monotonic()

    def say(what: str) -> None:
        if not quiet:
            print(f"{time.monotonic() - began:8.2f} {what}", flush=True)

    addresses = [free_tcp(), free_tcp()]
    judge = Judge()
    rivals = Rivals(addresses, judge)
    cluster = Cluster(directory, nodes, *addresses, relays=True)
    faults = Chaos.prepare(cluster)
    try:
        cluster.start()
        cluster.wait_leader()
        rivals.start()
        rivals.progress(3)
        chaos = Chaos(cluster, rivals, faults, seed, say)
        chaos.run(seconds)
        judge.verdict()
    except BaseException:
        for name in cluster.ids:
            print(f"--- {name}\n" + "\n".join(cluster.log(name).splitlines()[-30:]))
        raise
    finally:
        rivals.stop()
        cluster.stop()
    judge.verdict()
    return {
        "seed": seed,
        "signatures": judge.count,
        "places": len(judge.signatures),
        "double signatures": len(judge.double),
        "longest gap, s": round(chaos.longest_gap_s, 2),
        "faults": chaos.count,
        "syncs that failed": sum(one.injected for one in faults.values()),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--nodes", type=int, default=3)
    chosen = parser.parse_args()
    print(f"seed {chosen.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="cmkms-chaos-") as name:
        for key, value in run(chosen.seconds, chosen.seed, chosen.nodes, Path(name)).items():
            print(f"{key}: {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
