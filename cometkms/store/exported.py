"""A key that went out to another signer: what that one has signed since is not known here, so
nothing is signed here until it is.

`cmkms export` notes it before anything leaves, with the place that went out, and a start refuses.
What brings the other signer's watermark back takes the note away: `cmkms import`, `cmkms state
import`, or `cmkms recover` on the operator's word. A state at the place that went out, or below it,
brings nothing back: a copy that stayed behind looks the same.

The note stands beside the state file and in the store's directory, so that neither an older priv/
nor an older data/ alone is without it; and in priv/, where the state file is in no directory of it,
for other settings look there. It is looked for wherever a note of this home may stand:
priv/, each directory in it and in data/, for a home may have got [[chain]] tables since, or lost
them.
"""

import contextlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cometkms.durable import check_format, make_directory, open_directory, read_file, write_atomically
from cometkms.errors import OTHER_USER_CURE, StateError, cure_of_file, os_words
from cometkms.model import HRS

EXPORTED_NAME: Final = "exported.json"
_FORMAT: Final = 1
_MAX_BYTES: Final = 1 << 16
_BEGUN: Final = "begun"
_PLACE: Final = re.compile(r"([0-9]{1,19})/([0-9]{1,10})/([0-3])")
_TYPED: Final = "read the chain's head height from two nodes you trust, after that, and import with --min-height and a height above it"


@dataclass(frozen=True, slots=True)
class WentOut:
    """What a note says of a chain: where it stands, whose files went out and which, and the place
    that they were at; None in a note that does not say. `begun`: the key may not have left yet.
    """

    path: Path
    kind: str
    target: str
    place: HRS | None
    begun: bool = False

    def __str__(self) -> str:
        place = f" at {self.place}" if self.place is not None else ""
        return f"{self.path} says that this key went out, to {self.kind} ({self.target}){place}"


@dataclass(frozen=True, slots=True)
class Note:
    """What note_export() wrote, and what stood in each place before: None where the key had not
    gone out.
    """

    chain_id: str
    earlier: Mapping[Path, list[str] | None]
    words: tuple[str, ...]

    def finish(self) -> None:
        """The key has left. Raises: StateError, StoreFailure, OSError."""
        for path in self.earlier:
            _put(path, self.chain_id, list(self.words))

    def take_back(self) -> None:
        """The export failed before a key left: what was so before is so now.

        Raises: StateError, StoreFailure, OSError.
        """
        for path, words in self.earlier.items():
            _put(path, self.chain_id, words)


def note_export(state_path: Path, chain_id: str, kind: str, target: Path, place: HRS, store_path: Path) -> Note:
    """Durable on return: an export is begun, until the note is finished.

    `kind`: whose files they are; `target`: that signer's state file; `place`: what it stands at.
    Raises: StateError, StoreFailure.
    """
    went = went_out(state_path, chain_id, store_path)
    if went is not None and went.place is not None:
        place = max(place, went.place)
    priv = store_path.parents[2] / "priv"
    fixed = () if state_path.parent in (priv, *_inside(priv)) else (priv,)
    folders = (state_path.parent, store_path.parent, *fixed)
    try:
        for folder in folders[1:]:
            make_directory(folder)
    except OSError as error:
        raise StateError(
            f"{error.filename or store_path.parent} cannot be made: {os_words(error)}",
            cure=cure_of_file(error, "give the home and what is in it to the node's user"),
        ) from error
    paths = [folder / EXPORTED_NAME for folder in folders]
    words = (kind, str(target), "/".join(str(int(one)) for one in place))
    note = Note(chain_id, {path: _read(path).get(chain_id) for path in paths}, words)
    try:
        for path in paths:
            _put(path, chain_id, [*words, _BEGUN])
    except BaseException:
        with contextlib.suppress(StateError, OSError):
            note.take_back()
        raise
    return note


def note_other_ids(state_path: Path, chain_id: str, others: Iterable[str], store_path: Path) -> None:
    """The key that went out as one chain's went out as these, too: the other signer may go on under
    any of them. Durable on return. Raises: StateError, StoreFailure.
    """
    for other in others:
        carry_export(state_path, chain_id, other, store_path)


def forget_export(state_path: Path, chain_id: str, store_path: Path | None = None) -> None:
    """The other signer's watermark is here. Whatever was not taken away yet still refuses. Raises:
    StateError, StoreFailure, OSError.
    """
    for path in _places(state_path, store_path):
        _put(path, chain_id, None)


def carry_export(state_path: Path, old: str, new: str, store_path: Path) -> None:
    """The chain goes on under another id, and the other signer may have gone on with it, at heights
    that say nothing beside those of the old one. Durable on return. Raises: StateError,
    StoreFailure.
    """
    for path in _places(state_path, store_path):
        noted = _read(path)
        if old in noted and new not in noted:
            _put(path, new, noted[old][:2])


def _places(state_path: Path, store_path: Path | None) -> list[Path]:
    """Where a note may stand: beside the state file, and in the home that it, or the store, is in.
    Raises: StateError where one of its directories cannot be read.
    """
    priv = next((one for one in state_path.parents[:2] if one.name == "priv"), None)
    home = store_path.parents[2] if store_path is not None else priv.parent if priv is not None else None
    folders = [state_path.parent]
    if home is not None:
        # whoever may not look into data/ does not come to the store either, and is told that
        with contextlib.suppress(OSError):
            folders += [one for one in _inside(home / "data") if os.access(one, os.R_OK | os.X_OK)]
        try:
            # one that this user may not look into was none of this node's: a disk's lost+found
            folders += [home / "priv", *(one for one in _inside(home / "priv") if os.access(one, os.X_OK))]
        except OSError as error:
            raise StateError(
                f"{error.filename or home / 'priv'} cannot be read: {os_words(error)}, so whether this key is another signer's is not known",
                cure=cure_of_file(error, OTHER_USER_CURE),
            ) from error
    return [folder / EXPORTED_NAME for folder in dict.fromkeys(folders)]


def _inside(folder: Path) -> list[Path]:
    """Raises: OSError."""
    try:
        return sorted(one for one in folder.iterdir() if one.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _put(path: Path, chain_id: str, words: list[str] | None) -> None:
    """Let the note of one chain be these words in one place; None: none."""
    noted = _read(path)
    if noted.get(chain_id) == words:
        return
    left = {name: said for name, said in noted.items() if name != chain_id}
    if words is not None:
        left[chain_id] = words
    if left:
        _write(path, left)
        return
    folder = open_directory(path.parent)
    try:
        os.unlink(path.name, dir_fd=folder)
        os.fsync(folder)
    finally:
        os.close(folder)


def check_export(state_path: Path, store_path: Path | None = None) -> None:
    """Whether forget_export() will find what it can read: it comes after the marks are written.
    Raises: StateError.
    """
    for path in _places(state_path, store_path):
        _read(path)


def went_out(state_path: Path, chain_id: str, store_path: Path | None = None) -> WentOut | None:
    """The note of a chain, the most cautious of several; None while no other signer has its key.
    Raises: StateError.
    """
    found = [
        WentOut(path, words[0], words[1], _place_of(words), begun=len(words) > 3)
        for path in _places(state_path, store_path)
        if (words := _read(path).get(chain_id)) is not None
    ]
    return max(found, key=lambda one: (one.place is None, one.place or HRS(0, 0, 0), not one.begun), default=None)


def refuse_exported(state_path: Path, chain_id: str, store_path: Path | None = None) -> None:
    """Raises: StateError while the chain's key is another signer's."""
    went = went_out(state_path, chain_id, store_path)
    if went is None:
        return
    raise StateError(
        f"{went}: what it signed there since is not known here, so it does not sign",
        cure=f"when that signer is off for good, bring its watermark back, `cmkms import --from {went.kind} PATH`, with the files on the machine where it "
        f"ran; or {_TYPED}",
    )


def refuse_second_export(went: WentOut | None, place: HRS | None = None) -> None:
    """A key that is out goes out once more only above what the operator says that the other signer
    has signed: at `place`; None: there is no such word. Raises: StateError.
    """
    if went is None:
        return
    again = "read the chain's head height from two nodes you trust, after that, and `cmkms export --min-height` with a height above it"
    if place is None:
        raise StateError(
            f"{went}: what it signed there since is not known here, so no mark of it goes out",
            cure=f"when that signer is off for good, bring its watermark back, `cmkms import --from {went.kind} PATH`, with the files on the machine where it "
            f"ran, then the same again; or {again}",
        )
    if went.place is not None and place < went.place:
        raise StateError(f"{went}, and {place} is below that", cure=f"with that signer off for good, {again}")


def refuse_unshown(went: WentOut, brought: HRS, *, typed: bool, unused: bool) -> None:
    """Whether what an import brings shows what the other signer has signed since.

    `typed`: the operator has said how far that went; `unused`: that it went nowhere. Raises:
    StateError where neither does.
    """
    what = f"{went}, and what is brought stands at {brought}"
    theirs = "when that signer is off for good, the files on the machine where it ran"
    if went.place is None:
        if not typed:
            raise StateError(
                f"{what}: whether that is behind cannot be seen, for the note does not say what went out",
                cure=f"with that signer off for good, {_TYPED}",
            )
    elif brought < went.place:
        raise StateError(f"{what}, below that: it is no current file of that signer", cure=f"{theirs}; or {_TYPED}")
    elif brought == went.place and not (typed or unused):
        raise StateError(
            f"{what}, where it went out: that nothing was signed since is what a copy that stayed behind says, too",
            cure=f"{theirs}; where these are those, `cmkms import … --unused`: your word that it has signed nothing since the key went out to it, and is "
            f"off for good; or {_TYPED}",
        )
    elif brought > went.place and unused:
        raise StateError(f"--unused is your word, and {what}", cure="leave it out")


def refuse_own_file(file: Path, state_path: Path, chain_id: str, store_path: Path) -> None:
    """An import takes the note away, and the home's own state file, by whatever name, brings
    nothing of the other signer back. Raises: StateError.
    """
    with contextlib.suppress(OSError):
        if file.samefile(state_path):
            refuse_exported(state_path, chain_id, store_path)


def _read(path: Path) -> dict[str, list[str]]:
    """Read by chain id the other signer's kind and state file, the place, and whether that export
    was only begun. Raises: StateError.
    """
    try:
        document = json.loads(read_file(path, _MAX_BYTES))
        check_format(path, document, _FORMAT)
        chains = document["chains"]
        for words in chains.values():
            if (
                not isinstance(words, list)
                or len(words) not in (2, 3, 4)
                or not all(isinstance(one, str) for one in words)
                or words[3:] not in ([], [_BEGUN])
            ):
                raise TypeError
            _place_of(words)
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


def _place_of(words: list[str]) -> HRS | None:
    """Older versions did not say it. Raises: ValueError."""
    if len(words) == 2:
        return None
    found = _PLACE.fullmatch(words[2])
    if found is None:
        raise ValueError(words[2])
    return HRS(*map(int, found.groups()))


def _write(path: Path, chains: dict[str, list[str]]) -> None:
    write_atomically(path, json.dumps({"format": _FORMAT, "chains": chains}).encode())
