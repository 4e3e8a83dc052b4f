"""What a signature is expected to take, from where, and when that is too long."""

from dataclasses import replace

import pytest

from cometkms.model import BlockID
from cometkms.operator.doctor.blocks import Commit, Head, parse_commit
from cometkms.operator.doctor.chain import ChainFacts
from cometkms.operator.doctor.finding import Finding, Level
from cometkms.operator.doctor.latency import Measured, block_time, judge_latency, round_trips_of
from tests.unit.net.fake_rpc import RECORDED


def judged(members: int, sync_ms: float | None, block_s: float | None = None, **trips_ms: float) -> Finding:
    (found,) = judge_latency(Measured(sync_ms, trips_ms, block_s, 20), members)
    return found


@pytest.mark.parametrize(
    ("members", "trips_ms", "expected"),
    [
        (1, {}, "about 2.00 ms: a sync of 2.00 ms; a block"),
        (2, {"b": 10.0}, "about 12.00 ms: a sync of 2.00 ms and 10.00 ms to b and back, which completes the majority"),
        (3, {"b": 10.0, "c": 3.0}, "about 5.00 ms: a sync of 2.00 ms and 3.00 ms to c"),
        (3, {"b": 10.0}, "about 12.00 ms"),
        (5, {"b": 10.0, "c": 3.0, "d": 7.0, "e": 90.0}, "about 9.00 ms: a sync of 2.00 ms and 7.00 ms to d"),
    ],
)
def test_the_member_that_completes_the_majority_counts(members: int, trips_ms: dict[str, float], expected: str) -> None:
    found = judged(members, 2.0, **trips_ms)
    assert found.level is Level.OK
    assert found.words.startswith(f"a signature from here takes {expected}")


@pytest.mark.parametrize(
    ("block_s", "trip_ms", "level"),
    [(None, 197.0, Level.OK), (None, 199.0, Level.WARN), (6.0, 1190.0, Level.OK), (0.4, 79.0, Level.WARN)],
)
def test_more_than_a_fifth_of_the_block_time_warns(block_s: float | None, trip_ms: float, level: Level) -> None:
    found = judged(3, 2.0, block_s, b=trip_ms)
    assert found.level is level
    assert ("more than a fifth" in found.words) == (level is Level.WARN)
    assert ("--rpc measures it" in found.words) == (block_s is None)


def test_the_cure_is_for_the_larger_part() -> None:
    assert judged(3, 300.0, b=10.0).cure == "a disk that syncs faster"
    assert "leader_priority" in judged(3, 2.0, b=300.0).cure


def test_what_was_not_measured_is_not_guessed() -> None:
    assert judge_latency(Measured(None, {"b": 1.0}), 3) == []
    found = judged(5, 2.0, b=1.0)
    assert (found.level, "1 of the 2 other nodes" in found.words) == (Level.NOTE, True)


def test_a_running_nodes_word_is_taken_where_it_is_one() -> None:
    members = [
        {"id": "a", "self": True, "connected": True, "rtt_us": 1},
        {"id": "b", "connected": True, "rtt_us": 2500.0},
        {"id": "c", "connected": False, "rtt_us": 9},
        {"id": "d", "connected": True, "rtt_us": None},
        {"id": "e", "connected": True, "rtt_us": "5"},
        {"id": "f", "connected": True, "rtt_us": -1},
    ]
    assert round_trips_of(members) == {"b": 2.5}


def facts(*dated: tuple[int, float | None], head: tuple[int, float]) -> ChainFacts:
    commits = tuple(Commit(height, 0, BlockID(), None, time_s) for height, time_s in dated)
    return ChainFacts(Head("c", head[0], head[1], False, None, ""), 1, 1, commits, 0.0)


def test_the_time_of_a_block_is_what_the_last_ones_took() -> None:
    assert block_time(facts((10, 100.0), (11, 105.0), head=(20, 160.0))) == (6.0, 10)
    assert block_time(facts((10, None), (11, 106.0), head=(20, 160.0))) == (6.0, 9)
    assert block_time(facts(head=(20, 160.0))) is None
    assert block_time(facts((20, 160.0), head=(20, 160.0))) is None
    assert block_time(facts((10, 200.0), head=(20, 160.0))) is None


def test_a_real_blocks_time_is_read() -> None:
    first, last = (parse_commit(RECORDED["commits"][height]["result"], "") for height in ("3", "11"))
    assert first.time_s is not None
    assert last.time_s is not None
    assert 0 < last.time_s - first.time_s < 60
    assert block_time(ChainFacts(Head("c", 11, last.time_s, False, None, ""), 1, 1, (first,), 0.0)) == (
        (last.time_s - first.time_s) / 8,
        8,
    )
    without = {"signed_header": {"commit": RECORDED["commits"]["3"]["result"]["signed_header"]["commit"]}}
    assert parse_commit(without, "") == replace(first, time_s=None)
