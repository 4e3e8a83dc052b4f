"""How long an election waits, from the round trips to the other members and the syncs of the
journals. Pure.

On a local network the floors hold. Between far members a candidate must hear its votes before it
begins again, and a heartbeat that is late because the path is long (or jitters, which is taken for
as much as the path is long) must not look like a dead leader: both grow with the round trip. What
grows with it costs time only after a leader was lost.

A vote waits for two disks, too: the candidate's term and the member's vote are durable
before they leave. On a slow disk (a busy one, on a busy machine) that is longer than
any way, and with timeouts that forget it the terms pass each other by: nobody leads for
as long as the disks are slow. So r is the way there and back and both syncs, of which a
node knows its own and takes the other for as long.

| of a round trip r      | why                                                                                                   |
|------------------------|-------------------------------------------------------------------------------------------------------|
| earliest + 1.5 r       | the votes are there (r), and some jitter (r/2)                                                        |
| latest + 2.5 r         | one candidate's request reaches the others before they stand (r/2), with room for three               |
| stagger + r/2          | after a closed connection the next in rank hears the one before it                                    |
| fallback ≥ 2 r + 0.2 s | a new leader's first heartbeat is answered before it gives up                                         |
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

HEARTBEAT_S: Final = 0.05
ELECTION_MIN_S: Final = 0.151  # the library wants strictly more than three heartbeats
ELECTION_MAX_S: Final = 0.3
STAGGER_S: Final = 0.06
NEAR_S: Final = 0.02  # a round trip that the floors allow for
FAR_S: Final = 1.0  # a longer one is not waited for
ROUND_TRIP_EVERY_S: Final = 0.5  # how often it is asked for
SYNCS_OF_A_VOTE: Final = 2
_FORGETS: Final = 8  # a longer round trip counts at once, a shorter one by an eighth each time


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds.

    `earliest`, `latest`: between which a follower that hears no leader stands. `fallback`: a leader
    that hears nobody.
    """

    earliest_s: float
    latest_s: float
    stagger_s: float
    fallback_s: float


def pace_of(round_trip_s: float, ttl_s: float) -> Pace:
    """`round_trip_s`: to the farthest member whose vote may be needed, with the syncs
    of a vote; 0: not known.
    """
    far_s = max(0.0, min(round_trip_s, FAR_S) - NEAR_S)
    return Pace(
        ELECTION_MIN_S + 1.5 * far_s, ELECTION_MAX_S + 2.5 * far_s, STAGGER_S + far_s / 2, max(ttl_s, 2 * far_s + 0.2)
    )


class RoundTrips:
    """Keep the longest round trip, or sync, lately of each member."""

    def __init__(self) -> None:
        self._of: dict[str, float] = {}

    def feed(self, member: str, sample_s: float) -> None:
        """One that was measured."""
        known = self._of.get(member, 0.0)
        self._of[member] = max(sample_s, known + (sample_s - known) / _FORGETS)

    def forget(self, member: str) -> None:
        """It is away: an election does not wait for it."""
        self._of.pop(member, None)

    def longest(self, members: Iterable[str]) -> float:
        """Return the longest to any of them, or 0 where nothing is known."""
        return max((self._of.get(name, 0.0) for name in members), default=0.0)
