"""A node whose home's lock file is taken away holds the next one, and says so."""

import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cometkms.errors import BusyError
from cometkms.store.lock import LOCK_NAME, holder_of, lock_home, locked_home
from cometkms.supervisor.home_watch import HomeWatch
from tests.unit.supervisor.scene import ALL, Dummies, until


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, object]]] = []

    def error(self, event: str, **fields: object) -> None:
        self.lines.append((event, fields))


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[int]:
    fd = lock_home(tmp_path)
    yield fd
    os.close(fd)


@pytest.mark.parametrize("how", ["removed", "moved away", "replaced"])
def test_a_lock_file_that_is_gone_is_held_anew_and_told_once(tmp_path: Path, lock: int, how: str) -> None:
    log = Log()
    watch = HomeWatch(tmp_path, lock, log)
    watch.look()
    assert log.lines == []
    file = tmp_path / LOCK_NAME
    file.rename(tmp_path / "aside") if how == "moved away" else file.unlink()
    if how == "replaced":
        file.write_text("")
    assert holder_of(tmp_path) is None
    watch.look()
    watch.look()
    (told,) = log.lines
    assert told[0] == "the home's lock file was removed or replaced, and is held anew"
    with pytest.raises(BusyError, match=rf"a node \(pid {os.getpid()}\) uses"), locked_home(tmp_path):
        pass
    assert not os.get_inheritable(lock)


def test_one_that_another_holds_or_that_cannot_be_made_is_told_once_and_tried_again(tmp_path: Path, lock: int) -> None:
    log = Log()
    watch = HomeWatch(tmp_path, lock, log)
    (tmp_path / LOCK_NAME).unlink()
    with locked_home(tmp_path):  # a command that came first
        watch.look()
        watch.look()
    (told,) = log.lines
    assert told[0] == "the home's lock is not held"
    assert f"(pid {os.getpid()}) uses {tmp_path}" in str(told[1]["why"])
    (tmp_path / LOCK_NAME).unlink()
    (tmp_path / LOCK_NAME).mkdir()
    watch.look()
    assert watch.look() == f"{tmp_path / LOCK_NAME} cannot be opened: is a directory"
    assert len(log.lines) == 2
    assert log.lines[1][1]["cure"] == "move it away: a lock file is made anew"
    (tmp_path / LOCK_NAME).rmdir()
    assert watch.look() == ""
    assert len(log.lines) == 3
    assert holder_of(tmp_path) is not None


def test_of_a_home_that_was_moved_away_no_other_one_is_to_be_made_at_its_name(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    fd, log = lock_home(home), Log()
    watch = HomeWatch(home, fd, log)
    home.rename(tmp_path / "aside")
    watch.look()
    (told,) = log.lines
    assert (
        told[1]["cure"]
        == "put the home of this running node back as it was, or stop the node; make no other one at its name"
    )
    assert holder_of(tmp_path / "aside") is not None
    (tmp_path / "aside").rename(home)
    watch.look()
    assert len(log.lines) == 1, "it is the very file"
    os.close(fd)


def test_a_lock_file_that_was_moved_is_held_there_too(tmp_path: Path, lock: int) -> None:
    (tmp_path / LOCK_NAME).rename(tmp_path / "aside")
    HomeWatch(tmp_path, lock, Log()).look()
    for name in (LOCK_NAME, "aside"):
        other = os.open(tmp_path / name, os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(other)


def test_a_supervisor_looks_while_it_runs(tmp_path: Path, start: Callable[..., Dummies]) -> None:
    home = tmp_path / "home"
    home.mkdir()
    dummies = start(ALL, home=home)
    dummies.await_log("child running", count=len(ALL))
    (home / LOCK_NAME).unlink()
    (home / LOCK_NAME).mkdir()
    dummies.await_log("the home's lock is not held")
    (home / LOCK_NAME).rmdir()
    dummies.await_log("the home's lock file was removed or replaced, and is held anew")
    until("its own", lambda: (found := holder_of(home)) is not None and found.pid == str(dummies.pid) and found.is_node)
    assert dummies.stop() == 0
