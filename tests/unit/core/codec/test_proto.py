"""v0.34 to v0.40: bytes are understood as gogoproto's generated code understands them
(PROTOCOL §3).
"""

from types import ModuleType

import pytest

from cometkms.errors import InvariantError, ProtocolError
from cometkms.limits import MESSAGE_MAX_BYTES
from cometkms.model import BlockID, Dialect, Kind, Message, Proposal, RemoteSignerError, Timestamp, Vote
from tests.unit.core.codec.wire import (
    DELIMITED,
    END_GROUP,
    FIXED32,
    FIXED64,
    GROUP,
    VARINT,
    framed,
    number,
    part,
    tag,
    varint,
)

PROTO = Dialect.PROTO
SIGN_VOTE, SIGN_PROPOSAL, SIGNED_VOTE = 3, 5, 4
SIGN_BYTES, BYTES_SIGNED = 9, 10
RAW = Kind.SIGN_RAW_BYTES_REQUEST
UNKNOWN_FIELDS = {
    "varint": number(100, 7),
    "fixed64": tag(100, FIXED64) + bytes(8),
    "fixed32": tag(100, FIXED32) + bytes(4),
    "bytes": part(100, b"whatever"),
    "empty group": tag(100, GROUP) + tag(100, END_GROUP),
    "group of fields": tag(100, GROUP)
    + number(1, 5)
    + part(2, b"x")
    + tag(3, FIXED32)
    + bytes(4)
    + tag(100, END_GROUP),
    "nested groups": tag(100, GROUP) * 50 + tag(100, END_GROUP) * 50,
    "group closed by another's end": tag(100, GROUP) + tag(7, END_GROUP),
    "group with field number zero inside": tag(100, GROUP) + b"\x00\x05" + tag(100, END_GROUP),
}


def vote_of(codec: ModuleType, *fields: bytes) -> Vote:
    """The vote that a request with these fields of a vote holds."""
    vote = codec.decode_message(PROTO, framed(part(SIGN_VOTE, part(1, *fields)))).vote
    assert isinstance(vote, Vote)
    return vote


def refuses(codec: ModuleType, wire: bytes) -> None:
    with pytest.raises(ProtocolError):
        codec.decode_message(PROTO, wire)


# --- what is skipped, merged, replaced ---


@pytest.mark.parametrize("unknown", UNKNOWN_FIELDS.values(), ids=UNKNOWN_FIELDS.keys())
def test_unknown_fields_are_skipped_at_every_level(codec: ModuleType, unknown: bytes) -> None:
    block = part(4, unknown, part(1, b"h" * 32), part(2, unknown, number(1, 3)))
    vote = part(1, unknown, number(1, 2), unknown, block, part(5, number(1, 9), unknown))
    decoded = codec.decode_message(PROTO, framed(unknown, part(SIGN_VOTE, unknown, vote, part(2, b"c")), unknown))
    expected = Vote(type=2, block_id=BlockID(b"h" * 32, 3), timestamp=Timestamp(9, 0))
    assert decoded == Message(Kind.SIGN_VOTE_REQUEST, "c", vote=expected)


def test_a_repeated_scalars_last_value_wins(codec: ModuleType) -> None:
    vote = vote_of(codec, number(2, 5), part(6, b"one"), number(2, 6), part(6, b"two"))
    assert (vote.height, vote.validator_address) == (6, b"two")


def test_repeated_messages_merge(codec: ModuleType) -> None:
    first = part(1, number(1, 1), part(4, part(1, b"h" * 32)))
    second = part(1, number(2, 8), part(4, part(2, number(1, 3))))
    vote = codec.decode_message(PROTO, framed(part(SIGN_VOTE, first, second))).vote
    assert vote == Vote(type=1, height=8, block_id=BlockID(b"h" * 32, 3))


def test_a_repeated_timestamp_replaces(codec: ModuleType) -> None:
    assert vote_of(codec, part(5, number(1, 7), number(2, 8)), part(5, number(2, 9))).timestamp == Timestamp(0, 9)


def test_an_absent_timestamp_is_gos_zero_time_and_an_empty_one_is_1970(codec: ModuleType) -> None:
    assert vote_of(codec).timestamp == Timestamp(-62135596800, 0)
    assert vote_of(codec, part(5)).timestamp == Timestamp(0, 0)


def test_the_last_member_of_the_oneof_wins_and_starts_afresh(codec: ModuleType) -> None:
    one, two = part(SIGN_VOTE, part(1, number(1, 1)), part(2, b"a")), part(SIGN_VOTE, part(1, number(2, 4)))
    assert codec.decode_message(PROTO, framed(one, two)) == Message(Kind.SIGN_VOTE_REQUEST, vote=Vote(height=4))
    assert codec.decode_message(PROTO, framed(one, part(7))) == Message(Kind.PING_REQUEST)


def test_a_member_that_loses_must_still_decode(codec: ModuleType) -> None:
    refuses(codec, framed(part(SIGN_VOTE, b"\x0a\x05"), part(7)))


def test_a_message_without_a_known_member_is_of_unknown_kind(codec: ModuleType) -> None:
    assert codec.decode_message(PROTO, b"\0") == Message(Kind.UNKNOWN)
    assert codec.decode_message(PROTO, framed(part(11, part(1, b"sign this")))) == Message(Kind.UNKNOWN)


def test_an_absent_vote_is_none_and_an_empty_one_is_empty(codec: ModuleType) -> None:
    assert codec.decode_message(PROTO, framed(part(SIGN_VOTE))).vote is None
    assert codec.decode_message(PROTO, framed(part(SIGN_VOTE, part(1)))).vote == Vote()
    assert codec.decode_message(PROTO, framed(part(SIGN_PROPOSAL, part(1)))).proposal == Proposal()


@pytest.mark.parametrize(
    ("fields", "skipped"),
    [
        (b"", False),
        (number(3, 0), False),
        (number(3, 1), True),
        (number(3, 1 << 40), True),
        (number(3, -1), True),
        (number(3, 1) + number(3, 0), False),
        (number(3, 0) + part(2, b"c") + number(3, 7), True),
    ],
)
def test_any_varint_but_zero_skips_the_extension_and_the_last_one_counts(
    codec: ModuleType, fields: bytes, skipped: bool
) -> None:
    assert codec.decode_message(PROTO, framed(part(SIGN_VOTE, part(1), fields))).skip_extension is skipped


@pytest.mark.parametrize("field", [part(3, b"\1"), tag(3, FIXED64) + bytes(8)], ids=["bytes", "fixed64"])
def test_a_skip_that_is_no_varint_is_malformed(codec: ModuleType, field: bytes) -> None:
    refuses(codec, framed(part(SIGN_VOTE, part(1), field)))


def test_only_a_votes_request_knows_skip(codec: ModuleType) -> None:
    for kind in (SIGN_PROPOSAL, SIGNED_VOTE, 6, 1):
        message = codec.decode_message(PROTO, framed(part(kind, number(3, 1))))
        assert not message.skip_extension
        assert message.kind is Kind(kind)


@pytest.mark.parametrize(
    ("fields", "request_"),
    [
        ([part(1, b"value")], Message(Kind.SIGN_BYTES_REQUEST, value=b"value")),
        ([], Message(Kind.SIGN_BYTES_REQUEST)),
        ([part(1, b"first"), part(1, b"value")], Message(Kind.SIGN_BYTES_REQUEST, value=b"value")),
        ([part(1, b"value"), part(4, b"")], Message(Kind.SIGN_BYTES_REQUEST, value=b"value", has_others=True)),
        ([part(1, b"value"), number(9, 1)], Message(Kind.SIGN_BYTES_REQUEST, value=b"value", has_others=True)),
        ([part(1, b"c"), part(2, b"raw"), part(3, b"id")], Message(RAW, "c", value=b"raw", unique_id="id")),
        ([part(3, b"id"), part(2, b"raw"), part(1, b"c")], Message(RAW, "c", value=b"raw", unique_id="id")),
        ([part(1, b"c"), part(2, b"")], Message(RAW, "c")),
        ([part(1, b"c"), part(3, b"")], Message(RAW, "c")),
        ([part(2, b"raw")], Message(RAW, value=b"raw")),
        (
            [part(1, b"c"), part(2, b"raw"), part(3, b"id"), part(4, b"x")],
            Message(RAW, "c", value=b"raw", unique_id="id", has_others=True),
        ),
    ],
)
def test_the_fields_tell_v1s_sign_bytes_from_celestias_raw_bytes(
    codec: ModuleType, fields: list[bytes], request_: Message
) -> None:
    """They share a tag.

    One with field 2 or 3 is never v1's, one without never Celestia's, and another field
    is remembered.
    """
    assert codec.decode_message(PROTO, framed(part(SIGN_BYTES, *fields))) == request_


@pytest.mark.parametrize("field", [number(1, 1), number(2, 1), number(3, 1)])
def test_fields_of_another_type_are_no_request_for_bytes(codec: ModuleType, field: bytes) -> None:
    refuses(codec, framed(part(SIGN_BYTES, field)))


def test_a_request_with_fields_that_are_not_known_is_not_encoded(codec: ModuleType) -> None:
    for kind in (Kind.SIGN_BYTES_REQUEST, RAW):
        with pytest.raises(InvariantError):
            codec.encode_message(PROTO, Message(kind, "c", value=b"v", unique_id="id", has_others=True))


def test_sign_bytes_answer(codec: ModuleType) -> None:
    signed = Message(Kind.SIGN_BYTES_RESPONSE, value=b"s" * 64, error=RemoteSignerError(1, "no"))
    wire = framed(part(BYTES_SIGNED, part(1, b"s" * 64), part(2, number(1, 1), part(2, b"no"))))
    assert codec.decode_message(PROTO, wire) == signed
    assert codec.encode_message(PROTO, signed) == wire


def test_v1_has_neither_in_amino(codec: ModuleType) -> None:
    for kind in (Kind.SIGN_BYTES_REQUEST, Kind.SIGN_BYTES_RESPONSE, RAW):
        with pytest.raises(InvariantError):
            codec.encode_message(Dialect.AMINO, Message(kind, value=b"v"))


def test_repeated_errors_merge(codec: ModuleType) -> None:
    wire = framed(part(SIGNED_VOTE, part(2, number(1, 4)), part(2, part(2, b"no"))))
    assert codec.decode_message(PROTO, wire).error == RemoteSignerError(4, "no")


# --- numbers ---


@pytest.mark.parametrize(
    ("value", "expected"),
    [(-1, -1), (1 << 31, -(1 << 31)), ((1 << 32) + 5, 5), ((1 << 31) - 1, (1 << 31) - 1), (1 << 63, 0)],
)
def test_an_int32_is_cut_to_its_low_bits(codec: ModuleType, value: int, expected: int) -> None:
    vote = vote_of(codec, number(1, value), number(3, value), number(7, value))
    assert (vote.type, vote.round, vote.validator_index) == (expected, expected, expected)


def test_a_uint32_is_cut_to_its_low_bits(codec: ModuleType) -> None:
    vote = vote_of(codec, part(4, part(2, number(1, -1))))
    assert vote.block_id.parts_total == (1 << 32) - 1


def test_bits_of_a_ten_byte_varint_beyond_64_are_dropped(codec: ModuleType) -> None:
    assert vote_of(codec, b"\x10" + b"\xff" * 9 + b"\x7f").height == -1
    assert vote_of(codec, b"\x10" + b"\x80" * 9 + b"\x7e").height == 0


def test_a_padded_varint_inside_a_message_is_its_value(codec: ModuleType) -> None:
    assert vote_of(codec, b"\x10\x85\x80\x00").height == 5


def test_a_tags_number_is_cut_to_32_bits(codec: ModuleType) -> None:
    assert vote_of(codec, number((1 << 32) + 2, 5)).height == 5


# --- what is malformed ---


MALFORMED_VOTES = {
    "eleven-byte varint": b"\x10" + b"\x80" * 10 + b"\x00",
    "varint cut short": b"\x10\x80",
    "tag without a value": b"\x10",
    "length beyond the end": b"\x32\x05abcd",
    "length that is negative": b"\x32" + varint(-1),
    "fixed64 cut short": tag(100, FIXED64) + bytes(7),
    "fixed32 cut short": tag(100, FIXED32) + bytes(3),
    "field number zero": b"\x00\x01",
    "field number negative": number(1 << 31, 1),
    "field number zero once cut to 32 bits": number(1 << 32, 1),
    "wire type 6": tag(100, 6),
    "wire type 7": tag(100, 7),
    "end of a group that never started": tag(100, END_GROUP),
    "group that never ends": tag(100, GROUP) + number(1, 1),
    "group cut short inside a field": tag(100, GROUP) + b"\x0a\x05ab",
    "group with wire type 7 inside": tag(100, GROUP) + tag(1, 7) + tag(100, END_GROUP),
    "bytes where a number belongs": part(2, b"5"),
    "number where bytes belong": number(6, 5),
    "number where a message belongs": number(4, 5),
    "fixed64 where a varint belongs": tag(2, FIXED64) + bytes(8),
    "group where a message belongs": tag(4, GROUP) + tag(4, END_GROUP),
    "malformed block id": part(4, b"\x0a\x05"),
    "malformed part set header": part(4, part(2, b"\x08")),
    "malformed timestamp": part(5, b"\x08"),
    "timestamp of bytes": part(5, part(1, b"x")),
}


@pytest.mark.parametrize("fields", MALFORMED_VOTES.values(), ids=MALFORMED_VOTES.keys())
def test_a_malformed_vote_is_refused_whole(codec: ModuleType, fields: bytes) -> None:
    refuses(codec, framed(part(SIGN_VOTE, part(1, number(1, 1), fields))))


@pytest.mark.parametrize("kind", range(1, 11))
def test_a_member_of_another_wire_type_is_refused(codec: ModuleType, kind: int) -> None:
    for wire in (number(kind, 1), tag(kind, FIXED64) + bytes(8), tag(kind, GROUP) + tag(kind, END_GROUP)):
        refuses(codec, framed(wire))


@pytest.mark.parametrize("kind", [7, 8])
def test_what_a_ping_carries_must_be_fields(codec: ModuleType, kind: int) -> None:
    assert codec.decode_message(PROTO, framed(part(kind, number(1, 1)))).kind is Kind(kind)
    refuses(codec, framed(part(kind, b"\x08")))


def test_public_keys(codec: ModuleType) -> None:
    """oneof: the last member wins; a key has its type's size; one of a type that is not built here
    (mldsa65) is left out.
    """
    key, other, foreign = part(1, b"k" * 32), part(2, b"s" * 33), part(4, b"m" * 1952)
    for member, expected in (
        (key, b"k" * 32),
        (other, b"\x02" + b"s" * 33),
        (foreign, b""),
        (key + other, b"\x02" + b"s" * 33),
        (other + foreign, b""),
        (foreign + key, b"k" * 32),
        (part(5, b"e" * 33), b"\x05" + b"e" * 33),
    ):
        wire = framed(part(2, part(1, member)))
        decoded = codec.decode_message(PROTO, wire)
        assert decoded.pub_key == expected
        if expected and member in (key, other):
            assert codec.encode_message(PROTO, decoded) == wire
    refuses(codec, framed(part(2, part(1, part(1, b"k" * 31)))))
    refuses(codec, framed(part(2, part(1, part(2, b"k" * 32)))))
    refuses(codec, framed(part(2, part(1, part(5, b"k" * 65)))))
    refuses(codec, framed(part(2, part(1, number(3, 1)))))


def test_v1s_public_key_stands_beside_v0s(codec: ModuleType) -> None:
    v1 = part(3, b"s" * 33) + part(4, b"secp256k1")
    alone = codec.decode_message(PROTO, framed(part(2, v1)))
    assert (alone.pub_key, alone.pub_key_bytes, alone.pub_key_type) == (None, b"s" * 33, "secp256k1")
    assert codec.encode_message(PROTO, alone) == framed(part(2, v1))
    beside = codec.decode_message(PROTO, framed(part(2, v1, part(1, part(1, b"k" * 32)))))
    assert (beside.pub_key, beside.pub_key_bytes) == (b"k" * 32, b"s" * 33)
    for wrong in (number(3, 1), number(4, 1)):
        refuses(codec, framed(part(2, wrong)))


# --- length prefix ---


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"\x80",
        b"\x80\x00",
        b"\x02\x3a",
        b"\x02\x3a\x00\x00",
        b"\x80" * 10,
        b"\xff" * 9 + b"\x02",
        b"\xff" * 9 + b"\x01",
    ],
    ids=["none", "cut", "padded", "too few", "too many", "endless", "over 64 bits", "enormous"],
)
def test_the_length_must_be_minimal_and_exact(codec: ModuleType, wire: bytes) -> None:
    refuses(codec, wire)


def test_the_largest_message_decodes_and_one_byte_more_does_not(codec: ModuleType) -> None:
    # the filler's own length takes three bytes
    filler = MESSAGE_MAX_BYTES - len(tag(100, DELIMITED)) - 3
    largest = framed(part(100, bytes(filler)))
    assert codec.decode_message(PROTO, largest).kind is Kind.UNKNOWN
    refuses(codec, framed(part(100, bytes(filler + 1))))


# --- text ---


def test_text_that_is_not_utf8_survives_a_round_trip(codec: ModuleType) -> None:
    wire = framed(part(1, part(1, b"\xff\xfechain")))
    decoded = codec.decode_message(PROTO, wire)
    assert decoded.chain_id == "\udcff\udcfechain"
    assert codec.encode_message(PROTO, decoded) == wire


# --- encoding ---


def test_embedded_messages_that_are_not_nullable_are_written_even_when_empty(codec: ModuleType) -> None:
    error = RemoteSignerError(1, "no")
    zero_time = bytes.fromhex("0b088092b8c398feffffff01")
    vote = part(1, bytes.fromhex("22021200"), b"\x2a" + zero_time)
    assert codec.encode_message(PROTO, Message(Kind.SIGNED_VOTE_RESPONSE, error=error)) == framed(
        part(SIGNED_VOTE, vote, part(2, number(1, 1), part(2, b"no")))
    )
    assert codec.encode_message(PROTO, Message(Kind.PUB_KEY_RESPONSE)) == framed(part(2, part(1)))


def test_a_sign_request_without_a_payload_is_written_without_it(codec: ModuleType) -> None:
    assert codec.encode_message(PROTO, Message(Kind.SIGN_VOTE_REQUEST, "c")) == framed(part(SIGN_VOTE, part(2, b"c")))


def test_an_unknown_kind_is_the_empty_message(codec: ModuleType) -> None:
    assert codec.encode_message(PROTO, Message(Kind.UNKNOWN)) == b"\0"


@pytest.mark.parametrize(
    "message",
    [
        Message(Kind.SIGN_VOTE_REQUEST, vote=Vote(height=1 << 63)),
        Message(Kind.SIGN_VOTE_REQUEST, vote=Vote(round=1 << 31)),
        Message(Kind.SIGN_VOTE_REQUEST, vote=Vote(type=-(1 << 31) - 1)),
        Message(Kind.SIGN_VOTE_REQUEST, vote=Vote(validator_index=1 << 31)),
        Message(Kind.SIGN_VOTE_REQUEST, vote=Vote(block_id=BlockID(parts_total=-1))),
        Message(Kind.SIGN_VOTE_REQUEST, vote=Vote(block_id=BlockID(parts_total=1 << 32))),
        Message(Kind.SIGN_VOTE_REQUEST, vote=Vote(timestamp=Timestamp(1 << 63, 0))),
        Message(Kind.SIGN_VOTE_REQUEST, vote=Vote(timestamp=Timestamp(0, 1 << 31))),
        Message(Kind.SIGN_PROPOSAL_REQUEST, proposal=Proposal(pol_round=1 << 31)),
        Message(Kind.SIGNED_VOTE_RESPONSE, error=RemoteSignerError(code=1 << 31)),
        Message(Kind.PUB_KEY_RESPONSE, pub_key=b"k" * 31),
        Message(Kind.PUB_KEY_REQUEST, chain_id="\ud800"),
        Message(Kind.SIGN_VOTE_REQUEST, vote=Vote(extension=bytes(MESSAGE_MAX_BYTES))),
    ],
    ids=lambda message: message.kind.name,
)
@pytest.mark.parametrize("dialect", Dialect)
def test_what_no_field_can_hold_is_our_own_error(codec: ModuleType, dialect: Dialect, message: Message) -> None:
    if dialect is Dialect.AMINO and message.vote is not None and message.vote.extension:
        assert codec.decode_message(dialect, codec.encode_message(dialect, message)).vote.extension == b""
        return
    with pytest.raises(InvariantError):
        codec.encode_message(dialect, message)


def test_wire_types_are_the_specifications() -> None:
    assert (VARINT, FIXED64, DELIMITED, GROUP, END_GROUP, FIXED32) == (0, 1, 2, 3, 4, 5)
