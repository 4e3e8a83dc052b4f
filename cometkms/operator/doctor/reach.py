"""Whether peers and validators can be reached. A stopped node tries a connection and closes it at
once; a running one is asked, so that nothing gets between it and a validator.
"""

import itertools
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cometkms.address import Address
from cometkms.api.alerts import AGENT_PREFIX
from cometkms.api.cures import cure_of_lost, cure_of_peer, cure_of_validator
from cometkms.board.sections import LinkState, MemberState
from cometkms.config.schema import Settings
from cometkms.config.validators import SAME_CURE, Places, of_hosts, same_words
from cometkms.errors import os_words
from cometkms.limits import CONNECT_TIMEOUT_S, PEER_FAR_S
from cometkms.net.dial import unix_failure
from cometkms.net.target import Target, UnixTarget
from cometkms.operator.doctor.finding import Finding, apart, fail, note, ok, warn
from cometkms.wire.why import CONFIGURED, PeerCode

PEERS: Final = "peers"
VALIDATORS: Final = "validators"
_REFUSED, _SILENT, _NO_NAME, _NO_FILE, _DENIED = "refused", "silent", "name", "file", "denied"
_CAUSES: Final[dict[type[OSError], str]] = {
    ConnectionRefusedError: _REFUSED,
    FileNotFoundError: _NO_FILE,
    NotADirectoryError: _NO_FILE,
    PermissionError: _DENIED,
}
_VALIDATOR: Final = "start the validator, or look at its priv_validator_laddr and the firewalls between"
_OF_VALIDATORS: Final = {
    _REFUSED: "start the validator; if it runs, its priv_validator_laddr must be this address",
    _SILENT: "is its machine up? If so, the firewalls between: the port of its priv_validator_laddr must be open from here",
    _NO_NAME: "correct the name in validator_addr, or the DNS that this machine asks; an address needs neither",
    _NO_FILE: "start the validator, which makes the socket; if it runs, its priv_validator_laddr must be this path",
    _DENIED: "let the node's user into the socket's directory and write to the socket; or run the doctor as the node's user",
}
_CURE_OF_AGENT: Final = "start `cmkms agent` on its machine; where it runs, its log says why it is not connected"
ADDRESSES: Final = "addresses"
_ALL_S: Final = CONNECT_TIMEOUT_S + 2.0  # names may take a moment more


@dataclass(frozen=True, slots=True)
class Reached:
    """`took_ms`: a TCP or unix connection; None: none was made, and `why`; `cause`: of what kind
    that is, if a validator's cure goes by it; `places`: what its name and port lead to."""

    name: str
    took_ms: float | None
    why: str = ""
    cause: str = ""
    places: Places = frozenset()


def try_all(targets: Mapping[str, Target]) -> list[Reached]:
    """Try all at once, each with its deadline; what does not answer by the end is told so."""
    found: dict[str, Reached] = {}
    threads = [
        threading.Thread(
            target=lambda name=name, target=target: found.__setitem__(name, _try(name, target)), daemon=True
        )
        for name, target in targets.items()
    ]
    for thread in threads:
        thread.start()
    until = time.monotonic() + _ALL_S
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return [found.get(name, Reached(name, None, f"no answer within {_ALL_S:g} s", _SILENT)) for name in targets]


def _try(name: str, target: Target) -> Reached:
    places: Places = frozenset()
    started = time.perf_counter()
    try:
        if not isinstance(target, UnixTarget):
            found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
            places = of_hosts(frozenset(str(one[4][0]) for one in found), target)
            started = time.perf_counter()
        if isinstance(target, UnixTarget):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(CONNECT_TIMEOUT_S)
                connection.connect(target.path)
        else:
            socket.create_connection((target.host, target.port), CONNECT_TIMEOUT_S).close()
    except TimeoutError:
        return Reached(name, None, f"no answer within {CONNECT_TIMEOUT_S:g} s", _SILENT, places)
    except OSError as error:
        why = unix_failure(error, target.path) if isinstance(target, UnixTarget) else error
        return Reached(name, None, os_words(why), _cause(why), places)
    return Reached(name, (time.perf_counter() - started) * 1000, places=places)


def _cause(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return _NO_NAME
    return next((cause for kind, cause in _CAUSES.items() if isinstance(error, kind)), "")


def peer_targets(settings: Settings) -> dict[str, Target]:
    """Every other node."""
    return {peer.id: peer.address for peer in settings.peers if peer.id != settings.id}


def validator_targets(settings: Settings) -> dict[str, Target]:
    """Return where the validators listen, by address."""
    return {str(address): address.target for chain in settings.chains for address in chain.validator_addrs}


def judge_reached(area: str, reached: Sequence[Reached]) -> list[Finding]:
    """Judge what a stopped node reaches."""
    found = []
    for one in reached:
        if one.took_ms is not None:
            words = f"{one.name} takes a connection in {one.took_ms:.2f} ms"
            found.append(_far(words) if area == PEERS and one.took_ms / 1000 > PEER_FAR_S else ok(area, words))
        elif area == PEERS:
            found.append(
                warn(
                    area,
                    f"{one.name} cannot be reached: {one.why}",
                    "start it, or look at its raft_addr, the list and the firewalls between",
                )
            )
        else:
            found.append(
                warn(
                    area,
                    f"{one.name} cannot be reached: {one.why}",
                    cure_of_validator(one.why, one.name) or _OF_VALIDATORS.get(one.cause, _VALIDATOR),
                )
            )
    return found


def judge_same(reached: Sequence[Reached]) -> list[Finding]:
    """Whether one validator is listed under two names that are looked up, which a node would dial
    twice; of the others the settings tell.
    """
    return [
        warn(VALIDATORS, same_words(one.name, other.name), SAME_CURE)
        for one, other in itertools.combinations(reached, 2)
        if one.places & other.places
    ]


def _far(words: str) -> Finding:
    """Elections follow the round trips, up to where they are tried (the alert peer_far)."""
    return warn(
        PEERS,
        f"{words}: that is farther than the {PEER_FAR_S * 1000:.0f} ms that elections are tried with",
        "members nearer to each other (docs/RUNBOOK.md#peer_far)",
    )


def judge_members(document: Mapping[str, Any]) -> list[Finding]:
    """Judge by a running node's own word each other member's connection, measured round
    trip, state and digest.
    """
    found = []
    members = document.get("members", [])
    me = next((str(one.get("id")) for one in members if one.get("self")), "this node")
    for member in members:
        name = member.get("id")
        if member.get("self"):
            continue
        error = str(member.get("error") or "")
        code = next((one for one in PeerCode if one.value == member.get("error_code")), PeerCode.OTHER)
        cure = cure_of_peer(code, str(name), me, connected=bool(member.get("connected")))
        if code is PeerCode.DUPLICATE and member.get("connected"):
            found.append(fail(PEERS, f"a second node with the id {name} was turned away: {error}", cure))
        if member.get("connected") and member.get("state") == MemberState.COMPLETE:
            rtt = member.get("rtt_us")
            shown = "round trip not measured yet" if rtt is None else f"round trip {rtt / 1000:.2f} ms"
            words = f"{name} is connected and complete, {shown}, with the same digest"
            found.append(_far(words) if rtt is not None and rtt / 1e6 > PEER_FAR_S else ok(PEERS, words))
        elif member.get("connected"):
            sealed = member.get("state") == MemberState.SEALED
            what = "go on with the change of members: the same `cmkms member` command there says what comes next"
            wait = cure_of_lost(members) if member.get("state") == MemberState.RECOVERING else ""
            found.append(
                warn(
                    PEERS,
                    f"{name} is connected and {member.get('state') or 'has not said its state'}",
                    what if sealed else wait or "wait, or look at its log: `cmkms doctor` there",
                )
            )
        elif code in CONFIGURED or code is PeerCode.DUPLICATE:
            found.append(fail(PEERS, f"{name} refuses, or is refused: {error}", cure))
        else:
            otherwise = "start it, or look at its raft_addr, the list and the firewalls between"
            found.append(warn(PEERS, f"{name} is not connected{': ' + error if error else ''}", cure or otherwise))
    return found


def judge_validators(chains: Sequence[Mapping[str, Any]], *, leads: bool, leader: str) -> list[Finding]:
    """Judge by a running node's /status how its validators are connected.

    Only the node that leads dials. `leader`: "" where nobody is known.
    """
    if not leads and not leader:
        return [note(VALIDATORS, "nobody leads, as far as this node knows: it dials no validator")]
    if not leads:
        return [note(VALIDATORS, "another node leads, and dials the validators; this one does when it leads")]
    found = []
    for chain in chains:
        for validator in chain.get("validators", []):
            name = f"{validator.get('addr')} ({chain.get('chain_id')})"
            if validator.get("state") == LinkState.CONNECTED:
                found.append(ok(VALIDATORS, f"{name} is connected"))
            else:
                error, own = apart(
                    str(validator.get("last_error") or ""), "start the validator, or look at its priv_validator_laddr"
                )
                cure = cure_of_validator(error, str(validator.get("addr"))) or own
                cure = _CURE_OF_AGENT if name.startswith(AGENT_PREFIX) else cure
                found.append(warn(VALIDATORS, f"{name} is not connected{': ' + error if error else ''}", cure))
    return found


def judge_own_addresses(settings: Settings, http_addr: Address | None) -> list[Finding]:
    """Whether the ports can be had (stopped: no `http_addr`), and who reaches the HTTP port
    (running: there).
    """
    found = []
    served = http_addr or settings.http_addr
    if http_addr is None:
        ports: dict[str, Address] = {"http_addr": settings.http_addr}
        if settings.peers:
            ports["raft_addr"] = settings.raft_addr
        if settings.agent_addr is not None:
            ports["agent_addr"] = settings.agent_addr
        targets: dict[str, Target] = {
            f"{name} {address}": Address(address.host or "127.0.0.1", address.port) for name, address in ports.items()
        }
        for one in try_all(targets):
            if one.took_ms is not None:
                found.append(
                    fail(
                        ADDRESSES,
                        f"something listens on {one.name} already, and this node does not run",
                        "stop it, or choose another port",
                    )
                )
            else:
                found.append(ok(ADDRESSES, f"{one.name} is free"))
    if not served.host or served.host in ("0.0.0.0", "::"):  # noqa: S104 - it is compared, not bound
        found.append(
            note(
                ADDRESSES,
                f"http_addr {served} is served on all interfaces: whoever reaches it reads the status",
                "127.0.0.1 and a port, or a firewall",
            )
        )
    return found
