"""Which requests make sense for a chain (PROTOCOL "What each request gets")."""

from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from cometkms.limits import (
    CHAIN_ID_MAX_BYTES,
    HEIGHT_MAX,
    RAW_UNIQUE_ID_MAX_BYTES,
    RAW_VALUE_MAX_BYTES,
    ROUND_MAX,
    VOTE_EXTENSION_MAX_BYTES,
)
from cometkms.model import HRS, BlockID, Dialect, Kind, Message, Proposal, Reason, Request, Timestamp, Vote

CHAIN = "test-1"
BLOCK = BlockID(b"h" * 32, 1, b"p" * 32)
NOW = Timestamp(1_700_000_000, 5)
PRECOMMIT = Vote(2, 10, 1, BLOCK, NOW, b"a" * 20, 3)
PREVOTE = replace(PRECOMMIT, type=1)
PROPOSAL = Proposal(32, 10, 1, -1, BLOCK, NOW)
ZERO = HRS(0, 0, 0)


def request_for(ballot: Vote | Proposal | None, chain_id: str = CHAIN, kind: Kind | None = None) -> Message:
    if isinstance(ballot, Proposal):
        return Message(kind or Kind.SIGN_PROPOSAL_REQUEST, chain_id, proposal=ballot)
    return Message(kind or Kind.SIGN_VOTE_REQUEST, chain_id, vote=ballot)


def judged(codec: ModuleType, ballot: Vote | Proposal | None, dialect: Dialect = Dialect.PROTO) -> Request:
    request = codec.check_request(dialect, CHAIN, request_for(ballot))
    assert isinstance(request, Request)
    return request


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize(
    ("ballot", "hrs"),
    [(PROPOSAL, HRS(10, 1, 1)), (PREVOTE, HRS(10, 1, 2)), (PRECOMMIT, HRS(10, 1, 3))],
    ids=["proposal", "prevote", "precommit"],
)
def test_a_sensible_request_says_where_and_what(
    codec: ModuleType, dialect: Dialect, ballot: Vote | Proposal, hrs: HRS
) -> None:
    request = judged(codec, ballot, dialect)
    assert (request.reason, request.hrs, request.timestamp) == (Reason.NONE, hrs, NOW)
    assert (request.block_hash, request.chain_id) == (b"h" * 32, CHAIN)
    parsed = codec.parse_sign_bytes(request.sign_bytes)
    assert (parsed.hrs, parsed.timestamp, parsed.chain_id) == (hrs, NOW, CHAIN)


SENSIBLE: dict[str, Vote | Proposal] = {
    "nil precommit": replace(PRECOMMIT, block_id=BlockID()),
    "nil prevote": replace(PREVOTE, block_id=BlockID()),
    "nil proposal, which FilePV signs": replace(PROPOSAL, block_id=BlockID()),
    "height zero, which FilePV signs": replace(PRECOMMIT, height=0),
    "largest height": replace(PRECOMMIT, height=HEIGHT_MAX),
    "largest round": replace(PRECOMMIT, round=ROUND_MAX),
    "no address": replace(PRECOMMIT, validator_address=b""),
    "pol round zero": replace(PROPOSAL, pol_round=0),
    "first second": replace(PRECOMMIT, timestamp=Timestamp(-62135596800, 0)),
    "last nanosecond": replace(PRECOMMIT, timestamp=Timestamp(253402300799, 999_999_999)),
    "extension": replace(PRECOMMIT, extension=b"x"),
    "largest extension": replace(PRECOMMIT, extension=bytes(VOTE_EXTENSION_MAX_BYTES)),
    "stale signatures, which are ignored": replace(PREVOTE, signature=b"s", extension_signature=b"s"),
}


@pytest.mark.parametrize("ballot", SENSIBLE.values(), ids=SENSIBLE.keys())
def test_the_ends_of_what_is_sensible(codec: ModuleType, ballot: Vote | Proposal) -> None:
    request = judged(codec, ballot)
    assert request.reason is Reason.NONE
    assert codec.parse_sign_bytes(request.sign_bytes).hrs == request.hrs


SENSELESS: list[tuple[Reason, Vote | Proposal | None]] = [
    (Reason.MISSING_PAYLOAD, None),
    *((Reason.BAD_TYPE, replace(PRECOMMIT, type=t)) for t in (0, 3, 32, -1, 258)),
    *((Reason.BAD_TYPE, replace(PROPOSAL, type=t)) for t in (0, 1, 2, 31, 33)),
    (Reason.NEGATIVE_HEIGHT, replace(PRECOMMIT, height=-1)),
    (Reason.NEGATIVE_HEIGHT, replace(PROPOSAL, height=-(1 << 63))),
    (Reason.NEGATIVE_ROUND, replace(PRECOMMIT, round=-1)),
    (Reason.NEGATIVE_ROUND, replace(PROPOSAL, round=-(1 << 31))),
    *(
        (Reason.BAD_BLOCK_ID, replace(PRECOMMIT, block_id=block_id))
        for block_id in (
            BlockID(hash=b"h" * 32),
            BlockID(parts_hash=b"p" * 32),
            BlockID(parts_total=1),
            BlockID(b"h" * 32, 0, b"p" * 32),
            BlockID(b"h" * 32, 1),
            BlockID(b"", 1, b"p" * 32),
            BlockID(b"h" * 31, 1, b"p" * 32),
            BlockID(b"h" * 33, 1, b"p" * 32),
            BlockID(b"h" * 32, 1, b"p" * 31),
            BlockID(b"h" * 32, 1, b"p" * 33),
        )
    ),
    (Reason.BAD_BLOCK_ID, replace(PROPOSAL, block_id=BlockID(hash=b"h" * 32))),
    (Reason.UNEXPECTED_EXTENSION, replace(PREVOTE, extension=b"x")),
    (Reason.UNEXPECTED_EXTENSION, replace(PRECOMMIT, block_id=BlockID(), extension=b"x")),
    (Reason.UNEXPECTED_EXTENSION, replace(PRECOMMIT, extension=bytes(VOTE_EXTENSION_MAX_BYTES + 1))),
    *(
        (Reason.BAD_TIMESTAMP, replace(PRECOMMIT, timestamp=timestamp))
        for timestamp in (
            Timestamp(0, -1),
            Timestamp(0, 1_000_000_000),
            Timestamp(-62135596801, 0),
            Timestamp(253402300800, 0),
            Timestamp(-(1 << 63), 0),
        )
    ),
    (Reason.BAD_POL_ROUND, replace(PROPOSAL, pol_round=-2)),
    *((Reason.BAD_ADDRESS, replace(PRECOMMIT, validator_address=bytes(size))) for size in (1, 19, 21)),
]


@pytest.mark.parametrize(
    ("reason", "ballot"), SENSELESS, ids=lambda value: value.name if isinstance(value, Reason) else ""
)
def test_a_senseless_request_gets_its_reason_and_nothing_to_sign(
    codec: ModuleType, reason: Reason, ballot: Vote | Proposal | None
) -> None:
    request = judged(codec, ballot)
    kind = Kind.SIGN_PROPOSAL_REQUEST if isinstance(ballot, Proposal) else Kind.SIGN_VOTE_REQUEST
    assert request == Request(kind, reason, CHAIN, ZERO, b"", Timestamp(), b"")


def test_the_first_reason_in_the_order_of_their_numbers_is_given(codec: ModuleType) -> None:
    """Mend one fault after the other: each time the next reason appears."""
    vote = Vote(
        type=0,
        height=-1,
        round=-1,
        block_id=BlockID(b"h"),
        timestamp=Timestamp(0, -1),
        validator_address=b"a",
        extension=b"x",
    )
    mends: list[tuple[Reason, dict[str, Any]]] = [
        (Reason.BAD_TYPE, {"type": 1}),
        (Reason.NEGATIVE_HEIGHT, {"height": 1}),
        (Reason.NEGATIVE_ROUND, {"round": 1}),
        (Reason.BAD_BLOCK_ID, {"block_id": BLOCK}),
        (Reason.UNEXPECTED_EXTENSION, {"extension": b""}),
        (Reason.BAD_TIMESTAMP, {"timestamp": NOW}),
        (Reason.BAD_ADDRESS, {"validator_address": b""}),
    ]
    assert codec.check_request(Dialect.PROTO, CHAIN, request_for(vote, "other")).reason is Reason.WRONG_CHAIN
    assert codec.check_request(Dialect.PROTO, CHAIN, request_for(vote, "")).reason is Reason.EMPTY_CHAIN
    for reason, mend in mends:
        assert judged(codec, vote).reason is reason
        vote = replace(vote, **mend)
    assert judged(codec, vote).reason is Reason.NONE


@pytest.mark.parametrize("kind", [Kind.PUB_KEY_REQUEST, Kind.SIGN_VOTE_REQUEST])
@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ("", Reason.EMPTY_CHAIN),
        ("test-2", Reason.WRONG_CHAIN),
        ("test-1 ", Reason.WRONG_CHAIN),
        ("Test-1", Reason.WRONG_CHAIN),
        ("test-1\0", Reason.WRONG_CHAIN),
        ("test-", Reason.WRONG_CHAIN),
        ("\udcff", Reason.WRONG_CHAIN),
        ("test-1", Reason.NONE),
    ],
)
def test_the_chain_must_be_the_configured_one_byte_for_byte(
    codec: ModuleType, kind: Kind, asked: str, reason: Reason
) -> None:
    vote = PRECOMMIT if kind is Kind.SIGN_VOTE_REQUEST else None
    request = codec.check_request(Dialect.PROTO, CHAIN, Message(kind, asked, vote=vote))
    assert (request.reason, request.chain_id) == (reason, asked)


def test_amino_requests_are_for_the_configured_chain(codec: ModuleType) -> None:
    request = codec.check_request(Dialect.AMINO, CHAIN, Message(Kind.PUB_KEY_REQUEST))
    assert (request.reason, request.chain_id) == (Reason.NONE, CHAIN)
    assert codec.check_request(Dialect.AMINO, "", request_for(PRECOMMIT)).reason is Reason.EMPTY_CHAIN


@pytest.mark.parametrize("dialect", Dialect)
def test_nothing_is_signed_for_a_chain_whose_name_is_too_long(codec: ModuleType, dialect: Dialect) -> None:
    longest = "c" * CHAIN_ID_MAX_BYTES
    assert codec.check_request(dialect, longest, request_for(PROPOSAL, longest)).reason is Reason.NONE
    request = codec.check_request(dialect, longest + "c", request_for(PROPOSAL, longest + "c"))
    assert (request.reason, request.sign_bytes, request.hrs) == (Reason.WRONG_CHAIN, b"", ZERO)


@pytest.mark.parametrize("kind", set(Kind) - {1, 3, 5, 7, 9, 11}, ids=lambda kind: kind.name)
def test_what_is_no_request_is_of_unknown_kind(codec: ModuleType, kind: Kind) -> None:
    message = Message(kind, CHAIN, vote=PRECOMMIT, proposal=PROPOSAL)
    assert codec.check_request(Dialect.PROTO, CHAIN, message) == Request(
        kind, Reason.UNKNOWN_KIND, CHAIN, ZERO, b"", Timestamp(), b""
    )


SIGN_BYTES = Message(Kind.SIGN_BYTES_REQUEST, value=b"v" * 32)
SIGN_RAW = Message(Kind.SIGN_RAW_BYTES_REQUEST, CHAIN, value=b"v" * 32, unique_id="id")


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (SIGN_BYTES, Reason.NONE),
        (replace(SIGN_BYTES, value=b"v" * RAW_VALUE_MAX_BYTES), Reason.NONE),
        (replace(SIGN_BYTES, value=b""), Reason.BAD_BYTES),
        (replace(SIGN_BYTES, value=b"v" * (RAW_VALUE_MAX_BYTES + 1)), Reason.BAD_BYTES),
        (replace(SIGN_BYTES, has_others=True), Reason.BAD_BYTES),
        (replace(SIGN_BYTES, value=b"COMET::RAW_BYTES::SIGN" + b"x" * 40), Reason.BYTES_ARE_A_VOTE),
        (SIGN_RAW, Reason.NONE),
        (replace(SIGN_RAW, value=b"v" * RAW_VALUE_MAX_BYTES), Reason.NONE),
        (replace(SIGN_RAW, unique_id="i" * RAW_UNIQUE_ID_MAX_BYTES), Reason.NONE),
        (replace(SIGN_RAW, unique_id="i" * (RAW_UNIQUE_ID_MAX_BYTES + 1)), Reason.BAD_BYTES),
        (replace(SIGN_RAW, chain_id=""), Reason.EMPTY_CHAIN),
        (replace(SIGN_RAW, chain_id="other-1"), Reason.WRONG_CHAIN),
        (replace(SIGN_RAW, value=b""), Reason.BAD_BYTES),
        (replace(SIGN_RAW, value=b"v" * (RAW_VALUE_MAX_BYTES + 1)), Reason.BAD_BYTES),
        (replace(SIGN_RAW, unique_id=""), Reason.BAD_BYTES),
        (replace(SIGN_RAW, has_others=True), Reason.BAD_BYTES),
    ],
)
def test_bytes_that_are_no_vote_have_no_place_and_make_sense_or_not(
    codec: ModuleType, message: Message, reason: Reason
) -> None:
    """Whether they are allowed is no question of the codec's."""
    assert codec.check_request(Dialect.PROTO, CHAIN, message) == Request(
        message.kind, reason, message.chain_id, ZERO, b"", Timestamp(), b"", message.value, message.unique_id
    )


@pytest.mark.parametrize(
    "vote",
    [
        replace(PREVOTE, extension=b"x"),
        replace(PRECOMMIT, block_id=BlockID(), extension=b"x"),
        replace(PRECOMMIT, extension=bytes(VOTE_EXTENSION_MAX_BYTES + 1)),
    ],
    ids=["prevote", "nil precommit", "too large"],
)
def test_nobody_looks_at_an_extension_that_is_to_be_skipped(codec: ModuleType, vote: Vote) -> None:
    """FilePV v1.x does not either; without the word it is refused."""
    assert codec.check_request(Dialect.PROTO, CHAIN, request_for(vote)).reason is Reason.UNEXPECTED_EXTENSION
    skipped = codec.check_request(Dialect.PROTO, CHAIN, replace(request_for(vote), skip_extension=True))
    bare = codec.check_request(Dialect.PROTO, CHAIN, request_for(replace(vote, extension=b"")))
    assert skipped == bare
    assert skipped.reason is Reason.NONE


def test_a_ping_is_always_sensible(codec: ModuleType) -> None:
    for dialect in Dialect:
        assert codec.check_request(dialect, CHAIN, Message(Kind.PING_REQUEST)).reason is Reason.NONE
