"""The beginning of a connection to a validator: its handshake (tcp, noise) or its first bytes
(unix), and the session that follows.

The signer's links and an agent's begin alike. Moves bytes; cometkms/wire says which.
"""

import asyncio
import socket
from dataclasses import dataclass
from typing import Final

from cometkms.address import NoiseAddress
from cometkms.core.interface import Core, Session
from cometkms.errors import ProtocolError
from cometkms.limits import HANDSHAKE_MESSAGE_MAX_BYTES, HANDSHAKE_TIMEOUT_S, IDLE_TIMEOUT_S, PARTIAL_MESSAGE_TIMEOUT_S
from cometkms.model import Dialect
from cometkms.net.target import Target, UnixTarget
from cometkms.wire.dialect import sniff_dialect
from cometkms.wire.identity import Identity
from cometkms.wire.secret_connection import Handshake

#: Imported when they are first needed: a process that imports nothing any more by then has them
#: loaded before.
LATE: Final = ("cometkms.net.noise", "cometkms.wire.noise", "cometkms.wire.peer_id")
# before the session exists; a hello and an authentication are below 1200
_RECEIVE_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Opened:
    """A connection that is ready for requests. `remote_identity`: what the validator proved; b"" on
    a unix socket."""

    session: Session
    dialect: Dialect
    remote_identity: bytes


async def open_session(
    connection: socket.socket, target: Target, chain_id: str, core: Core, identity: Identity
) -> Opened:
    """Raises: ProtocolError, OSError; TimeoutError where the validator's part does not come in
    time."""
    if isinstance(target, UnixTarget):
        return await _open_plain(connection, chain_id, core)
    if isinstance(target, NoiseAddress):
        return await _open_noise(connection, target.peer_key, chain_id, core, identity)
    loop = asyncio.get_running_loop()
    handshake = Handshake(core, identity)
    try:
        async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
            while not handshake.done:
                answer = handshake.feed(await _receive(connection))
                if answer:
                    await loop.sock_sendall(connection, answer)
    except TimeoutError as error:  # not a firewall's: the connection is there
        raise TimeoutError(
            f"it takes the connection, and no handshake came within {HANDSHAKE_TIMEOUT_S:g} s: it hangs, is no validator, or the way "
            "there loses large packets (its MTU)"
        ) from error
    session = core.session(handshake.dialect, chain_id, handshake.frames, handshake.leftover)
    return Opened(session, handshake.dialect, handshake.remote_identity)


async def _open_plain(connection: socket.socket, chain_id: str, core: Core) -> Opened:
    """A unix socket stays silent until the first request: no deadline but the idle one."""
    first = b""
    while (dialect := sniff_dialect(first)) is None:
        if len(first) > HANDSHAKE_MESSAGE_MAX_BYTES:
            raise ProtocolError(f"{len(first)} bytes without a privval message's beginning")
        async with asyncio.timeout(PARTIAL_MESSAGE_TIMEOUT_S if first else IDLE_TIMEOUT_S):
            first += await _receive(connection)
    return Opened(core.session(dialect, chain_id, None, first), dialect, b"")


async def _open_noise(
    connection: socket.socket, expected: bytes, chain_id: str, core: Core, identity: Identity
) -> Opened:
    """Raises: as noise.shake(). Loaded here: most agents have no such validator, and are to start
    in no time."""
    from cometkms.net import noise
    from cometkms.wire.noise import NoiseHandshake

    handshake = NoiseHandshake(core, identity, expected)
    await noise.shake(connection, handshake)
    session = core.session(Dialect.PROTO, chain_id, handshake.frames, b"")
    return Opened(session, Dialect.PROTO, handshake.remote_identity)


def perhaps_not_listed(target: Target, identity: Identity) -> str:
    """Return what else to say of a connection on which nothing was asked."""
    if not isinstance(target, NoiseAddress):
        return ""
    from cometkms.net import noise
    from cometkms.wire.peer_id import peer_id

    return noise.not_listed(peer_id(identity.public_key))


async def _receive(connection: socket.socket) -> bytes:
    received = await asyncio.get_running_loop().sock_recv(connection, _RECEIVE_BYTES)
    if not received:
        raise ConnectionResetError("closed by the validator during the handshake")
    return received
