"""`cmkms agent` as a unit: under a real systemd where one runs (tests/e2e/realsystemd.py), else
under one that is played.
"""

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e import realsystemd
from tests.e2e.agents import identity_of
from tests.e2e.cluster import Client
from tests.e2e.node import CHAIN, PREVOTE, Node, free_port, free_tcp, until
from tests.e2e.units import TO_FILE, UNITS, Managed, machine_for

UNIT = "cmkms-agent.service"


@dataclass
class Machine:
    """The validator's machine: its service manager, the agent's home, and the validator."""

    manager: Managed
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


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    directory = tmp_path_factory.mktemp("machine")
    is_real = realsystemd.works_here()
    manager, home, run = machine_for("cometkms-agent", directory, real=is_real)
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
            (drop_in / "test.conf").write_text(f"[Service]\n{TO_FILE}")
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
