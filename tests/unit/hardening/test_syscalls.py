"""The numbers are the kernel's own."""

import re
import subprocess
from pathlib import Path

import pytest

from cometkms.hardening import syscalls
from cometkms.hardening.syscalls import (
    CALM,
    DEADLY,
    FILES,
    GUARDED,
    HOT,
    MACHINES,
    REFUSED,
    SCHEDULING,
    UNIFIED,
    numbers,
)

TABLES = [HOT, CALM, FILES, GUARDED, DEADLY, REFUSED, SCHEDULING]
#: The C library's headers bring them for every machine; aarch64 has the generic numbers.
HEADERS = {"x86_64": "asm/unistd_64.h", "aarch64": "asm-generic/unistd.h"}
WANTED_BY_AARCH64 = (
    "__ARCH_WANT_NEW_STAT",
    "__ARCH_WANT_SET_GET_RLIMIT",
    "__ARCH_WANT_SYS_CLONE3",
    "__ARCH_WANT_RENAMEAT",
)


def of_the_header(header: str, names: list[str], tmp_path: Path) -> dict[str, int]:
    """What the preprocessor makes of __NR_name."""
    source = tmp_path / "numbers.c"
    lines = ["#define __BITS_PER_LONG 64", *(f"#define {one}" for one in WANTED_BY_AARCH64), f"#include <{header}>"]
    source.write_text("\n".join([*lines, *(f'"@{name}" __NR_{name}' for name in names)]))
    done = subprocess.run(["cc", "-E", "-P", str(source)], capture_output=True, text=True, check=True)
    return {name: int(number) for name, number in re.findall(r'"@(\w+)"\s+(\d+)$', done.stdout, re.MULTILINE)}


@pytest.mark.parametrize("machine", MACHINES)
def test_every_number_is_the_headers(machine: str, tmp_path: Path) -> None:
    header = HEADERS[machine]
    if machine == "x86_64" and not list(Path("/usr/include").glob(f"**/{header}")):
        # a compiler for another machine alone: its own header is not there, the generic one is
        # checked
        header = "asm/unistd.h"
    ours = {name: number for table in TABLES for name, number in numbers(table, MACHINES[machine]).items()}
    theirs = of_the_header(header, [name for table in TABLES for name in table], tmp_path)
    assert len(theirs) > 100
    assert {name: number for name, number in ours.items() if theirs.get(name) != number} == {}
    newer = {name for name, number in theirs.items() if name not in ours and number < UNIFIED}
    assert newer == set(), "the machine has calls that the table says it lacks"


def test_no_call_stands_in_two_tables() -> None:
    names = [name for table in TABLES for name in table]
    assert len(names) == len(set(names))


def test_machines_are_told_apart() -> None:
    assert len({one.audit_arch for one in MACHINES.values()}) == len(MACHINES)
    assert syscalls.HOT["read"] == (0, 63)
