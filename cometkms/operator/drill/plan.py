"""A drill's steps, sans-I/O: fed with views of the cluster, it says which order to give next and
measures what came of it.

    WATCH ── the pace is known ──▶ ORDER ── obeyed ──▶ CHANGE ── another leads, or it was restarted ──▶ GATHER
                                     ▲                                                                    │ everybody is complete
                                     └──────────────────────── signatures come again ◀── SIGN ◀──────────┘
    any ── its time is up, or the operator stops it ──▶ the last step: the leadership goes back ──▶ DONE

Two kinds of step: the leadership is handed to another node; the leader is stopped and started. This
node watches, so it is not restarted, and is only handed the leadership when nobody else is left.
Every phase has a deadline.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice, pairwise
from typing import Final

from cometkms.model import Step
from cometkms.operator.drill.view import Seen, View

WATCH_HEIGHTS: Final = 3  # of each chain, before anything is done
SIGN_HEIGHTS: Final = 2  # of each chain, after each step
ORDER_AGAIN_S: Final = 0.5  # a refused order is given again: a peer may be a moment behind
SEEN_MAX: Final = 50_000  # hours of blocks; a drill has minutes
MISSED_MAX: Final = 1000  # heights that are listed
TRIES: Final = 3  # of a hand-over that nobody took
_TRANSFER_AGAIN_S: Final = 3.0
_MISSED_SHOWN: Final = 10


class Phase(StrEnum):
    """Name a phase of the drill's picture at the head of this module."""

    WATCH = "watch"
    ORDER = "order"
    CHANGE = "change"
    GATHER = "gather"
    SIGN = "sign"
    DONE = "done"


TRANSITIONS: Final[dict[Phase, frozenset[Phase]]] = {
    Phase.WATCH: frozenset({Phase.ORDER, Phase.DONE}),
    Phase.ORDER: frozenset({Phase.CHANGE, Phase.ORDER, Phase.DONE}),
    Phase.CHANGE: frozenset({Phase.GATHER, Phase.ORDER, Phase.DONE}),
    Phase.GATHER: frozenset({Phase.SIGN, Phase.ORDER, Phase.DONE}),
    Phase.SIGN: frozenset({Phase.ORDER, Phase.DONE}),
    Phase.DONE: frozenset(),
}

#: Seconds. ORDER: a leader that has only begun refuses to restart for DRILL_UPTIME_S. WATCH, SIGN:
#: blocks may take long.
PATIENCE_S: Final[dict[Phase, float]] = {
    Phase.WATCH: 120.0,
    Phase.ORDER: 20.0,
    Phase.CHANGE: 30.0,
    Phase.GATHER: 60.0,
    Phase.SIGN: 120.0,
}
_WAITED_FOR: Final[dict[Phase, str]] = {
    Phase.WATCH: f"{WATCH_HEIGHTS} heights of each chain",
    Phase.ORDER: "the order to be obeyed",
    Phase.CHANGE: "another leader",
    Phase.GATHER: "every member to be complete",
    Phase.SIGN: "signatures",
}


class Kind(StrEnum):
    """`BACK`: a hand-over to whom led at the beginning."""

    TRANSFER = "transfer"
    RESTART = "restart"
    BACK = "back"


@dataclass(frozen=True, slots=True)
class Command:
    """An order to be given: `to` is who shall lead; "" for a restart."""

    kind: Kind
    to: str


@dataclass(slots=True)
class StepReport:
    """One step as it went. Times are the watching node's monotonic seconds. `gap_s`: the longest
    time without a signature in it."""

    kind: Kind
    leader: str
    to: str
    began_at: float
    ended_at: float = 0.0
    gap_s: float | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What was seen signed of a chain. `missed`: heights without any; `no_precommit`: heights
    without that one, where it can be told. `untold`: heights without it behind which another node
    led; what a leader signs last may reach nobody but the validator."""

    chain_id: str
    first: int
    last: int
    missed: tuple[int, ...]
    no_precommit: tuple[int, ...]
    untold: tuple[int, ...]

    @property
    def note(self) -> str:
        """Say what cannot be told; "" when all can."""
        if not self.untold:
            return ""
        return (
            f"{self.chain_id}: whether {_heights(self.untold)} has its precommit is not known here: another node led "
            f"behind it; cure: --rpc URL"
        )

    @property
    def problem(self) -> str:
        """Say what went wrong; "" when every height was signed."""
        if self.missed:
            return f"{self.chain_id}: nothing was seen signed at {_heights(self.missed)}"
        if self.no_precommit:
            return f"{self.chain_id}: no precommit was seen at {_heights(self.no_precommit)}"
        return ""


def _heights(numbers: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, numbers[:_MISSED_SHOWN]))
    return f"{shown} and {len(numbers) - _MISSED_SHOWN} more" if len(numbers) > _MISSED_SHOWN else shown


@dataclass(slots=True)
class Drill:
    """One drill. Feed every view to on_view(), give what command() says, tell the outcome to
    on_order()."""

    first: View
    rounds: int
    home: str = ""  # who led at the beginning
    phase: Phase = Phase.WATCH
    reports: list[StepReport] = field(default_factory=list)
    problem: str = ""
    interrupted: bool = False
    usual_s: float | None = None
    lost_sight: bool = False  # signatures were forgotten by the node before they were read
    last: View = field(init=False)
    _steps: deque[Kind] = field(init=False)
    _seen: deque[Seen] = field(init=False)
    _since: float = field(init=False)
    _sign_from: dict[int, int] = field(init=False, default_factory=dict)
    _order_at: float = field(init=False, default=0.0)
    _command: Command | None = field(init=False, default=None)
    _connects: int = field(init=False, default=0)
    _tries: int = field(init=False, default=0)
    _refusal: str = field(init=False, default="")
    _reliable: frozenset[int] = field(init=False, default=frozenset())

    def __post_init__(self) -> None:
        self.last = self.first
        self.home = self.first.leader or ""
        self._steps = deque([Kind.TRANSFER, Kind.RESTART] * self.rounds + [Kind.BACK])
        self._seen = deque(maxlen=SEEN_MAX)
        self._since = self.first.now

    # --- what happens ---

    def on_view(self, view: View) -> None:
        """The newest view: perhaps the phase is over."""
        self.lost_sight = self.lost_sight or view.oldest > self.last.next
        self.last = view
        self._seen.extend(view.signatures)
        if self.phase is Phase.DONE:
            return
        if self._is_over(view):
            self._advance(view)
        elif self._was_not_taken(view):
            self._tries += 1
            self._order_at = view.now
            self._enter(Phase.ORDER)
        elif view.now - self._since > PATIENCE_S[self.phase]:
            why = f": {self._refusal}" if self.phase is Phase.ORDER and self._refusal else ""
            self._fail(f"waited {PATIENCE_S[self.phase]:.0f} s for {_WAITED_FOR[self.phase]}{why}")

    def command(self) -> Command | None:
        """What to order now; None: only watch. Given once until on_order() tells its outcome."""
        if self.phase is not Phase.ORDER or self._command is None or self.last.now < self._order_at:
            return None
        self._order_at = float("inf")
        return self._command

    def on_order(self, why: str) -> None:
        """The outcome of the command: "" obeyed; else it is given again until the deadline."""
        if self.phase is not Phase.ORDER:
            return
        self._refusal = why
        if why:
            self._order_at = self.last.now + ORDER_AGAIN_S
        else:
            self._enter(Phase.CHANGE)

    def interrupt(self) -> None:
        """The operator wants to stop: no step begins any more but the last; what is under way is
        seen through."""
        if self.interrupted:
            return
        self.interrupted = True
        self._steps = deque([Kind.BACK])
        if self.phase is Phase.WATCH or (self.phase is Phase.ORDER and self._order_at != float("inf")):
            if self.reports and self.phase is Phase.ORDER:
                self.reports.pop()
            self._next_step(self.last)

    # --- phases ---

    def _enter(self, phase: Phase) -> None:
        if phase not in TRANSITIONS[self.phase]:
            raise ValueError(f"a drill cannot go from {self.phase} to {phase}")
        self.phase = phase
        self._since = self.last.now
        if phase is Phase.SIGN:
            self._sign_from = {chain: self._top(chain) for chain in range(len(self.last.chains))}

    def _is_over(self, view: View) -> bool:
        match self.phase:
            case Phase.WATCH:
                return all(len(self._heights_of(chain)) > WATCH_HEIGHTS for chain in range(len(view.chains)))
            case Phase.CHANGE:
                return self._has_changed(view)
            case Phase.GATHER:
                return not view.missing and view.leader is not None
            case Phase.SIGN:
                done = all(self._top(chain) >= top + SIGN_HEIGHTS for chain, top in self._sign_from.items())
                return view.leader is not None and (done or self.interrupted)
            case _:
                return False

    def _was_not_taken(self, view: View) -> bool:
        """A hand-over that was obeyed, and the leader leads on."""
        if self.phase is not Phase.CHANGE or self.reports[-1].kind is Kind.RESTART or self._tries >= TRIES:
            return False
        return view.leader == self.reports[-1].leader and view.now - self._since > _TRANSFER_AGAIN_S

    def _has_changed(self, view: View) -> bool:
        step = self.reports[-1]
        if step.kind is Kind.RESTART:
            return view.member(step.leader).connects > self._connects and view.leader is not None
        return view.leader == step.to

    def _advance(self, view: View) -> None:
        match self.phase:
            case Phase.WATCH:
                self.usual_s = self._longest_pause(float("-inf"), float("inf"))
                self._reliable = frozenset(
                    chain for chain in range(len(view.chains)) if not any(self._without_precommit(chain))
                )
                self._next_step(view)
            case Phase.CHANGE:
                self._enter(Phase.GATHER)
            case Phase.GATHER:
                self._enter(Phase.SIGN)
            case Phase.SIGN:
                self._end_step(view, "")
                self._next_step(view)
            case _:
                raise ValueError(f"{self.phase} is over when it is told so")

    def _end_step(self, view: View, problem: str) -> None:
        step = self.reports[-1]
        step.ended_at, step.problem = view.now, problem
        step.gap_s = self._longest_pause(step.began_at, view.now)
        if step.kind is Kind.RESTART:
            step.to = view.leader or ""

    def _next_step(self, view: View) -> None:
        while self._steps:
            kind = self._steps.popleft()
            leader = view.leader or ""
            if kind is Kind.BACK and leader == self.home:
                continue
            # not the one that watches: another leads first
            if kind is Kind.RESTART and leader == view.me:
                self._steps.appendleft(kind)
                kind = Kind.TRANSFER
            to = self.home if kind is Kind.BACK else "" if kind is Kind.RESTART else choose(view, leader)
            self._command = Command(kind, to)
            self._order_at, self._refusal, self._tries = view.now, "", 1
            self._connects = view.member(leader).connects if leader else 0
            self.reports.append(StepReport(kind, leader, to, view.now))
            self._enter(Phase.ORDER)
            return
        self._enter(Phase.DONE)

    def _fail(self, why: str) -> None:
        """The step failed: the last one is tried, once."""
        if self.phase is Phase.WATCH:
            self.problem = why
            self._enter(Phase.DONE)
            return
        step = self.reports[-1]
        self._end_step(self.last, why)
        self.problem = self.problem or f"{step.kind} of {step.leader}: {why}"
        self._steps = deque() if step.kind is Kind.BACK else deque([Kind.BACK])
        self._next_step(self.last)

    # --- what was seen ---

    def _of(self, chain: int) -> Iterable[Seen]:
        return (one for one in self._seen if one.chain == chain)

    def _top(self, chain: int) -> int:
        return max((one.hrs.height for one in self._of(chain)), default=0)

    def _heights_of(self, chain: int) -> list[int]:
        return sorted({one.hrs.height for one in self._of(chain)})

    def _longest_pause(self, since: float, until: float) -> float | None:
        """Between two signatures of one chain, of the pauses that touch the time between `since`
        and `until`."""
        longest = None
        for chain in range(len(self.last.chains)):
            times = [one.at for one in self._of(chain)]
            for before, after in pairwise(times):
                if after > since and before < until:
                    longest = max(longest or 0.0, after - before)
        return longest

    def _without_precommit(self, chain: int) -> tuple[list[int], list[int]]:
        """Heights that were left behind without one, and those of them behind which another node
        led. The first seen may have begun before, the last may not be over."""
        seen = sorted(self._of(chain), key=lambda one: one.hrs)
        signed = {one.hrs.height for one in seen if one.hrs.step == Step.PRECOMMIT}
        by = {one.hrs.height: one.by for one in seen}  # its last
        then = {one.hrs.height: one.by for one in reversed(seen)}  # its first
        silent: list[int] = []
        untold: list[int] = []
        for height, following in pairwise(self._heights_of(chain)[1:]):
            if height not in signed:
                (silent if by[height] == then[following] else untold).append(height)
        return silent, untold

    def chain_reports(self) -> list[ChainReport]:
        """Every height between the first and the last that was seen, of each chain."""
        found = []
        for number, name in enumerate(self.last.chains):
            heights = self._heights_of(number)
            first, last = (heights[0], heights[-1]) if heights else (0, 0)
            missed = tuple(islice(_between(heights), MISSED_MAX))
            silent, untold = self._without_precommit(number) if number in self._reliable else ([], [])
            found.append(ChainReport(name, first, last, missed, tuple(silent), tuple(untold)))
        return found


def _between(heights: list[int]) -> Iterable[int]:
    """The numbers that are not in the sorted list, from its first to its last."""
    for before, after in pairwise(heights):
        yield from range(before + 1, after)


def choose(view: View, leader: str) -> str:
    """Who shall lead next: another than the leader, and than the one that watches, if there is
    one."""
    others = sorted(one.id for one in view.members if one.id not in (leader, view.me))
    return others[0] if others else view.me


def planned(view: View, rounds: int) -> list[str]:
    """The steps in words, as they would be now."""
    leader = view.leader or "nobody"
    lines = []
    current = leader
    for _ in range(rounds):
        to = choose(view, current)
        lines.append(f"{current} hands the leadership to {to}")
        if to == view.me:
            current, to = to, choose(view, to)
            lines.append(f"{current} hands the leadership to {to}: {current} watches and is not restarted")
        lines.append(f"{to} is stopped and started while it leads; another node takes over")
        current = "whoever leads then"
    lines.append(f"{leader} leads again")
    return lines
