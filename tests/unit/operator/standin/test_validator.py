"""The stand-in against a signer made of the core's own session: it verifies, retries,
and finds every lie.
"""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from cometkms.model import BlockID, Dialect, Kind, Message, Permit, SignedType, Timestamp
from cometkms.operator.standin import (
    BadSignature,
    Judge,
    SignerRefused,
    StandIn,
    block_of,
    listen,
    proposal_request,
    vote_request,
)
from cometkms.operator.standin import validator as validator_module

from .tiny_signer import PUBLIC_KEY, TinySigner

CHAIN = "chain-a"
PATIENCE_S = 120
DIALECTS = [Dialect.PROTO, Dialect.AMINO]


@asynccontextmanager
async def stage(core, tmp_path, scheme="tcp", dialect=Dialect.PROTO):
    """A stand-in and a signer that dials again whenever its connection ends."""
    address = "tcp://127.0.0.1:0" if scheme == "tcp" else f"unix://{tmp_path}/v.sock"
    validator = StandIn(core, listen(core, address, dialect), CHAIN, dialect)
    signer = TinySigner(core, CHAIN)

    async def dial():
        while True:
            try:
                await signer.serve(validator.address, dialect)
            except (OSError, EOFError):
                await asyncio.sleep(0.01)

    dialling = asyncio.create_task(dial())
    try:
        async with asyncio.timeout(PATIENCE_S):
            await validator.wait_for_signer()
            yield validator, signer
    finally:
        dialling.cancel()
        await asyncio.gather(dialling, return_exceptions=True)
        await validator.close()


def play(scenario):
    asyncio.run(scenario)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("scheme", ["tcp", "unix"])
def test_it_asks_for_a_whole_height_and_verifies_it(core, tmp_path, scheme, dialect):
    async def scenario():
        async with stage(core, tmp_path, scheme, dialect) as (validator, _):
            assert await validator.ask_public_key() == PUBLIC_KEY
            signed = await validator.sign_height(7, 2)
            assert [s.hrs for s in signed] == [(7, 2, 1), (7, 2, 2), (7, 2, 3)]
            assert validator.signatures == 3
            assert len(validator.latencies_us) == 3

    play(scenario())


def test_a_conflict_must_be_refused(core, tmp_path):
    async def scenario():
        async with stage(core, tmp_path) as (validator, signer):
            await validator.ask_public_key()
            await validator.sign_height(3)
            assert "conflicting data" in await validator.try_conflict(3)
            assert validator.refusals == 1
            signer.slot.close()
            signer.slot, signer.held = TinySigner(core, CHAIN).slot, {}
            with pytest.raises(BadSignature, match="must not be signed"):
                await validator.try_conflict(3)

    play(scenario())


def test_a_refusal_is_final_and_the_connection_stays(core, tmp_path):
    async def scenario():
        async with stage(core, tmp_path) as (validator, _):
            await validator.ask_public_key()
            with pytest.raises(SignerRefused):
                await validator.sign(vote_request("another-chain", SignedType.PREVOTE, (1, 0), BlockID()))
            await validator.sign_height(1)
            assert validator.connects == 1

    play(scenario())


def test_an_empty_answer_is_asked_again(core, tmp_path, monkeypatch):
    monkeypatch.setattr(validator_module, "TRY_INTERVAL_S", 0.001)

    async def scenario():
        async with stage(core, tmp_path) as (validator, signer):
            await validator.ask_public_key()
            left = 5

            def meddle(session, request):
                nonlocal left
                left -= 1
                return session.answer_empty() if left >= 0 else None

            signer.meddle = meddle
            await validator.sign_height(1)
            assert validator.connects == 1
            assert left < 0

    play(scenario())


def test_a_lost_connection_is_waited_for_and_asked_again(core, tmp_path):
    async def scenario():
        async with stage(core, tmp_path) as (validator, _):
            await validator.ask_public_key()
            await validator.sign_height(1)
            validator.drop()
            await validator.sign_height(2)
            assert validator.connects == 2
            assert validator.signatures == 6

    play(scenario())


def test_garbage_from_the_signer_drops_the_connection(core, tmp_path):
    async def scenario():
        async with stage(core, tmp_path, "unix") as (validator, signer):
            garbage = [b"\xff" * 12]
            signer.meddle = lambda session, request: session.answer_empty() and garbage.pop() if garbage else None
            assert await validator.ask_public_key() == PUBLIC_KEY
            assert validator.connects == 2
            assert "more than" in validator.drops[0] or "announced" in validator.drops[0]

    play(scenario())


def test_an_idle_connection_is_pinged(core, tmp_path, monkeypatch):
    monkeypatch.setattr(validator_module, "PING_INTERVAL_S", 0.02)

    async def scenario():
        async with stage(core, tmp_path) as (_, signer):
            pinged = asyncio.Event()

            def meddle(session, request):
                if request.kind is Kind.PING_REQUEST:
                    pinged.set()

            signer.meddle = meddle
            await pinged.wait()

    play(scenario())


def test_one_signer_is_served_at_a_time_and_the_next_when_it_has_gone(core, tmp_path):
    async def scenario():
        async with stage(core, tmp_path) as (validator, _):
            second = TinySigner(core, CHAIN)
            asked = []
            second.meddle = lambda session, request: asked.append(request.kind)
            waiting = asyncio.create_task(second.serve(validator.address))
            await validator.ask_public_key()
            assert validator.connects == 1
            assert asked == []
            while Kind.PUB_KEY_REQUEST not in asked:
                validator.drop()
                await validator.ask_public_key()
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)

    play(scenario())


# --- the judge ---


class Answers:
    """A request and the honest answer to it, to be bent."""

    def __init__(self, core, request):
        self.core, self.request = core, request
        signer = TinySigner(core, CHAIN)
        judged = core.check_request(Dialect.PROTO, CHAIN, request)
        signature = signer.slot.sign(Permit(judged.sign_bytes))
        ballot = request.vote or request.proposal
        changes = {"signature": signature}
        if request.vote is not None:
            changes["extension"] = b""
        kind = Kind.SIGNED_VOTE_RESPONSE if request.vote else Kind.SIGNED_PROPOSAL_RESPONSE
        field = "vote" if request.vote else "proposal"
        self.answer = Message(kind, **{field: replace(ballot, **changes)})

    def verify(self, answer):
        return Judge(self.core, Dialect.PROTO, CHAIN, PUBLIC_KEY).verify(self.request, answer)


def bend(answer, **changes):
    if answer.vote is not None:
        return replace(answer, vote=replace(answer.vote, **changes))
    return replace(answer, proposal=replace(answer.proposal, **changes))


@pytest.mark.parametrize("kind", ["proposal", "prevote"])
@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"signature": b"\x00" * 64}, "does not verify"),
        ({"signature": b""}, "does not verify"),
        ({"timestamp": Timestamp(5, 5)}, "does not verify"),
        ({"height": 99}, "the answer is about"),
        ({"round": 99}, "the answer is about"),
        ({"type": 2}, "the answer is about"),
    ],
)
def test_the_judge_finds_every_bent_answer(core, kind, changes, complaint):
    block = block_of(CHAIN, 4, 1)
    request = (
        proposal_request(CHAIN, (4, 1), block)
        if kind == "proposal"
        else vote_request(CHAIN, SignedType.PREVOTE, (4, 1), block)
    )
    answers = Answers(core, request)
    assert answers.verify(answers.answer).hrs.height == 4
    with pytest.raises(BadSignature, match=complaint):
        answers.verify(bend(answers.answer, **changes))


def test_the_judge_wants_an_extension_signature_where_one_belongs_and_nowhere_else(core):
    block = block_of(CHAIN, 4, 1)
    precommit = Answers(core, vote_request(CHAIN, SignedType.PRECOMMIT, (4, 1), block, extension=b"x"))
    with pytest.raises(BadSignature, match="extension's signature does not verify"):
        precommit.verify(precommit.answer)
    with pytest.raises(BadSignature, match="extension's signature does not verify"):
        precommit.verify(bend(precommit.answer, extension_signature=b"\x01" * 64))
    for kind, voted in ((SignedType.PREVOTE, block), (SignedType.PRECOMMIT, BlockID())):
        answers = Answers(core, vote_request(CHAIN, kind, (4, 1), voted))
        answers.verify(answers.answer)
        with pytest.raises(BadSignature, match="where none belongs"):
            answers.verify(bend(answers.answer, extension_signature=b"\x01" * 64))


def test_the_judge_refuses_an_answer_of_another_kind_or_key(core):
    vote = Answers(core, vote_request(CHAIN, SignedType.PREVOTE, (4, 1), BlockID()))
    proposal = Answers(core, proposal_request(CHAIN, (4, 1), block_of(CHAIN, 4, 1)))
    for answer in (proposal.answer, Message(Kind.PING_RESPONSE), Message(Kind.SIGNED_VOTE_RESPONSE)):
        with pytest.raises(BadSignature, match="answered with"):
            vote.verify(answer)
    other_key = Judge(core, Dialect.PROTO, CHAIN, b"\x07" * 32)
    with pytest.raises(BadSignature, match="does not verify"):
        other_key.verify(vote.request, vote.answer)
