"""Whom the agent asks, and when.

Sans-I/O: one validator's requests, one at a time, and the times of the nodes' links.

    IDLE ── ask ──▶ ASKING ── a signature that verifies, or a refusal ──▶ IDLE
                      │  NOT_NOW: at once the leader named, or the next node
                      │  silence for that link's patience: the next node, urgently
                      └─ AGENT_ANSWER_S in all: the empty answer, so that the validator asks again and its connection lives

The first try goes to the node that is known to lead, or else to the one that answered last. Every
later try is urgent: the node asked proposes itself even while it does not lead, which is safe
(docs/SAFETY.md, rule 3) and costs a vote at most where two validators of one chain want different
things. Agents of one chain share the leader as their first choice, so normally one node proposes.

An answer counts while its own request is under way, whichever node it comes from and however late:
it is checked before it is passed on. Exactly one answer leaves for each request, within
AGENT_ANSWER_S and the caller's timer.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from cometkms.errors import InvariantError
from cometkms.limits import (
    AGENT_AGAIN_MAX_S,
    AGENT_AGAIN_MIN_S,
    AGENT_ANSWER_S,
    AGENT_PATIENCE_MAX_S,
    AGENT_PATIENCE_MIN_S,
    AGENT_TIMES_KEPT,
)


class Verdict(Enum):
    """What the check of a node's answer says."""

    SIGNED = "signed"
    REFUSED = "refused"
    WRONG = "wrong"  # no answer to this request, or a signature that does not verify


@dataclass(frozen=True, slots=True)
class Ask:
    """Send the request under way to that node."""

    node: str
    seq: int
    urgent: bool


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer the validator with this, checked. The request is over."""

    answer: object
    node: str
    tries: int


@dataclass(frozen=True, slots=True)
class Empty:
    """Answer the validator empty: it asks again. The request is over."""

    why: str


Action = Ask | Reply | Empty


class Times:
    """How long one node took for its latest answers, and its round trip. Seconds."""

    def __init__(self) -> None:
        self._took: deque[float] = deque(maxlen=AGENT_TIMES_KEPT)
        self.round_trip_s = 0.0

    def on_answer(self, took_s: float) -> None:
        """A node signed within so long."""
        self._took.append(took_s)

    @property
    def patience_s(self) -> float:
        """How long silence is borne: three times its slow answers and two round trips,
        within the bounds.
        """
        slow = sorted(self._took)[-1 - len(self._took) // 100] if self._took else AGENT_PATIENCE_MAX_S
        return min(max(3 * slow + 2 * self.round_trip_s, AGENT_PATIENCE_MIN_S), AGENT_PATIENCE_MAX_S)


@dataclass(slots=True)
class Counters:
    """Since the agent started. `again`: further tries, by what made them necessary."""

    requests: int = 0
    signed: int = 0
    refused: int = 0
    empty: int = 0
    late: int = 0  # answers to a request that was over
    wrong: int = 0  # answers that did not verify
    again: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Pending:
    seq: int
    ends_at: float
    tries: int = 0
    asked_at: dict[str, float] = field(default_factory=dict)  # of this round, by node
    waiting: set[str] = field(default_factory=set)  # asked, and neither answered nor gone
    next_at: float = 0.0  # when silence, or the pause between two rounds, is over
    pause_s: float = AGENT_AGAIN_MIN_S
    urgent: bool = False


class Asking:
    """The requests of one validator for one chain. `nodes`: in the order of the configuration."""

    def __init__(
        self,
        nodes: Sequence[str],
        *,
        check: Callable[[object], tuple[Verdict, object]],
        next_seq: Callable[[], int],
        times: dict[str, Times] | None = None,
    ) -> None:
        """`check`: judges an answer to the request under way; its second value is what the
        validator is to get.

        `next_seq`: a number that no other request of this process has. `times`: shared by all
        validators of one agent.
        """
        self.counters = Counters()
        self.leader: str | None = None
        self._nodes = tuple(nodes)
        self._check = check
        self._next_seq = next_seq
        self._times = times if times is not None else {name: Times() for name in nodes}
        self._up: set[str] = set()
        self._last: str | None = None  # the node that answered last
        # nodes that left a request without a word, until they are heard again
        self._silent: set[str] = set()
        self._pending: _Pending | None = None

    # --- what is known of the nodes ---

    @property
    def seq(self) -> int | None:
        """The number of the request under way; None: there is none."""
        return self._pending.seq if self._pending is not None else None

    @property
    def up(self) -> frozenset[str]:
        """Nodes with a link."""
        return frozenset(self._up)

    @property
    def answers_last(self) -> str | None:
        """The node whose answer went to the validator last."""
        return self._last

    def on_link(self, node: str, now: float) -> list[Action]:
        """The node's link stands. A request that has nobody to ask goes there."""
        self._up.add(node)
        self._silent.discard(node)
        pending = self._pending
        if pending is None or pending.waiting:
            return []
        pending.asked_at.pop(node, None)
        return self._further(pending, now)

    def on_link_lost(self, node: str, now: float) -> list[Action]:
        """Its link is gone: whatever it was asked is asked of the next one at once."""
        self._up.discard(node)
        if self.leader == node:
            self.leader = None
        pending = self._pending
        if pending is None or node not in pending.waiting:
            return []
        pending.waiting.discard(node)
        self._count_again("gone")
        pending.urgent = True
        return self._further(pending, now)

    def on_lead(self, leader: str | None) -> None:
        """A node said who leads; None: it knows of nobody."""
        if leader is None or leader in self._nodes:
            self.leader = leader

    # --- the request ---

    @property
    def first(self) -> str | None:
        """Whom ask() asks without urgency: a leader that has a link and is not silent.

        None: ask() finds somebody else, or nobody.
        """
        return self.leader if self.leader in self._up and self.leader not in self._silent else None

    def ask(self, now: float, seq: int | None = None) -> list[Action]:
        """The validator asks.

        Whatever it asked before is over without an answer. `seq`: the number that its
        request has already.
        """
        self.counters.requests += 1
        self._pending = _Pending(self._next_seq() if seq is None else seq, now + AGENT_ANSWER_S)
        return self._further(self._pending, now)

    def cancel(self) -> None:
        """The validator's connection is gone: nobody waits for an answer."""
        self._pending = None

    def on_answer(self, node: str, seq: int, untrusted_answer: object, now: float) -> list[Action]:
        """A node answered with a signature or a refusal."""
        self._silent.discard(node)
        pending = self._pending
        if pending is None or seq != pending.seq:
            self.counters.late += 1
            return []
        verdict, answer = self._check(untrusted_answer)
        if verdict is Verdict.WRONG:
            self.counters.wrong += 1
            return self._go_on(pending, node, now, "wrong")
        return [Reply(answer, node, self._settle(pending, node, now, refused=verdict is Verdict.REFUSED))]

    def on_passed(self, node: str, now: float, *, refused: bool) -> int:
        """A node's answer to the request under way was checked and went to the validator already;
        the tries it took.
        """
        self._silent.discard(node)
        if self._pending is None:
            raise InvariantError(f"{node}'s answer was passed on, and nothing was asked")
        return self._settle(self._pending, node, now, refused=refused)

    def on_not_now(self, node: str, seq: int, leader: str | None, now: float) -> list[Action]:
        """A node cannot answer, and names the leader if it knows one."""
        self._silent.discard(node)
        if leader != node:
            self.on_lead(leader)
        pending = self._pending
        if pending is None or seq != pending.seq:
            return []
        return self._go_on(pending, node, now, "not_now")

    def on_time(self, now: float) -> list[Action]:
        """Look again at what was asked, because due_at has come."""
        pending = self._pending
        if pending is None or now < min(pending.next_at, pending.ends_at):
            return []
        if now >= pending.ends_at:
            return self._give_up()
        if pending.waiting:
            self._count_again("silence")
            self._silent |= pending.waiting
            pending.urgent = True
        return self._further(pending, now)

    @property
    def due_at(self) -> float | None:
        """When on_time() is to be called; None while nothing is asked."""
        pending = self._pending
        return min(pending.next_at, pending.ends_at) if pending is not None else None

    # --- inside ---

    def _settle(self, pending: _Pending, node: str, now: float, *, refused: bool) -> int:
        """The request is over, answered by that node; the tries it took."""
        self._pending = None
        if refused:
            self.counters.refused += 1
            return pending.tries
        self.counters.signed += 1
        self._last = node
        if node in pending.asked_at:
            self._times[node].on_answer(now - pending.asked_at[node])
        return pending.tries

    def _go_on(self, pending: _Pending, node: str, now: float, why: str) -> list[Action]:
        """That node will not answer this request now."""
        if node not in pending.waiting:
            return []
        pending.waiting.discard(node)
        self._count_again(why)
        if self.leader is None or self.leader in pending.asked_at or self.leader not in self._up:
            pending.urgent = True
        if pending.waiting and all(name in pending.asked_at for name in self._up):
            return []
        return self._further(pending, now)

    def _further(self, pending: _Pending, now: float) -> list[Action]:
        """Ask the next node; or, when all were asked, wait a little and begin again."""
        left = [name for name in self._order() if name not in pending.asked_at]
        if not left:
            pending.next_at = now + pending.pause_s
            pending.pause_s = min(2 * pending.pause_s, AGENT_AGAIN_MAX_S)
            pending.asked_at.clear()
            pending.urgent = True
            return []
        node = left[0]
        pending.asked_at[node] = now
        pending.waiting.add(node)
        pending.tries += 1
        pending.next_at = now + self._times[node].patience_s
        return [Ask(node, pending.seq, pending.urgent or self.leader != node)]

    def _order(self) -> list[str]:
        """Nodes with a link, the best first; those that were silent last of all, the leader too."""
        first = [name for name in (self.leader, self._last) if name is not None]
        order = [name for name in dict.fromkeys((*first, *self._nodes)) if name in self._up]
        return sorted(order, key=lambda name: name in self._silent)

    def _count_again(self, why: str) -> None:
        self.counters.again[why] = self.counters.again.get(why, 0) + 1

    def _give_up(self) -> list[Action]:
        self._pending = None
        self.counters.empty += 1
        return [Empty("no node has a link" if not self._up else f"none of {', '.join(sorted(self._up))} signed")]
