"""Codec properties: identity, C = Python on any bytes, and no exception but the documented one."""

import dataclasses

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from cometkms import native, purepy
from cometkms.errors import ProtocolError
from cometkms.model import Dialect, Kind, Message, Reason, Request, Timestamp
from tests.property.strategies import CHAIN, MESSAGES, REQUESTS, SENSIBLE

NATIVE, PURE = native.load(), purepy.CORE
DIALECTS = st.sampled_from(list(Dialect))


def decoded_by_both(dialect: Dialect, wire: bytes) -> Message | None:
    """The message, or None where both refuse; they must agree."""
    found = []
    for core in (NATIVE, PURE):
        try:
            found.append(core.decode_message(dialect, wire))
        except ProtocolError:
            found.append(None)
    assert found[0] == found[1]
    return found[0]


def amino_form(message: Message) -> Message:
    """What v0.33 has no field for is not carried."""
    vote = message.vote and dataclasses.replace(message.vote, extension=b"", extension_signature=b"")
    return dataclasses.replace(message, chain_id="", vote=vote)


@given(DIALECTS, MESSAGES)
@settings(max_examples=400, deadline=None)
def test_decode_inverts_encode_and_both_cores_encode_alike(dialect: Dialect, message: Message) -> None:
    wire = NATIVE.encode_message(dialect, message)
    assert wire == PURE.encode_message(dialect, message)
    decoded = decoded_by_both(dialect, wire)
    assume(decoded is not None)
    assert decoded == (amino_form(message) if dialect is Dialect.AMINO else message)


@given(DIALECTS, st.binary(max_size=300))
@settings(max_examples=1000, deadline=None)
@example(Dialect.PROTO, b"\x00")
@example(Dialect.PROTO, bytes.fromhex("0b1a09" + "0b" * 9))
def test_both_cores_agree_on_any_bytes(dialect: Dialect, wire: bytes) -> None:
    decoded_by_both(dialect, wire)


@given(DIALECTS, MESSAGES, st.data())
@settings(max_examples=1000, deadline=None)
def test_both_cores_agree_on_damaged_messages(dialect: Dialect, message: Message, data: st.DataObject) -> None:
    wire = bytearray(NATIVE.encode_message(dialect, message))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(wire) - 1))
        wire[at] = data.draw(st.integers(0, 255))
    decoded = decoded_by_both(dialect, bytes(wire))
    if decoded is not None:
        assert NATIVE.check_request(dialect, "test-1", decoded) == PURE.check_request(dialect, "test-1", decoded)


@given(DIALECTS, CHAIN, REQUESTS)
@settings(max_examples=600, deadline=None)
def test_what_may_be_signed_is_strictly_canonical(dialect: Dialect, chain: str, message: Message) -> None:
    if message.kind is not Kind.PING_REQUEST and dialect is Dialect.PROTO:
        message = dataclasses.replace(message, chain_id=chain)
    request: Request = NATIVE.check_request(dialect, chain, message)
    assert request == PURE.check_request(dialect, chain, message)
    if not request.sign_bytes:
        return
    assert request.reason is Reason.NONE
    parsed = NATIVE.parse_sign_bytes(request.sign_bytes)
    assert parsed == PURE.parse_sign_bytes(request.sign_bytes)
    assert (parsed.hrs, parsed.chain_id) == (request.hrs, chain)


@given(st.binary(max_size=230))
@settings(max_examples=500, deadline=None)
def test_both_cores_agree_on_what_sign_bytes_are(data: bytes) -> None:
    found = []
    for core in (NATIVE, PURE):
        try:
            found.append(core.parse_sign_bytes(data))
        except ProtocolError:
            found.append(None)
    assert found[0] == found[1]


@given(CHAIN, SENSIBLE, SENSIBLE)
@settings(max_examples=400, deadline=None)
def test_same_but_timestamp_is_equality_without_the_timestamp(chain: str, one: Message, two: Message) -> None:
    def at_noon(message: Message) -> tuple[bytes, bytes]:
        ballot = message.vote or message.proposal
        moved = dataclasses.replace(ballot, timestamp=Timestamp(1_800_000_000, 7))
        field = "vote" if message.vote else "proposal"
        made = [Message(message.kind, chain, **{field: each}) for each in (ballot, moved)]
        own, noon = (NATIVE.check_request(Dialect.PROTO, chain, each).sign_bytes for each in made)
        return own, noon

    (a, a_noon), (b, b_noon) = at_noon(one), at_noon(two)
    for core in (NATIVE, PURE):
        assert core.same_but_timestamp(a, a_noon)
        assert core.same_but_timestamp(a, b) == (a_noon == b_noon)
        assert not core.same_but_timestamp(a, a[:-1])
