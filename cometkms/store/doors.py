"""Before a node starts: can others write what it relies on? Whoever can swap a key, a setting or a
promise need not break in.

Looked at: the home, priv/, data/, data/<id> and what lies there by name, config.toml, the key,
state and passphrase files where they are, and the directories that those are in, also behind links
(a Kubernetes secret is a link to ..data/NAME, and ..data one to a directory).

| a place may be …                      | accepted when                                                                            |
|---------------------------------------|------------------------------------------------------------------------------------------|
| another's                             | it is root's; for a node that root starts also the home's owner's, and its own accounts' |
| writable by its group, no secret      | it is root's and this process has that group, as a Kubernetes volume with fsGroup is     |
| a directory for all, around a secret  | it is read-only, or nobody but a file's owner replaces files in it (sticky)              |
| a directory for all, anywhere above   | likewise: else another home, an older copy of this one even, could take its place        |
"""

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cometkms.errors import HardeningError
from cometkms.limits import ACCOUNT_UIDS

_WRITABLE: Final = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Me:
    """Who looks. owners: whose the home may be besides root's."""

    uid: int
    groups: frozenset[int]
    owners: frozenset[int]

    @staticmethod
    def of_process(home: Path, accounts: Iterable[int] = ()) -> "Me":
        """`accounts`: of this node's processes, where they have names. Raises: OSError."""
        uid = os.geteuid()
        more = {home.stat().st_uid, *ACCOUNT_UIDS, *accounts} if uid == 0 else set()
        return Me(uid, frozenset({os.getegid(), *os.getgroups()}), frozenset({0, uid, *more}))


@dataclass(frozen=True, slots=True)
class Place:
    """What was found at a path. read_only: its file system is. secret: a key or passphrase, or the
    directory around one. above: a directory of which only what lies far below it is relied on.
    real: what a path that is a link leads to.
    """

    path: Path
    mode: int
    uid: int
    gid: int
    secret: bool
    read_only: bool = False
    above: bool = False
    real: Path | None = None

    @property
    def is_directory(self) -> bool:
        """Else a file."""
        return stat.S_ISDIR(self.mode)


def check_doors(
    home: Path, node_id: str, files: Sequence[Path], secrets: Sequence[Path], accounts: Iterable[int] = ()
) -> None:
    """`files`: state files and the like; `secrets`: keys and passphrases.

    Raises: HardeningError naming each place and its cure.
    """
    data = home / "data" / node_id
    plain = [home, home / "data", data, data / "promises", data / "raft", home / "config.toml", home / "cmkms.lock"]
    hidden = [home / "priv", home / "priv" / "cluster.key", home / "priv" / "identity_key.json"]
    for path in files:
        plain += _with_folders(path)
    for path in secrets:
        hidden += _with_folders(path)
    looked_at = {*plain, *hidden}
    above = [path for path in _above((home, *files, *secrets)) if path not in looked_at]
    places = [look_at(path, secret=False) for path in plain] + [look_at(path, secret=True) for path in hidden]
    places += [look_at(path, secret=False, above=True) for path in above]
    try:
        me = Me.of_process(home, accounts)
    except OSError:  # there is no home: the start says so
        return
    judged = (judge(place, me) for place in places if place is not None)
    found = {str(one): one for one in judged if one is not None}
    if found:
        raise HardeningError.together(
            one.at("what this node relies on can be changed by others") for one in found.values()
        )


def check_keys_are_the_homes(home: Path, keys: Sequence[Path]) -> None:
    """Where root works in a home of somebody else's, who chooses in it which key signs for whom:
    only a key of that home, or of theirs.

    Raises: HardeningError naming each other one.
    """
    try:
        owner = home.stat().st_uid
    except OSError:  # there is no home: the start says so
        return
    if os.geteuid() != 0 or owner == 0:
        return
    inside = Path(os.path.realpath(home))
    found = {key: key.stat() for key in keys if key.exists()}
    strange = [
        HardeningError(
            f"{key} belongs to uid {status.st_uid}, and {home}, whose settings choose what it signs for, to uid {owner}",
            cure=f"chown -R {status.st_uid} {home}, or chown {owner} {key}",
        )
        for key, status in found.items()
        if status.st_uid != owner and (not Path(os.path.realpath(key)).is_relative_to(inside) or status.st_nlink > 1)
    ]
    if strange:
        raise HardeningError.together(one.at("a key of somebody else's") for one in strange)


def _with_folders(path: Path) -> list[Path]:
    real = Path(os.path.realpath(path))
    return list(dict.fromkeys([path, path.parent, real, real.parent]))


def _above(paths: Iterable[Path]) -> list[Path]:
    """Every directory on the way to each, as it is named and behind links."""
    return list(
        dict.fromkeys(
            folder
            for path in paths
            for way in (path.absolute(), Path(os.path.realpath(path)))
            for folder in way.parents
        )
    )


def look_at(path: Path, *, secret: bool, above: bool = False) -> Place | None:
    """Look at a path, and return None where there is nothing, nothing that this process may
    look at, or what is neither a file nor a directory: who opens it says so, and `chmod go-w
    /dev/null` is no cure.
    """
    try:
        found = path.stat()
        read_only = bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return None
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        return None
    real = Path(os.path.realpath(path)) if path.is_symlink() else None
    return Place(path, found.st_mode, found.st_uid, found.st_gid, secret, read_only, above, real)


def judge(place: Place, me: Me) -> HardeningError | None:
    """What is wrong with it, with the cure; None for nothing."""
    path, mode = place.path, stat.S_IMODE(place.mode)
    if place.read_only:
        return None
    if place.above:
        open_to_all = mode & stat.S_IWOTH and not mode & stat.S_ISVTX
        words = f"what lies in {path} can be replaced by others (mode {mode:04o})"
        return HardeningError(words, cure=f"chmod o-w {path}, or chmod +t {path}") if open_to_all else None
    if place.uid not in me.owners:
        every = "-R " if place.is_directory else ""
        return HardeningError(f"{path} belongs to uid {place.uid}", cure=f"chown {every}{me.uid} {path}")
    writable = mode & _WRITABLE
    if not writable:
        return None
    if place.secret and place.is_directory and mode & stat.S_ISVTX and place.uid in (0, me.uid) and path.name != "priv":
        return None
    given = place.uid == 0 != me.uid and place.gid in me.groups and not place.secret
    if writable == stat.S_IWGRP and given:
        return None
    who = "".join(word for bit, word in ((stat.S_IWGRP, "g"), (stat.S_IWOTH, "o")) if writable & bit)
    where = f"{path} leads to {place.real}, which" if place.real else f"{path}"
    return HardeningError(
        f"{where} can be written by others (mode {mode:04o})", cure=_cure_of(place, f"chmod {who}-w {path}")
    )


def _cure_of(place: Place, shut: str) -> str:
    """`shut` is the command that shuts it, and no cure for what a machine's programs share, as they
    do /tmp: none of them could go on.
    """
    if not (place.is_directory and place.mode & stat.S_ISVTX and place.mode & stat.S_IWOTH):
        return shut
    if place.real:
        return (
            f"put what belongs there itself in the place of {place.path}: {place.real} is for everybody on this machine"
        )
    if place.path.name == "priv":
        return shut
    return (
        f"keep what this node relies on in a directory of its own; or {shut}, if nothing else on this machine uses it"
    )
