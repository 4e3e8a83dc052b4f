"""The agent's hot path over the C core (csrc/relay.h).

What is plain is told there; see interface.RelayPath.
"""

from typing import Any, Final

from cometkms._native import ffi, lib
from cometkms.core.interface import Frames, NodeLane, Passed, Session, Turn
from cometkms.core.native.crypto import NativeFrames
from cometkms.core.native.lanes import FrameLane, SessionLane
from cometkms.core.native.seam import check_turn
from cometkms.core.native.session import NativeSession
from cometkms.errors import InvariantError
from cometkms.keytypes import raw_of, type_of
from cometkms.limits import CHAINS_MAX
from cometkms.model import Request

_NOTHING: Final = int(lib.CK_RELAY_NOTHING)
_ASKED: Final = int(lib.CK_RELAY_ASKED)


class NativeNodeLane(FrameLane):
    """Serve one link from an agent to a node and pass its answers on as they arrive."""

    __slots__ = ("_answered", "_relay", "c")

    def __init__(self, relay: Any, frames: NativeFrames, fd: int) -> None:
        self._relay = relay
        self.c = ffi.new("ck_agent_link *")
        super().__init__(self.c, frames, fd)
        self._answered = ffi.new("uint32_t *")

    def turn(self, *, serve: bool) -> tuple[bytes, list[Passed]]:
        """Receive once, pass on the answers in front, and return the rest for the owner."""
        status = lib.ck_node_turn(
            self._relay, self.c, serve, self._answered, self._rest_at, self._rest_len, self._error
        )
        if status != lib.CK_OK:
            check_turn(status, self._error[0])
        relay = self._relay
        return self._rest(self.c.plain), [
            Passed(relay.answered[n], bool(relay.refused[n])) for n in range(self._answered[0])
        ]


class NativeEndLane(SessionLane):
    """Serve one connection from an agent to its validator and ask a node for its plain requests."""

    __slots__ = ("_number", "_relay")

    def __init__(self, relay: Any, number: int, session: NativeSession, fd: int) -> None:
        self._relay, self._number = relay, number
        super().__init__(ffi.new("ck_end *"), session, fd)
        relay.of[number] = self.c
        relay.ends = max(relay.ends, number + 1)

    @property
    def seq(self) -> int:
        """Return the number of the request under way."""
        return int(self.c.seq)

    @seq.setter
    def seq(self, value: int) -> None:
        self.c.seq = value

    def know(self, public_key: bytes) -> None:
        """Learn the key that signatures must verify with; before that nothing is answered in C."""
        raw = raw_of(public_key)
        ffi.memmove(self.c.public_key, raw, len(raw))
        self.c.public_key_len, self.c.key_type = len(raw), type_of(public_key).number

    def turn(self, node: NodeLane | None, seq: int) -> Request | Turn:
        """Receive once and ask the node for one plain request, unless one is under way."""
        c_node = node.c if isinstance(node, NativeNodeLane) else ffi.NULL
        found = self._what(lib.ck_end_turn(self._relay, self.c, c_node, seq, self._found, self._error))
        if found == _ASKED:
            return Turn.ASKED
        return Turn.NOTHING if found == _NOTHING else self.session.pending_request()

    def close(self) -> None:
        """Forget the connection, which is closed."""
        if self._relay.of[self._number] == self.c:
            self._relay.of[self._number] = ffi.NULL


class NativeRelayPath:
    """Serve the plain requests of an agent in C."""

    def __init__(self, c: Any) -> None:
        self.c = c

    def end(self, number: int, session: Session, fd: int) -> NativeEndLane:
        """Make the fast path's end of a validator's connection."""
        if not isinstance(session, NativeSession):
            raise InvariantError("the hot path takes the C core's sessions only")
        if not 0 <= number < CHAINS_MAX:
            raise InvariantError(f"the connection {number}: at most {CHAINS_MAX} are served")
        return NativeEndLane(self.c, number, session, fd)

    def node(self, frames: Frames, fd: int) -> NativeNodeLane:
        """Make the fast path's end of a link to a node."""
        if not isinstance(frames, NativeFrames):
            raise InvariantError("the hot path takes the C core's ciphers only")
        return NativeNodeLane(self.c, frames, fd)


def relay_path() -> NativeRelayPath:
    """Make the fast path of an agent."""
    c = ffi.new("ck_relay *")
    c.calls = lib.ck_calls_of_libc()
    return NativeRelayPath(c)
