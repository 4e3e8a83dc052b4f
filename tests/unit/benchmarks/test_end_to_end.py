"""A round in which a signature failed is made again, for a while."""

from collections.abc import Callable

import pytest

from benchmarks import end_to_end
from benchmarks.end_to_end import made_again


def rounds(*outcomes: list[int] | Exception) -> Callable[[], list[int]]:
    """A measurement that turns out so, in turn."""
    left = iter(outcomes)

    def once() -> list[int]:
        outcome = next(left)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return once


def test_a_round_is_made_again_however_often_it_failed_and_each_time_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    failures = [RuntimeError(f"height {number}: EOF") for number in range(7)]
    assert made_again(rounds(*failures, [5]), RuntimeError) == [5]
    assert capsys.readouterr().out.splitlines() == [f"a round is made again: {error}" for error in failures]


def test_when_patience_is_over_the_last_failure_is_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(end_to_end, "ROUND_PATIENCE_S", -1.0)
    with pytest.raises(RuntimeError, match="EOF"):
        made_again(rounds(RuntimeError("EOF"), [5]), RuntimeError)


def test_a_failure_of_another_kind_is_not_a_busy_machines() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        made_again(rounds(ValueError("nonsense"), [5]), RuntimeError)
