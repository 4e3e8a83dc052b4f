"""Session properties: any segmentation gives the same requests, and garbage gives ProtocolError and
nothing else.
"""

from hypothesis import given, settings
from hypothesis import strategies as st

from cometkms.core import native
from cometkms.core.interface import Core, Session
from cometkms.core.pure import core as pure
from cometkms.errors import ProtocolError
from cometkms.model import Dialect, Kind, Message
from tests.property.strategies import REQUESTS

CORES = st.sampled_from([native.load(), pure.CORE])
KEYS = (b"r" * 32, b"s" * 32)


def feed(session: Session, data: bytes) -> list[Kind]:
    """Receive, and answer every request empty."""
    session.inbox[: len(data)] = data
    session.received(len(data))
    kinds = []
    while (request := session.next_request()) is not None:
        kinds.append(request.kind)
        session.answer_empty()
    return kinds


@given(CORES, st.booleans(), st.lists(REQUESTS, min_size=1, max_size=6), st.data())
@settings(max_examples=150, deadline=None)
def test_any_segmentation_gives_the_same_requests(
    core: Core, sealed: bool, asked: list[Message], data: st.DataObject
) -> None:
    session = core.session(Dialect.PROTO, "test-1", core.frames(*KEYS) if sealed else None, b"")
    wire = b"".join(core.encode_message(Dialect.PROTO, message) for message in asked)
    if sealed:
        wire = core.frames(KEYS[1], KEYS[0]).seal(wire)
    got: list[Kind] = []
    while wire:
        size = data.draw(st.integers(1, len(wire)))
        got += feed(session, wire[:size])
        wire = wire[size:]
    assert got == [message.kind for message in asked]
    assert not session.partial


@given(CORES, st.booleans(), st.binary(min_size=1, max_size=3000))
@settings(max_examples=300, deadline=None)
def test_garbage_ends_in_a_protocol_error_or_in_waiting(core: Core, sealed: bool, garbage: bytes) -> None:
    session = core.session(Dialect.PROTO, "test-1", core.frames(*KEYS) if sealed else None, b"")
    try:
        feed(session, garbage)
    except ProtocolError:
        return
    assert session.partial or not sealed


@given(st.binary(max_size=5000))
@settings(max_examples=100, deadline=None)
def test_both_cores_seal_alike_and_open_each_other(data: bytes) -> None:
    one, two = native.load(), pure.CORE
    sealed = one.frames(*KEYS).seal(data)
    assert sealed == two.frames(*KEYS).seal(data)
    swapped = (KEYS[1], KEYS[0])
    assert one.frames(*swapped).open(sealed) == two.frames(*swapped).open(sealed) == data
