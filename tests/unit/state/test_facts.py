"""Where two members' words differ, and only where it matters."""

import pytest

from cometkms.model import Row
from cometkms.state.facts import Difference, SelfReport, differences

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
