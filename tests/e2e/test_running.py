"""`cmkms start` as a unit: under a real systemd where one runs (tests/e2e/realsystemd.py), and
under one that is played, everywhere.
"""

import contextlib
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import JOURNALS
from tests.e2e import realsystemd
from tests.e2e.node import CHAIN, PRECOMMIT, Validator, fetch, free_port, free_tcp, get, until
from tests.e2e.units import TO_FILE, UNITS, Managed, machine_for

SINGLE, SEVERAL = "cmkms.service", "cmkms@one.service"
KINDS = ["played", *(["real"] if realsystemd.works_here() else [])]
#: What need not be seen twice.
BEST = pytest.mark.parametrize("machine", KINDS[-1:], indirect=True)
#: Shorter than the unit's, and longer than a busy machine takes between two heartbeats.
QUICK = "[Service]\nWatchdogSec=12s\nRestartSec=200ms\n"


@dataclass
class Machine:
    """A service manager with both units, a home for one of them, and its validator."""

    manager: Managed
    unit: str
    home: Path
    http_port: int
    validator: Validator
    run: Callable[..., str]  # cmkms as the unit's user, with its home
    height: int = 0

    def healthy(self) -> bool:
        with contextlib.suppress(OSError):
            return get(f"http://127.0.0.1:{self.http_port}/healthz") == (200, b"ok")
        return False

    def signs(self, validator: Validator | None = None) -> None:
        """The next height."""
        self.height += 1
        chosen = validator or self.validator
        chosen.connect()
        chosen.must_sign(PRECOMMIT, self.height)

    def is_replaced(self, before: int) -> bool:
        shown = self.manager.show(self.unit)
        return shown["MainPID"] not in (0, before) and shown["ActiveState"] == "active"

    def reloads(self) -> None:
        """Under Type=notify `systemctl reload` may return before systemd has read the node's
        RELOADING=1 and READY=1.
        """
        self.manager.reload(self.unit)
        until("the reload is over", lambda: self.manager.show(self.unit)["ActiveState"] == "active")

    def journals(self, words: str) -> None:
        """The service manager's words, and the unit's, come after what they tell."""
        until(
            lambda: f"{words!r} in the journal:\n{self.manager.journal(self.unit)[-3000:]}",
            lambda: words in self.manager.journal(self.unit),
        )

    def config(self, before: str, after: str) -> None:
        path = self.home / "config.toml"
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, after))


@pytest.fixture(scope="module", params=KINDS)
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    directory = tmp_path_factory.mktemp("machine")
    address, http_port = free_tcp(), free_port()
    validator = Validator(address)
    is_real = request.param == "real"
    manager, home, run = machine_for("cometkms", directory, real=is_real)
    journals = request.config.stash.setdefault(JOURNALS, {})
    journals[SINGLE] = lambda: manager.journal(SINGLE)
    try:
        init = ("init", "--new-key", "--chain-id", CHAIN, "--validator-addr", address)
        run(*init, "--http-addr", f"127.0.0.1:{http_port}")
        drop_in = directory / f"{SINGLE}.d"
        drop_in.mkdir()
        (drop_in / "test.conf").write_text(QUICK + (TO_FILE if is_real else ""))
        manager.add(UNITS / SINGLE)
        manager.add(drop_in)
        yield Machine(manager, SINGLE, home, http_port, validator, run)
    except BaseException:  # before there is a test
        print(manager.journal(SINGLE)[-6000:])
        raise
    finally:
        del journals[SINGLE]
        validator.close()
        manager.close()


def test_the_unit_is_active_when_the_node_is_ready_and_says_in_words_how_it_is(machine: Machine) -> None:
    shown = machine.manager.start(SINGLE)
    assert (shown["ActiveState"], shown["SubState"]) == ("active", "running"), machine.manager.journal(SINGLE)
    machine.journals("child=api")  # the last one to run: nothing is active before
    until("healthy", machine.healthy)
    machine.signs()
    until("words", lambda: machine.manager.show(SINGLE)["StatusText"] == "one node alone, signing")


def test_a_reload_is_taken_over_by_the_running_node_and_a_wrong_file_changes_nothing(machine: Machine) -> None:
    before = machine.manager.show(SINGLE)["MainPID"]
    second = Validator(free_tcp())
    try:
        machine.config(f'"{machine.validator.address}"', f'"{machine.validator.address}", "{second.address}"')
        machine.reloads()
        machine.signs(second)
        machine.signs()
        machine.config("log_level", "log_levle")
        machine.reloads()
        machine.journals("did you mean 'log_level'")
        machine.signs(second)
        machine.config("log_levle", "log_level")
        machine.config(f', "{second.address}"', "")
        machine.reloads()
        until("the second validator is let go", lambda: second.ask(cmd="pub_key").get("error"))
        machine.signs()
    finally:
        second.close()
    assert machine.manager.show(SINGLE)["MainPID"] == before


def test_a_killed_supervisor_is_started_again_and_signing_goes_on(machine: Machine) -> None:
    before = machine.manager.show(SINGLE)
    machine.manager.kill(SINGLE, signal.SIGKILL)
    until("another one", lambda: machine.is_replaced(before["MainPID"]))
    machine.signs()
    machine.validator.must_refuse(PRECOMMIT, machine.height - 1)
    assert machine.manager.show(SINGLE)["NRestarts"] >= 1


@BEST
def test_a_supervisor_that_stands_still_is_ended_by_the_watchdog(machine: Machine) -> None:
    before = machine.manager.show(SINGLE)
    machine.manager.kill(SINGLE, signal.SIGSTOP)
    until("another one", lambda: machine.is_replaced(before["MainPID"]))
    machine.journals("atchdog timeout")
    machine.signs()
    assert machine.manager.show(SINGLE)["NRestarts"] > before["NRestarts"]


def test_a_wrong_setting_at_a_start_fails_once_and_is_not_tried_again(machine: Machine) -> None:
    machine.manager.stop(SINGLE)
    machine.config("log_level", "log_levle")
    shown = machine.manager.start(SINGLE)
    machine.config("log_levle", "log_level")
    assert (shown["ActiveState"], shown["SubState"]) == ("failed", "failed")
    assert (int(shown["ExecMainStatus"]), shown["Result"]) == (3, "exit-code")
    machine.journals("did you mean 'log_level'")


@BEST
def test_a_sealed_key_is_opened_with_the_credential_of_the_drop_in(machine: Machine) -> None:
    """packaging/systemd/cmkms.service.d/passphrase.conf as it is; under the real one with a
    credential that is encrypted for it.
    """
    manager = machine.manager
    passphrase = machine.home / "passphrase"
    passphrase.write_text("correct horse battery staple")
    os.chown(passphrase, machine.home.stat().st_uid, machine.home.stat().st_gid)
    passphrase.chmod(0o600)
    inside = "/var/lib/cometkms/passphrase"
    if isinstance(manager, realsystemd.RealManager):
        manager.inside("mkdir", "/etc/cometkms")
        sealed = "/etc/cometkms/passphrase.cred"
        manager.inside("systemd-creds", "encrypt", "--with-key=host", "--name=cmkms-passphrase", inside, sealed)
        machine.run("keys", "encrypt", "--memory-mib", "8", "--passphrase-file", inside)
    else:
        manager.at_root("/etc/cometkms").mkdir()
        shutil.copy(passphrase, manager.at_root("/etc/cometkms/passphrase.cred"))
        machine.run("keys", "encrypt", "--memory-mib", "8", "--passphrase-file", str(passphrase))
    passphrase.unlink()
    manager.add(UNITS / f"{SINGLE}.d" / "passphrase.conf")
    shown = manager.start(SINGLE)
    assert shown["ActiveState"] == "active", manager.journal(SINGLE)[-3000:]
    machine.signs()


@BEST
def test_the_other_drop_in_gives_the_signer_a_user_of_its_own(machine: Machine) -> None:
    """A played manager starts everything as whoever runs the tests: then it is as with that user."""
    machine.manager.stop(SINGLE)
    machine.manager.add(UNITS / f"{SINGLE}.d" / "signer-user.conf")
    assert machine.manager.start(SINGLE)["ActiveState"] == "active", machine.manager.journal(SINGLE)[-3000:]
    machine.signs()

    def shown() -> list[str]:
        """What /status says of the signer's account."""
        measures = json.loads(fetch(f"http://127.0.0.1:{machine.http_port}/status")[1])["hardening"]
        return [one["state"] for one in measures if (one["process"], one["measure"]) == ("signer", "user")]

    assert until("the signer's account is shown", shown) == ["on" if os.geteuid() == 0 else "off"]


def test_a_planned_stop_leaves_the_unit_inactive_and_nothing_behind(machine: Machine) -> None:
    assert machine.manager.start(SINGLE)["ActiveState"] == "active"
    machine.signs()
    shown = machine.manager.stop(SINGLE)
    assert (shown["ActiveState"], shown["Result"]) == ("inactive", "success")
    assert not machine.healthy()
    state = json.loads((machine.home / "priv" / "priv_validator_state.json").read_text())
    assert state["height"] == str(machine.height)
