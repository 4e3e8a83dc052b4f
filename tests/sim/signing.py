"""The signer process of a simulated node and the validators that it dials."""

import random
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cometkms.core.pure.sign import PureSignPath
from cometkms.model import HRS, Dialect, Step, Vote
from cometkms.signer.chain import ChainSigner
from cometkms.wire.queue_messages import (
    Leader,
    Lease,
    Mark,
    PermitGranted,
    QueueMessage,
    ReserveRefused,
    SignerHello,
    StateHello,
)
from cometkms.wire.queue_messages import encode as encode_queue
from tests.sim.ground import ABSURD, CHAIN, CORE, SECRET, SilentLog, asked_for, place_of

if CORE.name == "native":
    from tests.sim import fast as paths
    from tests.sim import relays

if TYPE_CHECKING:
    from tests.sim.machine import Node
    from tests.sim.world import World


class Signer:
    """One signer process: the real critical section and key slot; its validators are there while it
    has the lease.
    """

    def __init__(self, node: "Node") -> None:
        self.node, self.world = node, node.world
        self.nonce = node.rng.getrandbits(62)
        self.beats = 0
        self.stuck_until = 0.0
        self.leased = False
        self.lease_until = 0.0
        slot = CORE.key_slot(bytearray(SECRET), CHAIN)
        # as its end frees a process's: a slot takes four of the kernel's mappings
        weakref.finalize(self, slot.close)
        self.fast = paths.FastSigner(self, slot) if node.queues is not None else None
        self.chain = ChainSigner(
            chain=0,
            chain_id=CHAIN,
            slot=slot,
            core=CORE,
            nonce=self.nonce,
            send=self.send,
            clock_ns=lambda: int(self.node.clock() * 1e9),
            log=SilentLog(self.world, f"{node.name}'s signer"),
            path=self.fast.path if self.fast is not None else PureSignPath(),
            count_made=self.fast.count_signatures if self.fast is not None else lambda: None,
        )
        self.port = relays.Port(self.fast) if self.fast is not None else None
        self.send(SignerHello(self.nonce))
        self.world.after(0.1, self.tick)

    @property
    def alive(self) -> bool:
        return self.node.signer is self

    def send(self, message: QueueMessage) -> bool:
        if self.node.queues is not None:
            return self.node.queues.requests.push(encode_queue(message))
        self.world.after(self.node.rng.uniform(0, 0.0005), self.arrive, message, self.node.incarnation)
        return True

    def arrive(self, message: QueueMessage, incarnation: int) -> None:
        node = self.node
        if node.cluster is None or incarnation != node.incarnation:
            return  # a new state process discards what was asked of its predecessor
        if self.world.now < node.frozen_until:
            self.world.after(node.frozen_until - self.world.now, self.arrive, message, incarnation)
            return
        node.guarded(node.cluster.on_signer, message)

    def on_message(self, message: QueueMessage) -> None:
        if not self.alive:
            return
        if self.world.now < self.still_until:
            self.world.after(self.still_until - self.world.now, self.on_message, message)
            return
        match message:
            case PermitGranted():
                self.chain.on_permit(message)
            case ReserveRefused():
                self.chain.on_refused(message)
            case StateHello():
                self.send(SignerHello(self.nonce))
                self.chain.on_state_hello()
            case Mark() if message.nonce == self.nonce:
                self.chain.on_mark(message)
            case Lease() if message.nonce == self.nonce:
                self.beats += 1
                self.lease_until = self.world.now + message.ttl_ms / 1000 if message.granted else 0.0
                self._set_leased(message.granted)
            case Leader() if message.nonce == self.nonce and self.port is not None:
                self.port.on_standing(leads=self.leased, leader=message.name)
            case _:
                pass

    def _set_leased(self, leased: bool) -> None:
        if self.leased and not leased:
            self.chain.abandon()
            if self.fast is not None:
                self.fast.release()
        self.leased = leased
        if self.port is not None:
            self.port.on_standing(leads=leased)

    def tick(self) -> None:
        if not self.alive:
            return
        self.world.after(0.1, self.tick)
        if self.world.now < self.still_until:
            return
        self.beats += 1
        if self.world.now > self.lease_until:
            self._set_leased(False)
        self.chain.expire()
        self.chain.report()
        if self.fast is not None:
            self.fast.count_signatures()
        if self.port is not None:
            self.port.check()

    @property
    def still_until(self) -> float:
        """With its whole machine, or alone."""
        return max(self.stuck_until, self.node.frozen_until)

    def serves(self, _session: object) -> bool:
        return self.alive and self.leased


class Validator:
    """Asks the signer that dialled it for votes, place after place; its blocks are its own.

    A `Requester`.
    """

    def __init__(self, world: "World", number: int) -> None:
        self.world, self.number = world, number
        self.name = f"validator {number}"
        self.rng = random.Random(f"{world.seed} validator {number}")
        self.jumps = random.Random(f"{world.seed} jumps of {number}")
        self.hostile = False  # what it asked last no chain has come to
        self.place = HRS(1, 0, Step.PREVOTE)
        self.asked_at = -1e9
        self.asked: tuple[Vote, Signer] | None = None
        self.session: Any = None
        self.lines: dict[Signer, paths.Line] = {}  # its connections
        self.patience_s = world.patience_s

    def serves(self, session: Any) -> bool:
        return self.asked is not None and self.session is session and self.asked[1].serves(session)

    def poll(self) -> None:
        """Every few milliseconds: ask, or give up and ask another."""
        self.world.after(self.rng.uniform(*self.world.poll_s), self.poll)
        if self.asked is not None and self.world.now - self.asked_at < self.patience_s:
            return
        if self.asked is not None and self.asked[1] in self.lines:
            self.lines.pop(self.asked[1]).drop()  # as a validator does whose signer is too slow
        signer = self.world.dialling_signer(self.rng)
        if signer is None:
            self.asked = None
            return
        vote = self.world.vote_of(self.rng, self.place)
        self.hostile = self.world.signatures != {} and self.jumps.random() < self.world.jumps
        if self.hostile:
            vote = replace(vote, height=self.place.height + self.jumps.choice((ABSURD, 2**40)))
        self.asked, self.asked_at = (vote, signer), self.world.now
        if signer.fast is not None:
            self.ask_over_line(signer, vote)
            return
        self.session, request = asked_for(vote)
        signer.chain.submit(self, self.session, request, int(signer.node.clock() * 1e9))

    def deliver(self, frame: bytes, *, refused: bool | None = None) -> None:
        """The answer: a signature, a refusal (the next place, then), or nothing (the same again)."""
        if self.asked is None:
            return
        vote, _ = self.asked
        self.asked = None
        message = CORE.decode_message(Dialect.PROTO, frame)
        if self.hostile:
            self.world.judge_jump(vote, message)
        elif message.vote is not None and message.vote.signature:
            self.world.judge_signature(self.place, vote, message.vote)
            self.advance()
        elif message.error is not None and message.error.code:
            self.world.stats["refused"] = self.world.stats.get("refused", 0) + 1
            self.advance()

    def ask_over_line(self, signer: Signer, vote: Vote) -> None:
        """On the connection that it has with the signer, or on another.

        Now and then it does not wait for long.
        """
        wire = self.world.wire
        self.patience_s = wire.uniform(0.0, 0.02) if wire.random() < self.world.impatience else self.world.patience_s
        line = self.lines.get(signer)
        if line is None or not line.open or line.asked is not None:
            line = self.lines[signer] = paths.Line(self, signer)
        line.ask(vote)

    def on_line(self, line: "paths.Line", vote: Vote, frame: bytes) -> None:
        """An answer that left the signer's machine: to what it waits for, or too late."""
        if self.asked is not None and self.asked[0] is vote and self.lines.get(self.asked[1]) is line:
            self.deliver(frame)
            return
        message = CORE.decode_message(Dialect.PROTO, frame)
        if message.vote is not None and message.vote.signature:
            if vote.height >= ABSURD:
                self.world.judge_jump(vote, message)
            else:
                self.world.judge_signature(place_of(vote), vote, message.vote)

    def forget(self) -> None:
        """Restarted without its memory: it asks for what it asked before, and for other blocks."""
        self.place = HRS(max(1, self.place.height - self.rng.randrange(4)), 0, self.rng.choice((2, 3)))

    def advance(self) -> None:
        self.place = self.world.next_place(self.rng, self.place)
