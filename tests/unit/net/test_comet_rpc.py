"""Asking a node's RPC: its answer, its error, or a bounded failure with a cure.

Whatever is sent, nothing hangs and nothing grows.
"""

import socket
import threading
from collections.abc import Iterator

import pytest

from cometkms.errors import ConfigError, OperatorError
from cometkms.limits import RPC_ANSWER_MAX_BYTES
from cometkms.net.comet_rpc import RpcAddress, ask_rpc, parse_rpc
from tests.e2e.node import free_port
from tests.unit.net.fake_rpc import RECORDED, FakeRpc


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("http://10.0.0.1:26657", RpcAddress("10.0.0.1", 26657, "")),
        ("http://10.0.0.1", RpcAddress("10.0.0.1", 26657, "")),
        ("tcp://node:1/", RpcAddress("node", 1, "")),
        ("node:1", RpcAddress("node", 1, "")),
        ("http://[::1]:5/rpc/", RpcAddress("::1", 5, "/rpc")),
    ],
)
def test_an_address_may_be_written_as_nodes_write_it(text: str, address: RpcAddress) -> None:
    assert parse_rpc(text) == address
    assert parse_rpc(str(address)) == address


@pytest.mark.parametrize(
    "text",
    ["", "https://node:1", "ftp://node", "http://", "http://node:99999", "http://node:1?x=1", "http://me@node:1"],
)
def test_what_is_no_address_is_an_error_with_a_cure(text: str) -> None:
    with pytest.raises(ConfigError, match="cure: "):
        parse_rpc(text)


def test_the_answer_comes_back_with_the_nodes_date() -> None:
    with FakeRpc() as rpc:
        answer = ask_rpc(parse_rpc(rpc.url), "commit", height=7)
        assert answer.result == RECORDED["commits"]["7"]["result"]
        assert answer.date.endswith("GMT")
        assert rpc.asked == [("commit", {"height": "7"})]


def test_the_nodes_own_error_is_told_in_its_words() -> None:
    with FakeRpc() as rpc, pytest.raises(OperatorError, match="must be less than or equal to the current"):
        ask_rpc(parse_rpc(rpc.url), "commit", height=99999)


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"", "cure"),
        (b"no http at all\r\n\r\n", "cure"),
        (b"HTTP/1.0 200 OK\r\n\r\nno json", "no CometBFT RPC"),
        (b"HTTP/1.0 200 OK\r\n\r\n[]", "no CometBFT RPC"),
        (b'HTTP/1.0 200 OK\r\n\r\n{"result": 7}', "no CometBFT RPC"),
        (b"HTTP/1.0 200 OK\r\n\r\n" + b"[" * 200_000, "no CometBFT RPC"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 100\r\n\r\n{}", "cure"),
        (b"HTTP/1.0 200 OK\r\n\r\n" + b" " * (RPC_ANSWER_MAX_BYTES + 1), "more than"),
    ],
    ids=range(8),
)
def test_odd_answers_are_errors_in_words(sent: bytes, words: str) -> None:
    with FakeRpc(lambda *_: sent) as rpc, pytest.raises(OperatorError, match=words):
        ask_rpc(parse_rpc(rpc.url), "status")


@pytest.fixture
def dripping() -> Iterator[str]:
    """Sends a byte now and then, for ever: no single read times out."""
    listener = socket.create_server(("127.0.0.1", 0))
    stopping = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            for byte in b"HTTP/1.0 200 OK\r\n" + b"X: y\r\n" * 10_000:
                if stopping.wait(0.02):
                    return
                try:
                    connection.sendall(bytes([byte]))
                except OSError:
                    return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    stopping.set()
    thread.join(10)
    listener.close()


def test_an_answer_that_drips_ends_with_its_deadline(dripping: str) -> None:
    with pytest.raises(OperatorError, match="no whole answer within"):
        ask_rpc(parse_rpc(dripping), "status", timeout_s=0.3)


def test_nobody_there_is_said() -> None:
    with pytest.raises(OperatorError, match="refused"):
        ask_rpc(parse_rpc(f"127.0.0.1:{free_port()}"), "status")
