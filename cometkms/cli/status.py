"""`cmkms status`"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

import click

from cometkms.address import Address
from cometkms.board.sections import LinkState
from cometkms.board.situation import Leads
from cometkms.cli.options import home_option, load_home
from cometkms.cli.output import say, show_json
from cometkms.config.schema import Settings
from cometkms.errors import CometKMSError, OperatorError, os_words
from cometkms.store.lock import holder_of

T = TypeVar("T")

_TIMEOUT_S = 5.0
_DOCUMENT_MAX_BYTES = 1 << 20


@click.command("status")
@home_option
@click.option("--http-addr", metavar="ADDR", help="Where the node serves HTTP.  [default: the home's http_addr]")
@click.option("--json", "as_json", is_flag=True, help="The node's own JSON.")
def command(home: str | None, http_addr: str | None, as_json: bool) -> int:  # noqa: ARG001
    """Show what the node of this home does.

    Exit code 1 if it is not healthy, cannot be reached, or another node answers there.

    With --http-addr it is the node at that address, whichever home it has.

    \b
    Examples:
      cmkms status
      cmkms status --http-addr 10.0.0.10:8080 --json
    """
    if http_addr:
        address = Address.parse(http_addr)
        document = fetch(address)
    else:
        settings = load_home()
        address = settings.http_addr
        document = fetch(address, home=settings.home)
        refuse_another(document, settings)
    if as_json:
        show_json(document)
    else:
        for line in understood(table, document, address):
            say(line)
    return 0 if document["healthy"] else 1


def understood(read: Callable[[dict[str, Any]], T], document: dict[str, Any], address: Address) -> T:
    """`read(document)`, of a node that may be of another version, or none at all.

    Raises: CometKMSError where its words make no sense.
    """
    try:
        return read(document)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise CometKMSError(
            f"what answers at {address} is not understood",
            cure="the cmkms of that node's version, or --http-addr of another",
        ) from error


def fetch(address: Address, timeout_s: float = _TIMEOUT_S, home: Path | None = None) -> dict[str, Any]:
    """GET /status: a document that names its node and says whether it is healthy. timeout_s: for
    the whole answer; home: whose node is to answer there, where that is a home on this machine.

    Raises: CometKMSError if no node answers.
    """
    import http.client  # here: no other command pays for it

    from cometkms.net.http_get import get

    host = address.host or "127.0.0.1"
    try:
        document = json.loads(get(host, address.port, "/status", timeout_s, _DOCUMENT_MAX_BYTES)[2])
    except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
        what = f"no node answers at http://{host}:{address.port}/status: {_words(error, timeout_s)}"
        if home is not None and (holder := holder_of(home)) is not None:
            cure = f"{holder.cure}; or --http-addr, where it serves another one"
            raise CometKMSError(f"{what}; {holder} holds this home", cure=cure) from error
        raise CometKMSError(what, cure="cmkms start, or --http-addr") from error
    if not _is_a_nodes(document):
        raise CometKMSError(f"http://{host}:{address.port}/status is not a CometKMS node")
    return document


def _is_a_nodes(untrusted: object) -> TypeGuard[dict[str, Any]]:
    if not isinstance(untrusted, dict) or not isinstance(node := untrusted.get("node"), dict):
        return False
    return isinstance(node.get("id"), str) and isinstance(untrusted.get("healthy"), bool)


def _words(error: BaseException, timeout_s: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout_s:g} s"
    return os_words(error) if isinstance(error, OSError) else "what answers there speaks no HTTP, or no JSON"


def refuse_another(document: dict[str, Any], settings: Settings) -> None:
    """Another home's node may serve the address of this one. Raises: OperatorError when it does."""
    node = document.get("node") or {}
    there, home, copied = str(node.get("home") or ""), settings.home, ""
    # the id may be a flag's
    ids = {settings.id, *(path.name for path in (home / "data").glob("*") if path.is_dir())}
    if there and Path(there).resolve() != home.resolve():
        found = f"node {node.get('id')!r} of the home {there}"
        copied = (
            f"where {home} is a copy of that home, remove it: no copy is started; else "
            if node.get("id") in ids
            else ""
        )
    elif node.get("id") and node["id"] not in ids:
        found = f"node {node['id']!r}"
    else:
        return
    raise OperatorError(
        f"{found} answers at {settings.http_addr}, and the home {home} is of node {settings.id!r}: this node is not there, or serves another "
        f"address",
        cure=f"{copied}cmkms start --home {home}, with an http_addr of its own; or --http-addr for the other's status",
    )


def table(document: dict[str, Any]) -> list[str]:
    """The status for a person."""
    node = document.get("node", {})
    healthy = "healthy" if document.get("healthy") else "NOT HEALTHY"
    lines = [
        f"node      {node.get('id') or 'name not known'}  {healthy}, {_role(document)}",
        f"          version {node.get('version')}, {node.get('core')} core, up {node.get('uptime_s') or 0:.0f} s, home {node.get('home')}",
    ]
    if headline := (document.get("situation") or {}).get("headline"):
        lines.append(f"          {headline}")
    lines += _cluster_lines(document)
    for child in document.get("children", []):
        lines.append(
            f"process   {child.get('name'):<7} pid {child.get('pid')}  {child.get('state')}, restarts {child.get('restarts')}"
            + (f" (last: {child['last_exit']})" if child.get("last_exit") else "")
        )
    for chain in document.get("chains", []):
        lines += _chain_lines(chain)
    for link in (document.get("agents") or {}).get("links", []):
        about = ", ".join(f"{name} {text}" for name, text in (link.get("about") or {}).items())
        served = f"; {link['without_lead']} served here without the lead" if link.get("without_lead") else ""
        lines.append(
            f"agent     {str(link.get('name', '')).removeprefix('agent:')}  says: {about or 'nothing yet'}{served}"
        )
    for words in [*document.get("trouble", []), *document.get("warnings", [])]:
        lines.append(f"WARNING   {words}")
    return lines


def _role(document: dict[str, Any]) -> str:
    if (document.get("situation") or {}).get("leads") == Leads.UNKNOWN.name.lower():
        return "whether it leads is not known"
    return "leader" if document.get("is_leader") else "follower"


def _cluster_lines(document: dict[str, Any]) -> list[str]:
    """Who leads and who is there; nothing for one node alone."""
    members = document.get("members", [])
    if len(members) < 2:
        return []
    leader = document.get("leader_id")
    leads = f"{leader} leads" if leader else "nobody leads"
    lines = [f"cluster   {leads}, term {document.get('term')}, epoch {document.get('epoch')}"]
    for member in members:
        there = str(member.get("state") or "not met yet")
        if not member.get("connected"):
            there = f"away{': ' + member['error'] if member.get('error') else ''}"
        lines.append(f"          {member.get('id')}{' (this node)' if member.get('self') else ''}  {there}")
    return lines


def _chain_lines(chain: dict[str, Any]) -> list[str]:
    mark = chain.get("watermark")
    place = (
        f"height {mark.get('height')} round {mark.get('round')} step {mark.get('step')}"
        if mark
        else "its place is not known"
    )
    counters = chain.get("counters") or {}
    latency = chain.get("latency_us") or {}
    refused = ", ".join(f"{reason} {count}" for reason, count in (counters.get("refused") or {}).items()) or "0"
    lines = [
        f"chain     {chain.get('chain_id')}  {place}",
        f"          key {chain.get('address')}, {chain.get('key_type') or 'type not known'}",
        f"          signed {counters.get('signed', 0)}, repeated {counters.get('repeated', 0)}, refused {refused}",
    ]
    of_bytes = {
        **({"SignBytes": values} if (values := counters.get("signed_values")) else {}),
        **(counters.get("signed_raw") or {}),
    }
    if of_bytes:
        lines.append(f"          signed bytes: {', '.join(f'{name} {count}' for name, count in of_bytes.items())}")
    if latency.get("count"):
        lines.append(
            f"          latency p50 {latency['p50'] / 1000:.2f} ms, p99 {latency['p99'] / 1000:.2f} ms, max {latency['max'] / 1000:.2f} ms"
        )
    for validator in chain.get("validators", []):
        words = f"          validator {validator.get('addr')}  {validator.get('state')}"
        if validator.get("line"):
            words += f"  {validator['line']}"
        if validator.get("state") != LinkState.CONNECTED and validator.get("last_error"):
            words += f" ({validator['last_error']})"
        lines.append(words)
    return lines
