"""What the nodes of a cluster know each other by: one secret, and from it an ed25519 identity for each node id.

The secret is `priv/cluster.key` (64 hex digits) if that is there, else HKDF-SHA256 of the validator's seed: every node that holds the
key knows whom to expect, without more configuration. It is derived in a process that does nothing else and ends: the seed
itself never is where the peers' port is.
"""

import hashlib
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from nacl.signing import SigningKey

from cometkms.errors import KeyFileError
from cometkms.interface import Core
from cometkms.keys.aside import aside
from cometkms.keys.source import KeySource
from cometkms.protocol.identity import Identity
from cometkms.store.files import is_private, read_file

CLUSTER_KEY_NAME: Final = "cluster.key"
SECRET_BYTES: Final = 32
_FILE_MAX_BYTES: Final = 4096


def cluster_secret(home: Path, keys: Iterable[KeySource], core: Core) -> bytes:
    """32 bytes. `keys`: of each chain; the lowest public key is the one used.

    Raises: KeyFileError.
    """
    path = home / "priv" / CLUSTER_KEY_NAME
    if path.exists():
        return _read_cluster_key(path)
    return _derive_aside(min(keys, key=lambda key: key.public_key), core)


def _read_cluster_key(path: Path) -> bytes:
    try:
        if not is_private(path.stat()):
            raise KeyFileError(f"{path} can be read by others; cure: chmod 600 {path}")
        secret = bytes.fromhex(read_file(path, _FILE_MAX_BYTES).decode("ascii").strip())
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}; cure: give it to the node's user") from error
    except ValueError:
        secret = b""
    if len(secret) != SECRET_BYTES:
        raise KeyFileError(
            f"{path} must hold {2 * SECRET_BYTES} hex digits; cure: openssl rand -hex 32 > {path}, the same on every node"
        )
    return secret


def _derive_aside(key: KeySource, core: Core) -> bytes:
    """In a child that ends at once. Raises: KeyFileError with the child's words."""

    def derive() -> bytes:
        slot = key.open(core, "")
        secret = slot.cluster_secret()
        slot.close()
        return secret

    told = aside(derive)
    if len(told) != SECRET_BYTES:
        raise KeyFileError("the cluster's secret could not be derived from the key")
    return told


def node_identity(secret: bytes, node_id: str) -> Identity:
    """The identity of one node of the cluster."""
    seed = hashlib.blake2b(node_id.encode(), key=secret, digest_size=32, person=b"cmkms-node-key").digest()
    return Identity(SigningKey(seed))


def cluster_digest(epoch: int, identities: dict[str, bytes]) -> bytes:
    """hash(epoch, sorted ids and identity keys): what all members must agree on. 32 bytes. `identities`: public keys by id."""
    digest = hashlib.blake2b(struct.pack("<Q", epoch), digest_size=32, person=b"cmkms-cluster")
    for name, public_key in sorted(identities.items()):
        digest.update(struct.pack("<B", len(name.encode())) + name.encode() + public_key)
    return digest.digest()
