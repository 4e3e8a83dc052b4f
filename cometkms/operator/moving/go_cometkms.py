"""CometKMS in Go (initia-labs): a home a node, each with the whole key and its own
priv_validator_state.json.

Only the node that signed writes its state file (a follower keeps the replicated state
in memory and in its Raft files), so one home alone may be far behind what the key has
signed: all of them are read.
"""

import os
import tomllib
from pathlib import Path
from typing import Final

from cometkms.errors import ConfigError, StateError
from cometkms.keys.validator_key import read_material
from cometkms.operator.moving.filepv import KEY_NAME, STATE_NAME, decoder, load_states
from cometkms.operator.moving.old_signer import (
    Asked,
    OldSigner,
    is_missing,
    load_config,
    not_understood,
    same_key,
    seen_states,
    texts,
)

_CONFIG_NAME: Final = "config.toml"
_STORES: Final = "data/*/promises"
_ALL_HOMES: Final = "the homes of all of them, or their state files with --state-file; for a node that is lost --min-height HEIGHT above the chain's head"


def read(asked: Asked) -> OldSigner:
    """Raises: ConfigError, KeyFileError, StateError."""
    if not asked.paths:
        raise ConfigError("cometkms: where are the homes?", cure="the home of every node, one after the other")
    named: set[str] = set()
    given: set[str] = set()
    for home in asked.paths:
        node_id, members = _members(home, asked.chain_id)
        named |= members
        given.add(node_id or str(home))
    key_paths = [asked.key_file] if asked.key_file else [home / "priv" / KEY_NAME for home in asked.paths]
    key = read_material(key_paths[0], asked.core)
    for path in key_paths[1:]:
        with read_material(path, asked.core) as another:
            same_key(path, another.public_key, key.public_key)
    paths = tuple(home / "priv" / STATE_NAME for home in asked.paths) + asked.state_files
    states = load_states(tuple(dict.fromkeys(paths)), asked)
    folders = sorted({path.parent for path in paths})
    seen = seen_states(folders, ("*priv_validator_state*",), paths, decoder(asked))
    of_homes = {os.path.realpath(home / "priv" / STATE_NAME) for home in asked.paths}
    covered = len(given) + len({os.path.realpath(path) for path in asked.state_files} - of_homes)
    doubts = []
    if len(named) > covered:
        what = f"{len(named)} nodes may have signed with this key ({', '.join(sorted(named))}) and the states of {covered} are given"
        doubts.append(StateError(f"{what}: only the node that signed writes its own", cure=_ALL_HOMES))
    notes = (
        ["--peer and COMETKMS_PEER go before the list in config.toml, and do not show here"]
        if named
        else ["no peer list in config.toml: had the cluster more nodes than these, give their homes too"]
    )
    return OldSigner(
        key,
        key_paths[0],
        key.public_key,
        states,
        tuple(doubts),
        tuple(notes),
        (
            f"every node of the old cluster is stopped ({', '.join(sorted(named)) or 'however many'}) and disabled: "
            "the two programs do not talk to each other",
            "no supervisor, container or cron job starts one of them again",
            "no validator holds the key file itself",
        ),
        seen,
        tuple(f"{path} is there, so the cluster has run" for home in asked.paths for path in _ran(home)),
    )


def _ran(home: Path) -> list[Path]:
    """Its Raft files."""
    return sorted(home.glob("data/*/*"))[:1]


def _members(home: Path, chain_id: str) -> tuple[str, set[str]]:
    """Its id, "" where it does not say; and the ids of the cluster where there is a peer list.

    Both may have come from flags instead.

    Raises: ConfigError, StateError.
    """
    if any(home.glob(_STORES)):
        raise StateError(
            f"{home} is a home of this program, not of the Go CometKMS: its promise store knows more than its state file",
            cure="start it as it is, or `cmkms member` to change a cluster's members",
        )
    path = home / _CONFIG_NAME
    if is_missing(path):
        return "", set()
    config = load_config(path, tomllib.loads)
    named = config.get("chain_id")
    if isinstance(named, str) and named and named != chain_id:
        raise ConfigError(f"{path} is of chain {named!r}, and {chain_id!r} is asked for", cure=f"--chain-id {named}")
    node_id = config.get("id", "")
    if not isinstance(node_id, str):
        raise not_understood(path, f"its id is {node_id!r}")
    members = {peer.partition("=")[0].strip() for peer in texts(path, config, "peer")}
    return node_id, members | {node_id} if members and node_id else members
