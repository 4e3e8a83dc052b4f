"""Who leads, and what the signer is told of it."""

from cometkms.limits import LEADER_READ_S, START_READ_S
from cometkms.wire.queue_messages import Lease, Mark, PermitGranted
from tests.unit.state.three import NAMES, Three, leading, sign_bytes, signed


def test_a_leader_change_is_another_leader_or_another_term(three: Three) -> None:
    for name in NAMES:
        three.add(name)
    node = three.meet_all().nodes["a"].node
    seen = []
    for leader, term in ((None, 1), ("b", 2), ("b", 2), (None, 2), ("b", 2), (None, 3), ("b", 4), ("c", 5), ("a", 6)):
        node.on_role(leading=False, leader=leader, term=term)
        seen.append(node.leadership.changes)
    assert seen == [0, 0, 0, 0, 0, 0, 1, 2, 3]


def test_a_new_leader_grants_the_lease_when_the_others_marks_are_read_or_its_patience_is_over(three: Three) -> None:
    """They are hints: whoever does not answer holds up nobody for longer than that."""
    for name in NAMES:
        three.add(name)
    three.meet_all().wait(2 * START_READ_S)
    a, b = three.nodes["a"], three.nodes["b"]
    b.silent = True
    a.raft.leading, a.raft.leader = True, "a"
    a.node.on_role(leading=True, leader="a", term=2)
    three.pump()
    assert not a.node.leading, "b has not answered"
    three.now += LEADER_READ_S
    a.node.tick()
    assert a.node.leading


def test_a_lease_that_goes_takes_what_was_asked_for_with_it(three: Three) -> None:
    """The signer is told, and an accept that comes late gives a permit to nobody."""
    a = leading(three)
    for name in ("b", "c"):
        three.part("a", name)
    assert a.reserve(sign_bytes(1)) is None
    assert a.node.reservations.waiting
    a.raft.leading = False
    a.node.tick()
    told = [one for one in a.to if isinstance(one, Lease)]
    assert (told[-1].granted, a.node.leading, a.node.reservations.waiting) == (False, False, False)
    assert three.meet("a", "b") is None
    three.wait(0.2)
    assert not [one for one in a.to if isinstance(one, PermitGranted)]


def test_the_signer_that_holds_the_lease_is_told_of_signatures_that_were_made_elsewhere(three: Three) -> None:
    a = leading(three)
    c = three.nodes["c"]
    for node, granted in ((a, True), (c, False)):
        node.to.clear()
        node.node.signatures.on_shown(0, signed(9))
        marks = [one for one in node.to if isinstance(one, Mark)]
        assert marks == ([Mark(7, 0, signed(9))] if granted else [])
