"""A cluster whose validators have agents beside them: `cmkms agent` in front of the
nodes' agent_addr.
"""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.cluster import Cluster
from tests.e2e.node import CHAIN, PATIENCE_S, Node, cmkms, environment, fetch, free_port, get, until

RESTART_S = 0.02  # RestartSec of its unit


class AgentProcess:
    """`cmkms agent` in a home of its own. `nodes`: lines as `cmkms peers --identities` prints them."""

    def __init__(self, home: Path, name: str = "sentry-a") -> None:
        self.home, self.name = home, name
        self.log_path = home.parent / f"{home.name}.log"
        self.metrics_port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0
        self.told = ""  # what `cmkms agent init` said to configure()
        self.line = self._init("--name", name).stdout.split('"')[1]

    def _init(self, *more: str) -> subprocess.CompletedProcess[str]:
        done = cmkms("agent", "init", "--home", str(self.home), *more)
        assert done.returncode == 0, done.stderr
        return done

    def configure(self, nodes: list[str], addresses: list[str], chain: str = CHAIN) -> "AgentProcess":
        """agent.toml anew."""
        (self.home / "agent.toml").unlink()
        more = [part for one in nodes for part in ("--node", one)]
        more += [part for one in addresses for part in ("--validator-addr", one)]
        metrics = ("--metrics-addr", f"127.0.0.1:{self.metrics_port}")
        self.told = self._init("--name", self.name, "--chain-id", chain, *metrics, *more).stdout
        return self

    def start(self, *before: str, **variables: str) -> "AgentProcess":
        command = [*before, sys.executable, "-m", "cometkms", "agent", "--home", str(self.home)]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment(**variables)
            )
        self.starts += 1
        return self

    @contextmanager
    def supervised(self, **variables: str) -> Iterator["AgentProcess"]:
        """Started, and started again whenever it ends, as its unit does; stopped at the end."""
        over = threading.Event()
        self.start(**variables)

        def watch() -> None:
            while True:
                assert self.process is not None
                self.process.wait()
                if over.wait(RESTART_S):
                    return
                self.start(**variables)

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            yield self
        finally:
            over.set()
            while watching.is_alive():
                self.stop()
                watching.join(0.1)

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def kill(self) -> None:
        """SIGKILL to the one that runs now."""
        process = self.process
        assert process is not None
        process.kill()
        process.wait()

    def stop(self) -> int:
        process = self.process
        assert process is not None
        process.terminate()
        try:
            return process.wait(timeout=PATIENCE_S)
        finally:
            process.kill()

    def metrics(self) -> dict[str, float]:
        """By name and labels, once it answers."""
        return numbers_of(fetch(f"http://127.0.0.1:{self.metrics_port}/metrics")[1])

    def links(self) -> float:
        """To how many nodes it has one; 0 while it does not answer."""
        try:
            _, told = get(f"http://127.0.0.1:{self.metrics_port}/metrics")
        except OSError:
            return 0
        return sum(
            number for name, number in numbers_of(told.decode()).items() if name.startswith("cometkms_agent_node_up")
        )

    def wait_linked(self, count: int) -> None:
        until(lambda: f"{count} links\n{self.log()}", lambda: self.log().count(" node connected") >= count)


def numbers_of(metrics: str) -> dict[str, float]:
    """By name and labels."""
    lines = (line.rpartition(" ") for line in metrics.splitlines() if not line.startswith("#"))
    return {name: float(number) for name, _, number in lines}


def identity_of(node: Node, name: str, agent_addr: str) -> str:
    """What `cmkms peers --identities` prints for a node that listens there."""
    variables = environment(COMETKMS_AGENT_ADDR=agent_addr, COMETKMS_AGENTS=f"x:{'00' * 32}", COMETKMS_ID=name)
    done = cmkms("peers", "--identities", "--home", str(node.home), env=variables)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class AgentCluster(Cluster):
    """Nodes that dial no validator and listen for agents."""

    def __init__(
        self,
        directory: Path,
        count: int,
        agents: list[AgentProcess],
        *,
        chain: str = CHAIN,
        relays: bool = False,
        key_type: str = "ed25519",
    ) -> None:
        super().__init__(directory, count, chain=chain, relays=relays, key_type=key_type)
        self.agents = agents
        self.agent_ports = {name: free_port() for name in self.ids}
        for name in self.ids:
            self.extra[name] = ["--agent-addr", f"127.0.0.1:{self.agent_ports[name]}"]
            self.extra[name] += [part for one in agents for part in ("--agents", one.line)]

    def identity(self, name: str) -> str:
        """The node's line for agent.toml."""
        return identity_of(self.nodes[name], name, f"127.0.0.1:{self.agent_ports[name]}")

    def lines(self) -> list[str]:
        return [self.identity(name) for name in self.ids]
