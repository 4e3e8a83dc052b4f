"""`cmkms leader`"""

from dataclasses import dataclass
from typing import Any

import click

from cometkms.board.sections import MemberState
from cometkms.cli.options import CommandGroup, home_option, other_ids
from cometkms.cli.output import say, show_json
from cometkms.cli.running import ask_node, node_id_option
from cometkms.state.favourite import standing_of


@click.group("leader", cls=CommandGroup)
def command() -> None:
    """Who signs, and handing that over. The node of this home must be running."""


@command.command("show")
@home_option
@node_id_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def show(home: str | None, node_id: str | None, as_json: bool) -> int:  # noqa: ARG001
    """Who leads, as this home's node sees it, and whom the lead returns to after a minute of calm
    (`leader_priority`; ten minutes after an order). Exit code 1 if nobody leads.

    \b
    Example:
      cmkms leader show
    """
    answer = ask_node(node_id, {"op": "peers"})
    leader = answer.get("leader_id")
    if as_json:
        keys = ("node_id", "leader_id", "leader_addr", "is_leader", "term", "lease_left_s", "why")
        back = returns_to(answer)
        found = {key: answer.get(key) for key in keys} | {"returns_to": back.node if back is not None else None}
        show_json(found)
    elif leader is None:
        why = str(answer.get("why") or "there is no majority, or it is being elected")
        following = answer.get("next") or []
        if following and answer.get("node_id") not in following:
            say(f"who leads is not known here: {why}")
            return 1
        say(f"nobody leads: {why.removeprefix('nobody leads: ')}")
    else:
        here = ", this node" if leader == answer.get("node_id") else ""
        say(f"{leader} leads{here} ({answer.get('leader_addr')}, term {answer.get('term')})")
        if (back := returns_to(answer)) is not None:
            say(f"the lead returns to {back.node} ({back.why}) {back.when}")
    return 1 if leader is None else 0


@dataclass(frozen=True, slots=True)
class Returns:
    """Whom the lead returns to, by its `leader_priority`, and when, in words."""

    node: str
    why: str
    when: str


def returns_to(answer: dict[str, Any]) -> Returns | None:
    """Read in a node's answer to `peers` at which member the lead should rather be; None where
    nobody leads, or nobody is better.
    """
    members = {str(one.get("id")): one for one in answer.get("members", [])}
    standings = {name: standing_of(one.get("facts") or {}) for name, one in members.items()}
    leader = answer.get("leader_id")
    if leader not in standings:
        return None
    best = leader
    for name in sorted(standings):
        if standings[name].better_than(standings[best]):
            best = name
    if best == leader:
        return None
    found = standings[best]
    why = "the nearest to a majority" if found.nearest else f"leader_priority {found.priority}"
    able = members[best].get("connected") and members[best].get("state") == MemberState.COMPLETE
    calm = "after a minute of calm; ten minutes after an order, and later where it lost the lead early"
    when = calm if able else f"once it is connected and complete, {calm}"
    return Returns(best, why, when)


@command.command("transfer")
@home_option
@node_id_option
@click.option("--to", metavar="ID", shell_complete=other_ids, help="To whom.  [default: whoever is up to date]")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def transfer(home: str | None, node_id: str | None, to: str | None, as_json: bool) -> None:  # noqa: ARG001
    """Hand the leadership to another node, before the machine goes down for maintenance.

    Any running node of the cluster takes the order.

    Signing pauses for a few milliseconds. Stopping a leader (SIGTERM) does the same by itself. If
    the named node leads already, that is what was wanted: exit code 0.

    \b
    Examples:
      cmkms leader transfer
      cmkms leader transfer --to node2
    """
    answer = ask_node(node_id, {"op": "leader_transfer", "to": to})
    if as_json:
        show_json({key: answer.get(key) for key in ("from", "to", "took_ms")})
        return
    if answer.get("from") == answer.get("to"):
        say(f"{answer.get('to')} leads already")
        return
    say(f"{answer.get('from')} handed over to {answer.get('to')} in {answer.get('took_ms')} ms")
