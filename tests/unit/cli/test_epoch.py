"""`cmkms epoch`: what it asks, refuses and prints.

(Its steps on running nodes: tests/e2e/test_epochs.py.)
"""

import fcntl
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cometkms.cli.epoch import command
from cometkms.core import choose
from cometkms.errors import BusyError, CometKMSError, ConfigError, OperatorError, StateError, StoreFailure
from cometkms.keys.validator_key import load_public_key
from cometkms.model import HRS, Incarnation, Row, Watermark
from cometkms.rules.birth import NodeState
from cometkms.rules.burnt import Heights
from cometkms.rules.epoch import Standing, doubt
from cometkms.store import state_file
from cometkms.store.born import Born, save_born
from cometkms.store.epoch import Seal, parse_seal, seal_text, sealed_header
from cometkms.store.lock import locked_home
from cometkms.store.node_files import ChainFiles, NodeFiles
from cometkms.store.node_store import open_node
from cometkms.store.promise_store import Header, PromiseStore
from cometkms.store.recover import recover
from tests.e2e.node import cmkms
from tests.unit.cli.fake_node import FakeNode

MEMBERS = ("node0", "node1", "node2")
LISTED = ",".join(MEMBERS)
PLACE = HRS(12, 0, 3)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """node0 of three, complete, its last promise at PLACE."""
    assert cmkms("testnet", "--dir", str(tmp_path / "net")).returncode == 0
    home = tmp_path / "net" / "node0"
    path = home / "data" / "node0" / "promises"
    path.parent.mkdir(parents=True)
    header = Header("node0", 1, MEMBERS, NodeState.COMPLETE, bytes(8), tuple(bytes(8) for _ in MEMBERS))
    PromiseStore.create(path, header, [(row_of(home), Watermark(PLACE))]).close()
    return home


def row_of(home: Path) -> Row:
    return Row(load_public_key(home / "priv" / "priv_validator_key.json"), "testnet-1")


def invoke(home: Path, *arguments: str, **options: Any) -> Result:
    verb, *rest = arguments
    return CliRunner().invoke(command, [verb, "--home", str(home), *rest], standalone_mode=False, **options)


def refusal(result: Result, kind: type[CometKMSError]) -> str:
    assert isinstance(result.exception, kind), result
    return str(result.exception)


def state_of(home: Path) -> dict[str, Any]:
    result = invoke(home, "show", "--json")
    assert result.exception is None, result
    return json.loads(result.output)


def seal_of(
    home: Path,
    node: str,
    *,
    epoch: int = 1,
    place: HRS = PLACE,
    following: tuple[str, ...] = MEMBERS,
    standing: Standing = Standing.CONFIRMED,
) -> str:
    return seal_text(Seal(node, epoch, MEMBERS, following, standing, ((row_of(home), Watermark(place)),)))


def of_here(home: Path) -> dict[str, Any]:
    """What show says of the home as it was made."""
    return {"node_id": home.name, "epoch": 1, "members": list(MEMBERS), "state": "complete", "next": []}


def flags(*texts: str) -> Iterator[str]:
    for text in texts:
        yield from ("--seal", text)


def test_show_reads_the_store_of_a_stopped_node_and_asks_a_running_one(home: Path) -> None:
    assert invoke(home, "show").output.splitlines() == [
        "epoch    1",
        "members  node0, node1, node2",
        "state    complete",
    ]
    answer = {"ok": True, "node_id": "a", "epoch": 7, "members": [{"id": "a"}, {"id": "b"}], "node_state": "starting"}
    running = FakeNode(home, "node0", answer)
    try:
        said = {"node_id": "a", "epoch": 7, "members": ["a", "b"], "state": "starting", "next": []}
        assert state_of(home) == said
    finally:
        running.close()


def test_show_of_a_node_that_never_ran_says_that(home: Path) -> None:
    other = home.with_name("node1")
    assert state_of(other) == {**of_here(other), "state": "no store yet"}


def test_a_disk_that_fills_behind_the_seal_is_told_with_what_is_sealed_already(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node does not start any more, and the same command is the way on."""

    def full(*_: object, **__: object) -> None:
        raise StoreFailure("born.json could not be written: no space left on device", cure="make room")

    with monkeypatch.context() as full_disk:
        full_disk.setattr("cometkms.store.epoch.write_born", full)
        failed = invoke(home, "seal", "--yes", "--next", ",".join(MEMBERS)).exception
    assert isinstance(failed, StoreFailure)
    assert f"is written already: epoch 1 is sealed here, for {', '.join(MEMBERS)};" in failed.what
    assert failed.cure == "make room, then the same command again, before the node is started"
    assert state_of(home)["state"] == "sealed"
    assert invoke(home, "seal", "--yes", "--next", ",".join(MEMBERS)).exception is None


def test_an_epoch_replaces_no_store_that_another_took_meanwhile(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The home's own lock file may be gone."""
    path = home / "data" / "node0" / "promises"
    before = path.stat().st_ino
    with path.open("rb") as other, monkeypatch.context() as patched:

        def take(members: int, shown: dict[str, Standing]) -> str:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return doubt(members, shown)

        patched.setattr("cometkms.store.epoch.doubt", take)
        said = refusal(invoke(home, "begin", *flags(*(seal_of(home, one) for one in MEMBERS))), BusyError)
    assert "promises is in use by another process" in said
    assert path.stat().st_ino == before
    assert invoke(home, "begin", *flags(*(seal_of(home, one) for one in MEMBERS))).exception is None


def test_seal_ends_the_nodes_promises_and_prints_one_line(home: Path) -> None:
    result = invoke(home, "seal", "--next", "node4, node0,node1", "--yes")
    assert result.exception is None, result
    assert len(result.stdout.splitlines()) == 1
    following = ("node0", "node1", "node4")
    sealed = Seal("node0", 1, MEMBERS, following, Standing.UNCONFIRMED, ((row_of(home), Watermark(PLACE)),))
    assert parse_seal(result.stdout) == sealed
    assert state_of(home) == {**of_here(home), "state": "sealed", "next": list(following)}
    assert "will demand a height to burn" in result.stderr


def test_a_program_reads_the_seal_and_where_the_next_epoch_begins(home: Path) -> None:
    document = json.loads(invoke(home, "seal", "--next", LISTED, "--yes", "--json").stdout)
    seal = document.pop("seal")
    assert document == state_of(home)
    assert seal == invoke(home, "seal", "--next", LISTED).stdout.strip()
    texts = (seal_of(home, "node0"), seal_of(home, "node1"))
    result = invoke(home, "begin", *flags(*texts), "--min-height", "20", "--yes-height", "20", "--json")
    assert result.exception is None, result
    begun = json.loads(result.stdout)
    assert begun["node_id"] == "node0"
    assert (begun["epoch"], begun["members"]) == (2, list(MEMBERS))
    assert begun["seals_of"] == ["node0", "node1"]
    assert [one["chain_id"] for one in begun["chains"]] == ["testnet-1"]
    assert begun["chains"][0]["height"] == 20
    assert "node0 begins epoch 2" in result.stderr


def test_seal_asks_and_a_no_changes_nothing(home: Path) -> None:
    refused = invoke(home, "seal", "--next", LISTED, input="n\n")
    assert "in scripts: --yes" in refusal(refused, OperatorError)
    assert refused.stdout == ""
    assert state_of(home)["state"] == "complete"
    assert "promises nothing more, for ever" in invoke(home, "seal", "--next", LISTED, input="y\n").stderr
    assert state_of(home)["state"] == "sealed"


def test_a_sealed_node_prints_its_seal_again_without_asking(home: Path) -> None:
    first = invoke(home, "seal", "--next", LISTED, "--yes").stdout
    again = invoke(home, "seal", "--next", LISTED)
    assert (again.exception, again.stdout) == (None, first)


def test_a_sealed_node_is_sealed_for_nobody_else_ever(home: Path) -> None:
    """Else the same majority of seals would begin two epochs."""
    first = invoke(home, "seal", "--next", LISTED, "--yes").stdout
    refused = invoke(home, "seal", "--next", "node3", "--yes")
    assert "sealed for other members than node3, for ever" in refusal(refused, StateError)
    assert refused.stdout == ""
    assert invoke(home, "seal", "--next", LISTED).stdout == first


@pytest.mark.parametrize("listed", ["", ",", "node0,node0", ",".join(f"n{number}" for number in range(8)), "x" * 65])
def test_a_seal_names_who_follows(home: Path, listed: str) -> None:
    if listed == "node0,node0":
        assert "different ids" in refusal(invoke(home, "seal", "--next", listed, "--yes"), StateError)
    else:
        assert "the next members" in refusal(invoke(home, "seal", "--next", listed, "--yes"), StateError)
    assert state_of(home) == of_here(home)


def test_a_store_that_an_older_version_sealed_is_bound_once(home: Path) -> None:
    """Its old seals are refused; the node says for whom, and then for nobody else."""
    path = home / "data" / "node0" / "promises"
    store = PromiseStore.open(path)
    store.write_header(replace(store.header, state=NodeState.SEALED))
    store.close()
    assert parse_seal(invoke(home, "seal", "--next", LISTED).stdout).following == MEMBERS
    refusal(invoke(home, "seal", "--next", "node0"), StateError)
    old = "cmkms-seal-1:AAAA"
    said = refusal(invoke(home, "begin", *flags(old, seal_of(home, "node1"))), StateError)
    assert "older version" in said
    assert "cmkms epoch seal --next LIST" in said


def test_a_store_behind_its_state_file_is_sealed_as_one_that_may_be_an_old_copy(home: Path) -> None:
    state = home / "priv" / "priv_validator_state.json"
    state_file.save(state, Watermark(HRS(13, 0, 1)))
    sealed = parse_seal(invoke(home, "seal", "--next", LISTED, "--yes").stdout)
    assert sealed.standing is Standing.BEHIND
    assert sealed.marks[0][1].hrs == HRS(13, 0, 1)


@pytest.mark.parametrize("confirmed", [True, False])
def test_what_the_others_sign_after_a_seal_takes_nothing_from_it(home: Path, confirmed: bool) -> None:
    """A node that was sealed while it ran follows the signatures of those that are not sealed yet:
    its state file then is ahead.
    """
    store = PromiseStore.open(home / "data" / "node0" / "promises")
    store.write_header(sealed_header(store.header, MEMBERS, confirmed=confirmed))
    store.close()
    state_file.save(home / "priv" / "priv_validator_state.json", Watermark(HRS(13, 0, 1)))
    sealed = parse_seal(invoke(home, "seal", "--next", LISTED).stdout)
    assert sealed.standing is (Standing.CONFIRMED if confirmed else Standing.BEHIND)
    assert sealed.marks[0][1].hrs == HRS(13, 0, 1), "and what is known is in the seal"


def test_an_old_copy_of_an_epoch_that_is_over_has_no_seal(home: Path) -> None:
    born = home / "priv" / "born.json"
    born.write_text(json.dumps({"ids": ["node0"], "epoch": 2, "members": list(MEMBERS)}))
    said = refusal(invoke(home, "seal", "--next", LISTED, "--yes"), StateError)
    assert "an old copy was put back" in said


def test_a_running_node_is_asked_for_its_seal(home: Path) -> None:
    text = seal_of(home, "node0")
    answer = {"ok": True, "node_id": "node0", "epoch": 1, "members": [{"id": "node0"}], "node_state": "complete"}
    running = FakeNode(home, "node0", {**answer, "seal": text})
    try:
        result = invoke(home, "seal", "--next", LISTED, "--yes")
        assert result.stdout == text + "\n"
        assert running.asked[-1] == {"op": "seal", "next": LISTED}
    finally:
        running.close()


def lose_another(home: Path) -> Row:
    """A chain that is not configured, at 6 in the store, is lost."""
    row = Row(row_of(home).public_key, "zone")
    store = PromiseStore.open(home / "data" / "node0" / "promises")
    store.add_row(row, Watermark(HRS(6, 0, 2)))
    store.close()
    save_born(home / "priv" / "born.json", Born(("node0",), 1, MEMBERS, begun=(row,), lost=(row,)))
    return row


def put_out_another(home: Path) -> Row:
    row = lose_another(home)
    save_born(home / "priv" / "born.json", Born(("node0",), 1, MEMBERS, begun=(row,)))
    (home / "data" / "node0" / "exported.json").write_text(
        '{"format": 1, "chains": {"zone": ["filepv", "/x", "6/0/2"]}}'
    )
    return row


@pytest.mark.parametrize("runs", [False, True])
@pytest.mark.parametrize("known", [lose_another, put_out_another])
def test_no_node_is_sealed_that_does_not_know_a_chain_that_is_not_configured(
    home: Path, runs: bool, known: Callable[[Path], Row]
) -> None:
    known(home)
    answer = {"ok": True, "node_id": "node0", "epoch": 1, "members": [{"id": "node0"}], "node_state": "complete"}
    running = FakeNode(home, "node0", {**answer, "seal": seal_of(home, "node0")}) if runs else None
    try:
        said = refusal(invoke(home, "seal", "--next", LISTED, "--yes"), StateError)
        assert running is None or all(one["op"] != "seal" for one in running.asked)
    finally:
        if running is not None:
            running.close()
    assert said.startswith("zone: ")
    assert "put this chain's table back into config.toml" in said
    assert of_here(home) == state_of(home)


def test_a_node_that_was_just_started_is_waited_for(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds its home and does not listen yet: it is not taken for a stopped one, whose seal
    would vouch for less.
    """
    text = seal_of(home, "node0")
    answer = {"ok": True, "node_id": "node0", "epoch": 1, "members": [{"id": "node0"}], "node_state": "complete"}
    running: list[FakeNode] = []
    monkeypatch.setattr(
        "cometkms.cli.epoch.time.sleep",
        lambda _s: running.append(FakeNode(home, "node0", {**answer, "seal": text})),
    )
    with locked_home(home):
        result = invoke(home, "seal", "--next", LISTED, "--yes")
    assert (result.stdout, len(running)) == (text + "\n", 1)
    running[0].close()


def test_a_node_without_a_store_has_no_seal(home: Path) -> None:
    """It may have promised and lost it: what it would print would be a lie."""
    (home / "data" / "node0" / "promises").unlink()
    assert "no seal to give" in refusal(invoke(home, "seal", "--next", LISTED, "--yes"), StateError)


@pytest.mark.parametrize("verb", ["show", "seal", "begin"])
def test_a_running_node_is_not_touched(home: Path, verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cometkms.cli.epoch.CONTROL_TIMEOUT_S", 0.3)
    seals = flags(seal_of(home, "node0"), seal_of(home, "node1"))
    more = {"show": [], "seal": ["--next", LISTED, "--yes"], "begin": ["--members", LISTED, *seals]}[verb]
    with locked_home(home):
        refusal(invoke(home, verb, *more), BusyError)
    assert state_of(home) == of_here(home)


def test_begin_takes_seals_from_flags_and_files_and_tells_where_it_stands(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "two.seals"
    file.write_text(f"{seal_of(home, 'node1', place=HRS(13, 0, 1))}\n\n{seal_of(home, 'node2')}\n")
    result = invoke(
        home, "begin", "--members", "node2, node1,node0", *flags(seal_of(home, "node0")), "--seal-file", str(file)
    )  # fmt: skip
    assert result.exception is None, result
    assert result.output.splitlines()[:3] == [
        "node0 begins epoch 2 with node0, node1, node2",
        "from the seals of node0, node1, node2",
        "chain testnet-1  height 13 round 0 step 1 (burnt)",
    ]
    assert state_of(home) == {**of_here(home), "epoch": 2}


def test_a_member_that_was_left_in_the_earlier_epoch_follows_with_the_others_seals(home: Path) -> None:
    """What its peers' refusal tells it (api/cures.py): it was not sealed itself."""
    result = invoke(home, "begin", *flags(seal_of(home, "node1"), seal_of(home, "node2")))
    assert result.exception is None, result
    assert state_of(home) == {**of_here(home), "epoch": 2}


def test_begin_a_second_time_changes_nothing(home: Path) -> None:
    """Else what was promised since would be forgotten."""
    seals = [*flags(seal_of(home, "node0"), seal_of(home, "node1"))]
    assert invoke(home, "begin", "--members", ",".join(MEMBERS), *seals).exception is None
    assert "of epoch 2 already" in refusal(invoke(home, "begin", "--members", ",".join(MEMBERS), *seals), StateError)


def test_begin_wants_the_members_said_twice(home: Path) -> None:
    """A peer list that was forgotten on one node would be another epoch's."""
    seals = flags(seal_of(home, "node0"), seal_of(home, "node1"))
    said = refusal(invoke(home, "begin", "--members", "node0,node1", *seals), ConfigError)
    assert "names node0, node1 and the peer list of this node node0, node1, node2" in said
    assert state_of(home)["epoch"] == 1


@pytest.mark.parametrize(
    ("owners", "words"),
    [
        ([], "no seal was given"),
        (["node0"], "a majority is 2"),
        (["node0", "node0"], "a majority is 2"),
        (["node0", "node9"], "was no member"),
        (["node0", "epoch 2"], "different epochs"),
        (["node0", "half"], "is no seal"),
        (["node0", "nonsense"], "is no seal"),
    ],
)
def test_begin_without_a_majority_of_one_epoch_changes_nothing(home: Path, owners: list[str], words: str) -> None:
    odd = {
        "epoch 2": seal_of(home, "node1", epoch=2),
        "half": seal_of(home, "node1")[:-8],
        "nonsense": "nonsense",
    }
    seals = flags(*(odd.get(owner) or seal_of(home, owner) for owner in owners))
    assert words in refusal(invoke(home, "begin", "--members", ",".join(MEMBERS), *seals), StateError)
    assert state_of(home) == of_here(home)


def test_seals_begin_no_other_epoch_than_the_one_they_name(home: Path) -> None:
    """The same two seals began two epochs: node3 alone, and node0, node1 and node4."""
    elsewhere = flags(*(seal_of(home, node, following=("node3",)) for node in ("node0", "node1")))
    said = refusal(invoke(home, "begin", *elsewhere), StateError)
    assert "the seals name node3 as the members of epoch 2, and the peer list of this node node0, node1, node2" in said
    mixed = flags(seal_of(home, "node0"), seal_of(home, "node1", following=("node3",)))
    assert "must be sealed for the same" in refusal(invoke(home, "begin", *mixed), StateError)
    assert state_of(home) == of_here(home)


@pytest.mark.parametrize(
    ("standings", "vouch"),
    [
        ("CC", True),
        ("CU", False),
        ("UU", False),
        ("CCU", True),
        ("UUU", True),
        ("CCB", True),
        ("CB", False),
        ("UBB", False),
    ],
)
def test_seals_that_cannot_vouch_demand_a_height(home: Path, standings: str, vouch: bool) -> None:
    """A store that was put back shows nothing of what it forgot; then only the chain knows."""
    word = {"C": Standing.CONFIRMED, "U": Standing.UNCONFIRMED, "B": Standing.BEHIND}
    seals = list(
        flags(*(seal_of(home, node, standing=word[one]) for node, one in zip(MEMBERS, standings, strict=False)))
    )
    result = invoke(home, "begin", *seals)
    if vouch:
        assert result.exception is None, result
        return
    said = refusal(result, StateError)
    assert "do not show all that epoch 1 may have signed" in said
    assert "--min-height" in said
    assert state_of(home) == of_here(home)
    assert "nobody is there to type it" in refusal(invoke(home, "begin", *seals, "--min-height", "20"), StateError)
    burnt = invoke(home, "begin", *seals, "--min-height", "20", "--yes-height", "20")
    assert "chain testnet-1  height 20 round 2147483647 step 3 (burnt)" in burnt.output
    assert state_of(home) == {**of_here(home), "epoch": 2}


def test_a_member_that_was_in_the_new_epoch_does_not_begin_it_again(home: Path) -> None:
    """born.json says that it was: it recovers."""
    seals = list(flags(seal_of(home, "node1"), seal_of(home, "node2")))
    assert invoke(home, "begin", *seals).exception is None
    kept = (home / "data" / "node0" / "promises.epoch-1").read_bytes()
    (home / "data" / "node0" / "promises").unlink()
    assert "was in epoch 2 already" in refusal(invoke(home, "begin", *seals), StateError)
    (home / "data" / "node0" / "promises").write_bytes(kept)
    assert "an old copy was put back" in refusal(invoke(home, "begin", *seals), StateError)


def test_a_seal_of_a_store_that_another_has_replaced_since_is_not_believed(home: Path) -> None:
    """node1 was sealed, lost, and came back with a new store: what that one promised its first seal
    does not show.
    """
    ended = parse_seal(seal_of(home, "node1"))
    later = replace(parse_seal(seal_of(home, "node2")), known=(("node1", Incarnation(1, 5)),))
    said = refusal(invoke(home, "begin", *flags(seal_text(ended), seal_text(later))), StateError)
    assert "the seal of node1 is of an earlier store" in said
    assert "data/ moved aside on each" in said, "test_nobody_recovers_into_an_epoch_that_he_has_sealed has it done"
    now = replace(ended, incarnation=Incarnation(1, 5))
    assert parse_seal(seal_text(now)) == now
    assert invoke(home, "begin", *flags(seal_text(now), seal_text(later))).exception is None


def recovered(home: Path, *, known: Incarnation) -> str:
    """node0 as `cmkms recover` left it; node1's seal, which has recorded `known` of node0."""
    chain = ChainFiles(row_of(home), home / "priv" / "priv_validator_state.json")
    recover(NodeFiles.at(home, "node0", (chain,), MEMBERS), Heights(20), choose.load())
    return seal_text(replace(parse_seal(seal_of(home, "node1")), known=(("node0", known),)))


def test_a_recovered_store_that_met_nobody_is_sealed_only_with_the_others_seals(home: Path) -> None:
    """Else it bears the incarnation of its earlier store, or none, and who has recorded a higher
    one refuses its seal for ever.
    """
    one = recovered(home, known=Incarnation(7, 3))
    said = refusal(invoke(home, "seal", "--next", LISTED, "--yes"), StateError)
    assert "has not met 1 of node1, node2 since" in said
    assert "cure: start it while 1 of node1, node2 runs, and seal it then" in said
    assert "--seal-file" in said
    assert state_of(home)["state"] == "complete"
    result = invoke(home, "seal", "--next", LISTED, "--yes", *flags(one))
    assert result.exception is None, result
    sealed = parse_seal(result.stdout)
    assert sealed.incarnation.number == 8, "above what the other has recorded"
    assert [mark.hrs.height for _, mark in sealed.marks] == [20]
    again = parse_seal(invoke(home, "seal", "--next", LISTED, "--yes").stdout)
    assert again == sealed, "and again, without them"
    seals = [*flags(one, seal_text(sealed)), "--min-height", "20", "--yes-height", "20"]
    assert invoke(home, "begin", *seals).exception is None


def test_with_strict_start_a_recovered_store_needs_the_seals_of_all_others(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it runs it counts only when all have recorded it: an earlier store of it may live on
    beside one that is not sealed.
    """
    one = recovered(home, known=Incarnation(7, 3))
    monkeypatch.setenv("COMETKMS_STRICT_START", "true")
    said = refusal(invoke(home, "seal", "--next", LISTED, "--yes", *flags(one)), StateError)
    assert "has not met node1, node2 since" in said
    two = seal_text(replace(parse_seal(seal_of(home, "node2")), known=(("node0", Incarnation(9, 1)),)))
    result = invoke(home, "seal", "--next", LISTED, "--yes", *flags(one, two))
    assert parse_seal(result.stdout).incarnation.number == 10


def test_a_store_that_another_stood_for_since_is_not_sealed(home: Path) -> None:
    """Its seal would be refused for ever, and a sealed store is not recovered any more."""
    one = seal_text(replace(parse_seal(seal_of(home, "node1")), known=(("node0", Incarnation(2, 3)),)))
    said = refusal(invoke(home, "seal", "--next", LISTED, "--yes", *flags(one)), StateError)
    assert "the seal of node1 has recorded 2-0000000000000003 of this member, and the store here is 0-" in said
    assert "cmkms recover --min-height" in said
    assert state_of(home)["state"] == "complete"
    recovered(home, known=Incarnation(2, 3))
    assert parse_seal(invoke(home, "seal", "--next", LISTED, "--yes", *flags(one)).stdout).incarnation.number == 3


@pytest.mark.parametrize("other", ["of another epoch", "for another list"])
def test_a_seal_of_another_change_speaks_for_nobody(home: Path, other: str) -> None:
    one = seal_of(home, "node1", epoch=4) if "epoch" in other else seal_of(home, "node1", following=("node1",))
    words = "is of epoch 4" if "epoch" in other else "names node1 as the next members"
    assert words in refusal(invoke(home, "seal", "--next", LISTED, "--yes", *flags(one)), StateError)
    assert state_of(home)["state"] == "complete"


def test_a_sealed_node_that_lost_its_store_takes_no_part_in_its_epoch_any_more(home: Path) -> None:
    """Its seal is out: it recovers among those who follow, or stays stopped."""
    files = NodeFiles.at(
        home, "node0", (ChainFiles(row_of(home), home / "priv" / "priv_validator_state.json"),), MEMBERS
    )
    assert invoke(home, "seal", "--next", LISTED, "--yes").exception is None
    kept = files.store_path.with_name("kept")
    files.store_path.rename(kept)
    opened = open_node(files, choose.load())
    assert (opened.store.header.epoch, opened.store.header.state) == (2, NodeState.RECOVERING)
    opened.store.close()
    files.store_path.unlink()
    with pytest.raises(
        StateError, match="is sealed here, for node0, node1, node2, and the peer list names node0, node1"
    ):
        open_node(replace(files, members=("node0", "node1")), choose.load())
    store = PromiseStore.open(kept)
    store.write_header(replace(store.header, state=NodeState.COMPLETE, following=b""))
    store.close()
    kept.rename(files.store_path)  # data/ alone is put back, as it was before it was sealed
    opened = open_node(files, choose.load())
    assert (opened.store.header.epoch, opened.store.header.state) == (2, NodeState.RECOVERING)
    assert "An old copy was put back" in opened.warnings[0]
    opened.store.close()


def test_nobody_recovers_into_an_epoch_that_he_has_sealed(home: Path) -> None:
    files = NodeFiles.at(
        home, "node0", (ChainFiles(row_of(home), home / "priv" / "priv_validator_state.json"),), MEMBERS
    )
    assert invoke(home, "seal", "--next", LISTED, "--yes").exception is None
    with pytest.raises(StateError, match="there is no way back into it"):
        recover(files, Heights(20), choose.load())
    assert state_of(home)["state"] == "sealed"
    files.store_path.unlink()
    recover(
        files, Heights(20), choose.load()
    )  # the operator's word for all that it may have promised, in the next epoch
    assert state_of(home) == {**of_here(home), "epoch": 2}


def test_an_old_member_without_its_store_recovers_instead_of_beginning(home: Path) -> None:
    """Whether it began before and lost that cannot be known."""
    (home / "data" / "node0" / "promises").unlink()
    seals = list(flags(seal_of(home, "node1"), seal_of(home, "node2")))
    assert "whether it began epoch 2 before is not known" in refusal(invoke(home, "begin", *seals), StateError)


def test_an_old_member_with_the_store_of_an_earlier_epoch_recovers_instead_of_beginning(home: Path) -> None:
    """It is as good as none: what it promised in the epoch that ends, and whether it began the
    next, is not there.
    """
    seals = list(flags(seal_of(home, "node1", epoch=2), seal_of(home, "node2", epoch=2)))
    assert "whether it began epoch 3 before is not known" in refusal(invoke(home, "begin", *seals), StateError)
    assert state_of(home) == of_here(home)


def test_begin_leaves_the_old_log_behind(home: Path) -> None:
    """Else a majority of the new members waits for the rest, whose log cannot have anything."""
    log = home / "data" / "node0" / "raft"
    log.write_bytes(b"the old one")
    assert invoke(home, "begin", *flags(seal_of(home, "node1"), seal_of(home, "node2"))).exception is None
    assert log.with_name("raft.epoch-1").read_bytes() == b"the old one"
    assert not log.exists()


@pytest.mark.parametrize("broken", [OSError("no room"), StoreFailure("no room")])
def test_begin_that_is_interrupted_leaves_the_sealed_store_and_is_repeated(
    home: Path, broken: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    seals = list(flags(seal_of(home, "node1"), seal_of(home, "node2")))

    def fail(*_: object) -> None:
        raise broken

    with monkeypatch.context() as patched:
        patched.setattr("cometkms.store.epoch.write_atomically", fail)
        refusal(invoke(home, "begin", *seals), StoreFailure)
    assert state_of(home) == of_here(home)
    assert invoke(home, "begin", *seals).exception is None
    assert state_of(home) == {**of_here(home), "epoch": 2}


def test_a_seal_file_that_is_missing_is_named(home: Path) -> None:
    said = refusal(invoke(home, "begin", "--members", ",".join(MEMBERS), "--seal-file", "/no/such"), StateError)
    assert "/no/such cannot be read" in said
