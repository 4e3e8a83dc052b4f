"""The records that both languages write: their forms as they are on disks and in queues, and the
header of C that is made of them.
"""

import re
import struct
from pathlib import Path

import pytest

from cometkms.layouts import LAYOUTS, ROW_MAGIC, SECTOR_CHECK_BYTES, layout

CSRC = Path(__file__).parents[2] / "csrc"
FORMS = {
    "sector": "<8sQH",
    "row": "<32sqiBBHBBQ",
    "queue": "<BQQHqiBBHB",
    "decision": "<QQqqiBBBBHBBBBI",
}


def test_a_record_has_the_form_that_lies_on_disks() -> None:
    """Stores outlive a version: a form never changes under its name."""
    assert {name: layout(name).format for name in LAYOUTS} == FORMS
    assert (ROW_MAGIC, SECTOR_CHECK_BYTES) == (b"CMKMSR02", 16)


@pytest.mark.parametrize("name", FORMS)
def test_c_finds_each_field_where_python_packs_it(name: str) -> None:
    text = (CSRC / "layouts.h").read_text()
    found = re.findall(rf"^#define CK_{name.upper()}_(\w+) (\d+), (\d+)$", text, re.MULTILINE)
    packed = layout(name)
    empty = packed.unpack(bytes(packed.size))
    for number, (field, form) in enumerate(LAYOUTS[name].items()):
        full = struct.unpack("<" + form, b"\xff" * struct.calcsize("<" + form))
        record = packed.pack(*empty[:number], *full, *empty[number + 1 :])
        at, size = record.index(b"\xff"), record.count(b"\xff")
        assert found[number] == (field.upper(), str(at), str(size))
    assert len(found) == len(LAYOUTS[name])
    assert f"\n#define CK_{name.upper()}_HEAD {packed.size}\n" in text
