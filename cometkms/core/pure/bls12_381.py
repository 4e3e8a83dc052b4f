"""bls12_381 keys in Python: the readable twin of csrc/bls12_381.c.

The curve is blst's, by ctypes from the very file that ckzg ships; the secret is read at its address
in locked memory and never becomes a Python object. What signatures have to be is told once more,
without any library, by tests/oracles/bls12_381.py.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

from cometkms.core.pure.sodium import sodium
from cometkms.errors import InvariantError, said
from cometkms.keytypes import KeyType
from cometkms.libraries import unusable

#: Of the basic scheme: CometBFT has this one, an Ethereum validator ..._POP_.
_DST: Final = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_NUL_"
_SUCCESS: Final = 0
_HASH_TO_CURVE: Final = 1
_FLAG_BITS: Final = 0xE0  # of a point's first byte: another form than the uncompressed one
#: Bytes of blst's structs; its header fixes them.
_SCALAR: Final = 32
_AFFINE_G1: Final = 96
_POINT_G1: Final = 144
_AFFINE_G2: Final = 192
_POINT_G2: Final = 288
_AT: Final = ctypes.c_void_p
_TEXT: Final = ctypes.c_char_p
_SIZE: Final = ctypes.c_size_t
#: Arguments of each function that is used.
_ARGUMENTS: Final = {
    "blst_scalar_from_bendian": [_AT, _AT],
    "blst_sk_check": [_AT],
    "blst_sk_to_pk_in_g1": [_AT, _AT],
    "blst_p1_serialize": [_AT, _AT],
    "blst_p1_deserialize": [_AT, _TEXT],
    "blst_hash_to_g2": [_AT, _TEXT, _SIZE, _TEXT, _SIZE, _TEXT, _SIZE],
    "blst_sign_pk_in_g1": [_AT, _AT, _AT],
    "blst_p2_compress": [_AT, _AT],
    "blst_p2_uncompress": [_AT, _TEXT],
    "blst_core_verify_pk_in_g1": [_AT, _AT, ctypes.c_int, _TEXT, _SIZE, _TEXT, _SIZE, _TEXT, _SIZE],
}


@cache
def library(path: str, key_type: KeyType) -> ctypes.CDLL:
    """Raises: OperatorError naming the file or function."""
    try:
        functions = ctypes.CDLL(path)
        for name, arguments in _ARGUMENTS.items():
            getattr(functions, name).argtypes = arguments
    except (OSError, AttributeError) as error:
        raise unusable(key_type, said(error)) from error
    return functions


def public_of(lib: ctypes.CDLL, secret: int) -> bytes | None:
    """96 bytes, uncompressed. `secret`: an address. None: what is there is no private key."""
    made, out = ctypes.create_string_buffer(_POINT_G1), ctypes.create_string_buffer(96)
    with _scalar(lib, secret) as scalar:
        if scalar is None:
            return None
        lib.blst_sk_to_pk_in_g1(made, scalar)
    lib.blst_p1_serialize(out, made)
    return out.raw


def prepare(lib: ctypes.CDLL, message: bytes) -> bytes:
    """The message hashed to a point of G2, as blst holds it: half of a signature's work, and no key
    is needed for it.
    """
    made = ctypes.create_string_buffer(_POINT_G2)
    lib.blst_hash_to_g2(made, message, len(message), _DST, len(_DST), None, 0)
    return made.raw


def sign(lib: ctypes.CDLL, secret: int, prepared: bytes) -> bytes:
    """96 bytes, compressed. `prepared`: what prepare() made of the message."""
    made, out = ctypes.create_string_buffer(_POINT_G2), ctypes.create_string_buffer(96)
    with _scalar(lib, secret) as scalar:
        if scalar is None:
            raise InvariantError("what is in locked memory is no private key of type bls12_381")
        lib.blst_sign_pk_in_g1(made, prepared, scalar)
    lib.blst_p2_compress(out, made)
    return out.raw


def verify(lib: ctypes.CDLL, public_key: bytes, message: bytes, signature: bytes) -> bool:
    """blst tests that both are points of their groups and that the key is not the point at
    infinity. A key with a flag is another form.
    """
    key, point = ctypes.create_string_buffer(_AFFINE_G1), ctypes.create_string_buffer(_AFFINE_G2)
    if public_key[0] & _FLAG_BITS or lib.blst_p1_deserialize(key, public_key) != _SUCCESS:
        return False
    if lib.blst_p2_uncompress(point, signature) != _SUCCESS:
        return False
    done = lib.blst_core_verify_pk_in_g1(key, point, _HASH_TO_CURVE, message, len(message), _DST, len(_DST), None, 0)
    return bool(done == _SUCCESS)


@contextmanager
def _scalar(lib: ctypes.CDLL, secret: int) -> Iterator[Any]:
    """The 32 bytes at that address as blst wants them, wiped in the end.

    None: zero, or not below the order.
    """
    scalar = ctypes.create_string_buffer(_SCALAR)
    try:
        lib.blst_scalar_from_bendian(scalar, secret)
        yield scalar if lib.blst_sk_check(scalar) & 1 else None
    finally:
        sodium().sodium_memzero(ctypes.addressof(scalar), _SCALAR)


#: A signature that CometBFT v1.0.1 made (tests/vectors/v1/keys_v1.json): seed, text, signature.
KNOWN: Final = (
    bytes.fromhex("005342ce64c905399e93c9047dd98df76caefed20174816f77f57de56e6b26f7"),
    bytes.fromhex(
        "3808021180000000000000001902000000000000002a0c0884c1cdef021099b9f6870332146d61696e6e65742d626561636f6e2d3830303934"
    ),
    bytes.fromhex(
        "aa8d046aea877884bab7423e50e5925d827471bf788c887a207690bb925c57bc2fbe87388eda430f34871fe1eee91579"
        "06d820b7c7b98876888b23c2bf7fff3c5ed105624d68d86fe3f7039fbe3d4a33f40f90a99f3cfb6a4180a5797e891ee0"
    ),
)
