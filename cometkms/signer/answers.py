"""What each validator of a chain got lately: signatures, or one refusal after the other. Pure:
times come from outside.

A node whose connections stand and whose processes run may still sign nothing, because it refuses
whatever it is asked. So each validator's failures are counted in a row: a signature ends the row,
and so does a new lead after a minute, or that the validator was away. What failed is past while it
is away.
"""

from dataclasses import dataclass
from typing import Final

from cometkms.board.sections import FailingReport, ServedReport
from cometkms.limits import FAILING_GONE_S, HUNG_AFTER_S, SIGNED_LATELY_S
from cometkms.model import Reason

#: A signature may be learned of so long after what failed behind it: a loop that stands still for
#: longer is killed. One whose time lies further back was made after the clock was set back.
_LEARNED_LATE_MAX_S: Final = HUNG_AFTER_S


@dataclass(slots=True)
class _Answers:
    """signed_at: UNIX time of the last signature, repeated ones included. A row of failures lasts
    from `since` to `at`; count 0: none."""

    signed_at: float | None = None
    count: int = 0
    since: float = 0.0
    at: float = 0.0
    reason: Reason = Reason.NONE
    why: str = ""


class Answers:
    """Count the answers of one chain by the validator's address."""

    def __init__(self) -> None:
        self._of: dict[str, _Answers] = {}

    def on_signed(self, validator: str, at: float) -> None:
        """It got a signature, at that UNIX time. One that was learned of late does not end what
        failed after it."""
        known = self._of.setdefault(validator, _Answers())
        if not _learned_late(at, known.signed_at or at):
            known.signed_at = at
        if not _learned_late(at, known.at):
            known.count = 0

    def on_failed(self, validator: str, at: float, reason: Reason, why: str) -> None:
        """It got a refusal, or an empty answer."""
        known = self._of.setdefault(validator, _Answers())
        if known.count == 0 or at < known.since:  # … or the clock was set back
            known.since = at
        known.count, known.at, known.reason, known.why = known.count + 1, at, reason, why

    def on_lead(self, at: float) -> None:
        """Begin every row anew whose last failure is long past: another node led meanwhile. Where
        the lead goes round because nobody can serve, it is one row.
        """
        for known in self._of.values():
            if at - known.at >= SIGNED_LATELY_S:
                known.count = 0

    def on_connected(self, validator: str, away_s: float) -> None:
        """Begin its row anew if it was away for long. Else it may be one that reconnects for each
        request, or that restarts because of the refusals."""
        if away_s >= SIGNED_LATELY_S and validator in self._of:
            self._of[validator].count = 0

    def document(self, validator: str, away_s: float) -> ServedReport:
        """Return what the status board shows: board/sections.py, ValidatorReport. `away_s`: for how
        long the validator has not been connected; 0: it is."""
        known = self._of.get(validator, _Answers())
        row = FailingReport(
            count=known.count, since=known.since, at=known.at, reason=known.reason.name.lower(), why=known.why
        )
        return ServedReport(signed_at=known.signed_at, failing=row if known.count and away_s < FAILING_GONE_S else None)


def _learned_late(at: float, last: float) -> bool:
    """Whether what has the time `at` came before what has the time `last`, and is told after it."""
    return last - _LEARNED_LATE_MAX_S <= at < last
