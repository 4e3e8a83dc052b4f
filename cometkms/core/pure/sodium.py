"""libsodium's functions for guarded memory and sealed keys, by ctypes from the very file that
PyNaCl ships.
"""

import ctypes
from functools import cache
from importlib.util import find_spec
from typing import Final

from cometkms.errors import OperatorError, said

_AT: Final = ctypes.c_void_p
_SIZE: Final = ctypes.c_size_t
_LONG: Final = ctypes.c_ulonglong
#: Arguments of each function that takes addresses or sizes.
_ARGUMENTS: Final = {
    "sodium_malloc": [_SIZE],
    "sodium_free": [_AT],
    "sodium_mprotect_readonly": [_AT],
    "sodium_memcmp": [_AT, ctypes.c_char_p, _SIZE],
    "sodium_memzero": [_AT, _SIZE],
    "sodium_base642bin": [_AT, _SIZE, _AT, _SIZE, ctypes.c_char_p, ctypes.POINTER(_SIZE), _AT, ctypes.c_int],
    "sodium_bin2base64": [_AT, _SIZE, _AT, _SIZE, ctypes.c_int],
    "randombytes_buf": [_AT, _SIZE],
    "crypto_scalarmult_curve25519": [_AT, _AT, ctypes.c_char_p],
    "crypto_scalarmult_curve25519_base": [_AT, _AT],
    "crypto_sign_ed25519_seed_keypair": [_AT, _AT, _AT],
    "crypto_sign_ed25519_detached": [_AT, _AT, ctypes.c_char_p, _LONG, _AT],
    "crypto_pwhash": [_AT, _LONG, _AT, _LONG, ctypes.c_char_p, _LONG, _SIZE, ctypes.c_int],
    "crypto_aead_xchacha20poly1305_ietf_encrypt": [_AT, _AT, _AT, _LONG, ctypes.c_char_p, _LONG, _AT, ctypes.c_char_p, _AT],
    "crypto_aead_xchacha20poly1305_ietf_decrypt": [_AT, _AT, _AT, ctypes.c_char_p, _LONG, ctypes.c_char_p, _LONG, ctypes.c_char_p, _AT],
}  # fmt: skip


@cache
def sodium() -> ctypes.CDLL:
    """Raises: OperatorError naming the file or function."""
    spec = find_spec("nacl._sodium")
    if spec is None or spec.origin is None:
        raise OperatorError("PyNaCl's extension nacl/_sodium is not installed", cure="pip install 'pynacl>=1.6'")
    try:
        library = ctypes.CDLL(spec.origin)
        for name, arguments in _ARGUMENTS.items():
            getattr(library, name).argtypes = arguments
        library.sodium_malloc.restype = library.sodium_bin2base64.restype = ctypes.c_void_p
    except (OSError, AttributeError) as error:
        raise OperatorError(
            f"libsodium cannot be used: {said(error)}", cure="pip install --force-reinstall pynacl"
        ) from error
    if library.sodium_init() < 0:
        raise OperatorError("sodium_init failed")
    return library
