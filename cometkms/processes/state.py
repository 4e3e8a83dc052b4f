"""The state process: owns the promise store and the state files, and grants permits.

Never: sees the validator key; opens a socket; answers before the store is durable.

The store's write and sync happen in the loop, on purpose: nothing else this process does may overtake them. A state file follows
each signature after the reply, written by one helper thread as soon as no request has come for `_FILE_QUIET_S`, and at least every
`_FILE_LATEST_S`: a validator at its own pace finds it in step within milliseconds, a burst of requests does not pay for it.
"""

import asyncio
import base64
import secrets
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cometkms import core as cores
from cometkms.config.schema import Settings
from cometkms.errors import InvariantError, ProtocolError
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
from cometkms.model import HRS, Refusal, Watermark
from cometkms.processes.child import ChildContext, run_loop
from cometkms.promises.acceptor import Acceptor
from cometkms.store import state_file
from cometkms.store.node_store import NodeFiles, OpenedNode, open_node

_FILE_QUIET_S: Final = 0.01
_FILE_LATEST_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class StateParts:
    """What the supervisor made before the fork."""

    settings: Settings
    files: NodeFiles
    requests: Queue  # this process pops
    permits: Queue  # this process pushes
    board: Section
    log: Log


def run(context: ChildContext, parts: StateParts) -> int:
    """The process's whole life; returns its exit code. Raises: CometKMSError when it cannot start."""
    log = parts.log.bind(immediate=False, module="state")
    core = cores.load()
    opened = open_node(parts.files, core)
    for warning in opened.warnings:
        log.error("state reconciled", what=warning)

    async def main(stop: asyncio.Event) -> None:
        state = _State(parts, core, opened, log)
        state.start()
        context.ready()
        await stop.wait()
        state.stop()

    return run_loop(context, main, log)


class _State:
    """Store, acceptor and state files of one state process, driven by its loop."""

    def __init__(self, parts: StateParts, core: Core, opened: OpenedNode, log: Log) -> None:
        self._parts = parts
        self._core = core
        self._opened = opened
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._nonce = secrets.randbits(64)
        chains = parts.settings.chains
        self._acceptor = Acceptor(
            opened.store,
            tuple(row.chain_id for row in opened.store.rows),
            parse_sign_bytes=core.parse_sign_bytes,
            same_but_timestamp=core.same_but_timestamp,
        )
        self._sync_ns = Histogram()
        self._files = [
            _StateFile(self, chain.state_file, opened.store.rows[row].public_key, signed)
            for chain, row, signed in zip(chains, opened.rows, opened.signed, strict=True)
        ]
        self.writer = ThreadPoolExecutor(1, thread_name_prefix="state-files")
        self._changed = True
        self.asked_at = 0.0  # loop time of the last request

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def start(self) -> None:
        """Forget what was asked of a predecessor; say hello, so that a living signer asks again."""
        self._parts.requests.discard()
        self._loop.add_reader(self._parts.requests.fileno(), self._on_messages)
        self._send(StateHello(self._nonce))
        self._tick()

    def stop(self) -> None:
        """The signer is gone: take its last reports, bring the files in step, close."""
        self._on_messages()
        for one in self._files:
            one.finish()
        self.writer.shutdown()
        self._opened.store.close()

    def _send(self, message: QueueMessage) -> None:
        if not self._parts.permits.push(encode(message)):
            self._log.error("queue to the signer is full", message=type(message).__name__)

    def _on_messages(self) -> None:
        while (untrusted := self._parts.requests.pop()) is not None:
            message = decode(untrusted)
            match message:
                case Reserve():
                    self._reserve(message)
                case Signed():
                    self._on_signed(message)
                case SignerHello():
                    self._on_hello(message)
                case _:
                    raise InvariantError(f"the signer sent a state's message: {type(message).__name__}")

    def _reserve(self, asked: Reserve) -> None:
        """Promise durably, then permit. A StoreFailure ends this process: no answer is better than a wrong one."""
        started_ns = time.monotonic_ns()
        self.asked_at = self._loop.time()
        try:
            outcome = self._acceptor.reserve(self._opened.rows[asked.row], asked.hrs, asked.sign_bytes)
        except ProtocolError as error:
            raise InvariantError(f"the signer asked for bytes that are not canonical: {error}") from error
        if isinstance(outcome, Refusal):
            mark = self._opened.store.mark(self._opened.rows[asked.row]).hrs
            self._send(ReserveRefused(asked.nonce, asked.request_id, asked.row, outcome.reason, mark))
            self._log.error("promise refused", chain=self._chain_id(asked.row), reason=outcome.reason, why=outcome.text)
            return
        self._send(PermitGranted(asked.nonce, asked.request_id, asked.row, outcome.sign_bytes))
        self._sync_ns.add(time.monotonic_ns() - started_ns)
        self._changed = True

    def _on_signed(self, signed: Signed) -> None:
        self._files[signed.row].on_signed(Watermark(signed.hrs, signed.sign_bytes, signed.signature))
        self._changed = True

    def _on_hello(self, hello: SignerHello) -> None:
        """Tell a signer where each chain stands, then let it dial. One node alone always leads."""
        for number, one in enumerate(self._files):
            self._send(Mark(hello.nonce, number, one.signed))
        self._send(Lease(hello.nonce, granted=True))

    def _chain_id(self, number: int) -> str:
        return self._parts.settings.chains[number].id

    def _tick(self) -> None:
        self._loop.call_later(HEARTBEAT_INTERVAL_S, self._tick)
        if self._changed:
            self._changed = False
            self._parts.board.write(self._document())

    def verify(self, public_key: bytes, mark: Watermark) -> bool:
        """Whether the mark's signature is the key's."""
        return self._core.verify(public_key, mark.sign_bytes, mark.signature)

    def fail(self, error: BaseException) -> None:
        """End the process: a file that cannot be written is never ignored."""
        self._loop.call_exception_handler({"message": "state file", "exception": error})

    def _document(self) -> dict[str, object]:
        """The state's section of the status board; cometkms/api/sections.py has its fields."""
        settings, store = self._parts.settings, self._opened.store
        return {
            "node_id": settings.id,
            "is_leader": True,
            "leader_id": settings.id,
            "leader_addr": str(settings.raft_addr),
            "epoch": store.header.epoch,
            "members": list(store.header.members),
            "rows": [
                {
                    "chain_id": chain.id,
                    "public_key": store.rows[row].public_key.hex(),
                    "watermark": _watermark_document(store.mark(row)),
                    "last_sign_state": _last_sign_state(one.signed),
                }
                for chain, row, one in zip(settings.chains, self._opened.rows, self._files, strict=True)
            ],
            "warnings": list(self._opened.warnings),
            "fdatasync_us": self._sync_ns.summary_us(),
        }


class _StateFile:
    """Keeps one priv_validator_state.json in step, off the loop: newest mark only, one write at a time."""

    def __init__(self, state: _State, path: Path, public_key: bytes, signed: Watermark) -> None:
        self.signed = signed
        self._state = state
        self._path = path
        self._public_key = public_key
        self._written = signed
        self._writing: Future[None] | None = None
        self._behind_since = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def on_signed(self, mark: Watermark) -> None:
        """A signature left. Never lowers what is known."""
        if mark.hrs > self.signed.hrs or (mark.hrs == self.signed.hrs and not self.signed.signature):
            if self.signed is self._written:
                self._behind_since = self._state.loop.time()
            self.signed = mark
            self._schedule()

    def _schedule(self) -> None:
        if self._timer is None and self._writing is None:
            self._timer = self._state.loop.call_later(_FILE_QUIET_S, self._start)

    def _start(self) -> None:
        self._timer = None
        now = self._state.loop.time()
        if now - self._state.asked_at < _FILE_QUIET_S and now - self._behind_since < _FILE_LATEST_S:
            self._schedule()
            return
        self._writing = self._state.writer.submit(self._write, self.signed)
        self._writing.add_done_callback(lambda future: self._state.loop.call_soon_threadsafe(self._on_written, future))

    def _write(self, mark: Watermark) -> None:
        """In the helper thread. Raises: StoreFailure, InvariantError."""
        if not self._state.verify(self._public_key, mark):
            raise InvariantError(f"the signer reported a signature that does not verify at {tuple(mark.hrs)}")
        state_file.save(self._path, mark)
        self._written = mark

    def _on_written(self, future: Future[None]) -> None:
        self._writing = None
        error = future.exception()
        if error is not None:
            self._state.fail(error)
        elif self._written is not self.signed:
            self._behind_since = self._state.loop.time()
            self._schedule()

    def finish(self) -> None:
        """At the end: wait for the write under way, then write what is left. Raises: StoreFailure."""
        if self._timer is not None:
            self._timer.cancel()
        if self._writing is not None:
            self._writing.result(timeout=1.0)
        if self._written != self.signed:
            self._write(self.signed)


def _watermark_document(mark: Watermark) -> dict[str, object]:
    burnt = mark.hrs > HRS(0, 0, 0) and not mark.sign_bytes
    return {"height": mark.hrs.height, "round": mark.hrs.round, "step": mark.hrs.step, "burnt": burnt}


def _last_sign_state(signed: Watermark) -> dict[str, object]:
    """As the Go CometKMS shows it: signature and signbytes are left out when empty."""
    document: dict[str, object] = {"height": signed.hrs.height, "round": signed.hrs.round, "step": signed.hrs.step}
    if signed.signature:
        document["signature"] = base64.b64encode(signed.signature).decode()
    if signed.sign_bytes:
        document["signbytes"] = signed.sign_bytes.hex().upper()
    return document
