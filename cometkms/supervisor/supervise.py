"""The supervisor: fork, watch, restart with back-off, reload, stop. Holds no key, listens on no socket, runs no loop and no thread.

A child's life; nothing else changes its state:

    IDLE     ── previous child is up ──▶ BOOTING
    BOOTING  ── ready ──▶ RUNNING          first BOOTING ── exit or silence ──▶ the node ends with the child's reason
    BOOTING  ── exit, or SIGKILL after silence ──▶ BACKOFF, once it has been up
    RUNNING  ── a write or sync failed ──▶ the node ends: a disk that failed once is not trusted again
    RUNNING  ── exit ──▶ BACKOFF           RUNNING ── loop does not beat ──▶ SIGKILL, then as exit
    signer RUNNING ── the state process says that it does not beat, and it is true ──▶ SIGKILL, then as exit
    BACKOFF  ── delay over ──▶ BOOTING
    any but IDLE ── the node ends ──▶ STOPPING ── exit ──▶ IDLE
    RUNNING  ── it asks to start anew ──▶ STOPPING ── exit ──▶ IDLE ──▶ BOOTING
    any but IDLE ── a planned restart (SIGUSR2) ──▶ STOPPING ── exit ──▶ IDLE ── when all are ──▶ BOOTING, in order

Only the node's very first boot is fatal: what fails then is for the operator to mend, and nothing is lost by ending. A child that has been
up is started again for ever, with back-off: a node that does not sign and says why, in `/status` and to the alerts, is better than none.
A child that is not essential ends the node only if it was never up and says why it cannot be; it may be killed or hang as it likes.

A pause of the supervisor itself (SIGSTOP, a frozen or starved
machine) may have been one of the children too: they get a fresh grace to beat, and are not killed because a clock jumped.

Signals are blocked and taken synchronously: no handler ever runs. SIGHUP loads the settings anew and hands to the children what may
change while they run. The service manager is told when the node is ready, how it is, and that it lives (ipc/notify.py): its watchdog
hears nothing while an essential child is away or this loop stands still. As PID 1 it reaps whoever was left behind.

Stopping, for good or for a planned restart: another node may lead, then the signer (it answers nothing more), then the others; whoever
is left after STOP_TIMEOUT_S is killed.
"""

import contextlib
import gc
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from typing import Final, Protocol

from cometkms.board.sections import ChildReport, ChildState, ReloadReport, SupervisorSection, UseReport
from cometkms.board.status_board import Board
from cometkms.board.trouble import ESSENTIAL
from cometkms.errors import (
    INTERNAL_EXIT,
    CometKMSError,
    InvariantError,
    StoreFailure,
    SupersededError,
    disk_failure,
    place_of,
    said,
)
from cometkms.hardening.prctl import die_with_parent, set_name
from cometkms.ipc.child import (
    ANEW,
    FAILED,
    HAND_OVER_SIGNAL,
    READY,
    RELOAD_SECTION,
    RELOAD_SIGNAL,
    RELOADED,
    RESTART_SIGNAL,
    RESTART_WANTED,
    SIGNER_STUCK,
    STOP_SIGNAL,
    ChildContext,
)
from cometkms.ipc.notify import Notifier
from cometkms.limits import (
    ASKED_RESTARTS_MAX,
    ASKED_RESTARTS_S,
    BOOT_TIMEOUT_S,
    HUNG_AFTER_S,
    PROCESS_USE_S,
    RELOAD_TIMEOUT_S,
    RESTART_MAX_S,
    RESTART_MIN_S,
    RESTART_RESET_AFTER_S,
    SIGNER_BELIEVED_S,
    STOP_TIMEOUT_S,
)
from cometkms.printable import printable
from cometkms.rules.restart import next_delay_s
from cometkms.supervisor.process_use import read_use
from cometkms.supervisor.status_line import status_line

#: What a child ends with when the node must not go on with another one.
_FINAL: Final = {
    StoreFailure.exit_code: "a write or sync failed",
    SupersededError.exit_code: "another store stands for this member",
}
_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, RESTART_SIGNAL, signal.SIGCHLD})
_TIME_IS_UP: Final = signal.SIGALRM  # of the supervisor's own timer; blocked and taken as the others
_WATCH_S: Final = 0.5
_BOOT_WATCH_S: Final = 0.005
_BOOT_WATCHES: Final = 10  # a child that has come up is noticed after a tenth of what it took, at most
_STOP_WATCH_S: Final = 0.01
_STATUS_EVERY_S: Final = 1.0  # the service manager's line
_TIMER_MIN_S: Final = 1e-6  # 0 would disarm it
_REPORT_MAX_BYTES: Final = 8192
#: The child whose exit for a failed write ends the node, and whose wish restarts it: nobody else has a store, or a door for operators.
STORE_KEEPER: Final = "state"


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
class ChildSpec:
    """A child: `run(context)` is its whole life and returns its exit code. The order of the specs is the order of start.

    `essential`: False where the node does its work without it.
    """

    name: str
    run: Callable[[ChildContext], int]
    essential: bool = True


@dataclass(slots=True)
class _Child:
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

    def reason(self) -> str:
        """What the child said before it exited."""
        return self.said.partition(FAILED)[2].decode("utf-8", "replace")


@dataclass(slots=True)
class _Ending:
    """Why the node stops, and with which code."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What a reload came to. `document`: for the children, None where nothing changed for them; `report`: for the board."""

    document: dict[str, object] | None
    report: ReloadReport


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds; tests shorten them."""

    hung_after_s: float = HUNG_AFTER_S
    stop_timeout_s: float = STOP_TIMEOUT_S
    boot_timeout_s: float = BOOT_TIMEOUT_S
    restart_min_s: float = RESTART_MIN_S
    restart_max_s: float = RESTART_MAX_S
    restart_reset_after_s: float = RESTART_RESET_AFTER_S

    @property
    def own_pause_s(self) -> float:
        """The supervisor looks every _WATCH_S; silent for so long, it has itself stood still."""
        return max(self.hung_after_s / 5, 2 * _WATCH_S)


@dataclass(slots=True)
class Supervisor:
    """Runs the specs until a signal or a failed boot. `facts` go into the board's section as they are.

    `one_stream`: a person reads log and stderr in one place: why the node ended is said once, on stderr.
    `reload` loads the settings anew, keeps them for children that start later, and never raises; None: there is nothing to reload.
    """

    specs: list[ChildSpec]
    board: Board
    log: SupervisorLog
    facts: SupervisorSection
    timing: Timing = field(default_factory=Timing)
    notifier: Notifier = field(default_factory=Notifier)
    reload: Callable[[], Reloaded] | None = None
    one_stream: bool = False
    _children: list[_Child] = field(init=False)
    _ending: _Ending | None = field(init=False, default=None)
    _mask: set[int] = field(init=False, default_factory=set)
    _watched_at: float = field(init=False, default=0.0)
    _grace_until: float = field(init=False, default=0.0)
    _used_at: float = field(init=False, default=0.0)
    _was_ready: bool = field(init=False, default=False)
    _restart_wanted: str = field(init=False, default="")  # by whom
    _asked_at: deque[float] = field(init=False, default_factory=lambda: deque(maxlen=ASKED_RESTARTS_MAX))
    _reloads: int = field(init=False, default=0)
    _reload_until: float = field(init=False, default=0.0)  # monotonic; 0: none is under way
    _status_at: float = field(init=False, default=0.0)  # monotonic

    def __post_init__(self) -> None:
        self._children = [_Child(spec) for spec in self.specs]

    def run(self) -> int:
        """Watch until the end and return the node's exit code. Every child is gone by then."""
        gc.collect()
        gc.freeze()  # a collection in a child would copy every page it shares with the others
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # inherited as ignored, the kernel would reap in our place
        self._mask = {int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, {*_SIGNALS, _TIME_IS_UP})}
        self._watched_at = time.monotonic()
        try:
            while self._ending is None:
                self._start_due()
                self._publish()
                self._notify()
                self._take_signal(self._patience_s())
                self._reap()
                if self._restart_wanted:
                    self._restart(self._restart_wanted)
                self._watch()
                self._settle_reload()
        finally:
            self.notifier.stopping()
            self._stop()
            signal.setitimer(signal.ITIMER_REAL, 0)
            while signal.sigtimedwait({*_SIGNALS, _TIME_IS_UP}, 0) is not None:
                pass  # a second Ctrl-C must not make a clean end look like a crash
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        ending = self._ending or _Ending(INTERNAL_EXIT, "internal error")
        if ending.code == 0:
            self.log.info("stopped", why=ending.reason)
        else:
            why = {} if self.one_stream else {"why": ending.reason}
            self.log.error("node ended", **why, exit_code=ending.code)
            print(f"Error: {printable(ending.reason)}", file=sys.stderr)
        self.notifier.status(f"ended: {ending.reason}")
        return ending.code

    # --- starting ---

    def _start_due(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.state is ChildState.IDLE:
                self._fork(child)
                return  # the next one starts when this one is up
            if child.state is ChildState.BOOTING and child.in_turn:
                return
            if child.state is ChildState.BACKOFF and now - child.since >= child.delay_s:
                child.in_turn = False
                self._fork(child)

    def _patience_s(self) -> float:
        """How long only a signal can need this process."""
        now = time.monotonic()
        waits = [_WATCH_S]
        for child in self._children:
            if child.reloading:
                waits.append(_BOOT_WATCH_S)
            elif child.state is ChildState.BOOTING:  # a slow one needs the core that looking takes
                waits.append(max(_BOOT_WATCH_S, (now - child.since) / _BOOT_WATCHES))
            elif child.state is ChildState.BACKOFF:
                waits.append(max(0.0, child.since + child.delay_s - now))
        return min(waits)

    def _fork(self, child: _Child) -> None:
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.board.forget_beat(child.spec.name)
        parent = os.getpid()
        self.log.flush(deadline_s=0.2)  # what is buffered must not be written twice
        _flush_standard_streams()
        pid = os.fork()
        if pid == 0:
            for fd in (reader, *(other.report_fd for other in self._children if other.report_fd >= 0)):
                os.close(fd)
            _live(
                child.spec,
                ChildContext(child.spec.name, writer, self.board, self._asked_restarts()),
                parent,
                self._mask,
            )
        os.close(writer)
        child.pid, child.report_fd, child.said, child.killed_hung = pid, reader, b"", False
        child.use, child.knows = None, self._reloads
        child.forked_at, child.started_at = time.monotonic(), time.time()
        self._enter(child, ChildState.BOOTING)

    # --- watching ---

    def _take_signal(self, timeout_s: float) -> None:
        number = _await_signal(_SIGNALS, timeout_s)
        if number in (_TIME_IS_UP, signal.SIGCHLD):
            return
        name = signal.Signals(number).name
        if number == signal.SIGHUP:
            self._reload()
            return
        if number == RESTART_SIGNAL:
            self._restart(name)
            return
        self._ending = _Ending(0, name)

    def _reap(self) -> None:
        for child in self._children:
            if child.pid == 0:
                continue
            self._read_report(child)
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                self._on_exit(child, status)
            elif child.asks_anew:
                self._start_anew(child)
        _reap_strangers({child.pid for child in self._children})

    def _read_report(self, child: _Child) -> None:
        if child.report_fd < 0:
            return
        try:
            said = os.read(child.report_fd, 4096)
        except BlockingIOError:
            return
        if RELOADED in said:
            child.reloading = False
            said = said.replace(RELOADED, b"")
        if RESTART_WANTED in said:
            if child.spec.name == STORE_KEEPER:  # it hears the operator; of another it would be a word of an attacker's
                self._restart_wanted = f"{child.spec.name} asks for it"
                self._asked_at.append(time.monotonic())
            said = said.replace(RESTART_WANTED, b"")
        if SIGNER_STUCK in said:
            said = said.replace(SIGNER_STUCK, b"")
            if child.spec.name == STORE_KEEPER:
                self._replace_stuck_signer()
        if ANEW in said:
            child.asks_anew = True
            said = said.replace(ANEW, b"")
        child.said += said[: _REPORT_MAX_BYTES - len(child.said)]
        if child.said.startswith(READY) and child.state is ChildState.BOOTING:
            self._enter(child, ChildState.RUNNING)
            child.was_up = True
            if child.knows < self._reloads:  # it was booting, with the settings of before
                self._tell_reload(child)
            self.log.info("child running", child=child.spec.name, pid=child.pid, restarts=child.restarts)

    def _replace_stuck_signer(self) -> None:
        """The state process saw it stand still, long before HUNG_AFTER_S. Believed only if its heartbeat is late here, too."""
        age_s = self.board.beat_ages_s().get("signer")
        for child in self._children:
            if child.spec.name != "signer" or child.state is not ChildState.RUNNING or child.killed_hung:
                continue
            if age_s is None or age_s < SIGNER_BELIEVED_S:
                self.log.info("signer kept", why="its loop beats again", silent_s=age_s)
                continue
            self.log.error("child hangs", child=child.spec.name, pid=child.pid, silent_s=age_s)
            child.killed_hung = True
            os.kill(child.pid, signal.SIGKILL)

    def _on_exit(self, child: _Child, status: int) -> None:
        self._read_report(child)
        if child.report_fd >= 0:
            os.close(child.report_fd)
            child.report_fd = -1
        code = os.waitstatus_to_exitcode(status)
        words = "its loop hung" if child.killed_hung else describe_exit(code)
        child.last_exit, child.pid, child.reloading, child.asks_anew = words, 0, False, False
        if child.state is ChildState.STOPPING:
            self._enter(child, ChildState.IDLE)
            if code in _FINAL and child.spec.name == STORE_KEEPER:  # a planned restart ends here
                self._ending = self._ending or _Ending(code, child.reason() or f"{child.spec.name}: {words}")
        elif child.state is ChildState.BOOTING and not child.was_up and (child.spec.essential or code > 0):
            self._enter(child, ChildState.IDLE)
            reason = child.reason() or f"{child.spec.name} ended before it was ready: {words}"
            self._ending = self._ending or _Ending(code if code > 0 else INTERNAL_EXIT, reason)
        elif code in _FINAL and child.spec.name == STORE_KEEPER:
            self._enter(child, ChildState.BACKOFF)
            self._ending = self._ending or _Ending(code, child.reason() or f"{child.spec.name}: {_FINAL[code]}")
        else:
            child.delay_s = next_delay_s(
                child.delay_s,
                time.monotonic() - child.forked_at,
                min_s=self.timing.restart_min_s,
                max_s=self.timing.restart_max_s,
                reset_after_s=self.timing.restart_reset_after_s,
            )
            child.restarts += 1
            if reason := child.reason():
                child.last_exit = words = f"{words}: {reason}"
            self._enter(child, ChildState.BACKOFF)
            self.log.error("child died", child=child.spec.name, why=words, restart_in_s=child.delay_s)

    def _watch(self) -> None:
        """Kill a child whose own loop does not beat, or that does not boot; end the node when it never did."""
        ages = self.board.beat_ages_s()
        now = time.monotonic()  # read after the ages: whatever pause made them look old shows here
        if now - self._watched_at > self.timing.own_pause_s:
            self._grace_until = now + self.timing.hung_after_s
        self._watched_at = now
        if now <= self._grace_until:
            return
        for child in self._children:
            age = ages[child.spec.name]
            if child.state is ChildState.BOOTING and now - child.since > self.timing.boot_timeout_s:
                if child.was_up or not child.spec.essential:
                    os.kill(child.pid, signal.SIGKILL)
                    continue
                reason = f"{child.spec.name} was not ready within {self.timing.boot_timeout_s:g} s"
                self._ending = self._ending or _Ending(INTERNAL_EXIT, reason)
            elif (
                child.state is ChildState.RUNNING
                and not child.killed_hung
                and (age is None or age > self.timing.hung_after_s)
            ):
                self.log.error("child hangs", child=child.spec.name, pid=child.pid, silent_s=age)
                child.killed_hung = True
                os.kill(child.pid, signal.SIGKILL)
            elif (
                child.state is ChildState.STOPPING
                and not child.killed_hung
                and now - child.since > self.timing.stop_timeout_s
            ):
                self.log.error("child killed", child=child.spec.name, why="it did not stop in time")
                child.killed_hung = True
                os.kill(child.pid, signal.SIGKILL)

    # --- reloading ---

    def _reload(self) -> None:
        if self.reload is None:
            self.log.info("SIGHUP ignored", why="there is nothing to reload")
            return
        if self._was_ready:
            self.notifier.reloading()
        reloaded = self.reload()
        self.facts = {**self.facts, "reload": reloaded.report}
        if reloaded.document is not None:
            self.board.section(RELOAD_SECTION).write(reloaded.document)
            self._reloads += 1
            for child in self._children:
                if child.state is ChildState.RUNNING and not child.killed_hung:
                    self._tell_reload(child)
        self._reload_until = time.monotonic() + RELOAD_TIMEOUT_S

    def _tell_reload(self, child: _Child) -> None:
        child.reloading, child.knows = True, self._reloads
        os.kill(child.pid, RELOAD_SIGNAL)

    def _start_anew(self, child: _Child) -> None:
        """One that asked for it: stopped in peace, then started with the new settings. The others go on meanwhile."""
        child.asks_anew = False
        if child.state is ChildState.RUNNING:
            self.log.info(
                "child starts anew", child=child.spec.name, pid=child.pid, why="for the settings that were reloaded"
            )
            self._ask_to_stop(child)

    def _settle_reload(self) -> None:
        """Done when every child has taken it over. One that hangs is not waited for: it starts again with the new settings."""
        if not self._reload_until:
            return
        late = [child for child in self._children if child.reloading]
        anew = [
            child
            for child in self._children
            if child.state in (ChildState.STOPPING, ChildState.IDLE, ChildState.BOOTING)
        ]
        if (late or anew) and time.monotonic() < self._reload_until:
            return
        for child in late:
            child.reloading = False
            self.log.error(
                "child did not take the reload over", child=child.spec.name, why="its loop did not answer in time"
            )
        self._reload_until = 0.0
        if self._was_ready:
            self.notifier.ready()

    # --- the service manager ---

    def _notify(self) -> None:
        """Ready once: when every child has been up. Alive only while those that sign are."""
        if not self.notifier.listens:
            return
        self.notifier.flush()
        now = time.monotonic()
        ages = self.board.beat_ages_s()
        is_up = not self._was_ready and all(_has_come_up(child) for child in self._children)
        if is_up or now - self._status_at >= _STATUS_EVERY_S:
            self._status_at = now
            self.notifier.status(self._status_words(ages))
        if is_up:
            self._was_ready = True
            self.notifier.ready()
        if all(self._is_well(child, ages) for child in self._children if child.spec.name in ESSENTIAL):
            self.notifier.watchdog(now)

    def _status_words(self, ages: Mapping[str, float | None]) -> str:
        try:
            return status_line(self.board.sections(), ages, time.time())
        except Exception as error:  # noqa: BLE001 - what children wrote: no word of theirs ends the node
            self.log.error("the processes' own words cannot be told", why=f"{type(error).__name__}: {said(error)}")
            return "what the processes say of themselves cannot be told"

    def _is_well(self, child: _Child, ages: Mapping[str, float | None]) -> bool:
        """A child that is late is not vouched for, before it is given up."""
        age = ages[child.spec.name]
        return child.state is ChildState.RUNNING and age is not None and age <= self.timing.hung_after_s / 2

    # --- stopping ---

    def _restart(self, why: str) -> None:
        """All children stop in order, as at the end, and then start in order. The home's lock stays held."""
        self._restart_wanted = ""
        self.log.info("planned restart", why=why)
        self._stop()
        for child in self._children:
            child.in_turn, child.delay_s = True, 0.0

    def _asked_restarts(self) -> int:
        """How often a child asked for one lately: it must know when that is enough."""
        now = time.monotonic()
        return sum(now - at < ASKED_RESTARTS_S for at in self._asked_at)

    def _stop(self) -> None:
        for child in self._children:
            if child.spec.name == "state" and child.state is ChildState.RUNNING:
                os.kill(child.pid, HAND_OVER_SIGNAL)
        until = time.monotonic() + self.timing.stop_timeout_s
        waves = [
            [child for child in self._children if child.spec.name == "signer"],
            [child for child in self._children if child.spec.name != "signer"],
        ]
        for number, wave in enumerate(waves):
            for child in wave:
                if child.state is not ChildState.IDLE or child.pid:
                    self._ask_to_stop(child)
            share = until if number else time.monotonic() + self.timing.stop_timeout_s / 2
            self._wait_gone(wave, share)
        for child in self._children:
            if child.pid:
                self.log.error("child killed", child=child.spec.name, why="it did not stop in time")
                os.kill(child.pid, signal.SIGKILL)
                _, status = os.waitpid(child.pid, 0)
                self._on_exit(child, status)
        self._publish()

    def _ask_to_stop(self, child: _Child) -> None:
        if child.state is not ChildState.STOPPING:  # one that starts anew is asked already
            self._enter(child, ChildState.STOPPING)
        if child.pid == 0:
            self._enter(child, ChildState.IDLE)
            return
        os.kill(child.pid, STOP_SIGNAL)
        os.kill(child.pid, signal.SIGCONT)  # a frozen child can obey only when it runs

    def _wait_gone(self, wave: list[_Child], until: float) -> None:
        while any(child.pid for child in wave) and time.monotonic() < until:
            _await_signal({signal.SIGCHLD}, _STOP_WATCH_S)
            self._reap()

    # --- telling ---

    def _enter(self, child: _Child, state: ChildState) -> None:
        if state not in TRANSITIONS[child.state]:
            raise InvariantError(f"{child.spec.name}: {child.state} cannot become {state}")
        child.state = state
        child.since = time.monotonic()

    def _look_at_use(self) -> None:
        """Read for /metrics what each child uses, since the others may be shut off from /proc."""
        now = time.monotonic()
        if now - self._used_at >= PROCESS_USE_S:
            self._used_at = now
            for child in self._children:
                child.use = read_use(child.pid) if child.state is ChildState.RUNNING else None

    def _publish(self) -> None:
        self._look_at_use()
        children = [
            ChildReport(
                name=child.spec.name,
                pid=child.pid,
                state=child.state.value,
                started_at=child.started_at,
                restarts=child.restarts,
                last_exit=child.last_exit,
            )
            for child in self._children
        ]
        use = {child.spec.name: child.use for child in self._children if child.use is not None}
        document: SupervisorSection = {**self.facts, "pid": os.getpid(), "children": children, "use": use}
        self.board.section("supervisor").publish(document)


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
            _flush_standard_streams()
        finally:
            os._exit(code)


def _has_come_up(child: _Child) -> bool:
    """One that the node can be without is not waited for when it fails."""
    return child.state is ChildState.RUNNING or (child.state is ChildState.BACKOFF and not child.spec.essential)


def _reap_strangers(own: Set[int]) -> None:
    """Reap orphans, which all become children of this process where it is PID 1 of a container: a health check that was killed with its shell, say."""
    with contextlib.suppress(ChildProcessError):  # there is no child at all
        while (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            if found.si_pid in own:
                return  # the next round takes its exit, and then the others
            os.waitpid(found.si_pid, os.WNOHANG)


def _flush_standard_streams() -> None:
    """What Python holds for stdout and stderr. A stream that is closed or that nobody reads loses it, and stops nothing."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            if stream is not None:
                stream.flush()


def _await_signal(signals: Set[signal.Signals], timeout_s: float) -> int:
    """The next of these (blocked) signals, or _TIME_IS_UP, perhaps early.

    Not sigtimedwait() with a timeout: interrupted by a SIGCONT when its time is over, CPython's returns uninitialised memory as
    the signal (signalmodule.c breaks out of its loop without one). A supervisor that was stopped for a moment would crash.
    """
    signal.setitimer(signal.ITIMER_REAL, max(timeout_s, _TIMER_MIN_S))
    return signal.sigwaitinfo({*signals, _TIME_IS_UP}).si_signo


def describe_exit(code: int) -> str:
    """Describe an exit code, or the signal that killed it."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:  # a real-time signal has a number only
        return f"killed by signal {-code}"
