"""What a peer list must be.

A list that is wrong on one node is a second majority or a node nobody reaches: refused before
anything starts.
"""

from collections.abc import Iterable
from typing import Final

from cometkms.address import Address, is_loopback
from cometkms.config.schema import Peer, Settings
from cometkms.errors import ConfigError
from cometkms.limits import MEMBER_IDS_MAX_BYTES, MEMBERS_MAX

DEFAULT_RAFT_ADDR: Final = "127.0.0.1:9430"


def check_cluster(settings: Settings, peers_where: str, raft_where: str | None) -> list[ConfigError]:
    """What is wrong with the peer list; [] when nothing is, or there is none.

    `…_where`: where the setting stands; None: raft_addr is wrong, which was told.
    """
    if not settings.peers:
        return []
    problems = [problem.at(peers_where) for problem in _list_problems(settings.peers)]
    own = [peer.address for peer in settings.peers if peer.id == settings.id]
    if not own:
        known = ", ".join(peer.id for peer in settings.peers)
        problems.append(
            ConfigError(
                f"{peers_where}: this node is {settings.id!r} and the list names {known}; it must name this node too",
                cure="give --id one of "
                f"them, or add {settings.id}=HOST:{settings.raft_addr.port} to the list of every node",
            )
        )
    elif settings.raft_published is not None:
        problems += [
            ConfigError(
                f"{peers_where}: raft_published is {settings.raft_published}, and the others are told to dial this node at {one}",
                cure=f"the same in both: the address that the others reach; raft_addr ({raft_where}) is where this node listens",
            )
            for one in own
            if one != settings.raft_published
        ]
    elif (
        len(own) == 1
        and raft_where is not None
        and (unreachable := _unreachable(own[0], settings.raft_addr, raft_where))
    ):
        problems.append(unreachable.at(peers_where))
    return problems


def _list_problems(peers: tuple[Peer, ...]) -> list[ConfigError]:
    """Say what is wrong with the list itself, whoever reads it."""
    problems = [ConfigError(f"the peer {name!r} is named more than once") for name in _twice(peer.id for peer in peers)]
    problems += [
        ConfigError(f"two peers have the address {one}") for one in _twice(str(peer.address) for peer in peers)
    ]
    if len(peers) > MEMBERS_MAX:
        problems.append(
            ConfigError(f"{len(peers)} nodes; at most {MEMBERS_MAX} are possible, and more than five gain nothing")
        )
    sizes = [len(peer.id.encode()) for peer in peers]
    # the store's header holds them all, and its owner's once more
    if sum(sizes) + max(sizes) > MEMBER_IDS_MAX_BYTES:
        problems.append(
            ConfigError(f"the nodes' ids take more than {MEMBER_IDS_MAX_BYTES} bytes together", cure="shorter ids")
        )
    return problems


def _unreachable(own: Address, raft_addr: Address, raft_where: str) -> ConfigError | None:
    """Why the others cannot reach this node where the list says it is; None when they may.

    Hosts may differ (0.0.0.0, address translation, a tunnel's end); a port that differs, or a
    default nobody changed, is a slip unless `raft_published` says that it is meant.
    """
    if own.port != raft_addr.port:
        return ConfigError(
            f"the others are told to dial this node at {own}, and it listens on raft_addr {raft_addr} ({raft_where}): the ports differ",
            cure=f"--raft-addr {own}, or the other port in the list of every node; where address translation lies between, --raft-published {own}",
        )
    if str(raft_addr) == DEFAULT_RAFT_ADDR and not raft_where.startswith("--") and not is_loopback(own.host):
        return ConfigError(
            f"the others are told to dial this node at {own}, and raft_addr is left at {raft_addr}, which is reached from this machine only",
            cure=f"--raft-addr {own}, or :{own.port} for all interfaces",
        )
    return None


def _twice(values: Iterable[str]) -> list[str]:
    found = list(values)
    return sorted({one for one in found if found.count(one) > 1})
