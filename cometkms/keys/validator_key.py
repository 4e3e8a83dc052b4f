"""priv_validator_key.json, plain or sealed: load the secret into a key slot without ever making it
a Python object that cannot be wiped.
"""

import base64
import json
import os
import re
import stat
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from cometkms.core import choose
from cometkms.core.interface import Core, KeySlot
from cometkms.durable import check_way, create_exclusively, is_private, open_file
from cometkms.errors import KeyFileError, cure_of_secret, os_words
from cometkms.keys import sealed_file
from cometkms.keys.public import PUBLIC_TYPE, address_of, check_address, decode_public, why_unsupported
from cometkms.keytypes import ED25519, SEED_BYTES, KeyType, by_private_json, raw_of, type_of
from cometkms.limits import KEY_FILE_MAX_BYTES
from cometkms.model import SealedKey

__all__ = [
    "PRIVATE_TYPE",
    "PUBLIC_TYPE",
    "KeyMaterial",
    "address_of",
    "key_document",
    "load_key_slot",
    "load_public_key",
    "load_sealed",
    "material_of",
    "new_seed",
    "parse_material",
    "parse_seed",
    "read_material",
    "wipe",
    "write_key",
    "write_material",
]

PRIVATE_TYPE: Final = ED25519.private_json
_CURE: Final = "a CometBFT priv_validator_key.json, whole and unchanged, from where the key is kept"
_OTHER_TYPE: Final = (
    "the validator's consensus key; a chain whose validators have keys of that type needs another signer"
)
_PLACEHOLDER: Final = "the private key is all zeros: that stands where a key is to be"
_HEX: Final = re.compile(rb"[0-9a-fA-F]*\Z")
#: 32 zero bytes in base64, whatever comes behind them.
_ZEROS: Final = re.compile(rb"A{42}[A-D]")
# The value of "priv_key": an object in which "type" may stand before or behind "value". The span of
# group 1 is the secret.
_SECRET = re.compile(rb'"priv_key"\s*:\s*\{[^{}]*?"value"\s*:\s*"([A-Za-z0-9+/=]*)"')


def load_key_slot(core: Core, path: Path, chain_id: str) -> KeySlot:
    """The key of a plain file, in locked memory.

    Only a process that signs or derives from it calls this (keys/source.py).

    Raises: KeyFileError naming the file and the cure.
    """
    buffer = _read(path)
    secret = bytearray()
    try:
        document = _blank_and_parse(path, buffer, secret)
        try:
            slot = core.key_slot(secret, chain_id, _type_of(document))
        except KeyFileError as error:
            raise error.at(str(path)) from error
    finally:
        wipe(buffer)
        wipe(secret)
    try:
        _check_public(path, document, slot.public_key)
    except KeyFileError:
        slot.close()
        raise
    return slot


def load_public_key(path: Path) -> bytes:
    """The public key as keytypes.typed() makes it, without decoding the secret; no passphrase is
    needed. Raises: KeyFileError.
    """
    buffer = _read(path)
    secret = bytearray()
    try:
        if _is_sealed(buffer):
            return _decode_sealed(path, buffer).public_key
        document = _blank_and_parse(path, buffer, secret)
    finally:
        wipe(buffer)
        wipe(secret)
    public_key = _decode_public(path, document)
    _check_public(path, document, public_key)
    return public_key


def find_public_key(path: Path) -> bytes | None:
    """load_public_key(), or None where there is no file. One behind a link to nothing is there.

    Raises: KeyFileError.
    """
    try:
        path.lstat()
    except FileNotFoundError:
        _check_way(path.parent)
        return None
    except OSError:  # reading it says why
        pass
    return load_public_key(path)


def load_sealed(path: Path) -> SealedKey | None:
    """What is sealed in the file; None for a plain one. Raises: KeyFileError."""
    buffer = _read(path)
    try:
        return _decode_sealed(path, buffer) if _is_sealed(buffer) else None
    finally:
        wipe(buffer)


class KeyMaterial:
    """A key as a whole key file, plain or sealed, in a buffer that `with` wipes: for an operator's
    command that moves it.
    """

    def __init__(self, document: bytearray, public_key: bytes, sealed: SealedKey | None = None) -> None:
        self.document = document
        self.public_key = public_key
        self.sealed = sealed

    def __enter__(self) -> "KeyMaterial":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        wipe(self.document)

    @classmethod
    def of_secret(cls, secret: bytearray, public_key: bytes) -> "KeyMaterial":
        """`secret`: base64 of what the type's key file holds (wiped)."""
        document = bytearray(_document(public_key, "A" * len(secret)))
        at = document.index(b"A" * len(secret))
        document[at : at + len(secret)] = secret
        wipe(secret)
        return cls(document, public_key)

    @classmethod
    def of_sealed(cls, sealed: SealedKey) -> "KeyMaterial":
        """The passphrase stays as it is."""
        return cls(bytearray(sealed_file.encode(sealed)), sealed.public_key, sealed)

    def secret(self) -> bytearray:
        """A plain one's secret, base64, for the caller to wipe. Raises: KeyFileError."""
        if self.sealed is not None:
            raise KeyFileError("the key is sealed with a passphrase")
        at, end = _span_of_secret(self.document)
        return self.document[at:end]


def read_material(path: Path, core: Core) -> KeyMaterial:
    """A key file, every part of it checked against the others.

    Raises: KeyFileError naming the file.
    """
    sealed = load_sealed(path)
    if sealed is not None:
        return KeyMaterial.of_sealed(sealed)
    buffer = _read(path)
    secret = bytearray()
    try:
        document = _blank_and_parse(path, buffer, secret)
        try:
            slot = core.key_slot(bytearray(secret), "", _type_of(document))
        except KeyFileError as error:
            raise error.at(str(path)) from error
        public_key = slot.public_key
        slot.close()
        _check_public(path, document, public_key)
        return KeyMaterial.of_secret(secret, public_key)
    finally:
        wipe(buffer)
        wipe(secret)


def write_material(path: Path, material: KeyMaterial) -> None:
    """A new key file, mode 0600.

    Raises: KeyFileError if one is there (it is never overwritten) or it cannot be written.
    """
    try:
        create_exclusively(path, material.document)
    except FileExistsError:
        raise KeyFileError(f"{path} is there already and is never overwritten", cure="move it away first") from None
    except OSError as error:
        raise KeyFileError(f"{path} cannot be written: {os_words(error)}") from error


def wipe(buffer: bytearray) -> None:
    """Overwrite with zeros, in place."""
    buffer[:] = bytes(len(buffer))


def _check_way(directory: Path) -> None:
    """A key behind a link to a disk that is not mounted is not missing: no new one is to be made.

    Raises: KeyFileError.
    """
    try:
        check_way(directory)
    except OSError as error:
        words = f"{error.filename}: {os_words(error)}, so no key in it can be read"
        raise KeyFileError(words, cure=cure_of_secret(error)) from error


def _read(path: Path) -> bytearray:
    """The file, in a buffer that can be wiped.

    Raises: KeyFileError if it is missing, too open, too large.
    """
    try:
        fd = open_file(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        _check_way(path.parent)
        raise KeyFileError(
            f"{path} is missing",
            cure="put the validator's priv_validator_key.json there. A new key is another validator: only a home without a state file, where nothing "
            "was signed, gets one, with `cmkms init --new-key`",
        ) from None
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {os_words(error)}", cure=cure_of_secret(error)) from error
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileError(f"{path} is no regular file", cure=_CURE)
        if not is_private(status):
            raise KeyFileError(
                f"{path} can be read by others (mode {status.st_mode & 0o777:04o})", cure=f"chmod 600 {path}"
            )
        if status.st_size > KEY_FILE_MAX_BYTES:
            raise KeyFileError(
                f"{path} has {status.st_size} bytes, and a key file less than {KEY_FILE_MAX_BYTES}", cure=_CURE
            )
        buffer = bytearray(status.st_size)
        size = os.readv(fd, [buffer])
        del buffer[size:]
    finally:
        os.close(fd)
    return buffer


def _blank_and_parse(path: Path, buffer: bytearray, secret: bytearray) -> dict[str, Any]:
    """Move the secret's base64 from `buffer` into `secret`, then parse what is left."""
    try:
        start, end = _span_of_secret(buffer)
    except ValueError:
        raise KeyFileError(f"{path} holds no priv_key", cure=_CURE) from None
    with memoryview(buffer) as view:
        secret.extend(view[start:end])
    buffer[start:end] = b"A" * (end - start)
    try:
        document = json.loads(buffer)
    except (ValueError, RecursionError) as error:
        raise KeyFileError(f"{path} is no JSON: {error}", cure=_CURE) from error
    private = document.get("priv_key") if isinstance(document, dict) else None
    kind = private.get("type") if isinstance(private, dict) else None
    key_type = by_private_json(kind)
    if key_type is None:
        raise KeyFileError(f"{path} holds {why_unsupported(kind)}", cure=_OTHER_TYPE)
    _check_text(path, secret, key_type)
    return dict(document)


def _check_text(path: Path, secret: bytearray, key_type: KeyType) -> None:
    """Whether the text is base64 of as many bytes as the type has, and of a key at all, by its
    looks: nothing of it is decoded or kept.

    Raises: KeyFileError.
    """
    size = key_type.secret_bytes
    if len(secret) % 2 == 0 and len(secret) // 2 in (SEED_BYTES, size) and _HEX.match(secret):
        raise KeyFileError(
            f"{path}: its priv_key is hex, and a key file has base64 of {size} bytes there",
            cure=f"move the file away and have it written anew: `cmkms keys import --type {key_type.name}` takes the key as hex",
        )
    if len(secret) != 4 * -(-size // 3):
        raise KeyFileError(
            f"{path}: its priv_key is no private key of type {key_type.name}: it is not base64 of {size} bytes",
            cure=_CURE,
        )
    if _ZEROS.match(secret):
        raise KeyFileError(f"{path}: {_PLACEHOLDER}", cure=_CURE)


def _type_of(document: dict[str, Any]) -> KeyType:
    """Return the type of a parsed key file. Raises: KeyFileError."""
    key_type = by_private_json(document["priv_key"]["type"])
    if key_type is None:
        raise KeyFileError(f"a key file with {why_unsupported(document['priv_key']['type'])}")
    return key_type


def _span_of_secret(buffer: bytearray) -> tuple[int, int]:
    """Where its base64 stands. Raises: ValueError."""
    found = _SECRET.search(buffer)
    if found is None:
        raise ValueError("no priv_key")
    return found.span(1)


def _is_sealed(buffer: bytearray) -> bool:
    return sealed_file.MARKER in buffer and _SECRET.search(buffer) is None


def _decode_sealed(path: Path, buffer: bytearray) -> SealedKey:
    try:
        return sealed_file.decode(buffer)
    except ValueError as error:
        raise KeyFileError(
            f"{path} is no sealed key file: {error}", cure="restore it from where the key is kept"
        ) from error


def _decode_public(path: Path, document: dict[str, Any]) -> bytes:
    try:
        return decode_public(document)
    except ValueError as error:
        raise KeyFileError(f"{path}: {error}", cure=_CURE) from error


def _check_public(path: Path, document: dict[str, Any], public_key: bytes) -> None:
    if _decode_public(path, document) != public_key:
        raise KeyFileError(f"{path}: its pub_key is not the public key of its priv_key", cure=_CURE)
    try:
        check_address(document, public_key)
    except ValueError as error:
        raise KeyFileError(f"{path}: {error}", cure=_CURE) from error


def _document(public_key: bytes, secret: str) -> bytes:
    key_type = type_of(public_key)
    document = {
        "address": address_of(public_key),
        "pub_key": {"type": key_type.public_json, "value": base64.b64encode(raw_of(public_key)).decode()},
        "priv_key": {"type": key_type.private_json, "value": secret},
    }
    return json.dumps(document, indent=2).encode()


def key_document(seed: bytes, key_type: KeyType = ED25519) -> bytes:
    """The file CometBFT writes for a 32-byte seed.

    Only for keys made or imported by the operator's command.

    Raises: KeyFileError: the seed is no key of this type; OperatorError: the library of
    the type is missing.
    """
    if not any(seed):
        raise KeyFileError(_PLACEHOLDER, cure="the validator's own key")
    if key_type.order and int.from_bytes(seed, "big") >= key_type.order:
        raise KeyFileError(
            f"the number is not below the order of the group, so it is no private key of type {key_type.name}",
            cure="the key as its own program wrote it, the highest byte first; and the type that it is of (--type)",
        )
    public_key = _public_of(seed, key_type)
    secret = seed + raw_of(public_key)[: key_type.secret_bytes - SEED_BYTES]
    return _document(public_key, base64.b64encode(secret).decode())


def _public_of(seed: bytes, key_type: KeyType) -> bytes:
    if key_type is ED25519:
        from nacl.signing import SigningKey

        return bytes(SigningKey(seed).verify_key)
    slot = choose.load().key_slot(bytearray(base64.b64encode(seed)), "", key_type)
    try:
        return slot.public_key
    finally:
        slot.close()


def new_seed(key_type: KeyType = ED25519) -> bytes:
    """32 random bytes that are a key of this type."""
    while True:
        seed = os.urandom(SEED_BYTES)
        if not key_type.order or 0 < int.from_bytes(seed, "big") < key_type.order:
            return seed


def write_key(path: Path, seed: bytes, key_type: KeyType = ED25519) -> None:
    """A new key file, mode 0600.

    Raises: KeyFileError if one is there (it is never overwritten) or it cannot be written.
    """
    write_material(path, material_of(seed, key_type))


def material_of(seed: bytes, key_type: KeyType = ED25519) -> KeyMaterial:
    """Make the material of a key that an operator's command made or decoded.

    Raises: KeyFileError, OperatorError, as key_document().
    """
    document = key_document(seed, key_type)
    return KeyMaterial(bytearray(document), decode_public(json.loads(document)))


def parse_material(text: str, key_type: KeyType | None = None) -> KeyMaterial:
    """A key from an operator's text: whatever parse_seed() takes, or a sealed key file.

    Raises: KeyFileError, OperatorError.
    """
    if sealed_file.MARKER.decode() not in text:
        return material_of(*parse_seed(text, key_type))
    try:
        return KeyMaterial.of_sealed(sealed_file.decode(text.encode()))
    except ValueError as error:
        raise KeyFileError(f"the file is no sealed key file: {error}") from error


def parse_seed(text: str, key_type: KeyType | None = None) -> tuple[bytes, KeyType]:
    """A seed and its type from an operator's text: a whole key file, or base64 or hex of 32 bytes,
    the seed, or of 64, an ed25519 key's seed and public key. `key_type`: what the operator says
    that it is; None: what the file says, and without a file ed25519.

    Raises: KeyFileError.
    """
    text = text.strip()
    wanted = key_type or ED25519
    if text.startswith("{"):
        try:
            private = json.loads(text)["priv_key"]
            kind, text = private.get("type"), str(private["value"])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise KeyFileError(
                "the file is no priv_validator_key.json", cure="a CometBFT key file, or base64 or hex of the seed"
            ) from None
        found = by_private_json(kind)
        if found is None:  # 32 bytes of any other secret would pass for a seed
            raise KeyFileError(f"the file holds {why_unsupported(kind)}", cure=_OTHER_TYPE)
        if key_type is not None and found is not key_type:
            raise KeyFileError(f"the file holds a key of type {found.name}, and {key_type.name} was asked for")
        wanted = found
    for decode in (bytes.fromhex, lambda value: base64.b64decode(value, validate=True)):
        try:
            raw = decode(text)
        except ValueError:
            continue
        if len(raw) in (SEED_BYTES, wanted.secret_bytes):
            return _checked_seed(raw), wanted
    sizes = " or ".join(map(str, sorted({SEED_BYTES, wanted.secret_bytes})))
    raise KeyFileError(f"the key is neither a key file nor base64 or hex of {sizes} bytes")


def _checked_seed(raw: bytes) -> bytes:
    from nacl.signing import SigningKey

    if len(raw) > SEED_BYTES and bytes(SigningKey(raw[:32]).verify_key) != raw[32:]:
        raise KeyFileError(
            "the second half of the 64 bytes is not the public key of the first: an expanded key (of an HSM's export, say) has no seed, and a "
            "key file cannot hold it"
        )
    return raw[:32]
