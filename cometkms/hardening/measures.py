"""What became of each protection of a process: said in the log, on the status board, in /status.

    on            it holds, and that was tried or read back from the kernel
    off           not asked for: by a setting, or by the way the node was started
    unavailable   asked for, and this kernel (or the container around it) does not have it

One that the kernel has and that does not hold is none of the three: the process must not start
(HardeningError).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypedDict

from cometkms.errors import HardeningError
from cometkms.logger import Logger


class State(StrEnum):
    """Name what became of a measure."""

    ON = "on"
    OFF = "off"
    UNAVAILABLE = "unavailable"


class Mode(StrEnum):
    """The setting `hardening`."""

    OFF = "off"
    BEST_EFFORT = "best-effort"
    REQUIRED = "required"


class MeasureReport(TypedDict, total=False):
    """A Measure on the status board."""

    process: str
    measure: str
    state: str
    why: str


@dataclass(frozen=True, slots=True)
class Measure:
    """`why`: what exactly holds, or why it does not."""

    process: str
    measure: str
    state: State
    why: str

    def document(self) -> MeasureReport:
        """Return what the status board shows; cometkms/board/sections.py has its fields."""
        return MeasureReport(process=self.process, measure=self.measure, state=self.state.value, why=self.why)


def tell(log: Logger, measures: Iterable[Measure]) -> None:
    """Log once, at the start, what holds in a line, and a line for each that this kernel lacks."""
    known = list(measures)
    for one in known:
        if one.state is State.UNAVAILABLE:
            log.warning("protection unavailable", measure=one.measure, why=one.why)
    by_state = {state.value: [one.measure for one in known if one.state is state] for state in (State.ON, State.OFF)}
    log.info("shut off", **{state: tuple(names) for state, names in by_state.items() if names})


class UnavailableError(Exception):
    """The kernel does not have it; the text says how that is known."""


def check_required(mode: Mode, measures: Iterable[Measure]) -> None:
    """Raises: HardeningError under `required` for what is unavailable."""
    lacking = [one for one in measures if one.state is State.UNAVAILABLE]
    if mode is Mode.REQUIRED and lacking:
        told = "; ".join(f"{one.process} {one.measure}: {one.why}" for one in lacking)
        raise HardeningError(
            f'hardening = "required", and not all of it is to be had here. {told}',
            cure='a kernel or container that has it, or "best-effort"',
        )


def not_effective(measure: str, seen: str) -> HardeningError:
    """The kernel took it and it does not hold."""
    return HardeningError(
        f"{measure} was set and does not hold ({seen}), so the process does not start",
        cure='report it with kernel version and container; until then hardening = "off"',
    )
