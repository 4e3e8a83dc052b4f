"""born.json: what a home has begun is remembered through everything that writes the file, wherever
the state files were, and a store that lacks it does not sign.
"""

import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cometkms.core.pure import core as pure
from cometkms.durable import FormatError
from cometkms.errors import StateError, StoreFailure
from cometkms.limits import BLOCK_BYTES
from cometkms.model import HRS, Row, Watermark
from cometkms.rules.birth import NodeState
from cometkms.rules.burnt import Heights, burnt_up_to
from cometkms.rules.epoch import Ended, Standing
from cometkms.store import epoch as epochs
from cometkms.store import home_born, state_file
from cometkms.store.born import Born, load_born, save_born, united
from cometkms.store.home_born import (
    BornFiles,
    beside_store,
    note_found,
    note_lost,
    read_born,
    read_born_members,
    read_epoch,
    read_following,
    refuse_lost,
    write_born,
)
from cometkms.store.kept import name_to_keep
from cometkms.store.node_files import ChainFiles, NodeFiles
from cometkms.store.node_store import open_node
from cometkms.store.owner import epoch_due
from cometkms.store.promise_store import Header, PromiseStore, marks_in, survey
from cometkms.store.raise_mark import import_mark, raise_mark
from cometkms.store.recover import recover
from cometkms.store.reset import reset_mark
from tests.unit.state.three import sign_bytes
from tests.unit.store.test_promise_store import PUBLIC

CORE = pure.CORE
HUB, ZONE = Row(PUBLIC, "hub"), Row(PUBLIC, "zone")
THREE = ("node0", "node1", "node2")
SAID = Born(("node0",), 3, THREE, THREE, (Ended(2, ("node0",), ("node0",)),), (HUB, ZONE), (ZONE,), True)


def burnt(height: int) -> Watermark:
    return Watermark(HRS(height, 0, 2))


def home_of(home: Path, *rows: Row, members: tuple[str, ...] = ()) -> NodeFiles:
    """A home that has these chains configured; their state files stand at 5."""
    chains = tuple(ChainFiles(row, home / "priv" / row.chain_id / "state.json") for row in rows)
    for chain in chains:
        if not chain.state_path.exists():
            chain.state_path.parent.mkdir(parents=True, exist_ok=True)
            state_file.save(chain.state_path, burnt(5))
    return NodeFiles.at(home, "node0", chains, members)


def started(files: NodeFiles, height: int = 7, state: NodeState = NodeState.COMPLETE) -> None:
    """A store whose node has promised up to this height in each configured chain, and started."""
    if not files.store_path.exists():
        files.store_path.parent.mkdir(parents=True, exist_ok=True)
        header = Header("node0", 1, files.members, state, bytes(8))
        PromiseStore.create(files.store_path, header, [(chain.row, burnt(5)) for chain in files.chains]).close()
    opened = open_node(files, CORE)
    for number in opened.rows:
        opened.store.write_mark(number, burnt(height))
    opened.store.close()


def opens(files: NodeFiles) -> dict[Row, HRS]:
    store = open_node(files, CORE).store
    try:
        return {row: store.mark(number).hrs for number, row in enumerate(store.rows)}
    finally:
        store.close()


@pytest.fixture(params=[(), THREE], ids=["alone", "of several"])
def members(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return request.param


def make_put_back(tmp_path: Path, members: tuple[str, ...]) -> NodeFiles:
    """A home that has begun both chains, with a store from before it began the second."""
    hub, both = (home_of(tmp_path, *rows, members=members) for rows in ((HUB,), (HUB, ZONE)))
    started(hub)
    old = hub.store_path.read_bytes()
    started(both)
    hub.store_path.write_bytes(old)
    return both


def make_lost(tmp_path: Path, members: tuple[str, ...]) -> NodeFiles:
    """A home that has begun both chains, lost its store, and recovered without the second."""
    both = home_of(tmp_path, HUB, ZONE, members=members)
    started(both)
    both.store_path.unlink()
    assert recover(home_of(tmp_path, HUB, members=members), Heights(100), CORE).lost == ("zone",)
    return both


@pytest.fixture
def put_back(tmp_path: Path, members: tuple[str, ...]) -> NodeFiles:
    return make_put_back(tmp_path, members)


@pytest.fixture
def lost(tmp_path: Path, members: tuple[str, ...]) -> NodeFiles:
    return make_lost(tmp_path, members)


@pytest.fixture(params=[make_put_back, make_lost])
def forgotten(request: pytest.FixtureRequest, tmp_path: Path, members: tuple[str, ...]) -> NodeFiles:
    """One or the other; a member of several has met the others since."""
    files = request.param(tmp_path, members)
    store = PromiseStore.open(files.store_path)
    store.write_header(replace(store.header, unclaimed=False))
    store.close()
    return files


# --- the file ---


def test_what_is_written_is_read_and_an_older_version_refuses_a_file_that_says_lost(tmp_path: Path) -> None:
    path = tmp_path / "born.json"
    save_born(path, SAID)
    assert load_born(path) == SAID
    assert json.loads(path.read_bytes())["format"] == 2
    for one in (replace(SAID, lost=()), replace(SAID, lost_unnamed=False)):
        save_born(path, one)
        assert load_born(path) == one
        assert json.loads(path.read_bytes())["format"] == 2
    kept = replace(SAID, lost=(), lost_unnamed=False)
    save_born(path, kept)
    assert load_born(path) == kept
    assert "format" not in json.loads(path.read_bytes()), "an older version goes on with it"


def test_a_file_from_before_there_were_rows_knows_of_none(tmp_path: Path) -> None:
    path = tmp_path / "born.json"
    path.write_text('{"ids": ["node0"], "epoch": 1, "members": ["node0"]}')
    assert load_born(path) == Born(("node0",), 1, ("node0",))


ROW_SAID = {"id": "hub", "key": PUBLIC.hex(), "lost": False}


@pytest.mark.parametrize(
    "wrong",
    [
        7,
        {"hub": PUBLIC.hex()},
        [7],
        [{"id": "hub", "key": PUBLIC.hex()}],
        [{**ROW_SAID, "more": 1}],
        [{**ROW_SAID, "id": 7}],
        [{**ROW_SAID, "lost": 1}],
        [{**ROW_SAID, "key": PUBLIC.hex()[:-2]}],
        [{**ROW_SAID, "key": "zz" * 32}],
        [{**ROW_SAID, "key": 7}],
        [ROW_SAID, {**ROW_SAID, "lost": True}],
    ],
)
def test_rows_that_make_no_sense_stop_the_start(tmp_path: Path, wrong: object) -> None:
    files = home_of(tmp_path, HUB)
    started(files)
    files.born_paths[0].write_text(json.dumps({"ids": ["node0"], "epoch": 1, "members": ["node0"], "chains": wrong}))
    with pytest.raises(StateError, match=r"born\.json cannot be understood"):
        open_node(files, CORE)


def test_a_word_that_makes_no_sense_stops_the_start_too(tmp_path: Path) -> None:
    files = home_of(tmp_path, HUB)
    started(files)
    files.born_paths[0].write_text(json.dumps({"ids": ["node0"], "format": 2, "lost_unnamed": 1}))
    with pytest.raises(StateError, match=r"born\.json cannot be understood"):
        open_node(files, CORE)


def test_a_format_of_a_later_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "born.json"
    path.write_text('{"ids": [], "format": 3}')
    with pytest.raises(FormatError, match="knows 2 only"):
        load_born(path)


def test_together_the_last_epoch_counts_and_no_row_is_lost() -> None:
    behind = Born(("a",), 1, ("a",), ("a", "b"), (), (HUB,), ())
    ahead = Born(("b",), 2, ("a", "b"), (), (Ended(1, ("a",), ("a",)),), (ZONE,), (ZONE,))
    for found in ([behind, ahead], [ahead, behind]):
        assert set(united(found).ids) == {"a", "b"}
        assert replace(united(found), ids=()) == Born((), 2, ("a", "b"), (), ahead.ended, (HUB, ZONE), (ZONE,))


# --- what has begun is kept ---


def test_a_start_writes_what_it_has_begun_before_anything_can_be_signed(
    tmp_path: Path, members: tuple[str, ...]
) -> None:
    files = home_of(tmp_path, HUB, ZONE, members=members)
    started(files)
    assert [load_born(path).begun for path in files.born_paths] == [(HUB, ZONE)] * 2
    one = home_of(tmp_path, HUB, members=members)
    files.born_paths[0].write_text('{"ids": ["node0"], "epoch": 1}')  # of an older version
    assert opens(one)[ZONE] == HRS(7, 0, 2)
    assert load_born(files.born_paths[0]).begun == (HUB, ZONE), "also what the store alone has"


def test_every_writer_keeps_and_unites_what_all_files_say(tmp_path: Path) -> None:
    files = home_of(tmp_path, HUB, ZONE)
    first, second = files.born_paths
    save_born(first, Born(("node0",), 1, ("node0",), begun=(HUB,)))
    save_born(second, Born(("node0",), 1, ("node0",), begun=(ZONE,), lost=(ZONE,)))
    born = BornFiles(files)
    born.write(2, THREE)
    born.write(2, THREE)
    for path in files.born_paths:
        assert (load_born(path).begun, load_born(path).lost, load_born(path).epoch) == ((HUB, ZONE), (ZONE,), 2)
    write_born(files, 3)
    assert load_born(first).lost == (ZONE,)


def test_a_mark_that_is_imported_and_a_reset_note_the_row_that_they_add(
    tmp_path: Path, members: tuple[str, ...]
) -> None:
    started(home_of(tmp_path, HUB, members=members))
    both = home_of(tmp_path, HUB, ZONE, members=members)
    import_mark(both, both.chains[1], burnt(9), CORE)
    assert load_born(both.born_paths[1]).begun == (ZONE,)
    other = home_of(tmp_path, Row(PUBLIC, "third"), members=members)
    reset_mark(other, other.chains[0], 3)
    assert load_born(other.born_paths[0]).begun == (other.chains[0].row,)


def test_who_was_not_born_yet_is_said_to_have_begun_nothing(tmp_path: Path) -> None:
    files = home_of(tmp_path, HUB, members=THREE)
    opens(files)
    import_mark(files, files.chains[0], burnt(9), CORE)
    assert not any(path.exists() for path in files.born_paths)


def test_an_epoch_that_is_begun_notes_every_row_of_its_store(tmp_path: Path) -> None:
    files = home_of(tmp_path, HUB, ZONE)
    started(files)
    one = home_of(tmp_path, HUB)
    seal = epochs.seal(one, CORE, THREE)
    new = home_of(tmp_path, HUB, members=THREE)
    epochs.begin(new, [seal], CORE)
    assert load_born(new.born_paths[0]).begun == (HUB, ZONE)
    assert opens(new)[ZONE] == HRS(7, 0, 2)


# --- a store that lacks it ---


def test_a_store_from_before_a_chain_was_begun_does_not_sign(put_back: NodeFiles) -> None:
    with pytest.raises(
        StateError, match=r"^zone: .*has begun this chain.*older copy.*recover --min-height zone="
    ) as caught:
        open_node(put_back, CORE)
    assert ("move" in str(caught.value)) is not put_back.alone, "the others know it"
    assert opens(replace(put_back, chains=put_back.chains[:1]))[HUB] == HRS(7, 0, 2)


def test_a_chain_that_a_recovery_left_out_does_not_sign_before_another_burns_it(lost: NodeFiles) -> None:
    hub = replace(lost, chains=lost.chains[:1])
    assert opens(hub)[HUB].height == 100
    with pytest.raises(StateError, match=r"^zone: .*promised there is lost.*recover --min-height zone="):
        open_node(lost, CORE)
    assert recover(hub, Heights(200), CORE).lost == ("zone",), "a whole store does not bring it back"
    assert recover(lost, Heights(300), CORE).lost == ()
    assert opens(lost) == {HUB: burnt_up_to(300).hrs, ZONE: burnt_up_to(300).hrs}
    assert "format" not in json.loads(lost.born_paths[1].read_bytes())


ASKED: dict[str, Callable[[NodeFiles, ChainFiles], object]] = {
    "seal": lambda files, _: epochs.seal(files, CORE, ("node0", "node3")),
    "import_mark": lambda files, chain: import_mark(files, chain, burnt(9), CORE),
    "raise_mark": lambda files, chain: raise_mark(files, chain, [burnt(9)], CORE),
    "reset": lambda files, chain: reset_mark(files, chain, 9),
    "refuse_lost": refuse_lost,
}


@pytest.mark.parametrize("asked", ASKED)
def test_nothing_else_goes_by_such_a_store(asked: str, forgotten: NodeFiles) -> None:
    files = forgotten
    before = survey(files.store_path)
    with pytest.raises(StateError, match=r"^zone: .*born\.json says"):
        ASKED[asked](files, files.chains[1])
    assert survey(files.store_path) == before


def test_what_it_promised_is_told_on_the_operators_word_alone(forgotten: NodeFiles) -> None:
    files = forgotten
    chain = files.chains[1]
    seals = []
    if not files.alone:
        marks = ((HUB, burnt(7)),)
        seals = [epochs.Seal(name, 1, THREE, THREE, Standing.CONFIRMED, marks) for name in THREE[1:]]
    with pytest.raises(StateError, match=r"^zone: "):
        epochs.promised(files, chain, seals, CORE)
    assert epochs.promised(files, chain, seals, CORE, 50) == burnt_up_to(50)


def test_no_epoch_begins_at_the_state_file_of_such_a_chain(tmp_path: Path) -> None:
    hub, both = home_of(tmp_path, HUB), home_of(tmp_path, HUB, ZONE)
    started(hub)
    old = hub.store_path.read_bytes()
    started(both)
    hub.store_path.write_bytes(old)
    seal = epochs.seal(hub, CORE, THREE)
    new = home_of(tmp_path, HUB, ZONE, members=THREE)
    with pytest.raises(StateError, match=r"^zone: .*has begun this chain"):
        epochs.begin(new, [seal], CORE)
    begun = epochs.begin(new, [seal], CORE, heights=Heights(40))
    assert dict(begun.marks)[ZONE] == burnt_up_to(40)


@pytest.fixture(params=[False, True], ids=["in no store", "carried at a lower place"])
def left_out(request: pytest.FixtureRequest, tmp_path: Path) -> NodeFiles:
    """One node alone that lost its second chain, which is not configured."""
    files = make_lost(tmp_path, ())
    if request.param:
        store = PromiseStore.open(files.store_path)
        store.add_row(ZONE, burnt(6))
        store.close()
    return replace(files, chains=files.chains[:1])


def test_no_seal_vouches_for_a_lost_chain_that_is_not_configured(left_out: NodeFiles) -> None:
    before = survey(left_out.store_path)
    with pytest.raises(StateError, match=r"^zone: .* is lost, and it is not configured.*recover --min-height zone="):
        epochs.seal(left_out, CORE, THREE)
    assert survey(left_out.store_path) == before
    both = home_of(left_out.home, HUB, ZONE)
    recover(both, Heights(300), CORE)
    seal = epochs.seal(both, CORE, THREE)
    assert dict(seal.marks)[ZONE] == burnt_up_to(300)
    begun = epochs.begin(home_of(left_out.home, HUB, members=THREE), [seal], CORE)
    assert dict(begun.marks)[ZONE] == burnt_up_to(300), "it is known, so it need not be configured"


def test_no_epoch_begins_at_what_is_left_of_a_lost_chain_that_is_not_configured(tmp_path: Path) -> None:
    """An older version sealed it."""
    files = make_lost(tmp_path, ())
    marks = ((HUB, burnt(100)), (ZONE, burnt(6)))
    seal = epochs.Seal("node0", 1, ("node0",), THREE, Standing.CONFIRMED, marks)
    store = PromiseStore.open(files.store_path)
    store.write_header(replace(store.header, state=NodeState.SEALED))
    store.close()
    new = home_of(tmp_path, HUB, members=THREE)
    with pytest.raises(StateError, match=r"^zone: .*not configured.*with `--min-height zone=HEIGHT`"):
        epochs.begin(new, [seal], CORE)
    begun = epochs.begin(new, [seal], CORE, heights=Heights(each={"hub": 101, "zone": 50}))
    assert dict(begun.marks)[ZONE] == burnt_up_to(50)
    assert opens(home_of(tmp_path, HUB, ZONE, members=THREE))[ZONE] == burnt_up_to(50).hrs


@pytest.mark.parametrize("folder", ["priv", "priv/other", "data/node0"])
def test_no_epoch_ends_or_begins_with_a_chain_whose_key_is_out_and_that_is_not_configured(
    tmp_path: Path, folder: str
) -> None:
    both = home_of(tmp_path, HUB, ZONE)
    started(both)
    hub = replace(both, chains=both.chains[:1])
    early = epochs.Seal("node0", 1, ("node0",), THREE, Standing.CONFIRMED, ((HUB, burnt(7)), (ZONE, burnt(7))))
    note = tmp_path / folder / "exported.json"
    note.parent.mkdir(exist_ok=True)
    note.write_text(json.dumps({"format": 1, "chains": {"zone": ["filepv", "/x/state.json", "7/0/2"]}}))
    new = home_of(tmp_path, HUB, members=THREE)
    before = survey(both.store_path)
    for asked in (lambda: epochs.seal(hub, CORE, THREE), lambda: epochs.begin(new, [early], CORE)):
        with pytest.raises(
            StateError, match=r"^zone: .*went out, to filepv.*import --from filepv PATH --chain-id zone"
        ):
            asked()
    assert survey(both.store_path) == before
    import_mark(both, both.chains[1], burnt(9), CORE)
    assert not note.exists()
    assert dict(epochs.begin(new, [epochs.seal(hub, CORE, THREE)], CORE).marks)[ZONE] == burnt(9)


def test_a_new_machine_begins_with_the_chain_that_only_it_has(tmp_path: Path) -> None:
    """One node grows to three, with a chain that is new to the new machines."""
    old = home_of(tmp_path / "old", HUB)
    started(old)
    seal = epochs.seal(old, CORE, THREE)
    new = replace(home_of(tmp_path / "new", HUB, ZONE, members=THREE), node_id="node1")
    new = NodeFiles.at(tmp_path / "new", "node1", new.chains, THREE)
    epochs.begin(new, [seal], CORE)
    assert opens(new) == {HUB: HRS(7, 0, 2), ZONE: HRS(5, 0, 2)}


@pytest.mark.parametrize("state", [NodeState.EMPTY, NodeState.RECOVERING])
def test_who_reads_the_others_before_it_promises_starts(tmp_path: Path, state: NodeState) -> None:
    both = home_of(tmp_path, HUB, ZONE, members=THREE)
    started(both)
    both.store_path.unlink()
    assert opens(both)[ZONE] == HRS(5, 0, 2), "a wiped member recovers"
    both.store_path.unlink()
    header = Header("node0", 1, THREE, state, bytes(8))
    PromiseStore.create(both.store_path, header, [(HUB, burnt(5))]).close()
    assert opens(both)[ZONE] == HRS(5, 0, 2)


@pytest.mark.parametrize("state", [None, NodeState.EMPTY, NodeState.RECOVERING])
def test_who_reads_the_others_does_not_take_their_word_for_a_lost_chain(
    tmp_path: Path, state: NodeState | None
) -> None:
    """They may have forgotten it as well; and were it read, the next start would refuse it again."""
    files = make_lost(tmp_path, THREE)
    files.store_path.unlink()
    if state is not None:
        PromiseStore.create(files.store_path, Header("node0", 1, THREE, state, bytes(8)), [(HUB, burnt(5))]).close()
    for asked in (lambda: open_node(files, CORE), lambda: refuse_lost(files, files.chains[1])):
        with pytest.raises(StateError, match=r"^zone: .*promised there is lost"):
            asked()
    assert opens(replace(files, chains=files.chains[:1]))[HUB] >= HRS(5, 0, 2), "the other one goes on"
    assert recover(files, Heights(300), CORE).lost == ()
    assert opens(files)[ZONE] == burnt_up_to(300).hrs


def test_a_member_is_told_to_burn_a_lost_chain_on_every_member(forgotten: NodeFiles) -> None:
    """The note stands here only: who reads this node takes what it has for all that there is."""
    with pytest.raises(StateError) as caught:
        open_node(forgotten, CORE)
    told = (
        "with all members stopped" in caught.value.cure
        and "every one of them before any is started" in caught.value.cure
    )
    assert told is not forgotten.alone


def sealed_home(
    tmp_path: Path, make: Callable[[Path, tuple[str, ...]], NodeFiles]
) -> tuple[NodeFiles, list[epochs.Seal]]:
    """A member that does not know its second chain, and is sealed; and the seals of a majority."""
    files = make(tmp_path, THREE)
    store = PromiseStore.open(files.store_path)
    store.write_header(replace(store.header, unclaimed=False))
    store.close()
    lost = load_born(files.born_paths[0]).lost
    note_found(files, lost)  # an older version sealed it although it is lost
    own = epochs.seal(replace(files, chains=files.chains[:1]), CORE, THREE)
    note_lost(files, lost, unnamed=False)
    others = [epochs.Seal(name, 1, THREE, THREE, Standing.CONFIRMED, ((HUB, burnt(7)),)) for name in THREE[1:]]
    return files, [own, *others]


SEALED: dict[str, Callable[[NodeFiles, list[epochs.Seal]], object]] = {
    "begin": lambda files, seals: epochs.begin(files, seals, CORE),
    "export": lambda files, seals: epochs.promised(files, files.chains[1], seals[1:], CORE),
    "import": lambda files, _: import_mark(files, files.chains[1], burnt(9), CORE),
    "import of others": lambda files, _: raise_mark(files, files.chains[1], [burnt(9)], CORE),
}


def helps(told: StateError, files: NodeFiles, seals: list[epochs.Seal]) -> None:
    """What it says does help, and what it does not say would not."""
    assert "`--min-height zone=HEIGHT`" in told.cure
    assert "`cmkms epoch begin` or `cmkms member`, the same on every member" in told.cure
    assert "recover" not in told.cure
    assert "while all others run" not in told.cure
    with pytest.raises(StateError, match="is sealed here"):
        recover(files, Heights(100), CORE)
    assert epochs.promised(files, files.chains[1], seals[1:], CORE, 50) == burnt_up_to(50)
    assert dict(epochs.begin(files, seals, CORE, heights=Heights(40)).marks)[ZONE].hrs.height == 40
    assert opens(files)[ZONE].height == 40


@pytest.mark.parametrize("make", [make_put_back, make_lost])
@pytest.mark.parametrize("asked", SEALED)
def test_a_sealed_member_is_told_what_its_seal_lets_it_do(
    tmp_path: Path, asked: str, make: Callable[[Path, tuple[str, ...]], NodeFiles]
) -> None:
    files, seals = sealed_home(tmp_path, make)
    with pytest.raises(StateError, match=r"^zone: .*born\.json says") as caught:
        SEALED[asked](files, seals)
    helps(caught.value, files, seals)


def make_kept(tmp_path: Path, members: tuple[str, ...]) -> NodeFiles:
    """A member whose store does not know a chain, of which a rename kept what nobody can read."""
    started(home_of(tmp_path, HUB, members=members))
    both = home_of(tmp_path, HUB, ZONE, members=members)
    name_to_keep(both.chains[1].state_path, "zone").write_text("{")
    return both


@pytest.mark.parametrize("asked", SEALED)
def test_a_sealed_member_that_cannot_read_what_a_rename_kept_is_told_so_too(tmp_path: Path, asked: str) -> None:
    files, seals = sealed_home(tmp_path, make_kept)
    with pytest.raises(StateError, match="A rename kept it of zone") as caught:
        SEALED[asked](files, seals)
    assert "move it away" in caught.value.cure
    (files.chains[1].state_path.parent / "state.json.zone@1").unlink()
    helps(caught.value, files, seals)


def test_a_chain_that_was_never_here_begins_at_its_state_file(tmp_path: Path, members: tuple[str, ...]) -> None:
    started(home_of(tmp_path, HUB, members=members))
    assert opens(home_of(tmp_path, HUB, ZONE, members=members))[ZONE] == HRS(5, 0, 2)


# --- what a recovery keeps ---


def damaged(files: NodeFiles) -> None:
    """The newer slot of the second chain's row does not check."""
    data = bytearray(files.store_path.read_bytes())
    for block in (4, 5):
        if burnt_slot(data, block) == 7:
            data[block * BLOCK_BYTES + 100] ^= 1
    files.store_path.write_bytes(data)


def burnt_slot(data: bytes, block: int) -> int:
    """The height in a row's slot, where its mark is burnt."""
    one = bytearray(len(data))
    one[: 2 * BLOCK_BYTES] = data[: 2 * BLOCK_BYTES]
    one[4 * BLOCK_BYTES : 5 * BLOCK_BYTES] = data[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES]
    return dict(marks_in(Path("x"), bytes(one)))[ZONE].hrs.height


@pytest.mark.parametrize("older", [False, True], ids=["the newest", "an older copy"])
def test_a_chain_that_is_not_configured_is_lost_however_whole_the_store_looks(
    tmp_path: Path, members: tuple[str, ...], older: bool
) -> None:
    both = home_of(tmp_path, HUB, ZONE, members=members)
    started(both, 6)
    copy = both.store_path.read_bytes()
    started(both, 7)
    if older:
        both.store_path.write_bytes(copy)
    assert recover(replace(both, chains=both.chains[:1]), Heights(100), CORE).lost == ("zone",)
    with pytest.raises(StateError, match=r"^zone: .*promised there is lost"):
        open_node(both, CORE)
    assert recover(both, Heights(200), CORE).lost == ()
    assert opens(both)[ZONE] == burnt_up_to(200).hrs


def test_of_a_damaged_one_it_is_kept_as_a_lower_bound_and_lost(tmp_path: Path, members: tuple[str, ...]) -> None:
    both = home_of(tmp_path, HUB, ZONE, members=members)
    started(both, 6)
    started(both, 7)
    damaged(both)
    for path in both.born_paths:  # of an older version: the store itself says that it was begun
        path.write_text(json.dumps({"ids": ["node0"], "epoch": 1, "members": both.members}))
    assert recover(replace(both, chains=both.chains[:1]), Heights(100), CORE).lost == ("zone",)
    with pytest.raises(StateError, match=r"^zone: .*is lost"):
        open_node(both, CORE)
    assert recover(both, Heights(each={"hub": 200, "zone": 3}), CORE).marks[1].hrs.height == 6


def test_a_recovery_that_is_interrupted_forgets_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = home_of(tmp_path, HUB, ZONE)
    started(both)
    damaged(both)
    hub = replace(both, chains=both.chains[:1])

    def full(*_: object) -> None:
        raise StoreFailure("the disk is full")

    with monkeypatch.context() as patched, pytest.raises(StoreFailure, match="is written already"):
        patched.setattr(state_file, "save", full)
        recover(hub, Heights(100), CORE)
    assert recover(hub, Heights(100), CORE).lost == ("zone",), "the new store is not taken for a whole one"


def corrupt_born(files: NodeFiles) -> None:
    for path in files.born_paths:
        path.write_text("{")


def older_born(files: NodeFiles) -> None:
    """As a version writes it that does not remember rows."""
    for path in files.born_paths:
        path.write_text(json.dumps({"ids": ["node0"], "epoch": 1, "members": files.members}))


def make_unnamed(tmp_path: Path, members: tuple[str, ...], left: Callable[[NodeFiles], None]) -> NodeFiles:
    """A home that has begun both chains, recovered without the second when nothing named it."""
    both = home_of(tmp_path, HUB, ZONE, members=members)
    started(both)
    both.store_path.unlink()
    left(both)
    done = recover(replace(both, chains=both.chains[:1]), Heights(100), CORE)
    assert (done.lost, done.lost_unnamed) == ((), True)
    return both


@pytest.mark.parametrize("left", [corrupt_born, older_born])
def test_a_chain_that_nothing_names_does_not_begin_at_its_state_file(
    tmp_path: Path, members: tuple[str, ...], left: Callable[[NodeFiles], None]
) -> None:
    both = make_unnamed(tmp_path, members, left)
    hub = replace(both, chains=both.chains[:1])
    assert opens(hub)[HUB].height == 100
    write_born(hub, 2)
    assert all(load_born(path).lost_unnamed for path in both.born_paths), "whoever writes it keeps that"
    write_born(hub, 1)
    assert recover(hub, Heights(200), CORE).lost_unnamed, "a whole store does not name them"
    asks = [lambda: open_node(both, CORE), lambda: refuse_lost(both, both.chains[1])]
    asks += [lambda: import_mark(both, both.chains[1], burnt(9), CORE)]
    for asked in asks:
        with pytest.raises(StateError, match=r"^zone: .*not known any more which.*recover --min-height zone="):
            asked()
    assert recover(both, Heights(300), CORE).lost_unnamed, "there may be a third one"
    assert opens(both) == {HUB: burnt_up_to(300).hrs, ZONE: burnt_up_to(300).hrs}


@pytest.mark.parametrize("state", ["missing", "nothing signed", "signed"])
@pytest.mark.parametrize("asked", ["import_mark", "raise_mark"])
def test_a_mark_from_elsewhere_begins_no_chain_while_what_is_lost_is_not_named(
    tmp_path: Path, members: tuple[str, ...], asked: str, state: str
) -> None:
    both = make_unnamed(tmp_path, members, corrupt_born)
    zone = both.chains[1]
    if state == "missing":
        zone.state_path.unlink()
    elif state == "nothing signed":
        state_file.save(zone.state_path, Watermark())
    before = survey(both.store_path)
    with pytest.raises(StateError, match=r"^zone: .*not known any more which.*recover --min-height zone="):
        ASKED[asked](both, zone)
    assert survey(both.store_path) == before
    state_file.save(zone.state_path, burnt(5))
    recover(both, Heights(300), CORE)
    import_mark(both, zone, burnt(301), CORE)
    assert opens(both)[ZONE] == HRS(301, 0, 2), "the operator's word was there first"


def test_who_reads_the_others_does_not_begin_there_either(tmp_path: Path) -> None:
    both = make_unnamed(tmp_path, THREE, corrupt_born)
    both.store_path.unlink()
    with pytest.raises(StateError, match=r"^zone: .*not known any more which"):
        open_node(both, CORE)
    assert opens(replace(both, chains=both.chains[:1]))[HUB].height == 100


def test_a_chain_that_was_never_signed_for_begins_in_such_a_home(tmp_path: Path, members: tuple[str, ...]) -> None:
    both = make_unnamed(tmp_path, members, older_born)
    third = home_of(tmp_path, HUB, Row(PUBLIC, "third"), members=members)
    state_file.save(third.chains[1].state_path, Watermark())
    assert opens(third)[third.chains[1].row] == HRS(0, 0, 0)
    state_file.save(both.chains[1].state_path, Watermark(HRS(5, 0, 2), sign_bytes(5), b"x" * 64))
    assert not state_file.says_nothing_was_signed(both.chains[1].state_path, "zone")


def test_what_has_not_lived_or_is_named_has_none_unnamed(tmp_path: Path, members: tuple[str, ...]) -> None:
    assert not recover(home_of(tmp_path / "new", HUB, members=members), Heights(100), CORE).lost_unnamed
    files = home_of(tmp_path / "old", HUB, members=members)
    started(files)
    assert not recover(files, Heights(100), CORE).lost_unnamed, "born.json names what was begun"
    older_born(files)
    assert recover(files, Heights(100), CORE).lost_unnamed, "the store may be an older copy"
    empty = home_of(tmp_path / "empty", HUB, members=THREE)
    opens(empty)
    assert not recover(empty, Heights(100), CORE).lost_unnamed, "it never promised"


@pytest.mark.parametrize("left", [corrupt_born, older_born])
def test_one_that_is_interrupted_goes_on_not_knowing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: Callable[[NodeFiles], None]
) -> None:
    both = home_of(tmp_path, HUB, ZONE)
    started(both)
    both.store_path.unlink()
    left(both)
    hub = replace(both, chains=both.chains[:1])

    def full(*_: object) -> None:
        raise StoreFailure("the disk is full")

    with monkeypatch.context() as patched, pytest.raises(StoreFailure, match="is written already"):
        patched.setattr(state_file, "save", full)
        recover(hub, Heights(100), CORE)
    assert recover(hub, Heights(100), CORE).lost_unnamed


@pytest.mark.parametrize("damaged_first", [False, True])
@pytest.mark.parametrize("older", ["from before the loss", "from before it was begun", "none"])
def test_an_older_priv_does_not_forget_what_is_lost(
    tmp_path: Path, members: tuple[str, ...], older: str, damaged_first: bool
) -> None:
    hub = home_of(tmp_path, HUB, members=members)
    started(hub)
    early = hub.born_paths[0].read_bytes()
    both = home_of(tmp_path, HUB, ZONE, members=members)
    started(both)
    late = both.born_paths[0].read_bytes()
    both.store_path.unlink()
    assert recover(hub, Heights(100), CORE).lost == ("zone",)
    if damaged_first:
        corrupt_born(both)
        with pytest.raises(StateError, match=r"cannot be understood; cure: restore the newest.*does not know of that"):
            read_born(both)
    for path in both.born_paths:
        path.unlink(missing_ok=True)
        if older != "none":
            path.write_bytes(late if older == "from before the loss" else early)
    with pytest.raises(StateError, match=r"^zone: .*promised there is lost.*recover --min-height zone="):
        open_node(both, CORE)
    if older != "none":
        assert opens(hub)[HUB].height == 100
        assert load_born(hub.born_paths[0]).lost == (ZONE,), "and it is said beside the key again"
        assert recover(both, Heights(300), CORE).lost == ()
        assert opens(both)[ZONE] == burnt_up_to(300).hrs
        assert load_born(beside_store(both)).lost == ()


def test_an_older_priv_does_not_forget_that_what_is_lost_is_not_named(tmp_path: Path, members: tuple[str, ...]) -> None:
    both = make_unnamed(tmp_path, members, corrupt_born)
    older_born(both)
    with pytest.raises(StateError, match=r"^zone: .*not known any more which"):
        open_node(both, CORE)


def test_what_stands_beside_the_store_says_nothing_but_what_is_lost(
    tmp_path: Path, members: tuple[str, ...], lost: NodeFiles
) -> None:
    assert load_born(beside_store(lost)) == Born(begun=(ZONE,), lost=(ZONE,))
    write_born(lost, 4, THREE)
    assert (read_epoch(lost), read_following(lost), read_born(lost)) == (4, THREE, ["node0"])
    assert load_born(beside_store(lost)) == Born(begun=(ZONE,), lost=(ZONE,))
    for path in lost.born_paths:
        path.unlink(missing_ok=True)
    assert (read_epoch(lost), read_following(lost), read_born(lost), read_born_members(lost)) == (1, (), [], [])


def test_a_home_that_lost_nothing_has_none_beside_its_store(tmp_path: Path, members: tuple[str, ...]) -> None:
    both = home_of(tmp_path, HUB, ZONE, members=members)
    started(both)
    recover(both, Heights(100), CORE)
    assert not beside_store(both).exists()


def test_a_recovery_that_is_interrupted_before_its_store_has_said_it_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = home_of(tmp_path, HUB, ZONE)
    started(both)

    def full(*_: object, **__: object) -> None:
        raise StoreFailure("the disk is full")

    with monkeypatch.context() as patched, pytest.raises(StoreFailure, match="the disk is full"):
        patched.setattr(PromiseStore, "create", full)
        recover(replace(both, chains=both.chains[:1]), Heights(100), CORE)
    assert load_born(beside_store(both)).lost == (ZONE,)


# --- where it is read ---


def test_a_home_that_goes_over_to_tables_and_back_loses_nothing(tmp_path: Path) -> None:
    """The state file moves from priv/ into a directory there, or out of it; born.json stays."""
    files = home_of(tmp_path, HUB)
    plain = NodeFiles.at(tmp_path, "node0", (ChainFiles(HUB, tmp_path / "priv" / "state.json"),))
    started(files)
    for before, after in ((files, plain), (plain, files)):
        before.chains[0].state_path.rename(after.chains[0].state_path)
        kept = after.store_path.read_bytes()
        after.store_path.unlink()
        with pytest.raises(StateError, match=f"{before.born_paths[0]} says that node 'node0' was born here"):
            open_node(after, CORE)
        after.store_path.write_bytes(kept)
        assert opens(after)[HUB] == HRS(7, 0, 2)
        before.born_paths[0].unlink()
        assert load_born(after.born_paths[0]).begun == (HUB,)


def test_a_file_that_was_left_behind_says_nothing_of_a_later_epoch(tmp_path: Path) -> None:
    files = home_of(tmp_path, HUB, members=THREE)
    left = tmp_path / "priv" / "born.json"
    save_born(left, Born(("node0",), 1, ("node0",), THREE))
    write_born(files, 2)
    assert (read_epoch(files), read_following(files), read_born_members(files)) == (2, (), list(THREE))
    recover(files, Heights(100), CORE)
    assert load_born(left).members == THREE
    left.write_text("{")
    with pytest.raises(StateError, match="cannot be understood"):
        read_born(files)
    recover(files, Heights(200), CORE)
    assert read_born(files) == ["node0"]


def test_what_was_lost_is_found_wherever_a_file_says_it(tmp_path: Path) -> None:
    both = home_of(tmp_path, HUB, ZONE)
    started(both)
    both.store_path.unlink()
    recover(replace(both, chains=both.chains[:1]), Heights(100), CORE)
    shutil.copy(both.born_paths[0], tmp_path / "priv" / "born.json")
    recover(both, Heights(200), CORE)
    assert opens(both)[ZONE].height == 200


# --- in the one place that no chain's path moves ---


def far_home(home: Path, *rows: Row, members: tuple[str, ...] = (), under: str = "keys/z") -> NodeFiles:
    """Its state files, at 5, lie neither in priv/ nor in a directory of it."""
    chains = tuple(ChainFiles(row, home / under / row.chain_id / "state.json") for row in rows)
    for chain in chains:
        if not chain.state_path.exists():
            chain.state_path.parent.mkdir(parents=True, exist_ok=True)
            state_file.save(chain.state_path, burnt(5))
    return NodeFiles.at(home, "node0", chains, members)


@pytest.mark.parametrize("under", ["keys/z", "priv/v/z", "keys"])
def test_what_is_lost_is_known_whichever_chains_are_configured_and_whichever_data_is_put_back(
    tmp_path: Path, members: tuple[str, ...], under: str
) -> None:
    every = far_home(tmp_path, HUB, ZONE, members=members, under=under)
    started(every)
    shutil.copytree(tmp_path / "data", tmp_path / "old")
    hub, zone = far_home(tmp_path, HUB, members=members, under=under), every.chains[1]
    assert recover(hub, Heights(100), CORE).lost == ("zone",)
    shutil.rmtree(tmp_path / "data")
    (tmp_path / "old").rename(tmp_path / "data")
    alone = replace(every, chains=(zone,))
    assert load_born(zone.state_path.with_name("born.json")).lost == (), "there nothing was written"
    with pytest.raises(StateError, match=rf"^zone: {tmp_path}/priv/born\.json says .*promised there is lost"):
        open_node(alone, CORE)
    recover(every, Heights(300), CORE)
    assert opens(alone)[ZONE] == burnt_up_to(300).hrs


def test_epochs_and_seals_are_known_there_too(tmp_path: Path) -> None:
    hub, zone = far_home(tmp_path, HUB), far_home(tmp_path, ZONE)
    started(hub)
    write_born(hub, 4, THREE, ended=SAID.ended)
    assert (read_born(zone), read_epoch(zone), read_following(zone)) == (["node0"], 4, THREE)
    assert load_born(tmp_path / "priv" / "born.json") == load_born(hub.born_paths[0])
    with pytest.raises(StateError, match=rf"{tmp_path}/priv/born\.json says that epoch 4 is sealed here"):
        epoch_due(zone)


def test_a_row_that_a_mark_from_elsewhere_adds_is_known_there_too(tmp_path: Path) -> None:
    both = far_home(tmp_path, HUB, ZONE)
    started(far_home(tmp_path, HUB))
    import_mark(both, both.chains[1], burnt(9), CORE)
    assert load_born(tmp_path / "priv" / "born.json").begun == (HUB, ZONE)


def test_it_is_made_for_the_homes_owner_and_only_where_it_is_needed(tmp_path: Path) -> None:
    started(far_home(tmp_path / "far", HUB))
    made, home = (tmp_path / "far" / "priv").stat(), (tmp_path / "far").stat()
    assert (made.st_mode & 0o777, made.st_uid, made.st_gid) == (0o700, home.st_uid, home.st_gid)
    near = home_of(tmp_path / "near", HUB)
    started(near)
    assert not (tmp_path / "near" / "priv" / "born.json").exists(), "beside the state file it is always read"


def test_where_it_cannot_be_written_a_start_says_so_and_only_what_is_lost_is_refused(
    tmp_path: Path, members: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(folder: Path) -> None:
        if folder == tmp_path / "priv":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    every = far_home(tmp_path, HUB, ZONE, members=members)
    hub = replace(every, chains=every.chains[:1])
    with monkeypatch.context() as patched:
        patched.setattr(home_born, "check_room_in", read_only)
        started(every)
        opened = open_node(every, CORE)
        opened.store.close()
        said = [one for one in opened.warnings if f"{tmp_path}/priv/born.json cannot be written: " in one]
        assert ["; cure: mount it writable; " in one for one in said] == [True]
        assert not (tmp_path / "priv" / "born.json").exists()
        recover(every, Heights(100), CORE)
        before = survey(every.store_path)
        with pytest.raises(StateError, match=r"priv/born\.json cannot be written: "):
            recover(hub, Heights(200), CORE)
        assert (survey(every.store_path), load_born(every.born_paths[0]).lost) == (before, ())
    opened = open_node(every, CORE)
    opened.store.close()
    assert not [one for one in opened.warnings if "born.json" in one]
    assert recover(hub, Heights(200), CORE).lost == ("zone",)


def test_a_priv_that_is_out_of_reach_is_not_taken_for_one_that_says_nothing(tmp_path: Path) -> None:
    files = far_home(tmp_path, HUB)
    started(files)
    (tmp_path / "priv").rename(tmp_path / "disk")
    (tmp_path / "priv").symlink_to(tmp_path / "gone")
    with pytest.raises(StateError, match=r"priv cannot be read: it is a link to .*gone, .*cure: mount"):
        read_born(files)
    (tmp_path / "priv").unlink()
    (tmp_path / "priv").symlink_to(tmp_path / "disk")
    assert opens(files)[HUB] == HRS(7, 0, 2)


def test_a_refusal_names_the_file_that_says_it(tmp_path: Path) -> None:
    files = home_of(tmp_path, HUB, ZONE)
    started(files)
    save_born(tmp_path / "priv" / "born.json", Born(("node0",), 1, ("node0",)))
    left = tmp_path / "priv" / "left" / "born.json"
    left.parent.mkdir()
    save_born(left, Born(begun=(ZONE,), lost=(ZONE,)))
    with pytest.raises(StateError, match=rf"^zone: {left} says that what this node promised there is lost"):
        open_node(files, CORE)


def test_two_nodes_state_files_in_one_directory_are_told_as_that_and_no_home_as_anothers(tmp_path: Path) -> None:
    first = far_home(tmp_path / "a", HUB, under="../states/hub")
    started(first)
    chain = ChainFiles(HUB, tmp_path / "b" / ".." / "states" / "hub" / "hub" / "second.json")
    (tmp_path / "b").mkdir()
    state_file.save(chain.state_path, burnt(5))
    second = NodeFiles.at(tmp_path / "b", "node1", (chain,))
    folder = tmp_path / "states" / "hub" / "hub"
    words = rf"^{folder} has the notes of node 'node0' beside its state file \({folder}/born\.json\), and this is node 'node1'; cure: another directory"
    with pytest.raises(StateError, match=words):
        open_node(second, CORE)
    with pytest.raises(StateError, match=words):
        recover(second, Heights(100), CORE)
    assert not second.store_path.exists()
    # the home itself says whose it is: its id was changed
    renamed = NodeFiles.at(tmp_path / "a", "node1", first.chains)
    shutil.rmtree(tmp_path / "a" / "data")
    with pytest.raises(StateError, match="this home belongs to node 'node0' and the id is now 'node1'"):
        open_node(renamed, CORE)
    # the cure
    own = replace(second, chains=(ChainFiles(HUB, tmp_path / "mine" / "second.json"),))
    (tmp_path / "mine").mkdir()
    state_file.save(own.chains[0].state_path, burnt(5))
    assert opens(own) == {HUB: HRS(5, 0, 2)}
