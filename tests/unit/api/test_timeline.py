"""Where the drawing puts what would otherwise stand on something else."""

import re
from itertools import pairwise

import pytest

from cometkms.api.history import History
from cometkms.api.story import Cause, Failover
from cometkms.api.timeline import Scene, draw

NOW = 1_800_000_000.0
SPAN_S = 600.0
DIAMETER = 16


def story(ago_s: float) -> Failover:
    at = NOW - ago_s
    return Failover("node0", "node1", Cause.HANDED_OVER, "", at, at, 2, (), None, None, None)


def numbers(width: int, agos_s: list[float]) -> list[tuple[int, float]]:
    """Each drawn number, and where its disc stands."""
    history = History()
    history.begun_at = NOW - SPAN_S
    stories = [(number, story(ago_s)) for number, ago_s in enumerate(agos_s, 1)]
    drawn = str(draw(Scene(history, ["node0", "node1"], stories, {}, "node1", NOW), width, "narrow"))
    return [(int(number), float(x)) for x, number in re.findall(r'<circle cx="([\d.]+)".*?>(\d+)</text>', drawn)]


@pytest.mark.parametrize(
    "agos_s",
    [[599.0], [0.0], [300.0, 299.0, 298.0], [599.9, 599.8, 599.7], [3.0, 2.0, 1.0, 0.0], [20.0 - n for n in range(18)]],
    ids=["at the left edge", "just now", "close together", "all at the left", "all at the right", "as many as fit"],
)
def test_numbers_of_changes_close_together_stand_side_by_side_and_inside(agos_s: list[float]) -> None:
    found = numbers(332, agos_s)
    assert [number for number, _ in found] == list(range(1, len(agos_s) + 1))
    assert all(right - left >= DIAMETER for (_, left), (_, right) in pairwise(found))
    assert all(DIAMETER / 2 <= x <= 332 - DIAMETER / 2 for _, x in found)


def test_a_number_that_has_room_stands_at_its_change() -> None:
    assert numbers(600, [300.0, 100.0]) == [(1, 300.0), (2, 500.0)]


def test_of_more_changes_than_there_is_room_for_the_newest_are_numbered() -> None:
    assert [number for number, _ in numbers(332, [100.0 - n for n in range(40)])] == list(range(23, 41))


def test_no_number_stands_in_the_heading_of_the_first_lane() -> None:
    history = History()
    history.begun_at = NOW - SPAN_S
    drawn = str(draw(Scene(history, ["node0"], [(1, story(590.0))], {}, "node0", NOW), 332, "narrow"))
    circle = re.search(r'cy="(\d+)" r="(\d+)"', drawn)
    heading = re.search(r'<text x="0" y="([\d.]+)"[^>]*>Who led', drawn)
    assert circle is not None and heading is not None, drawn
    assert int(circle[1]) + int(circle[2]) <= float(heading[1]) - 12, "letters are 12 pixels high"
