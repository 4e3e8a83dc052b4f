"""Every command, as an operator runs it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cometkms.cli.commands import cli
from cometkms.cli.options import CommandGroup
from cometkms.errors import ConfigError
from tests.e2e.node import cmkms, environment

ROOT = Path(__file__).resolve().parents[3]
COMMANDS = [
    "init",
    "testnet",
    "start",
    "status",
    "peers",
    "leader",
    "config",
    "keys",
    "state",
    "import",
    "export",
    "recover",
    "demo",
    "version",
    "completion",
]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "home"
    done = cmkms("init", "--home", str(path), "--new-key", "--chain-id", "c-1", "--validator-addr", "tcp://127.0.0.1:1")
    assert done.returncode == 0, done.stderr
    return path


def tree(path: Path) -> dict[str, bytes]:
    return {
        str(one.relative_to(path)): one.read_bytes()
        for one in sorted(path.rglob("*"))
        if one.is_file() and one.suffix != ".lock"
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    help_text = CliRunner().invoke(cli, [command, "--help"]).output
    if command not in ("keys", "state", "leader", "config", "epoch"):
        assert "Example" in help_text
    assert help_text.startswith("Usage: ")


def test_the_exit_codes_are_in_the_help() -> None:
    from cometkms import errors

    text = CliRunner().invoke(cli, ["--help"]).output
    for kind in (errors.ConfigError, errors.KeyFileError, errors.StateError, errors.BusyError, errors.StoreFailure):
        assert re.search(rf"\b{kind.exit_code}\b", text)


def test_home_stands_before_or_behind_the_command(home: Path) -> None:
    for arguments in (["--home", str(home), "keys", "show"], ["keys", "show", "--home", str(home)]):
        assert cmkms(*arguments).returncode == 0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--http-addr", "127.0.0.1:9430"), "--http-addr: 127.0.0.1:9430 is where raft_addr 127.0.0.1:9430 listens"),
        (
            ("--validator-addr", "tcp://127.0.0.1:8080"),
            "--http-addr: 127.0.0.1:8080 is where the validator tcp://127.0.0.1:8080 listens",
        ),
    ],
)
def test_init_writes_no_settings_that_a_start_would_refuse(tmp_path: Path, given: tuple[str, ...], words: str) -> None:
    done = cmkms("init", "--home", str(tmp_path / "new"), "--chain-id", "c", *given)
    assert (done.returncode, words in done.stderr, (tmp_path / "new").exists()) == (3, True, False), done.stderr


def test_init_without_new_key_makes_no_key_and_keeps_what_is_there(home: Path, tmp_path: Path) -> None:
    before = tree(home)
    again = cmkms("init", "--home", str(home), "--chain-id", "other")
    assert (again.returncode, tree(home)) == (0, before)
    assert again.stdout.splitlines()[-1] == f"Then: run cmkms start --home {home}"
    refused = cmkms("init", "--home", str(home), "--new-key")
    assert refused.returncode == 4
    assert tree(home) == before
    fresh = tmp_path / "fresh"
    made = cmkms("init", "--home", str(fresh), "--chain-id", "c-1")
    assert made.returncode == 0
    assert made.stdout.splitlines()[-1].startswith(f"Then: set validator_addr in {fresh}/config.toml, and run ")
    assert not list((fresh / "priv").iterdir())


def test_init_makes_a_new_key_where_each_chain_of_the_home_has_its_own(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert cmkms("init", "--home", str(home)).returncode == 0
    tables = "".join(
        f'[[chain]]\nid = "{one}"\nvalidator_addr = ["tcp://127.0.0.1:{port}"]\n'
        for one, port in (("aa", 1), ("bb", 2))
    )
    config = home / "config.toml"
    config.write_text(f'id = "node0"\n{tables}')
    assert f"into {home}/priv/aa (stop" in cmkms("init", "--home", str(home)).stdout
    assert not list((home / "priv").iterdir())
    done = cmkms("init", "--home", str(home), "--new-key")
    assert done.returncode == 0, done.stderr
    made = {one.relative_to(home / "priv") for one in (home / "priv").rglob("*.json")}
    names = ("priv_validator_key.json", "priv_validator_state.json")
    assert made == {Path(chain) / name for chain in ("aa", "bb") for name in names}
    before = tree(home)
    assert cmkms("init", "--home", str(home), "--new-key").returncode == 4
    assert tree(home) == before
    (home / "priv" / "bb" / names[0]).unlink()
    refused = cmkms("init", "--home", str(home), "--new-key")
    assert (refused.returncode, f"priv/bb/{names[1]} is there already" in refused.stderr) == (4, True)
    (home / "priv" / "bb" / names[1]).unlink()
    done = cmkms("init", "--home", str(home), "--new-key")
    assert (done.returncode, "priv/aa" in done.stdout) == (0, False), done.stderr


def test_keys_show_tells_every_form_and_no_secret(home: Path) -> None:
    done = cmkms("keys", "show", "--home", str(home), "--prefix", "initvalcons")
    key = json.loads((home / "priv" / "priv_validator_key.json").read_text())
    assert key["address"] in done.stdout
    assert "initvalcons1" in done.stdout
    assert json.dumps(key["pub_key"]) in done.stdout
    assert "/cosmos.crypto.ed25519.PubKey" in done.stdout
    assert key["priv_key"]["value"] not in done.stdout
    assert cmkms("keys", "show", "--home", str(home), "--prefix", "Ä").returncode == 2


def test_keys_import_takes_a_key_file_and_never_overwrites(home: Path, tmp_path: Path) -> None:
    path = home / "priv" / "priv_validator_key.json"
    kept = tmp_path / "kept.json"
    path.rename(kept)
    assert cmkms("keys", "import", "--home", str(home), str(kept)).returncode == 0
    assert json.loads(path.read_text()) == json.loads(kept.read_text())
    assert cmkms("keys", "import", "--home", str(home), str(kept)).returncode == 4
    assert cmkms("keys", "new", "--home", str(home)).returncode == 4


def test_state_show_import_and_export(home: Path, tmp_path: Path) -> None:
    shown = cmkms("state", "show", "--home", str(home), "--json")
    assert json.loads(shown.stdout)["file"]["height"] == 0
    higher, lower = tmp_path / "higher.json", tmp_path / "lower.json"
    higher.write_text('{"height":"50","round":1,"step":2}')
    lower.write_text('{"height":"49","round":1,"step":2}')
    assert cmkms("state", "import", "--home", str(home), str(higher)).returncode == 0
    before = tree(home)
    refused = cmkms("state", "import", "--home", str(home), str(lower))
    assert (refused.returncode, "never goes down" in refused.stderr) == (5, True)
    assert tree(home) == before
    out = tmp_path / "out.json"
    exported = cmkms("state", "export", "--home", str(home), "--out", str(out))
    assert exported.returncode == 0
    assert json.loads(out.read_text()) == {"height": "50", "round": 1, "step": 2}
    assert "not known here" in exported.stderr


def test_in_a_cluster_an_import_says_that_a_majority_must_have_it(tmp_path: Path) -> None:
    assert cmkms("testnet", "--dir", str(tmp_path / "net")).returncode == 0
    file = tmp_path / "state.json"
    file.write_text('{"height":"50","round":1,"step":2}')
    done = cmkms("state", "import", "--home", str(tmp_path / "net" / "node0"), str(file))
    assert (done.returncode, "once 2 of node0, node1, node2 have it" in done.stderr) == (0, True)


def test_a_home_of_several_chains_is_asked_which(home: Path) -> None:
    config = home / "config.toml"
    lines = [line for line in config.read_text().splitlines() if not line.startswith(("chain_id", "validator_addr"))]
    files = 'key_file = "priv/priv_validator_key.json"\nstate_file = "{}"\n'
    for number, chain in enumerate(("a", "b")):
        lines.append(
            f'[[chain]]\nid = "{chain}"\nvalidator_addr = "h:{number + 1}"\n' + files.format(f"priv/{chain}.json")
        )
        (home / "priv" / f"{chain}.json").write_text(f'{{"height":"{number + 7}","round":0,"step":1}}')
    config.write_text("\n".join(lines))
    assert cmkms("state", "show", "--home", str(home)).returncode == 3
    shown = cmkms("state", "show", "--home", str(home), "--chain-id", "b", "--json")
    assert json.loads(shown.stdout)["file"]["height"] == 8
    assert cmkms("keys", "show", "--home", str(home), "--chain-id", "a").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["start", "--log-level", "loud"], 3, "--log-level: 'loud' is unknown"),
        (["start", "--http-addr", "nonsense"], 3, "--http-addr"),
        (["start", "--default-ttl", "soon"], 3, "no duration"),
        (["start", "--id", "node0", "--peer", "a=h:1", "--peer", "node0=h:2"], 3, "the ports differ"),
        (["start", "--frobnicate"], 2, "No such option"),
        (["frobnicate"], 2, "No such command"),
        (["recover", "--min-height", "0"], 2, "is no height: a whole number from 1"),
        (["status", "--http-addr", "127.0.0.1:1"], 1, "no node answers"),
        (["state", "import", "/no/such/file"], 5, "is missing"),
        (["keys", "show", "--chain-id", "other"], 3, "'other' is no chain of this home; this home has "),
        (["statsu"], 2, "No such command 'statsu'. Did you mean 'status'?"),
        (["leader", "shwo"], 2, "No such command 'shwo'. Did you mean 'show'?"),
        (["keys", "frobnicate"], 2, "No such command 'frobnicate'.\n"),
    ],
)
def test_bad_input_is_one_clear_error_and_changes_nothing(
    arguments: list[str], code: int, words: str, home: Path
) -> None:
    before = tree(home)
    done = cmkms("--home", str(home), *arguments)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert tree(home) == before


def test_an_address_that_is_none_is_told_once_and_not_as_a_port_that_differs(home: Path) -> None:
    started = cmkms("start", "--home", str(home), "--raft-addr", "nonsense", "--id", "a", "--peer", "a=h:1")
    assert started.returncode == 3
    assert started.stderr.startswith("Error: --raft-addr: 'nonsense' is no address")
    assert started.stderr.count("\n") == 1, started.stderr


def test_every_group_of_commands_names_the_one_that_was_meant() -> None:
    groups: dict[str, click.Group] = {"": cli}
    for name in cli.list_commands(click.Context(cli)):
        command = cli.get_command(click.Context(cli), name)
        if isinstance(command, click.Group):
            groups[name] = command
    assert len(groups) > 9
    assert [name for name, group in groups.items() if not isinstance(group, CommandGroup)] == []


def test_an_output_that_takes_nothing_is_not_taken_for_the_nodes_disk(home: Path) -> None:
    for arguments in (("keys", "show", "--json"), ("config", "show"), ("doctor",)):
        with Path("/dev/full").open("w") as full:
            done = cmkms(*arguments, "--home", str(home), capture_output=False, stdout=full, stderr=subprocess.PIPE)
        assert done.returncode == 1
        assert done.stderr == "Error: standard output cannot be written: no space left on device\n"


def test_a_home_below_a_file_is_named_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = cmkms("init", "--home", str(tmp_path / "file" / "home"))
    assert done.returncode == 3
    assert done.stderr.startswith(f"Error: {tmp_path}/file cannot be made: it is no directory; ")


def test_version_and_completion() -> None:
    assert json.loads(cmkms("version", "--json").stdout)["core"] in ("native", "pure")
    for shell in ("bash", "zsh", "fish"):
        assert "_CMKMS_COMPLETE" in cmkms("completion", shell).stdout


def completed(line: str) -> list[str]:
    """What bash offers behind a command line."""
    words = line.split(" ")
    variables = {"_CMKMS_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    source = "from cometkms.cli.commands import cli; cli(prog_name='cmkms')"
    done = subprocess.run(
        [sys.executable, "-c", source], env=environment(**variables), capture_output=True, text=True, check=False
    )
    return [offer.partition(",")[2] for offer in done.stdout.splitlines() if offer]


def test_the_shell_completes_commands_words_and_the_other_nodes(tmp_path: Path) -> None:
    assert cmkms("testnet", "--dir", str(tmp_path / "net")).returncode == 0
    home = tmp_path / "net" / "node1"
    assert set(COMMANDS) <= set(completed("cmkms "))
    assert completed("cmkms leader t") == ["transfer"]
    assert completed("cmkms start --log-level e") == ["error"]
    assert completed("cmkms start --log-format ") == ["plain", "json"]
    assert completed(f"cmkms leader transfer --home {home} --to ") == ["node0", "node2"]
    assert completed(f"cmkms leader transfer --home {tmp_path} --to ") == []


def test_a_command_imports_what_it_needs_and_no_other_command() -> None:
    """A shell's prompt and a container's health check ask often: click and the settings are all
    that `status --help` may cost.
    """
    source = (
        "import sys; from cometkms.cli.commands import cli; cli.main(['status', '--help'], standalone_mode=False); "
        "print(*sorted(name for name in sys.modules if name.startswith('cometkms.cli.') or name in ('asyncio', 'ssl')))"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "cometkms.cli.status" in loaded
    assert loaded <= {
        f"cometkms.cli.{name}"
        for name in (
            "agent_run",
            "commands",
            "loading",
            "options",
            "output",
            "plain",
            "running",
            "start_run",
            "status",
            "stopping",
        )
    }


def test_the_stand_in_listens_at_no_noise_address() -> None:
    """It would speak SecretConnection there, and the signer Noise."""
    address = "noise://12D3KooWPeuigMJXMh8hCPQxjaB5b9Gu6vBisyyeF6AbP9NkFqSX@127.0.0.1:1"
    done = CliRunner().invoke(cli, ["standin", "--listen", address, "--seconds", "1"])
    assert isinstance(done.exception, ConfigError)
    assert "cure: --listen tcp://HOST:PORT" in str(done.exception)


@pytest.mark.parametrize(
    "words",
    [
        ("demo", "--kill-every", "nan"),
        ("demo", "--seconds", "inf"),
        ("standin", "--every", "nan"),
        ("standin", "--seconds", "1e400"),
    ],
)
def test_what_is_no_number_of_seconds_is_not_waited_for(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 2
    assert "is no number of seconds" in done.output
