"""Bytes that are no vote: which of them a key slot signs, on both cores."""

import base64
import hashlib

import pytest
from nacl.signing import SigningKey

from cometkms.core.interface import Core, KeySlot
from cometkms.errors import InvariantError
from cometkms.limits import RAW_UNIQUE_ID_MAX_BYTES, RAW_UNIQUE_IDS_MAX, RAW_VALUE_MAX_BYTES
from cometkms.model import HRS
from tests.unit.core.codec.wire import FIXED64, number, part, tag

KEY = SigningKey(b"k" * 32)
CHAIN = "test-1"
HASH = hashlib.sha256(b"a block of Berachain").digest()
HEIGHT = tag(2, FIXED64) + (1000).to_bytes(8, "little")


def slot_of(core: Core, *, values: bool = True, ids: tuple[str, ...] = (), chain: str = CHAIN) -> KeySlot:
    slot = core.key_slot(bytearray(base64.b64encode(bytes(KEY) + bytes(KEY.verify_key))), chain)
    slot.allow_bytes(values=values, unique_ids=ids)
    return slot


def test_a_new_slot_signs_no_bytes(core: Core) -> None:
    slot = core.key_slot(bytearray(base64.b64encode(bytes(KEY) + bytes(KEY.verify_key))), CHAIN)
    with pytest.raises(InvariantError, match="32 bytes that are no vote"):
        slot.sign_value(HASH)
    with pytest.raises(InvariantError, match="with the unique id 'id'"):
        slot.sign_raw(HASH, "id")


def test_a_hash_is_signed_as_it_is_and_no_mark_moves(core: Core) -> None:
    slot = slot_of(core)
    slot.raise_mark(HRS(7, 0, 2), b"")
    assert core.verify(slot.public_key, HASH, slot.sign_value(HASH))
    assert slot.last_signed == HRS(7, 0, 2)


def test_raw_bytes_are_signed_behind_celestias_domain_and_no_mark_moves(core: Core) -> None:
    slot = slot_of(core, values=False, ids=("one", "two"))
    slot.raise_mark(HRS(7, 0, 2), b"")
    signature = slot.sign_raw(HASH, "two")
    assert core.verify(slot.public_key, core.raw_bytes(CHAIN, HASH, "two"), signature)
    assert slot.last_signed == HRS(7, 0, 2)
    with pytest.raises(InvariantError):
        slot.sign_value(HASH)


@pytest.mark.parametrize("unique_id", ["", "tw", "two ", "TWO", "two2"])
def test_a_unique_id_is_compared_whole(core: Core, unique_id: str) -> None:
    with pytest.raises(InvariantError):
        slot_of(core, ids=("one", "two")).sign_raw(HASH, unique_id)


@pytest.mark.parametrize("size", [0, RAW_VALUE_MAX_BYTES + 1])
def test_nothing_and_too_much_are_not_signed(core: Core, size: int) -> None:
    slot = slot_of(core, ids=("id",))
    with pytest.raises(InvariantError):
        slot.sign_value(b"v" * size)
    with pytest.raises(InvariantError):
        slot.sign_raw(b"v" * size, "id")


def test_the_largest_is_signed(core: Core) -> None:
    slot = slot_of(core, ids=("i" * RAW_UNIQUE_ID_MAX_BYTES,))
    whole = b"v" * RAW_VALUE_MAX_BYTES
    assert core.verify(slot.public_key, whole, slot.sign_value(whole))
    made = core.raw_bytes(CHAIN, whole, "i" * RAW_UNIQUE_ID_MAX_BYTES)
    assert core.verify(slot.public_key, made, slot.sign_raw(whole, "i" * RAW_UNIQUE_ID_MAX_BYTES))


def test_a_slot_without_a_chain_signs_no_raw_bytes(core: Core) -> None:
    with pytest.raises(InvariantError):
        slot_of(core, ids=("id",), chain="").sign_raw(HASH, "id")


@pytest.mark.parametrize(
    "ids",
    [
        tuple(f"id-{n}" for n in range(RAW_UNIQUE_IDS_MAX + 1)),
        ("",),
        ("good", "i" * (RAW_UNIQUE_ID_MAX_BYTES + 1)),
    ],
    ids=["too many", "empty", "too long"],
)
def test_ids_that_a_slot_cannot_hold_leave_nothing_allowed(core: Core, ids: tuple[str, ...]) -> None:
    slot = slot_of(core, ids=("id",))
    with pytest.raises(InvariantError, match="unique ids of raw bytes"):
        slot.allow_bytes(values=True, unique_ids=ids)
    with pytest.raises(InvariantError):
        slot.sign_value(HASH)
    with pytest.raises(InvariantError):
        slot.sign_raw(HASH, "id")


def test_what_was_allowed_can_be_taken_back(core: Core) -> None:
    slot = slot_of(core, ids=("id",))
    slot.allow_bytes(values=False, unique_ids=())
    for sign in (lambda: slot.sign_value(HASH), lambda: slot.sign_raw(HASH, "id")):
        with pytest.raises(InvariantError):
            sign()


def test_a_closed_slot_signs_nothing(core: Core) -> None:
    slot = slot_of(core, ids=("id",))
    slot.close()
    for sign in (lambda: slot.sign_value(HASH), lambda: slot.sign_raw(HASH, "id")):
        with pytest.raises(InvariantError):
            sign()


VOTES = {
    "type and chain": number(1, 1) + part(6, b"c"),
    "the last type counts": number(1, 9) + number(1, 2) + part(6, b"c"),
    "chain before type": part(6, b"chain-1") + number(1, 1),
    "a proposal": number(1, 32) + part(7, b"chain-1"),
    "a vote with a proposal's chain": number(1, 1) + part(7, b"chain-1"),
    "a type cut to 32 bits": tag(1, 0) + b"\x81\x80\x80\x80\x80\x80\x80\x01" + part(6, b"c"),
    "an extension": part(1, b"price") + HEIGHT + part(4, b"chain-1"),
    "an extension without content": HEIGHT + part(4, b"chain-1"),
    "an unknown field": number(1, 1) + part(9, b"x") + part(6, b"c"),
    "an unknown group": number(1, 1) + b"\x63\x08\x01\x64" + part(6, b"c"),
    "a field of another type": number(1, 1) + number(2, 5) + part(6, b"c"),
    "a chain with letters beyond ASCII": number(1, 1) + part(6, "\u304f\u3055\u308a-1".encode()),
    "a chain's id that is no text, but canonical": number(1, 1) + part(6, b"\xff\xfe"),
    "a type alone, which is canonical in amino": number(1, 1),
    "no chain, but canonical": bytes.fromhex("080111e8030000000000002a060880e2cfaa06"),
}


@pytest.mark.parametrize("name", VOTES)
def test_what_reads_as_a_vote_is_refused(core: Core, name: str) -> None:
    """Bare, behind its length, and behind a length in a longer form."""
    slot, body = slot_of(core), VOTES[name]
    for value in (body, bytes([len(body)]) + body, bytes([len(body) | 0x80, 0]) + body):
        assert core.reads_as_vote(value), value.hex()
        with pytest.raises(InvariantError):
            slot.sign_value(value)


NO_VOTES = {
    "a hash": HASH,
    "a type alone": number(1, 1) + part(9, b"x"),
    "a chain alone": part(6, b"chain-1"),
    "another type": number(1, 3) + part(6, b"c"),
    "a chain's id that is too long": number(1, 1) + part(6, b"c" * 65),
    "a chain's id that is no text": number(1, 1) + part(9, b"x") + part(6, b"\xff\xfe"),
    "a chain's id that is cut short": number(1, 1) + part(9, b"x") + part(6, b"a\xe3\x81"),
    "an empty chain's id": number(1, 1) + part(6, b""),
    "the last chain counts": number(1, 1) + part(6, b"c") + part(6, b""),
    "an extension at no height": part(1, b"x") + part(4, b"chain-1"),
    "an extension below zero": tag(2, FIXED64) + b"\xff" * 8 + part(4, b"chain-1"),
    "cut short": (number(1, 1) + part(6, b"chain-1"))[:-1],
    "one byte more": number(1, 1) + part(6, b"chain-1") + b"\x00",
    "an ASCII sentence": b"I am the validator of this name",
}


@pytest.mark.parametrize("name", NO_VOTES)
def test_what_nobody_takes_for_a_vote_is_signed(core: Core, name: str) -> None:
    slot, value = slot_of(core), NO_VOTES[name]
    assert not core.reads_as_vote(value)
    assert core.verify(slot.public_key, value, slot.sign_value(value))


def test_what_is_signed_for_celestia_is_no_value(core: Core) -> None:
    """Else a chain that allows values would sign raw bytes of a unique id that is not allowed."""
    with pytest.raises(InvariantError):
        slot_of(core).sign_value(core.raw_bytes(CHAIN, HASH, "id"))


def test_hashes_are_hardly_ever_taken_for_a_vote(core: Core) -> None:
    """docs/SAFETY.md has what a thousand million of them came to: one in 80 million."""
    count = 200_000 if core.name == "native" else 20_000
    values = (hashlib.sha256(number.to_bytes(4, "big")).digest() for number in range(count))
    assert not [value.hex() for value in values if core.reads_as_vote(value)]
