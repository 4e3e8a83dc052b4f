"""What counts as an answer: the question's own vote or proposal, changed in the timestamp only, under the validator's signature."""

from base64 import b64encode
from dataclasses import replace

import pytest
from nacl.signing import SigningKey

from cometkms import core as cores
from cometkms.agent.answers import Question, bytes_refused, check, empty, is_question, pong, public_key_response
from cometkms.agent.asking import Verdict
from cometkms.model import BlockID, Dialect, Kind, Message, Proposal, Timestamp, Vote

CORE = cores.load()
KEY = SigningKey(b"a validator's key of the tests..")
PUBLIC = bytes(KEY.verify_key)
BLOCK = BlockID(b"a" * 32, 1, b"p" * 32)
AT = Timestamp(1_700_000_000, 5)
CHAIN = "chain-1"


def question(dialect: Dialect, kind: int, extension: bytes = b"", block: BlockID = BLOCK) -> Question:
    chain = CHAIN if dialect is Dialect.PROTO else ""
    if kind == 32:
        message = Message(Kind.SIGN_PROPOSAL_REQUEST, chain, proposal=Proposal(32, 5, 0, -1, block, AT))
    else:
        vote = Vote(kind, 5, 0, block, AT, b"v" * 20, 3, b"", extension)
        message = Message(Kind.SIGN_VOTE_REQUEST, chain, vote=vote)
    wire = CORE.encode_message(dialect, message)
    return Question(dialect, CHAIN, wire, CORE.decode_message(dialect, wire))


def signed(asked: Question, key: SigningKey = KEY) -> bytes:
    """What a node answers: its own session's frame."""
    slot = CORE.key_slot(bytearray(b64encode(bytes(key) + bytes(key.verify_key))), CHAIN)
    session = CORE.session(asked.dialect, CHAIN, None, asked.wire)
    request = session.next_request()
    assert request is not None
    return session.answer_sign(slot, request.sign_bytes)[1]


QUESTIONS = [question(dialect, kind) for dialect in Dialect for kind in (1, 2, 32)]
QUESTIONS += [question(Dialect.PROTO, 2, b"e" * 5000), question(Dialect.PROTO, 2, block=BlockID())]


@pytest.mark.parametrize("asked", QUESTIONS)
def test_a_nodes_signature_verifies_and_passes_byte_for_byte(asked: Question) -> None:
    frame = signed(asked)
    assert check(CORE, PUBLIC, asked, frame) == (Verdict.SIGNED, frame)


@pytest.mark.parametrize("asked", QUESTIONS)
def test_another_keys_signature_and_that_of_another_question_are_wrong(asked: Question) -> None:
    assert check(CORE, PUBLIC, asked, signed(asked, SigningKey(b"x" * 32))) == (Verdict.WRONG, b"")
    for other in QUESTIONS:
        if other.dialect is asked.dialect and other.wire != asked.wire:
            assert check(CORE, PUBLIC, asked, signed(other))[0] is Verdict.WRONG


def test_a_changed_field_an_unsigned_timestamp_and_a_missing_extension_signature_are_wrong() -> None:
    asked = question(Dialect.PROTO, 2, b"extension")
    answer = CORE.decode_message(Dialect.PROTO, signed(asked))
    assert answer.vote is not None
    for vote in (
        replace(answer.vote, validator_index=9),
        replace(answer.vote, validator_address=b"w" * 20),
        replace(answer.vote, timestamp=Timestamp(1_700_000_001, 0)),
        replace(answer.vote, extension_signature=b""),
        replace(answer.vote, extension_signature=b"s" * 64),
        replace(answer.vote, extension=b"extension"),
        replace(answer.vote, signature=b""),
    ):
        changed = CORE.encode_message(Dialect.PROTO, replace(answer, vote=vote))
        assert check(CORE, PUBLIC, asked, changed) == (Verdict.WRONG, b""), vote


@pytest.mark.parametrize("asked", QUESTIONS)
def test_a_refusal_passes_byte_for_byte_and_the_empty_answer_of_a_node_is_none(asked: Question) -> None:
    session = CORE.session(asked.dialect, CHAIN, None, asked.wire)
    session.next_request()
    refused = session.answer_error(35, "conflict: other data at this place")
    assert check(CORE, PUBLIC, asked, refused) == (Verdict.REFUSED, refused)
    session = CORE.session(asked.dialect, CHAIN, None, asked.wire)
    session.next_request()
    nothing = session.answer_empty()
    assert check(CORE, PUBLIC, asked, nothing)[0] is Verdict.WRONG
    assert empty(CORE, asked) == nothing


@pytest.mark.parametrize("dialect", list(Dialect))
def test_pings_and_the_public_key_are_answered_as_a_signer_does(dialect: Dialect) -> None:
    chain = CHAIN if dialect is Dialect.PROTO else ""
    for message in (Message(Kind.PING_REQUEST), Message(Kind.PUB_KEY_REQUEST, chain)):
        wire = CORE.encode_message(dialect, message)
        session = CORE.session(dialect, CHAIN, None, wire)
        assert session.next_request() is not None
        if message.kind is Kind.PING_REQUEST:
            assert pong(CORE, dialect) == session.answer_pong()
        else:
            assert public_key_response(CORE, dialect, CHAIN, wire, PUBLIC) == session.answer_pub_key(PUBLIC)
        assert not is_question(message)


@pytest.mark.parametrize(
    "asked",
    [
        Message(Kind.SIGN_BYTES_REQUEST, value=b"v" * 32),
        Message(Kind.SIGN_RAW_BYTES_REQUEST, "chain-a", value=b"v" * 32, unique_id="id"),
    ],
    ids=["v1", "Celestia"],
)
def test_bytes_that_are_no_vote_are_refused_in_words_and_not_signed(asked: Message) -> None:
    """They are no question for the nodes."""
    assert not is_question(asked)
    wire = CORE.encode_message(Dialect.PROTO, asked)
    answer = CORE.decode_message(Dialect.PROTO, bytes_refused(CORE, Dialect.PROTO, "chain-a", wire))
    assert (answer.kind, answer.value) == (Kind.SIGN_BYTES_RESPONSE, b"")
    assert answer.error is not None
    assert answer.error.description.startswith("bytes not allowed: ")


def test_the_public_key_of_another_chain_is_refused() -> None:
    wire = CORE.encode_message(Dialect.PROTO, Message(Kind.PUB_KEY_REQUEST, "other"))
    answer = CORE.decode_message(Dialect.PROTO, public_key_response(CORE, Dialect.PROTO, CHAIN, wire, PUBLIC))
    assert answer.error is not None
    assert answer.pub_key == b""


def test_a_vote_that_v1_asks_for_without_its_extension_has_no_extension_signature() -> None:
    asked = question(Dialect.PROTO, 2, b"e")
    message = replace(asked.message, skip_extension=True)
    asked = replace(asked, wire=CORE.encode_message(Dialect.PROTO, message), message=message)
    frame = signed(asked)
    assert check(CORE, PUBLIC, asked, frame) == (Verdict.SIGNED, frame)
    assert check(CORE, PUBLIC, question(Dialect.PROTO, 2, b"e"), frame)[0] is Verdict.WRONG


@pytest.mark.parametrize("junk", [b"", b"\0", b"\x05hello", b"\xff" * 20])
def test_junk_is_wrong(junk: bytes) -> None:
    assert check(CORE, PUBLIC, QUESTIONS[0], junk) == (Verdict.WRONG, b"")
