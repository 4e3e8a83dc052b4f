"""Three nodes on one machine: latency against the floor of three, and how long signing stops when the leader goes."""

import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.end_to_end import HEIGHTS, WARMUP, quantiles_us
from tests.e2e.cluster import Cluster
from tests.e2e.node import CHAIN, Validator, free_port, free_tcp
from tests.gotools import program

ROUNDS = 3
FAILOVER_ROUNDS = int(os.environ.get("CMKMS_BENCH_FAILOVERS", "20"))
SETTLE_S = 0.5


def bench(validator: Validator) -> list[int]:
    validator.connect()
    answer = validator.ask(cmd="bench", height=1, heights=HEIGHTS, warmup=WARMUP)
    if not answer.get("verified"):
        raise RuntimeError(answer.get("error"))
    return answer["ns"]


def floor_of_three(directory: Path) -> list[int]:
    """Own sync, both peers at once, the first answer is enough, ed25519: no safety at all."""
    address = free_tcp()
    validator = Validator(address)
    peers = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    processes = []
    try:
        for number, peer in enumerate(peers):
            command = [program("floor"), "peer", peer, str(directory / f"peer{number}")]
            processes.append(subprocess.Popen(command, stdout=subprocess.PIPE))
            assert processes[-1].stdout is not None
            processes[-1].stdout.readline()
        command = [program("floor"), address, CHAIN, str(directory / "self"), *peers]
        processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        return bench(validator)
    finally:
        for process in processes:
            process.kill()
            process.wait()
        validator.close()


def three_nodes(directory: Path) -> list[int]:
    address = free_tcp()
    validator = Validator(address)
    cluster = Cluster(directory, 3, address)
    try:
        cluster.start()
        cluster.wait_leader()
        return bench(validator)
    finally:
        cluster.stop()
        validator.close()


def latency(directory: Path) -> dict[str, Any]:
    results: dict[str, list[int]] = {"floor of three": [], "three nodes": []}
    for number in range(ROUNDS):
        results["floor of three"] += floor_of_three(directory)
        results["three nodes"] += three_nodes(directory / f"run{number}")
    table = {name: quantiles_us(times) for name, times in results.items()}
    for row in table.values():
        for quantile in ("p50", "p99"):
            row[f"{quantile} / floor"] = round(row[quantile] / table["floor of three"][quantile], 2)
    return table


#: What is done to the leader, and for how long the validator's stream is watched.
FAULTS = {"kill -9": 2500, "stop": 2500, "transfer": 1500, "freeze": 9000, "cut off": 9000}


def hit(cluster: Cluster, fault: str, leader: str) -> None:
    match fault:
        case "kill -9":
            cluster.kill(leader)
        case "stop":
            cluster.nodes[leader].stop()
        case "transfer":
            cluster.control(leader, "leader", "transfer")
        case "freeze":
            cluster.freeze(leader)
        case "cut off":
            for other in cluster.ids:
                if other != leader:
                    cluster.cut(leader, other)


def mend(cluster: Cluster, fault: str, leader: str) -> None:
    if fault in ("kill -9", "stop"):
        cluster.start(leader)
    elif fault == "freeze":
        cluster.thaw(leader)
    elif fault == "cut off":
        for relay in cluster.relays.values():
            relay.silent = False
    for name in cluster.ids:
        cluster.wait_state(name, "complete")
    time.sleep(SETTLE_S)


def failover(directory: Path) -> dict[str, Any]:
    """Milliseconds without a signature, as CometBFT's client sees it, one figure a round."""
    address = free_tcp()
    validator = Validator(address)
    cluster = Cluster(directory, 3, address, relays=True)
    found: dict[str, list[float]] = {}
    height = 1
    try:
        cluster.start()
        cluster.wait_leader()
        validator.connect()
        for fault, run_ms in FAULTS.items():
            for _ in range(FAILOVER_ROUNDS if run_ms < 5000 else max(1, FAILOVER_ROUNDS // 4)):
                leader = cluster.wait_leader()
                validator.send(cmd="stream", height=height, run_ms=run_ms, pause_us=2000)
                time.sleep(SETTLE_S)
                hit(cluster, fault, leader)
                answer = validator.receive()
                if answer.get("error"):
                    raise RuntimeError(f"{fault}: {answer['error']}")
                height += answer["count"] + 1
                found.setdefault(fault, []).append(max((gap["ns"] for gap in answer.get("gaps", [])), default=0) / 1e6)
                mend(cluster, fault, leader)
    finally:
        cluster.stop()
        validator.close()
    return {fault: summary(gaps) for fault, gaps in found.items()}


def summary(gaps_ms: list[float]) -> dict[str, float]:
    ordered = sorted(gaps_ms)
    p50, worst = ordered[len(ordered) // 2], ordered[-1]
    return {"rounds": len(ordered), "p50_ms": round(p50, 1), "max_ms": round(worst, 1)}


def run(directory: str = ".") -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=directory) as name:
        home = Path(name)
        return {"latency_us": latency(home), "failover": failover(home / "failover")}
