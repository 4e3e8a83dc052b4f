"""To whom the lead is passed on, and who may order it."""

import pytest

from cometkms.limits import DRILL_ORDER_EVERY_S, START_READ_S
from cometkms.wire.peer_messages import (
    Action,
)
from tests.unit.state.three import Three, come_back, leading, sign_bytes


def test_a_handover_asks_the_complete_members_the_longest_so_first(three: Three) -> None:
    a = leading(three)
    assert a.node.handover.hand_over() == ""
    assert a.raft.transfers == [("b", "c")]
    come_back(three, "b")
    three.wait(START_READ_S)
    assert (a.node.handover.hand_over(), a.node.handover.hand_over("b")) == ("", "")
    assert a.raft.transfers[1:] == [("c", "b"), ("b",)]


@pytest.mark.parametrize(("name", "order"), [("a", ("b", "c")), ("b", ("c", "a")), ("c", ("a", "b"))])
def test_a_leader_whose_requests_nobody_answers_hands_over_in_turn(
    three: Three, name: str, order: tuple[str, str]
) -> None:
    """Not to the one that is there for longest: two would hand it to each other, and the third
    never tried.
    """
    leading(three)
    three.nodes["a"].raft.leading = False
    come_back(three, order[0])
    three.wait(START_READ_S)
    for other in order:
        # it answers no promise, and has not said so
        three.nodes[other].node.membership.ready = False
    leader = three.nodes[name]
    leader.lead()
    assert leader.reserve(sign_bytes(1)) is None
    three.wait(1.0)
    assert leader.raft.transfers == [order]


def test_a_handover_is_refused_only_when_nobody_is_complete_and_names_each(three: Three) -> None:
    a = leading(three)
    b = three.nodes["b"]
    three.nodes["c"].node.on_disconnected("a", closed=True)
    a.node.on_disconnected("c", closed=True)
    assert (a.node.handover.hand_over(), a.raft.transfers[-1]) == ("", ("b",))
    assert a.node.handover.hand_over("c") == "c is not connected"
    come_back(three, "b", meets=False)
    assert a.node.handover.hand_over() == "b is not connected, c is not connected"
    three.nodes["b"].node.membership.ready = False
    three.meet("a", "b")
    assert three.nodes["b"] is not b
    assert a.node.handover.drills.obey("the operator", Action.TRANSFER, "").startswith(
        "nobody can take over now: b is starting, "
    )
    assert len(a.raft.transfers) == 1


def test_what_a_member_said_on_an_earlier_connection_is_not_believed(three: Three) -> None:
    a = leading(three)
    come_back(three, "b", meets=False)
    a.node.on_hello("b", three.nodes["b"].node.hello("a"), "address")
    a.node.on_connected("b")
    assert a.node.handover.hand_over("b") == "b has not said yet whether it is complete"


def test_an_order_to_hand_over_needs_the_lead_and_no_lease(three: Three) -> None:
    """In the moment after an election the marks of the others are still read: that is
    no reason to refuse.
    """
    a = leading(three)
    a.node.leadership.leased = False
    assert a.node.handover.drills.obey("the operator", Action.TRANSFER, "c") == ""
    three.wait(DRILL_ORDER_EVERY_S)
    a.raft.leading = False
    assert (
        a.node.handover.drills.obey("the operator", Action.TRANSFER, "c") == "c cannot take over now: a does not lead"
    )
