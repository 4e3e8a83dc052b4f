"""Birth with lost stores: the project's own next_life, over stale and fresh news in any order.

Each node shows its life; what it shows may be seen by another at any later time. What was ever promised by a majority is part
of the state: two values there are a violation. A node may lose its store *and* born.json (with it, it would be recovering).
"""

from collections.abc import Callable, Hashable, Iterator
from typing import NamedTuple

from cometkms.rules.birth import Life, NodeState, next_life
from tests.model.explore import Result, Step, explore

Rule = Callable[[str, Life, dict[str, Life], int], Life]
Promises = Callable[[Life], bool]


class Node(NamedTuple):
    life: Life
    seen: tuple[Life | None, ...]  # the last word of each other, in this process
    value: int  # promised at the one place there is; 0: nothing
    wiped: int


class State(NamedTuple):
    nodes: tuple[Node, ...]
    losses: int
    signed: int  # set of values that a majority promised


def nonce(number: int, wiped: int) -> bytes:
    return bytes([number, wiped, 0, 0, 0, 0, 0, 0])


def without_nonces(me: str, mine: Life, others: dict[str, Life], members: int) -> Life:
    """A record is of names only: an old one fits a node that was wiped since."""

    def plain(life: Life) -> Life:
        return Life(life.state, b"", tuple((name, b"") for name, _ in life.record))

    return next_life(me, plain(mine), {name: plain(life) for name, life in others.items()}, members)


def alone(me: str, mine: Life, others: dict[str, Life], members: int) -> Life:
    """An empty directory is a new node."""
    del me, others, members
    return Life(NodeState.COMPLETE) if mine.state is NodeState.EMPTY else mine


def when_born(life: Life) -> bool:
    return life.state in (NodeState.BORN, NodeState.COMPLETE)


def when_complete(life: Life) -> bool:
    return life.state is NodeState.COMPLETE


class Model:
    def __init__(self, members: int, rule: Rule, promises: Promises) -> None:
        self.members, self.rule, self.promises = members, rule, promises
        self.names = [str(number) for number in range(members)]
        self.quorum = members // 2 + 1

    def first(self, losses: int) -> State:
        return State(tuple(self.empty(number, 0) for number in range(self.members)), losses, 0)

    def empty(self, number: int, wiped: int) -> Node:
        return Node(Life(NodeState.EMPTY, nonce(number, wiped)), (None,) * self.members, 0, wiped)

    def put(self, state: State, number: int, node: Node) -> State:
        nodes = (*state.nodes[:number], node, *state.nodes[number + 1 :])
        signed = state.signed
        for value in (1, 2):
            if sum(one.value == value for one in nodes) >= self.quorum:
                signed |= value
        return state._replace(nodes=nodes, signed=signed)

    def successors(self, state: Hashable) -> Iterator[Step]:
        assert isinstance(state, State)
        for me, node in enumerate(state.nodes):
            for other, shown in enumerate(state.nodes):
                if other != me and node.seen[other] != shown.life:
                    seen = (*node.seen[:other], shown.life, *node.seen[other + 1 :])
                    yield f"{me} sees {other} {shown.life.state.name}", self.put(state, me, node._replace(seen=seen))
            known = {self.names[other]: life for other, life in enumerate(node.seen) if life is not None}
            after = self.rule(self.names[me], node.life, known, self.members)
            if after.state is not node.life.state:
                yield f"{me} becomes {after.state.name}", self.put(state, me, node._replace(life=after))
            if self.promises(node.life) and not node.value:
                for value in (1, 2):
                    yield f"{me} promises {value}", self.put(state, me, node._replace(value=value))
            if state.losses and (node.value or node.life.state is not NodeState.EMPTY):
                lost = state._replace(losses=state.losses - 1)
                yield f"{me} LOSES everything", self.put(lost, me, self.empty(me, node.wiped + 1))


def check(
    members: int, losses: int, rule: Rule = next_life, promises: Promises = when_complete, limit: int = 0
) -> Result:  # fmt: skip
    model = Model(members, rule, promises)  # type: ignore[arg-type]
    return explore(model.first(losses), model.successors, lambda state: state.signed == 3, limit=limit)  # type: ignore[attr-defined]


def deadlocks(members: int, losses: int) -> int:
    """States from which nobody can ever become complete without another fault, over all reachable ones."""
    model = Model(members, next_life, lambda _life: False)  # type: ignore[arg-type]
    reachable: set[State] = set()

    def note(state: Hashable) -> bool:
        assert isinstance(state, State)
        reachable.add(state)
        return False

    first = model.first(losses)
    reachable.add(first)
    explore(first, model.successors, note)
    stuck = 0
    for state in reachable:
        calm = state._replace(losses=0)
        found = explore(calm, model.successors, lambda one: any(n.life.state is NodeState.COMPLETE for n in one.nodes))  # type: ignore[attr-defined]
        done = any(node.life.state is NodeState.COMPLETE for node in state.nodes)
        stuck += found.holds and not done
    return stuck
