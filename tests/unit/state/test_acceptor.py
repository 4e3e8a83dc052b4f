"""The acceptor: no promise without a durable mark, and only for exactly what is held."""

import pytest

from cometkms.core.interface import Core
from cometkms.errors import ProtocolError, StoreFailure
from cometkms.model import HRS, Reason, Refusal, Row, Watermark
from cometkms.state.acceptor import Acceptor
from tests.unit.state.doubles import KEY, MemoryStore, request


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def acceptor(core: Core, store: MemoryStore) -> Acceptor:
    return Acceptor(store, (0,), parse_sign_bytes=core.parse_sign_bytes, wall_clock=lambda: 0.0)


def test_a_promise_is_written_before_it_is_given(core: Core, store: MemoryStore, acceptor: Acceptor) -> None:
    asked = request(core)
    assert acceptor.promise(0, asked.hrs, asked.sign_bytes) is None
    assert (store.writes, store.held) == (1, Watermark(asked.hrs, asked.sign_bytes))
    assert acceptor.promise(0, asked.hrs, asked.sign_bytes) is None
    assert store.writes == 1


def test_a_failed_write_is_no_promise(core: Core, store: MemoryStore, acceptor: Acceptor) -> None:
    store.fail, asked = True, request(core)
    with pytest.raises(StoreFailure):
        acceptor.promise(0, asked.hrs, asked.sign_bytes)
    assert store.held == Watermark()


@pytest.mark.parametrize("other", [{"second": 9}, {"block": b"b"}])
def test_held_bytes_are_write_once(core: Core, store: MemoryStore, acceptor: Acceptor, other: dict) -> None:
    held, later = request(core), request(core, **other)
    acceptor.promise(0, held.hrs, held.sign_bytes)
    refused = acceptor.promise(0, later.hrs, later.sign_bytes)
    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.CONFLICT
    assert store.held.sign_bytes == held.sign_bytes


def test_the_bytes_themselves_name_row_and_place(core: Core, acceptor: Acceptor) -> None:
    asked = request(core)
    assert acceptor.locate(KEY, asked.sign_bytes) == (0, asked.hrs)
    for key, sign_bytes in ((KEY, request(core, chain="other").sign_bytes), (b"x" * 32, asked.sign_bytes)):
        outcome = acceptor.locate(key, sign_bytes)
        assert isinstance(outcome, Refusal)
        assert outcome.reason is Reason.UNKNOWN_ROW
    with pytest.raises(ProtocolError):
        acceptor.locate(KEY, b"not canonical")


def test_a_row_that_is_not_opened_promises_nothing(core: Core, store: MemoryStore, acceptor: Acceptor) -> None:
    store.is_open, asked = False, request(core)
    outcome = acceptor.promise(0, asked.hrs, asked.sign_bytes)
    assert isinstance(outcome, Refusal)
    assert outcome.reason is Reason.UNKNOWN_ROW


def test_a_verified_signature_vetoes_what_it_contradicts_and_permits_nothing(
    core: Core, store: MemoryStore, acceptor: Acceptor
) -> None:
    signed = request(core, height=7)
    acceptor.on_signed(0, Watermark(signed.hrs, signed.sign_bytes, b"s" * 64))
    for asked, reason in (
        (request(core, height=6), Reason.HEIGHT_REGRESSION),
        (request(core, height=7, block=b"b"), Reason.CONFLICT),
    ):
        outcome = acceptor.promise(0, asked.hrs, asked.sign_bytes)
        assert isinstance(outcome, Refusal)
        assert outcome.reason is reason
    assert store.writes == 0
    assert acceptor.promise(0, signed.hrs, signed.sign_bytes) is None
    assert store.writes == 1


def test_rows_that_are_not_configured_are_not_promised_in(core: Core) -> None:
    store = MemoryStore(rows=(Row(KEY, "c"), Row(KEY, "d")))
    acceptor = Acceptor(store, (0,), parse_sign_bytes=core.parse_sign_bytes, wall_clock=lambda: 0.0)
    assert isinstance(acceptor.locate(KEY, request(core, chain="d").sign_bytes), Refusal)
    assert acceptor.mark(0) == Watermark(HRS(0, 0, 0))
