"""Who of a node's processes gets a core first. Nothing is taken from anybody here: it decides who
waits when several want to run.

    signer, state, agent           the usual class with the shortest slice (Linux 6.12), so that
                                   they need not wait for another's to end; SCHED_RR at its lowest
                                   priority where `realtime` asks for it and the unit grants it
    audit, api, writer, dialer     SCHED_BATCH, and nicer by NICER: they push nobody aside who runs,
                                   and a woken signer pushes them aside
    supervisor                     SCHED_BATCH: its nice value would be its children's for good

A small share, not SCHED_IDLE: on a machine whose cores are all taken that class leaves a process a
third of a percent of a core, by which a start, half a second of work, would take minutes. A tenth
of a core is enough for all that these do, and a woken signer waits for them no longer than it would
with SCHED_IDLE (docs/PERFORMANCE.md). Neither could be undone without a right once it is noticed.

A real-time process that never sleeps would keep everything else of the machine waiting.
RLIMIT_RTTIME is the bound: the kernel ends one that ran for REALTIME_MAX_S without a pause
(SIGXCPU), and the supervisor starts it again.
"""

import ctypes
import os
import platform
import resource
from enum import Enum
from typing import Final

from cometkms.errors import said
from cometkms.hardening import kernel
from cometkms.hardening.measures import Measure, Mode, State, check_required, not_effective
from cometkms.hardening.syscalls import MACHINES, SCHEDULING, numbers
from cometkms.limits import NICER, REALTIME_MAX_S, SLICE_NS

MEASURE: Final = "scheduling"
_PRIORITY: Final = os.sched_get_priority_min(os.SCHED_RR)
_ONE_S_US: Final = 1_000_000


class Turn(Enum):
    """Say when a process runs, where several want to."""

    FIRST = "a validator waits for it"
    REALTIME = "a validator waits for it, and the operator asked for more"
    LATER = "nobody waits for it"
    PARENT = "nobody waits for it, and who does is forked from it"


class _Attributes(ctypes.Structure):
    """struct sched_attr of linux/sched/types.h, its first version. runtime: of SCHED_OTHER its
    slice, nanoseconds, 0: the kernel's."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    )


def turn_of_signing(*, realtime: bool) -> Turn:
    """The signer's and the state process's."""
    return Turn.REALTIME if realtime else Turn.FIRST


def take_turn(process: str, mode: Mode, turn: Turn) -> Measure:
    """Set the scheduling class of the process that calls, and of what it forks afterwards unless
    that is the real-time class.

    Call it before the process becomes another user.

    Raises: HardeningError for a class that was set and does not hold, and under `required` for a
    real-time one that is not to be had.
    """
    state, why = _take(turn)
    measure = Measure(process, MEASURE, state, why)
    if turn is Turn.REALTIME:  # what an operator asked for; the rest protects nothing
        check_required(mode, [measure])
    return measure


def _take(turn: Turn) -> tuple[State, str]:
    try:
        if turn in (Turn.FIRST, Turn.REALTIME):
            # not the supervisor's, which was inherited
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        if turn is Turn.FIRST:
            return _short_slice()
        if turn is Turn.REALTIME:
            return State.ON, _realtime()
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        nice = os.nice(NICER if turn is Turn.LATER else 0)
    except OSError as error:
        return State.UNAVAILABLE, _why_not(turn, error)
    _check(os.SCHED_BATCH)
    return State.ON, f"SCHED_BATCH, nice {nice}: the signer and the state process come first"


def _short_slice() -> tuple[State, str]:
    """The scheduler lets a woken process with a shorter slice push aside who runs in a longer
    one."""
    why = "realtime = false: the usual class"
    machine = MACHINES.get(platform.machine())
    if machine is None:
        return State.OFF, f"{why}; the calls for a slice are not known on {platform.machine()}"
    calls = numbers(SCHEDULING, machine)
    wanted = _Attributes(ctypes.sizeof(_Attributes), os.SCHED_OTHER, 0, os.nice(0), 0, SLICE_NS, 0, 0)
    seen = _Attributes()
    try:
        kernel.syscall(calls["sched_setattr"], 0, ctypes.byref(wanted), 0)
        kernel.syscall(calls["sched_getattr"], 0, ctypes.byref(seen), ctypes.sizeof(seen), 0)
    except OSError as error:
        return State.OFF, f"{why}; no slice of its own: {said(error)}"
    if seen.runtime != SLICE_NS:
        return State.OFF, f"{why}; this kernel has no slices (Linux 6.12)"
    return State.ON, f"{why}, with a slice of {SLICE_NS / 1e6:g} ms: it waits for nobody's longer one"


def _realtime() -> str:
    """Children and threads begin in the usual class. The bound first: never the class without it.
    Raises: OSError."""
    hard = resource.getrlimit(resource.RLIMIT_RTTIME)[1]
    wanted = int(REALTIME_MAX_S * _ONE_S_US)
    bound = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_RTTIME, (bound, hard))
    os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(_PRIORITY))
    _check(os.SCHED_RR)
    return f"SCHED_RR, priority {_PRIORITY}, at most {bound / _ONE_S_US:g} s without a pause"


def _check(wanted: int) -> None:
    """Raises: HardeningError."""
    seen = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK
    if seen != wanted:
        raise not_effective(MEASURE, f"the class is {seen}, not {wanted}")


def _why_not(turn: Turn, error: OSError) -> str:
    words = error.strerror or str(error)
    if turn is not Turn.REALTIME:
        return f"SCHED_BATCH: {words}"
    return (
        f"realtime = true, and the kernel says: {words}; cure: LimitRTPRIO={_PRIORITY} and RestrictRealtime=no in the unit "
        "(packaging/systemd/cmkms.service.d/realtime.conf), CAP_SYS_NICE in a container; or realtime = false"
    )
