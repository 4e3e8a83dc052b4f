"""The supervisor over real processes that die, freeze, refuse, hang and leak.

Conditions are polled; no speed is asserted.
"""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.supervisor.scene import (
    ALL,
    HUNG_S,
    Dummies,
    exists,
    until,
)


def test_each_child_starts_when_the_one_before_is_up(start: Callable[..., Dummies]) -> None:
    dummies = start({"state": "works", "signer": "is never ready", "api": "works"})
    dummies.await_log("boots forever", child="signer")
    dummies.look_around()
    assert [line["child"] for line in dummies.log("child running")] == ["state"]
    assert len(dummies.children()) == 2
    assert dummies.stop() == 0


@pytest.mark.parametrize("how", ["refuses to boot", "refuses to boot in its loop"])
@pytest.mark.parametrize("name", ["state", "signer", "api"])
def test_a_child_that_refuses_to_boot_ends_the_node_with_its_reason_and_code(
    name: str, how: str, start: Callable[..., Dummies]
) -> None:
    dummies = start({**ALL, name: how})
    assert dummies.wait() == 5
    reason = f"the store of {name} is corrupt; run cmkms recover"
    assert dummies.stderr() == f"Error: {reason}\n"
    assert dummies.log("node ended", why=reason, exit_code=5)
    before = list(ALL)[: list(ALL).index(name)]
    assert [line["child"] for line in dummies.log("child running")] == before
    assert {line["child"] for line in dummies.log("gone")} == set(before)


def test_a_bug_at_boot_ends_the_node_with_its_traceback(start: Callable[..., Dummies]) -> None:
    dummies = start({"state": "works", "signer": "has a bug at boot"})
    assert dummies.wait() == 70
    assert "Traceback" in dummies.stderr()
    assert dummies.stderr().endswith("Error: signer: LookupError: a bug of ours\n")


def test_a_child_killed_while_it_boots_ends_the_node_and_says_by_what(start: Callable[..., Dummies]) -> None:
    dummies = start({"state": "works", "signer": "is killed at boot"})
    assert dummies.wait() == 70
    assert "signer ended before it was ready: killed by SIGKILL" in dummies.stderr()


def test_a_child_that_is_never_ready_ends_the_node(start: Callable[..., Dummies]) -> None:
    dummies = start({"state": "works", "signer": "is never ready"}, boot_timeout_s=4)
    assert dummies.wait() == 70
    assert "signer was not ready within 4 s" in dummies.stderr()
    assert dummies.log("gone", child="state")


@pytest.mark.parametrize("name", ["state", "signer", "api"])
@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("exits at once, then refuses to boot again", "exit code 5: the store of {} is corrupt; run cmkms recover"),
        ("exits at once, then is killed at boot", "killed by SIGKILL"),
        ("exits at once, then is never ready", "killed by SIGKILL"),
        ("exits at once, then has a bug at boot", "exit code 70: {}: LookupError: a bug of ours"),
    ],
)
def test_a_boot_that_fails_later_is_tried_again_and_the_others_stay(
    name: str, how: str, words: str, start: Callable[..., Dummies]
) -> None:
    dummies = start({**ALL, name: how}, boot_timeout_s=0.5, restart_min_s=0.01, restart_max_s=0.05)
    others = dummies.await_running(*(one for one in ALL if one != name))
    dummies.await_log("child died", 4, child=name)  # once after it was up, and three boots
    assert dummies.log("child died", child=name)[-1]["why"] == words.format(name)
    assert dummies.children() >= set(others)
    assert dummies.log("node ended") == []
    # what the one that keeps the store had still to write is not there
    assert dummies.stop() == (70 if name == "state" else 0)


def test_a_disk_that_fails_at_a_later_boot_ends_the_node(start: Callable[..., Dummies]) -> None:
    dummies = start({**ALL, "state": "exits at once, then has a failing disk at boot"})
    assert dummies.wait() == 7
    assert "fdatasync: Input/output error" in dummies.stderr()


def test_a_child_that_boots_again_after_failures_runs_on(start: Callable[..., Dummies]) -> None:
    """Killed each time while it boots: the last boot that is left alone is as good as the first."""
    dummies = start({**ALL, "signer": "exits at once, then boots slowly"}, restart_min_s=0.01, restart_max_s=0.05)
    for count in (1, 2, 3):
        dummies.await_log("boots slowly", count, child="signer")
        pid = dummies.log("boots slowly", child="signer")[-1]["pid"]
        os.kill(pid, signal.SIGKILL)
        dummies.await_log("child died", count + 1, child="signer")
    dummies.await_log("child running", 2, child="signer")
    assert dummies.stop() == 0


@pytest.mark.parametrize("name", ["state", "signer", "api"])
@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGKILL, "killed by SIGKILL"),
        (signal.SIGSEGV, "killed by SIGSEGV"),
        (signal.SIGRTMIN + 6, f"killed by signal {signal.SIGRTMIN + 6}"),
    ],
)
def test_a_killed_child_is_replaced_and_the_others_stay(
    name: str, number: int, words: str, start: Callable[..., Dummies]
) -> None:
    dummies = start(ALL)
    pids = dict(zip(ALL, dummies.await_running(*ALL), strict=True))
    os.kill(pids[name], number)
    assert dummies.await_log("child died", child=name)["why"] == words
    replaced = dummies.await_log("child running", 2, child=name)
    assert replaced["restarts"] == 1
    assert not exists(pids[name])
    assert dummies.children() == {*pids.values(), replaced["pid"]} - {pids[name]}
    assert dummies.stop() == 0


def test_a_frozen_child_is_killed_and_replaced(start: Callable[..., Dummies]) -> None:
    dummies = start(ALL, hung_after_s=HUNG_S)
    _, signer, _ = dummies.await_running(*ALL)
    os.kill(signer, signal.SIGSTOP)
    dummies.await_log("child running", 2, child="signer")
    assert dummies.log("child hangs", child="signer", pid=signer)
    assert dummies.log("child died", child="signer")[0]["why"] == "its loop hung"
    assert not exists(signer)
    assert {line["child"] for line in dummies.log("child hangs")} == {"signer"}
    assert dummies.stop() == 0


def test_a_child_whose_loop_is_blocked_is_killed_and_replaced(start: Callable[..., Dummies]) -> None:
    dummies = start({"state": "works", "signer": "blocks its loop, then works"}, hung_after_s=HUNG_S)
    assert dummies.await_log("child running", 2, child="signer")["restarts"] == 1
    assert dummies.log("child hangs", child="signer")
    assert dummies.stop() == 0


def test_a_failing_callback_ends_its_process_and_is_logged(start: Callable[..., Dummies]) -> None:
    dummies = start({"state": "works", "signer": "has a failing callback, then works"})
    dummies.await_log("child running", 2, child="signer")
    assert dummies.log("child died", child="signer", why="exit code 70: signer: LookupError: a bug of ours")
    assert "Traceback" in dummies.stderr()
    assert dummies.stop() == 0


def test_a_failed_sync_is_never_trusted_again_the_node_ends(start: Callable[..., Dummies]) -> None:
    dummies = start({"state": "has a failing disk", "signer": "works"})
    assert dummies.wait() == 7
    assert dummies.stderr().endswith("Error: fdatasync: Input/output error\n")


def test_only_who_keeps_the_store_ends_the_node_by_a_failed_write_or_restarts_it_by_its_wish(
    start: Callable[..., Dummies],
) -> None:
    """Whoever takes the api process over can end that process, and no other."""
    dummies = start({"state": "works", "api": "has a failing disk, then wants the node restarted"})
    (state,) = dummies.await_running("state")
    dummies.await_log("child running", 2, child="api")
    dummies.await_log("asked for a restart", child="api")
    dummies.await_log("child died", 2, child="api")
    assert state in dummies.children()
    assert dummies.log("planned restart") == []
    assert dummies.stop() == 0


def test_a_child_with_a_dead_stdout_ends_as_itself_and_not_as_a_second_supervisor(
    start: Callable[..., Dummies],
) -> None:
    dummies = start({"state": "works", "api": "talks to nobody, then works"})
    (state,) = dummies.await_running("state")
    dummies.await_log("child running", 2, child="api")
    assert dummies.log("child died", child="api")[0]["why"] == "exit code 9"
    assert state in dummies.children()
    assert dummies.log("asked to stop") == []
    assert dummies.stop() == 0


def test_the_delay_doubles_up_to_its_bound_while_a_child_dies_young(start: Callable[..., Dummies]) -> None:
    dummies = start({"state": "exits at once"})
    dummies.await_log("child died", 6)
    assert [line["restart_in_s"] for line in dummies.log("child died")][:6] == [0.01, 0.02, 0.04, 0.04, 0.04, 0.04]
    assert dummies.stop() == 70
    assert "Error: state: exit code 1; its state files may be behind what was signed" in dummies.stderr()


def test_a_child_that_lived_long_enough_starts_again_without_back_off(start: Callable[..., Dummies]) -> None:
    dummies = start({"state": "exits at once"}, restart_reset_after_s=0.0)
    dummies.await_log("child died", 4)
    assert {line["restart_in_s"] for line in dummies.log("child died")} == {0.01}
    assert dummies.stop() == 70


def test_children_are_reaped_also_where_sigchld_was_inherited_as_ignored(start: Callable[..., Dummies]) -> None:
    dummies = start(ALL, sigchld_ignored=True)
    _, signer, _ = dummies.await_running(*ALL)
    os.kill(signer, signal.SIGKILL)
    dummies.await_log("child running", 2, child="signer")
    assert dummies.log("child died", child="signer")[0]["why"] == "killed by SIGKILL"
    assert dummies.stop() == 0


def test_the_parents_death_ends_the_children_the_frozen_one_too(start: Callable[..., Dummies]) -> None:
    dummies = start(ALL)
    pids = dummies.await_running(*ALL)
    os.kill(pids[1], signal.SIGSTOP)
    dummies.process.kill()
    assert dummies.wait() == -signal.SIGKILL
    until("no orphan is left", lambda: not any(exists(pid) for pid in pids))


def test_the_parents_death_ends_a_child_that_is_still_booting(start: Callable[..., Dummies]) -> None:
    dummies = start({"state": "is never ready"})
    dummies.await_log("boots forever")
    (pid,) = dummies.children()
    dummies.process.kill()
    dummies.wait()
    until("no orphan is left", lambda: not exists(pid))


def test_a_frozen_parent_goes_on_where_it_was(start: Callable[..., Dummies]) -> None:
    dummies = start(ALL, hung_after_s=HUNG_S)
    pids = dummies.await_running(*ALL)
    os.kill(dummies.pid, signal.SIGSTOP)
    os.kill(pids[2], signal.SIGKILL)
    time.sleep(1.5 * HUNG_S)
    os.kill(dummies.pid, signal.SIGCONT)
    replaced = dummies.await_log("child running", 2, child="api")["pid"]
    dummies.look_around()
    assert dummies.children() == {*pids[:2], replaced}
    assert dummies.log("child hangs") == []
    assert dummies.stop() == 0


def test_a_pause_of_the_whole_node_kills_no_child(start: Callable[..., Dummies]) -> None:
    """All are frozen for longer than the limit, and the supervisor is the first to run again."""
    dummies = start(ALL, hung_after_s=HUNG_S)
    pids = dummies.await_running(*ALL)
    for pid in (dummies.pid, *pids):
        os.kill(pid, signal.SIGSTOP)
    time.sleep(1.5 * HUNG_S)
    os.kill(dummies.pid, signal.SIGCONT)
    dummies.look_around()
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    dummies.look_around()
    assert dummies.children() == set(pids)
    assert dummies.log("child hangs") == []
    assert dummies.stop() == 0


def test_a_child_that_does_not_wake_from_the_pause_is_killed_after_the_grace(start: Callable[..., Dummies]) -> None:
    dummies = start(ALL, hung_after_s=HUNG_S)
    pids = dummies.await_running(*ALL)
    for pid in (dummies.pid, pids[0]):
        os.kill(pid, signal.SIGSTOP)
    time.sleep(1.5 * HUNG_S)
    os.kill(dummies.pid, signal.SIGCONT)
    dummies.await_log("child hangs", child="state", pid=pids[0])
    dummies.await_log("child running", 2, child="state")
    assert dummies.stop() == 0


def test_a_hangup_changes_nothing(start: Callable[..., Dummies]) -> None:
    dummies = start(ALL)
    pids = dummies.await_running(*ALL)
    dummies.look_around()
    assert dummies.children() == set(pids)
    assert dummies.stop() == 0


def test_the_board_tells_each_childs_state_pid_restarts_and_last_exit(start: Callable[..., Dummies]) -> None:
    dummies = start({"state": "works", "signer": "works", "api": "shows the board"})
    pids = dummies.await_running("state", "signer", "api")
    os.kill(pids[1], signal.SIGKILL)
    replaced = dummies.await_log("child running", 2, child="signer")["pid"]

    def told() -> dict[str, Any] | None:
        boards = [json.loads(line["document"]) for line in dummies.log("board")]
        after = [board for board in boards if board["children"][1]["pid"] == replaced]
        return next((board for board in after if board["children"][1]["state"] == "running"), None)

    document = until("the board shows the new signer", told)
    assert (document["version"], document["pid"]) == ("1.2.3", dummies.pid)
    kept = [{key: value for key, value in child.items() if "started" not in key} for child in document["children"]]
    assert kept == [
        {"name": "state", "pid": pids[0], "state": "running", "restarts": 0, "last_exit": None},
        {"name": "signer", "pid": replaced, "state": "running", "restarts": 1, "last_exit": "killed by SIGKILL"},
        {"name": "api", "pid": pids[2], "state": "running", "restarts": 0, "last_exit": None},
    ]
    assert all(0 < child["started_at"] <= time.time() for child in document["children"])
    assert all(0 < child["started_at_mono"] <= time.monotonic() for child in document["children"])
    assert dummies.stop() == 0


def test_hundreds_of_lives_of_a_child_leak_nothing(start: Callable[..., Dummies]) -> None:
    """The last child is born with exactly what the first was, and so inherits no leak of the
    supervisor's.
    """
    dummies = start({"state": "works", "api": "counts its descriptors"}, restart_min_s=0.0, restart_max_s=0.0)

    def supervisor_holds() -> tuple[int, int, int]:
        """Descriptors, shared mappings, and mapped files of a memory file system."""
        maps = Path(f"/proc/{dummies.pid}/maps").read_text().splitlines()
        shared, files = (sum(name in line for line in maps) for name in ("/memfd:cmkms-", "/dev/shm"))
        return len(os.listdir(f"/proc/{dummies.pid}/fd")), shared, files

    dummies.await_log("born", 20)
    before = supervisor_holds()
    for lives in range(60, 340, 40):  # on a busy machine each of them takes its time
        dummies.await_log("born", lives)
    after = supervisor_holds()
    assert after[0] - before[0] <= 2  # both ends of the report pipe come and go
    assert after[1] == before[1]
    assert after[2] == before[2] == 0
    inherited = {(line["descriptors"], line["shared_mappings"]) for line in dummies.log("born")}
    assert len(inherited) == 1
    assert len(dummies.children()) <= 2
    assert dummies.stop() == 0


def test_orphans_that_become_its_children_are_reaped(start: Callable[..., Dummies]) -> None:
    dummies = start({"state": "leaves an orphan", "signer": "works"}, subreaper=True)
    pids = dummies.await_running("state", "signer")
    orphan = dummies.await_log("orphan")["pid"]
    until("it is reaped", lambda: not exists(orphan))
    os.kill(pids[1], signal.SIGKILL)  # and its own are taken as before
    dummies.await_log("child running", 2, child="signer")
    assert dummies.log("child died")[0]["why"] == "killed by SIGKILL"
    assert dummies.stop() == 0


def test_a_signer_that_the_state_process_finds_stuck_is_replaced_before_it_is_called_hung(
    start: Callable[..., Dummies],
) -> None:
    dummies = start(
        {**ALL, "state": "finds the signer stuck", "signer": "blocks its loop, then works"}, hung_after_s=60.0
    )
    dummies.await_log("asked for another signer")
    dummies.await_log("child running", 2, child="signer")
    assert dummies.log("child died", child="signer")[0]["why"] == "its loop hung"
    assert dummies.stop() == 0


def test_a_signer_that_beats_is_kept_whatever_the_state_process_says(start: Callable[..., Dummies]) -> None:
    dummies = start({**ALL, "state": "is wrong about the signer", "signer": "ends on stop without a loop"})
    dummies.await_log("asked in vain")
    dummies.await_log("signer kept")
    assert dummies.log("child died") == []
    assert dummies.stop() == 0


@pytest.mark.parametrize(
    "how",
    [
        "exits at once, then works",
        "has a failing disk, then works",
        "has a failing callback, then works",
        "blocks its loop, then works",
        "is killed at boot, then works",
        "is never ready, then works",
        "exits at once, then refuses to boot again",
    ],
)
def test_whatever_becomes_of_a_child_that_is_not_essential_the_node_goes_on(
    how: str, start: Callable[..., Dummies]
) -> None:
    dummies = start({**ALL, "audit": how}, boot_timeout_s=4.0, hung_after_s=HUNG_S)
    pids = dummies.await_running("state", "signer", "api")
    dummies.await_log("child died", 2 if how.endswith("again") else 1, child="audit")
    if how.endswith("works"):
        dummies.await_log("child running", child="audit", restarts=1)
    assert dummies.children() >= set(pids)
    assert dummies.stop() == 0
    assert not dummies.log("node ended")


def test_a_child_that_is_not_essential_and_says_at_its_first_boot_what_the_operator_must_mend_ends_the_node(
    start: Callable[..., Dummies],
) -> None:
    dummies = start({**ALL, "audit": "refuses to boot"})
    assert dummies.wait() == 5
    assert "the store of audit is corrupt" in dummies.stderr()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("fails in its loop", "the store of signer is corrupt; run cmkms recover"),
        ("finds no descriptor", "signer: too many open files (child.py, line "),
    ],
)
def test_a_child_that_fails_says_so_once_in_words(start: Callable[..., Dummies], how: str, words: str) -> None:
    """With its end, by the supervisor, and not as a traceback beside it; what is a bug
    of ours has one.
    """
    dummies = start({**ALL, "signer": f"{how}, then works"})
    died = dummies.await_log("child died", child="signer")
    assert words in died["why"]
    dummies.await_log("child running", 2, child="signer")
    told = [line for line in dummies.log() if words in json.dumps(line)]
    assert told == [died]
    assert words not in dummies.stderr()
    assert "Traceback" not in dummies.stderr()
    assert dummies.stop() == 0
