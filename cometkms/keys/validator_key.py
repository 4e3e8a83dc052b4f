"""priv_validator_key.json: load the secret into a key slot without ever making it a Python object that cannot be wiped."""

import base64
import hashlib
import json
import os
import re
import stat
from pathlib import Path
from typing import Any, Final

from cometkms.errors import KeyFileError
from cometkms.interface import Core, KeySlot
from cometkms.limits import ADDRESS_BYTES, KEY_FILE_MAX_BYTES
from cometkms.store.files import create_exclusively

PRIVATE_TYPE: Final = "tendermint/PrivKeyEd25519"
PUBLIC_TYPE: Final = "tendermint/PubKeyEd25519"
# The value of "priv_key": an object in which "type" may stand before or behind "value". The span of group 1 is the secret.
_SECRET = re.compile(rb'"priv_key"\s*:\s*\{[^{}]*?"value"\s*:\s*"([A-Za-z0-9+/=]*)"')


def address_of(public_key: bytes) -> str:
    """CometBFT's address: 40 upper-case hex digits, the first 20 bytes of SHA-256(public key)."""
    return hashlib.sha256(public_key).digest()[:ADDRESS_BYTES].hex().upper()


def load_key_slot(core: Core, path: Path, chain_id: str) -> KeySlot:
    """The key of a chain, in locked memory. Only the signer process calls this.

    Raises: KeyFileError naming the file and the cure.
    """
    buffer = _read(path)
    secret = bytearray()
    try:
        document = _blank_and_parse(path, buffer, secret)
        try:
            slot = core.key_slot(secret, chain_id)
        except KeyFileError as error:
            raise KeyFileError(f"{path}: {error}") from error
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
    """The 32-byte public key, without decoding the secret. Raises: KeyFileError."""
    buffer = _read(path)
    secret = bytearray()
    try:
        document = _blank_and_parse(path, buffer, secret)
    finally:
        wipe(buffer)
        wipe(secret)
    public_key = _decode_public(path, document)
    _check_public(path, document, public_key)
    return public_key


def wipe(buffer: bytearray) -> None:
    """Overwrite with zeros, in place."""
    buffer[:] = bytes(len(buffer))


def _read(path: Path) -> bytearray:
    """The file, in a buffer that can be wiped. Raises: KeyFileError if it is missing, too open, too large."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise KeyFileError(
            f"{path} is missing; cure: copy the validator's priv_validator_key.json there, or make a new key with "
            "`cmkms init --new-key`"
        ) from None
    except OSError as error:
        raise KeyFileError(
            f"{path} cannot be read: {error.strerror}; cure: give it to the node's user, mode 0600"
        ) from error
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileError(f"{path} is no regular file")
        if status.st_mode & 0o077:
            raise KeyFileError(
                f"{path} can be read by others (mode {status.st_mode & 0o777:04o}); cure: chmod 600 {path}"
            )
        if status.st_size > KEY_FILE_MAX_BYTES:
            raise KeyFileError(f"{path} has {status.st_size} bytes; a key file has less than {KEY_FILE_MAX_BYTES}")
        buffer = bytearray(status.st_size)
        size = os.readv(fd, [buffer])
        del buffer[size:]
    finally:
        os.close(fd)
    return buffer


def _blank_and_parse(path: Path, buffer: bytearray, secret: bytearray) -> dict[str, Any]:
    """Move the secret's base64 from `buffer` into `secret`, then parse what is left."""
    found = _SECRET.search(buffer)
    if found is None:
        raise KeyFileError(
            f"{path} holds no priv_key of type {PRIVATE_TYPE}; cure: it must be a CometBFT priv_validator_key.json"
        )
    start, end = found.span(1)
    del found  # it holds the buffer
    with memoryview(buffer) as view:
        secret.extend(view[start:end])
    buffer[start:end] = b"A" * (end - start)
    try:
        document = json.loads(buffer)
    except (ValueError, RecursionError) as error:
        raise KeyFileError(f"{path} is no JSON: {error}") from error
    private = document.get("priv_key") if isinstance(document, dict) else None
    if not isinstance(private, dict) or private.get("type") != PRIVATE_TYPE:
        kind = private.get("type") if isinstance(private, dict) else None
        raise KeyFileError(f"{path} holds a key of type {kind!r}; only {PRIVATE_TYPE} is supported")
    return dict(document)


def _decode_public(path: Path, document: dict[str, Any]) -> bytes:
    public = document.get("pub_key")
    try:
        if not isinstance(public, dict) or public.get("type") != PUBLIC_TYPE:
            raise ValueError
        decoded = base64.b64decode(str(public.get("value")), validate=True)
    except ValueError:
        decoded = b""
    if len(decoded) != 32:
        raise KeyFileError(f"{path}: its pub_key is no {PUBLIC_TYPE} of 32 bytes")
    return decoded


def _check_public(path: Path, document: dict[str, Any], public_key: bytes) -> None:
    if _decode_public(path, document) != public_key:
        raise KeyFileError(f"{path}: its pub_key is not the public key of its priv_key")
    address = document.get("address")
    if not isinstance(address, str) or address.upper() != address_of(public_key):
        raise KeyFileError(f"{path}: its address {address!r} is not the key's, which is {address_of(public_key)}")


def key_document(seed: bytes) -> bytes:
    """The file CometBFT writes for a 32-byte seed. Only for keys made or imported by the operator's command."""
    from nacl.signing import SigningKey

    key = SigningKey(seed)
    public = bytes(key.verify_key)
    document = {
        "address": address_of(public),
        "pub_key": {"type": PUBLIC_TYPE, "value": base64.b64encode(public).decode()},
        "priv_key": {"type": PRIVATE_TYPE, "value": base64.b64encode(seed + public).decode()},
    }
    return json.dumps(document, indent=2).encode()


def write_key(path: Path, seed: bytes) -> None:
    """A new key file, mode 0600. Raises: KeyFileError if one is there (it is never overwritten) or it cannot be written."""
    try:
        create_exclusively(path, key_document(seed))
    except FileExistsError:
        raise KeyFileError(f"{path} is there already and is never overwritten; cure: move it away first") from None
    except OSError as error:
        raise KeyFileError(f"{path} cannot be written: {error.strerror}") from error


def parse_seed(text: str) -> bytes:
    """A seed from an operator's text: a whole key file, or base64 or hex of 32 (seed) or 64 (seed and public key) bytes.

    Raises: KeyFileError.
    """
    text = text.strip()
    if text.startswith("{"):
        try:
            text = str(json.loads(text)["priv_key"]["value"])
        except (ValueError, KeyError, TypeError):
            raise KeyFileError("the file is no priv_validator_key.json") from None
    for decode in (bytes.fromhex, lambda value: base64.b64decode(value, validate=True)):
        try:
            raw = decode(text)
        except ValueError:
            continue
        if len(raw) in (32, 64):
            return _checked_seed(raw)
    raise KeyFileError("the key is neither a key file nor base64 or hex of 32 or 64 bytes")


def _checked_seed(raw: bytes) -> bytes:
    from nacl.signing import SigningKey

    if len(raw) == 64 and bytes(SigningKey(raw[:32]).verify_key) != raw[32:]:
        raise KeyFileError("the second half of the 64 bytes is not the public key of the first")
    return raw[:32]
