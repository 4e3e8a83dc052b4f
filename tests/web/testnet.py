"""Three whole nodes that sign for the built-in validator, in a thread, for tests that look at them
from outside.
"""

import asyncio
import itertools
import re
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from cometkms.core import choose
from cometkms.model import SignedType
from cometkms.operator.demo.nodes import CHAIN_ID, NODES, Cluster, Node
from cometkms.operator.standin import StandIn, block_of, listen, vote_request
from tests.e2e.node import PATIENCE_S, free_ports, until

PACE_S = 0.25  # a height
T = TypeVar("T")


class Homes(Cluster):
    """Without the alerts that are about this machine's disk and load: the tests want to know which
    alerts there are.

    On ports that no other test is given, also while a node is down.
    """

    def _choose_ports(self) -> int:
        return free_ports(2 * NODES)

    async def _make(self, validator_addr: str) -> None:
        await super()._make(validator_addr)
        for node in self.nodes:
            path = node.home / "config.toml"
            text = path.read_text()
            for setting in ("alert_latency", "alert_disk"):
                text, found = re.subn(rf'^{setting} = ".*"$', f'{setting} = "0s"', text, flags=re.MULTILINE)
                assert found == 1, setting
            path.write_text(text)


class Testnet:
    """What the tests do to it; everything runs in the thread's loop."""

    __test__ = False

    def __init__(self, directory: Path, pace_s: float = PACE_S) -> None:
        self.pace_s = pace_s
        self.height = 0
        self.failure: BaseException | None = None
        self._directory = directory
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._main())
        except BaseException as error:  # noqa: BLE001 - shown by whoever waits
            self.failure = error
        finally:
            self._ready.set()

    async def _main(self) -> None:
        self._stop, self._turn = asyncio.Event(), asyncio.Lock()
        loaded = choose.load()
        self.validator = StandIn(loaded, listen(loaded, "tcp://127.0.0.1:0"), CHAIN_ID)
        try:
            self.cluster = Homes(self._directory)
            async with self.cluster.running(self.validator.address):
                await self.validator.wait_for_signer()
                await self.validator.ask_public_key()
                signer = asyncio.create_task(self._sign_for_ever())
                self._ready.set()
                await self._stop.wait()
                signer.cancel()
                await asyncio.gather(signer, return_exceptions=True)
        finally:
            await self.validator.close()

    async def _sign_for_ever(self) -> None:
        try:
            for height in itertools.count(1):
                await self.validator.wait_for_signer()
                async with self._turn:
                    await self.validator.sign_height(height)
                    self.height = height
                await asyncio.sleep(self.pace_s)
        except Exception as error:
            self.failure = error
            raise

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Do it in the loop; its result."""
        assert self.failure is None, self.failure
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    @property
    def nodes(self) -> dict[str, Node]:
        return {node.id: node for node in self.cluster.nodes}

    def url(self, name: str) -> str:
        return f"http://{self.nodes[name].http_addr}/"

    def status(self, name: str) -> dict[str, Any]:
        return self.call(self.nodes[name].status())

    def leader(self) -> str:
        return until("a node leads", lambda: next((n for n in self.nodes if self.status(n).get("is_leader")), None))

    def all_there(self) -> bool:
        """Every node is complete, connected with every other and follows the same leader."""
        found = [self.status(name) for name in self.nodes]
        members = [member for one in found for member in one.get("members", [])]
        alike = len({one.get("leader_id") for one in found}) == 1
        return alike and all(one.get("healthy") for one in found) and all(
            member.get("connected") and member.get("state") == "complete" for member in members
        )  # fmt: skip

    def kill(self, name: str) -> None:
        """kill -9."""
        self.call(self.nodes[name].kill())

    def start(self, name: str) -> None:
        self.call(self.nodes[name].start())

    def hand_over(self, name: str) -> None:
        self.call(self.nodes[name].hand_over())

    def conflict(self) -> str:
        """Ask for another block at the last height; the refusal's words."""
        return self.call(self._conflict())

    async def _conflict(self) -> str:
        async with self._turn:  # between two heights
            return await self.validator.try_conflict(self.height)

    def hostile(self, chain_id: str) -> str:
        """Ask for a vote of a chain whose name means harm."""
        block = block_of(chain_id, 9, 0, "hostile")
        request = vote_request(chain_id, SignedType.PRECOMMIT, (self.height + 1000, 0), block)
        return self.call(self.validator.expect_refusal(request))

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_S)


@contextmanager
def running(directory: Path, pace_s: float = PACE_S) -> Iterator[Testnet]:
    """In a directory below pytest's, where a failing test finds the nodes' logs
    (tests/conftest.py).
    """
    net = Testnet(directory, pace_s)
    try:
        until("all nodes are there", net.all_there)
        yield net
    finally:
        net.stop()
