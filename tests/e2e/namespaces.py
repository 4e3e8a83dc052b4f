"""Machines of their own for whole nodes: a network namespace each, on one bridge with the
validators' side, and cuts made by the kernel.
"""

import itertools
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

from tests.e2e.cluster import Cluster
from tests.e2e.node import CHAIN, Node, environment

#: Why a test that needs them is skipped.
NONE_HERE = "no network namespaces here (root and iproute2)"


def ip(*arguments: str) -> bool:
    return subprocess.run(["ip", *arguments], capture_output=True, check=False).returncode == 0


def free_network() -> str:
    """Three numbers of a /24 in which this machine has no address."""
    shown = subprocess.run(["ip", "-o", "addr"], capture_output=True, text=True, check=False).stdout
    networks = [f"10.{a}.{b}" for a, b in itertools.product(range(200, 255), range(256))]
    return next(one for one in random.sample(networks, len(networks)) if f" {one}." not in shown)


class Namespaces(Cluster):
    """Every node behind its own virtual cable to one bridge; the validators are on the host's side.

    Names of the bridge and the namespaces are this process's own, so that tests do not meet. `net`:
    the first three numbers of the addresses. `machines`: by name, which node's id runs there; more
    than one may have the same.
    """

    def __init__(
        self,
        directory: Path,
        *addresses: str,
        net: str,
        machines: dict[str, str] | None = None,
        chain: str = CHAIN,
    ) -> None:
        super().__init__(directory, 3, *addresses, chain=chain)
        self.chain = chain
        self.name, self.net = f"ck{os.getpid():x}", net
        self.machines = machines or {one: one for one in self.ids}
        self.hosts = {machine: f"{net}.{number}" for number, machine in enumerate(self.machines, 1)}
        self.flags: list[str] = []

    @staticmethod
    def host(net: str) -> str:
        """The validators' side."""
        return f"{net}.254"

    def build(self) -> bool:
        """False: they cannot be made here."""
        self.remove()
        if shutil.which("ip") is None:
            return False
        bridge = f"{self.name}br0"
        made = ip("link", "add", bridge, "type", "bridge") and ip(
            "addr", "add", f"{self.host(self.net)}/24", "dev", bridge
        )
        made = made and ip("link", "set", bridge, "up")
        for number, machine in enumerate(self.machines):
            space, near, far = self.space(machine), f"{self.name}v{number}", f"{self.name}p{number}"
            made = made and ip("netns", "add", space)
            made = made and ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", space)
            made = made and ip("link", "set", near, "master", bridge, "up")
            made = made and ip("-n", space, "addr", "add", f"{self.hosts[machine]}/24", "dev", far)
            made = made and ip("-n", space, "link", "set", far, "up") and ip("-n", space, "link", "set", "lo", "up")
        return made

    def remove(self) -> None:
        for number, machine in enumerate(self.machines):
            ip("netns", "del", self.space(machine))
            ip("link", "del", f"{self.name}v{number}")
        ip("link", "del", f"{self.name}br0")

    def space(self, machine: str) -> str:
        return f"{self.name}-{machine}"

    def pull(self, machine: str, out: bool = True) -> None:
        """The cable."""
        assert ip("link", "set", f"{self.name}v{list(self.machines).index(machine)}", "down" if out else "up")

    def part(self, one: str, other: str, apart: bool = True) -> None:
        """The two do not reach each other, and everything else as before."""
        for me, it in ((one, other), (other, one)):
            done = ip("-n", self.space(me), "route", "add" if apart else "del", "blackhole", f"{self.hosts[it]}/32")
            assert done, (me, it)

    def node(self, machine: str) -> Node:
        """A home of its own for each machine; the first one of an id has that of the cluster."""
        if machine not in self.nodes:
            first = self.nodes[self.ids[0]]
            self.nodes[machine] = Node(self.directory / machine, *self.addresses, chain=self.chain)
            shutil.copy(first.key_path, self.nodes[machine].key_path)
        return self.nodes[machine]

    def run(self, machine: str) -> None:
        node, me = self.node(machine), self.machines[machine]
        command = ["ip", "netns", "exec", self.space(machine), sys.executable, "-m", "cometkms", "start"]
        command += ["--home", str(node.home), "--id", me, "--raft-addr", f"{self.hosts[machine]}:9430"]
        command += ["--http-addr", f"127.0.0.1:{node.http_port}", *self.flags]
        for other in self.ids:
            command += ["--peer", f"{other}={self.hosts[machine if other == me else other]}:9430"]
        with node.log_path.open("ab") as log:
            node.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment()
            )

    def leads(self, machine: str) -> bool:
        """By its log: its HTTP port is inside its namespace."""
        log = self.log(machine)
        return log.rfind("granted=True") > max(log.rfind("granted=False"), log.rfind("cmkms starts"))

    def seen_leading(self) -> str | None:
        """The first node whose log says that it has the lease."""
        return next((machine for machine in self.machines if machine in self.nodes and self.leads(machine)), None)

    def stop(self) -> None:
        for machine, node in self.nodes.items():
            if machine not in self.ids and node.process is not None and node.process.poll() is None:
                node.stop()
        super().stop()
