"""Durations go into buckets and come out as quantiles, and as the fixed buckets of a monitor."""

import random

import pytest

from cometkms.histogram import BOUNDS_US, Histogram


def filled(*durations_ns: int) -> Histogram:
    histogram = Histogram()
    for duration in durations_ns:
        histogram.add(duration)
    return histogram


def test_the_bounds_are_those_that_monitors_were_promised() -> None:
    """Changing them breaks `histogram_quantile` over a rolling upgrade."""
    assert BOUNDS_US == (
        50, 100, 200, 300, 500, 750, 1000, 1500, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000,
    )  # fmt: skip


def test_an_empty_one_has_every_bucket_at_nothing() -> None:
    assert Histogram().buckets_us() == {"count": 0, "sum_us": 0.0, "buckets": [[bound, 0] for bound in BOUNDS_US]}


def test_buckets_are_cumulative_and_count_and_sum_are_exact() -> None:
    told = filled(40_000, 40_000, 180_000, 9_000_000_000).buckets_us()
    assert dict(map(tuple, told["buckets"])) == {bound: 2 if bound < 200 else 3 for bound in BOUNDS_US}
    assert (told["count"], told["sum_us"]) == (4, 9_000_260.0)


def test_a_negative_duration_is_none_and_a_huge_one_is_counted() -> None:
    told = filled(-5, 1 << 50).buckets_us()
    assert told["buckets"][0] == [50, 1]
    assert told["buckets"][-1] == [2_500_000, 1]
    assert (told["count"], told["sum_us"]) == (2, round((1 << 50) / 1000, 1))


@pytest.mark.parametrize("seed", range(5))
def test_a_bucket_holds_what_was_at_most_its_bound_but_for_three_in_a_hundred(seed: int) -> None:
    """The slow, obvious twin: sort and count."""
    rng = random.Random(seed)
    durations = [int(10 ** rng.uniform(3, 9.5)) for _ in range(3000)]
    told = filled(*durations).buckets_us()
    before = 0
    for bound, count in told["buckets"]:
        surely = sum(duration <= bound * 1000 * 0.969 for duration in durations)
        perhaps = sum(duration <= bound * 1000 for duration in durations)
        assert surely <= count <= perhaps
        assert count >= before
        before = count
    assert told["count"] == len(durations)
    assert told["sum_us"] == round(sum(durations) / 1000, 1)
