"""A node that is told to stop within its first imports ends with exit code 0, and no other command
does.
"""

import signal
import subprocess
import sys

import pytest

_TOLD = """
import os, signal, sys
import cometkms.cli

def told(arguments):
    os.kill(os.getpid(), signal.SIGTERM)
    return lambda: 17

cometkms.cli.plainly = told
sys.argv = ["cmkms", *sys.argv[1:]]
cometkms.cli.main()
"""
_FORKED = """
import os, signal
from cometkms.cli.stopping import stop_at_once

stop_at_once()
if (pid := os.fork()) == 0:
    os.kill(os.getpid(), signal.SIGTERM)
    os._exit(17)
os._exit(os.WTERMSIG(os.waitpid(pid, 0)[1]))
"""


def ended(program: str, *arguments: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("start", "--home", "/nowhere"), 0),
        (("start", "--id", "n"), 0),
        (("status",), -signal.SIGTERM),
        (("recover", "--home", "start"), -signal.SIGTERM),
    ],
)
def test_only_a_start_that_is_told_to_stop_at_once_ends_as_one_that_was_stopped(
    arguments: tuple[str, ...], code: int
) -> None:
    assert ended(_TOLD, *arguments) == (code, "")


def test_a_process_that_it_forks_ends_by_the_signal() -> None:
    """Else the one that opens a key would seem to have done its work."""
    assert ended(_FORKED) == (signal.SIGTERM, "")
