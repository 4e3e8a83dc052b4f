"""A member in foreign hands, as a process of its own: `python -m tests.attacks.member
LIE HOME ID PORTS`.

It has what a thief finds in a member's home: the key, and with it that member's identity. It dials
the others on their real peers' ports, is let in as the member that it is, and lies as the table
below says, over and over, until it is killed. PORTS: `node0=26001,node1=…`. What it has done goes
to stdout as JSON lines {"peer": …, "lies": …}.
"""

import asyncio
import json
import os
import random
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cometkms import __version__
from cometkms.address import Address
from cometkms.core import choose
from cometkms.errors import ProtocolError
from cometkms.keys.cluster import _cluster_secret, _node_key, cluster_digest
from cometkms.keys.source import key_source
from cometkms.model import (
    HRS,
    BlockID,
    Dialect,
    Incarnation,
    Kind,
    Message,
    Reason,
    Row,
    Timestamp,
    Vote,
    Watermark,
)  # fmt: skip
from cometkms.rules.birth import Life, NodeState
from cometkms.rules.incarnation import FIRST, Statement, incarnation_ceiling, statement_bytes
from cometkms.state.peers.network import PeerNetwork, PeerTarget
from cometkms.state.raft import wire
from cometkms.state.raft.steps import owner
from cometkms.store.promise_store import PromiseStore
from cometkms.wire.identity import Identity
from cometkms.wire.peer_messages import (
    PEER_PROTOCOL_VERSION,
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
    make_facts,
)

EVERY_S = 0.02
FAR = (1 << 62) - 1
NOOP = b"\x01"


class Quiet:
    def __getattr__(self, _name: str) -> Any:
        return lambda *_a, **_k: None


class Liar:
    """What state.peers asks of a node (PeerEvents), answered with lies."""

    def __init__(self, lie: str, home: Path, me: str, ports: dict[str, int], chain: str) -> None:
        core = choose.load()
        source = key_source(home / "priv" / "priv_validator_key.json", None)
        secret = _cluster_secret(home, [source], core)
        keys = {name: Identity(_node_key(secret, name)) for name in ports}
        self.lie, self.me, self.ports = lie, me, ports
        self.identity = keys[me]
        self.members = tuple(sorted(ports))
        self.digest = cluster_digest(1, {name: one.public_key for name, one in keys.items()})
        self.row = Row(source.public_key, chain)
        self.term, self.index, self.told = 1, 1, 0
        stolen = shutil.copy(home / "data" / me / "promises", home / "stolen")
        store = PromiseStore.open(Path(stolen))
        self.seq, self.bears = store.seq, store.header.incarnation
        store.close()
        self.record: tuple[tuple[str, bytes], ...] = ()
        self.mark = Watermark()
        self.seen = 0  # the highest mark that an honest one showed
        self.rng = random.Random(lie)
        self.ends: dict[
            str, tuple[int, int, int]
        ] = {}  # of the log without end: index and term of its last entry, and whose term
        targets = tuple(
            PeerTarget(name, keys[name].public_key, Address("127.0.0.1", port))
            for name, port in ports.items()
            if name != me
        )
        self.net = PeerNetwork(
            core=core, me=me, identity=self.identity, peers=targets, listen=Address("127.0.0.1", ports[me]), events=self, log=Quiet(),
        )  # fmt: skip

    def own(self, other: Incarnation | None = None) -> Statement:
        incarnation = self.bears if other is None else other
        signature = (
            self.identity.sign(statement_bytes(self.digest, self.me, incarnation)) if incarnation > FIRST else b""
        )
        return Statement(self.me, incarnation, signature)

    def say(self, peer: str) -> None:
        self.told += 1
        os.write(1, json.dumps({"peer": peer, "lies": self.told}).encode() + b"\n")

    # --- state.peers.PeerEvents ---

    def hello(self, peer: str) -> bytes:
        seq = FAR if self.lie == "seq" else self.seq
        remembers = {"memory": 500, "memory far away": FAR}.get(self.lie, 0)
        own, known = self.own(), ()
        if self.lie == "incarnation of its own":
            own = self.own(Incarnation(FAR, 1))
        if self.lie == "a store of its own":
            own = self.own(Incarnation(incarnation_ceiling(time.time()), 1))
        if self.lie == "incarnations of others":
            known = tuple(Statement(name, Incarnation(7, 7), b"x" * 64) for name in self.members if name != self.me)
        if self.lie in (
            "seq",
            "memory",
            "memory far away",
            "incarnation of its own",
            "a store of its own",
            "incarnations of others",
        ):
            self.say(peer)
        return encode(
            Hello(
                PEER_PROTOCOL_VERSION,
                __version__,
                self.me,
                os.getpid(),
                1,
                self.members,
                self.digest,
                (self.row,),
                seq,
                remembers,
                (),
                own,
                known,
            )
        )

    def on_hello(self, _peer: str, _payload: bytes, _address: str) -> str | None:
        return None

    def on_stranger(self, _key: bytes, _payload: bytes, _address: str) -> str | None:
        return "no"

    def on_connected(self, peer: str) -> None:
        asyncio.get_running_loop().call_later(EVERY_S, self.again, peer)

    def on_disconnected(self, _peer: str, _why: str, *, closed: bool) -> None:
        del closed

    def on_frame(self, peer: str, payload: bytes) -> None:
        try:
            said = decode(payload)
        except ProtocolError:
            return
        match said:
            case Raft():
                shown = wire.decode(said.payload)
                self.term = max(self.term, shown.get("term", 0))
                self.index = max(self.index, shown.get("commit_index", 0))
            case LifeNews():
                self.record = said.life.record
                self.seen = max([self.seen, *(one.mark.hrs.height for one in said.marks)])
                self.mark = max((one.mark for one in said.marks), default=self.mark, key=lambda one: one.hrs)
            case Promise() if self.lie in ("accepts", "refusals"):
                self.tell(peer, self.answer(said))
            case Read():
                self.tell(peer, self.marks(said))
            case _:
                pass

    # --- lies ---

    def again(self, peer: str) -> None:
        """One more of the kind that it was told to tell."""
        tell, sent = LIES[self.lie], True
        if self.lie == "a snapshot for one" and peer != min(self.ports):
            said_now: list[PeerMessage | bytes] = []
        elif self.lie == "a log without end":
            said_now = self.endless(peer)
        else:
            said_now = tell(self)
        for said in said_now:
            sent = self.tell(peer, said)
        if sent:
            self.say(peer)
            asyncio.get_running_loop().call_later(EVERY_S, self.again, peer)

    def tell(self, peer: str, said: PeerMessage | bytes) -> bool:
        return self.net.send(peer, said if isinstance(said, bytes) else encode(said))

    def answer(self, asked: Promise) -> Promised:
        if self.lie == "accepts":
            return Promised(asked.nonce, asked.request_id, Reason.NONE, Watermark(), self.seq, self.bears)
        return Promised(
            asked.nonce, asked.request_id, Reason.HEIGHT_REGRESSION, Watermark(HRS(1 << 40, 0, 3)), self.seq, self.bears
        )

    def life(self) -> Life:
        return Life(NodeState.COMPLETE, b"", self.record)

    def marks(self, read: Read) -> Marks:
        far = {"marks": 1 << 40, "restarts": self.seen + 990}.get(self.lie)
        shown = (RowMark(self.row, Watermark(HRS(far, 0, 3)), True),) if far else ()
        return Marks(read.nonce, read.request_id, True, self.life(), shown, self.seq, 0, 0, 0, self.own(), ())

    def own_term(self) -> int:
        return next(term for term in range(self.term + 1, self.term + 9) if owner(term, self.members) == self.me)

    def entries(self, **more: Any) -> Raft:
        said = {
            "type": "append_entries",
            "term": self.own_term(),
            "commit_index": 1,
            "prevLogIdx": 1,
            "prevLogTerm": 0,
            "entries": (),
            **more,
        }
        return Raft(wire.encode(said))

    def snapshot(self, index: int, marks: list[Any]) -> Raft:
        blob = wire.encode_snapshot((NOOP, index - 1, 0), (NOOP, index, 0), marks)
        said = {
            "type": "append_entries",
            "term": self.own_term(),
            "commit_index": index,
            "x_snap": index,
            "serialized": (blob, True, True),
        }
        return Raft(wire.encode(said))

    def far_terms(self) -> list[PeerMessage | bytes]:
        vote = {
            "type": "request_vote",
            "term": FAR - FAR % 3 + 2 - 3,
            "last_log_index": FAR,
            "last_log_term": 1,
            "x_transfer": True,
        }
        return [
            Raft(wire.encode(vote)),
            Raft(wire.encode({"type": "x_newer_term", "term": FAR})),
            self.entries(term=FAR - FAR % 3 - 1),
        ]

    def far_indices(self) -> list[PeerMessage | bytes]:
        ack = {"type": "next_node_idx", "next_node_idx": FAR, "reset": False, "success": True, "x_term": self.term}
        return [
            self.entries(commit_index=FAR),
            self.entries(prevLogIdx=FAR),
            self.snapshot(FAR, []),
            Raft(wire.encode(ack)),
        ]

    def foreign_terms(self) -> list[PeerMessage | bytes]:
        return [self.entries(term=self.own_term() + more) for more in (1, 2)]

    def mismatched(self) -> list[PeerMessage | bytes]:
        return [self.entries(prevLogIdx=max(2, self.index), prevLogTerm=self.own_term() - 1)]

    def in_the_log(self) -> list[PeerMessage | bytes]:
        key = row_key_of(self.row)
        return [self.snapshot(self.index + 10, [[key, 5000, 0, 3, b"", b""]])]

    def alone_with_a_snapshot(self) -> list[PeerMessage | bytes]:
        """For one of the two: what it takes for committed the other has never heard of.

        See again().
        """
        return [self.snapshot(self.index + 1000, [])]

    def endless(self, peer: str) -> list[PeerMessage | bytes]:
        """A leader's entries that it never commits, a frame full of them each time, from where its
        own snapshot ends.
        """
        if peer not in self.ends or self.term > self.ends[peer][2]:
            begin, term = self.index + 10, self.own_term()
            self.ends[peer] = (begin, 0, term)
            return [self.snapshot(begin, [])]
        end, end_term, term = self.ends[peer]
        noops = tuple((NOOP, end + 1 + number, term) for number in range(2000))
        self.ends[peer] = (end + len(noops), term, term)
        return [self.entries(term=term, prevLogIdx=end, prevLogTerm=end_term, entries=noops)]

    def shown(self) -> list[PeerMessage | bytes]:
        far = RowMark(self.row, Watermark(HRS(1 << 40, 0, 3)), True)
        return [LifeNews(self.life(), False, (far,), self.own(), ())]

    def words(self) -> list[PeerMessage | bytes]:
        """Whatever the others write a line of: refused promises, orders, facts that differ,
        signatures that are none.
        """
        self.told += 1
        far = Promise(1, self.told, self.row.public_key, self.bytes_at(1 << 40), self.seq, self.bears)
        facts = FactsNews(make_facts({"default_ttl_ms": str(self.told), "validators": "x" * 100 + str(self.told)}))
        false = Watermark(HRS(10 + self.told, 0, 2), self.bytes_at(10 + self.told), b"x" * 64)
        news = LifeNews(self.life(), False, (RowMark(self.row, false, True),), self.own(), ())
        return [far, Order(1, self.told, Action.CHECK, "x" * 60), facts, news] * 10

    def bytes_at(self, height: int) -> bytes:
        vote = Vote(2, height, 0, BlockID(b"e" * 32, 1, b"p" * 32), Timestamp(1_700_000_000, 0))
        chain = self.row.chain_id
        return (
            choose.load()
            .check_request(Dialect.PROTO, chain, Message(Kind.SIGN_VOTE_REQUEST, chain, vote=vote))
            .sign_bytes
        )

    def restarts(self) -> list[PeerMessage | bytes]:
        """The leader is ordered to start again, and whoever starts is told of a mark as high as it
        may believe.
        """
        self.told += 1
        raised = [self.seen + step for step in (990, 500, 100, 20, 1)]
        asked = [Promise(1, self.told, self.row.public_key, self.bytes_at(one), self.seq, self.bears) for one in raised]
        return [*asked, self.news_of(self.seen + 990), Order(1, self.told, Action.RESTART, "")]

    def news_of(self, height: int) -> LifeNews:
        return LifeNews(self.life(), False, (RowMark(self.row, Watermark(HRS(height, 0, 3)), True),), self.own(), ())

    def lives(self) -> list[PeerMessage | bytes]:
        record = tuple((name, b"false567") for name in self.members)
        return [
            LifeNews(
                Life(state, b"", record if state in (NodeState.BORN, NodeState.COMPLETE) else ()),
                starting,
                (),
                self.own(),
                (),
            )
            for state in NodeState
            for starting in (True, False)
        ]

    def flood(self) -> list[PeerMessage | bytes]:
        """Hundreds at once of what has to be answered, each a few bytes."""
        self.told += 1
        read: PeerMessage = Read(1, self.told, Purpose.LEADER, self.own())
        return [read] * 400

    def garbage(self) -> list[PeerMessage | bytes]:
        return [self.rng.randbytes(self.rng.randrange(1, 80)), Obeyed(1, 1, "x")]


def row_key_of(row: Row) -> bytes:
    from cometkms.state.signatures import row_key

    return row_key(row)


LIES: dict[str, Callable[[Liar], list[PeerMessage | bytes]]] = {
    "seq": lambda _liar: [],
    "memory": lambda _liar: [],
    "memory far away": lambda _liar: [],
    "incarnation of its own": lambda _liar: [],
    "a store of its own": lambda _liar: [],
    "incarnations of others": lambda _liar: [],
    "terms far away": Liar.far_terms,
    "indices far away": Liar.far_indices,
    "others' terms": Liar.foreign_terms,
    "a mismatched index": Liar.mismatched,
    "a snapshot for one": Liar.alone_with_a_snapshot,
    "a log without end": lambda _liar: [],
    "an unsigned mark in the log": Liar.in_the_log,
    "marks": Liar.shown,
    "restarts": Liar.restarts,
    "words for the log": Liar.words,
    "lives": Liar.lives,
    "a flood": Liar.flood,
    "accepts": lambda _liar: [],
    "refusals": lambda _liar: [],
    "garbage": Liar.garbage,
}


async def main(lie: str, home: Path, me: str, ports: dict[str, int], chain: str) -> None:
    Liar(lie, home, me, ports, chain).net.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    told = dict(part.split("=") for part in sys.argv[4].split(","))
    asyncio.run(
        main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], {name: int(port) for name, port in told.items()}, sys.argv[5])
    )
