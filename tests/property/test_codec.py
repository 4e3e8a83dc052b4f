"""Codec properties: identity, C = Python on any bytes, and no exception but the documented one."""

import base64
import dataclasses

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from cometkms.core import native
from cometkms.core.pure import core as pure
from cometkms.errors import ProtocolError
from cometkms.keytypes import ED25519, KEY_TYPES, KeyType
from cometkms.model import Dialect, Kind, Message, Permit, Reason, Request, Timestamp
from tests.property.strategies import CHAIN, MESSAGES, REQUESTS, SENSIBLE, V1_MESSAGES

NATIVE, PURE = native.load(), pure.CORE
KEY = base64.b64encode(bytes(32) + bytes(SigningKey(bytes(32)).verify_key))
OTHER_KEY = base64.b64encode(bytes(range(32)))
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
    carried = dataclasses.replace(message, chain_id="", vote=vote, skip_extension=False)
    return dataclasses.replace(carried, pub_key=message.pub_key or b"", pub_key_bytes=b"", pub_key_type="")


@given(DIALECTS, MESSAGES)
@settings(max_examples=400, deadline=None)
def test_decode_inverts_encode_and_both_cores_encode_alike(dialect: Dialect, message: Message) -> None:
    wire = NATIVE.encode_message(dialect, message)
    assert wire == PURE.encode_message(dialect, message)
    decoded = decoded_by_both(dialect, wire)
    assume(decoded is not None)
    assert decoded == (amino_form(message) if dialect is Dialect.AMINO else message)


@given(V1_MESSAGES)
@settings(max_examples=400, deadline=None)
def test_v1_messages_go_both_ways_on_both_cores(message: Message) -> None:
    wire = NATIVE.encode_message(Dialect.PROTO, message)
    assert wire == PURE.encode_message(Dialect.PROTO, message)
    assert decoded_by_both(Dialect.PROTO, wire) == message


@given(
    CHAIN,
    SENSIBLE.filter(lambda message: message.vote is not None),
    st.binary(max_size=40),
    st.booleans(),
    st.sampled_from(KEY_TYPES),
)
@settings(max_examples=200, deadline=None)
def test_both_cores_answer_alike_and_sign_an_extension_only_where_it_is_not_skipped(
    chain: str, message: Message, extension: bytes, skip: bool, key_type: KeyType
) -> None:
    """With keys of every type: both sign in one way only, so that the answers are the
    same byte by byte.
    """
    vote = message.vote
    assert vote is not None
    real = vote.type == 2 and bool(vote.block_id.hash)
    vote = dataclasses.replace(vote, extension=extension if real or skip else b"")
    asked = dataclasses.replace(message, chain_id=chain, vote=vote, skip_extension=skip)
    answers, lines = [], []
    for core in (NATIVE, PURE):
        session = core.session(Dialect.PROTO, chain, None, core.encode_message(Dialect.PROTO, asked))
        request = session.next_request()
        assert request is not None
        slot = core.key_slot(bytearray(KEY if key_type is ED25519 else OTHER_KEY), chain, key_type)
        answers.append(session.answer_sign(slot, Permit(request.sign_bytes))[1])
        lines.append(session.line)
    assert answers[0] == answers[1]
    assert lines[0] is lines[1]
    signed = NATIVE.decode_message(Dialect.PROTO, answers[0]).vote
    assert signed is not None
    assert len(signed.signature) == key_type.signature_bytes
    assert len(signed.extension_signature) == (key_type.signature_bytes if real and not skip else 0)


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
