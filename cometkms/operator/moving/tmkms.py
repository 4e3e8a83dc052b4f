"""tmkms: tmkms.toml, a softsign key, and its state (src/keyring/providers/softsign.rs,
src/chain/state.rs, src/privval.rs).

    secrets/CHAIN-consensus.key   base64 of the 32-byte seed; or, with key_format = "json",
                                  CometBFT's key file
    state/CHAIN-consensus.json    {"height": "5", "round": "1", "step": 2, "block_id": {"hash": …,
                                  "parts": {"total": 1, "hash": …}}}

tmkms takes a relative state_file and path, and the default of an absent state_file
(CHAIN_priv_validator_state.json), from its working directory, which is not known here
(src/chain.rs): they are asked for, never looked for beside tmkms.toml.

Its steps are 0, 1, 2 for proposal, prevote, precommit since v0.13; before that 3 was a proposal and
6 either vote. It keeps the block id, not the bytes, so a place that comes from there is burnt. At
its last place it signs again whatever has the same block id, with another timestamp too; so a place
goes out with a block id that no block has, and nothing is signed there a second time.
"""

import base64
import binascii
import glob
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cometkms.core.interface import Core
from cometkms.errors import ConfigError, KeyFileError, no_json
from cometkms.keys.validator_key import KeyMaterial, material_of, read_material
from cometkms.limits import HEIGHT_MAX, ROUND_MAX
from cometkms.model import HRS, Step, Watermark
from cometkms.operator.moving.old_signer import (
    Asked,
    OldSigner,
    OldState,
    is_missing,
    load_config,
    load_state,
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
from cometkms.store import state_file

CONFIG_NAME: Final = "tmkms.toml"
_STEPS: Final = {0: Step.PROPOSAL, 1: Step.PREVOTE, 2: Step.PRECOMMIT, 3: Step.PROPOSAL, 6: Step.PRECOMMIT}
SOFTSIGN: Final = "the key that providers.softsign names"
_NO_BLOCK: Final = "00" * 32
_EXPANDED_SIZES: Final = (64, 96)
_CHAIN_KEYS: Final = ("id", "key_format", "sign_extensions", "state_file", "state_hook")
_PROVIDERS: Final = ("softsign", "yubihsm", "ledgertm", "fortanixdsm")
_SOFTSIGN_KEYS: Final = ("chain_ids", "key_type", "key_format", "path")
_OFF: Final = (
    "tmkms is stopped and disabled: it knows nothing of other signers",
    "the validator's priv_validator_laddr admits the new signer's address (firewall); its node restarts if that changes",
    "no other tmkms, and no validator, holds the key and can start",
)
_UNSEEN: Final = "-c and TMKMS_CONFIG_FILE may have named another tmkms.toml than this: look at its unit"
_NO_SYNC: Final = (
    "tmkms does not sync its state to the disk: after a power cut add --min-height HEIGHT above the chain's head"
)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a chain's files are, by tmkms.toml.

    `key_path` None: the key is in a device. Relative paths begin at a directory that is not known.
    """

    config_path: Path
    key_path: Path | None
    is_json: bool
    state_path: Path
    hooked: bool = False

    def refuse_relative(self, *, key: bool, state: bool, cure: str) -> None:
        """Raises: ConfigError for a path of the wanted ones that begins at tmkms's
        working directory.
        """
        if state and not self.state_path.is_absolute():
            raise ConfigError(
                f"{self.config_path}: the state is {self.state_path}, relative to tmkms's working directory, which is not known here (look at its unit); "
                f"a file beside tmkms.toml may be another one",
                cure=f"{cure.format('state_file', '--state-file')}",
            )
        if key and self.key_path is not None and not self.key_path.is_absolute():
            raise ConfigError(
                f"{self.config_path}: the key's path is {self.key_path}, relative to tmkms's working directory, which is not known here (look at its "
                f"unit)",
                cure=f"{cure.format('path', '--key-file')}",
            )


def read(asked: Asked) -> OldSigner:
    """Raises: ConfigError, KeyFileError, StateError."""
    home = one_path(asked, "tmkms")
    if home is None and not (asked.key_file and (asked.state_files or asked.typed)):
        raise ConfigError("tmkms: where is it?", cure="its home, its tmkms.toml, or --key-file and --state-file")
    layout = layout_of(home, asked.chain_id) if home is not None else None
    states, key_path = asked.state_files, asked.key_file
    seen: tuple[OldState, ...] = ()
    if layout is not None:
        layout.refuse_relative(
            key=key_path is None,
            state=not states and not asked.typed,
            cure="the whole path of the file that it used, with {1}",
        )
        key_path = key_path or layout.key_path
        if layout.state_path.is_absolute() and not (states and is_missing(layout.state_path)):
            states = tuple(dict.fromkeys((layout.state_path, *states)))
        seen = _seen(layout, asked.chain_id, states, key_path)
    loaded = load_states(states, asked.typed, decode)
    key = read_key(key_path, asked.core) if key_path else None
    notes = (
        []
        if key
        else [
            "the key is in a device that gives none away: only the watermark is moved, unless you have the key: --key-file FILE"
        ]
    )
    if layout is not None and layout.hooked:
        notes.append(
            "its state_hook raises the height in memory only: what it raised and did not sign does not show in the file"
        )
    return OldSigner(
        key,
        key_path,
        key.public_key if key else None,
        loaded,
        (),
        (*notes, _NO_SYNC, *([_UNSEEN] if layout else [])),
        _OFF,
        seen,
    )


def _seen(layout: Layout, chain_id: str, used: tuple[Path, ...], key_path: Path | None) -> tuple[OldState, ...]:
    """Other states of the chain beside tmkms.toml, in its state/, and beside the state in use."""
    home, name = layout.config_path.parent, glob.escape(chain_id)
    folders = [home, home / "state", *(path.parent for path in used)]
    return seen_states(folders, (f"*{name}*.json*",), (*used, *([key_path] if key_path else ())), decode)


def layout_of(path: Path, chain_id: str) -> Layout:
    """What tmkms.toml says of a chain; relative paths stay relative.

    Raises: ConfigError, StateError.
    """
    file = path / CONFIG_NAME if path.is_dir() else path
    config = load_config(file, tomllib.loads)
    only_keys(file, "it", config, ("chain", "providers", "validator", "tx_signer"))
    chains = tables(file, config, "chain")
    for chain in chains:
        only_keys(file, "[[chain]]", chain, _CHAIN_KEYS)
    ours = [chain for chain in chains if chain.get("id") == chain_id]
    if not ours:
        named = ", ".join(sorted(str(chain.get("id")) for chain in chains))
        raise ConfigError(f"{file} knows no chain {chain_id!r}, but {named or 'none'}", cure="--chain-id")
    if len(ours) > 1:
        raise not_understood(file, f"the chain {chain_id!r} is there {len(ours)} times")
    state = text(file, ours[0], "state_file") or f"{chain_id}_priv_validator_state.json"
    key_path, is_json = _softsign(file, config, chain_id)
    return Layout(file, key_path, is_json, Path(state), "state_hook" in ours[0])


def _softsign(file: Path, config: dict[str, object], chain_id: str) -> tuple[Path | None, bool]:
    """The chain's consensus key and whether it is json; None where a device holds it.

    Raises: ConfigError.
    """
    providers = config.get("providers", {})
    if not isinstance(providers, dict):
        raise not_understood(file, "its providers are no table")
    only_keys(file, "[providers]", providers, _PROVIDERS)
    found = []
    for soft in tables(file, providers, "softsign"):
        only_keys(file, "[[providers.softsign]]", soft, _SOFTSIGN_KEYS)
        kind = soft.get("key_type", "consensus")
        if kind not in ("consensus", "account"):
            raise not_understood(file, f"its key_type is {kind!r}")
        if kind == "consensus" and chain_id in texts(file, soft, "chain_ids"):
            found.append(soft)
    if len(found) > 1:
        raise not_understood(file, f"{len(found)} softsign keys are of the chain {chain_id!r}")
    if not found:
        return None, False
    if any(chain_id in _texts_below(providers[name]) for name in providers if name != "softsign"):
        raise not_understood(file, f"softsign and a device hold a key of the chain {chain_id!r}")
    key_path, form = text(file, found[0], "path"), found[0].get("key_format", "base64")
    if key_path is None or form not in ("base64", "json"):
        raise not_understood(file, f"its softsign path is {key_path!r}, and the format {form!r}")
    return Path(key_path), form == "json"


def _texts_below(value: object) -> set[str]:
    """Every string in a list `chain_ids`, however deep: each device has its own form."""
    if isinstance(value, list):
        return set().union(*map(_texts_below, value)) if value else set()
    if isinstance(value, dict):
        listed = value.get("chain_ids")
        own = {one for one in listed if isinstance(one, str)} if isinstance(listed, list) else set()
        return own.union(*map(_texts_below, value.values()))
    return set()


# --- the key ---


def read_key(path: Path, core: Core) -> KeyMaterial:
    """Read a key file in either form. Raises: KeyFileError naming the file."""
    data = read_secret(path)
    if data.lstrip().startswith(b"{"):
        return read_material(path, core)
    return material_of(decode_key(path, data))


def decode_key(path: Path, data: bytes) -> bytes:
    """The seed that a key file of TMKMS holds. Raises: KeyFileError."""
    try:
        raw = base64.b64decode(data.rstrip(), validate=True)
    except (ValueError, binascii.Error):
        raise KeyFileError(f"{path} is neither base64 nor a key file", cure=SOFTSIGN) from None
    if len(raw) == 32:
        return raw
    if len(raw) == 64 and _public_of(raw[:32]) == raw[32:]:
        return raw[:32]
    if len(raw) in _EXPANDED_SIZES:
        raise KeyFileError(
            f"{path} holds an expanded key of {len(raw)} bytes (of an HSM's export), which has no seed: no key file can hold it",
            cure="the seed or mnemonic that it was made from",
        )
    raise KeyFileError(f"{path} holds {len(raw)} bytes, and a key has 32", cure="the consensus key, not another one")


def encode_key(material: KeyMaterial) -> bytearray:
    """Write the key as `tmkms softsign import` does."""
    secret = material.secret()
    return bytearray(base64.b64encode(base64.b64decode(secret)[:32]))


def _public_of(seed: bytes) -> bytes:
    from nacl.signing import SigningKey

    return bytes(SigningKey(seed).verify_key)


# --- the state ---


def decode(data: bytes) -> Watermark:
    """A burnt place. Strict. Raises: ValueError."""
    try:
        document = json.loads(data, object_pairs_hook=state_file.once)
    except (ValueError, RecursionError) as error:
        raise ValueError(no_json(error) if data else "it is empty") from error
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
    """Write the state as tmkms does: it then signs nothing at the mark or below."""
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
    """Whether a block id is there; its default says none.

    Raises: ValueError for what is no block id.
    """
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
