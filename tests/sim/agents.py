"""Agents in the simulation: the real cometkms.agent.asking over a network of its own that is late, doubles, reorders and loses.

An agent's validator wants its own blocks, as every validator of the world does. Every node is asked, whoever leads, and a machine that
is frozen answers what it was asked when it thaws.
"""

import random
from typing import TYPE_CHECKING, Any

from cometkms.agent.asking import Action, Ask, Asking, Empty, Reply, Verdict
from cometkms.limits import AGENT_ANSWER_S
from cometkms.model import HRS, Step, Vote
from tests.sim import world as worlds

if TYPE_CHECKING:
    from tests.sim.world import Node, Signer, World

DOUBLED = 0.02  # of the messages either way arrive twice …
LOST = 0.01  # … and so many never do
KILLED = 0.01  # of the requests end with the agent, which starts again and remembers nothing


class _Asked:
    """One request at one signer. A `Requester` of its chain: what cometkms.signing.agent_link is in a node."""

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


class Agent:
    """An agent and its validator."""

    def __init__(self, world: "World", number: int) -> None:
        self.world, self.number = world, number
        self.rng = random.Random(f"{world.seed} agent {number}")
        self.place = HRS(1, 0, Step.PREVOTE)
        self.asked_at: float | None = None
        self.vote: Vote | None = None
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
            if now - self.asked_at > AGENT_ANSWER_S + 0.1:
                raise worlds.Violation(
                    f"agent {self.number} left a request without an answer for {now - self.asked_at} s"
                )
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
        if self.rng.random() < KILLED:
            self.world.note(f"agent {self.number} is killed with a request under way")
            self.asked_at = None
            self.start()

    def do(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Ask(name, seq, urgent):
                    self.travel(self.arrive, name, seq, urgent, self.vote)
                case Reply(answer):
                    self.over()
                    if answer is not None:
                        assert self.vote is not None
                        self.world.judge_signature(self.place, self.vote, answer)
                        self.world.stats["signed through an agent"] = (
                            self.world.stats.get("signed through an agent", 0) + 1
                        )
                    self.place = self.world.next_place(self.rng, self.place)
                case Empty():
                    self.over()

    def over(self) -> None:
        """Exactly one answer a request."""
        if self.asked_at is None:
            raise worlds.Violation(f"agent {self.number} answered twice")
        self.asked_at = None

    def forget(self) -> None:
        self.place = HRS(max(1, self.place.height - self.rng.randrange(4)), 0, self.rng.choice((2, 3)))

    def check(self, answer: Any) -> tuple[Verdict, Any]:
        """What a session's answer_relayed() does with bytes."""
        message = worlds.CORE.decode_message(worlds.Dialect.PROTO, answer)
        if message.vote is not None and message.vote.signature:
            asked, got = self.vote, message.vote
            assert asked is not None
            same = (asked.type, asked.height, asked.round, asked.block_id) == (
                got.type,
                got.height,
                got.round,
                got.block_id,
            )
            return (Verdict.SIGNED, got) if same else (Verdict.WRONG, None)
        return (Verdict.REFUSED, None) if message.error is not None and message.error.code else (Verdict.WRONG, None)

    # --- the node's end ---

    def on_node(self, name: str, seq: int, answer: bytes | None) -> None:
        """A node's message arrives."""
        if answer is None:
            self.do(self.asking.on_not_now(name, seq, None, self.world.now))
        else:
            self.do(self.asking.on_answer(name, seq, answer, self.world.now))

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
        session, request = worlds.asked_for(vote)
        asked = _Asked(self, signer, seq, session)
        if not urgent and not signer.leased:
            asked.deliver(b"")
            return
        signer.chain.submit(asked, session, request, int(node.clock() * 1e9), urgent=urgent)
