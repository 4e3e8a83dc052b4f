"""`cmkms standin` beside a signer that refuses: it says so once, keeps its pace, and
goes on where it can.
"""

import asyncio
import io
import re

from cometkms.core import choose
from cometkms.core.interface import Session
from cometkms.model import Kind, Reason, Request
from cometkms.operator.demo import alone
from tests.e2e.node import free_tcp
from tests.unit.operator.standin.tiny_signer import TinySigner

CORE = choose.load()
CHAIN = "tiny-1"


def play(meddle, until_words: str, every_s: float = 0.0) -> list[str]:
    """The lines it said until one has those words."""
    address, out = free_tcp(), io.StringIO()

    async def scenario() -> None:
        signer = TinySigner(CORE, CHAIN)
        signer.meddle = meddle
        standin = asyncio.create_task(alone._run(address, CHAIN, every_s, None, out))
        async with asyncio.timeout(120):
            while "listens" not in out.getvalue():
                await asyncio.sleep(0.01)
            serving = asyncio.create_task(signer.serve(address))
            while until_words not in out.getvalue():
                assert not standin.done()
                await asyncio.sleep(0.01)
        for task in (standin, serving):
            task.cancel()
        await asyncio.gather(standin, serving, return_exceptions=True)

    asyncio.run(scenario())
    return out.getvalue().splitlines()


def test_a_signer_that_has_signed_before_is_caught_up_with_and_one_line_says_so() -> None:
    def below(session: Session, request: Request) -> bytes | None:
        if request.kind is not Kind.PUB_KEY_REQUEST and request.hrs.height <= 40:
            return session.answer_error(Reason.HEIGHT_REGRESSION, f"height regression. Got {request.hrs.height}")
        return None

    lines = play(below, "after 6 refusals")
    refused = [line for line in lines if "refused" in line]
    assert len(refused) == 1
    assert (
        "height 1  refused: sign_proposal_request: height regression. Got 1; other heights are asked for" in refused[0]
    )
    [caught_up] = [line for line in lines if "after 6 refusals" in line]
    assert re.match(r"height 64  .* 3 signatures verified  connection 1  after 6 refusals", caught_up)


def test_a_signer_that_refuses_everything_is_asked_the_same_and_said_to_once() -> None:
    asked: list[int] = []

    def never(session: Session, request: Request) -> bytes | None:
        if request.kind is Kind.PUB_KEY_REQUEST:
            return None
        asked.append(request.hrs.height)
        if len(asked) < 10:
            return session.answer_error(Reason.WRONG_CHAIN, "another chain")
        return None

    lines = play(never, "after 9 refusals")
    assert set(asked[:10]) == {1}
    assert [line for line in lines if "refused" in line] == [
        "height 1  refused: sign_proposal_request: another chain; it is asked for again and again"
    ]
