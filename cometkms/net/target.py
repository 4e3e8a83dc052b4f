"""Where a validator or a member listens."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TcpTarget:
    """host may be a name, an IPv4 or an IPv6 address (no brackets).

    peer_key: the ed25519 identity of 32 bytes that a validator must prove over Noise (noise://); b"": none, and no Noise.
    """

    host: str
    port: int
    peer_key: bytes = b""


@dataclass(frozen=True, slots=True)
class UnixTarget:
    path: str
