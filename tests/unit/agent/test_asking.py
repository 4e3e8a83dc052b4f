"""Whom the agent asks and when: a table of situations, then whatever nodes may do."""

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cometkms.agent.asking import Action, Ask, Asking, Empty, Reply, Times, Verdict
from cometkms.limits import AGENT_AGAIN_MAX_S, AGENT_ANSWER_S, AGENT_PATIENCE_MAX_S, AGENT_PATIENCE_MIN_S

NODES = ("a", "b", "c")
T = AGENT_PATIENCE_MAX_S


def check(answer: Any) -> tuple[Verdict, Any]:
    return Verdict(answer), answer


def asking(*up: str, leader: str | None = None) -> Asking:
    numbers = itertools.count(1)
    made = Asking(NODES, check=check, next_seq=lambda: next(numbers))
    for name in up:
        made.on_link(name, 0.0)
    made.on_lead(leader)
    return made


def test_the_leader_is_asked_first_and_not_urgently() -> None:
    one = asking(*NODES, leader="b")
    assert one.ask(0.0) == [Ask("b", 1, urgent=False)]
    assert one.on_answer("b", 1, "signed", 0.001) == [Reply("signed", "b", 1)]
    assert one.due_at is None


def test_where_nobody_is_known_to_lead_the_last_that_answered_is_asked_urgently() -> None:
    one = asking(*NODES)
    assert one.ask(0.0) == [Ask("a", 1, urgent=True)]
    one.on_answer("b", 1, "signed", 0.001)
    assert one.ask(1.0) == [Ask("b", 2, urgent=True)]


def test_not_now_goes_to_the_leader_that_it_names_at_once() -> None:
    one = asking(*NODES, leader="a")
    one.ask(0.0)
    assert one.on_not_now("a", 1, "c", 0.001) == [Ask("c", 1, urgent=False)]


def test_not_now_without_a_leader_goes_to_the_next_node_urgently() -> None:
    one = asking(*NODES, leader="b")
    one.ask(0.0)
    assert one.on_not_now("b", 1, None, 0.001) == [Ask("a", 1, urgent=True)]


def test_silence_goes_to_the_next_node_urgently_and_then_to_the_third() -> None:
    one = asking(*NODES, leader="a")
    one.ask(0.0)
    assert one.due_at == T
    assert one.on_time(T - 0.001) == []
    assert one.on_time(T) == [Ask("b", 1, urgent=True)]
    assert one.on_time(2 * T) == [Ask("c", 1, urgent=True)]
    assert one.on_answer("c", 1, "signed", 2 * T + 0.001) == [Reply("signed", "c", 3)]
    assert one.counters.again == {"silence": 2}


def test_a_late_answer_to_the_request_under_way_counts_and_one_to_an_earlier_request_does_not() -> None:
    one = asking(*NODES, leader="a")
    one.ask(0.0)
    one.on_time(T)
    assert one.on_answer("a", 1, "signed", T + 0.01) == [Reply("signed", "a", 2)]
    assert one.on_answer("b", 1, "signed", T + 0.02) == []
    one.ask(1.0)
    assert one.on_answer("b", 1, "signed", 1.01) == []
    assert one.counters.late == 2


def test_a_node_that_was_silent_is_asked_last_until_it_is_heard() -> None:
    """A frozen leader costs one request its patience, not every request until another one leads."""
    one = asking(*NODES, leader="a")
    one.ask(0.0)
    one.on_time(T)
    one.on_answer("b", 1, "signed", T + 0.001)
    assert one.ask(1.0) == [Ask("b", 2, urgent=True)]
    one.on_answer("b", 2, "signed", 1.001)
    one.on_answer("a", 1, "signed", 1.002)  # it thaws
    assert one.ask(2.0) == [Ask("a", 3, urgent=False)]


def test_an_answer_that_does_not_verify_is_counted_and_the_next_node_is_asked() -> None:
    one = asking(*NODES, leader="a")
    one.ask(0.0)
    assert one.on_answer("a", 1, "wrong", 0.001) == [Ask("b", 1, urgent=True)]
    assert one.on_answer("b", 1, "signed", 0.002) == [Reply("signed", "b", 2)]
    assert (one.counters.wrong, one.counters.signed) == (1, 1)


def test_a_refusal_is_an_answer() -> None:
    one = asking(*NODES, leader="a")
    one.ask(0.0)
    assert one.on_answer("a", 1, "refused", 0.001) == [Reply("refused", "a", 1)]


def test_a_link_that_ends_sends_its_request_to_the_next_node_at_once() -> None:
    one = asking(*NODES, leader="a")
    one.ask(0.0)
    assert one.on_link_lost("a", 0.001) == [Ask("b", 1, urgent=True)]
    assert one.leader is None


def test_without_any_link_the_first_one_gets_the_request_and_the_end_is_the_empty_answer() -> None:
    one = asking()
    assert one.ask(0.0) == []
    assert one.on_link("c", 0.5) == [Ask("c", 1, urgent=True)]
    other = asking()
    other.ask(0.0)
    assert other.on_time(AGENT_ANSWER_S) == [Empty("no node has a link")]


def test_when_all_were_asked_in_vain_they_are_asked_again_a_little_later() -> None:
    one = asking(*NODES, leader="a")
    one.ask(0.0)
    for name in NODES:
        said = one.on_not_now(name, 1, None, 0.001)
    assert said == []
    assert one.due_at is not None
    assert 0.001 < one.due_at < 0.1
    assert one.on_time(one.due_at) == [Ask("a", 1, urgent=True)]


def test_a_validator_that_went_gets_no_answer() -> None:
    one = asking(*NODES, leader="a")
    one.ask(0.0)
    one.cancel()
    assert one.on_answer("a", 1, "signed", 0.001) == []
    assert one.due_at is None


def test_patience_follows_the_links_own_times_within_its_bounds() -> None:
    times = Times()
    assert times.patience_s == AGENT_PATIENCE_MAX_S, "nothing is known yet"
    for _ in range(200):
        times.on_answer(0.001)
    assert times.patience_s == AGENT_PATIENCE_MIN_S
    times.round_trip_s = 0.045
    assert times.patience_s == pytest.approx(0.093)
    for _ in range(5):
        times.on_answer(0.4)
    assert times.patience_s == AGENT_PATIENCE_MAX_S


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(("ask", "signed", "refused", "wrong", "not now", "up", "lost", "lead", "time")),
        st.sampled_from(NODES),
        st.integers(-2, 0),  # which request it belongs to: this one, or an earlier one
        st.sampled_from((None, *NODES, "stranger")),
        st.floats(0.0, 0.5),
    ),
    max_size=80,
)


@settings(max_examples=300, deadline=None)
@given(EVENTS)
def test_whatever_nodes_do_a_request_has_one_answer_within_its_time(
    events: list[tuple[str, str, int, str | None, float]],
) -> None:
    """Late, doubled, unasked and wrong answers, links that come and go; the timer is kept, and only
    nodes with a link are asked.
    """
    numbers = itertools.count(1)
    one = Asking(NODES, check=check, next_seq=lambda: next(numbers))
    now, seq, begun = 0.0, 0, None
    up: set[str] = set()

    def take(actions: list[Action]) -> None:
        nonlocal begun
        for action in actions:
            assert begun is not None, "an action without a request"
            if isinstance(action, Ask):
                assert action.node in up
                assert action.seq == seq
            else:
                assert now - begun <= AGENT_ANSWER_S + AGENT_AGAIN_MAX_S
                assert not isinstance(action, Reply) or action.answer in ("signed", "refused")
                begun = None

    for what, node, back, leader, later in events:
        end = now + later
        while one.due_at is not None and one.due_at <= end:
            now = max(now, one.due_at)
            take(one.on_time(now))
        now = end
        match what:
            case "ask" if begun is None:
                seq, begun = seq + 1, now
                take(one.ask(now))
            case "signed" | "refused" | "wrong":
                take(one.on_answer(node, seq + back, what, now))
            case "not now":
                take(one.on_not_now(node, seq + back, leader, now))
            case "up":
                up.add(node)
                take(one.on_link(node, now))
            case "lost":
                up.discard(node)
                take(one.on_link_lost(node, now))
            case "lead":
                one.on_lead(leader)
    while one.due_at is not None:
        now = max(now, one.due_at)
        take(one.on_time(now))
    assert begun is None
