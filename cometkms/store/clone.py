"""One process of a node's id and key on a machine, wherever its home is: a copy of a home that is
started beside it is noticed.

The home's own lock (lock.py) is of one directory; a copy has another. So a name in the kernel is
taken, too: an abstract unix socket, which goes with the process that holds it and leaves nothing on
a disk. The name is made from the cluster's secret: nobody who does not hold the key can take it
first and so keep the node from starting. It is the machine's, or the container's: two containers do
not see each other's, and neither do two machines. There the other members notice (rule 11), if the
copy meets them.
"""

import errno
import hashlib
import socket
from typing import Final

from cometkms.errors import BusyError

_PERSON: Final = b"cmkms-one-per-id"


def name_of(secret: bytes, node_id: str) -> str:
    """Return the socket's name without its leading zero byte."""
    return f"cometkms-{hashlib.blake2b(node_id.encode(), key=secret, digest_size=16, person=_PERSON).hexdigest()}"


def take_name(secret: bytes, node_id: str) -> socket.socket | None:
    """Hold the name as long as the socket is open; children inherit it.

    None where the kernel gives no such names.

    Raises: BusyError when another process of this machine holds it.
    """
    try:
        holder = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    except OSError:  # a sandbox without unix sockets: the home's lock, and the members, are what is left
        return None
    try:
        holder.bind(f"\0{name_of(secret, node_id)}")
    except OSError as error:
        holder.close()
        if error.errno != errno.EADDRINUSE:
            return None
        raise BusyError(
            f"another process on this machine runs the node {node_id!r} with this very key, from another home: one of the two is a copy",
            cure="find it (ps -ef | grep 'cmkms start') and stop it; two homes that are to sign beside each other need two keys, or are members of one "
            "cluster (`cmkms member add`): the same key in another home is a double signature, whatever its id",
        ) from None
    return holder
