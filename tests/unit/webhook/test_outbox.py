"""What is sent of the alerts, and when: each episode once, in order, later and later while nobody
takes it, within bounds.
"""

from typing import Any

import pytest

from cometkms.api.alerts import RULES
from cometkms.limits import (
    ALERTS_SETTLE_S,
    WEBHOOK_BATCH_MAX,
    WEBHOOK_KEEP_S,
    WEBHOOK_RETRY_AFTER_MAX_S,
    WEBHOOK_RETRY_MAX_S,
    WEBHOOK_RETRY_MIN_S,
    WEBHOOK_TEXT_MAX_CHARS,
    WEBHOOK_WAITING_MAX,
)
from cometkms.webhook.outbox import NOT_SENT, UNKNOWN, Outbox, unknown_alert


def alert(name: str = "peer_away", subject: str = "node2", since: float = 100.0, **more: Any) -> dict[str, Any]:
    return {"name": name, "subject": subject, "since": since, "what": "w", "cure": "c", **more}


def sent(outbox: Outbox, wall: float = 100.0, now: float = 0.0) -> list[tuple[bool, str]]:
    """What leaves now, and arrives."""
    due = outbox.batch(wall, now)
    if due is None:
        return []
    outbox.succeeded(*due, wall)
    return [(one.raised, one.subject) for one in due[0]]


def test_an_episode_is_told_when_it_begins_and_when_it_ends_however_often_it_is_seen() -> None:
    outbox = Outbox()
    for second in range(3):
        outbox.see([alert(what=f"for {second} s")], 100.0 + second)
    assert sent(outbox) == [(True, "node2")]
    outbox.see([alert()], 103.0)
    assert sent(outbox) == []
    outbox.see([], 104.0)
    assert sent(outbox) == [(False, "node2")]
    assert (outbox.delivered, outbox.delivered_at, outbox.told) == (2, 100.0, {})


def test_two_subjects_of_one_name_are_two_episodes() -> None:
    outbox = Outbox()
    outbox.see([alert(), alert(subject="node3")], 100.0)
    outbox.see([alert(subject="node3")], 101.0)
    assert sent(outbox) == [(True, "node2"), (True, "node3"), (False, "node2")]


def test_what_is_missing_while_a_new_api_process_begins_is_not_over() -> None:
    outbox = Outbox()
    outbox.see([alert()], 100.0)
    outbox.see([], 101.0, settled=False)
    outbox.see([alert(since=115.0)], 115.0)
    assert sent(outbox) == [(True, "node2")]
    assert max(rule.raise_s for name, rule in RULES.items() if name not in NOT_SENT) < ALERTS_SETTLE_S


def test_its_own_failure_is_not_sent_with_what_failed() -> None:
    outbox = Outbox()
    outbox.see([alert("webhook_failing", "")], 100.0)
    assert outbox.batch(100.0, 0.0) is None
    assert set(RULES) >= NOT_SENT


def test_attempts_become_rarer_up_to_a_bound_and_are_quick_again_after_one_that_worked() -> None:
    outbox, now, delays = Outbox(), 0.0, []
    outbox.see([alert()], 100.0)
    for _ in range(9):
        assert outbox.batch(100.0, now) is not None
        delays.append(outbox.did_fail("no", now))
        assert outbox.batch(100.0, now + delays[-1] - 0.01) is None
        now += delays[-1]
    assert delays[:4] == [WEBHOOK_RETRY_MIN_S * 2**number for number in range(4)]
    assert delays[-1] == WEBHOOK_RETRY_MAX_S
    assert (outbox.error, outbox.failed) == ("no", 9)
    assert sent(outbox, now=now) == [(True, "node2")]
    assert outbox.error == ""
    outbox.see([], 101.0)
    assert outbox.batch(101.0, now) is not None
    assert outbox.did_fail("no", now) == WEBHOOK_RETRY_MIN_S


@pytest.mark.parametrize(
    ("asked", "waits"), [(0.0, WEBHOOK_RETRY_MIN_S), (30.0, 30.0), (1e6, WEBHOOK_RETRY_AFTER_MAX_S)]
)
def test_a_receiver_that_asks_for_patience_gets_it_within_a_bound(asked: float, waits: float) -> None:
    outbox = Outbox()
    outbox.see([alert()], 100.0)
    outbox.batch(100.0, 0.0)
    assert outbox.did_fail("busy", 0.0, asked) == waits


def test_many_leave_in_several_requests_in_their_order() -> None:
    outbox, names = Outbox(), [f"node{number}" for number in range(WEBHOOK_BATCH_MAX + 3)]
    outbox.see([alert(subject=name) for name in names], 100.0)
    assert [one for _ in range(3) for one in sent(outbox)] == [(True, name) for name in names]


def test_the_oldest_are_dropped_and_the_next_that_arrives_says_how_many() -> None:
    outbox = Outbox()
    for number in range(WEBHOOK_WAITING_MAX // 2 + 5):  # each is raised and over
        outbox.see([alert(subject=f"node{number}")], 100.0)
    assert len(outbox.waiting) == WEBHOOK_WAITING_MAX
    lost = outbox.dropped
    assert lost == 9
    assert outbox.waiting[0].subject == "node5"
    outbox.batch(100.0, 0.0)
    outbox.did_fail("no", 0.0)
    notices, dropped = outbox.batch(100.0, 10.0) or ([], 0)
    assert dropped == lost
    outbox.succeeded(notices, dropped, 100.0)
    assert (outbox.batch(100.0, 10.0) or ([], None))[1] == 0
    assert outbox.dropped == lost


def test_one_that_is_dropped_while_it_is_on_the_way_takes_no_other_with_it() -> None:
    outbox = Outbox()
    for number in range(WEBHOOK_WAITING_MAX):
        outbox._wait(outbox_notice(number))
    on_the_way = outbox.batch(100.0, 0.0)
    assert on_the_way is not None
    outbox._wait(outbox_notice(WEBHOOK_WAITING_MAX))
    outbox.succeeded(*on_the_way, 100.0)
    assert outbox.waiting[0].subject == f"node{WEBHOOK_BATCH_MAX}"
    assert len(outbox.waiting) == WEBHOOK_WAITING_MAX + 1 - WEBHOOK_BATCH_MAX


def outbox_notice(number: int) -> Any:
    made = Outbox()
    made.see([alert(subject=f"node{number}")], 100.0)
    return made.waiting[0]


def test_one_that_waited_too_long_is_dropped() -> None:
    outbox = Outbox()
    outbox.see([alert()], 100.0)
    assert outbox.batch(100.0 + WEBHOOK_KEEP_S, 0.0) is not None
    assert outbox.batch(100.1 + WEBHOOK_KEEP_S, 0.0) is None
    assert outbox.dropped == 1


def test_an_heir_repeats_nothing_and_tells_the_end() -> None:
    outbox = Outbox()
    outbox.see([alert(), alert(subject="node3")], 100.0)
    sent(outbox)
    outbox.see(
        [alert(), alert(subject="node4")], 101.0
    )  # neither the end of node3 nor node4 leaves before the process dies
    heir = Outbox.heir([alert(one.name, one.subject) for one in outbox.told.values()], 102.0)
    heir.see([alert(), alert(subject="node4")], 102.0)
    assert sorted(sent(heir)) == [(False, "node3"), (True, "node4")]


def test_words_are_cut_and_what_is_no_time_is_now() -> None:
    outbox = Outbox()
    outbox.see([alert(what="x" * 9999, cure="y" * 9999) | {"since": "?"}], 100.0)
    (one,) = outbox.waiting
    assert (len(one.what), len(one.cure), one.since) == (WEBHOOK_TEXT_MAX_CHARS, WEBHOOK_TEXT_MAX_CHARS, 100.0)


def test_that_nobody_looks_for_alerts_is_an_alert_until_somebody_does() -> None:
    outbox = Outbox()
    outbox.see([alert()], 100.0)
    outbox.see([unknown_alert(101.0, "it does not run")], 101.0, settled=False)
    outbox.see([unknown_alert(102.0, "it does not run")], 102.0, settled=False)
    assert [one.name for one in outbox.waiting] == ["peer_away", UNKNOWN]
    outbox.see([alert()], 110.0)
    assert [(one.raised, one.name) for one in outbox.waiting][2:] == [(False, UNKNOWN)]
