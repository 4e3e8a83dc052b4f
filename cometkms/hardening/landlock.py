"""Landlock: which files a process may touch, which TCP ports it may use, whom it may signal. By
what is named, not by numbers.

    ABI   Linux   what came with it, and is forbidden here unless a rule allows it
    1     5.13    read, write, make, remove, list, execute
    2     5.19    renaming from one directory to another
    3     6.2     truncating
    4     6.7     TCP: bind, connect
    5     6.10    ioctl on devices
    6     6.12    signals to, and abstract unix sockets of, processes outside
    7     6.15    (what the audit log says)

What is open already stays open. What a later ABI can do is not asked for. Pathname unix sockets are
not looked at by any of these.
"""

import contextlib
import errno
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path
from typing import Final

from cometkms.hardening import kernel
from cometkms.hardening.measures import UnavailableError

_CREATE_RULESET: Final = 444  # the same numbers on every machine
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
_ASK_VERSION: Final = 1
_PATH_BENEATH: Final = 1
_NET_PORT: Final = 2


class Files(IntFlag):
    """linux/landlock.h, LANDLOCK_ACCESS_FS_*"""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15


class Ports(IntFlag):
    """LANDLOCK_ACCESS_NET_*"""

    BIND_TCP = 1 << 0
    CONNECT_TCP = 1 << 1


#: LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | LANDLOCK_SCOPE_SIGNAL
_SCOPES: Final = 3
#: What can be said of a single file.
_OF_A_FILE: Final = Files.EXECUTE | Files.WRITE_FILE | Files.READ_FILE | Files.TRUNCATE | Files.IOCTL_DEV
_NETWORK_SINCE: Final = 4
_SCOPES_SINCE: Final = 6


@dataclass(frozen=True, slots=True)
class Beneath:
    """What is allowed on a file, or on a directory and all below it. One that is not there, or out
    of reach anyway, is left out."""

    path: Path
    access: Files


@dataclass(frozen=True, slots=True)
class Ruleset:
    """Everything else is forbidden. connect, bind: TCP ports; None: the network and the scopes stay
    as they are."""

    files: tuple[Beneath, ...]
    connect: frozenset[int] | None = None
    bind: frozenset[int] = frozenset()
    scoped: bool = False


def abi() -> int:
    """Return the version that this kernel has. Raises: UnavailableError."""
    try:
        return kernel.syscall(_CREATE_RULESET, None, 0, _ASK_VERSION)
    except OSError as error:
        why = {
            errno.ENOSYS: "this kernel has no Landlock (Linux 5.13 and CONFIG_SECURITY_LANDLOCK)",
            errno.EOPNOTSUPP: "Landlock is switched off at boot (lsm=… without landlock)",
            errno.EPERM: "the container's own filter refuses Landlock",
        }
        if error.errno not in why:
            raise
        raise UnavailableError(why[error.errno]) from error


def file_rights(version: int) -> Files:
    """All that this ABI can forbid."""
    rights = Files(Files.MAKE_SYM * 2 - 1)
    for since, right in ((2, Files.REFER), (3, Files.TRUNCATE), (5, Files.IOCTL_DEV)):
        if version >= since:
            rights |= right
    return rights


def has_ports(version: int) -> bool:
    """Whether TCP can be restricted."""
    return version >= _NETWORK_SINCE


def has_scopes(version: int) -> bool:
    """Whether signals can be."""
    return version >= _SCOPES_SINCE


def restrict(ruleset: Ruleset, version: int) -> None:
    """This thread and all it starts, for ever, as far as `version` goes. No new privileges must be
    set.

    Raises: OSError.
    """
    handled = file_rights(version)
    ports = Ports.BIND_TCP | Ports.CONNECT_TCP if has_ports(version) and ruleset.connect is not None else Ports(0)
    scopes = _SCOPES if has_scopes(version) and ruleset.scoped else 0
    attributes = struct.pack("=QQQ", handled, ports, scopes)[: 8 if not has_ports(version) else 24 if scopes else 16]
    rules = kernel.syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for beneath in ruleset.files:
            _allow_beneath(rules, beneath, handled)
        if ports:
            _allow_ports(rules, ruleset.connect or (), Ports.CONNECT_TCP)
            _allow_ports(rules, ruleset.bind, Ports.BIND_TCP)
        kernel.syscall(_RESTRICT_SELF, rules, 0)
    finally:
        os.close(rules)


def _allow_beneath(rules: int, beneath: Beneath, handled: Files) -> None:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        fd = os.open(beneath.path, os.O_PATH | os.O_CLOEXEC)
        try:
            access = beneath.access & handled
            if not beneath.path.is_dir():
                access &= _OF_A_FILE
            if access:
                kernel.syscall(_ADD_RULE, rules, _PATH_BENEATH, struct.pack("=Qi", access, fd), 0)
        finally:
            os.close(fd)


def _allow_ports(rules: int, ports: Iterable[int], access: Ports) -> None:
    for port in ports:
        kernel.syscall(_ADD_RULE, rules, _NET_PORT, struct.pack("=QQ", access, port), 0)
