"""The stand-in itself: asks as privval's SignerListenerEndpoint and RetrySignerClient do, and
verifies every answer.

One signer connection at a time while others wait in the accept queue, one request at a time, a ping
when idle; an empty answer or a lost connection is asked again, a RemoteSignerError is final
(PROTOCOL §1).
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Sequence
from typing import Final

from cometkms.core.interface import Core
from cometkms.errors import CometKMSError, ProtocolError, said
from cometkms.model import Dialect, Kind, Message, RemoteSignerError, SignedType
from cometkms.operator.standin.ballots import BadSignature, Judge, Signed, block_of, proposal_request, vote_request
from cometkms.operator.standin.link import Link, Listener

READ_TIMEOUT_S: Final = 5.0  # privval's default timeoutReadWrite
PING_INTERVAL_S: Final = READ_TIMEOUT_S * 2 / 3
TRIES: Final = 50  # RetrySignerClient as node/setup.go makes it
TRY_INTERVAL_S: Final = 0.1
WATCH_INTERVAL_S: Final = 0.02  # how soon a closed connection is noticed while nothing is asked
LATENCIES_MAX: Final = 1 << 16  # the most recent samples that quantiles are taken of
#: The answer's kind by the request's.
ANSWER_OF: Final = {
    Kind.PUB_KEY_REQUEST: Kind.PUB_KEY_RESPONSE,
    Kind.SIGN_VOTE_REQUEST: Kind.SIGNED_VOTE_RESPONSE,
    Kind.SIGN_PROPOSAL_REQUEST: Kind.SIGNED_PROPOSAL_RESPONSE,
    Kind.PING_REQUEST: Kind.PING_RESPONSE,
}


class SignerRefused(CometKMSError):
    """The signer answered with a RemoteSignerError: final, CometBFT does not ask again. `code`: the
    error's, here a model.Reason."""

    def __init__(self, words: str, code: int) -> None:
        super().__init__(words)
        self.code = code


class SignerSilent(CometKMSError):
    """No signature after as many tries as CometBFT makes: it would stop here."""


class StandIn:
    """A validator that asks for signatures and trusts none of them.

    Counts what it saw: `signatures` (all verified), `refusals` (expected ones), `connects`, `drops`
    (why connections ended, most recent last), `latencies_us` (of signing requests).
    """

    def __init__(self, core: Core, listener: Listener, chain_id: str, dialect: Dialect = Dialect.PROTO) -> None:
        self.address = listener.address
        self.public_key = b""
        self.signatures = 0
        self.refusals = 0
        self.connects = 0
        self.drops: deque[str] = deque(maxlen=100)
        self.latencies_us: deque[float] = deque(maxlen=LATENCIES_MAX)
        self._core = core
        self._listener = listener
        self._chain_id = chain_id
        self._dialect = dialect
        self._link: Link | None = None
        self._linked = asyncio.Event()
        self._turn = asyncio.Lock()
        self._accepting = asyncio.create_task(self._accept_for_ever())

    @property
    def connected(self) -> bool:
        return self._link is not None

    async def close(self) -> None:
        """Stop listening and drop the signer."""
        self._accepting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._accepting
        self._drop("the validator stops")
        self._listener.close()

    def drop(self) -> None:
        """Close the signer's connection, as a validator that restarts does."""
        self._drop("dropped on purpose")

    # --- connections ---

    async def _accept_for_ever(self) -> None:
        while True:
            try:
                link = await self._listener.accept()
            except (ProtocolError, OSError, TimeoutError, EOFError) as error:
                self.drops.append(f"handshake: {said(error)}")
                continue
            self.connects += 1
            self._link = link
            self._linked.set()
            await self._watch(link)

    async def _watch(self, link: Link) -> None:
        """Wait until this connection ends, and ping it while nothing else is asked."""
        ping_at = time.monotonic() + PING_INTERVAL_S
        while self._link is link:
            await asyncio.sleep(WATCH_INTERVAL_S)
            if link.ended and not self._turn.locked():
                self._drop("the signer closed the connection")
            elif time.monotonic() > ping_at:
                # ask() has noted it
                with contextlib.suppress(EOFError, OSError, TimeoutError, ProtocolError):
                    await self.ask(Message(Kind.PING_REQUEST))
                ping_at = time.monotonic() + PING_INTERVAL_S

    def _drop(self, why: str) -> None:
        if self._link is not None:
            self.drops.append(why)
            self._link.close()
            self._link = None
            self._linked.clear()

    async def wait_for_signer(self) -> None:
        """Wait until a signer is connected; bound it with asyncio.timeout."""
        await self._linked.wait()

    # --- requests ---

    async def ask(self, message: Message) -> Message:
        """Send one request and read its answer, on the connection that is there.

        Raises: EOFError, OSError, TimeoutError or ProtocolError, and then the connection is
        dropped.
        """
        answer, _ = await self._ask_timed(message)
        return answer

    async def _ask_timed(self, message: Message) -> tuple[Message, float]:
        wire = self._core.encode_message(self._dialect, message)
        async with self._turn:
            link = self._link
            if link is None:
                raise EOFError("no signer is connected")
            try:
                async with asyncio.timeout(READ_TIMEOUT_S):
                    begun = time.perf_counter()
                    link.send(wire)
                    received = await link.receive()
                    answer = self._core.decode_message(self._dialect, received)
                    return answer, (time.perf_counter() - begun) * 1e6
            except BaseException as error:
                if self._link is link:
                    self._drop(f"{message.kind.name.lower()}: {error or type(error).__name__}")
                raise

    async def ask_public_key(self) -> bytes:
        """Ask for the validator key as a validator does at boot, and keep it to verify by.

        Raises: SignerRefused, SignerSilent.
        """
        answer = await self._retry(Message(Kind.PUB_KEY_REQUEST, chain_id=self._chain_id))
        self.public_key = answer[0].pub_key or b""
        return self.public_key

    async def sign(self, request: Message) -> Signed:
        """Ask for one signature, as often as CometBFT would, and verify it.

        Raises: SignerRefused, SignerSilent, BadSignature.
        """
        answer, latency_us = await self._retry(request)
        judge = Judge(self._core, self._dialect, self._chain_id, self.public_key)
        signed = judge.verify(request, answer, latency_us)
        self.signatures += 1
        self.latencies_us.append(latency_us)
        return signed

    async def sign_height(self, height: int, round_: int = 0) -> Sequence[Signed]:
        """Proposal, prevote and precommit of one block, each verified. Raises: as `sign`."""
        return [await self.sign(request) for request in self.requests(height, round_)]

    async def try_conflict(self, height: int, round_: int = 0) -> str:
        """Ask for a precommit of another block at a place already signed. Raises: as
        expect_refusal."""
        other = block_of(self._chain_id, height, round_, "conflict")
        return await self.expect_refusal(vote_request(self._chain_id, SignedType.PRECOMMIT, (height, round_), other))

    def requests(self, height: int, round_: int = 0) -> Sequence[Message]:
        """The three requests of a height, for a block made up from chain, height and round."""
        place, block = (height, round_), block_of(self._chain_id, height, round_)
        extension = b"" if self._dialect is Dialect.AMINO else b"extension of height %d" % height
        return (
            proposal_request(self._chain_id, place, block),
            vote_request(self._chain_id, SignedType.PREVOTE, place, block),
            vote_request(self._chain_id, SignedType.PRECOMMIT, place, block, extension=extension),
        )

    async def expect_refusal(self, request: Message) -> str:
        """Ask for what must not be signed; return the refusal's words.

        Raises: BadSignature if it was signed; SignerSilent.
        """
        try:
            await self._retry(request)
        except SignerRefused as refused:
            self.refusals += 1
            return str(refused)
        raise BadSignature(f"{request.kind.name.lower()}: signed what must not be signed")

    async def _retry(self, request: Message) -> tuple[Message, float]:
        """RetrySignerClient: a lost connection, a missed or an empty answer is asked again; a
        refusal is final."""
        why = ""
        for _ in range(TRIES):
            try:
                answer, latency_us = await self._ask_timed(request)
            except (EOFError, OSError, TimeoutError, ProtocolError) as error:
                why = said(error)
            else:
                if answer.error is not None and answer.error != RemoteSignerError():
                    raise SignerRefused(f"{request.kind.name.lower()}: {answer.error.description}", answer.error.code)
                if _has_content(request.kind, answer):
                    return answer, latency_us
                why = "an empty answer"
            await asyncio.sleep(TRY_INTERVAL_S)
        raise SignerSilent(f"{request.kind.name.lower()}: no answer after {TRIES} tries, at last: {why}")


def _has_content(asked: Kind, answer: Message) -> bool:
    if answer.kind is not ANSWER_OF[asked]:
        return False
    ballot = answer.vote or answer.proposal
    return bool(answer.pub_key) if asked is Kind.PUB_KEY_REQUEST else ballot is not None and bool(ballot.signature)


def quantile(samples: Sequence[float], q: float) -> float:
    """The nearest-rank quantile of `samples`; 0.0 of none."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0
