"""Prove who is at the other end of a new connection, and say in words why there is none."""

import asyncio
import errno
import socket
from typing import Final

from cometkms.core.interface import Core
from cometkms.errors import ProtocolError, os_words, said
from cometkms.limits import PEER_HANDSHAKE_TIMEOUT_S
from cometkms.model import Dialect
from cometkms.wire.identity import Identity
from cometkms.wire.secret_connection import Handshake
from cometkms.wire.why import PeerCode, Why

RECEIVE_BYTES: Final = 2048  # before the other end is known
LOST: Final = "it hangs, or the way there loses large packets (its MTU)"


class StrangerError(ProtocolError):
    """Somebody else answers at a member's address."""


async def shake(core: Core, identity: Identity, connection: socket.socket) -> Handshake:
    """Raises: ProtocolError, OSError; TimeoutError after PEER_HANDSHAKE_TIMEOUT_S."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(PEER_HANDSHAKE_TIMEOUT_S):
        handshake = Handshake(core, identity, Dialect.PROTO)
        await loop.sock_sendall(connection, handshake.hello)
        while not handshake.done:
            received = await loop.sock_recv(connection, RECEIVE_BYTES)
            if not received:
                raise ConnectionResetError(errno.ECONNRESET, "closed during the handshake")
            answer = handshake.feed(received)
            if answer:
                await loop.sock_sendall(connection, answer)
        return handshake


def why_no_connection(error: BaseException) -> Why:
    """Say why no connection was made."""
    if isinstance(error, socket.gaierror):
        return Why(PeerCode.UNRESOLVED, f"the name is not known: {os_words(error)}")
    if isinstance(error, OSError) and error.errno == errno.ECONNREFUSED:
        return Why(PeerCode.DOWN, said(error))
    return Why(PeerCode.UNREACHABLE, said(error))


def why_no_handshake(error: BaseException, address: str) -> Why:
    """Say why a connection was made and no member was found at its end."""
    if isinstance(error, StrangerError):
        return Why(PeerCode.KEY, str(error))
    if isinstance(error, TimeoutError):
        words = f"{address} takes the connection, and no handshake came within {PEER_HANDSHAKE_TIMEOUT_S:g} s: {LOST}"
        return Why(PeerCode.HANDSHAKE, words)
    if isinstance(error, ConnectionResetError):
        return Why(PeerCode.CLOSED_EARLY, said(error))
    return Why(PeerCode.HANDSHAKE, said(error))
