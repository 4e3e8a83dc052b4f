"""In which order requests are answered: one at a time, whoever was answered longest ago first, so
that nobody waits behind a crowd.

Between two requests the loop looks at its sockets, so one that has just come is among those who are
chosen from. A program of this machine has every second turn where others ask too: its monitor is
answered whatever a network sends. No socket and no HTTP here.
"""

import asyncio
from typing import Final, Protocol

#: Addresses whose last turn is remembered; one that was forgotten is taken for one that has just
#: come.
_ADDRESSES_MAX: Final = 256


class Guest(Protocol):
    """Who asks: a connection. It asks one thing at a time."""

    last_turn: int

    @property
    def address(self) -> str:
        """Whose it is: all connections of an address take turns as one."""
        ...

    @property
    def is_local(self) -> bool:
        """Whether it is of this machine."""
        ...


class Turns:
    """Who waits, and who is next."""

    def __init__(self) -> None:
        self._waiting: dict[Guest, asyncio.Future[bool]] = {}  # in the order in which they asked
        self._addresses: dict[str, int] = {}
        self._turn = 0
        self._was_local = False
        self._gives = False

    async def wait(self, guest: Guest) -> bool:
        """Wait until it is the guest's turn, and return False when it has gone."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[bool] = loop.create_future()
        self._waiting[guest] = turn
        if not self._gives:
            self._gives = True
            loop.call_soon(self._give)
        return await turn

    def leave(self, guest: Guest) -> None:
        """It has gone, and waits for nothing."""
        turn = self._waiting.pop(guest, None)
        if turn is not None and not turn.done():
            turn.set_result(False)

    def _give(self) -> None:
        """The next one's turn, and then the loop's: once around all sockets before the one after
        it."""
        self._gives = bool(self._waiting)
        if not self._waiting:
            return
        guest = min(self._waiting, key=self._rank)
        turn = self._waiting.pop(guest)
        self._turn += 1
        guest.last_turn = self._turn
        self._was_local = guest.is_local
        self._addresses.pop(guest.address, None)
        self._addresses[guest.address] = self._turn
        if len(self._addresses) > _ADDRESSES_MAX:
            del self._addresses[next(iter(self._addresses))]
        if not turn.done():
            turn.set_result(True)
        asyncio.get_running_loop().call_soon(self._give)

    def _rank(self, guest: Guest) -> tuple[bool, int, int]:
        local_first = guest.is_local and not self._was_local
        return not local_first, self._addresses.get(guest.address, 0), guest.last_turn
