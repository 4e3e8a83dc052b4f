"""`cmkms agent`, `cmkms agent init`"""

import click

from cometkms.cli.agent_run import run_agent
from cometkms.cli.options import CommandGroup, chosen_home, home_option
from cometkms.cli.output import say, show_json


@click.group("agent", cls=CommandGroup, invoke_without_command=True)
@home_option
@click.pass_context
def command(context: click.Context, home: str | None) -> int | None:  # noqa: ARG001
    """Run the agent of this home beside a validator, until SIGTERM or Ctrl-C.

    It asks every node, so that a host that vanishes costs a moment.

    Without a command it runs; `init` makes its home.

    \b
    Examples:
      cmkms agent init --home ~/.cmkms-agent --name sentry-a
      cmkms agent --home ~/.cmkms-agent
    """
    if context.invoked_subcommand is not None:
        return None
    return run_agent(chosen_home())


@command.command("init")
@home_option
@click.option("--name", required=True, metavar="NAME", help="How the nodes' settings, pages and metrics call it.")
@click.option(
    "--node",
    multiple=True,
    metavar="ID=HOST:PORT:KEY",
    help="A node, as its `cmkms peers --identities` prints it (repeatable).",
)
@click.option("--validator-addr", multiple=True, metavar="ADDR", help="priv_validator_laddr to dial (repeatable).")
@click.option("--chain-id", metavar="ID", help="Chain id of the validators.")
@click.option("--metrics-addr", metavar="ADDR", help="Serve metrics here.  [default: nowhere]")
@click.option("--json", "as_json", is_flag=True, help="What was made and kept, as JSON.")
def init(
    home: str | None,  # noqa: ARG001
    name: str,
    node: tuple[str, ...],
    validator_addr: tuple[str, ...],
    chain_id: str | None,
    metrics_addr: str | None,
    as_json: bool,
) -> None:
    """Make an agent's key and agent.toml where they are missing, and print the line that the nodes'
    settings need.

    \b
    Example:
      cmkms agent init --home ~/.cmkms-agent --name sentry-a --chain-id my-chain-1 --validator-addr unix:///run/privval.sock
    """
    from cometkms.agent.scaffold import init_agent, noise_ports
    from cometkms.wire.peer_id import peer_id

    if validator_addr and not chain_id:
        raise click.UsageError("--validator-addr needs --chain-id: which chain is signed there?")
    result = init_agent(
        chosen_home(),
        name=name,
        nodes=node,
        validators=tuple((chain_id or "", one) for one in validator_addr),
        metrics_addr=metrics_addr or "",
    )
    line = f"{name}:{result.key.hex()}"
    listens = [f"noise://{peer_id(result.key)}@127.0.0.1:{port}" for port in noise_ports(validator_addr)]
    if as_json:
        made, kept = [str(one) for one in result.made], [str(one) for one in result.kept]
        told = {"home": str(chosen_home()), "made": made, "kept": kept, "agents": [line]}
        show_json(told | ({"priv_validator_laddr": listens} if listens else {}))
        return
    for path in result.made:
        say(f"made  {path}")
    for path in result.kept:
        say(f"kept  {path}")
    say("On every node, in config.toml:")
    click.echo(f'agents = ["{line}"]')
    if listens:
        say("On the validator, in config.toml:")
    for one in listens:
        click.echo(f'priv_validator_laddr = "{one}"')
