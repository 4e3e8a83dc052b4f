"""The public half of a key file: what every form of it holds in the clear."""

import base64
import hashlib
from typing import Any, Final

from cometkms.limits import ADDRESS_BYTES

PUBLIC_TYPE: Final = "tendermint/PubKeyEd25519"


def address_of(public_key: bytes) -> str:
    """CometBFT's address: 40 upper-case hex digits, the first 20 bytes of SHA-256(public key)."""
    return hashlib.sha256(public_key).digest()[:ADDRESS_BYTES].hex().upper()


def decode_public(document: dict[str, Any]) -> bytes:
    """ "pub_key" of a key file, 32 bytes. Raises: ValueError."""
    public = document.get("pub_key")
    try:
        if not isinstance(public, dict) or public.get("type") != PUBLIC_TYPE:
            raise ValueError
        decoded = base64.b64decode(str(public.get("value")), validate=True)
    except ValueError:
        decoded = b""
    if len(decoded) != 32:
        raise ValueError(f"its pub_key is no {PUBLIC_TYPE} of 32 bytes")
    return decoded


def check_address(document: dict[str, Any], public_key: bytes) -> None:
    """Raises: ValueError unless "address" is the key's."""
    address = document.get("address")
    if not isinstance(address, str) or address.upper() != address_of(public_key):
        raise ValueError(f"its address {address!r} is not the key's, which is {address_of(public_key)}")
