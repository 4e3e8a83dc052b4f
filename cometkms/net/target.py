"""What a signer or an agent dials."""

from dataclasses import dataclass

from cometkms.address import Address


@dataclass(frozen=True, slots=True)
class UnixTarget:
    """A validator that listens on a unix socket at this path."""

    path: str


Target = Address | UnixTarget
