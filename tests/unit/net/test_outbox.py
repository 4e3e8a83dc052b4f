"""What a socket does not take waits, in its order, and the core's lane waits with it."""

import asyncio
import socket
import struct
from collections.abc import Callable

import pytest
import uvloop

from cometkms.net.outbox import Outbox


class Lane:
    def __init__(self) -> None:
        self.blocked = False
        self.unsent = b""

    def take_unsent(self) -> bytes:
        unsent, self.unsent = self.unsent, b""
        return unsent


class Scene:
    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.theirs.setblocking(False)
        self.ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.lane, self.lost, self.moved = Lane(), [], 0
        self.outbox = Outbox(self.ours, lost=self.lost.append, lane=self.lane, progress=self.count)

    def count(self) -> None:
        self.moved += 1

    def fill(self) -> bytes:
        """Write until something waits; what was written."""
        written = b""
        while not self.outbox:
            part = bytes([len(written) % 251]) * 1000
            self.outbox.write(part)
            written += part
        return written

    async def read(self, size: int) -> bytes:
        loop, got = asyncio.get_running_loop(), b""
        while len(got) < size:
            got += await loop.sock_recv(self.theirs, 1 << 16)
        return got

    def close(self) -> None:
        self.outbox.close()
        self.ours.close()
        self.theirs.close()


def play(scene: Callable[[Scene], object]) -> None:
    async def main() -> None:
        made = Scene()
        try:
            async with asyncio.timeout(20):
                await scene(made)  # type: ignore[misc]
        finally:
            made.close()

    asyncio.run(main())


def test_what_the_socket_does_not_take_leaves_later_in_its_order() -> None:
    async def scene(made: Scene) -> None:
        written = made.fill()
        assert made.lane.blocked
        made.outbox.write(b"behind")
        assert await made.read(len(written) + 6) == written + b"behind"
        while made.outbox:
            await asyncio.sleep(0)
        assert not made.lane.blocked
        assert made.moved
        assert made.lost == []

    play(scene)


def test_what_the_lanes_socket_did_not_take_is_sent_from_here() -> None:
    async def scene(made: Scene) -> None:
        made.outbox.collect()
        assert len(made.outbox) == 0
        made.lane.blocked, made.lane.unsent = True, b"of the lane"
        made.outbox.collect()
        assert len(made.outbox) == 11
        made.outbox.write(b", then this")
        assert await made.read(22) == b"of the lane, then this"
        while made.lane.blocked:
            await asyncio.sleep(0)

    play(scene)


def test_a_socket_that_failed_is_told_and_nothing_is_raised() -> None:
    async def scene(made: Scene) -> None:
        made.theirs.close()
        made.outbox.write(b"x")
        (error,) = made.lost
        assert isinstance(error, BrokenPipeError)

    play(scene)


def test_what_waits_when_the_connection_ends_is_forgotten() -> None:
    async def scene(made: Scene) -> None:
        made.fill()
        made.outbox.close()
        assert len(made.outbox) == 0

    play(scene)


@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed by its owner meanwhile"])
def test_a_connection_that_the_loop_has_given_up_is_told_as_lost(closed: bool) -> None:
    """uvloop calls the reader a last time when a connection is reset.

    It finds what came before; what is to be sent then waits for nobody.
    """

    async def main() -> None:
        loop, lost, read = asyncio.get_running_loop(), [], bytearray()
        with socket.create_server(("127.0.0.1", 0)) as server:
            ours = socket.create_connection(server.getsockname())
            theirs, _ = server.accept()
        ours.setblocking(False)
        lane = Lane()
        outbox = Outbox(ours, lost=lost.append, lane=lane)
        loop.add_reader(ours.fileno(), lambda: read.extend(ours.recv(1)))
        theirs.sendall(b"xy")
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()  # by a reset
        async with asyncio.timeout(120):
            while not read:
                await asyncio.sleep(0.01)
        lane.blocked, lane.unsent = True, b"of the lane"
        outbox.collect()
        if closed:
            outbox.close()
        await asyncio.sleep(0.01)
        assert len(lost) == (0 if closed else 1)
        assert all(isinstance(error, ConnectionError) for error in lost)
        loop.remove_reader(ours.fileno())
        outbox.close()
        ours.close()

    uvloop.run(main())
