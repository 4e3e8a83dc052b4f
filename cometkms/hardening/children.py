"""Shut off the children that hold no key: they need files, code and ports, and get those only. Cheap, and no filter of system calls.

They stay the node's user, and read Python's own code, because what they are made of imports late.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cometkms.hardening.account import ProcStatus
from cometkms.hardening.confine import Outside, Told, check_no_dump, code_directories, name_directories, shut_outside
from cometkms.hardening.landlock import Beneath, Files
from cometkms.hardening.measures import Measure, Mode, State, check_required

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


@dataclass(frozen=True, slots=True)
class Keeps:
    """What a child works with. work, replace: directories; names: whether it finds hosts' addresses; shut: what must not open."""

    work: tuple[Path, ...] = ()
    replace: tuple[Path, ...] = ()
    names: bool = False
    connect: frozenset[int] = frozenset()
    bind: frozenset[int] = frozenset()
    shut: tuple[Path, ...] = ()


def shut_child(process: str, mode: Mode, parent: int, keeps: Keeps) -> tuple[Measure, ...]:
    """The process has one thread and is not dumpable. Raises: HardeningError."""
    told = Told(process)
    with ProcStatus() as status:
        check_no_dump(told, status)
    if mode is Mode.OFF:
        for measure in ("filesystem", "tcp_ports", "scope"):
            told.add(measure, State.OFF, 'hardening = "off"')
        return tuple(told.measures)
    rules = (*_beneath(keeps.work, WORK), *_beneath(keeps.replace, REPLACE), *code_directories(keeps.shut))
    if keeps.names:
        rules += name_directories(keeps.shut, exactly=False)
    shut_outside(told, Outside(rules, _words(keeps), keeps.connect, keeps.bind, keeps.shut, parent))
    check_required(mode, told.measures)
    return tuple(told.measures)


def _beneath(paths: Iterable[Path], access: Files) -> tuple[Beneath, ...]:
    return tuple(Beneath(path, access) for path in paths)


def _words(keeps: Keeps) -> str:
    parts = [f"works in {_listed(keeps.work)}"] if keeps.work else []
    parts += [f"replaces files in {_listed(keeps.replace)} and reads none there"] if keeps.replace else []
    return ", ".join([*parts, "reads Python's code" + (" and what names are found with" if keeps.names else "")])


def _listed(paths: Iterable[Path]) -> str:
    return ", ".join(str(path) for path in paths)
