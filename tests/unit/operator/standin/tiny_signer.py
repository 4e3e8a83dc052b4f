"""A signer in a few lines, made of the core's own session: what the stand-in is tested against."""

import asyncio
import base64
from collections.abc import Callable

import nacl.signing

from cometkms.core.interface import Core, Session
from cometkms.model import Dialect, Kind, Permit, Reason, Request
from cometkms.wire.identity import Identity
from cometkms.wire.secret_connection import Handshake

SEED = bytes(range(32))
PUBLIC_KEY = nacl.signing.SigningKey(SEED).verify_key.encode()


class TinySigner:
    """Dials, answers, remembers one signature per place. `meddle(request)` may answer in its stead."""

    def __init__(self, core: Core, chain_id: str) -> None:
        self.core = core
        self.chain_id = chain_id
        self.slot = core.key_slot(bytearray(base64.b64encode(SEED + PUBLIC_KEY)), chain_id)
        self.held: dict[tuple, tuple[bytes, bytes]] = {}
        self.meddle: Callable[[Session, Request], bytes | None] = lambda _session, _request: None

    async def serve(self, address: str, dialect: Dialect = Dialect.PROTO) -> None:
        """Until the validator closes the connection."""
        scheme, _, rest = address.partition("://")
        if scheme == "unix":
            reader, writer = await asyncio.open_unix_connection(rest)
            session = self.core.session(dialect, self.chain_id, None, b"")
        else:
            host, _, port = rest.rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            session = await self._shake_hands(reader, writer)
        try:
            while (request := session.next_request()) is not None or (await self._receive(session, reader)):
                if request is not None:
                    writer.write(self.meddle(session, request) or self.answer(session, request))
        finally:
            writer.close()
            session.close()

    async def _shake_hands(self, reader, writer) -> Session:
        handshake = Handshake(self.core, Identity.generate())
        while not handshake.done:
            wire = await reader.read(1 << 16)
            if not wire:
                raise EOFError
            writer.write(handshake.feed(wire))
        return self.core.session(handshake.dialect, self.chain_id, handshake.frames, handshake.leftover)

    async def _receive(self, session: Session, reader) -> int:
        wire = await reader.read(len(session.inbox))
        session.inbox[: len(wire)] = wire
        session.received(len(wire))
        return len(wire)

    def answer(self, session: Session, request: Request) -> bytes:
        if request.kind is Kind.PING_REQUEST:
            return session.answer_pong()
        if request.reason is not Reason.NONE:
            return session.answer_error(1, request.reason.name)
        if request.kind is Kind.PUB_KEY_REQUEST:
            return session.answer_pub_key(self.slot.public_key)
        if request.hrs in self.held:
            sign_bytes, signature = self.held[request.hrs]
            if not self.core.same_but_timestamp(sign_bytes, request.sign_bytes):
                return session.answer_error(1, "conflicting data")
            return session.answer_repeat(self.slot, sign_bytes, signature)
        if request.hrs < self.slot.last_signed:
            return session.answer_error(1, "regression")
        signature, wire = session.answer_sign(self.slot, Permit(request.sign_bytes))
        self.held[request.hrs] = (request.sign_bytes, signature)
        return wire
