"""How long an election waits: the floors near by, the round trips far away."""

import pytest

from cometkms.state.raft.pace import (
    ELECTION_MAX_S,
    ELECTION_MIN_S,
    FAR_S,
    HEARTBEAT_S,
    NEAR_S,
    STAGGER_S,
    Pace,
    RoundTrips,
    pace_of,
)


@pytest.mark.parametrize("round_trip_s", [0.0, 0.0001, 0.005, NEAR_S])
def test_near_by_the_floors_hold(round_trip_s: float) -> None:
    assert pace_of(round_trip_s, 0.4) == Pace(ELECTION_MIN_S, ELECTION_MAX_S, STAGGER_S, 0.4)


@pytest.mark.parametrize("round_trip_s", [0.0, 0.05, 0.1, 0.3, 0.6, FAR_S, 30.0])
def test_votes_are_there_before_a_candidate_begins_again_and_a_new_leader_is_answered_before_it_gives_up(
    round_trip_s: float,
) -> None:
    pace = pace_of(round_trip_s, 0.4)
    waited_for = min(round_trip_s, FAR_S)
    assert pace.earliest_s > waited_for + 2 * HEARTBEAT_S
    assert pace.latest_s - pace.earliest_s > waited_for / 2
    assert pace.fallback_s > waited_for + HEARTBEAT_S
    assert pace.earliest_s > 3 * HEARTBEAT_S, "the library wants it"


def test_the_pace_only_slows_with_the_way() -> None:
    paces = [pace_of(ms / 1000, 0.4) for ms in range(0, 2000, 10)]
    for field in ("earliest_s", "latest_s", "stagger_s", "fallback_s"):
        values = [getattr(pace, field) for pace in paces]
        assert values == sorted(values)


def test_a_longer_round_trip_counts_at_once_and_a_shorter_one_slowly() -> None:
    trips = RoundTrips()
    trips.feed("b", 0.01)
    trips.feed("b", 0.3)
    assert trips.longest(["b"]) == 0.3
    trips.feed("b", 0.01)
    assert 0.2 < trips.longest(["b"]) < 0.3
    for _ in range(60):
        trips.feed("b", 0.01)
    assert trips.longest(["b"]) == pytest.approx(0.01, abs=0.001)


def test_the_farthest_member_decides_and_one_that_is_away_does_not() -> None:
    trips = RoundTrips()
    assert trips.longest(["b", "c"]) == 0.0
    trips.feed("b", 0.02)
    trips.feed("c", 0.2)
    assert trips.longest(["b", "c"]) == 0.2
    trips.forget("c")
    assert trips.longest(["b", "c"]) == 0.02
