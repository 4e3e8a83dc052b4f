"""`cmkms events`"""

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, cast

import click

from cometkms.address import Address
from cometkms.api.failovers import describe
from cometkms.board.sections import EventReport
from cometkms.cli.options import home_option, load_home
from cometkms.cli.output import say
from cometkms.cli.status import fetch, refuse_another, understood
from cometkms.config.schema import Settings
from cometkms.errors import CometKMSError

_LOOK_S: Final = 0.5
_TIME_MAX: Final = 1 << 37  # UNIX seconds: in the year 6325
_KNOWN_MAX: Final = 4096  # events that were printed: many times what a node shows at once


@click.command("events")
@home_option
@click.option("--http-addr", metavar="ADDR", help="Where the node serves HTTP.  [default: the home's http_addr]")
@click.option("--follow", "-f", is_flag=True, help="Go on with what happens, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line.")
def command(home: str | None, http_addr: str | None, follow: bool, as_json: bool) -> int:  # noqa: ARG001
    """What happened lately, as this home's node saw it: who led, who came and went, refusals,
    alerts, processes that ended. Times are UTC.

    The newest 64 of the ten minutes and more that a node remembers; the node's log has all of it.
    With --follow a node that goes away is waited for, and the events go on when it is back.

    \b
    Examples:
      cmkms events
      cmkms events --follow
      cmkms events --follow --json
    """
    settings = None if http_addr else load_home()
    address = Address.parse(http_addr) if http_addr else cast("Settings", settings).http_addr
    document = fetch(address, home=settings.home if settings is not None else None)
    if settings is not None:
        refuse_another(document, settings)
    known: dict[str, None] = {}
    _print_news(understood(lambda told: news_of(told, known), document, address), as_json)
    try:
        while follow:
            time.sleep(_LOOK_S)
            news = understood(lambda told: news_of(told, known), _fetch_in_time(address, settings), address)
            _print_news(news, as_json)
    except KeyboardInterrupt:
        pass
    return 0


def _fetch_in_time(address: Address, settings: Settings | None) -> dict[str, Any]:
    """The node's answer, whenever it comes; that it is away, or another one in its place, is said
    once.
    """
    told = False
    while True:
        try:
            document = fetch(address, home=settings.home if settings is not None else None)
            if settings is not None:
                refuse_another(document, settings)
        except CometKMSError as error:
            if not told:
                say(f"{error}; waiting for it", err=True)
            told = True
            time.sleep(_LOOK_S)
            continue
        if told:
            say("it answers again", err=True)
        return document


def _print_news(news: list[dict[str, Any]], as_json: bool) -> None:
    for event in news:
        click.echo(json.dumps(event)) if as_json else say(f"{stamp(event['at'])}  {event['words']}")


def news_of(document: Mapping[str, Any], known: dict[str, None]) -> list[dict[str, Any]]:
    """The events of a status that were not known, oldest first, each with its node and its words.

    `known` learns them.
    """
    me = str((document.get("node") or {}).get("id") or "this node")
    found = []
    for untrusted in document.get("events") or []:
        if not (isinstance(untrusted, dict) and _is_time(untrusted.get("at")) and "what" in untrusted):
            continue
        key = json.dumps(untrusted, sort_keys=True)
        if key in known:
            continue
        known[key] = None
        while len(known) > _KNOWN_MAX:
            del known[next(iter(known))]
        found.append({**untrusted, "node": me, "words": words_of(untrusted, me)})
    return sorted(found, key=lambda one: float(one["at"]))


def _is_time(untrusted: object) -> bool:
    """Whether it is UNIX seconds, of a year that there is."""
    return isinstance(untrusted, int | float) and 0 <= untrusted < _TIME_MAX


def words_of(event: Mapping[str, Any], me: str) -> str:
    """One event in words. It may be of another version's node, whose fields are others."""
    try:
        return describe(cast("EventReport", event), me)
    except (ArithmeticError, KeyError, TypeError, ValueError, AttributeError):
        return str(event.get("what"))


def stamp(at: float) -> str:
    """2026-11-29 11:02:14.218, UTC."""
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    except (OverflowError, ValueError, OSError):  # no time that there is
        return "at no time"
