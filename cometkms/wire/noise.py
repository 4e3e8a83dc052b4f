"""Noise XX as libp2p speaks it (CometBFT v0.40's noise://), sans-I/O: bytes in, bytes out. The
signer's side: it dials, so it initiates.

    HELLO: → e ── ← e, ee, s, es, payload ──▶ → s, se, payload ── DONE

Noise_XX_25519_ChaChaPoly_SHA256 with an empty prologue, each message behind a uint16 length, no
negotiation before it. A payload (go-libp2p p2p/security/noise/pb) holds an identity and its
signature over the static key of this one connection: the static keys are fresh on both sides and
prove nothing by themselves. The validator's identity is checked before message 3 tells it ours.
"""

import hashlib
import hmac
from typing import Final

from nacl import exceptions
from nacl.bindings import crypto_aead_chacha20poly1305_ietf_decrypt, crypto_aead_chacha20poly1305_ietf_encrypt

from cometkms.core.interface import Core, Frames
from cometkms.core.pure.wire import fields, put_bytes, put_part
from cometkms.errors import ProtocolError
from cometkms.limits import NOISE_HANDSHAKE_MAX_BYTES
from cometkms.wire.identity import Identity
from cometkms.wire.peer_id import MARSHALLED, peer_id

_NAME: Final = b"Noise_XX_25519_ChaChaPoly_SHA256"  # 32 bytes: it is its own hash
_SIGNED: Final = b"noise-libp2p-static-key:"
_KEY_BYTES: Final = 32
_TAG_BYTES: Final = 16
_LENGTH_BYTES: Final = 2
_ENCRYPTED_KEY_BYTES: Final = _KEY_BYTES + _TAG_BYTES


class _Symmetric:
    """Noise's SymmetricState: what both ends have said so far, and the key that follows from it."""

    def __init__(self) -> None:
        self._hash = self._chaining_key = _NAME
        self._key = b""
        self._nonce = 0
        self.mix_hash(b"")  # the empty prologue

    def mix_hash(self, data: bytes) -> None:
        self._hash = hashlib.sha256(self._hash + data).digest()

    def mix_key(self, shared: bytearray) -> None:
        """Take a Diffie-Hellman result, and wipe it."""
        self._chaining_key, self._key = _hkdf(self._chaining_key, bytes(shared))
        self._nonce = 0
        shared[:] = bytes(len(shared))

    def encrypt(self, plain: bytes) -> bytes:
        sealed = crypto_aead_chacha20poly1305_ietf_encrypt(plain, self._hash, self._next_nonce(), self._key)
        self.mix_hash(sealed)
        return sealed

    def decrypt(self, sealed: bytes) -> bytes:
        """Raises: ProtocolError."""
        try:
            plain = crypto_aead_chacha20poly1305_ietf_decrypt(sealed, self._hash, self._next_nonce(), self._key)
        except exceptions.CryptoError:
            raise ProtocolError("noise: message 2 does not authenticate") from None
        self.mix_hash(sealed)
        return plain

    def split(self) -> tuple[bytes, bytes]:
        """The keys from the initiator and to it."""
        return _hkdf(self._chaining_key, b"")

    def _next_nonce(self) -> bytes:
        nonce = bytes(4) + self._nonce.to_bytes(8, "little")
        self._nonce += 1
        return nonce


class NoiseHandshake:
    """The dialling end of a handshake. `done` is False until the other end is authenticated and
    message 3 is made."""

    def __init__(
        self,
        core: Core,
        identity: Identity,
        expected: bytes,
        *,
        ephemeral_secret: bytes | None = None,
        static_secret: bytes | None = None,
    ) -> None:
        """`expected`: the ed25519 public key that the other end must prove. The secrets: for
        known-answer tests only."""
        self._core = core
        self._identity = identity
        self._expected = expected
        self._ephemeral = bytearray(ephemeral_secret or _KEY_BYTES)
        self._static = bytearray(static_secret or _KEY_BYTES)
        self._ephemeral_public = core.ephemeral_public(self._ephemeral, fresh=ephemeral_secret is None)
        self._static_public = core.ephemeral_public(self._static, fresh=static_secret is None)
        self._symmetric = _Symmetric()
        self._incoming = b""
        self._frames: Frames | None = None
        self.done = False
        self.remote_identity = b""

    def __del__(self) -> None:
        """One that never came to its keys leaves no secret behind either."""
        self._wipe()

    @property
    def begun(self) -> bool:
        """Whether a part of message 2 has arrived."""
        return bool(self._incoming)

    @property
    def frames(self) -> Frames:
        """Raises: ProtocolError before the handshake is done."""
        if self._frames is None:
            raise ProtocolError("noise: the handshake has no keys yet")
        return self._frames

    @property
    def hello(self) -> bytes:
        """Message 1, once: the ephemeral key in clear, and a payload of nothing."""
        self._symmetric.mix_hash(self._ephemeral_public)
        self._symmetric.mix_hash(b"")
        return _framed(self._ephemeral_public)

    def feed(self, untrusted: bytes) -> bytes:
        """Take what arrived; return message 3 once message 2 is whole. Raises: ProtocolError: close
        the connection, say nothing more."""
        if self.done:
            raise ProtocolError("noise: the handshake is over")
        self._incoming += untrusted
        if len(self._incoming) < _LENGTH_BYTES:
            return b""
        size = int.from_bytes(self._incoming[:_LENGTH_BYTES], "big")
        if not _KEY_BYTES + _ENCRYPTED_KEY_BYTES + _TAG_BYTES <= size <= NOISE_HANDSHAKE_MAX_BYTES:
            raise ProtocolError(f"noise: message 2 announces {size} bytes: no Noise XX speaks there")
        if len(self._incoming) < _LENGTH_BYTES + size:
            return b""
        if len(self._incoming) > _LENGTH_BYTES + size:
            raise ProtocolError("noise: bytes behind message 2, which nobody can have sealed yet")
        try:
            self._take(self._incoming[_LENGTH_BYTES:])
            answer = self._answer()
        finally:
            self._wipe()
        self._incoming = b""
        self.done = True
        return answer

    def _take(self, message: bytes) -> None:
        """Message 2. Raises: ProtocolError."""
        remote_ephemeral, rest = message[:_KEY_BYTES], message[_KEY_BYTES:]
        self._symmetric.mix_hash(remote_ephemeral)
        self._symmetric.mix_key(self._core.shared_secret(self._ephemeral, remote_ephemeral))
        remote_static = self._symmetric.decrypt(rest[:_ENCRYPTED_KEY_BYTES])
        self._symmetric.mix_key(self._core.shared_secret(self._ephemeral, remote_static))
        payload = self._symmetric.decrypt(rest[_ENCRYPTED_KEY_BYTES:])
        self.remote_identity = self._identified(payload, remote_static)
        self._remote_ephemeral = remote_ephemeral

    def _answer(self) -> bytes:
        """Message 3, and with it the keys."""
        sealed = self._symmetric.encrypt(self._static_public)
        self._symmetric.mix_key(self._core.shared_secret(self._static, self._remote_ephemeral))
        marshalled = MARSHALLED + self._identity.public_key
        signature = self._identity.sign(_SIGNED + self._static_public)
        # extensions: none, as Go says it
        payload = put_bytes(1, marshalled) + put_bytes(2, signature) + put_part(4, b"")
        sealed += self._symmetric.encrypt(payload)
        send_key, recv_key = self._symmetric.split()
        self._frames = self._core.noise(recv_key, send_key)
        return _framed(sealed)

    def _identified(self, payload: bytes, static: bytes) -> bytes:
        """The other end's identity: the expected one, proven over the static key that Noise gave.
        Raises: ProtocolError."""
        marshalled = signature = b""
        for field in fields(payload):
            if field.number == 1:
                marshalled = field.as_bytes()
            elif field.number == 2:
                signature = field.as_bytes()
        kind, key = 0, b""
        for field in fields(marshalled):
            if field.number == 1:
                kind = field.as_int32()
            elif field.number == 2:
                key = field.as_bytes()
        if kind != MARSHALLED[1] or len(key) != _KEY_BYTES:
            raise ProtocolError("noise: the validator's identity is no ed25519 key")
        if not self._core.verify(key, _SIGNED + static, signature):
            raise ProtocolError("noise: the validator's identity does not prove its key")
        if not hmac.compare_digest(key, self._expected):
            raise ProtocolError(
                f"noise: {peer_id(key)} listens there, not {peer_id(self._expected)}",
                cure="the id that `cometbft show-node-id --libp2p` prints on the validator, in `validator_addr`",
            )
        return key

    def _wipe(self) -> None:
        for secret in (self._ephemeral, self._static):
            secret[:] = bytes(len(secret))


def _hkdf(key: bytes, data: bytes) -> tuple[bytes, bytes]:
    """Noise's HKDF with two outputs of 32 bytes."""
    extracted = hmac.digest(key, data, hashlib.sha256)
    first = hmac.digest(extracted, b"\x01", hashlib.sha256)
    return first, hmac.digest(extracted, first + b"\x02", hashlib.sha256)


def _framed(message: bytes) -> bytes:
    return len(message).to_bytes(_LENGTH_BYTES, "big") + message
