"""The load lasts as long as the command, and no longer."""

import os
import signal
import subprocess
import sys

from tests.e2e.node import alive, children_of, until


def loaded(*command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.busy", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def load_of(process: subprocess.Popen[str]) -> list[int]:
    """The command, a process a core, and the one that writes."""
    count = 2 + (os.cpu_count() or 1)
    return until("the load is there", lambda: len(found := children_of(process.pid)) == count and found)


def test_the_command_s_exit_code_is_its_own_and_nothing_is_left() -> None:
    process = loaded("sh", "-c", "read line; exit 3")
    pids = load_of(process)
    process.communicate("go on\n")
    assert process.returncode == 3
    until("nothing is left", lambda: not any(alive(pid) for pid in pids))


def test_the_load_does_not_outlive_whoever_is_killed() -> None:
    process = loaded("cat")
    pids = load_of(process)
    process.kill()
    process.communicate()
    until("nothing is left", lambda: not any(alive(pid) for pid in pids))


def test_a_command_that_is_told_to_end_ends_all() -> None:
    process = loaded("cat")
    pids = load_of(process)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    until("nothing is left", lambda: not any(alive(pid) for pid in pids))


def test_who_asks_too_late_ends_at_once() -> None:
    """A parent that was killed between the fork and the child's asking for its death
    signal sends none.
    """
    late = "import signal, tests.busy as busy; busy._end_with_parent(signal.SIGKILL, parent=2**22)"
    assert subprocess.run([sys.executable, "-c", late], check=False).returncode == -signal.SIGKILL
