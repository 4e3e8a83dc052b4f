"""Unix sockets for a process that may make none: another one connects to those that it was told of, and hands the connection over.

So the signer needs neither sockets of that family nor the right to reach other users' files, and a thief in it reaches the configured
validators' sockets and no other of the machine.

    asked     number 4 | which path 4
    answered  number 4 | errno 4, and the connected socket beside it where that is 0
"""

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Sequence
from typing import Final

from cometkms.errors import InvariantError
from cometkms.limits import CONNECT_TIMEOUT_S

_ASKED: Final = struct.Struct("=II")
_ANSWERED: Final = struct.Struct("=Ii")


def serve_dials(connection: socket.socket, paths: Sequence[str]) -> None:
    """Until the other end is gone, or asks for what it was not told of. Blocking."""
    while len(asked := connection.recv(_ASKED.size + 1)) == _ASKED.size:
        number, which = _ASKED.unpack(asked)
        if which >= len(paths):
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dialled:
            dialled.setblocking(False)  # one that does not accept is told at once, and keeps nobody else waiting
            wrong = dialled.connect_ex(paths[which])
            answer = _ANSWERED.pack(number, wrong)
            if wrong:
                connection.send(answer)
            else:
                socket.send_fds(connection, [answer], [dialled.fileno()])


class Dialer:
    """The other end, in an event loop. One question at a time; the answer to one that was given up is let go of."""

    def __init__(self, connection: socket.socket, paths: Sequence[str]) -> None:
        """`connection`: SOCK_SEQPACKET, to a process in serve_dials() with the same paths."""
        connection.setblocking(False)
        self._connection = connection
        self._numbers = {path: number for number, path in enumerate(paths)}
        self._asked = 0
        self._lock = asyncio.Lock()

    def knows(self, path: str) -> bool:
        """Whether the other process was told of it."""
        return path in self._numbers

    async def connect(self, path: str) -> socket.socket:
        """A connected non-blocking socket. Raises: OSError, TimeoutError; InvariantError when the other process is gone."""
        if path not in self._numbers:
            raise OSError(errno.EACCES, "this process may not dial it", path)
        async with self._lock, asyncio.timeout(CONNECT_TIMEOUT_S):
            self._asked = (self._asked + 1) & 0xFFFF_FFFF
            try:
                self._connection.send(_ASKED.pack(self._asked, self._numbers[path]))
            except BrokenPipeError:
                raise InvariantError("the process that dials unix sockets is gone") from None
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
            raise InvariantError("the process that dials unix sockets is gone")
        number, wrong = _ANSWERED.unpack(data)
        if number != self._asked or (wrong == 0) != (len(fds) == 1):
            for fd in fds:
                os.close(fd)
            return None
        if wrong:
            raise OSError(wrong, os.strerror(wrong), path)
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
