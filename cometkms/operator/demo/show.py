"""The demo's course: a validator that asks for heights without end, and what is done to the leader
meanwhile.

How long signing stopped is measured as the validator sees it: from the kill (or the order to hand
over) to the next signature, election, dialling and handshake included. No request is under way at
that moment, as with a validator of a real chain's pace.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Coroutine
from typing import Any, Final

from cometkms.errors import OperatorError
from cometkms.operator.demo.nodes import Cluster, DemoFailure, Node, leader_of, missing_of
from cometkms.operator.demo.screen import Screen
from cometkms.operator.standin import SignerSilent, StandIn, quantile

HEIGHT_INTERVAL_S: Final = 0.05  # far quicker than any chain, slow enough to read along
CONFLICT_EVERY: Final = 10  # heights; the stand-in then asks for another block at a place already signed …
CONFLICT_FIRST: Final = 2  # … beginning here, so that the shortest demo shows it
# until the nodes have seen each other, the signer has dialled and /status answers
BOOT_S: Final = 60.0
POLL_S: Final = 0.05
RECONNECT_POLL_S: Final = 0.001  # part of what is measured
STATUS_INTERVAL_S: Final = 0.5
STALL_S: Final = 10.0  # one height; CometBFT's rounds last a few seconds
RESTART_AFTER_S: Final = 1.0  # time to see that two sign alone
KEYS_LINE: Final = "keys: k kills the leader (kill -9) and starts it again, t hands the leadership over, q quits"
AGENT_KEYS_LINE: Final = KEYS_LINE.replace(", t", ", f freezes its host (SIGSTOP) for a moment, t")


class Show:
    """One run."""

    def __init__(self, validator: StandIn, cluster: Cluster, screen: Screen, stop: asyncio.Event) -> None:
        self._validator = validator
        self._cluster = cluster
        self._screen = screen
        self._stop = stop
        # of the validator: a height, or the moment of a kill between two
        self._turn = asyncio.Lock()
        self._under_way = ""  # in words
        self._signed_again: asyncio.Future[float] | None = None
        self._away_since: int | None = None  # the connection that was given up
        self._begun = asyncio.Event()  # everybody is there, and the first height is asked for
        self._statuses: list[dict[str, Any]] = []
        self._gaps_ms: dict[str, list[float]] = {}

    async def run(self, seconds: float | None, kill_every_s: float | None, keys: "asyncio.Queue[str]") -> None:
        """Run until told to stop, or for `seconds` from the first height on. Raises: DemoFailure,
        BadSignature, SignerRefused, SignerSilent."""
        parts: list[Coroutine[Any, Any, None]] = [
            self._sign_for_ever(),
            self._watch_nodes(),
            self._obey(keys),
            *([self._kill_for_ever(kill_every_s)] if kill_every_s is not None else []),
            *([self._end_after(seconds)] if seconds is not None else []),
        ]
        tasks = [asyncio.create_task(self._stop.wait()), *(asyncio.create_task(part) for part in parts)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._validator.signatures == 0:
            if self._stop.is_set():
                raise DemoFailure("it was ended before anything was signed")
            raise DemoFailure(f"nothing was signed in {seconds} s:\n{self._cluster.log_tails()}")

    async def _end_after(self, seconds: float) -> None:
        await self._begun.wait()
        await asyncio.sleep(seconds)

    def summary(self) -> list[str]:
        """What was shown."""
        lines = [
            f"{what} {len(gaps)}×: signing stopped for {', '.join(f'{gap:.0f}' for gap in gaps)} ms, at worst {max(gaps):.0f} ms"
            for what, gaps in self._gaps_ms.items()
        ]
        return [
            *lines,
            f"{self._validator.signatures} signatures, all verified; {self._validator.refusals} conflicting requests, all refused; "
            f"p50 {self._ms(0.5)}, p99 {self._ms(0.99)}",
        ]

    def _ms(self, q: float) -> str:
        return f"{quantile(self._validator.latencies_us, q) / 1000:.2f} ms"

    # --- the validator ---

    async def _sign_for_ever(self) -> None:
        await self._boot()
        self._begun.set()
        if self._screen.is_terminal:
            self._screen.say(AGENT_KEYS_LINE if self._cluster.agent is not None else KEYS_LINE)
        for height in itertools.count(1):
            try:
                async with asyncio.timeout(STALL_S), self._turn:
                    await self._sign_height(height)
            except TimeoutError:
                raise DemoFailure(
                    f"signing stalled for {STALL_S} s at height {height}:\n{self._cluster.log_tails()}"
                ) from None
            self._screen.show(self._line(height))
            await asyncio.sleep(HEIGHT_INTERVAL_S)

    async def _boot(self) -> None:
        """Wait for the signer and for everybody's /status. Raises: DemoFailure."""
        try:
            async with asyncio.timeout(BOOT_S):
                await self._validator.wait_for_signer()
                await self._ask_public_key()
                while missing_of(self._statuses, self._cluster.nodes[: len(self._statuses)]) or not self._leader():
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise DemoFailure(f"the nodes were not there within {BOOT_S} s:\n{self._cluster.log_tails()}") from None

    async def _ask_public_key(self) -> None:
        """Ask as often as it takes, since an agent may be there before any node has told it the
        key."""
        while not self._validator.public_key:
            with contextlib.suppress(SignerSilent):
                await self._validator.ask_public_key()

    async def _sign_height(self, height: int) -> None:
        """Proposal, prevote, precommit; sometimes a conflict, which must be refused."""
        while self._away_since is not None and self._validator.connects <= self._away_since:
            await asyncio.sleep(RECONNECT_POLL_S)
        self._away_since = None
        for request in self._validator.requests(height):
            await self._validator.sign(request)
            if self._signed_again is not None and not self._signed_again.done():
                self._signed_again.set_result(time.monotonic())
        if height % CONFLICT_EVERY == CONFLICT_FIRST:
            await self._validator.try_conflict(height)

    def _line(self, height: int) -> str:
        missing = missing_of(self._statuses, self._cluster.nodes) if self._statuses else []
        leader = self._leader()
        nodes = f"{leader} leads" if leader else "nobody leads"
        return (
            f"height {height}  {nodes}{', away: ' + ', '.join(missing) if missing else ''}  "
            f"{self._validator.signatures} signatures verified  p50 {self._ms(0.5)}  p99 {self._ms(0.99)}  "
            f"{self._validator.refusals} conflicts refused"
        )

    # --- the nodes ---

    def _leader(self) -> str | None:
        return leader_of(self._statuses)

    async def _watch_nodes(self) -> None:
        """Who leads, who is away. Raises: DemoFailure when a node ends by itself."""
        while True:
            self._statuses = await self._cluster.statuses()
            if (node := self._cluster.ended()) is not None:
                raise DemoFailure(f"{node.id} ended by itself, exit code {node.exit_code}:\n{node.log_tail()}")
            await asyncio.sleep(STATUS_INTERVAL_S if self._leader() else POLL_S)

    async def _obey(self, keys: "asyncio.Queue[str]") -> None:
        running: set[asyncio.Task[None]] = set()
        try:
            while (key := await keys.get()) != "q":
                action = {"k": self.kill_leader, "f": self.freeze_leader, "t": self.hand_over}.get(key)
                if action is not None:
                    running = {task for task in running if not task.done()} | {asyncio.create_task(action())}
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        self._stop.set()

    async def _kill_for_ever(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            await self.kill_leader()

    async def kill_leader(self) -> None:
        """SIGKILL, as a machine that loses power; then start it again, and wait until it is a
        member like before."""
        leader = self._free_leader()
        if leader is None:
            return
        self._under_way = f"{leader.id} is not back yet"
        try:
            await self._measure(leader, "led and was killed (kill -9)", "leader killed", leader.kill())
            await asyncio.sleep(RESTART_AFTER_S)
            await leader.start()
            await self._until_back(leader)
        finally:
            self._under_way = ""

    async def freeze_leader(self) -> None:
        """SIGSTOP, as a host that hangs; then let it go on, and wait until it is a member like
        before. Only the agent helps: alone, CometBFT would wait five seconds for the connection
        that stays."""
        leader = self._free_leader() if self._cluster.agent is not None else None
        if leader is None:
            return
        self._under_way = f"{leader.id} is not back yet"
        try:
            await self._measure(leader, "led and its host froze", "leader frozen", leader.freeze())
            await asyncio.sleep(RESTART_AFTER_S)
            leader.thaw()
            await self._until_back(leader)
        finally:
            leader.thaw()
            self._under_way = ""

    async def _until_back(self, node: Node) -> None:
        while node.id in missing_of(statuses := await self._cluster.statuses(), self._cluster.nodes):
            await asyncio.sleep(POLL_S)
        self._statuses = statuses
        self._screen.say(f"{node.id} is back")

    async def hand_over(self) -> None:
        """`cmkms leader transfer`."""
        leader = self._free_leader()
        if leader is None:
            return
        self._under_way = f"{leader.id} is handing over"
        try:
            await self._measure(leader, "handed over", "leadership handed over", leader.hand_over())
        except OperatorError as error:
            self._screen.say(f"{leader.id} does not hand over: {error}")
        finally:
            self._under_way = ""

    def _free_leader(self) -> Node | None:
        """The leader, if nothing is under way and nobody is away: of three, two must stay."""
        missing = missing_of(self._statuses, self._cluster.nodes) if self._statuses else []
        leader = self._leader()
        why = self._under_way or (f"{', '.join(missing)} is away" if missing else "" if leader else "nobody leads")
        if why:
            self._screen.say(f"not now: {why}")
            return None
        return next(node for node in self._cluster.nodes if node.id == leader)

    async def _measure(self, leader: Node, said: str, what: str, disturbance: Coroutine[Any, Any, None]) -> None:
        """Do it between two heights; say and keep how long it took to the next signature."""
        async with self._turn:
            self._signed_again = asyncio.get_running_loop().create_future()
            if self._cluster.agent is None:  # an agent's connection stays
                self._away_since = self._validator.connects
            started = time.monotonic()
            try:
                await disturbance
            except BaseException:
                self._away_since = None
                raise
        gap_ms = (await self._signed_again - started) * 1000
        self._gaps_ms.setdefault(what, []).append(gap_ms)
        while (successor := leader_of(statuses := await self._cluster.statuses())) in (None, leader.id):
            await asyncio.sleep(POLL_S)
        self._statuses = statuses
        self._screen.say(f"{leader.id} {said}: signing stopped for {gap_ms:.0f} ms; {successor} leads now", loud=True)
