"""Ask the node that runs in this home, over its control socket."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from cometkms.cli.options import chosen_home, load_home
from cometkms.errors import OTHER_USER_CURE, OperatorError, cure_of_file, os_words
from cometkms.net.control import NO_SPARE_CURE, NoAnswerError, NoNodeError, ask, spare_path
from cometkms.store.lock import Holder, holder_of

SOCKET_NAME: Final = "control.sock"
F = TypeVar("F", bound=Callable[..., Any])


def node_id_option(function: F) -> F:
    """--id, where the home's own settings do not tell."""
    option = click.option("--id", "node_id", metavar="ID", default=None, help="Node id.  [default: the home's]")
    return option(function)


def ask_node(node_id: str | None, request: dict[str, Any]) -> dict[str, Any]:
    """Its answer. Raises: OperatorError with the cure when no node runs here, or it says no."""
    path = _socket_of(node_id)
    try:
        return ask(path, request)
    except NoNodeError as error:
        if (holder := holder_of(chosen_home())) is None:
            raise
        why, more = _place_of_socket(path) if holder.is_node else (f"nobody answers at {path.parent}", "")
        cure = f"{_cure(holder)}; where it says that all is well, {more}" if more else _cure(holder)
        raise OperatorError(f"{holder} holds this home, and {why}", cure=f"{cure}; is --id another node's?") from error
    except NoAnswerError as error:
        if (holder := holder_of(chosen_home())) is None:
            raise
        what = f"{error.what}; {holder} holds this home"
        raise OperatorError(what, cure=_cure(holder)) from error


def _cure(holder: Holder) -> str:
    """The other processes of a node may be well, and say what this one does."""
    return f"`cmkms status`; where that has no answer either, {holder.cure}" if holder.is_node else holder.cure


def _place_of_socket(path: Path) -> tuple[str, str]:
    """What there is where a node that runs should answer, and what helps where it is well but for
    that.
    """
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except OSError:
        if not path.parent.is_dir():  # another node's id
            return f"nobody answers at {path.parent}", ""
        if not os.path.lexists(spare_path(path)):
            return (
                f"its control socket {path} is gone, and there is no spare one",
                NO_SPARE_CURE,
            )
        return (
            f"its control socket {path} is gone",
            "this again in a second: the node puts a spare one there, or its log says why not",
        )
    what = f"nobody answers at {path.parent}" if is_socket else f"{path} is no socket"
    return what, f"move {path} away: the node puts a spare one there, or its log says why not"


def _socket_of(node_id: str | None) -> Path:
    """data/<id>/control.sock.

    The id may have come from a flag of `cmkms start`: one socket alone in the home is the node's.
    """
    data = chosen_home() / "data"
    if node_id is not None:
        return data / node_id / SOCKET_NAME
    try:
        is_there = data.is_dir()
        found = sorted(data.glob(f"*/{SOCKET_NAME}"))
    except OSError as error:
        raise OperatorError(
            f"{data} cannot be looked into: {os_words(error)}", cure=cure_of_file(error, OTHER_USER_CURE)
        ) from error
    if len(found) == 1:
        return found[0]
    if not is_there:
        if (holder := holder_of(chosen_home())) is not None:
            raise OperatorError(f"{holder} holds this home, and its {data} is gone", cure=_cure(holder))
        raise OperatorError(f"{data} does not exist, so no node runs there", cure="--home DIR of the node that runs")
    return data / load_home().id / SOCKET_NAME
