"""A key file sealed with a passphrase.

It stands where priv_validator_key.json stands; address and public key are in the clear.

    {"address": …, "pub_key": {…},                       as in CometBFT's file
     "sealed_key": {"format": "cometkms-sealed-1",       -2: of another type than ed25519
                    "kdf": "argon2id13", "passes": 3, "memory_mib": 256, "salt": base64 of 16 bytes,
                    "cipher": "xchacha20poly1305-ietf", "nonce": base64 of 24,
                    "ciphertext": base64 of 48}}

The type, public key, passes, memory, salt and nonce are authenticated with the ciphertext, which
holds the seed; passes and memory are bounded before anything is spent on them. CometBFT does not
take the file for a key.
"""

import base64
import json
import os
from typing import Any, Final

from cometkms.errors import no_json
from cometkms.keys.public import address_of, check_address, decode_public
from cometkms.keytypes import ED25519, KeyType, raw_of, type_of, typed
from cometkms.limits import SEAL_MEMORY_MAX_BYTES, SEAL_MEMORY_MIN_BYTES, SEAL_PASSES_MAX
from cometkms.model import SealedKey

FORMAT: Final = "cometkms-sealed-1"
# older versions, which know ed25519 alone, refuse it by this name
FORMAT_TYPED: Final = "cometkms-sealed-2"
KDF: Final = "argon2id13"
CIPHER: Final = "xchacha20poly1305-ietf"
MARKER: Final = b'"sealed_key"'
_MIB: Final = 1 << 20
_SIZES: Final = {"salt": 16, "nonce": 24, "ciphertext": 48}
_WORDS: Final = {"kdf": KDF, "cipher": CIPHER}


def blank(passes: int, memory_bytes: int, key_type: KeyType = ED25519) -> SealedKey:
    """What a key of that type is sealed into: cost, and a salt and a nonce never used before."""
    no_key = typed(key_type, bytes(key_type.public_bytes))
    return SealedKey(no_key, passes, memory_bytes, os.urandom(_SIZES["salt"]), os.urandom(_SIZES["nonce"]), b"")


def _format_of(public_key: bytes) -> str:
    return FORMAT if type_of(public_key) is ED25519 else FORMAT_TYPED


def encode(sealed: SealedKey) -> bytes:
    """The file."""
    fields: dict[str, Any] = {
        "format": _format_of(sealed.public_key),
        "kdf": KDF,
        "passes": sealed.passes,
        "memory_mib": sealed.memory_bytes // _MIB,
        "salt": _text(sealed.salt),
        "cipher": CIPHER,
        "nonce": _text(sealed.nonce),
        "ciphertext": _text(sealed.ciphertext),
    }
    document = {
        "address": address_of(sealed.public_key),
        "pub_key": {"type": type_of(sealed.public_key).public_json, "value": _text(raw_of(sealed.public_key))},
        "sealed_key": fields,
    }
    return json.dumps(document, indent=2).encode()


def decode(untrusted: bytes | bytearray) -> SealedKey:
    """Strict. Raises: ValueError with what is wrong."""
    try:
        document = json.loads(untrusted)
    except (ValueError, RecursionError) as error:
        raise ValueError(no_json(error)) from error
    if not isinstance(document, dict) or not isinstance(document.get("sealed_key"), dict):
        raise ValueError("it holds no sealed_key")
    if "priv_key" in document:
        raise ValueError("it holds a priv_key beside the sealed_key")
    public_key = decode_public(document)
    check_address(document, public_key)
    fields: dict[str, Any] = document["sealed_key"]
    unknown = set(fields) - {*_WORDS, *_SIZES, "format", "passes", "memory_mib"}
    if unknown:
        raise ValueError(f"its sealed_key has an unknown field {sorted(unknown)[0]!r}")
    for name, known in {"format": _format_of(public_key), **_WORDS}.items():
        if fields.get(name) != known:
            raise ValueError(f"its {name} is {fields.get(name)!r}, and this program knows {known!r}")
    passes = _number(fields, "passes", 1, SEAL_PASSES_MAX)
    memory_mib = _number(fields, "memory_mib", SEAL_MEMORY_MIN_BYTES // _MIB, SEAL_MEMORY_MAX_BYTES // _MIB)
    salt, nonce, ciphertext = (_bytes(fields, name) for name in ("salt", "nonce", "ciphertext"))
    return SealedKey(public_key, passes, memory_mib * _MIB, salt, nonce, ciphertext)


def _number(fields: dict[str, Any], name: str, least: int, most: int) -> int:
    value = fields.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"its {name} is {value!r}; {least} to {most} are possible")
    return value


def _bytes(fields: dict[str, Any], name: str) -> bytes:
    value = fields.get(name)
    try:
        decoded = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except ValueError:
        decoded = b""
    if len(decoded) != _SIZES[name]:
        raise ValueError(f"its {name} is not base64 of {_SIZES[name]} bytes")
    return decoded


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
