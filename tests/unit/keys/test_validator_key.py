"""Key files: what is loaded, what is refused; formats; identity."""

import base64
import hashlib
import json
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from cometkms.core.interface import Core
from cometkms.errors import KeyFileError
from cometkms.keys.formats import bech32_encode, cometbft_json, cosmos_json
from cometkms.keys.identity import ensure_identity, load_identity
from cometkms.keys.validator_key import (
    address_of,
    key_document,
    load_key_slot,
    load_public_key,
    parse_material,
    parse_seed,
    write_key,
)
from cometkms.keytypes import ED25519, KEY_TYPES, KeyType
from tests.vectors.vectors import load

SEED = bytes(range(32))
PUBLIC = bytes(SigningKey(SEED).verify_key)


def key_file(tmp_path: Path, **changes: object) -> Path:
    document = {**json.loads(key_document(SEED)), **changes}
    path = tmp_path / "priv_validator_key.json"
    path.write_text(json.dumps(document))
    path.chmod(0o600)
    return path


def test_cometbfts_own_key_files_load(core: Core, tmp_path: Path) -> None:
    for number, case in enumerate(load("file_pv.json")):
        path = tmp_path / str(number)
        path.write_text(json.dumps(case["key_file"], indent=2))
        path.chmod(0o600)
        slot = load_key_slot(core, path, "c")
        assert slot.public_key == base64.b64decode(case["key_file"]["pub_key"]["value"]) == load_public_key(path)
        assert address_of(slot.public_key) == case["key_file"]["address"]
        slot.close()


PRIVATE = json.loads(key_document(SEED))["priv_key"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"address": "00" * 20}, "its address"),
        (
            {"pub_key": {"type": "tendermint/PubKeyEd25519", "value": base64.b64encode(bytes(32)).decode()}},
            "its pub_key",
        ),
        (
            {"pub_key": {"type": "tendermint/PubKeySecp256k1", "value": ""}},
            "its pub_key is no tendermint/PubKeySecp256k1 of 33",
        ),
        ({"priv_key": {**PRIVATE, "type": "tendermint/PrivKeySecp256k1"}}, "no private key of type secp256k1"),
        ({"priv_key": {**PRIVATE, "value": "AAAA"}}, "not base64 of 64 bytes"),
        ({"priv_key": {**PRIVATE, "value": SEED.hex()}}, "its priv_key is hex, and a key file has base64 of 64 bytes"),
        ({"priv_key": {**PRIVATE, "value": (SEED + PUBLIC).hex()}}, "cure: move the file away .*--type ed25519` takes"),
        (
            {"priv_key": {"type": "tendermint/PrivKeySecp256k1", "value": SEED.hex()}},
            "its priv_key is hex, and a key file has base64 of 32 bytes there; .*--type secp256k1` takes",
        ),
        ({"priv_key": {**PRIVATE, "value": base64.b64encode(bytes(64)).decode()}}, "all zeros"),
        ({"priv_key": {**PRIVATE, "value": base64.b64encode(bytes(32) + PUBLIC).decode()}}, "all zeros"),
        (
            {"priv_key": {"type": "tendermint/PrivKeySecp256k1", "value": base64.b64encode(bytes(32)).decode()}},
            "all zeros: that stands where a key is to be",
        ),
        ({"priv_key": None}, "holds no priv_key"),
    ],
)
def test_inconsistent_key_files_are_refused(core: Core, tmp_path: Path, changes: dict, words: str) -> None:
    with pytest.raises(KeyFileError, match=words) as error:
        load_key_slot(core, key_file(tmp_path, **changes), "c")
    assert PRIVATE["value"] not in str(error.value)


def test_a_key_that_others_can_read_is_refused_with_the_cure(core: Core, tmp_path: Path) -> None:
    path = key_file(tmp_path)
    path.chmod(0o640)
    with pytest.raises(KeyFileError, match=f"chmod 600 {path}"):
        load_key_slot(core, path, "c")


def test_a_missing_a_huge_and_a_directory_key_file_are_refused(core: Core, tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"is missing.*A new key is another validator"):
        load_key_slot(core, tmp_path / "no", "c")
    huge = tmp_path / "huge"
    huge.write_bytes(bytes(20_000))
    huge.chmod(0o600)
    with pytest.raises(KeyFileError, match="20000 bytes"):
        load_key_slot(core, huge, "c")
    with pytest.raises(KeyFileError):
        load_key_slot(core, tmp_path, "c")


def test_a_new_key_is_private_and_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    write_key(path, SEED)
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    with pytest.raises(KeyFileError, match="never overwritten"):
        write_key(path, SEED[::-1])
    assert path.read_bytes() == before


@pytest.mark.parametrize("key_type", KEY_TYPES, ids=lambda one: one.name)
def test_a_key_of_zeros_is_a_placeholder_however_it_is_given(key_type: KeyType, tmp_path: Path) -> None:
    """Of every type, as text, as a file, and where only the public half is read."""
    zeros = bytes(32)
    for text in (zeros.hex(), base64.b64encode(zeros).decode()):
        with pytest.raises(
            KeyFileError, match="all zeros: that stands where a key is to be; cure: the validator's own"
        ):
            parse_material(text, key_type)
    private = {"type": key_type.private_json, "value": base64.b64encode(bytes(key_type.secret_bytes)).decode()}
    public = {"type": key_type.public_json, "value": base64.b64encode(bytes(key_type.public_bytes)).decode()}
    path = tmp_path / "key.json"
    path.write_text(json.dumps({"pub_key": public, "priv_key": private}))
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="all zeros"):
        load_public_key(path)


@pytest.mark.parametrize("key_type", [one for one in KEY_TYPES if one.order], ids=lambda one: one.name)
def test_a_number_that_is_too_large_is_told_as_that_and_not_as_bad_text(key_type: KeyType) -> None:
    for number in (key_type.order, 2**256 - 1):
        with pytest.raises(KeyFileError) as error:
            parse_material(number.to_bytes(32, "big").hex(), key_type)
        assert error.value.what.endswith(f"so it is no private key of type {key_type.name}")
        assert "base64" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        SEED.hex(),
        (SEED + PUBLIC).hex(),
        base64.b64encode(SEED).decode(),
        base64.b64encode(SEED + PUBLIC).decode() + "\n",
        key_document(SEED).decode(),
    ],
)
def test_seeds_are_parsed_from_every_form(text: str) -> None:
    assert parse_seed(text) == (SEED, ED25519)


@pytest.mark.parametrize("text", ["", "00", "{}", "{", (SEED + SEED).hex(), "*" * 44])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(KeyFileError):
        parse_seed(text)


def test_formats() -> None:
    value = base64.b64encode(PUBLIC).decode()
    assert json.loads(cometbft_json(PUBLIC)) == {"type": "tendermint/PubKeyEd25519", "value": value}
    assert json.loads(cosmos_json(PUBLIC)) == {"@type": "/cosmos.crypto.ed25519.PubKey", "key": value}
    assert address_of(PUBLIC) == hashlib.sha256(PUBLIC).hexdigest()[:40].upper()


def test_bech32_bip173_vectors() -> None:
    assert bech32_encode("a", b"") == "a12uel5l"
    assert bech32_encode("abcdef", bytes.fromhex("00443214c74254b635cf84653a56d7c675be77df")) == (
        "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw"
    )
    for prefix in ("", "A", "ä"):
        with pytest.raises(ValueError, match="bech32"):
            bech32_encode(prefix, b"")


def test_the_identity_stays_the_same_and_is_private(tmp_path: Path) -> None:
    (tmp_path / "priv").mkdir()
    ensure_identity(tmp_path)
    first = load_identity(tmp_path)
    ensure_identity(tmp_path)
    assert load_identity(tmp_path).public_key == first.public_key
    path = tmp_path / "priv" / "identity_key.json"
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("{}")
    with pytest.raises(KeyFileError):
        load_identity(tmp_path)
