"""The demo's nodes, as they are asked from outside while they are killed."""

import socket
import threading

import pytest

from cometkms.operator.demo.nodes import _fetch


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"healthy": 1}', {"healthy": 1}),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 15999\r\n\r\n{"healthy": 1}', {}),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 15999\r\n\r\n", {}),
        (b"HTTP/1.1 200 OK\r\n\r\n{", {}),
        (b"HTTP/1.1 2", {}),
        (b"something else\r\n\r\n", {}),
        (b"", {}),
    ],
)
def test_a_node_that_is_killed_within_its_answer_has_said_nothing(answer: bytes, found: dict[str, int]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(answer)

        serving = threading.Thread(target=serve)
        serving.start()
        try:
            assert _fetch(f"http://127.0.0.1:{listening.getsockname()[1]}/status") == found
        finally:
            serving.join()
