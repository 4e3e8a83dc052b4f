"""`cmkms demo` as a newcomer runs it: it shows, it stops, it fails when it must, and it leaves nothing behind."""

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.node import alive, environment, until

PATIENCE_S = 60


class Demo:
    """A running demo, its output line by line, its own directory for temporary files."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.directory = directory
        self.said: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cometkms", "demo", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(TMPDIR=str(directory), COMETKMS_CHAIN_ID="the-operators-own"),
        )

    def read_until(self, pattern: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            if re.search(pattern, line):
                return line
        raise AssertionError(f"{pattern!r} was never said:\n{''.join(self.said)}")

    def wait(self) -> int:
        """The exit code, with all that was still to be said."""
        rest, _ = self.process.communicate(timeout=PATIENCE_S)
        self.said.append(rest)
        return self.process.returncode

    @property
    def text(self) -> str:
        return "".join(self.said)

    def descendants(self) -> list[int]:
        """The node's supervisor and its children."""
        found, queue = [], [self.process.pid]
        while queue:
            children = Path(f"/proc/{queue[0]}/task/{queue[0]}/children").read_text().split()
            found += (pids := [int(pid) for pid in children])
            queue = [*queue[1:], *pids]
        return found

    def left_behind(self) -> list[str]:
        return [str(path) for path in self.directory.iterdir()]


@pytest.fixture
def start_demo(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    demos: list[Demo] = []

    def start(*arguments: str) -> Demo:
        demos.append(Demo(tmp_path, *arguments))
        return demos[-1]

    yield start
    for demo in demos:
        if demo.process.poll() is None:
            demo.process.kill()
            demo.process.communicate(timeout=PATIENCE_S)


def test_it_shows_the_status_address_and_a_live_line_and_ends_after_its_seconds(
    start_demo: Callable[..., Demo],
) -> None:
    demo = start_demo("--seconds", "3")
    url = demo.read_until("status: ").split()[-1]
    live = demo.read_until(r"^height \d+ ")
    assert re.search(r"signatures verified .* p50 .* p99 .* demo leads", live)
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as status:
        assert b'"chain_id":"demo-1"' in status.read()
    assert demo.wait() == 0, demo.text
    summary = demo.text.splitlines()[-1]
    assert re.fullmatch(
        r"[1-9]\d* signatures, all verified; [1-9]\d* conflicting requests, all refused; p50 .* ms, p99 .* ms", summary
    )
    assert demo.left_behind() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_cleanly_and_leaves_nothing_behind(
    start_demo: Callable[..., Demo], number: signal.Signals
) -> None:
    demo = start_demo()
    demo.read_until(r"^height \d+ ")
    pids = demo.descendants()
    assert len(pids) == 4
    demo.process.send_signal(number)
    assert demo.wait() == 0, demo.text
    assert "all verified" in demo.text.splitlines()[-1]
    assert [pid for pid in pids if alive(pid)] == []
    assert demo.left_behind() == []


def test_a_node_that_dies_fails_the_demo_and_its_log_is_shown(start_demo: Callable[..., Demo]) -> None:
    demo = start_demo()
    demo.read_until(r"^height \d+ ")
    pids = demo.descendants()
    os.kill(pids[0], signal.SIGKILL)
    assert demo.wait() == 1
    assert "Error: the node ended by itself" in demo.text
    assert "cmkms starts" in demo.text
    until("the node's processes are gone", lambda: not any(alive(pid) for pid in pids))
    assert demo.left_behind() == []


def test_the_node_does_not_outlive_a_demo_that_was_killed(start_demo: Callable[..., Demo]) -> None:
    demo = start_demo()
    demo.read_until(r"^height \d+ ")
    pids = demo.descendants()
    demo.process.kill()
    demo.wait()
    until("the node's processes are gone", lambda: not any(alive(pid) for pid in pids))


def test_signing_that_stalls_fails_the_demo(start_demo: Callable[..., Demo]) -> None:
    demo = start_demo()
    demo.read_until(r"^height \d+ ")
    pids = demo.descendants()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    assert demo.wait() == 1
    assert re.search(r"Error: signing stalled for .* at height \d+", demo.text)
    until("the node's processes are gone", lambda: not any(alive(pid) for pid in pids))
    assert demo.left_behind() == []


def test_on_a_terminal_the_line_is_rewritten_in_place(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    try:
        demo = subprocess.Popen(
            [sys.executable, "-m", "cometkms", "demo", "--seconds", "2"],
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=subprocess.STDOUT,
            env=environment(TMPDIR=str(tmp_path)),
        )
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # EIO: the other side is closed
            while chunk := os.read(ours, 4096):
                shown += chunk
        assert demo.wait(timeout=PATIENCE_S) == 0
    finally:
        os.close(ours)
    assert shown.count(b"\r\x1b[Kheight ") > 5
    assert b"all verified" in shown.splitlines()[-1]
