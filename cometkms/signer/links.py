"""The connections to the validators of a signer process: which there are, and when they are
dialled."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial

from cometkms.board.sections import ValidatorReport
from cometkms.config.schema import ValidatorAddress
from cometkms.config.values import parse_validator
from cometkms.core.interface import Core
from cometkms.errors import InvariantError
from cometkms.limits import REQUEST_SPIN_NS, STATUS_QUIET_S
from cometkms.logger import Logger
from cometkms.net.dial import connect
from cometkms.net.dialer import Dialer
from cometkms.net.target import Target, UnixTarget
from cometkms.signer.chain import ChainSigner
from cometkms.signer.link import ValidatorLink
from cometkms.wire.identity import Identity


class ValidatorLinks:
    """All of them, by a number that none is given twice. They are dialled while this node holds the
    lease."""

    def __init__(
        self,
        *,
        core: Core,
        towards: Callable[[Target], Identity | None],
        dialer: Dialer | None,
        max_segment: int,
        settle: Callable[[], None],
        has_cores: bool,
        log: Logger,
    ) -> None:
        """`towards`: who this node is to a validator; `dialer`: connects to unix sockets; `settle`:
        ValidatorLink's.

        `has_cores`: a core is free to look for the next request without sleeping.
        """
        self.may_spin = False
        self._core = core
        self._towards = towards
        self._dialer = dialer
        self._max_segment = max_segment
        self._settle = settle
        self._has_cores = has_cores
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._links: dict[int, ValidatorLink] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}  # by the number of their link
        # links whose validator was taken away, until they are closed
        self._leaving: set[int] = set()
        self._made = 0

    def new_number(self) -> int:
        """Return a number for a connection, which may be another's than a validator's."""
        self._made += 1
        return self._made - 1

    def set_up(self, chain: ChainSigner, addresses: Iterable[ValidatorAddress]) -> None:
        """Have a link to each of a chain's validators."""
        for address in addresses:
            self._add(chain, address)
        self._allow_spin()

    def relist(self, chain: ChainSigner, wanted: Sequence[str], *, dial: bool) -> None:
        """Have links to these validators of the chain and to no others. `dial`: dial those that
        came at once."""
        mine = {
            link.name: number
            for number, link in self._links.items()
            if link.chain is chain and number not in self._leaving
        }
        for name in [name for name in mine if name not in wanted]:
            self._remove(mine[name])
        for text in [text for text in wanted if text not in mine]:
            number = self._add(chain, parse_validator(text))
            if dial:
                self._dial(number)
        self._allow_spin()

    def dial(self) -> None:
        """Dial every validator that is listed."""
        for number in self._links.keys() - self._leaving:
            self._dial(number)

    def hang_up(self) -> None:
        """Close every connection, soon."""
        for task in self._tasks.values():
            task.cancel()

    async def closed(self) -> None:
        """Wait until every connection is closed."""
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def on_answered(self, number: int) -> bool:
        """The fast path answered on that link; False where it is none of these."""
        link = self._links.get(number)
        if link is not None:
            link.on_answered()
        return link is not None

    @property
    def failing(self) -> bool:
        """Whether a validator is not reached."""
        return any(link.failed_in_row for link in self._links.values())

    @property
    def quiet(self) -> bool:
        """Whether none was heard of for STATUS_QUIET_S."""
        now = self._loop.time()
        return all(now - link.heard_at >= STATUS_QUIET_S for link in self._links.values())

    def check_deadlines(self) -> None:
        """Close what stalls; called about once a second."""
        for link in self._links.values():
            link.check_deadlines()

    def documents(self, chain: ChainSigner) -> list[ValidatorReport]:
        """Return what the status board shows of the chain's links."""
        return [link.document() for link in self._links.values() if link.chain is chain]

    def _add(self, chain: ChainSigner, address: ValidatorAddress) -> int:
        identity = self._towards(address.target)
        if identity is None:
            raise InvariantError(f"{address}: this process has no identity for it")
        number = self.new_number()
        self._links[number] = ValidatorLink(
            name=str(address),
            number=number,
            dial=self._dial_of(address.target),
            target=address.target,
            chain=chain,
            core=self._core,
            identity=identity,
            settle=self._settle,
            log=self._log,
        )
        return number

    def _dial_of(self, target: Target) -> Callable[[], Awaitable[socket.socket]]:
        if isinstance(target, UnixTarget) and self._dialer is not None and self._dialer.knows(target.path):
            return partial(self._dialer.connect, target.path)
        return partial(connect, target, self._max_segment)

    def _allow_spin(self) -> None:
        """Allow it with one link only: other validators' requests would wait."""
        self.may_spin = self._has_cores and len(self._links) == 1
        for link in self._links.values():
            link.spin_ns = REQUEST_SPIN_NS if self.may_spin else 0

    def _remove(self, number: int) -> None:
        """A request under way gets no answer. The link stays until its connection is closed: the
        path knows it by its number."""
        task = self._tasks.pop(number, None)
        if task is None:
            del self._links[number]
            return
        self._leaving.add(number)
        task.add_done_callback(lambda _task: self._forget(number))
        task.cancel()

    def _forget(self, number: int) -> None:
        self._leaving.discard(number)
        del self._links[number]
        self._allow_spin()

    def _dial(self, number: int) -> None:
        link = self._links[number]
        self._tasks[number] = asyncio.create_task(link.run(), name=link.name)
