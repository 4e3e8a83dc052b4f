"""A node, its outside and what it sent; and three of them, which meet, part and wait as
a test says.
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey

from cometkms.core import choose
from cometkms.limits import START_READ_S
from cometkms.model import BlockID, Dialect, Kind, Message, Row, Timestamp, Vote, Watermark
from cometkms.rules.birth import NodeState
from cometkms.state.node import ClusterNode
from cometkms.state.roster import Epoch
from cometkms.store.promise_store import Header, PromiseStore
from cometkms.wire.identity import Identity as NodeIdentity
from cometkms.wire.peer_messages import (
    make_facts,
)
from cometkms.wire.queue_messages import PermitGranted, Reserve, ReserveRefused, SignerHello
from tests.unit.state.doubles import Log

CORE = choose.load()
KEY = SigningKey(b"a key of the cluster's own, ouch")
ROW = Row(bytes(KEY.verify_key), "chain")
NAMES = ("a", "b", "c")
IDENTITIES = {name: NodeIdentity(SigningKey(name.encode().ljust(32, b"s"))) for name in NAMES}
KEYS = {name: identity.public_key for name, identity in IDENTITIES.items()}
NONCE = b"n" * 8
RECORD = (b"1" * 8, b"2" * 8, b"3" * 8)


def sign_bytes(height: int, block: bytes = b"a", chain: str = "chain") -> bytes:
    vote = Vote(1, height, 0, BlockID(block * 32, 1, b"p" * 32), Timestamp(1_700_000_000, 0))
    return CORE.check_request(Dialect.PROTO, chain, Message(Kind.SIGN_VOTE_REQUEST, chain, vote=vote)).sign_bytes


def signed(height: int, block: bytes = b"a") -> Watermark:
    data = sign_bytes(height, block)
    return Watermark(CORE.parse_sign_bytes(data).hrs, data, bytes(KEY.sign(data).signature))


class Raft:
    """Leads when told to."""

    def __init__(self) -> None:
        self.leading, self.leader, self.term = False, None, 1
        self.lease_left_s, self.hears_leader = 1.0, True
        self.submitted: list[Watermark] = []
        self.held = True
        self.transfers: list[tuple[str, ...]] = []

    handing_over = False

    def transfer(self, able: tuple[str, ...]) -> None:
        self.transfers.append(able)

    def submit(self, key: bytes, mark: Watermark) -> bool:
        self.submitted.append(mark)
        return self.leading

    def hold(self, on: bool) -> None:
        self.held = on

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_a, **_k: None


class One:
    """A node, its outside, and the messages it sent."""

    def __init__(
        self, world: "Three", name: str, state: NodeState, mark: Watermark | None = None, **options: Any
    ) -> None:
        self.world, self.name = world, name
        record = RECORD if state in (NodeState.BORN, NodeState.COMPLETE) else ()
        nonce = NONCE if state is not NodeState.EMPTY else name.encode() * 8
        header = Header(name, 1, NAMES, state, nonce, record, unclaimed=options.pop("unclaimed", False))
        rows = options.pop("rows", (ROW,))
        path = world.directory / f"{name}{len(list(world.directory.iterdir()))}"
        self.store = options.pop("store", None) or PromiseStore.create(
            path, header, [(row, mark or Watermark()) for row in rows], opened=options.pop("opened", True)
        )
        self.sent: list[tuple[str, bytes]] = []
        self.cut: list[tuple[str, str]] = []
        self.to: list[Any] = []
        self.events: list[tuple[str, dict[str, object]]] = []
        self.raft, self.log = Raft(), Log()
        self.born = self.restarts = self.beats = 0
        self.signer_moves = True
        self.silent = False
        self.sealed_for: tuple[str, ...] = ()
        self.cannot_restart = self.trouble = ""
        self.away: dict[str, str] = {}  # why a member is not connected
        digest = options.pop("digest", b"d" * 32)
        self.node = ClusterNode(
            epoch=Epoch(name, options.pop("epoch", 1), NAMES, digest, KEYS, IDENTITIES[name].sign), store=self.store,
            rows=tuple(range(len(rows))), signed=options.pop("signed", (Watermark(),) * len(rows)), raft=lambda _node: self.raft,
            fast=options.pop("fast", None), core=CORE,
            nonce=random.getrandbits(60) + 1, ttl_s=0.4, strict=options.pop("strict", False), outside=self,
            facts=make_facts(options.pop("facts", {})),
            clock=lambda: world.now, wall_clock=lambda: world.wall, signed_at=options.pop("signed_at", ()), log=self.log,
        )  # fmt: skip

    def send(self, member: str, payload: bytes) -> bool:
        if not self.silent:
            self.sent.append((member, payload))
        return True

    def why_away(self, member: str) -> str:
        return self.away.get(member, "")

    def disconnect(self, member: str, why: str) -> None:
        self.cut.append((member, why))
        self.world.part(self.name, member)

    def to_signer(self, message: Any) -> None:
        self.to.append(message)

    def on_signed(self, row: int, mark: Watermark) -> None: ...
    def mark_raised(self, row: int) -> None: ...

    def restart(self) -> str:
        self.restarts += 1
        return self.cannot_restart

    def signer_beat(self) -> int:
        self.beats += self.signer_moves
        return self.beats

    def validator_reached(self) -> bool | None:
        return None

    def replace_signer(self) -> None: ...

    def signer_trouble(self) -> str:
        return self.trouble

    def happened(self, what: str, **fields: object) -> None:
        self.events.append((what, fields))

    def on_sealed(self, following: tuple[str, ...]) -> None:
        self.sealed_for = following

    def before_birth(self) -> None:
        self.born += 1

    def lead(self) -> None:
        self.raft.leading, self.raft.leader = True, self.name
        self.node.on_signer(SignerHello(7))
        self.node.on_role(leading=True, leader=self.name, term=2)
        self.world.pump()
        assert self.node.leading, self.node.membership.why

    def reserve(self, data: bytes, number: int = 1, *, urgent: bool = False) -> Any:
        self.node.on_signer(Reserve(7, number, 0, CORE.parse_sign_bytes(data).hrs, data, urgent))
        self.world.pump()
        answers = [
            one for one in self.to if isinstance(one, PermitGranted | ReserveRefused) and one.request_id == number
        ]
        return answers[-1] if answers else None


class Three:
    def __init__(self, directory: Path) -> None:
        self.directory, self.now, self.wall = directory, 50.0, 1_700_000_000.0
        self.nodes: dict[str, One] = {}

    def add(
        self, name: str, state: NodeState = NodeState.COMPLETE, mark: Watermark | None = None, **options: Any
    ) -> One:
        self.nodes[name] = One(self, name, state, mark, **options)
        return self.nodes[name]

    def meet(self, one: str, other: str) -> str | None:
        a, b = self.nodes[one].node, self.nodes[other].node
        for me, it, name in ((a, b, other), (b, a, one)):
            reason = me.on_hello(name, it.hello(me.epoch.me), "address")
            if reason is not None:
                return reason
        a.on_connected(other)
        b.on_connected(one)
        self.pump()
        return None

    def meet_all(self) -> "Three":
        for one, other in (("a", "b"), ("a", "c"), ("b", "c")):
            assert self.meet(one, other) is None
        return self

    def part(self, one: str, other: str) -> None:
        """The connection between them is closed, and what is under way in it is lost."""
        for me, it in ((one, other), (other, one)):
            if me in self.nodes:
                self.nodes[me].sent = [sent for sent in self.nodes[me].sent if sent[0] != it]
                self.nodes[me].node.on_disconnected(it, closed=True)

    def pump(self) -> None:
        while any(one.sent for one in self.nodes.values()):
            for name, one in self.nodes.items():
                waiting, one.sent = one.sent, []
                for member, payload in waiting:
                    if member in self.nodes:
                        self.nodes[member].node.on_frame(name, payload)

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += 0.05
            for one in self.nodes.values():
                one.node.tick()
            self.pump()

    def ready(self) -> list[str]:
        return [name for name, one in self.nodes.items() if one.node.membership.ready]


def leading(three: Three) -> One:
    for name in NAMES:
        three.add(name)
    three.meet_all()
    three.wait(START_READ_S)
    three.nodes["a"].lead()
    return three.nodes["a"]


def come_back(three: Three, name: str, *, meets: bool = True) -> None:
    """Its process ended and another began."""
    for other in three.nodes:
        if other != name:
            three.nodes[other].node.on_disconnected(name, closed=True)
    three.add(name)
    if meets:
        for other in three.nodes:
            if other != name:
                three.meet(name, other)
