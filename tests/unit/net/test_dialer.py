"""Unix sockets dialled by another process: those that it was told of, and no other."""

import asyncio
import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cometkms.errors import InvariantError, os_words
from cometkms.net.dialer import Dialer, serve_dials, serve_host
from tests.unit.net.socket_places import make_places


@contextmanager
def dialled_by_another(*paths: str) -> Iterator[socket.socket]:
    """The connection to a dialer with these paths."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    thread = threading.Thread(target=serve_dials, args=(theirs, paths))
    thread.start()
    try:
        yield ours
    finally:
        ours.shutdown(socket.SHUT_RDWR)
        thread.join()
        ours.close()
        theirs.close()


@contextmanager
def validator(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(1)
        yield listener


def test_what_is_handed_over_is_the_connection_and_every_failure_has_its_name(tmp_path: Path) -> None:
    there, away = str(tmp_path / "v.sock"), str(tmp_path / "away.sock")

    async def main(connection: socket.socket, listener: socket.socket) -> None:
        dialer = Dialer(connection, (there, away))
        for _ in range(3):
            with await dialer.connect(there) as one:
                accepted, _ = listener.accept()
                accepted.send(b"hello")
                assert await asyncio.get_running_loop().sock_recv(one, 10) == b"hello"
                accepted.close()
        with pytest.raises(FileNotFoundError):
            await dialer.connect(away)
        with pytest.raises(PermissionError):
            await dialer.connect("/run/other.sock")
        assert (dialer.knows(there), dialer.knows("/run/other.sock")) == (True, False)

    with validator(tmp_path / "v.sock") as listener, dialled_by_another(there, away) as connection:
        asyncio.run(main(connection, listener))


def test_what_is_in_a_sockets_place_is_said_over_there_as_here(tmp_path: Path) -> None:
    places = make_places(tmp_path)

    async def main(connection: socket.socket) -> dict[str, str]:
        dialer, found = Dialer(connection, tuple(places)), {}
        for path in places:
            with pytest.raises(OSError) as failed:
                await dialer.connect(path)
            found[path] = os_words(failed.value)
        return found

    with dialled_by_another(*places) as connection:
        assert asyncio.run(main(connection)) == places


def test_one_that_accepts_nobody_keeps_nobody_waiting(tmp_path: Path) -> None:
    path = str(tmp_path / "v.sock")

    async def main(connection: socket.socket) -> list[str]:
        dialer, found = Dialer(connection, (path,)), []
        for _ in range(4):  # a backlog of one holds two
            try:
                found.append(await dialer.connect(path))
            except OSError as error:
                return [type(error).__name__]
        return ["all"]

    with validator(tmp_path / "v.sock"), dialled_by_another(path) as connection:
        assert asyncio.run(main(connection)) == ["BlockingIOError"]


def test_the_answer_to_a_question_that_was_given_up_is_nobody_elses(tmp_path: Path) -> None:
    first, second = str(tmp_path / "first.sock"), str(tmp_path / "second.sock")

    async def main(connection: socket.socket) -> bytes:
        dialer = Dialer(connection, (first, second))
        given_up = asyncio.create_task(dialer.connect(first))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        with await dialer.connect(second) as one:
            return await asyncio.get_running_loop().sock_recv(one, 10)

    with validator(tmp_path / "first.sock"), validator(tmp_path / "second.sock") as listener:

        def greet() -> None:
            accepted, _ = listener.accept()
            accepted.send(b"second")

        greeter = threading.Thread(target=greet)
        greeter.start()
        with dialled_by_another(first, second) as connection:
            assert asyncio.run(main(connection)) == b"second"
        greeter.join()


def test_whoever_asks_for_more_than_it_was_told_of_ends_it(tmp_path: Path) -> None:
    for asked in (struct.pack("=II", 1, 7), b"x", struct.pack("=II", 1, 0) + b"/etc/other"):
        with dialled_by_another(str(tmp_path / "v.sock")) as connection:
            connection.send(asked)
            connection.settimeout(20)
        # the thread ends: dialled_by_another() joins it


def test_a_dialer_that_is_gone_is_no_network_failure(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    async def main() -> None:
        dialer = Dialer(ours, ("/v",))
        task = asyncio.create_task(dialer.connect("/v"))
        await asyncio.sleep(0)
        theirs.close()
        with pytest.raises(InvariantError, match="gone"):
            await task
        with pytest.raises(InvariantError, match="gone"):
            await dialer.connect("/v")

    asyncio.run(main())
    assert os.path.exists(tmp_path)


@contextmanager
def called_by_another(host: str, port: int) -> Iterator[socket.socket]:
    """The connection to a process that connects to one host."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    thread = threading.Thread(target=serve_host, args=(theirs, host, port))
    thread.start()
    try:
        yield ours
    finally:
        ours.shutdown(socket.SHUT_RDWR)
        thread.join()
        ours.close()
        theirs.close()


def test_the_connection_to_a_host_is_handed_over_and_a_host_that_is_not_there_is_named() -> None:
    async def meet(connection: socket.socket, listener: socket.socket) -> None:
        with await Dialer(connection, ("it",)).connect("it"):
            accepted, _ = listener.accept()
            accepted.close()

    async def fail(connection: socket.socket) -> None:
        await Dialer(connection, ("it",), timeout_s=30).connect("it")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with called_by_another("localhost", port) as connection:
            asyncio.run(meet(connection, listener))
    with called_by_another("127.0.0.1", port) as connection, pytest.raises(ConnectionRefusedError):
        asyncio.run(fail(connection))
    with called_by_another("no-such-host.invalid", port) as connection, pytest.raises(socket.gaierror) as error:
        asyncio.run(fail(connection))
    assert os_words(error.value) in ("name or service not known", "no answer of the name servers")


def test_who_asks_for_another_number_gets_nothing_more() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with called_by_another("127.0.0.1", listener.getsockname()[1]) as connection:
            connection.send(struct.pack("=II", 1, 1))
            connection.settimeout(0.2)
            with pytest.raises(TimeoutError):
                connection.recv(64)
            connection.settimeout(None)
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
