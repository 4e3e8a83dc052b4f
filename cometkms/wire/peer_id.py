"""libp2p's peer ids of ed25519 identities: what noise:// addresses name the two ends by. Pure.

The id is the multihash of the marshalled public key, which for ed25519 is short enough to stand in
it as it is (go-libp2p core/peer/peer.go): `00 24`, then `08 01 12 20` and the 32 bytes of the key,
as text in base58 with Bitcoin's alphabet.
"""

from typing import Final

from cometkms.errors import ConfigError

_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
#: A marshalled ed25519 PublicKey (go-libp2p core/crypto/pb/crypto.proto) but for its key: 1 Type, 2
#: Data.
MARSHALLED: Final = bytes.fromhex("08011220")
_HEAD: Final = bytes.fromhex("0024") + MARSHALLED
_TEXT_MAX: Final = 64  # an ed25519 id has 52 characters


def peer_id(public_key: bytes) -> str:
    """The peer id of an ed25519 public key of 32 bytes, such as `12D3KooW…`."""
    data = _HEAD + public_key
    value, text = int.from_bytes(data, "big"), ""
    while value:
        value, digit = divmod(value, len(_ALPHABET))
        text = _ALPHABET[digit] + text
    return _ALPHABET[0] * (len(data) - len(data.lstrip(b"\0"))) + text


def public_key_of(untrusted_id: str) -> bytes:
    """The 32 bytes of the ed25519 public key that a peer id holds. Raises: ConfigError with the
    cure."""
    value = 0
    for letter in untrusted_id[:_TEXT_MAX]:
        value = value * len(_ALPHABET) + max(0, _ALPHABET.find(letter))
    public_key = (value & (1 << 256) - 1).to_bytes(32, "big")
    if peer_id(public_key) != untrusted_id:
        raise ConfigError(
            f"{untrusted_id[:_TEXT_MAX]!r} is no peer id of an ed25519 key",
            cure="the id that `cometbft show-node-id --libp2p` prints, 12D3KooW…",
        )
    return public_key
