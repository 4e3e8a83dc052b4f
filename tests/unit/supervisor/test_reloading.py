"""A reload reaches every child, and waits for none that hangs."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from cometkms.config.reload import Reloadable, encode
from cometkms.config.schema import AlertBounds
from tests.unit.supervisor.scene import (
    ALL,
    Dummies,
    Manager,
    exists,
    until,
)

FIRST = encode(Reloadable("debug", {"a": ("tcp://h:1",)}, AlertBounds()))


SECOND = encode(Reloadable("debug", {"a": ("tcp://h:2", "tcp://h:3")}, AlertBounds()))


def test_a_reload_reaches_every_child_and_is_done_when_all_have_taken_it_over(
    tmp_path: Path, start: Callable[..., Dummies], manager: Manager
) -> None:
    file = tmp_path / "reload.json"
    file.write_text(json.dumps(FIRST))
    dummies = start(dict.fromkeys(ALL, "takes reloads over"), manager, reload_file=str(file))
    dummies.await_running(*ALL)
    until("ready", lambda: manager.changes() == ["READY=1"])
    os.kill(dummies.pid, signal.SIGHUP)
    until("reloaded", lambda: manager.changes() == ["READY=1", "RELOADING=1", "READY=1"])
    assert {line["child"] for line in dummies.log("took over", addresses="tcp://h:1")} == set(ALL)
    file.write_text(json.dumps(SECOND))
    os.kill(dummies.pid, signal.SIGHUP)
    for name in ALL:
        dummies.await_log("took over", child=name, addresses="tcp://h:2,tcp://h:3")
    assert dummies.log("child did not take the reload over") == []
    assert dummies.stop() == 0


def test_a_child_that_starts_later_has_what_was_reloaded(tmp_path: Path, start: Callable[..., Dummies]) -> None:
    file = tmp_path / "reload.json"
    file.write_text(json.dumps(FIRST))
    dummies = start(dict.fromkeys(ALL, "takes reloads over"), reload_file=str(file))
    pids = dummies.await_running(*ALL)
    os.kill(dummies.pid, signal.SIGHUP)
    dummies.await_log("took over", child="signer")
    os.kill(pids[1], signal.SIGKILL)
    dummies.await_log("child running", 2, child="signer")
    dummies.await_log("took over", 2, child="signer", addresses="tcp://h:1")
    assert dummies.stop() == 0


def test_a_child_that_boots_while_settings_are_reloaded_is_told_when_it_is_up(
    tmp_path: Path, start: Callable[..., Dummies]
) -> None:
    """It was forked with the settings of before."""
    file, booted = tmp_path / "reload.json", tmp_path / "booted"
    file.write_text(json.dumps(FIRST))
    dummies = start(
        {"state": "takes reloads over", "signer": f"boots until a file is there {booted}"}, reload_file=str(file)
    )
    dummies.await_log("boots until a file is there", child="signer")
    os.kill(dummies.pid, signal.SIGHUP)
    dummies.await_log("took over", child="state", addresses="tcp://h:1")
    assert dummies.log("took over", child="signer") == []
    booted.touch()
    dummies.await_log("took over", child="signer", addresses="tcp://h:1")
    assert dummies.stop() == 0


def test_a_child_that_does_not_answer_is_reported_and_the_reload_ends(
    tmp_path: Path, start: Callable[..., Dummies], manager: Manager
) -> None:
    file = tmp_path / "reload.json"
    file.write_text(json.dumps(FIRST))
    dummies = start({"state": "works", "api": "ends on stop without a loop"}, manager, reload_file=str(file))
    dummies.await_running("state", "api")
    until("ready", lambda: manager.changes() == ["READY=1"])
    os.kill(dummies.pid, signal.SIGHUP)
    dummies.await_log("child did not take the reload over", child="api")
    until("it ends", lambda: manager.changes() == ["READY=1", "RELOADING=1", "READY=1"])
    assert len(dummies.log("child did not take the reload over")) == 1
    assert dummies.stop() == 0


def test_a_reload_without_news_for_the_children_leaves_them_alone(
    tmp_path: Path, start: Callable[..., Dummies], manager: Manager
) -> None:
    file = tmp_path / "reload.json"
    file.write_text("null")
    dummies = start(dict.fromkeys(ALL, "takes reloads over"), manager, reload_file=str(file))
    pids = dummies.await_running(*ALL)
    until("ready", lambda: manager.changes() == ["READY=1"])
    os.kill(dummies.pid, signal.SIGHUP)
    until("it ends", lambda: manager.changes() == ["READY=1", "RELOADING=1", "READY=1"])
    assert dummies.log("took over") == []
    for pid in pids:  # a terminal that is closed reaches them all
        os.kill(pid, signal.SIGHUP)
    os.kill(dummies.pid, signal.SIGHUP)
    until("another", lambda: manager.changes().count("RELOADING=1") == 2)
    assert dummies.children() == set(pids)
    assert dummies.log("took over") == []
    assert dummies.stop() == 0


@pytest.mark.parametrize("how", ["starts anew", "starts anew and does not stop"])
def test_a_child_that_cannot_take_it_over_is_replaced_by_one_that_was_born_with_it(
    how: str, tmp_path: Path, start: Callable[..., Dummies], manager: Manager
) -> None:
    file = tmp_path / "reload.json"
    file.write_text(json.dumps(FIRST))
    timing = {"stop_timeout_s": 3.0} if how != "starts anew" else {}
    dummies = start({"state": "takes reloads over", "signer": how}, manager, reload_file=str(file), **timing)
    state, signer = dummies.await_running("state", "signer")
    until("ready", lambda: manager.changes() == ["READY=1"])
    os.kill(dummies.pid, signal.SIGHUP)
    replaced = dummies.await_log("child running", 2, child="signer")
    until("it ends", lambda: manager.changes() == ["READY=1", "RELOADING=1", "READY=1"])
    assert dummies.children() == {state, replaced["pid"]}
    assert not exists(signer)
    assert replaced["restarts"] == 0  # it did not die
    assert dummies.log("child died") == []
    assert bool(dummies.log("child killed")) == (how != "starts anew")
    assert dummies.stop() == 0


def test_a_stop_finds_a_child_that_is_about_to_start_anew(tmp_path: Path, start: Callable[..., Dummies]) -> None:
    file = tmp_path / "reload.json"
    file.write_text(json.dumps(FIRST))
    behaviours = {"state": "works", "signer": "starts anew and does not stop"}
    dummies = start(behaviours, reload_file=str(file), stop_timeout_s=1.0)
    dummies.await_running("state", "signer")
    os.kill(dummies.pid, signal.SIGHUP)
    dummies.await_log("child starts anew", child="signer")
    assert dummies.stop() == 0
    assert dummies.log("child killed", child="signer")
