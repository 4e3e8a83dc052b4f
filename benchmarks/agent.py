"""What an agent beside the validator costs and saves: a signature through it and without it, and how long there is none when the leading node's
host vanishes or freezes. As CometBFT's own client sees it.
"""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks.end_to_end import Run, asked, interleaved, ours_of
from benchmarks.figures import Rounds, gaps, quantiles_us
from benchmarks.signers import bench
from tests.e2e.agents import AgentCluster, AgentProcess, identity_of
from tests.e2e.cluster import Client
from tests.e2e.namespaces import NONE_HERE, Namespaces, free_network
from tests.e2e.node import PREVOTE, Validator, until

SETTLE_S: Final = 1.0
PAUSE_US: Final = 2000  # between two requests of the stream
#: How long the validator's stream is watched.
DIRECT_MS: Final = 9000  # CometBFT waits five seconds in a read
AGENT_MS: Final = 3000


@contextmanager
def through(directory: Path, addresses: list[str], nodes: int) -> Iterator[AgentCluster]:
    """Nodes that listen, and the agent that dials the validators and them."""
    directory.mkdir(parents=True, exist_ok=True)
    agent = AgentProcess(directory / "agent")
    cluster = AgentCluster(directory, nodes, [agent])
    agent.configure(cluster.lines(), addresses)
    try:
        cluster.start(wait=nodes == 1)
        if nodes > 1:
            cluster.wait_leader()
        agent.start()
        agent.wait_linked(nodes)
        yield cluster
    finally:
        if agent.process is not None:
            agent.stop()
        cluster.stop()


def latency(directory: Path, rounds: int, heights: int) -> dict[str, dict[str, Any]]:
    """Request after request, of three nodes: each way its quantiles, and what the agent adds to the direct way of the same network."""

    def ask(validator: Validator) -> list[int]:
        return bench(validator, heights)

    def agent_of(network: str) -> Run:
        def signer(home: Path, where: list[str]) -> AbstractContextManager[Any]:
            return through(home, where, 3)

        return lambda home: asked(home, signer, ask, network=network)

    runs: dict[str, Run] = {}
    for network in ("tcp", "unix"):
        runs[f"direct, {network}"] = ours_of(3, ask, network=network)
        runs[f"agent, {network}"] = agent_of(network)
    found = interleaved(directory, rounds, runs)
    return {name: _beside(measured, found[name.replace("agent", "direct")]) for name, measured in found.items()}


def _beside(measured: Rounds, direct: Rounds) -> dict[str, Any]:
    """Quantiles in microseconds, and how much later than the direct way's they are: over all rounds, and the least and most of one."""
    row: dict[str, Any] = dict(quantiles_us([time for one in measured for time in one]))
    base = quantiles_us([time for one in direct for time in one])
    for key in ("p50", "p99"):
        rounds = [quantiles_us(one)[key] - quantiles_us(same)[key] for one, same in zip(measured, direct, strict=True)]
        row[f"{key} added"] = round(row[key] - base[key], 1)
        row[f"{key} added spread"] = [round(min(rounds), 1), round(max(rounds), 1)]
    return {**row, "count": sum(map(len, measured)), "rounds": len(measured)}


def faults(directory: Path, rounds: int) -> dict[str, Any]:
    """The longest time without a signature of each round in which the leading node's cable is pulled, or its processes freeze.

    Nodes in network namespaces of their own; without an agent a quarter of the rounds, for each takes CometBFT's five seconds.
    """
    found: dict[str, Any] = {}
    for way, run_ms, count in (("agent", AGENT_MS, rounds), ("direct", DIRECT_MS, max(1, rounds // 4))):
        with _machines(directory / way, agent=way == "agent") as machines:
            if machines is None:
                return {"host loss": {"not run": NONE_HERE}}
            for fault in ("cable pulled", "frozen"):
                measured = [_hit(machines, fault, run_ms) for _ in range(count)]
                found[f"{way}, {fault}"] = gaps(measured)
    return found


@dataclass(slots=True)
class _Machines:
    """Three nodes, one host each, a validator, and perhaps its agent. `height`: the next one that nobody has asked for."""

    nodes: Namespaces
    validator: Client
    agent: AgentProcess | None
    height: int = 1

    def settle(self) -> None:
        """Until one node leads, the agent has every link, and a signature is made."""
        self.leader()
        if self.agent is not None:
            up = "cometkms_agent_node_up"
            agent = self.agent
            until(
                lambda: f"the agent's links: {agent.log()}",
                lambda: (
                    sum(number for name, number in agent.metrics().items() if name.startswith(up))
                    == len(self.nodes.ids)
                ),
            )
        self.validator.must_sign(PREVOTE, self.height)
        self.height += 1
        time.sleep(SETTLE_S)

    def leader(self) -> str:
        def alone() -> str | None:
            leading = [name for name in self.nodes.ids if self.nodes.leads(name)]
            return leading[0] if len(leading) == 1 else None

        return until("exactly one leader", alone)


@contextmanager
def _machines(directory: Path, *, agent: bool) -> Iterator[_Machines | None]:
    """None: network namespaces cannot be made here."""
    directory.mkdir(parents=True)
    net = free_network()
    address = f"tcp://{Namespaces.host(net)}:26970"
    nodes = Namespaces(directory, *([] if agent else [address]), net=net)
    if not nodes.build():
        nodes.remove()
        yield None
        return
    asker = None
    if agent:
        asker = AgentProcess(directory / "agent")
        nodes.flags = ["--agent-addr", ":9440", "--agents", asker.line]
        lines = [identity_of(nodes.node(name), name, f"{nodes.hosts[name]}:9440") for name in nodes.ids]
        asker.configure(lines, [address])
    validator = Client(address)
    try:
        for name in nodes.ids:
            nodes.run(name)
        if asker is not None:
            asker.start()
        yield _Machines(nodes, validator, asker)
    finally:
        if asker is not None and asker.process is not None:
            asker.stop()
        nodes.stop()
        validator.close()
        nodes.remove()


def _hit(machines: _Machines, fault: str, run_ms: int) -> float:
    """One round; milliseconds. Raises: RuntimeError for a signature that failed."""
    machines.settle()
    leader = machines.leader()
    machines.validator.send(cmd="stream", height=machines.height, run_ms=run_ms, pause_us=PAUSE_US)
    time.sleep(SETTLE_S)
    undo = (
        partial(machines.nodes.pull, leader, out=False)
        if fault == "cable pulled"
        else partial(machines.nodes.thaw, leader)
    )
    if fault == "cable pulled":
        machines.nodes.pull(leader)
    else:
        machines.nodes.freeze(leader)
    try:
        answer = machines.validator.receive()
    finally:
        undo()
    if answer.get("error"):
        raise RuntimeError(f"{fault}: {answer['error']}")
    machines.height += answer["count"] + 1
    return max((gap["ns"] for gap in answer.get("gaps", [])), default=0) / 1e6
