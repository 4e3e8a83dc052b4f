"""What latency grows with: extension size, chains, the age of the journal, round trips between the
nodes; and how long a start takes.
"""

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.end_to_end import FLOOR, floor_of, ours_of
from benchmarks.figures import Rounds, quantiles_us, table
from benchmarks.signers import addresses_of, bench, floor, load, ours, validators
from tests.e2e.cluster import Cluster
from tests.e2e.node import CHAIN, Validator, until

ROUND_TRIPS_MS = (0.2, 1, 10, 40)


def extensions(directory: Path, sizes: tuple[int, ...], heights: int) -> dict[str, Any]:
    """One node: precommits with a vote extension of so many bytes (signed too), beside
    the floor with none.
    """
    results: dict[str, Rounds] = {FLOOR: [floor_of(1)(directory / "floor")]}
    for size in sizes:

        def ask(validator: Validator, size: int = size) -> list[int]:
            return bench(validator, max(20, heights // (1 + size // 65536)), 10, extension="ee" * size)

        results[f"extension of {size} bytes"] = [ours_of(1, ask)(directory / f"{size}")]
    return table(results, FLOOR)


def chains(directory: Path, counts: tuple[int, ...], run_ms: int) -> dict[str, Any]:
    """Every chain's validator asks at once, in a closed loop each."""
    found: dict[str, Any] = {}
    for count in counts:
        home = directory / f"{count}"
        home.mkdir(parents=True)
        names = [f"bench-{number}" for number in range(count)] if count > 1 else None
        addresses = addresses_of(home, count, "tcp")
        with validators(addresses, [CHAIN] * count) as validator, floor(home / "floor", addresses, 1):
            base = load(validator, run_ms)
        addresses = addresses_of(home, count, "tcp")
        with validators(addresses, names or [CHAIN]) as validator, ours(home / "ours", addresses, 1, names):
            measured = load(validator, run_ms)
        rows = table({FLOOR: [base["ns"]], "node": [measured["ns"]]}, FLOOR)
        rows["node"]["per second"] = round(measured["count"] / measured["run_ns"] * 1e9)
        rows[FLOOR]["per second"] = round(base["count"] / base["run_ns"] * 1e9)
        found |= {f"{count} chains, {name}": row for name, row in rows.items()}
    return found


def journal(directory: Path, signatures: tuple[int, ...]) -> dict[str, Any]:
    """Three nodes after so many signatures: latency, the journal's size, and how long a restarted
    node takes to be complete.
    """
    found: dict[str, Any] = {}
    directory.mkdir(parents=True)
    addresses = addresses_of(directory, 1, "tcp")
    height = 1
    with validators(addresses, [CHAIN]) as validator, ours(directory / "three", addresses, 3) as cluster:
        for count in signatures:
            heights = max(10, count // 3)
            answer = _stretch(validator, height, heights)
            height += heights + 1
            leader = cluster.wait_leader()
            follower = next(name for name in cluster.ids if name != leader)
            size = (cluster.nodes[follower].home / "data" / follower / "raft").stat().st_size
            took = _restart_s(cluster, follower)
            found[f"after {count} more signatures"] = {
                **quantiles_us(answer[-900:]),
                "journal_bytes": size,
                "restart_ms": round(took * 1000),
            }
    return found


def _stretch(validator: Validator, height: int, heights: int) -> list[int]:
    """In the order asked, not sorted: what matters is how the last ones fare."""
    validator.connect()
    found: list[int] = []
    for start in range(height, height + heights, 300):
        part = min(300, height + heights - start)
        answer = validator.ask(cmd="bench", height=start, heights=part, warmup=0)
        if not answer.get("verified"):
            raise RuntimeError(answer.get("error"))
        found += answer["ns"]
    return found


def _restart_s(cluster: Cluster, name: str) -> float:
    cluster.kill(name)
    started = time.perf_counter()
    cluster.start(name)
    until(f"{name} is complete", lambda: cluster.status(name).get("node_state") == "complete")
    return time.perf_counter() - started


def round_trips(directory: Path, heights: int) -> dict[str, Any]:
    """Three nodes whose connections are delayed by a relay: latency against the limit of one round
    trip and the syncs without.
    """
    found: dict[str, Any] = {}
    near = ours_of(3, lambda validator: bench(validator, heights, 20))(directory / "near")
    base = quantiles_us(near)
    found["no delay"] = base
    for trip_ms in ROUND_TRIPS_MS:
        with ExitStack() as stack:
            home = directory / f"{trip_ms}"
            home.mkdir(parents=True)
            addresses = addresses_of(home, 1, "tcp")
            validator = stack.enter_context(validators(addresses, [CHAIN]))
            cluster = stack.enter_context(ours(home / "three", addresses, 3, relays=True))
            relayed = quantiles_us(bench(validator, max(20, heights // 4), 10))
            for relay in cluster.relays.values():
                relay.delay_s = trip_ms / 2000
            times = _stretch(validator, 900, max(20, int(heights // (1 + trip_ms))))
        row = quantiles_us(times)
        found[f"round trip of {trip_ms} ms"] = {
            **row,
            # the relay's own time is in both
            "of the limit": round(row["p50"] / (trip_ms * 1000 + relayed["p50"]), 2),
        }
    return found


def run(directory: Path, *, quick: bool) -> dict[str, dict[str, Any]]:
    """All of them."""
    heights = 30 if quick else 300
    sizes = (0, 65536) if quick else (0, 1024, 65536, 262144, 1048576)
    return {
        "growth, extension": extensions(directory / "extensions", sizes, heights),
        "growth, chains": chains(directory / "chains", (1, 2) if quick else (1, 5, 20), 300 if quick else 3000),
        "growth, journal": journal(directory / "journal", (30,) if quick else (1000, 10000, 10000)),
        "growth, round trip": round_trips(directory / "trips", heights),
    }
