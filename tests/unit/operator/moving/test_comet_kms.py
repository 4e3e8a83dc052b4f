"""CometBFT's own cometkms: its home, its key in either form, its state, its identity; and that it
is not taken for the Go CometKMS.
"""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey

from cometkms.core.pure import core as pure
from cometkms.errors import ConfigError, KeyFileError, StateError
from cometkms.keys.validator_key import key_document
from cometkms.model import HRS
from cometkms.operator.moving import comet_kms
from cometkms.operator.moving.old_signer import Asked, OldSigner
from tests.vectors.moving.homes import CHAIN, SEED, old_home

CORE = pure.CORE
PUBLIC = bytes(SigningKey(SEED).verify_key)
TOML = """[[chain]]
id = "moving-1"

[[validator]]
chain_id = "moving-1"
addr = "tcp://127.0.0.1:26659"
identity_key = "identity.json"

[[providers.softsign]]
chain_ids = ["moving-1"]
key_file = "priv_validator_key.json"
"""


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o600)
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "cometkms"
    put(home / "cometkms.toml", TOML.encode())
    put(home / "priv_validator_key.json", key_document(SEED))
    put(home / "state" / f"{CHAIN}.json", b'{"height":"88","round":2,"step":3}')
    return home


def read(*paths: Path, **more: Any) -> OldSigner:
    return comet_kms.read_either(Asked(paths, more.pop("chain", CHAIN), CORE, **more))


def test_a_home_gives_key_state_and_identity_at_their_defaults(home: Path) -> None:
    for path in (home, home / "cometkms.toml"):
        old = read(path)
        assert old.public_key == PUBLIC
        assert [(one.path, one.mark.hrs) for one in old.states] == [(home / "state" / f"{CHAIN}.json", HRS(88, 2, 3))]
        assert old.identity_path == home / "identity.json"


@pytest.mark.parametrize("where", ["states/s.json", "../s.json", "{tmp}/abs/s.json"])
def test_a_state_file_is_relative_to_the_home_or_absolute(home: Path, tmp_path: Path, where: str) -> None:
    where = where.format(tmp=tmp_path)
    put(home / where, b'{"height":"99","round":0,"step":1}')
    toml = home / "cometkms.toml"
    toml.write_text(TOML.replace('id = "moving-1"\n\n', f'id = "moving-1"\nstate_file = "{where}"\n\n', 1))
    old = read(home)
    assert [one.mark.hrs.height for one in old.states] == [99]
    assert [one.mark.hrs.height for one in old.seen] == [88]


def test_a_key_of_base64_is_seed_and_public_key(home: Path) -> None:
    key = home / "priv_validator_key.json"
    key.write_bytes(base64.b64encode(SEED + PUBLIC) + b"\n")
    assert read(home).public_key == PUBLIC
    for content, words in ((SEED, "holds 32 bytes"), (SEED + SEED, "expanded key"), (b"", "holds 0 bytes")):
        key.write_bytes(base64.b64encode(content))
        with pytest.raises(KeyFileError, match=f"{key} .*{words}"):
            read(home)


def test_a_key_of_another_type_is_refused_by_name(home: Path) -> None:
    key = home / "priv_validator_key.json"
    document = json.loads(key.read_text())
    document["priv_key"]["type"] = "cometbft/PrivKeyMlDsa65"
    key.write_text(json.dumps(document))
    with pytest.raises(KeyFileError, match="cometbft/PrivKeyMlDsa65"):
        read(home)
    toml = home / "cometkms.toml"
    softsign = TOML.index("[[providers")
    toml.write_text(
        TOML[:softsign] + f'[[providers.pkcs11]]\nchain_ids = ["{CHAIN}"]\nmodule = "/m"\nalgorithm = "secp256k1eth"\n'
    )
    with pytest.raises(KeyFileError, match="secp256k1eth"):
        read(home)


@pytest.mark.parametrize("device", ["pkcs11", "awskms"])
def test_a_key_in_a_device_leaves_the_watermark(home: Path, device: str) -> None:
    text = TOML[: TOML.index("[[providers")] + f'[[providers.{device}]]\nchain_ids = ["{CHAIN}"]\n'
    (home / "cometkms.toml").write_text(text)
    old = read(home)
    assert old.key is None
    assert "--key-file" in old.notes[0]
    assert old.states[0].mark.hrs.height == 88


def test_a_missing_state_is_height_0_to_it_and_stops_the_import(home: Path) -> None:
    state = home / "state" / f"{CHAIN}.json"
    state.write_bytes(b"")
    assert read(home).states[0].mark.hrs == HRS(0, 0, 0)
    state.unlink()
    with pytest.raises(StateError, match=rf"{state} is missing.*--min-height"):
        read(home)
    assert read(home, typed=True).states == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: "include = 1\n" + text, "'include'"),
        (lambda text: text.replace("key_file", "path"), "'path'"),
        (lambda text: text.replace("addr", "address"), "'address'"),
        (lambda text: text + '[[chain]]\nid = "moving-1"\n', "is there 2 times"),
        (lambda text: text[: text.index("[[providers")], "0 providers"),
        (lambda text: text + f'[[providers.awskms]]\nchain_ids = ["{CHAIN}"]\n', "2 providers"),
        (lambda text: text.replace('key_file = "', 'key_file = 5 # "'), "key_file is 5"),
        (lambda text: text.replace("moving-1", "other"), "knows no chain"),
        (lambda text: text.replace("[[chain]]", "[[chain]]\nstate_file = 0"), "state_file is 0"),
        (lambda text: text.replace("[[chain]]", "[[chain]]\nstate_file = false"), "state_file is False"),
    ],
)
def test_a_toml_that_it_would_not_run_with_is_refused(home: Path, change: Any, words: str) -> None:
    (home / "cometkms.toml").write_text(change(TOML))
    with pytest.raises(ConfigError, match=words):
        read(home)


def test_several_identities_are_told_and_none_is_taken(home: Path) -> None:
    more = f'[[validator]]\nchain_id = "{CHAIN}"\naddr = "tcp://b:1"\nidentity_key = "other.json"\n'
    (home / "cometkms.toml").write_text(TOML + more)
    old = read(home)
    assert old.identity_path is None
    assert "2 identities" in old.notes[0]


def test_the_two_programs_of_that_name_are_told_apart_by_their_files(home: Path, tmp_path: Path) -> None:
    gos = sorted(old_home(tmp_path, "cometkms").iterdir())
    assert read(*gos).states[0].mark.hrs == HRS(71, 1, 3)
    with pytest.raises(ConfigError, match="homes of one of them"):
        read(home, *gos)
    (gos[0] / "cometkms.toml").write_text(TOML)
    with pytest.raises(ConfigError, match="homes of one of them"):
        read(gos[0])
    with pytest.raises(ConfigError, match="one process"):
        other = tmp_path / "second"
        put(other / "cometkms.toml", TOML.encode())
        read(home, other)
