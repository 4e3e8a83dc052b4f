"""The list of what was not green every time, of a suite whose tests fail now and then."""

import subprocess
import sys
from pathlib import Path

FLAKY = """
from pathlib import Path
def test_always(): pass
def test_first_time_only():
    seen = Path(__file__).with_name("seen")
    before = seen.exists()
    seen.touch()
    assert not before, "the second time"
"""


def again(directory: Path, suite: str) -> subprocess.CompletedProcess[str]:
    (directory / "test_suite.py").write_text(suite)
    command = [sys.executable, "-m", "tests.again", "--times", "2", "--workers", "1"]
    command += ["--kept", str(directory / "kept"), str(directory / "test_suite.py")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_test_that_fails_once_is_listed_with_the_run_and_its_words(tmp_path: Path) -> None:
    done = again(tmp_path, FLAKY)
    assert done.returncode == 1, done.stderr
    assert "1 of 2" in done.stdout
    assert "test_suite.py::test_first_time_only" in done.stdout
    assert "run 2: AssertionError: the second time" in done.stdout
    assert "test_always" not in done.stdout


def test_all_green_ends_well_and_a_suite_that_cannot_run_does_not(tmp_path: Path) -> None:
    done = again(tmp_path, "def test_always(): pass")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "1 tests, green 2 times of 2"), done.stderr
    done = again(tmp_path, "import nothing_of_that_name")
    assert done.returncode == 1
