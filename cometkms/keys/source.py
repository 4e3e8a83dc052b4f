"""Where a chain's key is and how it becomes a key slot: the one place at which a new
kind of key joins.

| source          | the key is …                                                | opened by                          |
|-----------------|-------------------------------------------------------------|------------------------------------|
| PlainKeyFile    | base64 in priv_validator_key.json                           | core.key_slot                      |
| SealedKeyFile   | behind a passphrase in that file (keys/sealed_file.py)      | core.sealed_slot                   |
| a token to come | in hardware (PKCS#11): C_Sign with CKM_EDDSA, no seed here  | core.outside_slot(public, sign, …) |

Whatever the source, the slot's guards are the same C code: one chain, canonical bytes, never below
or beside what was signed. A token that fails or gives a signature that does not verify makes the
slot refuse, and the signer process ends and is started again. The cluster's secret cannot be
derived from a key in hardware: such nodes need priv/cluster.key.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cometkms.core.interface import Core, KeySlot
from cometkms.errors import KeyFileError
from cometkms.keys.passphrase import PassphraseHeld, PassphraseSource
from cometkms.keys.validator_key import load_key_slot, load_public_key, load_sealed


class KeySource(Protocol):
    """One key, not opened yet."""

    @property
    def public_key(self) -> bytes:
        """Return the public key as keytypes.typed() makes it, which every process knows."""
        ...

    def open(self, core: Core, chain_id: str) -> KeySlot:
        """Open the key, in the signer process or in the child that derives the cluster's secret and
        ends. A restart opens it again.

        Raises: KeyFileError with the cure; also when the key is not the one that public_key named.
        """
        ...

    def forget(self) -> None:
        """What this process holds for opening it, once that is done or somebody else's work.

        It opens nothing any more.
        """
        ...


@dataclass(frozen=True, slots=True)
class PlainKeyFile:
    """Open a key file that is not sealed."""

    path: Path
    public_key: bytes

    def open(self, core: Core, chain_id: str) -> KeySlot:
        """Open the key, in the signer process or in the child that derives the cluster's secret."""
        return _same(load_key_slot(core, self.path, chain_id), self.public_key, self.path)

    def forget(self) -> None:
        """Do nothing, since this process holds nothing for opening a plain file."""


@dataclass(frozen=True, slots=True)
class SealedKeyFile:
    """Open a sealed key file with its passphrase."""

    path: Path
    public_key: bytes
    passphrase: PassphraseSource

    def open(self, core: Core, chain_id: str) -> KeySlot:
        """Open the sealed key from its file, which is read again because it may have
        been sealed anew since.
        """
        sealed = load_sealed(self.path)
        if sealed is None:
            return PlainKeyFile(self.path, self.public_key).open(core, chain_id)
        with self.passphrase.read() as passphrase:
            try:
                slot = core.sealed_slot(sealed, passphrase.view, chain_id)
            except KeyFileError as error:
                raise error.at(str(self.path)) from error
        return _same(slot, self.public_key, self.path)

    def forget(self) -> None:
        """Give up what this process holds for opening the key."""
        if isinstance(self.passphrase, PassphraseHeld):
            self.passphrase.forget()


def key_source(path: Path, passphrase: PassphraseSource | None) -> KeySource:
    """What the key file is.

    Raises: KeyFileError: it is wrong, or sealed and no passphrase is configured.
    """
    sealed = load_sealed(path)
    if sealed is None:
        return PlainKeyFile(path, load_public_key(path))
    if passphrase is None:
        raise KeyFileError(
            f"{path} is sealed with a passphrase, and none is given",
            cure="key_passphrase_file in config.toml (or key_passphrase_credential), "
            "COMETKMS_KEY_PASSPHRASE_FILE, --key-passphrase-file or --key-passphrase-fd; or take it off with `cmkms keys decrypt`",
        )
    return SealedKeyFile(path, sealed.public_key, passphrase)


def _same(slot: KeySlot, public_key: bytes, path: Path) -> KeySlot:
    if slot.public_key != public_key:
        slot.close()
        raise KeyFileError(f"{path} was replaced by another key since this node was started", cure="restart the node")
    return slot
