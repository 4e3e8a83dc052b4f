"""Birth with lost stores: the project's own next_life and record_shown, over stale and fresh news
in any order.

Each node shows its life; what it shows may be seen by another at any later time. What was ever
promised by a majority is part of the state: two values there are a violation. A node may lose its
store *and* born.json (with it, it would be recovering); one that recovers reads both others at once
(how it reads: promises.py).
"""

from collections.abc import Callable, Collection, Hashable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from cometkms.rules import birth
from cometkms.rules.birth import Life, NodeState, Record
from tests.model.explore import Result, Step, explore

Others = dict[str, Life]
BURNT = 3


class Node(NamedTuple):
    life: Life  # as it is durable
    seen: tuple[Life | None, ...]  # the last word of each other, in this process
    value: int  # promised at the one place there is; 0: nothing
    wiped: int


class State(NamedTuple):
    nodes: tuple[Node, ...]
    losses: int
    signed: int  # set of values that a majority promised


def nonce(number: int, wiped: int) -> bytes:
    return bytes([number, wiped, 0, 0, 0, 0, 0, 0])


@dataclass(frozen=True)
class Rule:
    """What a node becomes, and which record it shows, by the words of the others."""

    becomes: Callable[[str, Life, Record, Others, int], Life] = birth.next_life
    shows: Callable[[str, Life, Others, int, Collection[Record]], Record] = birth.record_shown


def _plain(life: Life) -> Life:
    return Life(life.state, bytes(8), tuple((name, bytes(8)) for name, _ in life.record))


def _becomes_without_nonces(me: str, mine: Life, shown: Record, others: Others, members: int) -> Life:
    """A record is of names only: an old one fits a node that was wiped since."""
    plain = {name: _plain(life) for name, life in others.items()}
    return birth.next_life(me, _plain(mine), _plain(Life(mine.state, b"", shown)).record, plain, members)


def _becomes_alone(me: str, mine: Life, shown: Record, others: Others, members: int) -> Life:
    """An empty directory is a new node."""
    del me, shown, others, members
    return Life(NodeState.COMPLETE) if mine.state is NodeState.EMPTY else mine


def _becomes_by_one_word(me: str, mine: Life, shown: Record, others: Others, members: int) -> Life:
    """One member's word that it is complete is enough."""
    if mine.state is NodeState.BORN and any(
        one.state is NodeState.COMPLETE and one.record == shown for one in others.values()
    ):
        return Life(NodeState.COMPLETE, mine.nonce, shown)
    return birth.next_life(me, mine, shown, others, members)


def _becomes_lost_by_one_word(me: str, mine: Life, shown: Record, others: Others, members: int) -> Life:
    """Whoever is shown one record without its nonce lost what it was, if the others are not empty."""
    grown = [one for one in others.values() if one.state in (NodeState.BORN, NodeState.COMPLETE)]
    told = mine.state is NodeState.EMPTY and any((me, mine.nonce) not in one.record for one in grown)
    if told and sum(one.state is not NodeState.EMPTY for one in others.values()) == members - 1:
        return Life(NodeState.RECOVERING)
    return birth.next_life(me, mine, shown, others, members)


def _becomes_by_any_record(me: str, mine: Life, shown: Record, others: Others, members: int) -> Life:
    """Whoever is shown a record that holds its nonce is born of it, whatever the others
    show of themselves.
    """
    for one in others.values():
        if mine.state is NodeState.EMPTY and (me, mine.nonce) in one.record:
            return Life(NodeState.BORN, mine.nonce, one.record)
    return birth.next_life(me, mine, shown, others, members)


def _shows_what_it_was_born_of(me: str, mine: Life, others: Others, members: int, before: Collection[Record]) -> Record:
    del me, others, members, before
    return mine.record


def _shows_without_memory(me: str, mine: Life, others: Others, members: int, before: Collection[Record]) -> Record:
    """What it has shown before is forgotten."""
    del before
    return birth.record_shown(me, mine, others, members)


def _shows_any(me: str, mine: Life, others: Others, members: int, before: Collection[Record]) -> Record:
    """The stores that others show, whether those of this node's birth are among them or not."""
    del before
    if mine.state is NodeState.BORN and len(others) == members - 1:
        return tuple(sorted([(me, mine.nonce), *((name, life.nonce) for name, life in others.items())]))
    return mine.record


WITHOUT_NONCES = Rule(_becomes_without_nonces)
ALONE = Rule(_becomes_alone)
BY_ONE_WORD = Rule(_becomes_by_one_word)
LOST_BY_ONE_WORD = Rule(_becomes_lost_by_one_word)
BY_ANY_RECORD = Rule(_becomes_by_any_record)
FIXED = Rule(shows=_shows_what_it_was_born_of)
WITHOUT_MEMORY = Rule(shows=_shows_without_memory)
ANY_STORES = Rule(shows=_shows_any)


def when_born(life: Life) -> bool:
    return life.state in (NodeState.BORN, NodeState.COMPLETE)


def when_complete(life: Life) -> bool:
    return life.state is NodeState.COMPLETE


class Views:
    """What one node becomes and shows by what it has seen."""

    def __init__(self, members: int, rule: Rule) -> None:
        self.members, self.rule = members, rule
        self.names = tuple(str(number) for number in range(members))
        self.shown = cache(self._shown)
        self.after = cache(self._after)

    def _shown(
        self, me: int, life: Life, seen: tuple[Life | None, ...], before: frozenset[Record] = frozenset()
    ) -> Life:
        record = self.rule.shows(self.names[me], life, self._known(seen), self.members, before)
        return Life(life.state, life.nonce, record)

    def _after(
        self, me: int, life: Life, seen: tuple[Life | None, ...], before: frozenset[Record] = frozenset()
    ) -> Life:
        shown = self.shown(me, life, seen, before).record
        return self.rule.becomes(self.names[me], life, shown, self._known(seen), self.members)

    def _known(self, seen: tuple[Life | None, ...]) -> Others:
        return {self.names[other]: life for other, life in enumerate(seen) if life is not None}

    def recovered(self, me: int, life: Life, others: list[Life]) -> Life | None:
        """One that lost what it was, when both others answer with their marks and show one record."""
        if life.state is not NodeState.RECOVERING or not all(when_born(one) for one in others):
            return None
        records = {one.record for one in others}
        return Life(NodeState.COMPLETE, life.nonce, records.pop()) if len(records) == 1 else None


class Model:
    def __init__(self, members: int, rule: Rule, promises: Callable[[Life], bool]) -> None:
        self.members, self.promises = members, promises
        self.views = Views(members, rule)
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
        shows = [self.views.shown(number, node.life, node.seen) for number, node in enumerate(state.nodes)]
        for me, node in enumerate(state.nodes):
            for other, shown in enumerate(shows):
                if other != me and node.seen[other] != shown:
                    seen = (*node.seen[:other], shown, *node.seen[other + 1 :])
                    yield f"{me} sees {other} {shown.state.name}", self.put(state, me, node._replace(seen=seen))
            after = self.views.after(me, node.life, node.seen)
            if after.state is not node.life.state:
                after = Life(after.state, node.life.nonce, after.record)
                yield f"{me} becomes {after.state.name}", self.put(state, me, node._replace(life=after))
            back = self.views.recovered(me, node.life, [one for other, one in enumerate(shows) if other != me])
            if back is not None:
                burnt = BURNT if any(one.value for other, one in enumerate(state.nodes) if other != me) else 0
                yield f"{me} RECOVERED", self.put(state, me, node._replace(life=back, value=burnt))
            if self.promises(node.life) and not node.value:
                # whoever promises 2 before 1 is signed could as well do it after that
                for value in (1, 2) if state.signed else (1,):
                    yield f"{me} promises {value}", self.put(state, me, node._replace(value=value))
            if state.losses and (node.value or node.life.state is not NodeState.EMPTY):
                lost = state._replace(losses=state.losses - 1)
                yield f"{me} LOSES everything", self.put(lost, me, self.empty(me, node.wiped + 1))


def check(
    members: int,
    losses: int,
    rule: Rule = Rule(),
    promises: Callable[[Life], bool] = when_complete,
    limit: int = 0,
) -> Result:
    model = Model(members, rule, promises)
    return explore(model.first(losses), model.successors, lambda state: state.signed == 3, limit=limit)  # type: ignore[attr-defined]


def walk(rule: Rule, steps: tuple[str, ...]) -> tuple[bool, str]:
    """Of three nodes, of which each may be lost: whether two values are signed at the end of these
    steps, and the one that cannot be gone.
    """
    model = Model(3, rule, when_complete)
    state = model.first(len(steps))
    for name in steps:
        after = next((after for step, after in model.successors(state) if step == name), None)
        if after is None:
            return False, name
        assert isinstance(after, State)
        state = after
    return state.signed == 3, ""


def deadlocks(members: int, losses: int) -> int:
    """States from which nobody can ever become complete without another fault, over all
    reachable ones.
    """
    model = Model(members, Rule(), lambda _life: False)
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
