"""A webhook's receiver for tests: plain or TLS, which answers as it is told to and
remembers what it got.
"""

import contextlib
import http.server
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

TLS = Path(__file__).parent / "tls"
#: The certificate that SSL_CERT_FILE must name, for localhost and no other name. Its key is in this
#: repository: trust it nowhere.
CERTIFICATE = TLS / "localhost.pem"


class Receiver(http.server.ThreadingHTTPServer):
    """`behave` decides what becomes of a request: "ok", "hang", "drip", "drop", "redirect",
    "garbage" or an HTTP status.
    """

    daemon_threads = True

    def __init__(self, *, tls: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behave = "ok"
        self.got: list[dict[str, Any]] = []  # bodies that were taken
        self.asked: list[str] = []  # paths of every request, whatever became of it
        self.scheme = "https" if tls else "http"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE, TLS / "key.pem")
            # The handshake is made in the request's own thread, at the first read: one that fails
            # keeps nobody else waiting.
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is what several tests are about."""

    def url(self, path: str = "/services/T0/SECRET", host: str = "localhost") -> str:
        return f"{self.scheme}://{host}:{self.server_address[1]}{path}"

    def alerts(self) -> list[dict[str, Any]]:
        """All notices that were taken, in their order."""
        return [one for body in list(self.got) for one in body["alerts"]]


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - http.server's name
        """Nothing on stderr."""

    def do_GET(self) -> None:
        self.server.asked.append(f"GET {self.path}")
        self._answer(200, b"this is not where it was sent")

    def do_POST(self) -> None:
        behave = self.server.behave
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append(self.path)
        if behave == "ok":
            self.server.got.append(json.loads(body))
            self._answer(200, b"ok")
        elif behave == "redirect":
            self.send_response(307)
            self.send_header("Location", "/elsewhere")
            self.end_headers()
        elif behave == "hang":
            self._while(lambda: None)
        elif behave == "drip":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            self._while(lambda: self.wfile.write(b"X-More: of it\r\n") and self.wfile.flush())
        elif behave == "garbage":
            self.wfile.write(b"\x00\x01\x02 not a web server\r\n\r\n")
        elif behave == "endless":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            with contextlib.suppress(OSError):
                for _ in range(4096):
                    self.wfile.write(b"X-More: " + b"x" * 1000 + b"\r\n")
        elif behave == "busy":
            self.send_response(429)
            self.send_header("Retry-After", "2")
            self.end_headers()
        elif behave == "escapes":
            self._answer(500, b"a\x1b[2Jb")
        elif behave != "drop":
            self._answer(int(behave), b"no_service")

    def _while(self, each: Callable[[], object]) -> None:
        """As long as it is told to, and the client is there."""
        behave = self.server.behave
        with contextlib.suppress(OSError):
            while self.server.behave == behave:
                each()
                time.sleep(0.05)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextlib.contextmanager
def receiver(*, tls: bool = False) -> Iterator[Receiver]:
    """One that serves until the end of the block."""
    with Receiver(tls=tls) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.behave = "ok"
            server.shutdown()
            thread.join()
