"""`cmkms peers`"""

import time
from pathlib import Path
from typing import Any

import click

from cometkms.address import Address
from cometkms.cli.options import chosen_home, home_option
from cometkms.cli.output import say, show_json
from cometkms.cli.running import ask_node, node_id_option
from cometkms.errors import ConfigError

_HEADINGS = ("ID", "ADDRESS", "CONNECTION", "ROUND TRIP", "STATE", "PROMISED", "LAST CONTACT")
_FRESH_S = 5.0  # what is so young is not said to be old


@click.command("peers")
@home_option
@node_id_option
@click.option("--json", "as_json", is_flag=True, help="The node's own JSON.")
@click.option("--identities", is_flag=True, help="What an agent's settings need of this node; it need not run.")
def command(home: str | None, node_id: str | None, as_json: bool, identities: bool) -> None:  # noqa: ARG001
    """The cluster as this home's node sees it: every member's connection, state and promise
    position. The node must be running.

    A star marks the leader. PROMISED is height/round/step, a chain each. Of the others the leader
    knows it from what they acknowledge; elsewhere it is what they told when they came, and how long
    ago that is stands beside it.

    \b
    Examples:
      cmkms peers
      cmkms peers --home /var/lib/cmkms --json
      cmkms peers --identities
    """
    if identities:
        line = identity_line(chosen_home())
        if as_json:
            show_json({"node": line})
        else:
            click.echo(line)
        return
    answer = ask_node(node_id, {"op": "peers"})
    if as_json:
        show_json({key: value for key, value in answer.items() if key != "ok"})
        return
    for line in table(answer, time.time()):
        say(line)


def identity_line(home: Path) -> str:
    """ID=HOST:PORT:KEY of that home's node, for agent.toml. Raises: ConfigError, KeyFileError."""
    from cometkms.config.load import load_settings
    from cometkms.config.table import Flags
    from cometkms.keys.identity import ensure_identity, load_identity

    settings = load_settings(home, Flags())
    if settings.agent_addr is None:
        raise ConfigError(
            "this node listens for no agents", cure="agent_addr and agents in config.toml (docs/AGENT.md)"
        )
    ensure_identity(settings.home)
    host = settings.agent_addr.host or next((one.address.host for one in settings.peers if one.id == settings.id), "")
    return f"{settings.id}={Address(host or 'HOST', settings.agent_addr.port)}:{load_identity(settings.home).public_key.hex()}"


def table(answer: dict[str, Any], now: float) -> list[str]:
    """The answer for a person. `now`: UNIX seconds."""
    leader = answer.get("leader_id")
    members = answer.get("members", [])
    rows = [_HEADINGS, *(_row(member, leader, now) for member in members)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += [f"{member.get('id')}: {member['error']}" for member in members if member.get("error")]
    lines.append(f"epoch {answer.get('epoch')}, digest {str(answer.get('digest'))[:16]}, term {answer.get('term')}")
    if why := answer.get("why"):
        lines.append(f"WARNING   {answer.get('node_id')}: {why}")
    return lines


def _row(member: dict[str, Any], leader: str | None, now: float) -> tuple[str, ...]:
    me = bool(member.get("self"))
    star = "*" if member.get("id") == leader else ""
    connected = "connected" if member.get("connected") else member.get("connection") or "none"
    marks = (
        ", ".join(f"{one['height']}/{one['round']}/{one['step']}" for one in member.get("marks", []) if one["height"])
        or "-"
    )
    told_at = member.get("marks_at")
    if told_at is not None and now - told_at >= _FRESH_S:
        marks += f", as of {_ago(told_at, now)}"
    return (
        f"{member.get('id')}{star}",
        str(member.get("addr", "")),
        "this node" if me else str(connected),
        _round_trip(member.get("rtt_us")) if member.get("connected") else "-",
        str(member.get("state") or "unknown"),
        marks,
        "-" if me else _ago(member.get("last_contact"), now),
    )


def _round_trip(us: float | None) -> str:
    return "-" if us is None else f"{us / 1000:.2f} ms"


def _ago(at: float | None, now: float) -> str:
    """0 and None: never. The wall clock may have been set back since."""
    return f"{max(0.0, now - at):.1f} s ago" if at else "never"
