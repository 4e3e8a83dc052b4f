"""Noise transport messages as libp2p's secure session frames them, in Python.

The readable twin of csrc/noise.c.
"""

from typing import Final

from nacl import exceptions
from nacl.bindings import crypto_aead_chacha20poly1305_ietf_decrypt, crypto_aead_chacha20poly1305_ietf_encrypt

from cometkms.core.interface import Buffer
from cometkms.errors import ProtocolError
from cometkms.limits import NOISE_PLAIN_BYTES

_LENGTH_BYTES: Final = 2
_TAG_BYTES: Final = 16
_COUNTER_MAX: Final = (1 << 64) - 1


class PureNoise:
    """Hold a Noise connection's two ciphers and counters."""

    def __init__(self, recv_key: bytes, send_key: bytes) -> None:
        self.recv_key, self.send_key = recv_key, send_key
        self._received = self._sent = 0
        self.partial = b""

    def seal(self, data: Buffer) -> bytes:
        """Cut the data into pieces and seal each."""
        data = bytes(data)
        return b"".join(
            self._seal_one(data[at : at + NOISE_PLAIN_BYTES]) for at in range(0, len(data), NOISE_PLAIN_BYTES)
        )

    def _seal_one(self, plain: bytes) -> bytes:
        if self._sent == _COUNTER_MAX:
            raise ProtocolError("frame: nonce counter exhausted")
        sealed = crypto_aead_chacha20poly1305_ietf_encrypt(plain, None, _nonce(self._sent), self.send_key)
        self._sent += 1
        return len(sealed).to_bytes(_LENGTH_BYTES, "big") + sealed

    def open(self, untrusted: Buffer) -> bytes:
        """Take any number of ciphertext bytes and return the data of the whole frames."""
        self.partial += bytes(untrusted)
        out = b""
        while len(self.partial) >= _LENGTH_BYTES:
            end = _LENGTH_BYTES + int.from_bytes(self.partial[:_LENGTH_BYTES], "big")
            if len(self.partial) < end:
                break
            sealed, self.partial = self.partial[_LENGTH_BYTES:end], self.partial[end:]
            out += self._open_one(sealed)
        return out

    def _open_one(self, sealed: bytes) -> bytes:
        if len(sealed) < _TAG_BYTES:
            raise ProtocolError("frame: malformed")
        if self._received == _COUNTER_MAX:
            raise ProtocolError("frame: nonce counter exhausted")
        try:
            plain = crypto_aead_chacha20poly1305_ietf_decrypt(sealed, None, _nonce(self._received), self.recv_key)
        except exceptions.CryptoError:
            raise ProtocolError("frame: authentication failed") from None
        self._received += 1
        return plain

    def close(self) -> None:
        """Let go of the ciphers, since Python cannot wipe `bytes`."""
        self.recv_key = self.send_key = bytes(32)
        self.partial = b""


def _nonce(counter: int) -> bytes:
    return bytes(4) + counter.to_bytes(8, "little")
