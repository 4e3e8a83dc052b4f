"""Shut off the processes that hold no key: they need files, code and ports, and get those only.

What they import late they read from Python's own code; as an account that cannot reach that, they
have what `late` names.
"""

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cometkms.hardening import seccomp
from cometkms.hardening.account import ProcStatus
from cometkms.hardening.confine import (
    LATE_MODULES,
    SHUT_EVENT,
    Outside,
    Told,
    check_no_dump,
    code_directories,
    filter_calls,
    name_files,
    one_thread,
    preload,
    shut_outside,
)
from cometkms.hardening.landlock import Beneath, Files
from cometkms.hardening.measures import Measure, Mode, State, check_required
from cometkms.hardening.user import Whom, change_user, choose

#: Everything a store does in its own directory.
WORK: Final = (
    Files.READ_FILE
    | Files.WRITE_FILE
    | Files.TRUNCATE
    | Files.READ_DIR
    | Files.MAKE_REG
    | Files.MAKE_SOCK
    | Files.MAKE_DIR
    | Files.REMOVE_FILE
    | Files.REMOVE_DIR
    | Files.REFER
)
#: A file is replaced there, and the directory synced; nothing is read: a key beside it stays shut.
REPLACE: Final = Files.WRITE_FILE | Files.TRUNCATE | Files.READ_DIR | Files.MAKE_REG | Files.REMOVE_FILE
_OFF: Final = ("user", "capabilities", "filesystem", "tcp_ports", "scope", "system_calls", "network_families")


@dataclass(frozen=True, slots=True)
class Keeps:
    """What a process works with. work, replace: directories; code: whether it reads Python's own;
    names: whether it finds hosts' addresses; tcp: whether it connects; unix: whether it does that
    to unix sockets; accepts: on a socket that it has already; shut: what must not open; apart:
    secrets, with which no directory of code is read; late: modules that it imports when it first
    needs them."""

    whom: Whom
    work: tuple[Path, ...] = ()
    replace: tuple[Path, ...] = ()
    code: bool = True
    names: bool = False
    tcp: bool = False
    unix: bool = False
    accepts: bool = False
    connect: frozenset[int] = frozenset()
    bind: frozenset[int] = frozenset()
    shut: tuple[Path, ...] = ()
    apart: tuple[Path, ...] = ()
    late: tuple[str, ...] = field(default=())


def shut_child(process: str, mode: Mode, parent: int, keeps: Keeps) -> tuple[Measure, ...]:
    """The process has one thread and is not dumpable. Files before the user: their directories may
    be root's.

    Raises: HardeningError, ConfigError.
    """
    told = Told(process)
    with ProcStatus() as status:
        if mode is Mode.OFF:
            check_no_dump(told, status)
            for measure in _OFF:
                told.add(measure, State.OFF, 'hardening = "off"')
            return tuple(told.measures)
        preload((*LATE_MODULES, *keeps.late), names=keeps.names)
        one_thread()
        chosen = choose(keeps.whom, status, process)
        shut_outside(told, Outside(_rules(keeps), _words(keeps), keeps.connect, keeps.bind, keeps.shut, parent))
        change_user(told, status, keeps.whom, chosen, parent)
        check_no_dump(told, status)
        filter_calls(told, status, _needs(keeps))
    check_required(mode, told.measures)
    sys.audit(SHUT_EVENT, process)
    return tuple(told.measures)


def _needs(keeps: Keeps) -> seccomp.Needs:
    return seccomp.Needs(
        keeps.tcp,
        keeps.unix,
        keeps.names,
        os.getpid(),
        accepts=keeps.accepts,
        binds=bool(keeps.bind),
        reads=keeps.code,
        files=bool(keeps.work or keeps.replace),
        replaces=bool(keeps.replace),
    )


def _rules(keeps: Keeps) -> tuple[Beneath, ...]:
    rules = (*_beneath(keeps.work, WORK), *_beneath(keeps.replace, REPLACE))
    rules += code_directories((*keeps.shut, *keeps.apart)) if keeps.code else ()
    return rules + (name_files() if keeps.names else ())


def _beneath(paths: Iterable[Path], access: Files) -> tuple[Beneath, ...]:
    return tuple(Beneath(path, access) for path in paths)


def _words(keeps: Keeps) -> str:
    parts = [f"works in {_listed(keeps.work)}"] if keeps.work else []
    parts += [f"replaces files in {_listed(keeps.replace)} and reads none there"] if keeps.replace else []
    reads = ["Python's code"] if keeps.code else []
    reads += ["what names are found with"] if keeps.names else []
    parts += [f"reads {' and '.join(reads)}"] if reads else []
    return ", ".join(parts) or "no file"


def _listed(paths: Iterable[Path]) -> str:
    return ", ".join(str(path) for path in paths)
