"""What is not allowed is forbidden, each right and each port; what is allowed works.

Each ruleset in a process of its own.
"""

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from cometkms.hardening import kernel, landlock
from cometkms.hardening.landlock import Beneath, Files, Ruleset
from cometkms.hardening.measures import UnavailableError
from cometkms.hardening.prctl import make_undumpable
from tests.unit.hardening.child import in_child, outcome

ABI = landlock.abi()
#: What a kernel says that cannot forbid it yet.
NO_PORT = "EACCES" if landlock.has_ports(ABI) else "done"
NO_SIGNAL = "EPERM" if landlock.has_scopes(ABI) else "done"


def restricted(ruleset: Ruleset, *steps: Callable[[], object], version: int = ABI) -> object:
    def life() -> list[str]:
        make_undumpable()
        landlock.restrict(ruleset, version)
        return [outcome(step) for step in steps]

    return in_child(life)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "open").mkdir()
    (tmp_path / "shut").mkdir()
    for folder in ("open", "shut"):
        (tmp_path / folder / "file").write_text("text")
    return tmp_path


def test_what_is_not_allowed_is_forbidden(here: Path) -> None:
    rules = Ruleset((Beneath(here / "open", Files.READ_FILE),))
    shut, opened = here / "shut", here / "open"
    assert restricted(
        rules,
        lambda: (opened / "file").open("rb"),
        lambda: (opened / "file").open("ab"),
        lambda: os.listdir(opened),
        lambda: (shut / "file").open("rb"),
        lambda: os.truncate(shut / "file", 0),
        lambda: (opened / "new").write_text("x"),
        lambda: (opened / "file").unlink(),
        lambda: (opened / "file").rename(opened / "other"),
        lambda: (opened / "down").mkdir(),
        lambda: os.symlink("x", opened / "link"),
        lambda: os.mkfifo(opened / "pipe"),
    ) == ["done", *["EACCES"] * 10]  # fmt: skip
    assert (here / "shut" / "file").read_text() == (here / "open" / "file").read_text() == "text"


def test_no_rule_is_no_file_and_what_is_open_stays_open(here: Path) -> None:
    fd = os.open(here / "open" / "file", os.O_RDONLY)
    assert restricted(Ruleset(()), lambda: os.read(fd, 4), lambda: os.stat(here), lambda: os.listdir("/")) == [
        "done", "done", "EACCES"
    ]  # fmt: skip
    os.close(fd)


def test_a_rule_on_a_directory_holds_for_a_file_that_replaces_another_and_one_on_a_file_does_not(here: Path) -> None:
    """Why names are found through directories: resolv.conf is replaced by renaming."""
    folder = here / "open"

    def life(rule: Beneath) -> str:
        make_undumpable()
        landlock.restrict(Ruleset((rule, Beneath(folder, Files.MAKE_REG | Files.WRITE_FILE | Files.REMOVE_FILE))), ABI)
        (folder / "new").write_text("newer")
        (folder / "new").rename(folder / "file")
        return outcome((folder / "file").read_text)

    assert in_child(lambda: life(Beneath(folder, Files.READ_FILE))) == "done"
    assert in_child(lambda: life(Beneath(folder / "file", Files.READ_FILE))) == "EACCES"


def test_a_path_that_is_not_there_is_left_out(here: Path) -> None:
    rules = Ruleset((Beneath(here / "missing" / "more", Files.READ_FILE), Beneath(here / "open", Files.READ_FILE)))
    assert restricted(rules, lambda: (here / "open" / "file").open("rb")) == ["done"]


def listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def dial(port: int) -> None:
    """By the bare call: create_connection() would import a codec, and nothing can be
    imported any more.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        one.connect(("127.0.0.1", port))


def test_only_named_ports_are_connected_to_and_none_listened_on() -> None:
    with listener() as allowed, listener() as other:
        port, shut = allowed.getsockname()[1], other.getsockname()[1]
        assert restricted(
            Ruleset((), frozenset({port})),
            lambda: dial(port),
            lambda: dial(shut),
            lambda: socket.create_server(("127.0.0.1", 0)),
        ) == ["done", NO_PORT, NO_PORT]  # fmt: skip


def test_a_port_to_listen_on_is_one_of_its_own() -> None:
    with listener() as probe:
        port = probe.getsockname()[1]
    assert restricted(
        Ruleset((), frozenset(), frozenset({port})),
        lambda: socket.create_server(("127.0.0.1", port)),
        lambda: socket.create_server(("127.0.0.1", 0)),
        lambda: dial(port),
    ) == ["done", NO_PORT, NO_PORT if NO_PORT != "done" else "ECONNREFUSED"]  # fmt: skip


def test_signals_stay_inside() -> None:
    parent = os.getpid()
    assert restricted(
        Ruleset((), scoped=True), lambda: os.kill(parent, 0), lambda: os.kill(os.getpid(), 0)
    ) == [NO_SIGNAL, "done"]  # fmt: skip
    assert restricted(Ruleset(()), lambda: os.kill(parent, 0)) == ["done"]


@pytest.mark.parametrize("version", range(1, ABI + 1))
def test_an_older_kernels_ruleset_is_understood_and_forbids_what_it_can(version: int, here: Path) -> None:
    """As this kernel is asked on behalf of an older one: the attributes it knows, no more."""
    rules = Ruleset((Beneath(here / "open", Files.READ_FILE),), frozenset(), scoped=True)
    told = restricted(
        rules,
        lambda: (here / "shut" / "file").open("rb"),
        lambda: socket.create_server(("127.0.0.1", 0)),
        version=version,
    )
    assert told == ["EACCES", "EACCES" if version >= 4 else "done"]


def test_rights_grow_with_the_abi() -> None:
    assert landlock.file_rights(1) == Files((1 << 13) - 1)
    assert landlock.file_rights(3) == Files((1 << 15) - 1)
    assert landlock.file_rights(7) == landlock.file_rights(99) == Files((1 << 16) - 1)


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSYS, "no Landlock"), (errno.EOPNOTSUPP, "switched off at boot"), (errno.EPERM, "container")],
)
def test_a_kernel_without_it_says_why(number: int, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(kernel, "syscall", refuse)
    with pytest.raises(UnavailableError, match=words):
        landlock.abi()


def test_without_no_new_privileges_it_is_an_error() -> None:
    def life() -> str:
        return outcome(lambda: landlock.restrict(Ruleset(()), ABI))

    assert in_child(life) == ("done" if os.geteuid() == 0 else "EPERM")
