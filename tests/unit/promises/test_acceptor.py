"""The acceptor: no permit without a durable mark, and only for what is held."""

import pytest

from cometkms.errors import ProtocolError, StoreFailure
from cometkms.interface import Core
from cometkms.model import HRS, BlockID, Dialect, Kind, Message, Reason, Refusal, Request, Timestamp, Vote, Watermark
from cometkms.promises.acceptor import Acceptor, Permit


class Store:
    """Counts its writes; fails on demand."""

    def __init__(self) -> None:
        self.held, self.writes, self.fail = Watermark(), 0, False

    def mark(self, number: int) -> Watermark:
        return self.held

    def write_mark(self, number: int, mark: Watermark) -> None:
        if self.fail:
            raise StoreFailure("disk")
        self.writes += 1
        self.held = mark


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def acceptor(core: Core, store: Store) -> Acceptor:
    return Acceptor(store, ("c",), parse_sign_bytes=core.parse_sign_bytes, same_but_timestamp=core.same_but_timestamp)


def request(core: Core, chain: str = "c", block: bytes = b"a", second: int = 0, height: int = 5) -> Request:
    vote = Vote(2, height, 0, BlockID(block * 32, 1, b"p" * 32), Timestamp(1_700_000_000 + second, 0))
    return core.check_request(Dialect.PROTO, chain, Message(Kind.SIGN_VOTE_REQUEST, chain, vote=vote))


def test_a_permit_follows_the_write(core: Core, store: Store, acceptor: Acceptor) -> None:
    asked = request(core)
    assert acceptor.reserve(0, asked.hrs, asked.sign_bytes) == Permit(0, asked.hrs, asked.sign_bytes)
    assert (store.writes, store.held) == (1, Watermark(asked.hrs, asked.sign_bytes))


def test_a_failed_write_is_no_permit(core: Core, store: Store, acceptor: Acceptor) -> None:
    store.fail, asked = True, request(core)
    with pytest.raises(StoreFailure):
        acceptor.reserve(0, asked.hrs, asked.sign_bytes)
    assert store.held == Watermark()


def test_a_repeat_gets_the_held_bytes_and_another_block_nothing(core: Core, store: Store, acceptor: Acceptor) -> None:
    held, later, other = request(core), request(core, second=9), request(core, block=b"b")
    acceptor.reserve(0, held.hrs, held.sign_bytes)
    assert acceptor.reserve(0, later.hrs, later.sign_bytes) == Permit(0, held.hrs, held.sign_bytes)
    refused = acceptor.reserve(0, other.hrs, other.sign_bytes)
    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.CONFLICT
    assert store.writes == 1


def test_bytes_that_name_another_place_or_chain_are_refused(core: Core, store: Store, acceptor: Acceptor) -> None:
    asked, foreign = request(core), request(core, chain="other")
    for hrs, sign_bytes in ((HRS(9, 0, 3), asked.sign_bytes), (foreign.hrs, foreign.sign_bytes)):
        assert isinstance(acceptor.reserve(0, hrs, sign_bytes), Refusal)
    with pytest.raises(ProtocolError):
        acceptor.reserve(0, asked.hrs, b"not canonical")
    assert store.writes == 0
