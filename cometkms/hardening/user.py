"""Make a process somebody else, for good: chosen while accounts can be looked up, become when
everything else is ready.

What can be had is had: a root that may not change its number, in a container say, stays root by
number and has no capability left.
"""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cometkms.errors import HardeningError, UnfitFileError, said
from cometkms.hardening.account import (
    CAP_CHOWN,
    CAP_DAC_OVERRIDE,
    CAP_KILL,
    CAP_SETGID,
    CAP_SETPCAP,
    CAP_SETUID,
    Account,
    ProcStatus,
    become,
    capabilities,
    check_wanted,
    choose_account,
    give_up_capabilities,
)
from cometkms.hardening.confine import Told
from cometkms.hardening.measures import State, not_effective
from cometkms.hardening.prctl import die_with_parent, make_undumpable

_CAPABILITY_NAMES: Final = {
    CAP_SETUID: "CAP_SETUID",
    CAP_SETGID: "CAP_SETGID",
    CAP_KILL: "CAP_KILL",  # for the supervisor, who signals it
}
#: For its files, which root must give away now and get at again at the next start.
_FOR_FILES: Final = {CAP_CHOWN: "CAP_CHOWN", CAP_DAC_OVERRIDE: "CAP_DAC_OVERRIDE"}
#: A user namespace without that number, or without groups; a file system that knows no owners.
_CANNOT: Final = (errno.EINVAL, errno.EPERM, errno.EROFS)


@dataclass(frozen=True, slots=True)
class Whom:
    """Whom a process that root starts becomes. setting: what signer_user says; hand: gives an
    account the files it works with."""

    name: str
    number: int
    setting: str = ""
    account: Account | None = None  # this one, whatever its name
    kept: frozenset[int] = frozenset()
    kept_for: str = ""
    hand: Callable[[int, int], None] | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """account: None where it stays whom it is; state, why: what is told of it. held, kept:
    capabilities, before and then."""

    account: Account | None
    state: State
    why: str
    held: frozenset[int]
    kept: frozenset[int]


def choose(whom: Whom, status: ProcStatus, process: str) -> Chosen:
    """Look it up, and give it its files. Raises: ConfigError, HardeningError when one that was
    asked for by name cannot be had."""
    uid = os.geteuid()
    if uid != 0:
        return Chosen(None, State.OFF, f"not started as root: uid {uid}, as the whole node", frozenset(), frozenset())
    held = capabilities(status.read(), "CapPrm")
    kept = held & whom.kept
    account = whom.account or choose_account(whom.setting, whom.name, whom.number)
    root = Account("root", 0, 0)
    if account.uid == 0 and whom.account is None:
        return Chosen(root, State.OFF, 'signer_user = "root"', held, kept)
    needed = _CAPABILITY_NAMES | (_FOR_FILES if whom.hand is not None else {})
    lacking = [name for number, name in needed.items() if number not in held]
    why = f"root has no {' and no '.join(lacking)} here" if lacking else ""
    if not why and whom.hand is not None:
        try:
            whom.hand(account.uid, account.gid)
        except OSError as error:
            if error.errno not in _CANNOT or error.filename is not None:
                raise no_files(process, account, error) from error
            why = f"its files cannot be given to {account}: {said(error)}"
    if not why:
        return Chosen(account, State.ON, f"{account}, no other group", held, kept)
    if whom.setting:
        raise HardeningError(f"signer_user = {whom.setting!r}: {why}", cure="grant it, or take the setting out")
    return Chosen(root, State.UNAVAILABLE, f"{why}; {process} runs as root", held, kept)


def no_files(process: str, account: Account, error: OSError) -> HardeningError:
    """Make the error of a process that cannot have its files as that account."""
    where = f"{error.filename}: " if error.filename is not None else ""
    return HardeningError(
        f"{where}{said(error)}: {process} cannot have its files as {account}",
        cure="look at who made that, and put the file or directory itself there; what is to be on another disk is mounted "
        "there, not linked"
        if isinstance(error, UnfitFileError) and error.errno == errno.EPERM
        else "look at who made that, and remove it or chown it to root",
    )


def change_user(told: Told, status: ProcStatus, whom: Whom, chosen: Chosen, parent: int) -> None:
    """Become it; tried by reading back. Raises: HardeningError, ConfigError."""
    if chosen.account is None:
        give_up_capabilities()
        check_wanted(whom.setting)
        told.add("user", chosen.state, chosen.why)
    else:
        _become(told, whom, chosen, chosen.account)
    die_with_parent(parent)
    make_undumpable()  # another user: the kernel had taken that back
    seen = status.read()
    for field, wanted in (
        ("CapEff", chosen.kept),
        ("CapPrm", chosen.kept),
        ("CapInh", frozenset()),
        ("CapAmb", frozenset()),
    ):
        if capabilities(seen, field) != wanted:
            raise not_effective("capabilities", f"{field} is {seen[field]}")
    words = whom.kept_for if chosen.kept else "none"
    if chosen.account is not None and capabilities(seen, "CapBnd"):
        if CAP_SETPCAP in chosen.held:
            raise not_effective("capabilities", f"CapBnd is {seen['CapBnd']}")
        told.add(
            "capabilities", State.UNAVAILABLE, f"{words}, but root has no CAP_SETPCAP here: the bounding set stays"
        )
        return
    told.add("capabilities", State.ON, words)


def _become(told: Told, whom: Whom, chosen: Chosen, account: Account) -> None:
    state, why = chosen.state, chosen.why
    try:
        become(account, chosen.kept)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise not_effective("user", said(error)) from error
        why = f"this user namespace cannot become {account}: {said(error)}"
        if whom.setting:
            raise HardeningError(
                f"signer_user = {whom.setting!r}: {why}", cure="grant it, or take the setting out"
            ) from error
        if whom.hand is not None:
            whom.hand(0, 0)
        state, why = State.UNAVAILABLE, f"{why}; {told.process} runs as root"
        become(Account("root", 0, 0), chosen.kept)
    if state is State.ON and (
        os.getresuid() != (account.uid,) * 3 or os.getresgid() != (account.gid,) * 3 or os.getgroups()
    ):
        raise not_effective("user", f"uids {os.getresuid()}, gids {os.getresgid()}, groups {os.getgroups()}")
    told.add("user", state, why)
