"""Who writes beside the keys for the state process, which may not: a process that can replace the
state files and born.json, in priv/, too, and is asked for nothing else.

The process that faces the other nodes neither reads, replaces nor removes a key file, though its
state files lie beside them. What it asks for is checked like a stranger's word: strictly decoded,
of the configured chain, with a signature that verifies, never lower than what was written before.

    asked     which chain 1 | the state file's content          or   255 | epoch, decimal | , and for whom it is sealed: id,id,…
    answered  +, it is durable   or   what went wrong: S, a write failed; I, no honest process asks that; then words
"""

import contextlib
import os
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cometkms.core.interface import Core
from cometkms.durable import open_directory
from cometkms.errors import CometKMSError, InvariantError, StateError, StoreFailure, disk_failure, os_words
from cometkms.hardening.account import CAP_DAC_OVERRIDE, Account
from cometkms.hardening.children import Keeps, shut_child
from cometkms.hardening.measures import Measure, Mode
from cometkms.hardening.scheduling import Turn, take_turn
from cometkms.hardening.user import Whom
from cometkms.ipc.helper import Helper, start_helper
from cometkms.limits import STATE_FILE_MAX_BYTES
from cometkms.model import Watermark
from cometkms.store import state_file
from cometkms.store.epoch import following_of
from cometkms.store.home_born import BornFiles
from cometkms.store.lock import hold_home
from cometkms.store.marks import verified_state
from cometkms.store.node_files import ChainFiles, NodeFiles

PROCESS: Final = "writer"
_BORN: Final = 255
_ASKED_MAX_BYTES: Final = STATE_FILE_MAX_BYTES + 1
_ANSWERED_MAX_BYTES: Final = 4 << 10
_EPOCH_MAX: Final = (1 << 63) - 1


def start_writer(home: Path, files: NodeFiles, shut: Sequence[Path], mode: Mode, core: Core) -> "StateWriter":
    """Fork it, before the caller shuts itself off.

    It keeps another node out of the home as long as it lives. `shut`: the key files.

    Raises: HardeningError, StateError.
    """
    born = BornFiles(files)
    marks = [verified_state(files, chain, core) for chain in files.chains]
    try:
        folders = {path: open_directory(path) for path in born.folders}
    except OSError as error:
        raise StateError(f"{error.filename}: {os_words(error)}", cure="give it to the node's user") from error
    owners = {(os.fstat(fd).st_uid, os.fstat(fd).st_gid) for fd in folders.values()}
    uid, gid = min(owners) if len(owners) == 1 else (0, 0)
    whom = Whom(
        "",
        uid,
        account=Account(f"the owner of {', '.join(str(path) for path in folders)}", uid, gid),
        kept=frozenset({CAP_DAC_OVERRIDE}) if len(owners) > 1 else frozenset(),
        kept_for="only CAP_DAC_OVERRIDE: the directories that it writes in have several owners",
    )

    def shut_off() -> tuple[Measure, ...]:
        hold_home(home)
        keeps = Keeps(whom, replace=tuple(folders), code=False, shut=tuple(shut))
        turn = take_turn(PROCESS, mode, Turn.LATER)
        return (*shut_child(PROCESS, mode, os.getppid(), keeps), turn)

    def serve(connection: socket.socket) -> None:
        _Writer(files.chains, marks, folders, born, core).serve(connection)

    try:
        return StateWriter(start_helper(PROCESS, shut_off, serve, tuple(folders.values())), born.following)
    finally:
        for fd in folders.values():
            os.close(fd)


@dataclass(slots=True)
class _Writer:
    """The helper's own side. Blocking."""

    chains: Sequence[ChainFiles]
    marks: list[Watermark]  # what each file holds
    folders: dict[Path, int]
    born: BornFiles
    core: Core

    def serve(self, connection: socket.socket) -> None:
        """Serve until the other end is gone."""
        while asked := connection.recv(_ASKED_MAX_BYTES + 1):
            connection.send(self._answer(asked))

    def _answer(self, untrusted: bytes) -> bytes:
        try:
            if untrusted[0] == _BORN:
                self._write_born(untrusted[1:])
            else:
                self._write_mark(untrusted[0], untrusted[1:])
        except StoreFailure as error:
            return _told(b"S", disk_failure(error) or error)
        except (CometKMSError, ValueError) as error:
            return _told(b"I", error)
        return b"+"

    def _write_mark(self, which: int, untrusted: bytes) -> None:
        if which >= len(self.chains) or len(untrusted) > STATE_FILE_MAX_BYTES:
            raise ValueError("it asks for a file that there is not")
        chain = self.chains[which]
        mark = state_file.decode(untrusted, chain.row.chain_id, self.core.parse_sign_bytes)
        if mark.sign_bytes and not self.core.verify(chain.row.public_key, mark.sign_bytes, mark.signature):
            raise ValueError(f"a signature that does not verify was reported at {tuple(mark.hrs)}")
        if mark.hrs < self.marks[which].hrs:
            raise ValueError(f"{tuple(mark.hrs)} is below {tuple(self.marks[which].hrs)}, which the file holds")
        state_file.save(chain.state_path, mark, self.folders[chain.state_path.parent])
        self.marks[which] = mark

    def _write_born(self, untrusted: bytes) -> None:
        text, _, names = untrusted.decode("utf-8").partition(",")
        if not text.isascii() or not text.isdigit() or not 0 < int(text) <= _EPOCH_MAX:
            raise ValueError("it asks for an epoch that there is not")
        following, sealed = following_of(names) if names else (), self.born.seals(int(text))
        if sealed and following != sealed:
            raise ValueError(f"epoch {text} is sealed here for {', '.join(sealed)}, for ever")
        # which the store has had since the start: nothing is asked before that
        self.born.write(int(text), following, self.folders, begun=[chain.row for chain in self.chains])


def _told(kind: bytes, error: Exception) -> bytes:
    """What is wrong and what helps, apart: the error itself, and what is behind it, stay here."""
    what, cure = (error.what, error.cure) if isinstance(error, CometKMSError) else (str(error), "")
    return kind + f"{what}\0{cure}".encode("utf-8", "replace")[:_ANSWERED_MAX_BYTES]


class StateWriter:
    """The state process's side. Blocking; of any thread."""

    def __init__(self, helper: Helper, following: tuple[str, ...] = ()) -> None:
        """`following`: for whom the home's epoch is sealed, by its born.json; () when
        it does not say.
        """
        self.following = following
        self.measures = helper.measures
        self.pid = helper.pid
        self._connection = helper.connection
        self._lock = threading.Lock()

    def write(self, which: int, mark: Watermark) -> None:
        """Replace the state file of the chain with that number.

        Raises: StoreFailure, InvariantError.
        """
        self._ask(bytes([which]) + state_file.encode(mark))

    def write_born(self, epoch: int, following: tuple[str, ...] = ()) -> None:
        """Say beside every state file that this node was born here; `following`: and that its epoch
        is sealed for these.

        Raises: StoreFailure, InvariantError.
        """
        self._ask(bytes([_BORN]) + ",".join((str(epoch), *following)).encode())
        self.following = following

    def close(self) -> None:
        """The helper ends."""
        with contextlib.suppress(OSError):
            self._connection.close()

    def _ask(self, message: bytes) -> None:
        with self._lock:
            try:
                self._connection.send(message)
                answer = self._connection.recv(_ANSWERED_MAX_BYTES + 1)
            except OSError as error:
                raise InvariantError(f"the process that writes the state files is gone: {os_words(error)}") from error
        if answer == b"+":
            return
        what, _, cure = answer[1:].decode("utf-8", "replace").partition("\0")
        if answer[:1] == b"S":
            raise StoreFailure(what, cure=cure)
        raise InvariantError(what or "the process that writes the state files is gone")
