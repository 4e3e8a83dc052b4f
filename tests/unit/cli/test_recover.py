"""`cmkms recover` says what it does and risks, and does nothing before the height was said twice."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from cometkms.store.promise_store import readable_marks
from tests.e2e.node import cmkms, environment


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "home"
    done = cmkms("init", "--home", str(path), "--new-key", "--chain-id", "c-1", "--validator-addr", "tcp://127.0.0.1:1")
    assert done.returncode == 0, done.stderr
    return path


def burnt(home: Path) -> int | None:
    """The height up to which the home's store is burnt; None if there is no store."""
    marks = readable_marks(home / "data" / "node0" / "promises")
    return marks[0][1].hrs.height if marks else None


def test_the_height_said_twice_burns_it(home: Path) -> None:
    done = cmkms("recover", "--home", str(home), "--min-height", "100", "--yes-height", "100")
    assert (done.returncode, burnt(home)) == (0, 100)
    assert "effect   a new store in which every height up to 100 is burnt" in done.stdout
    assert "a double signature" in done.stdout
    assert "alone: no peer list" in done.stdout


def test_another_height_changes_nothing(home: Path) -> None:
    done = cmkms("recover", "--home", str(home), "--min-height", "100", "--yes-height", "1000")
    assert (done.returncode, burnt(home)) == (5, None)
    assert "1000 was typed, 100 was asked for" in done.stderr


@pytest.mark.parametrize("typed", ["", "100\n", "yes\n"])
def test_a_pipe_is_nobody_who_could_have_read_the_warning(home: Path, typed: str) -> None:
    done = cmkms("recover", "--home", str(home), "--min-height", "100", input=typed)
    assert (done.returncode, burnt(home)) == (5, None)
    assert "cure: --yes-height 100" in done.stderr


@pytest.mark.parametrize(("typed", "after"), [(b"100\n", 100), (b"101\n", None)])
def test_at_a_terminal_the_height_is_typed(home: Path, typed: bytes, after: int | None) -> None:
    ours, theirs = pty.openpty()
    try:
        command = [sys.executable, "-m", "cometkms", "recover", "--home", str(home), "--min-height", "100"]
        process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment())
        os.close(theirs)
        os.write(ours, typed)
        assert process.wait(60) == (0 if after else 5)
    finally:
        os.close(ours)
    assert burnt(home) == after


def test_a_node_of_a_cluster_is_told_of_the_better_way(tmp_path: Path) -> None:
    assert cmkms("testnet", "--dir", str(tmp_path / "net")).returncode == 0
    done = cmkms("recover", "--home", str(tmp_path / "net" / "node0"), "--min-height", "9", "--yes-height", "9")
    assert done.returncode == 0, done.stderr
    assert "of a cluster with node1, node2" in done.stdout
    assert "recovers by itself" in done.stdout
