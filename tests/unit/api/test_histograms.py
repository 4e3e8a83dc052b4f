"""Between two readings of a cumulative histogram."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometkms.api.histograms import Counted, read, since, together

BOUNDS = (100.0, 1000.0, 10000.0)


def report(*counts: int) -> dict:
    below, buckets = 0, []
    for bound, count in zip(BOUNDS, (*counts, 0, 0), strict=False):
        below += count
        buckets.append([bound, below])
    return {"count": sum(counts), "sum_us": 1.0, "buckets": buckets}


def test_a_report_is_read_as_counts_and_what_lies_above_all() -> None:
    assert read(report(1, 2, 3, 4)) == Counted(BOUNDS, (1, 2, 3, 4))
    assert read({}) == Counted()
    assert read({"count": 0, "sum_us": 0.0, "buckets": []}).total == 0


def test_what_came_between_is_the_difference_unless_the_process_began_anew() -> None:
    before, now = read(report(5, 1, 0, 0)), read(report(7, 1, 2, 0))
    assert since(now, before).counts == (2, 0, 2, 0)
    assert since(before, now) == before, "a count fell: all of it is new"
    assert since(now, Counted()) == now
    assert since(Counted(), now) == Counted()


def test_histograms_of_several_chains_are_one() -> None:
    assert together([read(report(1, 2)), Counted(), read(report(3, 4))]).counts == (4, 6, 0, 0)
    assert together([]) == Counted()


def test_samples_above_a_bound_are_those_of_whole_buckets() -> None:
    counted = read(report(5, 4, 3, 2))
    assert (counted.above(100), counted.above(999), counted.above(1000), counted.above(1e9)) == (9, 5, 5, 0)


@pytest.mark.parametrize(("fraction", "value"), [(0.5, 100.0), (0.75, 550.0), (1.0, 1000.0)])
def test_quantiles_are_interpolated(fraction: float, value: float) -> None:
    assert read(report(10, 10)).quantile_us(fraction) == pytest.approx(value)


def test_beyond_the_last_bound_that_bound_is_all_that_is_known() -> None:
    assert read(report(0, 0, 0, 5)).quantile_us(0.99) == 10000.0
    assert Counted().quantile_us(0.5) is None


@given(st.lists(st.integers(0, 50), min_size=4, max_size=4), st.floats(0.01, 1.0))
def test_a_quantile_lies_within_the_bucket_that_holds_it(counts: list[int], fraction: float) -> None:
    counted = read(report(*counts))
    value = counted.quantile_us(fraction)
    if not sum(counts):
        assert value is None
        return
    assert value is not None
    seen = [sum(counts[: number + 1]) for number in range(4)]
    bucket = next(number for number, below in enumerate(seen) if below >= sum(counts) * fraction and counts[number])
    assert (0.0, *BOUNDS)[bucket] <= value <= (*BOUNDS, BOUNDS[-1])[bucket]
