"""Connections for a process that may make none: another one connects to what it was told of, and
hands the connection over.

So the signer needs neither unix sockets nor the right to reach other users' files, and a thief in
it reaches the configured validators' sockets and no other of the machine. And the process that
sends alerts needs no socket at all: it cannot even name an address.

    asked     number 4 | which of them 4
    answered  number 4 | errno 4, and the connected socket beside it where that is 0; below 0: a host's name leads nowhere (EAI_…)
"""

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Final

from cometkms.errors import InvariantError
from cometkms.limits import CONNECT_TIMEOUT_S
from cometkms.net.dial import unix_error, unix_failure

_ASKED: Final = struct.Struct("=II")
_ANSWERED: Final = struct.Struct("=Ii")
_GONE: Final = "the process that connects for this one is gone"
_NO_NAME: Final = {
    int(socket.EAI_NONAME): "name or service not known",
    int(socket.EAI_AGAIN): "no answer of the name servers",
}


def serve_dials(connection: socket.socket, paths: Sequence[str]) -> None:
    """Dial until the other end is gone, or asks for what it was not told of. It blocks."""
    _serve(connection, len(paths), lambda which: _dial_unix(paths[which]))


def serve_host(connection: socket.socket, host: str, port: int) -> None:
    """Connect to one TCP port of one host, of which every address is tried. Blocking, while names
    are looked up too."""
    _serve(connection, 1, lambda _: socket.create_connection((host, port), CONNECT_TIMEOUT_S))


def _serve(connection: socket.socket, count: int, dial: Callable[[int], socket.socket]) -> None:
    while len(asked := connection.recv(_ASKED.size + 1)) == _ASKED.size:
        number, which = _ASKED.unpack(asked)
        if which >= count:
            return
        try:
            dialled = dial(which)
        except OSError as error:
            wrong = error.errno if error.errno is not None else errno.ETIMEDOUT
            connection.send(_ANSWERED.pack(number, wrong))
            continue
        with dialled:
            socket.send_fds(connection, [_ANSWERED.pack(number, 0)], [dialled.fileno()])


def _dial_unix(path: str) -> socket.socket:
    dialled = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # one that does not accept is told at once, and keeps nobody else waiting
    dialled.setblocking(False)
    try:
        dialled.connect(path)
    except OSError as error:
        dialled.close()
        raise unix_failure(error, path) from error
    return dialled


class Dialer:
    """The other end, in an event loop. One question at a time; the answer to one that was given up
    is let go of."""

    def __init__(
        self, connection: socket.socket, paths: Sequence[str], *, timeout_s: float = CONNECT_TIMEOUT_S
    ) -> None:
        """`connection`: SOCK_SEQPACKET, to a process in serve_dials() with the same paths, or in
        serve_host(), whose one is called as one likes. `timeout_s`: of each connection; a name may
        have to be looked up."""
        connection.setblocking(False)
        self._timeout_s = timeout_s
        self._connection = connection
        self._numbers = {path: number for number, path in enumerate(paths)}
        self._asked = 0
        self._lock = asyncio.Lock()

    def knows(self, path: str) -> bool:
        """Whether the other process was told of it."""
        return path in self._numbers

    async def connect(self, path: str) -> socket.socket:
        """A connected non-blocking socket. Raises: OSError, TimeoutError; InvariantError when the
        other process is gone."""
        if path not in self._numbers:
            raise OSError(errno.EACCES, "this process may not dial it", path)
        async with self._lock, asyncio.timeout(self._timeout_s):
            self._asked = (self._asked + 1) & 0xFFFF_FFFF
            try:
                self._connection.send(_ASKED.pack(self._asked, self._numbers[path]))
            except BrokenPipeError:
                raise InvariantError(_GONE) from None
            except (
                BlockingIOError
            ):  # it looks a name up that nobody answers for, and has not taken the last questions yet
                raise TimeoutError from None
            while True:
                await self._readable()
                found = self._take(path)
                if found is not None:
                    return found

    def _take(self, path: str) -> socket.socket | None:
        """The answer, if it is to the newest question."""
        try:
            data, fds, _, _ = socket.recv_fds(self._connection, _ANSWERED.size + 1, 1)
        except ConnectionResetError:
            data, fds = b"", []
        if len(data) != _ANSWERED.size:
            for fd in fds:
                os.close(fd)
            raise InvariantError(_GONE)
        number, wrong = _ANSWERED.unpack(data)
        if number != self._asked or (wrong == 0) != (len(fds) == 1):
            for fd in fds:
                os.close(fd)
            return None
        if wrong < 0:
            raise socket.gaierror(wrong, _NO_NAME.get(wrong, "the name cannot be looked up"))
        if wrong:
            raise unix_error(wrong, path)
        dialled = socket.socket(fileno=fds[0])
        dialled.setblocking(False)
        return dialled

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        woken = loop.create_future()
        loop.add_reader(self._connection.fileno(), lambda: None if woken.done() else woken.set_result(None))
        try:
            await woken
        finally:
            loop.remove_reader(self._connection.fileno())
