"""One node and the floor, asked by CometBFT's own client in a closed loop of proposal, prevote, precommit; interleaved rounds."""

import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.node import CHAIN, Node, Validator, children_of, free_tcp
from tests.gotools import program

ROUNDS = 5
HEIGHTS = 500
WARMUP = 100
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}


def quantiles_us(times_ns: list[int]) -> dict[str, float]:
    ordered = sorted(times_ns)
    found = {name: ordered[min(len(ordered) - 1, int(q * len(ordered)))] / 1000 for name, q in QUANTILES.items()}
    return {**{name: round(value, 1) for name, value in found.items()}, "max": round(ordered[-1] / 1000, 1)}


def ask(
    address: str, start: Callable[[], Any], stop: Callable[[Any], None], inspect: Callable[[Any], Any]
) -> tuple[list[int], Any]:
    """The sorted latencies of one round, nanoseconds, and what `inspect` saw at its end."""
    validator = Validator(address)
    signer = start()
    try:
        validator.connect()
        answer = validator.ask(cmd="bench", height=1, heights=HEIGHTS, warmup=WARMUP)
        if not answer.get("verified"):
            raise RuntimeError(answer.get("error"))
        return answer["ns"], inspect(signer)
    finally:
        stop(signer)
        validator.close()


def floor(address: str, directory: Path) -> tuple[list[int], None]:
    def start() -> subprocess.Popen[bytes]:
        command = [program("floor"), address, CHAIN, str(directory / "floor.dat")]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL)

    return ask(address, start, lambda process: (process.kill(), process.wait())[0], lambda _: None)


def node(address: str, directory: Path, number: int, **variables: str) -> tuple[list[int], dict[str, float]]:
    made = Node(directory / f"node{number}", address)
    return ask(address, lambda: made.start(**variables), lambda one: one.stop(), footprint)


def footprint(one: Node) -> dict[str, float]:
    """PSS of all processes, MiB, and CPU seconds per 1,000 signatures, of the node's whole life."""
    assert one.process is not None
    pids = [one.process.pid, *children_of(one.process.pid)]
    pss = cpu = 0.0
    for pid in pids:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        pss += int(next(line for line in rollup.splitlines() if line.startswith("Pss:")).split()[1]) / 1024
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        cpu += (int(fields[11]) + int(fields[12])) / 100
    return {"pss_mib": round(pss, 1), "cpu_s_per_1000": round(cpu / (3 * (HEIGHTS + WARMUP)) * 1000, 3)}


def run(directory: str = ".") -> dict[str, Any]:
    results: dict[str, list[int]] = {"floor": [], "node tcp": [], "node unix": [], "node tcp, pure": []}
    seen: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=directory) as name:
        home = Path(name)
        for number in range(ROUNDS):
            results["floor"] += floor(free_tcp(), home)[0]
            times, seen = node(free_tcp(), home, number)
            results["node tcp"] += times
            results["node unix"] += node(f"unix://{home}/{number}.sock", home, 100 + number)[0]
        results["node tcp, pure"] += node(free_tcp(), home, 999, COMETKMS_PURE="1")[0]
    table = {name: quantiles_us(times) for name, times in results.items()}
    for row in table.values():
        row["p50 / floor"] = round(row["p50"] / table["floor"]["p50"], 2)
        row["p99 / floor"] = round(row["p99"] / table["floor"]["p99"], 2)
    return {"latency_us": table, "node": seen, "rounds": ROUNDS, "heights": HEIGHTS}


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
