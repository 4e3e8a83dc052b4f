"""The signer's own SecretConnection identity, kept in the home so that it stays the
same over restarts.
"""

import base64
import json
import os
from pathlib import Path
from typing import Final

from nacl.signing import SigningKey

from cometkms.durable import create_exclusively, is_private, read_bounded, read_file
from cometkms.errors import KeyFileError, cure_of_secret, os_words
from cometkms.keys.aside import aside
from cometkms.limits import KEY_FILE_MAX_BYTES
from cometkms.wire.identity import Identity

IDENTITY_NAME = "identity_key.json"
_TYPE = "tendermint/PrivKeyEd25519"
_MAX_BYTES = 4096
#: How a node gets along without the identity of another signer …
WITHOUT_IT: Final = "leave it, and this program makes an identity of its own"
#: … and without one of its own for noise:// validators.
WITHOUT_NOISE_FILE: Final = (
    "take noise_identity_file out on every node, and the identity that the cluster's secret gives is used (`cmkms peer-id` shows it; "
    "noise:// validators must list it)"
)


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
        # the signer reads it; whoever forks the signer and the others must not have seen it
        aside(make)


def bring_identity(source: Path, home: Path) -> None:
    """Take over another signer's identity, in node_key.json's form; never over one that is there.

    Raises: KeyFileError.
    """
    seed = seed_of(source)
    value = base64.b64encode(seed + bytes(SigningKey(seed).verify_key)).decode()
    path = home / "priv" / IDENTITY_NAME
    try:
        create_exclusively(path, json.dumps({"priv_key": {"type": _TYPE, "value": value}}).encode())
    except OSError as error:
        raise KeyFileError(
            f"{path} cannot be made: {os_words(error)}", cure="a priv/ that can be written, without an identity"
        ) from error


def check_identity(source: Path, without: str = WITHOUT_IT) -> None:
    """Whether seed_of() could read it. Raises: KeyFileError."""
    seed_of(source, without)


def seed_of(path: Path, without: str = WITHOUT_IT) -> bytes:
    """The 32 bytes of an ed25519 key in node_key.json's form.

    `without`: how one gets along without the file.

    Raises: KeyFileError naming the file.
    """
    try:
        # a file, or else its mode says nothing
        data = read_bounded(path, KEY_FILE_MAX_BYTES)[:KEY_FILE_MAX_BYTES]
        if path.stat().st_mode & 0o077:
            raise KeyFileError(f"{path} can be read by others", cure=f"chmod 600 {path}")
        private = json.loads(data)["priv_key"]
        raw = base64.b64decode(private["value"], validate=True)
        if private["type"] != _TYPE or len(raw) not in (32, 64):
            raise ValueError(private["type"])
    except FileNotFoundError:
        raise KeyFileError(f"{path} is missing", cure=f"put the file there, mode 0600; or {without}") from None
    except OSError as error:
        cure = f"{cure_of_secret(error)}; or {without}"
        raise KeyFileError(f"{path} cannot be read: {os_words(error)}", cure=cure) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        cure = f"a file as CometBFT's node_key.json; or {without}"
        raise KeyFileError(f"{path} is no ed25519 node key", cure=cure) from error
    return raw[:32]


def load_identity(home: Path) -> Identity:
    """priv/identity_key.json. Raises: KeyFileError."""
    path = home / "priv" / IDENTITY_NAME
    try:
        data = read_file(path, KEY_FILE_MAX_BYTES)  # a file, or else its mode says nothing
        if not is_private(path.stat()):
            raise KeyFileError(f"{path} can be read by others", cure=f"chmod 600 {path}")
        value = json.loads(data)["priv_key"]["value"]
        return Identity(SigningKey(base64.b64decode(value, validate=True)[:32]))
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {os_words(error)}", cure=cure_of_secret(error)) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise KeyFileError(
            f"{path} is no identity key", cure="remove it, a new one is made at the next start"
        ) from error
