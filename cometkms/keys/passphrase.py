"""Passphrases: where one comes from, and the memory it is in: locked, out of core dumps, wiped.

    file         a path; refused when others can read it
    credential   a name below $CREDENTIALS_DIRECTORY, as systemd's LoadCredential= brings it
    descriptor   a number, read to its end once; a node that may have to open the key again keeps it
                 (hold)

One newline at its end is not part of it.
"""

import ctypes
import mmap
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol

from cometkms.durable import await_given, is_private, open_given
from cometkms.errors import KeyFileError, cure_of_secret, said
from cometkms.limits import PASSPHRASE_MAX_BYTES

CREDENTIALS_VARIABLE: Final = "CREDENTIALS_DIRECTORY"


class Passphrase:
    """One passphrase; `with` wipes it at the end."""

    def __init__(self) -> None:
        """Empty. Raises: KeyFileError if its memory cannot be locked."""
        self._size = 0
        self._page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._page.madvise(mmap.MADV_DONTDUMP)
        self.lock()

    def __repr__(self) -> str:
        return "<passphrase>"

    def __enter__(self) -> "Passphrase":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.wipe()

    @property
    def view(self) -> memoryview:
        """Its bytes, where they are. Not to be kept."""
        return memoryview(self._page)[: self._size]

    def lock(self) -> None:
        """Its page is never swapped.

        A process that was forked since has to ask anew. Raises: KeyFileError.
        """
        libc = ctypes.CDLL(None, use_errno=True)
        lent = ctypes.c_char.from_buffer(self._page)
        locked = libc.mlock(ctypes.c_void_p(ctypes.addressof(lent)), ctypes.c_size_t(mmap.PAGESIZE))
        del lent
        if locked != 0:
            raise KeyFileError(
                "the passphrase's memory cannot be locked", cure="raise the limit of locked memory (ulimit -l)"
            )

    def wipe(self) -> None:
        """Nothing of it is left in this process."""
        if not self._page.closed:
            self._page[:] = bytes(mmap.PAGESIZE)
        self._size = 0

    @property
    def dropped(self) -> bool:
        """Tell whether drop() has let go of it."""
        return self._page.closed

    def drop(self) -> None:
        """Nothing of it is left in this process; one that it was forked from keeps its own.

        Wiping would first copy the page that both have.
        """
        self._size = 0
        self._page.close()

    def copy(self) -> "Passphrase":
        """Another one, wiped on its own."""
        other = Passphrase()
        other._page[: self._size] = self.view
        other._size = self._size
        return other

    @classmethod
    def of_text(cls, text: str) -> "Passphrase":
        """What was typed. Raises: KeyFileError."""
        made = cls()
        data = text.encode("utf-8", "surrogateescape")[: PASSPHRASE_MAX_BYTES + 1]
        made._page[: len(data)] = data
        made._size = len(data)
        return made._checked("the passphrase")

    @classmethod
    def read_from(cls, fd: int, what: str, wait: Callable[[], None] = lambda: None) -> "Passphrase":
        """All that `fd` gives.

        `what`: for the error; `wait`: before each piece. Raises: KeyFileError, OSError.
        """
        made = cls()
        # one too many shows, behind a line's end
        room = memoryview(made._page)[: PASSPHRASE_MAX_BYTES + 3]
        while made._size < len(room):
            wait()
            got = os.readv(fd, [room[made._size :]])
            if not got:
                break
            made._size += got
        for end in b"\n\r":  # one line's end
            if made._size and made._page[made._size - 1] == end:
                made._size -= 1
        return made._checked(what)

    def _checked(self, what: str) -> "Passphrase":
        if 0 < self._size <= PASSPHRASE_MAX_BYTES:
            return self
        wrong = f"has more than {PASSPHRASE_MAX_BYTES} bytes" if self._size else "is empty"
        self.wipe()
        raise KeyFileError(f"{what} {wrong}", cure="the passphrase on one line")


class PassphraseSource(Protocol):
    """Where the passphrase is got from, each time a key is opened."""

    def read(self) -> Passphrase:
        """Raises: KeyFileError with the cure."""
        ...

    @property
    def secret_file(self) -> Path | None:
        """What no process that opens no key may be able to open."""
        ...


@dataclass(frozen=True, slots=True)
class PassphraseFile:
    """A file of its own."""

    path: Path

    def read(self) -> Passphrase:
        """Read the passphrase."""
        return _read_file(self.path, private=True)

    @property
    def secret_file(self) -> Path | None:
        """Return the file that no process may be able to open which opens no key."""
        return self.path


@dataclass(frozen=True, slots=True)
class PassphraseCredential:
    """A credential of the unit. systemd guards the directory; the files' modes show its access
    list, not who may read.
    """

    name: str
    environment: Mapping[str, str]

    def read(self) -> Passphrase:
        """Read the passphrase."""
        directory = self.environment.get(CREDENTIALS_VARIABLE)
        if not directory:
            raise KeyFileError(
                f"there is no ${CREDENTIALS_VARIABLE}, so no credential {self.name!r}",
                cure=f"LoadCredential={self.name}:PATH in the unit, or key_passphrase_file",
            )
        return _read_file(Path(directory) / self.name, private=False)

    @property
    def secret_file(self) -> Path | None:
        """Return the file that no process may be able to open which opens no key."""
        return Path(directory) / self.name if (directory := self.environment.get(CREDENTIALS_VARIABLE)) else None


@dataclass(frozen=True, slots=True)
class PassphraseDescriptor:
    """An open descriptor: a pipe, a socket, a file. It can be read once."""

    number: int

    def read(self) -> Passphrase:
        """Read the passphrase."""
        try:
            read = Passphrase.read_from(self.number, f"descriptor {self.number}")
            if self.number > 2:
                os.close(self.number)
        except OSError as error:
            raise KeyFileError(
                f"descriptor {self.number} cannot be read: {said(error)}",
                cure=f"open it for this command, as in {self.number}<FILE",
            ) from error
        return read

    @property
    def secret_file(self) -> Path | None:
        """Return the file that no process may be able to open which opens no key."""
        return None


@dataclass(frozen=True, slots=True)
class PassphraseHeld:
    """One that was read already, and must last."""

    held: Passphrase

    def read(self) -> Passphrase:
        """Return a copy of the passphrase, since who opens a key wipes what it got."""
        if self.held.dropped:
            raise KeyFileError("this process gave the passphrase up, and opens no key any more", cure="report it")
        self.held.lock()  # this process may be another than the one that read it
        return self.held.copy()

    @property
    def secret_file(self) -> Path | None:
        """Return the file that no process may be able to open which opens no key."""
        return None

    def forget(self) -> None:
        """Forget it in this process, and in those that it forks from now on."""
        self.held.drop()


def hold(source: PassphraseSource | None) -> PassphraseSource | None:
    """Read now what can be read only once, for a process that may have to open the key again.

    Raises: KeyFileError.
    """
    return PassphraseHeld(source.read()) if isinstance(source, PassphraseDescriptor) else source


def _read_file(path: Path, *, private: bool) -> Passphrase:
    try:
        fd = open_given(path)
        try:
            status = os.fstat(fd)
            mode = status.st_mode
            if private and stat.S_ISREG(mode) and not is_private(status):
                raise KeyFileError(
                    f"the passphrase file {path} can be read by others (mode {stat.S_IMODE(mode):04o})",
                    cure=f"chmod 600 {path}",
                )
            return Passphrase.read_from(fd, f"the passphrase file {path}", lambda: await_given(fd, path))
        finally:
            os.close(fd)
    except OSError as error:
        raise KeyFileError(
            f"the passphrase file {path} cannot be read: {said(error)}", cure=cure_of_secret(error)
        ) from error
