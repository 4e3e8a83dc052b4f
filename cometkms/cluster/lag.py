"""How far each member's promises are behind this node's, as a leader sees it from acknowledgements. Pure.

Promises are not caught up with: a member that was away goes on with the next one it is asked for. So this counts what was promised
here since its last word, and how many heights lie between, not what it will never hold.
"""

from dataclasses import dataclass

from cometkms.model import HRS


@dataclass(frozen=True, slots=True)
class Lag:
    """`promises`: made here since the member's last acknowledgement. `heights`: of each chain, likewise."""

    promises: int
    heights: tuple[int, ...]


@dataclass(slots=True)
class _Heard:
    acknowledged: int
    seq: int
    places: tuple[HRS, ...]


class LagMeter:
    """Looked at now and then: a lag is as fine as the looks are frequent. One for each time that this node leads."""

    def __init__(self) -> None:
        self._heard: dict[str, _Heard] = {}

    def look(self, member: str, acknowledged: int, seq: int, places: tuple[HRS, ...]) -> Lag:
        """`acknowledged`: the member's highest seq; `seq` and `places`: this node's own seq and mark of each chain."""
        heard = self._heard.get(member)
        if heard is None or acknowledged > heard.acknowledged:
            heard = self._heard[member] = _Heard(acknowledged, seq, places)
        heights = (now.height - then.height for now, then in zip(places, heard.places, strict=True))
        return Lag(seq - heard.seq, tuple(max(0, behind) for behind in heights))
