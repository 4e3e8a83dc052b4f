"""The units: what systemd says of them where there is one, and what they must hold everywhere."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cometkms.config.table import BY_KEY
from cometkms.errors import (
    BehindError,
    BusyError,
    ConfigError,
    HardeningError,
    KeyFileError,
    StateError,
    StoreFailure,
    SupersededError,
)
from cometkms.limits import AGENT_SILENT_S, BOOT_TIMEOUT_S, HUNG_AFTER_S, IDLE_TIMEOUT_S, RESTART_MAX_S, STOP_TIMEOUT_S
from tests.e2e.agents import RESTART_S
from tests.e2e.systemdlike import parse_unit, seconds

ROOT = Path(__file__).resolve().parents[2]
UNITS = ROOT / "packaging" / "systemd"
NAMES = ["cmkms.service", "cmkms@.service"]
AGENT = "cmkms-agent.service"
PROGRAM = "/opt/cometkms/current/bin/cmkms"
CHILDREN = 4  # at most so many boot one after the other
#: An older systemd ignores two lines of the units, and says so.
STEPS_SINCE = 254
#: systemd-analyze security: 10 is a service without any protection, below 2 is called OK.
EXPOSURE_MAX = 2.0


def version_of(analyze: str) -> int:
    shown = subprocess.run([analyze, "--version"], capture_output=True, text=True, check=True).stdout
    return int(shown.split()[1])


def values(name: str) -> dict[str, list[str]]:
    return parse_unit((UNITS / name).read_text())


def value(name: str, key: str) -> str:
    return values(name)[key][-1]


def test_systemd_itself_finds_nothing_to_complain_about(tmp_path: Path) -> None:
    """`systemd-analyze verify` and `security`; where there is no systemd, every line is at least
    one that a unit may hold.
    """
    analyze = shutil.which("systemd-analyze")
    for name in (*NAMES, AGENT):
        text = (UNITS / name).read_text()
        if analyze is None:
            known = re.compile(r"^(?:\[(?:Unit|Service|Install)\]|[A-Z][A-Za-z]+=.*|#.*|)$")
            assert [line for line in text.splitlines() if not known.match(line)] == []
            continue
        path = tmp_path / name.replace("@", "@one")
        path.write_text(text.replace(PROGRAM, "/bin/true"))
        checked = subprocess.run([analyze, "verify", str(path)], capture_output=True, text=True, check=False)
        # it looks at the machine's units, too
        ours = [line for line in checked.stderr.splitlines() if "cmkms" in line]
        if version_of(analyze) < STEPS_SINCE:
            ours = [line for line in ours if not re.search(r"Unknown key '(RestartSteps|RestartMaxDelaySec)'", line)]
        assert ours == []
        command = [analyze, "security", "--offline=true", f"--threshold={int(EXPOSURE_MAX * 10)}", str(path)]
        rated = subprocess.run(command, capture_output=True, text=True, check=False)
        assert rated.returncode == 0, rated.stdout + rated.stderr


def test_both_units_are_the_same_but_for_the_home() -> None:
    one, several = [(UNITS / name).read_text().splitlines() for name in NAMES]
    differ = [(a, b) for a, b in zip(one, several, strict=True) if a != b and not a.startswith("#")]
    assert differ == [
        (
            "Description=CometKMS, signer of a CometBFT validator",
            "Description=CometKMS, signer of a CometBFT validator, home %i",
        ),
        (f"ExecStart={PROGRAM} start --home %S/cometkms", f"ExecStart={PROGRAM} start --home %S/cometkms/%i"),
        ("StateDirectory=cometkms", "StateDirectory=cometkms/%i"),
    ]


@pytest.mark.parametrize("name", NAMES)
def test_its_times_leave_the_supervisor_the_first_word(name: str) -> None:
    """What the supervisor would say in words must come before systemd's timeout."""
    assert seconds(value(name, "TimeoutStartSec")) > CHILDREN * BOOT_TIMEOUT_S
    assert seconds(value(name, "TimeoutStopSec")) > 2 * STOP_TIMEOUT_S
    assert seconds(value(name, "WatchdogSec")) > 2 * HUNG_AFTER_S + RESTART_MAX_S + BOOT_TIMEOUT_S


@pytest.mark.parametrize("name", NAMES)
def test_what_only_a_person_can_put_right_is_not_tried_again(name: str) -> None:
    prevented = {int(one) for one in value(name, "RestartPreventExitStatus").split()}
    persons = (ConfigError, KeyFileError, StateError, HardeningError, SupersededError)
    assert prevented == {2, *(one.exit_code for one in persons)}
    assert value(name, "Restart") == "on-failure"
    assert {StoreFailure.exit_code, BusyError.exit_code, BehindError.exit_code}.isdisjoint(prevented)


@pytest.mark.parametrize("name", NAMES)
def test_whatever_passes_by_itself_is_tried_again_for_ever_and_ever_more_slowly(name: str) -> None:
    """A disk that was full for a night leaves the node running in the morning."""
    assert value(name, "StartLimitIntervalSec") == "0"
    assert "StartLimitBurst" not in values(name)
    first, most = seconds(value(name, "RestartSec")), seconds(value(name, "RestartMaxDelaySec"))
    assert first < most <= 60.0, (
        "the count of restarts is not forgotten: this is also the wait after a single crash, later"
    )
    assert int(value(name, "RestartSteps")) > 1


@pytest.mark.parametrize("name", NAMES)
def test_the_measures_the_processes_take_themselves_are_not_in_the_way(name: str) -> None:
    """No-new-privileges and seccomp by systemd must leave room for seccomp and Landlock by us, and
    for locked memory.
    """
    allowed = " ".join(values(name)["SystemCallFilter"]).split()
    assert {
        "@system-service",
        "seccomp",
        "landlock_create_ruleset",
        "landlock_add_rule",
        "landlock_restrict_self",
    } <= set(allowed)
    assert not [one for one in allowed if one.startswith("~")]
    assert value(name, "LimitCORE") == "0"
    assert value(name, "LimitMEMLOCK") == "64M"


def test_the_drop_in_brings_the_passphrase_under_the_name_that_is_asked_for() -> None:
    drop_in = parse_unit((UNITS / "cmkms.service.d" / "passphrase.conf").read_text())
    name = drop_in["LoadCredentialEncrypted"][0].partition(":")[0]
    assert drop_in["Environment"] == [f"COMETKMS_KEY_PASSPHRASE_CREDENTIAL={name}"]


def test_the_node_as_root_keeps_six_capabilities() -> None:
    drop_in = parse_unit((UNITS / "cmkms.service.d" / "signer-user.conf").read_text())
    assert drop_in["User"] == drop_in["Group"] == ["root"]
    assert drop_in["CapabilityBoundingSet"] == ["CAP_SETUID CAP_SETGID CAP_SETPCAP CAP_KILL CAP_CHOWN CAP_DAC_OVERRIDE"]


def test_the_drop_in_grants_the_real_time_class_that_its_setting_asks_for() -> None:
    drop_in = parse_unit((UNITS / "cmkms.service.d" / "realtime.conf").read_text())
    assert drop_in["Environment"] == [f"{BY_KEY['realtime'].variable}=true"]
    assert drop_in["LimitRTPRIO"] == [str(os.sched_get_priority_min(os.SCHED_RR))]
    assert drop_in["RestrictRealtime"] == ["no"]
    assert [value(name, "RestrictRealtime") for name in NAMES] == ["yes", "yes"]


def test_the_user_of_the_unit_is_the_one_that_sysusers_makes() -> None:
    lines = [line.split() for line in (UNITS / "sysusers.conf").read_text().splitlines() if line and line[0] != "#"]
    assert [(line[0], line[1]) for line in lines] == [("u", value(NAMES[0], "User")), ("u", value(AGENT, "User"))]
    assert all(value(name, "User") == value(name, "Group") for name in (NAMES[0], AGENT))


def test_the_agent_is_started_again_at_once_and_for_ever_but_not_where_only_a_person_can_help() -> None:
    """The validator on its machine has nobody else: no back-off, no limit, and a watchdog."""
    assert (value(AGENT, "Restart"), value(AGENT, "StartLimitIntervalSec")) == ("always", "0")
    assert seconds(value(AGENT, "RestartSec")) == RESTART_S
    assert "RestartSteps" not in values(AGENT)
    assert {int(one) for one in value(AGENT, "RestartPreventExitStatus").split()} == {
        2,
        ConfigError.exit_code,
        KeyFileError.exit_code,
    }
    assert 2 * AGENT_SILENT_S < seconds(value(AGENT, "WatchdogSec")) < IDLE_TIMEOUT_S


def test_the_agent_has_every_protection_that_a_node_has() -> None:
    """All but what a node's children need to shut themselves off further; it has no child."""
    mine, nodes = values(AGENT), values(NAMES[0])
    begin = list(nodes).index("NoNewPrivileges")
    asked = list(nodes)[begin : list(nodes).index("SystemCallFilter")]
    assert {key: mine.get(key) for key in asked} == {key: nodes[key] for key in asked}
    assert mine["SystemCallFilter"] == ["@system-service", "~@privileged @resources @mount @keyring"]
