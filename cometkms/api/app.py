"""The HTTP application: GET and HEAD of the status page, its stream, /healthz, /status and
/metrics. JSON for all that goes wrong. No socket here."""

import ipaddress
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from typing import Final, Protocol, cast

from cometkms.api import page
from cometkms.api.compose import compose_samples
from cometkms.api.metrics import encode
from cometkms.api.watch import Watch
from cometkms.board.sections import BoardReader
from cometkms.board.trouble import find_trouble
from cometkms.limits import STREAM_MAX_S
from cometkms.spared import spared

# The type of an annotation; errors as XML; files that are served.
with spared("http.cookiejar", "xml.etree.ElementTree", "falcon.routing.static"):
    import falcon
    import falcon.asgi

TEXT: Final = "text/plain; charset=utf-8"
HTML: Final = "text/html; charset=utf-8"
JSON: Final = "application/json"
STREAM: Final = "text/event-stream"
ALLOWED: Final = ("GET", "HEAD")
#: Where the server puts a connection's StreamBounds, in the state of a request's scope.
STREAM_BOUNDS: Final = "cometkms.stream_bounds"
_RETRY_MS: Final = 1000
_BUSY_RETRY_S: Final = 10

#: Told of an exception that is our fault, with the path it happened at.
OnFailure = Callable[[str, BaseException], None]


class StreamBounds(Protocol):
    """The server's hand on a connection whose response does not end at once."""

    def begin_stream(self) -> bool:
        """False: too many are watched already."""
        ...

    def progress(self) -> None:
        """What was sent before has left; the next piece has a request's time to leave."""
        ...


class Healthz:
    """200 `ok`, or 503 with the reasons in words, one a line."""

    def __init__(self, board: BoardReader, watch: Watch) -> None:
        self._board = board
        self._watch = watch

    async def on_get(self, _request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        trouble = find_trouble(self._board.sections(), self._board.beat_ages_s(), self._watch.now())
        response.status = falcon.HTTP_503 if trouble else falcon.HTTP_200
        response.data = ("\n".join(trouble) if trouble else "ok").encode()
        response.content_type = TEXT

    on_head = on_get


class Status:
    """The whole status as JSON: always 200, its `healthy` and `trouble` say what /healthz says."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    async def on_get(self, _request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        _document(response, self._watch.status())

    on_head = on_get


class Page:
    """The status page, whole."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    async def on_get(self, _request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        response.data = page.whole(self._watch.view()).encode()
        response.content_type = HTML
        response.set_header("Content-Security-Policy", page.POLICY)

    on_head = on_get


class Metrics:
    """What Prometheus scrapes, always 200: a process that is away leaves its part out."""

    def __init__(self, board: BoardReader, watch: Watch) -> None:
        self._board = board
        self._watch = watch

    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        sections: Mapping[str, object] = {**self._board.sections()}
        alerts = self._watch.raised()
        samples = compose_samples(sections, self._board.beat_ages_s(), self._watch.now(), alerts=alerts)
        response.data, response.content_type = encode(samples, request.get_header("Accept") or "")

    on_head = on_get


class Events:
    """The page's parts as server-sent events: all of them first, then those that changed, once a
    second and when something happens."""

    def __init__(self, watch: Watch, clock: Callable[[], float], on_failure: OnFailure) -> None:
        self._watch = watch
        self._clock = clock
        self._on_failure = on_failure

    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        bounds = cast("StreamBounds | None", request.scope.get("state", {}).get(STREAM_BOUNDS))
        if bounds is not None and not bounds.begin_stream():
            raise falcon.HTTPServiceUnavailable(retry_after=_BUSY_RETRY_S)
        response.sse = self._stream(bounds)

    async def on_head(self, _request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        response.content_type = STREAM

    async def _stream(self, bounds: StreamBounds | None) -> AsyncIterator[falcon.asgi.SSEvent]:
        shown: dict[str, str] = {}
        ends_at = self._clock() + STREAM_MAX_S
        while not self._watch.closed and self._clock() < ends_at:
            try:
                parts, now = self._watch.parts()
            except Exception as error:  # noqa: BLE001 - told to the log; the response has begun, so it can only end
                self._on_failure("/events", error)
                return
            news = {name: html for name, html in parts.items() if shown.get(name) != html}
            shown = parts
            if bounds is not None:
                bounds.progress()
            clock = datetime.fromtimestamp(now, UTC).strftime("%H:%M:%S")
            yield falcon.asgi.SSEvent(json={"clock": clock, **news}, retry=_RETRY_MS)
            await self._watch.next_turn()


class ReadOnly:
    """Middleware: a known path answers nothing but GET and HEAD, nothing may be cached, nothing is
    guessed from content.

    On a loopback address a request must also name that address (or localhost): a web page whose
    name was made to point at 127.0.0.1 (DNS rebinding) is another site, and its script gets nothing
    to read.
    """

    def __init__(self, *, loopback_only: bool) -> None:
        self._loopback_only = loopback_only

    async def process_request(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        response.set_header("X-Content-Type-Options", "nosniff")
        response.set_header("Referrer-Policy", "no-referrer")
        response.set_header("Cross-Origin-Resource-Policy", "same-origin")
        if self._loopback_only and not _is_address(request.get_header("Host") or ""):
            raise falcon.HTTPError(falcon.HTTP_421)

    async def process_resource(
        self, request: falcon.asgi.Request, response: falcon.asgi.Response, _resource: object, _params: object
    ) -> None:
        response.set_header("Cache-Control", "no-store")
        if request.method not in ALLOWED:
            raise falcon.HTTPMethodNotAllowed(ALLOWED)


def _is_address(untrusted_host: str) -> bool:
    """Whether a Host header names an address, or localhost, or nothing (HTTP/1.0): what no
    stranger's name can be."""
    host = untrusted_host.strip().lower()
    name, closed, _ = host[1:].partition("]") if host.startswith("[") else host.partition(":")
    if host.startswith("[") and not closed:
        return False
    if name in ("", "localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def make_app(
    board: BoardReader,
    on_failure: OnFailure,
    watch: Watch,
    *,
    loopback_only: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> "falcon.asgi.App[falcon.asgi.Request, falcon.asgi.Response]":
    """The ASGI application over `board` and who watches it. An exception reaches `on_failure` and
    never the client."""
    app = falcon.asgi.App(middleware=[ReadOnly(loopback_only=loopback_only)])
    app.add_route("/", Page(watch))
    app.add_route("/events", Events(watch, clock, on_failure))
    app.add_route("/healthz", Healthz(board, watch))
    app.add_route("/status", Status(watch))
    app.add_route("/metrics", Metrics(board, watch))
    app.set_error_serializer(_serialize_error)

    async def fail(
        request: falcon.asgi.Request,
        response: falcon.asgi.Response | None,
        error: BaseException,
        _params: object,
        **_websocket: object,
    ) -> None:
        on_failure(request.path, error)
        if response is not None:
            response.status = falcon.HTTP_500
            _document(response, {"error": "internal error; see the node's log"})

    app.add_error_handler(Exception, fail)
    return app


def _serialize_error(_request: falcon.asgi.Request, response: falcon.asgi.Response, error: falcon.HTTPError) -> None:
    """404, 405 and their like."""
    words = falcon.code_to_http_status(error.status).partition(" ")[2]
    _document(response, {"error": words.lower()})


def _document(response: falcon.asgi.Response, document: object) -> None:
    response.data = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    response.content_type = JSON
