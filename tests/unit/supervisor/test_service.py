"""Whom the supervisor vouches for to the service manager."""

import os
import signal
from collections.abc import Callable

import pytest

from cometkms.board.sections import ChildState
from cometkms.board.status_board import Board
from cometkms.ipc.child import ChildContext
from cometkms.ipc.notify import Notifier
from cometkms.limits import HUNG_AFTER_S
from cometkms.log import Log
from cometkms.supervisor.child import Child, ChildSpec
from cometkms.supervisor.service import Service
from tests.unit.supervisor.scene import ALL, PATIENCE_S, Dummies, Manager, until


def never(_context: ChildContext) -> int:
    raise AssertionError("nothing is forked here")


@pytest.mark.parametrize(
    ("state", "age_s", "well"),
    [
        (ChildState.RUNNING, 0.2, True),
        (ChildState.RUNNING, 2.6, False),  # half of the time after which it is killed
        (ChildState.RUNNING, None, False),
        (ChildState.BACKOFF, 0.2, False),
        (ChildState.BOOTING, 0.2, False),
    ],
)
def test_only_a_running_child_whose_loop_beats_is_vouched_for(
    state: ChildState, age_s: float | None, well: bool
) -> None:
    child = Child(ChildSpec("state", never), state=state)
    service = Service(Notifier(), [child], Board(("supervisor",), ("state",)), HUNG_AFTER_S, Log())
    assert service.is_well(child, {"state": age_s}) is well


def test_ready_is_told_once_when_every_child_is_up_and_the_end_is_announced(
    start: Callable[..., Dummies], manager: Manager
) -> None:
    dummies = start({**ALL, "signer": "exits at once, then works"}, manager)
    dummies.await_log("child running", 2, child="signer")
    until("ready", lambda: "READY=1" in manager.heard())
    _, _, api = dummies.await_running(*ALL)
    os.kill(api, signal.SIGKILL)
    dummies.await_log("child running", 2, child="api")
    dummies.look_around()
    assert manager.changes() == ["READY=1"]
    assert dummies.stop() == 0
    assert manager.changes() == ["READY=1", "STOPPING=1"]
    assert manager.heard()[-1] == "STATUS=ended: SIGTERM"
    assert manager.senders == {dummies.pid}


def test_a_node_that_never_comes_up_is_never_ready(start: Callable[..., Dummies], manager: Manager) -> None:
    dummies = start({"state": "works", "signer": "refuses to boot"}, manager)
    assert dummies.wait() == 5
    assert manager.changes() == ["STOPPING=1"]
    assert manager.heard()[-1] == "STATUS=ended: the store of signer is corrupt; run cmkms recover"


@pytest.mark.parametrize(("name", "is_essential"), [("state", True), ("signer", True), ("api", False)])
def test_the_watchdog_hears_nothing_while_a_child_that_signing_needs_is_away(
    name: str, is_essential: bool, start: Callable[..., Dummies], manager: Manager
) -> None:
    dummies = start({**ALL, name: "exits at once"}, manager, restart_min_s=PATIENCE_S * 10)
    until("pings before", lambda: "READY=1" in manager.heard() or dummies.log("child died"))
    dummies.await_log("child died", child=name)
    dummies.await_running(*(one for one in ALL if one != name))
    dummies.look_around()
    manager.forget()
    if is_essential:
        for _ in range(4):  # each round would have spoken
            dummies.look_around()
        assert "WATCHDOG=1" not in manager.heard()
    else:
        until("it lives", lambda: manager.heard().count("WATCHDOG=1") > 2)
    assert dummies.stop() == (70 if name == "state" else 0)
