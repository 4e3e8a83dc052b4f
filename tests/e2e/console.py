"""Run a document: its ```console blocks, one after the other, in one shell with an empty home.

    ```console
    $ cmkms keys show            a line with "$ " is a command; one that ends in a backslash goes on in the next
    address   5647…              what follows must be its output; "…" is any text, a line of "…" any lines
    ```

A command without lines behind it may print what it likes. Each must succeed, unless the next one is `echo $?`. What a reader does not
need to see is in comments:

    <!-- setup: commands, run as they stand -->
    <!-- background -->          the next block's command goes on: its lines must come, in time; it is ended with the document

$FIXTURES is the directory of the tests, and `cmkms` this tree's.
"""

import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.e2e.node import PATIENCE_S, environment

ROOT: Final = Path(__file__).resolve().parents[2]
_PART: Final = re.compile(
    r"<!-- setup:(?P<setup>.*?)-->|(?P<background><!-- background -->)|^```console\n(?P<block>.*?)^```$", re.S | re.M
)


@dataclass(frozen=True, slots=True)
class Step:
    """One command. `expected`: the lines behind it. `shown`: False for a setup."""

    command: str
    expected: tuple[str, ...] = ()
    shown: bool = True
    background: bool = False


def steps_of(text: str) -> list[Step]:
    """Every command of a document, in order."""
    found: list[Step] = []
    background = False
    for part in _PART.finditer(text):
        if part["background"]:
            background = True
        elif part["setup"] is not None:
            found.append(Step(part["setup"].strip(), shown=False))
        else:
            found += _steps_of_block(part["block"], background)
            background = False
    return found


def _steps_of_block(block: str, background: bool) -> Iterator[Step]:
    commands: list[tuple[str, list[str]]] = []
    going_on = False
    for line in block.splitlines():
        if going_on:
            commands[-1] = (f"{commands[-1][0]}\n{line}", [])
        elif line.startswith("$ "):
            commands.append((line[2:], []))
        else:
            assert commands, f"output before the first command: {line!r}"
            commands[-1][1].append(line)
        going_on = line.endswith("\\") and not commands[-1][1]
    for command, expected in commands:
        yield Step(command, tuple(expected), background=background)


def matches(expected: tuple[str, ...], output: str) -> bool:
    """Whether the output is what the document shows."""
    pattern = ""
    for line in expected:
        if line.strip() == "…":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*?".join(re.escape(piece) for piece in line.split("…")) + r"\s*\n"
    return re.fullmatch(pattern, output.rstrip() + "\n") is not None


class Shell:
    """One bash for one document."""

    def __init__(self, home: Path) -> None:
        programs = home.parent / "bin"
        programs.mkdir(parents=True)
        (programs / "cmkms").write_text(f'#!/bin/sh\nexec {sys.executable} -m cometkms "$@"\n')
        (programs / "cmkms").chmod(0o755)
        home.mkdir(parents=True)
        path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        self._home = home
        self._log = home.parent / "background"
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=home,
            env=environment(HOME=str(home), PATH=path, PYTHONPATH=str(ROOT), FIXTURES=str(ROOT / "tests")),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(self, step: Step) -> tuple[int, str]:
        """Exit code and output; of a command in the background what it has said when all that is expected has come."""
        command = f"{step.command} >>{self._log} 2>&1 &" if step.background else step.command
        code, output = self._run(command)
        deadline = time.monotonic() + PATIENCE_S
        while step.background and not (found := matches(("…", *step.expected, "…"), output)):
            assert time.monotonic() < deadline, f"{step.command}\nsaid only:\n{output}"
            time.sleep(0.05)
            output = self._log.read_text()
            found = found or matches(("…", *step.expected, "…"), output)
        return code, output

    def _run(self, command: str) -> tuple[int, str]:
        """`$?` of the next command is this one's."""
        mark = secrets.token_hex(8)
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        text = f"{{ {command}\n}} </dev/null; __code=$?; printf '\\n%s %s\\n' {mark} $__code; (exit $__code)\n"
        self._bash.stdin.write(text.encode())
        self._bash.stdin.flush()
        output = b""
        while True:
            line = self._bash.stdout.readline()
            assert line, f"the shell ended in: {command}\n{output.decode()}"
            if line.startswith(mark.encode()):
                return int(line.split()[1]), output.decode().removesuffix("\n")
            output += line

    def close(self) -> None:
        """End it with all it started."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._bash.pid, number)
                self._bash.wait(5)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


def run_document(text: str, home: Path) -> int:
    """Run every command; how many. Raises: AssertionError naming the first that is not as the document says."""
    steps = steps_of(text)
    shell = Shell(home)
    try:
        for number, step in enumerate(steps):
            code, output = shell.run(step)
            code_is_asked = number + 1 < len(steps) and steps[number + 1].command.strip() == "echo $?"
            assert code == 0 or code_is_asked, f"$ {step.command}\n{output}\nexit code {code}"
            if step.expected and not step.background:
                shown = "\n".join(step.expected)
                assert matches(step.expected, output), f"$ {step.command}\nsays:\n{output}\nthe document:\n{shown}"
    finally:
        shell.close()
    return len(steps)
