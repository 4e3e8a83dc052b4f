"""Bytes that are no vote: whatever a vote, proposal or extension is written as is refused, on both
cores alike.
"""

import base64

from hypothesis import example, given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from cometkms.core import native
from cometkms.core.interface import Core, KeySlot
from cometkms.core.pure import core as pure
from cometkms.errors import InvariantError
from cometkms.model import HRS, Dialect, Kind, Message, Reason
from tests.property.strategies import CHAIN, SENSIBLE, V1_MESSAGES

NATIVE, PURE = native.load(), pure.CORE
CORES = (NATIVE, PURE)
KEY = base64.b64encode(bytes(32) + bytes(SigningKey(bytes(32)).verify_key))
EXTENSIONS = st.builds(
    NATIVE.extension_sign_bytes,
    st.one_of(CHAIN, st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)),
    st.builds(HRS, st.integers(1, 2**63 - 1), st.integers(0, 2**31 - 1), st.just(3)),
    st.binary(max_size=200),
)


def ballot_bytes(dialect: Dialect, chain: str, message: Message) -> bytes:
    """What is signed of a sensible vote or proposal."""
    asked = Message(message.kind, chain, vote=message.vote, proposal=message.proposal)
    return NATIVE.check_request(dialect, chain, asked).sign_bytes


BALLOTS = st.builds(ballot_bytes, st.sampled_from(list(Dialect)), CHAIN, SENSIBLE)


def slot_of(core: Core) -> KeySlot:
    """One that signs whatever a slot signs besides votes."""
    slot = core.key_slot(bytearray(KEY), "test-1")
    slot.allow_bytes(values=True, unique_ids=["id"])
    return slot


SLOTS = [slot_of(core) for core in CORES]


def signed_by_both(value: bytes) -> bool:
    """Whether the slots sign it as a value; they must agree."""
    found: list[bytes] = []
    for slot in SLOTS:
        try:
            found.append(slot.sign_value(value))
        except InvariantError:
            found.append(b"")
    assert found[0] == found[1]
    return found[0] != b""


def body_of(framed: bytes) -> bytes:
    """Without the length in front."""
    size = 1
    while framed[size - 1] & 0x80:
        size += 1
    return framed[size:]


def padded(body: bytes, extra: int) -> bytes:
    """Behind a length that takes more bytes than it needs."""
    length, out = len(body), bytearray()
    while length >= 0x80 or extra:
        extra -= length < 0x80
        out.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes(out) + bytes([length]) + body


@given(st.one_of(BALLOTS, EXTENSIONS), st.integers(0, 4))
@settings(max_examples=600, deadline=None)
def test_no_vote_proposal_or_extension_of_any_chain_is_signed_as_a_value(framed: bytes, extra: int) -> None:
    """With its length, without, and with one in another form."""
    body = body_of(framed)
    for value in (framed, body, padded(body, extra)):
        assert NATIVE.reads_as_vote(value)
        assert PURE.reads_as_vote(value)
        assert not signed_by_both(value)


@given(st.one_of(BALLOTS, EXTENSIONS), st.data())
@settings(max_examples=400, deadline=None)
def test_nor_with_fields_in_another_order_or_others_among_them(framed: bytes, data: st.DataObject) -> None:
    parts = cut(body_of(framed))
    parts += data.draw(st.lists(st.sampled_from([b"\x50\x01", b"\x5a\x02hi", b"\x5d\0\0\0\0", b"\x63\x08\x01\x64"])))
    value = b"".join(data.draw(st.permutations(parts)))
    assert NATIVE.reads_as_vote(value)
    assert not signed_by_both(value)


def cut(body: bytes) -> list[bytes]:
    """The fields of a canonical body, each with its tag."""
    parts, at = [], 0
    while at < len(body):
        begin, wire = at, body[at] & 7
        at += 1
        if wire == 1:
            at += 8
        elif wire == 0:
            while body[at] & 0x80:
                at += 1
            at += 1
        else:
            size = shift = 0
            while True:
                byte = body[at]
                size |= (byte & 0x7F) << shift
                shift, at = shift + 7, at + 1
                if byte < 0x80:
                    break
            at += size
        parts.append(body[begin:at])
    return parts


@given(st.one_of(st.binary(max_size=120), BALLOTS, EXTENSIONS), st.data())
@settings(max_examples=1500, deadline=None)
@example(b"\x0b" * 9, None)
def test_both_cores_agree_on_any_value(value: bytes, data: st.DataObject | None) -> None:
    """Also on one that is a vote but for a few bytes."""
    damaged = bytearray(value)
    for _ in range(data.draw(st.integers(0, 2)) if data is not None and value else 0):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    assert NATIVE.reads_as_vote(bytes(damaged)) == PURE.reads_as_vote(bytes(damaged))
    if damaged:
        signed_by_both(bytes(damaged))


@given(st.binary(min_size=1, max_size=300), CHAIN)
@settings(max_examples=400, deadline=None)
def test_no_raw_bytes_are_ever_a_votes(raw: bytes, chain: str) -> None:
    """Whatever a validator of Celestia asks for: what is signed begins so that no reader takes it
    for one, nor for a value.
    """
    made = {core.raw_bytes(chain, raw, "id") for core in CORES}
    assert len(made) == 1
    [text] = made
    assert not NATIVE.reads_as_vote(text)
    assert not PURE.reads_as_vote(text)
    assert not signed_by_both(text)
    signatures = {slot.sign_raw(raw, "id") for slot in SLOTS}
    assert len(signatures) == 1
    assert NATIVE.verify(SLOTS[0].public_key, NATIVE.raw_bytes("test-1", raw, "id"), signatures.pop())


@given(V1_MESSAGES)
@settings(max_examples=400, deadline=None)
def test_both_cores_judge_and_answer_a_request_for_bytes_alike(message: Message) -> None:
    chain = message.chain_id or "test-1"
    judged = [core.check_request(Dialect.PROTO, chain, message) for core in CORES]
    assert judged[0] == judged[1]
    if message.kind not in (Kind.SIGN_BYTES_REQUEST, Kind.SIGN_RAW_BYTES_REQUEST):
        return
    answers = []
    for core in CORES:
        slot = core.key_slot(bytearray(KEY), chain)
        slot.allow_bytes(
            values=True, unique_ids=[message.unique_id] if judged[0].reason is Reason.NONE and message.unique_id else []
        )
        session = core.session(Dialect.PROTO, chain, None, core.encode_message(Dialect.PROTO, message))
        assert session.next_request() == judged[0]
        try:
            answers.append(session.answer_bytes(slot))
        except InvariantError:
            answers.append((b"", session.answer_error(1, "no")))
    assert answers[0] == answers[1]
    assert bool(answers[0][0]) == (judged[0].reason is Reason.NONE)
