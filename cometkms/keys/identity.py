"""The signer's own SecretConnection identity, kept in the home so that it stays the same over restarts."""

import base64
import json
import os
from pathlib import Path

from nacl.signing import SigningKey

from cometkms.errors import KeyFileError
from cometkms.protocol.identity import Identity
from cometkms.store.files import create_exclusively, is_private, read_file

IDENTITY_NAME = "identity_key.json"
_TYPE = "tendermint/PrivKeyEd25519"
_MAX_BYTES = 4096


def ensure_identity(home: Path) -> None:
    """Make priv/identity_key.json if it is missing (the first start). Raises: KeyFileError."""
    path = home / "priv" / IDENTITY_NAME
    seed = os.urandom(32)
    value = base64.b64encode(seed + bytes(SigningKey(seed).verify_key)).decode()
    try:
        create_exclusively(path, json.dumps({"priv_key": {"type": _TYPE, "value": value}}).encode())
    except FileExistsError:
        return
    except OSError as error:
        raise KeyFileError(
            f"{path}: {error.strerror}; cure: the node's user must be able to write {path.parent}"
        ) from error


def load_identity(home: Path) -> Identity:
    """priv/identity_key.json. Raises: KeyFileError."""
    path = home / "priv" / IDENTITY_NAME
    try:
        if not is_private(path.stat()):
            raise KeyFileError(f"{path} can be read by others; cure: chmod 600 {path}")
        value = json.loads(read_file(path, _MAX_BYTES))["priv_key"]["value"]
        return Identity(SigningKey(base64.b64decode(value, validate=True)[:32]))
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}; cure: give it to the node's user") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise KeyFileError(
            f"{path} is no identity key; cure: remove it, a new one is made at the next start"
        ) from error
