"""Keys of every type, as CometBFT's own code writes them and signs with them: files, addresses,
signatures, both ways.
"""

import base64
import json

import pytest

from cometkms.core.interface import Core
from cometkms.errors import InvariantError, KeyFileError
from cometkms.keys import sealed_file
from cometkms.keys.formats import cometbft_json
from cometkms.keys.public import address_of, check_address, decode_public
from cometkms.keys.validator_key import KeyMaterial, key_document, parse_material
from cometkms.keytypes import KEY_TYPES, KeyType, by_name, raw_of, type_of, typed
from cometkms.limits import SEAL_MEMORY_MIN_BYTES
from cometkms.model import HRS, Permit
from tests.vectors.vectors import HERE

TYPES = {one.name: one for one in KEY_TYPES}
KEYS = [
    key
    for name in ("v1/keys_v1.json", "v040/signatures_v040.json")
    for key in json.loads((HERE / name).read_text())["keys"]
    if key["key_type"] in TYPES
]
OTHERS = [key for key in KEYS if key["key_type"] != "ed25519"]
NAMES = [f"{key['key_type']}-{key['address'][:8]}" for key in KEYS]
WORD = b"a passphrase"


def secret_of(key: dict) -> bytearray:
    return bytearray(key["key_file"]["priv_key"]["value"].encode())


def public_of(key: dict) -> bytes:
    return typed(TYPES[key["key_type"]], bytes.fromhex(key["public_key"]))


def cases_of(key: dict) -> list[dict]:
    return key["votes"] if "votes" in key else key["signed"]


@pytest.fixture(params=KEYS, ids=NAMES)
def key(request: pytest.FixtureRequest) -> dict:
    return request.param


def test_every_type_has_vectors() -> None:
    assert {key["key_type"] for key in KEYS} == set(TYPES)


def test_the_key_file_is_read_and_written_as_cometbft_does(key: dict) -> None:
    document, key_type = key["key_file"], TYPES[key["key_type"]]
    public_key = decode_public(document)
    check_address(document, public_key)
    assert (public_key, address_of(public_key)) == (public_of(key), key["address"].upper())
    assert document["pub_key"]["type"] == key_type.public_json
    assert document["priv_key"]["type"] == key_type.private_json
    assert json.loads(cometbft_json(public_key)) == document["pub_key"]
    seed = base64.b64decode(document["priv_key"]["value"])[:32]
    assert json.loads(key_document(seed, key_type)) == document
    with parse_material(json.dumps(document)) as material:
        assert (json.loads(material.document), material.public_key) == (document, public_key)


def test_the_slot_signs_as_cometbft_does(core: Core, key: dict) -> None:
    """One slot for each case: the vectors know no order of places."""
    key_type = TYPES[key["key_type"]]
    for case in cases_of(key):
        slot = core.key_slot(secret_of(key), case["chain_id"], key_type)
        text = bytes.fromhex(case["sign_bytes"])
        slot.prepare(text)
        signature = slot.sign(Permit(text))
        assert (slot.public_key, signature.hex()) == (public_of(key), case["signature"])
        assert core.verify(slot.public_key, text, signature)
        slot.close()
        with pytest.raises(InvariantError):
            slot.sign(Permit(text))


def test_what_was_prepared_for_other_bytes_changes_nothing(core: Core, key: dict) -> None:
    one, *others = [case for case in cases_of(key) if case["chain_id"] == cases_of(key)[0]["chain_id"]]
    slot = core.key_slot(secret_of(key), one["chain_id"], TYPES[key["key_type"]])
    for other in others:
        slot.prepare(bytes.fromhex(other["sign_bytes"]))
    slot.prepare(b"")
    assert slot.sign(Permit(bytes.fromhex(one["sign_bytes"]))).hex() == one["signature"]


def test_other_signatures_do_not_verify(core: Core, key: dict) -> None:
    case = cases_of(key)[0]
    text, signature, public_key = bytes.fromhex(case["sign_bytes"]), bytes.fromhex(case["signature"]), public_of(key)
    assert core.verify(public_key, text, signature)
    for at in range(len(signature)):
        changed = bytearray(signature)
        changed[at] ^= 1
        assert not core.verify(public_key, text, bytes(changed))
    for other in (signature[:-1], signature + b"\0", b"", bytes(len(signature)), b"\xff" * len(signature)):
        assert not core.verify(public_key, text, other)
    assert not core.verify(public_key, text + b"\0", signature)
    for foreign in KEYS:
        assert core.verify(public_of(foreign), text, signature) == (public_of(foreign) == public_key)


def test_a_sealed_key_opens_to_the_same(core: Core, key: dict) -> None:
    key_type = TYPES[key["key_type"]]
    sealed = core.seal_key(secret_of(key), WORD, sealed_file.blank(1, SEAL_MEMORY_MIN_BYTES, key_type))
    assert sealed.public_key == public_of(key)
    encoded = sealed_file.encode(sealed)
    assert sealed_file.decode(encoded) == sealed
    with KeyMaterial.of_secret(core.unseal_key(sealed, bytearray(WORD)), sealed.public_key) as material:
        assert json.loads(material.document) == key["key_file"]
    case = cases_of(key)[0]
    slot = core.sealed_slot(sealed, bytearray(WORD), case["chain_id"])
    assert slot.sign(Permit(bytes.fromhex(case["sign_bytes"]))).hex() == case["signature"]
    with pytest.raises(KeyFileError, match="passphrase"):
        core.sealed_slot(sealed, b"another word", "c")


def test_both_cores_open_what_the_other_sealed(key: dict) -> None:
    from cometkms.core import native
    from cometkms.core.pure import core as pure

    for one, other in ((native.load(), pure.CORE), (pure.CORE, native.load())):
        blank = sealed_file.blank(1, SEAL_MEMORY_MIN_BYTES, TYPES[key["key_type"]])
        sealed = one.seal_key(secret_of(key), WORD, blank)
        assert other.unseal_key(sealed, WORD) == secret_of(key)


@pytest.mark.parametrize("key", OTHERS[:1], ids=lambda one: one["key_type"])
def test_a_sealed_key_is_not_opened_as_one_of_another_type(core: Core, key: dict) -> None:
    """Its type is authenticated with it."""
    sealed = core.seal_key(secret_of(key), WORD, sealed_file.blank(1, SEAL_MEMORY_MIN_BYTES, TYPES[key["key_type"]]))
    for other in TYPES.values():
        if other is not type_of(sealed.public_key) and other.public_bytes == type_of(sealed.public_key).public_bytes:
            import dataclasses

            disguised = dataclasses.replace(sealed, public_key=typed(other, raw_of(sealed.public_key)))
            with pytest.raises(KeyFileError):
                core.sealed_slot(disguised, WORD, "c")
    document = json.loads(sealed_file.encode(sealed))
    document["sealed_key"]["format"] = sealed_file.FORMAT
    with pytest.raises(ValueError, match="format"):
        sealed_file.decode(json.dumps(document).encode())


def secrets_that_are_none(key_type: KeyType) -> list[bytes]:
    order = key_type.order
    return [
        bytes(32),
        order.to_bytes(32, "big"),
        (order + 1).to_bytes(32, "big"),
        b"\xff" * 32,
        b"\x01" * 31,
        b"\x01" * 33,
        b"\x01" * 64,
        b"",
    ]


@pytest.mark.parametrize("key_type", [one for one in TYPES.values() if one.order], ids=lambda one: one.name)
def test_a_secret_of_zero_or_above_the_order_is_no_key(core: Core, key_type: KeyType) -> None:
    blank = sealed_file.blank(1, SEAL_MEMORY_MIN_BYTES, key_type)
    for secret in secrets_that_are_none(key_type):
        given = bytearray(base64.b64encode(secret))
        with pytest.raises(KeyFileError, match=f"no private key of type {key_type.name}"):
            core.key_slot(given, "c", key_type)
        assert not any(given)
        given = bytearray(base64.b64encode(secret))
        with pytest.raises(KeyFileError, match=f"no private key of type {key_type.name}"):
            core.seal_key(given, WORD, blank)
        assert not any(given)
    largest = (key_type.order - 1).to_bytes(32, "big")
    core.key_slot(bytearray(base64.b64encode(largest)), "c", key_type).close()


def test_the_slots_guards_know_no_type(core: Core, key: dict) -> None:
    """Another chain's bytes, other bytes at the mark and a lower place are refused; the mark moves
    as with every key.
    """
    cases = [case for case in cases_of(key) if case["chain_id"] == cases_of(key)[0]["chain_id"]]
    parsed = sorted(
        (core.parse_sign_bytes(bytes.fromhex(case["sign_bytes"])).hrs, case["sign_bytes"]) for case in cases
    )
    slot = core.key_slot(secret_of(key), cases[0]["chain_id"], TYPES[key["key_type"]])
    highest, text = parsed[-1][0], bytes.fromhex(parsed[-1][1])
    signature = slot.sign(Permit(text))
    assert slot.last_signed == highest
    assert slot.sign(Permit(text)) == signature
    for hrs, lower in parsed[:-1]:
        if hrs < highest:
            with pytest.raises(InvariantError):
                slot.sign(Permit(bytes.fromhex(lower)))
    slot.raise_mark(highest, b"")  # burnt
    with pytest.raises(InvariantError):
        slot.sign(Permit(text))
    with pytest.raises(InvariantError):
        core.key_slot(secret_of(key), "another", TYPES[key["key_type"]]).sign(text)
    assert slot.last_signed >= HRS(0, 0, 0)


def test_a_signer_outside_gives_signatures_of_its_type(core: Core, key: dict) -> None:
    case = cases_of(key)[0]
    text, signature = bytes.fromhex(case["sign_bytes"]), bytes.fromhex(case["signature"])
    answers = [signature[:-1], bytes(len(signature)), signature]
    slot = core.outside_slot(public_of(key), lambda _: answers.pop(0), case["chain_id"])
    for _ in range(2):
        with pytest.raises(InvariantError):
            slot.sign(Permit(text))
    assert slot.sign(Permit(text)) == signature
    with pytest.raises(KeyFileError, match=r"priv/cluster\.key"):
        slot.cluster_secret()


def test_types_by_name() -> None:
    assert {name: by_name(name) for name in TYPES} == TYPES
