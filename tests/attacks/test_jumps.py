"""Whoever raises a chain's mark, by asking or as a member, gets no farther than time allows (rule
13). Real processes, all of them.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cometkms.limits import JUMP_HEIGHTS, JUMP_HEIGHTS_PER_S, JUMP_SIGNED_PER_S
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
    for step in (999, 199_000_000, 999, 1_000_000, 250, 5_000) * 200:
        answer = validator.sign(PREVOTE, highest + step)
        if answer.get("signature"):
            highest += step
        else:
            refused += 1
            assert "height jump" in answer["error"], answer
    allowed = 5 + JUMP_HEIGHTS + (JUMP_SIGNED_PER_S + JUMP_HEIGHTS_PER_S) * (time.time() - begun + 1)
    assert 5 < highest <= allowed
    assert refused >= 600

    def next_one() -> bool:
        return bool(validator.sign(PREVOTE, highest + 1).get("signature"))

    until("the next height is plausible again", next_one)


class Chain:
    """A validator of three nodes, the last of them in hands of an attacker, and the
    judge of what it gets.
    """

    def __init__(self, directory: Path, payload: str) -> None:
        self.validator, self.judge = Client(free_tcp()), Judge()
        self.cluster = Cluster(directory, 3, self.validator.address)
        self.rogue = self.cluster.nodes["node2"]
        self.rogue.program = [sys.executable, "-m", "tests.attacks.taken", "state", payload]
        self.cluster.start()

    def signs(self, height: int) -> None:
        request = ballot(PRECOMMIT, height)

        def once() -> bool:
            answer = self.validator.sign(PRECOMMIT, height)
            self.judge.saw(request, answer)
            return bool(answer.get("signature"))

        until(f"{height} is signed", once)

    def mark_of(self, name: str) -> int:
        height = self.cluster.nodes[name].status()["chains"][0]["watermark"]["height"]
        assert isinstance(height, int)
        return height

    def close(self) -> None:
        self.validator.close()
        self.cluster.stop()


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Callable[[str], Chain]]:
    made: list[Chain] = []

    def make(payload: str) -> Chain:
        made.append(Chain(tmp_path, payload))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_member_that_asks_for_promises_far_up_raises_the_others_by_what_time_allows(
    chain: Callable[[str], Chain],
) -> None:
    """The chain goes on above that, without the member; nothing is signed twice."""
    begun, made = time.time(), chain("raise_the_marks")
    made.signs(50)
    assert found_by(made.rogue, "raised_the_marks") > 100_000
    made.cluster.kill("node2")
    until("a jump was refused", lambda: made.cluster.status("node0").get("promises_refused", {}).get("jump", 0) > 100)
    allowed = 50 + JUMP_HEIGHTS + JUMP_HEIGHTS_PER_S * (time.time() - begun + 1)
    marks = [made.mark_of(name) for name in ("node0", "node1")]
    assert all(mark <= allowed for mark in marks), (marks, allowed)
    made.cluster.wait_leader(besides="node2")
    made.signs(max(marks) + 1)
    made.judge.verdict()


def test_marks_that_a_leader_forges_in_the_replicated_log_hold_no_state_file_back(
    chain: Callable[[str], Chain],
) -> None:
    """Whoever went back to FilePV from a file that stands still would sign twice."""
    made = chain("poison_the_log")
    made.signs(50)
    cluster = made.cluster
    until(
        "node2 leads",
        lambda: cluster.leader() == "node2" or cluster.control("node0", "leader", "transfer", "--to", "node2") is None,
    )
    assert found_by(made.rogue, "poisoned_the_log") == 4
    until("it was not believed", lambda: cluster.status("node0").get("promises_refused", {}).get("false_mark", 0) >= 4)
    for height in range(51, 54):
        made.signs(height)
    for name in ("node0", "node1"):

        def follows(name: str = name) -> bool:
            return json.loads(cluster.nodes[name].state_path.read_text())["height"] == "53"

        until(f"{name}'s state file follows", follows)
        until(f"{name}'s log says so", lambda name=name: "not believed" in cluster.log(name))
    cluster.kill("node2")
    made.signs(54)
    made.judge.verdict()
