"""An agent or a node that is started as its unit starts it needs no command line's library;
whatever else is typed, click reads.
"""

from pathlib import Path
from unittest.mock import patch

import click
import pytest

from cometkms.cli import plain, start
from cometkms.cli.plain import plainly
from tests.unit.cli.inside import cmkms


@pytest.mark.parametrize("text", ["/var/lib/cometkms", "home/of it", "~/.cmkms"])
@pytest.mark.parametrize(("name", "run"), [("agent", "run_agent"), ("start", "run_plainly")])
def test_the_home_behind_it_is_read_as_click_reads_it(name: str, run: str, text: str) -> None:
    found = plainly([name, "--home", text])
    assert found is not None
    with patch.object(plain, run, return_value=17) as called:
        assert found() == 17
    called.assert_called_once_with(Path(text).expanduser().absolute())


@pytest.mark.parametrize("name", ["agent", "start"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["{}"],
        ["{}", "--help"],
        ["{}", "--home"],
        ["{}", "--home", ""],
        ["{}", "--home", "--help"],
        ["{}", "--home=x"],
        ["{}", "--home", "x", "--id"],
        ["{}", "init", "--home", "x"],
        ["{}", "--home", "x", "init"],
        ["--home", "x", "{}"],
    ],
)
def test_every_other_command_line_is_clicks(name: str, arguments: list[str]) -> None:
    assert plainly([one.format(name) for one in arguments]) is None


@pytest.mark.parametrize("arguments", [[], ["status", "--home", "x"]])
def test_every_other_command_is_clicks(arguments: list[str]) -> None:
    assert plainly(arguments) is None


@pytest.mark.parametrize(("name", "cure"), [("agent", "cmkms agent init"), ("start", "cmkms init")])
def test_one_that_cannot_start_says_the_same_either_way(name: str, cure: str, tmp_path: Path) -> None:
    """One message with its cure, and the exit code that keeps its unit from trying again."""
    home = str(tmp_path / "none")
    plain, read = cmkms(name, "--home", home), cmkms(name, f"--home={home}")
    assert (plain.returncode, plain.stdout, plain.stderr) == (read.returncode, read.stdout, read.stderr)
    assert plain.returncode in (3, 4)
    assert cure in plain.stderr


@pytest.mark.parametrize("name", ["agent", "start"])
def test_the_home_of_a_user_that_is_not_known_is_told_the_same_either_way(name: str) -> None:
    plain, read = cmkms(name, "--home", "~no-such-user/x"), cmkms(name, "--home=~no-such-user/x")
    assert (plain.returncode, plain.stdout, plain.stderr) == (read.returncode, read.stdout, read.stderr)
    assert plain.returncode == 3
    assert "'~no-such-user/x' begins at the home of a user that is not known here; cure: " in plain.stderr


@pytest.mark.parametrize("how", [KeyboardInterrupt, click.Abort])
def test_an_interrupt_before_it_runs_is_told_the_same_either_way(how: type[BaseException]) -> None:
    """Also at the passphrase's prompt, where click has a word of its own for it."""
    with patch.object(plain, "run_plainly", side_effect=how):
        one = cmkms("start", "--home", "x")
    with patch.object(start, "run_node", side_effect=how):
        other = cmkms("start", "--home=x")
    assert (one.returncode, one.stdout, one.stderr) == (other.returncode, other.stdout, other.stderr)
    assert one.returncode == 1
    assert "Aborted" in one.stderr
