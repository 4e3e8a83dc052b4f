"""The state files that `cmkms chain rename` keeps of the ids that a home signed for before.

    priv_validator_state.json.hub@1      the first that was kept of `hub`, beside the state file
    priv_validator_state.json.hub-2@1    of `hub-2`
    priv_validator_state.json.a%2Fb@1    of `a/b`

Whatever stands between the last dot and the @ is the id, with everything that is no letter, digit,
dash or underscore written as %XX: no two ids, and no two state files, share a name. Older versions
wrote priv_validator_state.hub.json and priv_validator_state.hub-2.json, where the latter is the
second of `hub` or the first of `hub-2`, and one `_` stood for many characters: such a file is read
for every id that it may be of, unless its sign bytes name another one.
"""

import contextlib
import itertools
import os
import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from cometkms.errors import StateError, cure_of_file, os_words
from cometkms.model import Watermark
from cometkms.store import state_file
from cometkms.store.state_file import LostFileError, OfAnotherChainError, Parse


class UnreadableKeptError(StateError):
    """What was kept cannot be understood, so what it says is not known."""


def name_to_keep(path: Path, chain_id: str) -> Path:
    """Where the state file goes when that id is left: a name that is not taken."""
    names = (path.with_name(f"{_stem(path, chain_id)}@{number}") for number in itertools.count(1))
    return next(name for name in names if not os.path.lexists(name))


def surely_kept(path: Path, chain_id: str) -> list[Path]:
    """The files that were kept of this id and of no other. Raises: StateError."""
    kept = re.compile(re.escape(_stem(path, chain_id)) + r"@[0-9]+")
    return [one for one in _beside(path) if kept.fullmatch(one.name)]


def kept_already(path: Path, chain_id: str, mark: Watermark, parse: Parse) -> Path | None:
    """The file that was kept of this id as it stands: it may know the signature of what the mark
    has as promised. Raises: StateError where the directory cannot be read.
    """
    for one in surely_kept(path, chain_id):
        with contextlib.suppress(StateError):
            shown = _load(one, chain_id, parse)
            signed = shown.sign_bytes and not mark.signature and replace(shown, signature=b"") == mark
            if signed or shown == state_file.as_written(mark):
                return one
    return None


def kept_marks(path: Path, chain_id: str, parse: Parse, in_use: Collection[Path]) -> list[tuple[Watermark, Path]]:
    """Everything that was kept of an id, also where one of several was moved away since.

    `in_use`: the state files of this home's chains, of which none was kept. Raises: StateError
    where one cannot be read; UnreadableKeptError where it says nothing that can be understood.
    """
    older = re.compile(re.escape(_older_stem(path, chain_id)) + r"(-[0-9]+)?\.json")
    found = surely_kept_marks(path, chain_id, parse)
    for one in _beside(path):
        if older.fullmatch(one.name) and one not in in_use:
            with contextlib.suppress(OfAnotherChainError):
                found.append((_load(one, chain_id, parse), one))
    return found


def highest_kept(path: Path, chain_id: str, parse: Parse) -> tuple[Watermark, Path] | None:
    """The highest place that was kept of this id and of no other, and where, as far as it can be
    read; None where none was. Raises: StateError where the directory cannot be read.
    """
    found = []
    for one in surely_kept(path, chain_id):
        with contextlib.suppress(StateError):
            found.append((_load(one, chain_id, parse), one))
    return max(found, key=lambda one: one[0].hrs, default=None)


def surely_kept_marks(path: Path, chain_id: str, parse: Parse) -> list[tuple[Watermark, Path]]:
    """What the files say that were kept of this id and of no other. Raises: as kept_marks()."""
    return [(_load(one, chain_id, parse), one) for one in surely_kept(path, chain_id)]


def _beside(path: Path) -> list[Path]:
    try:
        return sorted(path.parent.iterdir())
    except OSError as error:
        cure = cure_of_file(error, "run this as the node's user")
        raise StateError(f"{path.parent} cannot be read: {os_words(error)}", cure=cure) from error


def _load(kept: Path, chain_id: str, parse: Parse) -> Watermark:
    try:
        return state_file.load(kept, chain_id, parse)
    except LostFileError as error:
        raise UnreadableKeptError(
            f"{error.what}. A rename kept it of {chain_id}, and how far this home had signed for {chain_id} by then is not known without it",
            cure=f"put it back as it was; where it is lost, move it away, read the head height of {chain_id} from two nodes you trust, and "
            f"`cmkms recover --min-height HEIGHT` with a height above it (of several chains, {chain_id}=HEIGHT and one for each other)",
        ) from error


def _stem(path: Path, chain_id: str) -> str:
    return f"{path.name}.{quote(chain_id, safe='').replace('.', '%2E').replace('~', '%7E')}"


def _older_stem(path: Path, chain_id: str) -> str:
    return f"{path.stem}.{re.sub(r'[^A-Za-z0-9._-]', '_', chain_id)}"
