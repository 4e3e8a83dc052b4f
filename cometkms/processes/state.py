"""The state process: owns the promise store and the state files, and grants permits.

Never: sees the validator key; opens a socket; answers before the store is durable.

The store's write and sync happen in the loop, on purpose: nothing else this process does may overtake them. The state
files follow after the signature, off the loop's path, one writer thread at most `_FILE_INTERVAL_S` apart.
"""

import asyncio
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from cometkms import core as cores
from cometkms.config.schema import Settings
from cometkms.errors import InvariantError, StoreFailure
from cometkms.histogram import Histogram
from cometkms.interface import Core, Queue
from cometkms.ipc.board import Section
from cometkms.ipc.messages import (
    Lease,
    Mark,
    PermitGranted,
    QueueMessage,
    Reserve,
    ReserveRefused,
    Signed,
    SignerHello,
    StateHello,
    decode,
    encode,
)
from cometkms.limits import HEARTBEAT_INTERVAL_S
from cometkms.log import Log
from cometkms.model import Row, Watermark
from cometkms.processes.loop import run_child
from cometkms.processes.supervisor import ChildContext

_FILE_INTERVAL_S = 0.1  # a state file is written at once after a signature, but at most ten times a second


@dataclass(frozen=True, slots=True)
class StateParts:
    """What the supervisor made before the fork."""

    settings: Settings
    requests: Queue  # this process pops
    permits: Queue  # this process pushes
    board: Section
    log: Log


def run(context: ChildContext, parts: StateParts) -> int:
    """The process's whole life; returns its exit code."""
    core = cores.load()
    opened = open_node(...)

    async def main(stop: asyncio.Event) -> int:
        state = _State(parts, core, opened)
        state.start()
        context.ready()
        await stop.wait()
        await state.stop()
        return 0

    return run_child(context, main, parts.log)


class _State:
    """Store, acceptor and state files of one state process, driven by its loop."""

    def start(self) -> None:
        """Forget what was asked of a predecessor; say hello, so that a living signer asks again."""
        self._parts.requests.discard()
        self._loop.add_reader(self._parts.requests.fileno(), self._on_messages)
        self._send(StateHello(self._nonce))
        self._loop.call_later(HEARTBEAT_INTERVAL_S, self._tick)

    def _on_messages(self) -> None:
        while (untrusted := self._parts.requests.pop()) is not None:
            self._on_message(decode(untrusted))
