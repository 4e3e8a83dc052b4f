"""Several whole nodes on one key, validators that want conflicting blocks, and a judge of every
signature that leaves.
"""

import contextlib
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.e2e.node import (
    CHAIN,
    PATIENCE_S,
    PRECOMMIT,
    PREVOTE,
    Node,
    Validator,
    ballot,
    children_of,
    cmkms,
    free_port,
    free_tcp,
    until,
)
from tests.e2e.relay import Relay

LOOK_S = 5.0  # for an answer of a node that may be frozen: then it is asked again


class Client(Validator):
    """A validator that asks for the public key first, as one does at its start."""

    connected = False

    def sign(self, *arguments: Any, **more: Any) -> dict[str, Any]:
        if not self.connected:
            self.connect()
            self.connected = True
        return super().sign(*arguments, **more)


class Cluster:
    """`count` homes with the same priv/; each dial between two nodes goes through a
    relay that can be cut.
    """

    def __init__(
        self,
        directory: Path,
        count: int,
        *addresses: str,
        chain: str = CHAIN,
        relays: bool = False,
        key_type: str = "ed25519",
    ) -> None:
        self.directory, self.addresses = directory, addresses
        self.ids = [f"node{number}" for number in range(count)]
        self.ports = {name: free_port() for name in self.ids}
        self.nodes: dict[str, Node] = {}
        self.extra: dict[str, list[str]] = {}
        self.variables: dict[str, dict[str, str]] = {}
        self.relays: dict[tuple[str, str], Relay] = {}
        for name in self.ids:
            node = Node(directory / name, *addresses, chain=chain, key_type=key_type)
            self.nodes[name] = node
            if name != self.ids[0]:
                shutil.copy(self.nodes[self.ids[0]].key_path, node.key_path)
        if relays:
            for dialler in self.ids:
                for other in self.ids:
                    if dialler > other:
                        self.relays[dialler, other] = Relay(self.ports[other])

    def peers_of(self, name: str, members: list[str] | None = None) -> list[str]:
        found = []
        for other in members or self.ids:
            relay = self.relays.get((name, other))
            found += ["--peer", f"{other}=127.0.0.1:{relay.port if relay else self.ports[other]}"]
        return found

    def start(self, *names: str, wait: bool = False, members: list[str] | None = None) -> "Cluster":
        for name in names or self.ids:
            arguments = ["--id", name, "--raft-addr", f"127.0.0.1:{self.ports[name]}"]
            arguments += [*self.peers_of(name, members), *self.extra.get(name, [])]
            self.nodes[name].start(*arguments, wait=wait, **self.variables.get(name, {}))
        return self

    def up(self, name: str) -> bool:
        process = self.nodes[name].process
        return process is not None and process.poll() is None

    def status(self, name: str) -> dict[str, Any]:
        """Empty when it does not answer."""
        if not self.up(name):
            return {}
        try:
            return self.nodes[name].look(LOOK_S)
        except (OSError, ValueError):
            return {}

    def leader(self) -> str | None:
        """A node that says it leads."""
        return next((name for name in self.ids if self.status(name).get("is_leader")), None)

    def wait_leader(self, besides: str | None = None) -> str:
        def found() -> str | None:
            leader = self.leader()
            return leader if leader != besides else None

        return until(lambda: f"a leader besides {besides}: {self.reasons()}", found)

    def reasons(self) -> dict[str, Any]:
        return {name: self.status(name).get("why", "down") for name in self.ids}

    def wait_state(self, name: str, state: str) -> None:
        until(lambda: f"{name} is {state}: {self.reasons()}", lambda: self.status(name).get("node_state") == state)

    def wait_whole(self) -> None:
        """Every node is healthy, complete and sees all the others so, and all follow one leader."""

        def whole() -> bool:
            found = [self.status(name) for name in self.ids]
            members = [one for status in found for one in status.get("members", [])]
            return (
                all(status.get("healthy") for status in found)
                and len({status["leader_id"] for status in found}) == 1
                and all(one["connected"] and one["state"] == "complete" for one in members)
            )

        until(lambda: f"the cluster is whole: {self.reasons()}", whole)

    def kill(self, name: str) -> None:
        self.nodes[name].kill()

    def wipe(self, name: str) -> None:
        """The data directory is gone; priv/ stays."""
        shutil.rmtree(self.nodes[name].home / "data" / name)

    def tree(self, name: str) -> list[int]:
        process = self.nodes[name].process
        assert process is not None
        return [process.pid, *children_of(process.pid)]

    def freeze(self, name: str) -> None:
        for pid in self.tree(name):
            os.kill(pid, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        for pid in reversed(self.tree(name)):
            os.kill(pid, signal.SIGCONT)

    def cut(self, one: str, other: str, on: bool = True) -> None:
        """Both ways; connections stay open and silent, as a network's failure leaves them."""
        self.relays[max(one, other), min(one, other)].silent = on

    def control(self, name: str, *command: str) -> Any:
        return cmkms(*command, "--home", str(self.nodes[name].home), "--id", name)

    def stop(self) -> None:
        for name in self.ids:
            process = self.nodes[name].process
            if process is not None and process.poll() is None:
                with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                    self.thaw(name)
                self.nodes[name].stop()
        for relay in self.relays.values():
            relay.close()

    def log(self, name: str) -> str:
        return self.nodes[name].log()


class Judge:
    """Every signature that left, by place.

    CometBFT's client has verified each; a second one at a place is a double signature.
    """

    def __init__(self) -> None:
        self.signatures: dict[tuple[int, int, int], str] = {}
        self.double: list[str] = []
        self.count = 0
        self._lock = threading.Lock()

    def saw(self, asked: dict[str, Any], answer: dict[str, Any]) -> None:
        if not answer.get("signature"):
            return
        place = (asked["height"], asked["round"], asked["type"])
        with self._lock:
            self.count += 1
            if not answer["verified"]:
                self.double.append(f"{place}: a signature that does not verify: {answer}")
            known = self.signatures.setdefault(place, answer["signature"])
            if known != answer["signature"]:
                self.double.append(f"{place}: {known} and {answer['signature']}")

    def highest(self) -> int:
        with self._lock:
            return max((place[0] for place in self.signatures), default=0)

    def verdict(self) -> None:
        assert not self.double, self.double
        assert self.count


class Rivals:
    """Two validators on one key that ask for different blocks at the same places; from height to
    height no quicker than any chain.
    """

    def __init__(self, addresses: list[str], judge: Judge) -> None:
        self.judge = judge
        self.height = 0
        self._stopping = False
        self._lock = threading.Lock()
        self.validators = [Validator(address) for address in addresses]
        self._threads = [
            threading.Thread(target=self._ask, args=(number, validator), daemon=True)
            for number, validator in enumerate(self.validators)
        ]

    def start(self) -> "Rivals":
        for thread in self._threads:
            thread.start()
        return self

    def _ask(self, number: int, validator: Validator) -> None:
        """Each height: prevote and precommit, for its own block, until there is an answer or the
        other has gone on.
        """
        while not self._stopping and not validator.ask(cmd="pub_key").get("pub_key"):
            pass
        while not self._stopping:
            height = self.height + 1
            for kind in (PREVOTE, PRECOMMIT):
                request = ballot(kind, height, 0, "aa" if number else "bb", second=number)
                while not self._stopping and self.height < height:
                    answer = validator.ask(**request)
                    self.judge.saw(request, answer)
                    if answer.get("signature") or answer.get("remote"):
                        break
            with self._lock:
                self.height = max(self.height, height)

    def progress(self, more: int = 10, patience_s: float = PATIENCE_S) -> None:
        """So many more heights are signed."""
        wanted = self.judge.highest() + more
        until(f"height {wanted} is signed", lambda: self.judge.highest() >= wanted, patience_s)

    def stop(self) -> None:
        self._stopping = True
        for thread in self._threads:
            thread.join(timeout=PATIENCE_S)
        for validator in self.validators:
            validator.close()


@contextlib.contextmanager
def rivalry(directory: Path, count: int = 3, *, relays: bool = False) -> Iterator[tuple[Cluster, Rivals]]:
    """A started cluster under two rivals; the verdict comes at the end."""
    addresses = [free_tcp(), free_tcp()]
    judge = Judge()
    rivals = Rivals(addresses, judge)
    cluster = Cluster(directory, count, *addresses, relays=relays)
    try:
        cluster.start()
        cluster.wait_leader()
        rivals.start()
        rivals.progress(3)
        yield cluster, rivals
        judge.verdict()
    finally:
        rivals.stop()
        cluster.stop()
    judge.verdict()
