"""`cmkms drill` and `cmkms doctor` on one running cluster of three whole nodes under a validator's
steady pace.
"""

import json
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.node import PATIENCE_S, children_of, cmkms, environment, free_ports, free_tcp, get, make_home, until
from tests.e2e.pace import Pace

pytestmark = pytest.mark.long

CHAIN = "drill-1"
FRESH_S = 1.0
TRIES = 4


class Net:
    """Three homes that `cmkms testnet` made, their nodes, and the validator that asks them."""

    def __init__(self, directory: Path, pace: Pace, address: str) -> None:
        self.pace = pace
        target = directory / "net"
        ports = ["--starting-port", str(free_ports(6)), "--http-port", str(free_ports(6))]
        make_home("testnet", "--dir", str(target), "--chain-id", CHAIN, "--validator-addr", address, *ports)
        self.homes = sorted(target.iterdir())
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        for home in self.homes:
            self.start(home.name)

    def start(self, name: str) -> None:
        home = self.home(name)
        with (home / "log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "cometkms", "start", "--home", str(home)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment(),
            )  # fmt: skip

    def home(self, name: str) -> Path:
        return next(home for home in self.homes if home.name == name)

    def run(self, name: str, *arguments: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        return cmkms(*arguments, "--home", str(self.home(name)), timeout=timeout)

    def status(self, name: str) -> dict[str, Any]:
        """{} while it does not answer."""
        address = tomllib.loads((self.home(name) / "config.toml").read_text())["http_addr"].rpartition(":")
        try:
            return json.loads(get(f"http://127.0.0.1:{address[2]}/status")[1])
        except (OSError, ValueError):
            return {}

    def doctor(self, name: str, *arguments: str) -> list[dict[str, str]]:
        done = self.run(name, "doctor", "--json", *arguments)
        assert done.returncode in (0, 1), done.stderr
        return json.loads(done.stdout)["findings"]

    def leader(self) -> str:
        return until("one leads", lambda: self.status(self.homes[0].name).get("leader_id"))

    def whole(self) -> None:
        def all_see_all() -> bool:
            seen = [self.status(home.name).get("members", []) for home in self.homes]
            return all(
                found and all(one["connected"] and one["state"] == "complete" for one in found) for found in seen
            )

        until("every node sees all the others complete", all_see_all)
        height = self.pace.height
        until("heights are signed", lambda: self.pace.height >= height + 3 or self.pace.failure)
        assert self.pace.failure is None

    def orders(self) -> list[str]:
        """Every order to a leader, as the logs have it."""
        return [
            line
            for home in self.homes
            for line in (home / "log").read_text().splitlines()
            if " order " in line and "action=check" not in line
        ]

    def stop(self) -> None:
        self.pace.stop()
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(PATIENCE_S)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    address = free_tcp()
    with Pace(address, CHAIN) as pace:
        net = Net(tmp_path_factory.mktemp("drill"), pace, address)
        try:
            net.whole()
            yield net
        finally:
            net.stop()


def test_a_drill_moves_restarts_and_puts_back_and_misses_no_height(net: Net) -> None:
    net.whole()
    first = net.leader()
    watcher = next(home.name for home in net.homes if home.name != first)
    supervisors = {name: process.pid for name, process in net.processes.items()}
    before = {name: children_of(pid) for name, pid in supervisors.items()}
    done = net.run(watcher, "drill", "--yes", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert (report["ok"], report["problems"]) == (True, [])
    assert [step["step"] for step in report["steps"]] in (["transfer", "restart", "back"], ["transfer", "restart"])
    moved, restarted = report["steps"][:2]
    assert (moved["from"], restarted["from"]) == (first, moved["to"])
    assert watcher not in (moved["to"], restarted["from"])
    assert all(step["longest_pause_ms"] > 0 for step in report["steps"])
    [chain] = report["chains"]
    assert (chain["chain_id"], chain["missed"], chain["no_precommit"]) == (CHAIN, [], [])
    assert chain["last_height"] > chain["first_height"] + 3
    after = {name: children_of(pid) for name, pid in supervisors.items()}
    assert [name for name in before if not set(before[name]) & set(after[name])] == [restarted["from"]]
    assert {name: process.pid for name, process in net.processes.items()} == supervisors
    assert "planned restart" in (net.home(restarted["from"]) / "log").read_text()
    assert net.pace.failure is None


def bad(found: list[dict[str, str]], *areas: str) -> list[dict[str, str]]:
    """What warns or fails, but for what this machine has of its own (its disk, its clock, its
    processes' history).
    """
    return [one for one in found if one["level"] in ("warn", "fail") and one["area"] in areas]


OURS = ("node", "config", "key", "state", "permissions", "memory", "versions", "peers", "validators", "hardening")


def test_the_doctor_finds_a_running_cluster_well_on_the_leader_and_beside_it(net: Net) -> None:
    net.whole()
    leader = net.leader()
    follower = next(home.name for home in net.homes if home.name != leader)
    told: list[dict[str, str]] = []

    def well(name: str) -> bool:
        told[:] = net.doctor(name)
        words = " ".join(one["words"] for one in told)
        return (
            bad(told, *OURS) == []
            and words.count("is connected and complete, round trip") == 2
            and "key and state belong together" in words
            and "kB locked, and dumps no core" in words
            and ("another node leads, and dials the validators" in words) is not leads(name)
        )

    def leads(name: str) -> bool:
        return bool(net.status(name).get("is_leader"))

    for name in (leader, follower):
        until(lambda name=name: f"{name} is found well: {told}", lambda name=name: well(name))
    assert not list(net.home(leader).rglob(".doctor-probe"))


def test_the_plan_is_shown_and_nothing_is_done_unless_it_is_confirmed_and_the_chain_moves(net: Net) -> None:
    net.whole()
    leader = net.leader()
    before = children_of(net.processes[leader].pid)
    orders = net.orders()
    done = net.run(leader, "drill", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert f"{leader} leads again" in done.stdout
    assert "nothing was done" in done.stdout
    plan = net.run(leader, "drill", "--dry-run", "--json")
    steps = [line.split("  ", 1)[1] for line in done.stdout.splitlines() if line.startswith("step ")]
    assert json.loads(plan.stdout) == {"done": False, "planned": steps}
    assert plan.stderr == done.stdout
    refused = net.run(leader, "drill")
    assert (refused.returncode, "--yes" in refused.stderr) == (1, True)
    net.pace.pause(True)
    time.sleep(1.2 * FRESH_S)  # the last signature is to be so old
    refused = net.run(leader, "drill", "--yes", "--fresh", f"{FRESH_S:g}s")
    net.pace.pause(False)
    assert (refused.returncode, f"{CHAIN}: the last signature is" in refused.stderr) == (1, True)
    assert (net.orders(), children_of(net.processes[leader].pid)) == (orders, before)


def interrupted(net: Net, watcher: str) -> str:
    """What a drill says that is interrupted while a node is restarted; one that found the cluster
    unfit at that moment begins again.
    """

    def begun() -> tuple[subprocess.Popen[str], str] | None:
        drill = subprocess.Popen(
            [sys.executable, "-m", "cometkms", "drill", "--yes", "--rounds", "5", "--home", str(net.home(watcher))],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(),
            # a shell's background jobs inherit it as ignored
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        assert drill.stdout is not None
        said = ""
        for line in drill.stdout:
            said += line
            if "restart" in said.partition("watching")[2]:
                return drill, said
        assert drill.wait(PATIENCE_S) == 1, said
        tried.append(said)
        return None

    tried: list[str] = []
    drill, said = until(lambda: f"a drill restarts a node: {tried}", begun)
    assert drill.stdout is not None
    drill.send_signal(signal.SIGINT)
    said += drill.stdout.read()
    assert drill.wait(600) == 1, said
    return said


def test_an_interrupted_drill_leaves_a_whole_cluster_and_says_so(net: Net) -> None:
    """The lead is where it was before; unless it moved by itself on a busy machine, when the next
    drill shows it.
    """
    for _ in range(TRIES):
        net.whole()
        first = net.leader()
        said = interrupted(net, next(home.name for home in net.homes if home.name != first))
        assert "the drill was interrupted" in said
        assert "interrupted; the cluster is whole and " in said
        net.whole()
        if f"the cluster is whole and {first} leads" in said:
            return
    pytest.fail(f"in {TRIES} drills the lead was never where it had been: {said}")


def test_a_node_that_is_away_is_named_by_both_and_its_other_settings_when_it_is_back(net: Net) -> None:
    net.whole()
    leader = net.leader()
    victim, watcher = (home.name for home in net.homes if home.name != leader)
    net.processes[victim].terminate()
    net.processes[victim].wait(PATIENCE_S)
    until("it is missed", lambda: not all(one["connected"] for one in net.status(watcher).get("members", [])))
    done = net.run(watcher, "drill", "--yes")
    assert done.returncode == 1
    assert f"{victim} is not connected" in done.stderr
    assert "nothing was done" in done.stderr
    found: list[dict[str, str]] = []

    def only(area: str, words: str) -> bool:
        """All that the doctor finds wrong there."""
        found[:] = bad(net.doctor(watcher), area)
        return [one["words"] for one in found if words in one["words"]] == [one["words"] for one in found] != []

    until(
        lambda: f"it is all that is wrong with the peers: {found}", lambda: only("peers", f"{victim} is not connected")
    )
    stopped: list[dict[str, str]] = []

    def reached() -> bool:
        """Both others and the validator take a connection, and nothing else is wrong."""
        stopped[:] = net.doctor(victim)
        taken = " ".join(one["words"] for one in stopped).count("takes a connection in")
        return taken == 3 and not bad(stopped, "node", "config", "key", "state", "permissions", "peers", "addresses")

    until(lambda: f"the stopped node's doctor reaches all: {stopped}", reached)
    config = net.home(victim) / "config.toml"
    config.write_text(f'default_ttl = "900ms"\n{config.read_text()}'.replace('default_ttl = "400ms"\n', "", 1))
    net.start(victim)
    net.whole()
    differs = f"{victim} differs in default_ttl_ms: here 400, there 900"
    until(lambda: f"it is all that is wrong with the settings: {found}", lambda: only("config", differs))
