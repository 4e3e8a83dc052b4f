"""What a node knows of the cluster's secret: itself, the others' public keys, and how to show and
see that a stranger holds it, too.
"""

import dataclasses
import json
from hashlib import blake2b
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from cometkms.core.interface import Core
from cometkms.errors import KeyFileError
from cometkms.keys.cluster import (
    ClusterIdentity,
    Derivation,
    cluster_digest,
    noise_identity,
    noise_public_key,
    public_identities,
)
from cometkms.keys.source import PlainKeyFile, key_source
from cometkms.keys.validator_key import write_key
from tests.unit.core.test_core import PUBLIC, SEED

MEMBERS = ("b", "a", "ü")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "priv").mkdir()
    return tmp_path


def source(home: Path, seed: bytes = SEED) -> PlainKeyFile:
    path = home / "priv" / "key.json"
    path.unlink(missing_ok=True)
    write_key(path, seed)
    found = key_source(path, None)
    assert isinstance(found, PlainKeyFile)
    return found


def kin(home: Path, core: Core, me: str, seed: bytes = SEED) -> ClusterIdentity:
    return Derivation(home, [source(home, seed)], core, me, MEMBERS).take()


def test_every_node_derives_itself_and_knows_the_others(home: Path, core: Core) -> None:
    all_of_them = {name: kin(home, core, name) for name in MEMBERS}
    publics = {name: one.identity.public_key for name, one in all_of_them.items()}
    assert len(set(publics.values())) == len(MEMBERS)
    assert all(one.public_keys == publics for one in all_of_them.values())
    assert public_identities(home, [source(home)], core, MEMBERS) == publics
    assert len({one.authority for one in all_of_them.values()}) == 1


def test_the_identities_are_those_of_every_version(home: Path, core: Core) -> None:
    """Nodes of this version and of the ones before know each other."""
    slot = core.key_slot(bytearray(secret_of(SEED)), "")
    secret = slot.cluster_secret()
    slot.close()
    seed = blake2b(b"a", key=secret, digest_size=32, person=b"cmkms-node-key").digest()
    assert bytes(kin(home, core, "a").identity.key) == seed


def secret_of(seed: bytes) -> bytes:
    import base64

    return base64.b64encode(seed + bytes(SigningKey(seed).verify_key))


def test_the_noise_identity_is_one_for_all_nodes_and_nobodys_else(home: Path, core: Core) -> None:
    everybody = [kin(home, core, name) for name in MEMBERS]
    shown = {one.noise_key for one in everybody}
    own = noise_identity(home, [source(home)], core, None)
    assert shown == {own.public_key} == {noise_public_key(home, [source(home)], core, None)}
    assert own.public_key not in {*everybody[0].public_keys.values(), everybody[0].authority, PUBLIC}
    other = noise_identity(home, [source(home, b"\1" * 32)], core, None)
    assert other.public_key != own.public_key
    (home / "priv" / "cluster.key").write_text("ab" * 32)
    (home / "priv" / "cluster.key").chmod(0o600)
    kept = {noise_public_key(home, [source(home, seed)], core, None) for seed in (SEED, b"\1" * 32)}
    assert len(kept) == 1
    assert kept != shown


def test_the_noise_identity_may_be_a_file_that_needs_no_key(home: Path, core: Core) -> None:
    file = home / "noise.json"
    file.write_text(
        json.dumps({"priv_key": {"type": "tendermint/PrivKeyEd25519", "value": secret_of(bytes(32)).decode()}})
    )
    file.chmod(0o600)
    public = bytes(SigningKey(bytes(32)).verify_key)
    assert noise_identity(home, [], core, file).public_key == public == noise_public_key(home, [], core, file)
    assert Derivation(home, [source(home)], core, "a", MEMBERS, file).take().noise_key == public
    file.chmod(0o640)
    with pytest.raises(KeyFileError, match="chmod 600"):
        noise_identity(home, [], core, file)
    with pytest.raises(KeyFileError, match="chmod 600"):
        Derivation(home, [source(home)], core, "a", MEMBERS, file).take()


def test_a_node_alone_has_an_identity_and_is_its_only_member(home: Path, core: Core) -> None:
    one = Derivation(home, [source(home)], core, "alone", ()).take()
    assert list(one.public_keys) == ["alone"]
    assert one.certifies("alone", one.identity.public_key, one.certificate)


def test_a_certificate_proves_one_id_with_one_key_and_that_the_secret_is_the_same(home: Path, core: Core) -> None:
    mine, stranger = kin(home, core, "a"), Derivation(home, [source(home)], core, "stranger", ()).take()
    public = stranger.identity.public_key
    assert mine.certifies("stranger", public, stranger.certificate)
    assert not mine.certifies("strangers", public, stranger.certificate)
    assert not mine.certifies("stranger", mine.identity.public_key, stranger.certificate)
    assert not mine.certifies("stranger", public, mine.certificate)
    assert not mine.certifies("stranger", public, bytes(64))
    assert not mine.certifies("stranger", public, b"")
    assert not mine.certifies("stranger\udc80", public, stranger.certificate)
    other = Derivation(home, [source(home, b"\1" * 32)], core, "stranger", ()).take()
    assert not mine.certifies("stranger", other.identity.public_key, other.certificate)


def test_the_file_replaces_the_key_and_is_checked_by_the_process_that_derives(home: Path, core: Core) -> None:
    of_the_key = kin(home, core, "a")
    file = home / "priv" / "cluster.key"
    file.write_text("ab" * 32 + "\n")
    file.chmod(0o600)
    of_the_file = kin(home, core, "a")
    assert of_the_file.public_keys != of_the_key.public_keys
    file.chmod(0o640)
    with pytest.raises(KeyFileError, match="can be read by others; cure: chmod 600"):
        kin(home, core, "a")
    file.chmod(0o600)
    file.write_text("ab" * 31)
    with pytest.raises(KeyFileError, match="must hold 64 hex digits"):
        kin(home, core, "a")


def test_nothing_of_it_is_shown(home: Path, core: Core) -> None:
    one = kin(home, core, "a")
    assert bytes(one.identity.key).hex() not in repr(one)
    assert {field.name for field in dataclasses.fields(one)} == {
        *("identity", "public_keys", "authority", "certificate"),
        "noise_key",  # a public one
    }


def test_the_digest_is_of_public_keys(home: Path, core: Core) -> None:
    one = kin(home, core, "a")
    assert cluster_digest(1, one.public_keys) != cluster_digest(2, one.public_keys)
