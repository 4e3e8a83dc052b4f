"""CometBFT's and Tendermint's own signer: a node's home, or its two files (privval/file.go;
config/config.go for where they are).

    HOME/config/config.toml                    priv_validator_key_file, priv_validator_state_file,
                                               priv_validator_laddr, db_dir
    HOME/config/priv_validator_key.json        unless the configuration says otherwise; a relative
                                               path begins at HOME
    HOME/data/priv_validator_state.json        likewise
    HOME/data/cs.wal, blockstore.db, state.db  say that the node was in use, and the log how far it
                                               came

With priv_validator_laddr another signer signs and the local state stands still. Flags and variables
of the old program (--home, --priv_validator_laddr, CMT_… and an application's own prefix) go before
config.toml and cannot be seen from here: that is said.
"""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cometkms.errors import ConfigError, KeyFileError, StateError
from cometkms.keys.validator_key import read_material
from cometkms.model import Watermark
from cometkms.operator.moving.comet_wal import Finished, finished_height
from cometkms.operator.moving.old_signer import (
    TYPED,
    Asked,
    OldSigner,
    OldState,
    first_file,
    highest,
    is_missing,
    joined,
    load_config,
    not_understood,
    one_path,
    seen_states,
    text,
)
from cometkms.rules.burnt import burnt_up_to
from cometkms.store import state_file

KEY_NAME: Final = "priv_validator_key.json"
STATE_NAME: Final = "priv_validator_state.json"
_CONFIG_NAME: Final = "config.toml"
# key and state in one, before v0.31; v0.31–v0.33 turn it into the two
_ONE_FILE_NAME: Final = "priv_validator.json"
_OTHER_FORMS: Final = ("json", "yaml", "yml", "properties", "props", "prop", "hcl", "tfvars", "dotenv", "env", "ini")
_KNOWN: Final = ("priv_validator_key_file", "priv_validator_state_file", "priv_validator_laddr")
_ALIKE: Final = ("*priv_validator_state*", "*priv-validator-state*")
_USED: Final = ("blockstore.db", "state.db")
_OFF: Final = (
    "the node that signs with this file is stopped, and priv_validator_laddr is set in its config.toml before it starts again",
    f"its own {KEY_NAME} is moved away from its config/: without priv_validator_laddr it would sign by itself",
    "no other node, sentry or backup holds the key and can start",
)
_FROM_SIGNER: Final = (
    "import from that signer's "
    f"own files (--from tmkms, horcrux or cometkms), or its state with --state-file; or {TYPED}, when that signer is off"
)
_UNSEEN: Final = (
    "what the node was given by flags and variables (--home, --priv_validator_laddr, CMT_… or its program's own prefix) does not show here, and goes "
    "before config.toml: look at its unit"
)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a node's files are.

    `config_path`: None without one. `data`: its database directory; None where there is no home.
    """

    key_path: Path
    state_path: Path
    config_path: Path | None = None
    laddr: str = ""
    data: Path | None = None
    wal: Path | None = None


def read(asked: Asked) -> OldSigner:
    """Raises: ConfigError, KeyFileError, StateError."""
    path = one_path(asked, "a node with its own key file")
    if path is None and asked.key_file is None:
        raise ConfigError("filepv: where are the files?", cure="the node's home, or --key-file and --state-file")
    if path is None and asked.key_file is not None and asked.state_files:
        return _signer(asked, asked.key_file, asked.state_files, None)
    path = path or asked.key_file or Path()
    layout = layout_of(path)
    key_path = asked.key_file or first_file(
        (layout.key_path,), KeyFileError, "key file", "the home of the node that signs, or --key-file FILE"
    )
    if asked.state_files:
        kept = () if is_missing(layout.state_path) else (layout.state_path,)
        return _signer(asked, key_path, (*kept, *asked.state_files), layout)
    if not asked.typed:
        first_file(
            (layout.state_path,),
            StateError,
            "state file, so what this key has signed is not known,",
            f"--state-file FILE, or {TYPED}",
        )
    return _signer(asked, key_path, (layout.state_path,), layout)


def _signer(asked: Asked, key_path: Path, paths: tuple[Path, ...], layout: Layout | None) -> OldSigner:
    paths = tuple(dict.fromkeys(paths))
    states = load_states(paths, asked)
    doubts: list[StateError] = []
    named = {path.resolve() for path in asked.state_files}
    if layout and layout.laddr and not named - {layout.state_path.resolve()}:
        doubts.append(
            StateError(
                f"{layout.config_path} sets priv_validator_laddr: another signer signs for this node, and {layout.state_path} stands still since "
                "that took over",
                cure=_FROM_SIGNER,
            )
        )
    finished = finished_height(layout.wal) if layout and layout.wal else Finished(0)
    doubts += [
        StateError(
            f"{unread}: the node itself may have finished a higher height than its log shows here, and have signed up to there",
            cure=f"{TYPED}; or move that file away, if it is not this node's log",
        )
        for unread in finished.unread
    ]
    folders = {key_path.parent, *(path.parent for path in paths)}
    if layout and layout.data is not None:
        folders |= {layout.data, *_home_folders(layout)}
    seen = seen_states(sorted(folders), _ALIKE, paths, decoder(asked)) + _node_height(layout, finished, states)
    key = read_material(key_path, asked.core)
    notes = (_UNSEEN,) if layout and layout.data is not None else ()
    return OldSigner(key, key_path, key.public_key, states, tuple(doubts), notes, _OFF, seen, _in_use(layout))


def load_states(paths: tuple[Path, ...], asked: Asked) -> tuple[OldState, ...]:
    """Those that are there; one that is missing stops the import, unless a height was typed.

    Raises: StateError.
    """
    return tuple(
        OldState(path, state_file.load(path, asked.chain_id, asked.core.parse_sign_bytes))
        for path in paths
        if not (asked.typed and is_missing(path))
    )


def decoder(asked: Asked) -> Callable[[bytes], Watermark]:
    """FilePV's form."""
    return lambda data: state_file.decode(data, asked.chain_id, asked.core.parse_sign_bytes)


# --- what the home shows beside the state ---


def _node_height(layout: Layout | None, finished: Finished, states: tuple[OldState, ...]) -> tuple[OldState, ...]:
    """The height that the node itself has finished, where that is above the state: it may have
    signed up to there.
    """
    if layout is None or layout.wal is None or finished.height <= highest(states).height:
        return ()
    return (OldState(layout.wal, burnt_up_to(finished.height), "the node's own log"),)


def _in_use(layout: Layout | None) -> tuple[str, ...]:
    if layout is None or layout.data is None:
        return ()
    wal = layout.wal
    used = [layout.data / name for name in _USED] + ([wal.parent] if wal else [])
    return tuple(f"{path} is there, so the node has run" for path in used if path.exists())


def _home_folders(layout: Layout) -> tuple[Path, ...]:
    config = layout.config_path.parent if layout.config_path else layout.key_path.parent
    home = config.parent if config.name == "config" else config
    return (home, home / "config", home / "data")


# --- where the files are ---


def layout_of(path: Path) -> Layout:
    """Find the files of a node's home, of a directory with both, or beside the key file.

    Raises: ConfigError, StateError.
    """
    if path.is_dir():
        home = _home_of(path)
        return _home_layout(home) if home else _flat(path)
    for above in (path.parent, path.parent.parent):
        home = _home_of(above)
        if home is not None:
            layout = _home_layout(home)
            if layout.key_path.resolve() == path.resolve():
                return layout
            if layout.config_path is not None:
                raise ConfigError(
                    f"{layout.config_path} names {layout.key_path} as the key, not {path}",
                    cure=f"{home} as PATH, or this key with --key-file and its state with --state-file",
                )
    beside = path.with_name(STATE_NAME)
    above = path.parent.parent / "data" / STATE_NAME
    return Layout(path, above if is_missing(beside) and above.exists() else beside)


def export_layout(directory: Path) -> Layout:
    """Where a node reads what is written for it: as its configuration says; flat in a directory
    that is no home. Raises: ConfigError.
    """
    is_home = (directory / "config").is_dir() and (directory / "data").is_dir()
    has_config = not is_missing(directory / "config" / _CONFIG_NAME)
    return _home_layout(directory) if is_home or has_config else _flat(directory)


def _home_of(path: Path) -> Path | None:
    """The home that a directory is, or whose config/ it is; None for any other directory."""
    if path.name == "config" and ((path / _CONFIG_NAME).exists() or (path.parent / "data").is_dir()):
        return path.parent
    if (path / "config").is_dir():
        return path
    return path if _is_comets(path / _CONFIG_NAME) else None


def _is_comets(config: Path) -> bool:
    """Whether a config.toml that stands in a directory itself is a node's: viper looks there too."""
    try:
        return any(key.startswith("priv_validator") for key in _lowered(config, load_config(config, tomllib.loads)))
    except StateError:
        return False


def _flat(path: Path) -> Layout:
    return Layout(path / KEY_NAME, path / STATE_NAME)


def _home_layout(home: Path) -> Layout:
    configs = [path for path in (home / "config" / _CONFIG_NAME, home / _CONFIG_NAME) if not is_missing(path)]
    strange = [path for name in _OTHER_FORMS for path in (home / "config" / f"config.{name}", home / f"config.{name}")]
    strange = [path for path in strange if not is_missing(path)]
    if len(configs) + len(strange) > 1 or strange:
        raise ConfigError(
            f"{home} has {' and '.join(map(str, configs + strange))}, and which of them the node reads depends on its program",
            cure="name the files themselves, without this home, with --key-file and --state-file",
        )
    old = home / "config" / _ONE_FILE_NAME
    if not is_missing(old):
        raise ConfigError(
            f"{old} holds key and state in one, as before Tendermint v0.31: v0.31 to v0.33 take it first, later ones pass it over",
            cure="name the files that were in use, without this home, with --key-file and --state-file",
        )
    table = _lowered(configs[0], load_config(configs[0], tomllib.loads)) if configs else {}
    return _resolved(home, configs[0] if configs else None, table)


def _resolved(home: Path, config: Path | None, table: dict[str, object]) -> Layout:
    """What config.toml's settings make of a home. Raises: ConfigError."""
    where = config or home
    consensus = table.get("consensus", {})
    if not isinstance(consensus, dict):
        raise not_understood(where, "its consensus is no table")
    laddr = table.get("priv_validator_laddr", "")
    if not isinstance(laddr, str):
        raise not_understood(where, f"its priv_validator_laddr is {laddr!r}")
    data = joined(home, text(where, table, "db_dir") or "data")
    return Layout(
        joined(home, text(where, table, "priv_validator_key_file") or f"config/{KEY_NAME}"),
        joined(home, text(where, table, "priv_validator_state_file") or f"data/{STATE_NAME}"),
        config,
        laddr,
        data,
        joined(home, text(where, consensus, "wal_file") or "data/cs.wal/wal"),
    )


def _lowered(path: Path, table: dict[str, object]) -> dict[str, object]:
    """Keys without regard to case, as viper reads them.

    Raises: ConfigError for two alike, and for what else is of the signer.
    """
    lowered: dict[str, object] = {}
    for name, value in table.items():
        key = name.lower()
        if key in lowered:
            raise not_understood(path, f"{name!r} is there twice")
        alike = key.replace("-", "_")
        if alike.startswith(("priv_validator", "privval")) and key not in _KNOWN:
            raise not_understood(path, f"it has {name!r}, which this import does not know")
        lowered[key] = _lowered(path, value) if key == "consensus" and isinstance(value, dict) else value
    return lowered
