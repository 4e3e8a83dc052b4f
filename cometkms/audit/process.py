"""The audit process: writes down what the signer decided. Nothing waits for it.

Never: sees the key; opens a socket; holds up a signature. The signer's decisions come through a
queue of their own, which holds them while this process is away or waits for the disk; what it
cannot hold is lost, and the log says how many.
"""

import asyncio
import contextlib
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
from cometkms.errors import cure_of_file, said
from cometkms.hardening.account import AUDIT_NAME
from cometkms.hardening.children import Keeps, shut_child
from cometkms.hardening.measures import Measure, MeasureReport, Mode, tell
from cometkms.hardening.scheduling import Turn, take_turn
from cometkms.hardening.user import Whom
from cometkms.ipc.child import ChildContext, run_loop
from cometkms.limits import (
    AUDIT_ANEW_S,
    AUDIT_BUSY_S,
    AUDIT_IDLE_S,
    AUDIT_LOOK_S,
    AUDIT_RETRY_S,
    AUDIT_SYNC_S,
    AUDIT_UID,
    AUDIT_WAITING_MAX,
    CALM_BEAT_S,
)
from cometkms.log import Log

#: Imported when they are first needed.
LATE: Final[tuple[str, ...]] = ("concurrent.futures.thread",)
_CURE: Final = "make room, or mend the disk"
_GONE_CURE: Final = "put it back as it was; where it is lost, restart the node: it begins a new audit log"


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
    where = directory_of(settings.home, settings.id)
    away = _enter(where)
    turn = take_turn("audit", Mode(settings.hardening), Turn.LATER)
    measures = (*_shut(settings, where, away), turn)
    tell(log, measures)
    reports = [one.document() for one in measures]
    if away is not None:
        outside = _Outside(
            parts.board, log, AuditSection(error=f"{_path(where, away)}: {said(away)}", hardening=reports)
        )
        outside.tell(away)
        return run_loop(context, lambda stop: outside.run(context, stop), log, CALM_BEAT_S)
    audit = AuditLog(
        Path(),  # where it is now: by its whole name it may be out of this user's reach
        node=settings.id,
        version=__version__,
        chains=[chain.id for chain in settings.chains],
        max_bytes=settings.audit_max_mib << 20,
        lines=choose.load().audit_lines([chain.id for chain in settings.chains]),
    )

    async def main(stop: asyncio.Event) -> None:
        writer = _Writer(parts, audit, log, reports)
        writer.open()
        await writer.run(context, stop)

    return run_loop(context, main, log, CALM_BEAT_S)


def _enter(directory: Path) -> OSError | None:
    """Go where it works, by a name that leads there as another user, too: from inside. What is in
    the way: a full disk, other permissions, a file in the directory's place.
    """
    try:
        make_directory(directory)
        os.chdir(directory)
    except OSError as error:
        return error
    return None


def _shut(settings: Settings, directory: Path, away: OSError | None) -> tuple[Measure, ...]:
    """Leave this process nothing but its own directory, where it is inside. Raises: HardeningError."""

    def hand(uid: int, gid: int) -> None:
        if away is not None:
            return
        try:
            hand_over(Path(), uid, gid)
        except OSError as error:
            if error.filename is not None:
                error.filename = str(_path(directory, error))
            raise

    keeps = Keeps(
        Whom(AUDIT_NAME, AUDIT_UID, hand=hand),
        work=(directory,) if away is None else (),
        shut=tuple(chain.key_file for chain in settings.chains),
        apart=settings.secret_files,
        late=LATE,
    )
    return shut_child("audit", Mode(settings.hardening), os.getppid(), keeps)


def _path(directory: Path, error: OSError, otherwise: str = "") -> Path:
    """The whole path of what an error is about: this process works by names from inside."""
    return directory / os.fsdecode(error.filename if isinstance(error.filename, str | bytes) else otherwise)


def _tell_failure(log: Log, words: str, error: OSError) -> None:
    """What is wrong, and what helps."""
    cure = "give the node's user the directory and its files" if isinstance(error, PermissionError) else _CURE
    cure = _GONE_CURE if error.errno == errno.ENOENT else cure_of_file(error, cure)
    log.error("the audit log is not written", why=words, cure=f"{cure}; signing goes on")


class _Outside:
    """What there is to do without a directory: say so, and start anew, as who may enter one. The
    queue holds meanwhile what it can."""

    def __init__(self, board: Section[AuditSection], log: Log, section: AuditSection) -> None:
        self._board, self._log, self._section = board, log, section

    def tell(self, error: OSError) -> None:
        """Once in each life."""
        _tell_failure(self._log, self._section["error"], error)

    async def run(self, context: ChildContext, stop: asyncio.Event) -> None:
        """Wait until it is stopped; after a while ask for that."""
        self._board.publish(self._section)
        context.ready()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), AUDIT_ANEW_S)
            return
        context.ask_anew()
        await stop.wait()


class _Writer:
    """Empties the queue in the loop and writes in one thread, so that a disk that stands still
    stops no heartbeat."""

    def __init__(self, parts: AuditParts, audit: AuditLog, log: Log, hardening: list[MeasureReport]) -> None:
        self._queue, self._board, self._audit, self._log = parts.decisions, parts.board, audit, log
        self._where = directory_of(parts.settings.home, parts.settings.id)
        self._waiting: list[bytes] = []
        self._woken = asyncio.Event()
        self._paused = False  # the queue is not emptied: too many wait for the disk
        self._error = ""
        self._dropped = 0
        self._synced_at = 0.0
        self._looked_at = time.monotonic()
        self._published_at = 0.0
        self._hardening = hardening

    def open(self) -> None:
        """What fails is told, and tried again later: nothing about the audit log ends a node."""
        try:
            self._audit.open()
        except OSError as error:
            self._tell(error)
        if self._audit.changed:
            self._log.error(
                "the audit log was changed",
                directory=str(self._where),
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
        now = time.monotonic()
        due = (audit.unsynced and now - self._synced_at >= AUDIT_SYNC_S) or now - self._looked_at >= AUDIT_LOOK_S
        return bool(self._error) or not audit.opened or audit.behind or due

    def _resume(self) -> None:
        if self._paused and len(self._waiting) < AUDIT_WAITING_MAX:
            self._paused = False
            asyncio.get_running_loop().add_reader(self._queue.fileno(), self._on_queue)

    # --- in the thread ---

    def _write(self, batch: list[bytes]) -> OSError | None:
        """What went wrong."""
        try:
            self._take(batch)
            self._audit.flush()
            if time.monotonic() - self._synced_at >= AUDIT_SYNC_S:
                self._audit.sync()
                self._synced_at = time.monotonic()
        except OSError as error:
            return error
        return None

    def _finish(self, batch: list[bytes]) -> OSError | None:
        try:
            self._take(batch)
            self._audit.close()
        except OSError as error:
            return error
        return None

    def _take(self, batch: list[bytes]) -> None:
        """A file that is gone from its directory, or with it, takes every line and keeps none: what
        is to be written stays here. Raises: OSError.
        """
        if not self._audit.opened:
            self._audit.open()
        self._audit.take(batch)
        self._looked_at = time.monotonic()
        self._audit.look()

    # --- telling ---

    def _tell(self, error: OSError | None) -> None:
        """Say it once an episode."""
        path = str(self._audit.path or "")
        words = f"{_path(self._where, error, path)}: {said(error)}" if error is not None else ""
        if error is not None and not self._error:
            _tell_failure(self._log, words, error)
        elif self._error and error is None:
            self._log.info("the audit log is written again", dropped=self._audit.dropped)
        self._error = words
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
