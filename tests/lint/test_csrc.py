"""The C core: no warning under -Wall -Wextra -Werror, no allocation, and the bounds and numbers of its Python twin."""

import re
import subprocess
from pathlib import Path

import pytest

from cometkms import limits, model

CSRC = Path(__file__).resolve().parents[2] / "csrc"
SOURCES = sorted(CSRC.glob("*.c"))
ALLOCATORS = {"malloc", "calloc", "realloc", "free", "alloca", "mmap", "strdup"}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_no_warning_and_no_allocator(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "object.o"
    command = [
        "cc",
        "-std=c11",
        "-O2",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-D_GNU_SOURCE",
        "-c",
        str(source),
        "-o",
        str(target),
    ]
    subprocess.run(command, check=True)
    symbols = subprocess.run(["nm", "-u", str(target)], capture_output=True, text=True, check=True).stdout.split()
    assert not ALLOCATORS & set(symbols)


BOUNDS = {
    "CHAIN_ID_MAX": limits.CHAIN_ID_MAX_BYTES,
    "HASH_BYTES": limits.BLOCK_HASH_BYTES,
    "ADDRESS_BYTES": limits.ADDRESS_BYTES,
    "VOTE_EXTENSION_MAX": limits.VOTE_EXTENSION_MAX_BYTES,
    "MESSAGE_MAX": limits.MESSAGE_MAX_BYTES,
    "RESPONSE_MAX": limits.RESPONSE_MAX_BYTES,
    "SIGN_BYTES_MAX": limits.SIGN_BYTES_MAX_BYTES,
    "EXTENSION_SIGN_BYTES_MAX": limits.EXTENSION_SIGN_BYTES_MAX_BYTES,
    "ERROR_TEXT_MAX": limits.ERROR_TEXT_MAX_BYTES,
    "FRAME_DATA": limits.FRAME_DATA_BYTES,
    "FRAME_PLAIN": limits.FRAME_PLAIN_BYTES,
    "FRAME_SEALED": limits.FRAME_SEALED_BYTES,
    "INBOX": limits.INBOX_BYTES,
    "QUEUE_SLOT": limits.QUEUE_SLOT_BYTES,
    "RING_SLOTS": limits.QUEUE_SLOTS,
}


def test_the_bounds_are_those_of_limits_py() -> None:
    from cometkms._native import lib

    for name, value in BOUNDS.items():
        assert getattr(lib, f"CK_{name}") == value, name


def test_every_bound_of_the_header_is_compared() -> None:
    found = set(re.findall(r"#define CK_(\w+) ", (CSRC / "bounds.h").read_text()))
    assert found <= set(BOUNDS)


def test_the_reasons_are_those_of_model_py() -> None:
    text = (CSRC / "privval.h").read_text()
    numbers = {name: int(value) for name, value in re.findall(r"CK_(\w+) = (\d+)", text.partition("enum ck_reason")[2])}
    reasons = {name.removeprefix("REASON_"): value for name, value in numbers.items()}
    for name, value in reasons.items():
        assert model.Reason[name] == value
    assert set(reasons) == {reason.name for reason in model.Reason if reason < 32}
