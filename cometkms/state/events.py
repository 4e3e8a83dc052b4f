"""What happened to a node lately, each event with its own time, for the status page.

Bounded; no I/O.

The page of another process looks a few times a second; what a failover took is told
from the times here.
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Unpack

from cometkms.board.sections import EventFields, EventKind, EventReport
from cometkms.limits import EVENTS_KEPT
from cometkms.model import HRS


class StateEvents:
    """The newest EVENTS_KEPT, and when each row's last signature was learned."""

    def __init__(
        self, *, wall_clock: Callable[[], float], clock: Callable[[], float], on_event: Callable[[], None]
    ) -> None:
        """`clock`: monotonic seconds, of which durations are made.

        `on_event`: the board should follow soon.
        """
        self._wall_clock = wall_clock
        self._clock = clock
        self._on_event = on_event
        self._events: deque[EventReport] = deque(maxlen=EVENTS_KEPT)
        # by row: wall clock, monotonic, height
        self._signed: dict[int, tuple[float, float, int]] = {}
        self._unproven: set[int] = set()  # rows without a signature since the leader changed
        self._leader: tuple[str | None, int] | None = None
        self._states: dict[str, str] = {}

    def add(self, what: EventKind, **fields: Unpack[EventFields]) -> None:
        """Remember it. A leader that is told twice is one event."""
        if what == EventKind.LEADER:
            told = (fields.get("leader"), fields.get("term", 0))
            if told == self._leader or (self._leader is not None and told[0] is None is self._leader[0]):
                return  # elections in vain have terms, too
            if self._leader is not None and told[0] != self._leader[0]:
                self._unproven = set(self._signed)
            self._leader = told
        self._events.append({"at": round(self._wall_clock(), 4), "what": what, **fields})
        self._on_event()

    def on_signed(self, row: int, chain_id: str, hrs: HRS) -> None:
        """A signature was learned. The first one under another leader says how long there was none."""
        now = (self._wall_clock(), self._clock(), hrs.height)
        before = self._signed.get(row)
        self._signed[row] = now
        if row in self._unproven and before is not None:
            self._unproven.discard(row)
            self.add(
                EventKind.SIGNED_AGAIN,
                chain=chain_id,
                height=hrs.height,
                last_height=before[2],
                last_at=round(before[0], 4),
                gap_ms=round((now[1] - before[1]) * 1000, 1),
            )

    def signed_at(self, row: int) -> float | None:
        """UNIX seconds at which the row's last signature was learned; None: this
        process learned of none.
        """
        signed = self._signed.get(row)
        return round(signed[0], 4) if signed is not None else None

    def signed_at_mono(self, row: int) -> float | None:
        """The same moment by the monotonic clock."""
        signed = self._signed.get(row)
        return signed[1] if signed is not None else None

    def see_states(self, me: str, states: Mapping[str, str | None]) -> None:
        """Compare every member's state with what it was."""
        for name, state in states.items():
            if state is None or self._states.get(name) == state:
                continue
            self._states[name] = state
            if name == me:
                self.add(EventKind.NODE_STATE, state=state)
            else:
                self.add(EventKind.PEER_STATE, peer=name, state=state)

    def document(self) -> list[EventReport]:
        """Oldest first."""
        return list(self._events)
