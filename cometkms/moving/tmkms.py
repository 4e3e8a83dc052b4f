"""tmkms: tmkms.toml, a softsign key, and its state (src/keyring/providers/softsign.rs, src/chain/state.rs, src/privval.rs).

    secrets/CHAIN-consensus.key   base64 of the 32-byte seed; or, with key_format = "json", CometBFT's key file
    state/CHAIN-consensus.json    {"height": "5", "round": "1", "step": 2, "block_id": {"hash": …, "parts": {"total": 1, "hash": …}}}

Its steps are 0, 1, 2 for proposal, prevote, precommit since v0.13; before that 3 was a proposal and 6 either vote. It keeps the
block id, not the bytes, so a place that comes from there is burnt. At its last place it signs again whatever has the same block
id, with another timestamp too; so a place goes out with a block id that no block has, and nothing is signed there a second time.
"""

import base64
import binascii
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cometkms.errors import ConfigError, KeyFileError, os_words
from cometkms.interface import Core
from cometkms.keys.validator_key import KeyMaterial, material_of, read_material
from cometkms.limits import HEIGHT_MAX, KEY_FILE_MAX_BYTES, ROUND_MAX
from cometkms.model import HRS, Step, Watermark
from cometkms.moving.old_signer import Asked, OldSigner, load_config, load_state, one_path

CONFIG_NAME: Final = "tmkms.toml"
_STEPS: Final = {0: Step.PROPOSAL, 1: Step.PREVOTE, 2: Step.PRECOMMIT, 3: Step.PROPOSAL, 6: Step.PRECOMMIT}
_NO_BLOCK: Final = "00" * 32
_EXPANDED_SIZES: Final = (64, 96)
_OFF: Final = (
    "tmkms is stopped and disabled: it knows nothing of other signers",
    "the validator's priv_validator_laddr admits the new signer's address (firewall); its node restarts if that changes",
    "no other tmkms, and no validator, holds the key and can start",
)
_NO_SYNC: Final = (
    "tmkms does not sync its state to the disk: after a power cut add --min-height HEIGHT above the chain's head"
)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a chain's files are, by tmkms.toml. `key_path` None: the key is in a device."""

    key_path: Path | None
    is_json: bool
    state_path: Path


def read(asked: Asked) -> OldSigner:
    """Raises: ConfigError, KeyFileError, StateError."""
    home = one_path(asked, "tmkms")
    if home is None and not (asked.key_file and asked.state_files):
        raise ConfigError("tmkms: where is it? cure: its home, its tmkms.toml, or --key-file and --state-file")
    layout = layout_of(home, asked.chain_id) if home is not None else None
    key_path = asked.key_file or (layout.key_path if layout else None)
    states = asked.state_files or ((layout.state_path,) if layout else ())
    key = read_key(key_path, asked.core) if key_path else None
    notes = (
        []
        if key
        else [
            "the key is in a device that gives none away: only the watermark is moved, unless you have the key: --key-file FILE"
        ]
    )
    loaded = tuple(load_state(path, decode) for path in states)
    return OldSigner(key, key_path, key.public_key if key else None, loaded, (), (*notes, _NO_SYNC), _OFF)


def layout_of(path: Path, chain_id: str) -> Layout:
    """What tmkms.toml says of a chain; relative paths are taken from its directory. Raises: ConfigError, StateError."""
    file = path / CONFIG_NAME if path.is_dir() else path
    config = load_config(file, tomllib.loads)
    chains = {str(chain.get("id")): chain for chain in _tables(config, "chain")}
    if chain_id not in chains:
        raise ConfigError(
            f"{file} knows no chain {chain_id!r}, but {', '.join(sorted(chains)) or 'none'}; cure: --chain-id"
        )
    state = chains[chain_id].get("state_file") or f"{chain_id}_priv_validator_state.json"
    providers = config.get("providers")
    for soft in _tables(providers if isinstance(providers, dict) else {}, "softsign"):
        served = soft.get("chain_ids")
        if isinstance(served, list) and chain_id in served and soft.get("key_type", "consensus") == "consensus":
            return Layout(
                file.parent / str(soft.get("path", "")), soft.get("key_format") == "json", file.parent / str(state)
            )
    return Layout(None, False, file.parent / str(state))


def _tables(table: dict[str, Any], name: str) -> list[dict[str, Any]]:
    listed = table.get(name)
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


# --- the key ---


def read_key(path: Path, core: Core) -> KeyMaterial:
    """Either form. Raises: KeyFileError naming the file."""
    try:
        mode = path.stat().st_mode
        data = path.read_bytes()[: KEY_FILE_MAX_BYTES + 1]
    except OSError as error:
        raise KeyFileError(
            f"{path} cannot be read: {os_words(error)}; cure: the path of the key, with --key-file"
        ) from error
    if data.lstrip().startswith(b"{"):
        return read_material(path, core)
    if mode & 0o077:
        raise KeyFileError(f"{path} can be read by others (mode {mode & 0o777:04o}); cure: chmod 600 {path}")
    try:
        return material_of(decode_key(data))
    except ValueError as error:
        raise KeyFileError(f"{path} {error}") from error


def decode_key(data: bytes) -> bytes:
    """The seed. Raises: ValueError with words that follow the file's name."""
    try:
        raw = base64.b64decode(data.rstrip(), validate=True)
    except (ValueError, binascii.Error):
        raise ValueError("is neither base64 nor a key file; cure: the key that providers.softsign names") from None
    if len(raw) == 32:
        return raw
    if len(raw) == 64 and _public_of(raw[:32]) == raw[32:]:
        return raw[:32]
    if len(raw) in _EXPANDED_SIZES:
        raise ValueError(
            f"holds an expanded key of {len(raw)} bytes (of an HSM's export), which has no seed: no key file can hold it. Cure: the seed or "
            "mnemonic that it was made from"
        )
    raise ValueError(f"holds {len(raw)} bytes, and a key has 32; cure: the consensus key, not another one")


def encode_key(material: KeyMaterial) -> bytearray:
    """As `tmkms softsign import` writes it."""
    secret = material.secret()
    return bytearray(base64.b64encode(base64.b64decode(secret)[:32]))


def _public_of(seed: bytes) -> bytes:
    from nacl.signing import SigningKey

    return bytes(SigningKey(seed).verify_key)


# --- the state ---


def decode(data: bytes) -> Watermark:
    """A burnt place. Strict. Raises: ValueError."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no JSON ({error})" if data else "it is empty") from error
    if not isinstance(document, dict):
        raise ValueError("it is no JSON object")
    height, round_ = _number(document, "height", HEIGHT_MAX), _number(document, "round", ROUND_MAX)
    number = document.get("step")
    if not isinstance(number, int) or isinstance(number, bool) or number not in _STEPS:
        raise ValueError(f"its step is {number!r}")
    has_block = _has_block(document.get("block_id"))
    if (height, round_, number) == (0, 0, 0) and not has_block:
        return Watermark()  # as tmkms makes it
    return Watermark(HRS(height, round_, _STEPS[number]))


def encode(mark: Watermark) -> bytes:
    """As tmkms writes it: it then signs nothing at the mark or below."""
    nothing: dict[str, Any] = {"hash": "", "parts": {"total": 0, "hash": ""}}
    no_such = {"hash": _NO_BLOCK, "parts": {"total": 1, "hash": _NO_BLOCK}}
    document = {
        "height": str(mark.hrs.height),
        "round": str(mark.hrs.round),
        "step": max(0, mark.hrs.step - Step.PROPOSAL),
        "block_id": no_such if mark.hrs > HRS(0, 0, 0) else nothing,
    }
    return json.dumps(document, separators=(",", ":")).encode()


def load_mark(path: Path) -> Watermark:
    """Raises: StateError."""
    return load_state(path, decode).mark


def _has_block(value: object) -> bool:
    """Whether a block id is there; its default says none. Raises: ValueError for what is no block id."""
    if value is None:
        return False
    if not isinstance(value, dict) or not isinstance(value.get("hash", ""), str):
        raise ValueError(f"its block_id is {value!r}")
    return bool(value.get("hash"))


def _number(document: dict[str, Any], key: str, most: int) -> int:
    """tmkms writes strings since v0.6, and read nothing else."""
    value = document.get(key)
    if not isinstance(value, str) or not value.isascii() or not value.isdigit() or len(value) > 19 or int(value) > most:
        raise ValueError(f"its {key} is {value!r}, and tmkms writes a string of digits")
    return int(value)
