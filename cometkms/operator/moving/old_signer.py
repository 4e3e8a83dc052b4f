"""What another signer's files say: its key, if it is there, how far it has signed, and
why that may not be all.

An import believes nothing that the old program itself would not read: the paths are resolved as
that program resolves them, and a configuration that is not understood, or that leads to where
nobody can say from here, is refused. What else lies beside it and says more (`seen`), or says that
the key was in use (`in_use`), is held against the states and never passed over.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cometkms.core.interface import Core
from cometkms.durable import check_way, open_regular, read_bounded
from cometkms.errors import ConfigError, KeyFileError, OperatorError, StateError, cure_of_file, said
from cometkms.keys.public import address_of
from cometkms.keys.validator_key import KeyMaterial
from cometkms.limits import CONFIG_MAX_BYTES, KEY_FILE_MAX_BYTES, STATE_FILE_MAX_BYTES
from cometkms.model import HRS, Watermark

TYPED: Final = "--min-height HEIGHT above the chain's head"
_SEEN_MOST: Final = 64  # files beside the state that are looked at: an honest home has a handful


@dataclass(frozen=True, slots=True)
class Asked:
    """Where to look.

    `paths`: homes of the signer's nodes. `key_file`, `state_files`: instead of, or beside, what is
    found there.

    `typed`: the operator has said how far the key has signed, so a state that is missing is no
    reason to stop.
    """

    paths: tuple[Path, ...]
    chain_id: str
    core: Core
    key_file: Path | None = None
    state_files: tuple[Path, ...] = ()
    typed: bool = False


@dataclass(frozen=True, slots=True)
class OldState:
    """One state file, or what else shows a place: a file of the node's, the address of its RPC.

    `what`: of a thing that is no state file.
    """

    path: Path | str
    mark: Watermark
    what: str = ""


@dataclass(frozen=True, slots=True)
class OldSigner:
    """`key`: to be wiped by who asked.

    `public_key`: known even where the key is not. `states`: what the old program itself reads.

    `doubts`: why the states may not show everything that was signed, each with its cure. `off`:
    what must be off before. `seen`: what else lies there and names a place. `in_use`: what says
    that the key has signed, without saying how far. `identity_path`: the key that the old signer
    showed to the validator, in node_key.json's form.
    """

    key: KeyMaterial | None
    key_path: Path | None
    public_key: bytes | None
    states: tuple[OldState, ...]
    doubts: tuple[StateError, ...] = ()
    notes: tuple[str, ...] = ()
    off: tuple[str, ...] = ()
    seen: tuple[OldState, ...] = ()
    in_use: tuple[str, ...] = ()
    identity_path: Path | None = None


def one_path(asked: Asked, what: str) -> Path | None:
    """Return the only path, for signers that are one process. Raises: ConfigError for several."""
    if len(asked.paths) > 1:
        raise ConfigError(f"{what} is one process: give one path, and further state files with --state-file")
    return asked.paths[0] if asked.paths else None


def first_file(candidates: Sequence[Path], missing: type[OperatorError], what: str, cure: str) -> Path:
    """The first that is there. One behind a link to where nothing is may lie on a disk that is not
    mounted, so it is not passed over.

    Raises: `missing`, naming them, or that link.
    """
    for path in candidates:
        if path.exists():
            return path
        try:
            check_way(path.parent)
            os.close(open_regular(path))
        except FileNotFoundError:
            continue
        except OSError as error:
            raise missing(f"{error.filename} cannot be read: {said(error)}", cure=cure_of_file(error, cure)) from error
        return path
    raise missing(f"there is no {what} at {' or '.join(map(str, candidates))}", cure=cure)


# --- states ---


def load_state(path: Path, decode: Callable[[bytes], Watermark]) -> OldState:
    """A state file in whatever form.

    `decode` raises ValueError. Raises: StateError naming the file.
    """
    data = _bounded(path, STATE_FILE_MAX_BYTES, "state")
    try:
        return OldState(path, decode(data))
    except ValueError as error:
        raise StateError(
            f"{path} is no state file of this signer: {error}",
            cure=f"give the file as the signer left it; if it is lost, --state-file of another "
            f"node, or move it away and give {TYPED}",
        ) from error


def load_states(paths: Iterable[Path], typed: bool, decode: Callable[[bytes], Watermark]) -> tuple[OldState, ...]:
    """Those that are there; one that is missing stops the import, unless a height was typed.

    Raises: StateError.
    """
    return tuple(load_state(path, decode) for path in paths if not (typed and is_missing(path)))


def is_missing(path: Path) -> bool:
    """Whether nothing has that name, not even a link that leads nowhere."""
    return not path.exists() and not path.is_symlink()


def seen_states(
    folders: Iterable[Path], patterns: Sequence[str], used: Iterable[Path], decode: Callable[[bytes], Watermark]
) -> tuple[OldState, ...]:
    """Other states that lie beside the ones in use: copies, backups, leftovers.

    What is none is passed over.
    """
    known = {_real(path) for path in used}
    found: list[OldState] = []
    looked = 0
    for folder in dict.fromkeys(folders):
        for path in sorted({match for pattern in patterns for match in _glob(folder, pattern)}):
            if _real(path) in known:
                continue
            known.add(_real(path))
            looked += 1
            if looked > _SEEN_MOST:
                return tuple(found)
            try:
                found.append(load_state(path, decode))
            except StateError:
                continue
    return tuple(found)


def _glob(folder: Path, pattern: str) -> list[Path]:
    try:
        return list(folder.glob(pattern))
    except OSError:
        return []


def _real(path: Path) -> str:
    return os.path.realpath(path)


def highest(states: Iterable[OldState]) -> HRS:
    """The highest place of them; 0/0/0 of none."""
    return max((state.mark.hrs for state in states), default=HRS(0, 0, 0))


# --- configurations ---


def load_config(path: Path, parse: Callable[[str], object]) -> dict[str, object]:
    """A configuration file, a table.

    `parse` raises ValueError. Raises: ConfigError naming the file.
    """
    data = _bounded(path, CONFIG_MAX_BYTES, "configuration")
    try:
        document = parse(data.decode())
    except (ValueError, RecursionError, OverflowError) as error:
        raise not_understood(path, said(error)) from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path} holds no settings", cure="name the files with --key-file and --state-file")
    return document


def not_understood(path: Path, why: str) -> ConfigError:
    """A configuration that this import does not read as the old program does."""
    return ConfigError(
        f"{path} cannot be understood: {why}",
        cure="name the files themselves, without this home, with --key-file and --state-file",
    )


def only_keys(path: Path, where: str, table: Mapping[str, object], known: Iterable[str]) -> None:
    """Raises: ConfigError for a key that is not `known`: it may say where the state is."""
    strange = sorted(str(key) for key in table if key not in set(known))
    if strange:
        raise not_understood(path, f"{where} has {', '.join(map(repr, strange[:5]))}, which this import does not know")


def tables(path: Path, table: Mapping[str, object], name: str) -> list[dict[str, object]]:
    """An array of tables, which may be absent. Raises: ConfigError for anything else."""
    listed = table.get(name, [])
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise not_understood(path, f"{name!r} is no list of tables")
    return listed


def text(path: Path, table: Mapping[str, object], name: str) -> str | None:
    """A string that may be absent.

    Raises: ConfigError for anything else, the empty string included.
    """
    value = table.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not value or "\0" in value:
        raise not_understood(path, f"its {name} is {value!r}")
    return value


def texts(path: Path, table: Mapping[str, object], name: str) -> list[str]:
    """A list of strings that may be absent. Raises: ConfigError for anything else."""
    value = table.get(name, [])
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise not_understood(path, f"its {name} is {value!r}")
    return value


def joined(root: Path, value: str) -> Path:
    """Go's filepath.Join after filepath.IsAbs: an absolute path as it is, another one below `root`
    with its dots resolved as text.
    """
    return Path(value) if value.startswith("/") else Path(os.path.normpath(f"{root}/{value}"))


def same_key(path: Path, found: bytes, expected: bytes | None) -> bytes:
    """Raises: KeyFileError unless both are one key; `expected` None is any."""
    if expected is not None and found != expected:
        raise KeyFileError(
            f"{path} is of the key {address_of(found)}, and the others are of {address_of(expected)}",
            cure="the files of one validator only",
        )
    return found


def read_secret(path: Path) -> bytes:
    """Return what a key's file holds.

    Raises: KeyFileError naming the file, also where others can read it.
    """
    try:
        os.close(open_regular(path))
        mode = path.stat().st_mode
        if mode & 0o077:
            raise KeyFileError(f"{path} can be read by others (mode {mode & 0o777:04o})", cure=f"chmod 600 {path}")
        return read_bounded(path, KEY_FILE_MAX_BYTES)
    except OSError as error:
        raise KeyFileError(
            f"{path} cannot be read: {said(error)}", cure="the path of the key, with --key-file"
        ) from error


def _bounded(path: Path, most: int, what: str) -> bytes:
    try:
        data = read_bounded(path, most)
    except FileNotFoundError:
        raise StateError(
            f"{path} is missing",
            cure=f"the path of the signer's {what} file" + (f", or {TYPED}" if what == "state" else ""),
        ) from None
    except (OSError, ValueError) as error:
        raise StateError(
            f"{path} cannot be read: {said(error)}", cure=f"the {what} file itself, readable for this user"
        ) from error
    if len(data) > most:
        raise StateError(f"{path} has more than {most} bytes: it is no {what} file", cure="the right path")
    return data
