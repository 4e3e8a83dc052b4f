"""Agents in the simulation: the real cometkms.agent.asking, and the session's check of answers,
over a network of its own that is late, doubles, reorders and loses.

An agent's validator wants its own blocks, as every validator of the world does. Every node is
asked, whoever leads, and a machine that is frozen answers what it was asked when it thaws. Of some
agents one node's link lies: it says whatever somebody could who has that node's identity and not
the validator's key, and what it had signed before. An agent dies now and then before or after
anything that it sends, and starts again with nothing remembered.

Judge: every signature that reaches an agent, whether it is passed on or not; that what is passed on
is the answer to what was asked; exactly one answer a request, in time.
"""

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cometkms.agent.asking import Action, Ask, Asking, Empty, Reply, Verdict
from cometkms.limits import AGENT_ANSWER_S
from cometkms.model import HRS, Dialect, Kind, Message, RemoteSignerError, Step, Vote
from tests.sim import ground

if TYPE_CHECKING:
    from tests.sim.machine import Node
    from tests.sim.signing import Signer
    from tests.sim.world import World

DOUBLED = 0.02  # of the messages either way arrive twice …
LOST = 0.01  # … and so many never do
KILLED = 0.005  # of what an agent sends is its last, before or after it left
LIED = 0.3  # of what a lying node is asked
ASKED_KEPT = 64  # requests of which a late answer is still judged


class _Asked:
    """One request at one signer.

    A `Requester` of its chain: what cometkms.signer.agent_link is in a node.
    """

    remote_identity = b""

    def __init__(self, agent: "Agent", signer: "Signer", seq: int, session: Any) -> None:
        self.agent, self.signer, self.seq, self.session = agent, signer, seq, session
        self.name = f"agent {agent.number}"
        self.over = False

    def serves(self, session: Any) -> bool:
        return not self.over and self.signer.alive and self.session is session

    def deliver(self, frame: bytes, *, refused: bool | None = None) -> None:
        if not self.over:
            self.over = True
            self.agent.travel(
                self.agent.on_node, self.signer.node.member, self.seq, frame if refused is not None else None
            )


class Asked(dict[int, Vote]):
    """What was asked, by number: the latest of them."""

    def note(self, seq: int, vote: Vote) -> None:
        """That was asked under that number."""
        self[seq] = vote
        if len(self) > ASKED_KEPT:
            del self[min(self)]


class Asker:
    """An agent and its validator: what they want, and what is judged of what they get."""

    def __init__(self, world: "World", number: int) -> None:
        self.world, self.number = world, number
        self.rng = random.Random(f"{world.seed} agent {number}")
        self.place = HRS(1, 0, Step.PREVOTE)
        self.asked_at: float | None = None
        self.vote: Vote | None = None
        self.liar = self.rng.choice((None, *world.names)) if self.rng.random() < 0.5 else None
        self.heard: list[bytes] = []  # answers that were right for something

    def judge_answer(self, asked: Vote | None, answer: bytes) -> None:
        """What a node says to what it was asked, as far as that is still known.

        An honest one's signature counts, in time or not. Raises: Violation.
        """
        message = ground.CORE.decode_message(Dialect.PROTO, answer)
        if message.vote is not None and message.vote.signature:
            if asked is not None:
                self.world.judge_signature(ground.place_of(asked), asked, message.vote)
            self.heard = [*self.heard[-8:], answer]

    def lie_about(self, asked: Vote) -> bytes:
        """What somebody with a node's identity, but not the validator's key, may answer."""
        response = Kind.SIGNED_VOTE_RESPONSE
        other = Message(response, vote=replace(self.world.vote_of(self.rng, self.place), signature=b"s" * 64))
        forged = Message(response, vote=replace(asked, signature=self.rng.randbytes(64)))
        refusal = Message(response, error=RemoteSignerError(2, "no"))
        return self.rng.choice(
            (
                *(ground.CORE.encode_message(Dialect.PROTO, one) for one in (other, forged, refusal)),
                *self.heard[-2:],  # signed once, for something
                self.rng.randbytes(self.rng.randrange(1, 40)),
            )
        )

    def judge_passed_on(self, answer: bytes, vote: Vote) -> bool:
        """What the validator got is a refusal, or its own vote, signed: then True.

        Raises: Violation.
        """
        message = ground.CORE.decode_message(Dialect.PROTO, answer)
        if message.error is not None and message.error.code:
            return False
        got = message.vote
        if got is None or replace(got, timestamp=vote.timestamp, signature=b"", extension_signature=b"") != vote:
            raise ground.Violation(f"agent {self.number} passed on something else than was asked: {got} for {vote}")
        self.world.judge_signature(self.place, vote, got)
        self.world.count("signed through an agent")
        return True

    def over(self) -> None:
        """Exactly one answer a request."""
        if self.asked_at is None:
            raise ground.Violation(f"agent {self.number} answered twice")
        self.asked_at = None

    def judge_time(self) -> None:
        """Raises: Violation for a request that has no answer for too long."""
        if self.asked_at is not None and self.world.now - self.asked_at > AGENT_ANSWER_S + 0.1:
            raise ground.Violation(
                f"agent {self.number} left a request without an answer for {self.world.now - self.asked_at} s"
            )

    def forget(self) -> None:
        self.place = HRS(max(1, self.place.height - self.rng.randrange(4)), 0, self.rng.choice((2, 3)))

    def poll(self) -> None:
        """Every few milliseconds: ask, let the time do its work, now and then die."""
        raise NotImplementedError


class Agent(Asker):
    """One of the general path: the decisions and the check of answers that ship, and messages that
    are Python's values.
    """

    def __init__(self, world: "World", number: int) -> None:
        super().__init__(world, number)
        self.asked = Asked()
        self.seq = 0
        self.life = 0
        self.start()

    def start(self) -> None:
        """Begin anew, with nothing remembered but that no number is given twice."""
        self.life += 1
        self.asking = Asking(self.world.names, check=self.check, next_seq=self.next_seq)
        for name in self.world.names:
            self.asking.on_link(name, self.world.now)

    def next_seq(self) -> int:
        self.seq += 1
        return self.seq

    def travel(self, arrive: Any, *arguments: Any) -> None:
        """A message between the agent and a node, in either direction."""
        if self.rng.random() < LOST and not self.world.healing:
            return
        for _ in range(1 + (self.rng.random() < DOUBLED)):
            late = self.rng.random() < self.world.spikes
            self.world.after(self.rng.uniform(0, 0.3) if late else self.rng.uniform(0.0001, 0.001), arrive, *arguments)

    # --- the validator ---

    def poll(self) -> None:
        """Every few milliseconds: ask, let the time do its work, now and then die."""
        self.world.after(self.rng.uniform(0.002, 0.01), self.poll)
        now = self.world.now
        if self.asked_at is not None:
            self.judge_time()
            if self.asking.due_at is not None and now >= self.asking.due_at:
                self.do(self.asking.on_time(now))
            return
        if self.rng.random() < self.world.agents_rest:
            return
        self.vote = self.world.vote_of(self.rng, self.place)
        self.asked_at = now
        leader = self.rng.choice([node.cluster.leader for node in self.world.nodes.values() if node.cluster] or [None])
        self.asking.on_lead(leader)
        self.do(self.asking.ask(now))

    def do(self, actions: list[Action]) -> None:
        """What was decided, one after the other; the agent may die before and after each."""
        for action in actions:
            if self.dies("before") or (self.step(action), self.dies("after"))[1]:
                return

    def dies(self, when: str) -> bool:
        """Whether it is killed now: what it had decided is not done, the validator's request has no
        answer, and it asks anew.
        """
        if self.world.healing or self.rng.random() >= KILLED:
            return False
        self.world.note(f"agent {self.number} is killed {when} it sent something")
        self.world.count("agents killed")
        self.asked_at = None
        self.start()
        return True

    def step(self, action: Action) -> None:
        match action:
            case Ask(name, seq, urgent):
                assert self.vote is not None
                self.asked.note(seq, self.vote)
                if name == self.liar and self.rng.random() < LIED:
                    self.lie(name, seq)
                self.travel(self.arrive, name, seq, urgent, self.vote)
            case Reply(answer):
                self.over()
                assert isinstance(answer, bytes)
                assert self.vote is not None
                self.judge_passed_on(answer, self.vote)
                self.place = self.world.next_place(self.rng, self.place)
            case Empty():
                self.over()

    def check(self, answer: Any) -> tuple[Verdict, object]:
        """What the agent's process does with bytes."""
        assert self.vote is not None
        session, _ = ground.asked_for(self.vote)
        try:
            relayed = session.answer_relayed(ground.ROW.public_key, answer)
        finally:
            session.close()
        if relayed is None:
            return Verdict.WRONG, b""
        return Verdict.REFUSED if relayed.refused else Verdict.SIGNED, relayed.frame

    # --- the node's end ---

    def on_node(self, name: str, seq: int, answer: bytes | None) -> None:
        """A node's message arrives."""
        if answer is None:
            self.do(self.asking.on_not_now(name, seq, None, self.world.now))
            return
        self.judge_answer(self.asked.get(seq), answer)
        self.do(self.asking.on_answer(name, seq, answer, self.world.now))

    def lie(self, name: str, seq: int) -> None:
        """Somebody with that node's identity says something, to this request or to another."""
        self.world.count("lies to agents")
        asked = self.vote
        assert asked is not None
        number = self.rng.choice((seq, seq, seq, seq - 1, seq + 1, 0, (1 << 64) - 1))
        said = self.lie_about(asked)
        kind = self.rng.randrange(4)
        if kind == 0:
            self.travel(
                self.on_lie, "on_not_now", name, number, self.rng.choice((None, name, "nobody", *self.world.names))
            )
        elif kind == 1:
            self.asking.on_lead(self.rng.choice((None, name, "nobody", *self.world.names)))
        else:
            self.travel(self.on_lie, "on_answer", name, number, said)

    def on_lie(self, handler: str, name: str, seq: int, said: object) -> None:
        """It arrives."""
        self.do(getattr(self.asking, handler)(name, seq, said, self.world.now))

    def arrive(self, name: str, seq: int, urgent: bool, vote: Vote) -> None:
        """A request arrives at whichever machine stands for the member."""
        machines = [node for node in self.world.nodes.values() if node.member == name and not node.superseded]
        if not machines:
            return
        node: Node = self.rng.choice(machines)
        signer = node.signer
        if signer is None or node.cluster is None:
            return
        reached_at = max(signer.still_until, node.unreached_until)
        if self.world.now < reached_at:
            self.world.after(reached_at - self.world.now + 0.001, self.arrive, name, seq, urgent, vote)
            return
        session, request = ground.asked_for(vote)
        asked = _Asked(self, signer, seq, session)
        if not urgent and not signer.leased:
            asked.deliver(b"")
            return
        signer.chain.submit(asked, session, request, int(node.clock() * 1e9), urgent=urgent)
