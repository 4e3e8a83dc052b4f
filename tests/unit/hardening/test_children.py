"""The children that hold no key: what they work with works, and the key beside it stays shut."""

import errno
import os
import platform
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cometkms.durable import write_atomically
from cometkms.errors import HardeningError, UnfitFileError, WordedError
from cometkms.hardening import kernel, landlock
from cometkms.hardening.account import Account
from cometkms.hardening.children import Keeps, shut_child
from cometkms.hardening.measures import Mode, UnavailableError
from cometkms.hardening.prctl import make_undumpable
from cometkms.hardening.user import Whom
from cometkms.log import Log
from cometkms.net.control import listen_spare
from tests.unit.hardening.child import in_child, opened, outcome

ABI = landlock.abi()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for folder in ("priv", "data"):
        (tmp_path / folder).mkdir()
    (tmp_path / "priv" / "key").write_text("a key")
    (tmp_path / "priv" / "state.json").write_text("{}")
    return tmp_path


def hand(home: Path) -> Callable[[int, int], None]:
    def give(uid: int, gid: int) -> None:
        for path in (home, *home.rglob("*")):
            os.chown(path, uid, gid)

    return give


def keeps(home: Path, **more: Any) -> Keeps:
    """A process that has its directories to itself, and tries what else there is."""
    whom = Whom("no-such-account", 62_777, hand=hand(home))
    return Keeps(whom, work=(home / "data",), replace=(home / "priv",), shut=(home / "priv" / "key",), **more)


def shut(kept: Keeps, *steps: Callable[[], Any], mode: Mode = Mode.BEST_EFFORT) -> Any:
    parent = os.getpid()

    def life() -> list[Any]:
        make_undumpable()
        os.chdir(kept.work[0].parent if kept.work else "/")
        measures = {one.measure: [one.state.value, one.why] for one in shut_child("state", mode, parent, kept)}
        return [measures, [outcome(step) for step in steps]]

    return in_child(life)


def test_the_state_files_are_replaced_and_the_key_beside_them_is_not_read(home: Path) -> None:
    """The process that faces the other nodes, though it is the user to whom the key file belongs."""
    state = home / "priv" / "state.json"
    measures, told = shut(
        keeps(home),
        lambda: write_atomically(Path("priv/state.json"), b'{"height": "1"}'),
        lambda: opened(home / "priv" / "key", "rb"),
        lambda: opened(state, "rb"),
        lambda: opened(Path("/etc/passwd"), "rb"),
        lambda: opened(home / "elsewhere", "wb"),
    )
    assert told == ["done", "EACCES", "EACCES", "EACCES", "EACCES"]
    assert state.read_text() == '{"height": "1"}'
    assert "reads none there" in measures["filesystem"][1]


def test_a_store_and_a_socket_are_worked_with_in_the_data_directory(home: Path) -> None:
    data = Path("data")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made_before:
        made_before.bind(str(home / "data" / "control.sock"))
    spare = listen_spare(home / "data" / "control.sock", Log("info", "plain"))
    assert spare is not None
    _, told = shut(
        keeps(home, tcp=True),
        lambda: write_atomically(data / "promises", b"x"),
        lambda: opened(data / "promises", "rb"),
        lambda: (data / "promises").rename(data / "promises.broken"),
        lambda: os.listdir(data),
        lambda: (data / "control.sock").unlink(),
        lambda: (data / ".control.sock").rename(data / "control.sock"),
        lambda: spare.connect("data/control.sock"),
        lambda: (data / "audit").mkdir(),
        lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
        lambda: (data / "promises.broken").symlink_to("/etc/shadow"),
        lambda: os.chown(data, 0, 0),
    )
    assert told == [*["done"] * 6, "EINVAL", "done", "EACCES", "EPERM", "EPERM"]


def test_whoever_executes_a_program_is_killed_in_every_process(home: Path) -> None:
    assert shut(keeps(home), lambda: os.execv("/bin/true", ["true"])) == "killed by SIGSYS"


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (101, "killed"),
        (321, "killed"),
        (298, "killed"),
        (310, "killed"),
        (323, "killed"),
        (425, "ENOSYS"),
        (435, "ENOSYS"),
    ],
    ids=["ptrace", "bpf", "perf_event_open", "process_vm_readv", "userfaultfd", "io_uring_setup", "clone3"],
)
def test_no_process_traces_watches_or_reaches_the_kernel_past_its_filter(home: Path, number: int, told: str) -> None:
    # the numbers above; the tables of both machines are tested with the filter
    if platform.machine() != "x86_64":
        return
    for kept in (keeps(home), Keeps(Whom("no-such-account", 62_778), accepts=True)):
        found = shut(kept, lambda: kernel.syscall(number, 0, 0, 0, 0))
        assert (found if isinstance(found, str) else found[1][0]).startswith(told.replace("killed", "killed by SIGSYS"))


def test_what_is_imported_late_is_found_or_was_named(home: Path) -> None:
    """An account may not reach Python's own code, below /root say; whoever stays the
    node's user does.
    """

    def late() -> None:
        import colorsys  # noqa: F401 - modules that nothing has imported yet

    def later() -> None:
        import this  # noqa: F401

    devnull = os.open(os.devnull, os.O_WRONLY)

    def quietly() -> None:
        os.dup2(devnull, 1)
        later()

    _, told = shut(keeps(home, late=("colorsys",)), late)
    assert told == ["done"]
    owner = Whom("", os.geteuid(), account=Account("the owner", os.geteuid(), os.getegid()))
    _, told = shut(Keeps(owner, work=(home / "data",)), quietly)
    assert told == ["done"]


def test_ports_are_those_that_are_named(home: Path) -> None:
    if not landlock.has_ports(ABI):
        return
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as other:
        port = listener.getsockname()[1]
        other.bind(("127.0.0.1", 0))
        free = other.getsockname()[1]
        other.close()

        def dial(where: int) -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
                one.connect(("127.0.0.1", where))

        measures, told = shut(
            keeps(home, tcp=True, connect=frozenset({port}), bind=frozenset({free})),
            lambda: dial(port),
            lambda: dial(free),
            lambda: socket.create_server(("127.0.0.1", free)),
            lambda: socket.create_server(("127.0.0.1", 0)),
        )
    assert told == ["done", "EACCES", "done", "EACCES"]
    assert measures["tcp_ports"] == ["on", f"connects to {port}, listens on {free}"]


def test_names_are_found_where_they_must_be(home: Path) -> None:
    _, told = shut(keeps(home, names=True), lambda: opened(Path("/etc/hosts"), "rb"))
    _, without = shut(keeps(home), lambda: opened(Path("/etc/hosts"), "rb"))
    assert (told, without) == (["done"], ["EACCES"])


def test_off_takes_nothing_and_says_so(home: Path) -> None:
    measures, told = shut(keeps(home), lambda: opened(home / "priv" / "key", "rb"), mode=Mode.OFF)
    assert told == ["done"]
    assert {name: state for name, (state, _) in measures.items()} == {
        "no_dump": "on", "no_new_privs": "on", "user": "off", "capabilities": "off", "filesystem": "off", "tcp_ports": "off",
        "scope": "off", "system_calls": "off", "network_families": "off",
    }  # fmt: skip


def test_what_the_kernel_lacks_stops_only_who_requires_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking() -> int:
        raise UnavailableError("no Landlock here")

    monkeypatch.setattr(landlock, "abi", lacking)
    measures, _ = shut(keeps(home))
    assert measures["filesystem"] == ["unavailable", "no Landlock here"]

    def life() -> str:
        make_undumpable()
        try:
            shut_child("state", Mode.REQUIRED, os.getppid(), keeps(home))
        except HardeningError as error:
            return str(error)
        return "started"

    assert "state filesystem: no Landlock here" in in_child(life)


def test_a_key_that_code_directories_would_uncover_is_an_error_and_never_readable(home: Path) -> None:
    """A rule that covers the key is left out; one that is asked for outright is found by trying."""

    def life() -> str:
        make_undumpable()
        kept = Keeps(Whom("no-such-account", 62_777), work=(home / "priv",), shut=(home / "priv" / "key",))
        try:
            shut_child("state", Mode.BEST_EFFORT, os.getppid(), kept)
        except HardeningError as error:
            return str(error)
        return "started"

    assert "can be opened" in in_child(life)


@pytest.mark.parametrize("listed", [True, False])
def test_a_secret_that_lies_among_the_code_closes_that_directory(
    home: Path, listed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A passphrase in the working directory of `python -m cometkms`, say.

    The second case shows that the first can fail.
    """
    code = home / "code"
    code.mkdir()
    (code / "passphrase").write_text("x")
    monkeypatch.syspath_prepend(str(code))
    kept = keeps(home, apart=(code / "passphrase",) if listed else ())
    _, told = shut(kept, lambda: opened(Path("code/passphrase"), "rb"))
    assert told == ["EACCES" if listed else "done"]


def test_names_leave_the_secrets_beside_them_shut(home: Path) -> None:
    _, told = shut(
        keeps(home, names=True), lambda: opened(Path("/etc/shadow"), "rb"), lambda: opened(Path("/etc/passwd"), "rb")
    )
    assert told == ["EACCES", "EACCES"]


def test_who_serves_what_is_there_connects_nowhere_and_makes_no_socket(home: Path) -> None:
    """The api process: it has its listener already."""
    (home / "file").write_text("x")
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):

        def pair() -> None:
            one, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            one.close()

        measures, told = shut(
            Keeps(Whom("no-such-account", 62_778), work=(home / "data",), accepts=True),
            lambda: listener.accept()[0],
            lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
            lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
            lambda: listener.connect(("127.0.0.1", 1)),
            pair,
            lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)[0],
            os.fork,
        )
    assert told == ["done", "EACCES", "EACCES", "EACCES", "EACCES", "done", "EACCES"]
    assert measures["network_families"] == ["on", "none: it makes no socket"]


def test_a_root_that_cannot_become_another_stays_root_by_number_and_says_so(home: Path) -> None:
    if os.geteuid() != 0:
        measures, _ = shut(keeps(home))
        assert measures["user"][0] == "off"
        return

    def cannot(uid: int, gid: int) -> None:
        raise WordedError(errno.EINVAL, "no such number here")

    measures, told = shut(
        Keeps(Whom("no-such-account", 62_777, hand=cannot), work=(home / "data",)),
        lambda: opened(Path("/etc/shadow"), "rb"),
        lambda: os.setuid(1),
    )
    assert measures["user"] == [
        "unavailable",
        "its files cannot be given to uid 62777: no such number here; state runs as root",
    ]
    assert measures["capabilities"] == ["on", "none"]
    assert told == ["EACCES", "EPERM"]


def test_files_that_are_not_the_nodes_own_are_named_and_end_the_start(home: Path) -> None:
    def refuses(uid: int, gid: int) -> None:
        raise UnfitFileError(errno.EPERM, "it is a link, so it is not handed over", "data/promises")

    def life() -> str:
        make_undumpable()
        try:
            shut_child("state", Mode.BEST_EFFORT, os.getppid(), Keeps(Whom("no-such-account", 62_777, hand=refuses)))
        except HardeningError as error:
            return str(error)
        return "started"

    if os.geteuid() == 0:
        assert in_child(life).startswith("data/promises: it is a link")
