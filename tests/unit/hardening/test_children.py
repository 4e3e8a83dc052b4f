"""The children that hold no key: what they work with works, and the key beside it stays shut."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cometkms.errors import HardeningError
from cometkms.hardening import landlock
from cometkms.hardening.children import Keeps, shut_child
from cometkms.hardening.measures import Mode, UnavailableError
from cometkms.ipc.prctl import make_undumpable
from cometkms.store.files import write_atomically
from tests.unit.hardening.child import in_child, opened, outcome

ABI = landlock.abi()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for folder in ("priv", "data"):
        (tmp_path / folder).mkdir()
    (tmp_path / "priv" / "key").write_text("a key")
    (tmp_path / "priv" / "state.json").write_text("{}")
    return tmp_path


def keeps(home: Path, **more: Any) -> Keeps:
    return Keeps(work=(home / "data",), replace=(home / "priv",), shut=(home / "priv" / "key",), **more)


def shut(kept: Keeps, *steps: Callable[[], Any], mode: Mode = Mode.BEST_EFFORT) -> Any:
    parent = os.getpid()

    def life() -> list[Any]:
        make_undumpable()
        measures = {one.measure: [one.state.value, one.why] for one in shut_child("state", mode, parent, kept)}
        return [measures, [outcome(step) for step in steps]]

    return in_child(life)


def test_the_state_files_are_replaced_and_the_key_beside_them_is_not_read(home: Path) -> None:
    """The process that faces the other nodes, though it is the user to whom the key file belongs."""
    state = home / "priv" / "state.json"
    measures, told = shut(
        keeps(home),
        lambda: write_atomically(state, b'{"height": "1"}'),
        lambda: opened(home / "priv" / "key", "rb"),
        lambda: opened(state, "rb"),
        lambda: opened(Path("/etc/passwd"), "rb"),
        lambda: opened(home / "elsewhere", "wb"),
    )
    assert told == ["done", "EACCES", "EACCES", "EACCES", "EACCES"]
    assert state.read_text() == '{"height": "1"}'
    assert "reads none there" in measures["filesystem"][1]


def test_a_store_and_a_socket_are_worked_with_in_the_data_directory(home: Path) -> None:
    data = home / "data"

    def listen() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
            folder = os.open(data, os.O_PATH | os.O_DIRECTORY)
            one.bind(f"/proc/self/fd/{folder}/control.sock")
            one.listen()

    _, told = shut(
        keeps(home),
        lambda: write_atomically(data / "promises", b"x"),
        lambda: opened(data / "promises", "rb"),
        lambda: (data / "promises").rename(data / "promises.broken"),
        lambda: os.listdir(data),
        listen,
        lambda: (data / "control.sock").unlink(),
        lambda: (data / "audit").mkdir(),
        lambda: os.execv(str(data / "promises.broken"), ["x"]),
    )
    assert told == [*["done"] * 7, "EACCES"]


def test_what_is_imported_late_is_found(home: Path) -> None:
    def late() -> None:
        import this  # noqa: F401 - a module that nothing has imported yet

    devnull = os.open(os.devnull, os.O_WRONLY)

    def quietly() -> None:
        os.dup2(devnull, 1)
        late()

    _, told = shut(keeps(home), quietly)
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
            keeps(home, connect=frozenset({port}), bind=frozenset({free})),
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
        "no_dump": "on", "no_new_privs": "on", "filesystem": "off", "tcp_ports": "off", "scope": "off",
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
        kept = Keeps(work=(home / "priv",), shut=(home / "priv" / "key",))
        try:
            shut_child("state", Mode.BEST_EFFORT, os.getppid(), kept)
        except HardeningError as error:
            return str(error)
        return "started"

    assert "can be opened" in in_child(life)
