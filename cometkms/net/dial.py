"""Connect to a validator: non-blocking sockets with the options a signer needs. No protocol
here."""

import asyncio
import errno
import os
import socket
import stat
from typing import Any, Final

from cometkms.errors import WordedError
from cometkms.limits import CONNECT_TIMEOUT_S
from cometkms.net.target import Target, UnixTarget

_KEEPALIVE_IDLE_S = 5
_KEEPALIVE_INTERVAL_S = 2
_KEEPALIVE_PROBES = 3
_USER_TIMEOUT_MS = 10_000  # unacknowledged bytes: the peer is gone
#: What may be at a unix socket's path in its place, by a number that no dialled socket fails with.
_IN_PLACE: Final = {
    errno.EISDIR: "it is no socket, but a directory",
    errno.ENOTSOCK: "it is no socket, but a file",
    errno.ENODEV: "it is no socket, but a FIFO or a device",
    errno.ENOLINK: "it is no socket, but a link to where nothing is",
}


class NoSocketError(WordedError):
    """Something else is at the path of a unix socket: nobody who starts there makes one."""


def unix_error(number: int, path: str) -> OSError:
    """The error of that number, of a dialled unix socket."""
    if number in _IN_PLACE:
        return NoSocketError(number, _IN_PLACE[number], path)
    return OSError(number, os.strerror(number), path)


def unix_failure(error: OSError, path: str) -> OSError:
    """Why no connection to a unix socket was made: the kernel says "connection refused" of a file
    and of a directory, too. What cannot be seen is left to its words.
    """
    number = _in_place(path)
    return unix_error(number, path) if number else error


def _in_place(path: str) -> int:
    """The number of what is there in a socket's place; 0: nothing, or one, or it cannot be seen."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - the path is a validator's, as it was given
    except FileNotFoundError:
        return errno.ENOLINK if os.path.islink(path) else 0  # noqa: PTH114
    except (OSError, ValueError):
        return 0
    if stat.S_ISSOCK(mode):
        return 0
    kinds = {stat.S_IFDIR: errno.EISDIR, stat.S_IFREG: errno.ENOTSOCK}
    return kinds.get(stat.S_IFMT(mode), errno.ENODEV)


def limit_segment(connection: socket.socket, max_segment: int) -> None:
    """Packets of that many bytes of data at most, in both directions: the other end is told so when
    the connection is made. 0: no limit.

    For a TCP socket that is not connected yet; a listening one hands it on to those it accepts.
    """
    if max_segment:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, max_segment)


async def connect(target: Target, max_segment: int = 0) -> socket.socket:
    """A connected non-blocking socket. Every address of a name is tried in turn. `max_segment`: see
    limit_segment().

    Raises: OSError (TimeoutError included, after CONNECT_TIMEOUT_S for each attempt).
    """
    if isinstance(target, UnixTarget):
        try:
            return await _connect(socket.AF_UNIX, target.path)
        except OSError as error:
            raise unix_failure(error, target.path) from error
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(CONNECT_TIMEOUT_S):
        found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    failure = OSError(f"{target.host} has no address")
    for family, _, _, _, address in found:
        try:
            return await _connect(family, address, max_segment)
        except OSError as error:
            failure = error
    raise failure


# `Any`: what getaddrinfo() gives and connect() takes differs by family.
async def _connect(family: int, address: Any, max_segment: int = 0) -> socket.socket:
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        if family != socket.AF_UNIX:
            _set_tcp_options(connection)
            limit_segment(connection, max_segment)
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await asyncio.get_running_loop().sock_connect(connection, address)
    except BaseException:
        connection.close()
        raise
    return connection


def _set_tcp_options(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_INTERVAL_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_PROBES)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
