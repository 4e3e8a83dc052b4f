"""`--json`: every command that gives a plan or a result gives it as one document on stdout, and its
words on stderr.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from cometkms.cli.commands import cli
from tests.e2e.node import cmkms

#: What gives no document, and why.
WITHOUT = {
    "start": "the node itself; its log has log_format = json",
    "agent": "the agent itself, likewise",
    "demo": "for a person to watch",
    "standin": "runs until it is stopped, a line a height",
    "state export": "its output is another signer's state file, JSON as that writes it",
    "completion": "a script for a shell",
}
KEY_FACTS = {"type", "address", "bech32", "cometbft", "cosmos", "file", "sealed"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "home"
    done = cmkms("init", "--home", str(path), "--new-key", "--chain-id", "c-1", "--validator-addr", "tcp://127.0.0.1:1")
    assert done.returncode == 0, done.stderr
    return path


def leaves(command: click.Command, name: str = "") -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group) or command.invoke_without_command:
        yield name, command
    if isinstance(command, click.Group):
        with click.Context(command) as context:
            for word in command.list_commands(context):
                found = command.get_command(context, word)
                assert found is not None
                yield from leaves(found, f"{name} {word}".strip())


def document_of(*arguments: str) -> tuple[dict[str, Any], str]:
    """What a command prints with --json, and what it says on stderr."""
    done = cmkms(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_every_command_with_a_plan_or_a_result_has_it() -> None:
    without = {name for name, command in leaves(cli) if not any(one.name == "as_json" for one in command.params)}
    assert without == set(WITHOUT)


def test_a_key_is_told_alike_by_whatever_made_or_changed_it(home: Path, tmp_path: Path) -> None:
    at, file = ("--home", str(home)), home / "priv" / "priv_validator_key.json"
    shown, _ = document_of("keys", "show", *at)
    plain = {name: shown[name] for name in KEY_FACTS}
    assert shown.keys() == KEY_FACTS
    secret = json.loads(file.read_text())["priv_key"]["value"]

    word = tmp_path / "word"
    word.write_text("correct horse battery staple\n")
    word.chmod(0o600)
    opening = ("--passphrase-file", str(word))
    sealed, said = document_of("keys", "encrypt", *at, *opening, "--memory-mib", "8")
    assert sealed == {**plain, "sealed": True}
    assert said.startswith(f"sealed {file}, address {plain['address']}\n")
    opened, said = document_of("keys", "decrypt", *at, *opening)
    assert opened == plain
    assert said.startswith(f"opened {file}, ")

    file.rename(tmp_path / "old.json")
    imported, said = document_of("keys", "import", *at, str(tmp_path / "old.json"))
    assert imported == plain
    assert said == f"made {file}, address {plain['address']}\n"
    file.unlink()
    made, _ = document_of("keys", "new", *at)
    assert made.keys() == KEY_FACTS
    assert made["address"] != plain["address"]
    assert secret not in json.dumps([shown, sealed, opened, imported, made])


def test_a_refused_command_prints_no_document(home: Path) -> None:
    refused = cmkms("keys", "new", "--home", str(home), "--json")
    assert (refused.returncode, refused.stdout) == (4, "")
    assert "Error: " in refused.stderr


def test_an_imported_watermark_is_told(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "old-state.json"
    file.write_text('{"height": "42", "round": 1, "step": 2}')
    told, said = document_of("state", "import", "--home", str(home), str(file))
    stands = {"height": 42, "round": 1, "step": 2, "known": "burnt", "signbytes": ""}
    assert told == {"home": str(home), "node_id": "node0", "chain_id": "c-1", "stands": stands}
    assert said == "watermark of c-1: height 42 round 1 step 2 (burnt)\n"


def test_the_agents_line_and_the_nodes_are_what_the_other_side_takes(home: Path, tmp_path: Path) -> None:
    agent = tmp_path / "agent"
    arguments = ("agent", "init", "--home", str(agent), "--name", "sentry-a")
    made, said = document_of(*arguments)
    assert (made["home"], made["kept"], said) == (str(agent), [], "")
    assert str(agent / "agent.toml") in made["made"]
    again, _ = document_of(*arguments)
    assert (again["made"], again["kept"]) == ([], made["made"])

    settings = {"id": "node0", "chain_id": "c-1", "agent_addr": "10.0.0.1:9440", "agents": made["agents"]}
    lines = [f"{name} = {json.dumps(value)}\n" for name, value in settings.items()]
    (home / "config.toml").write_text("".join(lines))
    checked, _ = document_of("config", "check", "--home", str(home))
    assert checked["ok"]
    node, _ = document_of("peers", "--identities", "--home", str(home))
    assert node["node"].startswith("node0=10.0.0.1:9440:")
    told = cmkms(*arguments[:-1], "sentry-b", "--home", str(tmp_path / "b"), "--node", node["node"])
    assert told.returncode == 0, told.stderr


def test_the_peer_id_is_told_with_the_validators_settings(home: Path) -> None:
    words = cmkms("peer-id", "--home", str(home)).stdout.splitlines()
    told, _ = document_of("peer-id", "--home", str(home))
    assert told["peer_id"] == words[0]
    assert [f'priv_validator_laddr = "{one}"' for one in told["priv_validator_laddr"]] == words[1:]
