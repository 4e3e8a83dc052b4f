"""`cmkms drill`"""

import contextlib
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import click

from cometkms.address import Address
from cometkms.cli.options import home_option
from cometkms.cli.output import say, show_json
from cometkms.cli.running import ask_node, node_id_option
from cometkms.cli.status import fetch, understood
from cometkms.config.values import parse_duration
from cometkms.errors import CometKMSError, ConfigError, OperatorError
from cometkms.keys.public import address_of
from cometkms.limits import RPC_BLOCKS_MAX
from cometkms.net.comet_rpc import RpcAddress, parse_rpc
from cometkms.operator.doctor.blocks import read_commits, read_head
from cometkms.operator.drill.plan import ChainReport, Drill, Phase, planned
from cometkms.operator.drill.report import document, problems_of, table
from cometkms.operator.drill.view import View, obstacles, parse_view

_POLL_S: Final = 0.05
_END_S: Final = 60.0  # how long the cluster may take to be whole again at the end
_BLOCK_S: Final = 60.0  # and the chain to show the last height
_ROUNDS_MAX: Final = 100


@click.command("drill")
@home_option
@node_id_option
@click.option("--rounds", type=click.IntRange(1, _ROUNDS_MAX), default=1, show_default=True, help="How often.")
@click.option(
    "--rpc", metavar="URL", help="A CometBFT node's RPC: the chain's own blocks say whether a height was missed."
)
@click.option(
    "--fresh", metavar="DURATION", default="30s", show_default=True, help="How old the last signature may be."
)
@click.option("--http-addr", metavar="ADDR", help="Where this node serves HTTP.  [default: as it says itself]")
@click.option("--dry-run", is_flag=True, help="Only look whether the cluster is fit, and say what would be done.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--json", "as_json", is_flag=True, help="The report, or with --dry-run the plan, as JSON on standard output."
)
def command(
    home: str | None,  # noqa: ARG001 - kept in the context by the option's callback
    node_id: str | None,
    rounds: int,
    rpc: str | None,
    fresh: str,
    http_addr: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Rehearse the loss of the leader on a running cluster: hand the leadership over, then stop and
    start the leader, and measure.

    Any node's machine will do; that node watches and is not restarted. Refuses unless the cluster
    is whole: every member connected and complete, every validator connected, a fresh signature on
    every chain, no alert. In the end the first leader leads again. Ctrl-C stops after the step that
    is under way. Exit code 0 only if every step went well and no height was missed.

    \b
    Examples:
      cmkms drill --dry-run
      cmkms drill --yes --rounds 3
      cmkms drill --rpc http://10.0.0.1:26657
    """
    run = _Run(node_id, parse_rpc(rpc) if rpc else None, quiet=as_json)
    view = run.look(None)
    found = run.obstacles(view, parse_duration(fresh), http_addr)
    if found:
        for words in found:
            say(f"not fit   {words}", err=True)
        raise OperatorError(
            "the cluster is not fit for a drill, and nothing was done", cure="what stands above, then again"
        )
    steps = planned(view, rounds)
    for number, line in enumerate(steps, 1):
        run.say(f"step {number}  {line}")
    if dry_run:
        run.say("the cluster is fit for a drill; nothing was done")
        if as_json:
            show_json({"done": False, "planned": steps})
        return 0
    if not yes:
        if not sys.stdin.isatty():
            raise OperatorError("this must be confirmed, and nobody is there to do it", cure="--yes. Nothing was done")
        click.confirm("Each step interrupts signing for a moment. Go on?", abort=True, err=True)
    drill = Drill(run.look(None), rounds)
    run.go(drill)
    end = run.wait_whole(drill.last)
    chains = drill.chain_reports()
    problems = problems_of(drill, chains, end, run.on_chain(chains, drill.interrupted))
    if as_json:
        show_json(document(drill, chains, problems))
    else:
        for line in table(drill, chains, problems):
            say(line)
    if drill.interrupted and not end.missing and end.leader is not None:
        say(f"interrupted; the cluster is whole and {end.leader} leads", err=True)
    return 1 if problems else 0


class _Run:
    """The asking and waiting around one Drill."""

    def __init__(self, node_id: str | None, rpc: RpcAddress | None, *, quiet: bool) -> None:
        self._node_id = node_id
        self._rpc = rpc
        self._quiet = quiet
        self._since: int | None = None

    def say(self, words: str) -> None:
        """Print a line, on standard error where standard output is the report's."""
        say(words, err=self._quiet)

    def look(self, since: int | None) -> View:
        """What the node says now. Raises: OperatorError."""
        return parse_view(ask_node(self._node_id, {"op": "watch", "since": since}))

    def obstacles(self, view: View, fresh_s: float, http_addr: str | None) -> list[str]:
        """Why not."""
        if len(view.members) < 2:
            return obstacles(view, {}, "", fresh_s)
        check = self._order("check", "") if view.leader is not None else ""
        try:
            address = Address.parse(http_addr or self._http_addr())
            return understood(lambda told: obstacles(view, told, check, fresh_s), fetch(address), address)
        except CometKMSError as error:
            return [*obstacles(view, {}, check, fresh_s), f"its alerts are not known: {error}"]

    def _http_addr(self) -> str:
        answer = ask_node(self._node_id, {"op": "peers"})
        for member in answer.get("members", []):
            if member.get("self"):
                return str(member.get("facts", {}).get("http_addr", ""))
        raise ConfigError("the node does not say where it serves HTTP", cure="--http-addr")

    def _order(self, action: str, to: str) -> str:
        """ "" when it was obeyed; else why not."""
        try:
            return str(ask_node(self._node_id, {"op": "order", "action": action, "to": to}).get("why", ""))
        except OperatorError as error:
            return str(error)

    def go(self, drill: Drill) -> None:
        """Work until the drill is done.

        A first Ctrl-C lets it end well; a second one ends this command at once.
        """
        since = drill.first.next
        told = (0, "")
        while drill.phase is not Phase.DONE:
            with self._interruptible(drill):
                view = self.look(since)
                since = view.next
                drill.on_view(view)
                if (given := drill.command()) is not None:
                    action = "restart" if not given.to else "transfer"
                    drill.on_order(self._order(action, given.to))
                now = (len(drill.reports), drill.phase.value)
                if now != told:
                    told = now
                    self._tell(drill)
                time.sleep(_POLL_S)

    def _tell(self, drill: Drill) -> None:
        if not drill.reports:
            self.say("watching the pace of the chain")
            return
        step = drill.reports[-1]
        what = f"{step.leader} → {step.to}" if step.to else step.leader
        self.say(f"{step.kind.value:<9} {what}: {drill.phase.value}")

    @contextlib.contextmanager
    def _interruptible(self, drill: Drill) -> Any:
        try:
            yield
        except KeyboardInterrupt:
            if drill.interrupted:
                raise
            say(
                "interrupted: no more steps; the leadership goes back, and the cluster is waited for (again: at once)",
                err=True,
            )
            drill.on_order("interrupted")
            drill.interrupt()

    def wait_whole(self, view: View) -> View:
        """Wait until everybody is complete and somebody leads, or time is up."""
        deadline = time.monotonic() + _END_S
        while (view.missing or view.leader is None) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
            view = self.look(None)
        return view

    def on_chain(self, chains: list[ChainReport], interrupted: bool) -> list[str]:
        """Return, with --rpc, the heights whose commit lacks the key's signature."""
        if self._rpc is None or interrupted:
            return []
        try:
            rpc = self._rpc
            chain_id = read_head(rpc).chain_id
            chain = next((one for one in chains if one.chain_id == chain_id), None)
            if chain is None:
                return [f"{rpc} is of {chain_id}, and none of this node's chains is"]
            _wait(lambda: read_head(rpc).height > chain.last, _BLOCK_S)
            last = min(chain.last, chain.first + RPC_BLOCKS_MAX - 1)
            absent = [
                one.height
                for one in read_commits(rpc, chain.first + 1, last, self._address(chain_id))
                if not one.signed
            ]
        except CometKMSError as error:
            return [f"the chain's blocks cannot be read: {error}"]
        self.say(f"{chain_id}: the commits of heights {chain.first + 1} to {last} were read")
        return (
            [f"{chain_id}: the chain has no signature of this key at {', '.join(map(str, absent))}"] if absent else []
        )

    def _address(self, chain_id: str) -> str:
        for row in ask_node(self._node_id, {"op": "peers"}).get("rows", []):
            if row.get("chain_id") == chain_id:
                return address_of(bytes.fromhex(row["public_key"]))
        raise OperatorError(f"the node does not say which key signs for {chain_id}")


def _wait(condition: Callable[[], bool], most_s: float) -> None:
    """Raises: OperatorError."""
    deadline = time.monotonic() + most_s
    while not condition():
        if time.monotonic() > deadline:
            raise OperatorError(f"the chain did not get so far within {most_s:.0f} s")
        time.sleep(0.2)
