"""Commands on a disk that fills up at each of their changes to it, and is full until they end:
nothing half-made is left that stands in the way, it is exit code 7, and the same command does its
work once there is room.
"""

import errno
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cometkms.cli import testnet
from cometkms.cli.init import command as init
from cometkms.errors import CometKMSError, StateError, StoreFailure, disk_failure
from cometkms.model import HRS, Row, Watermark
from cometkms.state.raft.journal import Journal
from cometkms.store.exported import refuse_exported
from cometkms.store.node_files import ChainFiles, NodeFiles
from cometkms.store.node_store import open_node
from tests.unit.cli.test_export import CHAIN, make_home
from tests.unit.cli.test_interrupted import HEIGHT, chain, export, recover, run
from tests.unit.cli.test_member import REPLACE, homes, invoke, put_seal
from tests.unit.store.test_promise_store import CORE, PUBLIC, node_at

__all__ = ["homes"]

#: What asks a disk for room.
ROOM = ("write", "pwrite", "posix_fallocate", "mkdir", "link")
HALF_MADE = (".tmp", ".new", ".made", ".begun")


def full_from(number: int, work: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> tuple[Any, bool]:
    """What `work` gives, and whether it met a disk that is full from its number-th call on."""
    left = itertools.count(number, -1)
    met = False

    def guarded(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal met
            if next(left) <= 1:
                met = True
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*arguments, **named)

        return call

    with monkeypatch.context() as patch:
        for name in ROOM:
            patch.setattr(os, name, guarded(getattr(os, name)))
        return work(), met


def each_full_disk(
    root: Path, work: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, *, least: int = 2
) -> Iterator[None]:
    """What is below `root` as each full disk left it; `work` is then to be done again
    by the test, with room.
    """
    before = root.with_name("before")
    shutil.copytree(root, before)
    for number in itertools.count(1):
        shutil.rmtree(root)
        shutil.copytree(before, root)
        done, met = full_from(number, work, monkeypatch)
        if not met:
            assert number > least, "the calls were not seen"
            break
        assert isinstance(done.exception, (CometKMSError, OSError)), done
        failure = disk_failure(done.exception)
        assert isinstance(failure, StoreFailure), done
        assert "no space left on device" in str(failure)
        assert [path for path in root.rglob("*") if path.name.endswith(HALF_MADE)] == []
        yield
    shutil.rmtree(before)


def works(done: Any) -> None:
    assert done.exception is None, done


def test_a_key_goes_out_or_the_home_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    home, out = make_home(root / "node0", Watermark(HRS(20, 0, 2))), root / "out"
    state = home / "priv" / "priv_validator_state.json"

    def work() -> Any:
        return run(export.command, home, "--to", "filepv", str(out), "--yes")

    for _ in each_full_disk(root, work, monkeypatch):
        if list(out.rglob("priv_validator_key.json")):  # that it went out is not noted as done
            with pytest.raises(StateError, match="this key went out"):
                refuse_exported(state, CHAIN)
        else:
            refuse_exported(state, CHAIN)  # it starts
        works(work())
        with pytest.raises(StateError, match="this key went out"):
            refuse_exported(state, CHAIN)


def test_what_went_out_before_stays_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    home, out = make_home(root / "node0", Watermark(HRS(20, 0, 2))), root / "out"
    works(run(export.command, home, "--to", "tmkms", str(root / "tmkms"), "--yes"))

    def work() -> Any:
        above = ("--min-height", "30", "--yes-height", "30")
        return run(export.command, home, "--to", "filepv", str(out), "--yes", *above)

    for _ in each_full_disk(root, work, monkeypatch):
        with pytest.raises(StateError, match="this key went out"):
            refuse_exported(home / "priv" / "priv_validator_state.json", CHAIN)
        works(work())


@pytest.mark.parametrize("there", [True, False], ids=["an empty directory", "none"])
@pytest.mark.parametrize("agent", [(), ("--agent", "sentry")], ids=["nodes", "with an agent"])
def test_a_testnet_is_there_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool, agent: tuple[str, ...]
) -> None:
    root = tmp_path / "root"
    (root / "net").mkdir(parents=True) if there else root.mkdir()

    def work() -> Any:
        return CliRunner().invoke(
            testnet.command, ["--dir", str(root / "net"), "--nodes", "2", *agent], standalone_mode=False
        )

    for _ in each_full_disk(root, work, monkeypatch):
        assert list(root.rglob("*")) == ([root / "net"] if there else [])
        works(work())


def test_a_home_with_a_new_key_is_made_at_the_second_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    root.mkdir()

    def work() -> Any:
        words = ["--home", str(root / "home"), "--new-key", "--chain-id", "c", "--validator-addr", "tcp://127.0.0.1:1"]
        return CliRunner().invoke(init, words, standalone_mode=False)

    for _ in each_full_disk(root, work, monkeypatch):
        works(work())
        assert {path.name for path in (root / "home" / "priv").iterdir()} == {
            "priv_validator_key.json",
            "priv_validator_state.json",
        }


def test_a_recovery_and_an_epoch_are_begun_at_the_second_try(
    homes: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = homes["node0"]
    store = home / "data" / "node0" / "promises"
    before = store.read_bytes()

    def recovers() -> Any:
        return run(recover.command, home, *HEIGHT)

    for _ in each_full_disk(home, recovers, monkeypatch):
        works(recovers())
    shutil.rmtree(home / "data")
    store.parent.mkdir(parents=True)
    store.write_bytes(before)

    def seals() -> Any:
        return invoke(home, *REPLACE)

    for _ in each_full_disk(home, seals, monkeypatch):
        works(seals())
    put_seal(home, "node1")

    def begins() -> Any:
        return invoke(home, *REPLACE, *HEIGHT)

    for _ in each_full_disk(home, begins, monkeypatch):
        works(begins())


def test_a_mark_is_lowered_at_the_second_try_and_stands_where_it_stood_until_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    home = make_home(root / "node0", Watermark(HRS(20, 0, 2)))
    (home / "priv" / "priv_validator_state.json").write_text('{"height":"20","round":0,"step":2}')
    files = NodeFiles.at(home, "node0", (ChainFiles(Row(PUBLIC, CHAIN), home / "priv" / "priv_validator_state.json"),))

    def work() -> Any:
        return run(chain.reset, home, CHAIN, "--height", "5", "--yes-height", "5")

    for _ in each_full_disk(root, work, monkeypatch):
        works(work())
        opened = open_node(files, CORE)
        assert opened.store.mark(0).hrs.height == 5
        opened.store.close()


def test_a_journal_that_could_not_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (1, 2):
        try:
            full_from(number, lambda: Journal(tmp_path / "raft"), monkeypatch)
        except StoreFailure:
            assert list(tmp_path.iterdir()) == []


def test_a_first_start_leaves_no_half_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = node_at(tmp_path, Watermark())
    for number in itertools.count(1):
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        (tmp_path / "priv" / "born.json").unlink(missing_ok=True)
        try:
            opened, met = full_from(number, lambda: open_node(files, CORE), monkeypatch)
        except (CometKMSError, OSError) as error:
            assert disk_failure(error) is not None
            assert not [path for path in tmp_path.rglob("*") if path.name.endswith(HALF_MADE)]
            opened = open_node(files, CORE)
        else:
            assert not met
            opened.store.close()
            break
        opened.store.close()
    assert number > 3
