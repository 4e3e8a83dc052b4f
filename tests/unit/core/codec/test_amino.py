"""v0.33: bytes are understood as go-amino understands them (PROTOCOL §3)."""

from types import ModuleType

import pytest

from cometkms.errors import InvariantError, ProtocolError
from cometkms.model import BlockID, Dialect, Kind, Message, RemoteSignerError, Timestamp, Vote
from tests.unit.core.codec.wire import END_GROUP, FIXED32, FIXED64, GROUP, framed, number, part, tag, varint

AMINO = Dialect.AMINO
SIGN_VOTE = bytes.fromhex("f3f41204")
SIGN_PROPOSAL = bytes.fromhex("bde498e2")
SIGNED_VOTE = bytes.fromhex("b248a616")
PUB_KEY_REQUEST = bytes.fromhex("cb94d620")
PUB_KEY_RESPONSE = bytes.fromhex("170ed57c")
PING = bytes.fromhex("1badb60d")
ED25519 = bytes.fromhex("1624de64")


def vote_of(codec: ModuleType, *fields: bytes) -> Vote:
    vote = codec.decode_message(AMINO, framed(SIGN_VOTE, part(1, *fields))).vote
    assert isinstance(vote, Vote)
    return vote


def refuses(codec: ModuleType, *contents: bytes) -> None:
    with pytest.raises(ProtocolError):
        codec.decode_message(AMINO, framed(*contents))


def test_a_request_carries_no_chain_id(codec: ModuleType) -> None:
    assert codec.decode_message(AMINO, framed(PUB_KEY_REQUEST)) == Message(Kind.PUB_KEY_REQUEST)
    assert codec.encode_message(AMINO, Message(Kind.PUB_KEY_REQUEST, "test-1")) == framed(PUB_KEY_REQUEST)


def test_an_absent_or_empty_timestamp_is_1970_and_1970_is_left_out(codec: ModuleType) -> None:
    assert vote_of(codec).timestamp == vote_of(codec, part(5)).timestamp == Timestamp(0, 0)
    encoded = codec.encode_message(AMINO, Message(Kind.SIGN_VOTE_REQUEST, vote=Vote(type=1, timestamp=Timestamp(0, 0))))
    assert encoded == framed(SIGN_VOTE, part(1, number(1, 1)))


def test_a_timestamp_may_lack_its_seconds(codec: ModuleType) -> None:
    assert vote_of(codec, part(5, number(2, 7))).timestamp == Timestamp(0, 7)


def test_embedded_values_that_hold_nothing_are_left_out_but_pointers_are_not(codec: ModuleType) -> None:
    empty = Vote(timestamp=Timestamp(0, 0), block_id=BlockID(b"h" * 32))
    encoded = codec.encode_message(AMINO, Message(Kind.SIGN_VOTE_REQUEST, vote=empty))
    assert encoded == framed(SIGN_VOTE, part(1, part(4, part(1, b"h" * 32))))
    bare = Message(Kind.SIGNED_VOTE_RESPONSE, vote=Vote(timestamp=Timestamp(0, 0)), error=RemoteSignerError())
    assert codec.encode_message(AMINO, bare) == framed(SIGNED_VOTE, part(1), part(2))
    assert codec.decode_message(AMINO, framed(SIGNED_VOTE, part(1), part(2))) == bare


def test_fields_behind_the_known_ones_are_skipped(codec: ModuleType) -> None:
    unknown = number(20, 1) + tag(21, FIXED64) + bytes(8) + part(22, b"x") + tag(23, FIXED32) + bytes(4)
    block = part(4, part(1, b"h" * 32), part(2, number(1, 3), unknown), unknown)
    decoded = codec.decode_message(AMINO, framed(SIGN_VOTE, part(1, number(1, 1), block, unknown), unknown))
    expected = Vote(type=1, block_id=BlockID(b"h" * 32, 3), timestamp=Timestamp(0, 0))
    assert decoded == Message(Kind.SIGN_VOTE_REQUEST, vote=expected)


@pytest.mark.parametrize("body", [b"", b"\x01\x02\x03\x04", b"\x01\x02\x03\x04garbage", b"\0\1\2\3" + PING])
def test_nil_and_unknown_names_are_of_unknown_kind(codec: ModuleType, body: bytes) -> None:
    assert codec.decode_message(AMINO, framed(body)) == Message(Kind.UNKNOWN)


def test_an_unknown_kind_encodes_as_nil(codec: ModuleType) -> None:
    assert codec.encode_message(AMINO, Message(Kind.UNKNOWN)) == b"\0"


def test_a_name_cut_short_is_refused(codec: ModuleType) -> None:
    for size in (1, 2, 3):
        refuses(codec, SIGN_VOTE[:size])


MALFORMED_VOTES = {
    "field twice": number(2, 5) + number(2, 6),
    "fields that descend": number(3, 1) + number(2, 5),
    "field number zero": b"\x00\x01",
    "field number over 29 bits": number(1 << 29, 1),
    "group": tag(20, GROUP) + tag(20, END_GROUP),
    "varint over 64 bits": b"\x10" + b"\xff" * 9 + b"\x7f",
    "tag over 64 bits": b"\xff" * 9 + b"\x02",
    "length over 64 bits": b"\x32" + b"\x80" * 9 + b"\x02",
    "varint cut short": b"\x10\x80",
    "length beyond the end": b"\x32\x05abcd",
    "bytes where a number belongs": part(2, b"5"),
    "number where bytes belong": number(6, 5),
    "type over a byte": number(1, 256),
    "type that is negative": number(1, -1),
    "round over 32 bits": number(3, 1 << 31),
    "round below 32 bits": number(3, -(1 << 31) - 1),
    "index over 32 bits": number(7, 1 << 31),
    "total that is negative": part(4, part(2, number(1, -1))),
    "total over 32 bits": part(4, part(2, number(1, 1 << 32))),
    "nanoseconds over a second": part(5, number(2, 1_000_000_000)),
    "nanoseconds that are negative": part(5, number(2, -1)),
    "seconds before the year 1": part(5, number(1, -62135596801)),
    "seconds after the year 9999": part(5, number(1, 253402300800)),
    "timestamp with another field": part(5, number(1, 1), number(3, 1)),
    "timestamp of another wire type": part(5, tag(1, FIXED64) + bytes(8)),
}


@pytest.mark.parametrize("fields", MALFORMED_VOTES.values(), ids=MALFORMED_VOTES.keys())
def test_a_malformed_vote_is_refused_whole(codec: ModuleType, fields: bytes) -> None:
    refuses(codec, SIGN_VOTE, part(1, fields))


def test_the_ends_of_every_range_decode(codec: ModuleType) -> None:
    vote = vote_of(codec, number(1, 255), number(2, -1), number(3, -1), part(5, number(1, -62135596800)), number(7, -1))
    assert (vote.type, vote.height, vote.round, vote.validator_index) == (255, -1, -1, -1)
    assert vote_of(codec, part(5, number(1, 253402300799), number(2, 999_999_999))).timestamp.nanos == 999_999_999


def test_a_proposals_pol_round_may_be_minus_one(codec: ModuleType) -> None:
    decoded = codec.decode_message(AMINO, framed(SIGN_PROPOSAL, part(1, number(1, 32), number(4, -1))))
    assert decoded.proposal.pol_round == -1


def test_public_keys(codec: ModuleType) -> None:
    key = part(1, ED25519, varint(32), b"k" * 32)
    assert codec.decode_message(AMINO, framed(PUB_KEY_RESPONSE, key)).pub_key == b"k" * 32
    other = part(1, bytes.fromhex("eb5ae987"), varint(33), b"s" * 33)
    assert codec.decode_message(AMINO, framed(PUB_KEY_RESPONSE, other)).pub_key == b"\x02" + b"s" * 33
    # tendermint/PubKeyMultisigThreshold
    foreign = part(1, bytes.fromhex("22c1f7e2"), varint(33), b"m" * 33)
    assert codec.decode_message(AMINO, framed(PUB_KEY_RESPONSE, foreign)).pub_key == b""
    for known in (key, other):
        wire = framed(PUB_KEY_RESPONSE, known)
        assert codec.encode_message(AMINO, codec.decode_message(AMINO, wire)) == wire
    with pytest.raises(InvariantError):
        codec.encode_message(AMINO, Message(Kind.PUB_KEY_RESPONSE, pub_key=b"\x05" + b"e" * 33))
    refuses(codec, PUB_KEY_RESPONSE, part(1, bytes.fromhex("eb5ae987"), varint(32), b"s" * 32))
    refuses(codec, PUB_KEY_RESPONSE, part(1, ED25519, varint(31), b"k" * 31))
    refuses(codec, PUB_KEY_RESPONSE, part(1, ED25519, varint(32), b"k" * 32, b"\0"))
    refuses(codec, PUB_KEY_RESPONSE, part(1, ED25519))
    refuses(codec, PUB_KEY_RESPONSE, part(1, b"\x16\x24"))
