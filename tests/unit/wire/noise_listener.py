"""A validator's end of noise://, for tests: the responder of Noise XX, written by itself from the
specification. It may lie.
"""

import hashlib
import hmac
import os
from typing import Any

from nacl.bindings import (
    crypto_aead_chacha20poly1305_ietf_decrypt,
    crypto_aead_chacha20poly1305_ietf_encrypt,
    crypto_scalarmult,
    crypto_scalarmult_base,
)
from nacl.signing import SigningKey, VerifyKey

PREFIX = b"noise-libp2p-static-key:"
ED25519 = bytes.fromhex("08011220")


def payload_of(identity: SigningKey, static_public: bytes, end: bytes = b"\x22\x00") -> bytes:
    marshalled = ED25519 + bytes(identity.verify_key)
    signature = identity.sign(PREFIX + static_public).signature
    return b"\x0a" + bytes([len(marshalled)]) + marshalled + b"\x12\x40" + signature + end


def framed(message: bytes) -> bytes:
    return len(message).to_bytes(2, "big") + message


class Responder:
    """message_2(message 1) then take_3(message 3); then `receive` and `send` are the
    transport's keys.
    """

    def __init__(self, identity: SigningKey, ephemeral: bytes = b"", static: bytes = b"") -> None:
        self.identity = identity
        self.ephemeral, self.static = ephemeral or os.urandom(32), static or os.urandom(32)
        self.ephemeral_public = crypto_scalarmult_base(self.ephemeral)
        self.static_public = crypto_scalarmult_base(self.static)
        self.payload = payload_of(identity, self.static_public)
        self.h = self.ck = b"Noise_XX_25519_ChaChaPoly_SHA256"
        self.k, self.n = b"", 0
        self.signer = b""  # its identity key
        self._mix_hash(b"")

    def message_2(self, message_1: bytes) -> bytes:
        self.remote = message_1
        self._mix_hash(message_1)
        self._mix_hash(b"")
        self._mix_hash(self.ephemeral_public)
        self._mix_key(crypto_scalarmult(self.ephemeral, self.remote))
        sealed = self._seal(self.static_public)
        self._mix_key(crypto_scalarmult(self.static, self.remote))
        return self.ephemeral_public + sealed + self._seal(self.payload)

    def take_3(self, message_3: bytes) -> bytes:
        """The payload, its signature verified."""
        static = self._open(message_3[:48])
        self._mix_key(crypto_scalarmult(self.ephemeral, static))
        payload = self._open(message_3[48:])
        self.signer = payload[6:38]
        VerifyKey(self.signer).verify(PREFIX + static, payload[40:104])
        self.receive, self.send = self._hkdf(b"")
        return payload

    def frames(self, core: Any) -> Any:
        return core.noise(self.receive, self.send)

    def _mix_hash(self, data: bytes) -> None:
        self.h = hashlib.sha256(self.h + data).digest()

    def _hkdf(self, data: bytes) -> tuple[bytes, bytes]:
        prk = hmac.digest(self.ck, data, "sha256")
        one = hmac.digest(prk, b"\x01", "sha256")
        return one, hmac.digest(prk, one + b"\x02", "sha256")

    def _mix_key(self, data: bytes) -> None:
        self.ck, self.k = self._hkdf(data)
        self.n = 0

    def _nonce(self) -> bytes:
        self.n += 1
        return bytes(4) + (self.n - 1).to_bytes(8, "little")

    def _seal(self, plain: bytes) -> bytes:
        sealed = crypto_aead_chacha20poly1305_ietf_encrypt(plain, self.h, self._nonce(), self.k)
        self._mix_hash(sealed)
        return sealed

    def _open(self, sealed: bytes) -> bytes:
        plain = crypto_aead_chacha20poly1305_ietf_decrypt(sealed, self.h, self._nonce(), self.k)
        self._mix_hash(sealed)
        return plain
