"""`cmkms demo`"""

import click

from cometkms.cli.options import Seconds


@click.command("demo")
@click.option(
    "--seconds",
    type=Seconds(0, min_open=True),
    metavar="N",
    help="Sign for N seconds.  [default: until Ctrl-C]",
)
@click.option(
    "--kill-every",
    type=Seconds(0, min_open=True),
    metavar="S",
    help="Kill the leader every S seconds, and start it again.  [default: at the key k]",
)
@click.option(
    "--agent", is_flag=True, help="Put an agent between the nodes and the validator; f then freezes the leader's host."
)
def command(seconds: float | None, kill_every: float | None, agent: bool) -> int:
    """Three nodes on throw-away keys sign for a built-in validator that verifies every signature.

    Leaves nothing behind.

    At a terminal: k kills the leader (kill -9), starts it again and shows how long signing stopped;
    t hands the leadership over; q quits.

    \b
    Examples:
      cmkms demo
      cmkms demo --seconds 20 --kill-every 5
      cmkms demo --agent
    """
    from cometkms.operator import demo

    return demo.run(seconds, kill_every, agent=agent)
