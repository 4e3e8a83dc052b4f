"""One malicious member of three: it owns one member's identity and store, and says whatever it
likes, well formed or nearly so.

    honest ─▶ the member's identity is stolen; its node is off, or lives on beside the thief ─▶ the thief is gone, the node is back ─▶ it signs

What it says: hellos with any seq, any memory of others, any incarnation, signed by itself or
falsely; its life and marks; promises for bytes that nobody asked for; accepts of whatever it was
asked, held or not; refusals with any mark; reads, and answers to reads; any word of Raft; orders;
garbage; all of it late, doubled, again on another connection, to the other member.

Judge: a permit rests on a majority of durable promises, where the thief holds what it was asked for
or asked for itself. Two strings at a place only where one of the two permits needed the thief's
word: whoever has the key can sign there by himself. No honest process ends but by its own disk or
power. When the thief is gone and the third node is back, the cluster signs again by itself, and
everybody learns of it.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgpack

from cometkms.errors import BehindError, CometKMSError, ProtocolError, StoreFailure, SupersededError
from cometkms.model import HRS, BlockID, Dialect, Incarnation, Kind, Reason, Step, Timestamp, Vote, Watermark
from cometkms.model import Message as Asked
from cometkms.rules.birth import Life, NodeState
from cometkms.rules.incarnation import Statement, statement_bytes
from cometkms.state.node import ClusterNode
from cometkms.state.raft import wire
from cometkms.state.raft.steps import owner, term_ceiling
from cometkms.wire.peer_messages import (
    Action,
    FactsNews,
    Hello,
    LifeNews,
    Marks,
    Obeyed,
    Order,
    PeerMessage,
    Promise,
    Promised,
    Purpose,
    Raft,
    Read,
    RowMark,
    decode,
    encode,
)
from tests.sim.ground import CHAIN, CORE, KEY, ROW, Violation
from tests.sim.machine import Node
from tests.sim.world import World

NUMBERS = (0, 1, 2, 1 << 31, 1 << 32, 1 << 40, 1 << 44, 1 << 53, (1 << 62) - 1, 1 << 62, (1 << 63) - 1, (1 << 64) - 1)
NOOP = b"\x01"


def vote_bytes(hrs: HRS, choice: int) -> bytes:
    """Canonical sign bytes at a place: one of a few blocks, or none."""
    block = BlockID(bytes([choice]) * 32, 1, b"p" * 32) if choice else BlockID()
    kind = 1 if hrs.step == Step.PREVOTE else 2
    vote = Vote(kind, hrs.height, hrs.round, block, Timestamp(1_700_000_000 + choice, 0))
    return CORE.check_request(Dialect.PROTO, CHAIN, Asked(Kind.SIGN_VOTE_REQUEST, CHAIN, vote=vote)).sign_bytes


class RogueCluster(ClusterNode):
    """The real node of the stolen identity; what comes in is shown to the thief first."""

    thief: "Rogue"

    def hello(self, member: str) -> bytes:
        return self.thief.hello(member, super().hello(member))

    def on_frame(self, member: str, payload: bytes) -> None:
        if self.thief.heard(member, decode(payload)):
            super().on_frame(member, payload)


class Rogue(Node):
    """The thief's machine: a copy of the member's home, its identity, and no scruples."""

    world: "RogueWorld"
    may_be_fast = False

    def __init__(self, world: "RogueWorld", stolen: Node) -> None:
        super().__init__(world, f"{stolen.member}.thief", stolen.member)
        shutil.rmtree(self.home)
        shutil.copytree(stolen.home, self.home)
        self.cluster_class = type("Thief", (RogueCluster,), {"thief": self})
        self.wall_offset = stolen.wall_offset
        self.born = -1  # it takes nobody's place in the operator's eyes
        self.said: list[bytes] = []
        self.reads: list[Read] = []
        self.asked: list[Promise] = []
        self.seen_term = self.seen_index = 1
        self.life: Life | None = None
        # the part of its node's own words that it leaves as they are
        self.honesty = self.rng.choice((0.1, 0.5, 0.9))

    # --- the node under it ---

    def start(self) -> None:
        self.signer = None
        super().start()
        self.signer = None
        self.world.after(0.02, self.lie, self.incarnation)

    def check(self) -> None: ...

    def replace_signer(self) -> None: ...

    def to_signer(self, message: Any) -> None: ...

    def on_role(self, *, leading: bool, leader: str | None, term: int) -> None:
        if self.cluster is not None:
            self.cluster.on_role(leading=leading, leader=leader, term=term)

    def send(self, member: str, payload: bytes) -> bool:
        said = decode(payload)
        if isinstance(said, Promise):
            self.world.holds(said.sign_bytes)
        if self.rng.random() > self.honesty:
            if self.rng.random() < 0.3:
                return True
            said = self.bend(said)
        return self.tell(member, said)

    def tell(self, member: str, said: PeerMessage | bytes) -> bool:
        """Now, perhaps later and again."""
        payload = said if isinstance(said, bytes) else encode(said)
        self.said = [*self.said[-40:], payload]
        if self.rng.random() < 0.1:
            self.world.after(self.rng.uniform(0, 1.0), self.tell_late, self.incarnation, member, payload)
        return self.world.send(self.name, member, payload)

    def tell_late(self, incarnation: int, member: str, payload: bytes) -> None:
        """What comes late is still the thief's: the connections of who is back are not his."""
        if incarnation == self.incarnation:
            self.world.send(self.name, member, payload)

    # --- what it hears ---

    def heard(self, member: str, said: PeerMessage) -> bool:
        """Whether the node under it hears it, too."""
        match said:
            case Promise():
                self.asked = [*self.asked[-20:], said]
                self.world.holds(said.sign_bytes)
                if self.rng.random() < 0.6:
                    self.tell(member, self.answer(said))
                    return self.rng.random() < 0.3
            case Read():
                self.reads = [*self.reads[-20:], said]
                if self.rng.random() < 0.5:
                    self.tell(member, self.marks(said))
                    return self.rng.random() < 0.3
            case Raft():
                shown = wire.decode(said.payload)
                self.seen_term = max(self.seen_term, shown.get("term", 0))
                self.seen_index = max(self.seen_index, shown.get("commit_index", 0), shown.get("last_log_index", 0))
            case LifeNews():
                self.life = said.life
            case _:
                pass
        return True

    # --- what it says ---

    def number(self, near: int = 0) -> int:
        """Any, or one close by."""
        if self.rng.random() < 0.6:
            return min(max(0, near + self.rng.choice((-1, 0, 1, 2, 3, 10, 1000))), (1 << 64) - 2)
        return self.rng.choice(NUMBERS)

    def seq(self) -> int:
        assert self.opened is not None
        return self.number(self.opened.store.seq)

    def place(self) -> HRS:
        """Near what the chain has reached: what a member may push a mark up by is rule 13's."""
        top = max(self.world.signatures, default=HRS(1, 0, 2))
        return HRS(
            max(1, top.height + self.rng.choice((-1, 0, 0, 0, 1, 1, 2, 8))),
            self.rng.choice((0, 0, 1)),
            self.rng.choice((2, 3)),
        )

    def mark(self) -> Watermark:
        """True, false, unsigned, or absurd."""
        kind = self.rng.random()
        if kind < 0.3:
            hrs = self.place()
            return Watermark(hrs, vote_bytes(hrs, self.rng.randrange(4)), self.rng.choice((b"", b"f" * 64)))
        if kind < 0.5:
            far = (1 << 31, 1 << 40, (1 << 63) - 1) if self.world.has_begun else ()
            return Watermark(HRS(self.rng.choice((self.place().height, *far)), 0, 3))
        if kind < 0.7 and self.world.signatures:
            hrs = self.rng.choice(sorted(self.world.signatures)[-5:])
            sign_bytes = self.world.signatures[hrs]
            return Watermark(hrs, sign_bytes, KEY.sign(sign_bytes).signature)
        return Watermark()

    def incarnation_said(self) -> Incarnation:
        own = self.cluster.membership.incarnation if self.cluster is not None else Incarnation(0, 0)
        return self.rng.choice((own, own, own, Incarnation(self.number(own.number), self.rng.choice((0, 1, 77)))))

    def statement(self, member: str = "") -> Statement:
        """Its own with its own signature, or somebody's with none that counts."""
        name = member or self.member
        said = self.incarnation_said()
        if name == self.member and self.rng.random() < 0.5 and max(said) < 1 << 62:
            digest = self.cluster.epoch.digest if self.cluster is not None else b""
            return Statement(name, said, self.world.identities[name].sign(statement_bytes(digest, name, said)))
        return Statement(name, said, self.rng.choice((b"", b"x" * 64)))

    def known(self) -> tuple[Statement, ...]:
        return tuple(self.statement(name) for name in self.world.names if self.rng.random() < 0.3)

    def life_said(self) -> Life:
        record = tuple((name, self.rng.randbytes(8)) for name in self.world.names)
        if self.life is not None and self.life.record and self.rng.random() < 0.5:
            record = self.life.record
        state = NodeState(self.rng.randrange(5))
        return Life(state, self.rng.randbytes(8), record if state in (NodeState.BORN, NodeState.COMPLETE) else ())

    def row_marks(self) -> tuple[RowMark, ...]:
        return tuple(RowMark(ROW, self.mark(), self.rng.random() < 0.8) for _ in range(self.rng.randrange(3)))

    def hello(self, _member: str, honest: bytes) -> bytes:
        said = decode(honest)
        assert isinstance(said, Hello)
        if self.rng.random() < 0.4:
            return honest
        changes: dict[str, Any] = {
            "seq": self.seq(), "remembers": self.number(self.asked[-1].seq if self.asked else 0), "nonce": self.number(), "epoch": self.number(1),
            "own": self.rng.choice((None, self.statement())), "known": self.known(), "facts": (("validators", "x" * 40),),
            "digest": self.rng.randbytes(32), "protocol": self.number(2), "members": ("n0", "n1"), "node": "n0",
        }  # fmt: skip
        usual = ("seq", "remembers", "remembers", "nonce", "own", "known")
        for name in self.rng.sample(usual if self.rng.random() < 0.8 else tuple(changes), self.rng.randint(1, 3)):
            said = replace(said, **{name: changes[name]})
        return encode(said)

    def answer(self, asked: Promise) -> Promised:
        bears = self.incarnation_said()
        if self.rng.random() < 0.6:
            return Promised(asked.nonce, asked.request_id, Reason.NONE, Watermark(), self.seq(), bears)
        request_id = self.number(asked.request_id)
        return Promised(asked.nonce, request_id, self.rng.choice(list(Reason)), self.mark(), self.seq(), bears)

    def marks(self, read: Read) -> Marks:
        return Marks(
            read.nonce, read.request_id, self.rng.random() < 0.7, self.life_said(), self.row_marks(), self.seq(), 0, 0, 0,
            self.rng.choice((None, self.statement())), self.known(),
        )  # fmt: skip

    def promise(self) -> Promise:
        sign_bytes = vote_bytes(self.place(), self.rng.randrange(4))
        self.world.holds(sign_bytes)
        return Promise(self.number(), self.number(), ROW.public_key, sign_bytes, self.seq(), self.incarnation_said())

    def raft_word(self) -> Raft:
        term = self.rng.choice(
            (
                self.seen_term,
                self.own_term(),
                self.own_term(),
                self.number(self.seen_term),
                term_ceiling(self.calendar()),
            )
        )
        index = min(self.number(self.seen_index), (1 << 64) - 2)
        before = self.rng.choice((self.seen_index, 1, 2, index))
        lies: tuple[dict[str, Any], ...] = (
            {"type": "request_vote", "term": term, "last_log_index": index, "last_log_term": min(term, self.number(term)), "x_transfer": True},
            {"type": "response_vote", "term": term},
            {"type": "append_entries", "term": term, "commit_index": index, "prevLogIdx": before, "prevLogTerm": self.number(term), "entries": ()},
            {"type": "append_entries", "term": term, "commit_index": index, "prevLogIdx": None, "prevLogTerm": None, "entries": ()},
            {"type": "append_entries", "term": term, "commit_index": index, "prevLogIdx": 1, "prevLogTerm": 0,
             "entries": tuple((NOOP, 2 + more, max(0, term - 1)) for more in range(self.rng.randrange(4)))},
            {"type": "append_entries", "term": term, "commit_index": index, "x_snap": index,
             "serialized": (wire.encode_snapshot((NOOP, index, 0), (NOOP, index + 1, max(0, term - 1)), []), True, True)},
            {"type": "next_node_idx", "next_node_idx": index, "reset": self.rng.random() < 0.5, "success": self.rng.random() < 0.5,
             "x_term": self.seen_term, "x_anew": True},
            {"type": "timeout_now", "term": term},
            {"type": "x_newer_term", "term": term},
        )  # fmt: skip
        return Raft(wire.encode(self.rng.choice(lies)))

    def own_term(self) -> int:
        """The next that it may lead in."""
        return next(
            term
            for term in range(self.seen_term + 1, self.seen_term + 9)
            if owner(term, self.world.names) == self.member
        )

    def forged(self) -> PeerMessage | bytes:
        """One message out of nothing."""
        makers: tuple[Callable[[], PeerMessage | bytes], ...] = (
            self.raft_word, self.raft_word, self.raft_word, self.promise,
            lambda: LifeNews(self.life_said(), self.rng.random() < 0.3, self.row_marks(), self.rng.choice((None, self.statement())), self.known()),
            lambda: Read(self.number(), self.number(), self.rng.choice(list(Purpose)), self.rng.choice((None, self.statement()))),
            lambda: self.marks(self.rng.choice(self.reads)) if self.reads else self.raft_word(),
            lambda: self.answer(self.rng.choice(self.asked)) if self.asked else self.raft_word(),
            lambda: Order(self.number(), self.number(), self.rng.choice(list(Action)), self.rng.choice(("", *self.world.names))),
            lambda: Obeyed(self.number(), self.number(), "x"),
            lambda: FactsNews((("reaches_validator", self.rng.choice(("no", "yes", "?"))),)),
            lambda: self.rng.choice(self.said) if self.said else b"",
            lambda: self.rng.randbytes(self.rng.randrange(60)),
            lambda: msgpack.packb([self.rng.randrange(11), self.number(), self.number(), b"", b"", self.number(), [1, 2]]),
        )  # fmt: skip
        return self.rng.choice(makers)()

    def bend(self, said: PeerMessage) -> PeerMessage:
        """The node's own word, made false."""
        match said:
            case Promised():
                return replace(
                    said, reason=self.rng.choice((Reason.NONE, Reason.BURNT)), mark=self.mark(), seq=self.seq()
                )
            case Marks():
                return replace(said, marks=self.row_marks(), real=True, known=self.known())
            case LifeNews():
                return replace(said, life=self.life_said(), marks=self.row_marks(), known=self.known())
            case Raft():
                return self.raft_word()
            case Read():
                return replace(said, purpose=self.rng.choice(list(Purpose)))
            case _:
                return said

    def lie(self, incarnation: int) -> None:
        if incarnation != self.incarnation or self.cluster is None:
            return
        self.world.after(self.rng.expovariate(1 / 0.03), self.lie, incarnation)
        others = [name for name in self.world.names if name != self.member]
        said = self.forged()
        for member in self.rng.sample(others, self.rng.choice((1, 1, 2))):
            self.tell(member, said)
            self.world.stats["lies"] = self.world.stats.get("lies", 0) + 1


class RogueWorld(World):
    """Three nodes, one of which falls into a thief's hands."""

    def __init__(self, seed: int, nodes: int = 3, *, fast: bool | None = None) -> None:
        super().__init__(seed, nodes, fast=fast)
        self.changes = 0.0
        self.stores_lost_at_once = False
        for node in self.nodes.values():  # the ceilings are alike only where the clocks are
            node.wall_offset = node.calendar()
            node.signed_at = node.wall_clock()
        self.victim = self.rng.choice(self.names)
        self.thief: Rogue | None = None
        self.stands_for: set[tuple[HRS, bytes]] = set()  # what the thief may be said to hold
        self.leaned: set[tuple[HRS, bytes]] = set()  # permits that needed it
        self.gone = False
        self.wiped = False  # an honest node lost its store while the thief was there
        self.worthless = False  # the victim's own store, by what the thief did in its name

    @property
    def present(self) -> bool:
        return self.thief is not None and not self.gone

    @property
    def has_begun(self) -> bool:
        """Whether every honest node has promised something: one whose mark is 0 believes the first
        height that it hears of (rule 13).
        """
        honest = [node for node in self.nodes.values() if node is not self.thief]
        return all(node.high > HRS(0, 0, 0) for node in honest)

    # --- the thief ---

    def holds(self, sign_bytes: bytes) -> None:
        """It was asked for these bytes, or asked for them: it may have said that it
        holds them, to anybody.
        """
        try:
            self.stands_for.add((CORE.parse_sign_bytes(sign_bytes).hrs, sign_bytes))
        except ProtocolError:
            return

    def steal(self) -> None:
        node = self.nodes[self.victim]
        beside = self.rng.random() < 0.25
        if not beside:
            node.crash(power=True, why="stolen")
            node.superseded = True  # nobody starts it meanwhile
        self.thief = Rogue(self, node)
        self.nodes[self.thief.name] = self.thief
        self.note(f"{self.victim} is stolen{', and lives on' if beside else ''}")
        self.thief.start()

    def leave(self) -> None:
        """The thief is gone; the honest node is back, from what it was, or with nothing
        but its key.
        """
        assert self.thief is not None
        self.gone = True
        self.thief.crash(why="the thief is gone")
        self.thief.superseded = True
        node = self.nodes[self.victim]
        node.superseded = False
        if self.rng.random() < 0.4 and not self.wiped:
            node.crash(power=True, why="made anew")
            shutil.rmtree(node.files.store_path.parent, ignore_errors=True)
            node.high = HRS(0, 0, 0)
            self.stats["made anew"] = 1
        self.after(self.rng.uniform(0, 1.0), node.restart_if_down)

    # --- judges ---

    def judge_permit(self, sign_bytes: bytes) -> None:
        hrs = CORE.parse_sign_bytes(sign_bytes).hrs
        for node in self.nodes.values():
            node.check()
        holders = self.promised.get((hrs, sign_bytes), set())
        if len(holders) >= self.quorum:
            return
        if (hrs, sign_bytes) not in self.stands_for or len(holders | {self.victim}) < self.quorum:
            raise Violation(f"a permit at {tuple(hrs)} rests on {sorted(holders)} only")
        self.leaned.add((hrs, sign_bytes))

    def judge_signature(self, place: HRS, asked: Vote, answered: Vote) -> None:
        vote = Vote(asked.type, asked.height, asked.round, asked.block_id, answered.timestamp)
        request = CORE.check_request(Dialect.PROTO, CHAIN, Asked(Kind.SIGN_VOTE_REQUEST, CHAIN, vote=vote))
        known = self.signatures.get(request.hrs, request.sign_bytes)
        if known != request.sign_bytes and {(request.hrs, known), (request.hrs, request.sign_bytes)} & self.leaned:
            self.stats["two strings by the thief's word"] = self.stats.get("two strings by the thief's word", 0) + 1
            return
        super().judge_signature(place, asked, answered)

    def judge_leader(self, node: Node, term: int) -> None:
        if node is not self.thief:
            super().judge_leader(node, term)

    def judge_liveness(self) -> None:
        """While the thief is there it may stop everything."""
        if self.present:
            self.after(0.05, self.judge_liveness)
            self.majorities, self.led_at = {}, self.now
            for node in self.nodes.values():
                node.unled_since = self.now
            return
        super().judge_liveness()

    def on_ended(self, node: Node, error: CometKMSError) -> None:
        super().on_ended(node, error)
        if node is self.thief or isinstance(error, StoreFailure):
            return
        if node.member == self.victim and isinstance(error, SupersededError | BehindError):
            self.on_worthless()
            # the thief has promised, or taken an incarnation, in this member's name: its own store
            # lacks that
            return
        raise Violation(f"{node.name} ended by what it heard: {type(error).__name__}: {error}")

    def on_superseded(self, node: Node) -> None:
        if node is self.thief:
            return
        self.on_worthless()
        # the thief's word; the operator finds it off, and makes it anew when the thief is gone
        if self.present:
            self.stats["superseded by the thief"] = 1
            node.superseded, node.signer = True, None
            shutil.rmtree(node.files.store_path.parent, ignore_errors=True)
            node.high = HRS(0, 0, 0)
            return
        super().on_superseded(node)

    def on_worthless(self) -> None:
        """What the victim's own store holds does not count any more.

        Beside another one that is lost: two stores, and the operator's turn.
        """
        self.worthless = True
        self.stores_lost_at_once |= self.wiped

    def may_be_wiped(self, node: Node) -> bool:
        """One honest node, once, while the other one is whole: of two there is no
        majority that remembers.
        """
        others = [one for one in self.nodes.values() if one.member not in (node.member, self.victim)]
        whole = all(one.cluster is not None and one.cluster.membership.ready for one in others)
        return self.present and self.has_begun and not self.wiped and node.member != self.victim and whole

    def fault(self) -> None:
        """The other nodes have an ordinary life: they are killed, lose power, are cut off, stand
        still; one loses its store.
        """
        if self.healing:
            return
        self.after(self.rng.expovariate(1.0), self.fault)
        node = self.rng.choice([one for one in self.nodes.values() if not one.superseded and one is not self.thief])
        match self.rng.choice(("crash", "power", "cut", "heal", "heal", "freeze", "signer", "transfer", "wipe")):
            case "wipe" if self.may_be_wiped(node):
                self.wiped = True
                own = self.nodes[self.victim].cluster
                self.stores_lost_at_once |= self.worthless and (own is None or not own.membership.ready)
                self.stats["wiped beside the thief"] = 1
                node.crash(power=True, why="wipe")
                shutil.rmtree(node.files.store_path.parent, ignore_errors=True)
                node.high = HRS(0, 0, 0)
            case "crash":
                node.crash()
            case "power":
                node.crash(power=True)
            case "cut":
                for other in self.nodes:
                    self.cuts |= {(node.name, other), (other, node.name)}
            case "heal":
                self.cuts.clear()
            case "freeze":
                node.frozen_until = self.now + self.rng.choice((0.05, 0.5))
            case "signer" if node.signer is not None:
                node.signer = None
                node.boot_signer(node.incarnation)
            case _:
                if node.cluster is not None:
                    node.guarded(node.cluster.handover.hand_over)
        self.after(self.rng.choice((0.01, 0.3, 1.0)), node.restart_if_down)

    def run(self, seconds: float) -> None:
        begins = self.rng.choice((0.0, 2.0, 2.0, 2.0))  # at birth, or later
        self.after(begins, self.steal)
        self.after(seconds, self.leave)
        super().run(seconds)

    def heal(self) -> None:
        """Peace: only the thief's machine stays off."""
        if not self.gone:
            self.leave()
        try:
            super().heal()
        except Violation:
            phases = {
                name: node.cluster.membership.phase for name, node in self.nodes.items() if node.cluster is not None
            }
            # Two faults in one: a store is lost, and in the name of another one's member the thief
            # promised what that one does not hold.
            if not self.wiped or not {"recovering", "starting"} <= set(phases.values()):
                raise
            self.stats["recovered by hand beside a thief"] = 1
            self.wiped = False
            lost = [self.nodes[name] for name, phase in phases.items() if phase == "recovering"]
            self.recover_by_hand(lost, max(self.signatures, default=HRS(0, 0, 0)).height + 1)
            return
        self.judge_wiped()

    def judge_wiped(self) -> None:
        """Whoever lost its store recovers by itself, whatever the thief told it."""
        if not self.wiped or self.stores_lost_at_once or self.strict:
            return
        deadline = self.now + 5.0
        while self.now < deadline:
            waiting = [
                one for one in self.nodes.values() if one.cluster is not None and not one.cluster.membership.ready
            ]
            if not waiting:
                return
            self.run_until(self.now + 0.25)
        raise Violation(
            f"not ready since the thief is gone: {[(one.name, one.cluster.membership.why) for one in waiting if one.cluster is not None]}"
        )
