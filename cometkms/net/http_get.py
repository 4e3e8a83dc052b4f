"""GET over plain HTTP from a server that may be anybody: a bounded answer, and one deadline for all
of it."""

import contextlib
import http.client
import socket
import threading
import time
from typing import Final

_PART_BYTES: Final = 64 << 10


def get(host: str, port: int, path: str, timeout_s: float, most: int) -> tuple[int, str, bytes]:
    """Status, Date header and body. The watch closes the socket when time is up, at whatever byte
    it stands.

    Raises: TimeoutError; OSError, also for a body of more than `most` bytes;
    http.client.HTTPException for what is no HTTP.
    """
    deadline = time.monotonic() + timeout_s
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    watch: threading.Timer | None = None
    try:
        connection.connect()
        watch = threading.Timer(max(0.0, deadline - time.monotonic()), _shut, (connection.sock,))
        watch.daemon = True
        watch.start()
        connection.request("GET", path, headers={"Connection": "close", "Accept": "application/json"})
        answer = connection.getresponse()
        body = bytearray()
        while part := answer.read(_PART_BYTES):
            body += part
            if len(body) > most:
                raise OSError(None, f"the answer has more than {most} bytes")
        if time.monotonic() >= deadline:
            raise TimeoutError
        return answer.status, answer.getheader("Date") or "", bytes(body)
    except (OSError, http.client.HTTPException) as error:
        if time.monotonic() >= deadline:
            raise TimeoutError from error
        raise
    finally:
        if watch is not None:
            watch.cancel()
        connection.close()


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
