"""A store's own incarnation and what it keeps of the others': durable, never falling, readable
after a corruption, and of any age.
"""

import hashlib
import struct
from pathlib import Path

import pytest

from cometkms.core import native
from cometkms.errors import InvariantError, StateError
from cometkms.limits import BLOCK_BYTES, INCARNATION_MAX, MEMBERS_MAX, SECTOR_BYTES, SEQ_MAX
from cometkms.model import HRS, Incarnation, Row, Watermark
from cometkms.rules.birth import NodeState
from cometkms.rules.burnt import Heights
from cometkms.rules.incarnation import FIRST, Statement
from cometkms.store.node_files import ChainFiles, NodeFiles
from cometkms.store.node_store import open_node
from cometkms.store.promise_store import Header, PromiseStore, readable_known, survey
from cometkms.store.recover import recover

CORE = native.load()
MEMBERS = ("node0", "node1", "node2")
ROW = Row(bytes(range(32)), "chain-a")
OWN = Incarnation(3, 77)
ONE, TWO = Statement("node1", Incarnation(1, 5), b"s" * 64), Statement("node1", Incarnation(2, 1), b"t" * 64)


def header(**changed: object) -> Header:
    fields = {"owner": "node0", "epoch": 1, "members": MEMBERS, "state": NodeState.COMPLETE, "birth_nonce": bytes(8)}
    return Header(**{**fields, "record": (bytes(8),) * 3, **changed})  # type: ignore[arg-type]


def make(path: Path, **changed: object) -> PromiseStore:
    return PromiseStore.create(path, header(**changed), [(ROW, Watermark(HRS(7, 0, 3)))])


def test_both_come_back_after_a_restart(tmp_path: Path) -> None:
    store = make(tmp_path / "promises", incarnation=OWN, unclaimed=True)
    store.record(ONE)
    store.record(TWO)
    store.record(Statement("node2", Incarnation(1, 9), b"u" * 64))
    store.close()
    again = PromiseStore.open(tmp_path / "promises")
    assert (again.header.incarnation, again.header.unclaimed) == (OWN, True)
    assert again.known("node1") == TWO
    assert again.known("node2") == Statement("node2", Incarnation(1, 9), b"u" * 64)
    assert again.known("node0") is None
    again.close()
    assert readable_known(tmp_path / "promises") == [TWO, Statement("node2", Incarnation(1, 9), b"u" * 64)]
    assert survey(tmp_path / "promises").problems == ()


def test_a_record_never_falls_and_is_of_a_member(tmp_path: Path) -> None:
    store = make(tmp_path / "promises")
    store.record(TWO)
    with pytest.raises(InvariantError, match="never falls"):
        store.record(ONE)
    with pytest.raises(InvariantError, match="no member"):
        store.record(Statement("node9", Incarnation(1, 1), b"s" * 64))
    store.close()


def test_the_largest_header_and_every_member_fit(tmp_path: Path) -> None:
    members = tuple(f"{number}".ljust(40, "m") for number in range(MEMBERS_MAX))
    most = Incarnation(INCARNATION_MAX, (1 << 63) - 1)
    store = make(tmp_path / "promises", owner=members[3], members=members, record=(bytes(8),) * 7, incarnation=most)
    for name in members:
        store.record(Statement(name, most, b"s" * 64))
    store.close()
    again = PromiseStore.open(tmp_path / "promises")
    assert again.header.incarnation == most
    assert all(again.known(name) for name in members)
    again.close()


def test_a_first_store_is_written_as_before_there_were_incarnations(tmp_path: Path) -> None:
    path = tmp_path / "promises"
    make(path).close()
    assert {path.read_bytes()[at : at + 8] for at in (0, BLOCK_BYTES)} <= {b"CMKMSH02", bytes(8)}
    store = PromiseStore.open(path)
    assert (store.header.incarnation, store.header.unclaimed) == (FIRST, False)
    store.write_header(header(incarnation=OWN))
    store.close()
    assert b"CMKMSH03" in path.read_bytes()


def change_body(path: Path, magic: bytes, at: int, value: bytes) -> None:
    """In every such record, with a checksum that matches."""
    data = bytearray(path.read_bytes())
    for start in range(0, len(data), SECTOR_BYTES):
        if data[start : start + 8] == magic:
            data[start + 18 + at : start + 18 + at + len(value)] = value
            content = bytes(data[start : start + SECTOR_BYTES - 16])
            data[start + SECTOR_BYTES - 16 : start + SECTOR_BYTES] = hashlib.blake2b(content, digest_size=16).digest()
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("magic", "at", "words"),
    [
        (b"CMKMSH02", 8, "a seq of"),
        (b"CMKMSR02", 32 + 8 + 4 + 1 + 1 + 2 + 1 + 1, "promises, which no store ever makes"),
    ],
)
def test_a_number_that_no_store_reaches_is_refused_with_words(
    tmp_path: Path, magic: bytes, at: int, words: str
) -> None:
    path = tmp_path / "promises"
    make(path).close()
    change_body(path, magic, at, struct.pack("<Q", SEQ_MAX + 1))
    with pytest.raises(StateError, match=words):
        PromiseStore.open(path)


def files_of(home: Path) -> NodeFiles:
    path = home / "priv" / "priv_validator_state.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text('{"height":"7","round":0,"step":3}')
    return NodeFiles.at(home, "node0", (ChainFiles(ROW, path),), MEMBERS)


def test_whoever_recovers_has_an_incarnation_to_take_above_the_one_that_is_left(tmp_path: Path) -> None:
    files = files_of(tmp_path)
    files.store_path.parent.mkdir(parents=True)
    store = make(files.store_path, incarnation=OWN)
    store.record(ONE)
    store.close()
    for height in (20, 30):
        recover(files, Heights(height), CORE)
        opened = open_node(files, CORE)
        assert (opened.store.header.state, opened.store.header.incarnation) == (NodeState.COMPLETE, OWN)
        assert opened.store.header.unclaimed
        assert opened.store.known("node1") == ONE
        opened.store.close()
    data = bytearray(files.store_path.read_bytes())
    data[2 * BLOCK_BYTES + 30] ^= 1  # a row; the header is whole
    files.store_path.write_bytes(data)
    opened = open_node(files, CORE)
    assert (opened.store.header.state, opened.store.header.unclaimed) == (NodeState.RECOVERING, True)
    assert (opened.store.header.incarnation, opened.store.known("node1")) == (OWN, ONE)
    opened.store.close()
    files.store_path.unlink()
    opened = open_node(files, CORE)
    assert (opened.store.header.state, opened.store.header.unclaimed) == (NodeState.RECOVERING, True)
    opened.store.close()
