"""What is believed of a signature that somebody shows, and when it goes to the replicated log."""

import pytest

from cometkms.limits import START_READ_S
from cometkms.model import Reason, Watermark
from cometkms.rules.birth import Life, NodeState
from cometkms.rules.incarnation import FIRST
from cometkms.state.signatures import row_key
from cometkms.wire.peer_messages import (
    LifeNews,
    Promise,
    Promised,
    RowMark,
    decode,
    encode,
)
from cometkms.wire.queue_messages import PermitGranted, Signed
from tests.unit.state.three import NAMES, NONCE, RECORD, ROW, Three, sign_bytes, signed


def test_a_signature_that_does_not_verify_has_no_effect_and_one_that_does_vetoes(three: Three) -> None:
    three.add("a")
    b = three.add("b")
    three.meet("a", "b")
    three.wait(2 * START_READ_S)
    life = Life(NodeState.COMPLETE, NONCE, tuple(zip(NAMES, RECORD, strict=True)))
    forged = Watermark(signed(9).hrs, signed(9).sign_bytes, b"s" * 64)
    for mark, reason in ((forged, Reason.NONE), (signed(9), Reason.HEIGHT_REGRESSION)):
        b.node.on_frame("a", encode(LifeNews(life, False, (RowMark(ROW, mark, True),), None, ())))
        b.sent.clear()
        b.node.on_frame(
            "a", encode(Promise(1, 64, ROW.public_key, sign_bytes(2 if reason is Reason.NONE else 3), 0, FIRST))
        )
        answer = decode(b.sent[-1][1])
        assert isinstance(answer, Promised)
        assert answer.reason is reason


def test_a_signature_goes_to_the_log_when_no_request_is_near(three: Three) -> None:
    for name in NAMES:
        three.add(name)
    three.meet_all().wait(1.0)
    a = three.nodes["a"]
    a.lead()
    a.reserve(sign_bytes(1))
    mark = signed(1)
    a.node.on_signer(Signed(0, mark.hrs, mark.sign_bytes, mark.signature))
    assert a.raft.submitted == []
    three.wait(0.1)
    assert a.raft.submitted == [mark]


def test_a_signature_of_a_node_that_does_not_lead_comes_to_everybody_and_to_the_leaders_log(three: Three) -> None:
    for name in NAMES:
        three.add(name)
    three.meet_all().nodes["a"].lead()
    a, b = three.nodes["a"], three.nodes["b"]
    mark = signed(7)
    assert isinstance(b.reserve(mark.sign_bytes, urgent=True), PermitGranted)
    b.node.on_signer(Signed(0, mark.hrs, mark.sign_bytes, mark.signature))
    three.wait(0.1)
    assert [three.nodes[name].node.signed(0) for name in NAMES] == [mark] * 3
    three.wait(0.1)
    assert a.raft.submitted == [mark]
    a.node.on_applied(row_key(ROW), mark)
    three.wait(0.1)
    assert a.raft.submitted == [mark], "what came from the log does not go there again"


def test_what_was_signed_while_nobody_led_goes_to_the_next_leaders_log(three: Three) -> None:
    for name in NAMES:
        three.add(name)
    three.meet_all()
    b, c = three.nodes["b"], three.nodes["c"]
    mark = signed(7)
    assert isinstance(b.reserve(mark.sign_bytes, urgent=True), PermitGranted)
    b.node.on_signer(Signed(0, mark.hrs, mark.sign_bytes, mark.signature))
    three.wait(0.1)
    assert c.raft.submitted == []
    c.lead()
    three.wait(0.1)
    assert c.raft.submitted == [mark]


@pytest.mark.parametrize("when", ["before the report", "after it"])
def test_a_signature_made_while_the_leadership_goes_is_shown_to_the_others(three: Three, when: str) -> None:
    """The log takes nothing from a node that does not lead any more: without this, nobody else
    would know of it.
    """
    for name in NAMES:
        three.add(name)
    three.meet_all()
    a = three.nodes["a"]
    a.lead()
    data = sign_bytes(7)
    assert isinstance(a.reserve(data), PermitGranted)
    mark = signed(7)
    if when == "before the report":
        a.raft.leading = False
    a.node.on_signer(Signed(0, mark.hrs, data, mark.signature))
    a.raft.leading = False
    three.wait(0.1)
    assert [three.nodes[name].node.signed(0) for name in NAMES] == [mark] * 3
