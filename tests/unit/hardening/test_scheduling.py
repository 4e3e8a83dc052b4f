"""Who runs first: each class is what the kernel says afterwards, and what is not granted is said
and changes nothing.
"""

import contextlib
import errno
import os
import platform
import resource
import signal
from collections.abc import Callable
from typing import Any

import pytest

from cometkms.errors import HardeningError
from cometkms.hardening import kernel, scheduling
from cometkms.hardening.measures import Mode, State
from cometkms.hardening.scheduling import Turn, take_turn, turn_of_signing
from cometkms.hardening.syscalls import MACHINES
from cometkms.limits import NICER, REALTIME_MAX_S, SLICE_NS
from tests.unit.hardening.child import in_child

STRANGER = 62_701
AS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not AS_ROOT, reason="root alone may become another user, and grant a limit")


def seen() -> list[int]:
    """Class with its flags, nice value, and the bound of a real-time process in microseconds."""
    return [os.sched_getscheduler(0), os.nice(0), resource.getrlimit(resource.RLIMIT_RTTIME)[0]]


def kernel_version() -> tuple[int, ...]:
    return tuple(int(one) for one in os.uname().release.split("-")[0].split(".")[:2])


def taken(turn: Turn, *before: Callable[[], object], mode: Mode = Mode.BEST_EFFORT) -> Any:
    """[state, why, what is seen afterwards, what a child of it sees], or the words of a refusal."""

    def life() -> Any:
        for step in before:
            step()
        try:
            measure = take_turn("one", mode, turn)
        except HardeningError as error:
            return str(error)
        return [measure.state.value, measure.why, seen(), in_child(seen)]

    return in_child(life)


def as_stranger() -> None:
    """Without a right and without a limit."""
    resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
    os.setresuid(STRANGER, STRANGER, STRANGER)


def test_who_is_not_waited_for_waits_and_is_nicer() -> None:
    state, why, (policy, nice, _), child = taken(Turn.LATER)
    assert (state, policy, nice) == (State.ON, os.SCHED_BATCH, min(19, os.nice(0) + NICER))
    assert "SCHED_BATCH" in why
    assert child[:2] == [policy, nice]


def test_the_supervisor_waits_and_keeps_its_nice_value_which_its_children_inherit() -> None:
    state, _, (policy, nice, _), _ = taken(Turn.PARENT)
    assert (state, policy, nice) == (State.ON, os.SCHED_BATCH, os.nice(0))


def test_who_signs_runs_in_the_usual_class_whatever_its_parent_does() -> None:
    state, why, (policy, nice, _), _ = taken(Turn.FIRST, lambda: take_turn("parent", Mode.BEST_EFFORT, Turn.PARENT))
    assert (policy, nice) == (os.SCHED_OTHER, os.nice(0))
    assert "realtime = false" in why
    if state == State.ON:
        assert f"a slice of {SLICE_NS / 1e6:g} ms" in why
    assert (state == State.ON) >= (kernel_version() >= (6, 12) and platform.machine() in MACHINES)


@pytest.mark.parametrize("machine", ["riscv64", platform.machine()])
def test_where_no_slice_is_to_be_had_it_is_said_and_keeps_nobody_from_starting(
    machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(kernel, "syscall", lambda *_: 0)  # an older kernel takes it, and shows none
    state, why, (policy, _, _), _ = taken(Turn.FIRST, mode=Mode.REQUIRED)
    assert (state, policy) == (State.OFF, os.SCHED_OTHER)
    assert "no slices" in why or "not known on riscv64" in why


@needs_root
@pytest.mark.parametrize("grant", ["a right", "a limit"])
def test_the_real_time_class_where_it_is_granted_has_a_bound_and_no_heirs(grant: str) -> None:
    def by_limit() -> None:
        with contextlib.suppress(ValueError):  # a root that may not raise limits
            resource.setrlimit(resource.RLIMIT_RTPRIO, (1, 1))
        os.setresuid(STRANGER, STRANGER, STRANGER)

    state, why, (policy, _, bound_us), child = taken(Turn.REALTIME, *([by_limit] if grant == "a limit" else []))
    # a container without the right, or a kernel that gives a group no real-time at all
    if state == State.UNAVAILABLE:
        assert "realtime = true" in why
        assert policy == os.SCHED_OTHER
        return
    assert (state, policy) == (State.ON, os.SCHED_RR | os.SCHED_RESET_ON_FORK)
    assert bound_us == int(REALTIME_MAX_S * 1_000_000)
    assert child[0] == os.SCHED_OTHER


@needs_root
def test_a_class_that_is_not_granted_is_said_with_its_cure_and_the_usual_one_stays() -> None:
    state, why, (policy, _, _), _ = taken(Turn.REALTIME, as_stranger)
    assert (state, policy) == (State.UNAVAILABLE, os.SCHED_OTHER)
    assert "LimitRTPRIO=1" in why


@needs_root
def test_under_required_a_class_that_is_not_granted_is_a_reason_not_to_start() -> None:
    assert "realtime = true" in taken(Turn.REALTIME, as_stranger, mode=Mode.REQUIRED)


def test_under_required_a_class_that_protects_nothing_keeps_nobody_from_starting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, "not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refused)
    assert taken(Turn.LATER, mode=Mode.REQUIRED)[:2] == [State.UNAVAILABLE, "SCHED_BATCH: not permitted"]


@needs_root
def test_a_real_time_process_that_never_pauses_is_ended_by_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduling, "REALTIME_MAX_S", 0.1)

    def life() -> str:
        measure = take_turn("one", Mode.BEST_EFFORT, Turn.REALTIME)
        if measure.state is State.UNAVAILABLE:
            os.kill(os.getpid(), signal.SIGXCPU)  # nothing to see on this machine
        while True:
            pass

    assert in_child(life) == "killed by SIGXCPU"


def test_a_lower_limit_of_the_units_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_setscheduler", lambda *_: None)
    monkeypatch.setattr(os, "sched_getscheduler", lambda _: os.SCHED_RR)

    def life() -> list[int]:
        resource.setrlimit(resource.RLIMIT_RTTIME, (500_000, 500_000))
        take_turn("one", Mode.BEST_EFFORT, Turn.REALTIME)
        return seen()

    assert in_child(life)[2] == 500_000


def test_a_class_that_was_set_and_does_not_hold_ends_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_setscheduler", lambda *_: None)
    assert "scheduling was set and does not hold" in taken(Turn.LATER)


def test_the_setting_decides_for_who_signs() -> None:
    assert turn_of_signing(realtime=True) is Turn.REALTIME
    assert turn_of_signing(realtime=False) is Turn.FIRST
