"""The privval session in Python. The readable twin of csrc/session.c."""

from dataclasses import replace

from cometkms.core.interface import Frames, KeySlot, Relayed
from cometkms.core.pure import check, codec
from cometkms.core.pure.crypto import PureFrames, PureKeySlot, permitted, slot_refusal
from cometkms.core.pure.keytypes import verify
from cometkms.core.pure.noise import PureNoise
from cometkms.errors import InvariantError, ProtocolError
from cometkms.keytypes import KEY_TYPE_UNKNOWN, no_amino_key, raw_of, type_of
from cometkms.limits import ERROR_TEXT_MAX_BYTES, INBOX_BYTES, RESPONSE_MAX_BYTES
from cometkms.model import (
    BYTES_KINDS,
    Dialect,
    Kind,
    Line,
    Message,
    Permit,
    Reason,
    RemoteSignerError,
    Request,
    SignedType,
    Vote,
)

_RESPONSES = {
    Kind.PUB_KEY_REQUEST: Kind.PUB_KEY_RESPONSE,
    Kind.SIGN_VOTE_REQUEST: Kind.SIGNED_VOTE_RESPONSE,
    Kind.SIGN_PROPOSAL_REQUEST: Kind.SIGNED_PROPOSAL_RESPONSE,
    Kind.SIGN_BYTES_REQUEST: Kind.SIGN_BYTES_RESPONSE,
    Kind.SIGN_RAW_BYTES_REQUEST: Kind.SIGN_BYTES_RESPONSE,
}


class PureSession:
    """Turn a validator's ciphertext into requests and outcomes into ciphertext, without I/O."""

    def __init__(self, dialect: Dialect, chain_id: str, frames: PureFrames | PureNoise | None, pending: bytes) -> None:
        self._dialect = dialect
        self._chain_id = chain_id
        self._frames = frames
        self._plain = pending
        self._wire = b""
        self._message: Message | None = None
        self._request: Request | None = None
        self.line = Line.UNKNOWN
        self._memory = bytearray(INBOX_BYTES)
        self.inbox = memoryview(self._memory)

    def received(self, size: int) -> None:
        """Take up the first bytes of the inbox, which were filled."""
        data = bytes(self.inbox[:size])
        self._plain += data if self._frames is None else self._frames.open(data)

    def next_request(self) -> Request | None:
        """Return the next whole request, or None where more must be received first."""
        if self._message is not None:
            raise InvariantError("a request waits for its answer")
        prefix = codec.read_length(self._plain)
        if prefix is None:
            return None
        length, used = prefix
        if len(self._plain) < used + length:
            return None
        whole, self._plain = self._plain[: used + length], self._plain[used + length :]
        self._message = codec.decode_message(self._dialect, whole)
        self._wire = whole
        self._request = codec.check_request(self._dialect, self._chain_id, self._message)
        self.line = check.line_of(self._dialect, self._message, self.line)
        return self._request

    @property
    def partial(self) -> bool:
        """Tell whether part of a frame or message has arrived, so that a deadline must run."""
        return bool((self._plain and self._message is None) or (self._frames is not None and self._frames.partial))

    def answer_pong(self) -> bytes:
        """Answer the pending ping."""
        self._pending(Kind.PING_REQUEST)
        return self._finish(Message(Kind.PING_RESPONSE))

    def answer_pub_key(self, public_key: bytes) -> bytes:
        """Answer with the public key in one response that every release line reads as its own."""
        key_type = type_of(public_key)
        if self._dialect is Dialect.AMINO and not key_type.in_amino:
            return self.answer_error(KEY_TYPE_UNKNOWN, no_amino_key(key_type))
        self._pending(Kind.PUB_KEY_REQUEST)
        name, raw = key_type.name, raw_of(public_key)
        answer = Message(Kind.PUB_KEY_RESPONSE, pub_key=public_key, pub_key_bytes=raw, pub_key_type=name)
        return self._finish(answer)

    def answer_error(self, code: int, description: str) -> bytes:
        """Answer the pending request with a RemoteSignerError."""
        kind = _RESPONSES.get(self._pending().kind)
        if kind is None:
            return self.answer_empty()
        return self._finish(Message(kind, error=RemoteSignerError(code, cut_text(description))))

    def answer_empty(self) -> bytes:
        """Answer with a pong, which the validator takes for a passing trouble.

        v0.33 panics at a response without a vote and has no empty message, and the one byte of a
        message without content is lost on some transports.
        """
        self._pending()
        return self._finish(Message(Kind.PING_RESPONSE))

    def prepare(self, slot: KeySlot) -> None:
        """Prepare the key slot for what the pending request asks to be signed."""
        request, message = self._request, self._message
        if request is None or message is None:
            return
        slot.prepare(request.sign_bytes)
        if isinstance(slot, PureKeySlot) and message.vote is not None and self._wants_extension(message.vote):
            slot.prepare_extension(request.hrs, message.vote.extension)

    def answer_sign(self, slot: KeySlot, permit: Permit) -> tuple[bytes, bytes]:
        """Sign exactly the permit's bytes and answer with the signature."""
        sign_bytes = permitted(permit)
        self._must_match(slot, sign_bytes)
        signature = slot.sign(permit)
        return signature, self._answer_signature(slot, sign_bytes, signature)

    def answer_repeat(self, slot: KeySlot, sign_bytes: bytes, signature: bytes) -> bytes:
        """Answer with a signature that is already known for these bytes."""
        self._must_match(slot, sign_bytes)
        if not verify(slot.public_key, sign_bytes, signature):
            raise InvariantError(slot_refusal(slot.last_signed, sign_bytes))
        return self._answer_signature(slot, sign_bytes, signature)

    def answer_bytes(self, slot: KeySlot) -> tuple[bytes, bytes]:
        """Sign what the pending SignBytes or SignRawBytes asks for."""
        request = self._request
        if request is None or request.reason is not Reason.NONE or request.kind not in BYTES_KINDS:
            raise InvariantError("answer: no bytes to sign are pending")
        # its chain's id is this session's: check_request() saw to it
        if request.kind is Kind.SIGN_RAW_BYTES_REQUEST:
            signature = slot.sign_raw(request.value, request.unique_id)
        else:
            signature = slot.sign_value(request.value)
        return signature, self._finish(Message(Kind.SIGN_BYTES_RESPONSE, value=signature))

    def pending_wire(self) -> bytes:
        """Return the pending request as it came, with its length."""
        return self._wire if self._message is not None else b""

    def answer_relayed(self, public_key: bytes, untrusted_answer: bytes) -> Relayed | None:
        """Answer the pending vote or proposal as another signer did, unless that is no
        answer to it.
        """
        asked = self._pending()
        if asked.kind not in (Kind.SIGN_VOTE_REQUEST, Kind.SIGN_PROPOSAL_REQUEST):
            raise InvariantError("answer: refused")
        try:
            answer = codec.decode_message(self._dialect, untrusted_answer)
        except ProtocolError:
            return None
        if answer.kind is not _RESPONSES[asked.kind] or len(untrusted_answer) > RESPONSE_MAX_BYTES:
            return None
        if answer.error is not None and answer.error.code:
            if len(answer.error.description.encode("utf-8", "surrogateescape")) > ERROR_TEXT_MAX_BYTES:
                return None
            return Relayed(frame=self._finish(Message(answer.kind, error=answer.error)), refused=True)
        if not self._is_signed(asked, answer, public_key):
            return None
        return Relayed(
            frame=self._finish(Message(answer.kind, vote=answer.vote, proposal=answer.proposal)), refused=False
        )

    def _is_signed(self, asked: Message, got: Message, public_key: bytes) -> bool:
        """Whether it is the vote or proposal that was asked for, signed."""
        if asked.vote is not None and got.vote is not None:
            vote = replace(asked.vote, timestamp=got.vote.timestamp)
            signature, of_extension = got.vote.signature, got.vote.extension_signature
            return (
                got.vote == replace(vote, extension=b"", signature=signature, extension_signature=of_extension)
                and self._verifies(replace(asked, vote=vote), got.vote.signature, public_key)
                and self._extension_verifies(asked.vote, got.vote.extension_signature, public_key)
            )
        if asked.proposal is not None and got.proposal is not None:
            proposal = replace(asked.proposal, timestamp=got.proposal.timestamp)
            return got.proposal == replace(proposal, signature=got.proposal.signature) and self._verifies(
                replace(asked, proposal=proposal), got.proposal.signature, public_key
            )
        return False

    def _verifies(self, message: Message, signature: bytes, public_key: bytes) -> bool:
        text = codec.check_request(self._dialect, self._chain_id, message).sign_bytes
        return bool(text) and verify(public_key, text, signature)

    def _extension_verifies(self, vote: Vote, signature: bytes, public_key: bytes) -> bool:
        """The signature of the precommit's extension, where there is to be one; nothing
        where there is none.
        """
        if self._request is None or not self._wants_extension(vote):
            return signature == b""
        text = codec.extension_sign_bytes(self._chain_id, self._request.hrs, vote.extension)
        return verify(public_key, text, signature)

    def _wants_extension(self, vote: Vote) -> bool:
        """Non-nil precommits only, also when the extension is empty; v0.33 has none, and v1.x may
        ask for none.
        """
        skipped = self._message is not None and self._message.skip_extension
        precommit = vote.type == SignedType.PRECOMMIT and vote.block_id.hash != b""
        return precommit and self._dialect is Dialect.PROTO and not skipped

    def close(self) -> None:
        """Wipe the ciphers."""
        if self._frames is not None:
            self._frames.close()
        self._plain = b""
        self._message = self._request = None

    def _pending(self, kind: Kind | None = None) -> Message:
        if self._message is None or (kind is not None and self._message.kind is not kind):
            raise InvariantError("answer: refused")
        return self._message

    def _must_match(self, slot: KeySlot, sign_bytes: bytes) -> None:
        """The permit's bytes must be the pending request's, but for the timestamp."""
        request = self._request
        if (
            request is None
            or request.reason is not Reason.NONE
            or not request.sign_bytes
            or not codec.same_but_timestamp(request.sign_bytes, sign_bytes)
        ):
            raise InvariantError(slot_refusal(slot.last_signed, sign_bytes))

    def _answer_signature(self, slot: KeySlot, sign_bytes: bytes, signature: bytes) -> bytes:
        message, parsed = self._pending(), codec.parse_sign_bytes(sign_bytes)
        if message.vote is not None:
            vote = replace(
                message.vote,
                timestamp=parsed.timestamp,
                signature=signature,
                extension=b"",
                extension_signature=self._sign_extension(slot, message.vote, sign_bytes),
            )
            return self._finish(Message(Kind.SIGNED_VOTE_RESPONSE, vote=vote))
        if message.proposal is None:
            raise InvariantError("answer: nothing to sign is pending")
        proposal = replace(message.proposal, timestamp=parsed.timestamp, signature=signature)
        return self._finish(Message(Kind.SIGNED_PROPOSAL_RESPONSE, proposal=proposal))

    def _sign_extension(self, slot: KeySlot, vote: Vote, sign_bytes: bytes) -> bytes:
        if not self._wants_extension(vote):
            return b""
        if not isinstance(slot, PureKeySlot):
            raise InvariantError(f"a {type(slot).__name__} in a pure session")
        return slot.sign_extension(sign_bytes, vote.extension)

    def _finish(self, answer: Message) -> bytes:
        encoded = codec.encode_message(self._dialect, answer)
        if len(encoded) > RESPONSE_MAX_BYTES:
            raise InvariantError("answer: the output does not fit its bound")
        self._message = self._request = None
        return encoded if self._frames is None else self._frames.seal(encoded)


def cut_text(description: str) -> str:
    """Keep at most ERROR_TEXT_MAX_BYTES of UTF-8, cut between characters."""
    return description.encode("utf-8", "replace")[:ERROR_TEXT_MAX_BYTES].decode("utf-8", "ignore")


def session(dialect: Dialect, chain_id: str, frames: Frames | None, pending: bytes) -> PureSession:
    """Make the session of a connection whose handshake is over."""
    if frames is not None and not isinstance(frames, PureFrames | PureNoise):
        raise InvariantError(f"{type(frames).__name__} in a pure session")
    if len(chain_id.encode("utf-8", "surrogateescape")) > 64:
        raise ProtocolError(f"the chain id {chain_id!r} is too long")
    return PureSession(dialect, chain_id, frames, pending)
