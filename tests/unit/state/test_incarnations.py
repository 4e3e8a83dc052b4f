"""One member, one store, between whole nodes without sockets: who is refused, who ends, and whose
word moves what.
"""

from dataclasses import replace

import pytest

from cometkms.errors import ProtocolError, SupersededError
from cometkms.limits import INCARNATION_ROOM, SEQ_MAX, SEQ_RAISE_MAX, SEQ_STEP_MAX, START_READ_S
from cometkms.model import Incarnation, Reason, Watermark
from cometkms.rules.birth import NodeState
from cometkms.rules.incarnation import FIRST, Statement, statement_bytes
from cometkms.wire.peer_messages import Hello, LifeNews, Promise, Promised, decode, decode_hello, encode
from cometkms.wire.queue_messages import PermitGranted
from tests.unit.state.three import IDENTITIES, NAMES, ROW, One, Three, sign_bytes


def whole(three: Three) -> Three:
    for name in NAMES:
        three.add(name)
    three.meet_all().wait(2 * START_READ_S)
    return three


def statement(member: str, number: int, nonce: int = 1, signer: str = "") -> Statement:
    """Signed by `signer`, the member itself if nobody is named."""
    incarnation = Incarnation(number, nonce)
    text = statement_bytes(b"d" * 32, member, incarnation)
    return Statement(member, incarnation, IDENTITIES[signer or member].sign(text))


def replaced(three: Three) -> One:
    """Another machine took c's place; returns the old one, which nobody is connected to."""
    old = three.nodes["c"]
    for name in ("a", "b"):
        three.part("c", name)
    three.add("c", NodeState.RECOVERING)
    assert three.meet("a", "c") is None
    assert three.meet("b", "c") is None
    three.wait(1.0)
    assert "c" in three.ready()
    return old


def hello_of(one: One, to: str) -> Hello:
    hello = decode_hello(one.node.hello(to))
    assert isinstance(hello, Hello)
    return hello


def test_a_store_that_takes_anothers_place_is_complete_when_every_other_member_has_recorded_it(three: Three) -> None:
    whole(three)
    old = replaced(three)
    new = three.nodes["c"]
    own = new.store.header.incarnation
    assert own.number == 1
    for name in ("a", "b"):
        recorded = three.nodes[name].store.known("c")
        assert recorded is not None
        assert recorded.incarnation == own
        reason = three.nodes[name].node.on_hello("c", old.node.hello(name), "address")
        assert "another store stands for c now" in str(reason)
        assert three.nodes[name].node.counters["old_incarnation"] == 1


def test_the_old_process_ends_once_it_is_shown_its_own_members_signature(three: Three) -> None:
    whole(three)
    old = replaced(three)
    with pytest.raises(SupersededError, match="leave this machine off if it was replaced") as caught:
        old.node.on_hello("a", three.nodes["a"].node.hello("c"), "address")
    assert caught.value.exit_code == 10
    assert old.store.header.state is NodeState.COMPLETE, "nothing durable was changed"


def test_a_connection_of_the_old_process_is_cut_when_the_new_one_is_recorded(three: Three) -> None:
    """It learnt of it from somebody else."""
    whole(three)
    a = three.nodes["a"]
    life = decode(encode(three.nodes["b"].node.membership.news()))
    assert isinstance(life, LifeNews)
    a.node.on_frame("b", encode(replace(life, known=(statement("c", 1),))))
    assert a.cut == [("c", "another store stands for c now")]
    asked = Promise(1, 64, ROW.public_key, sign_bytes(9), 0, FIRST)
    with pytest.raises(ProtocolError, match="is recorded of it"):
        a.node.on_frame("c", encode(asked))
    with pytest.raises(ProtocolError, match="is recorded of it"):
        a.node.on_frame("c", encode(Promised(a.node.nonce, 64, Reason.NONE, Watermark(), 3, FIRST)))
    assert a.store.mark(0) == Watermark()


@pytest.mark.parametrize(
    "known",
    [statement("c", 1, signer="b"), Statement("c", Incarnation(1, 1), b""), statement("c", INCARNATION_ROOM + 1)],
    ids=["signed by another", "not signed", "above the ceiling"],
)
def test_one_members_word_moves_no_other_members_incarnation(three: Three, known: Statement) -> None:
    whole(three)
    a = three.nodes["a"]
    news = three.nodes["b"].node.membership.news()
    a.node.on_frame("b", encode(replace(news, known=(known,))))
    assert a.store.known("c") is None
    assert a.cut == []


@pytest.mark.parametrize("known", [statement("a", 7, signer="b"), Statement("a", Incarnation(1 << 61, 1))])
def test_nobody_ends_by_another_ones_unproven_word(three: Three, known: Statement) -> None:
    whole(three)
    a = three.nodes["a"]
    news = three.nodes["b"].node.membership.news()
    for _ in range(2):
        a.node.on_frame("b", encode(replace(news, known=(known,))))
    assert a.node.membership.ready
    assert a.node.counters["false_incarnation"] == 2
    assert sum("an unproven higher incarnation" in line for line in a.log.lines) == 1


def test_two_that_begin_at_once_one_loses(three: Three) -> None:
    whole(three)
    old = replaced(three)
    winner = three.nodes["c"]
    for name in ("a", "b"):
        three.part("c", name)
    other = three.add("c", NodeState.RECOVERING)
    number, nonce = winner.store.header.incarnation
    for step, loses in ((-1, True), (1, False)):
        other.store.write_header(replace(other.store.header, incarnation=Incarnation(number, nonce + step)))
        other.node.membership._claiming = False
        reason = three.nodes["a"].node.on_hello("c", other.node.hello("a"), "address")
        assert (reason is not None) is loses
    with pytest.raises(SupersededError):
        winner.node.on_hello("a", three.nodes["a"].node.hello("c"), "address")
    assert old is not winner


def test_a_member_that_is_waited_for_and_runs_is_told_with_what_keeps_it_away(three: Three) -> None:
    """Another [[chain]] table there, say, and so another identity: to start it helps nothing."""
    a = three.add("a", strict=True)
    three.add("b")
    three.meet("a", "b")
    a.away["c"] = "a node at 10.0.0.3 calls itself 'c' and has another validator key or cluster.key"
    three.wait(2 * START_READ_S)
    why = a.node.membership.why
    assert f"not heard yet: c (not connected: {a.away['c']}); cure: start them, or where one runs" in why
    assert "`cmkms doctor` here says what lets it come" in why


def test_a_strict_start_that_waits_for_one_that_may_be_lost_for_good_says_what_to_type(three: Three) -> None:
    """It waits for all; nothing here can know that one will never come."""
    a = three.add("a", strict=True)
    three.add("b")
    three.meet("a", "b")
    three.wait(2 * START_READ_S)
    assert not a.node.membership.ready
    why = a.node.membership.why
    assert "not heard yet: c (not connected)" in why
    assert (
        "if one is lost for good, and no older copy of data/ was put back here, restart this node once with `strict_start = false`"
        in why
    )
    three.nodes["b"].node.on_disconnected("a", closed=True)
    a = three.add("a", store=a.store)
    three.meet("a", "b")
    three.wait(2 * START_READ_S)
    assert a.node.membership.ready
    assert a.node.membership.why == ""


def test_strict_start_takes_an_incarnation_and_a_copy_from_before_it_ends(three: Three) -> None:
    for name in NAMES:
        three.add(name, strict=True)
    three.meet_all().wait(1.0)
    assert three.ready() == list(NAMES)
    assert {one.store.header.incarnation.number for one in three.nodes.values()} == {1}
    for name in ("a", "b"):
        three.part("c", name)
    copy = three.add("c", strict=True)
    assert copy.store.header.incarnation == FIRST
    with pytest.raises(SupersededError):
        three.meet("a", "c")


@pytest.mark.parametrize("remembers", [SEQ_RAISE_MAX + 100, SEQ_MAX])
def test_a_memory_near_the_end_of_numbers_has_everybody_read_and_moves_no_seq(three: Three, remembers: int) -> None:
    """The connection stays: an honest member may have been told it in this one's name.

    Once the liar is gone, or has answered, it is over.
    """
    whole(three)
    a, b = three.nodes["a"], three.nodes["b"]
    seq = a.store.seq
    three.part("a", "b")
    assert a.node.on_hello("b", encode(replace(hello_of(b, "a"), remembers=remembers)), "address") is None
    assert (a.store.header.state, a.node.membership.ready) == (NodeState.COMPLETE, False)
    assert a.node.counters["false_seq"] == 1
    three.meet("a", "b")
    three.wait(2 * START_READ_S)
    assert (a.node.membership.ready, a.store.seq) == (True, seq)


def test_a_node_that_was_raised_far_is_believed_by_one_that_knows_less(three: Three) -> None:
    """A liar raised a's seq while c was away: what c knows of it is too low by more than any
    promises can have made.
    """
    whole(three)
    a, c = three.nodes["a"], three.nodes["c"]
    three.part("a", "c")
    header = a.store.header
    a.store.write_header(replace(header, seq_base=header.seq_base + 3 * SEQ_STEP_MAX))
    three.meet("a", "c")
    assert c.node.roster.seq_of("a") == a.store.seq >= 3 * SEQ_STEP_MAX
    assert c.node.roster.members["a"].connected


def test_a_false_remembers_stops_nobody_for_longer_than_the_liar_is_there(three: Three) -> None:
    whole(three)
    a, b = three.nodes["a"], three.nodes["b"]
    three.part("a", "b")
    three.part("a", "c")
    lie = encode(replace(hello_of(b, "a"), remembers=500))
    assert a.node.on_hello("b", lie, "address") is None
    a.node.on_connected("b")
    assert not a.node.membership.ready
    assert a.store.header.state is NodeState.COMPLETE
    assert "b remembers promises of this node that its store does not hold" in a.node.membership.why
    b.sent.clear()
    a.node.on_disconnected("b", closed=True)
    three.wait(2 * START_READ_S)
    assert a.node.membership.ready, "the liar is gone"


def test_an_old_copy_that_one_member_remembers_reads_every_other_one_first(three: Three) -> None:
    whole(three)
    a = three.nodes["a"]
    a.lead()
    for height in (1, 2, 3):
        assert isinstance(a.reserve(sign_bytes(height), height), PermitGranted)
    for name in ("b", "c"):
        three.part("a", name)
    three.nodes["c"].node.roster.members["a"].seq = 0  # it was started since
    old = three.add("a")
    assert three.meet("a", "b") is None
    three.wait(2 * START_READ_S)
    assert not old.node.membership.ready
    assert three.meet("a", "c") is None
    three.wait(1.0)
    assert old.node.membership.ready
    assert old.store.mark(0).hrs.height == 3
    assert old.store.seq > three.nodes["b"].node.roster.seq_of("a"), "nobody remembers more of it than it shows"


def test_an_old_copy_of_a_leaders_home_is_noticed_by_what_it_proposed(three: Three) -> None:
    """Promises of a leader bear its seq: the members remember them like accepts."""
    whole(three)
    a = three.nodes["a"]
    a.lead()
    for height in (1, 2, 3):
        a.reserve(sign_bytes(height), height)
    assert {three.nodes[name].node.roster.seq_of("a") for name in ("b", "c")} == {2}, (
        "of what was durable when it asked"
    )
