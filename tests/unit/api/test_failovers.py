"""What is told of a change of leadership, from events and their times alone."""

import pytest

from cometkms.api.failovers import Cause, Failover, describe, failovers, sentences
from cometkms.board.sections import EventKind, EventReport
from cometkms.printable import clock, duration

T = 1_800_000_000.0
BOTH = {"node0": (True, "complete", ""), "node1": (True, "complete", ""), "node2": (True, "complete", "")}


def leader(at: float, name: str | None, term: int = 2) -> EventReport:
    return {"at": T + at, "what": "leader", "leader": name, "term": term}


def gone(at: float, name: str, why: str = "closed by the peer", closed: bool = True) -> EventReport:
    return {"at": T + at, "what": "peer_disconnected", "peer": name, "why": why, "closed": closed}


def came(at: float, name: str) -> EventReport:
    return {"at": T + at, "what": "peer_connected", "peer": name}


def state(at: float, name: str, state: str) -> EventReport:
    return {"at": T + at, "what": "peer_state", "peer": name, "state": state}


def again(at: float, gap_ms: float, chain: str = "test-1", height: int = 13) -> EventReport:
    return {
        "at": T + at, "what": "signed_again", "chain": chain, "height": height, "last_height": 12,
        "last_at": T + at - gap_ms / 1000, "gap_ms": gap_ms,
    }  # fmt: skip


def test_a_signature_is_told_as_the_first_that_this_node_learned_of() -> None:
    """One that stood still for two minutes meets a leader that is long under way."""
    assert describe(again(0, 124_000, height=55), "node2") == (
        "test-1: height 55 is the first signature under the new leader that node2 learned of, 2 min 4 s after the last"
    )


def lease(at: float, granted: bool) -> EventReport:
    return {"at": T + at, "what": "lease", "granted": granted}


START = [leader(0, None, 0), leader(1, "node0", 1)]
KILLED = [*START, gone(10, "node0"), leader(10.004, None, 2), leader(10.012, "node1", 2), again(10.4, 431.0)]


def told(events: list[EventReport], me: str = "node2", now: float = 18.0, signed_at: float = 17.9) -> list[Failover]:
    return failovers(events, me=me, chains={"test-1": (T + signed_at, 12)}, now=T + now)


def words(story: Failover, now: float = 18.0, members: dict[str, tuple[bool, str, str]] | None = None) -> str:
    return " ".join(sentences(story, members or BOTH, {}, T + now))


def test_a_first_leader_is_no_change() -> None:
    assert told(START) == []
    assert told([]) == []


def test_a_killed_leader_is_told_whole_by_a_follower() -> None:
    """Who led, when it went away, who took over after how long, how long there was no signature,
    where it is now.
    """
    (story,) = told(KILLED)
    assert (story.before, story.after, story.cause) == ("node0", "node1", Cause.CLOSED)
    assert story.took_ms == pytest.approx(12, abs=0.01)
    assert [gap.gap_ms for gap in story.gaps] == [431.0]
    assert (story.away_since, story.back_at) == (T + 10, None)
    away = {**BOTH, "node0": (False, "complete", "connection refused")}
    assert words(story, members=away) == (
        "node0 led and went away at 08:00:10.000: its process ended (closed by the peer). node1 took over after 12 ms (term 2). "
        "The next signature came 431 ms after the last (height 12 to 13). node0 is away, for 8.0 s so far (connection refused)."
    )


def test_its_return_is_told_with_the_state_it_reached() -> None:
    events = [*KILLED, came(20, "node0"), state(20.01, "node0", "starting"), state(20.8, "node0", "complete")]
    (story,) = told(events, now=30)
    assert (story.back_at, story.complete_at) == (T + 20, T + 20.8)
    assert words(story, 30).endswith("node0 came back at 08:00:20.000, after 10.0 s, and was complete 800 ms later.")
    (early,) = told(events[:-1], now=20.5)
    assert words(early, 20.5, {**BOTH, "node0": (True, "starting", "")}).endswith("it is starting.")
    (lost,) = told([*events, gone(25, "node0")], now=30)
    assert words(lost, 30, {**BOTH, "node0": (False, "complete", "")}).endswith("and is away again.")


def test_before_anybody_took_over_the_clock_runs() -> None:
    (story,) = told([*START, gone(10, "node0")], now=10.25, signed_at=9.9)
    assert (story.after, story.took_ms) == (None, None)
    assert "Nobody has taken over yet, for 250 ms so far." in words(story, 10.25)
    assert "No signature since 08:00:09.900, for 350 ms so far (last height 12)." in words(story, 10.25)


def test_a_leader_that_fell_silent_is_not_said_to_have_ended() -> None:
    """Frozen or cut off: its connection is given up two seconds after another took over."""
    events = [
        *START,
        leader(10.2, None, 2),
        leader(10.21, "node1", 2),
        gone(12, "node0", "silent for 2 s", closed=False),
    ]
    (story,) = told(events)
    assert story.cause is Cause.SILENT
    assert story.lost_at == T + 10.2
    assert "fell silent at 08:00:10.200" in words(story)


@pytest.mark.parametrize(
    ("begun_at", "me", "said"),
    [
        (
            9.9,
            "node0",
            "node0 handed over by itself at 08:00:10.000: it reaches no validator. node1 took over after 3 ms",
        ),
        (3.0, "node0", "node0 led and gave way at 08:00:10.000: it handed over, or its heartbeats came too late."),
        (9.9, "node2", "node0 led and gave way at 08:00:10.000: it handed over, or its heartbeats came too late."),
    ],
    ids=["its own page knows why", "one that came to nothing long before", "another node's own handover"],
)
def test_a_leader_that_hands_over_by_itself_says_why(begun_at: float, me: str, said: str) -> None:
    by_itself: EventReport = {"at": T + begun_at, "what": "handing_over", "reason": "no_validator", "peer": "node1"}
    (story,) = told([*START, by_itself, leader(10, None, 2), leader(10.003, "node1", 2)], me=me)
    assert words(story).startswith(said)


def test_handing_over_is_told_apart_from_dying() -> None:
    handed = [*START, leader(10, None, 2), leader(10.003, "node1", 2)]
    (story,) = told(handed)
    assert (story.cause, story.away_since) == (Cause.HANDED_OVER, None)
    assert words(story).startswith(
        "node0 led and gave way at 08:00:10.000: it handed over, or its heartbeats came too late. node1 took over after 3 ms (term 2)."
    )
    (stopped,) = told([*handed, gone(10.2, "node0")])
    assert stopped.cause is Cause.STOPPED
    assert words(stopped).startswith("node0 led, gave way at 08:00:10.000 and then stopped.")


@pytest.mark.parametrize("me", ["node0", "node1", "node2"])
@pytest.mark.parametrize("news_at", [9.99, 10.1], ids=["before the next leader", "a moment after"])
def test_a_handover_that_was_ordered_is_told_as_such_on_every_node(me: str, news_at: float) -> None:
    ordered: EventReport = {"at": T + news_at, "what": "ordered", "peer": "node0"}
    events = sorted([*START, ordered, leader(10, None, 2), leader(10.003, "node1", 2)], key=lambda one: one["at"])
    (story,) = told(events, me=me)
    assert story.cause is Cause.ORDERED
    assert words(story).startswith("node0 handed over to node1 by order at 08:00:")
    assert "too late" not in words(story)


@pytest.mark.parametrize("me", ["node0", "node1", "node2"])
@pytest.mark.parametrize("news_at", [9.99, 9.2])
def test_a_lead_that_goes_to_the_preferred_node_is_told_as_such_on_every_node(me: str, news_at: float) -> None:
    news: EventReport = {"at": T + news_at, "what": "preferred", "peer": "node0"}
    if me == "node0":
        news = {"at": T + news_at, "what": "handing_over", "reason": "preferred", "peer": "node1"}
    (story,) = told([*START, news, leader(10, None, 2), leader(10.003, "node1", 2)], me=me)
    assert (story.cause, story.lost_at) == (Cause.PREFERRED, T + news_at)
    assert words(story).startswith("node0 gave the lead to node1, which leader_priority prefers, at 08:00:")


@pytest.mark.parametrize("news_at", [3.0, 11.0])
def test_a_preference_of_another_time_is_not_the_reason(news_at: float) -> None:
    news: EventReport = {"at": T + news_at, "what": "preferred", "peer": "node0"}
    events = sorted([*START, news, leader(10, None, 2), leader(10.003, "node1", 2)], key=lambda one: one["at"])
    (story,) = told(events)
    assert story.cause is Cause.HANDED_OVER


def test_an_old_order_is_not_the_reason_of_a_later_loss() -> None:
    ordered: EventReport = {"at": T + 5, "what": "ordered", "peer": "node2"}
    (story,) = told([*START, ordered, leader(10, None, 2), leader(10.003, "node1", 2)])
    assert story.cause is Cause.HANDED_OVER


def test_the_node_that_led_itself_tells_it_from_its_lease() -> None:
    events = [*START, lease(1.1, True), lease(9.8, False), leader(10, None, 2), leader(10.5, "node1", 3)]
    (story,) = told(events, me="node0")
    assert (story.cause, story.lost_at) == (Cause.HANDED_OVER, T + 9.8)
    (lost,) = told(events[:-1], me="node0")
    assert (lost.cause, lost.after) == (Cause.LOST, None)
    assert "node0 led and lost its majority at 08:00:09.800. Nobody has taken over yet" in words(lost)


def test_a_leader_that_is_elected_again_is_an_outage_too() -> None:
    (story,) = told([*START, leader(10, None, 2), leader(11.5, "node0", 3)])
    assert (story.cause, story.took_ms) == (Cause.LOST, pytest.approx(1500))
    assert "node0 leads again after 1.5 s (term 3)." in words(story)


def test_each_change_has_its_own_gap_and_its_own_absence() -> None:
    events = [*KILLED, came(20, "node0"), gone(30, "node1"), leader(30.02, "node0", 3), again(30.1, 250.0, height=40)]
    first, second = told(events, now=40)
    assert [gap.gap_ms for gap in first.gaps] == [431.0]
    assert [gap.gap_ms for gap in second.gaps] == [250.0]
    assert (first.before, second.before, second.after) == ("node0", "node1", "node0")
    assert second.away_since == T + 30


def test_chains_are_named_where_there_are_several() -> None:
    (story,) = told([*KILLED, again(10.6, 600.0, chain="test-2")])
    assert "test-1: the next signature came 431 ms after the last (height 12 to 13)." in words(story)
    assert "test-2: the next signature came 600 ms after the last" in words(story)


@pytest.mark.parametrize(
    ("usual_s", "said"),
    [
        (1.1, "no later than usual (height 12 to 13; after 431 ms, and up to 1.1 s is usual)"),
        (0.331, "100 ms later than usual (height 12 to 13; after 431 ms, and up to 331 ms is usual)"),
        (None, "431 ms after the last (height 12 to 13)"),
    ],
)
def test_a_change_is_told_by_what_it_added_to_the_pauses_that_are_usual(usual_s: float | None, said: str) -> None:
    """A pause of 1.2 s reads as a failure; 0.1 s later than usual is what it was."""
    (story,) = told(KILLED)
    usual = {"test-1": usual_s} if usual_s is not None else {}
    assert f"The next signature came {said}." in " ".join(sentences(story, BOTH, usual, T + 18))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 ms"), (-1, "0 ms"), (0.0124, "12 ms"), (1.44, "1.4 s"), (99.9, "99.9 s"), (200, "3 min 20 s"), (7260, "2 h 1 min"), (1e6, "11 days")],
)  # fmt: skip
def test_durations_are_said_as_people_do(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_clocks_have_milliseconds_and_are_utc() -> None:
    assert clock(T + 0.218) == "08:00:00.218"


@pytest.mark.parametrize(
    "event",
    [
        leader(0, "node0"), leader(0, None), lease(0, True), lease(0, False), came(0, "node1"), gone(0, "node1"), again(0, 5),
        {"at": T, "what": "started"}, {"at": T, "what": "node_state", "state": "complete"}, state(0, "node1", "recovering"),
        {"at": T, "what": "child_restarted", "child": "signer", "why": "SIGKILL"},
        {"at": T, "what": "validator_connected", "chain": "test-1", "addr": "tcp://h:1"},
        {"at": T, "what": "validator_lost", "chain": "test-1", "addr": "tcp://h:1", "why": ""},
        {"at": T, "what": "refused", "chain": "c", "validator": "v", "reason": "conflict", "asked": "1/0/2", "signed": "1/0/2"},
        {"at": T, "what": "of a later version"},
    ],
    ids=lambda event: event["what"],
)  # fmt: skip
def test_every_kind_of_event_has_words(event: EventReport) -> None:
    said = describe(event, "node2")
    assert said
    assert "None" not in said


def test_every_event_that_a_node_notes_is_told_in_words() -> None:
    bare = {kind: describe({"at": T, "what": kind}, "node0") for kind in EventKind}
    assert [kind for kind, words in bare.items() if words in (kind, kind.replace("_", " "))] == []
