"""What a child process gets from the supervisor, and the loop it runs.

A reload: the supervisor writes the new settings to the board's section RELOAD_SECTION, which it
alone can write (board/memory.py), then sends RELOAD_SIGNAL; the child's loop takes them over and
says RELOADED. The signal may come from anybody: it makes a child read what the supervisor wrote
last, which it has already. A child that starts later was forked with the settings as they are then,
and reads nothing.
"""

import asyncio
import gc
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import uvloop

from cometkms.board.status_board import Board
from cometkms.config.reload import Reloadable, decode
from cometkms.errors import InvariantError, said
from cometkms.hardening.confine import NameWatch
from cometkms.limits import HEARTBEAT_INTERVAL_S, NAMES_WATCH_S

READY = b"+"
FAILED = b"-"
RELOADED = b"\xff"  # in no text of a failure: it is no UTF-8 …
RESTART_WANTED = b"\xfe"  # … and neither is this …
ANEW = b"\xfd"  # … nor this: a new process must take the place of this one …
SIGNER_STUCK = b"\xfc"  # … nor this: of the signer, which does not move
RELOAD_SECTION = "reload"
_REASON_MAX_BYTES = 4000  # with what stands before it below PIPE_BUF: one write, whole
#: From the supervisor alone. SIGTERM and SIGINT often reach the whole process group (systemd, a
#: terminal's Ctrl-C): the supervisor takes them and stops its children in order, who ignore them.
STOP_SIGNAL = signal.SIGUSR1
#: To the state process, when the node is about to stop: let another node lead first.
HAND_OVER_SIGNAL = signal.SIGUSR2
#: To the supervisor: stop all children in order and start them again (a drill, or an operator).
RESTART_SIGNAL = signal.SIGUSR2
#: To every child: settings that may change while it runs have changed.
RELOAD_SIGNAL = signal.SIGHUP
_FULL_COLLECTION_S: Final = 10.0
_LOG_S: Final = 0.5  # events are written as they come; this is for what a full pipe left over


class ChildLog(Protocol):
    """What a child's loop needs of its log."""

    def error(self, event: str, **fields: object) -> None: ...

    def attach(self, call_soon: Callable[[Callable[[], None]], object] | None) -> None: ...

    def flush(self, deadline_s: float = 0.0) -> None: ...

    def set_level(self, level: str) -> None: ...


class ChildContext:
    """The supervisor's hand in a child: reports through a pipe, and the heartbeat."""

    def __init__(self, name: str, report_fd: int, board: Board, asked_restarts: int = 0) -> None:
        """`asked_restarts`: how often the node was started again within ASKED_RESTARTS_S because a
        child asked for it."""
        self.name = name
        self.board = board
        self.asked_restarts = asked_restarts
        self._report_fd = report_fd
        self._on_reload: list[Callable[[Reloadable], None]] = []
        self._on_beat: list[Callable[[], None]] = []

    def ready(self) -> None:
        """The child works from now on. Before this, its failure is a failure to boot: the node's
        first ends the node."""
        self.beat()
        os.write(self._report_fd, READY)

    def failed(self, reason: str) -> None:
        """Tell the supervisor why; the child exits right after."""
        os.write(self._report_fd, FAILED + reason.encode("utf-8", "replace")[:_REASON_MAX_BYTES])

    def ask_for_restart(self) -> None:
        """A planned restart of the whole node, please. Through the pipe: this process may be
        allowed no signals (hardening)."""
        os.write(self._report_fd, RESTART_WANTED)

    def ask_for_new_signer(self) -> None:
        """The signer does not move, and its connections keep the validators from the next one:
        replace it, please."""
        os.write(self._report_fd, SIGNER_STUCK)

    def beat(self) -> None:
        """Called from the child's own loop."""
        self.board.beat(self.name)

    def on_beat(self, callback: Callable[[], None]) -> None:
        """Call back at every heartbeat from the next one on: a process that has little to do wakes
        once for all of it."""
        self._on_beat.append(callback)

    def at_beat(self) -> None:
        """What was to be done at the heartbeat. Called from the child's own loop, behind beat()."""
        for callback in self._on_beat:
            callback()

    def on_reload(self, callback: Callable[[Reloadable], None]) -> None:
        """Call back from the child's loop, at every reload from now on."""
        self._on_reload.append(callback)

    def ask_anew(self) -> None:
        """Be stopped as at a planned end and started again: what was shut off for good, or could
        not be entered, is in this process's way."""
        os.write(self._report_fd, ANEW)

    def reload(self, log: ChildLog) -> None:
        """Take over what the supervisor wrote, and tell it so. Called from the child's own loop."""
        document = self.board.section(RELOAD_SECTION).read()
        if document is None:  # a terminal that was closed, say: it reaches the whole process group
            return
        try:
            latest = decode(document)
        except InvariantError as error:  # the supervisor says that this child did not take it over
            log.error("not reloaded", why=str(error), what="this process runs on with what it had")
            return
        log.set_level(latest.log_level)
        for callback in self._on_reload:
            callback(latest)
        os.write(self._report_fd, RELOADED)


def watch_names(
    context: ChildContext, names: NameWatch, is_away: Callable[[], bool], log: ChildLog, before: Callable[[], None]
) -> None:
    """Watch, in the running loop, the files that names are found with.

    While somebody cannot be reached and such a file was replaced, a new process must take this
    one's place, which may read the new file. `before` is called first.
    """
    loop = asyncio.get_running_loop()

    def look() -> None:
        if is_away() and (changed := names.changed()):
            log.error(
                "a new process is needed", why=f"{changed} was replaced, and this process may read the old one only"
            )
            before()
            context.ask_anew()
            return
        loop.call_later(NAMES_WATCH_S, look)

    loop.call_later(NAMES_WATCH_S, look)


def run_loop(
    context: ChildContext,
    main: Callable[[asyncio.Event], Awaitable[None]],
    log: ChildLog,
    beat_s: float = HEARTBEAT_INTERVAL_S,
) -> int:
    """Run `main(stop)` under uvloop until it returns, then return 0. STOP_SIGNAL sets `stop`.

    The heartbeat is a timer of this very loop, every `beat_s` seconds until `main` is over, and the
    log's writing and what a process does a few times a second go with it. An exception that reaches
    the loop ends the process with its exit code: a callback that failed is never ignored. Raises:
    the first failure, when the loop is gone; it is told once, by the supervisor.
    """
    failures: list[BaseException] = []
    log_beats, full_collection_beats = round(_LOG_S / beat_s), round(_FULL_COLLECTION_S / beat_s)

    async def body() -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        beats = 0
        timer: asyncio.TimerHandle | None = None
        work = asyncio.current_task()

        def on_exception(_loop: asyncio.AbstractEventLoop, details: dict[str, object]) -> None:
            error = details.get("exception")
            failures.append(error if isinstance(error, BaseException) else RuntimeError(str(details.get("message"))))
            if work is not None:
                work.cancel()

        def beat() -> None:
            nonlocal beats, timer
            timer = loop.call_later(beat_s, beat)
            context.beat()
            context.at_beat()
            if beats % log_beats == 0:
                log.flush()
            beats += 1
            # between callbacks, never within one
            gc.collect(2 if beats % full_collection_beats == 0 else 0)

        loop.set_exception_handler(on_exception)
        loop.add_signal_handler(STOP_SIGNAL, stop.set)
        loop.add_signal_handler(RELOAD_SIGNAL, context.reload, log)
        log.attach(loop.call_soon)
        gc.collect()
        gc.freeze()
        gc.disable()  # beat() does it
        beat()
        try:
            await main(stop)
        finally:
            if timer is not None:
                timer.cancel()

    try:
        uvloop.run(body())
    except asyncio.CancelledError:
        if not failures:  # nobody here cancels without a failure
            failures.append(RuntimeError("the main task was cancelled"))
    except Exception as error:  # noqa: BLE001 - logged below, and the process ends with its exit code
        failures.append(error)
    log.attach(None)
    # the first is the supervisor's to tell, with the end of this process
    for failure in failures[1:]:
        log.error("failed as it ended", kind=type(failure).__name__, why=said(failure))
    log.flush(deadline_s=0.5)
    if not failures:
        return 0
    raise failures[0]
