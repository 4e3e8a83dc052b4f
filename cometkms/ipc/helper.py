"""A process of a child's own, for the one thing that the child itself must not be able to do.

It is forked before the child shuts itself off, shuts itself off for its own work, and ends with the
connection between the two: with the child, however that ends. The supervisor adopts it (the kernel
asks whose death is to be its own, and the child may signal nobody), so that it dies with the node
even while it is stopped. It runs no loop and no thread, and reads nothing but the child's short
messages.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from cometkms.errors import CometKMSError, HardeningError, said
from cometkms.hardening.measures import Measure, State
from cometkms.hardening.prctl import die_with_parent, make_undumpable, set_name
from cometkms.limits import BOOT_TIMEOUT_S

_TOLD_MAX_BYTES: Final = 64 << 10
_ADOPTED_S: Final = 0.001


@dataclass(frozen=True, slots=True)
class Helper:
    """What the child has of it. connection: SOCK_SEQPACKET."""

    pid: int
    connection: socket.socket
    measures: tuple[Measure, ...]


def start_helper(
    name: str,
    shut: Callable[[], Sequence[Measure]],
    serve: Callable[[socket.socket], None],
    keep: Sequence[int] = (),
) -> Helper:
    """Fork it; it calls `shut`, then `serve` until the connection ends. `keep`: descriptors besides
    the connection's.

    Raises: HardeningError with the words with which it did not start.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    between = os.fork()
    if between == 0:  # pragma: no cover - it ends at once, and leaves the helper to the supervisor
        try:
            parent = os.getpid()
            if os.fork() == 0:
                _live(name, parent, theirs, shut, serve, keep)
        finally:
            os._exit(0)
    os.waitpid(between, 0)
    theirs.close()
    ours.settimeout(BOOT_TIMEOUT_S)
    try:
        told = json.loads(ours.recv(_TOLD_MAX_BYTES) or b'"it ended without a word"')
    except (OSError, ValueError) as error:
        told = said(error)
    if not isinstance(told, dict):
        ours.close()
        what, cure = told if isinstance(told, list) else (told, "")
        raise HardeningError(f"{name} does not start: {what}", cure=cure)
    ours.settimeout(None)
    measures = tuple(Measure(process, measure, State(state), why) for process, measure, state, why in told["measures"])
    return Helper(told["pid"], ours, measures)


def _live(
    name: str,
    parent: int,
    connection: socket.socket,
    shut: Callable[[], Sequence[Measure]],
    serve: Callable[[socket.socket], None],
    keep: Sequence[int],
) -> None:
    """The process's whole life. Never returns."""
    try:
        _close_others({0, 1, 2, connection.fileno(), *keep})
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)  # to the whole group: it ends with its child
        set_name(f"cmkms-{name}")
        make_undumpable()
        while os.getppid() == parent:
            time.sleep(_ADOPTED_S)
        die_with_parent(os.getppid())
        measures = [[one.process, one.measure, one.state.value, one.why] for one in shut()]
        connection.send(json.dumps({"pid": os.getpid(), "measures": measures}).encode())
        with contextlib.suppress(ConnectionError):  # the child is gone, with what it asked for
            serve(connection)
    except CometKMSError as error:
        with contextlib.suppress(OSError):
            connection.send(json.dumps([error.what[:2000], error.cure[:2000]]).encode())
    except BaseException as error:  # noqa: BLE001 - the last frame of a process: it must not return into its parent's
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        os._exit(0)


def _close_others(kept: set[int]) -> None:
    """Queues, reports, the child's own: whatever the child had open is none of the helper's
    business."""
    highest = -1
    for fd in sorted(kept):
        # an empty range would close everything: CPython hands -1 on as the highest of all
        if fd > highest + 1:
            os.closerange(highest + 1, fd)
        highest = fd
    os.closerange(highest + 1, os.sysconf("SC_OPEN_MAX"))
