"""Where a validator or a member listens."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TcpTarget:
    """host may be a name, an IPv4 or an IPv6 address (no brackets)."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class UnixTarget:
    path: str
