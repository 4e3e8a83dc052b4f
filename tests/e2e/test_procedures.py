"""Procedures of docs/CLUSTER.md, RUNBOOK.md and MOVING.md to the first signature, with the old machine coming back when it hurts most.

Those that have tests of their own elsewhere are in the table of docs/SAFETY.md, "Every procedure and its tests".
"""

from collections.abc import Callable
from pathlib import Path

from tests.e2e.node import PRECOMMIT, ballot, until
from tests.e2e.test_cluster_commands import (
    Judged,
    Member,
    begin,
    files_of,
    judge,
    make_homes,
    rival,
    seal,
    validator,
    whole,
)

__all__ = ["judge", "make_homes", "rival", "validator"]

Homes = Callable[..., list[Member]]


def three(make_homes: Homes, validator: Judged) -> tuple[Member, Member, Member]:
    """That run, and signed height 5."""
    zero, one, two = members = [member.start() for member in make_homes("net", 3)]
    whole(members)
    validator.connect()
    validator.must_sign(PRECOMMIT, 5)
    return zero, one, two


def test_a_key_that_went_out_of_a_cluster_signs_there_and_comes_back(
    make_homes: Homes, validator: Judged, rival: Judged, tmp_path: Path
) -> None:
    """MOVING "Out of a cluster", and back: whoever was not sealed, and whoever was, signs nothing meanwhile."""
    zero, one, two = members = three(make_homes, validator)
    two.stop()
    names = ("node0", "node1", "node2")
    seals = [seal(member, names) for member in (zero, one)]
    for member in (zero, one):
        member.stop()
    gaia = tmp_path / "gaia"
    for folder in ("config", "data"):
        (gaia / folder).mkdir(parents=True)
    zero.run("export", "--to", "filepv", str(gaia), *files_of(seals), "--yes")
    keys = {
        "key_file": str(gaia / "config" / "priv_validator_key.json"),
        "state_file": str(gaia / "data" / "priv_validator_state.json"),
    }
    assert validator.ask(cmd="load_filepv", **keys)["verified"]
    for height, block in ((5, "bb"), (6, "aa"), (7, "aa")):
        asked = ballot(PRECOMMIT, height, 0, block)
        answer = validator.ask(**asked, target="filepv")
        assert bool(answer.get("signature")) is (height > 5), answer

    two.serves(rival).start()  # it was not sealed, and is no majority
    assert "was sealed here" in zero.run("start", code=5).stderr
    until("it is there, and knows no leader", lambda: two.peers().get("leader_id", "") is None)
    rival.gets_nothing(1)
    two.stop()
    two.serves(validator)

    for member in (zero, one):
        done = member.run("import", "--from", "filepv", str(gaia), "--yes")
        assert "Done: test-1 stands at height 7 round 0 step 3 (signed)" in done.stdout
    begin(members, seals)
    for member in members:
        member.start()
    whole(list(members))
    validator.connect()
    for height in (6, 7):
        validator.must_refuse(PRECOMMIT, height, block="bb")
    validator.must_sign(PRECOMMIT, 8)
