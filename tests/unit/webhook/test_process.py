"""The webhook process's look at the board: what it takes for raised, for over and for not known."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from cometkms.board.status_board import Board
from cometkms.config.load import load_settings
from cometkms.config.table import Flags
from cometkms.config.webhook import UrlFile, Webhook
from cometkms.limits import ALERTS_SETTLE_S, ALERTS_UNKNOWN_S
from cometkms.log import Log
from cometkms.webhook import process as webhook
from cometkms.webhook.outbox import UNKNOWN
from cometkms.webhook.process import WebhookParts, _Sender

ALERT = {"name": "peer_away", "subject": "node2", "since": 5.0, "what": "w", "cure": "c"}


class FakeSection:
    def __init__(self) -> None:
        self.document: Any = None

    def read(self) -> Any:
        return self.document

    def publish(self, document: Mapping[str, Any]) -> None:
        self.document = dict(document)


class FakeBoard:
    """Only what the process asks of a board."""

    def __init__(self) -> None:
        self.sections = {"api": FakeSection(), "webhook": FakeSection()}
        self.age_s: float | None = 0.1

    def section(self, name: str) -> FakeSection:
        return self.sections[name]

    def beat_ages_s(self) -> dict[str, float | None]:
        return {"api": self.age_s}


class Scene:
    """A sender that looks, and two clocks that stand."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.board, self.now = FakeBoard(), 1000.0
        monkeypatch.setattr(webhook.time, "time", lambda: self.now)  # type: ignore[attr-defined]
        monkeypatch.setattr(webhook.time, "monotonic", lambda: self.now)  # type: ignore[attr-defined]
        settings = load_settings(tmp_path, Flags(id="node0", chain_id="c", validator_addr=("tcp://h:1",)), {})
        self.parts = WebhookParts(
            settings, Webhook(UrlFile(tmp_path / "none"), "json"), cast("Board", self.board), Log("error", "json")
        )
        self.sender = self.born()

    def born(self) -> _Sender:
        return _Sender(self.parts, None, None, None, "", [], self.parts.log)

    def says(self, *alerts: object, looks_since: float = 0.0) -> None:
        self.board.sections["api"].document = {"alerts": list(alerts), "looks_since": looks_since, "hardening": []}

    def waiting(self) -> list[tuple[bool, str]]:
        self.sender.look()
        return [(one.raised, one.name) for one in self.sender.outbox.waiting]


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(tmp_path, monkeypatch)


def test_what_the_api_process_says_is_taken_over(scene: Scene) -> None:
    scene.says(ALERT)
    assert scene.waiting() == [(True, "peer_away")]
    scene.says()
    assert scene.waiting() == [(True, "peer_away"), (False, "peer_away")]


def test_a_new_api_process_that_has_not_raised_it_yet_ends_nothing(scene: Scene) -> None:
    scene.says(ALERT)
    scene.waiting()
    scene.says(looks_since=scene.now - ALERTS_SETTLE_S + 1)
    assert scene.waiting() == [(True, "peer_away")]
    scene.now += 2
    assert scene.waiting() == [(True, "peer_away"), (False, "peer_away")]


@pytest.mark.parametrize("how", ["never wrote", "does not beat", "stands still", "writes nonsense"])
def test_an_api_process_that_is_away_ends_nothing_and_is_an_alert_after_a_while(how: str, scene: Scene) -> None:
    scene.says(ALERT)
    scene.waiting()
    if how == "never wrote":
        scene.board.sections["api"].document = None
    elif how == "does not beat":
        scene.board.age_s = None
    elif how == "writes nonsense":
        scene.board.sections["api"].document = {"alerts": 7}
    else:
        scene.board.age_s = ALERTS_UNKNOWN_S + 0.1
    found = scene.waiting()
    if how != "stands still":
        assert found == [(True, "peer_away")]
        scene.now += ALERTS_UNKNOWN_S
        found = scene.waiting()
    assert found == [(True, "peer_away"), (True, UNKNOWN)]
    scene.board.age_s = 0.1
    scene.says(ALERT)
    assert scene.waiting() == [(True, "peer_away"), (True, UNKNOWN), (False, UNKNOWN)]


@pytest.mark.parametrize("odd", [7, "x", {"name": 5}, {**ALERT, "since": "noon"}, {**ALERT, "what": None}])
def test_a_strangers_entry_is_left_out(odd: object, scene: Scene) -> None:
    scene.says(odd, ALERT)
    assert scene.waiting() == [(True, "peer_away")]


def test_a_successor_knows_what_was_delivered(scene: Scene) -> None:
    scene.says(ALERT)
    scene.waiting()
    notices, dropped = scene.sender.outbox.batch(scene.now, scene.now) or ([], 0)
    scene.sender.outbox.succeeded(notices, dropped, scene.now)
    scene.sender.publish()
    scene.sender = scene.born()
    assert scene.waiting() == []
    scene.says()
    assert scene.waiting() == [(False, "peer_away")]
