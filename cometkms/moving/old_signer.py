"""What another signer's files say: its key, if it is there, and how far it has signed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cometkms.errors import ConfigError, KeyFileError, OperatorError, StateError, os_words
from cometkms.interface import Core
from cometkms.keys.public import address_of
from cometkms.keys.validator_key import KeyMaterial
from cometkms.limits import CONFIG_MAX_BYTES, STATE_FILE_MAX_BYTES
from cometkms.model import Watermark


@dataclass(frozen=True, slots=True)
class Asked:
    """Where to look. `paths`: homes of the signer's nodes. `key_file`, `state_files`: instead of, or beside, what is found there."""

    paths: tuple[Path, ...]
    chain_id: str
    core: Core
    key_file: Path | None = None
    state_files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class OldState:
    """One state file."""

    path: Path
    mark: Watermark


@dataclass(frozen=True, slots=True)
class OldSigner:
    """`key`: to be wiped by who asked. `public_key`: known even where the key is not.

    `doubts`: why the states may not show everything that was signed; each ends with its cure. `off`: what must be off before.
    """

    key: KeyMaterial | None
    key_path: Path | None
    public_key: bytes | None
    states: tuple[OldState, ...]
    doubts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    off: tuple[str, ...] = ()


def one_path(asked: Asked, what: str) -> Path | None:
    """For signers that are one process. Raises: ConfigError for several."""
    if len(asked.paths) > 1:
        raise ConfigError(f"{what} is one process: give one path, and further state files with --state-file")
    return asked.paths[0] if asked.paths else None


def first_file(candidates: Sequence[Path], missing: type[OperatorError], what: str, cure: str) -> Path:
    """The first that is there. Raises: `missing`, naming them."""
    for path in candidates:
        if path.is_file():
            return path
    raise missing(f"there is no {what} at {' or '.join(map(str, candidates))}; cure: {cure}")


def load_state(path: Path, decode: Callable[[bytes], Watermark]) -> OldState:
    """A state file in whatever form. `decode` raises ValueError. Raises: StateError naming the file."""
    data = _bounded(path, STATE_FILE_MAX_BYTES, "state")
    try:
        return OldState(path, decode(data))
    except ValueError as error:
        raise StateError(
            f"{path} is no state file of this signer: {error}. Cure: give the file as the signer left it; if it is lost, --state-file of another "
            "node, or --min-height HEIGHT above the chain's head"
        ) from error


def load_config(path: Path, parse: Callable[[str], object]) -> dict[str, object]:
    """A configuration file, a table. `parse` raises ValueError. Raises: ConfigError naming the file."""
    data = _bounded(path, CONFIG_MAX_BYTES, "configuration")
    try:
        document = parse(data.decode())
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"{path} cannot be understood: {error}; cure: name the files with --key-file and --state-file"
        ) from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path} holds no settings; cure: name the files with --key-file and --state-file")
    return document


def same_key(path: Path, found: bytes, expected: bytes | None) -> bytes:
    """Raises: KeyFileError unless both are one key; `expected` None is any."""
    if expected is not None and found != expected:
        raise KeyFileError(
            f"{path} is of the key {address_of(found)}, and the others are of {address_of(expected)}; cure: the files of one validator only"
        )
    return found


def _bounded(path: Path, most: int, what: str) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except FileNotFoundError:
        raise StateError(f"{path} is missing; cure: the path of the signer's {what} file") from None
    except OSError as error:
        raise StateError(
            f"{path} cannot be read: {os_words(error)}; cure: run this as a user that may read it"
        ) from error
    if len(data) > most:
        raise StateError(f"{path} has more than {most} bytes: it is no {what} file; cure: the right path")
    return data
