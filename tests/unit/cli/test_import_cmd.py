"""`cmkms import`: what it brings, what it refuses, and that a refusal or a dry run changes nothing."""

import base64
import contextlib
import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from cometkms.cli import import_cmd
from cometkms.keys.validator_key import write_key
from cometkms.rules.birth import NodeState
from cometkms.store.lock import locked_home
from cometkms.store.promise_store import Header, PromiseStore
from tests.e2e.node import free_port
from tests.unit.cli.inside import cmkms
from tests.unit.cli.test_cli import tree
from tests.vectors.moving.homes import CHAIN, SEED, old_home

ADDRESS = "56475AA75463474C0285DF5DBF2BCAB73DA65135"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Made by `cmkms init`, without a key."""
    path = tmp_path / "home"
    done = cmkms("init", "--home", str(path), "--chain-id", CHAIN, "--validator-addr", "tcp://127.0.0.1:1")
    assert done.returncode == 0, done.stderr
    return path


def paths_of(tmp_path: Path, name: str) -> list[str]:
    home = old_home(tmp_path, name)
    several = name in ("cometkms", "horcrux_threshold")
    return [str(path) for path in (sorted(home.iterdir()) if several else [home])]


def run(home: Path, kind: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return cmkms("import", "--home", str(home), "--from", kind, *arguments)


def state_of(home: Path) -> list[object]:
    document = json.loads((home / "priv" / "priv_validator_state.json").read_text())
    return [document["height"], document["round"], document["step"], "signature" in document]


KINDS = [
    ("cometkms", "cometkms", ["73", 1, 2, True]),
    ("horcrux", "horcrux_single", ["51", 1, 3, True]),
    ("tmkms", "tmkms", ["45", 1, 3, False]),
]


@pytest.mark.parametrize(("kind", "name", "state"), KINDS)
def test_a_dry_run_changes_nothing_and_yes_brings_key_and_watermark(
    home: Path, tmp_path: Path, kind: str, name: str, state: list[object]
) -> None:
    paths = paths_of(tmp_path, name)
    old, before = tree(tmp_path / "old"), tree(home)
    shown = run(home, kind, *paths)
    assert shown.returncode == 0, shown.stderr
    assert ADDRESS in shown.stdout
    assert "[ ] " in shown.stdout
    assert "Nothing was changed" in shown.stdout
    assert tree(home) == before
    done = run(home, kind, *paths, "--yes")
    assert done.returncode == 0, done.stderr
    assert state_of(home) == state
    assert (home / "priv" / "priv_validator_key.json").stat().st_mode & 0o777 == 0o600
    assert ADDRESS in cmkms("keys", "show", "--home", str(home)).stdout
    assert tree(tmp_path / "old") == old
    after = tree(home)
    again = run(home, kind, *paths, "--yes")
    assert again.returncode == 0, again.stderr
    assert "keeps" in again.stdout
    assert "the watermark stays" in again.stdout
    assert tree(home) == after


@pytest.mark.parametrize(("kind", "name", "state"), KINDS)
def test_the_plan_is_json_for_a_program_before_and_after_it_is_carried_out(
    home: Path, tmp_path: Path, kind: str, name: str, state: list[object]
) -> None:
    paths, before = paths_of(tmp_path, name), tree(home)
    plan = json.loads(run(home, kind, *paths, "--json").stdout)
    assert tree(home) == before
    assert (plan["key"], plan["done"], plan["doubts"], plan["before"]) == (ADDRESS, False, [], None)
    assert [str(plan["after"]["height"]), plan["after"]["round"], plan["after"]["step"]] == state[:3]
    assert plan["after"]["known"] == ("signed" if state[3] else "burnt")
    key, kept = home / "priv" / "priv_validator_key.json", home / "priv" / "priv_validator_state.json"
    assert {str(key), str(kept)} <= set(plan["writes"])
    assert plan["off"]
    done = run(home, kind, *paths, "--yes", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {**plan, "done": True}
    again = json.loads(run(home, kind, *paths, "--yes", "--json").stdout)
    assert (again["writes"], again["before"]) == ([], plan["after"])


def test_a_doubt_is_in_the_json_and_the_exit_code(home: Path, tmp_path: Path) -> None:
    validator = tmp_path / "old"
    assert cmkms("init", "--home", str(validator), "--new-key").returncode == 0
    key, state = (validator / "priv" / name for name in ("priv_validator_key.json", "priv_validator_state.json"))
    done = run(home, "filepv", "--key-file", str(key), "--state-file", str(state), "--json", "--yes")
    assert done.returncode == 5
    plan = json.loads(done.stdout)
    assert plan["doubts"]
    assert plan["doubts"][0] in done.stderr
    assert plan["done"] is False


def test_threshold_mode_needs_the_key_that_was_split(home: Path, tmp_path: Path) -> None:
    paths = paths_of(tmp_path, "horcrux_threshold")
    done = run(home, "horcrux", *paths, "--yes")
    assert done.returncode == 0, done.stderr
    assert "a shard is no key" in done.stdout
    assert "cmkms keys import FILE" in done.stdout
    assert not (home / "priv" / "priv_validator_key.json").exists()
    write_key(tmp_path / "backup.json", SEED)
    done = run(home, "horcrux", *paths, "--key-file", str(tmp_path / "backup.json"), "--yes")
    assert done.returncode == 0, done.stderr
    assert state_of(home) == ["61", 1, 3, True]
    assert (home / "priv" / "priv_validator_key.json").exists()


def test_a_go_home_is_taken_over_in_place_at_the_highest_of_all_nodes(tmp_path: Path) -> None:
    paths = paths_of(tmp_path, "cometkms")
    done = run(Path(paths[0]), "cometkms", *paths, "--yes")
    assert done.returncode == 0, done.stderr
    assert state_of(Path(paths[0])) == ["73", 1, 2, True]
    assert "Do the same on node1, node2" in done.stdout


def test_the_watermark_is_never_below_what_is_known_here(home: Path, tmp_path: Path) -> None:
    state = home / "priv" / "priv_validator_state.json"
    state.write_text('{"height":"99","round":0,"step":1}')
    assert run(home, "tmkms", *paths_of(tmp_path, "tmkms"), "--yes").returncode == 0
    assert state_of(home) == ["99", 0, 1, False]


def test_min_height_burns_whatever_the_files_say(home: Path, tmp_path: Path) -> None:
    paths = paths_of(tmp_path, "cometkms")
    refused = run(home, "cometkms", paths[0], "--yes")
    assert refused.returncode == 5
    assert "3 nodes may have signed" in refused.stderr
    assert not list((home / "priv").iterdir())
    done = run(home, "cometkms", paths[0], "--min-height", "90", "--yes")
    assert done.returncode == 0, done.stderr
    assert state_of(home) == ["90", (1 << 31) - 1, 3, False]


def test_another_key_is_never_overwritten(home: Path, tmp_path: Path) -> None:
    write_key(home / "priv" / "priv_validator_key.json", b"\1" * 32)
    before = tree(home)
    refused = run(home, "tmkms", *paths_of(tmp_path, "tmkms"), "--yes")
    assert refused.returncode == 4
    assert "nothing is overwritten" in refused.stderr
    assert tree(home) == before


def test_two_signatures_at_one_place_are_refused(home: Path, tmp_path: Path) -> None:
    """A second signer with the key was left running."""
    paths = paths_of(tmp_path, "cometkms")
    assert run(home, "cometkms", *paths, "--yes").returncode == 0
    vector = json.loads((home / "priv" / "priv_validator_state.json").read_text())
    bent = bytes.fromhex(vector["signbytes"]).replace(b"\xaa" * 32, b"\xab" * 32)
    signature = base64.b64encode(SigningKey(SEED).sign(bent).signature).decode()
    other = {**vector, "signbytes": bent.hex(), "signature": signature}
    (tmp_path / "second.json").write_text(json.dumps(other))
    before = tree(home)
    refused = run(home, "cometkms", *paths, "--state-file", str(tmp_path / "second.json"), "--yes")
    assert refused.returncode == 5
    assert "two signatures of this key at 73/1/2" in refused.stderr
    assert tree(home) == before


def test_a_running_node_is_refused(home: Path, tmp_path: Path) -> None:
    paths = paths_of(tmp_path, "tmkms")
    with locked_home(home):
        refused = run(home, "tmkms", *paths, "--yes")
        assert refused.returncode == 6
        assert "stop it first" in refused.stderr
        assert run(home, "tmkms", *paths).returncode == 0  # looking is free
    assert not list((home / "priv").iterdir())


@pytest.mark.parametrize("unused", [False, True])
def test_a_key_that_goes_out_before_the_home_is_held_is_seen(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unused: bool
) -> None:
    """What is brought stood above what was out when it was read, and does not any more."""
    paths = paths_of(tmp_path, "tmkms")  # at 45/1/3
    note = home / "priv" / "exported.json"
    out = {
        place: json.dumps({"format": 1, "chains": {CHAIN: ["tmkms", "/x", place]}}) for place in ("45/1/3", "50/0/2")
    }
    if unused:
        note.write_text(out["45/1/3"])

    @contextlib.contextmanager
    def taken_late(path: Path) -> Iterator[None]:
        note.write_text(out["50/0/2"])
        with locked_home(path):
            yield

    monkeypatch.setattr(import_cmd, "locked_home", taken_late)
    done = run(home, "tmkms", *paths, "--yes", *(["--unused"] if unused else []))
    assert (done.returncode, "below that: it is no current file of that signer" in done.stderr) == (5, True), (
        done.stderr
    )
    assert note.read_text() == out["50/0/2"]
    assert [one.name for one in (home / "priv").iterdir()] == [note.name], "neither key nor watermark was written"


def test_a_raise_in_a_living_cluster_is_refused_while_another_member_runs(home: Path, tmp_path: Path) -> None:
    """It holds once a majority has it: a member that runs could sign below it with one
    that has not.
    """
    paths = paths_of(tmp_path, "tmkms")
    port, own = free_port(), free_port()
    config = home / "config.toml"
    peers = f'peer = ["node0=127.0.0.1:{own}", "node1=127.0.0.1:{port}", "node2=127.0.0.1:{free_port()}"]'
    config.write_text(
        config.read_text()
        .replace("peer = []", peers)
        .replace('raft_addr = "127.0.0.1:9430"', f'raft_addr = "127.0.0.1:{own}"')
    )
    assert run(home, "tmkms", *paths, "--yes").returncode == 0
    store = home / "data" / "node0" / "promises"
    store.parent.mkdir(parents=True)
    PromiseStore.create(
        store, Header("node0", 1, ("node0", "node1", "node2"), NodeState.COMPLETE, bytes(8)), []
    ).close()
    before = tree(home)
    with socket.create_server(("127.0.0.1", port)):
        refused = run(home, "tmkms", *paths, "--min-height", "50", "--yes")
        assert refused.returncode == 6
        assert f"node1 answers at 127.0.0.1:{port}" in refused.stderr
        assert tree(home) == before
        assert run(home, "tmkms", *paths, "--yes").returncode == 0  # nothing is raised
    done = run(home, "tmkms", *paths, "--min-height", "50", "--yes")
    assert done.returncode == 0, done.stderr
    assert "This holds once 2 of node0, node1, node2 have it" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--from", "filepv"], 3, "where are the files"),
        (["--from", "filepv", "/no/such/home"], 4, "no key file at /no/such/home"),
        (["--from", "tmkms", "/no/such/home"], 5, "/no/such/home is missing"),
        (["--from", "horcrux", "/no/such/home"], 5, "config.yaml is missing"),
        (["--from", "cometkms", "/no/such/home"], 4, "priv_validator_key.json is missing"),
        (["--from", "tmkms", "OLD", "--chain-id", "other"], 3, f"is of chain '{CHAIN}', and --chain-id says 'other'"),
        (["--from", "tmkms", "OLD", "--key-file", "/dev/null"], 4, "/dev/null cannot be read: it is no regular file"),
        (["--from", "tmkms", "OLD", "--state-file", "/etc/hostname"], 5, "is no state file of this signer"),
        (["--from", "nothing", "OLD"], 2, "nothing"),
        (["OLD"], 2, "--from"),
    ],
)
def test_bad_input_is_told_with_its_cure_and_nothing_changes(
    home: Path, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    old = str(old_home(tmp_path, "tmkms"))
    before = tree(home)
    done = cmkms("import", "--home", str(home), *(old if one == "OLD" else one for one in arguments), "--yes")
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert code == 2 or "cure" in done.stderr.lower()
    assert tree(home) == before


def test_a_home_without_a_chain_says_which_to_name(tmp_path: Path) -> None:
    path = tmp_path / "bare"
    assert cmkms("init", "--home", str(path)).returncode == 0
    old = str(old_home(tmp_path, "tmkms"))
    refused = run(path, "tmkms", old)
    assert refused.returncode == 3
    assert "which chain? cure: --chain-id ID" in refused.stderr
    refused = run(path, "tmkms", old, "--chain-id", "other")
    assert "knows no chain 'other'" in refused.stderr
    assert run(path, "tmkms", old, "--chain-id", CHAIN).returncode == 0


def test_a_watermark_of_nobody_is_refused(home: Path, tmp_path: Path) -> None:
    old = old_home(tmp_path, "tmkms")
    toml = old / "tmkms.toml"
    toml.write_text(toml.read_text().partition("[[providers")[0])
    refused = run(home, "tmkms", str(old), "--yes")
    assert refused.returncode == 4
    assert "whose watermark is it?" in refused.stderr
    write_key(home / "priv" / "priv_validator_key.json", SEED)
    assert run(home, "tmkms", str(old), "--yes").returncode == 0
    assert state_of(home) == ["45", 1, 3, False]


def test_a_running_programs_own_file_is_doubted_for_its_store_knows_more(home: Path, tmp_path: Path) -> None:
    """The state file follows the store, and after a kill -9 it may be behind."""
    assert run(home, "tmkms", str(old_home(tmp_path, "tmkms")), "--yes").returncode == 0
    (home / "priv" / "born.json").write_text("{}")
    other = tmp_path / "other"
    assert cmkms("init", "--home", str(other), "--chain-id", CHAIN, "--validator-addr", "tcp://a:1").returncode == 0
    before = tree(other)
    refused = run(other, "filepv", str(home / "priv"), "--yes")
    assert refused.returncode == 5
    assert "cmkms export --to filepv DIR" in refused.stderr
    assert tree(other) == before
    assert run(other, "filepv", str(home / "priv"), "--min-height", "46", "--yes").returncode == 0
    assert state_of(other)[:1] == ["46"]


# --- what the old signer's own configuration says ---


def gaia(tmp_path: Path, config: str = "", state: str = '{"height":"0","round":0,"step":0}') -> Path:
    home = tmp_path / "gaia"
    for name in ("config", "data"):
        (home / name).mkdir(parents=True)
    write_key(home / "config" / "priv_validator_key.json", SEED)
    (home / "data" / "priv_validator_state.json").write_text(state)
    (home / "config" / "config.toml").write_text(config)
    return home


def test_a_state_that_config_toml_names_is_taken_and_not_the_default(home: Path, tmp_path: Path) -> None:
    old = gaia(tmp_path, 'priv_validator_state_file = "vault/s.json"\n')
    (old / "vault").mkdir()
    (old / "vault" / "s.json").write_text('{"height":"9000000","round":0,"step":3}')
    done = run(home, "filepv", str(old), "--yes")
    assert done.returncode == 0, done.stderr
    assert state_of(home) == ["9000000", 0, 3, False]


def refused_with(home: Path, words: str, *arguments: str, code: int = 5) -> None:
    before = tree(home)
    refused = run(home, *arguments, "--yes")
    assert refused.returncode == code, refused.stderr
    assert words in refused.stderr
    assert tree(home) == before


def test_with_a_remote_signer_a_height_or_its_own_state_is_asked_for(home: Path, tmp_path: Path) -> None:
    old = str(gaia(tmp_path, 'priv_validator_laddr = "tcp://0.0.0.0:26658"\n', '{"height":"70","round":0,"step":3}'))
    refused_with(home, "another signer signs for this node", "filepv", old)
    assert run(home, "filepv", old, "--min-height", "9000000", "--yes").returncode == 0
    assert state_of(home)[0] == "9000000"


def test_a_key_that_was_in_use_with_a_state_at_0_takes_a_typed_height(home: Path, tmp_path: Path) -> None:
    old = gaia(tmp_path)
    refused_with(home, "--never-signed", "filepv", str(old))
    (old / "data" / "blockstore.db").mkdir()
    refused_with(home, "but it was in use", "filepv", str(old))
    refused_with(home, "but it was in use", "filepv", str(old), "--never-signed")
    (old / "data" / "priv_validator_state.json").unlink()
    refused_with(home, "--min-height", "filepv", str(old))
    refused_with(home, "but it was in use", "filepv", str(old), "--never-signed")
    refused_with(home, "contradict", "filepv", str(old), "--never-signed", "--min-height", "5", code=3)
    assert run(home, "filepv", str(old), "--min-height", "77", "--yes").returncode == 0
    assert state_of(home)[0] == "77"


def test_a_key_that_never_signed_takes_the_word(home: Path, tmp_path: Path) -> None:
    done = run(home, "filepv", str(gaia(tmp_path)), "--never-signed", "--yes")
    assert done.returncode == 0, done.stderr
    assert state_of(home) == ["0", 0, 0, False]


def test_what_says_more_than_the_state_is_refused_and_counts_beside_a_typed_height(home: Path, tmp_path: Path) -> None:
    old = gaia(tmp_path, state='{"height":"50","round":0,"step":3}')
    (old / "data" / "priv_validator_state.json.bak").write_text('{"height":"900","round":0,"step":3}')
    refused_with(home, "says height 900, and the state in use height 50", "filepv", str(old))
    assert "higher   height 900" in run(home, "filepv", str(old)).stdout
    done = run(home, "filepv", str(old), "--min-height", "60", "--yes")
    assert done.returncode == 0, done.stderr
    assert state_of(home)[0] == "900"


def cometbfts(tmp_path: Path) -> Path:
    """A home of CometBFT's own cometkms."""
    old = tmp_path / "their"
    (old / "state").mkdir(parents=True)
    (old / "cometkms.toml").write_text(
        f'[[chain]]\nid = "{CHAIN}"\n[[validator]]\nchain_id = "{CHAIN}"\naddr = "tcp://a:1"\nidentity_key = "identity.json"\n'
        f'[[providers.softsign]]\nchain_ids = ["{CHAIN}"]\nkey_file = "k.json"\n'
    )
    write_key(old / "k.json", SEED)
    (old / "state" / f"{CHAIN}.json").write_text('{"height":"88","round":0,"step":3}')
    seed = bytes(range(1, 33))
    value = base64.b64encode(seed + bytes(SigningKey(seed).verify_key)).decode()
    identity = {"id": "x", "priv_key": {"type": "tendermint/PrivKeyEd25519", "value": value}}
    (old / "identity.json").write_text(json.dumps(identity))
    (old / "identity.json").chmod(0o600)
    return old


def test_cometbfts_own_cometkms_brings_key_watermark_and_identity(home: Path, tmp_path: Path) -> None:
    old = cometbfts(tmp_path)
    done = run(home, "cometkms", str(old), "--yes")
    assert done.returncode == 0, done.stderr
    assert state_of(home) == ["88", 0, 3, False]
    assert ADDRESS in cmkms("keys", "show", "--home", str(home)).stdout
    here, there = (
        json.loads(path.read_text()) for path in (home / "priv" / "identity_key.json", old / "identity.json")
    )
    assert here["priv_key"] == there["priv_key"]
    assert (home / "priv" / "identity_key.json").stat().st_mode & 0o777 == 0o600
    kept = tree(home)
    (old / "identity.json").write_text("{}")
    assert run(home, "cometkms", str(old), "--yes").returncode == 0, "an identity that is here stays"
    assert tree(home) == kept


def test_an_identity_that_is_none_is_told_before_anything_is_written(home: Path, tmp_path: Path) -> None:
    old = cometbfts(tmp_path)
    (old / "identity.json").write_text('{"priv_key": {"type": "tendermint/PrivKeySecp256k1", "value": "AAAA"}}')
    refused_with(home, "is no ed25519 node key", "cometkms", str(old), code=4)
    (old / "identity.json").chmod(0o644)
    refused_with(home, "chmod 600", "cometkms", str(old), code=4)
