"""What an agent beside the validator costs and saves: a signature through it and without it, how
long there is none when the leading node's host vanishes or freezes, when the agent is killed, and
when nodes are restarted; and how long a real CometBFT node makes no block.
"""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.end_to_end import Run, asked, interleaved, ours_of
from benchmarks.figures import Rounds, gaps, quantiles_us
from benchmarks.signers import bench
from tests.e2e.agents import AgentCluster, AgentProcess, identity_of
from tests.e2e.cluster import Client
from tests.e2e.namespaces import NONE_HERE, Namespaces, free_network
from tests.e2e.node import CHAIN, PREVOTE, Validator, free_tcp, until
from tests.e2e.test_real_node import CometBFT

SETTLE_S: Final = 0.3
# asked and answered before something happens: the agent has this node's times
STREAM_S: Final = 0.6
PAUSE_US: Final = 2000  # between two requests of the stream
#: How long the validator's stream is watched; a request that waits at its end is waited for.
DIRECT_MS: Final = 7000  # CometBFT waits five seconds in a read
AGENT_MS: Final = 2000
#: For the next block, where a machine is so busy that the time above is not enough.
BLOCKS_WAIT_S: Final = 60.0
RESTART_MS: Final = 4000  # a node stops, starts and is complete again meanwhile
FIRST_BLOCKS: Final = 10


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
    """Request after request, of three nodes: each way its quantiles, and what the agent adds to the
    direct way of the same network; of the agent the processor's time and the wake-ups of a request,
    which do not depend on what else the machine does.
    """
    costs: dict[str, list[tuple[float, float]]] = {}

    def ask(validator: Validator) -> list[int]:
        return bench(validator, heights)

    def agent_of(network: str) -> Run:
        @contextmanager
        def signer(home: Path, where: list[str]) -> Iterator[Any]:
            with through(home, where, 3) as cluster:
                agent = cluster.agents[0]
                before = _use(agent)
                yield cluster
                used = [after - then for after, then in zip(_use(agent), before, strict=True)]
                costs.setdefault(f"agent, {network}", []).append((used[0] / used[2] * 1e3, used[1] / used[2]))

        return lambda home: asked(home, signer, ask, network=network)

    runs: dict[str, Run] = {}
    for network in ("tcp", "unix"):
        runs[f"direct, {network}"] = ours_of(3, ask, network=network)
        runs[f"agent, {network}"] = agent_of(network)
    found = interleaved(directory, rounds, runs)
    rows = {name: _beside(measured, found[name.replace("agent", "direct")]) for name, measured in found.items()}
    for name, measured in costs.items():
        rows[name]["CPU_us"] = round(median(cpu_us for cpu_us, _ in measured), 1)
        rows[name]["wake-ups"] = round(median(wakes for _, wakes in measured), 2)
    return rows


def _use(agent: AgentProcess) -> tuple[float, float, float]:
    """What the agent has used so far: milliseconds of the processor, wake-ups of its
    thread, requests.
    """
    assert agent.process is not None
    status = Path(f"/proc/{agent.process.pid}/status").read_text()
    wakes = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("voluntary_ctxt_switches"))
    asked_for = sum(n for name, n in agent.metrics().items() if name.startswith("cometkms_agent_requests_total"))
    return _used_ms(agent), wakes, asked_for


def _beside(measured: Rounds, direct: Rounds) -> dict[str, Any]:
    """Quantiles in microseconds, and how much later than the direct way's they are: over all
    rounds, and the least and most of one.
    """
    row: dict[str, Any] = dict(quantiles_us([time for one in measured for time in one]))
    base = quantiles_us([time for one in direct for time in one])
    for key in ("p50", "p99"):
        rounds = [quantiles_us(one)[key] - quantiles_us(same)[key] for one, same in zip(measured, direct, strict=True)]
        row[f"{key} added"] = round(row[key] - base[key], 1)
        row[f"{key} added spread"] = [round(min(rounds), 1), round(max(rounds), 1)]
    return {**row, "count": sum(map(len, measured)), "rounds": len(measured)}


def faults(directory: Path, rounds: int) -> dict[str, Any]:
    """The longest time without a signature of each round in which the leading node's cable is
    pulled, its processes freeze or are killed, the agent is killed and started again as its unit
    does, or every node is restarted, one after the other.

    Nodes in network namespaces of their own. So many rounds of each loss of a host; half as many
    kills, as many restarts, and without an agent a tenth, for each takes CometBFT's five seconds:
    twenty rounds take about six minutes.
    """
    found: dict[str, Any] = {}
    half = -(-rounds // 2)
    for way, run_ms, count in (("agent", AGENT_MS, rounds), ("direct", DIRECT_MS, -(-rounds // 10))):
        with _machines(directory / way, agent=way == "agent") as machines:
            if machines is None:
                return {"host loss": {"not run": NONE_HERE}}
            hits: dict[str, tuple[Hit, int]] = {
                "cable pulled": (_pull, count),
                "frozen": (_freeze, count),
                "killed": (_kill, min(half, count)),
            }
            if way == "agent":
                hits["the agent killed"] = _kill_agent, half
            for fault, (hit, times) in hits.items():
                found[f"{way}, {fault}"] = gaps([_hit(machines, hit, run_ms) for _ in range(times)])
            if way == "agent":
                names = [name for _ in range(-(-half // 3)) for name in machines.nodes.ids]
                found["agent, a node restarted"] = gaps([_hit(machines, _restart(name), RESTART_MS) for name in names])
    return found


def starts(directory: Path, rounds: int) -> dict[str, Any]:
    """From the start of `cmkms agent` to its first dial of the validator, and the
    processor's time of it.
    """
    directory.mkdir(parents=True)
    agent = AgentProcess(directory / "agent")
    path = directory / "v.sock"
    agent.configure([f"node0=127.0.0.1:1:{bytes(32).hex()}"], [f"unix://{path}"])
    dialled, used = [], []
    with socket.socket(socket.AF_UNIX) as validator:
        validator.bind(str(path))
        validator.listen()
        for _ in range(rounds):
            began_ns = time.perf_counter_ns()
            agent.start()
            with validator.accept()[0]:
                dialled.append((time.perf_counter_ns() - began_ns) / 1e6)
                used.append(_used_ms(agent))
                agent.kill()
    return {"start to dial": gaps(dialled), "start to dial, CPU": gaps(used)}


def _used_ms(agent: AgentProcess) -> float:
    assert agent.process is not None
    tasks = Path(f"/proc/{agent.process.pid}/task").glob("*/schedstat")
    return sum(int(one.read_text().split()[0]) for one in tasks) / 1e6


def blocks(directory: Path, rounds: int) -> dict[str, Any]:
    """The longest time between two blocks of a real CometBFT node (100 ms commits) behind an agent,
    of each round, by the blocks' own times.
    """
    directory.mkdir(parents=True)
    chain = CometBFT(directory / "comet", free_tcp())
    found: dict[str, Any] = {}
    with _machines(directory / "agent", agent=True, chain=chain) as machines:
        if machines is None:
            return {"host loss": {"not run": NONE_HERE}}
        chain.start()
        until("blocks", lambda: chain.height() >= FIRST_BLOCKS)
        for fault, hit in {"nothing happens": _nothing, "cable pulled": _pull, "frozen": _freeze}.items():
            found[fault] = gaps([_between_blocks(machines, chain, hit) for _ in range(rounds)])
        chain.stop()
    return found


@dataclass(slots=True)
class _Machines:
    """Three nodes, one host each, a validator, and perhaps its agent.

    `height`: the next one that nobody has asked for.
    """

    nodes: Namespaces
    validator: Client
    agent: AgentProcess | None
    height: int = 1

    def settle(self) -> None:
        """Until one node leads, and the agent has every link."""
        self.leader()
        if self.agent is not None:
            agent = self.agent
            until(lambda: f"the agent's links: {agent.log()}", lambda: agent.links() == len(self.nodes.ids))

    def leader(self) -> str:
        def alone() -> str | None:
            leading = [name for name in self.nodes.ids if self.nodes.leads(name)]
            return leading[0] if len(leading) == 1 else None

        return until("exactly one leader", alone)


@contextmanager
def _machines(directory: Path, *, agent: bool, chain: CometBFT | None = None) -> Iterator[_Machines | None]:
    """None: network namespaces cannot be made here.

    `chain`: whose validator the agent serves, in the place of the client's.
    """
    directory.mkdir(parents=True)
    net = free_network()
    address = f"tcp://{Namespaces.host(net)}:26970"
    served, chain_id = (chain.address, chain.chain_id) if chain is not None else (address, CHAIN)
    nodes = Namespaces(directory, *([] if agent else [served]), net=net, chain=chain_id)
    if not nodes.build():
        nodes.remove()
        yield None
        return
    if chain is not None:
        chain.use_key(nodes.nodes[nodes.ids[0]])
    asker = None
    if agent:
        asker = AgentProcess(directory / "agent")
        nodes.flags = ["--agent-addr", ":9440", "--agents", asker.line]
        lines = [identity_of(nodes.node(name), name, f"{nodes.hosts[name]}:9440") for name in nodes.ids]
        asker.configure(lines, [served], chain=chain_id)
    validator = Client(address)
    try:
        for name in nodes.ids:
            nodes.run(name)
        with asker.supervised() if asker is not None else nullcontext():
            yield _Machines(nodes, validator, asker)
    finally:
        nodes.stop()
        validator.close()
        nodes.remove()


#: Does something to the machines, the first of them the leader's, and gives what undoes it.
Hit = Callable[[_Machines, str], Callable[[], None]]


def _nothing(_machines: _Machines, _leader: str) -> Callable[[], None]:
    return lambda: None


def _pull(machines: _Machines, leader: str) -> Callable[[], None]:
    machines.nodes.pull(leader)
    return lambda: machines.nodes.pull(leader, out=False)


def _freeze(machines: _Machines, leader: str) -> Callable[[], None]:
    machines.nodes.freeze(leader)
    return lambda: machines.nodes.thaw(leader)


def _kill(machines: _Machines, leader: str) -> Callable[[], None]:
    machines.nodes.kill(leader)
    return lambda: machines.nodes.run(leader)


def _kill_agent(machines: _Machines, _leader: str) -> Callable[[], None]:
    assert machines.agent is not None
    machines.agent.kill()
    return lambda: None


def _restart(name: str) -> Hit:
    """That node, wherever it stands."""

    def hit(machines: _Machines, _leader: str) -> Callable[[], None]:
        machines.nodes.node(name).stop()
        machines.nodes.run(name)
        return lambda: None

    return hit


def _hit(machines: _Machines, hit: Hit, run_ms: int) -> float:
    """One round; milliseconds. Raises: RuntimeError for a signature that failed."""
    machines.settle()
    machines.validator.must_sign(PREVOTE, machines.height)
    machines.height += 1
    time.sleep(SETTLE_S)
    leader = machines.leader()
    machines.validator.send(cmd="stream", height=machines.height, run_ms=run_ms, pause_us=PAUSE_US)
    time.sleep(STREAM_S)
    undo = hit(machines, leader)
    try:
        answer = machines.validator.receive()
    finally:
        undo()
    if answer.get("error"):
        raise RuntimeError(f"{answer['error']}")
    machines.height += answer["count"] + 1
    return max((gap["ns"] for gap in answer.get("gaps", [])), default=0) / 1e6


def _between_blocks(machines: _Machines, chain: CometBFT, hit: Hit) -> float:
    """One round; milliseconds between the two blocks that are furthest apart."""
    machines.settle()
    time.sleep(SETTLE_S)
    first = chain.height()
    undo = hit(machines, machines.leader())
    try:
        until = time.monotonic() + BLOCKS_WAIT_S
        time.sleep(AGENT_MS / 1e3)
        while (last := chain.height()) == first and time.monotonic() < until:
            time.sleep(0.1)
    finally:
        undo()
    times = chain.times(first, last)
    if len(times) < 2:
        raise RuntimeError(f"no block within {BLOCKS_WAIT_S:g} s after {first}")
    return max(later - earlier for earlier, later in pairwise(times)) * 1e3
