"""Quantiles, ratios and what counts as moved."""

import pytest

from benchmarks.figures import compare, gaps, quantile, quantiles_us, table


def test_quantiles_are_of_the_nearest_rank_and_need_a_value() -> None:
    times = list(range(1000, 101_000, 1000))  # 1..100 microseconds
    assert quantiles_us(times[::-1]) == {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 100.0, "max": 100.0}
    assert quantile([7.0], 0.99) == 7.0
    assert quantile([float(number) for number in range(1, 21)], 0.95) == 19.0
    with pytest.raises(ValueError, match="nothing was measured"):
        quantiles_us([])


def test_a_row_has_its_ratio_to_the_floor_and_the_spread_of_its_rounds() -> None:
    rows = table({"floor": [[1000], [2000], [1000]], "ours": [[2000], [2000], [3000]]}, "floor")
    assert rows["floor"]["p50 / floor"] == 1.0
    assert rows["ours"]["p50 / floor"] == 2.0
    assert rows["ours"]["p50 spread"] == [1.0, 3.0]
    assert (rows["ours"]["count"], rows["ours"]["rounds"]) == (3, 3)


def section(ratio: float, low: float, high: float, rounds: int = 5) -> dict:
    row = {f"{key} / floor": ratio for key in ("p50", "p99")} | {f"{key} spread": [low, high] for key in ("p50", "p99")}
    return {"three": {"ours": {**row, "rounds": rounds}}}


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        (section(1.0, 0.9, 1.1), section(1.15, 1.05, 1.25), "within noise"),
        (section(1.0, 0.9, 1.1), section(1.3, 1.2, 1.4), "slower"),
        (section(1.3, 1.2, 1.4), section(1.0, 0.9, 1.1), "faster"),
        (section(1.0, 1.0, 1.0, rounds=1), section(9.0, 9.0, 9.0), "too few rounds"),
    ],
)
def test_a_ratio_moved_when_it_moved_more_than_both_runs_vary(old: dict, new: dict, verdict: str) -> None:
    changes = compare(old, new)
    assert {change.verdict for change in changes} == {verdict}
    assert {change.moved for change in changes} == {verdict in ("slower", "faster")}


def test_sections_and_rows_that_only_one_run_has_are_not_compared() -> None:
    assert compare({"one": {}}, section(1, 1, 1)) == []
    assert compare({"three": {"others": {}}}, section(1, 1, 1)) == []
    assert compare({"three": {"ours": {"not run": "no binary"}}}, section(1, 1, 1)) == []


def test_gaps_keep_every_round() -> None:
    assert gaps([30.04, 10, 20]) == {
        "rounds": 3,
        "p50_ms": 20,
        "p90_ms": 30.0,
        "p95_ms": 30.0,
        "max_ms": 30.0,
        "all_ms": [10, 20, 30.0],
    }
