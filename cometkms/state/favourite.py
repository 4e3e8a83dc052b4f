"""Whom the lead returns to: the node that the operator prefers (`leader_priority`), once the
cluster has been calm. Sans-I/O.

| the leader …                                                     | then …                                                          |
|------------------------------------------------------------------|-----------------------------------------------------------------|
| sees a better member: connected, complete, its log whole, not    | hands over to the best, after FAVOURITE_CALM_S in which nobody   |
| without a validator                                              | came or went and nothing was ordered                            |
| was ordered to hand over, or hears of a drill                    | leaves the lead where it is for FAVOURITE_ORDER_S                |
| sees a leader lose the lead within FAVOURITE_KEPT_S              | waits twice as long before it is that one's turn again           |

Better is a higher number; where two nodes say `nearest`, the one whose promises reach a majority
sooner, by a clear margin. A number and `nearest` are not compared, and a member that says nothing
is not better than anybody. Every node watches, so that the one that leads next knows whom the lead
did not stay with. Nothing here touches a promise: a wrong guess costs a change of leaders.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from cometkms.board.sections import Reach
from cometkms.limits import (
    FAVOURITE_AGAIN_MAX_S,
    FAVOURITE_CALM_S,
    FAVOURITE_KEPT_S,
    FAVOURITE_LOOK_S,
    FAVOURITE_NEARER_S,
    FAVOURITE_NEARER_SHARE,
    FAVOURITE_ORDER_S,
    FAVOURITE_QUIET_S,
    FAVOURITE_TAKES_S,
    FAVOURITE_TELL_S,
    LEADER_NEAREST,
    LEADER_PRIORITY_MAX,
)
from cometkms.logger import Logger

PRIORITY_FACT: Final = "leader_priority"  # a number from 0 to 100, or `nearest`
# of a node that says `nearest`: the round trip to the farthest member that a permit needs
MAJORITY_FACT: Final = "majority_ms"
PREFERRED: Final = "preferred"  # why a leader handed over; a label of /metrics
_TIMES_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class Standing:
    """What a member says of itself as a leader.

    Both None: nothing. `majority_s`: seconds, for one that says `nearest`.
    """

    priority: int | None = None
    nearest: bool = False
    majority_s: float | None = None

    def better_than(self, other: "Standing") -> bool:
        """Whether the lead should rather be here than there."""
        if self.priority is not None and other.priority is not None:
            return self.priority > other.priority
        if not self.nearest or not other.nearest or self.majority_s is None or other.majority_s is None:
            return False
        margin_s = max(FAVOURITE_NEARER_S, other.majority_s * (1 - FAVOURITE_NEARER_SHARE))
        return self.majority_s <= other.majority_s - margin_s


def standing_of(untrusted_facts: Mapping[str, str]) -> Standing:
    """Read a member's standing from its facts; whatever is no standing says nothing."""
    text = untrusted_facts.get(PRIORITY_FACT, "")
    if text == LEADER_NEAREST:
        return Standing(nearest=True, majority_s=_seconds(untrusted_facts.get(MAJORITY_FACT, "")))
    plain = text.isascii() and text.isdecimal() and len(text) <= len(str(LEADER_PRIORITY_MAX))
    return Standing(priority=int(text)) if plain and int(text) <= LEADER_PRIORITY_MAX else Standing()


def _seconds(untrusted_ms: str) -> float | None:
    whole, _, part = untrusted_ms.partition(".")
    plain = len(untrusted_ms) <= len("99999.9") and whole.isdecimal() and (part or "0").isdecimal()
    return float(untrusted_ms) / 1000 if plain and untrusted_ms.isascii() else None


@dataclass(frozen=True, slots=True)
class FavouritePorts:
    """What the node around it knows and does.

    facts(member): what it says of itself, this node included. able(): members that could lead now.
    says(member): its Reach. whole(member): whether its log has everything. busy(): whether a
    request waits for its answer, or came a moment ago. waiting(): whether one waits.
    hand_over(member): whether it begins now. majority_s(): the round trip to the farthest member
    that a permit needs, None where too few are connected. tell(ms): that, to the members.
    happened(to): this node hands over, for the operator and the members.
    """

    facts: Callable[[str], Mapping[str, str]]
    able: Callable[[], tuple[str, ...]]
    says: Callable[[str], Reach]
    whole: Callable[[str], bool]
    busy: Callable[[], bool]
    waiting: Callable[[], bool]
    hand_over: Callable[[str], bool]
    majority_s: Callable[[], float | None]
    tell: Callable[[str], None]
    happened: Callable[[str], None]


@dataclass(slots=True)
class _Tried:
    """How often in a row a member lost the lead early, and until when it is not its turn."""

    times: int = 0
    until: float = 0.0


class Favourite:
    """Looked at from the state process's loop."""

    def __init__(self, *, me: str, ports: FavouritePorts, clock: Callable[[], float], log: Logger) -> None:
        """`clock`: monotonic seconds."""
        self.counters: dict[str, int] = {}
        self._me = me
        self._ports = ports
        self._clock = clock
        self._log = log
        self._looked_at = self._told_at = -1e9
        self._calm_since: float | None = None
        self._able: tuple[str, ...] = ()
        self._ordered_until = 0.0
        self._led: tuple[str, float] | None = None  # who leads, and since when
        # until then the next change of leaders is one by preference: nobody's failure
        self._preferred_until = 0.0
        self._asked: tuple[str, float] | None = None  # who was to take over, and when
        self._tried: dict[str, _Tried] = {}

    # --- what is heard ---

    def on_order(self) -> None:
        """An operator moves the lead, or holds a drill: it stays where that puts it for a while."""
        self._ordered_until = self._clock() + FAVOURITE_ORDER_S
        self._calm_since = None

    def on_preferred(self) -> None:
        """The leader hands over by preference."""
        self._preferred_until = self._clock() + FAVOURITE_TAKES_S

    def on_leader(self, leader: str | None) -> None:
        """Who leads now; None: nobody.

        Whoever lost the lead early waits longer for it, on every node that saw it.
        """
        if leader == (self._led[0] if self._led is not None else None):
            return
        now = self._clock()
        if self._led is not None and now >= max(self._ordered_until, self._preferred_until):
            self._judge(self._led[0], now - self._led[1], now)
        if self._asked is not None and leader == self._asked[0]:
            self._asked = None
        self._led = (leader, now) if leader is not None else None
        if leader is not None:
            self._preferred_until = 0.0
        self._calm_since = None

    def _judge(self, member: str, led_s: float, now: float) -> None:
        tried = self._tried.setdefault(member, _Tried())
        if led_s >= FAVOURITE_KEPT_S:
            tried.times = 0
            return
        tried.times = min(tried.times + 1, _TIMES_MAX)
        tried.until = now + min(FAVOURITE_CALM_S * 2**tried.times, FAVOURITE_AGAIN_MAX_S)

    # --- time ---

    def look(self, *, leads: bool) -> None:
        """`leads`: this node has the lease, and its signer has said hello."""
        now = self._clock()
        if now - self._looked_at >= FAVOURITE_LOOK_S:
            self._looked_at = now
            self._tell_majority(now)
            self._look_for_calm(leads, now)
        if self._calm_since is None or now - self._calm_since < FAVOURITE_CALM_S or now < self._ordered_until:
            return
        waited_s = now - self._calm_since - FAVOURITE_CALM_S
        if self._ports.waiting() or (self._ports.busy() and waited_s < FAVOURITE_QUIET_S):
            return
        to = self.wanted()
        if to is not None:
            self._hand_over(to, now)

    def _hand_over(self, to: str, now: float) -> None:
        self._asked = (to, now)
        self.on_preferred()
        if not self._ports.hand_over(to):
            self._asked, self._preferred_until = None, 0.0
            return
        self._calm_since = None
        self._log.warning("the lead returns to the preferred node", to=to)
        self.counters[PREFERRED] = self.counters.get(PREFERRED, 0) + 1
        self._ports.happened(to)

    def _look_for_calm(self, leads: bool, now: float) -> None:
        if self._asked is not None and now - self._asked[1] >= FAVOURITE_TAKES_S:
            to, self._asked = self._asked[0], None
            if leads:
                self._judge(to, 0.0, now)
                self._log.info("the preferred node did not take the lead", node=to)
        able = tuple(sorted(self._ports.able()))
        if not leads or able != self._able:
            self._able, self._calm_since = able, None
        if leads and self._calm_since is None:
            self._calm_since = now

    def wanted(self) -> str | None:
        """Whom the lead goes to when it is calm; None: it stays here."""
        now, mine = self._clock(), standing_of(self._ports.facts(self._me))
        found: tuple[str, Standing] | None = None
        for name in sorted(self._ports.able(), key=lambda name: (self._ports.says(name) is not Reach.YES, name)):
            standing = standing_of(self._ports.facts(name))
            tried = self._tried.get(name)
            if self._ports.says(name) is Reach.NO or (tried is not None and now < tried.until):
                continue
            if self._ports.whole(name) and standing.better_than(found[1] if found is not None else mine):
                found = (name, standing)
        return found[0] if found is not None else None

    def _tell_majority(self, now: float) -> None:
        """Tell the others how near a majority is, where this node says `nearest`; rarely, and only
        what has changed clearly.
        """
        facts = self._ports.facts(self._me)
        if facts.get(PRIORITY_FACT) != LEADER_NEAREST or now - self._told_at < FAVOURITE_TELL_S:
            return
        measured_s, told_s = self._ports.majority_s(), _seconds(facts.get(MAJORITY_FACT, ""))
        if measured_s is None:
            return
        if told_s is None or abs(measured_s - told_s) > max(
            FAVOURITE_NEARER_S / 2, told_s * (1 - FAVOURITE_NEARER_SHARE) / 2
        ):
            self._told_at = now
            self._ports.tell(f"{min(measured_s * 1000, 99999.9):.1f}")
