"""The signer's fast path where there is no C core: it finds nothing plain, so that the general path
decides everything.
"""

from collections.abc import Callable
from typing import Any

from cometkms.core.interface import Desk, Frames, Signature, Underway
from cometkms.model import Watermark


class PureSignPath:
    """Take every request and every message to be one that is not plain."""

    unseen = 0

    def __init__(self, pop: Callable[[], bytes | None] = lambda: None, chains: int = 1) -> None:
        """`pop`: the state process's next message."""
        self._pop = pop
        self.marks = [Watermark()] * chains

    def lane(self, *_: Any, **_names: Any) -> None:
        """None: the connection's owner receives and decides."""
        return

    def desk(self, _frames: Frames, _fd: int) -> Desk | None:
        """None: the link's owner receives and decides."""
        return None

    def take(self) -> tuple[bytes | None, list[int], bool]:
        """The state process's next message; nobody was answered before it."""
        message = self._pop()
        return message, [], message is not None

    def drain(self) -> list[Signature]:
        """Nothing was signed here."""
        return []

    def open(self, _chain: int, *, opened: bool) -> None:
        """Nothing is decided here, so nothing need be known."""

    def take_unreported(self, _chain: int) -> bool:
        """Nothing is to be reported."""
        return False

    def waits_since_ns(self, _chain: int) -> int | None:
        """No reservation is under way here."""
        return None

    def abandon(self, _chain: int) -> Underway | None:
        """No reservation is under way here."""
        return None
