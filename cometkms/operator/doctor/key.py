"""The key files, their passphrase and the secret that the nodes of a cluster know each other by."""

import os
from collections.abc import Sequence
from typing import Final

from cometkms.config.schema import Chain, Settings
from cometkms.config.webhook import UrlCredential
from cometkms.core import choose
from cometkms.core.interface import Core
from cometkms.durable import read_file
from cometkms.errors import CometKMSError, KeyFileError, cure_of_secret, said
from cometkms.keys.aside import aside
from cometkms.keys.cluster import CLUSTER_KEY_NAME
from cometkms.keys.identity import IDENTITY_NAME, WITHOUT_NOISE_FILE, check_identity, load_identity
from cometkms.keys.passphrase import PassphraseCredential, PassphraseDescriptor, PassphraseFile, PassphraseSource
from cometkms.keys.source import SealedKeyFile, key_source
from cometkms.keys.validator_key import address_of, load_public_key, load_sealed
from cometkms.keytypes import ED25519, type_of
from cometkms.operator.doctor.finding import Finding, fail, failed_by, note, ok, warn

AREA: Final = "key"


def read_public_key(chain: Chain) -> tuple[bytes | None, list[Finding]]:
    """Read the public key of the chain's key file, of a type whose library is here; the secret in
    it is not decoded. None: the findings say why.
    """
    try:
        public_key = load_public_key(chain.key_file)
        sealed = load_sealed(chain.key_file) is not None
        key_type = type_of(public_key)
        choose.load().require(key_type)
    except CometKMSError as error:
        return None, failed_by(AREA, error)
    what = address_of(public_key) if key_type is ED25519 else f"{address_of(public_key)}, of type {key_type.name}"
    how = "sealed with a passphrase" if sealed else "in the clear, for its owner alone"
    return public_key, [ok(AREA, f"{chain.id}: {what}, {how}")]


def judge_passphrase(chains: Sequence[Chain], source: PassphraseSource | None, *, running: bool) -> list[Finding]:
    """Whether what opens the sealed keys can be had.

    Read and wiped at once; it is not tried here (see try_open).
    """
    try:
        sealed = [chain for chain in chains if load_sealed(chain.key_file) is not None]
    except CometKMSError:
        return []  # told by read_public_key
    if not sealed:
        return (
            []
            if source is None
            else [warn(AREA, "a passphrase is configured and no key is sealed", "cmkms keys encrypt")]
        )
    if source is None:
        if running:
            return [note(AREA, "the passphrase comes from the flags or the variables of the running node")]
        return [
            fail(
                AREA,
                f"{sealed[0].key_file} is sealed with a passphrase, and none is configured",
                "key_passphrase_file in config.toml, or key_passphrase_credential",
            )
        ]
    if isinstance(source, PassphraseDescriptor):
        return [
            note(
                AREA,
                f"the passphrase comes from descriptor {source.number}, which can be read only once: not read here",
            )
        ]
    if isinstance(source, PassphraseCredential) and not source.environment.get("CREDENTIALS_DIRECTORY"):
        return [note(AREA, f"the passphrase is the systemd credential {source.name!r}, which only the unit can read")]
    try:
        source.read().wipe()
    except KeyFileError as error:
        return failed_by(AREA, error)
    what = f"the file {source.path}" if isinstance(source, PassphraseFile) else "its source"
    return [ok(AREA, f"the passphrase can be read from {what}")]


def judge_identity(settings: Settings) -> list[Finding]:
    """The SecretConnection identity; made at the first start."""
    path = settings.home / "priv" / IDENTITY_NAME
    if not os.path.lexists(path):
        return [note(AREA, f"{path} is made at the first start")]
    try:
        load_identity(settings.home)
    except CometKMSError as error:
        return failed_by(AREA, error)
    return []


def judge_noise_identity(settings: Settings) -> list[Finding]:
    """The file that says who this node is to noise:// validators, where one is configured."""
    if settings.noise_identity_file is None:
        return []
    try:
        check_identity(settings.noise_identity_file, WITHOUT_NOISE_FILE)
    except CometKMSError as error:
        return failed_by(AREA, error)
    return [ok(AREA, f"{settings.noise_identity_file} says who this node is to noise:// validators")]


def judge_webhook_address(settings: Settings) -> list[Finding]:
    """The file or credential with the address that alerts are sent to; what it says is not shown."""
    if settings.webhook is None:
        return []
    source = settings.webhook.source
    if isinstance(source, UrlCredential) and not source.directory:
        return [note("webhook", f"its address is the systemd credential {source.name!r}, which only the unit can read")]
    try:
        source.read()
    except CometKMSError as error:
        return [warn("webhook", f"no alert can be sent: {error.what}", error.cure)]
    return []


def judge_cluster_key(settings: Settings) -> list[Finding]:
    """priv/cluster.key, where there is one; its bytes are not shown."""
    path = settings.home / "priv" / CLUSTER_KEY_NAME
    if not os.path.lexists(path):
        return []
    try:
        text = read_file(path, 100)
        whole = len(bytes.fromhex(text.decode("ascii").strip())) == 32
    except OSError as error:
        return [fail(AREA, f"{path}: {said(error)}", cure_of_secret(error))]
    except ValueError:
        whole = False
    if whole:
        return [ok(AREA, f"{path} is what the nodes know each other by")]
    return [fail(AREA, f"{path} must hold 64 hex digits", f"openssl rand -hex 32 > {path}, the same on every node")]


def try_open(chain: Chain, passphrase: PassphraseSource | None, core: Core) -> list[Finding]:
    """Open the key as the signer would, in a child that cannot be dumped and ends at once: only
    when the operator asks for it.
    """

    def work() -> bytes:
        source.open(core, chain.id).close()
        return b""

    try:
        source = key_source(chain.key_file, passphrase)
        aside(work)
    except CometKMSError as error:
        return failed_by(AREA, error)
    how = "with its passphrase " if isinstance(source, SealedKeyFile) else ""
    return [ok(AREA, f"{chain.id}: the key opens {how}into locked memory, and is the one its file names")]
