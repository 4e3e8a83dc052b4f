"""Whom a process runs as: choose an account for it, become it, give up root's capabilities. And
what the kernel says of itself.

started as root       the account of the process's own name, `cmkms-api` say, if there is one; else
                      a number that no account has; for the signer first the one that signer_user
                      names
signer_user = "root"  root's number stays, its capabilities go
not started as root   the node's own user: nobody can become another
"""

import contextlib
import errno
import os
import pwd
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cometkms.errors import ConfigError
from cometkms.hardening import kernel
from cometkms.limits import SIGNER_UID

DEFAULT_ACCOUNT: Final = "cmkms-signer"
STATE_NAME: Final = "cmkms-state"
AUDIT_NAME: Final = "cmkms-audit"
_NAMES: Final = (
    DEFAULT_ACCOUNT,
    STATE_NAME,
    "cmkms-api",
    AUDIT_NAME,
    "cmkms-dialer",
    "cmkms-webhook",
    "cmkms-caller",
    "cmkms-door",
)
CAP_CHOWN: Final = 0
CAP_DAC_OVERRIDE: Final = 1
CAP_KILL: Final = 5
CAP_SETGID: Final = 6
CAP_SETUID: Final = 7
CAP_SETPCAP: Final = 8
_UID_MAX: Final = (1 << 32) - 2
_NAME: Final = re.compile(r"[a-z_][a-z0-9_-]{0,30}\Z")  # as useradd takes it
_SHOWN_MAX: Final = 60


@dataclass(frozen=True, slots=True)
class Account:
    """name: "" for a number without an account."""

    name: str
    uid: int
    gid: int

    def __str__(self) -> str:
        return f"{self.name} (uid {self.uid})" if self.name else f"uid {self.uid}"


def choose_account(wanted: str, default: str = DEFAULT_ACCOUNT, number: int = SIGNER_UID) -> Account:
    """The one for a process of a node that root started. `wanted`: a name or a number; "": the
    account `default`, or else `number`.

    Raises: ConfigError when there is no such account.
    """
    if wanted:
        try:
            return find_account(wanted)
        except ConfigError as error:
            raise error.at("signer_user") from error
    with contextlib.suppress(KeyError):
        return _of_entry(pwd.getpwnam(default))
    return _of_number(number)


def find_account(wanted: str) -> Account:
    """The account of a name or a number; a number needs none. Raises: ConfigError."""
    if wanted.isascii() and wanted.isdigit():
        if len(wanted) > _SHOWN_MAX or int(wanted) > _UID_MAX:
            raise ConfigError(
                f"{wanted[:_SHOWN_MAX]} is no user's number", cure=f"a number up to {_UID_MAX}, or an account's name"
            )
        return _of_number(int(wanted))
    try:
        return _of_entry(pwd.getpwnam(wanted))
    except (KeyError, ValueError):  # ValueError: text that no account can have, as a zero byte
        made = (
            f"useradd --system --no-create-home --shell /usr/sbin/nologin {wanted}, or " if _NAME.match(wanted) else ""
        )
        raise ConfigError(
            f"there is no account {wanted[:_SHOWN_MAX]!r}", cure=f"{made}the name or number of another account"
        ) from None


def named_accounts() -> list[int]:
    """Numbers of the accounts that a process of a node takes where they are there."""
    found = []
    for name in _NAMES:
        with contextlib.suppress(KeyError):
            found.append(pwd.getpwnam(name).pw_uid)
    return found


def check_wanted(wanted: str) -> None:
    """Whether this process can make the signer that user. Raises: ConfigError with the cure."""
    uid = os.geteuid()
    if (uid == 0 or wanted) and choose_account(wanted).uid != uid and uid != 0:
        raise ConfigError(
            f"signer_user = {wanted!r}: only root can start the signer as another user, and this node runs as uid {uid}",
            cure="take the setting out, or start as root",
        )


def _of_number(uid: int) -> Account:
    try:
        return _of_entry(pwd.getpwuid(uid))
    except KeyError:
        return Account("", uid, uid)


def _of_entry(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def become(account: Account, kept: frozenset[int]) -> None:
    """Take on that account's user and group, no other group, and of the capabilities only `kept`.
    No way back.

    Raises: OSError. The parent's death signal and the mark "not dumpable" are lost with it: set
    them again.
    """
    _drop_bounding_set()
    if account.uid != os.geteuid():
        kernel.prctl(kernel.PR_SET_KEEPCAPS, 1)
        os.setgroups([])
        os.setresgid(account.gid, account.gid, account.gid)
        os.setresuid(account.uid, account.uid, account.uid)
        kernel.prctl(kernel.PR_SET_KEEPCAPS, 0)
    kernel.set_capabilities(sum(1 << one for one in kept))


def give_up_capabilities() -> None:
    """All of them, whoever the process is. Raises: OSError."""
    _drop_bounding_set()
    kernel.set_capabilities(0)


def _drop_bounding_set() -> None:
    """What no program started from here could get back. Only who has CAP_SETPCAP can; others cannot
    start one with privileges anyway."""
    for capability in range(64):
        try:
            kernel.prctl(kernel.PR_CAPBSET_DROP, capability)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.EPERM):  # past the last one; or not ours to drop
                return
            raise


class ProcStatus:
    """/proc/self/status, opened while files can be: it tells what the kernel holds, then and
    later."""

    def __init__(self) -> None:
        self._fd = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)

    def __enter__(self) -> "ProcStatus":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def read(self) -> Mapping[str, str]:
        """Its fields."""
        data = os.pread(self._fd, 1 << 16, 0).decode("ascii", "replace")
        pairs = (line.partition(":") for line in data.splitlines())
        return {name: value.strip() for name, _, value in pairs}


def capabilities(status: Mapping[str, str], field: str = "CapEff") -> frozenset[int]:
    """Those in one of the fields Cap…"""
    bits = int(status[field], 16)
    return frozenset(number for number in range(64) if bits >> number & 1)
