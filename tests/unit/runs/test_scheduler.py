"""How tests are spread over workers, tried with a worker that dies."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
CONFTEST = "from tests.conftest import pytest_collection_modifyitems, pytest_xdist_make_scheduler\n"
CRASHES = """
import os, pytest

@pytest.mark.parametrize("number", range({count}))
def test_one(number):
    if number == {crashing}:
        os._exit(1)
"""


FILES = {
    "test_a.py": "def test_one(): pass\ndef test_two(): pass\n",
    "test_b.py": """
import pytest

@pytest.fixture(scope="module")
def shared(): return None

def test_one(shared): pass

@pytest.mark.long
def test_two(shared): pass
""",
    "test_c.py": """
import pytest

def test_one(): pass

@pytest.mark.long
def test_two(): pass
""",
}


def spread(directory: Path, workers: int, *options: str) -> list[str]:
    """The lines of a run of what is in the directory."""
    (directory / "conftest.py").write_text(CONFTEST)
    command = [sys.executable, "-m", "pytest", "-n", str(workers), "--dist", "loadgroup", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *options, f"--rootdir={directory}", f"--basetemp={directory / 'temporary'}", str(directory)],
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.splitlines()


def outcome(directory: Path, count: int, crashing: int) -> str:
    """The last line of a run with two workers."""
    (directory / "test_crashes.py").write_text(CRASHES.format(count=count, crashing=crashing))
    return spread(directory, 2)[-1]


def test_a_crashed_test_fails_once_and_all_others_run(tmp_path: Path) -> None:
    """Wherever it happens: at the start, in the middle, and among the last, when
    nothing is left to hand out.
    """
    for count, crashing in ((12, 0), (12, 6), (12, 10), (12, 11), (4, 3), (3, 1)):
        directory = tmp_path / f"{count}-{crashing}"
        directory.mkdir()
        assert f"1 failed, {count - 1} passed" in outcome(directory, count, crashing)


def test_what_takes_long_begins_first_with_its_file_where_that_shares_a_fixture(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    lines = spread(tmp_path, 1, "-v", "-o", "markers=long")
    ran = [line.split()[-1].rpartition("/")[2] for line in lines if line.startswith("[gw0]")]
    assert ran == [
        "test_b.py::test_one",
        "test_b.py::test_two",
        "test_c.py::test_two",
        "test_a.py::test_one",
        "test_a.py::test_two",
        "test_c.py::test_one",
    ], "\n".join(lines)
