"""Read what a connection that was reset still holds, and then its end.

A reader reads once each time the loop says that something is there. uvloop says so once
more when the socket has an error, and never again: it closes its own handle. Whoever
read the last bytes then, and not the end behind them, would take the connection for
open until it has been silent for too long, and the loop would raise RuntimeError when
it is asked to say that the socket takes bytes again.
"""

import select
import socket
from collections.abc import Callable

_OVER = select.POLLERR | select.POLLHUP


def to_the_end(
    connection: socket.socket, on_readable: Callable[[], None], *, paused: Callable[[], bool] = lambda: False
) -> Callable[[], None]:
    """A reader for the loop: `on_readable`, and again and again where the connection is over, until
    its owner has closed it.

    `paused`: the owner has taken its reader away, and reads on when it gives it back.
    """
    over = select.poll()
    over.register(connection.fileno(), 0)  # errors and the end of both directions are told unasked

    def read() -> None:
        on_readable()
        while connection.fileno() >= 0 and not paused() and any(events & _OVER for _, events in over.poll(0)):
            on_readable()

    return read
