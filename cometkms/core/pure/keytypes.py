"""What a key's type decides, in Python: the twin of csrc/keytype.c.

Secrets are addresses of locked memory here.
"""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

from nacl import exceptions
from nacl.bindings import crypto_sign_open

from cometkms.core.pure import bls12_381, secp256k1
from cometkms.core.pure.sodium import sodium
from cometkms.keytypes import BLS12_381, ED25519, SECP256K1, SECP256K1ETH, KeyType, raw_of, type_of
from cometkms.libraries import extension_file, unusable


@dataclass(frozen=True, slots=True)
class Scheme:
    """The functions of a type. Keys and signatures without a type; sizes are checked before.

    `public_of`: of the seed at an address, None where it is no private key. `sign`: with the secret
    at an address, and what prepare() made of exactly these bytes, None where nothing did.
    `prepare`: what signing needs and no key is needed for; None: nothing is worth it.
    """

    public_of: Callable[[int], bytes | None]
    sign: Callable[[int, bytes, bytes | None], bytes]
    verify: Callable[[bytes, bytes, bytes], bool]
    prepare: Callable[[bytes], bytes] | None = None


def _ed25519(_: KeyType) -> Scheme:
    def public_of(seed: int) -> bytes:
        public, scratch = ctypes.create_string_buffer(32), ctypes.create_string_buffer(64)
        sodium().crypto_sign_ed25519_seed_keypair(public, scratch, seed)
        sodium().sodium_memzero(ctypes.addressof(scratch), 64)
        return public.raw

    def sign(secret: int, message: bytes, _: bytes | None) -> bytes:
        signature = ctypes.create_string_buffer(64)
        sodium().crypto_sign_ed25519_detached(signature, None, message, len(message), secret)
        return signature.raw

    def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
        try:
            crypto_sign_open(signature + message, public_key)
        except exceptions.BadSignatureError:
            return False
        return True

    return Scheme(public_of, sign, verify)


def _secp256k1(key_type: KeyType) -> Scheme:
    lib = secp256k1.library(extension_file("coincurve._libsecp256k1", key_type), key_type)
    seed, text, known, sign = secp256k1.KNOWN[key_type.name]
    verify = secp256k1.verify if key_type is SECP256K1 else secp256k1.verify_eth
    of_seed = ctypes.create_string_buffer(seed, len(seed))
    if sign(lib, ctypes.addressof(of_seed), text) != known:
        raise unusable(key_type, "it signs a known text otherwise than CometBFT does")
    return Scheme(
        lambda secret: secp256k1.public_of(lib, secret),
        lambda secret, message, _: sign(lib, secret, message),
        lambda public_key, message, signature: verify(lib, public_key, message, signature),
    )


def _bls12_381(key_type: KeyType) -> Scheme:
    lib = bls12_381.library(extension_file("ckzg", key_type), key_type)
    seed, text, known = bls12_381.KNOWN
    of_seed = ctypes.create_string_buffer(seed, len(seed))
    if bls12_381.sign(lib, ctypes.addressof(of_seed), bls12_381.prepare(lib, text)) != known:
        raise unusable(key_type, "it signs a known text otherwise than CometBFT does")
    return Scheme(
        lambda secret: bls12_381.public_of(lib, secret),
        lambda secret, message, prepared: bls12_381.sign(lib, secret, prepared or bls12_381.prepare(lib, message)),
        lambda public_key, message, signature: bls12_381.verify(lib, public_key, message, signature),
        lambda message: bls12_381.prepare(lib, message),
    )


_SCHEMES: Final[dict[str, Callable[[KeyType], Scheme]]] = {
    ED25519.name: _ed25519,
    SECP256K1.name: _secp256k1,
    BLS12_381.name: _bls12_381,
    SECP256K1ETH.name: _secp256k1,
}


@cache
def scheme(key_type: KeyType) -> Scheme:
    """The functions of the type, its library loaded and tried.

    Raises: OperatorError, as interface.Core.require().
    """
    return _SCHEMES[key_type.name](key_type)


def require(key_type: KeyType) -> None:
    """Load the library of a type of key and let it sign a known text, once."""
    scheme(key_type)


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether the signature is the key's over the message."""
    try:
        key_type, raw = type_of(public_key), raw_of(public_key)
    except ValueError:
        return False
    return len(signature) == key_type.signature_bytes and scheme(key_type).verify(raw, message, signature)
