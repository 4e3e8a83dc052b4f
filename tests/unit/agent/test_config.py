"""agent.toml: what `cmkms agent init` writes is taken, and what cannot be is told with the cure."""

from pathlib import Path

import pytest

from cometkms.address import Address
from cometkms.agent.config import load, parse_node
from cometkms.agent.scaffold import init_agent
from cometkms.errors import ConfigError
from tests.e2e.node import cmkms

KEY_A, KEY_B = "a1" * 32, "b2" * 32
NODES = (f"node0=10.0.0.10:9440:{KEY_A}", f"node1=[::1]:9440:{KEY_B}")


def test_what_init_writes_is_taken_and_kept(tmp_path: Path) -> None:
    home = tmp_path / "home"
    validators = (("c", "tcp://127.0.0.1:26658"), ("d", "unix:///run/v.sock"))
    made = init_agent(home, name="sentry-a", nodes=NODES, validators=validators, metrics_addr="127.0.0.1:9464")
    settings = load(home)
    assert (settings.name, settings.metrics_addr) == ("sentry-a", Address("127.0.0.1", 9464))
    assert tuple(one.text for one in settings.nodes) == NODES
    assert [(one.chain_id, str(one.address)) for one in settings.validators] == list(validators)
    assert (home / "priv" / "identity_key.json").stat().st_mode & 0o777 == 0o600
    again = init_agent(home, name="other", nodes=(), validators=())
    assert (again.key, again.made, len(again.kept)) == (made.key, [], 2)
    assert load(home).name == "sentry-a"


def test_a_node_s_home_is_no_agent_s(tmp_path: Path) -> None:
    """Else the node's identity would be the agent's, and the key lie beside the validator."""
    home = tmp_path / "home"
    assert cmkms("init", "--home", str(home), "--new-key", "--chain-id", "c").returncode == 0
    before = sorted(home.rglob("*"))
    done = cmkms("agent", "init", "--home", str(home), "--name", "sentry-a")
    assert done.returncode == 3
    assert f"{home} is a node's home (config.toml is there)" in done.stderr
    (home / "config.toml").unlink()
    done = cmkms("agent", "init", "--home", str(home), "--name", "sentry-a")
    assert f"{home} is a node's home (priv/priv_validator_key.json is there)" in done.stderr
    assert sorted(home.rglob("*")) == [one for one in before if one.name != "config.toml"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no node is configured"),
        (f'node = ["node0=h:1:{KEY_A}"]', "no validator is configured"),
        (f'node = ["node0=h:1:{KEY_A}", "node0=i:1:{KEY_B}"]', "node node0 is configured more than once"),
        (f'node = ["node0=h:1:{KEY_A}", "node1=i:1:{KEY_A}"]', "is configured more than once"),
        (
            f'node = ["n=h:1:{KEY_A}"]\n[[validator]]\nchain_id = "c"\naddr = "127.0.0.1:1"\n'
            '[[validator]]\nchain_id = "c"\naddr = "localhost:1"',
            r"127.0.0.1:1 and localhost:1 lead to one port: .* cure: one \[\[validator\]\] for it",
        ),
        ('node = ["node0=h:1"]', "is no node"),
        (f'node = ["node0=:1:{KEY_A}"]', "no host"),
        ("node = [5]", "must be a string"),
        ('nodes = ["x"]', "unknown key 'nodes'"),
        (f'node = ["n=h:1:{KEY_A}"]\n[[validator]]\nchain_id = "c"', "has chain_id and addr"),
        (f'node = ["n=h:1:{KEY_A}"]\n[[validator]]\nchain_id = "c"\naddr = "ftp://x:1"', "unknown scheme"),
        (f'name = "a b"\nnode = ["n=h:1:{KEY_A}"]\n[[validator]]\nchain_id = "c"\naddr = "h:1"', "no agent's name"),
        (
            f'log_level = "loud"\nnode = ["n=h:1:{KEY_A}"]\n[[validator]]\nchain_id = "c"\naddr = "h:1"',
            'log_level = "loud" is unknown; cure: one of "debug"',
        ),
        (
            f'log_format = [1]\nnode = ["n=h:1:{KEY_A}"]\n[[validator]]\nchain_id = "c"\naddr = "h:1"',
            r"log_format = \[1\] is unknown",
        ),
        (f'node = "n=h:1:{KEY_A}"', "must be a list; cure: node = .* `cmkms peers --identities`"),
        (f'node = ["n=h:1:{KEY_A}"]\n[validator]\nchain_id = "c"', r"must be a list; cure: \[\[validator\]\] for each"),
        (
            f'metrics_addr = 9\nnode = ["n=h:1:{KEY_A}"]\n[[validator]]\nchain_id = "c"\naddr = "h:1"',
            "metrics_addr = 9 must be a string; cure: metrics",
        ),
        (
            f'metrics_addr = ":9441"\nnode = ["n=h:1:{KEY_A}"]\n[[validator]]\nchain_id = "c"\naddr = "tcp://127.0.0.1:9441"',
            "metrics_addr: :9441 is where the validator tcp://127.0.0.1:9441 listens",
        ),
        (
            f'metrics_addr = ":9440"\nnode = ["n=127.0.0.1:9440:{KEY_A}"]\n[[validator]]\nchain_id = "c"\naddr = "h:1"',
            r"metrics_addr: :9440 is where the node n \(127.0.0.1:9440\) listens",
        ),
        ('nmae = "x"', "unknown key 'nmae'; cure: name, if that is meant"),
        ("node = [", "is no TOML"),
    ],
)
def test_what_cannot_be_is_told(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        load(tmp_path)


def test_a_home_without_settings_is_told_the_cure(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cmkms agent init"):
        load(tmp_path)


def test_nodes_are_written_as_they_are_read() -> None:
    assert [parse_node(one).text for one in NODES] == list(NODES)


def test_a_validator_without_its_chain_is_told_as_that(tmp_path: Path) -> None:
    done = cmkms("agent", "init", "--home", str(tmp_path / "a"), "--name", "s", "--validator-addr", "tcp://127.0.0.1:1")
    assert (done.returncode, (tmp_path / "a").exists()) == (2, False)
    assert "--validator-addr needs --chain-id" in done.stderr
