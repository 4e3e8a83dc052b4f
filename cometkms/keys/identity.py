"""The signer's own SecretConnection identity, kept in the home so that it stays the same over restarts."""

import base64
import json
import os
from pathlib import Path

from nacl.signing import SigningKey

from cometkms.errors import KeyFileError, os_words
from cometkms.protocol.identity import Identity
from cometkms.store.files import create_exclusively

IDENTITY_NAME = "identity_key.json"
_TYPE = "tendermint/PrivKeyEd25519"


def ensure_identity(home: Path) -> None:
    """Make priv/identity_key.json if it is missing (the first start). Raises: KeyFileError."""
    path = home / "priv" / IDENTITY_NAME
    if os.path.lexists(path):  # a full or read-only disk is no trouble for what is there
        return
    seed = os.urandom(32)
    value = base64.b64encode(seed + bytes(SigningKey(seed).verify_key)).decode()
    try:
        create_exclusively(path, json.dumps({"priv_key": {"type": _TYPE, "value": value}}).encode())
    except FileExistsError:
        return
    except OSError as error:
        raise KeyFileError(
            f"{path} cannot be made: {os_words(error)}; cure: the node's user must be able to write {path.parent}"
        ) from error


def load_identity(home: Path) -> Identity:
    """priv/identity_key.json. Raises: KeyFileError."""
    path = home / "priv" / IDENTITY_NAME
    try:
        if path.stat().st_mode & 0o077:
            raise KeyFileError(f"{path} can be read by others; cure: chmod 600 {path}")
        value = json.loads(path.read_bytes())["priv_key"]["value"]
        return Identity(SigningKey(base64.b64decode(value, validate=True)[:32]))
    except OSError as error:
        raise KeyFileError(
            f"{path} cannot be read: {os_words(error)}; cure: give it to the node's user, mode 0600"
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise KeyFileError(
            f"{path} is no identity key; cure: remove it, a new one is made at the next start"
        ) from error
