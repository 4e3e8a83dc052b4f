"""`cmkms top`"""

import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final

import click

from cometkms.address import Address
from cometkms.board.sections import LinkState
from cometkms.cli.events import news_of
from cometkms.cli.options import home_option, load_home
from cometkms.cli.output import show_json
from cometkms.cli.status import fetch, refuse_another
from cometkms.config.schema import Settings
from cometkms.errors import CometKMSError, ConfigError
from cometkms.limits import MEMBERS_MAX
from cometkms.printable import clock, duration, printable, rewritable

_DEADLINE_S: Final = 2.0  # of one node's answer
_LOOK_S: Final = 1.0
_EVENTS: Final = 8
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_HOME, _CLEAR_LINE, _CLEAR_REST = "\x1b[H", "\x1b[K", "\x1b[J"
# a screen of its own, without a cursor
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"


@dataclass(frozen=True, slots=True)
class Told:
    """What one node said of itself. `why`: why nothing is known from it, where `status` is None."""

    id: str
    status: Mapping[str, Any] | None
    why: str = ""


@click.command("top")
@home_option
@click.option(
    "--node",
    "nodes",
    multiple=True,
    metavar="ID=ADDR",
    help="Where a node serves HTTP, if not where its peers' address is; a tunnel's end, say (repeatable).",
)
@click.option("--once", is_flag=True, help="Print it once and end, as where the output is no terminal.")
@click.option("--json", "as_json", is_flag=True, help="Once, as JSON: each node's own status, or why it is not known.")
def command(home: str | None, nodes: tuple[str, ...], once: bool, as_json: bool) -> int:  # noqa: ARG001
    """The whole cluster in a terminal: who leads, what is signed where, latencies, alerts, what
    happened. Ends with Ctrl-C.

    It asks every node over HTTP, this home's first, and each has two seconds. A node whose HTTP
    port is for its own machine only (the default) cannot be asked from another one: then it says
    so, and what this home's node knows of it stands in its line. Exit code 1 when no node answers.

    \b
    Examples:
      cmkms top
      cmkms top --once
      cmkms top --node node1=127.0.0.1:8081 --node node2=127.0.0.1:8082
    """
    settings, given = load_home(), _given(nodes)
    if as_json or once or not rewritable(sys.stdout):
        told = ask_all(settings, given)
        if as_json:
            show_json({one.id: one.status or {"error": one.why} for one in told})
        else:
            for line in screen(told, time.time()):
                click.echo(printable(line))
        return 0 if any(one.status for one in told) else 1
    return _watch(settings, given)


def _given(nodes: Sequence[str]) -> dict[str, Address]:
    """Raises: ConfigError."""
    found = {}
    for text in nodes:
        name, separator, address = text.partition("=")
        if not separator or not name:
            raise ConfigError(f"--node {text!r} names no node; write it as ID=HOST:PORT")
        found[name] = Address.parse(address)
    return found


def _watch(settings: Settings, given: Mapping[str, Address]) -> int:
    """Watch until Ctrl-C or SIGTERM. What the terminal showed before is there again afterwards."""
    # whatever the parent ignores: here is a terminal to put back
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    sys.stdout.write(_ENTER)
    try:
        while True:
            told = ask_all(settings, given)
            size = shutil.get_terminal_size()
            lines = fit(screen(told, time.time()), size.columns, size.lines)
            sys.stdout.write(_HOME + "".join(f"{line}{_CLEAR_LINE}\r\n" for line in lines[:-1]))
            sys.stdout.write(f"{lines[-1]}{_CLEAR_LINE}{_CLEAR_REST}")
            sys.stdout.flush()
            time.sleep(_LOOK_S)
    except KeyboardInterrupt:
        return 0
    finally:
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()


def fit(lines: Sequence[str], columns: int, rows: int) -> list[str]:
    """Keep as many lines as a terminal has room for, and count what is left out."""
    shown = [printable(line) for line in lines]
    cut = [line if len(line) <= columns else f"{line[: columns - 1]}…" for line in shown]
    if len(cut) <= rows:
        return cut
    return [*cut[: rows - 1], f"… {len(cut) - rows + 1} more lines: a taller window, or cmkms top --once"[:columns]]


# --- asking ---


def ask_all(settings: Settings, given: Mapping[str, Address]) -> list[Told]:
    """Every member, this home's node first; all others at once. Raises: ConfigError where an
    address is given of a node that is no member."""
    own = _ask(settings.id, given.get(settings.id, settings.http_addr), settings)
    me = str(((own.status or {}).get("node") or {}).get("id") or settings.id)
    own = replace(own, id=me)
    members = _members_of(own.status)
    here = members.get(me, ("", ""))[0]
    known = {name: place_of(host, told, here) for name, (host, told) in members.items()} or _guessed(settings)
    if unknown := [name for name in given if name not in known and name not in (me, settings.id)]:
        raise ConfigError(
            f"--node {unknown[0]}: no member is called so; the members are {', '.join(dict.fromkeys([me, *known]))}"
        )
    places = {name: given.get(name) or place for name, place in known.items() if name != me}
    if not places:
        return [own]
    with ThreadPoolExecutor(len(places)) as threads:
        asked = [threads.submit(_ask_place, name, place) for name, place in places.items()]
        return [own, *(one.result() for one in asked)]


def _guessed(settings: Settings) -> dict[str, Address | str]:
    """Where the other members may serve HTTP while this home's node tells nothing: at the port of
    this one, on a machine of their own. On one machine each has another port.
    """
    hosts = {peer.id: peer.address.host for peer in settings.peers}
    here, found = hosts.get(settings.id, ""), dict[str, Address | str]()
    for name, host in hosts.items():
        place = place_of(host, str(settings.http_addr), here)
        if host == here or isinstance(place, str):
            place = f"where it serves HTTP is known from {settings.id}, which does not answer; --node {name}=HOST:PORT"
        found[name] = place
    return found


def _members_of(status: Mapping[str, Any] | None) -> dict[str, tuple[str, str]]:
    """Return by id the host of its address in the node's own peer list, and where the member says
    that it serves HTTP ("": nothing known).
    """
    found = {}
    for member in ((status or {}).get("members") or [])[:MEMBERS_MAX]:
        facts = member.get("facts") or {}
        try:
            host = Address.parse(str(member.get("addr"))).host
        except ConfigError:
            host = ""
        found[str(member.get("id"))] = (host, str(facts.get("http_addr") or ""))
    return found


def place_of(host: str, told: str, here: str) -> Address | str:
    """Where to ask a member, or why that is not known. `host`: of its address in the peer list, the
    only one that is dialled; `told`: its http_addr, as it said to this home's node; `here`: this
    node's own host.
    """
    if not told or not host:
        return "this home's node does not know where it serves HTTP"
    try:
        address = Address.parse(told)
    except ConfigError:
        return "it says no address at which it serves HTTP"
    if address.host in _LOOPBACK and host != here and host not in _LOOPBACK:
        return f"its HTTP port ({told}) is for its own machine only"
    return Address(host, address.port)


def _ask_place(name: str, place: Address | str) -> Told:
    return Told(name, None, place) if isinstance(place, str) else _ask(name, place)


def _ask(name: str, address: Address, settings: Settings | None = None) -> Told:
    try:
        document = fetch(address, _DEADLINE_S)
        if settings is not None:
            refuse_another(document, settings)
        elif (there := (document.get("node") or {}).get("id")) not in (name, ""):
            return Told(name, None, f"{there!r} answers at {address}")
        told = Told(name, document)
        screen([told], time.time())
    except CometKMSError as error:
        return Told(name, None, error.what)
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
    ):  # another version's, or no node's at all
        return Told(name, None, f"what answers at {address} is not understood; is it of another version?")
    return told


# --- showing ---


def screen(told: Sequence[Told], now: float) -> list[str]:
    """All of it, a line each. now: UNIX seconds."""
    known = [one for one in told if one.status is not None]
    if not known:
        return [f"{clock(now)[:8]} UTC   no node answers", *(f"{one.id}  {one.why}" for one in told)]
    leader = next((one for one in known if one.status and one.status.get("is_leader")), known[0])
    headline = ((leader.status or {}).get("situation") or {}).get("headline") or "what the cluster does is not known"
    seen = "" if leader.status and leader.status.get("is_leader") else f" (as {leader.id} sees it)"
    lines = [f"{clock(now)[:8]} UTC   {headline}{seen}", ""]
    lines += _columns(_NODES, [_node_row(one, known) for one in told])
    lines += ["", *_columns(_CHAINS, _chain_rows(known, now))]
    alerts = [f"{one.id}  {alert}" for one in known for alert in _alerts(one, _clock_of(one, now))]
    lines += ["", *(alerts or ["No alerts."])]
    return [*lines, "", *_events(known)]


_NODES: Final = ("NODE", "ROLE", "STATE", "UP", "CONNECTED", "SYNC P99", "SIGN P50/P99", "VERSION")
_CHAINS: Final = ("CHAIN", "NODE", "PROMISED", "LAST SIGNED", "AGO", "SIGNED HERE", "REFUSED", "VALIDATORS")


def _columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table; a row of two cells is a name and words over all other columns."""
    full = [head, *(row for row in rows if len(row) == len(head))]
    widths = [max(len(row[column]) for row in full) for column in range(len(head))]
    widths[0] = max(widths[0], *(len(row[0]) for row in rows), 0) if rows else widths[0]
    shown = []
    for row in (head, *rows):
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        shown.append("  ".join(padded if len(row) == len(head) else [padded[0], row[1]]).rstrip())
    return shown


def _clock_of(one: Told, now: float) -> float:
    """Return the time by that node's clock, whose times are shown: it may differ from this
    machine's. One of an older version does not say it."""
    there = (one.status or {}).get("now")
    return float(there) if isinstance(there, int | float) else now


def _node_row(one: Told, known: Sequence[Told]) -> tuple[str, ...]:
    status = one.status
    if status is None:
        return (one.id, f"not known: {one.why}{_seen_by(one.id, known)}")
    members = [member for member in status.get("members") or [] if not member.get("self")]
    there = sum(bool(member.get("connected")) for member in members)
    role = "leads" if status.get("is_leader") else "follows" if status.get("leader_id") else "no leader"
    healthy = "" if status.get("healthy", True) else ", NOT HEALTHY"
    return (
        one.id,
        role,
        f"{status.get('node_state') or 'not known'}{healthy}",
        duration(float((status.get("node") or {}).get("uptime_s") or 0)),
        f"{there} of {len(members)}" if members else "alone",
        _ms((status.get("fdatasync_us") or {}).get("p99")),
        _latency(status),
        str((status.get("node") or {}).get("version") or "?"),
    )


def _seen_by(name: str, known: Sequence[Told]) -> str:
    """What the others know of a node that cannot be asked."""
    words = []
    for one in known:
        for member in (one.status or {}).get("members") or []:
            if member.get("id") == name:
                state = member.get("state") or "not met yet"
                away = f"not connected: {member['error']}" if member.get("error") else "not connected"
                words.append(f"{one.id} sees it {f'connected, {state}' if member.get('connected') else away}")
    return f" ({'; '.join(words)})" if words else ""


def _latency(status: Mapping[str, Any]) -> str:
    told = [chain.get("latency_us") or {} for chain in status.get("chains") or []]
    busiest = max(told, key=lambda one: one.get("count") or 0, default={})
    if not status.get("is_leader") or not busiest.get("count"):
        return "-"
    return f"{_ms(busiest.get('p50'))} / {_ms(busiest.get('p99'))}"


def _ms(us: object) -> str:
    return f"{us / 1000:.2f} ms" if isinstance(us, int | float) and us else "-"


def _chain_rows(known: Sequence[Told], now: float) -> list[tuple[str, ...]]:
    rows = []
    names = dict.fromkeys(
        str(chain.get("chain_id")) for one in known for chain in (one.status or {}).get("chains") or []
    )
    for name in names:
        for one in known:
            chain = next((c for c in (one.status or {}).get("chains") or [] if c.get("chain_id") == name), None)
            if chain is not None:
                rows.append((name, one.id, *_chain_cells(chain, _clock_of(one, now))))
    return rows


def _chain_cells(chain: Mapping[str, Any], now: float) -> tuple[str, ...]:
    last, signed_at = chain.get("last_sign_state"), chain.get("signed_at")
    counters, links = chain.get("counters") or {}, chain.get("validators") or []
    refused = sum(count for count in (counters.get("refused") or {}).values() if isinstance(count, int))
    connected = sum(link.get("state") == LinkState.CONNECTED for link in links)
    stands_by = bool(links) and all(link.get("state") == LinkState.STANDBY for link in links)
    return (
        _place(chain.get("watermark")),
        _place(last),
        duration(max(0.0, now - float(signed_at))) if signed_at else "-",
        str(counters.get("signed", 0)),
        str(refused),
        "standby" if stands_by else f"{connected} of {len(links)}",
    )


def _place(mark: Any) -> str:
    if not isinstance(mark, Mapping) or not mark.get("height"):
        return "-"
    return f"{mark.get('height')}/{mark.get('round')}/{mark.get('step')}"


def _alerts(one: Told, now: float) -> list[str]:
    return [
        f"{str(alert.get('name')).replace('_', ' ')} for {duration(max(0.0, now - float(alert.get('since') or now)))}: {alert.get('what')}; "
        f"cure: {alert.get('cure')}"
        for alert in (one.status or {}).get("alerts") or []
    ]


def _events(known: Sequence[Told]) -> list[str]:
    """The newest of all nodes; several nodes see the same, each in its own words and at
    its own time.
    """
    found = [event for one in known for event in news_of(one.status or {}, {})]
    newest = sorted(found, key=lambda event: float(event["at"]))[-_EVENTS:]
    return [f"{clock(float(event['at']))}  {event['node']}: {event['words']}" for event in reversed(newest)]
