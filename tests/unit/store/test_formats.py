"""Durable files of another version of the program: refused with both formats and the cure, by every
command, and left as they are.
"""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import msgpack
import pytest

from cometkms import __version__
from cometkms.core import native
from cometkms.durable import FormatError
from cometkms.errors import StateError
from cometkms.limits import BLOCK_BYTES, SECTOR_BYTES
from cometkms.model import Row
from cometkms.rules.burnt import Heights
from cometkms.state.raft.journal import Journal
from cometkms.store.node_files import ChainFiles, NodeFiles
from cometkms.store.node_store import open_node
from cometkms.store.promise_store import readable_marks
from cometkms.store.recover import recover

CORE = native.load()
ROW = Row(bytes(range(32)), "chain-a")
ALONE, THREE = (), ("node0", "node1", "node2")


@pytest.fixture(params=[ALONE, THREE], ids=["one node alone", "one of three"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> NodeFiles:
    """Of a node that has run."""
    (tmp_path / "priv").mkdir()
    path = tmp_path / "priv" / "priv_validator_state.json"
    path.write_text('{"height":"7","round":0,"step":3}')
    found = NodeFiles.at(tmp_path, "node0", (ChainFiles(ROW, path),), request.param)
    open_node(found, CORE).store.close()
    return found


def of_another_version(path: Path, *, sealed: bool, what: bytes = b"CMKMSH") -> None:
    """Raise the number in every such sector; `sealed`: with a checksum that matches."""
    data = bytearray(path.read_bytes())
    for at in range(0, len(data), BLOCK_BYTES):
        if data[at : at + 6] == what:
            data[at + 6 : at + 8] = b"09"
            if sealed:
                content = bytes(data[at : at + SECTOR_BYTES - 16])
                data[at + SECTOR_BYTES - 16 : at + SECTOR_BYTES] = hashlib.blake2b(content, digest_size=16).digest()
    path.write_bytes(data)


def tree(files: NodeFiles) -> dict[str, bytes]:
    home = files.store_path.parents[2]
    return {str(path): path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file()}


ASKED: dict[str, Callable[[NodeFiles], object]] = {
    "start": lambda files: open_node(files, CORE),
    "recover": lambda files: recover(files, Heights(100), CORE),
    "state show": lambda files: readable_marks(files.store_path),
}


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("sealed", [True, False])
def test_a_newer_store_is_not_taken_for_a_corrupt_one(asked: str, sealed: bool, files: NodeFiles) -> None:
    """Taken for one, a member of a cluster would put its promises aside, and `recover`
    would forget them.
    """
    of_another_version(files.store_path, sealed=sealed)
    before = tree(files)
    with pytest.raises(FormatError) as caught:
        ASKED[asked](files)
    words = str(caught.value)
    assert f"{files.store_path} has the format 9, and this program, version {__version__}, knows 3 only" in words
    assert "cure: start the version that wrote it" in words
    assert "recover" not in words
    assert caught.value.exit_code == StateError.exit_code
    assert tree(files) == before


def test_a_newer_row_is_refused_too(files: NodeFiles) -> None:
    of_another_version(files.store_path, sealed=True, what=b"CMKMSR")
    with pytest.raises(FormatError, match="has the format 9"):
        open_node(files, CORE)


def test_a_store_that_is_corrupt_is_corrupt_still(files: NodeFiles) -> None:
    data = bytearray(files.store_path.read_bytes())
    data[100] ^= 1
    files.store_path.write_bytes(data)
    assert readable_marks(files.store_path)
    if files.alone:
        with pytest.raises(StateError, match="is corrupt"):
            open_node(files, CORE)
    else:
        opened = open_node(files, CORE)
        assert any("is corrupt" in warning for warning in opened.warnings)
        opened.store.close()


@pytest.mark.parametrize("asked", ["start", "recover"])
def test_a_newer_born_file_is_refused(asked: str, files: NodeFiles) -> None:
    path = files.born_paths[0]
    path.write_text(json.dumps({**json.loads(path.read_text() if path.exists() else '{"ids":["node0"]}'), "format": 3}))
    files.store_path.unlink()  # so that it is asked
    before = tree(files)
    with pytest.raises(FormatError, match=r"born\.json has the format 3, .* knows 2 only"):
        ASKED[asked](files)
    assert tree(files) == before


def journal_record(*record: object) -> bytes:
    body = msgpack.packb(record)
    return len(body).to_bytes(4, "little") + hashlib.blake2b(body, digest_size=8, person=b"cmkms-raft").digest() + body


def test_a_newer_journal_is_refused_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "raft"
    path.write_bytes(journal_record("F", 2) + journal_record("from the future", 1) + bytes(4096))
    before = path.read_bytes()
    with pytest.raises(FormatError, match=r"raft has the format 2, .* knows 1 only"):
        Journal(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["raft"]


def test_a_journal_that_names_this_format_is_read(tmp_path: Path) -> None:
    path = tmp_path / "raft"
    path.write_bytes(journal_record("F", 1) + journal_record("M", 7, "node1") + bytes(4096))
    journal = Journal(path)
    assert (journal.term, journal.voted_for, journal.untrusted) == (7, "node1", "")
