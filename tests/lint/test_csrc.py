"""The C core: no warning under -Wall -Wextra -Werror, and no allocation.

Its bounds: tests/unit/test_limits.py.
"""

import subprocess
from pathlib import Path

import pytest

from tests.sim import mutants, relay_mutants

CSRC = Path(__file__).resolve().parents[2] / "csrc"
SOURCES = sorted(CSRC.glob("*.c"))
# called through csrc/calls.h only: the simulation has its own
THE_TABLES = {"recv", "send", "pwrite", "fdatasync"}
AROUND_IT = {"recvfrom", "recvmsg", "sendto", "sendmsg", "read", "writev", "fsync", "pwrite64", "pwritev"}
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
    assert not AROUND_IT & set(symbols)
    assert bool(THE_TABLES & set(symbols)) == (source.name == "calls.c")


def test_what_the_mutants_cut_out_stands_in_csrc() -> None:
    """Once each, so that `make mutants` takes away what it says."""
    of_the_simulation = {cut for mutant in mutants.MUTANTS for cut in mutant.cuts}
    of_the_comparing_tests = {cut for mutant in relay_mutants.MUTANTS for cut in mutant.cuts}
    cuts = of_the_simulation | of_the_comparing_tests
    assert [cut for cut in cuts if (CSRC / cut.source).read_text().count(cut.text) != 1] == []
