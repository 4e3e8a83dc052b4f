"""The libraries of key types over the C core: resolved from their packages' own extension files,
once, when a key of the type is there.
"""

from collections.abc import Callable
from typing import Any, Final

from cometkms._native import ffi, lib
from cometkms.core.native.seam import borrowed
from cometkms.keytypes import BLS12_381, ED25519, SECP256K1, SECP256K1ETH, KeyType, raw_of, type_of
from cometkms.libraries import extension_file, unusable

#: The module whose file exports the functions, and what resolves them there and signs a known text.
_LOADERS: Final[dict[str, tuple[str, Callable[[bytes, Any, int], int]]]] = {
    SECP256K1.name: ("coincurve._libsecp256k1", lib.ck_secp256k1_load),
    BLS12_381.name: ("ckzg", lib.ck_bls12_381_load),
    SECP256K1ETH.name: ("coincurve._libsecp256k1", lib.ck_secp256k1_load),
}


def require(key_type: KeyType) -> None:
    """Load the library of a type of key and let it sign a known text, once."""
    if key_type is ED25519:
        return
    module, load = _LOADERS[key_type.name]
    error = ffi.new("char[]", 512)
    if load(extension_file(module, key_type).encode(), error, len(error)) != lib.CK_OK:
        raise unusable(key_type, ffi.string(error).decode("utf-8", "replace"))


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether the signature is the key's over the message."""
    try:
        key_type = type_of(public_key)
    except ValueError:
        return False
    require(key_type)
    keep: list[Any] = []
    raw = borrowed(raw_of(public_key), keep)
    return bool(lib.ck_verify(key_type.number, raw, borrowed(message, keep), borrowed(signature, keep)) == lib.CK_OK)
