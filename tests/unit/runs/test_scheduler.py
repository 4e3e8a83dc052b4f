"""How tests are spread over workers, tried with a worker that dies."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
CONFTEST = "from tests.conftest import pytest_xdist_make_scheduler\n"
CRASHES = """
import os, pytest

@pytest.mark.parametrize("number", range({count}))
def test_one(number):
    if number == {crashing}:
        os._exit(1)
"""


def outcome(directory: Path, count: int, crashing: int) -> str:
    """The last line of a run with two workers."""
    (directory / "conftest.py").write_text(CONFTEST)
    (directory / "test_crashes.py").write_text(CRASHES.format(count=count, crashing=crashing))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-n",
        "2",
        "--dist",
        "loadgroup",
        "-p",
        "no:cacheprovider",
        str(directory),
    ]
    done = subprocess.run(
        [*command, f"--rootdir={directory}", f"--basetemp={directory / 'temporary'}"],
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.splitlines()[-1]


def test_a_crashed_test_fails_once_and_all_others_run(tmp_path: Path) -> None:
    """Wherever it happens: at the start, in the middle, and among the last, when nothing is left to hand out."""
    for count, crashing in ((12, 0), (12, 6), (12, 10), (12, 11), (4, 3), (3, 1)):
        directory = tmp_path / f"{count}-{crashing}"
        directory.mkdir()
        assert f"1 failed, {count - 1} passed" in outcome(directory, count, crashing)
