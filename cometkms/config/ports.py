"""Addresses that cannot both be right: two listeners on one port, or a listener where something
that is dialled listens. Pure.

Told before a start: whoever finds a port taken after the node leads would end it for a
slip in a file.
"""

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from cometkms.address import Address, is_loopback
from cometkms.config.schema import Settings, ValidatorAddress
from cometkms.errors import ConfigError

#: The addresses that a host's name stands for; none where that is not known.
Resolve = Callable[[str], frozenset[str]]
EVERY: Final = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
LOOPBACK: Final = frozenset({"127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Place:
    """An address of a setting.

    `what`: how a fault of another one names it; `where`: how its own does.
    """

    setting: str
    address: Address
    what: str
    where: str = ""


def listener(setting: str, address: Address, where: str) -> Place:
    """An address of this node's own. `where` it is set; "": nowhere, so that it is the default."""
    return Place(setting, address, f"{setting} {address}", where or f"{setting}'s default")


def check_ports(own: Sequence[Place], dialled: Sequence[Place], resolve: Resolve) -> list[ConfigError]:
    """What is wrong with this node's own addresses and those it dials, each pair once."""
    found = []
    for number, one in enumerate(own):
        for other in own[:number]:
            if _clash(one.address, other.address, resolve, own=True):
                found.append(
                    ConfigError(
                        f"{one.where}: {one.address} is where {other.what} listens: one of them would find the port taken",
                        cure=f"a port of its own for {one.setting}, and one for {other.setting}",
                    )
                )
        for other in dialled:
            if _clash(one.address, other.address, resolve):
                found.append(
                    ConfigError(
                        f"{one.where}: {one.address} is where {other.what} listens: this node would take its port",
                        cure=f"a port of its own for {one.setting}, or the right one in {other.setting}",
                    )
                )
    return found


def dialled_by(settings: Settings) -> list[Place]:
    """Where others listen that this node dials: the other nodes, and validators on TCP."""
    found = [
        Place("peer", one.address, f"the node {one.id} ({one.address} in the peer list)")
        for one in settings.peers
        if one.id != settings.id
    ]
    return found + of_validators("validator_addr", [one for chain in settings.chains for one in chain.validator_addrs])


def of_validators(setting: str, addresses: Iterable[ValidatorAddress]) -> list[Place]:
    """Where those of them listen that listen on TCP."""
    return [
        Place(setting, one.target, f"the validator {one.text}") for one in addresses if isinstance(one.target, Address)
    ]


def literal(host: str) -> frozenset[str]:
    """The addresses of a host without asking anybody: an address itself, `localhost`, and a name
    for nothing but the same name.
    """
    if host.lower() == "localhost":
        return LOOPBACK
    try:
        return frozenset({str(ipaddress.ip_address(host))})
    except ValueError:
        return frozenset({host.lower()})


def _clash(listened: Address, other: Address, resolve: Resolve, *, own: bool = False) -> bool:
    """Whether what listens at one finds the other there.

    `own`: both are this node's, else of the other only loopback is known to be.
    """
    if listened.port != other.port:
        return False
    here, there = _hosts(listened.host, resolve), _hosts(other.host, resolve)
    return bool(here & there) or _covers(here, there, own) or (own and _covers(there, here, own))


def _hosts(host: str, resolve: Resolve) -> frozenset[str]:
    return resolve(host) if host else frozenset(EVERY)


def _covers(here: frozenset[str], there: frozenset[str], own: bool) -> bool:
    """Whether one of these is every interface, and one of those is this machine's."""
    four, six = (wild in here for wild in EVERY)
    return any((own or is_loopback(one)) and (six if ":" in one else four) for one in there)
