"""The proposer against real acceptors of other members: which bytes are asked for, what counts, and
when nothing can win.

The names a, b, c stand for bytes that differ in their timestamp only; E for empty. First this node,
then the others.
"""

from dataclasses import dataclass, field

import pytest

from cometkms.core import choose
from cometkms.errors import StoreFailure
from cometkms.model import HRS, Permit, Reason, Refusal, Request, Watermark
from cometkms.state.acceptor import Acceptor
from cometkms.state.proposer import Proposer, Verdict
from tests.unit.state.doubles import KEY, MemoryStore, request

CORE = choose.load()
BYTES: dict[str, Request] = {name: request(CORE, second=n) for n, name in enumerate("abcdef")} | {
    "X": request(CORE, block=b"x")
}
PLACE = BYTES["a"].hrs


def held(name: str) -> Watermark:
    """E: nothing; burnt: nothing known at the place; above: promised above it; else those bytes."""
    if name == "E":
        return Watermark()
    if name == "burnt":
        return Watermark(PLACE)
    if name == "above":
        return Watermark(HRS(PLACE.height + 1, 0, 1), b"b")
    return Watermark(PLACE, BYTES[name].sign_bytes)


@dataclass
class Cluster:
    """A proposer and the other members; `down` ones are asked and do not answer."""

    own: MemoryStore
    others: dict[str, MemoryStore]
    down: set[str]
    requests: list[tuple[str, int, bytes]] = field(default_factory=list)
    delivered: int = 0
    proposer: Proposer = field(init=False)

    def __post_init__(self) -> None:
        self.proposer = Proposer(
            row=0,
            public_key=KEY,
            me="me",
            others=tuple(self.others),
            acceptor=acceptor_of(self.own),
            ask=self.ask,
            same_but_timestamp=CORE.same_but_timestamp,
        )

    def ask(self, member: str, row: int, sign_bytes: bytes) -> int | None:
        self.requests.append((member, len(self.requests), sign_bytes))
        return len(self.requests) - 1

    def run(self, outcome: Verdict | None) -> Verdict | None:
        """Deliver until it is decided or nothing is under way."""
        while outcome is None and self.delivered < len(self.requests):
            member, number, sign_bytes = self.requests[self.delivered]
            self.delivered += 1
            if member not in self.down:
                outcome = self.answer(member, number, sign_bytes)
        return outcome

    def answer(self, member: str, number: int, sign_bytes: bytes) -> Verdict | None:
        assert self.own.held.hrs >= PLACE, "rule 4: the own mark is durable before anything is counted"
        refused = acceptor_of(self.others[member]).promise(0, PLACE, sign_bytes)
        reason = refused.reason if refused is not None else Reason.NONE
        mark = self.others[member].held if refused is not None else Watermark()
        return self.proposer.on_promised(member, number, reason, mark)


def acceptor_of(store: MemoryStore) -> Acceptor:
    return Acceptor(store, (0,), parse_sign_bytes=CORE.parse_sign_bytes, wall_clock=lambda: 0.0)


def cluster(own: str, *others: str, down: str = "", hints: bool = False) -> Cluster:
    stores = {f"m{n}": MemoryStore(held=held(name)) for n, name in enumerate(others)}
    made = Cluster(MemoryStore(held=held(own)), stores, {f"m{n}" for n in down})
    if hints:
        for name, store in stores.items():
            made.proposer.hint(name, store.held)
    return made


def ask(made: Cluster, name: str) -> Verdict | None:
    return made.run(made.proposer.propose(PLACE, BYTES[name].sign_bytes))


def signed(outcome: Verdict | None) -> str:
    assert isinstance(outcome, Permit), outcome
    return next(name for name, one in BYTES.items() if one.sign_bytes == outcome.sign_bytes)


def test_one_node_alone_is_its_own_majority() -> None:
    made = cluster("E")
    assert signed(ask(made, "a")) == "a"
    assert made.own.writes == 1
    assert signed(ask(made, "b")) == "a"
    assert made.own.writes == 1


@pytest.mark.parametrize(
    ("own", "others", "down", "hints", "wins"),
    [
        ("E", ("E", "E"), "", False, "f"),
        ("E", ("E", "E"), "1", False, "f"),
        ("a", ("b", "E"), "", False, "a"),  # a or b, whichever takes the third; own bytes first
        ("a", ("b", "b"), "", False, "b"),  # b may be signed: from the two, not counting itself
        ("E", ("a", "b"), "", True, "a"),  # adopted before a third timestamp is made
        ("E", ("a", "burnt"), "", True, "a"),
        ("burnt", ("a", "a"), "", False, "a"),
        ("burnt", ("E", "E"), "", False, "f"),
        ("a", ("burnt", "E"), "", False, "a"),
        ("E", ("E", "E", "E", "E"), "01", False, "f"),
        ("a", ("b", "b", "E", "E"), "", False, "a"),
        ("a", ("b", "b", "E", "E"), "23", False, None),
        ("a", ("b", "b", "b", "E"), "", False, "b"),
    ],
)
def test_contested_places_are_signed_while_one_candidate_can_reach_a_majority(
    own: str, others: tuple[str, ...], down: str, hints: bool, wins: str | None
) -> None:
    made = cluster(own, *others, down=down, hints=hints)
    outcome = ask(made, "f")
    if wins is None:
        assert outcome is None
    else:
        assert signed(outcome) == wins


@pytest.mark.parametrize(
    ("own", "others", "reason"),
    [
        ("a", ("b", "c"), Reason.CONFLICT),  # nobody, ever
        ("X", ("E", "E"), Reason.CONFLICT),  # own bytes differ in more than the timestamp
        ("above", ("E", "E"), Reason.HEIGHT_REGRESSION),
        ("E", ("X", "X"), Reason.CONFLICT),
        ("E", ("above", "above"), Reason.HEIGHT_REGRESSION),
        ("burnt", ("burnt", "E"), Reason.BURNT),
    ],
)
def test_what_can_not_be_signed_any_more_is_refused_with_its_reason(
    own: str, others: tuple[str, ...], reason: Reason
) -> None:
    outcome = ask(cluster(own, *others), "f")
    assert isinstance(outcome, Refusal)
    assert outcome.reason is reason


def test_a_minority_conflict_does_not_throw_the_vote_away() -> None:
    assert signed(ask(cluster("E", "X", "E"), "f")) == "f"


def test_no_majority_no_answer_and_the_member_that_comes_back_completes_it() -> None:
    made = cluster("E", "E", "E", down="01")
    assert ask(made, "f") is None
    made.down.clear()
    assert signed(made.run(made.proposer.on_member("m0"))) == "f"


def test_an_accept_counts_once_and_only_from_whom_it_was_asked() -> None:
    made = cluster("E", "E", "E", "E", "E", down="0123")
    assert ask(made, "f") is None
    assert made.proposer.on_promised("m0", 0, Reason.NONE, Watermark()) is None
    assert made.proposer.on_promised("m0", 0, Reason.NONE, Watermark()) is None
    assert made.proposer.on_promised("m2", 1, Reason.NONE, Watermark()) is None
    assert made.proposer.on_promised("m1", 77, Reason.NONE, Watermark()) is None


def test_whoever_answers_in_anothers_name_takes_nothing_from_that_ones_accept() -> None:
    made = cluster("E", "E", "E", "E", "E", down="0123")
    assert ask(made, "f") is None
    assert made.proposer.on_promised("m0", 0, Reason.NONE, Watermark()) is None
    assert made.proposer.on_promised("m2", 1, Reason.CONFLICT, Watermark()) is None
    assert signed(made.proposer.on_promised("m1", 1, Reason.NONE, Watermark())) == "f"


def test_a_member_that_is_not_complete_neither_counts_nor_closes_the_place() -> None:
    made = cluster("E", "E", "E", down="01")
    ask(made, "f")
    assert made.proposer.on_promised("m0", 0, Reason.NOT_COMPLETE, Watermark()) is None
    assert isinstance(made.proposer.on_promised("m1", 1, Reason.NONE, Watermark()), Permit)


def test_bytes_that_name_another_place_are_not_proposed() -> None:
    made = cluster("E", "E", "E")
    assert isinstance(made.proposer.propose(HRS(9, 0, 1), BYTES["a"].sign_bytes), Refusal)
    assert made.own.writes == 0


def test_the_others_are_asked_before_the_own_disk_syncs_and_a_failed_sync_ends_it() -> None:
    """Rule 4: both in one step."""
    made = cluster("E", "E", "E")
    made.own.fail = True
    with pytest.raises(StoreFailure):
        made.proposer.propose(PLACE, BYTES["a"].sign_bytes)
    assert [member for member, *_ in made.requests] == ["m0", "m1"]


def test_nobody_is_asked_for_what_this_node_may_not_promise_itself() -> None:
    made = cluster("E", "E", "E")
    acceptor = acceptor_of(made.own)
    acceptor.on_signed(0, Watermark(HRS(PLACE.height + 1, 0, 1), b"b", b"s"))
    made.proposer._acceptor = acceptor
    assert isinstance(made.proposer.propose(PLACE, BYTES["a"].sign_bytes), Refusal)
    assert made.requests == []
