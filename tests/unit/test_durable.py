"""Root in a home of somebody else's, who prepared it: no link, no second name and no prepared file
leads root's writing elsewhere.
"""

import errno
import functools
import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cometkms.cli import testnet
from cometkms.durable import create_exclusively, hand_over, make_directory, open_file, read_file, write_atomically
from cometkms.errors import BusyError, StateError, StoreFailure
from cometkms.store.lock import LOCK_NAME, lock_home
from cometkms.store.promise_store import PromiseStore
from tests.unit.hardening.child import in_child, outcome

ROOT = os.geteuid() == 0
ALICE, STATE = 62_501, 62_502


def as_root(test: Callable[..., None]) -> Callable[..., None]:
    """Another's home is one of root's problems: as anybody else there is nothing to try."""

    @functools.wraps(test)
    def run(*arguments: object, **named: object) -> None:
        if ROOT:
            test(*arguments, **named)

    return run


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Alice's, and beside it what she must not reach."""
    (tmp_path / "root").mkdir(mode=0o700)
    (tmp_path / "root" / "secret").write_text("root's")
    (tmp_path / "home").mkdir()
    if ROOT:
        os.chown(tmp_path / "home", ALICE, ALICE)
    return tmp_path / "home"


def link(at: Path, to: Path, uid: int = ALICE) -> None:
    at.symlink_to(to)
    os.chown(at, uid, uid, follow_symlinks=False)


WRITERS: dict[str, Callable[[Path], object]] = {
    "replace": lambda path: write_atomically(path, b"new"),
    "create": lambda path: create_exclusively(path, b"new"),
    "open": lambda path: open_file(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC),
    "store": lambda path: PromiseStore.open(path),
    "mkdir": lambda path: make_directory(path / "deeper"),
}


@as_root
@pytest.mark.parametrize("name", WRITERS)
def test_a_directory_that_is_somebodys_link_is_not_followed(home: Path, name: str) -> None:
    link(home / "priv", home.parent / "root")
    with pytest.raises((OSError, StoreFailure, StateError), match=f"uid {ALICE}"):
        WRITERS[name](home / "priv" / "secret")
    assert (home.parent / "root" / "secret").read_text() == "root's"
    assert [path.name for path in (home.parent / "root").iterdir()] == ["secret"]


@as_root
@pytest.mark.parametrize("kind", ["link", "second name", "another's"])
def test_a_file_in_the_place_of_the_lock_or_the_store_is_not_written_to(home: Path, kind: str) -> None:
    target = home.parent / "root" / "secret"
    for name in (LOCK_NAME, "promises"):
        if kind == "link":
            link(home / name, target)
        elif kind == "second name":
            (home / name).hardlink_to(target)
        else:
            (home / name).write_text("bob's")
            os.chown(home / name, STATE, STATE)
    with pytest.raises(StateError, match="cannot be opened"):
        lock_home(home)
    with pytest.raises(StateError, match="cannot be opened"):
        PromiseStore.open(home / "promises")
    assert target.read_text() == "root's"


@as_root
def test_a_prepared_file_aside_is_replaced_and_what_it_leads_to_is_not(home: Path) -> None:
    target = home.parent / "root" / "secret"
    link(home / ".state.json.tmp", target)
    write_atomically(home / "state.json", b"new")
    link(home / f".key.{os.getpid()}.new", target)
    create_exclusively(home / "key", b"new")
    assert target.read_text() == "root's"
    assert (home / "state.json").read_bytes() == (home / "key").read_bytes() == b"new"


@as_root
def test_what_root_writes_in_a_home_belongs_to_whom_the_home_does(home: Path) -> None:
    make_directory(home / "data" / "node0")
    write_atomically(home / "data" / "node0" / "state.json", b"{}")
    os.close(lock_home(home))
    for path in (home / "data", home / "data" / "node0", home / "data" / "node0" / "state.json", home / LOCK_NAME):
        assert (path.stat().st_uid, path.stat().st_mode & 0o022) == (ALICE, 0)


@as_root
def test_links_of_roots_own_are_ways_like_others(home: Path) -> None:
    """/var/run, or the links of a Kubernetes secret: ..data is root's, and leads to the
    newest directory.
    """
    (home / "..2026_11").mkdir()
    (home / "..2026_11" / "key").write_text("a key")
    link(home / "..data", Path("..2026_11"), 0)
    link(home / "key", Path("..data/key"), 0)
    assert read_file(home / "key", 100) == b"a key"
    link(home / "round", Path("round/x"), 0)
    with pytest.raises(OSError, match="too many links"):
        read_file(home / "round", 100)
    link(home / "absolute", home / "..2026_11", 0)
    write_atomically(home / "absolute" / "more", b"x")
    assert (home / "..2026_11" / "more").read_bytes() == b"x"


@as_root
def test_what_is_no_file_is_not_waited_for(home: Path) -> None:
    os.mkfifo(home / "state.json")
    for flags in (os.O_RDONLY, os.O_RDWR):
        with pytest.raises(OSError, match="no regular file"):
            open_file(home / "state.json", flags)


@as_root
def test_a_directory_is_handed_over_with_its_files_and_without_its_directories(home: Path) -> None:
    (home / "audit").mkdir()
    for name, uid in (("promises", 0), ("raft", ALICE), ("old", STATE)):
        (home / name).write_text(name)
        os.chown(home / name, uid, uid)
    hand_over(home, STATE, STATE)
    owners = {path.name: path.stat().st_uid for path in home.iterdir()}
    assert owners == {"promises": STATE, "raft": STATE, "old": STATE, "audit": 0}
    assert home.stat().st_uid == STATE
    hand_over(home, ALICE, ALICE)
    assert (home / "raft").stat().st_uid == ALICE


@as_root
def test_what_a_third_party_has_there_stays_theirs(home: Path) -> None:
    (home / "copy").write_text("bob's")
    os.chown(home / "copy", 62_509, 62_509)
    hand_over(home, STATE, STATE)
    assert ((home / "copy").stat().st_uid, home.stat().st_uid) == (62_509, STATE)


@as_root
@pytest.mark.parametrize("kind", ["link", "second name"])
def test_what_may_lead_elsewhere_is_not_given_away(home: Path, kind: str) -> None:
    target = home.parent / "root" / "secret"
    if kind == "link":
        link(home / "x", target, 0)
    else:
        (home / "x").hardlink_to(target)
    with pytest.raises(OSError, match="not handed over"):
        hand_over(home, STATE, STATE)
    assert home.stat().st_uid == ALICE
    assert target.stat().st_uid == 0


def test_no_directory_is_open_to_others_whatever_the_umask(tmp_path: Path) -> None:
    """Those above the homes too: `mkdir -p` gives them what the umask leaves."""

    def life() -> list[str]:
        os.umask(0)
        make_directory(tmp_path / "a" / "b")
        testnet.command.main(["--nodes", "1", "--dir", str(tmp_path / "deep" / "trial")], standalone_mode=False)
        made = [path for path in tmp_path.rglob("*") if path.stat().st_mode & 0o022]
        return [str(path) for path in made]

    assert in_child(life) == []
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    assert (tmp_path / "deep" / "trial" / "node0" / "config.toml").exists()


def test_the_holder_of_a_lock_is_named_and_keeps_it(tmp_path: Path) -> None:
    held = lock_home(tmp_path)
    with pytest.raises(BusyError, match=str(os.getpid())):
        lock_home(tmp_path)
    os.close(held)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_process_killed_while_it_makes_a_file_leaves_the_whole_one_or_nothing(tmp_path: Path, moment: str) -> None:
    """A second name of a key file would outlive the first one's removal, and root writes to no file
    that has one.
    """
    pid = os.fork()
    if pid == 0:
        give_a_name = os.link

        def killed(*arguments: Any, **named: Any) -> None:
            if moment == "after":
                give_a_name(*arguments, **named)
            os.kill(os.getpid(), signal.SIGKILL)

        try:
            os.link = killed
            create_exclusively(tmp_path / "key", b"secret")
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == (["key"] if moment == "after" else [])
    if moment == "after":
        assert (tmp_path / "key").read_bytes() == b"secret"
        assert (tmp_path / "key").stat().st_nlink == 1


@pytest.mark.parametrize("unnamed", [True, False], ids=["without a name first", "the file system knows no such files"])
def test_a_file_is_made_once_and_never_over_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unnamed: bool
) -> None:
    real = os.open

    def refuses(path: Any, flags: int, *arguments: Any, **named: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "not here")
        return real(path, flags, *arguments, **named)

    if not unnamed:
        monkeypatch.setattr(os, "open", refuses)
    create_exclusively(tmp_path / "key", b"first", 0o640)
    with pytest.raises(FileExistsError):
        create_exclusively(tmp_path / "key", b"second")
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
    assert (tmp_path / "key").read_bytes() == b"first"
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o640
    assert (tmp_path / "key").stat().st_nlink == 1


def test_as_anyone_else_a_file_to_write_is_no_link(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("x")
    (tmp_path / "link").symlink_to("there")

    def life() -> list[str]:
        os.chdir(tmp_path)
        if ROOT:
            tmp_path.chmod(0o777)
            os.setuid(ALICE)
        return [
            outcome(lambda: os.close(open_file(Path("link"), os.O_RDWR))),
            outcome(lambda: read_file(Path("link"), 9)),
        ]

    (tmp_path / "there").chmod(0o666)
    assert in_child(life) == ["ELOOP", "done"]


@as_root
@pytest.mark.parametrize("name", ["replace", "create", "open"])
def test_what_root_makes_in_a_home_belongs_to_whom_the_home_does(home: Path, name: str) -> None:
    made = home / "made"
    WRITERS[name](made)
    assert (made.stat().st_uid, made.stat().st_gid, stat.S_IMODE(made.stat().st_mode)) == (ALICE, ALICE, 0o600)
