"""What a validator asked, and whether a node's answer is one. Pure: bytes in, a verdict out.

An answer counts if it is what the validator's own signer would say: the vote or proposal that was asked for, changed in nothing but the
timestamp, with a signature of the validator's key over exactly that; or a refusal. It is encoded anew, so that nothing else comes along.
"""

from dataclasses import dataclass, replace
from typing import Final

from cometkms.agent.asking import Verdict
from cometkms.errors import ProtocolError
from cometkms.interface import Core
from cometkms.model import Dialect, Kind, Message, Proposal, Reason, SignedType, Vote
from cometkms.rules.raw_bytes import BYTES_REFUSED

_RESPONSES: Final = {
    Kind.SIGN_VOTE_REQUEST: Kind.SIGNED_VOTE_RESPONSE,
    Kind.SIGN_PROPOSAL_REQUEST: Kind.SIGNED_PROPOSAL_RESPONSE,
}


@dataclass(frozen=True, slots=True)
class Question:
    """A validator's request for one signature. `wire`: as it came, with its length; `message`: decoded."""

    dialect: Dialect
    chain_id: str
    wire: bytes
    message: Message


def is_question(message: Message) -> bool:
    """Whether it asks for a signature."""
    return message.kind in _RESPONSES


def check(core: Core, public_key: bytes, question: Question, untrusted: bytes) -> tuple[Verdict, bytes]:
    """Judge a node's answer; with it, what the validator gets, encoded anew. b"" where it is WRONG."""
    try:
        answer = core.decode_message(question.dialect, untrusted)
    except ProtocolError:
        return Verdict.WRONG, b""
    if answer.kind is not _RESPONSES[question.message.kind]:
        return Verdict.WRONG, b""
    if answer.error is not None and answer.error.code:
        refusal = Message(answer.kind, error=answer.error, vote=answer.vote, proposal=answer.proposal)
        return Verdict.REFUSED, core.encode_message(question.dialect, refusal)
    if not _is_signed(core, public_key, question, answer):
        return Verdict.WRONG, b""
    signed = Message(answer.kind, vote=answer.vote, proposal=answer.proposal, error=answer.error)
    return Verdict.SIGNED, core.encode_message(question.dialect, signed)


def _is_signed(core: Core, public_key: bytes, question: Question, answer: Message) -> bool:
    """Whether the answer is the question's vote or proposal, signed."""
    asked, got = question.message, answer
    if asked.vote is not None and got.vote is not None and got.proposal is None:
        restamped = replace(asked.vote, timestamp=got.vote.timestamp)
        extension_signature = got.vote.extension_signature
        expected = replace(
            restamped, signature=got.vote.signature, extension=b"", extension_signature=extension_signature
        )
        return (
            got.vote == expected
            and _verifies(core, public_key, question, replace(asked, vote=restamped), got.vote.signature)
            and _extension_verifies(core, public_key, question, asked.vote, extension_signature)
        )
    if asked.proposal is not None and got.proposal is not None and got.vote is None:
        proposal: Proposal = replace(asked.proposal, timestamp=got.proposal.timestamp)
        return got.proposal == replace(proposal, signature=got.proposal.signature) and _verifies(
            core, public_key, question, replace(asked, proposal=proposal), got.proposal.signature
        )
    return False


def _verifies(core: Core, public_key: bytes, question: Question, message: Message, signature: bytes) -> bool:
    request = core.check_request(question.dialect, question.chain_id, message)
    return bool(request.sign_bytes) and core.verify(public_key, request.sign_bytes, signature)


def _extension_verifies(core: Core, public_key: bytes, question: Question, vote: Vote, signature: bytes) -> bool:
    """The extension of a precommit for a block is signed beside the vote, unless v1.x says that it needs none; nothing else has one."""
    needed = (
        not question.message.skip_extension
        and question.dialect is Dialect.PROTO
        and vote.type == SignedType.PRECOMMIT
        and vote.block_id.hash != b""
    )
    if not needed:
        return signature == b""
    place = core.check_request(question.dialect, question.chain_id, question.message).hrs
    text = core.extension_sign_bytes(question.chain_id, place, vote.extension)
    return core.verify(public_key, text, signature)


def empty(core: Core, question: Question) -> bytes:
    """The answer that makes the validator ask again: what a signer's own session says then."""
    session = core.session(question.dialect, question.chain_id, None, question.wire)
    try:
        session.next_request()
        return session.answer_empty()
    finally:
        session.close()


def pong(core: Core, dialect: Dialect) -> bytes:
    """To a ping."""
    return core.encode_message(dialect, Message(Kind.PING_RESPONSE))


def bytes_refused(core: Core, dialect: Dialect, chain_id: str, wire: bytes) -> bytes:
    """To v1.x's SignBytes, as a signer's own session answers it: nothing is signed, and the connection stays."""
    session = core.session(dialect, chain_id, None, wire)
    try:
        session.next_request()
        return session.answer_error(int(Reason.BYTES_NOT_ALLOWED), BYTES_REFUSED)
    finally:
        session.close()


def public_key_response(core: Core, dialect: Dialect, chain_id: str, wire: bytes, public_key: bytes) -> bytes:
    """To that request for the public key, as a signer's own session answers it."""
    session = core.session(dialect, chain_id, None, wire)
    try:
        request = session.next_request()
        if request is not None and request.reason is not Reason.NONE:
            return session.answer_error(int(request.reason), f"this agent serves chain {chain_id!r}")
        return session.answer_pub_key(public_key)
    finally:
        session.close()
