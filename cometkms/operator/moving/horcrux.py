"""Horcrux v1, v2 and v3: the key and state of single-signer mode, the states of threshold mode.

    v3   HOME/config.yaml                            signMode, keyDir, thresholdMode: {threshold, cosigners: [{shardID, …}]}
         KEYDIR/CHAIN_priv_validator_key.json        single: CometBFT's key file
         KEYDIR/CHAIN_shard.json                     threshold: one share of the expanded key, and
                                                     the public key
    v2   HOME/config.yaml                            chain-id, key-file, and in threshold mode cosigner: {threshold, shares, peers: […]}
         HOME/priv_validator_key.json, share.json    single, threshold; or where key-file says
    v1   as v2, threshold mode only, with home-dir and without shares
    all  HOME/state/CHAIN_priv_validator_state.json  single: FilePV's, but v3's signbytes are base64
                                                     · threshold: round is a string
         HOME/state/CHAIN_share_sign_state.json      threshold: what this cosigner's share has
                                                     signed
         HOME/horcrux.pid                            while it runs, and after it was killed

keyDir and key-file are taken from Horcrux's working directory when they are relative
(signer/config.go, v2's cmd/config.go), and that is not known here: what lies at such a path below
the home counts only when the state's signature proves that it is the key.

A shard is no key: all shards together make the expanded scalar, never the seed that a key file
holds. The seed is in the priv_validator_key.json that `horcrux create-ed25519-shards` was given,
and nowhere in Horcrux.
"""

import base64
import binascii
import glob
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from cometkms.core.interface import Core
from cometkms.durable import read_bounded
from cometkms.errors import ConfigError, KeyFileError, StateError, no_json
from cometkms.keys.validator_key import KeyMaterial, read_material
from cometkms.limits import KEY_FILE_MAX_BYTES
from cometkms.model import SignBytes, Watermark
from cometkms.operator.moving.old_signer import (
    Asked,
    OldSigner,
    OldState,
    is_missing,
    joined,
    load_config,
    load_states,
    not_understood,
    only_keys,
    same_key,
    seen_states,
    text,
)
from cometkms.store import state_file

_KEY: Final = "{}_priv_validator_key.json"
_SHARD: Final = "{}_shard.json"
_STATE: Final = "{}_priv_validator_state.json"
_SHARE_STATE: Final = "{}_share_sign_state.json"
_NEW_KEYS: Final = frozenset(
    ("keyDir", "signMode", "thresholdMode", "chainNodes", "debugAddr", "grpcAddr", "maxReadSize")
)
_THRESHOLD_KEYS: Final = ("threshold", "cosigners", "grpcTimeout", "raftTimeout")
_OLD_KEYS: Final = frozenset(("home-dir", "key-file", "chain-id", "cosigner", "chain-nodes", "debug-addr"))
_OLD_COSIGNER_KEYS: Final = ("threshold", "shares", "p2p-listen", "peers", "rpc-timeout")
# protobuf's PublicKey, amino's PubKeyEd25519
_PUBLIC_PREFIXES: Final = (b"\x0a\x20", bytes.fromhex("1624de6420"))
_WHY_NO_KEY: Final = (
    "a shard is no key: all shards together make the expanded scalar, never the seed that a key file holds. Bring the "
    "priv_validator_key.json that was given to `horcrux create-ed25519-shards`: --key-file FILE"
)
_WRITES_BEHIND: Final = (
    "Horcrux writes its states behind its answers: let it stop by itself (SIGTERM); after a crash or a power cut add --min-height HEIGHT above the "
    "chain's head"
)
_UNSEEN: Final = "--home and HORCRUX_… variables may have named other files than these: look at its unit"


def read(asked: Asked) -> OldSigner:
    """Raises: ConfigError, KeyFileError, StateError."""
    if not asked.paths:
        raise ConfigError("horcrux: where is it?", cure="its home, of every cosigner in threshold mode")
    configs = [Config(home, asked.chain_id) for home in asked.paths]
    shards = [(config, config.shard_path) for config in configs if config.shard_path.exists()]
    doubts = [doubt for config in configs for doubt in config.running()]
    if shards:
        return _threshold(asked, configs, shards, doubts)
    unsharded = [config for config in configs if config.is_threshold]
    if len(configs) > 1:
        if unsharded:
            unsharded[0].refuse_chain()
        raise ConfigError("single-signer mode is one process: give one path")
    # a key file that was left behind there says nothing of what the shards have signed
    if unsharded:
        folder = unsharded[0].shard_path.parent
        doubts.append(
            StateError(
                f"{unsharded[0].path} says threshold mode, and {folder} holds no shard of {asked.chain_id}: what the cosigners signed together "
                "does not show here",
                cure="the homes that hold the shards; or --min-height HEIGHT above the chain's head",
            )
        )
    return _single(asked, configs[0], doubts)


def _single(asked: Asked, config: "Config", doubts: list[StateError]) -> OldSigner:
    key_path = asked.key_file or config.key_path
    if is_missing(key_path):
        config.refuse_chain()
    paths = asked.state_files or (config.state_path,)
    if asked.state_files and not is_missing(config.state_path):
        paths = tuple(dict.fromkeys((config.state_path, *asked.state_files)))
    states = _states(paths, asked)
    key = read_material(key_path, asked.core)
    if asked.key_file is None:
        config.refuse_guess(key_path, key.public_key, states, asked.core)
    off = (
        f"Horcrux is stopped and disabled on {config.home}'s machine",
        "the sentries that it dialled are told where the new signer dials from (firewall)",
        "no other node holds the key file and can start",
    )
    seen = config.seen(paths, _decoder(asked))
    return OldSigner(
        key,
        key_path,
        key.public_key,
        states,
        tuple(doubts),
        (_WRITES_BEHIND, _UNSEEN),
        off,
        seen,
        config.in_use(),
    )


def _threshold(
    asked: Asked, configs: list["Config"], shards: list[tuple["Config", Path]], doubts: list[StateError]
) -> OldSigner:
    public_key: bytes | None = None
    given: set[int] = set()
    for _, path in shards:
        number, of_shard = _read_shard(path)
        public_key = same_key(path, of_shard, public_key)
        given.add(number)
    threshold, cosigners = shards[0][0].agreed(configs)
    stray = sorted(number for number in given if not 1 <= number <= cosigners)
    if stray:
        raise KeyFileError(
            f"the shards are numbered {stray}, and {shards[0][0].path} knows {cosigners}",
            cure="the homes of one cluster",
        )
    key: KeyMaterial | None = None
    if asked.key_file is not None:
        key = read_material(asked.key_file, asked.core)
        same_key(asked.key_file, key.public_key, public_key)
    names = tuple(path for config in configs for path in (config.state_path, config.share_state_path))
    states = _states((*names, *asked.state_files), asked)
    for config, path in shards:
        config.refuse_guess(path, public_key or b"", states, asked.core)
    need = cosigners - threshold + 1
    if len(given) < need:
        doubts.append(
            StateError(
                f"any {threshold} of {cosigners} cosigners may have signed together, and the states of {len(given)} are given; {need} show everything",
                cure="the homes of more cosigners, best of all; or --min-height HEIGHT above the chain's head",
            )
        )
    notes = (_WRITES_BEHIND, _UNSEEN) if key else (_WHY_NO_KEY, _WRITES_BEHIND, _UNSEEN)
    off = (
        f"all {cosigners} cosigners are stopped and disabled: {threshold} of them together can sign without this program",
        "the sentries that they dialled are told where the new signer dials from (firewall)",
        "the shards are destroyed, or locked away, once the new signer signs",
    )
    seen = tuple(one for config in configs for one in config.seen(names, _decoder(asked)))
    in_use = tuple(words for config in configs for words in config.in_use())
    return OldSigner(key, asked.key_file, public_key, states, tuple(doubts), notes, off, seen, in_use)


def decode(data: bytes, chain_id: str, parse_sign_bytes: Callable[[bytes], SignBytes]) -> Watermark:
    """A state file of either mode.

    Its signature may be one share's only; it is not verified here. Raises: ValueError.
    """
    try:
        document = json.loads(data, object_pairs_hook=state_file.once)
    except (ValueError, RecursionError) as error:
        raise ValueError(no_json(error)) from error
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


def _decoder(asked: Asked) -> Callable[[bytes], Watermark]:
    return lambda data: decode(data, asked.chain_id, asked.core.parse_sign_bytes)


def _states(paths: tuple[Path, ...], asked: Asked) -> tuple[OldState, ...]:
    return load_states(paths, asked.typed, _decoder(asked))


def _read_shard(path: Path) -> tuple[int, bytes]:
    """Number of a shard file and the validator's public key; the share itself is not looked at.

    Raises: KeyFileError.
    """
    try:
        document = json.loads(read_bounded(path, KEY_FILE_MAX_BYTES)[:KEY_FILE_MAX_BYTES])
        number, encoded = document["id"], base64.b64decode(document.get("pubKey") or document["pub_key"], validate=True)
        if type(number) is not int:
            raise TypeError(number)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise KeyFileError(f"{path} is no shard file of Horcrux", cure="the home of a cosigner") from error
    for prefix in _PUBLIC_PREFIXES:
        if encoded.startswith(prefix) and len(encoded) == len(prefix) + 32:
            return number, encoded[len(prefix) :]
    raise KeyFileError(f"{path}: its pubKey is no ed25519 key", cure="only ed25519 keys can be moved")


class Config:
    """config.yaml of one home, as the version that wrote it reads it."""

    def __init__(self, home: Path, chain_id: str) -> None:
        """Raises: ConfigError, StateError."""
        self.home = home
        self.chain_id = chain_id
        self.path = home / "config.yaml"
        self._document = load_config(self.path, _parse_yaml)
        self.is_old = self._is_old()
        self._check_keys()
        named = text(self.path, self._document, "key-file" if self.is_old else "keyDir")
        self._guessed = named is not None and not named.startswith("/")
        below = joined(home, named) if named is not None else None
        if self.is_old:
            self._check_chain()
            at_shard, at_key = (below, None) if self.is_threshold else (None, below)
            self.shard_path = at_shard or home / "share.json"
            self.key_path = at_key or home / "priv_validator_key.json"
        else:
            self.key_path = (below or home) / _KEY.format(chain_id)
            self.shard_path = (below or home) / _SHARD.format(chain_id)
        self.state_path = home / "state" / _STATE.format(chain_id)
        self.share_state_path = home / "state" / _SHARE_STATE.format(chain_id)

    def _is_old(self) -> bool:
        """Whether v1 or v2 wrote it. Raises: ConfigError for what is of neither, and of both."""
        old, new = set(self._document) & _OLD_KEYS, set(self._document) & _NEW_KEYS
        if old and new:
            raise not_understood(self.path, f"it has {sorted(old)} of Horcrux v2 and {sorted(new)} of v3")
        return bool(old)

    def _check_keys(self) -> None:
        only_keys(self.path, "it", self._document, _OLD_KEYS if self.is_old else _NEW_KEYS)
        if self.is_old:
            if "cosigner" in self._document:
                only_keys(self.path, "cosigner", self._mode(), _OLD_COSIGNER_KEYS)
            return
        mode = self._document.get("signMode")
        if mode not in ("single", "threshold"):
            raise not_understood(self.path, f"its signMode is {mode!r}, and Horcrux v3 knows single and threshold")
        if mode == "threshold":
            only_keys(self.path, "thresholdMode", self._mode(), _THRESHOLD_KEYS)

    def _check_chain(self) -> None:
        """An old configuration is of one chain. Raises: ConfigError."""
        named = text(self.path, self._document, "chain-id")
        if named is None:
            raise not_understood(self.path, "it names no chain-id")
        if named != self.chain_id:
            raise ConfigError(
                f"{self.path} is of chain {named!r}, and {self.chain_id!r} is asked for", cure=f"--chain-id {named}"
            )
        home_dir = text(self.path, self._document, "home-dir")
        if home_dir is not None and Path(home_dir).is_dir() and Path(home_dir).resolve() != self.home.resolve():
            raise ConfigError(
                f"{self.path} says that its home is {home_dir}, and that is there", cure=f"{home_dir} as PATH"
            )

    @property
    def is_threshold(self) -> bool:
        """v2 and v1 have cosigners or have none; v3 says it."""
        return "cosigner" in self._document if self.is_old else self._document.get("signMode") == "threshold"

    @property
    def threshold(self) -> int:
        """How many sign together. Raises: ConfigError."""
        value = self._mode().get("threshold")
        if type(value) is not int or not 1 <= value <= self.cosigners:
            raise ConfigError(
                f"{self.path}: its threshold is {value!r} of {self.cosigners}", cure="the file as Horcrux has it"
            )
        return value

    @property
    def cosigners(self) -> int:
        """How many there are, itself included. Raises: ConfigError."""
        listed = self._mode().get("peers" if self.is_old else "cosigners")
        if not isinstance(listed, list) or not listed:
            raise ConfigError(f"{self.path} lists no cosigners", cure="the file as Horcrux has it")
        if not self.is_old:
            return len(listed)
        shares = self._mode().get("shares", len(listed) + 1)
        if shares != len(listed) + 1:
            raise not_understood(self.path, f"it says {shares!r} shares, and lists {len(listed)} peers beside itself")
        return len(listed) + 1

    def agreed(self, configs: list["Config"]) -> tuple[int, int]:
        """Threshold and number of cosigners, the same in every home. Raises: ConfigError."""
        mine = (self.threshold, self.cosigners)
        for other in configs:
            if not other.is_threshold:
                raise ConfigError(
                    f"{other.path} is of single-signer mode, and {self.path} of a cosigner",
                    cure="the homes of one cluster",
                )
            if (other.threshold, other.cosigners) != mine:
                raise ConfigError(
                    f"{self.path} says {mine[0]} of {mine[1]}, and {other.path} {other.threshold} of {other.cosigners}",
                    cure="the homes of one cluster, with the list that it ran with",
                )
        return mine

    def refuse_guess(self, path: Path, public_key: bytes, states: tuple[OldState, ...], core: Core) -> None:
        """A relative path begins at a directory that is not known here.

        Raises: ConfigError unless a state is signed by what lies there.
        """
        proved = any(
            state.mark.signature and core.verify(public_key, state.mark.sign_bytes, state.mark.signature)
            for state in states
        )
        if self._guessed and not proved:
            raise ConfigError(
                f"{self.path} names a relative {'key-file' if self.is_old else 'keyDir'}, which begins at Horcrux's working directory: {path} is a guess, "
                "and no state proves it",
                cure="the key with --key-file; for shards a copy of the home whose config.yaml has the whole path",
            )

    def seen(self, used: tuple[Path, ...], parse: Callable[[bytes], Watermark]) -> tuple[OldState, ...]:
        """Other states of the chain in its state directory."""
        name = glob.escape(self.chain_id)
        patterns = (f"{name}_priv_validator_state*", f"{name}_share_sign_state*")
        return seen_states((self.home / "state", self.home), patterns, used, parse)

    def in_use(self) -> tuple[str, ...]:
        """What says that it signed, whatever the states say."""
        raft = self.home / "raft"
        return (f"{raft} is there, so the cosigners have run",) if raft.exists() else ()

    def running(self) -> list[StateError]:
        """Why its states cannot be believed."""
        pid = self.home / "horcrux.pid"
        if not pid.exists():
            return []
        return [
            StateError(
                f"{pid} is there: Horcrux runs, or was killed, and then its states may be behind what it signed",
                cure="stop it (after a crash start it once more, without its sentries, and stop it); or --min-height HEIGHT above the chain's head",
            )
        ]

    def refuse_chain(self) -> None:
        """Raises: ConfigError naming the chains that are there."""
        end = _KEY.format("")
        folder = self.key_path.parent
        known = sorted(path.name.removesuffix(end) for path in folder.glob(f"*{end}"))
        what = (
            f"is no {self.key_path.name} or {self.shard_path.name}"
            if self.is_old
            else f"holds no key or shard of {self.chain_id!r}"
        )
        raise ConfigError(
            f"{folder} {what}" + (f", but of {', '.join(known)}" if known and not self.is_old else ""),
            cure="--chain-id, or the right home",
        )

    def _mode(self) -> dict[str, Any]:
        mode = self._document.get("cosigner" if self.is_old else "thresholdMode")
        return mode if isinstance(mode, dict) else {}


def _parse_yaml(untrusted: str) -> object:
    """Raises: ValueError, also for a key that is there twice: which of the two counts differs from
    one reader to the next.
    """
    import yaml  # here: no other command pays for it

    try:
        _refuse_repeated(yaml.compose(untrusted, yaml.SafeLoader))
        return yaml.safe_load(untrusted)
    except yaml.YAMLError as error:
        raise ValueError(f"it is no YAML ({error})") from error


def _refuse_repeated(root: Any) -> None:
    """`root`: a document's node, None of an empty one.

    An alias is the node that it names, so each is looked at once. Raises: ValueError.
    """
    left, known = [root], set()
    while left:
        node = left.pop()
        if node is None or isinstance(node.value, str) or id(node) in known:
            continue
        known.add(id(node))
        if node.id != "mapping":
            left += node.value
            continue
        names = [key.value for key, _ in node.value if isinstance(key.value, str)]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"{twice!r} is there twice")
        left += [value for _, value in node.value]
