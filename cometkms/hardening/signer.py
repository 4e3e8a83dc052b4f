"""Shut the signer off, once it holds its keys: afterwards it can talk to its validators and its own node, and to nothing else.

The order matters: what is needed later is loaded first; another user while root still can; Landlock while its calls are allowed;
the filter of system calls last. Each is tried or read back at once. docs/HARDENING.md has the list and the argument.
"""

import contextlib
import ctypes
import errno
import importlib
import mmap
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cometkms.errors import HardeningError
from cometkms.hardening import seccomp
from cometkms.hardening.account import (
    CAP_DAC_OVERRIDE,
    CAP_KILL,
    CAP_SETGID,
    CAP_SETUID,
    Account,
    ProcStatus,
    become,
    capabilities,
    check_wanted,
    choose_account,
    give_up_capabilities,
)
from cometkms.hardening.confine import (
    DNS_PORT,
    Outside,
    Told,
    check_no_dump,
    check_refused,
    is_address,
    name_directories,
    one_thread,
    shut_outside,
)
from cometkms.hardening.measures import Measure, Mode, State, check_required, not_effective
from cometkms.ipc.prctl import die_with_parent, make_undumpable
from cometkms.net.dial import TcpTarget, UnixTarget

PROCESS: Final = "signer"
#: An audit event (sys.addaudithook): from here on nothing is imported, nothing opened.
SHUT_EVENT: Final = "cometkms.shut"
#: Imported by asyncio, uvloop or codecs when they first need them.
_LATE_MODULES: Final = ("encodings.idna", "stringprep", "unicodedata", "asyncio.timeouts", "traceback", "linecache")
#: Loaded by glibc when it first needs them: name resolution before 2.34, the end of a thread.
_LATE_LIBRARIES: Final = ("libgcc_s.so.1", "libnss_files.so.2", "libnss_dns.so.2")


@dataclass(frozen=True, slots=True)
class Plan:
    """What the settings say. key_files: what must be out of reach; home: what must not become readable with a name's files."""

    mode: Mode
    user: str
    parent: int
    home: Path
    key_files: tuple[Path, ...]
    targets: tuple[TcpTarget | UnixTarget, ...]

    @property
    def ports(self) -> frozenset[int]:
        """TCP ports the signer dials."""
        ports = {one.port for one in self.targets if isinstance(one, TcpTarget)}
        return frozenset(ports | {DNS_PORT} if self.names else ports)

    @property
    def unix(self) -> bool:
        """Whether a validator is a unix socket."""
        return any(isinstance(one, UnixTarget) for one in self.targets)

    @property
    def tcp(self) -> bool:
        """Whether one is not."""
        return any(isinstance(one, TcpTarget) for one in self.targets)

    @property
    def names(self) -> bool:
        """Whether one is a host's name."""
        return any(isinstance(one, TcpTarget) and not is_address(one.host) for one in self.targets)


@dataclass(frozen=True, slots=True)
class Confinement:
    """What a process was shut off from, for good."""

    plan: Plan
    measures: tuple[Measure, ...]

    def why_not(self, target: TcpTarget | UnixTarget) -> str:
        """Why this process cannot dial that validator, which a reload brings; "" when it can. A new process can."""
        plan, on = self.plan, {one.measure for one in self.measures if one.state is State.ON}
        if isinstance(target, UnixTarget):
            return "it may make no unix sockets" if "system_calls" in on and not plan.unix else ""
        if "system_calls" in on and not plan.tcp:
            return "it may make unix sockets only"
        if "tcp_ports" in on and target.port not in plan.ports:
            return f"it may not connect to port {target.port}"
        if on & {"system_calls", "filesystem"} and not plan.names and not is_address(target.host):
            return "it may not read the files that names are resolved with"
        return ""


def shut_signer(plan: Plan) -> Confinement:
    """Everything, as far as the settings ask and the kernel has it. The process has one thread, its keys and its identity.

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
        _preload(plan)
        one_thread()
        _change_user(plan, told, status)
        check_no_dump(told, status)  # another user: the kernel had taken that back
        _shut_files_and_ports(plan, told, status)
        _filter_calls(plan, told, status)
    check_required(plan.mode, told.measures)
    sys.audit(SHUT_EVENT)
    return Confinement(plan, tuple(told.measures))


def _check_locked(plan: Plan, told: Told, status: ProcStatus) -> None:
    """libsodium locks each key's memory where the limit allows it, and says nothing where not."""
    locked_kib = int(status.read().get("VmLck", "0 kB").split()[0])
    if locked_kib * 1024 >= len(plan.key_files) * mmap.PAGESIZE:
        told.add("memory_locked", State.ON, f"the keys' memory is never swapped ({locked_kib} KiB)")
    else:
        why = f"{locked_kib} KiB are locked for {len(plan.key_files)} keys: the limit of locked memory (ulimit -l, LimitMEMLOCK=) is too low"
        told.add("memory_locked", State.UNAVAILABLE, why)


def _preload(plan: Plan) -> None:
    """What would be imported or loaded later, when no file can be opened."""
    for module in _LATE_MODULES:
        importlib.import_module(module)
    for library in _LATE_LIBRARIES:
        with contextlib.suppress(OSError):  # this C library has none
            ctypes.CDLL(library)
    if plan.names:
        with contextlib.suppress(OSError):
            socket.getaddrinfo("localhost", None)


def _change_user(plan: Plan, told: Told, status: ProcStatus) -> None:
    held = capabilities(status.read(), "CapPrm")
    kept = held & {CAP_DAC_OVERRIDE} if plan.unix and os.geteuid() == 0 else frozenset()
    if os.geteuid() != 0:
        _stay(plan, told)
    elif (account := choose_account(plan.user)).uid == 0:
        become(account, kept)
        told.add("user", State.OFF, 'signer_user = "root"')
    else:
        _become(plan, account, held, kept, told)
    die_with_parent(plan.parent)
    make_undumpable()
    seen = status.read()
    for field, wanted in (("CapEff", kept), ("CapPrm", kept), ("CapInh", frozenset()), ("CapAmb", frozenset())):
        if capabilities(seen, field) != wanted:
            raise not_effective("capabilities", f"{field} is {seen[field]}")
    why = "only CAP_DAC_OVERRIDE, to reach unix sockets of the validators' users" if kept else "none"
    told.add("capabilities", State.ON, why)


def _stay(plan: Plan, told: Told) -> None:
    """Not root: the node's own user. Raises: ConfigError when the settings want another."""
    uid = os.geteuid()
    give_up_capabilities()
    check_wanted(plan.user)
    told.add("user", State.OFF, f"not started as root: uid {uid}, as the whole node")


def _become(plan: Plan, account: Account, held: frozenset[int], kept: frozenset[int], told: Told) -> None:
    """Raises: HardeningError, also when another user was asked for by name and cannot be had."""
    needed = {CAP_SETUID: "CAP_SETUID", CAP_SETGID: "CAP_SETGID", CAP_KILL: "CAP_KILL"}  # the last for the supervisor
    lacking = [name for number, name in needed.items() if number not in held]
    why = f"root has no {' and no '.join(lacking)} here" if lacking else ""
    if not lacking:
        try:
            become(account, kept)
        except OSError as error:
            if error.errno not in (
                errno.EINVAL,
                errno.EPERM,
            ):  # a user namespace without that number, or without groups
                raise not_effective("user", str(error)) from error
            why = f"this user namespace cannot become {account}: {error.strerror}"
    if why:
        if plan.user:
            raise HardeningError(f"signer_user = {plan.user!r}: {why}; cure: grant it, or take the setting out")
        told.add("user", State.UNAVAILABLE, f"{why}; the signer runs as root")
        become(Account("root", 0, 0), kept)
        return
    _check_account(account)
    told.add("user", State.ON, f"{account}, no other group")


def _check_account(account: Account) -> None:
    if os.getresuid() != (account.uid,) * 3 or os.getresgid() != (account.gid,) * 3 or os.getgroups():
        raise not_effective("user", f"uids {os.getresuid()}, gids {os.getresgid()}, groups {os.getgroups()}")


def _shut_files_and_ports(plan: Plan, told: Told, status: ProcStatus) -> None:
    mighty = os.geteuid() == 0 or bool(capabilities(status.read()))
    rules = name_directories((plan.home, *plan.key_files), exactly=mighty) if plan.names else ()
    where = ", ".join(str(rule.path) for rule in rules)
    words = f"reads in {where}: a validator has a name" if rules else "no file"
    shut_outside(told, Outside(rules, words, plan.ports, frozenset(), plan.key_files, plan.parent))


def _filter_calls(plan: Plan, told: Told, status: ProcStatus) -> None:
    refused = [socket.AF_PACKET, socket.AF_NETLINK]
    refused += [] if plan.unix else [socket.AF_UNIX]
    refused += [] if plan.tcp else [socket.AF_INET, socket.AF_INET6]
    families = ", ".join((["AF_INET", "AF_INET6"] if plan.tcp else []) + (["AF_UNIX"] if plan.unix else []))

    def apply() -> str:
        size = seccomp.install(seccomp.Needs(plan.tcp, plan.unix, plan.names, os.getpid()))
        seen = status.read().get("Seccomp", "unknown")
        if seen != "2":
            raise not_effective("system_calls", f"Seccomp is {seen}")
        return f"a filter of {size} instructions: nothing is executed, forked, traced, mounted or made executable"

    if not told.attempt("system_calls", apply):
        told.add("network_families", State.UNAVAILABLE, "no filter of system calls")
        return
    for family in refused:
        check_refused(family, "network_families")
    told.add("network_families", State.ON, families)
