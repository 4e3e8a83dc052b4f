"""CometBFT's own files, wherever a node or an operator has put them."""

import base64
import contextlib
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from cometkms.core.pure import core as pure
from cometkms.errors import ConfigError, KeyFileError, StateError
from cometkms.operator.moving import filepv
from cometkms.operator.moving.evidence import judge
from cometkms.operator.moving.old_signer import Asked, OldSigner
from tests.unit.operator.moving.test_comet_wal import ended
from tests.vectors.vectors import load

CORE = pure.CORE
CASES = [(name, case) for name in ("file_pv.json", "amino/file_pv_amino.json") for case in load(name)]


def put(directory: Path, name: str, document: object) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    path.write_text(json.dumps(document, indent=2))
    path.chmod(0o600)
    return path


def node(tmp_path: Path, case: dict, keys: str = "config", states: str = "data") -> Path:
    put(tmp_path / keys, filepv.KEY_NAME, case["key_file"])
    put(tmp_path / states, filepv.STATE_NAME, case["final_state_file"])
    return tmp_path


@pytest.mark.parametrize(("name", "case"), CASES)
def test_key_and_signed_watermark_of_what_filepv_wrote(tmp_path: Path, name: str, case: dict) -> None:
    old = filepv.read(Asked((node(tmp_path, case),), case["chain_id"], CORE))
    assert old.public_key == base64.b64decode(case["key_file"]["pub_key"]["value"])
    mark = old.states[0].mark
    assert mark.hrs.height == int(case["final_state_file"]["height"])
    assert CORE.verify(old.public_key, mark.sign_bytes, mark.signature)
    assert any("moved away" in item for item in old.off)


@pytest.mark.parametrize(
    ("keys", "states", "path"),
    [
        ("config", "data", "."),
        (".", ".", "."),
        ("config", "data", "config/" + filepv.KEY_NAME),
        (".", ".", filepv.KEY_NAME),
    ],
)
def test_a_home_a_directory_or_the_key_file_itself(tmp_path: Path, keys: str, states: str, path: str) -> None:
    _, case = CASES[0]
    old = filepv.read(Asked((node(tmp_path, case, keys, states) / path,), case["chain_id"], CORE))
    assert len(old.states) == 1


def test_files_may_be_named(tmp_path: Path) -> None:
    _, case = CASES[0]
    key, state = put(tmp_path, "k", case["key_file"]), put(tmp_path, "s", case["final_state_file"])
    old = filepv.read(Asked((), case["chain_id"], CORE, key, (state,)))
    assert (old.key_path, old.states[0].path) == (key, state)


def test_bad_input_names_the_file_and_the_cure(tmp_path: Path) -> None:
    _, case = CASES[0]
    home = node(tmp_path, case)
    with pytest.raises(ConfigError, match="where are the files"):
        filepv.read(Asked((), "c", CORE))
    with pytest.raises(ConfigError, match="give one path"):
        filepv.read(Asked((home, home), "c", CORE))
    with pytest.raises(StateError, match="and 'other' is configured"):
        filepv.read(Asked((home,), "other", CORE))
    with pytest.raises(KeyFileError, match=r"there is no key file at .*--key-file"):
        filepv.read(Asked((tmp_path / "no",), "c", CORE))
    (home / "config" / filepv.KEY_NAME).chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        filepv.read(Asked((home,), case["chain_id"], CORE))
    (home / "config" / filepv.KEY_NAME).chmod(0o600)
    (home / "data" / filepv.STATE_NAME).unlink()
    with pytest.raises(StateError, match=r"what this key has signed is not known, at .*--state-file"):
        filepv.read(Asked((home,), case["chain_id"], CORE))


def test_a_state_that_says_a_height_twice_says_none(tmp_path: Path) -> None:
    _, case = CASES[0]
    home = node(tmp_path, case)
    (home / "data" / filepv.STATE_NAME).write_text('{"height":"9000000","round":0,"step":3,"height":"9"}')
    with pytest.raises(StateError, match="it says 'height' twice"):
        filepv.read(Asked((home,), case["chain_id"], CORE))


# --- what config.toml says ---

NAME, CASE = CASES[0]
CHAIN = CASE["chain_id"]
HEIGHT = int(CASE["final_state_file"]["height"])
AT_ZERO = {"height": "0", "round": 0, "step": 0}


def read(*paths: Path, **more: Any) -> OldSigner:
    return filepv.read(Asked(paths, CHAIN, CORE, **more))


def configured(tmp_path: Path, text: str) -> Path:
    """A home whose data/ holds a state at 0: a first try, a copy of a template.

    The node itself may use another one.
    """
    home = node(tmp_path / "gaia", CASE)
    put(home / "data", filepv.STATE_NAME, AT_ZERO)
    (home / "config" / "config.toml").write_text(text)
    return home


@pytest.mark.parametrize(
    "where", ["vault/s.json", "./vault/../vault/s.json", "../outside.json", "{tmp}/elsewhere/s.json"]
)
@pytest.mark.parametrize("key", ["priv_validator_state_file", "Priv_Validator_State_File"])
def test_the_state_is_where_config_toml_says(tmp_path: Path, where: str, key: str) -> None:
    where = where.format(tmp=tmp_path)
    home = configured(tmp_path, f'moniker = "x"\n{key} = "{where}"\n[p2p]\nladdr = "tcp://0.0.0.0:26656"\n')
    real = Path(where) if where.startswith("/") else home / where
    put(real.parent.resolve(), real.name, CASE["final_state_file"])
    for path in (home, home / "config", home / "config" / filepv.KEY_NAME):
        assert [one.mark.hrs.height for one in read(path).states] == [HEIGHT]


def test_the_key_is_where_config_toml_says(tmp_path: Path) -> None:
    home = configured(tmp_path, 'priv_validator_key_file = "vault/k.json"\n')
    other = dict(CASE["key_file"])
    put(home / "vault", "k.json", other)
    assert read(home).key_path == home / "vault" / "k.json"
    (home / "vault" / "k.json").unlink()
    with pytest.raises(KeyFileError, match=r"there is no key file at .*/vault/k\.json"):
        read(home)
    with pytest.raises(ConfigError, match=r"config\.toml names .*vault/k\.json as the key, not"):
        read(home / "config" / filepv.KEY_NAME)


def test_a_key_that_is_named_alone_leads_to_its_home(tmp_path: Path) -> None:
    """A state that lies beside the key is not what the node writes."""
    home = configured(tmp_path, 'priv_validator_state_file = "vault/s.json"\npriv_validator_laddr = "tcp://x:1"\n')
    put(home / "vault", "s.json", CASE["final_state_file"])
    put(home / "config", filepv.STATE_NAME, AT_ZERO)
    old = read(key_file=home / "config" / filepv.KEY_NAME)
    assert [one.mark.hrs.height for one in old.states] == [HEIGHT]
    assert old.doubts


def test_the_default_beside_a_configured_state_that_is_missing_is_not_taken(tmp_path: Path) -> None:
    home = configured(tmp_path, 'priv_validator_state_file = "vault/s.json"\n')
    with pytest.raises(StateError, match=r"not known, at .*/vault/s\.json.*--min-height"):
        read(home)
    assert read(home, typed=True).states == ()


def test_with_a_remote_signer_the_local_state_is_doubted_and_both_ways_out_are_named(tmp_path: Path) -> None:
    home = configured(tmp_path, 'priv_validator_laddr = "tcp://0.0.0.0:26658"\n')
    doubt = read(home).doubts[0]
    assert "sets priv_validator_laddr" in doubt.what
    assert "--from tmkms" in doubt.cure
    assert "--min-height" in doubt.cure
    assert read(home, state_files=(home / "data" / filepv.STATE_NAME,)).doubts, "the same file again is no word"
    theirs = put(tmp_path, "theirs.json", CASE["final_state_file"])
    assert not read(home, state_files=(theirs,)).doubts
    (home / "config" / "config.toml").write_text('priv_validator_laddr = ""\n')
    assert not read(home).doubts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("priv_validator_state_file = 5", "priv_validator_state_file is 5"),
        ('priv_validator_state_file = ""', "priv_validator_state_file is ''"),
        ("priv_validator_laddr = true", "priv_validator_laddr is True"),
        ('priv_validator_file = "x"', "'priv_validator_file', which this import does not know"),
        ('[priv-validator]\nkey-file = "x"', "'priv-validator', which this import does not know"),
        ('[privval]\nx = "x"', "'privval'"),
        ('priv_validator_laddr = ""\nPriv_Validator_Laddr = "x"', "is there twice"),
        ("consensus = 5", "consensus is no table"),
        ("db_dir = []", "db_dir is"),
        ("a = ", "cannot be understood"),
    ],
)
def test_a_configuration_that_is_not_understood_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=f"{words}.*cure.*--state-file"):
        read(configured(tmp_path, text))


@pytest.mark.parametrize("second", ["config.toml", "config.json", "config/config.yaml", "config/priv_validator.json"])
def test_a_home_that_says_it_twice_is_refused(tmp_path: Path, second: str) -> None:
    home = configured(tmp_path, "")
    (home / second).write_text("")
    with pytest.raises(ConfigError, match="without this home"):
        read(home)


def test_what_says_more_beside_the_state_is_seen(tmp_path: Path) -> None:
    home = configured(tmp_path, "")
    put(home / "data", filepv.STATE_NAME + ".bak", CASE["final_state_file"])
    put(home, "old_priv_validator_state.json", {"height": "5", "round": 0, "step": 1})
    put(home / "data", "priv_validator_state.txt", ["not one"])
    put(home / "data", "priv_validator_state.other", {**CASE["final_state_file"], "height": "1"})
    assert sorted(one.mark.hrs.height for one in read(home).seen) == sorted([HEIGHT, 5])


def test_the_nodes_own_log_and_stores_are_seen(tmp_path: Path) -> None:
    home = configured(tmp_path, "")
    assert not read(home).in_use
    wal = home / "data" / "cs.wal" / "wal"
    wal.parent.mkdir()
    wal.write_bytes(ended(HEIGHT + 3))
    (home / "data" / "blockstore.db").mkdir()
    old = read(home)
    assert [(one.path, one.mark.hrs.height) for one in old.seen] == [(wal, HEIGHT + 3)]
    assert any("blockstore.db" in words for words in old.in_use)
    (home / "config" / "config.toml").write_text('[consensus]\nwal_file = "elsewhere/wal"\n')
    assert not read(home).seen
    put(home / "data", filepv.STATE_NAME, {"height": str(HEIGHT + 3), "round": 0, "step": 3})
    (home / "config" / "config.toml").write_text("")
    assert not read(home).seen, "a node that has finished what it signed is no news"


@pytest.mark.parametrize("finished", [0, 1, HEIGHT, HEIGHT + 3], ids=["none", "lower", "as high", "higher"])
def test_a_log_that_is_not_read_to_its_end_is_a_doubt_whatever_height_was_found(tmp_path: Path, finished: int) -> None:
    home = configured(tmp_path, "")
    put(home / "data", filepv.STATE_NAME, CASE["final_state_file"])
    wal = home / "data" / "cs.wal" / "wal"
    wal.parent.mkdir()
    wal.write_bytes(ended(finished) if finished else b"")
    assert not read(home).doubts
    os.truncate(wal, 1 << 40)
    old = read(home)
    (doubt,) = old.doubts
    assert "the node itself may have finished a higher height than its log shows here" in str(doubt)
    assert "cure: --min-height HEIGHT above the chain's head; or move that file away" in str(doubt)
    assert [one.mark.hrs.height for one in old.seen] == ([finished] if finished > HEIGHT else [])
    assert doubt in judge(old, never_signed=False)


@pytest.mark.parametrize("name", [f"config/{filepv.KEY_NAME}", f"data/{filepv.STATE_NAME}", "config/config.toml"])
@pytest.mark.parametrize("what", ["fifo", "directory", "dangling", "huge", "unreadable socket"])
def test_a_file_that_is_none_is_told_and_never_waited_for(tmp_path: Path, name: str, what: str) -> None:
    path = configured(tmp_path, "") / name
    path.unlink()
    home = tmp_path / "gaia"
    if what == "fifo":
        os.mkfifo(path, 0o600)
    elif what == "directory":
        path.mkdir(mode=0o700)
    elif what == "dangling":
        path.symlink_to(tmp_path / "nowhere")
    elif what == "huge":
        path.touch(0o600)
        os.truncate(path, 1 << 40)
    else:
        with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path.name)
            path.chmod(0o600)
    with pytest.raises((KeyFileError, StateError, ConfigError), match=rf"{path.name}.*[Cc]ure"):
        read(home)


def test_links_are_followed_as_the_node_follows_them(tmp_path: Path) -> None:
    home = configured(tmp_path, "")
    put(tmp_path / "volume", "s.json", CASE["final_state_file"])
    state = home / "data" / filepv.STATE_NAME
    state.unlink()
    state.symlink_to(tmp_path / "volume" / "s.json")
    link = tmp_path / "link"
    link.symlink_to(home)
    old = read(link)
    assert [one.mark.hrs.height for one in old.states] == [HEIGHT]
    assert not old.seen
