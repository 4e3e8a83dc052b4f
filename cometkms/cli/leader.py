"""`cmkms leader`"""

import json

import click

from cometkms.cli.options import home_option, other_ids
from cometkms.cli.output import say
from cometkms.cli.running import ask_node, node_id_option


@click.group("leader")
def command() -> None:
    """Who signs, and handing that over. The node of this home must be running."""


@command.command("show")
@home_option
@node_id_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def show(home: str | None, node_id: str | None, as_json: bool) -> int:  # noqa: ARG001
    """Who leads, as this home's node sees it. Exit code 1 if nobody does.

    \b
    Example:
      cmkms leader show
    """
    answer = ask_node(node_id, {"op": "peers"})
    leader = answer.get("leader_id")
    if as_json:
        keys = ("node_id", "leader_id", "leader_addr", "is_leader", "term", "lease_left_s", "why")
        click.echo(json.dumps({key: answer.get(key) for key in keys}, indent=2))
    elif leader is None:
        why = str(answer.get("why") or "there is no majority, or it is being elected")
        say(f"nobody leads: {why.removeprefix('nobody leads: ')}")
    else:
        here = ", this node" if leader == answer.get("node_id") else ""
        say(f"{leader} leads{here} ({answer.get('leader_addr')}, term {answer.get('term')})")
    return 1 if leader is None else 0


@command.command("transfer")
@home_option
@node_id_option
@click.option("--to", metavar="ID", shell_complete=other_ids, help="To whom.  [default: whoever is up to date]")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def transfer(home: str | None, node_id: str | None, to: str | None, as_json: bool) -> None:  # noqa: ARG001
    """Hand the leadership to another node, before the machine goes down for maintenance. Any running node of the cluster takes the order.

    Signing pauses for a few milliseconds. Stopping a leader (SIGTERM) does the same by itself. If the named node leads already, that is
    what was wanted: exit code 0.

    \b
    Examples:
      cmkms leader transfer
      cmkms leader transfer --to node2
    """
    answer = ask_node(node_id, {"op": "leader_transfer", "to": to})
    if as_json:
        click.echo(json.dumps({key: answer.get(key) for key in ("from", "to", "took_ms")}))
        return
    if answer.get("from") == answer.get("to"):
        say(f"{answer.get('to')} leads already")
        return
    say(f"{answer.get('from')} handed over to {answer.get('to')} in {answer.get('took_ms')} ms")
