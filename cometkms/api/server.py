"""Serve the application with uvicorn inside a loop that is already running, on a socket of our own,
within bounds.

Why not `uvicorn.run`: signals belong to the child's own loop, an address in use must be an error
that names the setting, and a stranger who sends half a request, or none, must neither hold a
connection for ever nor all of them.
"""

import asyncio
import contextlib
import ipaddress
import logging
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Final

from cometkms.api.app import STREAM_BOUNDS
from cometkms.api.turns import Turns
from cometkms.limits import STREAMS_MAX
from cometkms.net.listen import HTTP_CURE as CURE
from cometkms.net.listen import listen
from cometkms.spared import spared

_NOT_USED: Final = (
    "uvicorn.main",  # its command line and the processes that this starts …
    "logging.config",  # … its log files …
    "configparser",  # … and what they may be configured with
    "uvicorn._types",  # of annotations
    "uvicorn.middleware.asgi2",  # applications of other kinds, and a proxy before ours
    "uvicorn.middleware.message_logger",
    "uvicorn.middleware.proxy_headers",
    "uvicorn.middleware.wsgi",
    "email._parseaddr",  # of mail: only a date is written in its form
    "email.charset",
)
with spared(*_NOT_USED):
    import uvicorn.config
    import uvicorn.server
    from uvicorn.protocols.http.h11_impl import H11Protocol

#: Connections at once; a monitor needs one. Over it, one that asks nothing makes room, of whoever
#: has the most.
CONNECTIONS_MAX: Final = 64
#: Of them, as many of this machine's own stay whatever comes from elsewhere.
LOCAL_CONNECTIONS: Final = 8
#: What a request may say that it speaks; the application takes nothing else for HTTP.
HTTP_VERSIONS: Final = frozenset({"1.0", "1.1"})
#: One request and its response, waiting for it included: no reader of a status page needs longer.
REQUEST_TIMEOUT_S: Final = 5.0
KEEP_ALIVE_S: Final = 5
#: Request line and headers together; a browser sends about 1 KiB.
HEADERS_MAX_BYTES: Final = 16 << 10
#: For responses under way when the process stops; below STOP_TIMEOUT_S.
GRACE_S: Final = 1
#: How old the Date of a response may be.
_DATE_S: Final = 1.0


def bind(host: str, port: int) -> socket.socket:
    """The socket that HTTP is served on. Raises: BusyError, ConfigError."""
    return listen("http_addr", host, port, CURE)


def is_loopback(listener: socket.socket) -> bool:
    """Whether only this machine can reach it."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


class BoundedH11(H11Protocol):
    """uvicorn's HTTP/1.1 with what it lacks: a cap on connections, and a deadline for each request
    and its response.

    A stream (/events) has a cap of its own, and each of its pieces the deadline of a request: who
    does not read is cut off.
    """

    _deadline: asyncio.TimerHandle | None = None
    _streams = False
    _gone = False  # closed to make room; the loop has not said so yet
    _waits_since = 0.0  # loop time: of its last answer, or of the connection
    last_turn = 0  # see turns.Guest
    turns: Turns  # of its server

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        # the application finds it in its scope's state
        self.app_state = {**self.app_state, STREAM_BOUNDS: self}
        if len(self.connections) > CONNECTIONS_MAX and not self._make_room():
            transport.abort()
        else:
            self._restart_deadline()

    @property
    def address(self) -> str:
        """Return the address whose connections take turns as one."""
        return self.client[0] if self.client else ""

    @property
    def is_local(self) -> bool:
        """Tell whether the connection comes from this machine."""
        return self.address.startswith("127.") or self.address in ("::1", "")

    @property
    def _is_idle(self) -> bool:
        """No request of it is being answered."""
        return not self._streams and (self.cycle is None or self.cycle.response_complete)

    def _make_room(self) -> bool:
        """Close the connection that has asked nothing for longest, of the address that has the
        most; or, of another address than this one's, whatever it has had for longest; or, of its
        own, one that was answered and asks on. Else a stranger with connections that are idle, or
        never are, would lock every monitor out. A few of this machine's own make room for each
        other only."""
        others = [one for one in self.connections if isinstance(one, BoundedH11) and one is not self and not one._gone]
        if not self.is_local and sum(one.is_local for one in others) <= LOCAL_CONNECTIONS:
            others = [one for one in others if not one.is_local]
        count = Counter(one.address for one in others)
        most = max(count.values(), default=0)
        candidates = [one for one in others if count[one.address] == most]
        idle = [one for one in candidates if one._is_idle] or [one for one in others if one._is_idle]
        strange = [one for one in candidates if one.address != self.address]
        asks_on = [one for one in candidates if one.last_turn and not one._streams]
        found = min(idle or strange or asks_on, key=lambda one: one._waits_since, default=None)
        if found is not None:
            found._gone = True
            found.transport.abort()
        return found is not None

    def begin_stream(self) -> bool:
        """Count one more stream, and return False where too many are watched already."""
        others = sum(isinstance(one, BoundedH11) and one._streams for one in self.connections)
        self._streams = self._streams or others < STREAMS_MAX
        return self._streams

    def progress(self) -> None:
        """Give the next piece a request's time to leave, since the one before has left."""
        if not self.transport.is_closing():
            self._restart_deadline()

    def on_response_complete(self) -> None:
        self._streams = False
        self._restart_deadline()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self.turns.leave(self)
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def _restart_deadline(self) -> None:
        """The next request must arrive, and its response leave, before it: arriving bytes do not
        move it."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._waits_since = self.loop.time()
        self._deadline = self.loop.call_later(REQUEST_TIMEOUT_S, self.transport.abort)


class _Server(uvicorn.server.Server):
    """Leaves the process's signals to the process, says when it answers, and waits for its end
    instead of looking ten times a second."""

    def __init__(self, config: uvicorn.config.Config, ready: Callable[[], None], stop: asyncio.Event) -> None:
        super().__init__(config)
        self._ready = ready
        self._stop = stop

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def main_loop(self) -> None:
        while not self._stop.is_set():
            await self.on_tick(0)  # the date
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_DATE_S):
                    await self._stop.wait()


class _Forward(logging.Handler):
    """uvicorn's own complaints: what strangers send is not worth a line, what is broken is."""

    def __init__(self, on_error: Callable[[str], None]) -> None:
        super().__init__(logging.ERROR)
        self._on_error = on_error

    def emit(self, record: logging.LogRecord) -> None:
        self._on_error(record.getMessage())


async def _refuse_version(send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    """Answer 505: a request line may name any version."""
    headers = [(b"content-type", b"text/plain"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 505, "headers": headers})
    await send({"type": "http.response.body", "body": b"HTTP/1.1 is spoken here\n"})


async def serve(
    app: Any,  # an ASGI application: whatever uvicorn takes
    listener: socket.socket,
    stop: asyncio.Event,
    ready: Callable[[], None],
    on_error: Callable[[str], None],
) -> None:
    """Serve `app` on `listener` (closed at the end) until `stop` is set.

    ready: called once requests are being answered. on_error: told what uvicorn itself finds broken.
    """
    logger = logging.getLogger("uvicorn.error")
    logger.handlers = [_Forward(on_error)]
    logger.propagate = False
    order = Turns()

    class _Connection(BoundedH11):
        """Speak HTTP on one connection of this server, in its order of turns."""

        turns = order

    async def in_turn(scope: Any, receive: Any, send: Any) -> None:
        if await order.wait(scope["state"][STREAM_BOUNDS]):
            spoken = scope["http_version"] in HTTP_VERSIONS
            await (app(scope, receive, send) if spoken else _refuse_version(send))

    config = uvicorn.config.Config(
        in_turn,
        http=_Connection,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        h11_max_incomplete_event_size=HEADERS_MAX_BYTES,
    )
    await _Server(config, ready, stop).serve([listener])
