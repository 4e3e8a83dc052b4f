"""The HTTP application: GET and HEAD of /healthz, /status and /metrics, JSON for everything that goes wrong. No socket here."""

import json
import time
from collections.abc import Callable, Mapping
from typing import Final

import falcon
import falcon.asgi

from cometkms.api.metrics import encode
from cometkms.api.process_use import read_use
from cometkms.api.samples import compose_samples
from cometkms.api.sections import BoardReader
from cometkms.api.status import compose_status, find_trouble

TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"
ALLOWED: Final = ("GET", "HEAD")

#: Told of an exception that is our fault, with the path it happened at.
OnFailure = Callable[[str, BaseException], None]


class Healthz:
    """200 `ok`, or 503 with the reasons in words, one a line."""

    def __init__(self, board: BoardReader) -> None:
        self._board = board

    async def on_get(self, _request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        trouble = find_trouble(self._board.sections(), self._board.beat_ages_s())
        response.status = falcon.HTTP_503 if trouble else falcon.HTTP_200
        response.data = ("\n".join(trouble) if trouble else "ok").encode()
        response.content_type = TEXT

    on_head = on_get


class Status:
    """The whole status as JSON: always 200, its `healthy` and `trouble` say what /healthz says."""

    def __init__(self, board: BoardReader, wall_clock: Callable[[], float]) -> None:
        self._board = board
        self._wall_clock = wall_clock

    async def on_get(self, _request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        _document(response, compose_status(self._board.sections(), self._board.beat_ages_s(), self._wall_clock()))

    on_head = on_get


class Metrics:
    """What Prometheus scrapes, always 200: a process that is away leaves its part out."""

    def __init__(self, board: BoardReader, wall_clock: Callable[[], float]) -> None:
        self._board = board
        self._wall_clock = wall_clock

    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        sections: Mapping[str, object] = {**self._board.sections()}
        samples = compose_samples(sections, self._board.beat_ages_s(), self._wall_clock(), use_of=read_use)
        response.data, response.content_type = encode(samples, request.get_header("Accept") or "")

    on_head = on_get


class ReadOnly:
    """Middleware: a known path answers nothing but GET and HEAD, and nothing may be cached."""

    async def process_resource(
        self, request: falcon.asgi.Request, response: falcon.asgi.Response, _resource: object, _params: object
    ) -> None:
        response.set_header("Cache-Control", "no-store")
        if request.method not in ALLOWED:
            raise falcon.HTTPMethodNotAllowed(ALLOWED)


def make_app(
    board: BoardReader, on_failure: OnFailure, wall_clock: Callable[[], float] = time.time
) -> "falcon.asgi.App[falcon.asgi.Request, falcon.asgi.Response]":
    """The ASGI application over `board`. An exception reaches `on_failure` and never the client."""
    app = falcon.asgi.App(middleware=[ReadOnly()])
    app.add_route("/healthz", Healthz(board))
    app.add_route("/status", Status(board, wall_clock))
    app.add_route("/metrics", Metrics(board, wall_clock))
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
