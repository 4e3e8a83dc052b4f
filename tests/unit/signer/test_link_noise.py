"""A link to listeners of noise:// that are late, stop in the middle, are others than expected, or
do not list us.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from nacl.signing import SigningKey

from cometkms.address import NoiseAddress
from cometkms.board.sections import LinkState
from cometkms.core import choose
from cometkms.model import Dialect, Kind, Message
from cometkms.net import noise
from cometkms.signer.answers import Answers
from cometkms.signer.link import ValidatorLink
from cometkms.wire.identity import Identity
from cometkms.wire.peer_id import peer_id
from tests.unit.wire.noise_listener import Responder, framed

CORE = choose.load()
VALIDATOR = SigningKey(bytes(range(32)))
PATIENCE_S = 60.0
OURS = Identity(SigningKey(bytes(range(1, 33))))
Listener = Callable[[socket.socket], Awaitable[None]]


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append((event, fields))


def make(ours: socket.socket) -> tuple[ValidatorLink, Log]:
    async def dial() -> socket.socket:
        return ours

    log, chain = Log(), SimpleNamespace(chain_id="c", lane=lambda *_: None, answers=Answers())
    link = ValidatorLink(
        name="v", number=0, dial=dial, target=NoiseAddress("127.0.0.1", 1, bytes(VALIDATOR.verify_key)), chain=cast("Any", chain),
        core=CORE, identity=OURS, settle=lambda: None, log=cast("Any", log),
    )  # fmt: skip
    return link, log


def against(listener: Listener) -> tuple[ValidatorLink, Log]:
    """One connection, to its end."""

    async def main() -> tuple[ValidatorLink, Log]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        link, log = make(ours)

        async def listen() -> None:
            with theirs:
                await listener(theirs)

        listening = asyncio.create_task(listen())
        await link._connect_and_serve()
        await asyncio.wait_for(listening, PATIENCE_S)  # every listener ends with the connection
        return link, log

    return asyncio.run(main())


async def until_closed(theirs: socket.socket) -> None:
    with contextlib.suppress(ConnectionError):
        while await asyncio.get_running_loop().sock_recv(theirs, 100):
            pass


async def read(theirs: socket.socket) -> bytes:
    """One Noise message."""
    loop, data = asyncio.get_running_loop(), b""
    while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
        data += await loop.sock_recv(theirs, 1)
    return data[2:]


async def shake(theirs: socket.socket, identity: SigningKey = VALIDATOR, size: int = 1000) -> Responder:
    """The listener's whole part, message 2 in pieces of `size`."""
    responder, loop = Responder(identity), asyncio.get_running_loop()
    wire = framed(responder.message_2(await read(theirs)))
    for at in range(0, len(wire), size):
        await loop.sock_sendall(theirs, wire[at : at + size])
        await asyncio.sleep(0)
    responder.take_3(await read(theirs))
    return responder


def test_a_listener_that_closes_behind_the_handshake_does_not_list_us() -> None:
    async def listener(theirs: socket.socket) -> None:
        responder = await shake(theirs)
        assert responder.signer == OURS.public_key

    link, log = against(listener)
    assert link.last_error.startswith("closed by the validator, before it asked for anything; cure: ")
    assert f"must name this signer: noise://{peer_id(OURS.public_key)}@" in link.last_error
    assert ("validator not connected", {"validator": "v", "chain": "c", "why": link.last_error}) in log.lines
    assert link.remote_identity == bytes(VALIDATOR.verify_key)


@pytest.mark.parametrize("size", [1, 50])
def test_a_message_2_in_pieces_is_taken_and_the_connection_serves(size: int) -> None:
    answers: list[Message] = []

    async def listener(theirs: socket.socket) -> None:
        responder = await shake(theirs, size=size)
        frames = responder.frames(CORE)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(theirs, frames.seal(CORE.encode_message(Dialect.PROTO, Message(Kind.PING_REQUEST))))
        answers.append(CORE.decode_message(Dialect.PROTO, frames.open(framed(await read(theirs)))))

    link, _ = against(listener)
    assert answers == [Message(Kind.PING_RESPONSE)]
    assert link.last_error == "closed by the validator"  # it asked, so it lists us
    assert link.requests == 1


def test_a_port_that_hangs_up_again_and_again_is_connected_once_and_not_again_before_it_asks() -> None:
    """Another program's port, say: it asks for nothing, and what was signed through it is nothing."""
    seen: list[LinkState] = []

    async def opened(link: ValidatorLink, theirs: socket.socket) -> Responder:
        responder = await shake(theirs)
        async with asyncio.timeout(PATIENCE_S):
            while link._socket is None:
                await asyncio.sleep(0.001)
        seen.append(link.state)
        return responder

    async def hangs_up(link: ValidatorLink, theirs: socket.socket) -> None:
        await opened(link, theirs)

    async def asks(link: ValidatorLink, theirs: socket.socket) -> None:
        frames, loop = (await opened(link, theirs)).frames(CORE), asyncio.get_running_loop()
        await loop.sock_sendall(theirs, frames.seal(CORE.encode_message(Dialect.PROTO, Message(Kind.PING_REQUEST))))
        await read(theirs)
        seen.append(link.state)

    async def main() -> None:
        link: ValidatorLink | None = None
        for listener in (hangs_up, hangs_up, asks, hangs_up, hangs_up):
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            theirs.setblocking(False)
            made, log = make(ours)
            if link is None:
                link = made
                logged = log
            link._dial = made._dial
            with theirs:
                listening = asyncio.create_task(listener(link, theirs))
                connecting = asyncio.create_task(link._connect_and_serve())
                await asyncio.wait_for(listening, PATIENCE_S)
            await asyncio.wait_for(connecting, PATIENCE_S)
        assert link is not None
        assert link.connects == 5
        assert sum(event == "validator connected" for event, _ in logged.lines) == 3

    asyncio.run(main())
    connected, shaken = LinkState.CONNECTED, LinkState.HANDSHAKE
    assert seen == [connected, shaken, shaken, connected, connected, shaken]


def test_another_identity_gets_no_message_3() -> None:
    other, rest = SigningKey(bytes(32)), [b"?"]

    async def listener(theirs: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(theirs, framed(Responder(other).message_2(await read(theirs))))
        rest[0] = await loop.sock_recv(theirs, 100)

    link, _ = against(listener)
    assert f"{peer_id(bytes(other.verify_key))} listens there" in link.last_error
    assert rest == [b""]
    assert (link.connects, link.failed) == (0, 1)


async def _nothing(theirs: socket.socket) -> None:
    await read(theirs)
    await until_closed(theirs)


async def _a_part(theirs: socket.socket) -> None:
    await asyncio.get_running_loop().sock_sendall(
        theirs, framed(Responder(VALIDATOR).message_2(await read(theirs)))[:77]
    )
    await until_closed(theirs)


@pytest.mark.parametrize(
    ("listener", "words"), [(_nothing, "no word within"), (_a_part, "stayed unfinished for")], ids=["nothing", "a part"]
)
def test_a_message_2_that_does_not_come_or_does_not_end_has_a_deadline_of_its_own(
    listener: Listener, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noise, "NOISE_WAIT_S", 0.05 if listener is _nothing else 100.0)
    monkeypatch.setattr(noise, "HANDSHAKE_TIMEOUT_S", 100.0 if listener is _nothing else 0.05)
    link, _ = against(listener)
    assert words in link.last_error
    assert (link.connects, link.failed) == (0, 1)


@pytest.mark.parametrize("said", [b"\xff\xff" + bytes(10), b"\x00\x00", b"HTTP/1.1 400\r\n", bytes(300)])
def test_what_speaks_no_noise_is_told_so(said: bytes) -> None:
    async def listener(theirs: socket.socket) -> None:
        await read(theirs)
        await asyncio.get_running_loop().sock_sendall(theirs, said)
        await until_closed(theirs)

    link, _ = against(listener)
    assert "no Noise XX speaks there" in link.last_error


def test_a_bad_tag_ends_the_connection_at_once() -> None:
    async def listener(theirs: socket.socket) -> None:
        await shake(theirs)
        await asyncio.get_running_loop().sock_sendall(theirs, framed(bytes(65535)))
        await until_closed(theirs)

    link, _ = against(listener)
    assert link.last_error in ("frame: authentication failed", "frame or message: authentication failed")
