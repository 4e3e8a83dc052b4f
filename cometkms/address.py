"""A host and a TCP port: the one type for it, the one parser, and the one way to write it."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from cometkms.errors import ConfigError

_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9_.])?\Z")


@dataclass(frozen=True, slots=True)
class Address:
    """Where something listens on TCP.

    The host is a name, an IPv4 or an IPv6 address without brackets, or "" for every interface.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"{bracketed(self.host)}:{self.port}"

    @staticmethod
    def parse(text: str, port_min: int = 1) -> "Address":
        """Read `host:port`, `[IPv6]:port` or `:port`.

        A port_min of 0 lets the system choose the port. Raises: ConfigError.
        """
        host, separator, port = text.rpartition(":")
        plain = port.isascii() and port.isdigit() and len(port) <= 5
        if not separator or not plain or not port_min <= int(port) < 65536:
            raise ConfigError(f"{text!r} is no address; write it as host:port with a port from 1 to 65535")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif "/" in host:
            raise ConfigError(f"{text!r} is no address; write host:port alone, nothing before or behind it")
        elif ":" in host:
            raise ConfigError(f"{text!r} is no address; write an IPv6 host in brackets, as [::1]:26658")
        if host and not _is_host(host):
            raise ConfigError(f"{text!r} has no valid host; write a name or an IP address")
        return Address(host, int(port))


@dataclass(frozen=True, slots=True)
class NoiseAddress(Address):
    """Where a validator listens that must prove over Noise that it has peer_key, an ed25519 public
    key of 32 bytes.
    """

    peer_key: bytes


def bracketed(host: str) -> str:
    """The host as it stands before a colon and a port: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def is_loopback(host: str) -> bool:
    """Whether only this machine is meant, for sure: another name is not looked up."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return bool(_HOST_NAME.match(host)) and ".." not in host
    return True
