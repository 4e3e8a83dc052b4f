"""`cmkms config check` and `show`: what a start would take, and from where; variables
that are none are named.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from cometkms.cli.commands import cli
from cometkms.config.load import in_force, load_settings, unknown_variables
from cometkms.config.table import KEYS, Flags
from cometkms.errors import ConfigError
from tests.unit.cli.inside import cmkms

CONFIG = 'chain_id = "c-1"\nvalidator_addr = ["tcp://127.0.0.1:1"]\nhttp_addr = "127.0.0.1:7"\n'


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text(CONFIG)
    return tmp_path


def test_every_setting_is_shown_with_its_source_and_the_stronger_one_wins(home: Path) -> None:
    found = {one.key: one for one in in_force(home, {"COMETKMS_HTTP_ADDR": ":9", "COMETKMS_STRICT_START": "yes"})}
    assert set(found) == set(KEYS) - {"chain"}
    assert (found["http_addr"].value, found["http_addr"].where) == (":9", "COMETKMS_HTTP_ADDR")
    assert (found["strict_start"].value, found["strict_start"].where) == (True, "COMETKMS_STRICT_START")
    assert (found["chain_id"].value, found["chain_id"].where) == ("c-1", f"{home}/config.toml: chain_id")
    assert found["validator_addr"].value == ["tcp://127.0.0.1:1"]
    assert (found["alert_disk"].value, found["alert_disk"].where) == ("auto", "default")


def test_the_commands_say_it(home: Path) -> None:
    runner = CliRunner()
    shown = runner.invoke(cli, ["config", "show", "--home", str(home)])
    assert shown.exit_code == 0
    assert f"http_addr                  127.0.0.1:7  ({home}/config.toml: http_addr)" in shown.output
    as_json = json.loads(runner.invoke(cli, ["config", "show", "--home", str(home), "--json"]).stdout)
    assert as_json["http_addr"] == {"value": "127.0.0.1:7", "from": f"{home}/config.toml: http_addr"}
    assert runner.invoke(cli, ["config", "check", "--home", str(home)]).output.startswith("ok: node ")
    (home / "config.toml").write_text(CONFIG + 'log_level = "loud"\n')
    refused = runner.invoke(cli, ["config", "check", "--home", str(home)])
    assert isinstance(refused.exception, ConfigError)
    assert "'loud' is unknown" in str(refused.exception)


def test_every_fault_is_told_at_once_whatever_its_kind(home: Path) -> None:
    """A wrong type, an unknown key and wrong values; and nothing that only seems to be missing
    because it was one of them.
    """
    (home / "config.toml").write_text(
        'chain_id = 5\nvalidator_addr = ["tcp://127.0.0.1:1"]\nrealtime = "yes"\nhttp_adr = "x"\nlog_level = "loud"\nleader_priority = 101\n'
        'peer = ["node0"]\n'
    )
    checked = CliRunner().invoke(cli, ["config", "check", "--home", str(home), "--json"], standalone_mode=False)
    found = json.loads(checked.stdout)
    assert checked.return_value == ConfigError.exit_code
    assert (found["ok"], len(found["faults"])) == (False, 6)
    told = "\n".join(found["faults"])
    for words in ("chain_id = 5", 'realtime = "yes"', "'http_adr'", "'loud'", "'101'", "'node0' is no peer"):
        assert words in told
    assert "there is no chain id" not in told


def test_a_chain_s_faults_hide_none_of_the_rest(home: Path) -> None:
    (home / "config.toml").write_text('log_level = "loud"\n[[chain]]\nid = 7\nvalidator_addr = "tcp://127.0.0.1:1"\n')
    with pytest.raises(
        ConfigError,
        match=r"chain 1: id = 7 must be a string; cure: write it as id = \"my-chain-1\"\n.*'loud' is unknown",
    ):
        load_settings(home, Flags())


def test_what_is_taken_is_json_for_who_asks_for_it(home: Path) -> None:
    checked = CliRunner().invoke(cli, ["config", "check", "--home", str(home), "--json"], standalone_mode=False)
    found = json.loads(checked.stdout)
    assert (checked.return_value, found["ok"], found["faults"], found["chains"]) == (0, True, [], ["c-1"])


def test_unknown_variables_are_named_with_what_was_meant() -> None:
    environment = {
        "COMETKMS_HTTP_ADR": "x",
        "COMETKMS_HTTP_ADDR": "x",
        "COMETKMS_PURE": "1",
        "COMETKMS_SERVICE_HOST": "x",
        "OTHER": "x",
    }
    assert unknown_variables(environment) == [
        "the variable COMETKMS_HTTP_ADR is unknown and has no effect; did you mean COMETKMS_HTTP_ADDR?",
        "the variable COMETKMS_SERVICE_HOST is unknown and has no effect",
    ]


def test_the_version_alone() -> None:
    from cometkms import __version__

    assert CliRunner().invoke(cli, ["--version"]).output == f"cmkms {__version__}\n"


def test_what_init_made_and_a_keys_forms_come_as_json(tmp_path: Path) -> None:
    runner, home = CliRunner(), tmp_path / "new"
    made = json.loads(
        runner.invoke(cli, ["init", "--home", str(home), "--new-key", "--chain-id", "c", "--json"]).stdout
    )
    assert made["home"] == str(home)
    assert {str(home / "config.toml"), str(home / "priv" / "priv_validator_key.json")} <= set(made["made"])
    again = json.loads(runner.invoke(cli, ["init", "--home", str(home), "--json"]).stdout)
    assert (again["made"], str(home / "config.toml") in again["kept"]) == ([], True)
    key = json.loads(runner.invoke(cli, ["keys", "show", "--home", str(home), "--json"]).stdout)
    assert len(key["address"]) == 40
    assert key["cometbft"]["type"] == "tendermint/PubKeyEd25519"
    assert key["sealed"] is False


@pytest.mark.parametrize("command", [("config", "show"), ("config", "check"), ("config", "digest"), ("alert", "test")])
def test_a_home_that_is_not_there_is_said_not_to_be_and_nothing_else(command: tuple[str, ...], tmp_path: Path) -> None:
    """Not what it would lack, and not the defaults of a home that was mistyped."""
    done = cmkms(*command, "--home", str(tmp_path / "nowhere"))
    assert (done.returncode, done.stdout) == (ConfigError.exit_code, "")
    assert (
        done.stderr
        == f"Error: {tmp_path}/nowhere does not exist; cure: cmkms init --home {tmp_path}/nowhere, or another --home\n"
    )
    (tmp_path / "file").touch()
    done = cmkms(*command, "--home", str(tmp_path / "file"))
    assert done.stderr == f"Error: {tmp_path}/file is no directory; cure: --home DIR, a node's home\n"


def test_a_home_that_is_not_there_is_a_fault_for_who_asks_for_json(tmp_path: Path) -> None:
    done = cmkms("config", "check", "--json", "--home", str(tmp_path / "nowhere"))
    found = json.loads(done.stdout)
    assert (done.returncode, found["ok"], len(found["faults"])) == (ConfigError.exit_code, False, 1)
    assert "nowhere does not exist" in found["faults"][0]


def test_a_test_of_alerts_needs_no_chain_and_names_a_variable_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMETKMS_ALERT_WEBHOK", "https://hooks.example/secret")
    done = CliRunner().invoke(cli, ["alert", "test", "--home", str(tmp_path)])
    assert str(done.exception).startswith("no webhook is configured")
    assert done.stderr == (
        "WARNING   the variable COMETKMS_ALERT_WEBHOK is unknown and has no effect; did you mean COMETKMS_ALERT_WEBHOOK?\n"
    )


@pytest.mark.parametrize("key", ["noise_identity_file", "alert_webhook_file", "key_passphrase_file"])
def test_a_file_that_a_setting_names_and_that_is_not_there_is_a_warning_of_the_check(tmp_path: Path, key: str) -> None:
    home = tmp_path / "home"
    runner = CliRunner()
    init = ["init", "--home", str(home), "--chain-id", "c", "--validator-addr", "tcp://127.0.0.1:1"]
    assert runner.invoke(cli, init).exit_code == 0
    config = home / "config.toml"
    config.write_text(f'{key} = "priv/nope"\n{config.read_text()}')
    words = f"{key}: {home}/priv/nope is not there"
    checked = runner.invoke(cli, ["config", "check", "--home", str(home)])
    assert (checked.exit_code, words in checked.output) == (0, True), checked.output
    (warning,) = json.loads(runner.invoke(cli, ["config", "check", "--home", str(home), "--json"]).stdout)["warnings"]
    assert warning.startswith(words)
    (home / "priv" / "nope").write_text("https://hooks.example/secret")
    (home / "priv" / "nope").chmod(0o600)
    assert "WARNING" not in runner.invoke(cli, ["config", "check", "--home", str(home)]).output


@pytest.mark.parametrize(
    ("key", "put", "words"),
    [
        (
            "alert_webhook_file",
            Path.touch,
            "no alert can be sent: {}: the webhook's address is no address; write https",
        ),
        (
            "alert_webhook_file",
            Path.mkdir,
            "no alert can be sent: {}, which has the webhook's address, cannot be read: ",
        ),
        ("alert_webhook_file", lambda file: file.write_text("ftp://secret"), "no alert can be sent: {}: the webhook's"),
        ("key_passphrase_file", Path.touch, "the passphrase file {} is empty; cure: a file with"),
        ("key_passphrase_file", Path.mkdir, "the passphrase file {} is a directory; cure: a file with"),
    ],
)
def test_a_file_that_does_not_hold_what_it_is_to_is_a_warning_as_the_doctor_has_it(
    tmp_path: Path, key: str, put: Callable[[Path], object], words: str
) -> None:
    home, runner = tmp_path / "home", CliRunner()
    init = ["init", "--home", str(home), "--chain-id", "c", "--validator-addr", "tcp://127.0.0.1:1"]
    assert runner.invoke(cli, init).exit_code == 0
    config = home / "config.toml"
    config.write_text(f'{key} = "priv/it"\n{config.read_text()}')
    it = home / "priv" / "it"
    put(it)
    it.chmod(0o700 if it.is_dir() else 0o600)
    done = runner.invoke(cli, ["config", "check", "--home", str(home), "--json"])
    (warning,) = json.loads(done.stdout)["warnings"]
    assert (done.exit_code, warning.startswith(words.format(it))) == (0, True), warning
    assert "secret" not in done.output
    if key == "alert_webhook_file":
        told = json.loads(runner.invoke(cli, ["doctor", "--home", str(home), "--json"]).stdout)["findings"]
        (doctors,) = [one for one in told if one["area"] == "webhook"]
        assert warning == f"{doctors['words']}; cure: {doctors['cure']}" or warning == doctors["words"]
