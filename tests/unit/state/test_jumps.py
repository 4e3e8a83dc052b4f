"""How far up a node promises (rule 13): by the signatures that it verified, the time since, and the
operator's word; by nothing else.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from cometkms.core.pure.hot import PureHotPath
from cometkms.limits import CHAINS_MAX, JUMP_HEIGHTS, JUMP_HEIGHTS_PER_S, START_READ_S
from cometkms.model import HRS, Reason, Watermark
from cometkms.rules.birth import NodeState
from cometkms.rules.burnt import burnt_up_to
from cometkms.rules.incarnation import FIRST
from cometkms.state.signatures import row_key
from cometkms.wire.peer_messages import Promise, Promised, RowMark, decode, encode
from cometkms.wire.queue_messages import PermitGranted, ReserveRefused, Signed
from tests.unit.state.three import NAMES, ROW, Three, sign_bytes, signed

DAY_S = 86400.0


class Told(PureHotPath):
    """A hot path that does nothing, and keeps how far up a place is plain there."""

    def __init__(self) -> None:
        super().__init__()
        self.reach, self.floor = -1, HRS(0, 0, 0)

    def raise_floor(self, _row: int, hrs: HRS) -> None:
        self.floor = max(self.floor, hrs)

    def set_reach(self, _row: int, height: int) -> None:
        self.reach = height


@pytest.fixture
def hot() -> Told:
    return Told()


@pytest.fixture
def three(tmp_path: Path, hot: Told) -> Three:
    """All three have verified the signature at height 10, just now. `hot`: of node a."""
    world = Three(tmp_path)
    for name in NAMES:
        fast = (lambda _node: hot) if name == "a" else None
        world.add(name, NodeState.COMPLETE, signed(10), signed=(signed(10),), fast=fast)
    world.meet_all().wait(2 * START_READ_S)
    return world


def asked_by(three: Three, member: str, height: int, number: int) -> Reason:
    """What node a answers a member that asks for a promise."""
    node = three.nodes["a"].node
    three.nodes["a"].sent.clear()
    ask = Promise(three.nodes[member].node.nonce, number, ROW.public_key, sign_bytes(height), number, FIRST)
    node.on_frame(member, encode(ask))
    answers = [decode(payload) for _, payload in three.nodes["a"].sent]
    three.nodes["a"].sent.clear()
    (answer,) = [one for one in answers if isinstance(one, Promised)]
    return answer.reason


def test_a_member_that_asks_for_a_thousand_more_each_time_gets_no_higher_than_one_that_asks_once(three: Three) -> None:
    reasons = [asked_by(three, "b", 10 + 900 * n, n) for n in range(1, 40)]
    assert reasons == [Reason.NONE] + [Reason.JUMP] * 38
    assert three.nodes["a"].store.mark(0).hrs.height == 910
    assert three.nodes["a"].node.counters["jump"] == 38
    three.wall += 60
    assert asked_by(three, "b", 10 + JUMP_HEIGHTS + 60 * JUMP_HEIGHTS_PER_S, 50) is Reason.NONE, "bounded by time"
    assert asked_by(three, "b", 11 + JUMP_HEIGHTS + 60 * JUMP_HEIGHTS_PER_S, 51) is Reason.JUMP


def test_a_validator_that_gets_everything_signed_gets_no_higher(three: Three) -> None:
    leader = three.nodes["a"]
    leader.lead()
    highest = 10
    for number in range(1, 30):
        height = highest + 900
        if isinstance(leader.reserve(sign_bytes(height), number), PermitGranted):
            highest = height
            leader.node.on_signer(Signed(0, signed(height).hrs, signed(height).sign_bytes, signed(height).signature))
    assert highest == 910
    three.wall += 50
    assert isinstance(leader.reserve(sign_bytes(10 + 900 + 1000), 100), PermitGranted), "50 seconds make a thousand"


def test_what_is_refused_says_how_high_is_plausible(three: Three) -> None:
    leader = three.nodes["a"]
    leader.lead()
    refused = leader.reserve(sign_bytes(5_000_000))
    assert isinstance(refused, ReserveRefused)
    assert (refused.reason, refused.mark) == (Reason.JUMP, HRS(10 + JUMP_HEIGHTS, 0, 0))
    assert leader.store.mark(0) == signed(10), "and nothing is promised there"
    assert "no more than 1010 is plausible by now" in "".join(leader.log.lines)


@pytest.mark.parametrize(("away_s", "height"), [(7 * DAY_S, 1_200_000), (5 * DAY_S, 1_080_000), (-365 * DAY_S, 900)])
def test_the_time_since_the_last_signature_was_written_down_counts_after_a_restart(
    tmp_path: Path, away_s: float, height: int
) -> None:
    """A cluster that stood still for a week; a key that was jailed; a clock that was a year ahead
    when the file was written.
    """
    three = Three(tmp_path)
    for name in NAMES:
        three.add(name, NodeState.COMPLETE, signed(10), signed=(signed(10),), signed_at=(three.wall - away_s,))
    three.meet_all().wait(2 * START_READ_S)
    three.nodes["a"].lead()
    assert isinstance(three.nodes["a"].reserve(sign_bytes(10 + height)), PermitGranted)


def test_clocks_a_year_apart_change_nothing_for_a_chain_at_its_pace(three: Three) -> None:
    """Each looks at its own only."""
    leader = three.nodes["a"]
    leader.lead()
    for number, height in enumerate(range(11, 400)):
        three.wall += 365 * DAY_S * (-1) ** number + 1
        assert isinstance(leader.reserve(sign_bytes(height), number), PermitGranted)
        leader.node.on_signer(Signed(0, signed(height).hrs, signed(height).sign_bytes, signed(height).signature))
        leader.node.flush()


def test_the_hot_path_is_told_no_more_than_is_plausible_and_decides_no_long_skip(three: Three, hot: Told) -> None:
    """Where its turn is before the report of the last signature a week's heights would
    be skipped twice.
    """
    leader = three.nodes["a"]
    assert hot.reach == 10 + JUMP_HEIGHTS
    leader.lead()
    three.wall += 7 * DAY_S
    granted = leader.reserve(sign_bytes(1_200_000))
    assert isinstance(granted, PermitGranted)
    assert hot.reach == 1_200_000 + JUMP_HEIGHTS
    for height in (1_200_000, 1_200_900):
        leader.node.on_signer(Signed(0, signed(height).hrs, signed(height).sign_bytes, signed(height).signature))
    assert hot.reach == 1_200_000 + JUMP_HEIGHTS, "what was skipped is paid from the same thousand"


def test_a_member_that_says_it_stands_at_the_end_of_time_takes_the_hot_path_from_nobody(
    three: Three, hot: Told
) -> None:
    node = three.nodes["a"].node
    for height, floor in ((1 << 62, 10), (11, 11)):
        life = three.nodes["b"].node.membership.news()
        shown = RowMark(ROW, Watermark(HRS(height, 0, 2)), True)
        node.on_frame("b", encode(replace(life, marks=(shown,))))
        assert hot.floor.height == floor
    refused = Promised(node.nonce, CHAINS_MAX, Reason.CONFLICT, Watermark(HRS(1 << 62, 0, 2)), 1, FIRST)
    node.on_frame("b", encode(refused))
    assert hot.floor.height == 11
    three.wall += (
        7 * DAY_S
    )  # a chain that stood still: far up is plausible, and one word would cost the path for a million heights
    life = three.nodes["b"].node.membership.news()
    node.on_frame("b", encode(replace(life, marks=(RowMark(ROW, Watermark(HRS(1_000_000, 0, 2)), True),))))
    assert node.acceptor.reach(0) > 1_000_000
    assert hot.floor.height == 11


def test_the_first_height_of_a_row_is_believed_and_the_next_ones_are_held_against_it(tmp_path: Path) -> None:
    """Without any signature, too: it may be that none comes."""
    three = Three(tmp_path)
    for name in NAMES:
        three.add(name)
    three.meet_all().wait(2 * START_READ_S)
    assert asked_by(three, "b", 199_000_000, 1) is Reason.NONE
    assert asked_by(three, "b", 199_000_001 + JUMP_HEIGHTS, 2) is Reason.JUMP
    assert [asked_by(three, "b", 199_000_000 + 900 * n, 2 + n) for n in (1, 2, 3)] == [Reason.NONE] + [Reason.JUMP] * 2


def test_a_rows_first_place_is_not_the_hot_paths(tmp_path: Path, hot: Told) -> None:
    Three(tmp_path).add("a", NodeState.COMPLETE, fast=lambda _node: hot)
    assert hot.reach == 0


def test_the_operators_word_admits_a_height_where_a_majority_was_told(three: Three) -> None:
    leader = three.nodes["a"]
    leader.lead()
    leader.node.acceptor.admit(0, 5_000_000)
    refused = leader.reserve(sign_bytes(5_000_000), 1)
    assert isinstance(refused, ReserveRefused), "one node's operator is no majority"
    assert refused.reason is Reason.JUMP
    three.nodes["b"].node.acceptor.admit(0, 5_000_001)
    granted = leader.reserve(sign_bytes(5_000_001), 2)
    assert isinstance(granted, PermitGranted)
    assert leader.node.acceptor.reach(0) == 5_000_000 + JUMP_HEIGHTS
    three.nodes["c"].node.acceptor.admit(0, 5)
    assert three.nodes["c"].node.acceptor.reach(0) == 10 + JUMP_HEIGHTS, "it lowers nothing"


def test_a_node_that_recovers_goes_on_from_what_it_read(tmp_path: Path) -> None:
    """Its state file is of long ago, and nobody shows a signature: the others' marks, each other's
    witnesses, are where it stands.
    """
    three = Three(tmp_path)
    three.add("a", NodeState.COMPLETE, Watermark(HRS(5_000_000, 0, 2), sign_bytes(5_000_000)))
    three.add("b", NodeState.COMPLETE, Watermark(HRS(4_999_990, 0, 2), sign_bytes(4_999_990)))
    three.add("c", NodeState.RECOVERING, signed(10), signed=(signed(10),), unclaimed=True)
    three.meet("a", "b")
    three.wait(2 * START_READ_S)
    three.meet("a", "c")
    three.meet("b", "c")
    three.wait(2 * START_READ_S)
    node = three.nodes["c"].node
    assert node.membership.ready, node.membership.why
    assert node.acceptor.mark(0).hrs == HRS(5_000_000, 0, 2)
    three.wall += 5
    assert node.acceptor.reach(0) == 5_000_000 + JUMP_HEIGHTS + 5 * JUMP_HEIGHTS_PER_S


def test_the_replicated_sign_state_is_believed_by_signature_only(three: Three) -> None:
    node, key = three.nodes["a"].node, row_key(ROW)
    told = signed(253)
    for false in (
        Watermark(told.hrs),
        Watermark(told.hrs, told.sign_bytes),
        Watermark(told.hrs, told.sign_bytes, bytes(64)),
        Watermark(HRS(9000, 0, 2), told.sign_bytes, told.signature),
        Watermark(told.hrs, b"no sign bytes", told.signature),
    ):
        assert not node.verifies(key, false)
    assert node.verifies(key, told)
    assert not node.verifies(b"?" * 32, told)
    assert node.counters["false_mark"] == 5
    assert sum("not believed" in line for line in three.nodes["a"].log.lines) == 1, "told once"


def test_a_place_burnt_in_the_own_state_file_proves_no_entry(tmp_path: Path) -> None:
    three, burnt = Three(tmp_path), Watermark(HRS(9, 0, 2))
    node = three.add("a", NodeState.COMPLETE, burnt, signed=(burnt,)).node
    assert not node.verifies(row_key(ROW), burnt)


def test_a_lone_members_mark_is_not_believed_beyond_the_reach_and_one_with_a_signature_is(tmp_path: Path) -> None:
    three = Three(tmp_path)
    three.add("a", NodeState.COMPLETE, signed(10), signed=(signed(10),))
    three.add("b", NodeState.COMPLETE, Watermark(HRS(11 + JUMP_HEIGHTS, 0, 2)))
    three.meet("a", "b")
    three.wait(2 * START_READ_S)
    assert three.nodes["a"].node.acceptor.mark(0).hrs.height == 10
    three.add("c", NodeState.COMPLETE, signed(50_000))
    three.meet("a", "c")
    three.wait(2 * START_READ_S)
    assert three.nodes["a"].node.signed(0) == signed(50_000)


def start_again(three: Three, name: str, state: NodeState) -> bool:
    """A node that knows of the signature at height 10, from its state file; recovering, without its
    store. Whether it is ready.
    """
    for other in NAMES:
        if other != name:
            three.part(other, name)
    kept = {"store": three.nodes[name].store} if state is NodeState.COMPLETE else {"unclaimed": True}
    three.add(name, state, signed(10), signed=(signed(10),), signed_at=(three.wall,), **kept)
    for other in NAMES:
        if other != name:
            three.meet(name, other)
    three.wait(2 * START_READ_S)
    return three.nodes[name].node.membership.ready


@pytest.mark.parametrize("state", [NodeState.COMPLETE, NodeState.RECOVERING])
def test_each_start_of_another_honest_node_lets_a_liar_raise_it_by_a_thousand_and_by_no_more(
    three: Three, state: NodeState
) -> None:
    """Its witness is the other honest one, which the liar raised at that one's start. (THREATS.md
    says so.)
    """

    def lies(height: int) -> None:
        three.nodes["b"].store.write_mark(0, Watermark(HRS(height, 0, 2)))

    def height_of(name: str) -> int:
        return three.nodes[name].store.mark(0).hrs.height

    for number, name in enumerate("acacac", 1):
        lies(10 + number * JUMP_HEIGHTS)
        assert start_again(three, name, state)
        assert height_of(name) == 10 + number * JUMP_HEIGHTS
    top = height_of("c")
    lies(top + JUMP_HEIGHTS)
    for _ in range(3):
        start_again(three, "c", state)
        assert height_of("c") <= top, "the same node again and again has a witness that stays where it is"
    lies(top + JUMP_HEIGHTS + 1)
    for name in "ac":
        before = height_of(name)
        start_again(three, name, state)
        assert height_of(name) <= max(before, top), "more than a thousand at once is not believed"


FAR = 5_000_000


@pytest.fixture
def recovered(tmp_path: Path) -> Three:
    """b and c were recovered by their operator, to heights of their own; a was away,
    and stands at height 10.
    """
    world = Three(tmp_path)
    for name, mark in (("a", signed(10)), ("b", burnt_up_to(FAR)), ("c", burnt_up_to(FAR + 5))):
        world.add(name, NodeState.COMPLETE, mark, signed=(mark,))
    return world


def test_a_node_far_below_two_recovered_ones_finds_their_height_plausible_and_leads_on_from_there(
    recovered: Three,
) -> None:
    recovered.meet_all().wait(2 * START_READ_S)
    leader = recovered.nodes["a"]
    leader.lead()
    told = "a majority of the other nodes was recovered to a height above what was plausible here"
    assert "".join(leader.log.lines).count(told) == 1
    assert isinstance(leader.reserve(sign_bytes(FAR)), ReserveRefused), "what is burnt stays so"
    assert isinstance(leader.reserve(sign_bytes(FAR + 6), 2), PermitGranted)
    refused = leader.reserve(sign_bytes(FAR + 2 * JUMP_HEIGHTS), 3)
    assert isinstance(refused, ReserveRefused)
    assert refused.reason is Reason.JUMP


def test_one_members_burnt_height_or_two_members_promises_make_no_height_plausible(three: Three) -> None:
    node = three.nodes["a"].node
    said = burnt_up_to(FAR)
    for mark in (said, said, burnt_up_to(FAR + 1)):
        node.reservations.on_shown("b", (RowMark(ROW, mark, True),))
    for mark in (signed(FAR), replace(said, hrs=HRS(FAR, 0, 3)), replace(said, sign_bytes=sign_bytes(FAR))):
        node.reservations.on_shown("c", (RowMark(ROW, replace(mark, signature=b""), True),))
    assert node.acceptor.reach(0) == 10 + JUMP_HEIGHTS
    node.reservations.on_shown("c", (RowMark(ROW, burnt_up_to(11), True),))
    assert node.acceptor.reach(0) == 10 + JUMP_HEIGHTS, "the lower of the two counts"
    node.reservations.on_shown("c", (RowMark(ROW, said, True),))
    assert node.acceptor.reach(0) == FAR + JUMP_HEIGHTS
