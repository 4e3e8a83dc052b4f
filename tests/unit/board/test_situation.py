"""The table of situations: every cell, from a board that says so; and the document that
has the same table.
"""

import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from cometkms.api.history import History
from cometkms.api.page import whole
from cometkms.api.status import compose_status
from cometkms.api.view import view_of
from cometkms.board.situation import BEAT_LATE_S, TABLE, Leads, Signs, Situation, There, situation_of
from cometkms.board.trouble import find_trouble
from cometkms.cli.status import table
from tests.unit.api.boards import NOW, FakeBoard

CHAIN = "chain-a"


def board_of(leads: Leads, there: There = There.ALL, signs: Signs = Signs.SIGNED) -> FakeBoard:
    """Three nodes (or one), of which this one is node0."""
    board = FakeBoard()
    state: Any = board.sections_now["state"]
    signer: Any = board.sections_now["signer"]
    present = {There.ALONE: 1, There.ALL: 3, There.SPARE: 4, There.BARE: 2, There.SHORT: 1, There.UNKNOWN: 0}[there]
    size = {There.ALONE: 1, There.SPARE: 5, There.UNKNOWN: 0}.get(there, 3)
    state["members"] = [
        {"id": f"node{number}", "self": number == 0, "connected": number < present, "state": "complete", "marks": [],
         "error": "" if number < present else "connection refused"}
        for number in range(size)
    ]  # fmt: skip
    state["node_state"] = "complete"
    state["rows"] = [{"chain_id": CHAIN, "signed_at": NOW - 1 if signs is Signs.SIGNED else NOW - 3000}]
    signer["chains"] = [one for one in signer["chains"] if one["chain_id"] == CHAIN]
    link = signer["chains"][0]["validators"][0]
    signer["chains"][0]["last_signed_at"] = None
    if signs in (Signs.REFUSED, Signs.UNANSWERED):
        reason = "wrong_chain" if signs is Signs.REFUSED else "no_permit"
        link.update(signed_at=None, failing={"count": 7, "since": NOW - 30, "at": NOW - 1, "reason": reason, "why": ""})
    if signs is Signs.NO_VALIDATOR:
        link["state"] = "waiting"
    if signs is Signs.UNKNOWN and leads is Leads.HERE:
        board.ages["signer"] = BEAT_LATE_S + 1
    match leads:
        case Leads.HERE:
            state.update(leader_id="node0", is_leader=True)
        case Leads.WAITING:
            state.update(leader_id="node0", is_leader=False)
        case Leads.ELSEWHERE:
            state.update(leader_id="node1", is_leader=False)
            link["state"] = "standby"
        case Leads.NOBODY:
            state.update(leader_id=None, is_leader=False)
            link["state"] = "standby"
        case Leads.UNKNOWN:
            board.ages["state"] = BEAT_LATE_S + 1
    return board


def of(board: FakeBoard) -> Situation:
    return situation_of(board.sections(), board.beat_ages_s(), NOW)


CELLS = [
    (leads, there, signs)
    for (leads, signs), there in product(TABLE, There)
    if there is not There.UNKNOWN and not (leads is Leads.ELSEWHERE and there is There.ALONE)
]


@pytest.mark.parametrize(("leads", "there", "signs"), CELLS)
def test_every_cell_is_found_and_every_voice_says_the_same(leads: Leads, there: There, signs: Signs) -> None:
    board = board_of(leads, there, signs)
    found = of(board)
    assert (found.leads, found.signs) == (leads, signs)
    assert found.there is (There.UNKNOWN if leads is Leads.UNKNOWN else there)
    healthy, verdict = TABLE[leads, signs]
    status = compose_status(board.sections(), board.beat_ages_s(), NOW)
    assert status["healthy"] is healthy
    assert found.healthy is healthy
    assert bool(find_trouble(board.sections(), board.beat_ages_s(), NOW)) is not healthy
    assert status["situation"]["verdict"] == verdict
    page = whole(view_of(status, History(), [], NOW))
    assert f"<h1>{found.headline}</h1>" in page
    assert verdict in page
    assert any(found.headline in line for line in table(dict(status)))
    says_signs = "leads and signs" in found.headline
    assert says_signs is (signs is Signs.SIGNED)
    assert ("othing is signed" in found.headline) is (verdict == "Not signing" and leads is not Leads.WAITING)


def test_whoever_is_away_is_named_where_a_majority_is_missing() -> None:
    assert of(board_of(Leads.NOBODY, There.SHORT)).headline == (
        "Nobody leads, as far as node0 knows. Nothing is signed: 1 of 3 nodes is there, 2 are needed "
        "(node1: connection refused, node2: connection refused)."
    )
    assert of(board_of(Leads.NOBODY, There.BARE)).headline.endswith("Nothing is signed: a leader is being elected.")


def test_a_leader_beside_sealed_members_says_how_many_are_complete() -> None:
    """They hear it and vote for it, and promise nothing any more: it leads, and every request is
    answered empty.
    """
    situation = of(board_of(Leads.HERE, There.SHORT, Signs.UNANSWERED))
    assert " are needed; every request of " in situation.headline
    assert f"Nothing is signed: {situation.present} of {situation.size} nodes " in situation.headline
    assert any(f"{situation.quorum} are needed" in words for words in situation.trouble())
    assert "are needed" not in of(board_of(Leads.HERE, There.ALL, Signs.UNANSWERED)).headline


def test_one_that_was_taken_out_does_not_say_that_nobody_signs() -> None:
    """The others go on in an epoch that it is no part of, and it cannot see them."""
    why = "epoch 1 was sealed here, for node1, node2 and without node0"
    for following, headline, absent in (
        (["node1", "node2"], f"node0 was taken out: {why}.", False),
        (["node0", "node1"], f"Nobody leads, as far as node0 knows. Nothing is signed: {why}.", True),
    ):
        board = board_of(Leads.NOBODY, There.SHORT)
        board.sections_now["state"].update(node_state="sealed", why=why, next=following)  # type: ignore[union-attr]
        assert of(board).headline == headline
        assert bool(of(board).absence) is absent
        assert not of(board).healthy
        assert find_trouble(board.sections(), board.beat_ages_s(), NOW) == [why]
    board = board_of(Leads.ELSEWHERE)
    board.sections_now["state"].update(node_state="sealed", why=why, next=["node1", "node2"])  # type: ignore[union-attr]
    assert of(board).headline == "node1 leads and signs. node0 is sealed and does not count."


def test_a_node_that_does_not_count_says_so_whoever_leads() -> None:
    board = board_of(Leads.ELSEWHERE)
    board.sections_now["state"].update(node_state="recovering", why="what it promised is lost")  # type: ignore[union-attr]
    assert of(board).headline == "node1 leads and signs. node0 is recovering and does not count."
    assert find_trouble(board.sections(), board.beat_ages_s(), NOW) == ["what it promised is lost"]


@pytest.mark.parametrize(("leads", "healthy"), [(Leads.NOBODY, False), (Leads.WAITING, False), (Leads.ELSEWHERE, True)])
def test_why_nobody_leads_is_said_once_and_is_no_fault_of_a_complete_node(leads: Leads, healthy: bool) -> None:
    """The state process says it in its words, too, which are of a moment in which a leader may have
    been elected already.
    """
    board = board_of(leads, There.SHORT)
    before = of(board)
    board.sections_now["state"].update(why="nobody leads: node1, node2 not connected here")  # type: ignore[union-attr]
    assert (of(board).headline, of(board).absence) == (before.headline, before.absence)
    assert of(board).healthy is healthy


@pytest.mark.parametrize("name", ["state", "signer"])
@pytest.mark.parametrize("how", ["backoff", "booting", "late"])
def test_what_a_process_wrote_that_does_not_answer_is_of_the_past(name: str, how: str) -> None:
    board = board_of(Leads.HERE)
    if how == "late":
        board.ages[name] = BEAT_LATE_S + 0.1
    else:
        children: Any = board.sections_now["supervisor"]["children"]  # type: ignore[index]
        next(one for one in children if one["name"] == name)["state"] = how
    assert of(board).leads is (Leads.UNKNOWN if name == "state" else Leads.HERE)
    assert of(board).signs is Signs.UNKNOWN
    status = compose_status(board.sections(), board.beat_ages_s(), NOW)
    assert not status["healthy"]
    assert status["is_leader"] is (name != "state")
    assert status["chains"][0]["validators"] == [] or name == "state"


@pytest.mark.parametrize(
    ("row", "signs"),
    [
        ({"count": 1, "since": NOW - 30, "at": NOW - 30}, Signs.SIGNED),  # one is an accident
        ({"count": 9, "since": NOW - 1, "at": NOW}, Signs.SIGNED),  # many within a moment are, too
        ({"count": 2, "since": NOW - 30, "at": NOW - 20}, Signs.REFUSED),
        (None, Signs.SIGNED),
    ],
)
def test_how_many_refusals_are_all_of_them(row: Any, signs: Signs) -> None:
    board = board_of(Leads.HERE)
    board.sections_now["state"]["rows"][0]["signed_at"] = NOW - 50  # type: ignore[index]
    link = board.sections_now["signer"]["chains"][0]["validators"][0]  # type: ignore[index]
    link.update(failing={**row, "reason": "jump", "why": ""} if row else None, signed_at=NOW - 100)
    assert of(board).signs is signs


def test_refusals_right_behind_a_signature_count_though_the_state_process_learned_of_it_after_them() -> None:
    board = board_of(Leads.HERE)
    board.sections_now["state"]["rows"][0]["signed_at"] = NOW - 29.98  # type: ignore[index]
    link = board.sections_now["signer"]["chains"][0]["validators"][0]  # type: ignore[index]
    link.update(
        signed_at=NOW - 30, failing={"count": 3, "since": NOW - 29.995, "at": NOW - 29.99, "reason": "jump", "why": ""}
    )
    assert of(board).signs is Signs.REFUSED
    assert [one.reason for one in of(board).failing] == ["jump"]


@pytest.mark.parametrize("leads", [Leads.HERE, Leads.ELSEWHERE])
def test_a_signature_of_before_the_clock_was_set_back_is_not_shown_as_a_fresh_one(leads: Leads) -> None:
    board = board_of(leads)
    board.sections_now["state"]["rows"][0]["signed_at"] = NOW + 7200  # type: ignore[index]
    assert of(board).signs is (Signs.NOT_ASKED if leads is Leads.HERE else Signs.NOT_SEEN)


def test_after_the_clock_was_set_back_refusals_count_at_once() -> None:
    board = board_of(Leads.HERE)
    board.sections_now["state"]["rows"][0]["signed_at"] = NOW + 7200  # type: ignore[index]
    link = board.sections_now["signer"]["chains"][0]["validators"][0]  # type: ignore[index]
    row = {"count": 9, "since": NOW - 5, "at": NOW - 0.1, "reason": "wrong_chain", "why": ""}
    link.update(signed_at=NOW + 7199, failing=row)
    assert (of(board).signs, len(of(board).failing)) == (Signs.REFUSED, 1)
    row.update(since=NOW + 7205, at=NOW + 7210)  # nothing was asked for since it was set back
    link["signed_at"] = NOW + 7200
    assert of(board).signs is Signs.REFUSED


def test_what_failed_before_another_node_signed_is_over() -> None:
    board = board_of(Leads.HERE, signs=Signs.REFUSED)
    board.sections_now["state"]["rows"][0]["signed_at"] = NOW - 0.5  # type: ignore[index]
    assert of(board).signs is Signs.SIGNED
    assert of(board).failing == ()


def test_a_second_validator_that_is_served_keeps_the_chain_signed_and_its_loss_does_not() -> None:
    board = board_of(Leads.HERE, signs=Signs.REFUSED)
    links: Any = board.sections_now["signer"]["chains"][0]["validators"]  # type: ignore[index]
    links.append({"addr": "tcp://b:1", "state": "connected", "signed_at": NOW - 0.5, "failing": None})
    assert of(board).signs is not Signs.REFUSED
    assert [one.validator for one in of(board).failing] == ["tcp://127.0.0.1:26658"]
    links[1].update(state="waiting", signed_at=NOW - 20)
    assert of(board).signs is Signs.REFUSED


def test_refusals_of_a_validator_that_reconnects_count_while_the_signer_shows_them() -> None:
    """The signer shows none of one that has been away for some seconds, by a clock that nobody
    sets."""
    board = board_of(Leads.HERE, signs=Signs.REFUSED)
    link: Any = board.sections_now["signer"]["chains"][0]["validators"][0]  # type: ignore[index]
    link["state"] = "waiting"
    assert of(board).signs is Signs.REFUSED, "it left a second ago, because of them perhaps"
    link["failing"] = None
    assert of(board).signs is Signs.NO_VALIDATOR


def test_a_row_is_told_from_its_first_failure_though_another_validator_was_served_meanwhile() -> None:
    board = board_of(Leads.HERE, signs=Signs.REFUSED)
    links: Any = board.sections_now["signer"]["chains"][0]["validators"]  # type: ignore[index]
    links.append({"addr": "tcp://b:1", "state": "connected", "signed_at": NOW - 10, "failing": None})
    assert (of(board).chains[0].signs, of(board).chains[0].failing) == (Signs.REFUSED, of(board).failing[0])
    assert of(board).failing[0].since == links[0]["failing"]["since"] == NOW - 30
    links[1]["failing"] = {"count": 4, "since": NOW - 9, "at": NOW - 3, "reason": "jump", "why": ""}
    failing = of(board).chains[0].failing
    assert failing is not None
    assert failing.reason == "wrong_chain", "it asked last"


def test_of_several_chains_the_one_that_is_not_signed_is_named() -> None:
    board = board_of(Leads.HERE)
    chains: Any = board.sections_now["signer"]["chains"]  # type: ignore[index]
    chains.append({"chain_id": "chain-b", "validators": [{"addr": "tcp://b:1", "state": "waiting"}]})
    assert of(board).headline == "node0 leads. Nothing is signed on chain-b: no validator is connected."


def test_the_document_has_this_table() -> None:
    text = (Path(__file__).resolve().parents[3] / "docs" / "STATUS_PAGE.md").read_text()
    section = text[text.index("## Situations") : text.index("## Reading a failover")]
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| (200|503) \| ([^|]+) \| `(.+)` \|$", section, re.M)
    assert {(leads, signs): (code == "200", says) for leads, signs, code, says, _ in rows} == {
        (leads.value, signs.value): told for (leads, signs), told in TABLE.items()
    }
    for leads, signs, _, _, headline in rows:
        first = of(board_of(Leads(leads), There.SHORT if leads == "nobody" else There.ALL, Signs(signs))).headline
        shape = re.compile(r"\.\.\.|…").split(headline)[0]
        for number in range(4):
            shape, first = shape.replace(f"node{number}", "NODE"), first.replace(f"node{number}", "NODE")
        assert first.replace("127.0.0.1", "10.0.0.1").startswith(shape.rstrip(" .")), (headline, first)
