"""What becomes of what the signer asks for."""

from cometkms.limits import TICK_S
from cometkms.model import HRS, Permit, Reason, Watermark
from cometkms.rules.birth import NodeState
from cometkms.wire.queue_messages import PermitGranted, ReserveRefused
from tests.unit.state.three import NAMES, Three, sign_bytes


def test_a_majority_of_promises_is_a_permit_and_a_minority_is_none(three: Three) -> None:
    for name in NAMES:
        three.add(name)
    three.meet_all().wait(1.0)
    a = three.nodes["a"]
    a.lead()
    answer = a.reserve(sign_bytes(1))
    assert isinstance(answer, PermitGranted)
    assert answer.permit.sign_bytes == sign_bytes(1)
    assert {one.store.mark(0).sign_bytes for one in three.nodes.values()} == {sign_bytes(1)}
    for name in ("b", "c"):
        a.node.on_disconnected(name, closed=True)
    assert a.reserve(sign_bytes(2), 2) is None
    assert three.meet("a", "b") is None
    assert isinstance([one for one in a.to if getattr(one, "request_id", 0) == 2][-1], PermitGranted)


def test_a_node_that_does_not_lead_permits_nothing(three: Three) -> None:
    for name in NAMES:
        three.add(name)
    three.meet_all().wait(1.0)
    answer = three.nodes["b"].reserve(sign_bytes(1))
    assert isinstance(answer, ReserveRefused)
    assert answer.reason is Reason.NOT_LEADER
    assert three.nodes["b"].store.mark(0) == Watermark()


def test_a_refusal_names_the_place_that_stands_in_the_way_wherever_it_stands(three: Three) -> None:
    """As after `cmkms recover` on two of three: the survivor leads, stands lower itself, and must
    not say "asked for 21, promised up to 5".
    """
    for name in NAMES:
        three.add(name)
    three.meet_all().nodes["a"].lead()
    a = three.nodes["a"]
    assert isinstance(a.reserve(sign_bytes(5)), PermitGranted)
    for name, height in (("b", 25), ("c", 30)):
        three.nodes[name].store.write_mark(0, Watermark(HRS(height, 0, 3)))
    refused = a.reserve(sign_bytes(21), 2)
    assert isinstance(refused, ReserveRefused)
    assert (refused.reason, refused.mark) == (Reason.HEIGHT_REGRESSION, HRS(25, 0, 3)), (
        "two of three stand there or above"
    )


def test_what_an_agent_asks_for_urgently_is_proposed_by_a_node_that_does_not_lead(three: Three) -> None:
    """A majority promises the same bytes to the leader and to whoever else proposes them; other
    bytes at the place are refused.
    """
    for name in NAMES:
        three.add(name)
    three.meet_all().nodes["a"].lead()
    a, b = three.nodes["a"], three.nodes["b"]
    assert isinstance(a.reserve(sign_bytes(1)), PermitGranted)
    assert b.reserve(sign_bytes(1), urgent=True) == PermitGranted(7, 1, 0, Permit(sign_bytes(1)))
    refused = b.reserve(sign_bytes(1, b"o"), 2, urgent=True)
    assert isinstance(refused, ReserveRefused)
    assert refused.reason is Reason.CONFLICT
    assert isinstance(b.reserve(sign_bytes(2), 3, urgent=True), PermitGranted)
    assert (a.node.reservations.without_lead, b.node.reservations.without_lead, b.node.leading) == (0, 3, False)


def test_a_node_that_is_not_complete_proposes_nothing_however_urgently_it_is_asked(three: Three) -> None:
    """Rule 7: what it once promised is not known before it has read the others."""
    three.add("b", NodeState.RECOVERING)
    answer = three.nodes["b"].reserve(sign_bytes(1), urgent=True)
    assert isinstance(answer, ReserveRefused)
    assert answer.reason is Reason.NOT_COMPLETE
    assert three.nodes["b"].store.mark(0) == Watermark()


def test_what_nobody_answers_is_let_go_of_by_a_node_that_does_not_lead(three: Three) -> None:
    """Its agent has asked another by then.

    Without an end the node would tick a hundred times a second for it for ever.
    """
    for name in NAMES:
        three.add(name)
    three.meet_all()
    b = three.nodes["b"]
    three.part("b", "a")
    three.part("b", "c")
    for name in ("a", "c"):
        b.node.on_disconnected(name, closed=False)
    assert b.reserve(sign_bytes(1), urgent=True) is None
    assert b.node.idle_for_s() == TICK_S
    three.wait(2.0)
    b.raft.idle_for_s = lambda: 1.0
    assert b.node.idle_for_s() == 1.0
    assert b.raft.transfers == []
