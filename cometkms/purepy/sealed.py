"""A seed sealed with a passphrase: the readable twin of csrc/sealed.c. Seed and key are in memory that is wiped, never in `bytes`."""

import contextlib
import ctypes
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from cometkms.errors import KeyFileError
from cometkms.interface import Buffer
from cometkms.limits import SEAL_MEMORY_MAX_BYTES, SEAL_MEMORY_MIN_BYTES, SEAL_PASSES_MAX
from cometkms.model import SealedKey
from cometkms.purepy.sodium import sodium

_SECRET_BYTES: Final = 64
_TEXT_BYTES: Final = 89  # base64 of them, and C's zero
_BASE64_ORIGINAL: Final = 1
_ARGON2ID13: Final = 2
_LABEL: Final = b"cometkms sealed key v1\0"
_FIELDS: Final = {"public_key": 32, "salt": 16, "nonce": 24}


def locked_secret() -> int | None:
    """The address of 64 bytes that libsodium locks and guards; None where they cannot be had."""
    address: int | None = sodium().sodium_malloc(_SECRET_BYTES)
    return address


def decode_secret(base64_secret: bytearray, secret: int) -> bytes:
    """Base64 of seed‖public (wiped) into 64 bytes at `secret`; returns the public key. Raises: KeyFileError."""
    size = ctypes.c_size_t(0)
    with _lent(base64_secret) as text:
        failed = sodium().sodium_base642bin(
            secret, _SECRET_BYTES, text, len(base64_secret), None, ctypes.byref(size), None, _BASE64_ORIGINAL
        )
    base64_secret[:] = bytes(len(base64_secret))
    public_key = _public_of(secret) if not failed and size.value == _SECRET_BYTES else b""
    if not public_key or sodium().sodium_memcmp(secret + 32, public_key, 32) != 0:
        raise KeyFileError(
            "the private key is not base64 of 64 bytes whose second half is the public key of the first; cure: the "
            "key file as it was, from where the key is kept"
        )
    return public_key


def seal_key(base64_secret: bytearray, passphrase: Buffer, blank: SealedKey) -> SealedKey:
    """See interface.Core."""
    secret = ctypes.create_string_buffer(_SECRET_BYTES)
    ciphertext = ctypes.create_string_buffer(48)
    address = ctypes.addressof(secret)
    try:
        sealed = replace(blank, public_key=decode_secret(base64_secret, address))
        aad = _header(sealed)
        with _derived(sealed, passphrase) as key:
            sodium().crypto_aead_xchacha20poly1305_ietf_encrypt(
                ciphertext, None, address, 32, aad, len(aad), None, sealed.nonce, key
            )
    finally:
        sodium().sodium_memzero(address, _SECRET_BYTES)
    return replace(sealed, ciphertext=ciphertext.raw)


def unseal(sealed: SealedKey, passphrase: Buffer, secret: int) -> bytes:
    """Into 64 bytes at `secret`: seed and public key; returns the latter. Raises: KeyFileError."""
    aad = _header(sealed)
    with _derived(sealed, passphrase) as key:
        failed = sodium().crypto_aead_xchacha20poly1305_ietf_decrypt(
            secret, None, None, sealed.ciphertext, len(sealed.ciphertext), aad, len(aad), sealed.nonce, key
        )
    if failed:
        raise KeyFileError(
            "the passphrase does not open it, or the file was changed; cure: the passphrase it was sealed with, and the file as it was"
        )
    public_key = _public_of(secret)
    ctypes.memmove(secret + 32, public_key, 32)
    if public_key != sealed.public_key:
        raise KeyFileError("the private key is not that of its public key")
    return public_key


def unseal_key(sealed: SealedKey, passphrase: Buffer) -> bytearray:
    """See interface.Core."""
    secret = ctypes.create_string_buffer(_SECRET_BYTES)
    address = ctypes.addressof(secret)
    out = bytearray(_TEXT_BYTES)
    try:
        unseal(sealed, passphrase, address)
        with _lent(out) as text:
            sodium().sodium_bin2base64(text, _TEXT_BYTES, address, _SECRET_BYTES, _BASE64_ORIGINAL)
        return out[:-1]
    finally:
        sodium().sodium_memzero(address, _SECRET_BYTES)
        out[:] = bytes(_TEXT_BYTES)


def no_memory(sealed: SealedKey) -> str:
    """Why Argon2id could not work, with the cure."""
    return (
        f"the {sealed.memory_bytes >> 20} MiB of memory that opening it takes cannot be had; cure: give the process more, or seal the key "
        "with `cmkms keys encrypt --memory-mib` less"
    )


def _header(sealed: SealedKey) -> bytes:
    """Everything of a sealed key that is not secret. Raises: KeyFileError."""
    for name, size in _FIELDS.items():
        if len(getattr(sealed, name)) != size:
            raise KeyFileError(f"a sealed key's {name} has {size} bytes, not {len(getattr(sealed, name))}")
    costs = struct.pack("<QQ", sealed.passes, sealed.memory_bytes)
    return _LABEL + sealed.public_key + costs + sealed.salt + sealed.nonce


@contextlib.contextmanager
def _derived(sealed: SealedKey, passphrase: Buffer) -> Iterator[int]:
    """The address of the 32-byte key, wiped behind. Raises: KeyFileError."""
    if not (
        1 <= sealed.passes <= SEAL_PASSES_MAX and SEAL_MEMORY_MIN_BYTES <= sealed.memory_bytes <= SEAL_MEMORY_MAX_BYTES
    ):
        raise KeyFileError(
            "it asks for more passes or memory than any key that is sealed here; cure: the file as it was"
        )
    key = ctypes.create_string_buffer(32)
    address = ctypes.addressof(key)
    try:
        with _lent(passphrase) as text:
            failed = sodium().crypto_pwhash(
                address, 32, text, len(passphrase), sealed.salt, sealed.passes, sealed.memory_bytes, _ARGON2ID13
            )
        if failed:
            raise KeyFileError(no_memory(sealed))
        yield address
    finally:
        sodium().sodium_memzero(address, 32)


@contextlib.contextmanager
def _lent(data: Buffer) -> Iterator[Any]:
    """The data's own memory for C to read or write; a copy only where Python's object is one that C cannot write."""
    view = memoryview(data)
    if view.readonly or len(view) == 0:
        yield ctypes.create_string_buffer(bytes(view), max(1, len(view)))
        return
    lent = (ctypes.c_char * len(view)).from_buffer(view)
    try:
        yield lent
    finally:
        del lent
        view.release()


def _public_of(secret: int) -> bytes:
    """The public key of the seed at `secret`."""
    public, scratch = ctypes.create_string_buffer(32), ctypes.create_string_buffer(_SECRET_BYTES)
    sodium().crypto_sign_ed25519_seed_keypair(public, scratch, secret)
    sodium().sodium_memzero(ctypes.addressof(scratch), _SECRET_BYTES)
    return public.raw
