"""The operator's door to a running node: a unix socket in its home, owner only; one JSON line
asked, one answered.

The file's mode (0600, in a directory of mode 0700) and the kernel's word on who connects
(SO_PEERCRED) are the authentication.
"""

import asyncio
import contextlib
import errno
import json
import os
import socket
import stat
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from cometkms.errors import OTHER_USER_CURE, BusyError, OperatorError, disk_failure, os_words
from cometkms.limits import CONTROL_TIMEOUT_S
from cometkms.logger import Logger

REQUEST_MAX_BYTES: Final = 4 << 10
ANSWER_MAX_BYTES: Final = 256 << 10
#: Of a node whose socket was removed, when the spare one is used up.
NO_SPARE_CURE: Final = "restart this node if nothing else is gone from its directory, and leave its socket alone"
_CONNECTIONS_MAX: Final = 8
_LEFT_FOR_SENDING_S: Final = 0.2  # of CONTROL_TIMEOUT_S
_CREDENTIALS: Final = struct.Struct("iII")  # pid, uid, gid

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class NoNodeError(OperatorError):
    """Nobody listens at a node's socket: no node runs there, or its state process is away."""


class NoAnswerError(OperatorError):
    """Somebody listens there and does not answer in time: a state process that hangs, or is
    frozen.
    """


@contextlib.contextmanager
def _short_name(path: Path) -> Any:
    """A name for the socket that fits sockaddr_un, however deep the home lies."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def listen_control(path: Path) -> socket.socket:
    """The socket, its owner's only. The store's lock says that no other node lives here, so one
    that is there is a dead one's.

    Raises: BusyError.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        listener.setblocking(False)
        with _short_name(path) as name:
            listener.bind(name)
        listener.listen(_CONNECTIONS_MAX)
    except OSError as error:
        listener.close()
        cure = f"the node's user must be able to write {path.parent}" if isinstance(error, PermissionError) else ""
        if os.path.lexists(path):
            cure = "move away what is there: the socket is made anew"
        raise BusyError(f"{path} cannot be listened on: {os_words(error)}", cure=cure) from error
    finally:
        os.umask(mask)
    return listener


def spare_path(path: Path) -> Path:
    """The name of the spare socket until it is needed."""
    return path.with_name(f".{path.name}")


def listen_spare(path: Path, log: Logger) -> socket.socket | None:
    """Make a second socket beside the one at `path`, for a process that may make none later: it
    gets that name if the first one is removed. It listens already: whoever takes the process over
    cannot connect it to anything. None: it cannot be made, which is said, and nobody needs it yet.
    """
    try:
        return listen_control(spare_path(path))
    except BusyError as error:
        why, what = error.what, "one that is removed is not put back before this node was started anew"
        log.warning("there is no spare control socket", why=why, what=what, cure=error.cure)
    return None


class ControlServer:
    """Answers one request per connection."""

    def __init__(
        self,
        path: Path,
        handle: Handler,
        log: Logger,
        quiet: frozenset[str] = frozenset(),
        listener: socket.socket | None = None,
        spare: socket.socket | None = None,
    ) -> None:
        """`quiet`: operations that are asked so often that the log does not name them. `listener`,
        `spare`: made already, for one that may not."""
        self._path = path
        self._listener = listener
        self._spare = spare
        self._shown = str(path.absolute())
        self._why = ""
        self._quiet = quiet
        self._handle = handle
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._made: os.stat_result | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Answer. Raises: BusyError."""
        self._take(self._listener or listen_control(self._path))

    def _take(self, listener: socket.socket) -> None:
        """Answer at this one, which has the name, from now on."""
        self._let_go()
        with contextlib.suppress(OSError):  # removed already: the next look sees it
            self._made = os.lstat(self._path)
        self._socket = listener
        self._loop.add_reader(listener.fileno(), self._on_acceptable)

    def _let_go(self) -> None:
        if self._socket is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def look(self) -> None:
        """Put the spare socket where the name of this one is gone, and say once an episode what
        became of it. Never raises.
        """
        if self._socket is None:
            return
        why, cure = self._look_at_name()
        if why and why != self._why:
            self._log.error("the control socket is gone", file=self._shown, why=why, cure=cure)
        self._why = why

    def _look_at_name(self) -> tuple[str, str]:
        """Why nobody can ask this node, and the cure; ("", ""): everybody can."""
        try:
            there = os.lstat(self._path)
        except FileNotFoundError:
            return self._take_spare()
        except OSError:  # of a disk that fails, say: it is looked at again
            return self._why, ""
        if self._made is not None and os.path.samestat(there, self._made):
            return "", ""
        what = "another socket" if stat.S_ISSOCK(there.st_mode) else "something else"
        return f"{what} is in its place", "move away what is there: the node puts its spare one there"

    def _take_spare(self) -> tuple[str, str]:
        gone = "it was removed, and there is no spare one"
        if self._spare is None:
            return gone, NO_SPARE_CURE
        try:
            spare_path(self._path).rename(self._path)
        except FileNotFoundError:
            return gone, NO_SPARE_CURE
        except OSError as error:
            failure = disk_failure(error)
            cure = failure.cure if failure else "give its directory back to the node's user: the node puts it back"
            return f"it was removed, and cannot be put back: {os_words(error)}", cure
        self._take(self._spare)
        self._spare = None
        self._log.warning(
            "the control socket was removed, and the spare one is in its place",
            file=self._shown,
            cure="leave it alone while a node runs: `cmkms peers`, `leader` and `drill` ask there",
        )
        return "", ""

    async def stop(self) -> None:
        """Close and remove the socket; what is in its place stays."""
        if self._socket is not None:
            self._let_go()
            with contextlib.suppress(OSError):
                self._path.unlink()
        if self._spare is not None:
            self._spare.close()
            with contextlib.suppress(OSError):
                spare_path(self._path).unlink()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _on_acceptable(self) -> None:
        if self._socket is None:
            return
        try:
            connection, _ = self._socket.accept()
        except OSError:
            return
        _, uid, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        if uid not in (0, os.getuid()) or len(self._tasks) >= _CONNECTIONS_MAX:
            self._log.warning("control connection refused", uid=uid, open=len(self._tasks))
            connection.close()
            return
        connection.setblocking(False)
        task = self._loop.create_task(self._serve(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: socket.socket) -> None:
        try:
            async with asyncio.timeout(CONTROL_TIMEOUT_S):
                line = b""
                while not line.endswith(b"\n"):
                    received = await self._loop.sock_recv(connection, REQUEST_MAX_BYTES)
                    line += received
                    if not received or len(line) > REQUEST_MAX_BYTES:
                        return
                answer = await self._in_time(line)
                await self._loop.sock_sendall(connection, json.dumps(answer).encode() + b"\n")
        except (OSError, TimeoutError):
            return
        finally:
            connection.close()

    async def _in_time(self, line: bytes) -> dict[str, Any]:
        """The answer, or that there is none yet: who asked is never left with a connection that is
        closed without a word."""
        try:
            async with asyncio.timeout(CONTROL_TIMEOUT_S - _LEFT_FOR_SENDING_S):
                return await self._answer(line)
        except TimeoutError:
            return {
                "ok": False,
                "error": f"the node did not get it done within {CONTROL_TIMEOUT_S:g} s; it may still be",
            }

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line.decode())
        except (ValueError, RecursionError):
            request = None
        if not isinstance(request, dict):
            return {"ok": False, "error": "a request is one JSON object"}
        operation = str(request.get("op"))[:64]
        if operation not in self._quiet:
            self._log.info("control", op=operation)
        return await self._handle(request)


def ask(path: Path, request: dict[str, Any], timeout_s: float = CONTROL_TIMEOUT_S + 1) -> dict[str, Any]:
    """One request to the node whose socket this is; its answer. Blocking.

    Raises: NoNodeError when nobody listens there; OperatorError when it does not answer, or says
    no.
    """
    received = b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            with _short_name(path) as name:
                connection.connect(name)
            connection.sendall(json.dumps(request).encode() + b"\n")
            while not received.endswith(b"\n") and len(received) <= ANSWER_MAX_BYTES:
                part = connection.recv(64 << 10)
                if not part:
                    break
                received += part
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR):
            raise NoNodeError(
                f"no node runs at {path.parent}", cure="start it there, or give --home and --id of the one that runs"
            ) from error
        denied = isinstance(error, PermissionError)
        cure = OTHER_USER_CURE if denied else "`cmkms status` says what the node's processes do"
        if isinstance(error, TimeoutError):
            raise NoAnswerError(f"{path}: it did not answer in time", cure=cure) from error
        raise OperatorError(f"{path}: {os_words(error)}", cure=cure) from error
    try:
        answer = json.loads(received)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise OperatorError(f"{path}: the node closed the connection without an answer")
    if not answer.get("ok"):
        raise OperatorError(str(answer.get("error", "the node refused")))
    return answer
