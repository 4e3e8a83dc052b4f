"""Canonical sign bytes: written in one way only, and read only if written so (PROTOCOL §4)."""

from dataclasses import replace
from types import ModuleType

import pytest

from cometkms.errors import InvariantError, ProtocolError
from cometkms.limits import CHAIN_ID_MAX_BYTES, HEIGHT_MAX, ROUND_MAX, SIGN_BYTES_MAX_BYTES, VOTE_EXTENSION_MAX_BYTES
from cometkms.model import HRS, BlockID, Dialect, Proposal, SignBytes, Timestamp, Vote
from tests.unit.core.codec.wire import FIXED64, framed, number, part, tag

BLOCK = BlockID(b"h" * 32, 3, b"p" * 32)
NOW = Timestamp(1_700_000_000, 5)
VOTE = Vote(2, 10, 1, BLOCK, NOW)
PROPOSAL = Proposal(32, 10, 1, -1, BLOCK, NOW)

PROTO_HEADER = part(2, number(1, 3), part(2, b"p" * 32))
AMINO_HEADER = part(2, part(1, b"p" * 32), number(2, 3))
TIME = number(1, 1_700_000_000) + number(2, 5)


def fixed64(field: int, value: int) -> bytes:
    return tag(field, FIXED64) + value.to_bytes(8, "little", signed=True)


def vote_body(dialect: Dialect = Dialect.PROTO) -> list[bytes]:
    header = AMINO_HEADER if dialect is Dialect.AMINO else PROTO_HEADER
    block = part(4, part(1, b"h" * 32), header)
    return [number(1, 2), fixed64(2, 10), fixed64(3, 1), block, part(5, TIME), part(6, b"c")]


def proposal_body(dialect: Dialect = Dialect.PROTO) -> list[bytes]:
    header, pol_round = PROTO_HEADER, number(4, -1)
    if dialect is Dialect.AMINO:
        header, pol_round = AMINO_HEADER, fixed64(4, -1)
    block = part(5, part(1, b"h" * 32), header)
    return [number(1, 32), fixed64(2, 10), fixed64(3, 1), pol_round, block, part(6, TIME), part(7, b"c")]


def refuses(codec: ModuleType, untrusted: bytes) -> None:
    with pytest.raises(ProtocolError):
        codec.parse_sign_bytes(untrusted)
    assert not codec.same_but_timestamp(untrusted, untrusted)


@pytest.mark.parametrize("dialect", Dialect)
def test_each_dialect_writes_its_own_form_and_both_are_read(codec: ModuleType, dialect: Dialect) -> None:
    for ballot, body in ((VOTE, vote_body(dialect)), (PROPOSAL, proposal_body(dialect))):
        written = codec.canonical_sign_bytes(dialect, "c", ballot)
        assert written == framed(*body)
        step = 3 if ballot is VOTE else 1
        assert codec.parse_sign_bytes(written) == SignBytes(ballot.type, HRS(10, 1, step), NOW, "c", b"h" * 32)


def test_zero_values_are_left_out_but_not_the_timestamp(codec: ModuleType) -> None:
    vote = Vote(1, timestamp=Timestamp(0, 0))
    assert codec.canonical_sign_bytes(Dialect.PROTO, "", vote) == framed(number(1, 1), part(5))


def test_amino_leaves_out_a_timestamp_of_1970(codec: ModuleType) -> None:
    written = codec.canonical_sign_bytes(Dialect.AMINO, "c", Vote(1, timestamp=Timestamp(0, 0)))
    assert written == framed(number(1, 1), part(6, b"c"))
    assert codec.parse_sign_bytes(written).timestamp == Timestamp(0, 0)


@pytest.mark.parametrize("dialect", Dialect)
def test_the_largest_sign_bytes_fit_their_bound(codec: ModuleType, dialect: Dialect) -> None:
    largest = Proposal(
        32,
        HEIGHT_MAX,
        ROUND_MAX,
        -1,
        BlockID(b"h" * 32, (1 << 32) - 1, b"p" * 32),
        Timestamp(-62135596800, 999_999_999),
    )
    written = codec.canonical_sign_bytes(dialect, "c" * CHAIN_ID_MAX_BYTES, largest)
    assert 190 < len(written) <= SIGN_BYTES_MAX_BYTES
    assert codec.parse_sign_bytes(written).hrs == HRS(HEIGHT_MAX, ROUND_MAX, 1)


def test_what_nobody_may_sign_has_no_canonical_form(codec: ModuleType) -> None:
    for ballot in (replace(VOTE, type=32), replace(VOTE, height=-1), replace(PROPOSAL, type=1)):
        with pytest.raises(InvariantError):
            codec.canonical_sign_bytes(Dialect.PROTO, "c", ballot)
    with pytest.raises(InvariantError):
        codec.canonical_sign_bytes(Dialect.PROTO, "c" * (CHAIN_ID_MAX_BYTES + 1), VOTE)


VALID = framed(*vote_body())
TYPE, HEIGHT, ROUND, BLOCK_ID, TIMESTAMP, CHAIN = vote_body()
P_TYPE, P_HEIGHT, P_ROUND, P_POL, P_BLOCK_ID, P_TIMESTAMP, P_CHAIN = proposal_body()
NOT_CANONICAL = {
    "nothing": b"",
    "empty body": b"\0",
    "cut short": VALID[:-1],
    "a byte behind": VALID + b"\0",
    "no length": VALID[1:],
    "padded length": b"\x80\x00" + VALID[1:],
    "padded length of the right value": bytes([VALID[0] | 0x80, 0x00]) + VALID[1:],
    "no type": framed(HEIGHT, ROUND, BLOCK_ID, TIMESTAMP, CHAIN),
    "type zero written": framed(number(1, 0), HEIGHT, TIMESTAMP, CHAIN),
    "type unknown": framed(number(1, 3), HEIGHT, TIMESTAMP, CHAIN),
    "type of 64 bits": framed(number(1, (1 << 32) + 2), HEIGHT, TIMESTAMP, CHAIN),
    "type padded": framed(b"\x08\x82\x00", HEIGHT, TIMESTAMP, CHAIN),
    "tag padded": framed(b"\x88\x00\x02", HEIGHT, TIMESTAMP, CHAIN),
    "type twice": framed(TYPE, TYPE, HEIGHT, TIMESTAMP, CHAIN),
    "height as varint": framed(TYPE, number(2, 10), TIMESTAMP, CHAIN),
    "height zero written": framed(TYPE, fixed64(2, 0), TIMESTAMP, CHAIN),
    "height negative": framed(TYPE, fixed64(2, -1), TIMESTAMP, CHAIN),
    "round as varint": framed(TYPE, HEIGHT, number(3, 1), TIMESTAMP, CHAIN),
    "round negative": framed(TYPE, HEIGHT, fixed64(3, -1), TIMESTAMP, CHAIN),
    "round over 32 bits": framed(TYPE, HEIGHT, fixed64(3, 1 << 31), TIMESTAMP, CHAIN),
    "fields swapped": framed(TYPE, ROUND, HEIGHT, BLOCK_ID, TIMESTAMP, CHAIN),
    "no timestamp but parts of protobuf": framed(TYPE, HEIGHT, ROUND, BLOCK_ID, CHAIN),
    "timestamp twice": framed(TYPE, HEIGHT, TIMESTAMP, TIMESTAMP, CHAIN),
    "timestamp zero written": framed(TYPE, HEIGHT, part(5, number(1, 0)), CHAIN),
    "timestamp of a negative nanosecond": framed(TYPE, HEIGHT, part(5, number(2, -1)), CHAIN),
    "timestamp in the year 10000": framed(TYPE, HEIGHT, part(5, number(1, 253402300800)), CHAIN),
    "timestamp with a stranger": framed(TYPE, HEIGHT, part(5, TIME, number(3, 1)), CHAIN),
    "nil block written": framed(TYPE, HEIGHT, part(4, part(2)), TIMESTAMP, CHAIN),
    "block without header": framed(TYPE, HEIGHT, part(4, part(1, b"h" * 32)), TIMESTAMP, CHAIN),
    "block with a hash of 31 bytes": framed(TYPE, HEIGHT, part(4, part(1, b"h" * 31), PROTO_HEADER), TIMESTAMP, CHAIN),
    "header of hash alone": framed(TYPE, HEIGHT, part(4, part(1, b"h" * 32), part(2, part(2, b"p" * 32))), TIMESTAMP),
    "header swapped": framed(
        TYPE, HEIGHT, part(4, part(1, b"h" * 32), part(2, part(2, b"p" * 32), number(1, 3))), TIMESTAMP, CHAIN
    ),
    "chain id twice": framed(TYPE, HEIGHT, TIMESTAMP, CHAIN, CHAIN),
    "chain id empty": framed(TYPE, HEIGHT, TIMESTAMP, part(6)),
    "chain id too long": framed(TYPE, HEIGHT, TIMESTAMP, part(6, b"c" * (CHAIN_ID_MAX_BYTES + 1))),
    "a stranger behind": framed(TYPE, HEIGHT, TIMESTAMP, CHAIN, number(7, 1)),
    "a group behind": framed(TYPE, HEIGHT, TIMESTAMP, CHAIN, b"\x3b\x3c"),
    "pol round of a vote": framed(TYPE, HEIGHT, number(4, 1), TIMESTAMP, CHAIN),
    "pol round below minus one": framed(P_TYPE, P_HEIGHT, P_ROUND, number(4, -2), P_TIMESTAMP, P_CHAIN),
    "pol round zero written": framed(P_TYPE, P_HEIGHT, P_ROUND, number(4, 0), P_TIMESTAMP, P_CHAIN),
    "amino's pol round with protobuf's block": framed(
        P_TYPE, P_HEIGHT, P_ROUND, fixed64(4, -1), P_BLOCK_ID, P_TIMESTAMP, P_CHAIN
    ),
    "a vote extension": framed(part(1, b"extension"), HEIGHT, ROUND, part(4, b"c")),
    "more than the bound": framed(TYPE, part(6, b"c" * SIGN_BYTES_MAX_BYTES)),
}


@pytest.mark.parametrize("untrusted", NOT_CANONICAL.values(), ids=NOT_CANONICAL.keys())
def test_bytes_that_are_not_strictly_canonical_are_refused(codec: ModuleType, untrusted: bytes) -> None:
    assert codec.parse_sign_bytes(VALID).type == 2
    refuses(codec, untrusted)


def test_every_byte_flipped_is_refused_or_says_something_else(codec: ModuleType) -> None:
    """No two byte strings mean the same: whatever still parses must re-encode to itself, so it
    differs in meaning.
    """
    original = codec.parse_sign_bytes(VALID)
    for at in range(len(VALID)):
        for bit in range(8):
            bent = bytearray(VALID)
            bent[at] ^= 1 << bit
            try:
                parsed = codec.parse_sign_bytes(bytes(bent))
            except ProtocolError:
                continue
            assert parsed != original or bytes(bent)[at] != VALID[at]
            assert codec.same_but_timestamp(VALID, bytes(bent)) == (
                VALID.index(TIMESTAMP) <= at < VALID.index(TIMESTAMP) + len(TIMESTAMP)
            )


def test_same_but_timestamp_looks_past_timestamps_of_any_length(codec: ModuleType) -> None:
    """The length prefix grows with the timestamp, here over the edge from one byte to two."""
    times = [Timestamp(0, 0), Timestamp(0, 1), NOW, Timestamp(-62135596800, 999_999_999)]
    chain = "chain-of-just-the-right-size"
    for dialect in Dialect:
        written = [codec.canonical_sign_bytes(dialect, chain, replace(VOTE, timestamp=t)) for t in times]
        assert len({len(one) for one in written}) > 2
        assert written[0][0] < 0x80 <= written[-1][0]
        for one in written:
            assert all(codec.same_but_timestamp(one, other) for other in written)


@pytest.mark.parametrize(
    "other",
    [
        replace(VOTE, type=1),
        replace(VOTE, height=11),
        replace(VOTE, round=2),
        replace(VOTE, round=0),
        replace(VOTE, block_id=BlockID()),
        replace(VOTE, block_id=BlockID(b"i" * 32, 3, b"p" * 32)),
        replace(VOTE, block_id=BlockID(b"h" * 32, 4, b"p" * 32)),
        replace(VOTE, block_id=BlockID(b"h" * 32, 3, b"q" * 32)),
        PROPOSAL,
    ],
    ids=["type", "height", "round", "no round", "nil", "hash", "total", "parts", "proposal"],
)
@pytest.mark.parametrize("dialect", Dialect)
def test_same_but_timestamp_sees_every_other_difference(
    codec: ModuleType, dialect: Dialect, other: Vote | Proposal
) -> None:
    one = codec.canonical_sign_bytes(dialect, "c", VOTE)
    later = codec.canonical_sign_bytes(dialect, "c", replace(other, timestamp=Timestamp(1_800_000_000, 0)))
    assert not codec.same_but_timestamp(one, later)
    assert not codec.same_but_timestamp(later, one)
    assert not codec.same_but_timestamp(one, codec.canonical_sign_bytes(dialect, "d", VOTE))


def test_pol_rounds_differ_too(codec: ModuleType) -> None:
    one, two = (codec.canonical_sign_bytes(Dialect.PROTO, "c", replace(PROPOSAL, pol_round=r)) for r in (-1, 0))
    assert not codec.same_but_timestamp(one, two)


def test_an_extensions_sign_bytes_hold_place_and_chain(codec: ModuleType) -> None:
    written = codec.extension_sign_bytes("c", HRS(10, 1, 3), b"ext")
    assert written == framed(part(1, b"ext"), fixed64(2, 10), fixed64(3, 1), part(4, b"c"))
    assert codec.extension_sign_bytes("", HRS(0, 0, 3), b"") == b"\0"


def test_the_largest_extension_has_sign_bytes_and_a_larger_one_has_none(codec: ModuleType) -> None:
    largest = codec.extension_sign_bytes("c" * CHAIN_ID_MAX_BYTES, HRS(HEIGHT_MAX, ROUND_MAX, 3), bytes(1 << 20))
    assert len(largest) > VOTE_EXTENSION_MAX_BYTES
    for chain, place, size in (
        ("c", HRS(1, 0, 3), VOTE_EXTENSION_MAX_BYTES + 1),
        ("c" * (CHAIN_ID_MAX_BYTES + 1), HRS(1, 0, 3), 0),
        ("c", HRS(HEIGHT_MAX + 1, 0, 3), 0),
        ("c", HRS(1, ROUND_MAX + 1, 3), 0),
    ):
        with pytest.raises(InvariantError):
            codec.extension_sign_bytes(chain, place, bytes(size))


def test_text_that_is_not_utf8_is_read_as_it_stands(codec: ModuleType) -> None:
    """It is no configured chain's name, but reading it must not fail in another way
    than by refusing.
    """
    written = framed(TYPE, HEIGHT, TIMESTAMP, part(6, b"\xff"))
    assert codec.parse_sign_bytes(written).chain_id == "\udcff"
