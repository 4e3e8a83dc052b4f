"""Judge whether a decoded request makes sense for this chain, before any rule looks at it.

Pure. Twin: csrc/check.c.

The reason given is the first that applies, in the order of model.Reason's numbers.
"""

from cometkms.core.pure.wire import NANOS_MAX, SECONDS_END, SECONDS_MIN
from cometkms.limits import ADDRESS_BYTES, BLOCK_HASH_BYTES, VOTE_EXTENSION_MAX_BYTES
from cometkms.model import BlockID, Dialect, Kind, Line, Message, Proposal, Reason, SignedType, Step, Timestamp, Vote

_STEPS = {
    SignedType.PROPOSAL: Step.PROPOSAL,
    SignedType.PREVOTE: Step.PREVOTE,
    SignedType.PRECOMMIT: Step.PRECOMMIT,
}


def judge(dialect: Dialect, chain_id: str, message: Message) -> Reason:
    """Why this message may not be signed or answered on the configured chain;
    Reason.NONE if it may.

    Requests for bytes that are no vote are judged in rawbytes.py.
    """
    match message.kind:
        case Kind.PING_REQUEST:
            return Reason.NONE
        case Kind.PUB_KEY_REQUEST:
            return judge_chain(dialect, chain_id, message)
        case Kind.SIGN_VOTE_REQUEST | Kind.SIGN_PROPOSAL_REQUEST:
            reason = judge_chain(dialect, chain_id, message)
            if reason is not Reason.NONE:
                return reason
            ballot = payload(message)
            if ballot is None:
                return Reason.MISSING_PAYLOAD
            return judge_ballot(ballot, skip_extension=message.skip_extension)
        case _:
            return Reason.UNKNOWN_KIND


def payload(message: Message) -> Vote | Proposal | None:
    """The vote or proposal that a message of this kind carries."""
    match message.kind:
        case Kind.SIGN_VOTE_REQUEST | Kind.SIGNED_VOTE_RESPONSE:
            return message.vote
        case Kind.SIGN_PROPOSAL_REQUEST | Kind.SIGNED_PROPOSAL_RESPONSE:
            return message.proposal
        case _:
            return None


def step_of(signed_type: int) -> Step:
    """The step at which a sensible ballot's type is signed."""
    return _STEPS[SignedType(signed_type)]


def is_nil(block_id: BlockID) -> bool:
    return block_id == BlockID()


def line_of(dialect: Dialect, message: Message, known: Line) -> Line:
    """The validator's line, where this message tells it; else what was `known`.

    A v1.x node asks for every prevote with skip_extension_signing (v1 internal/consensus/state.go
    signVote), a field that v0.x does not have.
    """
    if dialect is not Dialect.PROTO or message.kind is not Kind.SIGN_VOTE_REQUEST:
        return known
    if message.skip_extension:
        return Line.V1
    return Line.V0 if message.vote is not None and message.vote.type == SignedType.PREVOTE else known


def judge_ballot(ballot: Vote | Proposal, *, skip_extension: bool = False) -> Reason:
    """Why a vote or proposal may not be signed on any chain; Reason.NONE if it may.

    With `skip_extension` nobody looks at the extension, as FilePV v1.x does
    (privval/file.go signVote).
    """
    faults = (
        (Reason.BAD_TYPE, not _is_sensible_type(ballot)),
        (Reason.NEGATIVE_HEIGHT, ballot.height < 0),
        (Reason.NEGATIVE_ROUND, ballot.round < 0),
        (Reason.BAD_BLOCK_ID, not _is_sensible_block(ballot.block_id)),
        (Reason.UNEXPECTED_EXTENSION, not skip_extension and _has_too_much_extension(ballot)),
        (Reason.BAD_TIMESTAMP, not _is_sensible_timestamp(ballot.timestamp)),
        (Reason.BAD_POL_ROUND, isinstance(ballot, Proposal) and ballot.pol_round < -1),
        (Reason.BAD_ADDRESS, isinstance(ballot, Vote) and len(ballot.validator_address) not in (0, ADDRESS_BYTES)),
    )
    return next((reason for reason, found in faults if found), Reason.NONE)


def judge_chain(dialect: Dialect, configured: str, message: Message) -> Reason:
    """Amino requests carry no chain id: they are for the configured one, which must be there."""
    asked = configured if dialect is Dialect.AMINO else message.chain_id
    if not asked:
        return Reason.EMPTY_CHAIN
    return Reason.NONE if asked == configured else Reason.WRONG_CHAIN


def _is_sensible_type(ballot: Vote | Proposal) -> bool:
    if isinstance(ballot, Proposal):
        return ballot.type == SignedType.PROPOSAL
    return ballot.type in (SignedType.PREVOTE, SignedType.PRECOMMIT)


def _is_sensible_block(block_id: BlockID) -> bool:
    """Nil or complete; CometBFT sends nothing in between (types/block.go BlockID.IsComplete)."""
    complete = (
        len(block_id.hash) == BLOCK_HASH_BYTES
        and block_id.parts_total > 0
        and len(block_id.parts_hash) == BLOCK_HASH_BYTES
    )
    return complete or is_nil(block_id)


def _has_too_much_extension(ballot: Vote | Proposal) -> bool:
    if isinstance(ballot, Proposal):
        return False
    real_precommit = ballot.type == SignedType.PRECOMMIT and not is_nil(ballot.block_id)
    return len(ballot.extension) > (VOTE_EXTENSION_MAX_BYTES if real_precommit else 0)


def _is_sensible_timestamp(timestamp: Timestamp) -> bool:
    return SECONDS_MIN <= timestamp.seconds < SECONDS_END and 0 <= timestamp.nanos <= NANOS_MAX
