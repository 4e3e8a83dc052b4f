"""A spy in every process of a node: PYTHONPATH of tests/e2e/test_hardening.py puts it there,
CK_SPY=1 arms it.

From the moment a process is shut off it says on stderr, from inside: what the probes below meet,
then every module that is imported.
"""

import errno
import os
import socket
import sys


def _meet(step: object) -> str:
    try:
        step()  # type: ignore[operator]
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return "done"


def _to_datagrams() -> None:
    """A pair of datagram sockets reaches, by its path, every other one of this machine."""
    one, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    one.sendto(b"a key", os.environ["CK_SPY_SOCKET"])


def _connect(family: int, address: object) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as one:
        one.connect(address)


_KEY = os.environ.get("CK_SPY_KEY", "")
_PRIV = os.path.dirname(_KEY)
_PROBES = {
    "key": lambda: os.open(_KEY, os.O_RDONLY),
    "home": lambda: os.listdir(_PRIV),
    "unlink": lambda: os.unlink(_KEY),
    "replace": lambda: os.rename(os.path.join(_PRIV, "priv_validator_state.json"), _KEY),
    "plant": lambda: os.open(os.path.join(_PRIV, "planted"), os.O_WRONLY | os.O_CREAT),
    "shadow": lambda: os.open("/etc/shadow", os.O_RDONLY),
    "word": lambda: os.open(os.environ["CK_SPY_WORD"], os.O_RDONLY),
    "write": lambda: os.open("/tmp/cmkms-spy", os.O_WRONLY | os.O_CREAT),
    "memory": lambda: os.open(f"/proc/{os.getppid()}/mem", os.O_RDWR),
    "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "packet": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
    "raw": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    "datagrams": _to_datagrams,
    "unix": lambda: _connect(socket.AF_UNIX, os.environ["CK_SPY_STREAM"]),
    "dial": lambda: _connect(socket.AF_INET, ("127.0.0.1", 1)),
    "parent": lambda: os.kill(os.getppid(), 0),
    "root": lambda: os.setuid(0) if os.getuid() else os.chown("/", 0, 0),
    "fork": os.fork,
}
#: What a process is there for: it would be done.
_ALLOWED = {("writer", "home"), ("writer", "unlink"), ("writer", "replace"), ("writer", "plant")}


def _spy() -> None:
    shut: list[int] = []

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "cometkms.shut":
            shut.append(os.getpid())
            process = arguments[0]
            for name, step in _PROBES.items():
                if (process, name) in _ALLOWED:
                    continue
                os.write(2, f"spy: {process} {name} {_meet(step)}\n".encode())
            if os.environ.get("CK_SPY_EXEC") == process:
                os.execv("/bin/true", ["true"])
        elif event == "import" and os.getpid() in shut:
            os.write(2, f"spy: {os.getpid()} imported {arguments[0]}\n".encode())

    sys.addaudithook(hook)


if os.environ.get("CK_SPY"):
    _spy()
