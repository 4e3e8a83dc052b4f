"""A seed sealed with a passphrase: the readable twin of csrc/sealed.c.

Seed and key are in memory that is wiped, never in `bytes`.
"""

import contextlib
import ctypes
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from cometkms.core.interface import Buffer
from cometkms.core.pure.keytypes import require, scheme
from cometkms.core.pure.sodium import sodium
from cometkms.errors import KeyFileError
from cometkms.keytypes import ED25519, SEED_BYTES, KeyType, no_such_key, raw_of, type_of, typed
from cometkms.limits import SEAL_MEMORY_MAX_BYTES, SEAL_MEMORY_MIN_BYTES, SEAL_PASSES_MAX, SECRET_MAX_BYTES
from cometkms.model import SealedKey

_TEXT_BYTES: Final = 4 * -(-SECRET_MAX_BYTES // 3) + 1  # base64 of the longest secret, and C's zero
_BASE64_ORIGINAL: Final = 1
_ARGON2ID13: Final = 2
_LABEL: Final = b"cometkms sealed key v1\0"  # of an ed25519 key
_LABEL_TYPED: Final = b"cometkms sealed key v2\0"
_FIELDS: Final = {"salt": 16, "nonce": 24}


def locked_secret(key_type: KeyType) -> int | None:
    """The address of memory for the type's secret, which libsodium locks and guards; None where it
    cannot be had.
    """
    address: int | None = sodium().sodium_malloc(key_type.secret_bytes)
    return address


def type_of_sealed(sealed: SealedKey) -> KeyType:
    """Raises: KeyFileError; OperatorError where the library of the type is missing."""
    try:
        key_type = type_of(sealed.public_key)
    except ValueError as error:
        raise KeyFileError(f"a sealed key's public_key: {error}") from None
    require(key_type)
    return key_type


def decode_secret(key_type: KeyType, base64_secret: bytearray, secret: int) -> bytes:
    """A key file's secret (base64, wiped) into the memory at `secret`; returns the public key.

    Raises: KeyFileError.
    """
    size = ctypes.c_size_t(0)
    with _lent(base64_secret) as text:
        failed = sodium().sodium_base642bin(
            secret, key_type.secret_bytes, text, len(base64_secret), None, ctypes.byref(size), None, _BASE64_ORIGINAL
        )
    base64_secret[:] = bytes(len(base64_secret))
    whole = not failed and size.value == key_type.secret_bytes
    raw = scheme(key_type).public_of(secret) if whole else None
    behind = key_type.secret_bytes - SEED_BYTES
    if raw is None or (behind and sodium().sodium_memcmp(secret + SEED_BYTES, raw, behind) != 0):
        raise no_such_key(key_type)
    return typed(key_type, raw)


def seal_key(base64_secret: bytearray, passphrase: Buffer, blank: SealedKey) -> SealedKey:
    """Seal a key file's secret with the cost, salt and nonce of the blank."""
    key_type = type_of_sealed(blank)
    secret = ctypes.create_string_buffer(key_type.secret_bytes)
    ciphertext = ctypes.create_string_buffer(48)
    address = ctypes.addressof(secret)
    try:
        sealed = replace(blank, public_key=decode_secret(key_type, base64_secret, address))
        aad = _header(sealed)
        with _derived(sealed, passphrase) as key:
            sodium().crypto_aead_xchacha20poly1305_ietf_encrypt(
                ciphertext, None, address, SEED_BYTES, aad, len(aad), None, sealed.nonce, key
            )
    finally:
        sodium().sodium_memzero(address, key_type.secret_bytes)
    return replace(sealed, ciphertext=ciphertext.raw)


def unseal(sealed: SealedKey, passphrase: Buffer, secret: int) -> bytes:
    """Into the memory at `secret`: what a key file's secret is; returns the public key.

    Raises: KeyFileError.
    """
    key_type, aad = type_of_sealed(sealed), _header(sealed)
    with _derived(sealed, passphrase) as key:
        failed = sodium().crypto_aead_xchacha20poly1305_ietf_decrypt(
            secret, None, None, sealed.ciphertext, len(sealed.ciphertext), aad, len(aad), sealed.nonce, key
        )
    if failed:
        raise KeyFileError(
            "the passphrase does not open it, or the file was changed",
            cure="the passphrase it was sealed with, and the file as it was",
        )
    raw = scheme(key_type).public_of(secret)
    if raw is None or raw != raw_of(sealed.public_key):
        raise KeyFileError("the private key is not that of its public key")
    ctypes.memmove(secret + SEED_BYTES, raw, key_type.secret_bytes - SEED_BYTES)
    return sealed.public_key


def unseal_key(sealed: SealedKey, passphrase: Buffer) -> bytearray:
    """Open a sealed key for an operator's command, which wipes the text it gets."""
    size = type_of_sealed(sealed).secret_bytes
    secret = ctypes.create_string_buffer(size)
    address = ctypes.addressof(secret)
    out = bytearray(_TEXT_BYTES)
    try:
        unseal(sealed, passphrase, address)
        with _lent(out) as text:
            sodium().sodium_bin2base64(text, _TEXT_BYTES, address, size, _BASE64_ORIGINAL)
        return out[: 4 * -(-size // 3)]
    finally:
        sodium().sodium_memzero(address, size)
        out[:] = bytes(_TEXT_BYTES)


def no_memory(sealed: SealedKey) -> KeyFileError:
    """Why Argon2id could not work, with the cure."""
    return KeyFileError(
        f"the {sealed.memory_bytes >> 20} MiB of memory that opening it takes cannot be had",
        cure="give the process more, or seal the key with `cmkms keys encrypt --memory-mib` less",
    )


def _header(sealed: SealedKey) -> bytes:
    """Everything of a sealed key that is not secret. Raises: KeyFileError."""
    for name, size in _FIELDS.items():
        if len(getattr(sealed, name)) != size:
            raise KeyFileError(f"a sealed key's {name} has {size} bytes, not {len(getattr(sealed, name))}")
    costs = struct.pack("<QQ", sealed.passes, sealed.memory_bytes)
    label = _LABEL if type_of(sealed.public_key) is ED25519 else _LABEL_TYPED
    return label + sealed.public_key + costs + sealed.salt + sealed.nonce


@contextlib.contextmanager
def _derived(sealed: SealedKey, passphrase: Buffer) -> Iterator[int]:
    """The address of the 32-byte key, wiped behind. Raises: KeyFileError."""
    if not (
        1 <= sealed.passes <= SEAL_PASSES_MAX and SEAL_MEMORY_MIN_BYTES <= sealed.memory_bytes <= SEAL_MEMORY_MAX_BYTES
    ):
        raise KeyFileError(
            "it asks for more passes or memory than any key that is sealed here", cure="the file as it was"
        )
    key = ctypes.create_string_buffer(32)
    address = ctypes.addressof(key)
    try:
        with _lent(passphrase) as text:
            failed = sodium().crypto_pwhash(
                address, 32, text, len(passphrase), sealed.salt, sealed.passes, sealed.memory_bytes, _ARGON2ID13
            )
        if failed:
            raise no_memory(sealed)
        yield address
    finally:
        sodium().sodium_memzero(address, 32)


@contextlib.contextmanager
def _lent(data: Buffer) -> Iterator[Any]:
    """The data's own memory for C to read or write; a copy only where Python's object is one that C
    cannot write.
    """
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
