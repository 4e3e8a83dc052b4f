"""The signer's own SecretConnection identity, kept in the home so that it stays the same over restarts."""

import base64
import json
import os
from pathlib import Path

from nacl.signing import SigningKey

from cometkms.durable import create_exclusively, is_private, read_bounded, read_file
from cometkms.errors import KeyFileError, cure_of_secret, os_words
from cometkms.keys.aside import aside
from cometkms.limits import KEY_FILE_MAX_BYTES
from cometkms.wire.identity import Identity

IDENTITY_NAME = "identity_key.json"
_TYPE = "tendermint/PrivKeyEd25519"
_MAX_BYTES = 4096


def ensure_identity(home: Path) -> None:
    """Make priv/identity_key.json if it is missing (the first start). Raises: KeyFileError."""
    path = home / "priv" / IDENTITY_NAME

    def make() -> bytes:
        seed = os.urandom(32)
        value = base64.b64encode(seed + bytes(SigningKey(seed).verify_key)).decode()
        try:
            create_exclusively(path, json.dumps({"priv_key": {"type": _TYPE, "value": value}}).encode())
        except FileExistsError:
            pass
        except OSError as error:
            raise KeyFileError(
                f"{path} cannot be made: {os_words(error)}", cure=f"the node's user must be able to write {path.parent}"
            ) from error
        return b""

    if not os.path.lexists(path):  # a full or read-only disk is no trouble for what is there
        aside(make)  # the signer reads it; whoever forks the signer and the others must not have seen it


def bring_identity(source: Path, home: Path) -> None:
    """Take over another signer's identity, in node_key.json's form; never over one that is there. Raises: KeyFileError."""
    seed = seed_of(source)
    value = base64.b64encode(seed + bytes(SigningKey(seed).verify_key)).decode()
    path = home / "priv" / IDENTITY_NAME
    try:
        create_exclusively(path, json.dumps({"priv_key": {"type": _TYPE, "value": value}}).encode())
    except OSError as error:
        raise KeyFileError(
            f"{path} cannot be made: {os_words(error)}", cure="a priv/ that can be written, without an identity"
        ) from error


def check_identity(source: Path) -> None:
    """Whether bring_identity() could read it. Raises: KeyFileError."""
    seed_of(source)


def seed_of(path: Path) -> bytes:
    """The 32 bytes of an ed25519 key in node_key.json's form. Raises: KeyFileError naming the file."""
    try:
        if path.stat().st_mode & 0o077:
            raise KeyFileError(f"{path} can be read by others", cure=f"chmod 600 {path}")
        private = json.loads(read_bounded(path, KEY_FILE_MAX_BYTES)[:KEY_FILE_MAX_BYTES])["priv_key"]
        raw = base64.b64decode(private["value"], validate=True)
        if private["type"] != _TYPE or len(raw) not in (32, 64):
            raise ValueError(private["type"])
    except OSError as error:
        raise KeyFileError(
            f"{path} cannot be read: {os_words(error)}",
            cure="give it to this user, or leave it and start with a new identity",
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise KeyFileError(
            f"{path} is no ed25519 node key", cure="move it away, and this program makes an identity of its own"
        ) from error
    return raw[:32]


def load_identity(home: Path) -> Identity:
    """priv/identity_key.json. Raises: KeyFileError."""
    path = home / "priv" / IDENTITY_NAME
    try:
        if not is_private(path.stat()):
            raise KeyFileError(f"{path} can be read by others", cure=f"chmod 600 {path}")
        value = json.loads(read_file(path, KEY_FILE_MAX_BYTES))["priv_key"]["value"]
        return Identity(SigningKey(base64.b64decode(value, validate=True)[:32]))
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {os_words(error)}", cure=cure_of_secret(error)) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise KeyFileError(
            f"{path} is no identity key", cure="remove it, a new one is made at the next start"
        ) from error
