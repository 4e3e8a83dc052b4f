"""The server on real sockets: binding, bounds on strangers, stopping.

Deadlines are shortened, never measured.
"""

import asyncio
import http.client
import socket
from contextlib import asynccontextmanager

import pytest

from cometkms.api import server
from cometkms.api.app import make_app
from cometkms.errors import BusyError

from .boards import FakeBoard

PATIENCE_S = 120


@asynccontextmanager
async def running(board=None):
    """The application over a board; `look()` of its watch is the test's."""
    listener = server.bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    stop, ready, errors = asyncio.Event(), asyncio.Event(), []
    board = board or FakeBoard()
    board.watched = board.watch()
    app = make_app(board, lambda path, error: errors.append((path, error)), board.watched)
    task = asyncio.create_task(server.serve(app, listener, stop, ready.set, errors.append))
    await asyncio.wait_for(ready.wait(), PATIENCE_S)
    try:
        yield port
    finally:
        board.watched.close()
        stop.set()
        await asyncio.wait_for(task, PATIENCE_S)
        assert errors == [], errors
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


async def ask(port, raw):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    reply = await asyncio.wait_for(reader.read(), PATIENCE_S)
    writer.close()
    return reply


async def until_closed(reader):
    """All that still comes; an abort counts as the end."""
    try:
        return await asyncio.wait_for(reader.read(), PATIENCE_S)
    except ConnectionResetError:
        return b""


def test_it_answers_over_a_socket_and_stops_when_told():
    async def scenario():
        async with running() as port:
            reply = await ask(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert reply.startswith(b"HTTP/1.1 200")
            assert reply.endswith(b"\r\n\r\nok")
            assert b"server:" not in reply.lower()

    asyncio.run(scenario())


def test_one_connection_serves_several_requests():
    async def scenario():
        async with running() as port:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)

            def twice():
                replies = []
                for _ in range(2):
                    connection.request("GET", "/healthz")
                    replies.append(connection.getresponse().read())
                connection.close()
                return replies

            assert await asyncio.to_thread(twice) == [b"ok", b"ok"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"GET /status HT",
        b"GET /status HTTP/1.1\r\nHost: x\r\nX: ",
        b"POST /status HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab",
    ],
    ids=["nothing", "half a line", "half a header", "half a body"],
)
def test_a_stranger_who_stalls_is_cut_off_at_the_deadline(monkeypatch, raw):
    monkeypatch.setattr(server, "REQUEST_TIMEOUT_S", 0.3)

    async def scenario():
        async with running() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(raw)
            await until_closed(reader)
            assert reader.at_eof() or reader.exception() is not None
            writer.close()

    asyncio.run(scenario())


def test_bytes_that_trickle_do_not_move_the_deadline(monkeypatch):
    monkeypatch.setattr(server, "REQUEST_TIMEOUT_S", 0.3)

    async def scenario():
        async with running() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /status HTTP/1.1\r\n")

            async def trickle():
                while True:
                    writer.write(b"X: y\r\n")
                    await asyncio.sleep(0.02)

            trickling = asyncio.create_task(trickle())
            await until_closed(reader)
            trickling.cancel()
            writer.close()

    asyncio.run(scenario())


HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.2"], ids=["the monitor's own address", "another address"])
@pytest.mark.parametrize(
    "sent", [b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"], ids=["nothing", "half", "one"]
)
def test_idle_connections_lock_no_monitor_out(source, sent):
    """As many as there may be, each with its full five seconds, from a stranger or from the
    monitor's own machine.
    """

    async def scenario():
        async with running() as port:
            held = []
            for _ in range(server.CONNECTIONS_MAX):
                held.append(await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0)))
                held[-1][1].write(sent)
            for reader, _ in held if sent.endswith(b"\n\r\n") else ():
                assert (await asyncio.wait_for(reader.readline(), PATIENCE_S)).startswith(b"HTTP/1.1 200")
            for _ in range(5):
                assert (await ask(port, HEALTH)).endswith(b"ok")
            assert await until_closed(held[0][0]) is not None, "the one that had waited longest made room"
            for _, writer in held:
                writer.close()

    asyncio.run(scenario())


def test_whoever_has_most_makes_room_first(monkeypatch):
    monkeypatch.setattr(server, "CONNECTIONS_MAX", 4)

    async def scenario():
        async with running() as port:
            monitor = await asyncio.open_connection("127.0.0.1", port)
            monitor[1].write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await asyncio.wait_for(monitor[0].readuntil(b"ok"), PATIENCE_S)).endswith(b"ok")
            strangers = [
                await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0)) for _ in range(8)
            ]
            for reader, _ in strangers[:5]:
                assert await until_closed(reader) == b""
            monitor[1].write(HEALTH)  # older than all of them, and still there
            assert (await asyncio.wait_for(monitor[0].read(), PATIENCE_S)).endswith(b"ok")
            for _, writer in (monitor, *strangers):
                writer.close()

    asyncio.run(scenario())


def test_streams_that_are_watched_make_room_for_nobody_of_their_own_address(monkeypatch):
    monkeypatch.setattr(server, "CONNECTIONS_MAX", 2)

    async def scenario():
        async with running() as port:
            held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
            for reader, writer in held:
                writer.write(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
                assert (await asyncio.wait_for(reader.readline(), PATIENCE_S)).startswith(b"HTTP/1.1 200")
            assert await ask_or_reset(port) == b""
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
            writer.write(HEALTH)
            assert (await asyncio.wait_for(reader.read(), PATIENCE_S)).endswith(b"ok"), "of another address it does"
            for _, kept in (*held, (reader, writer)):
                kept.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.2"], ids=["the monitor's own address", "another address"])
def test_who_never_stops_asking_locks_no_monitor_out(source):
    """As many connections as there may be, each with requests without end: every one of them is
    busy, and none idle.
    """

    async def scenario():
        async with running() as port:
            crowd = [
                await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
                for _ in range(server.CONNECTIONS_MAX)
            ]
            for _, writer in crowd:
                writer.write(b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n" * 500)
            for reader, _ in crowd:  # each was answered once
                assert (await asyncio.wait_for(reader.readline(), PATIENCE_S)).startswith(b"HTTP/1.1 200")
            for _ in range(5):
                assert (await ask(port, HEALTH)).endswith(b"ok")
            for _, writer in crowd:
                writer.transport.abort()

    asyncio.run(scenario())


def test_strangers_leave_a_few_of_this_machines_own_connections(monkeypatch):
    """An address for each connection, so that none has more than the monitor."""
    monkeypatch.setattr(server, "CONNECTIONS_MAX", 4)
    monkeypatch.setattr(server.BoundedH11, "is_local", property(lambda one: one.address == "127.0.0.1"))

    async def scenario():
        async with running() as port:
            monitor = await asyncio.open_connection("127.0.0.1", port)
            monitor[1].write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await asyncio.wait_for(monitor[0].readuntil(b"ok"), PATIENCE_S)).endswith(b"ok")
            crowd = []
            for last in range(2, 10):
                crowd.append(await asyncio.open_connection("127.0.0.1", port, local_addr=(f"127.0.0.{last}", 0)))
            for reader, _ in crowd[:5]:
                assert await until_closed(reader) == b""
            monitor[1].write(HEALTH)  # older than all of them, and still there
            assert (await asyncio.wait_for(monitor[0].read(), PATIENCE_S)).endswith(b"ok")
            for _, writer in (monitor, *crowd):
                writer.close()

    asyncio.run(scenario())


async def ask_or_reset(port):
    try:
        return await ask(port, HEALTH)
    except (ConnectionResetError, BrokenPipeError):
        return b""


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"\n" * 20000,
        b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 40000,
        b"\x00" * 100 + b"\r\n\r\n",
    ],
    ids=["TLS", "newlines", "a header over the bound", "zeros"],
)
def test_bytes_that_are_no_http_close_the_connection_and_nothing_else(monkeypatch, raw):
    monkeypatch.setattr(server, "REQUEST_TIMEOUT_S", 0.5)

    async def scenario():
        async with running() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(raw)
            reply = await until_closed(reader)
            assert reply == b"" or reply.startswith(b"HTTP/1.1 400")
            writer.close()
            assert (await ask(port, b"GET /healthz HTTP/1.0\r\n\r\n")).endswith(b"ok")

    asyncio.run(scenario())


@pytest.mark.parametrize("version", [b"0.9", b"1.2", b"2.0", b"3.0", b"9.9"])
def test_another_version_of_http_is_refused_without_a_word_in_the_log(version):
    """A stranger chooses it, and how often."""

    async def scenario():
        async with running() as port:
            reply = await ask(port, b"GET /healthz HTTP/" + version + b"\r\nHost: x\r\n\r\n")
            assert reply.startswith(b"HTTP/1.1 505")
            reply = await ask(port, b"GET /healthz HTTP/1.0\r\n\r\n")
            assert reply.endswith(b"\r\n\r\nok")

    asyncio.run(scenario())


def test_an_open_connection_does_not_keep_the_server_from_stopping():
    async def scenario():
        async with running() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await asyncio.wait_for(reader.readline(), PATIENCE_S)
        writer.close()

    asyncio.run(scenario())


def test_an_address_in_use_names_the_setting_and_the_cure():
    with server.bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BusyError, match=rf"http_addr 127\.0\.0\.1:{port} is in use.*choose another http_addr"):
            server.bind("127.0.0.1", port)


def test_an_address_of_another_machine_names_the_setting_and_is_tried_again_by_the_unit():
    """A network that comes up later than the node, and a name that is not known yet, are no wrong
    setting: with exit code 3 the node stayed down for ever.
    """
    with pytest.raises(
        BusyError, match=r"http_addr 192\.0\.2\.1:0 cannot be used: .*; cure: write an address that this machine has"
    ):
        server.bind("192.0.2.1", 0)
    with pytest.raises(
        BusyError, match=r"http_addr no\.such\.invalid:80: .*; cure: write an address that this machine has"
    ):
        server.bind("no.such.invalid", 80)


def test_an_empty_host_listens_on_every_interface():
    with server.bind("", 0) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S):
            pass
        if listener.family == socket.AF_INET6:
            with socket.create_connection(("::1", port), timeout=PATIENCE_S):
                pass


async def open_stream(port):
    """A stream that has begun."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
    return reader, writer, head


async def next_event(reader):
    while True:
        line = await asyncio.wait_for(reader.readline(), PATIENCE_S)
        assert line, "the stream ended"
        if line.startswith(b"data: "):
            return line


def turn(board):
    board.now += 1
    board.watched.look()


def test_a_stream_lives_on_beyond_a_requests_time_as_long_as_it_is_read(monkeypatch):
    monkeypatch.setattr(server, "REQUEST_TIMEOUT_S", 0.6)

    async def scenario():
        board = FakeBoard()
        async with running(board) as port:
            reader, writer, head = await open_stream(port)
            assert head.startswith(b"HTTP/1.1 200")
            for _ in range(8):  # 1.6 s in all
                await next_event(reader)
                await asyncio.sleep(0.2)
                turn(board)
            writer.close()

    asyncio.run(scenario())


def test_a_stream_without_progress_is_cut_off(monkeypatch):
    monkeypatch.setattr(server, "REQUEST_TIMEOUT_S", 0.3)

    async def scenario():
        async with running() as port:
            reader, writer, _ = await open_stream(port)
            await until_closed(reader)
            writer.close()

    asyncio.run(scenario())


def test_who_does_not_read_is_dropped_and_nothing_piles_up(monkeypatch):
    monkeypatch.setattr(server, "REQUEST_TIMEOUT_S", 0.5)

    async def scenario():
        board = FakeBoard()
        board.sections_now["state"]["warnings"] = ["w" * 200_000]
        async with running(board) as port:
            _, writer, _ = await open_stream(port)
            writer.transport.pause_reading()

            async def turn_for_ever():
                while True:
                    board.sections_now["state"]["warnings"] = [f"{board.now}" * 20_000]
                    turn(board)
                    await asyncio.sleep(0.01)

            turning = asyncio.create_task(turn_for_ever())
            for _ in range(600):  # the server forgets the connection, whatever this side does
                if not await watched(port):
                    break
                await asyncio.sleep(0.05)
            else:
                raise AssertionError("a reader that does not read was not dropped")
            turning.cancel()
            writer.close()

    async def watched(port):
        """Whether the cap of one is still taken."""
        monkeypatch.setattr(server, "STREAMS_MAX", 1)
        _, writer, head = await open_stream(port)
        writer.close()
        return b" 503 " in head.splitlines()[0]

    asyncio.run(scenario())


def test_streams_over_the_cap_are_told_to_come_back_and_room_is_made_again(monkeypatch):
    monkeypatch.setattr(server, "STREAMS_MAX", 2)

    async def scenario():
        board = FakeBoard()
        async with running(board) as port:
            held = [await open_stream(port) for _ in range(2)]
            for reader, _, _ in held:
                await next_event(reader)
            reader, writer, head = await open_stream(port)
            assert head.startswith(b"HTTP/1.1 503")
            assert b"retry-after: 10" in head.lower()
            writer.close()
            assert (await ask(port, b"GET /healthz HTTP/1.0\r\n\r\n")).endswith(b"ok"), "monitors have their own room"
            for _, writer, _ in held:
                writer.close()
            for _ in range(200):
                turn(board)
                reader, writer, head = await open_stream(port)
                writer.close()
                if head.startswith(b"HTTP/1.1 200"):
                    return
                await asyncio.sleep(0.05)
            raise AssertionError("no room was made")

    asyncio.run(scenario())


def test_open_streams_do_not_keep_the_server_from_stopping(monkeypatch):
    """Not even for the grace of a response under way."""
    monkeypatch.setattr(server, "GRACE_S", PATIENCE_S * 10)

    async def scenario():
        async with running() as port:
            streams = [await open_stream(port) for _ in range(3)]
            for reader, _, _ in streams:
                await next_event(reader)
        for reader, writer, _ in streams:
            await until_closed(reader)
            writer.close()

    asyncio.run(scenario())


def test_loopback_is_told_from_the_listener():
    with server.bind("127.0.0.1", 0) as own, server.bind("", 0) as every:
        assert (server.is_loopback(own), server.is_loopback(every)) == (True, False)
