"""The Go CometKMS: a home a node, each with the whole key and its own priv_validator_state.json.

Only the node that signed writes its state file (a follower keeps the replicated state in memory and in its Raft files), so
one home alone may be far behind what the key has signed: all of them are read.
"""

import tomllib
from pathlib import Path
from typing import Final

from cometkms.errors import ConfigError, StateError
from cometkms.keys.validator_key import read_material
from cometkms.moving.filepv import KEY_NAME, STATE_NAME, load_states
from cometkms.moving.old_signer import Asked, OldSigner, load_config, same_key

_CONFIG_NAME: Final = "config.toml"
_STORES: Final = "data/*/promises"
_FEWER: Final = (
    "{} nodes may have signed with this key ({}) and the states of {} are given: only the node that signed writes its own. Cure: the homes of all "
    "of them, or their state files with --state-file; for a node that is lost --min-height HEIGHT above the chain's head"
)


def read(asked: Asked) -> OldSigner:
    """Raises: ConfigError, KeyFileError, StateError."""
    if not asked.paths:
        raise ConfigError("cometkms: where are the homes? cure: the home of every node, one after the other")
    named: set[str] = set()
    for home in asked.paths:
        named |= _members(home, asked.chain_id)
    key_paths = [asked.key_file] if asked.key_file else [home / "priv" / KEY_NAME for home in asked.paths]
    key = read_material(key_paths[0], asked.core)
    for path in key_paths[1:]:
        with read_material(path, asked.core) as another:
            same_key(path, another.public_key, key.public_key)
    states = tuple(home / "priv" / STATE_NAME for home in asked.paths) + asked.state_files
    doubts = [_FEWER.format(len(named), ", ".join(sorted(named)), len(states))] if len(named) > len(states) else []
    notes = (
        [] if named else ["no peer list in config.toml: had the cluster more nodes than these, give their homes too"]
    )
    return OldSigner(
        key,
        key_paths[0],
        key.public_key,
        load_states(states, asked),
        tuple(doubts),
        tuple(notes),
        (
            f"every node of the old cluster is stopped ({', '.join(sorted(named)) or 'however many'}) and disabled: "
            "the two programs do not talk to each other",
            "no supervisor, container or cron job starts one of them again",
            "no validator holds the key file itself",
        ),
    )


def _members(home: Path, chain_id: str) -> set[str]:
    """The ids that its peer list names; they may have come from flags instead. Raises: ConfigError, StateError."""
    if any(home.glob(_STORES)):
        raise StateError(
            f"{home} is a home of this program, not of the Go CometKMS: its promise store knows more than its state file. Cure: start it as it "
            "is, or `cmkms member` to change a cluster's members"
        )
    path = home / _CONFIG_NAME
    if not path.exists():
        return set()
    config = load_config(path, tomllib.loads)
    named = config.get("chain_id")
    if isinstance(named, str) and named and named != chain_id:
        raise ConfigError(f"{path} is of chain {named!r}, and {chain_id!r} is asked for; cure: --chain-id {named}")
    peers = config.get("peer")
    return {str(peer).partition("=")[0] for peer in peers} if isinstance(peers, list) else set()
