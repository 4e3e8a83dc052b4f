"""Messages between signer and state: encode and decode are inverse, whatever does not decode is
said to be our bug.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cometkms.errors import InvariantError
from cometkms.limits import QUEUE_SLOT_BYTES, SIGN_BYTES_MAX_BYTES
from cometkms.model import HRS, Permit, Reason, Watermark
from cometkms.wire.queue_messages import (
    Lease,
    Mark,
    PermitGranted,
    QueueMessage,
    Reserve,
    ReserveRefused,
    Signed,
    SignerHello,
    StateHello,
    Tag,
    decode,
    encode,
)

PAYLOAD_MAX = QUEUE_SLOT_BYTES - 8
HEAD_BYTES = len(encode(SignerHello(0)))

MESSAGES = [
    SignerHello(1),
    StateHello((1 << 64) - 1),
    Reserve(2, 3, 4, HRS(5, 6, 3), b"bytes"),
    Signed(1, HRS(9, 0, 1), b"b" * 224, b"s" * 64),
    Mark(7, 2, Watermark(HRS(1, 2, 3), b"", b"")),
    Mark(7, 2, Watermark(HRS((1 << 63) - 1, (1 << 31) - 1, 3), b"x", b"s" * 64)),
    Lease(8, granted=True),
    PermitGranted(1, 2, 3, Permit(b"bytes")),
    ReserveRefused(1, 2, 3, Reason.CONFLICT, HRS(4, 5, 2)),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_messages_decode_to_what_was_encoded_and_fit_a_slot(message: QueueMessage) -> None:
    encoded = encode(message)
    assert len(encoded) <= PAYLOAD_MAX
    assert decode(encoded) == message


NUMBER = st.integers(0, 2**64 - 1)
ROW = st.integers(0, 63)
PLACE = st.builds(HRS, st.integers(0, 2**63 - 1), st.integers(0, 2**31 - 1), st.integers(0, 3))
SIGN_BYTES = st.binary(max_size=SIGN_BYTES_MAX_BYTES)
SIGNATURE = st.just(b"") | st.binary(min_size=64, max_size=64)
ANY_MESSAGE = st.one_of(
    st.builds(SignerHello, NUMBER),
    st.builds(StateHello, NUMBER),
    st.builds(Reserve, NUMBER, NUMBER, ROW, PLACE, SIGN_BYTES),
    st.builds(Signed, ROW, PLACE, SIGN_BYTES, SIGNATURE),
    st.builds(Mark, NUMBER, ROW, st.builds(Watermark, PLACE, SIGN_BYTES, SIGNATURE)),
    st.builds(Lease, NUMBER, st.booleans()),
    st.builds(PermitGranted, NUMBER, NUMBER, ROW, st.builds(Permit, SIGN_BYTES)),
    st.builds(ReserveRefused, NUMBER, NUMBER, ROW, st.sampled_from(Reason), PLACE),
)


@given(ANY_MESSAGE)
@settings(max_examples=300, deadline=None)
def test_any_message_survives_the_queue(message: QueueMessage) -> None:
    encoded = encode(message)
    assert len(encoded) <= PAYLOAD_MAX
    assert decode(encoded) == message


@given(ANY_MESSAGE, st.data())
@settings(max_examples=300, deadline=None)
def test_a_message_of_another_length_does_not_decode(message: QueueMessage, data: st.DataObject) -> None:
    encoded = encode(message)
    for wrong in (encoded[: data.draw(st.integers(0, len(encoded) - 1))], encoded + data.draw(st.binary(min_size=1))):
        with pytest.raises(InvariantError):
            decode(wrong)


@given(st.binary(max_size=PAYLOAD_MAX) | st.binary(min_size=HEAD_BYTES - 2, max_size=HEAD_BYTES - 2))
@settings(max_examples=500, deadline=None)
def test_what_does_not_decode_is_our_bug_and_nothing_else(data: bytes) -> None:
    """Also with a known tag in front and lengths that fit: only then the fields are looked at."""
    for untrusted in (data, *(bytes([tag]) + data[1 : HEAD_BYTES - 3] + bytes(3) for tag in Tag)):
        try:
            decode(untrusted)
        except InvariantError:
            continue


@pytest.mark.parametrize(
    ("position", "value"),
    [(0, 0), (0, 15), (0, 255), (HEAD_BYTES - 4, 255), (HEAD_BYTES - 1, 63), (HEAD_BYTES - 1, 66)],
)
def test_an_unknown_tag_or_reason_or_an_impossible_signature_is_refused(position: int, value: int) -> None:
    encoded = bytearray(encode(ReserveRefused(1, 2, 3, Reason.CONFLICT, HRS(4, 5, 2))))
    encoded[position] = value
    with pytest.raises(InvariantError):
        decode(bytes(encoded) + bytes(value if position == HEAD_BYTES - 1 else 0))
