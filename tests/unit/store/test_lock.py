"""The home's lock: no child can give it up, and none that lives on unseen lets another node in."""

import fcntl
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from cometkms.errors import BusyError, StateError
from cometkms.store.lock import LOCK_NAME, lock_home, locked_home, share_home


def child(work: Callable[[], None]) -> int:
    """A process that did `work` and waits to be killed; its pid."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os.write(writing, b"+")
            signal.pause()
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read(1) == b"+"
    return pid


def end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def unlock_all() -> None:
    for fd in range(3, 64):
        for give_up in (fcntl.flock, fcntl.lockf):
            try:
                give_up(fd, fcntl.LOCK_UN)
            except OSError:
                continue


def test_a_child_that_unlocks_whatever_it_has_unlocks_nothing_of_the_nodes(tmp_path: Path) -> None:
    lock = lock_home(tmp_path)

    def life() -> None:
        share_home(tmp_path, lock)
        unlock_all()

    pid = child(life)
    try:
        with pytest.raises(BusyError, match=f"pid {os.getpid()}"):
            lock_home(tmp_path)
    finally:
        end(pid)
        os.close(lock)


def test_an_orphan_keeps_another_node_out_until_it_is_gone(tmp_path: Path) -> None:
    lock = lock_home(tmp_path)
    pid = child(lambda: share_home(tmp_path, lock))
    os.close(lock)  # the supervisor is dead
    told: list[str] = []
    try:
        with pytest.raises(
            BusyError, match=rf"already: its supervisor \(pid {os.getpid()}\) is gone, .*; cure: stop them first"
        ):
            lock_home(tmp_path, told.append)
    finally:
        end(pid)
    assert len(told) == 1
    assert f"waiting up to 3 s for the processes of the node that used {tmp_path} (pid {os.getpid()})" in told[0]
    os.close(lock_home(tmp_path, told.append))
    assert len(told) == 1


def test_a_start_waits_for_orphans_that_end_and_lets_nobody_in_meanwhile(tmp_path: Path) -> None:
    lock = lock_home(tmp_path)
    pid = child(lambda: share_home(tmp_path, lock))
    os.close(lock)  # the supervisor is dead

    def meanwhile(_words: str) -> None:
        with pytest.raises(BusyError, match="uses"):
            lock_home(tmp_path)
        end(pid)

    os.close(lock_home(tmp_path, meanwhile))


def test_a_command_that_holds_it_is_named_and_notes_nothing(tmp_path: Path) -> None:
    """What is noted is the node's pid, which may be long gone."""
    os.close(lock_home(tmp_path))
    noted = (tmp_path / LOCK_NAME).read_bytes()
    assert noted.split() == [str(os.getpid()).encode()]

    def life() -> None:
        holding = locked_home(tmp_path)
        holding.__enter__()
        held.append(holding)

    held: list[object] = []
    pid = child(life)
    try:
        for take in (lambda: lock_home(tmp_path), lambda: locked_home(tmp_path).__enter__()):
            with pytest.raises(BusyError, match=rf"another process \(pid {pid}\) uses {tmp_path} already"):
                take()
    finally:
        end(pid)
    assert (tmp_path / LOCK_NAME).read_bytes() == noted
    lock = lock_home(tmp_path)
    try:
        with pytest.raises(BusyError, match=rf"a node \(pid {os.getpid()}\) uses"), locked_home(tmp_path):
            pass
    finally:
        os.close(lock)


def test_several_children_share_it(tmp_path: Path) -> None:
    lock = lock_home(tmp_path)
    pids = [child(lambda: share_home(tmp_path, lock)) for _ in range(3)]
    for pid in pids:
        end(pid)
    os.close(lock)
    os.close(lock_home(tmp_path))


def test_a_lock_that_is_not_there_any_more_is_said(tmp_path: Path) -> None:
    lock = lock_home(tmp_path)
    (tmp_path / LOCK_NAME).unlink()
    with pytest.raises(StateError, match="cure"):
        share_home(tmp_path, lock)
