"""The members' fast path where there is no C core: it finds nothing plain, so that the general path
decides everything.
"""

from cometkms.core.interface import Abandoned, Frames, Queue, RowRecord
from cometkms.model import HRS, Incarnation


class PureRecords(list[RowRecord]):
    """The store's records: a list."""

    _seq_base = 0

    def set_header(self, seq_base: int, _incarnation: Incarnation) -> None:
        """Learn where the seq begins; who bears the incarnation reads the header itself."""
        self._seq_base = seq_base

    @property
    def seq(self) -> int:
        """Where the seq begins, and every promise since."""
        return self._seq_base + sum(record.count for record in self)


class PureHotPath:
    """Take every message to be one that is not plain."""

    def __init__(self) -> None:
        self.records = PureRecords()

    def set_member(self, _member: str, _incarnation: Incarnation, _seq: int) -> None:
        """No member is heard here."""

    def raise_floor(self, _number: int, _hrs: HRS) -> None:
        """Nothing is plain above the floor either."""

    def set_reach(self, _number: int, _height: int) -> None:
        """Nothing is plain below the reach either."""

    def lane(self, _member: str, _frames: Frames, _fd: int) -> None:
        """None: the connection's owner receives and decides."""
        return

    def take(self, requests: Queue) -> tuple[list[bytes], int]:
        """Empty the signer's queue: every message is returned."""
        messages = []
        while (message := requests.pop()) is not None:
            messages.append(message)
        return messages, len(messages)

    def abandon(self, _number: int) -> Abandoned | None:
        """No reservation is under way here."""
        return None

    def waiting(self, _longer_than_ns: int) -> list[int]:
        """No reservation waits here."""
        return []

    def idle_s(self) -> float:
        """Nothing was ever promised here."""
        return float("inf")

    def counters(self) -> dict[str, int]:
        """Nothing was handled here."""
        return {}

    def seq_of(self, _member: str) -> int:
        """No member showed a number here."""
        return 0

    def flow(self, _member: str) -> tuple[float, float]:
        """No promise was made or heard here."""
        return 0.0, 0.0
