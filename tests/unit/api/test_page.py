"""The page's HTML: escaped, within its own policy, whole without JavaScript."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from cometkms.api import overview, page
from cometkms.api.failovers import Gap
from cometkms.api.html import Html, join, tag
from cometkms.api.watch import Watch

from .boards import NOW, FakeBoard

HOSTILE = "<img src=x onerror=alert(1)>\"'&</script><script>alert(2)</script>"


class Reader(HTMLParser):
    """Elements, their attributes, and the words between them."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(document)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((name, dict(attributes)))
        if name not in ("meta", "link", "br"):
            self.open.append(name)

    def handle_endtag(self, name: str) -> None:
        assert self.open.pop() == name

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)


def looked(board: FakeBoard, times: int = 24) -> Watch:
    watch = board.watch()
    for _ in range(times):
        board.now += 0.25
        watch.look()
    return watch


def shown(board: FakeBoard) -> Reader:
    return Reader(page.whole(looked(board).view()))


def refusal(**other: Any) -> dict[str, Any]:
    return {
        "at": NOW - 3, "reason": "conflict", "why": "conflicting data", "validator": "tcp://10.0.0.1:1", "asked": "12/0/2",
        "asked_block": "aa" * 32, "signed": "12/0/2", "signed_block": "", "burnt": False, **other,
    }  # fmt: skip


def busy() -> FakeBoard:
    """A cluster in which all that the page can show is there."""
    board = FakeBoard()
    state: Any = board.sections_now["state"]
    state["members"] = [
        {"id": "node0", "self": True, "connected": True, "state": "complete", "addr": "h:1", "version": "9.9",
         "marks": [{"chain_id": "chain-a", "height": 12, "round": 0, "step": 3}]},
        {"id": "node1", "connected": True, "state": "complete", "addr": "h:2", "since": NOW - 9, "rtt_us": 250.0,
         "marks": [{"chain_id": f"chain-{n}", "height": n, "round": 0, "step": 1} for n in range(1, 7)]},
        {"id": "node2", "connected": False, "state": "complete", "addr": "h:3", "since": NOW - 7, "error": "connection refused"},
    ]  # fmt: skip
    state["rows"][0]["signed_at"] = NOW - 1
    state["events"] = [
        {"at": NOW - 40, "what": "leader", "leader": "node2", "term": 1},
        {"at": NOW - 7, "what": "peer_disconnected", "peer": "node2", "why": "closed by the peer", "closed": True},
        {"at": NOW - 6.99, "what": "leader", "leader": None, "term": 2},
        {"at": NOW - 6.98, "what": "leader", "leader": "node0", "term": 2},
        {"at": NOW - 6.5, "what": "signed_again", "chain": "chain-a", "height": 12, "last_height": 11, "last_at": NOW - 7.4, "gap_ms": 900.0},
    ]  # fmt: skip
    board.sections_now["signer"]["chains"][1]["refusals"] = [refusal(), refusal(at=NOW - 2, burnt=True, reason="burnt")]  # type: ignore[index]
    return board


def test_it_says_who_leads_what_happened_and_what_to_do() -> None:
    text = shown(busy()).text
    for words in (
        "node0 leads and signs.", "2 of 3", "node2 led and went away at", "node0 took over after 20 ms (term 2).",
        "The next signature came 900 ms after the last (height 11 to 12).", "node2 is away, for", "(connection refused)", "away (was complete)", "round trip 250 µs",
        "height 12", "12/1 prevote", "12/0/2 block AAAAAAAAAAAA…", "12/0/2 block nil", "what is not known (burnt)", "conflict refused", "quorum minimum",
        "Do: ", "cmkms peers", "tcp://127.0.0.1:26658", "and 2 more", "9.9", "strict_start is off", "read-only",
    ):  # fmt: skip
        assert words in text, words
    assert "an election is under way" not in text, "20 ms are no event of their own"


def test_bytes_that_are_no_vote_are_counted_where_any_were_signed() -> None:
    board = busy()
    assert "SignBytes" not in shown(board).text
    counters: Any = board.sections_now["signer"]["chains"][1]["counters"]  # type: ignore[index]
    counters.update(signed=5, repeated=1, signed_values=3, signed_raw={"fibre/pp:v0": 2, "<b>": 1})
    assert "5, 1 repeated; 3 SignBytes; 1 <b>; 2 fibre/pp:v0" in shown(board).text


def test_an_agents_own_words_are_shown_as_text() -> None:
    board = busy()
    signer: Any = board.sections_now["signer"]
    link = {
        "name": "agent:sentry-a",
        "requests": 7,
        "without_lead": 2,
        "about": {"host": "<b>h</b>", "links": "node0 0.31 ms"},
    }
    signer["agents"] = {"door": {}, "links": [link]}
    text = shown(board).text
    assert "What agents say" in text
    assert "host <b>h</b>, links node0 0.31 ms" in text


def gap(gap_ms: float, chain: str = "a", *, over: bool = True) -> Gap:
    return Gap(chain, NOW - 9, NOW - 8 if over else None, gap_ms, 1, 2)


@pytest.mark.parametrize(
    ("gaps", "usual", "said"),
    [
        ([gap(1200)], {"a": 1.1}, ("100 ms", "later than usual")),
        ([gap(900)], {"a": 1.1}, ("0 ms", "later than usual")),
        ([gap(1200)], {}, ("1.2 s", "to the next signature")),
        ([gap(5000), gap(900, "b")], {"a": 4.9, "b": 0.5}, ("400 ms", "later than usual")),
        ([gap(900), gap(300, "b", over=False)], {"a": 0.1, "b": 0.5}, ("300 ms", "without a signature so far")),
    ],
)
def test_the_figure_of_a_pause_is_what_the_change_added_to_it(
    gaps: list[Gap], usual: dict[str, float], said: tuple[str, str]
) -> None:
    assert overview._pause_fact(gaps, usual) == said


@pytest.mark.parametrize("away", [("state",), ("signer",), ("supervisor",), ("state", "signer", "supervisor")])
def test_a_process_that_is_away_leaves_its_part_empty(away: tuple[str, ...]) -> None:
    board = busy()
    for name in away:
        board.sections_now[name] = None  # type: ignore[literal-required]
    reader = shown(board)
    if "state" in away:
        assert "The state process does not answer" in reader.text
        assert "Blind" in reader.text
    if "signer" in away:
        assert "The signer does not answer" in reader.text


def test_a_node_alone_that_has_done_nothing_is_shown() -> None:
    board = FakeBoard()
    for row in board.sections_now["state"]["rows"]:  # type: ignore[index]
        row["last_sign_state"] = None
    text = shown(board).text
    assert "one node alone" in text
    assert "none yet" in text


@pytest.mark.parametrize(
    ("ago_s", "words"),
    [(0.5, "not measured yet"), (59.0, "not measured yet"), (61.0, "nothing was signed in the last minute")],
)
def test_a_leader_whose_signatures_are_not_counted_yet_does_not_say_that_nothing_was_signed(
    ago_s: float, words: str
) -> None:
    """It leads for a moment only, or the page's process is new: the last signature stands beside
    it.
    """
    board = FakeBoard()
    board.sections_now["state"]["rows"][0]["signed_at"] = NOW - ago_s  # type: ignore[index]
    for chain in board.sections_now["signer"]["chains"]:  # type: ignore[index]
        chain["last_signed_at"] = None
    view = looked(board, 1).view()
    assert view.now - NOW < 1
    assert words in str(overview.figures_part(view))


def test_nobody_leads() -> None:
    board = busy()
    board.sections_now["state"].update(leader_id="", is_leader=False)  # type: ignore[union-attr]
    text = shown(board).text
    assert "Nobody leads, as far as node0 knows. Nothing is signed: a leader is being elected." in text
    assert "Not signing" in text


def hostile_board() -> FakeBoard:
    """Every string that another process, a peer or a validator may have had a hand in."""

    def spoil(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: spoil(one) if key not in ("public_key", "what", "remote_identity", "address") else one
                for key, one in value.items()
            }
        if isinstance(value, list):
            return [spoil(one) for one in value]
        return f"{value}{HOSTILE}" if isinstance(value, str) else value

    board = busy()
    board.sections_now = spoil(board.sections_now)
    return board


def test_whatever_the_board_says_is_text() -> None:
    reader = shown(hostile_board())
    assert [name for name, _ in reader.elements if name == "img"] == []
    assert len([name for name, _ in reader.elements if name == "script"]) == 1
    assert HOSTILE in reader.text


def test_nothing_is_fetched_and_nothing_is_inline_but_what_the_policy_names() -> None:
    """No style or event attributes (the policy has no 'unsafe-inline'), no address but
    the page's own.
    """
    reader = shown(hostile_board())
    for name, attributes in reader.elements:
        assert "style" not in attributes, name
        assert not [key for key in attributes if key.startswith("on")], name
        for key in ("src", "href", "action"):
            assert (attributes.get(key) or "/").startswith(("/", "data:image/svg+xml,")), attributes
    assert "unsafe" not in page.POLICY
    assert page.POLICY.startswith("default-src 'none'; style-src 'sha256-")
    for text in (page._STYLE, page._SCRIPT):
        assert "http:" not in text
        assert "https:" not in text
        assert "url(" not in text
        assert "@import" not in text


def test_the_policys_hashes_are_of_what_the_page_holds() -> None:
    import base64
    import hashlib

    document = page.whole(looked(FakeBoard()).view())
    for element in ("style", "script"):
        (held,) = re.findall(rf"<{element}>(.*?)</{element}>", document, re.S)
        assert (
            f"{element}-src 'sha256-{base64.b64encode(hashlib.sha256(held.encode()).digest()).decode()}'" in page.POLICY
        )


def test_without_javascript_it_reloads_itself() -> None:
    reader = shown(FakeBoard())
    index = next(number for number, (name, _) in enumerate(reader.elements) if name == "noscript")
    assert reader.elements[index + 1] == ("meta", {"http-equiv": "refresh", "content": "5"})


def test_every_part_of_the_stream_has_its_place_on_the_page() -> None:
    watch = looked(busy())
    made = page.parts(watch.view())
    ids = {attributes.get("id") for _, attributes in shown(busy()).elements}
    assert set(made) - {"title"} <= ids
    for html in made.values():
        Reader(html)


def test_every_cell_of_a_table_names_its_column_for_phones_and_its_role_for_readers() -> None:
    cells = [attributes for name, attributes in shown(busy()).elements if name == "td"]
    assert len(cells) > 50
    assert all(one.get("data-label") and one.get("role") == "cell" for one in cells)


def test_the_drawing_has_words_for_who_cannot_see_it() -> None:
    drawings = [attributes for name, attributes in shown(busy()).elements if name == "svg"]
    assert len(drawings) == 2
    assert all("Led: node2 for " in (one["aria-label"] or "") and one["role"] == "img" for one in drawings)


def test_a_long_history_is_drawn_within_its_bounds() -> None:
    """Ten minutes of signatures, latencies and changes of leadership: no part grows with them
    beyond what a phone takes.
    """
    board = busy()
    state: Any = board.sections_now["state"]
    chain: Any = board.sections_now["signer"]["chains"][1]  # type: ignore[index]
    watch = board.watch()
    for step in range(4 * 700):
        board.now = NOW + step / 4
        state["rows"][0]["signed_at"] = board.now
        state["rows"][0]["last_sign_state"]["height"] = 12 + step
        if step % 40 == 0:
            state["events"] = [{"at": board.now, "what": "leader", "leader": f"node{step // 40 % 3}", "term": step}]
        chain["latency_hist"] = {"count": step * 3, "sum_us": 0, "buckets": [[500, step * 2], [1000, step * 3]]}
        watch.look()
    document = page.whole(watch.view())
    assert len(document) < 150_000
    Reader(document)
    numbers = [float(one) for one in re.findall(r' x="(-?[\d.]+)"', document)]
    assert min(numbers) >= 0
    assert max(numbers) <= overview._WIDE


def test_tags_escape_content_and_attributes_and_trust_only_html() -> None:
    assert tag("p", "<b>", 5, None, Html("<i></i>"), title='"&') == '<p title="&quot;&amp;">&lt;b&gt;5<i></i></p>'
    assert (
        tag("td", data_label="a", class_="b", hidden=True, id=None, lang=False)
        == '<td data-label="a" class="b" hidden></td>'
    )
    assert tag("meta", charset="utf-8") == '<meta charset="utf-8">'
    assert join("a", Html("<br>"), "'") == "a<br>&#x27;"
