"""One child of the supervisor: what it is for, how it stands, its fork and its end. The table below
is the only way from one state to another."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from cometkms.board.sections import ChildReport, ChildState, UseReport
from cometkms.board.status_board import Board
from cometkms.errors import INTERNAL_EXIT, CometKMSError, InvariantError, disk_failure, place_of, said
from cometkms.hardening.prctl import die_with_parent, set_name
from cometkms.ipc.child import FAILED, HAND_OVER_SIGNAL, RELOAD_SIGNAL, STOP_SIGNAL, ChildContext
from cometkms.limits import (
    BOOT_TIMEOUT_S,
    HUNG_AFTER_S,
    RESTART_MAX_S,
    RESTART_MIN_S,
    RESTART_RESET_AFTER_S,
    STOP_TIMEOUT_S,
    STOP_WRITES_S,
)

WATCH_S: Final = 0.5
#: What may be left of one that keeps the store and did not end well.
_BEHIND: Final = (
    "its state files may be behind what was signed: bring another signer what `cmkms export` writes, not them"
)
_REPORT_MAX_BYTES: Final = 8192

TRANSITIONS: Final[dict[ChildState, frozenset[ChildState]]] = {
    ChildState.IDLE: frozenset({ChildState.BOOTING}),
    ChildState.BOOTING: frozenset({ChildState.RUNNING, ChildState.STOPPING, ChildState.IDLE, ChildState.BACKOFF}),
    ChildState.RUNNING: frozenset({ChildState.BACKOFF, ChildState.STOPPING}),
    ChildState.BACKOFF: frozenset({ChildState.BOOTING, ChildState.STOPPING}),
    ChildState.STOPPING: frozenset({ChildState.IDLE}),
}


class SupervisorLog(Protocol):
    """What the supervisor needs of a log."""

    def info(self, event: str, **fields: object) -> None: ...

    def error(self, event: str, **fields: object) -> None: ...

    def flush(self, deadline_s: float = 0.0) -> None: ...


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds; tests shorten them."""

    hung_after_s: float = HUNG_AFTER_S
    stop_timeout_s: float = STOP_TIMEOUT_S
    stop_writes_s: float = STOP_WRITES_S
    boot_timeout_s: float = BOOT_TIMEOUT_S
    restart_min_s: float = RESTART_MIN_S
    restart_max_s: float = RESTART_MAX_S
    restart_reset_after_s: float = RESTART_RESET_AFTER_S

    @property
    def own_pause_s(self) -> float:
        """The supervisor looks every WATCH_S; silent for so long, it has itself stood still."""
        return max(self.hung_after_s / 5, 2 * WATCH_S)


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """A child: `run(context)` is its whole life and returns its exit code. The order of the specs
    is the order of start.

    `essential`: False where the node does its work without it. `stops_first`: it signs, so it
    answers nothing more before the others stop, and the child that keeps the store may say that it
    does not move. `keeps_store`: its failed write ends the node; it hears the operator, so that the
    node is restarted by its wish; of another that would be a word of an attacker's. `hands_over`:
    it is told before anything stops, so that another node may lead.
    """

    name: str
    run: Callable[[ChildContext], int]
    essential: bool = True
    stops_first: bool = False
    keeps_store: bool = False
    hands_over: bool = False


@dataclass(slots=True)
class Child:
    """A spec, and the process that lives it just now, if there is one."""

    spec: ChildSpec
    state: ChildState = ChildState.IDLE
    pid: int = 0
    report_fd: int = -1
    said: bytes = b""
    since: float = 0.0  # monotonic, of the state
    forked_at: float = 0.0  # monotonic
    started_at: float = 0.0  # unix time, for /status
    restarts: int = 0
    delay_s: float = 0.0
    last_exit: str | None = None
    killed_hung: bool = False
    was_up: bool = False
    use: UseReport | None = None  # of its CPU and memory, as last looked at
    in_turn: bool = True  # started in order: the next one waits until it is up
    knows: int = 0  # reloads that it was forked with or told of
    reloading: bool = False  # it was told, and has not answered
    asks_anew: bool = False
    ran: bool = False  # when it was asked to stop: one that still boots may not know how to
    # why what it keeps beside the store may not be in step with it; the next one that is up has
    # brought it there
    behind: str = ""

    @property
    def name(self) -> str:
        """Return the spec's."""
        return self.spec.name

    @property
    def has_come_up(self) -> bool:
        """Whether it runs; one that the node can be without is not waited for when it fails."""
        return self.state is ChildState.RUNNING or (self.state is ChildState.BACKOFF and not self.spec.essential)

    def enter(self, state: ChildState) -> None:
        """Raises: InvariantError for what the table does not hold."""
        if state not in TRANSITIONS[self.state]:
            raise InvariantError(f"{self.name}: {self.state} cannot become {state}")
        self.state = state
        self.since = time.monotonic()

    def fork(self, board: Board, open_fds: Iterable[int], asked_restarts: int, mask: set[int], knows: int) -> None:
        """Begin a life. `open_fds`: of the other children's reports; `mask`: the signals that it
        has blocked; `knows`: how many reloads there were."""
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        board.forget_beat(self.name)
        parent = os.getpid()
        flush_standard_streams()
        pid = os.fork()
        if pid == 0:
            for fd in (reader, *(one for one in (*open_fds, self.report_fd) if one >= 0)):
                os.close(fd)
            _live(self.spec, ChildContext(self.name, writer, board, asked_restarts), parent, mask)
        os.close(writer)
        self.pid, self.report_fd, self.said, self.killed_hung = pid, reader, b"", False
        self.use, self.knows = None, knows
        self.forked_at, self.started_at = time.monotonic(), time.time()
        self.enter(ChildState.BOOTING)

    def read(self) -> bytes:
        """Return what it said since the last look."""
        if self.report_fd < 0:
            return b""
        try:
            return os.read(self.report_fd, 4096)
        except BlockingIOError:
            return b""

    def keep(self, words: bytes) -> None:
        """Remember what it said, up to a bound."""
        self.said += words[: _REPORT_MAX_BYTES - len(self.said)]

    def tell_reload(self, number: int) -> None:
        """Have it take over the settings that were reloaded; `number`: how often that was."""
        self.reloading, self.knows = True, number
        os.kill(self.pid, RELOAD_SIGNAL)

    def ask_to_stop(self) -> None:
        """Stop it in peace."""
        if self.state is not ChildState.STOPPING:  # one that starts anew is asked already
            self.ran = self.state is ChildState.RUNNING
            self.enter(ChildState.STOPPING)
        if self.pid == 0:
            self.enter(ChildState.IDLE)
            return
        os.kill(self.pid, STOP_SIGNAL)
        os.kill(self.pid, signal.SIGCONT)  # a frozen child can obey only when it runs

    def stop_s(self, timing: Timing) -> float:
        """How long its stop may take: whoever keeps the store may have files to write still."""
        return timing.stop_timeout_s + (timing.stop_writes_s if self.spec.keeps_store else 0.0)

    def kill_hung(self) -> None:
        """Kill it because it does not move; its exit says so."""
        self.killed_hung = True
        os.kill(self.pid, signal.SIGKILL)

    def gone(self, code: int) -> str:
        """Let go of a process that has exited, and return by what, in words."""
        if self.report_fd >= 0:
            os.close(self.report_fd)
            self.report_fd = -1
        words = "its loop hung" if self.killed_hung else describe_exit(code)
        ran = self.state is ChildState.RUNNING or (self.state is ChildState.STOPPING and self.ran)
        if self.spec.keeps_store and ran and code != 0:
            self.behind = self.bad_end(words)
        self.last_exit, self.pid, self.reloading, self.asks_anew = words, 0, False, False
        return words

    def bad_end(self, words: str) -> str:
        """Why one that was asked to stop did not do it well; `words`: of its exit."""
        late = self.killed_hung and self.state is not ChildState.RUNNING
        why = self.reason() or f"{self.name}: {'it did not stop in time' if late else words}"
        return f"{why}; {_BEHIND}" if self.spec.keeps_store and not self.reason() else why

    def report(self) -> ChildReport:
        """Return what /status shows of it."""
        return ChildReport(
            name=self.name,
            pid=self.pid,
            state=self.state.value,
            started_at=self.started_at,
            started_at_mono=self.forked_at,
            restarts=self.restarts,
            last_exit=self.last_exit,
        )

    def reason(self) -> str:
        """What the child said before it exited."""
        return self.said.partition(FAILED)[2].decode("utf-8", "replace")


def _live(spec: ChildSpec, context: ChildContext, parent: int, mask: set[int]) -> None:
    """A child's whole life, in the forked process. Never returns."""
    code = INTERNAL_EXIT
    try:
        context.board.become(spec.name)
        die_with_parent(parent)
        set_name(f"cmkms-{spec.name}")
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, HAND_OVER_SIGNAL):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        code = spec.run(context)
    except BaseException as error:  # noqa: BLE001 - the last frame of a process: it must not return into its parent's
        told = disk_failure(error) or error
        if isinstance(told, CometKMSError):
            code = told.exit_code
            context.failed(str(told))
            return
        if isinstance(
            error, OSError
        ):  # of the machine, mostly: words, and where it met it; a bug of ours shows by the place
            context.failed(f"{spec.name}: {said(error)} ({place_of(error)})")
            return
        context.failed(f"{spec.name}: {type(error).__name__}: {said(error)}")
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        try:
            flush_standard_streams()
        finally:
            os._exit(code)


def flush_standard_streams() -> None:
    """What Python holds for stdout and stderr. A stream that is closed or that nobody reads loses
    it, and stops nothing."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            if stream is not None:
                stream.flush()


def describe_exit(code: int) -> str:
    """Describe an exit code, or the signal that killed it."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:  # a real-time signal has a number only
        return f"killed by signal {-code}"
