"""The clock.

Nothing that is signed depends on it, and logs of several machines can be read together only when
theirs agree.
"""

import ctypes
import os
from dataclasses import dataclass
from typing import Final

from cometkms.operator.doctor.finding import Finding, note, ok, warn

AREA: Final = "clock"
PEER_OFFSET_MAX_MS: Final = 1000.0
RPC_OFFSET_MAX_S: Final = 2.0  # a Date header has whole seconds
BLOCK_AHEAD_MAX_S: Final = 10.0  # a block's time is a median of validators' clocks
_TIME_ERROR: Final = 5
_CURE: Final = "a time service (chrony, systemd-timesyncd) on every machine"


class _Timex(ctypes.Structure):
    """struct timex of adjtimex(2), up to what is read here; the kernel writes all of it."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 512),
    )


@dataclass(frozen=True, slots=True)
class KernelClock:
    """adjtimex(2)'s word. `max_error_ms`: how wrong the clock may be."""

    synchronised: bool
    max_error_ms: float


def read_kernel_clock() -> KernelClock:
    """Read only (modes 0). Raises: OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    timex = _Timex()
    state = libc.adjtimex(ctypes.byref(timex))
    if state < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return KernelClock(state != _TIME_ERROR, timex.maxerror / 1000)


def judge_kernel_clock(clock: KernelClock | None, why: str = "") -> Finding:
    """`clock` None: it could not be read, and `why`."""
    if clock is None:
        return note(AREA, f"whether the clock is synchronised cannot be read here: {why}")
    if not clock.synchronised:
        return note(
            AREA, "the kernel says that the clock is not synchronised; nothing signed depends on it, logs do", _CURE
        )
    return ok(AREA, f"synchronised, wrong by {clock.max_error_ms:.0f} ms at most")


def judge_peer_clocks(offsets_ms: dict[str, float]) -> list[Finding]:
    """`offsets_ms`: how far each connected member's clock is ahead of ours, as the
    pings measure it.
    """
    if not offsets_ms:
        return []
    far = {name: ahead for name, ahead in offsets_ms.items() if abs(ahead) > PEER_OFFSET_MAX_MS}
    if far:
        return [
            warn(
                AREA, f"{name}'s clock is {abs(ahead) / 1000:.1f} s {'ahead of' if ahead > 0 else 'behind'} ours", _CURE
            )
            for name, ahead in sorted(far.items())
        ]
    worst = max(offsets_ms.values(), key=abs)
    return [ok(AREA, f"the other nodes' clocks agree with ours within {abs(worst):.1f} ms")]


def judge_chain_clock(offset_s: float | None, block_time_s: float, now_s: float) -> list[Finding]:
    """`offset_s`: the RPC node's clock ahead of ours, None where it does not tell.

    `block_time_s`: of the newest block.
    """
    found = []
    if offset_s is not None and abs(offset_s) > RPC_OFFSET_MAX_S:
        where = "ahead of" if offset_s > 0 else "behind"
        found.append(warn(AREA, f"the RPC node's clock is {abs(offset_s):.1f} s {where} ours", _CURE))
    if block_time_s - now_s > BLOCK_AHEAD_MAX_S:
        ahead = block_time_s - now_s
        found.append(warn(AREA, f"the newest block's time is {ahead:.0f} s in our future: our clock is behind", _CURE))
    return found
