"""The audit process: writes down what the signer decided. Nothing waits for it.

Never: sees the key; opens a socket; holds up a signature. The signer's decisions come through a
queue of their own, which holds them while this process is away or waits for the disk; what it
cannot hold is lost, and the log says how many.
"""

import asyncio
import errno
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cometkms import __version__
from cometkms.audit.files import directory_of
from cometkms.audit.log import AuditLog
from cometkms.board.sections import AuditSection
from cometkms.board.status_board import Section
from cometkms.config.schema import Settings
from cometkms.core import choose
from cometkms.core.interface import Queue
from cometkms.durable import hand_over, make_directory
from cometkms.errors import InTheWayError, StateError, WordedError, cure_of_file, said
from cometkms.hardening.children import Keeps, shut_child
from cometkms.hardening.measures import Measure, MeasureReport, Mode, tell
from cometkms.hardening.scheduling import Turn, take_turn
from cometkms.hardening.user import Whom
from cometkms.ipc.child import ChildContext, run_loop
from cometkms.limits import (
    AUDIT_BUSY_S,
    AUDIT_IDLE_S,
    AUDIT_RETRY_S,
    AUDIT_SYNC_S,
    AUDIT_UID,
    AUDIT_WAITING_MAX,
    CALM_BEAT_S,
)
from cometkms.log import Log

#: Imported when they are first needed.
LATE: Final[tuple[str, ...]] = ("concurrent.futures.thread",)


@dataclass(frozen=True, slots=True)
class AuditParts:
    """What the supervisor made before the fork."""

    settings: Settings
    decisions: Queue  # this process pops
    board: Section[AuditSection]
    log: Log


def run(context: ChildContext, parts: AuditParts) -> int:
    """The process's whole life; returns its exit code. Raises: CometKMSError when it cannot
    start."""
    settings = parts.settings
    log = parts.log.bind(immediate=False, module="audit")
    directory = _enter(directory_of(settings.home, settings.id))
    turn = take_turn("audit", Mode(settings.hardening), Turn.LATER)
    measures = (*_shut(settings, directory), turn)
    tell(log, measures)
    audit = AuditLog(
        directory,
        node=settings.id,
        version=__version__,
        chains=[chain.id for chain in settings.chains],
        max_bytes=settings.audit_max_mib << 20,
        lines=choose.load().audit_lines([chain.id for chain in settings.chains]),
    )

    async def main(stop: asyncio.Event) -> None:
        writer = _Writer(parts, audit, log, [one.document() for one in measures])
        writer.open()
        await writer.run(context, stop)

    return run_loop(context, main, log, CALM_BEAT_S)


def _enter(directory: Path) -> Path:
    """Where it works, by a name that leads there as another user, too: from inside. As it is while
    a full disk lets none be made.

    Raises: StateError where something else stands in its place.
    """
    try:
        make_directory(directory)
        os.chdir(directory)
    except InTheWayError as error:
        raise StateError(
            f"{error.filename}: {said(error)}: the audit log cannot be written",
            cure=f"{cure_of_file(error, '')}; or set audit_max_mib = 0 for no audit log",
        ) from error
    except OSError:
        return directory
    return Path()


def _shut(settings: Settings, directory: Path) -> tuple[Measure, ...]:
    """Leave this process nothing but its own directory. Raises: HardeningError."""

    def hand(uid: int, gid: int) -> None:
        if directory != Path():
            raise WordedError(errno.EPERM, "its directory cannot be made yet")
        try:
            hand_over(directory, uid, gid)
        except OSError as error:
            if error.filename is not None:
                error.filename = str(directory_of(settings.home, settings.id) / os.fsdecode(error.filename))
            raise

    keeps = Keeps(
        Whom("cmkms-audit", AUDIT_UID, hand=hand),
        work=(directory_of(settings.home, settings.id) if directory == Path() else directory.parent,),
        shut=tuple(chain.key_file for chain in settings.chains),
        apart=settings.secret_files,
        late=LATE,
    )
    return shut_child("audit", Mode(settings.hardening), os.getppid(), keeps)


class _Writer:
    """Empties the queue in the loop and writes in one thread, so that a disk that stands still
    stops no heartbeat."""

    def __init__(self, parts: AuditParts, audit: AuditLog, log: Log, hardening: list[MeasureReport]) -> None:
        self._queue, self._board, self._audit, self._log = parts.decisions, parts.board, audit, log
        self._waiting: list[bytes] = []
        self._woken = asyncio.Event()
        self._paused = False  # the queue is not emptied: too many wait for the disk
        self._error = ""
        self._dropped = 0
        self._synced_at = 0.0
        self._published_at = 0.0
        self._hardening = hardening

    def open(self) -> None:
        """Raises: StateError. A disk that fails is tried again later."""
        try:
            self._audit.open()
        except OSError as error:
            self._tell(said(error))
        if self._audit.changed:
            self._log.error(
                "the audit log was changed",
                why=self._audit.changed,
                cure="keep a copy and run cmkms audit verify; a new file was begun",
            )

    async def run(self, context: ChildContext, stop: asyncio.Event) -> None:
        """Work until `stop` is set, and then write everything that is in the queue."""
        loop = asyncio.get_running_loop()
        thread = ThreadPoolExecutor(
            1, thread_name_prefix="audit"
        )  # not waited for: the supervisor's patience is the bound
        stopping: asyncio.Task[object] = asyncio.create_task(stop.wait())
        loop.add_reader(self._queue.fileno(), self._on_queue)
        context.on_beat(self._woken.set)
        self._publish()
        context.ready()
        while not stop.is_set():
            found = self._empty_queue()
            batch = self._batch()
            if batch or self._has_work():
                self._tell(await loop.run_in_executor(thread, self._write, batch))
            self._resume()
            if not found or time.monotonic() - self._published_at >= CALM_BEAT_S:
                self._publish()  # else soon: the queue is looked at again
            await self._pause(stopping, found=found)
        self._empty_queue()
        batch, self._waiting = self._waiting, []
        self._tell(await loop.run_in_executor(thread, self._finish, batch))
        self._publish()

    async def _pause(self, stopping: asyncio.Task[object], *, found: bool) -> None:
        if self._error:
            await asyncio.wait([stopping], timeout=AUDIT_RETRY_S)
            return
        self._woken.clear()
        woken: asyncio.Task[object] = asyncio.create_task(self._woken.wait())
        await asyncio.wait(
            [stopping, woken], timeout=AUDIT_BUSY_S if found else AUDIT_IDLE_S, return_when=asyncio.FIRST_COMPLETED
        )  # idle, the heartbeat wakes it: once for both
        woken.cancel()

    # --- the queue ---

    def _on_queue(self) -> None:
        self._empty_queue()
        self._woken.set()

    def _empty_queue(self) -> bool:
        """Whether anything was in it. With AUDIT_WAITING_MAX of them here it fills up instead, and
        the signer loses what it cannot hold."""
        before = len(self._waiting)
        while len(self._waiting) < AUDIT_WAITING_MAX and (message := self._queue.pop()) is not None:
            self._waiting.append(message)
        if len(self._waiting) >= AUDIT_WAITING_MAX and not self._paused:
            self._paused = True
            asyncio.get_running_loop().remove_reader(self._queue.fileno())
        return len(self._waiting) > before

    def _batch(self) -> list[bytes]:
        """What the thread is to take: nothing more while it has what the disk does not take."""
        if not self._audit.opened or self._audit.pending:
            return []
        batch, self._waiting = self._waiting, []
        return batch

    def _has_work(self) -> bool:
        """Whether the thread has something to do without a batch."""
        audit = self._audit
        due = audit.unsynced and time.monotonic() - self._synced_at >= AUDIT_SYNC_S
        return bool(self._error) or not audit.opened or audit.behind or due

    def _resume(self) -> None:
        if self._paused and len(self._waiting) < AUDIT_WAITING_MAX:
            self._paused = False
            asyncio.get_running_loop().add_reader(self._queue.fileno(), self._on_queue)

    # --- in the thread ---

    def _write(self, batch: list[bytes]) -> str:
        """What went wrong, in words."""
        try:
            if not self._audit.opened:
                self._audit.open()
            self._audit.take(batch)
            self._audit.flush()
            if time.monotonic() - self._synced_at >= AUDIT_SYNC_S:
                self._audit.sync()
                self._synced_at = time.monotonic()
        except (OSError, StateError) as error:
            return said(error)
        return ""

    def _finish(self, batch: list[bytes]) -> str:
        try:
            if not self._audit.opened:
                self._audit.open()
            self._audit.take(batch)
            self._audit.close()
        except (OSError, StateError) as error:
            return said(error)
        return ""

    # --- telling ---

    def _tell(self, error: str) -> None:
        """Say it once an episode."""
        if error and not self._error:
            self._log.error(
                "the audit log is not written", why=error, cure="make room, or mend the disk; signing goes on"
            )
        elif self._error and not error:
            self._log.info("the audit log is written again", dropped=self._audit.dropped)
        self._error = error
        if self._audit.dropped > self._dropped:
            missing = self._audit.dropped - self._dropped
            self._log.error("decisions are missing in the audit log", count=missing, dropped=self._audit.dropped)
            self._dropped = self._audit.dropped

    def _publish(self) -> None:
        audit = self._audit
        self._published_at = time.monotonic()
        self._board.publish(
            AuditSection(
                records=audit.records,
                dropped=audit.dropped,
                bytes=audit.size,
                file=audit.path.name if audit.path else "",
                head=f"{audit.seq}:{audit.head}",
                error=self._error,
                hardening=self._hardening,
            )
        )
