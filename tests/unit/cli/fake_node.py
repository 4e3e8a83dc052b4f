"""A node's control socket without the node: answers what a test says, and keeps what was asked."""

import json
import os
import socket
import threading
from pathlib import Path
from typing import Any


class FakeNode:
    """Listens at home/data/<id>/control.sock. `answer`: None closes the connection without one."""

    def __init__(self, home: Path, node_id: str, answer: dict[str, Any] | None) -> None:
        self.asked: list[dict[str, Any]] = []
        self._answer = answer
        folder = home / "data" / node_id
        folder.mkdir(parents=True, exist_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        handle = os.open(folder, os.O_PATH)
        try:
            # a test's folder is too long for sockaddr_un
            self._listener.bind(f"/proc/self/fd/{handle}/control.sock")
        finally:
            os.close(handle)
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb") as file:
                self.asked.append(json.loads(file.readline()))
                if self._answer is not None:
                    file.write(json.dumps(self._answer).encode() + b"\n")

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listener.close()
