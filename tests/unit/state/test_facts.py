"""Where two members' words differ, and only where it matters."""

import pytest

from cometkms.errors import StateError
from cometkms.model import Row
from cometkms.state.facts import Difference, SelfReport, differences, refuse_other_list

KEY = bytes.fromhex("ab" * 32)


def report(version: str = "1", rows: tuple[Row, ...] = (Row(KEY, "chain"),), **facts: str) -> SelfReport:
    return SelfReport(version, tuple(sorted(facts.items())), frozenset(rows))


@pytest.mark.parametrize(
    ("mine", "theirs", "found"),
    [
        (report(), report(), []),
        (report(), report("2"), [("version", "1", "2")]),
        (report(strict_start="on"), report(strict_start="off"), [("strict_start", "on", "off")]),
        (report(validators="a"), report(validators="b"), [("validators", "a", "b")]),
        (report(signed_bytes="nothing"), report(signed_bytes="c: x"), [("signed_bytes", "nothing", "c: x")]),
        (report(noise_identity="12D3a"), report(noise_identity="12D3b"), [("noise_identity", "12D3a", "12D3b")]),
        (report(strict_start="on"), report(), []),
        (report(python="3.11"), report(python="3.13"), []),
        (report(http_addr=":1"), report(http_addr=":2"), []),
        (report(leader_priority="50"), report(leader_priority="70"), []),
        (report(leader_priority="50"), report(leader_priority="nearest"), [("leader_priority", "50", "nearest")]),
        (report(leader_priority="nearest"), report(leader_priority="nearest"), []),
        (report(leader_priority="nearest"), report(), []),
        (report(), report(rows=()), [("chains", f"chain with the key {'ab' * 8}", "nothing more")]),
        (
            report(),
            report(rows=(Row(b"c" * 32, "chain"),)),
            [("chains", f"chain with the key {'ab' * 8}", f"chain with the key {'63' * 8}")],
        ),
    ],
)
def test_what_matters_is_named_with_both_sides(
    mine: SelfReport, theirs: SelfReport, found: list[tuple[str, str, str]]
) -> None:
    assert differences("b", mine, theirs) == tuple(Difference("b", *one) for one in found)


def test_nobody_is_sealed_beside_a_member_that_is_for_another_list() -> None:
    """Of three, one of them dead, two seals for two lists would leave no way on."""
    others = {"node0": (("life", "sealed"), ("sealed_for", "node0, node1, node3")), "node2": ()}
    refuse_other_list("node1", ("node3", "node1", "node0"), others)
    refuse_other_list("node1", ("node0", "node1", "node4"), {"node0": (), "node2": ()})
    with pytest.raises(StateError) as refused:
        refuse_other_list("node1", ("node0", "node1", "node4"), others)
    said = str(refused.value)
    assert "node0 is sealed for node0, node1, node3, and this would seal node1 for node0, node1, node4" in said
    assert "2 of node1, node2 can be sealed for this list: this command with --although-sealed-for-others" in said
