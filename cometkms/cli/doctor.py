"""`cmkms doctor`"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from cometkms.address import Address
from cometkms.cli.options import UNSET_CHAIN, chosen_home, home_option, load_home
from cometkms.cli.output import say, show_json
from cometkms.cli.passphrase import given, passphrase_options
from cometkms.cli.running import ask_node, node_id_option
from cometkms.cli.status import fetch
from cometkms.config.load import load_settings
from cometkms.config.schema import Settings
from cometkms.config.table import Flags
from cometkms.errors import CometKMSError
from cometkms.limits import RPC_BLOCKS_MAX
from cometkms.net.comet_rpc import parse_rpc
from cometkms.operator.doctor.examine import DEFAULT_BLOCKS, Patient, examine
from cometkms.operator.doctor.finding import is_well


@click.command("doctor")
@home_option
@node_id_option
@click.option(
    "--rpc", metavar="URL", help="A CometBFT node's RPC (http://HOST:PORT): compare the chain with this home."
)
@click.option(
    "--blocks",
    type=click.IntRange(1, RPC_BLOCKS_MAX),
    default=DEFAULT_BLOCKS,
    show_default=True,
    help="With --rpc: how many of the last blocks are searched for this key's signatures.",
)
@click.option("--open-key", is_flag=True, help="Try whether the key opens, in a process of its own that ends at once.")
@passphrase_options
@click.option("--http-addr", metavar="ADDR", help="Where the running node serves HTTP.  [default: as it says itself]")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(
    home: str | None,  # noqa: ARG001 - kept in the context by the option's callback
    node_id: str | None,
    rpc: str | None,
    blocks: int,
    open_key: bool,
    passphrase_file: Path | None,
    passphrase_fd: int | None,
    passphrase_credential: str | None,
    http_addr: str | None,
    as_json: bool,
) -> int:
    """Examine this home: before a start, beside a running node, or after something went wrong.

    Changes nothing.

    One line per finding: how bad, where, what, and the cure. `ok` and `note` are fine; `WARN` is
    not as it should be; `FAIL` keeps the node from signing, or from signing safely. Exit code 0
    when nothing warns or fails, else 1.

    \b
    Examples:
      cmkms doctor
      cmkms doctor --rpc http://10.0.0.1:26657 --blocks 100
      cmkms doctor --json
    """
    source = given(passphrase_file, passphrase_fd, passphrase_credential)
    address = parse_rpc(rpc) if rpc else None
    node, why_none = _ask(node_id)
    node_id = node_id or (node["node_id"] if node is not None else None) or None
    settings, problems = _settings(node_id)
    served = _http_addr(node, http_addr) if node is not None else None
    status, why = _status(served) if node is not None else (None, "")
    patient = Patient(
        home=chosen_home(),
        settings=settings,
        problems=problems,
        chains=tuple(chain for chain in settings.chains if chain.id != UNSET_CHAIN) if settings is not None else (),
        node=node,
        why_none=why_none,
        status=status,
        status_why=why,
        http_addr=served,
        rpc=address,
        blocks=blocks,
        passphrase=source,
        open_key=open_key,
    )
    found = examine(patient, lambda: _ask(node_id)[0])
    if as_json:
        show_json({"ok": is_well(found), "findings": [one.document() for one in found]})
    else:
        for one in found:
            say(one.line())
    return 0 if is_well(found) else 1


def _ask(node_id: str | None) -> tuple[dict[str, Any] | None, CometKMSError | None]:
    """The running node's document; None when none answers, and why."""
    try:
        untrusted = ask_node(node_id, {"op": "peers"})
    except CometKMSError as error:
        return None, error
    members = untrusted.get("members")
    listed = [one for one in members if isinstance(one, dict)] if isinstance(members, list) else []
    return {**untrusted, "node_id": str(untrusted.get("node_id") or ""), "members": listed}, None


def _settings(node_id: str | None) -> tuple[Settings | None, tuple[CometKMSError, ...]]:
    """The home's settings, as far as they can be understood, and what is wrong with them."""
    try:
        return load_settings(chosen_home(), Flags(id=node_id), here=True), ()
    except CometKMSError as error:
        problems = error.parts
    try:
        return load_home(node_id=node_id), problems
    except CometKMSError:
        return None, problems


def _http_addr(node: Mapping[str, Any], given_addr: str | None) -> Address | None:
    """Where the running node serves HTTP; None when neither it nor the operator says."""
    own: dict[str, Any] = next((one for one in node["members"] if one.get("self")), {})
    facts = own.get("facts")
    text = given_addr or str(facts.get("http_addr", "") if isinstance(facts, dict) else "")
    return Address.parse(text) if text else None


def _status(address: Address | None) -> tuple[dict[str, Any] | None, str]:
    """/status of the running node, and why there is none."""
    if address is None:
        return None, "where it serves HTTP is not known"
    try:
        return fetch(address), ""
    except CometKMSError as error:
        return None, str(error)
