"""The process that writes beside the keys: what it is asked for is a stranger's word, and it is
asked by what faces strangers.
"""

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from cometkms.core.interface import Core
from cometkms.errors import BusyError, InvariantError, StoreFailure
from cometkms.hardening.measures import Mode
from cometkms.hardening.prctl import make_undumpable
from cometkms.model import HRS, BlockID, Dialect, Kind, Message, Row, Timestamp, Vote, Watermark
from cometkms.state.writer import StateWriter, start_writer
from cometkms.store import state_file
from cometkms.store.lock import LOCK_NAME, locked_home
from cometkms.store.node_files import ChainFiles, NodeFiles
from tests.e2e.node import alive, until
from tests.unit.hardening.child import in_child

CHAIN = "test-1"
KEY = SigningKey(bytes(range(32)))
PUBLIC = bytes(KEY.verify_key)
ROOT = os.geteuid() == 0


def mark(core: Core, height: int, chain: str = CHAIN, key: SigningKey = KEY) -> Watermark:
    ballot = Vote(2, height, 0, BlockID(b"a" * 32, 1, b"b" * 32), Timestamp(1_700_000_000, 0), b"v" * 20, 0)
    data = core.check_request(Dialect.PROTO, chain, Message(Kind.SIGN_VOTE_REQUEST, chain, vote=ballot)).sign_bytes
    return Watermark(HRS(height, 0, 3), data, bytes(key.sign(data).signature))


@pytest.fixture
def files(tmp_path: Path) -> NodeFiles:
    (tmp_path / LOCK_NAME).touch(0o600)
    priv = tmp_path / "priv"
    priv.mkdir(mode=0o700)
    (priv / "key.json").write_text("a key")
    state_file.save(priv / "state.json", Watermark())
    return NodeFiles(
        "node0",
        tmp_path / "data" / "node0" / "promises",
        (ChainFiles(Row(PUBLIC, CHAIN), priv / "state.json"),),
        ("node0",),
    )


@dataclass
class Asked:
    """A writer in a process of its own, asked by the test."""

    writer: StateWriter
    path: Path

    @property
    def raw(self) -> socket.socket:
        return self.writer._connection

    def held(self) -> int:
        return int(json.loads(self.path.read_bytes())["height"])


@pytest.fixture
def asked(files: NodeFiles, core: Core) -> Iterator[Asked]:
    writer = start_writer(
        files.store_path.parents[2], files, [files.chains[0].state_path.with_name("key.json")], Mode.BEST_EFFORT, core
    )
    try:
        yield Asked(writer, files.chains[0].state_path)
    finally:
        writer.close()


def test_a_mark_is_durable_when_it_answers_and_belongs_to_whom_the_directory_does(asked: Asked, core: Core) -> None:
    for height in (5, 6, 6):
        asked.writer.write(0, mark(core, height))
        assert asked.held() == height
    assert state_file.load(asked.path, CHAIN, core.parse_sign_bytes) == mark(core, 6)
    asked.writer.write(0, Watermark(HRS(9, 0, 1)))
    assert asked.held() == 9
    assert asked.path.stat().st_uid == asked.path.parent.stat().st_uid
    asked.writer.write_born(3)
    assert json.loads((asked.path.parent / "born.json").read_bytes()) == {
        "ids": ["node0"],
        "epoch": 3,
        "members": ["node0"],
        "chains": [{"id": CHAIN, "key": PUBLIC.hex(), "lost": False}],
    }
    assert {one.measure for one in asked.writer.measures} >= {"filesystem", "system_calls", "user"}


def test_what_no_honest_process_asks_for_is_not_written(asked: Asked, core: Core) -> None:
    asked.writer.write(0, mark(core, 5))
    forged = Watermark(HRS(7, 0, 3), mark(core, 7).sign_bytes, mark(core, 8).signature)
    for which, wanted in (
        (0, mark(core, 4)),
        (0, Watermark(HRS(1, 0, 1))),
        (0, mark(core, 7, chain="another")),
        (0, mark(core, 7, key=SigningKey(bytes(32)))),
        (0, forged),
        (1, mark(core, 7)),
    ):
        with pytest.raises(InvariantError):
            asked.writer.write(which, wanted)
        assert asked.held() == 5
    for raw in (
        b"\x00",
        b"\x00{}",
        b"\x00../../etc/passwd",
        b"\xff",
        b"\xff-1",
        b"\xff99999999999999999999",
        b"\x00" + b"[" * 16000,
    ):
        asked.raw.send(raw)
        assert asked.raw.recv(9000)[:1] == b"I", raw[:20]
    assert asked.held() == 5
    assert sorted(path.name for path in asked.path.parent.iterdir()) == ["key.json", "state.json"]
    asked.writer.write(0, mark(core, 6))


def test_whom_an_epoch_is_sealed_for_is_written_once_and_never_taken_away(asked: Asked) -> None:
    born = asked.path.with_name("born.json")
    asked.writer.write_born(2)
    asked.writer.write_born(2, ("node0", "node3"))
    asked.writer.write_born(2, ("node0", "node3"))
    written = born.read_bytes()
    assert (json.loads(written)["next"], asked.writer.following) == (["node0", "node3"], ("node0", "node3"))
    for following in ((), ("node0",)):
        with pytest.raises(InvariantError, match="epoch 2 is sealed here for node0, node3, for ever"):
            asked.writer.write_born(2, following)
    assert born.read_bytes() == written
    asked.writer.write_born(3)
    assert "next" not in json.loads(born.read_bytes())


def test_what_it_writes_of_the_home_stands_in_priv_too_where_the_state_files_are_elsewhere(
    files: NodeFiles, core: Core, tmp_path: Path
) -> None:
    keys = tmp_path / "keys" / "z"
    keys.mkdir(mode=0o700, parents=True)
    state_file.save(keys / "state.json", Watermark())
    chain = ChainFiles(files.chains[0].row, keys / "state.json")
    writer = start_writer(tmp_path, NodeFiles.at(tmp_path, "node0", (chain,)), [], Mode.BEST_EFFORT, core)
    try:
        writer.write_born(2)
        writer.write_born(2, ("node0", "node3"))
        writer.write(0, mark(core, 5))
    finally:
        writer.close()
    said = (tmp_path / "priv" / "born.json").read_bytes()
    assert said == (keys / "born.json").read_bytes()
    assert json.loads(said)["next"] == ["node0", "node3"]
    assert json.loads((keys / "state.json").read_bytes())["height"] == "5"


def test_a_write_that_fails_is_a_store_failure_in_the_process_that_asked(asked: Asked, core: Core) -> None:
    asked.path.unlink()
    asked.path.mkdir()
    with pytest.raises(StoreFailure, match="could not be written"):
        asked.writer.write(0, mark(core, 5))


def test_no_other_node_works_in_the_home_while_it_lives(asked: Asked, files: NodeFiles) -> None:
    home = files.store_path.parents[2]
    with pytest.raises(BusyError, match="already"), locked_home(home):
        pass
    os.kill(asked.writer.pid, 9)

    def is_free() -> bool:
        with contextlib.suppress(BusyError), locked_home(home):
            return True
        return False

    until("the home is free", is_free)


def test_when_it_is_gone_the_state_process_goes_too(asked: Asked, core: Core) -> None:
    os.kill(asked.writer.pid, 9)
    with pytest.raises(InvariantError, match="gone"):
        asked.writer.write(0, mark(core, 5))
    with pytest.raises(InvariantError, match="gone"):
        asked.writer.write(0, mark(core, 5))


def test_it_ends_with_whoever_asks(files: NodeFiles, core: Core) -> None:
    """However that ends: killed, it says nothing."""

    def life() -> int:
        make_undumpable()
        return start_writer(files.store_path.parents[2], files, [], Mode.BEST_EFFORT, core).pid

    pid = in_child(life)
    until("it ended", lambda: not alive(pid))


def test_directories_of_several_owners_take_the_one_right_for_it(files: NodeFiles, core: Core, tmp_path: Path) -> None:
    if not ROOT:
        return
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    state_file.save(other / "state.json", Watermark())
    for path in (other, other / "state.json"):
        os.chown(path, 62_503, 62_503)
    both = (files.chains[0], ChainFiles(Row(PUBLIC, "second"), other / "state.json"))
    writer = start_writer(tmp_path, NodeFiles("node0", files.store_path, both, ("node0",)), [], Mode.BEST_EFFORT, core)
    for number, chain in enumerate((CHAIN, "second")):
        writer.write(number, mark(core, 5, chain=chain))
    assert json.loads((other / "state.json").read_bytes())["height"] == "5"
    assert (other / "state.json").stat().st_uid in (0, 62_503)
    writer.close()
