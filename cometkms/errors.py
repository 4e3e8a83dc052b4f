"""Every exception, by whose fault it is.

CometKMSError
├── ProtocolError     the peer broke the protocol: close that connection, log why, dial again
├── OperatorError     the operator can fix it: `what` names the file or key, `cure` what to do; exit code `exit_code`
│   ├── ConfigError   a setting (exit 3)
│   ├── KeyFileError  a key file (exit 4)
│   ├── StateError    the promise store, the state file or born.json (exit 5)
│   ├── BusyError     another process uses this home or address (exit 6)
│   └── HardeningError  a protection that is required, or that the kernel has, does not hold (exit 9)
├── StoreFailure      a write or sync failed: this process must end now (exit 7)
├── BehindError       this node's store is older than what it once acknowledged: the process ends, and starts again recovering (exit 8)
├── SupersededError   another store stands for this node's member now: the node ends, and stays down (exit 10)
├── TooSlowError      a deadline passed, and nothing has failed yet (exit 70)
└── InvariantError    ours: two values disagree that cannot; log and exit (exit 70)
"""

import codecs
import errno
import json
import os
import stat
from collections.abc import Iterable
from typing import ClassVar, Final, Self

#: What a process ends with that meets a bug of ours, whatever exception shows it.
INTERNAL_EXIT: Final = 70


class CometKMSError(Exception):
    """Root of the tree: what is wrong and, where somebody can do something about it, the cure.

    A program asks for the two apart and never looks for one in the other's words; str() is both, as
    a person reads them. One error may be several, each with a cure of its own (see together()).
    `exit_code` is what a process that ends because of it exits with.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str = "", *, cure: str = "") -> None:
        super().__init__(f"{what}{'' if what.endswith('?') else ';'} cure: {cure}" if cure else what)
        self.what, self.cure = what, cure
        self.parts: tuple[CometKMSError, ...] = (self,)

    @classmethod
    def together(cls, parts: Iterable["CometKMSError"]) -> Self:
        """One error that is all of these, a line each."""
        several = tuple(part for one in parts for part in one.parts)
        made = cls("\n".join(map(str, several)))
        made.parts = several
        return made

    def at(self, where: str, cure: str = "") -> Self:
        """The same error, with where it came up in front of its words.

        A cure that is given takes the place of none.
        """
        return type(self)(f"{where}: {self.what}", cure=self.cure or cure)


class ProtocolError(CometKMSError):
    """The peer sent something that cannot be decoded, authenticated or bounded."""


class OperatorError(CometKMSError):
    """Something only the operator can put right: its cure says how."""

    exit_code: ClassVar[int] = 1


class ConfigError(OperatorError):
    """A flag, variable or config.toml key is wrong."""

    exit_code: ClassVar[int] = 3


class KeyFileError(OperatorError):
    """A key file is missing, unreadable, readable by others, or inconsistent."""

    exit_code: ClassVar[int] = 4


class StateError(OperatorError):
    """The promise store, the state file or born.json is missing, corrupt or another node's."""

    exit_code: ClassVar[int] = 5


class BusyError(OperatorError):
    """Another process holds the home's lock or the address."""

    exit_code: ClassVar[int] = 6


class HardeningError(OperatorError):
    """A process does not start with less protection than the settings ask for."""

    exit_code: ClassVar[int] = 9


class StoreFailure(CometKMSError):
    """A write or fdatasync failed. It is never trusted again: the process ends."""

    exit_code: ClassVar[int] = 7


class BehindError(CometKMSError):
    """The process must not go on with what it holds in memory; "recovering" is durable already, and
    the next one starts there.
    """

    exit_code: ClassVar[int] = 8


class SupersededError(CometKMSError):
    """Another store of this member took a higher incarnation, and its signature was shown: this
    process stands for nobody any more.
    """

    exit_code: ClassVar[int] = 10


class InvariantError(CometKMSError):
    """A bug of ours: raised with the two values that disagree."""

    exit_code: ClassVar[int] = INTERNAL_EXIT


class TooSlowError(CometKMSError):
    """A deadline passed, and nothing has failed yet."""

    exit_code: ClassVar[int] = INTERNAL_EXIT


#: What a disk says, whatever file is meant: it is full, it fails, or it is mounted read-only.
_DISK: Final = {
    errno.ENOSPC: "make room there (`df`, and `df -i`), then the same again; nothing is lost",
    errno.EDQUOT: "make room there, or raise the quota of the node's user, then the same again; nothing is lost",
    errno.EIO: "the disk fails (`dmesg`): move the node to another machine or disk as docs/RUNBOOK.md says, and never copy data/",
    errno.EROFS: "mount it writable; if the system made it read-only by itself, the disk fails (`dmesg`)",
}


#: What helps where a file system takes no writing.
READ_ONLY_CURE: Final = _DISK[errno.EROFS]

#: What helps where this user may not read what the node's user keeps for itself.
OTHER_USER_CURE: Final = "run this as the node's user, to whom it must belong"


class WordedError(OSError):
    """An error of the system, or like one, whose strerror is in words of ours and is
    shown as it is.
    """


class UnfitFileError(WordedError):
    """What is at a path is not used as it is, though the kernel would give it: strerror says why,
    in words of ours.
    """


class InTheWayError(UnfitFileError):
    """A name that is to lead to a directory, and does not: a file, or a link to where nothing is."""


def is_no_file(error: OSError) -> bool:
    """Whether something is at the path, and it is no file that is used: a directory, a FIFO, a link
    to where nothing is.
    """
    return isinstance(error, (UnfitFileError, IsADirectoryError)) or error.errno == errno.ELOOP


def cure_of_file(error: OSError, otherwise: str, *, which: str = "") -> str:
    """What helps where a file cannot be read or made: `otherwise`, unless what is there is no file,
    no way leads there, or the disk takes nothing, whosever the file is.

    `which`: behind "the file itself", which file that is.
    """
    if isinstance(error, InTheWayError):
        return "mount what the link leads to, or make it right; a file in a directory's place is to be moved away"
    if is_no_file(error):
        return f"put the file itself there, in place of what is there now{which}"
    if isinstance(error, NotADirectoryError):
        return "make the names above it directories: one of them is a file or a link to nowhere"
    return _own_cure(error) or _DISK.get(error.errno or 0, otherwise)


def _own_cure(error: OSError) -> str:
    """What helps where a file, or a directory on the way to it, is this user's own already, and its
    mode shuts them out: to give it to them is no cure.
    """
    path = error.filename
    if not isinstance(error, PermissionError) or not isinstance(path, str) or not path.startswith("/"):
        return ""
    while True:
        try:
            status = os.lstat(path)
            break
        except OSError:  # behind the directory that shuts them out, or not made yet
            path = os.path.dirname(path)  # noqa: PTH120 - the path is the system's, as it was given
    wanted = {stat.S_IFREG: 0o600, stat.S_IFDIR: 0o700}.get(stat.S_IFMT(status.st_mode), 0)
    if status.st_uid != os.geteuid() or os.geteuid() == 0 or status.st_mode & wanted == wanted:
        return ""
    return f"chmod {'u+rw' if wanted == 0o600 else 'u+rwx'} {path}"


def cure_of_secret(error: OSError) -> str:
    """What helps where a file with a secret cannot be read."""
    if isinstance(error, FileNotFoundError):
        return "put the file there, for the node's user, mode 0600; or the right path into the setting"
    return cure_of_file(error, "give it to the node's user, mode 0600")


def os_words(error: OSError) -> str:
    """Return the words of a person for it: no number, no Python, and not what asyncio makes of it."""
    if isinstance(error, WordedError):
        return str(error.strerror)
    if isinstance(error, TimeoutError) and not error.errno:
        return str(error) or "timed out"
    # ssl.SSLCertVerificationError, whose errno is no errno
    if certificate := getattr(error, "verify_message", ""):
        return f"its certificate is not trusted: {certificate}"
    # ssl.SSLError, likewise
    if getattr(error, "library", None) and (reason := getattr(error, "reason", None)):
        return f"TLS: {str(reason).replace('_', ' ').lower()}"
    # a name that leads nowhere has a number of another kind
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno).lower()
    return (error.strerror or str(error) or type(error).__name__).lower()


def said(error: BaseException) -> str:
    """What an error says to a person, in one place: an error of the system, bytes that are no text
    and text that is no JSON in words, any other's own text, or at least its kind.
    """
    if isinstance(error, UnicodeDecodeError):
        if error.object.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "it is text in UTF-16: save it as UTF-8, without a byte order mark"
        return f"byte {error.start + 1} is of no text in UTF-8"
    if isinstance(error, json.JSONDecodeError):
        if error.doc.startswith("\ufeff"):
            return "it begins with a byte order mark: save it as UTF-8 without one"
        return f"it goes wrong in line {error.lineno}, column {error.colno}"
    return os_words(error) if isinstance(error, OSError) else str(error) or type(error).__name__


def no_json(error: Exception) -> str:
    """Why text is no JSON, of what json.loads() and decoding raise."""
    return f"it is no JSON ({'it is nested too deep' if isinstance(error, RecursionError) else said(error)})"


#: Where this program's own modules are; a clone's directory above them may bear the same name.
_PROGRAM: Final = __file__.removesuffix("errors.py")


def place_of(error: OSError) -> str:
    """The file it is about, or else the last line of this program that it passed through."""
    if error.filename:
        return os.fsdecode(error.filename) if isinstance(error.filename, bytes) else str(error.filename)
    place, passed = "it is not known where", error.__traceback__
    while passed is not None:
        file = passed.tb_frame.f_code.co_filename
        if file.startswith(_PROGRAM):
            place = f"{file.rpartition('/')[2]}, line {passed.tb_lineno}"
        passed = passed.tb_next
    return place


def disk_failure(error: BaseException) -> StoreFailure | None:
    """`error` as a failure of the disk, if that is behind it; None: it is something else.

    A full disk is no fault of a key file or a state file, whichever happened to be opened: neither
    is to be restored, made anew or given to another user. The one thing to do is to look at the
    disk, and then to start again.
    """
    behind: BaseException | None = error
    while behind is not None and not (isinstance(behind, OSError) and behind.errno in _DISK):
        behind = behind.__cause__
    if not isinstance(behind, OSError) or behind.errno not in _DISK:
        return None
    where = behind.filename.decode("utf-8", "replace") if isinstance(behind.filename, bytes) else behind.filename
    words = error.what if isinstance(error, CometKMSError) else ""
    if os_words(behind) not in words.lower():
        words = f"{where or 'a file of this node'}: {os_words(behind)}"
    return StoreFailure(words, cure=_DISK[behind.errno])
