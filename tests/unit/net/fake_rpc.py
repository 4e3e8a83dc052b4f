"""A CometBFT RPC without the node: recorded answers (tests/vectors/rpc.json), or whatever a test
wants it to send.
"""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

RECORDED: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors" / "rpc.json").read_text())
Answer = Callable[[str, dict[str, str]], Any]


def recorded(method: str, arguments: dict[str, str]) -> Any:
    """What the real node said."""
    if method == "commit":
        return RECORDED["commits"].get(arguments.get("height", ""), RECORDED["error"])
    return RECORDED[method]


class FakeRpc:
    """`with FakeRpc() as rpc:` answers at rpc.url.

    `answer(method, arguments)`: a document, or bytes sent as they are.
    """

    def __init__(self, answer: Answer = recorded) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                method = parts.path.strip("/")
                arguments = {name: values[0] for name, values in parse_qs(parts.query).items()}
                fake.asked.append((method, arguments))
                found = answer(method, arguments)
                if isinstance(found, bytes):
                    self.wfile.write(found)
                    return
                body = json.dumps(found).encode()
                self.send_response(500 if "error" in found else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "FakeRpc":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
