"""CometBFT's and Tendermint's own signer: priv_validator_key.json and priv_validator_state.json (privval/file.go)."""

from pathlib import Path
from typing import Final

from cometkms.errors import ConfigError, KeyFileError, StateError
from cometkms.keys.validator_key import read_material
from cometkms.moving.old_signer import Asked, OldSigner, OldState, first_file, one_path
from cometkms.store import state_file
from cometkms.store.node_store import BORN_NAME

KEY_NAME: Final = "priv_validator_key.json"
STATE_NAME: Final = "priv_validator_state.json"
_OFF: Final = (
    "the node that signs with this file is stopped, and priv_validator_laddr is set in its config.toml before it starts again",
    f"its own {KEY_NAME} is moved away from its config/: without priv_validator_laddr it would sign by itself",
    "no other node, sentry or backup holds the key and can start",
)
_OURS: Final = (
    f"{{}} stands beside a {BORN_NAME}: a node of this program keeps it, and its promise store knows more than the file. Cure: `cmkms export --to filepv "
    "DIR` there, and import from DIR; or --min-height HEIGHT above the chain's head"
)


def read(asked: Asked) -> OldSigner:
    """Raises: ConfigError, KeyFileError, StateError."""
    home = one_path(asked, "a node with its own key file")
    if home is None and asked.key_file is None:
        raise ConfigError("filepv: where are the files? cure: the node's home, or --key-file and --state-file")
    key_path = asked.key_file or first_file(
        key_places(home or Path()), KeyFileError, "key file", "the home of the node that signs, or --key-file FILE"
    )
    states = asked.state_files or (
        first_file(
            state_places(home or key_path),
            StateError,
            "state file, so what this key has signed is not known,",
            "--state-file FILE",
        ),
    )
    key = read_material(key_path, asked.core)
    doubts = tuple(_OURS.format(path) for path in states if path.with_name(BORN_NAME).exists())
    return OldSigner(key, key_path, key.public_key, load_states(states, asked), doubts, off=_OFF)


def load_states(paths: tuple[Path, ...], asked: Asked) -> tuple[OldState, ...]:
    """Raises: StateError."""
    return tuple(OldState(path, state_file.load(path, asked.chain_id, asked.core.parse_sign_bytes)) for path in paths)


def key_places(path: Path) -> list[Path]:
    """Where the key lies in a CometBFT home, a directory with both files, or where it is named itself."""
    return [path / "config" / KEY_NAME, path / KEY_NAME] if path.is_dir() else [path]


def state_places(path: Path) -> list[Path]:
    """Likewise the state."""
    if path.is_dir():
        return [path / "data" / STATE_NAME, path / STATE_NAME]
    return [path.with_name(STATE_NAME), path.parent.parent / "data" / STATE_NAME]
