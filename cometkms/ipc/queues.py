"""Make the queues between signer and state, before the fork."""

from cometkms.core.interface import Queue


def make_queue(core_name: str) -> Queue:
    """The C ring, or a socket pair where there is no C core."""
    if core_name == "native":
        from cometkms.core.native.queue import RingQueue

        return RingQueue()
    from cometkms.core.pure.queue import SocketQueue

    return SocketQueue()
