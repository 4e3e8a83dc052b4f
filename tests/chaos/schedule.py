"""What is done to a running cluster, drawn from a seed: the same seed does the same
things in the same order.
"""

import contextlib
import random
import shutil
import time
from pathlib import Path

from tests.e2e.cluster import Cluster, Rivals
from tests.e2e.faults import Faults, build_shim
from tests.e2e.node import until

KINDS = {
    "kill": 6, "kill leader": 6, "stop": 3, "freeze": 4, "freeze leader": 3, "wipe": 3, "cut": 4, "one way": 3,
    "slow": 2, "reset": 3, "disk": 3, "clock": 2, "transfer": 3, "kill all": 1,
}  # fmt: skip


class Chaos:
    """`say` hears every fault with its time."""

    def __init__(self, cluster: Cluster, rivals: Rivals, faults: dict[str, Faults], seed: int, say: object) -> None:
        """`faults`: what prepare() gave."""
        self.cluster, self.rivals, self.faults = cluster, rivals, faults
        self.rng = random.Random(seed)
        self.say = say
        self.count: dict[str, int] = {}
        self.longest_gap_s = 0.0
        self._last = (rivals.judge.count, time.monotonic())

    @staticmethod
    def prepare(cluster: Cluster) -> dict[str, Faults]:
        """Every node under the shim, its faults not armed."""
        shim = build_shim(cluster.directory / "shim.so")
        faults = {name: Faults(shim, cluster.directory / f"{name}.faults") for name in cluster.ids}
        for name in cluster.ids:
            cluster.variables[name] = faults[name].of("fdatasync", "promises", "EIO")
        return faults

    def watch(self, seconds: float) -> None:
        """Let it be, and measure how long nothing is signed."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.01)
            count, now = self.rivals.judge.count, time.monotonic()
            self.longest_gap_s = max(self.longest_gap_s, now - self._last[1])
            if count != self._last[0]:
                self._last = (count, now)

    def run(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.fault()
            self.watch(self.rng.choice((0.2, 0.8, 2.0)))
            assert not self.rivals.judge.double, self.rivals.judge.double
        self.heal()

    def fault(self) -> None:
        cluster, rng = self.cluster, self.rng
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        victim = rng.choice(cluster.ids)
        other = rng.choice([name for name in cluster.ids if name != victim])
        pause = rng.choice((0.1, 0.6, 2.5))
        if "leader" in kind:
            victim = cluster.leader() or victim
        self.count[kind] = self.count.get(kind, 0) + 1
        self.say(f"{kind} {victim}")  # type: ignore[operator]
        match kind.removesuffix(" leader"):
            case "kill":
                self.down(victim)
                self.watch(pause)
                self.up(victim)
            case "kill all":
                for name in cluster.ids:
                    self.down(name)
                self.watch(pause)
                for name in rng.sample(cluster.ids, len(cluster.ids)):
                    self.up(name)
            case "stop":
                if cluster.up(victim):
                    cluster.nodes[victim].stop()
                self.watch(pause)
                self.up(victim)
            case "freeze":
                if cluster.up(victim):
                    cluster.freeze(victim)
                    self.watch(pause)
                    cluster.thaw(victim)
            case "wipe":
                if all(cluster.status(name).get("node_state") == "complete" for name in cluster.ids if name != victim):
                    self.down(victim)
                    cluster.wipe(victim)
                    self.up(victim)
                    # a cut may still be on; heal() waits for it
                    with contextlib.suppress(AssertionError):
                        until("it recovered", lambda: cluster.status(victim).get("node_state") == "complete", 3)
            case "cut":
                for name in cluster.ids:
                    if name != victim:
                        cluster.cut(victim, name)
                self.watch(pause)
                self.mend()
            case "one way":
                cluster.relays[max(victim, other), min(victim, other)].mute = rng.choice(("in", "out"))
                self.watch(pause)
                self.mend()
            case "slow":
                for relay in cluster.relays.values():
                    relay.delay_s = rng.choice((0.005, 0.03))
                self.watch(pause)
                self.mend()
            case "reset":
                for relay in cluster.relays.values():
                    relay.reset()
            case "disk":
                self.faults[victim].arm()
                self.watch(pause)
                self.faults[victim].disarm()
                self.up(victim)
            case "clock":
                self.faults[victim].set_clock(rng.choice((-3600, 3600)))
                self.watch(pause)
                self.faults[victim].set_clock(0)
            case "transfer":
                cluster.control(victim, "leader", "transfer")

    def down(self, name: str) -> None:
        if self.cluster.up(name):
            self.cluster.kill(name)

    def up(self, name: str) -> None:
        if not self.cluster.up(name):
            self.cluster.start(name)

    def mend(self) -> None:
        for relay in self.cluster.relays.values():
            relay.silent, relay.mute, relay.delay_s = False, "", 0.0

    def heal(self) -> None:
        """No more faults: it signs again."""
        self.mend()
        for name in self.cluster.ids:
            self.up(name)
        self.rivals.progress(20)
        for name in self.cluster.ids:
            self.cluster.wait_state(name, "complete")


def remove(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
