"""`cmkms standin`: the stand-in validator by itself, for a trial of nodes that somebody else
starts, kills and watches.

A line a height, and one for everything that a validator's operator would want to know: who
connected, how long nothing was signed. A refusal is said once; then it asks again at its usual
pace, for a height that may be signed where there is one.
"""

import asyncio
import signal
import sys
import time
from typing import IO, Final

import uvloop

from cometkms.core import choose
from cometkms.errors import BusyError, CometKMSError, said
from cometkms.operator.standin import Search, SignerRefused, SignerSilent, StandIn, listen

REFUSED_S: Final = 0.1  # between two tries after a refusal, at least
GAP_S: Final = 0.05  # a pause that is worth a word: ten times what a slow signature takes


def run(address: str, chain_id: str, every_s: float, seconds: float | None, out: IO[str] = sys.stdout) -> int:
    """Run until SIGTERM or Ctrl-C, or for `seconds`, and return the exit code: 0, or 1 if a
    signature failed to verify or there was none.

    Raises: BusyError if nothing can listen at `address`.
    """
    return uvloop.run(_run(address, chain_id, every_s, seconds, out))


async def _run(address: str, chain_id: str, every_s: float, seconds: float | None, out: IO[str]) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    loaded = choose.load()
    try:
        listener = listen(loaded, address)
    except OSError as error:
        raise BusyError(f"nothing can listen at {address}: {said(error)}", cure="another --listen") from error
    validator = StandIn(loaded, listener, chain_id)
    _say(out, f"a stand-in validator of {chain_id} listens at {validator.address}")
    asking = asyncio.create_task(_ask_for_ever(validator, every_s, out))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([asking, stopping], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if asking.done():
            asking.result()
    except CometKMSError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    finally:
        for task in (asking, stopping):
            task.cancel()
        await asyncio.gather(asking, stopping, return_exceptions=True)
        await validator.close()
    _say(out, f"{validator.signatures} signatures, all verified" if validator.signatures else "nothing was signed")
    return 0 if validator.signatures else 1


async def _ask_for_ever(validator: StandIn, every_s: float, out: IO[str]) -> None:
    """Raises: BadSignature."""
    search = Search()
    public_key = b""
    connects = 0
    signed_at: float | None = None
    told: int | None = None  # the code of the refusal that was said last
    while True:
        await validator.wait_for_signer()
        height = search.height
        try:
            public_key = public_key or await validator.ask_public_key()
            signed = await validator.sign_height(height)
        except SignerSilent as silent:
            _say(out, f"height {height}  not signed: {silent}")
            continue
        except SignerRefused as refused:
            elsewhere = search.refused(refused.code)
            if refused.code != told:
                again = (
                    "; other heights are asked for until one is signed"
                    if elsewhere
                    else "; it is asked for again and again"
                )
                _say(out, f"height {height}  refused: {refused}{again}")
            told = refused.code
            await asyncio.sleep(max(every_s, REFUSED_S))
            continue
        now = time.monotonic()
        gap_s = now - signed_at - every_s if signed_at is not None else 0.0
        said = f"height {height}  {max(one.latency_us for one in signed) / 1000:.2f} ms  {validator.signatures} signatures verified"
        if validator.connects != connects:
            said += f"  connection {validator.connects}"
        if search.refusals:
            said += f"  after {search.refusals} refusals"
        if gap_s > GAP_S:
            said += f"  after {gap_s:.2f} s without a signature"
        _say(out, said)
        connects, signed_at, told = validator.connects, now, None
        search.signed()
        await asyncio.sleep(every_s)


def _say(out: IO[str], line: str) -> None:
    print(line, file=out, flush=True)
