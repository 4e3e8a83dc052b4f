"""A public key in the forms operators need: CometBFT JSON, Cosmos JSON, base64, bech32 addresses."""

import base64
import json

from cometkms.keys.public import address_of
from cometkms.keytypes import raw_of, type_of

_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def cometbft_json(public_key: bytes) -> str:
    """Return the public key as it stands in genesis.json."""
    return json.dumps({"type": type_of(public_key).public_json, "value": base64.b64encode(raw_of(public_key)).decode()})


def cosmos_json(public_key: bytes) -> str | None:
    """Return the public key as `create-validator --pubkey` takes it.

    None: the Cosmos SDK has no name for keys of this type.
    """
    name = type_of(public_key).cosmos
    return json.dumps({"@type": name, "key": base64.b64encode(raw_of(public_key)).decode()}) if name else None


def bech32_address(prefix: str, public_key: bytes) -> str:
    """The consensus address, say `cosmosvalcons1…`.

    Raises: ValueError for a prefix that bech32 does not allow.
    """
    return bech32_encode(prefix, bytes.fromhex(address_of(public_key)))


def bech32_encode(prefix: str, data: bytes) -> str:
    """BIP-173. Raises: ValueError."""
    if not prefix or prefix != prefix.lower() or not all(33 <= ord(char) <= 126 for char in prefix) or len(prefix) > 83:
        raise ValueError(f"{prefix!r} is no bech32 prefix: 1 to 83 lower-case ASCII characters")
    words = _to_words(data)
    head = [ord(char) >> 5 for char in prefix] + [0] + [ord(char) & 31 for char in prefix]
    check = _polymod([*head, *words, 0, 0, 0, 0, 0, 0]) ^ 1
    words += [(check >> 5 * (5 - i)) & 31 for i in range(6)]
    return prefix + "1" + "".join(_CHARSET[word] for word in words)


def _to_words(data: bytes) -> list[int]:
    bits = int.from_bytes(data, "big") << (-len(data) * 8 % 5)
    count = -(-len(data) * 8 // 5)
    return [(bits >> 5 * (count - 1 - i)) & 31 for i in range(count)]


def _polymod(values: list[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for i, generator in enumerate(_GENERATOR):
            check ^= generator if top >> i & 1 else 0
    return check
