"""Shut the signer off, once it holds its keys: afterwards it can talk to its validators and its own
node, and to nothing else.

The order matters: what is needed later is loaded first; another user while root still can; Landlock
while its calls are allowed; the filter of system calls last. Each is tried or read back at once.
docs/HARDENING.md has the list and the argument.
"""

import mmap
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cometkms.address import Address
from cometkms.hardening import seccomp
from cometkms.hardening.account import DEFAULT_ACCOUNT, ProcStatus
from cometkms.hardening.confine import (
    DNS_PORT,
    LATE_MODULES,
    SHUT_EVENT,
    Outside,
    Told,
    check_no_dump,
    filter_calls,
    is_address,
    name_files,
    one_thread,
    preload,
    shut_outside,
)
from cometkms.hardening.measures import Measure, Mode, State, check_required
from cometkms.hardening.user import Whom, change_user, choose
from cometkms.limits import SIGNER_UID
from cometkms.net.opening import LATE
from cometkms.net.target import Target, UnixTarget

PROCESS: Final = "signer"


@dataclass(frozen=True, slots=True)
class Plan:
    """What the settings say. key_files: what must be out of reach. Unix sockets are dialled by
    another process (net/dialer.py)."""

    mode: Mode
    user: str
    parent: int
    key_files: tuple[Path, ...]
    targets: tuple[Target, ...]

    @property
    def ports(self) -> frozenset[int]:
        """TCP ports the signer dials."""
        ports = {one.port for one in self.targets if isinstance(one, Address)}
        return frozenset(ports | {DNS_PORT} if self.names else ports)

    @property
    def unix(self) -> frozenset[str]:
        """Paths of the validators that are unix sockets."""
        return frozenset(one.path for one in self.targets if isinstance(one, UnixTarget))

    @property
    def tcp(self) -> bool:
        """Whether one is not."""
        return any(isinstance(one, Address) for one in self.targets)

    @property
    def names(self) -> bool:
        """Whether one is a host's name."""
        return any(isinstance(one, Address) and not is_address(one.host) for one in self.targets)


@dataclass(frozen=True, slots=True)
class Confinement:
    """What a process was shut off from, for good."""

    plan: Plan
    measures: tuple[Measure, ...]

    def why_not(self, target: Target) -> str:
        """Why this process cannot dial that validator, which a reload brings; "" when it can. A new
        process can."""
        plan, on = self.plan, {one.measure for one in self.measures if one.state is State.ON}
        if isinstance(target, UnixTarget):
            known = "system_calls" not in on or target.path in plan.unix
            return "" if known else f"it may make no unix sockets, and nobody dials {target.path} for it"
        if "system_calls" in on and not plan.tcp:
            return "it may make no sockets"
        if "tcp_ports" in on and target.port not in plan.ports:
            return f"it may not connect to port {target.port}"
        if on & {"system_calls", "filesystem"} and not plan.names and not is_address(target.host):
            return "it may not read the files that names are resolved with"
        return ""


def shut_signer(plan: Plan) -> Confinement:
    """Everything, as far as the settings ask and the kernel has it. The process has one thread, its
    keys and its identity.

    Raises: HardeningError, ConfigError.
    """
    told = Told(PROCESS)
    with ProcStatus() as status:
        _check_locked(plan, told, status)
        if plan.mode is Mode.OFF:
            check_no_dump(told, status)
            for measure in (
                "user",
                "capabilities",
                "filesystem",
                "tcp_ports",
                "scope",
                "system_calls",
                "network_families",
            ):
                told.add(measure, State.OFF, 'hardening = "off"')
            return Confinement(plan, tuple(told.measures))
        preload((*LATE_MODULES, *LATE), names=plan.names)
        one_thread()
        whom = Whom(DEFAULT_ACCOUNT, SIGNER_UID, plan.user)
        change_user(told, status, whom, choose(whom, status, PROCESS), plan.parent)
        check_no_dump(told, status)
        _shut_files_and_ports(plan, told)
        filter_calls(told, status, seccomp.Needs(plan.tcp, False, plan.names, os.getpid()))
    check_required(plan.mode, told.measures)
    sys.audit(SHUT_EVENT, PROCESS)
    return Confinement(plan, tuple(told.measures))


def _check_locked(plan: Plan, told: Told, status: ProcStatus) -> None:
    """libsodium locks each key's memory where the limit allows it, and says nothing where not."""
    locked_kib = int(status.read().get("VmLck", "0 kB").split()[0])
    if locked_kib * 1024 >= len(plan.key_files) * mmap.PAGESIZE:
        told.add("memory_locked", State.ON, f"the keys' memory is never swapped ({locked_kib} KiB)")
    else:
        why = f"{locked_kib} KiB are locked for {len(plan.key_files)} keys: the limit of locked memory (ulimit -l, LimitMEMLOCK=) is too low"
        told.add("memory_locked", State.UNAVAILABLE, why)


def _shut_files_and_ports(plan: Plan, told: Told) -> None:
    rules = name_files() if plan.names else ()
    where = ", ".join(str(rule.path) for rule in rules)
    words = f"reads {where}: a validator has a name" if rules else "no file"
    shut_outside(told, Outside(rules, words, plan.ports, frozenset(), plan.key_files, plan.parent))
