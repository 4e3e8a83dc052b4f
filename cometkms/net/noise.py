"""The handshake of a noise:// validator over its connection. Moves bytes; cometkms/wire/noise.py
says which."""

import asyncio
import socket

from cometkms.limits import HANDSHAKE_TIMEOUT_S, NOISE_HANDSHAKE_MAX_BYTES, NOISE_WAIT_S
from cometkms.wire.noise import NoiseHandshake


async def shake(connection: socket.socket, handshake: NoiseHandshake) -> None:
    """Shake hands until both ends have proved who they are.

    Raises: ProtocolError, OSError; TimeoutError where message 2 does not begin, or stays unfinished
    for HANDSHAKE_TIMEOUT_S.
    """
    loop = asyncio.get_running_loop()
    began = False
    try:
        async with asyncio.timeout(NOISE_WAIT_S) as deadline:
            await loop.sock_sendall(connection, handshake.hello)
            while not handshake.done:
                received = await loop.sock_recv(connection, NOISE_HANDSHAKE_MAX_BYTES)
                if not received:
                    raise ConnectionResetError("closed by the validator during the handshake")
                answer = handshake.feed(received)
                if answer:
                    await loop.sock_sendall(connection, answer)
                if not began:
                    began = True
                    deadline.reschedule(loop.time() + HANDSHAKE_TIMEOUT_S)
    except TimeoutError:
        raise TimeoutError(
            f"its part of the handshake stayed unfinished for {HANDSHAKE_TIMEOUT_S:g} s"
            if began
            else f"no word within {NOISE_WAIT_S:g} s: it is served by another signer, or speaks no noise"
        ) from None


def not_listed(own_id: str) -> str:
    """What else to say of a connection that ended before anything was asked: such a validator ends
    the handshake with anybody, and then closes to whom its priv_validator_laddr does not name."""
    return f", before it asked for anything; cure: unless it stopped, its priv_validator_laddr must name this signer: noise://{own_id}@…"
