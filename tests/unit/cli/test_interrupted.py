"""Commands that change what a node may sign, killed before each of their changes to the disk: what
is left never signs twice, and goes on.

The same command, given again, comes to the same end; a start in between refuses, or knows at least
as much as before; and so does one whose data/ is lost in between.
"""

import contextlib
import itertools
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cometkms.cli import chain, export, import_cmd, recover
from cometkms.config.load import read_config
from cometkms.core import choose
from cometkms.errors import CometKMSError, StateError
from cometkms.model import HRS, Row, Watermark
from cometkms.rules.birth import NodeState
from cometkms.store.exported import refuse_exported
from cometkms.store.node_files import ChainFiles, NodeFiles
from cometkms.store.node_store import open_node
from cometkms.store.promise_store import Header, PromiseStore
from tests.unit.cli.test_export import CHAIN, make_home
from tests.unit.cli.test_member import NEW, OLD, REPLACE, homes, invoke, put_seal, row_of
from tests.unit.store.test_promise_store import PUBLIC

__all__ = ["homes"]

#: What changes a disk, or a directory of it.
CHANGES = ("rename", "replace", "link", "unlink", "mkdir", "write", "pwrite", "ftruncate", "fsync", "fdatasync")
HEIGHT = ("--min-height", "30", "--yes-height", "30")


def killed_at(number: int, work: Callable[[], Any]) -> bool:
    """`work` in a process of its own, killed before its number-th change; False when it made fewer."""
    pid = os.fork()
    if pid == 0:
        try:
            left = itertools.count(number, -1)

            def guarded(real: Callable[..., Any]) -> Callable[..., Any]:
                def change(*arguments: Any, **named: Any) -> Any:
                    if next(left) <= 1:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return real(*arguments, **named)

                return change

            for name in CHANGES:
                setattr(os, name, guarded(getattr(os, name)))
            work()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def each_kill(home: Path, work: Callable[[], Any]) -> Iterator[int]:
    """The home as each kill left it; at the end as `work` leaves it."""
    before = home.with_name("before")
    shutil.copytree(home, before)
    for number in itertools.count(1):
        shutil.rmtree(home)
        shutil.copytree(before, home)
        was_killed = killed_at(number, work)
        yield number
        if not was_killed:
            assert number > 10, "the changes were not seen"
            break
    shutil.rmtree(before)


def started(home: Path, *, lost: bool = False) -> tuple[Header, int] | None:
    """What a start would find in a copy of this home, and the height it stands at; None when it
    refuses. `lost`: its data/ is gone.
    """
    copy = home.with_name("copy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(home, copy)
    if lost:
        shutil.rmtree(copy / "data", ignore_errors=True)
    chains = (ChainFiles(row_of(home), copy / "priv" / "priv_validator_state.json"),)
    listed = tuple(one.partition("=")[0] for one in read_config(copy)["peer"])
    try:
        opened = open_node(NodeFiles.at(copy, home.name, chains, listed), choose.load())
    except CometKMSError:
        return None
    with contextlib.closing(opened.store):
        return opened.store.header, opened.store.mark(opened.rows[0]).hrs.height


def given(home: Path, *arguments: str) -> list[str]:
    result = invoke(home, *arguments)
    assert result.exception is None, result
    return result.stdout.splitlines()


def test_a_member_that_is_sealed(homes: dict[str, Path]) -> None:
    home = homes["node0"]
    for _ in each_kill(home, lambda: invoke(home, *REPLACE)):
        seal_is_out = any((home / "seals").glob("*.seal"))
        for lost in (False, True):
            found = started(home, lost=lost)
            if seal_is_out:
                assert found is None or found[0].epoch == 2, "a node whose seal is out is of the old epoch no more"
            elif found is not None and found[0].state is NodeState.COMPLETE:
                assert (found[0].epoch, found[1]) == (1, 12)
        assert given(home, *REPLACE)[0].startswith("sealed   node0 in epoch 1")
        assert started(home) is None


def test_a_member_that_begins(homes: dict[str, Path]) -> None:
    home = homes["node0"]
    given(home, *REPLACE)
    put_seal(home, "node1")
    change = (*REPLACE, *HEIGHT)
    for _ in each_kill(home, lambda: invoke(home, *change)):
        found = started(home)
        assert found is None or (found[0].epoch, found[0].members, found[1]) == (2, NEW, 30)
        found = started(home, lost=True)
        assert found is None or (found[0].epoch, found[0].state) == (2, NodeState.RECOVERING)
        assert given(home, *change)[-1].startswith("next     start this node.")
        found = started(home)
        assert found is not None
        assert (found[0].epoch, found[0].members, found[0].state, found[1]) == (2, NEW, NodeState.COMPLETE, 30)
        assert found[0].unclaimed


def run(command: Any, home: Path, *arguments: str) -> Any:
    return CliRunner().invoke(command, ["--home", str(home), *arguments], standalone_mode=False)


@pytest.mark.parametrize("left", ["nothing", "an older store", "a corrupt one"])
def test_a_node_that_is_recovered_by_the_operator(homes: dict[str, Path], left: str) -> None:
    home = homes["node0"]
    assert started(home) is not None
    shutil.copy(home.with_name("copy") / "priv" / "born.json", home / "priv" / "born.json")
    store = home / "data" / "node0" / "promises"
    if left == "nothing":
        shutil.rmtree(home / "data")
        (home / "data").mkdir()
    elif left == "a corrupt one":
        store.write_bytes(store.read_bytes()[:512] + bytes(4096))

    def work() -> Any:
        return run(recover.command, home, *HEIGHT)

    for _ in each_kill(home, work):
        for lost in (False, True):
            found = started(home, lost=lost)
            if found is not None and found[0].state is NodeState.COMPLETE:
                assert found[1] == (12 if left == "an older store" and found[1] == 12 else 30)
                assert found[0].unclaimed or left == "an older store"
            elif found is not None:
                assert found[0].state is NodeState.RECOVERING
        done = work()
        assert done.exception is None, done
        found = started(home)
        assert found is not None
        assert (found[0].epoch, found[0].members, found[0].state, found[1]) == (1, OLD, NodeState.COMPLETE, 30)
        assert found[0].unclaimed, "it takes an incarnation before it counts"


def test_a_recovery_with_a_height_below_what_is_left_undercuts_it_at_no_second_try(homes: dict[str, Path]) -> None:
    home = homes["node0"]
    assert started(home) is not None
    shutil.copy(home.with_name("copy") / "priv" / "born.json", home / "priv" / "born.json")

    def work() -> Any:
        return run(recover.command, home, "--min-height", "3", "--yes-height", "3")

    for _ in each_kill(home, work):
        done = work()
        assert done.exception is None, done
        found = started(home)
        assert found is not None
        assert (found[0].state, found[1]) == (NodeState.COMPLETE, 12)


@pytest.mark.parametrize("sealed", [False, True])
def test_an_import_into_a_home_that_has_lived(homes: dict[str, Path], sealed: bool, tmp_path: Path) -> None:
    home = homes["node0"]
    if sealed:
        given(home, *REPLACE)
    key = home / "priv" / "priv_validator_key.json"
    state = tmp_path / "state.json"
    state.write_text('{"height":"20","round":0,"step":3}')
    words = ("--from", "filepv", "--key-file", str(key), "--state-file", str(state), "--yes")
    for _ in each_kill(home, lambda: run(import_cmd.command, home, *words)):
        found = started(home)
        assert found is None if sealed else found is not None and found[1] in (12, 20)
        done = run(import_cmd.command, home, *words)
        assert done.exception is None, done
        store = PromiseStore.open(home / "data" / "node0" / "promises")
        store.close()
        assert store.mark(0).hrs.height == 20


def test_a_key_that_goes_out(tmp_path: Path) -> None:
    home, out = make_home(tmp_path / "node0", Watermark(HRS(20, 0, 2))), tmp_path / "out"
    words = ("--to", "filepv", str(out), "--yes")
    for _ in each_kill(home, lambda: run(export.command, home, *words)):
        if any(out.rglob("*.json")):
            with pytest.raises(StateError, match="this key went out"):
                refuse_exported(home / "priv" / "priv_validator_state.json", CHAIN)
        done = run(export.command, home, *words)
        assert done.exception is None, done
        shutil.rmtree(out)


def test_a_chain_that_goes_on_under_another_id(homes: dict[str, Path]) -> None:
    home = homes["node0"]
    state = home / "priv" / "priv_validator_state.json"
    rename = ("--from", "testnet-1", "--to", "testnet-2", "--not-mistyped", "--yes")
    state.write_text('{"height":"12","round":0,"step":3}')
    for _ in each_kill(home, lambda: run(chain.rename, home, *rename)):
        found = started(home)
        assert found is not None
        assert found[1] == 12, "under the old id what was signed there is known"
        done = run(chain.rename, home, *rename)
        assert done.exception is None, done
        assert json.loads(state.read_text())["height"] == "0"


@pytest.mark.parametrize("in_file", [1, 20], ids=["behind the store", "in step with it"])
def test_a_mark_that_is_lowered_on_the_operators_word(tmp_path: Path, in_file: int) -> None:
    home = make_home(tmp_path / "node0", Watermark(HRS(20, 0, 2)))
    row, state = Row(PUBLIC, CHAIN), home / "priv" / "priv_validator_state.json"
    state.write_text(f'{{"height":"{in_file}","round":0,"step":1}}')
    words = (CHAIN, "--height", "5", "--yes-height", "5")

    def stands_at() -> int:
        try:
            opened = open_node(NodeFiles.at(home, "node0", (ChainFiles(row, state),)), choose.load())
        except StateError as error:
            assert in_file == 20, error
            assert "is ahead of the store" in error.what
            return 20
        with contextlib.closing(opened.store):
            return opened.store.mark(opened.rows[0]).hrs.height

    for _ in each_kill(home, lambda: run(chain.reset, home, *words)):
        assert stands_at() in (5, 20), "where it stood, or where it is to stand"
        done = run(chain.reset, home, *words)
        assert done.exception is None, done
        assert stands_at() == 5


@pytest.mark.parametrize("members", [("node0",), OLD], ids=["alone", "one of three"])
def test_a_nodes_very_first_start(tmp_path: Path, members: tuple[str, ...]) -> None:
    home = make_home(tmp_path / "node0", Watermark())
    shutil.rmtree(home / "data")
    (home / "data").mkdir()
    (home / "priv" / "born.json").unlink()
    state = home / "priv" / "priv_validator_state.json"
    files = NodeFiles.at(home, "node0", (ChainFiles(Row(PUBLIC, CHAIN), state),), members)
    for _ in each_kill(home, lambda: open_node(files, choose.load()).store.close()):
        opened = open_node(files, choose.load())
        opened.store.close()
        assert opened.store.header.state is (NodeState.COMPLETE if files.alone else NodeState.EMPTY)
        assert opened.store.mark(opened.rows[0]).hrs.height == 1
