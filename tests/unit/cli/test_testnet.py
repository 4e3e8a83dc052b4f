"""`cmkms testnet`: homes that a cluster starts from, and what it refuses to make."""

import json
from pathlib import Path

import pytest

from cometkms.agent.config import load as load_agent
from cometkms.config.load import load_settings
from cometkms.config.table import Flags
from cometkms.keys.identity import load_identity
from tests.e2e.node import cmkms


def made(directory: Path, *arguments: str) -> list[Path]:
    done = cmkms("testnet", "--dir", str(directory), *arguments)
    assert done.returncode == 0, done.stderr
    return sorted(directory.iterdir())


def key_of(home: Path) -> bytes:
    return (home / "priv" / "priv_validator_key.json").read_bytes()


@pytest.fixture
def used_key(tmp_path: Path) -> Path:
    """A validator's key that has signed at height 7."""
    home = tmp_path / "validator"
    assert cmkms("init", "--home", str(home), "--new-key").returncode == 0
    (home / "priv" / "priv_validator_state.json").write_text('{"height":"7","round":1,"step":3}')
    return home / "priv" / "priv_validator_key.json"


@pytest.mark.parametrize("nodes", [1, 2, 3, 5])
def test_homes_of_one_machine_have_ports_of_their_own_one_peer_list_and_one_key(tmp_path: Path, nodes: int) -> None:
    homes = made(tmp_path / "net", "--nodes", str(nodes), "--starting-port", "29430", "--http-port", "28080")
    assert [home.name for home in homes] == [f"node{n}" for n in range(nodes)]
    settings = [load_settings(home, Flags(), {}) for home in homes]
    assert [one.id for one in settings] == [home.name for home in homes]
    assert [str(one.raft_addr) for one in settings] == [f"127.0.0.1:{29430 + n}" for n in range(nodes)]
    assert [str(one.http_addr) for one in settings] == [f"127.0.0.1:{28080 + n}" for n in range(nodes)]
    assert len({one.peers for one in settings}) == 1
    assert [peer.id for peer in settings[0].peers] == ([home.name for home in homes] if nodes > 1 else [])
    assert len({key_of(home) for home in homes}) == 1


def test_an_agent_s_port_is_nobody_s_where_there_is_no_agent(tmp_path: Path) -> None:
    homes = made(tmp_path / "net", "--starting-port", "9440", "--nodes", "3")
    assert [str(load_settings(home, Flags(), {}).raft_addr) for home in homes] == [
        f"127.0.0.1:{9440 + n}" for n in range(3)
    ]


def test_a_single_node_waits_for_nobody(tmp_path: Path) -> None:
    done = cmkms("testnet", "--dir", str(tmp_path / "net"), "--nodes", "1")
    assert (done.returncode, "have seen each other" in done.stdout) == (0, False)


def test_an_agents_home_fits_the_nodes_which_then_dial_no_validator(tmp_path: Path) -> None:
    """Each knows the other's key and where it listens; `cmkms start` and `cmkms agent`
    need nothing more.
    """
    homes = made(tmp_path / "net", "--agent", "sentry-a", "--agent-port", "29440", "--chain-id", "c-1")
    assert [home.name for home in homes] == ["node0", "node1", "node2", "sentry-a"]
    agent = load_agent(homes[-1])
    settings = [load_settings(home, Flags(), {}) for home in homes[:-1]]
    assert [(one.id, str(one.address), one.key) for one in agent.nodes] == [
        (one.id, f"127.0.0.1:{29440 + n}", load_identity(one.home).public_key) for n, one in enumerate(settings)
    ]
    assert [str(one.agent_addr) for one in settings] == [str(one.address) for one in agent.nodes]
    assert [(one.chain_id, str(one.address)) for one in agent.validators] == [("c-1", "tcp://127.0.0.1:26658")]
    for one in settings:
        assert one.chains[0].validator_addrs == ()
        assert [(a.name, a.key) for a in one.chains[0].agents] == [("sentry-a", load_identity(homes[-1]).public_key)]


def test_an_agent_with_a_nodes_name_or_none_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    for name, code in (("node1", 2), ("a/b", 3)):
        done = cmkms("testnet", "--dir", str(tmp_path / "net"), "--agent", name)
        assert (done.returncode, (tmp_path / "net").exists()) == (code, False), done.stderr


def test_what_was_made_is_json_for_a_program(tmp_path: Path, used_key: Path) -> None:
    arguments = ["--dir", str(tmp_path / "net"), "--key-file", str(used_key), "--chain-id", "c-1", "--json"]
    done = cmkms("testnet", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert [one["id"] for one in told["nodes"]] == ["node0", "node1", "node2"]
    for one in told["nodes"]:
        settings = load_settings(Path(one["home"]), Flags(), {})
        assert (str(settings.raft_addr), str(settings.http_addr)) == (one["raft_addr"], one["http_addr"])
    assert (told["chain_id"], told["validator_addrs"]) == ("c-1", ["tcp://127.0.0.1:26658"])
    assert told["key"]["new"] is False
    assert told["state"] == {"height": 7, "round": 1, "step": 3}


def test_homes_of_several_machines_have_their_addresses_and_the_same_ports(tmp_path: Path) -> None:
    homes = made(
        tmp_path / "net", "--addresses", "10.0.0.10, signer-1.internal,fd00::1", "--validator-addr", "10.0.0.1:26658"
    )  # fmt: skip
    settings = [load_settings(home, Flags(), {}) for home in homes]
    assert [str(one.raft_addr) for one in settings] == ["10.0.0.10:9430", "signer-1.internal:9430", "[fd00::1]:9430"]
    assert [str(peer.address) for peer in settings[0].peers] == [str(one.raft_addr) for one in settings]
    assert {str(one.http_addr) for one in settings} == {"127.0.0.1:8080"}
    assert {str(one.chains[0].validator_addrs[0]) for one in settings} == {"10.0.0.1:26658"}


def test_secrets_are_the_owners_alone(tmp_path: Path) -> None:
    for home in made(tmp_path / "net"):
        assert {path.name: path.stat().st_mode & 0o777 for path in (home / "priv", home / "data")} == {
            "priv": 0o700,
            "data": 0o700,
        }
        assert {path.stat().st_mode & 0o777 for path in (home / "priv").iterdir()} == {0o600}


def test_a_key_that_has_signed_brings_its_state_along(tmp_path: Path, used_key: Path) -> None:
    for home in made(tmp_path / "net", "--key-file", str(used_key), "--chain-id", "c-1"):
        assert key_of(home) == used_key.read_bytes()
        state = json.loads((home / "priv" / "priv_validator_state.json").read_text())
        assert state == {"height": "7", "round": 1, "step": 3}


def test_a_key_without_its_state_is_refused_and_nothing_is_made(tmp_path: Path, used_key: Path) -> None:
    """What the key signed would be forgotten: the first vote of the cluster could be its second."""
    used_key.with_name("priv_validator_state.json").unlink()
    target = tmp_path / "net"
    done = cmkms("testnet", "--dir", str(target), "--key-file", str(used_key), "--chain-id", "c-1")
    assert (done.returncode, "is missing" in done.stderr, target.exists()) == (5, True, False)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--nodes", "8"], 2, "range 1<=x<=7"),
        (["--nodes", "2", "--addresses", "a,b,c", "--validator-addr", "v:1"], 2, "2 nodes and 3 addresses"),
        (["--addresses", "a,,c", "--validator-addr", "v:1"], 2, "an address is empty"),
        (["--addresses", "a b,c", "--validator-addr", "v:1"], 3, "no valid host"),
        (["--addresses", "a,a", "--validator-addr", "v:1"], 2, "named more than once"),
        (["--addresses", "a,b,c"], 2, "needs --validator-addr"),
        (["--starting-port", "8079"], 2, "--starting-port 8079 and --http-port 8080 overlap"),
        (
            ["--starting-port", "65534"],
            2,
            "--starting-port 65534 leaves no 3 ports: the last one is 65535; cure: 65533 at most",
        ),
        (["--http-port", "65535", "--nodes", "2"], 2, "--http-port 65535 leaves no 2 ports"),
        (["--agent", "a", "--starting-port", "9438"], 2, "--starting-port 9438 and --agent-port 9440 overlap"),
        (["--starting-port", "26656"], 3, "127.0.0.1:26658 is where the validator tcp://127.0.0.1:26658 listens"),
        (
            ["--agent", "a", "--http-port", "26658"],
            3,
            "--http-port: 127.0.0.1:26658 is where the validator tcp://127.0.0.1:26658",
        ),
        (
            ["--addresses", "10.0.0.1,10.0.0.2", "--validator-addr", "tcp://10.0.0.2:9430"],
            3,
            "--starting-port: 10.0.0.2:9430 is where the validator tcp://10.0.0.2:9430 listens",
        ),
        (["--validator-addr", "http://a:1"], 3, "unknown scheme"),
        (["--chain-id", " "], 3, "no chain id"),
        (["--state-file", "x"], 2, "give --key-file too"),
        (["--key-file", "/no/such", "--chain-id", "c"], 4, "is missing"),
        (["--key-file", "x"], 2, "needs --chain-id"),
        (["--key-file", "x", "--chain-id", "c", "--type", "ed25519"], 2, "tells its own"),
        (["--type", "rsa"], 2, "'rsa' is not known"),
    ],
)
def test_bad_input_is_one_clear_error_and_makes_nothing(
    tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    target = tmp_path / "net"
    done = cmkms("testnet", "--dir", str(target), *arguments)
    assert (done.returncode, target.exists()) == (code, False), done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_directory_that_holds_anything_is_left_alone(tmp_path: Path) -> None:
    homes = made(tmp_path / "net")
    before = key_of(homes[0])
    done = cmkms("testnet", "--dir", str(tmp_path / "net"))
    assert (done.returncode, "not an empty directory" in done.stderr) == (3, True)
    assert key_of(homes[0]) == before
    (tmp_path / "empty").mkdir()
    assert len(made(tmp_path / "empty")) == 3


def test_an_even_number_is_made_with_a_note(tmp_path: Path) -> None:
    done = cmkms("testnet", "--nodes", "2", "--dir", str(tmp_path / "net"))
    assert (done.returncode, "no more losses than 1" in done.stderr) == (0, True)


def test_where_nothing_can_be_made_the_option_of_this_command_is_the_cure() -> None:
    done = cmkms("testnet", "--dir", "/proc/none", "--chain-id", "c")
    assert done.returncode == 3
    assert done.stderr.endswith("cure: choose a directory you can write with --dir\n"), done.stderr
