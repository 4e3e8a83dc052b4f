"""A listening TCP socket, or an error that names the setting and what to do."""

import errno
import socket
from typing import Final

from cometkms.address import Address
from cometkms.errors import BusyError, ConfigError, said

BACKLOG: Final = 64
HTTP_CURE: Final = (
    "choose another http_addr (--http-addr, COMETKMS_HTTP_ADDR or config.toml), or stop the other process"
)

AGENT_CURE: Final = "choose another agent_addr, the same in each agent's list of nodes, or stop the other process"


def resolved(host: str) -> frozenset[str]:
    """The addresses that a host's name stands for; none for one that is not known here."""
    try:
        return frozenset(str(one[4][0]) for one in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
    except OSError:
        return frozenset()


def cure_of_listening(error: OSError, busy: str) -> str:
    """What helps where an address cannot be listened on. `busy`: where another process has it."""
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return "write an address that this machine has, or none before the port (`:PORT`) for all that it has"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "choose a port from 1024 on: those below are root's"
    return busy


def listen(setting: str, host: str, port: int, cure: str) -> socket.socket:
    """A listening socket of a `setting`. host "": every interface, IPv6 and IPv4 on one socket
    where the machine has both.

    Raises: BusyError if the address is in use, or is not this machine's: it may be so only now,
    before a network is up or a name is known; ConfigError if it is not ours to use.
    """
    shown = f"{setting} {Address(host, port)}"
    try:
        if host == "":
            return _bind_every_interface(port)
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except socket.gaierror as error:
        words = f"{shown}: {host!r} is no address of this machine ({said(error)})"
        raise BusyError(words, cure=cure_of_listening(error, cure)) from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise BusyError(f"{shown} is in use by another process", cure=cure) from error
        kind = BusyError if error.errno == errno.EADDRNOTAVAIL else ConfigError
        raise kind(f"{shown} cannot be used: {said(error)}", cure=cure_of_listening(error, cure)) from error


def _bind_every_interface(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("::", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True)
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise  # IPv6 compiled in but switched off is the only case for IPv4 alone
    return socket.create_server(("0.0.0.0", port), backlog=BACKLOG)  # noqa: S104  # what `:8080` asks for
