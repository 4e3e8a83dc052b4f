"""A key that went out to another signer: what that one has signed since is not known here, so
nothing is signed here until it is.

`cmkms export` notes it beside the state file before anything leaves, and a start refuses. What
brings the other signer's watermark back takes the note away: `cmkms import`, `cmkms state import`,
or `cmkms recover` on the operator's word.
"""

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cometkms.durable import check_format, read_file, sync_directory, write_atomically
from cometkms.errors import StateError, cure_of_file, os_words

EXPORTED_NAME: Final = "exported.json"
_FORMAT: Final = 1
_MAX_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Note:
    """What note_export() wrote, and what stood there before: `earlier` None where the
    key had not gone out.
    """

    state_path: Path
    chain_id: str
    earlier: list[str] | None

    def take_back(self) -> None:
        """The export failed before a key left: what was so before is so now.

        Raises: StateError, StoreFailure, OSError.
        """
        _put(self.state_path, self.chain_id, self.earlier)


def note_export(state_path: Path, chain_id: str, kind: str, target: Path) -> Note:
    """Durable on return.

    `kind`: whose files they are; `target`: that signer's state file. Raises: StateError,
    StoreFailure.
    """
    earlier = _read(state_path.parent / EXPORTED_NAME).get(chain_id)
    _put(state_path, chain_id, [kind, str(target)])
    return Note(state_path, chain_id, earlier)


def forget_export(state_path: Path, chain_id: str) -> None:
    """The other signer's watermark is here. Raises: StateError, StoreFailure, OSError."""
    _put(state_path, chain_id, None)


def carry_export(state_path: Path, old: str, new: str) -> None:
    """The chain goes on under another id, and the other signer may have gone on with it. Durable on
    return. Raises: StateError, StoreFailure.
    """
    noted = _read(state_path.parent / EXPORTED_NAME)
    if old in noted and new not in noted:
        _put(state_path, new, noted[old])


def _put(state_path: Path, chain_id: str, words: list[str] | None) -> None:
    """Let the note of one chain be these words; None: none."""
    path = state_path.parent / EXPORTED_NAME
    noted = _read(path)
    if noted.get(chain_id) == words:
        return
    left = {name: said for name, said in noted.items() if name != chain_id}
    if words is not None:
        left[chain_id] = words
    if left:
        _write(path, left)
        return
    path.unlink()
    sync_directory(path.parent)


def check_export(state_path: Path) -> None:
    """Whether forget_export() will find what it can read: it comes after the marks are written.
    Raises: StateError.
    """
    _read(state_path.parent / EXPORTED_NAME)


def refuse_exported(state_path: Path, chain_id: str) -> None:
    """Raises: StateError while the chain's key is another signer's."""
    path = state_path.parent / EXPORTED_NAME
    noted = _read(path).get(chain_id)
    if noted is None:
        return
    kind, target = noted
    raise StateError(
        f"{path} says that this key went out, to {kind} ({target}): what it signed there since is not known here, so it does not sign",
        cure=f"when that "
        f"signer is off for good, bring its watermark back, `cmkms import --from {kind} PATH`; or read the chain's head height from two nodes you trust, "
        "after that, and import with --min-height and a height above it",
    )


def refuse_own_file(file: Path, state_path: Path, chain_id: str) -> None:
    """An import takes the note away, and the home's own state file, by whatever name, brings
    nothing of the other signer back. Raises: StateError.
    """
    with contextlib.suppress(OSError):
        if file.samefile(state_path):
            refuse_exported(state_path, chain_id)


def _read(path: Path) -> dict[str, list[str]]:
    """Read by chain id the other signer's kind and state file. Raises: StateError."""
    try:
        document = json.loads(read_file(path, _MAX_BYTES))
        check_format(path, document, _FORMAT)
        chains = document["chains"]
        if not all(isinstance(words, list) and [type(one) for one in words] == [str, str] for words in chains.values()):
            raise TypeError
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StateError(
            f"{path} cannot be read: {os_words(error)}", cure=cure_of_file(error, "give it to the node's user")
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StateError(
            f"{path} cannot be understood: whether this key is another signer's is not known",
            cure="restore it; or, when no other signer has the key, remove it",
        ) from error
    return {str(chain): words for chain, words in chains.items()}


def _write(path: Path, chains: dict[str, list[str]]) -> None:
    write_atomically(path, json.dumps({"format": _FORMAT, "chains": chains}).encode())
