"""A validator (the stand-in) that asks for height after height at a steady pace, in a thread, and
verifies every signature.

`python -m tests.e2e.pace ADDRESS CHAIN` does so until it is ended.
"""

import asyncio
import sys
import threading
from types import TracebackType

from cometkms.core import choose
from cometkms.operator.standin import StandIn, listen


class Pace:
    """`with Pace(address, chain_id) as pace:`; `height` is the last one signed whole.

    `failure`: what ended it, if anything did.
    """

    def __init__(self, address: str, chain_id: str, interval_s: float = 0.15) -> None:
        self.height = 0
        self.failure: BaseException | None = None
        self._address, self._chain_id, self._interval_s = address, chain_id, interval_s
        self._stopping = threading.Event()
        self._paused = threading.Event()
        self._idle = threading.Event()  # it is paused, and nothing is asked
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Pace":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
        self._thread.join(timeout=120)

    def stop(self) -> None:
        """Ask for nothing more."""
        self._stopping.set()

    def wait(self, seconds: float) -> None:
        """Less, when it has ended."""
        self._thread.join(seconds)

    def pause(self, on: bool) -> None:
        """No more heights are asked for: the one under way is signed when this returns."""
        self._idle.clear()
        (self._paused.set if on else self._paused.clear)()
        while on and self.failure is None and not self._idle.wait(0.1):
            pass

    def _run(self) -> None:
        try:
            asyncio.run(self._sign_for_ever())
        except BaseException as error:  # noqa: BLE001 - told to the test
            self.failure = error

    async def _sign_for_ever(self) -> None:
        core = choose.load()
        validator = StandIn(core, listen(core, self._address), self._chain_id)
        try:
            while not validator.connected and not self._stopping.is_set():
                await asyncio.sleep(0.02)
            if not self._stopping.is_set():
                await validator.ask_public_key()
            while not self._stopping.is_set():
                if self._paused.is_set():
                    self._idle.set()
                else:
                    await validator.sign_height(self.height + 1)
                    self.height += 1
                await asyncio.sleep(self._interval_s)
        finally:
            await validator.close()


if __name__ == "__main__":
    with Pace(*sys.argv[1:]) as pace:
        while pace.failure is None:
            pace.wait(1.0)
    sys.exit(f"ended at height {pace.height}: {pace.failure}")
