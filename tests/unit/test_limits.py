"""What the C core and Python must agree on: bounds, enumerations, and the structs'
declarations for cffi.
"""

import re
import runpy
from enum import IntEnum
from pathlib import Path

import pytest

from cometkms import limits
from cometkms.core.native.codec import ffi, lib
from cometkms.model import Dialect, Kind, Line, Outcome, Reason

CSRC = Path(__file__).parents[2] / "csrc"


def test_every_bound_that_was_compiled_is_pythons() -> None:
    made = runpy.run_path(str(CSRC.parent / "build_ffi.py"))["BOUNDS"]
    assert {name: getattr(lib, f"CK_{name}") for name in made} == {
        name: getattr(limits, pythons) for name, pythons in made.items()
    }


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


def test_every_outcome_of_c_is_the_models() -> None:
    told = re.findall(r"\bCK_OUTCOME_(\w+) = (\d+)", (CSRC / "audit.h").read_text())
    assert {name: int(number) for name, number in told} == {one.name: one.value for one in Outcome}


def test_every_line_of_c_is_the_models() -> None:
    assert ffi.typeof("enum ck_line").elements == {line.value: f"CK_LINE_{line.name}" for line in Line}


def test_the_sign_bytes_of_a_request_have_room_for_the_largest() -> None:
    assert len(ffi.new("ck_request *").sign_bytes) == limits.SIGN_BYTES_MAX_BYTES
