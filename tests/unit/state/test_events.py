"""What the state process remembers of what happened to it."""

from cometkms.limits import EVENTS_KEPT
from cometkms.model import HRS
from cometkms.state.events import StateEvents


class Kept:
    def __init__(self) -> None:
        self.wall, self.mono, self.told = 1000.0, 50.0, 0
        self.events = StateEvents(wall_clock=lambda: self.wall, clock=lambda: self.mono, on_event=self.tell)

    def tell(self) -> None:
        self.told += 1

    def wait(self, seconds: float) -> None:
        self.wall, self.mono = self.wall + seconds, self.mono + seconds

    @property
    def whats(self) -> list[str]:
        return [event["what"] for event in self.events.document()]

    def lead(self, name: str | None, term: int) -> None:
        self.events.add("leader", leader=name, term=term)


def test_an_event_has_its_time_and_its_fields_and_is_told_at_once() -> None:
    kept = Kept()
    kept.events.add("peer_disconnected", peer="node1", why="closed by the peer", closed=True)
    assert kept.events.document() == [
        {"at": 1000.0, "what": "peer_disconnected", "peer": "node1", "why": "closed by the peer", "closed": True}
    ]
    assert kept.told == 1


def test_only_the_newest_are_kept() -> None:
    kept = Kept()
    for number in range(EVENTS_KEPT + 10):
        kept.events.add("peer_connected", peer=f"node{number}")
    assert len(kept.events.document()) == EVENTS_KEPT
    assert kept.events.document()[0]["peer"] == "node10"


def test_a_leader_told_twice_and_elections_in_vain_are_one_event() -> None:
    kept = Kept()
    for name, term in ((None, 1), (None, 2), ("node1", 2), ("node1", 2), ("node1", 3), (None, 4), (None, 5)):
        kept.lead(name, term)
    assert [(one["leader"], one["term"]) for one in kept.events.document()] == [
        (None, 1),
        ("node1", 2),
        ("node1", 3),
        (None, 4),
    ]


def test_the_first_signature_under_another_leader_tells_the_gap() -> None:
    kept = Kept()
    kept.lead("node0", 1)
    kept.events.on_signed(0, "test-1", HRS(11, 0, 3))
    kept.wait(1)
    kept.events.on_signed(0, "test-1", HRS(12, 0, 3))
    kept.wait(0.3)
    kept.lead(None, 2)
    kept.lead("node1", 2)
    kept.wait(0.131)
    kept.wall += 3600  # a clock that is set does not change how long it was
    kept.events.on_signed(0, "test-1", HRS(13, 0, 1))
    kept.events.on_signed(0, "test-1", HRS(13, 0, 2))
    (again,) = [one for one in kept.events.document() if one["what"] == "signed_again"]
    assert (again["gap_ms"], again["last_height"], again["height"], again["last_at"]) == (431.0, 12, 13, 1001.0)


def test_a_first_leader_and_a_first_signature_are_no_gap() -> None:
    kept = Kept()
    kept.events.on_signed(0, "test-1", HRS(1, 0, 1))
    kept.lead("node0", 1)
    kept.events.on_signed(0, "test-1", HRS(1, 0, 2))
    kept.lead("node1", 2)
    kept.events.on_signed(1, "test-2", HRS(1, 0, 2))
    assert "signed_again" not in kept.whats


def test_when_a_rows_last_signature_was_learned() -> None:
    kept = Kept()
    assert kept.events.signed_at(0) is None
    kept.events.on_signed(0, "test-1", HRS(1, 0, 1))
    assert kept.events.signed_at(0) == 1000.0


def test_states_are_events_when_they_change() -> None:
    kept = Kept()
    kept.events.see_states("node0", {"node0": "starting", "node1": None})
    kept.events.see_states("node0", {"node0": "complete", "node1": "complete"})
    kept.events.see_states("node0", {"node0": "complete", "node1": None})
    assert [(one["what"], one.get("peer"), one["state"]) for one in kept.events.document()] == [
        ("node_state", None, "starting"), ("node_state", None, "complete"), ("peer_state", "node1", "complete"),
    ]  # fmt: skip
