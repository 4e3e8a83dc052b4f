"""An agent that is started as its unit starts it needs no command line's library; whatever else is
typed, click reads.
"""

from pathlib import Path

import pytest

from cometkms.cli.agent_run import plain_home
from tests.unit.cli.inside import cmkms


@pytest.mark.parametrize("text", ["/var/lib/cometkms-agent", "home/of it", "~/.cmkms-agent"])
def test_the_home_behind_agent_is_read_as_click_reads_it(text: str) -> None:
    assert plain_home(["agent", "--home", text]) == Path(text).expanduser().absolute()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["agent"],
        ["agent", "--help"],
        ["agent", "--home"],
        ["agent", "--home", ""],
        ["agent", "--home", "--help"],
        ["agent", "--home=x"],
        ["agent", "init", "--home", "x"],
        ["agent", "--home", "x", "init"],
        ["--home", "x", "agent"],
        ["start", "--home", "x"],
    ],
)
def test_every_other_command_line_is_clicks(arguments: list[str]) -> None:
    assert plain_home(arguments) is None


def test_an_agent_that_cannot_start_says_the_same_either_way(tmp_path: Path) -> None:
    """One message with its cure, and the exit code that keeps its unit from trying again."""
    home = str(tmp_path / "none")
    plain, read = cmkms("agent", "--home", home), cmkms("agent", f"--home={home}")
    assert (plain.returncode, plain.stdout, plain.stderr) == (read.returncode, read.stdout, read.stderr)
    assert plain.returncode == 3
    assert "cmkms agent init" in plain.stderr
