"""The types of consensus key, one row each: whatever depends on a key's type is read from here.

Pure.

A public key travels through the program as one value of bytes that tells its type (`typed`): 32
bytes are an ed25519 key as it is, and in front of a key of any other type stands one byte, the
number of its member in CometBFT's PublicKey (proto/tendermint/crypto/keys.proto). What stores and
members have of a key is always 32 bytes (`row_key`), so that their formats know no type.

To add a type:

1. Its row here, and in csrc/keytype.c with the functions of its library, whose loader signs a known
   text (csrc/bls12_381.c).
2. core/native/keytypes.py: its loader in _LOADERS. core/pure/keytypes.py: the twin of the
   functions, in _SCHEMES.
3. keys/public.py: the address, where it is not the beginning of SHA-256. pyproject.toml: the extra.
4. tests/unit/test_keytypes.py and tests/vectors/test_keys.py take the types from this table: every
   vector of a type is then tried.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from cometkms.errors import KeyFileError
from cometkms.limits import PUBLIC_KEY_MAX_BYTES, SECRET_MAX_BYTES, SIGNATURE_MAX_BYTES

# of every type: what is sealed with a passphrase, and what the cluster's secret is derived from
SEED_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class KeyType:
    """A type of consensus key, by the names that CometBFT gives it. Sizes in bytes.

    `number`: of the member of PublicKey. `name`: KeyType of crypto/<type>, v1.x's pub_key_type, the
    genesis' pub_key_types. `secret_bytes`: what the key file holds, the seed, and for ed25519 the
    public key behind it. `cosmos`: the type's name in the Cosmos SDK; "": it has none. `in_amino`:
    v0.33 knows it. `package`, `extra`: which package has the library and which extra of ours
    installs it; "": every installation has it. `order`: of the group, below which a seed is; 0:
    every seed is a key.
    """

    number: int
    name: str
    public_bytes: int
    signature_bytes: int
    secret_bytes: int
    public_json: str
    private_json: str
    cosmos: str = ""
    in_amino: bool = False
    package: str = ""
    extra: str = ""
    order: int = 0


_SECP256K1_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

ED25519: Final = KeyType(
    1, "ed25519", 32, 64, 64,
    "tendermint/PubKeyEd25519", "tendermint/PrivKeyEd25519", "/cosmos.crypto.ed25519.PubKey", in_amino=True,
)  # fmt: skip
SECP256K1: Final = KeyType(
    2, "secp256k1", 33, 64, 32,
    "tendermint/PubKeySecp256k1", "tendermint/PrivKeySecp256k1", "/cosmos.crypto.secp256k1.PubKey", in_amino=True,
    package="coincurve", extra="secp256k1", order=_SECP256K1_ORDER,
)  # fmt: skip
BLS12_381: Final = KeyType(
    3, "bls12_381", 96, 96, 32,
    "cometbft/PubKeyBls12_381", "cometbft/PrivKeyBls12_381", "/cosmos.crypto.bls12_381.PubKey",
    package="ckzg", extra="bls", order=0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001,
)  # fmt: skip
SECP256K1ETH: Final = KeyType(
    5, "secp256k1eth", 33, 65, 32,
    "tendermint/PubKeySecp256k1eth", "tendermint/PrivKeySecp256k1eth",
    package="coincurve", extra="secp256k1", order=_SECP256K1_ORDER,
)  # fmt: skip

KEY_TYPES: Final = (ED25519, SECP256K1, BLS12_381, SECP256K1ETH)
_BY_NUMBER: Final = {one.number: one for one in KEY_TYPES}
_BY_NAME: Final = {one.name: one for one in KEY_TYPES}
_BY_PUBLIC_JSON: Final = {one.public_json: one for one in KEY_TYPES}
_BY_PRIVATE_JSON: Final = {one.private_json: one for one in KEY_TYPES}

#: The sizes that a signature of any type has, and 0 where there is none.
SIGNATURE_SIZES: Final = frozenset({0} | {one.signature_bytes for one in KEY_TYPES})

_ML_DSA_65: Final = (
    "no library signs ml_dsa_65 as CometBFT does, without randomness and from the packed key that its file holds"
)

#: Key types that this program knows by name and has no code for, by the name in a key file: why,
#: and what is needed.
FOREIGN: Final = {
    "cometbft/PrivKeyMlDsa65": _ML_DSA_65,
    "ethermint/PrivKeyEthSecp256k1": "it is an account's key and no consensus key of CometBFT",
}

#: The same by CometBFT's own name of the type, as --type takes it.
FOREIGN_NAMES: Final = {"ml_dsa_65": _ML_DSA_65}


def by_number(number: int) -> KeyType | None:
    """None: no such type is known here."""
    return _BY_NUMBER.get(number)


def by_name(name: str) -> KeyType | None:
    """None: no such type is known here."""
    return _BY_NAME.get(name)


def by_public_json(name: object) -> KeyType | None:
    """The type of a key file's pub_key. None: no such type is known here."""
    return _BY_PUBLIC_JSON.get(name) if isinstance(name, str) else None


def by_private_json(name: object) -> KeyType | None:
    """The type of a key file's priv_key. None: no such type is known here."""
    return _BY_PRIVATE_JSON.get(name) if isinstance(name, str) else None


def typed(key_type: KeyType, raw: bytes) -> bytes:
    """The public key with its type, as it travels through the program.

    Raises: ValueError for one of another size.
    """
    if len(raw) != key_type.public_bytes:
        raise ValueError(f"a public key of type {key_type.name} has {key_type.public_bytes} bytes, not {len(raw)}")
    return raw if key_type is ED25519 else bytes([key_type.number]) + raw


def type_of(public_key: bytes) -> KeyType:
    """The type that typed() put there. Raises: ValueError for bytes that it never makes."""
    if len(public_key) == ED25519.public_bytes:
        return ED25519
    found = _BY_NUMBER.get(public_key[0]) if public_key else None
    if found is None or found is ED25519 or len(public_key) != 1 + found.public_bytes:
        raise ValueError(f"{len(public_key)} bytes are no public key of a known type")
    return found


def raw_of(public_key: bytes) -> bytes:
    """The key as CometBFT has it. Raises: ValueError, as type_of()."""
    return public_key if type_of(public_key) is ED25519 else public_key[1:]


def row_key(public_key: bytes) -> bytes:
    """What stores and members have of a key, 32 bytes: an ed25519 key itself, else SHA-256(name of
    the type, 0, key).

    32 bytes that came from a store or a member are their own row key. Raises:
    ValueError, as type_of().
    """
    key_type = type_of(public_key)
    if key_type is ED25519:
        return public_key
    return hashlib.sha256(key_type.name.encode() + b"\0" + raw_of(public_key)).digest()


KEY_TYPE_UNKNOWN: Final = 1  # the code of a RemoteSignerError that says so


def no_amino_key(key_type: KeyType) -> str:
    """What v0.33 is answered when it asks for the public key of a type that it has no form for."""
    return f"Tendermint v0.33 has no keys of type {key_type.name}: this validator's key needs a later version"


def no_such_key(key_type: KeyType) -> KeyFileError:
    """Why a key file's secret is refused, with the cure."""
    if key_type is ED25519:
        what = "not base64 of 64 bytes whose second half is the public key of the first"
    else:
        what = f"no private key of type {key_type.name}: base64 of {key_type.secret_bytes} bytes, above 0 and below the curve's order"
    return KeyFileError(f"the private key is {what}", cure="the key file as it was, from where the key is kept")


for _one in KEY_TYPES:
    if (
        _one.public_bytes > PUBLIC_KEY_MAX_BYTES
        or _one.signature_bytes > SIGNATURE_MAX_BYTES
        or not SEED_BYTES <= _one.secret_bytes <= SECRET_MAX_BYTES
        or (_one is not ED25519 and 1 + _one.public_bytes == ED25519.public_bytes)
    ):
        raise ValueError(
            f"a key of type {_one.name} does not fit the bounds of limits.py, or is taken for an ed25519 key"
        )
