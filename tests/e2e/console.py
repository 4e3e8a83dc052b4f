"""Run a document: its ```console blocks, one after the other, in one shell with an empty home.

    ```console
    $ cmkms keys show            a line with "$ " is a command; one that ends in a backslash goes on
                                 in the next,
    > and so on                  as does one before a line with "> "
    address   5647…              what follows must be its output; "…" is any text, a line of "…" any lines
    ```

A command without lines behind it may print what it likes. Each must succeed, unless the next one is
`echo $?`. A command that only looks (`cmkms status`, `curl -s`, …) is given again until it shows
what the document shows: it shows a state, and states take their time, or pass by for a moment when
another node is elected. What a reader does not need to see is in comments:

    <!-- setup: commands, run as they stand -->
    <!-- again: leads node0 -->   the next block needs that state: a command of it that does not do
                                  what is shown is given again after these
    <!-- background -->          the next block's command goes on: its lines must come, in time; it
                                 is ended with the document
    <!-- checked: make -n -->    the next block takes too long to run here: each of its commands is
                                 a target that make knows
    <!-- run by: tests/….py::test_name -->     the next block is run elsewhere: there is such a test

`cmkms` is this tree's, $FIXTURES the directory of the tests. What else a document needs is in
tests/e2e/programs: `ssh` and `scp` between `machine`s that are directories, `sudo`, `cometbft`
(built beforehand, with the environment that the tests have), and `eventually` for setups that wait.

Each document has a network and processes of its own (namespaces, as root or with user
namespaces): every 10.0.0.x and 127.x.x.x is there, all ports are free, and at its end
everything ends that it started. Where that cannot be had it runs in the present ones,
with 127.10.0.x for 10.0.0.x, and says so.
"""

import functools
import os
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from cometkms.cli.commands import cli
from tests.e2e.node import PATIENCE_S, environment
from tests.e2e.systemdlike import Manager
from tests.gotools import program

ROOT: Final = Path(__file__).resolve().parents[2]
PROGRAMS: Final = ROOT / "tests" / "e2e" / "programs"
TAIL_CHARACTERS: Final = 4000  # of a background command's output, where a failure shows it
_PART: Final = re.compile(
    r"<!-- setup:(?P<setup>.*?)-->|<!-- again:(?P<again>.*?)-->|(?P<background><!-- background -->)|<!-- (?P<instead>checked|run by): (?P<how>.*?) -->"
    r"|^```console\n(?P<block>.*?)^```$",
    re.S | re.M,
)
#: A command that changes nothing, here or on a machine; what is behind a pipe only reads.
_LOOKS: Final = re.compile(
    r"(?:ssh \S+ )?(?:sudo )?"
    r"(?:cmkms (?:status|peers|leader show|doctor|drill --dry-run|audit (?:show|verify))|curl -s|systemctl (?:status|is-active)|journalctl)\b[^;&<>]*"
)
AGAIN_S: Final = 180.0  # for so long a command is given again
_TEST: Final = re.compile(r"(tests/[\w/]+\.py)::(test_\w+)")
_RUNS_CMKMS: Final = re.compile(r"(\S*/)?cmkms\s")
#: Run before the shell, in a network of its own: the loopback interface with 127.0.0.0/8 and
#: 10.0.0.0/24.
_NETWORK: Final = """
import fcntl, os, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
    def control(request, name, value):
        fcntl.ioctl(any_socket, request, struct.pack("16s16s", name, value).ljust(40, b"\\0"))
    def address(text):
        return struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(text))
    IFF_UP, SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK = 1, 0x8914, 0x8916, 0x891C
    control(SIOCSIFFLAGS, b"lo", struct.pack("=H", IFF_UP))
    control(SIOCSIFADDR, b"lo:1", address("10.0.0.1"))
    control(SIOCSIFNETMASK, b"lo:1", address("255.255.255.0"))
os.execvp(sys.argv[1], sys.argv[1:])
"""


@dataclass(frozen=True, slots=True)
class Step:
    """One command.

    `expected`: the lines behind it. `shown`: False for a setup. `instead`: what is done
    in place of running it.

    `again`: the commands that make the state which it needs.
    """

    command: str
    expected: tuple[str, ...] = ()
    shown: bool = True
    background: bool = False
    instead: str = ""
    again: str = ""

    @property
    def repeatable(self) -> bool:
        """Whether it may be given again when it does not do what is shown."""
        return bool(self.again) or _LOOKS.fullmatch(self.command) is not None


def steps_of(text: str) -> list[Step]:
    """Every command of a document, in order."""
    found: list[Step] = []
    background, instead, again = False, "", ""
    for part in _PART.finditer(text):
        if part["background"]:
            background = True
        elif part["again"] is not None:
            again = part["again"].strip()
        elif part["how"] is not None:
            instead = part["how"]
        elif part["setup"] is not None:
            found.append(Step(part["setup"].strip(), shown=False))
        else:
            found += _steps_of_block(part["block"], background, instead, again)
            background, instead, again = False, "", ""
    return found


def _steps_of_block(block: str, background: bool, instead: str, again: str) -> Iterator[Step]:
    commands: list[tuple[str, list[str]]] = []
    going_on = False
    for line in block.splitlines():
        if going_on or (commands and not commands[-1][1] and line.startswith("> ")):
            commands[-1] = (f"{commands[-1][0]}\n{line.removeprefix('> ')}", [])
        elif line.startswith("$ "):
            commands.append((line[2:], []))
        else:
            assert commands, f"output before the first command: {line!r}"
            commands[-1][1].append(line)
        going_on = line.endswith("\\") and not commands[-1][1]
    for command, expected in commands:
        yield Step(command, tuple(expected), background=background, instead=instead, again=again)


def matches(expected: tuple[str, ...], output: str) -> bool:
    """Whether the output is what the document shows."""
    pattern = ""
    for line in expected:
        if line.strip() == "…":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*?".join(re.escape(piece) for piece in line.split("…")) + r"\s*\n"
    return re.fullmatch(pattern, output.rstrip() + "\n") is not None


def check_instead(step: Step) -> None:
    """A command that is not run here is one that `make` knows, or that another test runs.

    Raises: AssertionError.
    """
    if (test := _TEST.fullmatch(step.instead)) is not None:
        path = ROOT / test[1]
        assert path.exists() and f"def {test[2]}(" in path.read_text(), f"$ {step.command}\nthere is no {step.instead}"
        return
    assert step.instead == "make -n", step.instead
    words = shlex.split(step.command, comments=True)
    assert words[0] == "make", f"$ {step.command}\nis no make"
    # As in a fresh clone, where nothing is made yet.
    done = subprocess.run([*words, "-n", "-B"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"$ {step.command}\n{done.stderr}"
    for line in done.stdout.splitlines():
        if _RUNS_CMKMS.match(line):
            check_command_line(shlex.split(line)[1:])


def check_command_line(arguments: list[str]) -> None:
    """Whether cmkms takes these words; nothing of them is run. Raises: AssertionError."""
    words = list(arguments)
    command: click.Command | None = cli
    try:
        while isinstance(command, click.Group):
            command = command.get_command(click.Context(command), words.pop(0))
            assert command is not None, f"cmkms {' '.join(arguments)}: there is no such command"
        command.make_context("cmkms", words)
    except click.UsageError as error:
        raise AssertionError(f"cmkms {' '.join(arguments)}: {error.format_message()}") from error


@functools.cache
def own_network() -> tuple[str, ...]:
    """The command that runs another in a network of its own, as the first of its processes; ()
    where that is not allowed.
    """
    own = ("--net", "--pid", "--fork", "--kill-child", "--mount-proc")
    for unshare in (("unshare", *own), ("unshare", "--user", "--map-root-user", *own)):
        command = (*unshare, sys.executable, "-c", _NETWORK)
        if (
            shutil.which("unshare")
            and subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
        ):
            return command
    warnings.warn("no network namespaces here: documents run in this one, with 127.10.0.x for 10.0.0.x", stacklevel=2)
    return ()


class Shell:
    """One bash for one document."""

    def __init__(self, home: Path, variables: dict[str, str]) -> None:
        """`variables`: of the environment, besides those that every document has."""
        programs = home.parent / "bin"
        programs.mkdir(parents=True)
        (programs / "cmkms").write_text(f'#!/bin/sh\nexec {sys.executable} -m cometkms "$@"\n')
        (programs / "cmkms").chmod(0o755)
        home.mkdir(parents=True)
        path = f"{programs}:{PROGRAMS}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        self._log = home.parent / "background"
        self._log.touch()
        self._near = not own_network()
        self._bash = subprocess.Popen(
            [*own_network(), "bash", "--noprofile", "--norc"],
            cwd=home,
            env=environment(
                HOME=str(home),
                PATH=path,
                PYTHONPATH=str(ROOT),
                PYTHON=sys.executable,
                ROOT=str(ROOT),
                FIXTURES=str(ROOT / "tests"),
                MACHINES=str(home.parent / "machines"),
                **variables,
            ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def background(self) -> str:
        """What all commands in the background have said."""
        return self._far(self._log.read_text(errors="replace"))

    def run(self, step: Step) -> tuple[int, str]:
        """Exit code and output; of a command in the background what it has said when all that is
        expected has come.
        """
        command = f"{step.command} >>{self._log} 2>&1 &" if step.background else step.command
        said_before = len(self._log.read_bytes())
        code, output = self._run(command)
        deadline = time.monotonic() + PATIENCE_S
        while step.background and not matches(("…", *step.expected, "…"), output):
            assert time.monotonic() < deadline, f"{step.command}\nsaid only:\n{output[-TAIL_CHARACTERS:]}"
            time.sleep(0.05)
            output = self._far(self._log.read_bytes()[said_before:].decode(errors="replace"))
        return code, output

    def _run(self, command: str) -> tuple[int, str]:
        """`$?` of the next command is this one's."""
        mark = secrets.token_hex(8)
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        text = f"{{ {command}\n}} </dev/null; __code=$?; printf '\\n%s %s\\n' {mark} $__code; (exit $__code)\n"
        self._bash.stdin.write((text.replace("10.0.0.", "127.10.0.") if self._near else text).encode())
        self._bash.stdin.flush()
        output = b""
        while True:
            line = self._bash.stdout.readline()
            assert line, f"the shell ended in: {command}\n{output.decode()}"
            if line.startswith(mark.encode()):
                return int(line.split()[1]), self._far(output.decode().removesuffix("\n"))
            output += line

    def _far(self, output: str) -> str:
        """As a document shows it."""
        return output.replace("127.10.0.", "10.0.0.") if self._near else output

    def close(self) -> None:
        """End it with all it started."""
        if self._near:  # units have a manager in a session of its own
            for systemctl in self._log.parent.rglob("bin/systemctl"):
                Manager(systemctl.parents[1]).close()
        for number in (signal.SIGTERM, signal.SIGKILL) if self._near else (signal.SIGKILL,):
            try:
                os.killpg(self._bash.pid, number)
                self._bash.wait(5)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


def run_document(text: str, home: Path) -> int:
    """Run every command; how many.

    Raises: AssertionError naming the first that is not as the document says.
    """
    steps = steps_of(text)
    shell = Shell(home, {"COMETBFT": str(program("node"))} if re.search(r"^\$ cometbft", text, re.M) else {})
    try:
        for number, step in enumerate(steps):
            if step.instead:
                check_instead(step)
                continue
            code_is_asked = number + 1 < len(steps) and steps[number + 1].command.strip() == "echo $?"
            _run_step(shell, step, code_is_asked=code_is_asked)
    except BaseException:
        print(f"--- what ran in the background\n{shell.background()[-TAIL_CHARACTERS:]}")
        raise
    finally:
        shell.close()
    return len(steps)


def _run_step(shell: Shell, step: Step, *, code_is_asked: bool) -> None:
    """Raises: AssertionError."""
    deadline = time.monotonic() + AGAIN_S
    while True:
        code, output = shell.run(step)
        wrong = ""
        if code != 0 and not code_is_asked:
            wrong = f"exit code {code}"
        elif step.expected and not step.background and not matches(step.expected, output):
            wrong = "the document:\n" + "\n".join(step.expected)
        if not wrong:
            return
        assert step.repeatable and time.monotonic() < deadline, f"$ {step.command}\nsays:\n{output}\n{wrong}"
        time.sleep(0.2)
        if step.again:
            shell.run(Step(step.again, shown=False))
