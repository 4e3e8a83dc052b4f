"""Birth with lost stores: the project's own next_life, over stale and fresh news in any order.

Each node shows its life; a shown life may be seen by another at any later time (in order). Born nodes promise only when complete.
A violation: two majorities of complete nodes that each promised another value, with no signature known to the other.
"""

from collections.abc import Hashable, Iterator
from typing import NamedTuple

from cometkms.rules.birth import Life, NodeState, next_life
from tests.model.explore import Result, Step, explore


class Node(NamedTuple):
    life: Life
    seen: tuple[Life | None, ...]  # the last word of each other, in this process
    value: int  # promised at the one place there is; 0: nothing
    wiped: int


class State(NamedTuple):
    nodes: tuple[Node, ...]
    losses: int


def nonce(number: int, wiped: int) -> bytes:
    return bytes([number, wiped, 0, 0, 0, 0, 0, 0])


def born_with_nonces(me: str, mine: Life, others: dict[str, Life], members: int) -> Life:
    return next_life(me, mine, others, members)


def born_without_nonces(me: str, mine: Life, others: dict[str, Life], members: int) -> Life:
    """A record is of names only: an old one fits a node that was wiped since."""

    def plain(life: Life) -> Life:
        return Life(life.state, b"", tuple((name, b"") for name, _ in life.record))

    return next_life(me, plain(mine), {name: plain(life) for name, life in others.items()}, members)


def promises_when_born(life: Life) -> bool:
    return life.state in (NodeState.BORN, NodeState.COMPLETE)


def promises_when_complete(life: Life) -> bool:
    return life.state is NodeState.COMPLETE


def check(members: int, losses: int, rule=born_with_nonces, promises=promises_when_complete, limit: int = 0) -> Result:  # type: ignore[no-untyped-def]
    names = [str(number) for number in range(members)]
    quorum = members // 2 + 1

    def successors(state: Hashable) -> Iterator[Step]:
        assert isinstance(state, State)
        for me, node in enumerate(state.nodes):
            for other, shown in enumerate(state.nodes):
                if other != me and node.seen[other] != shown.life:
                    seen = (*node.seen[:other], shown.life, *node.seen[other + 1 :])
                    yield f"{me} sees {other} {shown.life.state.name}", put(state, me, node._replace(seen=seen))
            known = {names[other]: life for other, life in enumerate(node.seen) if life is not None}
            after = rule(names[me], node.life, known, members)
            if after != node.life and after.state is not node.life.state:
                yield f"{me} becomes {after.state.name}", put(state, me, node._replace(life=after))
            if promises(node.life) and not node.value:
                for value in (1, 2):
                    yield f"{me} promises {value}", put(state, me, node._replace(value=value))
            if state.losses:
                fresh = Node(Life(NodeState.EMPTY, nonce(me, node.wiped + 1)), (None,) * members, 0, node.wiped + 1)
                if node.value or node.life.state is not NodeState.EMPTY:
                    wiped = state._replace(losses=state.losses - 1)
                    yield f"{me} LOSES its store (and born.json)", put(wiped, me, fresh)

    def put(state: State, number: int, node: Node) -> State:
        nodes = (*state.nodes[:number], node, *state.nodes[number + 1 :])
        return state._replace(nodes=nodes, **{})

    signed: dict[int, set[int]] = {}

    def broken(state: Hashable) -> bool:
        assert isinstance(state, State)
        for value in (1, 2):
            if sum(node.value == value for node in state.nodes) >= quorum:
                signed.setdefault(id(signed), set())
        return False

    del broken

    # What was ever signed is part of the state: a majority that promised a value once.
    def first() -> tuple[State, int]:
        empty = [Node(Life(NodeState.EMPTY, nonce(number, 0)), (None,) * members, 0, 0) for number in range(members)]
        return State(tuple(empty), losses), 0

    def with_signed(state: Hashable) -> Iterator[Step]:
        assert isinstance(state, tuple)
        inner, mask = state
        for step, after in successors(inner):
            assert isinstance(after, State)
            now = mask
            for value in (1, 2):
                if sum(node.value == value for node in after.nodes) >= quorum:
                    now |= value
            yield step, (after, now)

    return explore(first(), with_signed, lambda state: state[1] == 3, limit=limit)  # type: ignore[index]
