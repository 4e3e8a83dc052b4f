"""What every part of the simulation stands on: its chain and key, its times, the connections, and
what must never be.
"""

from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nacl.signing import SigningKey

from cometkms.core import choose
from cometkms.model import HRS, Dialect, Kind, Message, Request, Row, Step, Vote
from cometkms.rules.flow import REST_S
from cometkms.state.raft.pace import HEARTBEAT_S

if TYPE_CHECKING:
    from tests.sim import fast as paths
    from tests.sim.world import World


CHAIN = "sim-1"
TTL_S = 0.4
TICK_S = 0.01
SILENT_S = 2.0
SENT_AGAIN_S = 0.2
ELECTED_S = 2.0  # a majority of connected, complete members has a leader within this
# A node that hears no leader says so within this: the last heartbeat may be on its way for 0.2 s,
# and promises count for a while behind it.
SAID_S = TTL_S + REST_S + HEARTBEAT_S + 0.25
LOOK_S = 0.05
ABSURD = 1_000_000  # heights above the chain's head
KEY = SigningKey(b"simulated validator key, 32 byte")
SECRET = b64encode(bytes(KEY) + bytes(KEY.verify_key))
ROW = Row(bytes(KEY.verify_key), CHAIN)
CORE = choose.load()


class Violation(AssertionError):
    """What must never be, was."""


class SilentLog:
    """Keeps the last events for the trace."""

    def __init__(self, world: "World", name: str) -> None:
        self._world, self._name = world, name

    def _say(self, event: str, **fields: object) -> None:
        self._world.note(f"{self._name}: {event} {fields or ''}")

    debug = info = warning = error = _say


@dataclass
class Connection:
    """Both directions of one channel between two processes.

    Frames arrive in order unless the world says otherwise.
    """

    ends: dict[str, int]  # node → its incarnation
    established: set[str] = field(default_factory=set)
    last_arrival: dict[str, float] = field(default_factory=dict)
    heard: dict[str, float] = field(default_factory=dict)
    open: bool = True
    # ends that know it is closed: until then, what was sent arrives
    gone: set[str] = field(default_factory=set)
    streams: dict[str, "paths.PeerEnd"] = field(default_factory=dict)  # ends with a fast path
    # to each end: what waits behind a cut
    held: dict[str, list[bytes]] = field(default_factory=dict)


def place_of(vote: Vote) -> HRS:
    """Where it is a vote for."""
    return HRS(vote.height, vote.round, Step.PREVOTE if vote.type == 1 else Step.PRECOMMIT)


def asked_for(vote: Vote) -> tuple[Any, Request]:
    """A session with the request for that vote in it, and the request."""
    session = CORE.session(Dialect.PROTO, CHAIN, None, b"")
    wire = CORE.encode_message(Dialect.PROTO, Message(Kind.SIGN_VOTE_REQUEST, CHAIN, vote=vote))
    session.inbox[: len(wire)] = wire
    session.received(len(wire))
    request = session.next_request()
    assert request is not None
    return session, request
