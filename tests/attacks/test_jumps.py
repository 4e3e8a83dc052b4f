"""Whoever raises a chain's mark, by asking or as a member, gets no farther than time allows (rule 13). Real processes, all of them."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cometkms.limits import JUMP_HEIGHTS, JUMP_HEIGHTS_PER_S
from tests.attacks.test_walls import found_by
from tests.e2e.cluster import Client, Cluster, Judge
from tests.e2e.node import PRECOMMIT, PREVOTE, Node, ballot, free_tcp, until


def test_a_validator_that_asks_for_more_each_time_gets_no_farther_than_time_allows(
    make_node: Callable[..., Node], make_validator: Callable[..., Any]
) -> None:
    """And what it got is signed once; the next usual height is signed at once."""
    validator = make_validator(free_tcp())
    make_node(validator.address).start(wait=False)
    validator.connect()
    validator.must_sign(PREVOTE, 5)
    begun, highest, refused = time.time(), 5, 0
    for step in (999, 999, 999, 199_000_000, 500, 250, 120, 60, 1_000_000) * 3:
        answer = validator.sign(PREVOTE, highest + step)
        if answer.get("signature"):
            highest += step
        else:
            refused += 1
            assert "height jump" in answer["error"], answer
    allowed = 5 + JUMP_HEIGHTS + JUMP_HEIGHTS_PER_S * (time.time() - begun + 1)
    assert 5 < highest <= allowed
    assert refused >= 15

    def next_one() -> bool:
        return bool(validator.sign(PREVOTE, highest + 1).get("signature"))

    until("the next height is plausible again", next_one)


def test_a_member_that_asks_for_promises_far_up_raises_the_others_by_what_time_allows(tmp_path: Path) -> None:
    """The chain goes on above that, without the member; nothing is signed twice."""
    validator, judge = Client(free_tcp()), Judge()
    cluster = Cluster(tmp_path, 3, validator.address)
    cluster.nodes["node2"].program = [sys.executable, "-m", "tests.attacks.taken", "state", "raise_the_marks"]

    def signs(height: int) -> None:
        def once() -> bool:
            request = ballot(PRECOMMIT, height)
            answer = validator.sign(PRECOMMIT, height)
            judge.saw(request, answer)
            return bool(answer.get("signature"))

        until(f"{height} is signed", once)

    def mark_of(name: str) -> int:
        height = cluster.status(name)["chains"][0]["watermark"]["height"]
        assert isinstance(height, int)
        return height

    try:
        cluster.start()
        signs(50)
        begun = time.time()
        asked = found_by(cluster.nodes["node2"], "raised_the_marks")
        assert asked > 100_000
        cluster.kill("node2")
        until("a jump was refused", lambda: cluster.status("node0").get("promises_refused", {}).get("jump", 0) > 100)
        allowed = 50 + JUMP_HEIGHTS + JUMP_HEIGHTS_PER_S * (time.time() - begun + 1)
        marks = [mark_of(name) for name in ("node0", "node1")]
        assert all(mark <= allowed for mark in marks), (marks, allowed)
        cluster.wait_leader(besides="node2")
        signs(max(marks) + 1)
        judge.verdict()
    finally:
        validator.close()
        cluster.stop()
