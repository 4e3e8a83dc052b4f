"""Which alerts are to be sent, and when. Pure: the alerts and two clocks come from outside.

    raised now, not told ──▶ a notice "raised" waits      told, not raised any more ──▶ a notice "over" waits
    notices wait, none on the way ──▶ the oldest WEBHOOK_BATCH_MAX leave together ──▶ delivered: they are gone
                                                                        └▶ failed: they wait, longer each time (back-off)

A notice that finds WEBHOOK_WAITING_MAX others waiting drops the oldest, and one that waited for
WEBHOOK_KEEP_S is dropped: both are counted, and the next request says how many. A notice may arrive
twice (the receiver took it, and its answer was lost), never out of order.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cometkms.limits import (
    ALERTS_TOLD_MAX,
    WEBHOOK_BATCH_MAX,
    WEBHOOK_KEEP_S,
    WEBHOOK_RETRY_AFTER_MAX_S,
    WEBHOOK_RETRY_MAX_S,
    WEBHOOK_RETRY_MIN_S,
    WEBHOOK_TEXT_MAX_CHARS,
    WEBHOOK_WAITING_MAX,
)

#: An alert that only this process can raise: nobody says what is wrong on this node.
UNKNOWN: Final = "alerts_unknown"
#: It would tell of itself.
NOT_SENT: Final = frozenset({"webhook_failing"})
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Notice:
    """One alert that was raised, or is over. since, at: UNIX seconds at which it was raised, and at
    which this was seen."""

    raised: bool
    name: str
    subject: str
    what: str
    cure: str
    since: float
    at: float

    @property
    def key(self) -> Key:
        """Return the key of its episode."""
        return (self.name, self.subject)


def notice_of(alert: Mapping[str, Any], at: float, *, raised: bool) -> Notice:
    """Read an alert's entry on the status board, which is another process's word, cut to size."""
    name, subject, what, cure = (
        str(alert.get(key, ""))[:WEBHOOK_TEXT_MAX_CHARS] for key in ("name", "subject", "what", "cure")
    )
    since = alert.get("since")
    return Notice(raised, name, subject, what, cure, float(since) if isinstance(since, int | float) else at, at)


def unknown_alert(since: float, why: str) -> dict[str, Any]:
    """What is said when the process that looks for alerts is away. since: UNIX seconds."""
    return {
        "name": UNKNOWN,
        "subject": "",
        "since": since,
        "what": f"what is wrong on this node is not known: {why}",
        "cure": "`cmkms status` on its machine; the node's log says why the api process is away, and it is started again by itself",
    }


@dataclass(slots=True)
class Outbox:
    """What waits, and what the receiver has been told. Times are UNIX seconds (`wall`) and
    monotonic ones (`now`)."""

    known: dict[Key, Notice] = field(default_factory=dict)  # raised, and told or waiting to be
    told: dict[Key, Notice] = field(default_factory=dict)  # raised, and delivered
    waiting: deque[Notice] = field(default_factory=deque)
    delivered: int = 0
    failed: int = 0
    dropped: int = 0
    delivered_at: float | None = None
    error: str = ""
    _dropped_untold: int = 0
    _delay_s: float = 0.0
    _next_at: float = 0.0
    _out: int = 0  # notices on the way

    @classmethod
    def heir(cls, told: Iterable[Mapping[str, Any]], wall: float) -> "Outbox":
        """Take over from a process that ended: what it had delivered as raised need not be said
        again, and its end must be."""
        notices = [notice_of(one, wall, raised=True) for one in told]
        return cls(known={one.key: one for one in notices}, told={one.key: one for one in notices})

    def see(self, alerts: Iterable[Mapping[str, Any]], wall: float, *, settled: bool = True) -> None:
        """The alerts that are raised now. settled: whether an alert that is not among them is over,
        or only not known yet."""
        now = [notice_of(alert, wall, raised=True) for alert in alerts]
        raised = {one.key: one for one in now[:ALERTS_TOLD_MAX] if one.name not in NOT_SENT}
        for key, one in raised.items():
            if key not in self.known:
                self.known[key] = one
                self._wait(one)
        for key in [key for key in self.known if key not in raised] if settled else []:
            one = self.known.pop(key)
            self._wait(Notice(False, one.name, one.subject, one.what, one.cure, one.since, wall))

    def _wait(self, notice: Notice) -> None:
        if len(self.waiting) >= WEBHOOK_WAITING_MAX:
            self._drop()
        self.waiting.append(notice)

    def _drop(self) -> None:
        self.waiting.popleft()
        self._out = max(0, self._out - 1)
        self.dropped += 1
        self._dropped_untold += 1

    def batch(self, wall: float, now: float) -> tuple[list[Notice], int] | None:
        """What is to be sent now, and how many were dropped since the last that arrived; None:
        nothing, or not yet."""
        while self.waiting and wall - self.waiting[0].at > WEBHOOK_KEEP_S:
            self._drop()
        if not self.waiting or now < self._next_at:
            return None
        found = list(self.waiting)[:WEBHOOK_BATCH_MAX]
        self._out = len(found)
        return found, self._dropped_untold

    def succeeded(self, batch: Iterable[Notice], dropped: int, wall: float) -> None:
        """The receiver has them. `batch`, `dropped`: what batch() gave."""
        for notice in batch:
            if notice.raised:
                self.told[notice.key] = notice
            else:
                self.told.pop(notice.key, None)
            self.delivered += 1
        for _ in range(self._out):
            self.waiting.popleft()
        self._out, self._delay_s, self._next_at, self.error = 0, 0.0, 0.0, ""
        self._dropped_untold -= dropped
        self.delivered_at = wall

    def did_fail(self, why: str, now: float, retry_after_s: float = 0.0) -> float:
        """They wait on; the seconds until the next attempt. retry_after_s: what the receiver asks
        for."""
        self.failed += 1
        self.error = why
        self._out = 0
        self._delay_s = min(max(WEBHOOK_RETRY_MIN_S, 2 * self._delay_s), WEBHOOK_RETRY_MAX_S)
        delay_s = max(self._delay_s, min(retry_after_s, WEBHOOK_RETRY_AFTER_MAX_S))
        self._next_at = now + delay_s
        return delay_s
