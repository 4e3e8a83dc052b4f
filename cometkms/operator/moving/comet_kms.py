"""CometBFT's own cometkms: cometkms.toml, a softsign key, FilePV's state (cometbft's
kms/internal/config, kms/internal/signer).

    HOME/cometkms.toml          [[chain]] id, state_file · [[validator]] identity_key ·
                                [[providers.softsign]] chain_ids, key_file
    HOME/state/CHAIN.json       the state, unless state_file says otherwise: FilePV's form; a
                                missing or empty one is height 0 to it
    HOME/identity.json          what it shows to the validator, in node_key.json's form

Relative paths begin at HOME. The key is a priv_validator_key.json, or base64 of the 64 bytes of
seed and public key. A key in a PKCS#11 token or in AWS KMS gives itself away to nobody: only the
watermark comes along.
"""

import base64
import binascii
import glob
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cometkms.core.interface import Core
from cometkms.errors import ConfigError, KeyFileError
from cometkms.keys.validator_key import KeyMaterial, material_of, read_material
from cometkms.model import Watermark
from cometkms.operator.moving import go_cometkms
from cometkms.operator.moving.old_signer import (
    Asked,
    OldSigner,
    is_missing,
    joined,
    load_config,
    load_states,
    not_understood,
    one_path,
    only_keys,
    read_secret,
    seen_states,
    tables,
    text,
    texts,
)
from cometkms.operator.moving.tmkms import SOFTSIGN, decode_key
from cometkms.store import state_file

CONFIG_NAME: Final = "cometkms.toml"
_CHAIN_KEYS: Final = ("id", "state_file")
_VALIDATOR_KEYS: Final = ("chain_id", "addr", "identity_key", "reconnect")
_DEVICES: Final = ("pkcs11", "awskms")
_OFF: Final = (
    "cometkms is stopped and disabled: it knows nothing of other signers",
    "the validator's priv_validator_laddr admits the new signer's address (firewall), and with noise:// its identity",
    "no other cometkms, and no validator, holds the key and can start",
)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a chain's files are. `key_path` None: a device has the key."""

    key_path: Path | None
    state_path: Path
    identity_paths: tuple[Path, ...]


def is_home(path: Path) -> bool:
    """Whether a home, or the file that is named, is this program's and not the Go CometKMS's."""
    return not is_missing(path / CONFIG_NAME) if path.is_dir() else path.name == CONFIG_NAME


def read_either(asked: Asked) -> OldSigner:
    """Both programs are called so: a home with cometkms.toml is CometBFT's, one with config.toml
    the Go CometKMS's. Raises: as read().
    """
    theirs = [path for path in asked.paths if is_home(path)]
    both = [path for path in theirs if path.is_dir() and not is_missing(path / "priv")]
    if both or theirs not in ([], list(asked.paths)):
        raise ConfigError(
            f"{(both or theirs)[0]} has a {CONFIG_NAME} of CometBFT's cometkms, and here is a home of the Go CometKMS too (priv/)",
            cure="the homes of one of them, the one that signed last, and the other's state with --state-file",
        )
    return read(asked) if theirs else go_cometkms.read(asked)


def read(asked: Asked) -> OldSigner:
    """Raises: ConfigError, KeyFileError, StateError."""
    path = one_path(asked, "CometBFT's cometkms")
    if path is None:
        raise ConfigError("cometkms: where is it?", cure="its home")
    file = path / CONFIG_NAME if path.is_dir() else path
    layout = layout_of(file, asked.chain_id)
    paths = asked.state_files
    if not (paths and is_missing(layout.state_path)):
        paths = tuple(dict.fromkeys((layout.state_path, *paths)))

    def parse(data: bytes) -> Watermark:
        return state_file.decode(data, asked.chain_id, asked.core.parse_sign_bytes) if data else Watermark()

    states = load_states(paths, asked.typed, parse)
    key_path = asked.key_file or layout.key_path
    secret = (*layout.identity_paths, *([key_path] if key_path else ()))
    name = glob.escape(asked.chain_id)
    seen = seen_states(
        (file.parent / "state", file.parent, layout.state_path.parent),
        (f"{name}*.json*", "*validator_state*"),
        (*paths, *secret),
        parse,
    )
    key = read_key(key_path, asked.core) if key_path else None
    notes = (
        []
        if key
        else [
            "a device has the key, and gives none away: only the watermark is moved, unless you have it: --key-file FILE"
        ]
    )
    identity = layout.identity_paths[0] if len(layout.identity_paths) == 1 else None
    if len(layout.identity_paths) > 1:
        notes.append(
            f"it shows {len(layout.identity_paths)} identities to the chain's validators, and this program has one: none is moved"
        )
    return OldSigner(
        key,
        key_path,
        key.public_key if key else None,
        states,
        (),
        tuple(notes),
        _OFF,
        seen,
        identity_path=identity,
    )


def layout_of(file: Path, chain_id: str) -> Layout:
    """What cometkms.toml says of a chain. Raises: ConfigError, StateError."""
    config = load_config(file, tomllib.loads)
    only_keys(file, "it", config, ("chain", "validator", "providers"))
    chains = tables(file, config, "chain")
    for chain in chains:
        only_keys(file, "[[chain]]", chain, _CHAIN_KEYS)
    ours = [chain for chain in chains if chain.get("id") == chain_id]
    if not ours:
        named = ", ".join(sorted(str(chain.get("id")) for chain in chains))
        raise ConfigError(f"{file} knows no chain {chain_id!r}, but {named or 'none'}", cure="--chain-id")
    if len(ours) > 1:
        raise not_understood(file, f"the chain {chain_id!r} is there {len(ours)} times")
    home = file.parent
    is_default = ours[0].get("state_file", "") == ""  # empty is the default to it
    at = joined(home, f"state/{chain_id}.json" if is_default else text(file, ours[0], "state_file") or "")
    return Layout(_key_path(file, config, chain_id), at, _identities(file, config, chain_id))


def _key_path(file: Path, config: dict[str, object], chain_id: str) -> Path | None:
    """Raises: ConfigError unless exactly one provider has the chain's key, of a type
    that is supported.
    """
    providers = config.get("providers", {})
    if not isinstance(providers, dict):
        raise not_understood(file, "its providers are no table")
    only_keys(file, "[providers]", providers, ("softsign", *_DEVICES))
    found: list[Path | None] = []
    for soft in tables(file, providers, "softsign"):
        only_keys(file, "[[providers.softsign]]", soft, ("chain_ids", "key_file"))
        if chain_id in texts(file, soft, "chain_ids"):
            found.append(joined(file.parent, text(file, soft, "key_file") or ""))
    for name in _DEVICES:
        for device in tables(file, providers, name):
            if chain_id not in texts(file, device, "chain_ids"):
                continue
            algorithm = device.get("algorithm") or "ed25519"
            if algorithm != "ed25519":
                raise KeyFileError(f"{file}: the key is of type {algorithm!r}", cure="only ed25519 keys can be moved")
            found.append(None)
    if len(found) != 1:
        raise not_understood(file, f"{len(found)} providers have a key of the chain {chain_id!r}, and it runs with one")
    return found[0]


def _identities(file: Path, config: dict[str, object], chain_id: str) -> tuple[Path, ...]:
    found: dict[Path, None] = {}
    for validator in tables(file, config, "validator"):
        only_keys(file, "[[validator]]", validator, _VALIDATOR_KEYS)
        named = text(file, validator, "identity_key")
        if validator.get("chain_id") == chain_id and named is not None:
            found[joined(file.parent, named)] = None
    return tuple(found)


def read_key(path: Path, core: Core) -> KeyMaterial:
    """Read a key file in either form. Raises: KeyFileError naming the file."""
    data = read_secret(path)
    if b"priv_key" in data or data.lstrip().startswith(b"{"):
        return read_material(path, core)
    return material_of(_seed_of(path, data))


def _seed_of(path: Path, data: bytes) -> bytes:
    """The seed of a 64-byte key.

    Raises: KeyFileError, since this program takes 64 bytes only, seed and public key.
    """
    try:
        raw = base64.b64decode(data.strip(), validate=True)
    except (ValueError, binascii.Error):
        raise KeyFileError(f"{path} is neither base64 nor a key file", cure=SOFTSIGN) from None
    if len(raw) != 64:
        raise KeyFileError(
            f"{path} holds {len(raw)} bytes, and cometkms's ed25519 key has 64", cure="only ed25519 keys can be moved"
        )
    return decode_key(path, data.strip())
