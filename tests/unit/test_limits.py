"""What the C core and Python must agree on: bounds, enumerations, and the structs' declarations for cffi."""

import re
import struct
from enum import IntEnum
from pathlib import Path

import pytest

from cometkms import limits
from cometkms.core.interface import DECISION_HEAD
from cometkms.core.native.codec import ffi, lib
from cometkms.model import Dialect, Kind, Line, Outcome, Reason
from cometkms.wire.queue_messages import HEAD as QUEUE_HEAD

CSRC = Path(__file__).parents[2] / "csrc"

BOUNDS = {
    "CK_CHAIN_ID_MAX": limits.CHAIN_ID_MAX_BYTES,
    "CK_HASH_BYTES": limits.BLOCK_HASH_BYTES,
    "CK_ADDRESS_BYTES": limits.ADDRESS_BYTES,
    "CK_VOTE_EXTENSION_MAX": limits.VOTE_EXTENSION_MAX_BYTES,
    "CK_MESSAGE_MAX": limits.MESSAGE_MAX_BYTES,
    "CK_RESPONSE_MAX": limits.RESPONSE_MAX_BYTES,
    "CK_PREPARED_MAX": limits.PREPARED_MAX_BYTES,
    "CK_SIGN_BYTES_MAX": limits.SIGN_BYTES_MAX_BYTES,
    "CK_EXTENSION_SIGN_BYTES_MAX": limits.EXTENSION_SIGN_BYTES_MAX_BYTES,
    "CK_RAW_VALUE_MAX": limits.RAW_VALUE_MAX_BYTES,
    "CK_RAW_UNIQUE_ID_MAX": limits.RAW_UNIQUE_ID_MAX_BYTES,
    "CK_RAW_UNIQUE_IDS_MAX": limits.RAW_UNIQUE_IDS_MAX,
    "CK_ERROR_TEXT_MAX": limits.ERROR_TEXT_MAX_BYTES,
    "CK_FRAME_DATA": limits.FRAME_DATA_BYTES,
    "CK_FRAME_PLAIN": limits.FRAME_PLAIN_BYTES,
    "CK_FRAME_SEALED": limits.FRAME_SEALED_BYTES,
    "CK_NOISE_PLAIN": limits.NOISE_PLAIN_BYTES,
    "CK_NOISE_SEALED": limits.NOISE_SEALED_BYTES,
    "CK_INBOX": limits.INBOX_BYTES,
    "CK_QUEUE_SLOT": limits.QUEUE_SLOT_BYTES,
    "CK_ROWS_MAX": limits.CHAINS_MAX,
    "CK_MEMBERS_MAX": limits.MEMBERS_MAX,
    "CK_SECTOR": limits.SECTOR_BYTES,
    "CK_BLOCK": limits.BLOCK_BYTES,
    "CK_SEAL_PASSES_MAX": limits.SEAL_PASSES_MAX,
    "CK_SEAL_MEMORY_MIN": limits.SEAL_MEMORY_MIN_BYTES,
    "CK_SEAL_MEMORY_MAX": limits.SEAL_MEMORY_MAX_BYTES,
    "CK_PUBLIC_KEY_MAX": limits.PUBLIC_KEY_MAX_BYTES,
    "CK_SIGNATURE_MAX": limits.SIGNATURE_MAX_BYTES,
    "CK_SECRET_MAX": limits.SECRET_MAX_BYTES,
    "CK_AUDIT_VALIDATOR_MAX": limits.AUDIT_VALIDATOR_MAX_BYTES,
    "CK_AUDIT_LINE_MAX": limits.AUDIT_LINE_MAX_BYTES,
}


def test_every_bound_of_c_is_pythons() -> None:
    defined = re.findall(r"^#define (CK_[A-Z_]+) \S", (CSRC / "bounds.h").read_text(), re.MULTILINE)
    assert sorted(defined) == sorted(BOUNDS)
    assert {name: getattr(lib, name) for name in defined} == BOUNDS


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("ck_dialect", list(Dialect)),
        ("ck_kind", list(Kind)),
        ("ck_reason", [reason for reason in Reason if reason <= Reason.BYTES_ARE_A_VOTE]),
    ],
)
def test_every_enumeration_of_c_is_the_models(name: str, members: list[IntEnum]) -> None:
    of_c = ffi.typeof(f"enum {name}").elements
    spelled = {f"CK_{'REASON_NONE' if m is Reason.NONE else m.name}": m.value for m in members}
    assert {text: number for number, text in of_c.items()} == spelled


@pytest.mark.parametrize(
    ("header", "name", "head"), [("audit.h", "CK_AUDIT_HEAD", DECISION_HEAD), ("place.h", "CK_QUEUE_HEAD", QUEUE_HEAD)]
)
def test_the_heads_of_records_that_both_languages_write_are_of_one_size(
    header: str, name: str, head: struct.Struct
) -> None:
    """What stands in them is compared by tests/unit/wire/test_decisions.py and tests/unit/state/test_hot.py."""
    (size,) = re.findall(rf"\b{name} = (\d+)", (CSRC / header).read_text())
    assert int(size) == head.size


def test_every_outcome_of_c_is_the_models() -> None:
    told = re.findall(r"\bCK_OUTCOME_(\w+) = (\d+)", (CSRC / "audit.h").read_text())
    assert {name: int(number) for name, number in told} == {one.name: one.value for one in Outcome}


def test_every_line_of_c_is_the_models() -> None:
    assert ffi.typeof("enum ck_line").elements == {line.value: f"CK_LINE_{line.name}" for line in Line}


def test_the_sign_bytes_of_a_request_have_room_for_the_largest() -> None:
    assert len(ffi.new("ck_request *").sign_bytes) == limits.SIGN_BYTES_MAX_BYTES
