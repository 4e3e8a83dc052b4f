"""Whether one validator is listed under two names: it takes one signer, and the two connections
would push each other out.

No name is looked up: what leads to one place only for whoever asks for its addresses, the doctor
sees.
"""

import itertools
import os
from collections.abc import Sequence
from typing import Final

from cometkms.address import Address
from cometkms.config.ports import EVERY, LOOPBACK, literal
from cometkms.config.schema import ValidatorAddress
from cometkms.errors import ConfigError
from cometkms.net.target import Target, UnixTarget

#: What a validator's address leads to: each address of a host and its port, or a socket's file.
Places = frozenset[tuple[str, int]]
SAME_CURE: Final = "list it once in validator_addr"


def check_validators(addresses: Sequence[ValidatorAddress], cure: str = SAME_CURE) -> list[ConfigError]:
    """What is wrong with validators that are listed together, each pair once; the same text twice
    is told elsewhere.
    """
    return [
        ConfigError(
            same_words(one.text, other.text, "socket" if isinstance(one.target, UnixTarget) else "port"), cure=cure
        )
        for one, other in itertools.combinations(addresses, 2)
        if one.text != other.text and places_of(one.target) & places_of(other.target)
    ]


def same_words(one: str, other: str, what: str = "port") -> str:
    """What is said of two names of one validator."""
    return f"{one} and {other} lead to one {what}: a validator takes one signer, and the two would push each other out"


def places_of(target: Target) -> Places:
    """What is known of it without asking anybody."""
    if isinstance(target, UnixTarget):
        return _of_socket(target.path)
    return of_hosts(literal(target.host), target)


def of_hosts(hosts: frozenset[str], target: Address) -> Places:
    """The port of these addresses of its host; to dial every interface is to dial this machine."""
    return frozenset((host, target.port) for host in (hosts if hosts.isdisjoint(EVERY) else LOOPBACK))


def _of_socket(path: str) -> Places:
    """Where a path leads behind its links, and the file that is there now: it may have two names."""
    found = {(os.path.realpath(path), 0)}
    try:
        status = os.stat(path)  # noqa: PTH116 - the path is a validator's, as it was given
    except OSError:
        return frozenset(found)
    return frozenset(found | {(f"inode {status.st_dev}:{status.st_ino}", 0)})
