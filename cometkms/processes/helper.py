"""A process of a child's own, for the one thing that the child itself must not be able to do.

It is forked before the child shuts itself off, shuts itself off for its own work, and ends with the connection between the two: with
the child, however that ends. It runs no loop and no thread, and reads nothing but the child's short messages.
"""

import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from cometkms.errors import CometKMSError, HardeningError
from cometkms.hardening.measures import Measure, State
from cometkms.ipc.prctl import die_with_parent, make_undumpable, set_name
from cometkms.limits import BOOT_TIMEOUT_S

_TOLD_MAX_BYTES: Final = 64 << 10


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
    """Fork it; it calls `shut`, then `serve` until the connection ends. `keep`: descriptors besides the connection's.

    Raises: HardeningError with the words with which it did not start.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:  # pragma: no cover - the helper
        _live(name, parent, theirs, shut, serve, keep)
    theirs.close()
    ours.settimeout(BOOT_TIMEOUT_S)
    try:
        told = json.loads(ours.recv(_TOLD_MAX_BYTES) or b'"it ended without a word"')
    except (OSError, ValueError) as error:
        told = str(error)
    if not isinstance(told, list):
        ours.close()
        raise HardeningError(f"{name} does not start: {told}")
    ours.settimeout(None)
    measures = tuple(Measure(process, measure, State(state), why) for process, measure, state, why in told)
    return Helper(pid, ours, measures)


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
        die_with_parent(parent)
        measures = shut()
        told = [[one.process, one.measure, one.state.value, one.why] for one in measures]
        connection.send(json.dumps(told).encode())
        serve(connection)
    except CometKMSError as error:
        with contextlib.suppress(OSError):
            connection.send(json.dumps(str(error)[:4000]).encode())
    except BaseException as error:  # noqa: BLE001 - the last frame of a process: it must not return into its parent's
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        os._exit(0)


def _close_others(kept: set[int]) -> None:
    """Queues, reports, the child's own: whatever the child had open is none of the helper's business."""
    highest = -1
    for fd in sorted(kept):
        if fd > highest + 1:  # an empty range would close everything: CPython hands -1 on as the highest of all
            os.closerange(highest + 1, fd)
        highest = fd
    os.closerange(highest + 1, os.sysconf("SC_OPEN_MAX"))
