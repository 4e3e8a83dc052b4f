"""How far each member's promises are behind this node's, as a leader sees it from acknowledgements.

Pure.

Promises are not caught up with: a member that was away goes on with the next one it is asked for.
So this counts what was promised here since its last word, and how many heights lie between, not
what it will never hold.
"""

from dataclasses import dataclass

from cometkms.model import HRS


@dataclass(frozen=True, slots=True)
class Lag:
    """`promises`: made here since the member's last acknowledgement.

    `heights`: of each chain, likewise.
    """

    promises: int
    heights: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """This node's marks at a time at which the member had promised them, too.

    `at`: of the clock that the looks have.
    """

    at: float
    places: tuple[HRS, ...]


@dataclass(slots=True)
class _Heard:
    """At the look that saw the last acknowledgement; `looked`: seq, marks and time of the last look
    of all; `owed`: promises made since the first look that it has not acknowledged.
    """

    acknowledged: int
    seq: int
    places: tuple[HRS, ...]
    looked: tuple[int, tuple[HRS, ...], float]
    owed: int = 0
    known: Acknowledged | None = None


class LagMeter:
    """Looked at now and then: a lag is as fine as the looks are frequent.

    One for each time that this node leads.
    """

    def __init__(self) -> None:
        self._heard: dict[str, _Heard] = {}

    def look(self, member: str, acknowledged: int, seq: int, places: tuple[HRS, ...], now: float = 0.0) -> Lag:
        """`acknowledged`: the member's highest seq; `seq` and `places`: this node's own seq and
        mark of each chain; `now`: seconds.
        """
        heard = self._heard.setdefault(member, _Heard(acknowledged, seq, places, (seq, places, now)))
        before_seq, before_places, before = heard.looked
        made, answered = seq - before_seq, acknowledged - heard.acknowledged
        heard.owed = max(0, heard.owed + made - answered)
        # an answer to something younger than the last look: what stood then is promised there
        if answered > 0:
            heard.acknowledged, heard.seq, heard.places = acknowledged, seq, places
            heard.known = Acknowledged(before, before_places)
        if heard.known is not None and made == 0 and heard.owed == 0:
            heard.known = Acknowledged(now, places)
        heard.looked = (seq, places, now)
        heights = (new.height - then.height for new, then in zip(places, heard.places, strict=True))
        return Lag(seq - heard.seq, tuple(max(0, behind) for behind in heights))

    def acknowledged(self, member: str) -> Acknowledged | None:
        """What the member is known to have promised, as of the last look; None: it has acknowledged
        nothing since this node leads.
        """
        heard = self._heard.get(member)
        return heard.known if heard is not None else None
