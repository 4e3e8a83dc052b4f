"""What a validator asks to have signed, and how it judges the answer. Pure but for
timestamp_now."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from cometkms.core.interface import Core
from cometkms.errors import CometKMSError
from cometkms.model import HRS, BlockID, Dialect, Kind, Message, Proposal, Reason, SignedType, Timestamp, Vote


class BadSignature(CometKMSError):
    """An answer that does not verify, or is about something that was not asked."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A verified signature. latency_us: from the request's first byte written to the answer
    decoded."""

    hrs: HRS
    sign_bytes: bytes
    signature: bytes
    timestamp: Timestamp
    latency_us: float


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges answers as CometBFT does: the request's own content with the answer's timestamp must
    verify."""

    core: Core
    dialect: Dialect
    chain_id: str
    public_key: bytes

    def verify(self, request: Message, answer: Message, latency_us: float = 0.0) -> Signed:
        """Raises: BadSignature."""
        asked, given = request.vote or request.proposal, answer.vote or answer.proposal
        if asked is None or given is None or type(asked) is not type(given):
            raise BadSignature(f"asked with {request.kind.name.lower()}, answered with {answer.kind.name.lower()}")
        stamped = replace(asked, timestamp=given.timestamp)
        filled = replace(request, vote=stamped) if isinstance(stamped, Vote) else replace(request, proposal=stamped)
        judged = self.core.check_request(self.dialect, self.chain_id, filled)
        if judged.reason is not Reason.NONE:
            raise BadSignature(f"signed although {judged.reason.name.lower()}")
        if (asked.type, asked.height, asked.round) != (given.type, given.height, given.round):
            raise BadSignature(f"{judged.hrs}: the answer is about type {given.type} at {given.height}/{given.round}")
        if not self.core.verify(self.public_key, judged.sign_bytes, given.signature):
            raise BadSignature(f"{judged.hrs}: the signature does not verify")
        if isinstance(asked, Vote) and isinstance(given, Vote):
            self._verify_extension(judged.hrs, asked, given, skip=request.skip_extension)
        return Signed(judged.hrs, judged.sign_bytes, given.signature, given.timestamp, latency_us)

    def _verify_extension(self, hrs: HRS, asked: Vote, given: Vote, *, skip: bool) -> None:
        """A non-nil precommit carries a signature over its extension, also an empty one, unless it
        is to be skipped; nothing else does."""
        extensible = self.dialect is Dialect.PROTO and asked.type == SignedType.PRECOMMIT and not skip
        if not extensible or asked.block_id == BlockID():
            if given.extension_signature:
                raise BadSignature(f"{hrs}: an extension signature where none belongs")
            return
        sign_bytes = self.core.extension_sign_bytes(self.chain_id, hrs, asked.extension)
        if not self.core.verify(self.public_key, sign_bytes, given.extension_signature):
            raise BadSignature(f"{hrs}: the extension's signature does not verify")


def block_of(chain_id: str, height: int, round_: int, salt: str = "") -> BlockID:
    """A made-up block: other salts are other blocks."""
    parts = hashlib.sha256(f"{chain_id}/{height}/{round_}/{salt}/parts".encode()).digest()
    return BlockID(hashlib.sha256(parts).digest(), 1, parts)


def proposal_request(chain_id: str, place: tuple[int, int], block: BlockID, stamp: Timestamp | None = None) -> Message:
    """Ask for a proposal of `block` at `place` (height, round); now, unless `stamp` says
    otherwise."""
    proposal = Proposal(SignedType.PROPOSAL, *place, -1, block, stamp or timestamp_now())
    return Message(Kind.SIGN_PROPOSAL_REQUEST, chain_id=chain_id, proposal=proposal)


def vote_request(
    chain_id: str,
    vote_type: int,
    place: tuple[int, int],
    block: BlockID,
    *,
    extension: bytes = b"",
    stamp: Timestamp | None = None,
) -> Message:
    """Ask for a vote for `block` (BlockID(): nil) at `place` (height, round); now, unless `stamp`
    says otherwise."""
    vote = Vote(vote_type, *place, block, stamp or timestamp_now(), b"\x01" * 20, 0, extension=extension)
    return Message(Kind.SIGN_VOTE_REQUEST, chain_id=chain_id, vote=vote)


def timestamp_now(clock_ns: Callable[[], int] = time.time_ns) -> Timestamp:
    return Timestamp(*divmod(clock_ns(), 1_000_000_000))
