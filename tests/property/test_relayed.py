"""What counts as an answer of another signer: the request's own vote or proposal, changed in the
timestamp only, under the validator's signature.

Both cores judge alike, and what they pass on is byte for byte what a signer's own session answers.
"""

from base64 import b64encode
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from cometkms.core import native
from cometkms.core.interface import Core, Relayed
from cometkms.core.pure import core as pure
from cometkms.errors import InvariantError
from cometkms.limits import ERROR_TEXT_MAX_BYTES
from cometkms.model import BlockID, Dialect, Kind, Message, Permit, Proposal, RemoteSignerError, Timestamp, Vote

CORES: list[Core] = [native.load(), pure.CORE]
CORE = CORES[0]
KEY = SigningKey(b"a validator's key of the tests..")
PUBLIC = bytes(KEY.verify_key)
BLOCK = BlockID(b"a" * 32, 1, b"p" * 32)
AT = Timestamp(1_700_000_000, 5)
CHAIN = "chain-1"


@dataclass(frozen=True)
class Question:
    """A request as it came, and decoded."""

    dialect: Dialect
    wire: bytes
    message: Message


def question(
    dialect: Dialect, kind: int, extension: bytes = b"", block: BlockID = BLOCK, skip: bool = False
) -> Question:
    chain = CHAIN if dialect is Dialect.PROTO else ""
    if kind == 32:
        message = Message(Kind.SIGN_PROPOSAL_REQUEST, chain, proposal=Proposal(32, 5, 0, -1, block, AT))
    else:
        vote = Vote(kind, 5, 0, block, AT, b"v" * 20, 3, b"", extension)
        message = Message(Kind.SIGN_VOTE_REQUEST, chain, vote=vote, skip_extension=skip)
    wire = CORE.encode_message(dialect, message)
    return Question(dialect, wire, CORE.decode_message(dialect, wire))


def signed(asked: Question, key: SigningKey = KEY) -> bytes:
    """What a node answers: its own session's frame."""
    slot = CORE.key_slot(bytearray(b64encode(bytes(key) + bytes(key.verify_key))), CHAIN)
    session = CORE.session(asked.dialect, CHAIN, None, asked.wire)
    request = session.next_request()
    assert request is not None
    return session.answer_sign(slot, Permit(request.sign_bytes))[1]


def refused(asked: Question, words: str = "conflict: other data at this place") -> bytes:
    session = CORE.session(asked.dialect, CHAIN, None, asked.wire)
    session.next_request()
    return session.answer_error(35, words)


def judged(asked: Question, answer: bytes) -> Relayed | None:
    """What both cores say; a request that got no answer still waits for one."""
    found = []
    for core in CORES:
        session = core.session(asked.dialect, CHAIN, None, asked.wire)
        assert session.next_request() is not None
        assert session.pending_wire() == asked.wire
        found.append(session.answer_relayed(PUBLIC, answer))
        assert session.pending_wire() == (asked.wire if found[-1] is None else b"")
        if found[-1] is None:
            assert session.answer_relayed(PUBLIC, signed(asked)) is not None
        session.close()
    assert found[0] == found[1]
    return found[0]


QUESTIONS = [question(dialect, kind) for dialect in Dialect for kind in (1, 2, 32)]
QUESTIONS += [
    question(Dialect.PROTO, 2, b"e" * 5000),
    question(Dialect.PROTO, 2, block=BlockID()),
    question(Dialect.PROTO, 2, b"e", skip=True),
]


@pytest.mark.parametrize("asked", QUESTIONS)
def test_a_nodes_signature_verifies_and_passes_byte_for_byte(asked: Question) -> None:
    frame = signed(asked)
    assert judged(asked, frame) == Relayed(refused=False, frame=frame)


@pytest.mark.parametrize("asked", QUESTIONS)
def test_another_keys_signature_and_that_of_another_question_are_none(asked: Question) -> None:
    assert judged(asked, signed(asked, SigningKey(b"x" * 32))) is None
    for other in QUESTIONS:
        if other.dialect is asked.dialect and other.wire != asked.wire:
            assert judged(asked, signed(other)) is None


def test_a_changed_field_an_unsigned_timestamp_and_a_missing_extension_signature_are_none() -> None:
    asked = question(Dialect.PROTO, 2, b"extension")
    answer = CORE.decode_message(Dialect.PROTO, signed(asked))
    assert answer.vote is not None
    for vote in (
        replace(answer.vote, type=1),
        replace(answer.vote, height=6),
        replace(answer.vote, round=1),
        replace(answer.vote, block_id=BlockID()),
        replace(answer.vote, block_id=replace(BLOCK, hash=b"b" * 32)),
        replace(answer.vote, block_id=replace(BLOCK, parts_total=2)),
        replace(answer.vote, block_id=replace(BLOCK, parts_hash=b"q" * 32)),
        replace(answer.vote, validator_index=9),
        replace(answer.vote, validator_address=b"w" * 20),
        replace(answer.vote, timestamp=Timestamp(1_700_000_001, 0)),
        replace(answer.vote, extension_signature=b""),
        replace(answer.vote, extension_signature=b"s" * 64),
        replace(answer.vote, extension=b"extension"),
        replace(answer.vote, signature=b""),
        replace(answer.vote, signature=answer.vote.signature + b"s"),
    ):
        changed = CORE.encode_message(Dialect.PROTO, replace(answer, vote=vote))
        assert judged(asked, changed) is None, vote
    proposal = question(Dialect.PROTO, 32)
    said = CORE.decode_message(Dialect.PROTO, signed(proposal))
    assert said.proposal is not None
    changed = CORE.encode_message(Dialect.PROTO, replace(said, proposal=replace(said.proposal, pol_round=0)))
    assert judged(proposal, changed) is None


def test_another_timestamp_that_is_signed_is_an_answer() -> None:
    """What is known of the place already was signed with its own time (rules/sign.py, the repeat)."""
    asked = question(Dialect.PROTO, 1)
    assert asked.message.vote is not None
    later = replace(asked.message, vote=replace(asked.message.vote, timestamp=Timestamp(1_700_000_009, 1)))
    frame = signed(Question(Dialect.PROTO, CORE.encode_message(Dialect.PROTO, later), later))
    assert judged(asked, frame) == Relayed(refused=False, frame=frame)


@pytest.mark.parametrize("asked", QUESTIONS)
def test_a_refusal_passes_byte_for_byte_and_the_empty_answer_of_a_node_is_none(asked: Question) -> None:
    frame = refused(asked)
    assert judged(asked, frame) == Relayed(refused=True, frame=frame)
    session = CORE.session(asked.dialect, CHAIN, None, asked.wire)
    session.next_request()
    assert judged(asked, session.answer_empty()) is None


@pytest.mark.parametrize("asked", [QUESTIONS[0], QUESTIONS[2]])
def test_a_refusal_of_another_kind_of_question_is_none(asked: Question) -> None:
    own = Kind.SIGNED_PROPOSAL_RESPONSE if asked.message.proposal is not None else Kind.SIGNED_VOTE_RESPONSE
    for kind in (Kind.SIGNED_VOTE_RESPONSE, Kind.SIGNED_PROPOSAL_RESPONSE, Kind.PUB_KEY_RESPONSE):
        told = CORE.encode_message(asked.dialect, Message(kind, error=RemoteSignerError(35, "conflict")))
        assert (judged(asked, told) is not None) is (kind is own)


def test_a_refusal_with_more_words_than_any_node_has_and_one_without_a_reason_are_none() -> None:
    asked = question(Dialect.PROTO, 1)
    for error in (RemoteSignerError(35, "x" * (ERROR_TEXT_MAX_BYTES + 1)), RemoteSignerError(0, "x")):
        told = CORE.encode_message(Dialect.PROTO, Message(Kind.SIGNED_VOTE_RESPONSE, error=error))
        assert judged(asked, told) is None
    longest = CORE.encode_message(
        Dialect.PROTO, Message(Kind.SIGNED_VOTE_RESPONSE, error=RemoteSignerError(35, "x" * ERROR_TEXT_MAX_BYTES))
    )
    assert judged(asked, longest) is not None


def test_a_request_that_makes_no_sense_may_be_refused_and_not_signed() -> None:
    """A node says why; its signature would be over nothing that was asked."""
    wrong = Message(Kind.SIGN_VOTE_REQUEST, "other", vote=question(Dialect.PROTO, 1).message.vote)
    asked = Question(Dialect.PROTO, CORE.encode_message(Dialect.PROTO, wrong), wrong)
    frame = refused(asked)
    for core in CORES:
        session = core.session(Dialect.PROTO, CHAIN, None, asked.wire)
        session.next_request()
        assert session.answer_relayed(PUBLIC, signed(question(Dialect.PROTO, 1))) is None
        assert session.answer_relayed(PUBLIC, frame) == Relayed(refused=True, frame=frame)


@pytest.mark.parametrize("core", CORES, ids=lambda core: core.name)
def test_what_is_no_vote_and_what_is_not_pending_has_no_answer_of_another_signer(core: Core) -> None:
    session = core.session(Dialect.PROTO, CHAIN, None, CORE.encode_message(Dialect.PROTO, Message(Kind.PING_REQUEST)))
    with pytest.raises(InvariantError):
        session.answer_relayed(PUBLIC, b"\0")
    session.next_request()
    with pytest.raises(InvariantError):
        session.answer_relayed(PUBLIC, b"\0")


@pytest.mark.parametrize("junk", [b"", b"\0", b"\x05hello", b"\xff" * 20, b"\x80" * 20])
def test_junk_is_none(junk: bytes) -> None:
    assert judged(QUESTIONS[0], junk) is None
    assert judged(QUESTIONS[0], signed(QUESTIONS[0]) + junk + b"\0") is None


@given(st.sampled_from(QUESTIONS), st.integers(0, 400), st.integers(0, 255))
def test_one_changed_byte_is_judged_alike_and_never_passes_as_another_signature(
    asked: Question, at: int, value: int
) -> None:
    frame = signed(asked)
    changed = bytearray(frame)
    changed[at % len(frame)] = value
    found = judged(asked, bytes(changed))
    assert found is None or found.frame == frame or found.refused
