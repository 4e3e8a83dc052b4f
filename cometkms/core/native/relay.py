"""The agent's hot path over the C core (csrc/relay.h). What is plain is told there; see interface.RelayPath."""

from typing import Any, Final

from cometkms._native import ffi, lib
from cometkms.core.interface import Frames, NodeLane, Passed, Session, Turn
from cometkms.core.native.crypto import NativeFrames
from cometkms.core.native.seam import check_turn
from cometkms.core.native.session import NativeSession
from cometkms.errors import InvariantError
from cometkms.keytypes import raw_of, type_of
from cometkms.limits import CHAINS_MAX
from cometkms.model import Request

_NOTHING: Final = int(lib.CK_RELAY_NOTHING)
_ASKED: Final = int(lib.CK_RELAY_ASKED)


class NativeNodeLane:
    """Serve one link from an agent to a node and pass its answers on as they arrive."""

    __slots__ = ("_answered", "_error", "_frames", "_relay", "_rest_at", "_rest_len", "c")

    def __init__(self, relay: Any, frames: NativeFrames, fd: int) -> None:
        self._relay = relay
        self._frames = frames  # keeps its struct alive
        self.c = ffi.new("ck_agent_link *")
        self.c.frames, self.c.fd = frames.c, fd
        self._rest_at, self._rest_len, self._error = ffi.new("size_t *"), ffi.new("size_t *"), ffi.new("int *")
        self._answered = ffi.new("uint32_t *")

    @property
    def blocked(self) -> bool:
        """Let nothing be sent in C while older bytes of the owner wait for the socket."""
        return bool(self.c.blocked)

    @blocked.setter
    def blocked(self, value: bool) -> None:
        self.c.blocked = value

    def turn(self, *, serve: bool) -> tuple[bytes, list[Passed]]:
        """Receive once, pass on the answers in front, and return the rest for the owner."""
        status = lib.ck_node_turn(
            self._relay, self.c, serve, self._answered, self._rest_at, self._rest_len, self._error
        )
        if status != lib.CK_OK:
            check_turn(status, self._error[0])
        size = self._rest_len[0]
        rest = bytes(ffi.buffer(self.c.plain + self._rest_at[0], size)) if size else b""
        relay = self._relay
        return rest, [Passed(relay.answered[n], bool(relay.refused[n])) for n in range(self._answered[0])]

    def take_unsent(self) -> bytes:
        """Return what the socket did not take, which the owner sends before anything else."""
        unsent = bytes(ffi.buffer(self.c.out, self.c.unsent)) if self.c.unsent else b""
        self.c.unsent = 0
        return unsent


class NativeEndLane:
    """Serve one connection from an agent to its validator and ask a node for its plain requests."""

    __slots__ = ("_c", "_error", "_found", "_number", "_relay", "_session")

    def __init__(self, relay: Any, number: int, session: NativeSession, fd: int) -> None:
        self._relay, self._number = relay, number
        self._session = session  # keeps its struct alive
        self._c = ffi.new("ck_end *")
        self._c.session, self._c.fd = session.c, fd
        self._found, self._error = ffi.new("int *"), ffi.new("int *")
        relay.of[number] = self._c
        relay.ends = max(relay.ends, number + 1)

    @property
    def blocked(self) -> bool:
        """Let nothing be sent in C while older bytes of the owner wait for the socket."""
        return bool(self._c.blocked)

    @blocked.setter
    def blocked(self, value: bool) -> None:
        self._c.blocked = value

    @property
    def seq(self) -> int:
        """Return the number of the request under way."""
        return int(self._c.seq)

    @seq.setter
    def seq(self, value: int) -> None:
        self._c.seq = value

    def know(self, public_key: bytes) -> None:
        """Learn the key that signatures must verify with; before that nothing is answered in C."""
        raw = raw_of(public_key)
        ffi.memmove(self._c.public_key, raw, len(raw))
        self._c.public_key_len, self._c.key_type = len(raw), type_of(public_key).number

    def turn(self, node: NodeLane | None, seq: int) -> Request | Turn:
        """Receive once and ask the node for one plain request, unless one is under way."""
        c_node = node.c if isinstance(node, NativeNodeLane) else ffi.NULL
        status = lib.ck_end_turn(self._relay, self._c, c_node, seq, self._found, self._error)
        if status != lib.CK_OK:
            check_turn(status, self._error[0])
        found = self._found[0]
        if found == _ASKED:
            return Turn.ASKED
        return Turn.NOTHING if found == _NOTHING else self._session.pending_request()

    def take_unsent(self) -> bytes:
        """Return what the socket did not take, which the owner sends before anything else."""
        at, size = self._c.unsent_at, self._c.unsent
        self._c.unsent = 0
        return bytes(ffi.buffer(self._c.session.outbox + at, size)) if size else b""

    def close(self) -> None:
        """Forget the connection, which is closed."""
        if self._relay.of[self._number] == self._c:
            self._relay.of[self._number] = ffi.NULL


class NativeRelayPath:
    """Serve the plain requests of an agent in C."""

    def __init__(self, c: Any) -> None:
        self._c = c

    def end(self, number: int, session: Session, fd: int) -> NativeEndLane:
        """Make the fast path's end of a validator's connection."""
        if not isinstance(session, NativeSession):
            raise InvariantError("the hot path takes the C core's sessions only")
        if not 0 <= number < CHAINS_MAX:
            raise InvariantError(f"the connection {number}: at most {CHAINS_MAX} are served")
        return NativeEndLane(self._c, number, session, fd)

    def node(self, frames: Frames, fd: int) -> NativeNodeLane:
        """Make the fast path's end of a link to a node."""
        if not isinstance(frames, NativeFrames):
            raise InvariantError("the hot path takes the C core's ciphers only")
        return NativeNodeLane(self._c, frames, fd)


def relay_path() -> NativeRelayPath:
    """Make the fast path of an agent."""
    c = ffi.new("ck_relay *")
    c.calls = lib.ck_calls_of_libc()
    return NativeRelayPath(c)
