"""Who asks the HTTP port without end: its requests are answered in turn with everybody's, and a
monitor does not wait behind them.
"""

import contextlib
import os
import re
import signal
import socket
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.node import PATIENCE_S, Node, until

CROWD = 50
REQUEST = b"GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
LAST = REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
#: As many of the crowd's answers may be made before the monitor's; without turns it is one of each
#: connection, and more.
BEFORE_MAX = 10


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def connect(port: int, source: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), PATIENCE_S, source_address=(source, 0))


def read_answer(line: socket.socket) -> None:
    """One answer, whole. Raises: ConnectionError where the node ended the line before."""
    received = b""
    while not (head := re.search(rb"(?i)content-length: (\d+)[^\0]*?\r\n\r\n", received)) or len(
        received
    ) < head.end() + int(head[1]):
        part = line.recv(1 << 16)
        if not part:
            raise ConnectionResetError(f"closed after {len(received)} bytes")
        received += part


def made_at(line: socket.socket) -> list[float]:
    """When each answer was made that still comes, as the node says it: its uptime, in seconds.

    The node may cut the line.
    """
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while part := line.recv(1 << 16):
            received += part
    return [float(one) for one in re.findall(rb'"node":\{[^{}]*?"uptime_s":([0-9.]+)', received)]


@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.2"], ids=["the monitor's own address", "another address"])
def test_a_crowd_that_never_stops_asking_keeps_no_monitor_waiting(make_node: Callable[..., Node], source: str) -> None:
    """All is asked while the api process is frozen, the monitor last; then each answer tells when
    it was made.
    """
    node = make_node("tcp://127.0.0.1:1").start(wait=False)

    def one_round() -> tuple[float, list[float]] | None:
        """When the monitor's answer was made, and the crowd's; None if the machine took so long
        that the crowd was cut off, or the process, which has a core last, was replaced.
        """
        api = int(node.child("api")["pid"])
        try:
            answers = asked_while_frozen(api)
        except (ConnectionError, ProcessLookupError):
            return None
        return answers if int(node.child("api")["pid"]) == api else None

    def asked_while_frozen(api: int) -> tuple[float, list[float]] | None:
        with contextlib.ExitStack() as opened:
            crowd = []
            for _ in range(CROWD):  # each is accepted, and was answered before
                crowd.append(line := opened.enter_context(connect(node.http_port, source)))
                line.sendall(REQUEST)
                read_answer(line)
            with frozen(api):
                for line in crowd:
                    with contextlib.suppress(OSError):
                        line.sendall(REQUEST * 10 + LAST)
                monitor = opened.enter_context(connect(node.http_port, "127.0.0.1"))
                monitor.sendall(LAST)
            answered = made_at(monitor)
            after = [at for line in crowd for at in made_at(line)]
            return (answered[0], after) if answered and len(after) >= 4 * CROWD else None

    answered, crowd = until("a round in which the crowd was heard", one_round)
    assert sum(at <= answered for at in crowd) <= BEFORE_MAX
