"""Where the drawing puts what would otherwise stand on something else."""

import re
from itertools import pairwise

import pytest

from cometkms.api.failovers import Cause, Failover
from cometkms.api.history import Band, ChainLine, History, Pause, Second, Signing
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


# --- words and lines ---

Box = tuple[float, float, float, float]  # left, top, right, bottom
_LETTER, _HEAVY, _ABOVE, _BELOW = 6.6, 7.6, 10.0, 3.0  # of a word at 12 pixels


def attribute(element: str, name: str) -> str:
    found = re.search(rf' {name}="([^"]*)"', element)
    return found[1] if found is not None else ""


def words_of(drawn: str) -> list[tuple[str, Box]]:
    """Every word but the numbers in their discs."""
    found = []
    for element, text in re.findall(r"(<text [^>]*>)([^<]*)</text>", drawn):
        if attribute(element, "class") == "digit":
            continue
        letter = _HEAVY if attribute(element, "class") in ("gap", "inside", "lane") else _LETTER
        x, y, length = float(attribute(element, "x")), float(attribute(element, "y")), len(text) * letter
        left = x - {"end": length, "middle": length / 2}.get(attribute(element, "text-anchor"), 0.0)
        found.append((text, (left, y - _ABOVE, left + length, y + _BELOW)))
    return found


def lines_of(drawn: str) -> list[Box]:
    """Changes of leadership, the heights' line, the discs of the numbers."""
    found: list[Box] = []
    for path in re.findall(r'<path d="([^"]*)" class="change">', drawn):
        points = [float(one) for one in re.findall(r"[\d.]+", path)]
        xs, ys = (points[0::2], points[1::2]) if len(points) == 4 else ([points[0]], points[1:])
        found.append((min(xs), min(ys), max(xs), max(ys)))
    for points_text in re.findall(r'<polyline points="([^"]*)"', drawn):
        pairs = [tuple(map(float, one.split(","))) for one in points_text.split()]
        found += [(a[0], min(a[1], b[1]), b[0], max(a[1], b[1])) for a, b in pairwise(pairs)]
    for circle in re.findall(r"<circle [^>]*>", drawn):
        x, y, r = (float(attribute(circle, name)) for name in ("cx", "cy", "r"))
        found.append((x - r, y - r, x + r, y + r))
    return found


def meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def crowded(width: int, agos_s: list[float], gaps: list[tuple[float, float]], begun_s: float) -> str:
    """A scene with changes, bands around them, and pauses."""
    history = History()
    history.begun_at = NOW - begun_s
    leaders = ["node0", "node1"]
    history.bands.append(Band(NOW - max([begun_s, *(ago_s + 1 for ago_s in agos_s)]), "node1"))
    for number, ago_s in enumerate(agos_s):
        history.bands.append(Band(NOW - ago_s, None))
        history.bands.append(Band(NOW - ago_s + 0.05, leaders[number % 2]))
    line = ChainLine()
    for number in range(300):
        line.signings.append(Signing(NOW - begun_s + number * begun_s / 300, number + 1))
    for since, length in gaps:
        line.pauses.append(Pause(NOW - since, NOW - since + length, exact=True))
    history.chains["chain-1"] = line
    history.seconds.extend(Second(NOW - second, 3, 400.0, 900.0) for second in range(int(begun_s), 0, -5))
    stories = [(number, story(ago_s)) for number, ago_s in enumerate(agos_s, 1)]
    scene = Scene(history, leaders, stories, {"chain-1": 300}, "node1", NOW)
    return str(draw(scene, width, "narrow"))


@pytest.mark.parametrize("width", [332, 1088])
@pytest.mark.parametrize(
    ("agos_s", "gaps"),
    [
        ([300.0], [(300.0, 1.2)]),
        ([300.0, 297.0, 294.0], [(300.0, 1.2), (297.0, 1.1), (294.0, 60.0)]),
        ([590.0, 3.0, 1.0], [(590.0, 2.0), (3.0, 1.0), (1.0, 1.0)]),
        ([5.0 + n for n in range(16, 0, -1)], [(5.0 + n, 0.9) for n in range(16, 0, -1)]),
        ([100.0, 90.0, 80.0, 70.0], [(100.0, 300.0)]),
        ([], [(600.0, 600.0)]),
    ],
    ids=["one", "close together", "at both edges", "many", "over a pause that lasts", "nothing but a pause"],
)
@pytest.mark.parametrize("begun_s", [SPAN_S, 120.0])
def test_no_line_and_no_number_crosses_a_word_and_no_word_another(
    width: int, agos_s: list[float], gaps: list[tuple[float, float]], begun_s: float
) -> None:
    drawn = crowded(width, agos_s, gaps, begun_s)
    words, lines = words_of(drawn), lines_of(drawn)
    assert len(words) >= 5
    for number, (text, box) in enumerate(words):
        assert [line for line in lines if meet(box, line)] == [], text
        assert [other for other, place in words[number + 1 :] if meet(box, place)] == [], text
        assert box[0] >= -1, text
        assert box[2] <= width + 1, text


def lane(
    pauses: list[Pause], *, usual_s: float | None = None, chain_id: str = "chain-1", more: int = 0, width: int = 332
) -> str:
    """A chain's lane, where a signature a second, or each usual_s, is usual; beside `more` chains
    without one.
    """
    history, line = History(), ChainLine()
    history.begun_at = NOW - 120.0
    for number in range(40):
        line.sample(NOW - 40 * (usual_s or 1.0) + number * (usual_s or 1.0), number + 1)
    line.pauses.extend(pauses)
    history.chains[chain_id] = line
    heights = {chain_id: 123456789, **{f"other-{number}": 1 for number in range(more)}}
    return str(draw(Scene(history, ["node0"], [], heights, "node0", NOW), width, "narrow"))


def test_a_change_that_cost_a_chain_no_more_than_it_waits_anyway_is_no_pause() -> None:
    """Red, "0.9 s" beside a usual pause of 1 s reads as a failure."""
    changed = [Pause(NOW - 30, NOW - 30 + length, exact=True) for length in (0.9, 1.5)]
    assert "0.9 s" not in lane(changed) and "900 ms" not in lane(changed)
    assert lane(changed).count('class="pause"') == 1
    assert "Pauses without a signature: 1." in lane(changed)
    assert lane(changed, usual_s=2.0).count('class="pause"') == 0


@pytest.mark.parametrize("width", [328, 1088])
@pytest.mark.parametrize("name", ["001-chain-with-a-name-of-fifty-letters-as-allowed-x", "W" * 50, "\u92fc" * 50, "c"])
def test_a_long_name_leaves_room_for_the_height_beside_it(width: int, name: str) -> None:
    drawn = lane([], chain_id=name, width=width)
    (shown, box), (height, other) = [one for one in words_of(drawn) if one[0].startswith(("Signed: ", "height 1"))]
    assert not meet(box, other), (shown, height)
    assert box[2] <= width
    assert shown.endswith(name[-1])
    assert ("…" in shown) is (name != "c" and width == 328)
    if name[0] in "W\u92fc":  # as broad as a letter gets
        assert len("Signed: ") * _HEAVY + (len(shown) - len("Signed: ")) * 12 < other[0]


@pytest.mark.parametrize(
    ("more", "words"),
    [(0, ""), (1, "1 more chain is in the table of chains"), (16, "16 more chains are in the table of chains")],
)
def test_chains_without_a_lane_are_counted(more: int, words: str) -> None:
    assert (
        re.findall(r"\d+ more chains? (?:is|are) in the table of chains", lane([], more=more)) == [words][: bool(more)]
    )


def test_a_time_below_the_lanes_is_whole_or_not_there() -> None:
    """Whatever the second: a digit is up to 7.8 pixels wide."""
    history, found = History(), 0
    history.begun_at = NOW
    for second in range(40):
        drawn = str(draw(Scene(history, ["node0"], [], {}, "node0", NOW + second), 328, "narrow"))
        for text, (left, _, right, _) in words_of(drawn):
            if re.fullmatch(r"\d\d:\d\d:\d\d", text):
                middle, half, found = (left + right) / 2, len(text) * 7.8 / 2, found + 1
                assert half <= middle <= 328 - half, (second, text)
    assert found > 40
