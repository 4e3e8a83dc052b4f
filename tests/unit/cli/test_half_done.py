"""Commands that write the store and then the state files, where the latter cannot be written: they
look before they write anything; and where that did not show it, they say what is written.
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cometkms.cli import chain, recover, state
from cometkms.cli.commands import cli
from cometkms.core import choose
from cometkms.errors import StateError, StoreFailure
from cometkms.model import HRS, Row, Watermark
from cometkms.store import state_file
from cometkms.store.node_files import ChainFiles, NodeFiles
from cometkms.store.node_store import open_node
from tests.unit.cli.test_cli import tree
from tests.unit.cli.test_export import CHAIN, make_home
from tests.unit.cli.test_interrupted import run
from tests.unit.store.test_promise_store import PUBLIC

#: The command, its arguments, and where the store stands afterwards.
COMMANDS: dict[str, tuple[Any, list[str], int]] = {
    "recover": (recover.command, ["--min-height", "90", "--yes-height", "90"], 90),
    "chain reset": (chain.reset, [CHAIN, "--height", "5", "--yes-height", "5"], 5),
    "state import": (state.import_state, ["OTHER"], 77),
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "other.json").write_text('{"height":"77","round":0,"step":3}')
    return make_home(tmp_path / "home", Watermark(HRS(20, 0, 2)))


def given(home: Path, name: str) -> Any:
    command, arguments, _ = COMMANDS[name]
    return run(command, home, *(one.replace("OTHER", str(home.with_name("other.json"))) for one in arguments))


def read_only(folder: Path) -> Callable[..., int]:
    """os.open() on a system where nothing can be made in a directory."""
    real = os.open

    def call(path: Any, flags: int, *more: Any, dir_fd: int | None = None, **named: Any) -> int:
        if flags & os.O_CREAT and dir_fd is not None and Path(f"/proc/self/fd/{dir_fd}").resolve() == folder:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(path, flags, *more, dir_fd=dir_fd, **named)

    return call


def stands(home: Path) -> int:
    path = home / "priv" / "priv_validator_state.json"
    opened = open_node(NodeFiles.at(home, "node0", (ChainFiles(Row(PUBLIC, CHAIN), path),)), choose.load())
    opened.store.close()
    height: int = opened.store.mark(0).hrs.height
    assert state_file.load(path, CHAIN, choose.load().parse_sign_bytes).hrs.height == height
    return height


@pytest.mark.parametrize("name", COMMANDS)
def test_where_the_state_file_cannot_be_written_nothing_is(
    home: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(home)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", read_only(home / "priv"))
        refused = given(home, name).exception
    assert isinstance(refused, StateError), refused
    assert "priv_validator_state.json cannot be written: read-only file system; nothing was changed" in str(refused)
    assert tree(home) == before
    assert given(home, name).exception is None
    assert stands(home) == COMMANDS[name][2]


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_written_already_is_said_with_what_to_do(
    home: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk failed after they had looked."""

    def fails(path: Path, *_: Any, **__: Any) -> None:
        raise StoreFailure(f"{path} could not be written: input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(state_file, "save", fails)
        failed = given(home, name).exception
    assert isinstance(failed, StoreFailure), failed
    assert "priv_validator_state.json could not be written: input/output error. " in str(failed)
    assert f"{home / 'data' / 'node0' / 'promises'} is written already: " in str(failed)
    assert "then the same command again, before the node is started" in str(failed)
    if name == "recover":
        assert f"(the old one is kept as {home / 'data' / 'node0' / 'promises'}.old-1)" in str(failed)
    assert given(home, name).exception is None
    assert stands(home) == COMMANDS[name][2]


def test_the_commands_are_there_under_their_names() -> None:
    for name, (command, _, _) in COMMANDS.items():
        found: Any = cli
        for word in name.split():
            found = found.get_command(None, word)
        assert found is command
