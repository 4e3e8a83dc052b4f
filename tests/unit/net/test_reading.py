"""A connection that is reset behind its last bytes ends in the turn in which these are read."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable

import pytest
import uvloop

from cometkms.net.reading import to_the_end


def tcp() -> tuple[socket.socket, socket.socket]:
    """Two ends of a connection."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        one = socket.create_connection(listener.getsockname())
        return one, listener.accept()[0]


def reset(other: socket.socket) -> None:
    other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    other.close()


def leave_unread(other: socket.socket) -> None:
    """Who closes a unix socket with bytes unread resets it."""
    other.close()


@pytest.mark.parametrize("loop_of", [uvloop.new_event_loop, asyncio.new_event_loop])
@pytest.mark.parametrize(("pair", "end"), [(tcp, reset), (socket.socketpair, leave_unread)], ids=["tcp", "unix"])
def test_what_was_sent_before_a_reset_is_read_and_then_the_end(
    loop_of: Callable[[], asyncio.AbstractEventLoop],
    pair: Callable[[], tuple[socket.socket, socket.socket]],
    end: Callable[[socket.socket], None],
) -> None:
    found: list[bytes] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        one, other = pair()
        one.setblocking(False)

        def on_readable() -> None:
            try:
                found.append(one.recv(2))
            except OSError:
                found.append(b"")
            if not found[-1]:
                loop.remove_reader(one.fileno())
                one.close()

        one.send(b"not read")
        other.send(b"last")
        end(other)
        loop.add_reader(one.fileno(), to_the_end(one, on_readable))
        async with asyncio.timeout(20):
            while one.fileno() >= 0:
                await asyncio.sleep(0.001)

    with contextlib.closing(loop_of()) as loop:
        loop.run_until_complete(run())
    assert found[-1] == b""
    assert b"last".startswith(b"".join(found))


def test_an_open_connection_is_read_once_each_time() -> None:
    one, other = tcp()
    with one, other:
        calls: list[int] = []
        read = to_the_end(one, lambda: calls.append(1))
        read()
        other.shutdown(socket.SHUT_WR)  # it sends no more, and reads on
        read()
        assert len(calls) == 2


def test_who_has_taken_its_reader_away_is_not_asked_again() -> None:
    one, other = tcp()
    reset(other)
    with one:
        calls: list[int] = []
        to_the_end(one, lambda: calls.append(1), paused=lambda: len(calls) == 3)()
        assert len(calls) == 3
