"""`cmkms demo` as a newcomer runs it: it shows, it stops, it fails when it must, and it leaves
nothing behind.
"""

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.node import PATIENCE_S, alive, closed_by_itself, environment, fetch, until

#: three nodes: each supervisor's four children, and the state process's helper, which it adopts
WHOLE = Counter(dict.fromkeys(("state", "writer", "signer", "audit", "api"), 3))


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
        return _descendants(self.process.pid)

    def processes(self) -> Counter[str]:
        """What the nodes' processes are called, but for the supervisors; one that just
        ended has no name.
        """
        names: Counter[str] = Counter()
        for pid in self.descendants():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                names[Path(f"/proc/{pid}/comm").read_text().strip().removeprefix("cmkms-")] += 1
        return Counter({name: count for name, count in names.items() if name in WHOLE})

    def left_behind(self) -> list[str]:
        return [str(path) for path in self.directory.iterdir()]


def _descendants(pid: int) -> list[int]:
    found, queue = [], [pid]
    while queue:
        try:
            children = Path(f"/proc/{queue[0]}/task/{queue[0]}/children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):  # it has ended since its parent was looked at
            children = []
        found += (pids := [int(one) for one in children])
        queue = [*queue[1:], *pids]
    return found


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


def test_it_shows_the_page_the_status_address_and_a_live_line_and_ends_after_its_seconds(
    start_demo: Callable[..., Demo],
) -> None:
    demo = start_demo("--seconds", "5")
    pages = demo.read_until("page: ").split()[1:]
    url = demo.read_until("status: ").split()[-1]
    live = demo.read_until(r"^height \d+ ")
    assert re.search(r"^height \d+  node[0-2] leads.*  \d+ signatures verified  p50 .* p99 ", live)
    assert len(pages) == 3
    for page in pages:
        assert "<h1>" in fetch(page)[1]
    assert '"chain_id":"demo-1"' in fetch(url)[1]
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

    def all_there() -> list[int] | None:
        """Three whole nodes: each a supervisor and its processes, and nobody besides."""
        found = demo.descendants()
        return found if demo.processes() == WHOLE and len(found) == 3 + WHOLE.total() else None

    pids = until(lambda: f"three whole nodes, not {demo.processes()}", all_there)
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
    assert re.search(r"Error: node[0-2] ended by itself, exit code -9", demo.text)
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


def test_the_leader_is_killed_on_time_and_comes_back_while_the_others_sign(start_demo: Callable[..., Demo]) -> None:
    demo = start_demo("--seconds", "600", "--kill-every", "1.5")
    killed = demo.read_until(r"was killed")
    found = re.fullmatch(
        r"(node[0-2]) led and was killed \(kill -9\): signing stopped for \d+ ms; (node[0-2]) leads now\n", killed
    )
    assert found is not None, killed
    assert found[1] != found[2]
    demo.read_until(rf"^{found[1]} is back")
    demo.read_until(r"was killed")
    demo.process.send_signal(signal.SIGINT)
    assert demo.wait() == 0, demo.text
    assert re.search(r"^leader killed [2-9]×: signing stopped for \d+(, \d+)+ ms, at worst \d+ ms$", demo.text, re.M)
    assert demo.left_behind() == []
    assert "\x1b" not in demo.text


class Terminal:
    """A demo on a pseudo terminal, keys included."""

    def __init__(self, directory: Path, *arguments: str, **variables: str) -> None:
        self.ours, self.theirs = pty.openpty()
        self.before = termios.tcgetattr(self.theirs)
        self.shown = b""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cometkms", "demo", *arguments],
            stdin=self.theirs,
            stdout=self.theirs,
            stderr=subprocess.STDOUT,
            env=environment(TMPDIR=str(directory), **variables),
        )

    def press(self, key: str) -> None:
        os.write(self.ours, key.encode())

    def see(self, words: bytes, *others: bytes, since: int = 0) -> bytes:
        """Until one of them was shown after the first `since` bytes; which."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            for one in (words, *others):
                if one in self.shown[since:]:
                    return one
            assert time.monotonic() < deadline, self.text[-2000:]
            self._read()

    def wait(self) -> int:
        while self.process.poll() is None:
            self._read()
        self._read()
        return self.process.returncode

    def _read(self) -> None:
        """What is there, or comes within a moment."""
        if select.select([self.ours], [], [], 0.1)[0]:
            self.shown += os.read(self.ours, 65536)

    @property
    def text(self) -> str:
        return self.shown.decode(errors="replace")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.ours)
        os.close(self.theirs)


@pytest.fixture
def start_terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    terminals: list[Terminal] = []

    def start(*arguments: str, **variables: str) -> Terminal:
        terminals.append(Terminal(tmp_path, *arguments, **variables))
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.close()


def press_until(terminal: Terminal, key: str, done: bytes) -> None:
    """Press it, and again when it was said that it was not the moment: a node is away,
    or nobody leads.
    """
    while True:
        since = len(terminal.shown)
        terminal.press(key)
        if terminal.see(done, b"not now: ", b"does not hand over: ", since=since) != b"not now: ":
            return
        terminal._read()


def test_on_a_terminal_the_line_is_rewritten_in_place_and_keys_kill_hand_over_and_quit(
    start_terminal: Callable[..., Terminal],
) -> None:
    terminal = start_terminal()
    terminal.see(b"\r\x1b[Kheight 2")
    terminal.press("x")  # no key of the demo's
    press_until(terminal, "k", b"was killed (kill -9): signing stopped for")
    terminal.see(b"is back")
    press_until(terminal, "t", b"handed over: signing stopped for")
    assert b"does not hand over" not in terminal.shown
    terminal.press("q")
    assert terminal.wait() == 0, terminal.text
    assert "all verified" in terminal.text.splitlines()[-1]
    assert "\x1b[1m" in terminal.text
    assert termios.tcgetattr(terminal.theirs) == terminal.before


def test_a_second_kill_waits_until_all_three_are_there(start_terminal: Callable[..., Terminal]) -> None:
    """Of three nodes two must stay."""
    terminal = start_terminal(NO_COLOR="1")
    terminal.see(b"\r\x1b[Kheight 2")
    refused = b""
    while refused != b"is not back yet":  # it may be back already when a slow test presses the key
        press_until(terminal, "k", b"was killed")
        since = len(terminal.shown)
        terminal.press("k")
        refused = terminal.see(b"is not back yet", b"was killed", since=since)
    terminal.press("q")
    assert terminal.wait() == 0, terminal.text
    assert "\x1b[1m" not in terminal.text


def test_with_an_agent_a_key_freezes_the_leaders_host_and_the_page_shows_the_pause(
    start_terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    """Kill and freeze: the validator's connection to its agent stays, another node signs, and that
    node's page tells it.
    """
    terminal = start_terminal("--agent", NO_COLOR="1")
    terminal.see(b"f freezes its host (SIGSTOP) for a moment")
    terminal.see(b"\r\x1b[Kheight 2")
    for key, done, what in (
        ("f", b"led and its host froze: signing stopped for", "froze"),
        ("k", b"was killed", "killed"),
    ):
        since = len(terminal.shown)
        press_until(terminal, key, done)
        terminal.see(b"leads now", since=since)
        told = re.search(
            r"(node[0-2]) led and (?:its host froze|was killed \(kill -9\)): signing stopped for (\d+) ms; (node[0-2]) leads now",
            terminal.shown[since:].decode(errors="replace"),
        )
        assert told is not None, what
        before, _, after = told.groups()
        assert before != after
        pages = re.findall(r"http://127\.0\.0\.1:\d+/(?=\s)", terminal.text)
        page = pages[int(after.removeprefix("node"))]
        until(
            f"the page of {after} tells of {before}",
            lambda page=page, before=before, after=after: re.search(
                rf"{after} took over.*signature", fetch(page)[1], re.DOTALL
            ),
        )
        terminal.see(f"{before} is back".encode(), since=since)
    log = next(tmp_path.glob("cmkms-demo-*/homes/agent/node.log")).read_text()
    assert closed_by_itself(log) == []
    terminal.press("q")
    assert terminal.wait() == 0, terminal.text
    assert re.search(r"leader frozen 1×: signing stopped for \d+ ms", terminal.text)
    assert list(tmp_path.iterdir()) == []


def test_a_frozen_node_does_not_outlive_a_demo_that_was_killed(start_terminal: Callable[..., Terminal]) -> None:
    """SIGTERM would wait for ever in a process that is stopped."""
    terminal = start_terminal("--agent")
    terminal.see(b"\r\x1b[Kheight 2")
    terminal.press("f")
    frozen = until("a stopped process", lambda: [pid for pid in _descendants(terminal.process.pid) if _stopped(pid)])
    terminal.process.kill()
    terminal.process.wait()
    until("the frozen processes are gone", lambda: not any(alive(pid) for pid in frozen))


def _stopped(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except (FileNotFoundError, ProcessLookupError):
        return False
