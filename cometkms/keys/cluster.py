"""What the nodes of a cluster know each other by: one secret, and from it an ed25519 identity for
each node id.

The secret is `priv/cluster.key` (64 hex digits) if that is there, else HKDF-SHA256 of the
validator's seed: every node that holds the key knows whom to expect, without more configuration.
Whoever has the secret is every member, so no running process has it: a process that does nothing
else derives it, and what a node is to know of it, and ends.

    identity       this node's own: the only private key that leaves the deriving process
    public_keys    the identity keys of all members, to expect them by
    noise          the cluster's own: what noise:// validators know every node by; only the signer
                   gets it, in a process of its own
    authority      a public key that is alike on all nodes …
    certificate    … and its signature over this node's id and identity key: a node that is in
                   nobody's list shows with it that the secret is its own, too (rule 9), and shows
                   nothing by which another could
"""

import hashlib
import os
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from cometkms.core.interface import Core
from cometkms.durable import is_private, read_file
from cometkms.errors import KeyFileError, cure_of_secret, os_words
from cometkms.keys.aside import Aside, aside
from cometkms.keys.identity import WITHOUT_NOISE_FILE, seed_of
from cometkms.keys.source import KeySource
from cometkms.wire.identity import Identity

CLUSTER_KEY_NAME: Final = "cluster.key"
SECRET_BYTES: Final = 32
_FILE_MAX_BYTES: Final = 4096
_KEY_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 64
_CERTIFIES: Final = b"cmkms: this key is that of the node "


@dataclass(frozen=True, slots=True, repr=False)
class ClusterIdentity:
    """What one node knows of the secret. See the module."""

    identity: Identity
    public_keys: Mapping[str, bytes]
    authority: bytes
    certificate: bytes
    noise_key: bytes
    """The public key that noise:// validators know every node of the cluster by."""

    def certifies(self, node_id: str, public_key: bytes, untrusted_certificate: bytes) -> bool:
        """Whether who holds the secret has said that this is that node's identity key."""
        try:
            VerifyKey(self.authority).verify(_certified(node_id, public_key), untrusted_certificate)
        except (BadSignatureError, ValueError):
            return False
        return True


class Derivation:
    """Derive one node's identity in a process of its own, which opens a key file, asks for its
    passphrase, hands over, ends.

    Whoever begins it need not be able to open the key any more, nor know the passphrase, when it
    takes what was derived; a process that it forks in between, and that closes what it inherited,
    knows neither.
    """

    def __init__(
        self,
        home: Path,
        keys: Iterable[KeySource],
        core: Core,
        me: str,
        members: Iterable[str],
        noise_file: Path | None = None,
    ) -> None:
        """Begin.

        `keys`: of each chain; the lowest public key is the one used. `noise_file`: holds the noise
        identity in place of a derived one.
        """
        self._me, self._names = me, tuple(sorted({me, *members}))
        chosen, names = tuple(keys), self._names

        def derive() -> bytes:
            secret = _cluster_secret(home, chosen, core)
            return _noise_key(secret, noise_file).verify_key.encode() + _derive(secret, me, names)

        self._aside = Aside(derive)

    def wait(self) -> None:
        """Wait until it is done, or has failed; nothing of it is here yet.

        Raises: KeyFileError with the words of the process that derives.
        """
        self._aside.wait()

    def take(self) -> ClusterIdentity:
        """Hand over what was derived, once. Raises: KeyFileError, as wait()."""
        me, names = self._me, self._names
        told = self._aside.take()
        noise_key, told = told[:_KEY_BYTES], told[_KEY_BYTES:]
        if len(told) != 2 * _KEY_BYTES + _SIGNATURE_BYTES + len(names) * _KEY_BYTES:
            raise KeyFileError("the cluster's identities could not be derived from the key")
        seed, authority, told = told[:_KEY_BYTES], told[_KEY_BYTES : 2 * _KEY_BYTES], told[2 * _KEY_BYTES :]
        certificate, told = told[:_SIGNATURE_BYTES], told[_SIGNATURE_BYTES:]
        public_keys = {name: told[at * _KEY_BYTES : (at + 1) * _KEY_BYTES] for at, name in enumerate(names)}
        identity = Identity(SigningKey(seed))
        if identity.public_key != public_keys[me]:
            raise KeyFileError("the cluster's identities could not be derived from the key")
        return ClusterIdentity(identity, public_keys, authority, certificate, noise_key)


def public_identities(home: Path, keys: Iterable[KeySource], core: Core, members: Iterable[str]) -> dict[str, bytes]:
    """The members' identity keys, for who only shows them. Raises: KeyFileError."""
    names, chosen = tuple(sorted(members)), tuple(keys)

    def derive() -> bytes:
        secret = _cluster_secret(home, chosen, core)
        return b"".join(_node_key(secret, name).verify_key.encode() for name in names)

    told = aside(derive)
    return {name: told[at * _KEY_BYTES : (at + 1) * _KEY_BYTES] for at, name in enumerate(names)}


def noise_identity(home: Path, keys: Iterable[KeySource], core: Core, file: Path | None) -> Identity:
    """The identity that all nodes of the cluster show to noise:// validators, for who dials them.

    `file`: it is there. Raises: KeyFileError.
    """
    chosen = tuple(keys)

    def derive() -> bytes:
        return _noise_key(b"" if file is not None else _cluster_secret(home, chosen, core), file).encode()

    return Identity(SigningKey(aside(derive)))


def noise_public_key(home: Path, keys: Iterable[KeySource], core: Core, file: Path | None) -> bytes:
    """Its public key, for who only shows it: 32 bytes. Raises: KeyFileError."""
    chosen = tuple(keys)

    def derive() -> bytes:
        return _noise_key(b"" if file is not None else _cluster_secret(home, chosen, core), file).verify_key.encode()

    return aside(derive)


def _noise_key(secret: bytes, file: Path | None) -> SigningKey:
    """Alike on all nodes, as the secret is, or as the operator made the file. Raises: KeyFileError."""
    if file is not None:
        return SigningKey(seed_of(file, WITHOUT_NOISE_FILE))
    return SigningKey(hashlib.blake2b(key=secret, digest_size=32, person=b"cmkms-noise-key").digest())


def _derive(secret: bytes, me: str, names: tuple[str, ...]) -> bytes:
    """Derive, in the process that is there for it, seed, authority, certificate, and public keys in
    the order of the names.
    """
    authority = SigningKey(hashlib.blake2b(key=secret, digest_size=32, person=b"cmkms-authority").digest())
    own = _node_key(secret, me)
    certificate = authority.sign(_certified(me, own.verify_key.encode())).signature
    public_keys = [_node_key(secret, name).verify_key.encode() for name in names]
    return b"".join((own.encode(), authority.verify_key.encode(), certificate, *public_keys))


def _node_key(secret: bytes, node_id: str) -> SigningKey:
    seed = hashlib.blake2b(node_id.encode(), key=secret, digest_size=32, person=b"cmkms-node-key").digest()
    return SigningKey(seed)


def _certified(node_id: str, public_key: bytes) -> bytes:
    return _CERTIFIES + public_key + node_id.encode("utf-8", "surrogatepass")


def _cluster_secret(home: Path, keys: Iterable[KeySource], core: Core) -> bytes:
    path = home / "priv" / CLUSTER_KEY_NAME
    if os.path.lexists(path):
        return _read_cluster_key(path)
    slot = min(keys, key=lambda key: key.public_key).open(core, "")
    try:
        return slot.cluster_secret()
    finally:
        slot.close()


def _read_cluster_key(path: Path) -> bytes:
    try:
        data = read_file(path, _FILE_MAX_BYTES)  # a file, or else its mode says nothing
        if not is_private(path.stat()):
            raise KeyFileError(f"{path} can be read by others", cure=f"chmod 600 {path}")
        secret = bytes.fromhex(data.decode("ascii").strip())
    except OSError as error:
        raise KeyFileError(f"{path}: {os_words(error)}", cure=cure_of_secret(error)) from error
    except ValueError:
        secret = b""
    if len(secret) != SECRET_BYTES:
        raise KeyFileError(
            f"{path} must hold {2 * SECRET_BYTES} hex digits",
            cure=f"openssl rand -hex 32 > {path}, the same on every node",
        )
    return secret


def cluster_digest(epoch: int, identities: Mapping[str, bytes]) -> bytes:
    """hash(epoch, sorted ids and identity keys): what all members must agree on.

    32 bytes. `identities`: public keys by id.
    """
    digest = hashlib.blake2b(struct.pack("<Q", epoch), digest_size=32, person=b"cmkms-cluster")
    for name, public_key in sorted(identities.items()):
        digest.update(struct.pack("<B", len(name.encode())) + name.encode() + public_key)
    return digest.digest()
