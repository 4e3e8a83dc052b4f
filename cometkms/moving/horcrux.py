"""Horcrux: the key and state of single-signer mode, the states of threshold mode (signer/file.go, sign_state.go, config.go).

    HOME/config.yaml                                signMode, keyDir, thresholdMode: {threshold, cosigners: [{shardID, …}]}
    KEYDIR/CHAIN_priv_validator_key.json            single: CometBFT's key file
    KEYDIR/CHAIN_shard.json                         threshold: one share of the expanded key, and the public key
    HOME/state/CHAIN_priv_validator_state.json      single: FilePV's, but signbytes are base64 · threshold: round is a string
    HOME/state/CHAIN_share_sign_state.json          threshold: what this cosigner's share has signed
    HOME/horcrux.pid                                while it runs, and after it was killed

A shard is no key: all shards together make the expanded scalar, never the seed that a key file holds. The seed is
in the priv_validator_key.json that `horcrux create-ed25519-shards` was given, and nowhere in Horcrux.
"""

import base64
import binascii
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from cometkms.errors import ConfigError, KeyFileError
from cometkms.keys.validator_key import KeyMaterial, read_material
from cometkms.limits import KEY_FILE_MAX_BYTES
from cometkms.model import SignBytes, Watermark
from cometkms.moving.old_signer import Asked, OldSigner, OldState, load_config, load_state, same_key
from cometkms.store import state_file

_KEY: Final = "{}_priv_validator_key.json"
_SHARD: Final = "{}_shard.json"
_STATE: Final = "{}_priv_validator_state.json"
_SHARE_STATE: Final = "{}_share_sign_state.json"
_PUBLIC_PREFIXES: Final = (b"\x0a\x20", bytes.fromhex("1624de6420"))  # protobuf's PublicKey, amino's PubKeyEd25519
_WHY_NO_KEY: Final = (
    "a shard is no key: all shards together make the expanded scalar, never the seed that a key file holds. Bring the "
    "priv_validator_key.json that was given to `horcrux create-ed25519-shards`: --key-file FILE"
)
_WRITES_BEHIND: Final = (
    "Horcrux writes its states behind its answers: let it stop by itself (SIGTERM); after a crash or a power cut add --min-height HEIGHT above the "
    "chain's head"
)
_NO_SHARD: Final = (
    "{} says threshold mode, and {} holds no shard of {}: what the cosigners signed together does not show here. Cure: the homes that hold the "
    "shards; or --min-height HEIGHT above the chain's head"
)


def read(asked: Asked) -> OldSigner:
    """Raises: ConfigError, KeyFileError, StateError."""
    if not asked.paths:
        raise ConfigError("horcrux: where is it? cure: its home, of every cosigner in threshold mode")
    configs = [_Config(home) for home in asked.paths]
    shards = [path for config in configs if (path := config.key_dir / _SHARD.format(asked.chain_id)).exists()]
    doubts = [doubt for config in configs for doubt in config.running()]
    if shards:
        return _threshold(asked, configs, shards, doubts)
    unsharded = [config for config in configs if config.mode == "threshold"]
    if len(configs) > 1:
        if unsharded:
            unsharded[0].refuse_chain(asked.chain_id)
        raise ConfigError("single-signer mode is one process: give one path")
    if unsharded:  # a key file that was left behind there says nothing of what the shards have signed
        doubts.append(_NO_SHARD.format(unsharded[0].path, unsharded[0].key_dir, asked.chain_id))
    return _single(asked, configs[0], doubts)


def _single(asked: Asked, config: "_Config", doubts: list[str]) -> OldSigner:
    key_path = asked.key_file or config.key_dir / _KEY.format(asked.chain_id)
    if not key_path.exists():
        config.refuse_chain(asked.chain_id)
    key = read_material(key_path, asked.core)
    paths = asked.state_files or (config.home / "state" / _STATE.format(asked.chain_id),)
    off = (
        f"Horcrux is stopped and disabled on {config.home}'s machine",
        "the sentries that it dialled are told where the new signer dials from (firewall)",
        "no other node holds the key file and can start",
    )
    return OldSigner(key, key_path, key.public_key, _states(paths, asked), tuple(doubts), (_WRITES_BEHIND,), off)


def _threshold(asked: Asked, configs: list["_Config"], shards: list[Path], doubts: list[str]) -> OldSigner:
    public_key: bytes | None = None
    given: set[int] = set()
    for path in shards:
        number, of_shard = _read_shard(path)
        public_key = same_key(path, of_shard, public_key)
        given.add(number)
    key: KeyMaterial | None = None
    if asked.key_file is not None:
        key = read_material(asked.key_file, asked.core)
        same_key(asked.key_file, key.public_key, public_key)
    names = [
        config.home / "state" / form.format(asked.chain_id) for config in configs for form in (_STATE, _SHARE_STATE)
    ]
    threshold, cosigners = configs[0].threshold, configs[0].cosigners
    need = cosigners - threshold + 1
    if len(given) < need:
        doubts.append(
            f"any {threshold} of {cosigners} cosigners may have signed together, and the states of {len(given)} are given; {need} show "
            "everything. Cure: the homes of more cosigners, best of all; or --min-height HEIGHT above the chain's head"
        )
    notes = (_WRITES_BEHIND,) if key else (_WHY_NO_KEY, _WRITES_BEHIND)
    off = (
        f"all {cosigners} cosigners are stopped and disabled: {threshold} of them together can sign without this program",
        "the sentries that they dialled are told where the new signer dials from (firewall)",
        "the shards are destroyed, or locked away, once the new signer signs",
    )
    return OldSigner(
        key, asked.key_file, public_key, _states((*names, *asked.state_files), asked), tuple(doubts), notes, off
    )


def decode(data: bytes, chain_id: str, parse_sign_bytes: Callable[[bytes], SignBytes]) -> Watermark:
    """A state file of either mode. Its signature may be one share's only; it is not verified here. Raises: ValueError."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no JSON ({error})") from error
    if not isinstance(document, dict):
        raise ValueError("it is no JSON object")
    held = document.get("signbytes")
    if not held:
        return state_file.decode(json.dumps({**document, "signature": None}).encode(), chain_id, parse_sign_bytes)
    wrong = ValueError("its signbytes are neither hex nor base64 of canonical sign bytes")
    for as_hex in _readings(held):
        try:
            return state_file.decode(json.dumps({**document, "signbytes": as_hex}).encode(), chain_id, parse_sign_bytes)
        except ValueError as error:
            wrong = error
    raise wrong


def _readings(held: object) -> list[str]:
    """Upper-case hex digits may be base64 too: only one of the two is canonical sign bytes."""
    if not isinstance(held, str):
        return []
    try:
        return [held, base64.b64decode(held, validate=True).hex()]
    except (ValueError, binascii.Error):
        return [held]


def _states(paths: tuple[Path, ...], asked: Asked) -> tuple[OldState, ...]:
    return tuple(
        load_state(path, lambda data: decode(data, asked.chain_id, asked.core.parse_sign_bytes)) for path in paths
    )


def _read_shard(path: Path) -> tuple[int, bytes]:
    """Number of a shard file and the validator's public key; the share itself is not looked at. Raises: KeyFileError."""
    try:
        document = json.loads(path.read_bytes()[:KEY_FILE_MAX_BYTES])
        number, encoded = document["id"], base64.b64decode(document["pubKey"], validate=True)
        if not isinstance(number, int):
            raise TypeError(number)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise KeyFileError(f"{path} is no shard file of Horcrux; cure: the home of a cosigner") from error
    for prefix in _PUBLIC_PREFIXES:
        if encoded.startswith(prefix) and len(encoded) == len(prefix) + 32:
            return number, encoded[len(prefix) :]
    raise KeyFileError(f"{path}: its pubKey is no ed25519 key; cure: only ed25519 keys can be moved")


class _Config:
    """config.yaml of one home."""

    def __init__(self, home: Path) -> None:
        """Raises: ConfigError, StateError."""
        self.home = home
        self.path = home / "config.yaml"
        self._document = load_config(self.path, _parse_yaml)
        key_dir = self._document.get("keyDir")
        self.key_dir = home / key_dir if isinstance(key_dir, str) and key_dir else home

    @property
    def mode(self) -> str:
        """single, threshold, or whatever is written."""
        return str(self._document.get("signMode", ""))

    @property
    def threshold(self) -> int:
        """How many sign together. Raises: ConfigError."""
        value = self._mode().get("threshold")
        if not isinstance(value, int) or not 1 <= value <= self.cosigners:
            raise ConfigError(
                f"{self.path}: its threshold is {value!r} of {self.cosigners}; cure: the file as Horcrux has it"
            )
        return value

    @property
    def cosigners(self) -> int:
        """Raises: ConfigError."""
        listed = self._mode().get("cosigners")
        if not isinstance(listed, list) or not listed:
            raise ConfigError(f"{self.path} lists no cosigners; cure: the file as Horcrux has it")
        return len(listed)

    def running(self) -> list[str]:
        """Why its states cannot be believed."""
        pid = self.home / "horcrux.pid"
        if not pid.exists():
            return []
        return [
            f"{pid} is there: Horcrux runs, or was killed, and then its states may be behind what it signed. Cure: stop it (after a crash start "
            "it once more, without its sentries, and stop it); or --min-height HEIGHT above the chain's head"
        ]

    def refuse_chain(self, chain_id: str) -> None:
        """Raises: ConfigError naming the chains that are there."""
        end = _KEY.format("")
        known = sorted(path.name.removesuffix(end) for path in self.key_dir.glob(f"*{end}"))
        raise ConfigError(
            f"{self.key_dir} holds no key or shard of {chain_id!r}"
            + (f", but of {', '.join(known)}" if known else "")
            + "; cure: --chain-id, or the right home"
        )

    def _mode(self) -> dict[str, Any]:
        mode = self._document.get("thresholdMode")
        return mode if isinstance(mode, dict) else {}


def _parse_yaml(text: str) -> object:
    import yaml  # here: no other command pays for it

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"it is no YAML ({error})") from error
