"""Tell the service manager how this node is: sd_notify(3), without systemd's library.

A message is one datagram to the socket that $NOTIFY_SOCKET names, a path or, behind an "@", an
abstract name. The descriptor lives as long as the message: no child inherits it, and nothing can be
sent to this process through it. A manager that does not read makes a message wait here, never the
supervisor.
"""

import contextlib
import os
import socket
import time
from collections.abc import Mapping, MutableMapping
from typing import Final

SOCKET_VARIABLE: Final = "NOTIFY_SOCKET"
_WATCHDOG_VARIABLE: Final = "WATCHDOG_USEC"
_WATCHDOG_PID_VARIABLE: Final = "WATCHDOG_PID"
_VARIABLES: Final = (SOCKET_VARIABLE, _WATCHDOG_VARIABLE, _WATCHDOG_PID_VARIABLE)
_STATUS_MAX_BYTES: Final = 512  # systemctl shows one line
# state changes kept for a manager that does not read: more of them say nothing new
_UNSENT_MAX: Final = 8


class Notifier:
    """A service manager that listens, or none: then every call does nothing."""

    def __init__(self, address: str = "", watchdog_s: float = 0.0) -> None:
        """`address`: as $NOTIFY_SOCKET; "": nobody listens. `watchdog_s`: the longest silence it
        bears; 0: any."""
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._ping_s = watchdog_s / 2 if address else 0.0
        self._pinged_at = 0.0  # monotonic
        self._status = ""
        self._unsent: list[bytes] = []

    @classmethod
    def of_environment(cls, environment: Mapping[str, str], pid: int) -> "Notifier":
        """What systemd gave the process `pid`. A watchdog meant for another process is none."""
        address = environment.get(SOCKET_VARIABLE, "")
        if not address.startswith(("@", "/")):
            return cls()
        return cls(address, _watchdog_s(environment, pid))

    @property
    def listens(self) -> bool:
        """Whether somebody is told anything at all."""
        return bool(self._address)

    def ready(self) -> None:
        """The node runs; also: a reload is done."""
        self._tell(b"READY=1")

    def reloading(self) -> None:
        """A reload begins. The time is what Type=notify-reload compares with its own signal's."""
        self._tell(b"RELOADING=1\nMONOTONIC_USEC=%d" % (time.monotonic_ns() // 1000))

    def stopping(self) -> None:
        """The node ends now."""
        self._tell(b"STOPPING=1")

    def status(self, words: str) -> None:
        """What `systemctl status` shows; sent when it changed."""
        if words != self._status and self._send(_status(words)):
            self._status = words

    def watchdog(self, now: float) -> None:
        """Call it in each round in which all is well: it speaks when half of the manager's patience
        is over. `now`: monotonic."""
        if self._ping_s and now - self._pinged_at >= self._ping_s and self._send(b"WATCHDOG=1"):
            self._pinged_at = now

    def flush(self) -> None:
        """Try again what could not be sent. Called in every round."""
        while self._unsent and self._send(self._unsent[0]):
            del self._unsent[0]

    def _tell(self, message: bytes) -> None:
        """Changes of state come in their order, and none is lost while the manager is only slow."""
        if self._address:
            self._unsent = [*self._unsent[1 - _UNSENT_MAX :], message]
            self.flush()

    def _send(self, message: bytes) -> bool:
        if not self._address:
            return True
        try:
            with socket.socket(
                socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            ) as sender:
                sender.sendto(message, socket.MSG_NOSIGNAL, self._address)
        except OSError:  # it restarts, or does not read: the next round tries again
            return False
        return True


def take_notifier(environment: MutableMapping[str, str] = os.environ) -> Notifier:
    """The notifier of this process. The variables are taken away: the children's word is not the
    node's."""
    found = Notifier.of_environment(environment, os.getpid())
    for name in _VARIABLES:
        environment.pop(name, None)
    return found


def _status(words: str) -> bytes:
    line = " ".join(words.split()).encode("utf-8", "replace")[:_STATUS_MAX_BYTES]
    return b"STATUS=" + line.decode("utf-8", "ignore").encode()


def _watchdog_s(environment: Mapping[str, str], pid: int) -> float:
    with contextlib.suppress(ValueError):
        if int(environment.get(_WATCHDOG_PID_VARIABLE) or pid) == pid:
            return max(0, int(environment.get(_WATCHDOG_VARIABLE, "0"))) / 1e6
    return 0.0
