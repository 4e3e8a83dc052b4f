"""What is measured, as processes: the Go floors and our nodes; each serves the validators that the
caller made.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.cluster import Cluster
from tests.e2e.node import CHAIN, Node, Validator, children_of, cmkms, free_port, free_tcp
from tests.gotools import program

HEIGHTS = 500
WARMUP = 100


def addresses_of(directory: Path, count: int, network: str) -> list[str]:
    """Where so many validators listen."""
    if network == "unix":
        return [f"unix://{directory}/{number}.sock" for number in range(count)]
    return [free_tcp() for _ in range(count)]


@contextmanager
def validators(addresses: list[str], chains: list[str], version: str = "v038") -> Iterator[Validator]:
    """All of them in one process, with CometBFT's own client of that version."""
    more = [part for pair in list(zip(addresses, chains, strict=True))[1:] for part in pair]
    made = Validator(addresses[0], version, chain=chains[0], more=more)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def floor(directory: Path, addresses: list[str], nodes: int) -> Iterator[None]:
    """One fdatasync, with three nodes a round trip and another one, and ed25519: no safety at all."""
    directory.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:

        def start(*arguments: str, **more: Any) -> subprocess.Popen[bytes]:
            process = subprocess.Popen([program("floor"), *arguments], **more)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        peers = [f"127.0.0.1:{free_port()}" for _ in range(nodes - 1)]
        for number, peer in enumerate(peers):
            waiting = start("peer", peer, str(directory / f"peer{number}"), stdout=subprocess.PIPE)
            assert waiting.stdout is not None
            waiting.stdout.readline()
        start(",".join(addresses), CHAIN, str(directory / "self"), *peers, stdout=subprocess.DEVNULL)
        yield


@contextmanager
def ours(
    directory: Path,
    addresses: list[str],
    nodes: int,
    chains: list[str] | None = None,
    relays: bool = False,
    key_type: str = "ed25519",
    **variables: str,
) -> Iterator[Cluster]:
    """One node or several.

    `chains`: one for each address; else all addresses are validators of one chain.
    """
    directory.mkdir(parents=True, exist_ok=True)
    cluster = Cluster(directory, nodes, *addresses, relays=relays, key_type=key_type)
    for name, node in cluster.nodes.items():
        cluster.variables[name] = variables
        if chains is not None:
            _serve_chains(cluster, node, addresses, chains)
    try:
        if nodes == 1:
            cluster.nodes["node0"].start(**variables)
        else:
            cluster.start()
            cluster.wait_leader()
        yield cluster
    finally:
        cluster.stop()


def _serve_chains(cluster: Cluster, node: Node, addresses: list[str], chains: list[str]) -> None:
    config = node.home / "config.toml"
    kept = [line for line in config.read_text().splitlines() if not line.startswith(("chain_id", "validator_addr"))]
    tables = [
        f'[[chain]]\nid = "{chain}"\nvalidator_addr = "{address}"'
        for chain, address in zip(chains, addresses, strict=True)
    ]
    config.write_text("\n".join([*kept, *tables]) + "\n")
    first = cluster.nodes[cluster.ids[0]]
    for chain in chains:
        folder = node.home / "priv" / chain
        if node is first:
            done = cmkms("keys", "new", "--home", str(node.home), "--chain-id", chain)
            if done.returncode:
                raise RuntimeError(done.stderr)
        else:
            shutil.copytree(first.home / "priv" / chain, folder)
        (folder / "priv_validator_state.json").write_text(json.dumps({"height": "0", "round": 0, "step": 0}))


def cpu_s(node: Node) -> float:
    """Of all its processes, since they began."""
    assert node.process is not None
    found = 0
    for pid in (node.process.pid, *children_of(node.process.pid)):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        found += int(fields[11]) + int(fields[12])
    return found / 100


def pss_mib(node: Node) -> dict[str, float]:
    """Of each process by its name, and all together."""
    assert node.process is not None
    found: dict[str, float] = {}
    names = {node.process.pid: "supervisor"}
    names |= {pid: Path(f"/proc/{pid}/comm").read_text().strip() for pid in children_of(node.process.pid)}
    for pid, name in names.items():
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        pss = next(line for line in rollup.splitlines() if line.startswith("Pss:"))
        found[name] = round(int(pss.split()[1]) / 1024, 1)
    return {**found, "all": round(sum(found.values()), 1)}


def bench(validator: Validator, heights: int = HEIGHTS, warmup: int = WARMUP, **more: Any) -> list[int]:
    """Latencies of proposal, prevote and precommit, one after the other.

    Raises: RuntimeError for a signature that failed.
    """
    return _asked(validator, cmd="bench", height=1, heights=heights, warmup=warmup, **more)["ns"]


def together(validator: Validator, heights: int = HEIGHTS, warmup: int = WARMUP) -> list[int]:
    """Latencies of validators of one chain that ask for the same at the same time."""
    return _asked(validator, cmd="together", height=1, heights=heights, warmup=warmup)["ns"]


def load(validator: Validator, run_ms: int, warmup_ms: int = 500, pause_us: int = 0) -> dict[str, Any]:
    """Every chain at once: `ns`, `count`, `run_ns`."""
    return _asked(validator, cmd="load", height=1, run_ms=run_ms, warmup_ms=warmup_ms, pause_us=pause_us)


def _asked(validator: Validator, **request: Any) -> dict[str, Any]:
    validator.connect()
    answer = validator.ask(**request)
    if not answer.get("verified"):
        raise RuntimeError(answer.get("error"))
    return answer
