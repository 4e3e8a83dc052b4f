"""What `cmkms import` and `cmkms export` share: the chain that is meant, what stands where, words
for the operator.
"""

import socket
from collections.abc import Iterable
from typing import Final

from cometkms.cli.options import UNSET_CHAIN, chosen_home, load_home, one_chain
from cometkms.cli.output import say
from cometkms.config.files import CONFIG_NAME
from cometkms.config.load import read_config
from cometkms.config.schema import Chain, Settings
from cometkms.errors import BusyError, ConfigError
from cometkms.model import HRS, Watermark

_PROBE_S: Final = 1.0


def chosen_chain(chain_id: str | None, node_id: str | None) -> tuple[Settings, Chain]:
    """The home's settings and the chain that is meant. Raises: ConfigError."""
    configured = read_config(chosen_home()).get("chain_id", "")
    if chain_id and configured and chain_id != configured:
        raise ConfigError(
            f"{chosen_home() / CONFIG_NAME} is of chain {configured!r}, and --chain-id says {chain_id!r}",
            cure="the home of that chain (--home)",
        )
    settings = load_home(chain_id, node_id)
    chain = one_chain(settings, chain_id)
    if chain.id == UNSET_CHAIN:
        raise ConfigError("which chain?", cure=f"--chain-id ID, or chain_id in {settings.home / 'config.toml'}")
    return settings, chain


def place_of(mark: Watermark) -> str:
    """Where a file says it stands, whatever proves it."""
    return f"height {mark.hrs.height} round {mark.hrs.round} step {mark.hrs.step}"


def document_of(mark: Watermark | None) -> dict[str, object] | None:
    """A mark for a program. None: nothing is known."""
    if mark is None:
        return None
    return {
        "height": mark.hrs.height,
        "round": mark.hrs.round,
        "step": int(mark.hrs.step),
        "known": _known(mark),
    }


def _known(mark: Watermark) -> str:
    if mark.hrs == HRS(0, 0, 0):
        return "nothing"
    return "signed" if mark.signature else "promised" if mark.sign_bytes else "burnt"


def words_of(mark: Watermark | None) -> str:
    """A mark for a person."""
    if mark is None:
        return "nothing"
    if mark.hrs == HRS(0, 0, 0):
        return "nothing signed yet"
    known = _known(mark)
    return f"{place_of(mark)} ({known}{': nothing is signed there again' if known == 'burnt' else ''})"


def tell_off(items: Iterable[str]) -> None:
    """What must be off before a key moves."""
    say("Before anything signs, make sure of each:")
    for item in items:
        say(f"  [ ] {item}")


def refuse_running_members(
    settings: Settings,
    why: str = "it does not know of this mark, and could sign below it with the others",
    cure: str = "stop every member, import on a majority",
) -> None:
    """A mark is moved on as many members as decide before any of them starts.

    Raises: BusyError for one that answers.
    """
    for peer in settings.peers:
        if peer.id == settings.id:
            continue
        try:
            socket.create_connection((peer.address.host, peer.address.port), _PROBE_S).close()
        except OSError:
            continue
        raise BusyError(
            f"{peer.id} answers at {peer.address}: a member runs, and {why}",
            cure=f"{cure} of {', '.join(one.id for one in settings.peers)}, then start them",
        )
