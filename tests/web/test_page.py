"""Three real nodes, a real browser: what somebody sees who has nothing but the page."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cometkms.errors import OperatorError
from tests.e2e.node import PATIENCE_S, until
from tests.web.browser import DESK, PHONE, Browser, browser
from tests.web.testnet import Testnet, running

pytestmark = pytest.mark.long

#: Where pictures go; `make pictures` writes those of the documents.
PICTURES = Path(os.environ.get("PICTURES", ".cache/pictures"))
HOSTILE = "<img src=x onerror=alert(1)>"
TRIES = 5
LEAST_CONTRAST = 4.5  # WCAG 2.2, AA


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Testnet]:
    with running(tmp_path_factory.mktemp("web")) as net:
        yield net


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with browser() as window:
        yield window


@pytest.fixture(autouse=True)
def nothing_from_elsewhere_and_no_complaint(net: Testnet, window: Browser) -> Iterator[None]:
    """After every test: all that was asked for are the page and its stream; the console has no
    error and no violated policy.
    """
    window.size(*DESK)
    window.dark(False)
    yield
    own = {net.url(name) + path for name in net.nodes for path in ("", "events")}
    assert [url for url in window.requests() if url not in own and not url.startswith("data:")] == []
    assert window.complaints() == []
    assert net.failure is None, net.failure


def keep(window: Browser, name: str, height: int) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    window.picture(str(PICTURES / f"{name}.png"), height)


def live(window: Browser, url: str) -> None:
    window.open(url)
    window.see("live, ", "live", PATIENCE_S)


def killed_leading(net: Testnet, window: Browser) -> tuple[str, str]:
    """Kill the leader before a follower's page; who that was, and the story.

    Where another was elected just before, all again.
    """
    # where another was elected before this node saw the connection close, it gave way and then
    # stopped
    at = r"at \d\d:\d\d:\d\d\.\d\d\d"
    first = net.leader()
    follower = next(name for name in net.nodes if name != first)
    live(window, net.url(follower))

    def led() -> str:
        """By whom, when the page and the nodes agree."""
        leader = net.leader()
        if leader == follower:
            with contextlib.suppress(OperatorError):
                net.hand_over(follower)
        words = f"{leader} leads and signs. {follower} follows."
        return leader if words in window.text("headline") else ""

    for _ in range(TRIES):
        leader = until("a leader besides the page's node", led, PATIENCE_S)
        height = net.height
        until("ten heights are signed", lambda height=height: net.height >= height + 10, PATIENCE_S)
        net.kill(leader)
        told = rf"{leader} led(?: and went away {at}: its process ended|, gave way {at} and then stopped)"

        def story(told: str = told, leader: str = leader) -> str:
            shown = window.text("stories")
            whole = re.search(told, shown) and re.search(rf"{leader} is away, for [\d.]+ m?s so far", shown)
            return shown if whole and "The next signature came" in shown else ""

        with contextlib.suppress(AssertionError):
            return leader, until("its story", story, PATIENCE_S / 4)
        net.start(leader)
        until("all nodes are there", net.all_there, PATIENCE_S)
    raise AssertionError(f"no story of a killed leader in {TRIES} tries:\n{window.text('stories')}")


def test_a_follower_tells_the_whole_story_of_a_killed_leader(net: Testnet, window: Browser) -> None:
    """Who led, when it went away, who took over after how many ms, how long no signature was made,
    where the dead node is, when it came back.
    """
    leader, story = killed_leading(net, window)
    after = re.search(r"(node\d) took over after [\d.]+ m?s \(term \d+\)", story)
    assert after is not None, story
    assert after[1] != leader
    assert re.search(
        r"The next signature came (no later than usual|[\d.]+ m?s (later than usual|after the last)) \(height \d+",
        story,
    ), story
    assert re.search(rf"{leader} is away, for [\d.]+ m?s so far", story), story
    until("another leads", lambda: re.search(rf"(?!{leader})node\d leads and signs\.", window.text("headline")))
    window.see("away (was complete)", "nodes", PATIENCE_S)
    window.see("2 of 3 nodes are there, 2 are needed: one more loss stops signing", "alerts", PATIENCE_S)
    window.see("Do: on the machine of", "alerts", PATIENCE_S)
    window.see(f"{leader} disconnected", "events-list", PATIENCE_S)
    until("what it cost", lambda: re.search(r"m?s (later than usual|to the next signature)", window.text("stories")))
    keep(window, "page-failover", 1120)

    net.start(leader)
    story = window.see(f"{leader} came back at", "stories", PATIENCE_S)
    window.see("complete", "stories", PATIENCE_S)
    until(
        "the story ends",
        lambda: re.search(
            rf"{leader} came back at [\d:.]+, after [\d.]+ m?s, and (was|is) complete", window.text("stories")
        ),
        PATIENCE_S,
    )
    until("all nodes are there", net.all_there, PATIENCE_S)
    window.see("Nothing.", "alerts", PATIENCE_S)
    window.see("All is well", "headline", PATIENCE_S)


def refused_at(net: Testnet, window: Browser) -> None:
    """The page of the node that refused a conflict and a hostile request, with both.

    Where another was elected meanwhile, all again.
    """
    sides = re.compile(r"conflict\s+\d+/0/3 block [0-9A-F]{12}…\s+\d+/0/3 block [0-9A-F]{12}…")

    def both() -> bool:
        shown = window.text("refusals")
        return HOSTILE in shown and sides.search(shown) is not None

    for _ in range(TRIES):
        live(window, net.url(net.leader()))
        net.conflict()
        net.hostile(HOSTILE)
        with contextlib.suppress(AssertionError):
            until("both refusals, and both sides of the conflict", both, PATIENCE_S / 4)
            return
    raise AssertionError(f"no page with both refusals in {TRIES} tries:\n{window.text('refusals')}")


def test_a_refusal_shows_both_sides_and_hostile_words_are_words(net: Testnet, window: Browser) -> None:
    refused_at(net, window)
    window.see("conflict refused", "alerts", PATIENCE_S)
    assert window.ask("return document.images.length") == 0
    window.see("p50 ", "timeline", PATIENCE_S)
    keep(window, "page-leader", 1120)


#: The drawn numbers of stories, and pairs of which one is a word or a number of the timeline and
#: stands on the other, or on a line.
DIGITS = (
    "return [...document.querySelectorAll('#timeline .digit')].filter(one => one.getBoundingClientRect().width).length"
)
OVERLAPPED = """
const box = (one) => one.getBoundingClientRect();
const seen = (what) => [...document.querySelectorAll('#timeline ' + what)].filter(one => box(one).height + box(one).width > 0);
const [numbers, words] = [seen('.number'), seen('text:not(.digit)')];
const lines = [...seen('.change'), ...seen('.height'), ...seen('.pause'), ...seen('.p50'), ...seen('.p99'), ...seen('.signed')];
const over = (a, b) => a.left < b.right - 0.5 && b.left < a.right - 0.5 && a.top < b.bottom - 2 && b.top < a.bottom - 2;
const pairs = (ones, others) => ones.flatMap(one => others.filter(other => other !== one && over(box(one), box(other)))
    .map(other => [one.outerHTML, other.outerHTML]));
return [...pairs(words, [...words, ...numbers, ...lines]), ...pairs(numbers, numbers)];
"""
#: By how much the events' list ends above or below the last story, in pixels, and how
#: many stories there are.
HOLE = """
const bottom = (what) => document.querySelector(what).getBoundingClientRect().bottom;
return [bottom('#stories') - bottom('#events-list'), document.querySelectorAll('.stories > li').length];
"""


@pytest.mark.parametrize("size", ["desk", "phone"])
def test_words_and_lines_of_the_timeline_stand_apart_also_where_changes_are_close_together(
    net: Testnet, window: Browser, size: str
) -> None:
    window.size(*(DESK if size == "desk" else PHONE), phone=size == "phone")
    live(window, net.url(net.leader()))

    def four() -> bool:
        """One change more, where there are not enough; one that is refused, or of somebody who
        leads no more, is tried again.
        """
        if window.ask(DIGITS) >= 4:
            return True
        with contextlib.suppress(OperatorError):
            net.hand_over(net.leader())
        return False

    until("four numbers", four, PATIENCE_S)
    assert window.ask(OVERLAPPED) == []


def test_four_stories_leave_no_hole_beside_them(net: Testnet, window: Browser) -> None:
    live(window, net.url(net.leader()))
    off, stories = until("four stories", lambda: (found := window.ask(HOLE))[1] >= 4 and found, PATIENCE_S)
    assert abs(off) < 16, f"{stories} stories end {off} pixels below the events"


WIDE = """return [...document.querySelectorAll('body *')].filter(one => !one.closest('svg, caption, thead'))
    .filter(one => one.getBoundingClientRect().right > innerWidth + 1).map(one => one.outerHTML.slice(0, 90))"""
#: A name without a space, as long as a chain id may be, in every cell that a name stands in.
RENAME = """
for (const cell of document.querySelectorAll('td:first-child, td[data-label=Validator]')) cell.textContent = 'W1-'.repeat(17);
"""


@pytest.mark.parametrize("width", [721, 768, 901, 1024, DESK[0]])
def test_on_no_screen_anything_scrolls_sideways_however_long_a_name_is(
    net: Testnet, window: Browser, width: int
) -> None:
    window.script(False)  # so that no news take the long names away
    try:
        window.size(width, DESK[1])
        window.open(net.url(net.leader()))
        until("all tables", lambda: window.count("table") >= 4, PATIENCE_S)
        for change in ("", RENAME):
            assert window.ask(f"{change}return document.documentElement.scrollWidth") <= width
            assert window.ask(WIDE) == []
    finally:
        window.script(True)


def test_on_a_phone_nothing_scrolls_sideways(net: Testnet, window: Browser) -> None:
    window.size(*PHONE, phone=True)
    live(window, net.url(net.leader()))
    assert window.ask("return document.documentElement.scrollWidth") <= PHONE[0]
    assert window.ask(WIDE) == []
    named = "return getComputedStyle(document.querySelector('#nodes td:last-child'), '::before').content"
    assert window.ask(named) == '"Address"', "each cell names its column"
    keep(window, "page-phone", 1500)


CONTRAST = """
const light = (text) => {
  const [red, green, blue] = text.match(/[\\d.]+/g).slice(0, 3).map(Number).map(v => v / 255)
    .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
  return .2126 * red + .7152 * green + .0722 * blue;
};
const behind = (element) => {
  for (let one = element; one; one = one.parentElement) {
    const back = getComputedStyle(one).backgroundColor;
    if (!/rgba\\(.*, 0\\)|transparent/.test(back)) return back;
  }
  return 'rgb(255, 255, 255)';
};
return [...document.querySelectorAll('main *, header *, footer *')]
  .filter(one => !one.closest('svg') && [...one.childNodes].some(child => child.nodeType === 3 && child.textContent.trim()))
  .map(one => {
    const [fore, back] = [light(getComputedStyle(one).color), light(behind(one))];
    return [(Math.max(fore, back) + .05) / (Math.min(fore, back) + .05), one.outerHTML.slice(0, 90)];
  });
"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_word_can_be_read(net: Testnet, window: Browser, dark: bool) -> None:
    window.dark(dark)
    live(window, net.url(net.leader()))
    found = window.ask(CONTRAST)
    assert len(found) > 60
    assert [one for one in found if one[0] < LEAST_CONTRAST] == []
    paper = window.ask("return getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(16, 21, 27)") is dark


def test_without_javascript_it_is_plain_tables_that_reload_themselves(net: Testnet, window: Browser) -> None:
    window.script(False)
    try:
        window.open(net.url(net.leader()))
        expected = (
            ("node0", "nodes"),
            ("complete", "nodes"),
            ("demo-1", "chains"),
            ("connected", "validators"),
            ("running", "processes"),
        )

        def absent() -> list[tuple[str, str]]:
            """What the leader's page does not say, whoever leads by now."""
            if window.driver.current_url != (url := net.url(net.leader())):
                window.open(url)
            return [(words, name) for words, name in expected if words not in window.text(name)]

        until(f"all of {expected}", lambda: not absent(), PATIENCE_S)
        first = window.text("live")
        assert re.fullmatch(r"as of \d\d:\d\d:\d\d UTC", first)
        until("all tables", lambda: window.count("table") >= 4, PATIENCE_S)
        until("the page reloads itself", lambda: window.text("live") not in ("", first), PATIENCE_S)
    finally:
        window.script(True)


def test_a_page_whose_node_is_gone_says_that_it_is_old_and_goes_on_when_it_is_back(
    net: Testnet, window: Browser
) -> None:
    until("all nodes are there", net.all_there, PATIENCE_S)
    leader = net.leader()
    follower = next(name for name in net.nodes if name != leader)
    live(window, net.url(follower))
    net.kill(follower)
    window.see("no news from this node for", "live", PATIENCE_S)
    assert window.ask("return document.body.className") == "stale"
    net.start(follower)
    window.see("live, ", "live", PATIENCE_S)
    assert window.ask("return document.body.className") == ""
    assert all("events" in complaint for complaint in window.complaints()), (
        "a stream that cannot be had is all there is to complain of"
    )
