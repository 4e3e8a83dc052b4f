"""Draw the last ten minutes as an inline SVG: who led, what was signed, how long it took. Pure.

Everything is drawn in pixels of the given width, so that words keep their size on a phone. Colour
only repeats what words say.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

from cometkms.api.failovers import Failover
from cometkms.api.history import Band, ChainLine, History, Pause
from cometkms.api.html import Html, join, tag
from cometkms.limits import HISTORY_S
from cometkms.printable import duration

_TITLE: Final = 22  # a lane's heading
_BAND: Final = 26
_PLOT: Final = 46
_LANE_GAP: Final = 12
_AXIS: Final = 22
_SPAN_MIN_S: Final = 30.0  # a page that was opened just after a start is not mostly empty
_TICKS_S: Final = (10, 30, 60, 120, 300)
_TICK_PIXELS: Final = 64  # room for a tick's words
_LETTER: Final = 6.6  # pixels of one, at the label's size …
_HEAVY: Final = 7.8  # … and of a heavy one: no font's digits are wider
_NARROW_LETTERS: Final = frozenset("fijlrtI1-.,:;'|/()[] ")
_BROAD_LETTERS: Final = frozenset("mwMW@%")
_NUMBER: Final = 18  # room for a story's number, also beside another
_LABELS: Final = 16  # a row of words above a plot, where nothing is drawn
_STEP: Final = 2  # pixels between two signature marks
_PAUSE_MIN: Final = 4.0
_NICE: Final = (1, 2, 5, 10)


@dataclass(frozen=True, slots=True)
class Scene:
    """What is drawn. members: in the order of their colours. stories: with their numbers, oldest
    first."""

    history: History
    members: Sequence[str]
    stories: Sequence[tuple[int, Failover]]
    heights: Mapping[str, int]
    signer: str
    now: float


class _Paper:
    """A width in pixels, and time on it."""

    def __init__(self, width: int, now: float, span_s: float) -> None:
        self.width = width
        self.span_s = span_s
        self.since = now - span_s
        self.now = now
        self.y = 0.0
        self.drawn: list[Html] = []
        self.changes: list[float] = []  # x of each change of leadership
        self.spans: list[
            tuple[float, float]
        ] = []  # from which to which y a change is drawn: lanes without words of their own

    def x(self, at: float) -> float:
        share = (min(max(at, self.since), self.now) - self.since) / self.span_s
        return round(share * self.width, 1)

    def add(self, *shapes: Html) -> None:
        self.drawn.extend(shapes)

    def heading(self, words: str, detail: str = "") -> None:
        self.add(_text(0, self.y + 14, words, "lane"))
        if detail:
            self.add(_text(self.width, self.y + 14, detail, "detail", anchor="end"))
        self.y += _TITLE


def span_s(history: History, now: float) -> float:
    """How much is drawn: ten minutes, or what is known where that is less."""
    begun = min([history.begun_at or now, *(band.at for band in history.bands)])
    return min(HISTORY_S, max(_SPAN_MIN_S, now - begun))


def draw(scene: Scene, width: int, name: str) -> Html:
    """One SVG. `name`: makes its ids its own."""
    paper = _Paper(width, scene.now, span_s(scene.history, scene.now))
    marks = _numbers_at(paper, [one for one in scene.stories if one[1].lost_at >= paper.since])
    paper.changes = [paper.x(story.lost_at) for _, story, _ in marks]
    _leaders(paper, scene, marks)
    for chain_id, line in scene.history.chains.items():
        _chain(paper, chain_id, line, scene, name)
    _other_chains(paper, scene)
    _latency(paper, scene)
    for x in paper.changes:
        paper.add(*(tag("path", d=f"M{x:g} {top:g}V{bottom:g}", class_="change") for top, bottom in paper.spans))
    _axis(paper)
    hatch = tag(
        "defs",
        tag("pattern", tag("path", d="M0 6L6 0", class_="hatch"), id=f"hatch-{name}", width=6, height=6, patternUnits="userSpaceOnUse"),
    )  # fmt: skip
    return tag(
        "svg", hatch, *paper.drawn, class_=f"plot {name}", width=width, height=round(paper.y), role="img",
        viewBox=f"0 0 {width} {round(paper.y)}", aria_label=_in_words(scene),
    )  # fmt: skip


def _leaders(paper: _Paper, scene: Scene, marks: Sequence[tuple[int, Failover, float]]) -> None:
    """The stories' numbers stand right above the bands, below the heading's words."""
    paper.heading("Who led")
    for number, story, place in marks:
        _mark(paper, number, story, place)
    if marks:
        paper.y += _NUMBER + 4
    paper.spans.append((paper.y, paper.y + _BAND))
    bands = list(scene.history.bands)
    for band, until in _lasting(bands, scene.now):
        left, right = paper.x(band.at), paper.x(until)
        if right <= left:
            continue
        label = band.leader or "nobody"
        style = f"band m{scene.members.index(label) % 7}" if label in scene.members else "band nobody"
        box = tag("rect", tag("title", f"{label}, {duration(until - band.at)}"), x=left, y=paper.y, width=round(right - left, 1),
                  height=_BAND, rx=3, class_=style)  # fmt: skip
        paper.add(box)
        free = _clear(paper, left + 6, right - 4, len(label) * _HEAVY)
        if free is not None:
            paper.add(_text(free, paper.y + 17, label, "inside"))
    _unseen(paper, bands[0].at if bands else scene.now, _BAND)
    paper.y += _BAND + _LANE_GAP


def _clear(paper: _Paper, left: float, right: float, length: float) -> float | None:
    """Where words of that length find room between two places without a change's line through them;
    None: nowhere."""
    for x in sorted(paper.changes):
        if left - 3 < x < left + length + 3:
            left = x + 5
    return left if left + length <= right else None


def _lasting(bands: Sequence[Band], now: float) -> Iterator[tuple[Band, float]]:
    """Each with its end."""
    for band, after in pairwise(bands):
        yield band, after.at
    if bands:
        yield bands[-1], now


def _unseen(paper: _Paper, begun: float, height: float) -> None:
    """What was before this process looked."""
    right = paper.x(begun)
    if right > 8:
        paper.add(tag("rect", x=0, y=paper.y, width=right, height=height, rx=3, class_="unseen"))
        words = "not watched yet"
        place = _clear(paper, 6, right, len(words) * _LETTER)
        if place is not None:
            paper.add(_text(place, paper.y + 17, words, "faint"))


def _chain(paper: _Paper, chain_id: str, line: ChainLine, scene: Scene, name: str) -> None:
    usual = f"usual pause up to {duration(line.usual_s)}" if line.usual_s is not None else ""
    detail = f"height {scene.heights.get(chain_id, 0)}{f' · {usual}' if usual and paper.width > 600 else ''}"
    paper.heading(_shortened(f"Signed: {chain_id}", paper.width - len(detail) * _HEAVY - _LETTER), detail)
    pauses = [one for one in sorted(_pauses(line, scene.now), key=lambda one: one.since) if one.until >= paper.since]
    _lengths(paper, pauses)
    top, bottom = paper.y, paper.y + _PLOT
    paper.spans.append((top, bottom))
    paper.add(tag("rect", x=0, y=top, width=paper.width, height=_PLOT, rx=3, class_="ground"))
    begun = scene.history.begun_at or scene.now
    _unseen(paper, min([begun, *(one.at for one in line.signings)][:2]), _PLOT)
    seen = [one for one in line.signings if one.at >= paper.since]
    columns = dict.fromkeys(round(paper.x(one.at) / _STEP) * _STEP for one in seen)
    if columns:
        marks = "".join(f"M{x} {bottom - 8:g}v8" for x in columns)
        paper.add(tag("path", d=marks, class_="signed"))
    if len(seen) > 1:
        low, high = seen[0].height, max(seen[-1].height, seen[0].height + 1)
        points = {
            round(paper.x(one.at) / 4) * 4: round(bottom - 11 - (one.height - low) / (high - low) * (_PLOT - 17), 1)
            for one in seen
        }
        paper.add(tag("polyline", points=" ".join(f"{x},{y:g}" for x, y in points.items()), class_="height"))
    for pause in pauses:
        left, width = _extent(paper, pause)
        title = tag("title", f"no signature for {duration(pause.until - pause.since)}")
        paper.add(
            tag("rect", title, x=round(left, 1), y=paper.y, width=round(width, 1), height=_PLOT, fill=f"url(#hatch-{name})",
                class_="pause"),
        )  # fmt: skip
    paper.y += _PLOT + _LANE_GAP


def _other_chains(paper: _Paper, scene: Scene) -> None:
    """How many chains have no lane beside those that have one."""
    more = len(scene.heights.keys() - scene.history.chains.keys())
    if more and scene.history.chains:
        what = "chain is" if more == 1 else "chains are"
        paper.add(_text(0, paper.y + 10, f"{more} more {what} in the table of chains", "faint"))
        paper.y += _TITLE


def _pauses(line: ChainLine, now: float) -> Iterator[Pause]:
    """Those that are over, and one that is not. A change of leaders that cost a chain no more than
    it waits anyway is no pause.
    """
    usual_s = line.usual_s or 0.0
    yield from (one for one in line.pauses if not one.exact or one.until - one.since > usual_s)
    if line.signings and now - line.signings[-1].at > line.gap_s:
        yield Pause(line.signings[-1].at, now, exact=False)


def _extent(paper: _Paper, pause: Pause) -> tuple[float, float]:
    """Where a pause begins, and how wide it is: never less than can be seen."""
    width = max(paper.x(pause.until) - paper.x(pause.since), _PAUSE_MIN)
    return min(paper.x(pause.since), paper.width - width), width


def _lengths(paper: _Paper, pauses: Sequence[Pause]) -> None:
    """How long the pauses were, in a row of its own above the plot, each over its pause. Where they
    are too close, the newest has the room."""
    if not pauses:
        return
    free_to = float(paper.width)
    for pause in reversed(pauses):
        words = duration(pause.until - pause.since)
        length = len(words) * _HEAVY
        left, width = _extent(paper, pause)
        place = min(max(0.0, left + width / 2 - length / 2), free_to - length)
        # no room, or too far away from what it is about
        if place < 0 or place + length < left - length:
            continue
        paper.add(_text(place + length / 2, paper.y + 10, words, "gap", anchor="middle"))
        free_to = place - 8
    paper.y += _LABELS


def _latency(paper: _Paper, scene: Scene) -> None:
    seconds = [one for one in scene.history.seconds if one.at >= paper.since]
    if not seconds:
        paper.heading("Latency of a signature", "")
        who = (
            f"is measured on the node that signs: {scene.signer}"
            if scene.signer
            else "is measured on the node that signs"
        )
        paper.add(_text(0, paper.y + 12, who, "faint"))
        paper.y += 20 + _LANE_GAP
        return
    top_us = _nice(max(one.p99_us for one in seconds))
    last = seconds[-1]
    paper.heading("Latency of a signature", f"p50 {_latency_words(last.p50_us)} · p99 {_latency_words(last.p99_us)}")
    paper.add(_text(0, paper.y + 9, f"up to {_latency_words(top_us)}; p50 solid, p99 dashed", "faint"))
    paper.y += _LABELS
    paper.add(tag("rect", x=0, y=paper.y, width=paper.width, height=_PLOT, rx=3, class_="ground"))
    bottom = paper.y + _PLOT - 2
    paper.spans.append((paper.y, paper.y + _PLOT))

    def path(pick: int) -> str:
        parts, before = [], None
        for one in seconds:
            value = one.p50_us if pick == 50 else one.p99_us
            point = f"{paper.x(one.at):g} {bottom - min(value / top_us, 1.0) * (_PLOT - 6):.1f}"
            parts.append(f"{'L' if before is not None and one.at - before < 4 else 'M'}{point}")
            before = one.at
        return "".join(parts)

    paper.add(
        tag("path", tag("title", "p99 of each second"), d=path(99), class_="p99"),
        tag("path", tag("title", "p50 of each second"), d=path(50), class_="p50"),
    )
    paper.y += _PLOT + _LANE_GAP


def _numbers_at(paper: _Paper, stories: Sequence[tuple[int, Failover]]) -> list[tuple[int, Failover, float]]:
    """The newest stories that there is room for, and where each one's number stands: above its
    change, or beside where others are there."""
    kept = list(stories[-int(paper.width // _NUMBER) :])
    places: list[float] = []
    for _, story in kept:
        places.append(max(paper.x(story.lost_at), (places[-1] if places else -_NUMBER / 2) + _NUMBER))
    limit = paper.width - _NUMBER / 2
    for index in reversed(range(len(places))):
        limit = places[index] = min(places[index], limit)
        limit -= _NUMBER
    return [(number, story, place) for (number, story), place in zip(kept, places, strict=True)]


def _mark(paper: _Paper, number: int, story: Failover, place: float) -> None:
    """The number of a story in a row of its own, and where it belongs: its line is drawn through
    the lanes below."""
    x, y = paper.x(story.lost_at), paper.y
    paper.add(
        tag("path", d=f"M{place:g} {y + _NUMBER - 2:g}L{x:g} {y + _NUMBER + 4:g}", class_="change"),
        tag("circle", cx=round(place, 1), cy=round(y + 8, 1), r=8, class_="number"),
        _text(place, y + 12, str(number), "digit", anchor="middle"),
    )


def _axis(paper: _Paper) -> None:
    most = paper.width / _TICK_PIXELS
    tick_s = next((one for one in _TICKS_S if paper.span_s / one <= most), _TICKS_S[-1])
    first = int(paper.since // tick_s + 1) * tick_s
    form = "%H:%M:%S" if tick_s < 60 else "%H:%M"
    for at in range(first, int(paper.now) + 1, tick_s):
        x = paper.x(at)
        words = datetime.fromtimestamp(at, UTC).strftime(form)
        if len(words) * _HEAVY / 2 <= min(x, paper.width - x):
            paper.add(tag("path", d=f"M{x} {paper.y - _LANE_GAP:g}v5", class_="tick"))
            paper.add(_text(x, paper.y + 8, words, "faint", anchor="middle"))
    paper.y += _AXIS - _LANE_GAP + 4


def _text(x: float, y: float, words: str, style: str, anchor: str = "start") -> Html:
    return tag(
        "text", words, x=round(x, 1), y=round(y, 1), class_=style, text_anchor=anchor if anchor != "start" else None
    )


def _shortened(words: str, room: float) -> str:
    """Heavy words without their middle where that many pixels are too few: names often differ at
    their ends only.
    """
    if sum(map(_heavy, words)) <= room:
        return words
    kept = len(words)
    while kept > 2 and sum(map(_heavy, shorter := _without_middle(words, kept))) > room:
        kept -= 1
    return shorter


def _without_middle(words: str, kept: int) -> str:
    return f"{words[: kept - kept // 3]}…{words[len(words) - kept // 3 :]}"


def _heavy(letter: str) -> float:
    """Pixels of one letter of a heading at most, in the broadest of the fonts that there are."""
    if letter in _NARROW_LETTERS:
        return _LETTER
    return _HEAVY * (1.7 if letter in _BROAD_LETTERS or not letter.isascii() else 1.3 if letter.isupper() else 1.1)


def _nice(value: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    scale = 1.0
    while scale * 10 < value:
        scale *= 10
    return next((scale * one for one in _NICE if scale * one >= value), scale * 10)


def _latency_words(us: float) -> str:
    if us < 1000:
        return f"{us:.0f} µs"
    return f"{us / 1000:.2f} ms" if us < 10_000 else f"{us / 1000:.0f} ms"


def _in_words(scene: Scene) -> str:
    """Tell the picture in words for whoever does not see it."""
    bands, since = list(scene.history.bands), scene.now - span_s(scene.history, scene.now)
    led = ", then ".join(
        f"{band.leader or 'nobody'} for {duration(until - max(band.at, since))}"
        for band, until in _lasting(bands, scene.now)
        if until > since
    )
    pauses = sum(1 for line in scene.history.chains.values() for _ in _pauses(line, scene.now))
    return str(
        join(
            f"The last {duration(scene.now - since)}. Led: {led or 'not known'}. Pauses without a signature: {pauses}."
        )
    )
