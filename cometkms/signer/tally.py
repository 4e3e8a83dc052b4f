"""What one chain's signer has signed, kind by kind, and the heights that it missed while it led.
Sans-I/O, constant memory.

A height is missed if this signer, holding the lease all the time, signed the same kind of vote
below it and above it, and none at it. Before its first signature under a lease nothing counts as
missed: another node may have signed.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cometkms.board.sections import VoteReport
from cometkms.model import HRS

#: The kinds by the step of their places (privval/file.go).
KINDS: Final = {1: "proposal", 2: "prevote", 3: "precommit"}
_PRECOMMIT: Final = 3


class Missed(StrEnum):
    """Why a height has no precommit, as far as the signer can tell."""

    UNANSWERED = "unanswered"  # it was asked and answered empty: no majority, no leader
    # nobody asked, and a validator's connection was made anew in between
    VALIDATOR_AWAY = "validator_away"
    NOT_ASKED = "not_asked"  # nobody asked over connections that stood


@dataclass(slots=True)
class KindTally:
    """One kind of vote. `at`: UNIX seconds of the last signature. `missed_last`: heights between
    the last two."""

    signed: int = 0
    height: int = 0
    round: int = 0
    at: float | None = None
    missed: int = 0
    missed_last: int = 0

    def report(self) -> VoteReport:
        """Return what the status board shows: cometkms/board/sections.py, VoteReport."""
        return VoteReport(
            signed=self.signed,
            height=self.height,
            round=self.round,
            at=self.at,
            missed=self.missed,
            missed_last=self.missed_last,
        )


class Tally:
    """Told of every signature after it left, in their order."""

    def __init__(self) -> None:
        self.kinds = {step: KindTally() for step in KINDS}
        self.missed = dict.fromkeys(Missed, 0)
        self._before: dict[int, int] = {}  # height of the last signature of a kind under this lease
        self._unanswered = 0  # heights since the last precommit …
        self._unanswered_at = 0  # … and the highest of them
        self._reconnected = False

    def on_signed(self, hrs: HRS, at: float) -> None:
        """A signature was made and answered."""
        kind = self.kinds[hrs.step]
        before = self._before.get(hrs.step, hrs.height)
        kind.missed_last = max(0, hrs.height - before - 1)
        kind.missed += kind.missed_last
        kind.signed += 1
        kind.height, kind.round, kind.at = hrs.height, hrs.round, at
        self._before[hrs.step] = hrs.height
        if hrs.step == _PRECOMMIT:
            self._tell_apart(hrs.height, kind.missed_last)

    def _tell_apart(self, height: int, missed: int) -> None:
        """Why so many heights below `height` have no precommit."""
        unanswered = min(missed, self._unanswered - (self._unanswered_at == height))
        self.missed[Missed.UNANSWERED] += unanswered
        self.missed[Missed.VALIDATOR_AWAY if self._reconnected else Missed.NOT_ASKED] += missed - unanswered
        self._unanswered, self._reconnected = 0, False

    def on_unanswered(self, hrs: HRS) -> None:
        """A request was answered empty; the validator may ask again."""
        if hrs.height > self._unanswered_at:
            self._unanswered += 1
            self._unanswered_at = hrs.height

    def on_connected(self) -> None:
        """A validator's connection begins."""
        self._reconnected = True

    def on_lease_lost(self) -> None:
        """What happens from here on is another node's, until this one signs again."""
        self._before.clear()
        self._unanswered, self._reconnected = 0, False
