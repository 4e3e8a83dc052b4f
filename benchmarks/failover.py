"""How long signing stops when the leader goes, as CometBFT's own client sees it: one figure a round."""

import time
from pathlib import Path
from typing import Any, Final

from benchmarks.figures import gaps
from benchmarks.signers import addresses_of, ours, validators
from tests.e2e.cluster import Cluster
from tests.e2e.node import CHAIN

SETTLE_S: Final = 0.5
#: What is done to the leader, for how long the validator's stream is watched, and the share of the rounds.
FAULTS: Final = {
    "kill -9": (2500, 1),
    "stop": (2500, 1),
    "transfer": (1500, 1),
    "freeze": (9000, 4),
    "cut off": (9000, 4),
}


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


def run(directory: Path, rounds: int, faults: tuple[str, ...] = tuple(FAULTS)) -> dict[str, Any]:
    """Of each fault the distribution, and one round's timeline: [ms since the fault, ms without a signature]."""
    directory.mkdir(parents=True)
    addresses = addresses_of(directory, 1, "tcp")
    found: dict[str, list[float]] = {}
    timelines: dict[str, list[list[float]]] = {}
    height = 1
    with validators(addresses, [CHAIN]) as validator, ours(directory / "three", addresses, 3, relays=True) as cluster:
        validator.connect()
        for fault in faults:
            run_ms, share = FAULTS[fault]
            for _ in range(max(1, rounds // share)):
                leader = cluster.wait_leader()
                validator.send(cmd="stream", height=height, run_ms=run_ms, pause_us=2000)
                time.sleep(SETTLE_S)
                at_ns = time.time_ns()
                hit(cluster, fault, leader)
                answer = validator.receive()
                if answer.get("error"):
                    raise RuntimeError(f"{fault}: {answer['error']}")
                height += answer["count"] + 1
                seen = answer.get("gaps", [])
                found.setdefault(fault, []).append(max((gap["ns"] for gap in seen), default=0) / 1e6)
                timelines[fault] = [
                    [round((gap["end_ns"] - at_ns) / 1e6, 1), round(gap["ns"] / 1e6, 1)] for gap in seen
                ]
                mend(cluster, fault, leader)
    return {fault: {**gaps(values), "timeline": timelines[fault]} for fault, values in found.items()}
