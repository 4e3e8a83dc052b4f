"""A store knows no key type: its rows have 32 bytes of any key, and signatures of every type verify
with the key that is configured.
"""

import base64
import os
from dataclasses import replace
from pathlib import Path

import pytest

from cometkms.core import native
from cometkms.core.interface import KeySlot
from cometkms.errors import StateError
from cometkms.keys.validator_key import new_seed
from cometkms.keytypes import ED25519, KEY_TYPES, KeyType, raw_of, type_of, typed
from cometkms.limits import BIRTH_NONCE_BYTES, CHAIN_ID_MAX_BYTES, SIGN_BYTES_MAX_BYTES, SIGNATURE_MAX_BYTES
from cometkms.model import HRS, BlockID, Dialect, Kind, Message, Permit, Row, Timestamp, Vote, Watermark
from cometkms.rules.burnt import Heights
from cometkms.store import state_file
from cometkms.store.epoch import begin, parse_seal, seal, seal_text
from cometkms.store.node_files import ChainFiles, NodeFiles
from cometkms.store.node_store import open_node
from cometkms.store.promise_store import Header, NodeState, PromiseStore
from cometkms.store.raise_mark import import_mark

CORE = native.load()
CHAIN = "c" * CHAIN_ID_MAX_BYTES


@pytest.fixture(params=KEY_TYPES, ids=lambda one: one.name)
def slot(request: pytest.FixtureRequest) -> KeySlot:
    return slot_of(request.param)


def slot_of(key_type: KeyType) -> KeySlot:
    seed = new_seed(key_type)
    if key_type is ED25519:
        from nacl.signing import SigningKey

        seed += bytes(SigningKey(seed).verify_key)
    return CORE.key_slot(bytearray(base64.b64encode(seed)), CHAIN, key_type)


def mark_at(slot: KeySlot, height: int) -> Watermark:
    vote = Vote(2, height, 0, BlockID(b"a" * 32, 1, b"p" * 32), Timestamp(1_700_000_000, 999_999_999))
    made = CORE.check_request(Dialect.PROTO, CHAIN, Message(Kind.SIGN_VOTE_REQUEST, CHAIN, vote=vote))
    return Watermark(made.hrs, made.sign_bytes, slot.sign(Permit(made.sign_bytes)))


def files_of(home: Path, slot: KeySlot, name: str = "node0", members: tuple[str, ...] = ()) -> NodeFiles:
    chains = (ChainFiles(Row(slot.public_key, CHAIN), home / "priv" / "state.json"),)
    (home / "priv").mkdir(parents=True, exist_ok=True)
    return NodeFiles.at(home, name, chains, members)


def test_a_signature_is_known_again_after_each_start(tmp_path: Path, slot: KeySlot) -> None:
    """From the state file into the store, from there alone, and with the whole key on the row."""
    files = files_of(tmp_path, slot)
    mark = mark_at(slot, 7)
    state_file.save(files.chains[0].state_path, mark)
    assert state_file.load(files.chains[0].state_path, CHAIN, CORE.parse_sign_bytes) == mark
    for _ in range(3):
        opened = open_node(files, CORE)
        try:
            row = opened.store.rows[opened.rows[0]]
            assert (row.public_key, opened.store.mark(opened.rows[0]), opened.signed[0]) == (
                slot.public_key,
                mark,
                mark,
            )
        finally:
            opened.store.close()
    bare = PromiseStore.open(files.store_path)
    assert bare.rows == (files.chains[0].row,)
    assert bare.rows[0].public_key == files.chains[0].row.key
    bare.close()


def test_a_state_file_of_another_key_is_not_gone_by(tmp_path: Path, slot: KeySlot) -> None:
    files = files_of(tmp_path, slot)
    state_file.save(files.chains[0].state_path, mark_at(slot_of(type_of(slot.public_key)), 7))
    with pytest.raises(StateError, match="its signature is not of the key"):
        open_node(files, CORE)


def test_a_mark_is_imported_with_its_signature(tmp_path: Path, slot: KeySlot) -> None:
    files = files_of(tmp_path, slot)
    state_file.save(files.chains[0].state_path, Watermark())
    open_node(files, CORE).store.close()
    mark = mark_at(slot, 9)
    assert import_mark(files, files.chains[0], mark, CORE) == mark
    forged = replace(mark_at(slot, 10), signature=bytes(len(mark.signature)))
    assert import_mark(files, files.chains[0], forged, CORE) == Watermark(forged.hrs)


def test_an_epoch_begins_with_the_signatures_that_its_seals_show(tmp_path: Path, slot: KeySlot) -> None:
    """A seal names 32 bytes of the key; the signature in it is believed because it verifies with
    the whole, which is configured.
    """
    members = ("node0", "node1")
    mark, seals = mark_at(slot, 11), []
    for name in members:
        files = files_of(tmp_path / name, slot, name, members)
        state_file.save(files.chains[0].state_path, mark)
        files.store_path.parent.mkdir(parents=True)
        nonces = tuple(bytes([n]) * BIRTH_NONCE_BYTES for n in range(2))
        header = Header(name, 1, members, NodeState.COMPLETE, nonces[members.index(name)], nonces)
        PromiseStore.create(
            files.store_path, header, [(files.chains[0].row, Watermark(mark.hrs, mark.sign_bytes))]
        ).close()
        open_node(files, CORE).store.close()
        text = seal_text(seal(files, CORE, members))
        assert raw_of(slot.public_key).hex() not in text
        seals.append(parse_seal(text))
        assert seals[-1].marks[0][0] == files.chains[0].row
    files.chains[0].state_path.unlink()
    state_file.save(files.chains[0].state_path, Watermark(HRS(1, 0, 1)))
    begin(files, seals, CORE, heights=None if all_vouch(seals) else Heights(1))
    store = PromiseStore.open(files.store_path)
    assert store.mark(0) == mark
    store.close()


def all_vouch(seals: list) -> bool:
    from cometkms.rules.epoch import doubt

    return not doubt(2, {one.node: one.standing for one in seals})


def test_the_longest_row_fits_its_sector(tmp_path: Path) -> None:
    header = Header("node0", 1, ("node0",), NodeState.COMPLETE, bytes(8))
    mark = Watermark(HRS((1 << 63) - 1, (1 << 31) - 1, 3), b"s" * SIGN_BYTES_MAX_BYTES, b"g" * SIGNATURE_MAX_BYTES)
    store = PromiseStore.create(tmp_path / "promises", header, [(Row(os.urandom(32), CHAIN), mark)])
    store.close()
    again = PromiseStore.open(tmp_path / "promises")
    assert again.mark(0) == mark
    again.close()


def test_a_row_is_named_for_its_own_key_only(tmp_path: Path) -> None:
    from cometkms.errors import InvariantError

    one, other = (Row(typed(KEY_TYPES[1], b"\x02" + bytes([n]) * 32), CHAIN) for n in (1, 2))
    header = Header("node0", 1, ("node0",), NodeState.COMPLETE, bytes(8))
    store = PromiseStore.create(tmp_path / "promises", header, [(one, Watermark())])
    with pytest.raises(InvariantError):
        store.name_key(0, other)
    store.name_key(0, one)
    assert store.rows[0].public_key == one.public_key
    store.close()
