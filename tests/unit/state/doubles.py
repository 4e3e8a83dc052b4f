"""A store in memory, a log, and requests."""

from cometkms.core.interface import Core
from cometkms.errors import StoreFailure
from cometkms.model import BlockID, Dialect, Kind, Message, Request, Row, Timestamp, Vote, Watermark

KEY = b"k" * 32


class Log:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def _say(self, event: str, **fields: object) -> None:
        self.lines.append(f"{event} {fields}")

    info = warning = error = _say

    def text(self) -> str:
        return "\n".join(self.lines)


class MemoryStore:
    """Counts its writes; fails on demand."""

    def __init__(self, rows: tuple[Row, ...] = (Row(KEY, "c"),), held: Watermark | None = None) -> None:
        self.rows = rows
        self.held, self.writes, self.fail, self.is_open = held or Watermark(), 0, False, True

    def mark(self, number: int) -> Watermark:
        return self.held

    def opened(self, number: int) -> bool:
        return self.is_open

    def write_mark(self, number: int, mark: Watermark) -> None:
        if self.fail:
            raise StoreFailure("disk")
        self.writes += 1
        self.held = mark


def request(core: Core, chain: str = "c", block: bytes = b"a", second: int = 0, height: int = 5) -> Request:
    vote = Vote(2, height, 0, BlockID(block * 32, 1, b"p" * 32), Timestamp(1_700_000_000 + second, 0))
    return core.check_request(Dialect.PROTO, chain, Message(Kind.SIGN_VOTE_REQUEST, chain, vote=vote))
