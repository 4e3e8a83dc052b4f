"""The public half of a key file, which every form of it holds in the clear, and the addresses that
CometBFT makes of public keys.
"""

import base64
import hashlib
from typing import Any, Final

from cometkms.core.pure.keccak import keccak_256
from cometkms.keys.ripemd160 import ripemd160
from cometkms.keytypes import (
    ED25519,
    FOREIGN,
    KEY_TYPES,
    SECP256K1,
    SECP256K1ETH,
    KeyType,
    by_public_json,
    raw_of,
    type_of,
    typed,
)
from cometkms.limits import ADDRESS_BYTES

PUBLIC_TYPE: Final = ED25519.public_json
_FIELD: Final = 2**256 - 2**32 - 977  # of secp256k1 (SEC 2, section 2.4.1)


def address_of(public_key: bytes) -> str:
    """CometBFT's address: 40 upper-case hex digits. `public_key`: as keytypes.typed() makes it.

    ed25519 and bls12_381: the first 20 bytes of SHA-256(key). secp256k1: RIPEMD-160(SHA-256(key)).
    secp256k1eth: the last 20 bytes of Keccak-256 of the uncompressed point. Raises: ValueError for
    bytes that are no public key of a known type.
    """
    key_type, raw = type_of(public_key), raw_of(public_key)
    if key_type is SECP256K1:
        address = ripemd160(hashlib.sha256(raw).digest())
    elif key_type is SECP256K1ETH:
        address = keccak_256(_uncompressed(raw))[-ADDRESS_BYTES:]
    else:
        address = hashlib.sha256(raw).digest()[:ADDRESS_BYTES]
    return address.hex().upper()


def _uncompressed(raw: bytes) -> bytes:
    """x and y of a compressed point of secp256k1.

    Raises: ValueError for one that is not on the curve.
    """
    x = int.from_bytes(raw[1:], "big")
    y = pow(x**3 + 7, (_FIELD + 1) // 4, _FIELD)
    if raw[0] not in (2, 3) or x >= _FIELD or (y * y - x**3 - 7) % _FIELD:
        raise ValueError("the public key is no point of secp256k1")
    if y & 1 != raw[0] & 1:
        y = _FIELD - y
    return raw[1:] + y.to_bytes(32, "big")


def decode_public(document: dict[str, Any]) -> bytes:
    """ "pub_key" of a key file, as keytypes.typed() makes it. Raises: ValueError."""
    public = document.get("pub_key")
    name = public.get("type") if isinstance(public, dict) else None
    key_type = by_public_json(name)
    if key_type is None:
        raise ValueError(
            f"its pub_key is of type {name!r}, which is none of {', '.join(one.public_json for one in KEY_TYPES)}"
        )
    try:
        raw = base64.b64decode(str(public.get("value") if isinstance(public, dict) else ""), validate=True)
    except ValueError:
        raw = b""
    if len(raw) != key_type.public_bytes:
        also = _look_alike(key_type, len(raw))
        raise ValueError(f"its pub_key is no {key_type.public_json} of {key_type.public_bytes} bytes{also}")
    return typed(key_type, raw)


def _look_alike(key_type: KeyType, size: int) -> str:
    """What a key of that size under the type's name is."""
    if (key_type.name, size) == ("bls12_381", 48):
        return ": a compressed one has 48, and CometBFT takes the 96 of the uncompressed form only"
    if key_type.name.startswith("secp256k1") and size == 65:
        return ": an uncompressed one has 65, as a fork with Keccak addresses writes it, which is another scheme"
    return ""


def check_address(document: dict[str, Any], public_key: bytes) -> None:
    """Raises: ValueError unless "address" is the key's."""
    address = document.get("address")
    if not isinstance(address, str) or address.upper() != address_of(public_key):
        raise ValueError(f"its address {address!r} is not the key's, which is {address_of(public_key)}")


def why_unsupported(private_json: object) -> str:
    """Why a key file's priv_key of this type is refused, by the name that stands in the file."""
    if isinstance(private_json, str) and private_json in FOREIGN:
        return f"a key of type {private_json!r}, which is not supported: {FOREIGN[private_json]}"
    names = ", ".join(one.private_json for one in KEY_TYPES)
    return f"a key of type {private_json!r}; supported are {names}"
