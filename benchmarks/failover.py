"""How long signing stops when the leader goes, as CometBFT's own client sees it: one
figure a round.

JUST_BACK is an operator's quickest order: the leader is killed and started again, and as soon as it
is complete, the one that leads meanwhile is to hand over; only the second behind the order counts.
"""

import time
from pathlib import Path
from typing import Any, Final

from benchmarks.figures import gaps
from benchmarks.signers import addresses_of, ours, validators
from tests.e2e.cluster import Cluster
from tests.e2e.node import CHAIN

SETTLE_S: Final = 0.5
WATCHED_MS: Final = 1000  # at least so long behind what is done
JUST_BACK: Final = "transfer, one just back"
#: What is done to the leader, for how long the validator's stream is watched, and the
#: share of the rounds.
FAULTS: Final = {
    "kill -9": (2500, 1),
    "stop": (2500, 1),
    "transfer": (1500, 1),
    JUST_BACK: (20_000, 4),
    "freeze": (9000, 4),
    "cut off": (9000, 4),
}


def hit(cluster: Cluster, fault: str, leader: str) -> int:
    """Returns when the order was given whose second alone counts, in unix nanoseconds; 0: all of
    the stream does.
    """
    match fault:
        case "kill -9":
            cluster.kill(leader)
        case "stop":
            cluster.nodes[leader].stop()
        case "transfer":
            _order(cluster, leader)
        case _ if fault == JUST_BACK:
            cluster.kill(leader)
            cluster.start(leader)
            leads = cluster.wait_leader(besides=leader)
            cluster.wait_state(leader, "complete")
            at_ns = time.time_ns()
            _order(cluster, leads)
            return at_ns
        case "freeze":
            cluster.freeze(leader)
        case "cut off":
            for other in cluster.ids:
                if other != leader:
                    cluster.cut(leader, other)
    return 0


def _order(cluster: Cluster, leader: str) -> None:
    """Raises: RuntimeError where the order is refused: it never is while another member
    is complete.
    """
    done = cluster.control(leader, "leader", "transfer")
    if done.returncode != 0:
        raise RuntimeError(f"the order to hand over was refused: {done.stderr.strip()}")


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
    """Of each fault the distribution, and one round's timeline: [ms since the fault, ms
    without a signature].
    """
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
                ends_ns = time.time_ns() + (run_ms - WATCHED_MS) * 1_000_000
                validator.send(cmd="stream", height=height, run_ms=run_ms, pause_us=2000)
                time.sleep(SETTLE_S)
                at_ns = time.time_ns()
                since_ns = hit(cluster, fault, leader)
                answer = validator.receive()
                if answer.get("error"):
                    raise RuntimeError(f"{fault}: {answer['error']}")
                height += answer["count"] + 1
                seen = answer.get("gaps", [])
                if since_ns:
                    seen = [gap for gap in seen if 0 <= gap["end_ns"] - since_ns <= WATCHED_MS * 1_000_000]
                if since_ns > ends_ns:
                    raise RuntimeError(f"{fault}: nothing was asked for any more when it was done")
                found.setdefault(fault, []).append(max((gap["ns"] for gap in seen), default=0) / 1e6)
                timelines[fault] = [
                    [round((gap["end_ns"] - at_ns) / 1e6, 1), round(gap["ns"] / 1e6, 1)] for gap in seen
                ]
                mend(cluster, fault, leader)
    return {fault: {**gaps(values), "timeline": timelines[fault]} for fault, values in found.items()}
