"""One node among its members, without sockets or clocks: who may promise, what is refused, and why."""

from dataclasses import replace

import pytest

from cometkms.errors import BehindError, ProtocolError, StateError
from cometkms.limits import CHAINS_MAX, READ_AGAIN_S, SHOWN_ROWS_MAX, SIGN_STATE_LOOK_S, START_READ_S, TICK_S
from cometkms.model import HRS, Reason, Row, Watermark
from cometkms.rules.birth import Life, NodeState, Record
from cometkms.rules.epoch import Standing
from cometkms.rules.incarnation import FIRST
from cometkms.store.promise_store import Header, PromiseStore
from cometkms.wire.peer_messages import (
    LifeNews,
    Marks,
    Promise,
    Promised,
    RowMark,
    decode,
    encode,
)
from cometkms.wire.queue_messages import PermitGranted, ReserveRefused, Signed
from tests.unit.state.three import NAMES, NONCE, ROW, One, Three, leading, sign_bytes, signed


def test_three_empty_nodes_are_born_once_all_were_seen(three: Three) -> None:
    for name in NAMES:
        three.add(name, NodeState.EMPTY)
    three.meet("a", "b")
    three.wait(2.0)
    assert three.ready() == []
    assert "missing: c" in three.nodes["a"].node.membership.why
    three.meet("a", "c")
    three.meet("b", "c")
    assert three.ready() == list(NAMES)
    assert {one.store.header.state for one in three.nodes.values()} == {NodeState.COMPLETE}
    assert len({one.store.header.record for one in three.nodes.values()}) == 1
    assert all(one.born for one in three.nodes.values())


def test_two_that_a_liar_showed_different_stores_at_birth_are_complete_once_it_is_gone(three: Three) -> None:
    """Nor does its word that it is complete make one of them so, nor one that it recovers make the
    other lose what it never was.
    """
    for name in NAMES:
        three.add(name, NodeState.EMPTY)
    a, b, c = three.nodes.values()
    c.silent = True  # the liar has its place
    three.meet_all()

    def shows(to: One, life: Life) -> None:
        to.node.on_frame("c", encode(LifeNews(life, False, (), None, ())))
        three.pump()

    shows(a, Life(NodeState.EMPTY, b"to a 567"))
    assert (a.store.header.state, b.store.header.state) == (NodeState.BORN, NodeState.EMPTY)
    shows(b, Life(NodeState.EMPTY, b"to b 567"))
    assert b.store.header.state is NodeState.EMPTY, "a does not show what b sees"
    record = a.store.header.life.record
    shows(a, Life(NodeState.COMPLETE, b"to a 567", record))
    shows(b, Life(NodeState.COMPLETE, b"to a 567", tuple((name, b"false567") for name in NAMES)))
    assert (a.store.header.state, b.store.header.state) == (NodeState.BORN, NodeState.EMPTY)
    assert a.node.membership.why == "being born; b is empty, c is complete"
    assert b.node.membership.why == "being born; a is born, c is complete without this node's store"
    three.part("a", "c")
    three.part("b", "c")
    c.silent = False
    three.meet("a", "c")
    three.meet("b", "c")
    assert three.ready() == list(NAMES), [one.node.membership.why for one in three.nodes.values()]
    assert len({one.store.header.record for one in three.nodes.values()}) == 1
    assert dict(a.store.header.life.record)["c"] == c.store.header.birth_nonce
    a.lead()
    assert isinstance(a.reserve(sign_bytes(1)), PermitGranted)


def test_marks_of_a_store_that_is_new_since_a_nodes_birth_are_taken_before_it_is_complete(three: Three) -> None:
    for name in NAMES:
        three.add(name, NodeState.EMPTY, signed(9) if name == "c" else None)
    a, c = three.nodes["a"], three.nodes["c"]
    c.silent = True
    three.meet_all()
    a.node.on_frame("c", encode(LifeNews(Life(NodeState.EMPTY, b"to a 567"), False, (), None, ())))
    three.pump()
    assert (a.store.header.state, a.store.mark(0).hrs.height) == (NodeState.BORN, 0)
    for name in ("a", "b"):
        three.part(name, "c")
    c.silent = False
    for name in ("a", "b"):
        three.meet(name, "c")
    assert three.ready() == list(NAMES)
    assert {one.store.mark(0).hrs.height for one in three.nodes.values()} == {9}


def test_born_marks_are_the_highest_of_all_state_files(three: Three) -> None:
    three.add("a", NodeState.EMPTY, signed(9))
    three.add("b", NodeState.EMPTY)
    three.add("c", NodeState.EMPTY, Watermark(HRS(4, 0, 1)))
    three.meet_all()
    assert {one.store.mark(0).hrs.height for one in three.nodes.values()} == {9}
    assert three.nodes["b"].store.mark(0).sign_bytes == sign_bytes(9), "kept, because its signature was shown"


def test_an_empty_node_among_complete_ones_is_one_that_lost_its_store(three: Three) -> None:
    three.add("a", NodeState.COMPLETE, Watermark(HRS(7, 0, 2), sign_bytes(7)))
    three.add("b", NodeState.COMPLETE)
    three.add("c", NodeState.EMPTY)
    three.meet("a", "b")
    three.wait(2 * START_READ_S)
    three.meet("a", "c")
    three.wait(2.0)
    assert three.nodes["c"].store.header.state is NodeState.EMPTY, "one member's word makes no node lose what it was"
    assert "a was born without this node" in three.nodes["c"].node.membership.why
    assert "b (not connected)" in three.nodes["c"].node.membership.why
    three.nodes["c"].away["b"] = "refused"
    assert "b (not connected: refused)" in three.nodes["c"].node.membership.why
    three.meet("b", "c")
    three.wait(1.0)
    assert "c" in three.ready()
    assert three.nodes["c"].store.header.incarnation.number == 1, "it recovered: it was not born again"
    mark = three.nodes["c"].store.mark(0)
    assert (mark.hrs, mark.sign_bytes) == (HRS(7, 0, 2), b""), "burnt: nobody showed a signature"


def test_a_recovering_node_promises_nothing_and_answers_no_read(three: Three) -> None:
    a, c = three.add("a"), three.add("c", NodeState.RECOVERING)
    three.meet("a", "c")
    three.wait(2 * START_READ_S)
    a.lead()
    assert a.reserve(sign_bytes(1)) is None, "one promise is no majority of three"
    assert c.store.mark(0) == Watermark()


def marks_said(to: One, by: str, *, record: Record = (), marks: tuple[RowMark, ...] = ()) -> None:
    """A member answers the read that is under way with whatever it likes."""
    reading = to.node.membership._reading
    assert reading is not None
    life = Life(NodeState.COMPLETE, b"", record)
    it = to.world.nodes[by].node.membership
    said = Marks(to.node.nonce, reading.request_id, True, life, marks, 1, 0, 0, 0, it.own(), it.known())
    to.node.on_frame(by, encode(said))


@pytest.mark.parametrize("lie", ["a record", "a mark"])
def test_what_a_liar_told_a_recovering_node_goes_when_he_does(three: Three, lie: str) -> None:
    """It is asked for again, without a restart; the honest node that has the member's
    place then is believed.
    """
    a = three.add("a", mark=signed(10), signed=(signed(10),))
    b = three.add("b", mark=signed(10), signed=(signed(10),))
    three.meet("a", "b")
    three.wait(2 * START_READ_S)
    c = three.add("c", NodeState.RECOVERING, signed=(signed(10),), unclaimed=True)
    three.meet("b", "c")
    b.silent = True  # the liar has its place
    three.meet("a", "c")
    false = tuple((name, b"false567") for name in NAMES)
    far = (RowMark(ROW, Watermark(HRS(1 << 40, 0, 3)), True),)
    marks_said(c, "b", record=false if lie == "a record" else (), marks=far if lie == "a mark" else ())
    three.wait(3 * READ_AGAIN_S)
    assert not c.node.membership.ready
    assert ("different birth records" if lie == "a record" else "absurdly far above") in c.node.membership.why
    b.silent = False
    three.wait(3 * READ_AGAIN_S)
    assert c.node.membership.ready, c.node.membership.why
    assert c.store.mark(0).hrs == a.store.mark(0).hrs
    assert c.store.header.record == a.store.header.record


def test_a_read_keeps_only_the_last_word_on_rows_that_it_does_not_know_and_on_the_record(three: Three) -> None:
    """It may last for as long as a member is away, and another one answers it again and again."""
    a = three.add("a", strict=True)
    three.add("b")
    three.meet("a", "b")
    for number in range(50):
        row = Row(ROW.public_key, f"chain-{number}")
        record = tuple((name, number.to_bytes(8, "big")) for name in NAMES)
        marks_said(a, "b", record=record, marks=(RowMark(row, Watermark(HRS(5, 0, 1)), True),))
    reading = a.node.membership._reading
    assert reading is not None
    assert reading.best["b"].keys() <= {ROW, row}
    assert len(reading.records) == 1
    assert a.store.rows == (ROW,), "nothing durable, before everybody was read"


# an id that the key has signed under, and that is not configured any more
LEFT = Row(ROW.public_key, "chain-0")
ABOVE, BELOW = Watermark(HRS(12, 0, 3), b"promised"), Watermark(HRS(7, 0, 3), b"promised")


def left(one: One) -> Watermark:
    """Where it stands under that id."""
    return one.store.mark(one.store.rows.index(LEFT))


def meet_again(three: Three, name: str) -> None:
    for other in (one for one in NAMES if one != name):
        assert three.meet(name, other) is None
    three.wait(2 * START_READ_S)


def test_stores_that_are_lost_one_after_the_other_forget_no_chain_that_is_not_configured_any_more(three: Three) -> None:
    """No state file has it, and no new store its row: only those that are left know what was
    promised there.
    """
    for name, mark in zip(NAMES, (ABOVE, ABOVE, BELOW), strict=True):
        three.add(name).store.add_row(LEFT, mark)
    three.meet_all().wait(2 * START_READ_S)
    for lost in NAMES:
        for other in (one for one in NAMES if one != lost):
            three.part(lost, other)
        three.add(lost, NodeState.RECOVERING)
        meet_again(three, lost)
        assert three.ready() == list(NAMES)
    assert [left(one) for one in three.nodes.values()] == [Watermark(HRS(12, 0, 3))] * 3, (
        "burnt: nobody shows a signature"
    )


def test_a_store_that_the_operator_made_anew_takes_what_the_others_know_of_other_chains_at_its_start(
    three: Three,
) -> None:
    for name in ("a", "b"):
        three.add(name).store.add_row(LEFT, ABOVE)
    c = three.add("c", unclaimed=True)
    three.meet_all().wait(2 * START_READ_S)
    assert left(c).hrs == HRS(12, 0, 3)
    assert c.node.membership.confirmed, "it lacks nothing that the others know of"


def test_a_row_that_nobody_promised_in_is_not_taken(three: Three) -> None:
    for name in ("a", "b"):
        three.add(name).store.add_row(LEFT, Watermark())
    c = three.add("c", NodeState.RECOVERING)
    three.meet_all().wait(2 * START_READ_S)
    assert c.node.membership.ready
    assert c.store.rows == (ROW,)


@pytest.mark.parametrize("state", [NodeState.RECOVERING, NodeState.COMPLETE])
def test_who_shows_rows_without_end_fills_no_store(three: Three, state: NodeState) -> None:
    """What is recovering goes on when the liar is gone; one that starts keeps nothing of it, and
    its seal does not vouch for what it lacks.
    """
    c = three.add("c", state)
    for name in ("a", "b"):
        three.add(name)
    b = three.nodes["b"]
    b.silent = True
    three.meet("c", "a")
    three.meet("c", "b")
    many = [RowMark(Row(ROW.public_key, f"chain-{number}"), ABOVE, True) for number in range(SHOWN_ROWS_MAX)]
    marks_said(c, "b", record=b.store.header.life.record, marks=tuple(many))
    three.wait(2 * START_READ_S)
    assert c.store.rows == (ROW,)
    assert any("are not taken from them" in line for line in c.log.lines)
    assert not c.node.membership.confirmed
    if state is NodeState.RECOVERING:
        assert not c.node.membership.ready
        assert "configure the same chains here as there" in c.node.membership.why
    b.silent = False
    three.wait(3 * READ_AGAIN_S)
    assert c.node.membership.ready
    assert c.node.membership.confirmed


@pytest.mark.parametrize("height", [500, 1 << 40])
@pytest.mark.parametrize("said", ["shown", "a refusal"])
def test_where_a_liar_stood_is_forgotten_with_his_connection(three: Three, said: str, height: int) -> None:
    """The honest node that has the member's place again is asked, and with it a majority is there:
    the third one is away.
    """
    for name in NAMES:
        three.add(name, mark=signed(10), signed=(signed(10),))
    three.meet_all().wait(2 * START_READ_S)
    a, b = three.nodes["a"], three.nodes["b"]
    a.lead()
    far = Watermark(HRS(height, 0, 3))
    if said == "shown":
        life = b.node.membership.news()
        a.node.on_frame("b", encode(replace(life, marks=(RowMark(ROW, far, True),))))
    else:
        a.node.on_frame("b", encode(Promised(a.node.nonce, CHAINS_MAX, Reason.HEIGHT_REGRESSION, far, 0, FIRST)))
    three.part("a", "c")
    three.part("b", "c")
    assert a.reserve(sign_bytes(11), 1) is None, "nobody is there to ask but the liar, who stands too high"
    three.part("a", "b")  # the liar is gone
    three.meet("a", "b")
    granted = [one for one in a.to if isinstance(one, PermitGranted) and one.request_id == 1]
    assert granted, "what waited goes on"
    assert isinstance(a.reserve(sign_bytes(12), 2), PermitGranted)


def test_a_start_read_raises_the_mark_to_what_others_hold(three: Three) -> None:
    three.add("a", NodeState.COMPLETE, Watermark(HRS(5, 0, 2), sign_bytes(5)))
    three.add("b", NodeState.COMPLETE, Watermark(HRS(8, 0, 2), sign_bytes(8)))
    three.meet("a", "b")
    three.wait(2 * START_READ_S)
    assert three.nodes["a"].store.mark(0) == Watermark(HRS(8, 0, 2))
    assert three.nodes["b"].store.mark(0) == Watermark(HRS(8, 0, 2), sign_bytes(8)), "own bytes stay own"


def test_strict_start_waits_for_every_member(three: Three) -> None:
    three.add("a", strict=True)
    three.add("b")
    three.add("c")
    three.meet("a", "b")
    three.wait(3 * START_READ_S)
    assert "a" not in three.ready()
    three.meet("a", "c")
    three.wait(1.0)
    assert "a" in three.ready()


def test_strict_start_beside_a_lost_store_says_who_waits_for_whom_and_goes_on_when_both_are_vouched_for(
    three: Three,
) -> None:
    """Power lost on all three, one disk lost."""
    three.add("a", strict=True)
    three.add("b", strict=True)
    three.add("c", NodeState.RECOVERING, strict=True)
    assert three.nodes["a"].node.membership.strict_wait is None, "nobody is there yet"
    three.meet_all().wait(5.0)
    assert three.ready() == []
    for name in NAMES:
        wait = three.nodes[name].node.membership.strict_wait
        assert wait is not None
        assert (wait.lost, wait.starting) == (("c",), ("a", "b"))
    for name in ("a", "b"):
        why = three.nodes[name].node.why
        assert "c lost what it promised and waits for the marks of a and b" in why
        assert "`strict_start = false`" in why
    assert "a (starting), b (starting)" in three.nodes["c"].node.why
    for name in ("a", "b"):  # what the operator does
        for other in NAMES:
            if other != name:
                three.nodes[other].node.on_disconnected(name, closed=True)
        three.add(name, strict=False, store=three.nodes[name].store)
        for other in NAMES:
            if other != name:
                assert three.meet(name, other) is None
    three.wait(3 * START_READ_S)
    assert three.ready() == list(NAMES)
    assert all(one.node.membership.strict_wait is None for one in three.nodes.values())


def test_a_node_whose_store_is_older_than_what_it_acknowledged_ends_and_is_recovering(three: Three) -> None:
    for name in NAMES:
        three.add(name)
    three.meet_all().wait(1.0)
    a = three.nodes["a"]
    a.lead()
    for height in (1, 2, 3):
        a.reserve(sign_bytes(height), height)
    old = three.add("b", NodeState.COMPLETE, Watermark(HRS(1, 0, 2), sign_bytes(1)))
    for name in ("a", "c"):
        three.nodes[name].node.on_disconnected("b", closed=True)
    three.nodes["c"].node.roster.members["b"].seq = 3  # it led too
    assert old.node.on_hello("a", a.node.hello("b"), "address") is None
    assert old.store.header.state is NodeState.COMPLETE, "one member's word alone changes nothing durable"
    with pytest.raises(BehindError):
        old.node.on_hello("c", three.nodes["c"].node.hello("b"), "address")
    assert old.store.header.state is NodeState.RECOVERING
    assert old.store.header.unclaimed


def test_an_unknown_chain_is_a_passing_trouble_and_bytes_that_are_not_canonical_end_the_connection(
    three: Three,
) -> None:
    three.add("a")
    b = three.add("b")
    three.meet("a", "b")
    three.wait(2 * START_READ_S)
    b.node.on_frame("a", encode(Promise(1, 64, ROW.public_key, sign_bytes(1, chain="other"), 0, FIRST)))
    answer = decode(b.sent[-1][1])
    assert isinstance(answer, Promised)
    assert answer.reason is Reason.UNKNOWN_ROW
    with pytest.raises(ProtocolError):
        b.node.on_frame("a", encode(Promise(1, 64, ROW.public_key, b"junk", 0, FIRST)))


def test_a_new_row_is_promised_in_only_when_every_members_mark_was_seen(three: Three) -> None:
    three.add("a", opened=False)
    three.add("b", NodeState.COMPLETE, Watermark(HRS(6, 0, 3)), opened=False)
    three.add("c", opened=False)
    three.meet("a", "b")
    three.wait(2 * START_READ_S)
    a = three.nodes["a"]
    assert not a.store.opened(0)
    three.meet("a", "c")
    three.meet("b", "c")
    three.wait(0.2)
    assert all(one.store.opened(0) for one in three.nodes.values())
    assert {one.store.mark(0).hrs for one in three.nodes.values()} == {HRS(6, 0, 3)}


def test_while_requests_come_and_none_waits_a_node_looks_no_oftener_than_an_idle_one(three: Three) -> None:
    """A hundred looks a second while promises flow are bursts of Python between the requests: the
    99th percentile of a signature.
    """
    a = leading(three)
    a.raft.idle_for_s = lambda: 0.3
    assert a.node.idle_for_s() == 0.3
    assert isinstance(a.reserve(sign_bytes(7)), PermitGranted)
    assert a.node.idle_for_s() == 0.3, "its majority was there at once"
    made = signed(7)
    a.node.on_signer(Signed(0, made.hrs, made.sign_bytes, made.signature))
    assert a.node.idle_for_s() == SIGN_STATE_LOOK_S, "it is to be replicated when it is quiet"
    three.part("a", "b")
    three.part("a", "c")
    assert a.reserve(sign_bytes(8), 2) is None
    assert a.node.idle_for_s() == TICK_S, "a reservation that waits for its majority is looked after"


def test_a_members_syncs_are_timed_too(three: Three) -> None:
    for name in NAMES:
        three.add(name)
    three.meet_all().nodes["a"].lead()
    assert isinstance(three.nodes["a"].reserve(signed(5).sign_bytes), PermitGranted)
    assert {name: one.node.reservations.sync_ns.count for name, one in three.nodes.items()} == dict.fromkeys(NAMES, 1)


# --- epochs (rule 10) ---


@pytest.mark.parametrize("state", [NodeState.EMPTY, NodeState.RECOVERING])
def test_a_node_without_promises_learns_a_later_epoch_from_a_majority_only(three: Three, state: NodeState) -> None:
    """One member's word moves nothing; two of three are a majority of that epoch's members."""
    a = three.add("a", state)
    for name in ("b", "c"):
        three.add(name, epoch=3)
    for _ in range(3):
        assert "b has epoch 3" in str(a.node.on_hello("b", three.nodes["b"].node.hello("a"), "address"))
    assert (a.store.header.epoch, a.store.header.state) == (1, state)
    with pytest.raises(BehindError, match="b, c are in epoch 3 with these members"):
        a.node.on_hello("c", three.nodes["c"].node.hello("a"), "address")
    header = a.store.header
    assert (header.epoch, header.state, header.unclaimed, header.record) == (3, NodeState.RECOVERING, True, ())


@pytest.mark.parametrize("epochs", [(3, 4), (1 << 32, 1 << 32), (1, 1)])
def test_words_that_differ_or_that_nobody_believes_move_no_epoch(three: Three, epochs: tuple[int, int]) -> None:
    a = three.add("a", NodeState.EMPTY)
    for name, epoch in zip(("b", "c"), epochs, strict=True):
        three.add(name, epoch=epoch)
        a.node.on_hello(name, three.nodes[name].node.hello("a"), "address")
    assert (a.store.header.epoch, a.store.header.state) == (1, NodeState.EMPTY)


def test_a_node_that_promised_learns_no_epoch(three: Three) -> None:
    """Its promises are of the earlier one: it is the operator's to say what becomes of them."""
    a = three.add("a")
    for name in ("b", "c"):
        three.add(name, epoch=3)
        assert "epochs or peer lists differ" in str(a.node.on_hello(name, three.nodes[name].node.hello("a"), "address"))
    assert (a.store.header.epoch, a.store.header.state) == (1, NodeState.COMPLETE)


def test_a_running_node_is_sealed_at_once_and_its_seal_vouches(three: Three) -> None:
    for name in NAMES:
        three.add(name)
    three.meet_all().wait(2 * START_READ_S)
    a = three.nodes["a"]
    a.lead()
    assert isinstance(a.reserve(sign_bytes(1)), PermitGranted)
    seal = a.node.seal(("a", "b", "d"))
    assert (seal.node, seal.epoch, seal.members, seal.following) == ("a", 1, NAMES, ("a", "b", "d"))
    assert seal.standing is Standing.CONFIRMED
    assert seal.marks == ((ROW, Watermark(HRS(1, 0, 2), sign_bytes(1))),)
    assert a.sealed_for == ("a", "b", "d"), "born.json says so"
    assert a.store.header.state is NodeState.SEALED
    assert not a.node.leading
    assert isinstance(a.reserve(sign_bytes(2), 2), ReserveRefused)
    assert a.node.seal(("a", "b", "d")) == seal
    with pytest.raises(StateError, match="for ever"):
        a.node.seal(NAMES)
    three.wait(2 * START_READ_S)
    assert "a" not in three.ready()
    assert a.node.membership.why.startswith(
        "epoch 1 was sealed here, for a, b, d: it promises nothing more before it begins the next"
    )
    gone = three.nodes["c"]
    gone.node.seal(("a", "b", "d"))
    assert (
        "was sealed here, for a, b, d and without c: it promises nothing more, and stays stopped for good"
        in gone.node.membership.why
    )


def test_whoever_leads_when_a_majority_is_sealed_leads_no_longer_and_says_why(three: Three) -> None:
    for name in NAMES:
        three.add(name)
    three.meet_all().wait(2 * START_READ_S)
    c = three.nodes["c"]
    c.lead()
    three.nodes["a"].node.seal(NAMES)
    three.wait(2.0)
    assert isinstance(c.reserve(sign_bytes(1)), PermitGranted), "b promises, too"
    assert not c.raft.held
    three.nodes["b"].node.seal(NAMES)
    three.wait(2.0)
    assert (c.node.membership.ready, c.raft.held) == (True, True), "complete, and it neither leads nor stands again"
    c.raft.leading, c.raft.leader, c.raft.hears_leader = False, None, False
    c.node.on_role(leading=False, leader=None, term=3)
    assert "nobody leads: a, b sealed, and 2 nodes that are not are needed: this epoch is over" in c.node.why
    assert isinstance(c.reserve(sign_bytes(2), 2), ReserveRefused)


def test_the_seal_of_a_node_that_has_not_been_compared_with_every_other_does_not_vouch(three: Three) -> None:
    for name in NAMES:
        three.add(name)
    three.meet("a", "b")
    three.wait(2 * START_READ_S)
    assert three.nodes["a"].node.seal(NAMES).standing is Standing.UNCONFIRMED


def test_a_late_answer_that_stands_higher_leaves_the_store_unconfirmed(three: Three) -> None:
    """Nothing is raised by it any more; what the store lacks may be what was put back."""
    a = three.add("a", NodeState.COMPLETE, Watermark(HRS(5, 0, 2)))
    three.add("b", NodeState.COMPLETE, Watermark(HRS(5, 0, 2)))
    three.add("c", NodeState.COMPLETE, Watermark(HRS(9, 0, 2)))
    three.meet("a", "b")
    three.wait(2 * START_READ_S)
    three.meet("a", "c")
    three.wait(2.0)
    assert a.node.seal(NAMES).standing is Standing.UNCONFIRMED


def test_a_store_that_has_come_up_to_what_was_read_is_confirmed(three: Three) -> None:
    """The late answer showed a promise that was on its way here: the others are read again until
    nothing is above the store.
    """
    a = three.add("a", NodeState.COMPLETE, Watermark(HRS(5, 0, 2)))
    three.add("b", NodeState.COMPLETE, Watermark(HRS(5, 0, 2)))
    c = three.add("c", NodeState.COMPLETE, Watermark(HRS(9, 0, 2)))
    three.meet("a", "b")
    three.wait(2 * START_READ_S)
    three.meet("a", "c")
    three.meet("b", "c")
    three.wait(2.0)
    c.lead()
    c.reserve(sign_bytes(10))
    three.wait(2.0)
    assert a.store.mark(0).hrs.height == 10
    assert not a.node.membership.reading
    assert a.node.seal(NAMES).standing is Standing.CONFIRMED


def test_a_recovering_node_that_only_a_sealed_one_keeps_waiting_says_so(three: Three) -> None:
    a, b = three.add("a"), three.add("b")
    three.add("c", NodeState.RECOVERING)
    three.meet("a", "b")
    three.wait(2 * START_READ_S)
    a.node.seal(NAMES)
    three.meet_all().wait(2 * START_READ_S)
    why = three.nodes["c"].node.membership.why
    assert "a, which must be read first, is sealed and answers nobody any more" in why
    assert "cmkms recover --min-height" in why
    assert b.store.header.state is NodeState.COMPLETE
    assert three.nodes["c"].store.header.state is NodeState.RECOVERING


def test_a_recovering_node_has_no_seal(three: Three) -> None:
    a = three.add("a", NodeState.RECOVERING)
    with pytest.raises(StateError, match="cannot say what it promised"):
        a.node.seal(NAMES)
    assert a.store.header.state is NodeState.RECOVERING


def test_a_recovered_node_that_met_nobody_has_no_seal_and_says_whom_it_needs(three: Three) -> None:
    """By what the others may have recorded its seal would be of an earlier store, and
    refused for ever.
    """
    path = three.directory / "recovered"
    header = Header("a", 1, NAMES, NodeState.COMPLETE, NONCE, unclaimed=True)
    a = three.add("a", store=PromiseStore.create(path, header, [(ROW, Watermark(HRS(20, 0, 3)))]))
    three.wait(2 * START_READ_S)
    with pytest.raises(StateError, match="has not met 1 of b, c since") as refused:
        a.node.seal(NAMES)
    assert "start it while 1 of b, c runs, and seal it then" in str(refused.value)
    assert (
        "where one is sealed and stopped: stop this node, then the `cmkms member` command of that change here"
        in a.node.membership.why.lower()
    )
    assert a.store.header.state is NodeState.COMPLETE
    three.add("b")
    three.meet("a", "b")
    sealed = a.node.seal(NAMES)
    assert sealed.incarnation.number == 1
    assert sealed.incarnation == a.store.header.incarnation


def test_a_store_that_begins_a_second_time_in_an_epoch_is_found_out_and_recovers(three: Three) -> None:
    """The same seals on another machine: whoever met the first store shows its signature."""
    for name in NAMES:
        three.add(name, unclaimed=True)
    three.meet_all().wait(2 * START_READ_S)
    assert three.ready() == list(NAMES)
    again = three.add("a", unclaimed=True)
    for name in ("b", "c"):
        three.nodes[name].node.on_disconnected("a", closed=True)
    with pytest.raises(BehindError, match="began before"):
        three.meet("a", "b")
    assert again.store.header.state is NodeState.RECOVERING
    assert again.store.header.unclaimed
