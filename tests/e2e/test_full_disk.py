"""A disk that is full for a while, or read-only: the node says so, ends with 7, and goes on by
itself when it can.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.node import (
    PATIENCE_S,
    PRECOMMIT,
    PREVOTE,
    Validator,
    ballot,
    cmkms,
    environment,
    free_port,
    free_tcp,
    until,
)

HOME = "/mnt"


class Disk:
    """A small file system of its own, in a mount namespace of its own; `run` runs there."""

    def __init__(self, mebibytes: int) -> None:
        user = [] if os.geteuid() == 0 else ["--map-root-user"]
        script = f"mount -t tmpfs -o size={mebibytes}m none {HOME} && echo there && exec sleep 3600"
        self.process = subprocess.Popen(
            ["unshare", *user, "--mount", "--propagation", "private", "sh", "-ec", script],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "there\n"
        inside = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        self._enter = ["nsenter", "--target", str(self.process.pid), "--mount", *inside, f"--wd={Path.cwd()}", "--"]
        self.root = Path(f"/proc/{self.process.pid}/root{HOME}")

    def command(self, *arguments: str) -> list[str]:
        return [*self._enter, *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), capture_output=True, text=True, timeout=PATIENCE_S, env=environment(), check=False
        )

    def cmkms(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "cometkms", *arguments)

    def fill(self) -> None:
        with (self.root / "filler").open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass

    def free(self) -> None:
        (self.root / "filler").unlink()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def disk() -> Iterator[Disk]:
    made = Disk(16)
    yield made
    made.close()


class Node:
    def __init__(self, disk: Disk, directory: Path, address: str) -> None:
        self.disk, self.log_path, self.port = disk, directory / "log", free_port()
        done = disk.cmkms(
            "init", "--home", f"{HOME}/home", "--new-key", "--chain-id", "test-1", "--validator-addr", address
        )
        assert done.returncode == 0, done.stderr
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        command = self.disk.command(
            sys.executable, "-m", "cometkms", "start", "--home", f"{HOME}/home", "--id", "node0", "--http-addr", f"127.0.0.1:{self.port}",
            "--raft-addr", f"127.0.0.1:{free_port()}",
        )  # fmt: skip
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment()
            )
        return self.process

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")


@pytest.fixture
def validator() -> Iterator[Validator]:
    made = Validator(free_tcp())
    yield made
    made.close()


@pytest.fixture
def node(disk: Disk, tmp_path: Path, validator: Validator) -> Iterator[Node]:
    made = Node(disk, tmp_path, validator.address)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.send_signal(signal.SIGTERM)
        made.process.wait(PATIENCE_S)


def clean(text: str) -> None:
    """No Python, no numbers of errors, and no cure for something that is whole."""
    for words in ("Traceback", "[Errno", "recover", "cmkms init", "chmod", "Error 28"):
        assert words not in text, text


def test_a_disk_that_was_full_for_a_while_ends_the_node_with_7_and_the_next_start_goes_on(
    node: Node, disk: Disk, validator: Validator
) -> None:
    process = node.start()
    validator.connect()
    validator.must_sign(PREVOTE, 5)
    disk.fill()
    until(
        "the node ends",
        lambda: validator.ask(cmd="pub_key") and validator.ask(**_ask(6)) and process.poll() is not None,
    )
    assert process.returncode == 7, node.log()
    assert "no space left on device; cure: make room" in node.log().replace('" cure="', "; cure: ")
    clean(node.log())
    for _ in range(2):  # while it is full every start says the same, or runs until it must write
        process = node.start()
        until("it ends, or serves", lambda process=process: process.poll() is not None or "child=api" in node.log())
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_S)
        assert process.returncode in (0, 7), node.log()
        clean(node.log())
    disk.free()
    node.start()
    validator.connect()
    validator.must_refuse(PREVOTE, 5, block="bb")
    validator.must_sign(PRECOMMIT, 7)


def _ask(height: int) -> dict[str, Any]:

    return ballot(PREVOTE, height)


def test_the_very_first_start_on_a_full_disk_is_7_and_goes_on_later(
    node: Node, disk: Disk, validator: Validator
) -> None:
    disk.fill()
    process = node.start()
    assert process.wait(PATIENCE_S) == 7, node.log()
    assert "no space left on device; cure: make room" in node.log()
    clean(node.log())
    disk.free()
    node.start()
    validator.connect()
    validator.must_sign(PREVOTE, 5)


@pytest.mark.parametrize("born", [True, False], ids=["a node that has signed", "a new home"])
def test_a_read_only_mount_says_what_it_is(node: Node, disk: Disk, validator: Validator, born: bool) -> None:
    if born:
        process = node.start()
        validator.connect()
        validator.must_sign(PREVOTE, 5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0, node.log()
    assert disk.run("mount", "-o", "remount,ro", HOME).returncode == 0
    process = node.start()
    assert process.wait(PATIENCE_S) == 7, node.log()
    assert "read-only file system; cure: mount it writable" in node.log()
    clean(node.log())
    assert disk.run("mount", "-o", "remount,rw", HOME).returncode == 0
    node.start()
    validator.connect()
    validator.must_sign(PREVOTE, 6)


def test_commands_on_a_full_disk_are_7_too(disk: Disk) -> None:
    disk.fill()
    done = disk.cmkms(
        "init", "--home", f"{HOME}/new", "--new-key", "--chain-id", "c", "--validator-addr", "tcp://127.0.0.1:1"
    )
    assert done.returncode == 7, done.stderr
    assert "no space left on device; cure: make room" in done.stderr
    clean(done.stderr)


def test_why_a_start_failed_is_said_once_where_log_and_stderr_are_one(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert (
        cmkms(
            "init", "--home", str(home), "--new-key", "--chain-id", "c", "--validator-addr", "tcp://127.0.0.1:1"
        ).returncode
        == 0
    )
    (home / "priv" / "priv_validator_state.json").unlink()
    ports = ("--http-addr", f"127.0.0.1:{free_port()}", "--raft-addr", f"127.0.0.1:{free_port()}")
    done = cmkms(
        "start", "--home", str(home), *ports, capture_output=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.returncode == 5
    assert done.stdout.count("is missing, so what this key has signed is not known") == 1
    apart = cmkms("start", "--home", str(home), *ports)
    assert "why=" in apart.stdout and apart.stderr.startswith("Error: ")
