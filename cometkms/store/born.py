"""born.json, beside each state file: what this home must not forget, whatever becomes of its store.
One in priv/ says it wherever the state files are, and one beside the store what is lost, whatever
becomes of the others.

Which ids were born here, the epoch and its members, for whom it was sealed, which epochs ended
here, and which rows (a key and a chain) were begun here, and of these which are lost: the store was
made anew without what they had promised; or that there may be such rows, which nothing that was
left named. Only the operator's word brings a lost one back.

A version that does not know of rows drops them where it writes the file. One that was begun is
written again by the next start; that one is lost is known from here alone, so a file that says it
has a format of its own, which such a version refuses.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cometkms.durable import check_format, read_file, write_atomically
from cometkms.errors import StateError, cure_of_file, os_words
from cometkms.limits import EPOCHS_ENDED_MAX
from cometkms.model import Row
from cometkms.rules.epoch import Ended

BORN_NAME: Final = "born.json"
FIRST_EPOCH: Final = 1
_FORMAT: Final = 1
_FORMAT_WITH_LOST: Final = 2
_MAX_BYTES: Final = 1 << 18  # hundreds of rows
_KEY_DIGITS: Final = 64  # of the 32 bytes that make two rows the same


@dataclass(frozen=True, slots=True)
class Born:
    """What a born.json says.

    `members` and `following`: () where it does not say; the latter: for what its epoch
    was sealed here.

    `ended`: the last epochs that seals ended here. `begun`: the rows that stores of this home have
    had, sorted; `lost`: those whose promises no store of it has any more. `lost_unnamed`: there may
    be more of these, which neither a store nor a born.json named when the store was made anew.
    """

    ids: tuple[str, ...] = ()
    epoch: int = FIRST_EPOCH
    members: tuple[str, ...] = ()
    following: tuple[str, ...] = ()
    ended: tuple[Ended, ...] = ()
    begun: tuple[Row, ...] = ()
    lost: tuple[Row, ...] = ()
    lost_unnamed: bool = False


def sorted_rows(rows: Iterable[Row]) -> tuple[Row, ...]:
    """Each once."""
    return tuple(sorted(set(rows), key=lambda one: (one.chain_id, one.key)))


def united(found: Sequence[Born]) -> Born:
    """What the files of one home say together: of the members, and for whom the epoch is sealed,
    those of the last epoch. One that was left where the state files were before is behind.
    """
    epoch = max((one.epoch for one in found), default=FIRST_EPOCH)
    newest_first = sorted(found, key=lambda one: one.epoch, reverse=True)
    return Born(
        tuple(dict.fromkeys(name for one in found for name in one.ids)),
        epoch,
        next((one.members for one in newest_first if one.members), ()),
        next((one.following for one in found if one.following and one.epoch == epoch), ()),
        tuple(dict.fromkeys(over for one in reversed(newest_first) for over in one.ended))[-EPOCHS_ENDED_MAX:],
        sorted_rows(row for one in found for row in one.begun),
        sorted_rows(row for one in found for row in one.lost),
        any(one.lost_unnamed for one in found),
    )


def save_born(path: Path, born: Born, folder: int | None = None) -> None:
    """Durable on return. `folder`: its directory, open. Raises: StoreFailure."""
    document: dict[str, Any] = {"ids": born.ids, "epoch": born.epoch, "members": born.members}
    if born.following:
        document["next"] = born.following
    if born.ended:
        document["ended"] = [{"epoch": one.epoch, "members": one.members, "sealed": one.sealed} for one in born.ended]
    if born.begun:
        rows = [{"id": row.chain_id, "key": row.key.hex(), "lost": row in born.lost} for row in born.begun]
        document["chains"] = rows
    if born.lost_unnamed:
        document["lost_unnamed"] = True
    if born.lost or born.lost_unnamed:
        document["format"] = _FORMAT_WITH_LOST
    write_atomically(path, json.dumps(document).encode(), folder=folder)


def load_born(path: Path) -> Born:
    """Strict; of a file that is not there, nothing. Raises: StateError."""
    try:
        document = json.loads(read_file(path, _MAX_BYTES))
        check_format(path, document, _FORMAT, _FORMAT_WITH_LOST)
        epoch = document.get("epoch", FIRST_EPOCH)
        lists = [document["ids"], document.get("members", []), document.get("next", [])]
        over = [(one["epoch"], one["members"], one["sealed"]) for one in document.get("ended", [])]
        every = [*lists, *(names for _, *both in over for names in both)]
        if any(type(one) is not int for one in (epoch, *(number for number, _, _ in over))) or not all(
            isinstance(names, list) and all(isinstance(one, str) for one in names) for names in every
        ):
            raise TypeError
        rows, lost_unnamed = _rows_of(document.get("chains", [])), document.get("lost_unnamed", False)
        if type(lost_unnamed) is not bool:
            raise TypeError
    except FileNotFoundError:
        return Born()
    except OSError as error:
        cure = cure_of_file(error, "give it to the node's user")
        raise StateError(f"{path} cannot be read: {os_words(error)}", cure=cure) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StateError(
            f"{path} cannot be understood",
            cure="restore the newest: one from before a chain was begun, or lost, does not know of that, and the chain would go on below what was signed. "
            "Else `cmkms recover --min-height HEIGHT`",
        ) from error
    ids, members, following = (tuple(names) for names in lists)
    ended = tuple(Ended(number, tuple(were), tuple(sealed)) for number, were, sealed in over)
    lost = sorted_rows(row for row, is_lost in rows.items() if is_lost)
    return Born(ids, epoch, members, following, ended, sorted_rows(rows), lost, lost_unnamed)


def _rows_of(untrusted: object) -> dict[Row, bool]:
    """Each row, and whether it is lost. Raises: ValueError, TypeError, KeyError."""
    rows: dict[Row, bool] = {}
    if not isinstance(untrusted, list):
        raise TypeError
    for one in untrusted:
        chain_id, key, lost = one["id"], one["key"], one["lost"]
        if len(one) != 3 or not isinstance(chain_id, str) or type(lost) is not bool or len(key) != _KEY_DIGITS:
            raise TypeError
        row = Row(bytes.fromhex(key), chain_id)
        if row in rows:
            raise ValueError("a row twice")
        rows[row] = lost
    return rows
