"""`cmkms agent` as a unit: under a real systemd where one runs (tests/e2e/realsystemd.py), else under one that is played."""

import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e import realsystemd, systemdlike
from tests.e2e.agents import identity_of
from tests.e2e.cluster import Client
from tests.e2e.node import CHAIN, PREVOTE, Node, cmkms, free_port, free_tcp, until

UNIT = "cmkms-agent.service"
UNITS = systemdlike.PROJECT / "packaging" / "systemd"
PROGRAM = "/opt/cometkms/current/bin/cmkms"
TO_FILE = "[Service]\nStandardOutput=append:/run/cmkms.log\nStandardError=append:/run/cmkms.log\n"


@dataclass
class Machine:
    """The validator's machine: its service manager, the agent's home, and the validator."""

    manager: systemdlike.Manager | realsystemd.RealManager
    home: Path
    validator: Client
    height: int = 0

    def signs(self) -> None:
        """The next height."""
        self.height += 1
        self.validator.must_sign(PREVOTE, self.height)

    def is_replaced(self, before: int) -> bool:
        shown = self.manager.show(UNIT)
        return shown["MainPID"] not in (0, before) and shown["ActiveState"] == "active"


def played(directory: Path) -> tuple[systemdlike.Manager, Path, Callable[..., str]]:
    manager = systemdlike.Manager(directory)
    manager.add_program(PROGRAM, [sys.executable, "-m", "cometkms"])
    home = manager.home("cometkms-agent")

    def run(*arguments: str) -> str:
        done = cmkms(*arguments, "--home", str(home))
        assert done.returncode == 0, done.stderr
        return done.stdout

    return manager, home, run


def real() -> tuple[realsystemd.RealManager, Path, Callable[..., str]]:
    manager = realsystemd.RealManager()
    manager.add_user(UNITS / "sysusers.conf")
    manager.add_program(PROGRAM)
    home = "/var/lib/cometkms-agent"
    manager.inside("install", "-d", "-o", "cometkms-agent", "-g", "cometkms-agent", "-m", "700", home)
    as_user = ("setpriv", "--reuid=cometkms-agent", "--regid=cometkms-agent", "--clear-groups", PROGRAM)
    return manager, manager.home("cometkms-agent"), lambda *words: manager.inside(*as_user, *words, "--home", home)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    directory = tmp_path_factory.mktemp("machine")
    is_real = realsystemd.works_here()
    manager, home, run = real() if is_real else played(directory)
    validator = Client(free_tcp())
    node = Node(directory / "node0")
    agent_addr = f"127.0.0.1:{free_port()}"
    try:
        init = ("agent", "init", "--name", "sentry-a", "--chain-id", CHAIN, "--validator-addr", validator.address)
        line = run(*init, "--node", identity_of(node, "node0", agent_addr)).split('"')[1]
        node.start("--agent-addr", agent_addr, "--agents", line)
        if is_real:
            drop_in = directory / f"{UNIT}.d"
            drop_in.mkdir()
            (drop_in / "test.conf").write_text(TO_FILE)
            manager.add(drop_in)
        manager.add(UNITS / UNIT)
        yield Machine(manager, home, validator)
    except BaseException:
        print(manager.journal(UNIT)[-6000:])
        raise
    finally:
        validator.close()
        node.stop()
        manager.close()


def test_the_unit_is_active_when_the_agent_dials_and_says_in_words_whom_it_has(machine: Machine) -> None:
    shown = machine.manager.start(UNIT)
    assert (shown["ActiveState"], shown["SubState"]) == ("active", "running"), machine.manager.journal(UNIT)
    machine.signs()
    until("words", lambda: machine.manager.show(UNIT)["StatusText"] == "1 of 1 nodes, 1 of 1 validators connected")


def test_a_killed_agent_is_started_again_and_signing_goes_on(machine: Machine) -> None:
    before = machine.manager.show(UNIT)
    machine.manager.kill(UNIT, signal.SIGKILL)
    until("another one", lambda: machine.is_replaced(before["MainPID"]))
    machine.signs()
    machine.validator.must_refuse(PREVOTE, machine.height, block="dd")


def test_an_agent_that_stands_still_is_ended_by_the_watchdog(machine: Machine) -> None:
    before = machine.manager.show(UNIT)
    machine.manager.kill(UNIT, signal.SIGSTOP)
    until("another one", lambda: machine.is_replaced(before["MainPID"]))
    assert "atchdog timeout" in machine.manager.journal(UNIT)
    machine.signs()


def test_a_wrong_setting_at_a_start_fails_once_and_is_not_tried_again(machine: Machine) -> None:
    machine.manager.stop(UNIT)
    config = machine.home / "agent.toml"
    right = config.read_text()
    config.write_text(right + "\nlog_levle = 1\n")
    shown = machine.manager.start(UNIT)
    assert (shown["ActiveState"], int(shown["ExecMainStatus"])) == ("failed", 3), machine.manager.journal(UNIT)
    config.write_text(right)
    machine.manager.start(UNIT)
    machine.signs()
