"""The promise store against disks that lose power, tear, fail and rot; start-up
reconciliation; recovery.
"""

import base64
import fcntl
import json
import os
import random
from dataclasses import replace
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from cometkms.core import native
from cometkms.errors import BusyError, InvariantError, StateError, StoreFailure
from cometkms.limits import BLOCK_BYTES, EPOCHS_ENDED_MAX, ROUND_MAX, SECTOR_BYTES
from cometkms.model import HRS, BlockID, Dialect, Kind, Message, Row, Timestamp, Vote, Watermark
from cometkms.rules.burnt import Heights
from cometkms.rules.epoch import Ended
from cometkms.store import epoch as epochs
from cometkms.store import state_file
from cometkms.store.home_born import BornFiles, read_born, read_ended, write_born
from cometkms.store.lock import lock_home, locked_home
from cometkms.store.node_files import ChainFiles, NodeFiles
from cometkms.store.node_store import open_node
from cometkms.store.promise_store import FILE_BYTES, Header, NodeState, PromiseStore, held_alone, readable_marks
from cometkms.store.raise_mark import import_mark, raise_mark
from cometkms.store.recover import recover

CORE = native.load()
KEY = SigningKey(bytes(range(32)))
PUBLIC = bytes(KEY.verify_key)
ROW = Row(PUBLIC, "chain-a")
HEADER = Header("node0", 1, ("node0",), NodeState.COMPLETE, bytes(8))


def mark_at(height: int, block: bytes = b"a", known: bool = True) -> Watermark:
    vote = Vote(2, height, 0, BlockID(block * 32, 1, b"p" * 32), Timestamp(1_700_000_000, 0))
    made = CORE.check_request(Dialect.PROTO, "chain-a", Message(Kind.SIGN_VOTE_REQUEST, "chain-a", vote=vote))
    return Watermark(made.hrs, made.sign_bytes, KEY.sign(made.sign_bytes).signature if known else b"")


class Disk:
    """A page cache over a file: what is not synced may be lost, in any order, torn between sectors."""

    def __init__(self, fail: str = "", at: int = 0, short: bool = False) -> None:
        self.unsynced: list[tuple[int, bytes]] = []
        self.syncs = 0
        self._fail, self._at, self._short, self._calls = fail, at, short, 0

    def _count(self, call: str) -> None:
        if call == self._fail:
            self._calls += 1
            if self._calls >= self._at > 0:
                raise OSError(5 if call == "fdatasync" else 28, os.strerror(5 if call == "fdatasync" else 28))

    def pwrite(self, fd: int, data: bytes, offset: int, /) -> int:
        self._count("pwrite")
        self.unsynced.append((offset, os.pread(fd, len(data), offset)))
        if self._short:
            return os.pwrite(fd, data[: len(data) // 2], offset)
        return os.pwrite(fd, data, offset)

    def pread(self, fd: int, size: int, offset: int, /) -> bytes:
        return os.pread(fd, size, offset)

    def fdatasync(self, fd: int, /) -> None:
        self._count("fdatasync")
        os.fdatasync(fd)
        self.syncs += 1
        self.unsynced.clear()

    def lose_power(self, path: Path, choose: random.Random) -> None:
        """Each unsynced sector is old or new."""
        with path.open("r+b") as file:
            for offset, old in self.unsynced:
                if choose.random() < 0.5:
                    file.seek(offset)
                    file.write(old)


def made(tmp_path: Path, mark: Watermark = Watermark(), disk: Disk | None = None) -> PromiseStore:  # noqa: B008
    return PromiseStore.create(tmp_path / "promises", HEADER, [(ROW, mark)], disk)


def test_a_store_is_whole_preallocated_and_private(tmp_path: Path) -> None:
    store = made(tmp_path, mark_at(7))
    status = store.path.stat()
    assert (status.st_size, status.st_mode & 0o777) == (FILE_BYTES, 0o600)
    assert not (tmp_path / "promises.new").exists()
    store.close()
    again = PromiseStore.open(store.path)
    assert (again.header, again.rows, again.mark(0)) == (HEADER, (ROW,), mark_at(7))


def test_every_write_is_synced_before_it_counts_and_alternates_slots(tmp_path: Path) -> None:
    disk = Disk()
    store = made(tmp_path, disk=disk)
    before = disk.syncs
    store.write_mark(0, mark_at(1, known=False))
    store.write_mark(0, mark_at(2, known=False))
    assert disk.syncs == before + 2
    data = store.path.read_bytes()
    slots = [data[block * BLOCK_BYTES : block * BLOCK_BYTES + SECTOR_BYTES] for block in (2, 3)]
    assert sum(mark_at(1).sign_bytes in slot for slot in slots) == 1
    assert sum(mark_at(2).sign_bytes in slot for slot in slots) == 1


def test_a_mark_never_falls_and_held_bytes_are_never_replaced(tmp_path: Path) -> None:
    store = made(tmp_path, mark_at(5, known=False))
    for lower in (mark_at(4), mark_at(5, b"b"), Watermark()):
        with pytest.raises(InvariantError):
            store.write_mark(0, lower)
    store.write_mark(0, mark_at(5))
    assert store.mark(0).signature
    store.write_mark(0, Watermark(HRS(5, 0, 3)))
    assert store.mark(0).sign_bytes == b""


@pytest.mark.parametrize("seed", range(20))
def test_power_loss_leaves_the_old_record_or_the_new_one(tmp_path: Path, seed: int) -> None:
    choose = random.Random(seed)
    disk = Disk()
    store = made(tmp_path, mark_at(1), disk)
    steps = choose.randint(1, 4)
    for height in range(2, 2 + steps):
        store.write_mark(0, mark_at(height, known=False))
    disk._fail, disk._at = "fdatasync", disk._calls + 1  # power goes before the last sync returns
    with pytest.raises(StoreFailure):
        store.write_mark(0, mark_at(9, known=False))
    disk.lose_power(store.path, choose)
    store.close()
    assert PromiseStore.open(store.path).mark(0).hrs.height in (1 + steps, 9)


@pytest.mark.parametrize("fail", ["pwrite", "fdatasync"])
def test_a_failed_write_or_sync_is_never_trusted_again(tmp_path: Path, fail: str) -> None:
    disk = Disk()
    store = made(tmp_path, mark_at(1), disk)
    disk._fail, disk._at = fail, 1
    with pytest.raises(StoreFailure):
        store.write_mark(0, mark_at(2))
    disk._fail = ""
    with pytest.raises(StoreFailure):
        store.write_mark(0, mark_at(3))
    assert store.mark(0) == mark_at(1)


def test_a_short_write_is_a_failure(tmp_path: Path) -> None:
    disk = Disk()
    store = made(tmp_path, mark_at(1), disk)
    disk._short = True
    with pytest.raises(StoreFailure):
        store.write_mark(0, mark_at(2))


def test_what_is_found_at_open_is_written_and_synced_again_before_any_answer(tmp_path: Path) -> None:
    made(tmp_path, mark_at(1)).close()
    disk = Disk()
    PromiseStore.open(tmp_path / "promises", disk).close()
    assert disk.syncs == 3  # what is in the page cache, the header and the row
    with pytest.raises(StoreFailure):
        PromiseStore.open(tmp_path / "promises", Disk("fdatasync", 1))


@pytest.mark.parametrize("block", [0, 1, 2, 3])
def test_every_damaged_byte_of_a_written_slot_is_corruption(tmp_path: Path, block: int) -> None:
    store = made(tmp_path, mark_at(1))
    store.write_header(HEADER)
    store.write_mark(0, mark_at(2))
    store.close()
    whole = store.path.read_bytes()
    for at in range(0, SECTOR_BYTES, 7):
        damaged = bytearray(whole)
        damaged[block * BLOCK_BYTES + at] ^= 0x40
        store.path.write_bytes(damaged)
        with pytest.raises(StateError, match="cmkms recover --min-height"):
            PromiseStore.open(store.path)


def test_a_truncated_store_is_corruption(tmp_path: Path) -> None:
    store = made(tmp_path, mark_at(1))
    store.close()
    os.truncate(store.path, BLOCK_BYTES * 2 + 100)
    with pytest.raises(StateError, match="corrupt"):
        PromiseStore.open(store.path)


def test_two_processes_never_share_a_store_or_a_home(tmp_path: Path) -> None:
    made(tmp_path)
    with pytest.raises(BusyError):
        PromiseStore.open(tmp_path / "promises")
    fd = lock_home(tmp_path)
    with pytest.raises(BusyError, match=str(os.getpid())):
        lock_home(tmp_path)
    os.close(fd)
    with locked_home(tmp_path):
        pass


# --- a node's start ---


def node_at(home: Path, mark: Watermark | None = Watermark(), node_id: str = "node0") -> NodeFiles:  # noqa: B008
    (home / "priv").mkdir(parents=True, exist_ok=True)
    path = home / "priv" / "priv_validator_state.json"
    if mark is not None:
        state_file.save(path, mark)
    return NodeFiles.at(home, node_id, (ChainFiles(ROW, path),))


def test_birth_opens_the_store_at_the_state_files_mark(tmp_path: Path) -> None:
    opened = open_node(node_at(tmp_path, mark_at(12)), CORE)
    assert opened.store.mark(0) == mark_at(12)
    assert opened.signed == (mark_at(12),)
    assert json.loads((tmp_path / "priv" / "born.json").read_text()) == {
        "ids": ["node0"],
        "epoch": 1,
        "members": ["node0"],
        "chains": [{"id": "chain-a", "key": PUBLIC.hex(), "lost": False}],
    }


def test_a_birth_is_written_without_reading_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read before the process was shut off is what it goes on from, more than once."""
    files = node_at(tmp_path)
    born = BornFiles(files)

    def shut(*_: object) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", shut)
    born.write()
    born.write()
    born.write(2)
    monkeypatch.undo()
    assert json.loads(files.born_paths[0].read_text())["epoch"] == 2
    assert read_born(files) == ["node0"]


def test_epochs_that_ended_are_remembered_through_every_later_writing_and_no_more_of_them_than_are_kept(
    tmp_path: Path,
) -> None:
    files = node_at(tmp_path, mark_at(12))
    ended = tuple(Ended(epoch, ("node0", "node1"), ("node0",)) for epoch in range(1, EPOCHS_ENDED_MAX + 3))
    for one in ended:
        write_born(files, one.epoch + 1, ended=(one,))
    write_born(files, len(ended) + 1, ("node0",))
    assert read_ended(files) == ended[2:]
    recover(files, Heights(20), CORE)
    assert read_ended(files) == ended[2:]
    opened = open_node(files, CORE)
    assert opened.ended == ended[2:]
    opened.store.close()


@pytest.mark.parametrize("wrong", ['[{"epoch": 1, "members": "x", "sealed": []}]', '[{"epoch": 1}]', "[1]", "7"])
def test_epochs_that_ended_and_make_no_sense_stop_the_start(tmp_path: Path, wrong: str) -> None:
    files = node_at(tmp_path, mark_at(12))
    files.born_paths[0].write_text(f'{{"ids": ["node0"], "epoch": 1, "members": ["node0"], "ended": {wrong}}}')
    with pytest.raises(StateError, match="cannot be understood"):
        read_ended(files)


def test_a_missing_state_file_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="copy it from the signer"):
        open_node(node_at(tmp_path, None), CORE)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("members", [(), ("node0", "node1", "node2")], ids=["alone", "of several"])
@pytest.mark.parametrize("held", [mark_at(6), mark_at(6, known=False), Watermark()], ids=["signed", "promised", "new"])
def test_a_state_file_that_is_missing_beside_a_store_is_made_of_it_on_the_operators_word(
    tmp_path: Path, held: Watermark, members: tuple[str, ...]
) -> None:
    """The store knows what was promised; that it is no old copy only the file could tell."""
    files = replace(node_at(tmp_path), members=members or ("node0",))
    files.store_path.parent.mkdir(parents=True)
    header = Header("node0", 1, files.members, NodeState.COMPLETE, bytes(8))
    PromiseStore.create(files.store_path, header, [(ROW, held)]).close()
    path = files.chains[0].state_path
    path.unlink()
    stands = "6/0/3" if held.hrs.height else "0"
    cure = f"cmkms state export --chain-id chain-a --out {path}"
    for ask in (lambda: open_node(files, CORE), lambda: epochs.seal(files, CORE, files.members)):
        with pytest.raises(StateError, match=f"is missing. The store .* chain-a stands at {stands} there.*{cure}"):
            ask()
    state_file.save(path, held)
    opened = open_node(files, CORE)
    # FilePV's form has no bytes without a signature: the place is burnt
    promised = held.sign_bytes and not held.signature
    assert opened.store.mark(0) == (Watermark(held.hrs) if promised else held)
    assert [one for one in opened.warnings if "names 6/0/3 without a signature" in one] == list(opened.warnings)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"height":"-1","round":0,"step":0}',
        b'{"height":"1","round":0,"step":9}',
        b'{"height":"1","round":0,"step":3,"signature":"AAAA"}',
        b'{"height":"1","round":0,"step":3,"signbytes":"ZZ"}',
    ],
)
def test_a_corrupt_state_file_is_refused(tmp_path: Path, content: bytes) -> None:
    files = node_at(tmp_path)
    files.chains[0].state_path.write_bytes(content)
    with pytest.raises(StateError, match="not a validator's state file"):
        open_node(files, CORE)


def test_a_state_file_of_another_chain_is_refused(tmp_path: Path) -> None:
    files = node_at(tmp_path, mark_at(4))
    other = ChainFiles(Row(PUBLIC, "chain-b"), files.chains[0].state_path)
    with pytest.raises(StateError, match="chain-a"):
        open_node(NodeFiles(files.node_id, files.store_path, (other,), files.members), CORE)


def test_a_home_that_was_born_and_lost_its_store_is_refused(tmp_path: Path) -> None:
    files = node_at(tmp_path)
    open_node(files, CORE).store.close()
    files.store_path.unlink()
    with pytest.raises(StateError, match="cmkms recover --min-height"):
        open_node(files, CORE)


def test_another_id_in_a_born_home_and_a_copied_store_are_refused(tmp_path: Path) -> None:
    files = node_at(tmp_path)
    open_node(files, CORE).store.close()
    with pytest.raises(StateError, match="belongs to node 'node0'"):
        open_node(node_at(tmp_path, node_id="node1"), CORE)
    other = NodeFiles("node1", files.store_path, files.chains, ("node1",))
    with pytest.raises(StateError, match="--id node0"):
        open_node(other, CORE)


def test_a_store_of_other_members_is_refused(tmp_path: Path) -> None:
    files = node_at(tmp_path)
    files.store_path.parent.mkdir(parents=True)
    header = Header("node0", 1, ("node0", "node1", "node2"), NodeState.COMPLETE, bytes(8))
    PromiseStore.create(files.store_path, header, [(ROW, Watermark())]).close()
    with pytest.raises(StateError, match="node0, node1, node2"):
        open_node(files, CORE)


def test_a_state_file_that_is_behind_is_brought_up_to_the_store(tmp_path: Path) -> None:
    files = node_at(tmp_path, mark_at(3))
    opened = open_node(files, CORE)
    opened.store.write_mark(0, mark_at(5))
    opened.store.close()
    open_node(files, CORE).store.close()
    assert state_file.load(files.chains[0].state_path, "chain-a", CORE.parse_sign_bytes) == mark_at(5)


AHEAD = {
    "signed": mark_at(8),
    "signed at a later step of the height": Watermark(HRS(5, 1, 1)),
    "a place without bytes": Watermark(HRS(8, 0, 3)),
}


@pytest.mark.parametrize("in_file", AHEAD.values(), ids=AHEAD)
@pytest.mark.parametrize("held", [mark_at(5), Watermark()], ids=["a store that held something", "one from the birth"])
def test_one_node_alone_does_not_start_with_a_store_that_is_behind_its_state_file(
    tmp_path: Path, in_file: Watermark, held: Watermark
) -> None:
    """It writes its store first: an old copy of that was put back, and how far the newest one went
    the file does not say.
    """
    files = node_at(tmp_path, held)
    open_node(files, CORE).store.close()
    state_file.save(files.chains[0].state_path, in_file)
    with pytest.raises(
        StateError, match=r"an old copy of the store was put back.*cure: .*node0 that this node ran with last"
    ):
        open_node(files, CORE)
    assert dict(readable_marks(files.store_path))[ROW] == held, "nothing was changed"
    with pytest.raises(StateError, match="an old copy of the store was put back"):
        epochs.promised(files, files.chains[0], [], CORE)
    assert epochs.promised(files, files.chains[0], [], CORE, 20).hrs.height == 20
    recover(files, Heights(20), CORE)
    opened = open_node(files, CORE)
    assert opened.store.mark(0).hrs == HRS(20, ROUND_MAX, 3)


def test_the_operators_word_that_another_signer_wrote_the_file_raises_the_store(tmp_path: Path) -> None:
    files = node_at(tmp_path, mark_at(5))
    open_node(files, CORE).store.close()
    state_file.save(files.chains[0].state_path, mark_at(8))
    with pytest.raises(StateError, match="an old copy of the store was put back"):
        # of a signer that is behind the file
        raise_mark(files, files.chains[0], [mark_at(7)], CORE)
    assert raise_mark(files, files.chains[0], [mark_at(8)], CORE) == mark_at(8)
    opened = open_node(files, CORE)
    assert opened.store.mark(0) == opened.signed[0] == mark_at(8)
    opened.store.close()
    state_file.save(files.chains[0].state_path, mark_at(9))
    import_mark(files, files.chains[0], mark_at(9), CORE)  # `cmkms state import` of the very file
    opened = open_node(files, CORE)
    assert opened.store.mark(0) == mark_at(9)


def test_one_of_several_has_the_others_signatures_in_its_state_file(tmp_path: Path) -> None:
    files = several(tmp_path, mark_at(5))
    state_file.save(files.chains[0].state_path, mark_at(8))
    opened = open_node(files, CORE)
    assert opened.store.mark(0) == mark_at(8)
    assert not opened.warnings


def test_a_file_whose_signature_is_not_of_the_key_is_not_gone_by(tmp_path: Path) -> None:
    """It is another key's, or was changed; a recovery is never below its place."""
    forged = Watermark(mark_at(6).hrs, mark_at(6).sign_bytes, bytes(64))
    files = node_at(tmp_path, forged)
    with pytest.raises(StateError, match=r"its signature is not of the key .* it does not sign"):
        open_node(files, CORE)
    assert not files.store_path.exists()
    state_file.save(files.chains[0].state_path, mark_at(5))
    open_node(files, CORE).store.close()
    state_file.save(files.chains[0].state_path, forged)
    for act in (lambda: open_node(files, CORE), lambda: epochs.promised(files, files.chains[0], [], CORE)):
        with pytest.raises(StateError, match=r"its signature is not of the key .* stands at 5/0/3 there"):
            act()
    assert dict(readable_marks(files.store_path))[ROW] == mark_at(5), "nothing was changed"
    recover(files, Heights(3), CORE)
    assert open_node(files, CORE).store.mark(0).hrs == HRS(6, 0, 3)


def several(tmp_path: Path, held: Watermark) -> NodeFiles:
    """One of three, complete, with a store that holds this."""
    files = replace(node_at(tmp_path), members=("node0", "node1", "node2"))
    files.store_path.parent.mkdir(parents=True)
    header = Header("node0", 1, files.members, NodeState.COMPLETE, bytes(8))
    PromiseStore.create(files.store_path, header, [(ROW, held)]).close()
    return files


def test_different_bytes_at_one_place_burn_it(tmp_path: Path) -> None:
    files = several(tmp_path, mark_at(6, known=False))
    state_file.save(files.chains[0].state_path, mark_at(6, b"b"))
    opened = open_node(files, CORE)
    assert opened.store.mark(0) == Watermark(HRS(6, 0, 3))
    assert opened.signed == (Watermark(HRS(6, 0, 3)),)
    assert any("different bytes" in warning for warning in opened.warnings)


@pytest.mark.parametrize("signed", [True, False])
def test_one_node_alone_does_not_start_where_another_signer_signed_at_its_place(tmp_path: Path, signed: bool) -> None:
    files = node_at(tmp_path)
    opened = open_node(files, CORE)
    opened.store.write_mark(0, mark_at(6, known=signed))
    opened.store.close()
    state_file.save(files.chains[0].state_path, mark_at(6, b"b"))
    with pytest.raises(
        StateError, match="store and state file hold different bytes at 6/0/3: another signer uses this key"
    ):
        open_node(files, CORE)


def test_a_new_chain_gets_a_row_at_its_files_mark(tmp_path: Path) -> None:
    files = node_at(tmp_path, mark_at(3))
    open_node(files, CORE).store.close()
    path = tmp_path / "priv" / "other.json"
    state_file.save(path, Watermark(HRS(77, 0, 1)))
    both = NodeFiles(
        files.node_id, files.store_path, (ChainFiles(Row(PUBLIC, "chain-b"), path), *files.chains), files.members
    )
    opened = open_node(both, CORE)
    assert opened.rows == (1, 0)
    assert opened.store.mark(1) == Watermark(HRS(77, 0, 1))


def test_recovery_burns_and_never_undercuts_what_is_readable(tmp_path: Path) -> None:
    files = node_at(tmp_path, mark_at(3))
    opened = open_node(files, CORE)
    opened.store.write_mark(0, mark_at(500, known=False))
    opened.store.close()
    damaged = bytearray(files.store_path.read_bytes())
    damaged[0] ^= 1
    damaged[BLOCK_BYTES] ^= 1
    files.store_path.write_bytes(damaged)
    with pytest.raises(StateError):
        open_node(files, CORE)
    done = recover(files, Heights(100), CORE)
    assert done.store is not None
    assert done.store.read_bytes() == bytes(damaged)
    assert done.marks[0].hrs == HRS(500, 0, 3)
    opened = open_node(files, CORE)
    assert opened.store.mark(0).hrs == HRS(500, 0, 3)
    opened.store.close()
    assert recover(files, Heights(900), CORE).marks == (Watermark(HRS(900, ROUND_MAX, 3)),)
    assert state_file.load(files.chains[0].state_path, "chain-a", CORE.parse_sign_bytes).hrs == HRS(900, ROUND_MAX, 3)


@pytest.mark.parametrize("state", ["whole", "corrupt", "with a second name"])
def test_recovery_replaces_no_store_that_a_node_has_open(tmp_path: Path, state: str) -> None:
    """Also where the home's own lock, which the command takes first, was removed under the node."""
    files = node_at(tmp_path, mark_at(3))
    store = open_node(files, CORE).store
    if state == "corrupt":
        files.store_path.write_bytes(b"x" * 5000)  # the same file
    if state == "with a second name":
        (tmp_path / "second").hardlink_to(files.store_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(BusyError, match="promises is in use by another process"):
        recover(files, Heights(100), CORE)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    store.close()
    assert recover(files, Heights(100), CORE).marks[0].hrs.height == 100


def test_a_start_sets_no_store_aside_that_another_took_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = several(tmp_path, mark_at(3))
    files.store_path.write_bytes(b"x" * 5000)
    with files.store_path.open("rb") as other, monkeypatch.context() as patched:

        def take(path: Path) -> list[tuple[Row, Watermark]]:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return readable_marks(path)

        patched.setattr("cometkms.store.node_store.readable_marks", take)
        with pytest.raises(BusyError, match="promises is in use by another process"):
            open_node(files, CORE)
    assert files.store_path.read_bytes() == b"x" * 5000
    open_node(files, CORE).store.close()
    assert files.store_path.with_name("promises.old-1").read_bytes() == b"x" * 5000


def test_what_no_node_can_have_open_is_held_by_nobody(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nothing")
    (tmp_path / "directory").mkdir()
    for name in ("missing", "link", "directory"):
        with held_alone(tmp_path / name):
            pass


def test_import_raises_and_refuses_to_lower(tmp_path: Path) -> None:
    files = node_at(tmp_path, mark_at(3))
    open_node(files, CORE).store.close()
    import_mark(files, files.chains[0], mark_at(10), CORE)
    assert dict(readable_marks(files.store_path))[ROW] == mark_at(10)
    for lower in (mark_at(9), mark_at(10, b"b"), Watermark()):
        with pytest.raises(StateError):
            import_mark(files, files.chains[0], lower, CORE)
    assert state_file.load(files.chains[0].state_path, "chain-a", CORE.parse_sign_bytes) == mark_at(10)


def test_the_state_file_is_byte_for_byte_filepvs(tmp_path: Path) -> None:
    mark = mark_at(12)
    expected = (
        '{\n  "height": "12",\n  "round": 0,\n  "step": 3,\n'
        f'  "signature": "{base64.b64encode(mark.signature).decode()}",\n'
        f'  "signbytes": "{mark.sign_bytes.hex().upper()}"\n}}'
    )
    path = tmp_path / "state.json"
    state_file.save(path, mark)
    assert path.read_text() == expected
    assert path.stat().st_mode & 0o777 == 0o600
    state_file.save(path, mark_at(13, known=False))
    assert json.loads(path.read_text()) == {"height": "13", "round": 0, "step": 3}
