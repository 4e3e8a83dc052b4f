"""Who may read and write the home's files."""

import contextlib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cometkms.durable import check_hand_over, is_private
from cometkms.errors import READ_ONLY_CURE, UnfitFileError, cure_of_file, said
from cometkms.hardening.account import Account
from cometkms.hardening.user import no_files
from cometkms.limits import ACCOUNT_UIDS
from cometkms.net.control import spare_path
from cometkms.operator.doctor.finding import Finding, fail, failed_by, ok, warn

AREA: Final = "permissions"


@dataclass(frozen=True, slots=True)
class Place:
    """A file or directory. `secret`: nobody else may read it; else nobody else may
    write it. `given`: by root to this process's group, to read (a Kubernetes secret).
    `why`: it cannot be looked at, and `cure` helps.
    """

    path: Path
    secret: bool
    mode: int = 0
    uid: int = 0
    why: str = ""
    cure: str = ""
    link: bool = False
    given: bool = False


def look_at(path: Path, *, secret: bool) -> Place | None:
    """Look at a file, and return None where there is nothing, and for a device: who reads it says
    so, and `chmod 600 /dev/null` is no cure.
    """
    try:
        found = path.stat()
        if stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode):
            return None
        given = secret and is_private(found) and found.st_mode & 0o077 != 0
        return Place(path, secret, found.st_mode, found.st_uid, link=path.is_symlink(), given=given)
    except FileNotFoundError:
        return None
    except OSError as error:
        return Place(path, secret, why=said(error), cure=cure_of_file(error, "run the doctor as the node's user"))


def judge_places(places: Iterable[Place], owner: int) -> list[Finding]:
    """`owner`: the uid of the home: everything in it should be that one's, or of an account that a
    node started by root gave it to.
    """
    found = []
    count = 0
    for place in places:
        count += 1
        found += _judge(place, owner)
    return found or [ok(AREA, f"nobody else can read the secrets or write the rest ({count} files and directories)")]


def _judge(place: Place, owner: int) -> list[Finding]:
    if place.why:
        return [fail(AREA, f"{place.path} cannot be looked at: {place.why}", place.cure)]
    mode = stat.S_IMODE(place.mode)
    if place.link and stat.S_ISDIR(place.mode) and mode & stat.S_ISVTX and mode & stat.S_IWOTH:
        words = f"{place.path} leads to a directory that everybody on this machine uses (mode {mode:04o})"
        return [fail(AREA, words, "put what belongs there itself in its place")]
    wanted = 0o700 if stat.S_ISDIR(place.mode) else 0o600
    found = []
    if place.secret and mode & 0o077 and not place.given:
        found.append(
            fail(AREA, f"{place.path} can be read by others (mode {mode:04o})", f"chmod {wanted:o} {place.path}")
        )
    elif mode & 0o022:
        found.append(fail(AREA, f"{place.path} can be written by others (mode {mode:04o})", f"chmod go-w {place.path}"))
    if place.uid not in (owner, *ACCOUNT_UIDS) and not place.given:
        found.append(
            warn(
                AREA,
                f"{place.path} belongs to uid {place.uid}, and the home to uid {owner}",
                f"chown {owner} {place.path}",
            )
        )
    return found


def judge_handing_over(directory: Path, process: str, account: Account) -> list[Finding]:
    """Whether a start as root can give a process the files that it works with, as that account."""
    with contextlib.suppress(OSError):  # the directory is not made yet, or is none, which the state's checks tell
        try:
            check_hand_over(directory, account.uid, account.gid)
        except UnfitFileError as error:
            return failed_by(AREA, no_files(process, account, error))
    return []


def judge_writing(directory: Path) -> list[Finding]:
    """Whether this user may make files there, and if not whether it is the user's right that is
    lacking. Raises: OSError.
    """
    if os.access(directory, os.W_OK | os.X_OK):
        return []
    if os.statvfs(directory).f_flag & os.ST_RDONLY:
        return [fail(AREA, f"{directory} is on a file system that is mounted read-only", READ_ONLY_CURE)]
    cure = cure_of_directory(directory, "run the doctor, and the node, as the home's owner")
    return [fail(AREA, f"{directory} cannot be written by this user", cure)]


def cure_of_directory(directory: Path, otherwise: str) -> str:
    """What helps where this user may not write there: `otherwise`, unless it is this user's own
    already, and its mode shuts them out.
    """
    with contextlib.suppress(OSError):
        found = directory.stat()
        if found.st_uid == os.geteuid() and found.st_mode & 0o300 != 0o300:
            return f"chmod u+rwx {directory}"
    return otherwise


def judge_in_the_way(lock: Path, control: Path) -> list[Finding]:
    """What a start would stumble over in place of what it makes itself. Raises: OSError."""
    found = []
    if os.path.lexists(lock) and not stat.S_ISREG(lock.lstat().st_mode):
        found.append(fail(AREA, f"{lock} is no file", "move it away: a lock file is made anew"))
    if os.path.lexists(control) and stat.S_ISDIR(control.lstat().st_mode):
        found.append(fail(AREA, f"{control} is a directory", "move it away: the socket is made anew"))
    spare = spare_path(control)
    if os.path.lexists(spare) and stat.S_ISDIR(spare.lstat().st_mode):
        words = f"{spare} is a directory: a control socket that is removed under a running node could not be put back"
        found.append(warn(AREA, words, "move it away: the spare socket is made anew"))
    return found
