"""What the page remembers: bounded, in order, and once."""

from typing import Any

from cometkms.api.history import History
from cometkms.api.status import Status, compose_status
from cometkms.limits import HISTORY_CHAINS, HISTORY_EVENTS, HISTORY_S

from .boards import NOW, FakeBoard

STEP_S = 0.25


class Feed:
    """A history fed from a board that a test changes."""

    def __init__(self) -> None:
        self.board, self.history, self.now = FakeBoard(), History(), NOW
        self.board.sections_now["state"]["events"] = []

    @property
    def state(self) -> Any:
        return self.board.sections_now["state"]

    def event(self, at: float, what: str, **fields: Any) -> None:
        self.state["events"].append({"at": NOW + at, "what": what, **fields})

    def look(self, seconds: float = STEP_S) -> bool:
        """Time passes, then one look; whether it saw something."""
        self.now += seconds
        return self.history.sample(self.status(), self.now)

    def status(self) -> Status:
        return compose_status(self.board.sections(), self.board.beat_ages_s(), self.now)

    def sign(self, at: float, height: int) -> None:
        row = self.state["rows"][0]
        row["signed_at"], row["last_sign_state"] = NOW + at, {**row["last_sign_state"], "height": height}


def whats(feed: Feed) -> list[str]:
    return [event["what"] for event in feed.history.events]


def test_an_event_is_taken_once_however_often_the_board_shows_it() -> None:
    feed = Feed()
    feed.look()
    feed.event(0.3, "peer_connected", peer="node1")
    assert feed.look() is True
    assert feed.look() is False
    assert whats(feed).count("peer_connected") == 1


def test_events_survive_the_process_that_kept_them_and_stay_in_order() -> None:
    feed = Feed()
    feed.event(0.1, "peer_connected", peer="node1")
    feed.look()
    feed.board.sections_now["state"] = None
    feed.look()
    feed.board.sections_now["state"] = FakeBoard().sections_now["state"]
    feed.state["events"] = [{"at": NOW + 0.05, "what": "started"}]
    feed.look()
    told = [one for one in feed.history.events if one["what"] in ("peer_connected", "started")]
    assert [one["what"] for one in told] == ["started", "peer_connected"]


def test_no_more_than_the_bound_is_kept() -> None:
    feed = Feed()
    for number in range(HISTORY_EVENTS + 50):
        feed.state["events"] = [{"at": NOW + number, "what": "peer_connected", "peer": f"node{number}"}]
        feed.look()
    assert len(feed.history.events) == HISTORY_EVENTS
    assert len(feed.history._known) <= HISTORY_EVENTS


def test_a_leader_has_the_time_of_its_event_not_of_the_look() -> None:
    feed = Feed()
    feed.state["leader_id"] = "node1"
    feed.event(0.101, "leader", leader="node1", term=2)
    feed.look()
    feed.state["leader_id"] = "node2"
    feed.event(0.333, "leader", leader=None, term=3)
    feed.event(0.340, "leader", leader="node2", term=3)
    feed.look()
    assert [(round(band.at - NOW, 3), band.leader) for band in feed.history.bands] == [
        (0.101, "node1"), (0.333, None), (0.340, "node2"),
    ]  # fmt: skip


def test_without_events_the_leader_is_what_the_look_saw() -> None:
    feed = Feed()
    feed.look()
    feed.board.sections_now["state"] = None
    feed.look()
    assert [band.leader for band in feed.history.bands] == ["node0", None]


def test_a_pause_is_one_that_is_longer_than_usual() -> None:
    feed = Feed()
    at = 0.0
    for height in range(20, 30):
        at += 1.0
        feed.sign(at, height)
        feed.look(1.0)
    line = feed.history.chains["chain-a"]
    assert list(line.pauses) == []
    assert line.usual_s == 1.0
    feed.sign(at + 9, 31)
    feed.look(9.0)
    (pause,) = line.pauses
    assert (pause.since, pause.until, pause.exact) == (NOW + at, NOW + at + 9, False)
    assert line.usual_s == 1.0, "what is a pause does not become usual"


def test_a_measured_gap_replaces_the_sampled_one() -> None:
    feed = Feed()
    for second in range(1, 8):
        feed.sign(second, second)
        feed.look(1.0)
    feed.sign(17, 8)
    feed.event(16.9, "signed_again", chain="chain-a", height=8, last_height=7, last_at=NOW + 7.02, gap_ms=9880.0)
    feed.look(10.0)
    feed.look(0.25)
    (pause,) = feed.history.chains["chain-a"].pauses
    assert (pause.since, pause.until, pause.exact) == (NOW + 7.02, NOW + 16.9, True)


def test_what_is_older_than_ten_minutes_is_forgotten() -> None:
    feed = Feed()
    feed.sign(0.1, 5)
    feed.look()
    for number in range(3):
        feed.sign(HISTORY_S + number, 6 + number)
        feed.look(HISTORY_S / 2 + 1)
    history = feed.history
    assert all(one.at > feed.now - HISTORY_S for one in list(history.chains["chain-a"].signings)[1:])
    assert len(history.bands) == 1


def test_only_so_many_chains_have_a_line() -> None:
    feed = Feed()
    row = feed.state["rows"][0]
    feed.state["rows"] = [{**row, "chain_id": f"chain-{n}", "signed_at": NOW} for n in range(HISTORY_CHAINS + 3)]
    feed.look()
    assert len(feed.history.chains) == HISTORY_CHAINS


def test_the_lines_are_of_chains_that_are_signed_for_wherever_they_stand() -> None:
    feed = Feed()
    row = feed.state["rows"][0]
    unsigned = {**row, "signed_at": None, "last_sign_state": None}
    feed.state["rows"] = [{**unsigned, "chain_id": f"idle-{n}"} for n in range(HISTORY_CHAINS)]
    feed.state["rows"] += [{**row, "chain_id": "busy", "signed_at": NOW}]
    feed.look()
    assert list(feed.history.chains) == ["busy"]


def histogram(*counts: int) -> dict[str, Any]:
    bounds, below, buckets = (100, 1000, 10000), 0, []
    for bound, count in zip(bounds, counts, strict=False):
        below += count
        buckets.append([bound, below])
    return {"count": sum(counts), "sum_us": 0.0, "buckets": buckets}


def signer(feed: Feed) -> Any:
    return feed.board.sections_now["signer"]["chains"][1]


def test_a_second_has_the_latencies_that_were_counted_within_it() -> None:
    feed = Feed()
    signer(feed)["latency_hist"] = histogram(1000, 0, 0)
    feed.look()
    signer(feed)["latency_hist"] = histogram(1000, 10, 0)
    signer(feed)["counters"]["signed"] += 10
    feed.look(1.0)
    (second,) = feed.history.seconds
    assert second.signed == 10
    assert 100 < second.p50_us < 1000
    feed.look(1.0)
    assert len(feed.history.seconds) == 1, "a second without a signature has no latency"


def test_a_signer_that_begins_anew_counts_from_nothing() -> None:
    feed = Feed()
    signer(feed)["latency_hist"] = histogram(1000, 0, 0)
    feed.look()
    signer(feed)["latency_hist"], signer(feed)["counters"]["signed"] = histogram(0, 0, 3), 3
    feed.look(1.0)
    (second,) = feed.history.seconds
    assert second.p50_us > 1000


def test_processes_validators_and_refusals_become_events() -> None:
    feed = Feed()
    feed.look()
    assert "validator_connected" in whats(feed)
    feed.board.sections_now["supervisor"]["children"][1].update(restarts=1, last_exit="killed by SIGKILL")
    signer(feed)["validators"][0] = {
        **signer(feed)["validators"][0],
        "state": "dialing",
        "since": NOW + 1,
        "last_error": "gone",
    }
    signer(feed)["refusals"] = [
        {
            "at": NOW + 2,
            "reason": "conflict",
            "why": "conflicting data",
            "validator": "v",
            "asked": "5/0/2",
            "signed": "5/0/2",
        }
    ]
    assert feed.look() is True
    assert {"child_restarted", "validator_lost", "refused"} <= set(whats(feed))
    assert feed.look() is False


def test_refusals_that_were_counted_together_are_told_late_with_their_own_time() -> None:
    feed = Feed()
    feed.look()
    first, later, late = ({"at": at, "reason": "jump", "why": str(at), "validator": "v", "asked": "5/0/2", "signed": "4/0/2"}
                          for at in (NOW + 2, NOW + 20, NOW + 9))  # fmt: skip
    for shown in ([first, later], [first, later, late], [later, late]):
        signer(feed)["refusals"] = shown
        feed.look()
    assert [one["at"] for one in feed.history.events if one["what"] == "refused"] == [NOW + 2, NOW + 9, NOW + 20]


def test_a_follower_that_stands_by_has_lost_no_validator() -> None:
    feed = Feed()
    feed.look()
    signer(feed)["validators"][0] = {**signer(feed)["validators"][0], "state": "standby"}
    feed.look()
    assert "validator_lost" not in whats(feed)
