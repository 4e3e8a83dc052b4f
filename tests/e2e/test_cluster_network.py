"""Partitions by the kernel: each node in its own network namespace, the leader's or a follower's cable pulled out."""

import itertools
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import Client, Cluster
from tests.e2e.node import PREVOTE, Node, environment, until


def ip(*arguments: str) -> bool:
    return subprocess.run(["ip", *arguments], capture_output=True, check=False).returncode == 0


class Namespaces(Cluster):
    """Every node behind its own virtual cable to one bridge; the validator is on the host's side. Names and network are nobody else's."""

    def __init__(self, directory: Path, network: str) -> None:
        self.host, self.token = f"{network}.254", f"{os.getpid():x}"
        super().__init__(directory, 3, f"tcp://{self.host}:26970")
        self.bridge = f"ckb{self.token}"
        self.hosts = {name: f"{network}.{number}" for number, name in enumerate(self.ids, 1)}

    def space(self, name: str) -> str:
        return f"ck{self.token}-{name}"

    def cable(self, name: str, end: str) -> str:
        return f"ck{end}{self.ids.index(name)}{self.token}"

    def build(self) -> bool:
        made = ip("link", "add", self.bridge, "type", "bridge")
        made = made and ip("addr", "add", f"{self.host}/24", "dev", self.bridge)
        made = made and ip("link", "set", self.bridge, "up")
        for name in self.ids:
            space, near, far = self.space(name), self.cable(name, "v"), self.cable(name, "p")
            made = made and ip("netns", "add", space)
            made = made and ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", space)
            made = made and ip("link", "set", near, "master", self.bridge, "up")
            made = made and ip("-n", space, "addr", "add", f"{self.hosts[name]}/24", "dev", far)
            made = made and ip("-n", space, "link", "set", far, "up") and ip("-n", space, "link", "set", "lo", "up")
        return made

    def remove(self) -> None:
        for name in self.ids:
            ip("netns", "del", self.space(name))
            ip("link", "del", self.cable(name, "v"))
        ip("link", "del", self.bridge)

    def pull(self, name: str, out: bool = True) -> None:
        assert ip("link", "set", self.cable(name, "v"), "down" if out else "up")

    def run(self, name: str) -> None:
        node: Node = self.nodes[name]
        command = ["ip", "netns", "exec", self.space(name), sys.executable, "-m", "cometkms", "start"]
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


def free_network() -> str:
    """Three numbers of a /24 in which this machine has no address."""
    shown = subprocess.run(["ip", "-o", "addr"], capture_output=True, text=True, check=False).stdout
    networks = [f"10.{a}.{b}" for a, b in itertools.product(range(200, 255), range(256))]
    return next(one for one in random.sample(networks, len(networks)) if f" {one}." not in shown)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[Namespaces, Client]]:
    made = Namespaces(tmp_path, free_network())
    if shutil.which("ip") is None or not made.build():
        made.remove()
        pytest.skip(
            "no network namespaces here (root and iproute2); tests/e2e/test_cluster.py cuts the same links by relays"
        )
    validator = Client(*made.addresses)
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
