"""Partitions by the kernel: each node in its own network namespace, the leader's or a follower's cable pulled out."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import Client, Cluster
from tests.e2e.node import PREVOTE, Node, environment, until

HOST = "10.213.77.254"


def ip(*arguments: str) -> bool:
    return subprocess.run(["ip", *arguments], capture_output=True, check=False).returncode == 0


class Namespaces(Cluster):
    """Every node behind its own virtual cable to one bridge; the validator is on the host's side."""

    def __init__(self, directory: Path, address: str) -> None:
        super().__init__(directory, 3, address)
        self.hosts = {name: f"10.213.77.{number}" for number, name in enumerate(self.ids, 1)}

    def build(self) -> bool:
        made = ip("link", "add", "ckbr0", "type", "bridge") and ip("addr", "add", f"{HOST}/24", "dev", "ckbr0")
        made = made and ip("link", "set", "ckbr0", "up")
        for number, name in enumerate(self.ids):
            space, near, far = f"ck-{name}", f"ckv{number}", f"ckp{number}"
            made = made and ip("netns", "add", space)
            made = made and ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", space)
            made = made and ip("link", "set", near, "master", "ckbr0", "up")
            made = made and ip("-n", space, "addr", "add", f"{self.hosts[name]}/24", "dev", far)
            made = made and ip("-n", space, "link", "set", far, "up") and ip("-n", space, "link", "set", "lo", "up")
        return made

    def remove(self) -> None:
        for number, name in enumerate(self.ids):
            ip("netns", "del", f"ck-{name}")
            ip("link", "del", f"ckv{number}")
        ip("link", "del", "ckbr0")

    def pull(self, name: str, out: bool = True) -> None:
        assert ip("link", "set", f"ckv{self.ids.index(name)}", "down" if out else "up")

    def run(self, name: str) -> None:
        node: Node = self.nodes[name]
        command = ["ip", "netns", "exec", f"ck-{name}", sys.executable, "-m", "cometkms", "start"]
        command += ["--home", str(node.home), "--id", name, "--raft-addr", f"{self.hosts[name]}:9430"]
        command += ["--http-addr", f"127.0.0.1:{node.http_port}"]
        for other in self.ids:
            command += ["--peer", f"{other}={self.hosts[other]}:9430"]
        with node.log_path.open("ab") as log:
            node.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment()
            )

    def seen_leading(self) -> str | None:
        """The last node whose log says that it has the lease: its HTTP port is inside its namespace."""
        held = {name: self.log(name).rfind("granted=True") > self.log(name).rfind("granted=False") for name in self.ids}
        return next((name for name, has in held.items() if has), None)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[Namespaces, Client]]:
    made = Namespaces(tmp_path, f"tcp://{HOST}:26970")
    if shutil.which("ip") is None or (made.remove(), made.build())[1] is False:
        made.remove()
        pytest.skip(
            "no network namespaces here (root and iproute2); tests/e2e/test_cluster.py cuts the same links by relays"
        )
    validator = Client(f"tcp://{HOST}:26970")
    try:
        yield made, validator
    finally:
        made.stop()
        validator.close()
        made.remove()


def test_a_leader_and_then_a_follower_are_cut_off_by_the_kernel(cluster: tuple[Namespaces, Client]) -> None:
    nodes, validator = cluster
    for name in nodes.ids:
        nodes.run(name)
    leader = until("a leader", nodes.seen_leading)
    validator.must_sign(PREVOTE, 1)
    nodes.pull(leader)
    until(
        "it stops by itself", lambda: nodes.log(leader).rfind("granted=False") > nodes.log(leader).rfind("granted=True")
    )
    second = until("another leads", lambda: (now := nodes.seen_leading()) != leader and now)
    validator.must_sign(PREVOTE, 2)
    nodes.pull(leader, out=False)
    until(
        "it is back",
        lambda: f"peer={second}" in nodes.log(leader).rsplit("granted=False", 1)[1].rsplit("peer connected", 1)[-1],
    )
    follower = next(name for name in nodes.ids if name not in (leader, second))
    nodes.pull(follower)
    validator.must_sign(PREVOTE, 3)
    nodes.pull(follower, out=False)
    validator.must_sign(PREVOTE, 4)
