"""The supervisor: fork, watch, restart with back-off, reload, stop. Holds no key, listens on no
socket, runs no loop and no thread.

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

Only the node's very first boot is fatal: what fails then is for the operator to mend, and nothing
is lost by ending. A child that has been up is started again for ever, with back-off: a node that
does not sign and says why, in `/status` and to the alerts, is better than none. A child that is not
essential ends the node only if it was never up and says why it cannot be; it may be killed or hang
as it likes.

A pause of the supervisor itself (SIGSTOP, a frozen or starved machine) may have been one of the
children too: they get a fresh grace to beat, and are not killed because a clock jumped.

Signals are blocked and taken synchronously: no handler ever runs. SIGHUP loads the settings anew
and hands to the children what may change while they run. The service manager is told when the node
is ready, how it is, and that it lives (ipc/notify.py): its watchdog hears nothing while an
essential child is away or this loop stands still. As PID 1 it reaps whoever was left behind.

Stopping, for good or for a planned restart: another node may lead, then the signer (it answers
nothing more), then the others; whoever is left after STOP_TIMEOUT_S is killed, and the child that
keeps the store, which may still have state files to write, after STOP_WRITES_S more. A node whose
store's child did not end well does not say that it did: nobody is to take its files for final.
"""

import contextlib
import gc
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from typing import Final

from cometkms.board.sections import ChildState, SupervisorSection
from cometkms.board.status_board import Board
from cometkms.board.trouble import SUPERVISOR
from cometkms.errors import INTERNAL_EXIT, StoreFailure, SupersededError
from cometkms.ipc.child import ANEW, HAND_OVER_SIGNAL, READY, RELOADED, RESTART_SIGNAL, RESTART_WANTED, SIGNER_STUCK
from cometkms.ipc.notify import Notifier
from cometkms.limits import ASKED_RESTARTS_MAX, ASKED_RESTARTS_S, SIGNER_BELIEVED_S
from cometkms.printable import printable
from cometkms.rules.restart import next_delay_s
from cometkms.supervisor.child import WATCH_S, Child, ChildSpec, SupervisorLog, Timing
from cometkms.supervisor.process_use import UseWatch
from cometkms.supervisor.reloading import Reloaded, Reloading
from cometkms.supervisor.service import Service

#: What a child ends with when the node must not go on with another one.
_FINAL: Final = {
    StoreFailure.exit_code: "a write or sync failed",
    SupersededError.exit_code: "another store stands for this member",
}
_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, RESTART_SIGNAL, signal.SIGCHLD})
# of the supervisor's own timer; blocked and taken as the others
_TIME_IS_UP: Final = signal.SIGALRM
_BOOT_WATCH_S: Final = 0.005
# a child that has come up is noticed after a tenth of what it took, at most
_BOOT_WATCHES: Final = 10
_STOP_WATCH_S: Final = 0.01
_TIMER_MIN_S: Final = 1e-6  # 0 would disarm it


@dataclass(slots=True)
class _Ending:
    """Why the node stops, and with which code."""

    code: int
    reason: str

    def tell(self, log: SupervisorLog, *, one_stream: bool) -> None:
        """Once in the log, and where it is a failure on stderr; not twice where both are one."""
        if self.code == 0:
            log.info("stopped", why=self.reason)
            return
        why = {} if one_stream else {"why": self.reason}
        log.error("node ended", **why, exit_code=self.code)
        print(f"Error: {printable(self.reason)}", file=sys.stderr)


@dataclass(slots=True)
class Supervisor:
    """Runs the specs until a signal or a failed boot. `facts` go into the board as they are.

    `one_stream`: a person reads log and stderr in one place: why the node ended is said once, on
    stderr. `reload` loads the settings anew, keeps them for children that start later, and never
    raises; None: there is nothing to reload. `look_home` is called at every look, never
    raises, and says why the home's lock is not held, or "".
    """

    specs: list[ChildSpec]
    board: Board
    log: SupervisorLog
    facts: SupervisorSection
    timing: Timing = field(default_factory=Timing)
    notifier: Notifier = field(default_factory=Notifier)
    reload: Callable[[], Reloaded] | None = None
    one_stream: bool = False
    look_home: Callable[[], str] = lambda: ""
    _children: list[Child] = field(init=False)
    _service: Service = field(init=False)
    _reloading: Reloading = field(init=False)
    _ending: _Ending | None = field(init=False, default=None)
    _mask: set[int] = field(init=False, default_factory=set)
    _watched_at: float = field(init=False, default=0.0)
    _grace_until: float = field(init=False, default=0.0)
    _use: UseWatch = field(init=False, default_factory=UseWatch)
    _restart_wanted: str = field(init=False, default="")  # by whom
    _asked_at: deque[float] = field(init=False, default_factory=lambda: deque(maxlen=ASKED_RESTARTS_MAX))

    def __post_init__(self) -> None:
        self._children = [Child(spec) for spec in self.specs]
        self._service = Service(self.notifier, self._children, self.board, self.timing.hung_after_s, self.log)
        self._reloading = Reloading(self.reload, self._children, self.board, self._service, self.log)

    def run(self) -> int:
        """Watch until the end and return the node's exit code. Every child is gone by then."""
        _stay_shared()
        # inherited as ignored, the kernel would reap in our place
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._mask = {int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, {*_SIGNALS, _TIME_IS_UP})}
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a stop is taken here from now on, not at once (cli/stopping.py)
        self._watched_at = time.monotonic()
        try:
            while self._ending is None:
                self.board.beat(SUPERVISOR)
                self.facts = {**self.facts, "home_unlocked": self.look_home()}
                self._start_due()
                self._publish()
                self._service.notify()
                self._take_signal(self._patience_s())
                self._reap()
                if self._restart_wanted:
                    self._restart(self._restart_wanted)
                self._watch()
                self._reloading.settle()
        finally:
            self.notifier.stopping()
            self._stop()
            signal.setitimer(signal.ITIMER_REAL, 0)
            while signal.sigtimedwait({*_SIGNALS, _TIME_IS_UP}, 0) is not None:
                pass  # a second Ctrl-C must not make a clean end look like a crash
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        ending = self._ending or _Ending(INTERNAL_EXIT, "internal error")
        if ending.code == 0 and (behind := next((one.behind for one in self._children if one.behind), "")):
            ending = _Ending(INTERNAL_EXIT, behind)
        ending.tell(self.log, one_stream=self.one_stream)
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
        waits = [WATCH_S]
        for child in self._children:
            if child.reloading:
                waits.append(_BOOT_WATCH_S)
            elif child.state is ChildState.BOOTING:  # a slow one needs the core that looking takes
                waits.append(max(_BOOT_WATCH_S, (now - child.since) / _BOOT_WATCHES))
            elif child.state is ChildState.BACKOFF:
                waits.append(max(0.0, child.since + child.delay_s - now))
        return min(waits)

    def _fork(self, child: Child) -> None:
        self.log.flush(deadline_s=0.2)  # what is buffered must not be written twice
        others = [other.report_fd for other in self._children if other is not child]
        child.fork(self.board, others, self._asked_restarts(), self._mask, self._reloading.count)

    # --- watching ---

    def _take_signal(self, timeout_s: float) -> None:
        number = _await_signal(_SIGNALS, timeout_s)
        if number in (_TIME_IS_UP, signal.SIGCHLD):
            return
        name = signal.Signals(number).name
        if number == signal.SIGHUP:
            if (report := self._reloading.begin()) is not None:
                self.facts = {**self.facts, "reload": report}
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

    def _read_report(self, child: Child) -> None:
        said = child.read()
        if RELOADED in said:
            child.reloading, said = False, said.replace(RELOADED, b"")
        if RESTART_WANTED in said:
            if child.spec.keeps_store:
                self._restart_wanted = f"{child.name} asks for it"
                self._asked_at.append(time.monotonic())
            said = said.replace(RESTART_WANTED, b"")
        if SIGNER_STUCK in said:
            said = said.replace(SIGNER_STUCK, b"")
            if child.spec.keeps_store:
                self._replace_stuck_signer()
        if ANEW in said:
            child.asks_anew, said = True, said.replace(ANEW, b"")
        child.keep(said)
        if child.said.startswith(READY) and child.state is ChildState.BOOTING:
            child.enter(ChildState.RUNNING)
            child.was_up, child.behind = True, ""
            self._reloading.on_up(child)
            self.log.info("child running", child=child.name, pid=child.pid, restarts=child.restarts)

    def _replace_stuck_signer(self) -> None:
        """The state process saw it stand still, long before HUNG_AFTER_S. Believed only if its
        heartbeat is late here, too."""
        ages = self.board.beat_ages_s()
        for child in self._children:
            if not child.spec.stops_first or child.state is not ChildState.RUNNING or child.killed_hung:
                continue
            if (age_s := ages[child.name]) is None or age_s < SIGNER_BELIEVED_S:
                self.log.info("signer kept", why="its loop beats again", silent_s=age_s)
                continue
            self.log.error("child hangs", child=child.name, pid=child.pid, silent_s=age_s)
            child.kill_hung()

    def _on_exit(self, child: Child, status: int) -> None:
        self._read_report(child)
        code = os.waitstatus_to_exitcode(status)
        words = child.gone(code)
        if child.state is ChildState.STOPPING:
            child.enter(ChildState.IDLE)
            if code != 0 and child.ran:
                self._ended_badly(child, code, words)
        elif child.state is ChildState.BOOTING and not child.was_up and (child.spec.essential or code > 0):
            child.enter(ChildState.IDLE)
            reason = child.reason() or f"{child.name} ended before it was ready: {words}"
            self._ending = self._ending or _Ending(code if code > 0 else INTERNAL_EXIT, reason)
        elif code in _FINAL and child.spec.keeps_store:
            child.enter(ChildState.BACKOFF)
            self._ending = self._ending or _Ending(code, child.reason() or f"{child.name}: {_FINAL[code]}")
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
            child.enter(ChildState.BACKOFF)
            self.log.error("child died", child=child.name, why=words, restart_in_s=child.delay_s)

    def _ended_badly(self, child: Child, code: int, words: str) -> None:
        """One that was asked to stop did not do it well. After a failed write no node goes on."""
        reason = child.bad_end(words)
        if child.spec.keeps_store and code in _FINAL and (self._ending is None or self._ending.code == 0):
            self._ending = _Ending(code, reason)
        elif not child.killed_hung:  # that is told already
            self.log.error("child died", child=child.name, why=reason)

    def _watch(self) -> None:
        """Kill a child whose own loop does not beat, or that does not boot; end the node when it
        never did."""
        ages = self.board.beat_ages_s()
        now = time.monotonic()  # read after the ages: whatever pause made them look old shows here
        if now - self._watched_at > self.timing.own_pause_s:
            self._grace_until = now + self.timing.hung_after_s
        self._watched_at = now
        if now <= self._grace_until:
            return
        for child in self._children:
            age = ages[child.name]
            if child.state is ChildState.BOOTING and now - child.since > self.timing.boot_timeout_s:
                if child.was_up or not child.spec.essential:
                    os.kill(child.pid, signal.SIGKILL)
                    continue
                reason = f"{child.name} was not ready within {self.timing.boot_timeout_s:g} s"
                self._ending = self._ending or _Ending(INTERNAL_EXIT, reason)
            elif (
                child.state is ChildState.RUNNING
                and not child.killed_hung
                and (age is None or age > self.timing.hung_after_s)
            ):
                self.log.error("child hangs", child=child.name, pid=child.pid, silent_s=age)
                child.kill_hung()
            elif (
                child.state is ChildState.STOPPING
                and not child.killed_hung
                and now - child.since > child.stop_s(self.timing)
            ):
                self.log.error("child killed", child=child.name, why="it did not stop in time")
                child.kill_hung()

    def _start_anew(self, child: Child) -> None:
        """One that asked for it: stopped in peace, then started with the new settings. The others
        go on meanwhile."""
        child.asks_anew = False
        if child.state is ChildState.RUNNING:
            self.log.info("child starts anew", child=child.name, pid=child.pid, why="it asked for it")
            child.ask_to_stop()

    # --- stopping ---

    def _restart(self, why: str) -> None:
        """All children stop in order, as at the end, and then start in order. The home's lock stays
        held."""
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
            if child.spec.hands_over and child.state is ChildState.RUNNING:
                os.kill(child.pid, HAND_OVER_SIGNAL)
        until = time.monotonic() + self.timing.stop_timeout_s
        waves = [
            [child for child in self._children if child.spec.stops_first],
            [child for child in self._children if not child.spec.stops_first],
        ]
        for number, wave in enumerate(waves):
            for child in wave:
                if child.state is not ChildState.IDLE or child.pid:
                    child.ask_to_stop()
            self._wait_gone(wave, until if number else time.monotonic() + self.timing.stop_timeout_s / 2)
        for child in sorted(self._children, key=lambda one: one.spec.keeps_store):
            self._wait_gone([child], until - self.timing.stop_timeout_s + child.stop_s(self.timing))
            self._kill(child)
        self._publish()

    def _kill(self, child: Child) -> None:
        """Whoever is left at the end."""
        if child.pid:
            self.log.error("child killed", child=child.name, why="it did not stop in time")
            child.kill_hung()
            _, status = os.waitpid(child.pid, 0)
            self._on_exit(child, status)

    def _wait_gone(self, wave: list[Child], until: float) -> None:
        while any(child.pid for child in wave) and time.monotonic() < until:
            self.board.beat(SUPERVISOR)
            _await_signal({signal.SIGCHLD}, _STOP_WATCH_S)
            self._reap()

    # --- telling ---

    def _publish(self) -> None:
        self._use.look(self._children)
        children = [child.report() for child in self._children]
        use = {child.name: child.use for child in self._children if child.use is not None}
        document: SupervisorSection = {**self.facts, "pid": os.getpid(), "children": children, "use": use}
        self.board.section(SUPERVISOR).publish(document)


def _stay_shared() -> None:
    """A child copies a page of what it shares with the others when it writes there, a count of
    references included: a collection would touch every page."""
    gc.collect()
    gc.freeze()
    if sys.version_info < (3, 12):  # later Pythons count no names
        sys._clear_type_cache()  # a name that makes room for another there is touched, too


def _reap_strangers(own: Set[int]) -> None:
    """Reap orphans, which all become children of this process where it is PID 1 of a container: a
    health check that was killed with its shell, say."""
    with contextlib.suppress(ChildProcessError):  # there is no child at all
        while (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            if found.si_pid in own:
                return  # the next round takes its exit, and then the others
            os.waitpid(found.si_pid, os.WNOHANG)


def _await_signal(signals: Set[signal.Signals], timeout_s: float) -> int:
    """The next of these (blocked) signals, or _TIME_IS_UP, perhaps early.

    Not sigtimedwait() with a timeout: interrupted by a SIGCONT when its time is over, CPython's
    returns uninitialised memory as the signal (signalmodule.c breaks out of its loop without one).
    A supervisor that was stopped for a moment would crash.
    """
    signal.setitimer(signal.ITIMER_REAL, max(timeout_s, _TIMER_MIN_S))
    return signal.sigwaitinfo({*signals, _TIME_IS_UP}).si_signo
