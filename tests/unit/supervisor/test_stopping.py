"""The end and the planned restart: who stops first, and whatever stands in the way."""

import os
import signal
from collections.abc import Callable

import pytest

from tests.unit.supervisor.scene import ALL, PATIENCE_S, Dummies, exists


def stopped_in_order(dummies: Dummies) -> bool:
    """The signer was gone before any other was asked."""
    told = [(line["event"], line["child"]) for line in dummies.log() if line["event"] in ("asked to stop", "gone")]
    return told[:2] == [("asked to stop", "signer"), ("gone", "signer")] and len(told) == 2 * len(ALL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_signer_stops_before_the_others(number: signal.Signals, start: Callable[..., Dummies]) -> None:
    dummies = start(ALL)
    dummies.await_running(*ALL)
    os.kill(dummies.pid, number)
    assert dummies.wait() == 0
    assert stopped_in_order(dummies)
    assert dummies.stderr() == ""


def test_the_order_holds_when_the_signal_reaches_every_process(start: Callable[..., Dummies]) -> None:
    """systemd and a terminal signal the whole group."""
    dummies = start(ALL)
    for pid in (*dummies.await_running(*ALL), dummies.pid):
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGTERM)
    assert dummies.wait() == 0
    assert stopped_in_order(dummies)
    assert dummies.log("child died") == []


def test_a_child_that_ignores_the_stop_is_killed_and_the_others_stop_well(start: Callable[..., Dummies]) -> None:
    dummies = start({**ALL, "signer": "ignores the stop"}, stop_timeout_s=8.0)
    _, signer, _ = dummies.await_running(*ALL)
    assert dummies.stop() == 0
    assert dummies.log("ignores the stop", child="signer")
    assert [line["child"] for line in dummies.log("child killed")] == ["signer"]
    assert {line["child"] for line in dummies.log("gone")} == {"state", "api"}
    assert not exists(signer)


def test_a_frozen_child_can_obey_the_stop(start: Callable[..., Dummies]) -> None:
    dummies = start(ALL)
    _, signer, _ = dummies.await_running(*ALL)
    os.kill(signer, signal.SIGSTOP)
    assert dummies.stop() == 0
    assert stopped_in_order(dummies)


def test_a_stop_in_the_middle_of_a_boot_ends_what_is_there(start: Callable[..., Dummies]) -> None:
    dummies = start({"state": "works", "signer": "is never ready"})
    dummies.await_log("boots forever")
    pids = dummies.children()
    assert dummies.stop() == 0
    assert dummies.log("child killed") == []
    assert not any(exists(pid) for pid in pids)


def test_a_stop_during_a_back_off_is_not_waited_for(start: Callable[..., Dummies]) -> None:
    dummies = start({"state": "works", "signer": "exits at once"}, restart_min_s=PATIENCE_S * 10)
    dummies.await_log("child died", child="signer")
    assert dummies.stop() == 0
    assert [line["child"] for line in dummies.log("gone")] == ["state"]


def test_a_planned_restart_stops_all_in_order_and_starts_all_in_order(start: Callable[..., Dummies]) -> None:
    dummies = start(ALL)
    before = dummies.await_running(*ALL)
    os.kill(dummies.pid, signal.SIGUSR2)
    after = [dummies.await_log("child running", 2, child=name)["pid"] for name in ALL]
    assert stopped_in_order(dummies)
    assert not any(exists(pid) for pid in before)
    assert dummies.children() == set(after)
    assert [line["child"] for line in dummies.log("child running")] == [*ALL, *ALL]
    assert {line["restarts"] for line in dummies.log("child running")} == {0}
    assert dummies.log("planned restart", why="SIGUSR2")
    assert (dummies.log("child died"), dummies.log("child killed")) == ([], [])
    assert dummies.stop() == 0


def test_a_planned_restart_takes_frozen_children_and_those_in_back_off(start: Callable[..., Dummies]) -> None:
    dummies = start({**ALL, "api": "exits at once, then works"}, restart_min_s=PATIENCE_S * 10)
    _, signer = dummies.await_running("state", "signer")
    dummies.await_log("child died", child="api")
    os.kill(signer, signal.SIGSTOP)
    os.kill(dummies.pid, signal.SIGUSR2)
    for name in ALL:
        dummies.await_log("child running", 2, child=name)
    assert dummies.log("child killed") == []
    assert dummies.stop() == 0


def test_a_child_that_has_the_node_restarted_is_told_how_often_that_was(start: Callable[..., Dummies]) -> None:
    """The restarts of an operator's signal count for nothing there."""
    dummies = start({**ALL, "state": "is ordered to restart three times"})
    for asked in range(4):
        dummies.await_log("counts", asked=asked)
    os.kill(dummies.pid, signal.SIGUSR2)
    dummies.await_log("counts", 2, asked=3)
    assert dummies.stop() == 0


def test_a_stop_that_comes_during_a_planned_restart_ends_the_node(start: Callable[..., Dummies]) -> None:
    dummies = start(ALL)
    dummies.await_running(*ALL)
    os.kill(dummies.pid, signal.SIGUSR2)
    os.kill(dummies.pid, signal.SIGTERM)
    assert dummies.wait() == 0
    assert dummies.log("stopped", why="SIGTERM")


def test_a_sync_that_fails_at_a_planned_restart_ends_the_node(start: Callable[..., Dummies]) -> None:
    dummies = start({**ALL, "state": "fails its last sync"})
    dummies.await_running(*ALL)
    os.kill(dummies.pid, signal.SIGUSR2)
    assert dummies.wait() == 7
    assert dummies.stderr().endswith("Error: fdatasync: Input/output error\n")


def test_the_child_that_keeps_the_store_has_longer_for_what_is_still_to_be_written(
    start: Callable[..., Dummies],
) -> None:
    dummies = start({**ALL, "state": "stops slowly"}, stop_timeout_s=0.1, stop_writes_s=PATIENCE_S)
    dummies.await_running(*ALL)
    assert dummies.stop() == 0
    assert dummies.log("gone", child="state")
    assert dummies.log("child killed", child="state") == []


def test_a_store_that_did_not_end_well_is_no_good_end(start: Callable[..., Dummies]) -> None:
    """Whoever is told that the node stopped well takes its state files elsewhere."""
    dummies = start({**ALL, "state": "ignores the stop"}, stop_timeout_s=0.1, stop_writes_s=0.2)
    dummies.await_running(*ALL)
    assert dummies.stop() == 70
    assert dummies.log("child killed", child="state")
    assert "Error: state: it did not stop in time; its state files may be behind what was signed" in dummies.stderr()
    assert dummies.log("stopped") == []


def test_a_sync_that_fails_at_the_stop_is_told_and_the_code_is_its_own(start: Callable[..., Dummies]) -> None:
    dummies = start({**ALL, "state": "fails its last sync"})
    dummies.await_running(*ALL)
    assert dummies.stop() == 7
    assert dummies.stderr().endswith("Error: fdatasync: Input/output error\n")


def test_another_child_that_fails_as_it_stops_is_told(start: Callable[..., Dummies]) -> None:
    dummies = start({**ALL, "api": "fails its last sync"})
    dummies.await_running(*ALL)
    assert dummies.stop() == 0
    assert dummies.log("child died", child="api", why="fdatasync: Input/output error")


def test_a_store_whose_child_died_before_the_stop_is_no_good_end_until_another_has_come_up(
    start: Callable[..., Dummies],
) -> None:
    dummies = start({**ALL, "state": "works"}, restart_min_s=0.01)
    (state, *_) = dummies.await_running(*ALL)
    os.kill(state, signal.SIGKILL)
    dummies.await_log("child running", 2, child="state")
    assert dummies.stop() == 0
