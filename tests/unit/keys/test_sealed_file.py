"""The sealed key file: what is written is read, and nothing else is."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from cometkms.core.interface import Core
from cometkms.errors import KeyFileError
from cometkms.keys import sealed_file
from cometkms.limits import SEAL_MEMORY_MAX_BYTES, SEAL_MEMORY_MIN_BYTES, SEAL_PASSES_MAX
from cometkms.model import SealedKey

SEED = bytes(range(32))
PUBLIC = bytes(SigningKey(SEED).verify_key)
WORD = b"a passphrase"


def secret() -> bytearray:
    return bytearray(base64.b64encode(SEED + PUBLIC))


def sealed_by(core: Core, word: bytes = WORD) -> SealedKey:
    return core.seal_key(secret(), word, sealed_file.blank(1, SEAL_MEMORY_MIN_BYTES))


def test_a_file_reads_back_as_what_it_was_written_from(core: Core) -> None:
    sealed = sealed_by(core)
    data = sealed_file.encode(sealed)
    assert sealed_file.decode(data) == sealed
    assert SEED not in base64.b64decode(json.loads(data)["sealed_key"]["ciphertext"])
    slot = core.sealed_slot(sealed_file.decode(data), WORD, "c")
    assert slot.public_key == PUBLIC
    slot.close()


def document(**changes: Any) -> dict[str, Any]:
    """A file with fields of its sealed_key changed; None takes one away."""
    whole: dict[str, Any] = json.loads(
        sealed_file.encode(SealedKey(PUBLIC, 3, 256 << 20, b"s" * 16, b"n" * 24, b"c" * 48))
    )
    whole["sealed_key"] = {
        name: value for name, value in {**whole["sealed_key"], **changes}.items() if value is not None
    }
    return whole


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"passes": 0}, "its passes is 0"),
        ({"passes": SEAL_PASSES_MAX + 1}, "its passes is 9; 1 to 8"),
        ({"passes": 10**30}, "its passes"),
        ({"passes": True}, "its passes is True"),
        ({"passes": "3"}, "its passes is '3'"),
        ({"memory_mib": (SEAL_MEMORY_MAX_BYTES >> 20) + 1}, "8 to 1024 are possible"),
        ({"memory_mib": 0}, "8 to 1024 are possible"),
        ({"memory_mib": None}, "its memory_mib is None"),
        ({"salt": "AAAA"}, "its salt is not base64 of 16 bytes"),
        ({"nonce": "*" * 32}, "its nonce is not base64 of 24 bytes"),
        ({"ciphertext": 7}, "its ciphertext is not base64 of 48 bytes"),
        ({"kdf": "scrypt"}, "its kdf is 'scrypt', and this program knows 'argon2id13'"),
        ({"cipher": None}, "its cipher is None"),
        ({"format": "cometkms-sealed-2"}, "its format is 'cometkms-sealed-2'"),
        ({"more": 1}, "unknown field 'more'"),
    ],
)
def test_every_field_is_bounded_before_anything_is_spent_on_it(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        sealed_file.decode(json.dumps(document(**changes)).encode())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"address": "00" * 20}, "its address"),
        ({"pub_key": {"type": "tendermint/PubKeySecp256k1", "value": ""}}, "its pub_key"),
        ({"priv_key": {}}, "beside the sealed_key"),
        ({"sealed_key": []}, "it holds no sealed_key"),
    ],
)
def test_the_part_in_the_clear_is_checked_too(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        sealed_file.decode(json.dumps({**document(), **changes}).encode())


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)


@given(st.binary(max_size=400) | st.builds(lambda value: json.dumps(value).encode(), _JSON))
def test_whatever_stands_in_a_file_is_a_value_or_a_value_error(untrusted: bytes) -> None:
    with pytest.raises(ValueError, match="it "):
        sealed_file.decode(untrusted)


@given(field=st.sampled_from([*document()["sealed_key"], "address", "pub_key"]), value=_JSON)
def test_so_is_a_file_with_one_field_of_anything(field: str, value: Any) -> None:
    whole = document()
    place = whole if field in whole else whole["sealed_key"]
    before = place[field]
    place[field] = value
    possible = {"passes": range(1, 9), "memory_mib": range(8, 1025)}.get(field, ())
    if value != before and not (type(value) is int and value in possible):
        with pytest.raises(ValueError, match=r"its |it holds"):
            sealed_file.decode(json.dumps(whole).encode())


@pytest.mark.parametrize("field", ["public_key", "salt", "nonce", "ciphertext"])
@pytest.mark.parametrize("bit", [0, 7])
def test_a_changed_bit_anywhere_opens_nothing(core: Core, field: str, bit: int) -> None:
    """The header is authenticated with the ciphertext."""
    sealed = sealed_by(core)
    fields = {name: getattr(sealed, name) for name in SealedKey.__dataclass_fields__}
    bent = bytearray(fields[field])
    bent[-1] ^= 1 << bit
    with pytest.raises(KeyFileError, match="does not open it, or the file was changed"):
        core.sealed_slot(SealedKey(**{**fields, field: bytes(bent)}), WORD, "c")


@pytest.mark.parametrize(("field", "value"), [("passes", 2), ("memory_bytes", SEAL_MEMORY_MIN_BYTES + (1 << 20))])
def test_another_cost_opens_nothing(core: Core, field: str, value: int) -> None:
    sealed = sealed_by(core)
    fields = {name: getattr(sealed, name) for name in SealedKey.__dataclass_fields__}
    with pytest.raises(KeyFileError, match="does not open it"):
        core.sealed_slot(SealedKey(**{**fields, field: value}), WORD, "c")


@pytest.mark.parametrize(
    ("passes", "memory"), [(0, 8 << 20), (9, 8 << 20), (1, 1 << 10), (1, 2 << 30), (1 << 40, 8 << 20)]
)
def test_the_core_itself_refuses_a_cost_out_of_bounds(core: Core, passes: int, memory: int) -> None:
    hostile = SealedKey(PUBLIC, passes, memory, bytes(16), bytes(24), bytes(48))
    for action in (
        lambda: core.sealed_slot(hostile, WORD, "c"),
        lambda: core.unseal_key(hostile, WORD),
        lambda: core.seal_key(secret(), WORD, hostile),
    ):
        with pytest.raises(KeyFileError, match="more passes or memory"):
            action()


@pytest.mark.parametrize("word", [b"", b"A passphrase", b"a passphrase "])
def test_another_passphrase_opens_nothing(core: Core, word: bytes) -> None:
    with pytest.raises(KeyFileError, match="the passphrase does not open it"):
        core.sealed_slot(sealed_by(core), word, "c")
    with pytest.raises(KeyFileError, match="the passphrase does not open it"):
        core.unseal_key(sealed_by(core), word)


def test_sealing_wipes_what_it_was_given_and_refuses_what_is_no_key(core: Core) -> None:
    given_secret = secret()
    core.seal_key(given_secret, WORD, sealed_file.blank(1, SEAL_MEMORY_MIN_BYTES))
    assert not any(given_secret)
    no_key = bytearray(base64.b64encode(SEED + SEED))
    with pytest.raises(KeyFileError, match="second half"):
        core.seal_key(no_key, WORD, sealed_file.blank(1, SEAL_MEMORY_MIN_BYTES))
    assert not any(no_key)
    assert core.unseal_key(sealed_by(core), WORD) == secret()


def test_pynacl_itself_opens_what_is_sealed(core: Core) -> None:
    """The format, written out: another program can open it without this one."""
    from nacl.bindings import (
        crypto_aead_xchacha20poly1305_ietf_decrypt,
        crypto_pwhash_alg,
        crypto_pwhash_ALG_ARGON2ID13,
    )

    sealed = sealed_by(core)
    key = crypto_pwhash_alg(32, WORD, sealed.salt, sealed.passes, sealed.memory_bytes, crypto_pwhash_ALG_ARGON2ID13)
    costs = sealed.passes.to_bytes(8, "little") + sealed.memory_bytes.to_bytes(8, "little")
    header = b"cometkms sealed key v1\0" + sealed.public_key + costs + sealed.salt + sealed.nonce
    assert crypto_aead_xchacha20poly1305_ietf_decrypt(sealed.ciphertext, header, sealed.nonce, key) == SEED
