"""SecretConnection's key schedule and frames, and the key slot, in Python.

The readable twin of csrc/frames.c and csrc/keyslot.c.

Ciphers and curves are PyNaCl's; the validator's secret lives in memory that libsodium guards here
too (by ctypes on the very file that PyNaCl ships), and never becomes a Python object.
"""

import ctypes
import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import Final

from nacl import exceptions
from nacl.bindings import crypto_aead_chacha20poly1305_ietf_decrypt, crypto_aead_chacha20poly1305_ietf_encrypt

from cometkms.core.interface import Buffer
from cometkms.core.pure import codec, rawbytes, sealed
from cometkms.core.pure.keytypes import require, scheme, verify
from cometkms.core.pure.merlin import Merlin
from cometkms.core.pure.sodium import sodium
from cometkms.core.pure.wire import encode_text
from cometkms.errors import InvariantError, KeyFileError, ProtocolError, said
from cometkms.keytypes import ED25519, SEED_BYTES, KeyType, type_of
from cometkms.limits import (
    FRAME_DATA_BYTES,
    FRAME_PLAIN_BYTES,
    FRAME_SEALED_BYTES,
    PREPARED_MAX_BYTES,
    RAW_UNIQUE_ID_MAX_BYTES,
    RAW_UNIQUE_IDS_MAX,
    RAW_VALUE_MAX_BYTES,
)
from cometkms.model import HRS, Permit, SealedKey, SignBytes, Step

_TRANSCRIPT: Final = b"TENDERMINT_SECRET_CONNECTION_TRANSCRIPT_HASH"
_KEY_INFO: Final = b"TENDERMINT_SECRET_CONNECTION_KEY_AND_CHALLENGE_GEN"
_COUNTER_MAX: Final = (1 << 64) - 1
_NO_SEED: Final = "the cluster's secret cannot be derived: the key is not here"


def hkdf_sha256(secret: Buffer, info: bytes, size: int) -> bytes:
    """RFC 5869 without salt."""
    key = hmac.digest(bytes(32), secret, hashlib.sha256)
    out = block = b""
    for number in range(1, -(-size // 32) + 1):
        block = hmac.digest(key, block + info + bytes([number]), hashlib.sha256)
        out += block
    return out[:size]


class PureFrames:
    """Hold a SecretConnection's two ciphers and counters."""

    def __init__(self, recv_key: bytes, send_key: bytes) -> None:
        self.recv_key, self.send_key = recv_key, send_key
        self._received = self._sent = 0
        self.partial = b""

    def seal(self, data: Buffer) -> bytes:
        """Cut the data into pieces and seal each."""
        data = bytes(data)
        chunks = [data[at : at + FRAME_DATA_BYTES] for at in range(0, len(data), FRAME_DATA_BYTES)] or [b""]
        return b"".join(self._seal_one(chunk) for chunk in chunks)

    def _seal_one(self, chunk: bytes) -> bytes:
        if self._sent == _COUNTER_MAX:
            raise ProtocolError("frame: nonce counter exhausted")
        plain = (len(chunk).to_bytes(4, "little") + chunk).ljust(FRAME_PLAIN_BYTES, b"\0")
        nonce = bytes(4) + self._sent.to_bytes(8, "little")
        self._sent += 1
        return crypto_aead_chacha20poly1305_ietf_encrypt(plain, None, nonce, self.send_key)

    def open(self, untrusted: Buffer) -> bytes:
        """Take any number of ciphertext bytes and return the data of the whole frames."""
        self.partial += bytes(untrusted)
        out = b""
        while len(self.partial) >= FRAME_SEALED_BYTES:
            sealed, self.partial = self.partial[:FRAME_SEALED_BYTES], self.partial[FRAME_SEALED_BYTES:]
            out += self._open_one(sealed)
        return out

    def _open_one(self, sealed: bytes) -> bytes:
        if self._received == _COUNTER_MAX:
            raise ProtocolError("frame: nonce counter exhausted")
        nonce = bytes(4) + self._received.to_bytes(8, "little")
        try:
            plain = crypto_aead_chacha20poly1305_ietf_decrypt(sealed, None, nonce, self.recv_key)
        except exceptions.CryptoError:
            raise ProtocolError("frame: authentication failed") from None
        self._received += 1
        size = int.from_bytes(plain[:4], "little")
        if size > FRAME_DATA_BYTES:
            raise ProtocolError("frame: malformed")
        return plain[4 : 4 + size]

    def close(self) -> None:
        """Let go of the ciphers, since Python cannot wipe `bytes`."""
        self.recv_key = self.send_key = bytes(32)
        self.partial = b""


def ephemeral_public(secret: bytearray, *, fresh: bool = True) -> bytes:
    """Compute the X25519 public key of a secret, which is made here where it is to be fresh."""
    if len(secret) != 32:
        raise ProtocolError("an X25519 key has 32 bytes")
    at = (ctypes.c_char * 32).from_buffer(secret)
    if fresh:
        sodium().randombytes_buf(ctypes.addressof(at), 32)
    public = ctypes.create_string_buffer(32)
    sodium().crypto_scalarmult_curve25519_base(ctypes.addressof(public), ctypes.addressof(at))
    return public.raw


def key_schedule(
    ephemeral_secret: Buffer, ephemeral_public: bytes, remote_ephemeral_public: bytes
) -> tuple[PureFrames, bytes]:
    """Derive the connection's frames and the challenge to sign from the shared secret."""
    if not len(ephemeral_secret) == len(ephemeral_public) == len(remote_ephemeral_public) == 32:
        raise ProtocolError("an X25519 key has 32 bytes")
    if ephemeral_public == remote_ephemeral_public:
        raise ProtocolError("the peer's ephemeral key is our own, reflected")
    secret, shared = bytearray(ephemeral_secret), bytearray(32)
    try:
        at, into = ((ctypes.c_char * 32).from_buffer(one) for one in (secret, shared))
        multiply = sodium().crypto_scalarmult_curve25519
        if multiply(ctypes.addressof(into), ctypes.addressof(at), remote_ephemeral_public) != 0:
            raise ProtocolError("ephemeral key: low-order public key")
        lower, upper = sorted((ephemeral_public, remote_ephemeral_public))
        transcript = Merlin(_TRANSCRIPT)
        transcript.append(b"EPHEMERAL_LOWER_PUBLIC_KEY", lower)
        transcript.append(b"EPHEMERAL_UPPER_PUBLIC_KEY", upper)
        transcript.append(b"DH_SECRET", shared)
        challenge = transcript.challenge(b"SECRET_CONNECTION_MAC", 32)
        keys = hkdf_sha256(shared, _KEY_INFO, 96)
    finally:
        secret[:] = shared[:] = bytes(32)
    first, second = keys[:32], keys[32:64]
    if ephemeral_public == lower:
        return PureFrames(first, second), challenge
    return PureFrames(second, first), challenge


def shared_secret(secret: Buffer, remote_public: bytes) -> bytearray:
    """Compute X25519 of a secret and a remote public key, for the caller to wipe."""
    if not len(secret) == len(remote_public) == 32:
        raise ProtocolError("an X25519 key has 32 bytes")
    own, shared = bytearray(secret), bytearray(32)
    try:
        at, into = ((ctypes.c_char * 32).from_buffer(one) for one in (own, shared))
        multiply = sodium().crypto_scalarmult_curve25519
        if multiply(ctypes.addressof(into), ctypes.addressof(at), remote_public) != 0:
            raise ProtocolError("ephemeral key: low-order public key")
    finally:
        own[:] = bytes(32)
    return shared


class PureKeySlot:
    """Hold one validator key for one chain, with the last place it signed."""

    def __init__(
        self, secret: int | None, public_key: bytes, chain_id: str, outside: Callable[[bytes], bytes] | None = None
    ) -> None:
        """`secret`: address of the type's secret from sodium_malloc, read-only.

        `outside`: who signs where there is none.
        """
        self.key_type = type_of(public_key)
        self._scheme = scheme(self.key_type)
        self._secret = secret
        self._outside = outside
        self.public_key = public_key
        self.chain_id = chain_id
        self.last_signed = HRS(0, 0, 0)
        self._marked = b""
        self._prepared: dict[bytes, bytes] = {}  # of which bytes, and what
        self._signs_values = False
        self._unique_ids: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<key slot of {self.chain_id!r}>"

    def __reduce__(self) -> str:
        raise TypeError("a key slot cannot be copied or pickled")

    def raise_mark(self, hrs: HRS, sign_bytes: bytes) -> None:
        """Move the last signed place up, and never down."""
        if hrs < self.last_signed or (hrs == self.last_signed and self.holds(sign_bytes)):
            return
        self._marked = sign_bytes if hrs > self.last_signed else b""
        self.last_signed = hrs

    def holds(self, sign_bytes: bytes) -> bool:
        """Whether exactly these bytes stand at the mark."""
        return bool(self._marked) and self._marked == sign_bytes

    def prepare(self, sign_bytes: bytes) -> None:
        """Work out what signing these bytes will need, while a majority is asked for them."""
        self._prepared.clear()
        self._prepare(sign_bytes)

    def prepare_extension(self, hrs: HRS, extension: bytes) -> None:
        """The same of the extension of the precommit that was prepared."""
        if self._scheme.prepare is not None:
            self._prepare(codec.extension_sign_bytes(self.chain_id, hrs, extension))

    def _prepare(self, sign_bytes: bytes) -> None:
        if self._scheme.prepare is not None and 0 < len(sign_bytes) <= PREPARED_MAX_BYTES:
            self._prepared[sign_bytes] = self._scheme.prepare(sign_bytes)

    def cluster_secret(self) -> bytes:
        """Derive the 32 bytes that the nodes of a cluster know each other by from the key's seed."""
        if self._secret is None:
            raise KeyFileError(_NO_SEED, cure="put one into priv/cluster.key")
        seed = (ctypes.c_char * SEED_BYTES).from_address(self._secret)
        return hkdf_sha256(memoryview(seed), b"cometkms cluster secret v1", 32)

    def sign(self, permit: Permit) -> bytes:
        """Sign the permit's bytes and move the mark."""
        sign_bytes = permitted(permit)
        parsed = self._parse(sign_bytes)
        if (
            parsed is None
            or parsed.chain_id != self.chain_id
            or parsed.hrs < self.last_signed
            or (parsed.hrs == self.last_signed and not self.holds(sign_bytes))
        ):
            raise InvariantError(slot_refusal(self.last_signed, sign_bytes))
        self.raise_mark(parsed.hrs, sign_bytes)
        return self._sign(sign_bytes)

    def sign_extension(self, vote_bytes: bytes, extension: bytes) -> bytes:
        """Only of the non-nil precommit that stands at the mark; what is signed is built here, from
        that precommit's own place.

        Raises: InvariantError.
        """
        parsed = self._parse(vote_bytes)
        if parsed is None or not self.holds(vote_bytes) or parsed.hrs.step != Step.PRECOMMIT or not parsed.block_hash:
            raise InvariantError(slot_refusal(self.last_signed, vote_bytes))
        return self._sign(codec.extension_sign_bytes(parsed.chain_id, parsed.hrs, extension))

    def allow_bytes(self, *, values: bool, unique_ids: Sequence[str]) -> None:
        """Set what the chain's settings allow to be signed besides votes from now on."""
        self._signs_values, self._unique_ids = False, ()
        sizes = [len(encode_text(one)) for one in unique_ids]
        if len(sizes) > RAW_UNIQUE_IDS_MAX or any(not 0 < size <= RAW_UNIQUE_ID_MAX_BYTES for size in sizes):
            raise InvariantError(bad_unique_ids(unique_ids))
        self._signs_values, self._unique_ids = values, tuple(unique_ids)

    def sign_value(self, value: bytes) -> bytes:
        """Sign a value of v1.x's SignBytes without a mark."""
        fits = 0 < len(value) <= RAW_VALUE_MAX_BYTES
        if not self._is_open or not self._signs_values or not fits or rawbytes.is_another_request_s(value):
            raise InvariantError(bytes_refusal(value))
        return self._sign(value)

    def sign_raw(self, raw: bytes, unique_id: str) -> bytes:
        """Sign Celestia's raw bytes, built here for the slot's own chain, without a mark."""
        fits = 0 < len(raw) <= RAW_VALUE_MAX_BYTES
        if not self._is_open or unique_id not in self._unique_ids or not self.chain_id or not fits:
            raise InvariantError(bytes_refusal(raw, unique_id))
        made = rawbytes.raw_bytes(self.chain_id, raw, unique_id)
        # it cannot: field 8 begins a group that the next byte breaks
        if rawbytes.reads_as_vote(made):
            raise InvariantError(bytes_refusal(raw, unique_id))
        return self._sign(made)

    @property
    def _is_open(self) -> bool:
        return self._secret is not None or self._outside is not None

    def _parse(self, sign_bytes: bytes) -> SignBytes | None:
        if not self._is_open:
            return None
        try:
            return codec.parse_sign_bytes(sign_bytes)
        except ProtocolError:
            return None

    def _sign(self, message: bytes) -> bytes:
        """What comes from outside is believed once it verifies. Raises: InvariantError."""
        if self._outside is not None:
            try:
                made = self._outside(message)
            except Exception as error:
                raise InvariantError(f"the signer outside failed: {type(error).__name__}: {said(error)}") from error
            if not verify(self.public_key, message, made):
                raise InvariantError("the signer outside gave a signature that does not verify")
            return made
        if self._secret is None:
            raise InvariantError("the key slot is closed")
        return self._scheme.sign(self._secret, message, self._prepared.get(message))

    def close(self) -> None:
        """Wipe the key; sign() raises from then on."""
        if self._secret is not None:
            sodium().sodium_free(self._secret)
        self._secret = self._outside = None


def permitted(permit: Permit) -> bytes:
    """The bytes that may be signed.

    Raises: InvariantError for anything but a permit, whoever calls without types.
    """
    if type(permit) is not Permit:
        raise InvariantError(f"a key slot signs for a permit only, and not for {type(permit).__name__}")
    return permit.sign_bytes


def slot_refusal(last_signed: HRS, sign_bytes: bytes) -> str:
    """Return both sides of what the slot compared."""
    return f"the key slot, at {tuple(last_signed)}, refuses to sign {sign_bytes.hex()}"


def bad_unique_ids(unique_ids: Sequence[str]) -> str:
    """Why a slot does not take them."""
    return f"{len(unique_ids)} unique ids of raw bytes; a slot takes {RAW_UNIQUE_IDS_MAX} at most, of 1 to {RAW_UNIQUE_ID_MAX_BYTES} bytes each"


def bytes_refusal(value: bytes, unique_id: str = "") -> str:
    """What the slot refuses to sign; of the bytes, which are no vote, their number only."""
    what = f" with the unique id {unique_id!r}" if unique_id else ""
    return f"the key slot refuses to sign {len(value)} bytes{what} that are no vote"


def key_slot(base64_secret: bytearray, chain_id: str, key_type: KeyType = ED25519) -> PureKeySlot:
    """Decode the secret of a key file into locked memory and wipe the text."""
    require(key_type)
    secret = sealed.locked_secret(key_type)
    if secret is None:
        base64_secret[:] = bytes(len(base64_secret))
        raise KeyFileError(
            "the private key's memory cannot be locked", cure="raise the limit of locked memory (ulimit -l)"
        )
    return _adopt(secret, chain_id, lambda: sealed.decode_secret(key_type, base64_secret, secret))


def sealed_slot(key: SealedKey, passphrase: Buffer, chain_id: str) -> PureKeySlot:
    """Open a sealed key straight into locked memory."""
    secret = sealed.locked_secret(sealed.type_of_sealed(key))
    if secret is None:
        raise sealed.no_memory(key)
    return _adopt(secret, chain_id, lambda: sealed.unseal(key, passphrase, secret))


def _adopt(secret: int, chain_id: str, fill: Callable[[], bytes]) -> PureKeySlot:
    """`fill` writes the key and returns its public half, or raises: then the memory is
    wiped and freed.
    """
    try:
        public_key = fill()
    except BaseException:
        sodium().sodium_free(secret)
        raise
    sodium().sodium_mprotect_readonly(secret)
    return PureKeySlot(secret, public_key, chain_id)


def outside_slot(public_key: bytes, sign: Callable[[bytes], bytes], chain_id: str) -> PureKeySlot:
    """Open a slot whose key is elsewhere, and verify each signature from there before it leaves."""
    try:
        require(type_of(public_key))
    except ValueError as error:
        raise KeyFileError(f"a signer outside: {error}") from None
    return PureKeySlot(None, public_key, chain_id, sign)
