"""A spy in every process of a node: PYTHONPATH of tests/e2e/test_hardening.py puts it there, CK_SPY=FILE arms it.

From the moment the signer is shut off it writes down, from inside: what the probes below meet, then every module that is imported.
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


_PROBES = {
    "key": lambda: os.open(os.environ["CK_SPY_KEY"], os.O_RDONLY),
    "home": lambda: os.listdir(os.path.dirname(os.environ["CK_SPY_KEY"])),
    "write": lambda: os.open("/tmp/cmkms-spy", os.O_WRONLY | os.O_CREAT),
    "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "packet": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
    "parent": lambda: os.kill(os.getppid(), 0),
    "fork": os.fork,
}


def _spy(path: str) -> None:
    fd = -1
    shut: list[int] = []

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal fd
        if event == "os.fork" and fd < 0:  # the supervisor's first: what was open before it has closed
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        if event == "cometkms.shut":
            shut.append(os.getpid())
            for name, step in _PROBES.items():
                os.write(fd, f"{name} {_meet(step)}\n".encode())
            if os.environ.get("CK_SPY_EXEC"):
                os.execv("/bin/true", ["true"])
        elif event == "import" and os.getpid() in shut:
            os.write(fd, f"imported {arguments[0]}\n".encode())

    sys.addaudithook(hook)


if os.environ.get("CK_SPY"):
    _spy(os.environ["CK_SPY"])
