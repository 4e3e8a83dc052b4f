"""Whether this node is of use as a leader: its signer lives, and reaches a validator.

Else it hands over. Sans-I/O.

| while it leads …                                                | it …                                                            |
|-----------------------------------------------------------------|-----------------------------------------------------------------|
| the signer's process was replaced                               | hands over at once                                              |
| the signer's loop is silent for SIGNER_SILENT_S                 | hands over, and has the process replaced                        |
| … and nobody can take over, for SIGNER_REPLACE_S                | has the process replaced                                        |
| no validator is connected for UNREACHED_S                       | says so, and hands over to a member that reaches one, or that   |
|                                                                 | has not said that it does not                                   |

Neither measure may circle. Silence is counted in steps of this process's own loop, each
of SIGNER_STEP_S at most: what holds up the whole machine holds up this loop, too, and
counts little. Each handover for silence doubles the bound for SIGNER_CALM_S. A member
that did not reach a validator says so for a while that doubles, so that with a
validator that is down every member leads once, and then the last one stays. Nothing
here touches a promise: a wrong guess costs a change of leaders.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from cometkms.board.sections import Reach
from cometkms.limits import (
    HAND_OVER_AGAIN_S,
    SIGNER_CALM_S,
    SIGNER_REPLACE_S,
    SIGNER_SILENT_MAX_S,
    SIGNER_SILENT_S,
    SIGNER_STEP_S,
    UNREACHED_AGAIN_MAX_S,
    UNREACHED_AGAIN_S,
    UNREACHED_LOOK_S,
    UNREACHED_S,
)
from cometkms.logger import Logger


class Cause(StrEnum):
    """Why a leader handed over by itself; a label of /metrics."""

    SIGNER_GONE = "signer_gone"
    SIGNER_SILENT = "signer_silent"
    NO_VALIDATOR = "no_validator"


@dataclass(frozen=True, slots=True)
class UsefulPorts:
    """What the node around it knows and does.

    beat(): the signer's last heartbeat, a number that changes with each; 0 for a process that has
    not beaten yet. reached(): whether a validator is connected here; None where that is not known.
    able(): members that could lead now. says(member): its own Reach. hand_over(member or None):
    whether it begins now. replace_signer(): ask for a new process in the place of one that does not
    move. tell(reach): to the members. happened(cause, to): for the operator.
    """

    beat: Callable[[], int]
    reached: Callable[[], bool | None]
    able: Callable[[], tuple[str, ...]]
    says: Callable[[str], Reach]
    hand_over: Callable[[str | None], bool]
    replace_signer: Callable[[], None]
    tell: Callable[[Reach], None]
    happened: Callable[[Cause, str], None]


class Usefulness:
    """Looked at from the state process's loop while the node leads, and now and then
    when it does not.
    """

    def __init__(self, *, ports: UsefulPorts, clock: Callable[[], float], log: Logger) -> None:
        """`clock`: monotonic seconds."""
        self.counters: dict[str, int] = {}
        self._ports = ports
        self._clock = clock
        self._log = log
        self._looked_at = clock()
        self._beat = 0
        self._silent_s = 0.0
        self._bound_s = SIGNER_SILENT_S
        self._calm_at = 0.0  # then the bound is the usual one again
        self._handed_until = -1e9
        self._said_silent = self._replaced = False
        self._reach = Reach.UNKNOWN
        self._reach_looked_at = -1e9
        self._unreached_since: float | None = None
        self._unreached_times = 0
        self._forget_no_at = 0.0

    @property
    def reach(self) -> Reach:
        """What this node says of itself."""
        return self._reach

    def look(self, *, leads: bool) -> None:
        """`leads`: this node has the lease, and its signer has said hello."""
        now = self._clock()
        step_s, self._looked_at = min(now - self._looked_at, SIGNER_STEP_S), now
        self._look_at_signer(leads, step_s, now)
        if now - self._reach_looked_at >= UNREACHED_LOOK_S:
            self._reach_looked_at = now
            self._look_at_validators(leads, now)

    # --- the signer ---

    def _look_at_signer(self, leads: bool, step_s: float, now: float) -> None:
        beat = self._ports.beat()
        if not leads or beat != self._beat:
            self._beat, self._silent_s = beat, 0.0
            if not leads or beat:
                self._said_silent = self._replaced = False
                return
        self._silent_s += step_s
        if now >= self._calm_at:
            self._bound_s = SIGNER_SILENT_S
        if beat and self._silent_s < self._bound_s:
            return
        cause = Cause.SIGNER_SILENT if beat else Cause.SIGNER_GONE
        if not self._said_silent:
            self._said_silent = True
            self._log.warning(
                "the signer does not move" if beat else "the signer's process ended",
                silent_ms=int(self._silent_s * 1000),
            )
        handed = self._hand_over(None, now)
        if handed:
            self._count(cause, "")
        if beat and not self._replaced and (handed or self._silent_s >= SIGNER_REPLACE_S):
            # Its connections must close, or the validators wait for it; and when it goes on, it
            # must not be in the way.
            self._replaced = True
            self._bound_s = min(self._bound_s * 2, SIGNER_SILENT_MAX_S)
            self._calm_at = now + SIGNER_CALM_S
            self._ports.replace_signer()

    # --- the validators ---

    def _look_at_validators(self, leads: bool, now: float) -> None:
        if not leads:
            self._unreached_since = None
            if self._reach is Reach.NO and now >= self._forget_no_at:
                self._say(Reach.UNKNOWN)
            return
        reached = self._ports.reached()
        if reached is None:
            return
        if reached:
            self._unreached_since, self._unreached_times = None, 0
            self._say(Reach.YES)
            return
        if self._unreached_since is None:
            self._unreached_since = now
        if now - self._unreached_since < UNREACHED_S:
            return
        if self._reach is not Reach.NO:
            self._forget_no_at = now + min(UNREACHED_AGAIN_S * 2**self._unreached_times, UNREACHED_AGAIN_MAX_S)
            self._unreached_times = min(self._unreached_times + 1, 16)
            self._say(Reach.NO)
        self._leave_to_whoever_reaches_one(now - self._unreached_since)

    def _leave_to_whoever_reaches_one(self, unreached_s: float) -> None:
        able = sorted(self._ports.able(), key=lambda name: (self._ports.says(name) is not Reach.YES, name))
        for name in able:
            if self._ports.says(name) is not Reach.NO and self._hand_over(name, self._clock()):
                self._log.warning(
                    "no validator is reached from here", for_s=round(unreached_s, 1), handing_over_to=name
                )
                self._count(Cause.NO_VALIDATOR, name)
                return

    def _hand_over(self, to: str | None, now: float) -> bool:
        """One that is under way is given its time."""
        if now < self._handed_until or not self._ports.hand_over(to):
            return False
        self._handed_until = now + HAND_OVER_AGAIN_S
        return True

    def _say(self, reach: Reach) -> None:
        if reach is self._reach:
            return
        self._reach = reach
        if reach is Reach.NO:
            self._log.warning("no validator is reached from here", for_s=UNREACHED_S)
        self._ports.tell(reach)

    def _count(self, cause: Cause, to: str) -> None:
        self.counters[cause] = self.counters.get(cause, 0) + 1
        self._ports.happened(cause, to)
