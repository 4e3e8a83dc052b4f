"""A log whose lines of one kind are bounded by time, whoever makes them.

For a process that writes down what others send it.

A kind is an event and whom it is about. LOG_BURST lines of it stand at once, and one more every
LOG_EVERY_S; of what came in between the newest stands then, and how many there were (`alike`). So
nobody fills a disk with refusals or connections, and nothing rare waits.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from cometkms.limits import LOG_BURST, LOG_EVERY_S, LOG_KINDS_MAX
from cometkms.logger import Logger

_ABOUT: Final = (
    "member",
    "peer",
    "by",
    "of",
    "validator",
    "agent",
    "chain",
)  # the fields that name whom or what a line is about
Kind = tuple[str, ...]
Say = Callable[..., None]


@dataclass(slots=True)
class _Alike:
    at: float  # when `room` was true
    room: float = LOG_BURST
    held: int = 0
    say: Say | None = None
    fields: dict[str, object] = field(default_factory=dict)

    def takes_one(self, now: float) -> bool:
        """Whether a line may stand now; then it counts."""
        self.room, self.at = min(LOG_BURST, self.room + (now - self.at) / LOG_EVERY_S), now
        if self.room < 1:
            return False
        self.room -= 1
        return True


class CalmLog:
    """A Logger in front of another one. tell_held() is to be called now and then, and at the end
    with `everything`.
    """

    def __init__(self, log: Logger, clock: Callable[[], float], whole: frozenset[str] = frozenset()) -> None:
        """`clock`: monotonic seconds.

        `whole`: events that all stand, because whoever says them bounds them.
        """
        self._log = log
        self._clock = clock
        self._whole = whole
        self._kinds: dict[Kind, _Alike] = {}

    def debug(self, event: str, **fields: object) -> None:
        """All of it: whoever asks for this wants all."""
        self._log.debug(event, **fields)

    def info(self, event: str, **fields: object) -> None:
        """What happened."""
        self._add(self._log.info, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """What the operator should look at."""
        self._add(self._log.warning, event, fields)

    def error(self, event: str, **fields: object) -> None:
        """What failed or was refused."""
        self._add(self._log.error, event, fields)

    def tell_held(self, *, everything: bool = False) -> None:
        """Say what was held back and may stand now."""
        now = self._clock()
        for (event, *_), alike in self._kinds.items():
            if alike.say is not None and (alike.takes_one(now) or everything):
                alike.say(event, **alike.fields, alike=alike.held)
                alike.say, alike.fields, alike.held = None, {}, 0

    def _add(self, say: Say, event: str, fields: dict[str, object]) -> None:
        if event in self._whole:
            say(event, **fields)
            return
        now = self._clock()
        kind: Kind = (event, *(str(fields[name]) for name in _ABOUT if name in fields))
        if kind not in self._kinds and len(self._kinds) >= LOG_KINDS_MAX:
            kind = (event,)  # these kinds are as many as there are events in the program
        alike = self._kinds.setdefault(kind, _Alike(now))
        if alike.held == 0 and alike.takes_one(now):
            say(event, **fields)
            return
        alike.say, alike.fields = say, fields
        alike.held += 1
