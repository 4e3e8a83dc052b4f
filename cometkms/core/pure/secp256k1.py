"""secp256k1 and secp256k1eth keys in Python: the readable twin of csrc/secp256k1.c.

The curve is libsecp256k1's, by ctypes from the very file that coincurve ships; the secret is read
at its address in locked memory and never becomes a Python object. What signatures have to be is
told once more, without any library, by tests/oracles/secp256k1.py.
"""

import ctypes
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from cometkms.core.pure.keccak import keccak_256
from cometkms.errors import InvariantError, said
from cometkms.keytypes import KeyType
from cometkms.libraries import unusable

_CONTEXT_NONE: Final = 1
_COMPRESSED: Final = 258
_AT: Final = ctypes.c_void_p
_TEXT: Final = ctypes.c_char_p
_INT: Final = ctypes.c_int
#: Arguments of each function that is used.
_ARGUMENTS: Final = {
    "secp256k1_context_randomize": [_AT, _TEXT],
    "secp256k1_ec_seckey_verify": [_AT, _AT],
    "secp256k1_ec_pubkey_create": [_AT, _AT, _AT],
    "secp256k1_ec_pubkey_parse": [_AT, _AT, _TEXT, ctypes.c_size_t],
    "secp256k1_ec_pubkey_serialize": [_AT, _AT, ctypes.POINTER(ctypes.c_size_t), _AT, ctypes.c_uint],
    "secp256k1_ecdsa_sign": [_AT, _AT, _TEXT, _AT, _AT, _AT],
    "secp256k1_ecdsa_verify": [_AT, _AT, _TEXT, _AT],
    "secp256k1_ecdsa_signature_serialize_compact": [_AT, _AT, _AT],
    "secp256k1_ecdsa_signature_parse_compact": [_AT, _AT, _TEXT],
    "secp256k1_ecdsa_sign_recoverable": [_AT, _AT, _TEXT, _AT, _AT, _AT],
    "secp256k1_ecdsa_recoverable_signature_serialize_compact": [_AT, _AT, ctypes.POINTER(_INT), _AT],
    "secp256k1_ecdsa_recoverable_signature_parse_compact": [_AT, _AT, _TEXT, _INT],
    "secp256k1_ecdsa_recover": [_AT, _AT, _AT, _TEXT],
}


@dataclass(frozen=True, slots=True)
class Library:
    """The functions, and the context that each takes first."""

    functions: ctypes.CDLL
    context: int


@cache
def library(path: str, key_type: KeyType) -> Library:
    """Raises: OperatorError naming the file or function."""
    try:
        functions = ctypes.CDLL(path)
        for name, arguments in _ARGUMENTS.items():
            getattr(functions, name).argtypes = arguments
        functions.secp256k1_context_create.restype = _AT
    except (OSError, AttributeError) as error:
        raise unusable(key_type, said(error)) from error
    context = functions.secp256k1_context_create(_CONTEXT_NONE)
    functions.secp256k1_context_randomize(context, os.urandom(32))
    return Library(functions, context)


def public_of(lib: Library, secret: int) -> bytes | None:
    """33 bytes, compressed. `secret`: an address. None: what is there is no private key."""
    key = ctypes.create_string_buffer(64)
    if not lib.functions.secp256k1_ec_seckey_verify(lib.context, secret):
        return None
    if not lib.functions.secp256k1_ec_pubkey_create(lib.context, key, secret):
        return None
    return _serialized(lib, key)


def sign(lib: Library, secret: int, message: bytes) -> bytes:
    """r and s of the message's SHA-256, with a low s and RFC 6979's nonce."""
    made, out = ctypes.create_string_buffer(64), ctypes.create_string_buffer(64)
    digest = hashlib.sha256(message).digest()
    _must(lib.functions.secp256k1_ecdsa_sign(lib.context, made, digest, secret, None, None))
    _must(lib.functions.secp256k1_ecdsa_signature_serialize_compact(lib.context, out, made))
    return out.raw


def verify(lib: Library, public_key: bytes, message: bytes, signature: bytes) -> bool:
    """A high s does not verify."""
    return _verifies(lib, public_key, hashlib.sha256(message).digest(), signature)


def sign_eth(lib: Library, secret: int, message: bytes) -> bytes:
    """r, s and the recovery id of the message's Keccak-256."""
    made, out, number = ctypes.create_string_buffer(65), ctypes.create_string_buffer(64), _INT(0)
    _must(lib.functions.secp256k1_ecdsa_sign_recoverable(lib.context, made, keccak_256(message), secret, None, None))
    serialize = lib.functions.secp256k1_ecdsa_recoverable_signature_serialize_compact
    _must(serialize(lib.context, out, ctypes.byref(number), made) and number.value in (0, 1))
    return out.raw + bytes([number.value])


def verify_eth(lib: Library, public_key: bytes, message: bytes, signature: bytes) -> bool:
    """The key that the signature recovers must be this one, so that there is no second
    id that passes.
    """
    digest, number = keccak_256(message), signature[64]
    if number > 1 or not _verifies(lib, public_key, digest, signature[:64]):
        return False
    whole, key = ctypes.create_string_buffer(65), ctypes.create_string_buffer(64)
    parse = lib.functions.secp256k1_ecdsa_recoverable_signature_parse_compact
    if not parse(lib.context, whole, signature[:64], number):
        return False
    return bool(
        lib.functions.secp256k1_ecdsa_recover(lib.context, key, whole, digest) and _serialized(lib, key) == public_key
    )


def _verifies(lib: Library, public_key: bytes, digest: bytes, signature: bytes) -> bool:
    key, parsed = ctypes.create_string_buffer(64), ctypes.create_string_buffer(64)
    if not lib.functions.secp256k1_ec_pubkey_parse(lib.context, key, public_key, len(public_key)):
        return False
    if not lib.functions.secp256k1_ecdsa_signature_parse_compact(lib.context, parsed, signature):
        return False
    return bool(lib.functions.secp256k1_ecdsa_verify(lib.context, parsed, digest, key))


def _serialized(lib: Library, key: Any) -> bytes:
    out, size = ctypes.create_string_buffer(33), ctypes.c_size_t(33)
    _must(lib.functions.secp256k1_ec_pubkey_serialize(lib.context, out, ctypes.byref(size), key, _COMPRESSED))
    return out.raw


def _must(done: int) -> None:
    if not done:
        raise InvariantError("libsecp256k1 refuses what it was asked for")


Known = tuple[bytes, bytes, bytes, Callable[[Library, int, bytes], bytes]]
#: Two signatures that CometBFT v0.40.0 made (tests/vectors/v040/signatures_v040.json):
#: seed, text, signature.
KNOWN: Final[dict[str, Known]] = {
    "secp256k1": (
        bytes.fromhex("2aa48d16c33b252337ede54bcb68ffffb6c94b8e4b121d80d59e94fda02841b0"),
        bytes.fromhex("2608021102000000000000002a0c089fb7c59705108d87b68202320b636f736d6f736875622d34"),
        bytes.fromhex(
            "9e5dc249554384ab96e43c489d0a5c94f02cf9c87b4e73a62913bd3849bd04ff52f50cb58498be6787fdd3417f6aa36c552b2946c2ed9f3080c7472a7143796b"
        ),
        sign,
    ),
    "secp256k1eth": (
        bytes.fromhex("5b40484d34aee8b3a9f8d0d34a9160f57fea0abe87dc51d0d25d5a64a7aaaf0d"),
        bytes.fromhex("1e08011102000000000000001980000000000000002a003206746573742d31"),
        bytes.fromhex(
            "e1196e6d58f34d688bf1683b6ddcebdf8e0c1565e96d1ea0766a95b6f0bf786972e5c0921ba023bc267bdb59ea5d4cac9d2622a6ba05cbc6b80d10a1fd94a76c00"
        ),
        sign_eth,
    ),
}
