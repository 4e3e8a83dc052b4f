"""A liar at a cluster's birth: 0 and 1 are honest, 2 shows each of them any life at any time, until
it is gone and an honest 2 is back.

What the honest ones become and show is the project's own next_life and record_shown
(cometkms/rules/birth.py).

Bad is: an honest one takes what is said for the loss of its store; or, once 2 is honest and words
arrive, not all three can become complete any more. 0 and 1 may have become complete of two records,
each by an old word of the other and the liar's: then they sign, and 2 does not recover by itself.
"""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace

from cometkms.rules.birth import Life, NodeState, Record
from tests.model.birth import Rule, Views
from tests.model.explore import Result

LIAR = 2
A, B, X, Y, Z, JUNK = (bytes([number]) * 8 for number in (1, 2, 3, 4, 5, 9))

#: Of each node: its life, and what it has seen of 0, 1 and 2, each by its number in _Lives, 0:
#: nothing; and the records that it has shown, as bits. Without 2 while the liar is there.
Node = tuple[int, int, int, int, int]
State = tuple[Node, ...]


def record(a: bytes, b: bytes, x: bytes) -> Record:
    return (("0", a), ("1", b), ("2", x))


RECORDS = (record(A, B, X), record(A, B, Y), record(A, JUNK, X), record(JUNK, B, X))
LIES = (
    Life(NodeState.EMPTY, X),
    Life(NodeState.EMPTY, Y),
    Life(NodeState.RECOVERING, Y),
    *(Life(NodeState.BORN, X, one) for one in RECORDS[:1]),
    *(Life(NodeState.COMPLETE, X, one) for one in RECORDS),
)
#: As what 2 is back: what it was, with nothing, or knowing that it lost what it was.
BACK = {
    "as it was": Life(NodeState.EMPTY, X),
    "with nothing": Life(NodeState.EMPTY, Z),
    "without its store": Life(NodeState.RECOVERING, Z),
    "born": Life(NodeState.BORN, X, RECORDS[0]),
}


class _Lives:
    """Lives by number, and what a node becomes and shows, so that states are small."""

    def __init__(self, rule: Rule) -> None:
        self._views = Views(3, rule)
        self._lives: list[Life | None] = [None]
        self._numbers: dict[Life | None, int] = {None: 0}
        self._shown: dict[tuple[int, Node], int] = {}
        self._after: dict[tuple[int, Node], int] = {}
        self._records: list[Record] = []

    def number(self, life: Life) -> int:
        if life not in self._numbers:
            self._numbers[life] = len(self._lives)
            self._lives.append(life)
        return self._numbers[life]

    def life(self, number: int) -> Life:
        life = self._lives[number]
        assert life is not None
        return life

    def _of(self, node: Node) -> tuple[Life, tuple[Life | None, ...], frozenset[Record]]:
        before = frozenset(one for number, one in enumerate(self._records) if node[4] >> number & 1)
        return self.life(node[0]), tuple(self._lives[one] for one in node[1:4]), before

    def shown(self, me: int, node: Node) -> int:
        if (me, node) not in self._shown:
            self._shown[me, node] = self.number(self._views.shown(me, *self._of(node)))
        return self._shown[me, node]

    def after(self, me: int, node: Node) -> int:
        if (me, node) not in self._after:
            before, seen, records = self._of(node)
            after = self._views.after(me, before, seen, records)
            self._after[me, node] = (
                node[0] if after.state is before.state else self.number(replace(after, nonce=before.nonce))
            )
        return self._after[me, node]

    def remembering(self, me: int, node: Node) -> Node:
        """The node with what it shows now among what it has shown."""
        life = self.life(self.shown(me, node))
        if life.state is not NodeState.BORN:
            return (*node[:4], 0)
        if life.record not in self._records:
            self._records.append(life.record)
        return (*node[:4], node[4] | 1 << self._records.index(life.record))

    def recovered(self, me: int, life: int, others: list[int]) -> int:
        after = self._views.recovered(me, self.life(life), [self.life(one) for one in others])
        return self.number(after) if after is not None else life


class _Search:
    def __init__(self, back: str, rule: Rule) -> None:
        self.lives = _Lives(rule)
        self.back = back
        self.back_as = self.lives.number(BACK[back])
        self.lies = [self.lives.number(one) for one in LIES]
        self.first: State = tuple((self.lives.number(Life(NodeState.EMPTY, one)), 0, 0, 0, 0) for one in (A, B))

    def successors(self, state: State) -> Iterator[tuple[str, State]]:
        shows = [self.lives.shown(number, node) for number, node in enumerate(state)]
        for me, node in enumerate(state):

            def put(name: str, after: Node, me: int = me) -> tuple[str, State]:
                return name, (*state[:me], self.lives.remembering(me, after), *state[me + 1 :])

            for other, shown in enumerate(shows):
                if other != me and node[1 + other] != shown:
                    yield put(f"{me} sees {other}", (*node[: 1 + other], shown, *node[2 + other :]))  # type: ignore[arg-type]
            grown = self.lives.after(me, node)
            if grown == node[0] and len(state) > LIAR:
                grown = self.lives.recovered(me, node[0], [one for other, one in enumerate(shows) if other != me])
            if grown != node[0]:
                yield put(f"{me} is {self.lives.life(grown).state.name}", (grown, *node[1:]))
            if len(state) == LIAR:
                for lie in self.lies:
                    if node[3] != lie:
                        said = self.lives.life(lie)
                        yield put(f"2 shows {me} {said.state.name} {said.record}", (*node[:3], lie, node[4]))
        if len(state) == LIAR and self.may_be_back(state):
            yield f"the liar is gone, 2 is back {self.back}", (*state, (self.back_as, 0, 0, 0, 0))

    def may_be_back(self, state: State) -> bool:
        """One that knows of its birth and two that are empty wait for the operator, liar or not:
        all three may have lost what they were.
        """
        born = any(self.lives.life(node[0]).state is not NodeState.EMPTY for node in state)
        return born or self.lives.life(self.back_as).state is not NodeState.RECOVERING

    def lost(self, state: State) -> bool:
        """Whether an honest one takes itself for one that lost its store."""
        return any(self.lives.life(node[0]).state is NodeState.RECOVERING for node in state[:LIAR])

    def done(self, state: State) -> bool:
        lives = [self.lives.life(node[0]) for node in state]
        complete = [one for one in lives if one.state is NodeState.COMPLETE]
        return len(complete) == len(lives) or (complete == lives[:LIAR] and lives[0].record != lives[1].record)


def check(back: str, rule: Rule = Rule()) -> Result:  # noqa: B008 - frozen
    """`back`: as what 2 comes back (BACK)."""
    began = time.monotonic()
    search = _Search(back, rule)
    came: dict[State, tuple[State, str] | None] = {search.first: None}
    ways: dict[State, list[State]] = {}  # to a state, once 2 is honest
    waiting, ends = deque([search.first]), []
    bad: State | None = None
    while waiting and bad is None:
        state = waiting.popleft()
        for step, after in search.successors(state):
            if len(state) > LIAR:
                ways.setdefault(after, []).append(state)
            if after in came:
                continue
            came[after] = (state, step)
            waiting.append(after)
            if search.lost(after):
                bad = after
                break
            if len(after) > LIAR and search.done(after):
                ends.append(after)
    if bad is None:
        bad = _stuck(came, ways, ends)
    steps = []
    at = bad
    while at is not None and (before := came[at]) is not None:
        at, step = before
        steps.append(step)
    return Result(len(came), time.monotonic() - began, bad is None, tuple(reversed(steps)))


def _stuck(
    came: dict[State, tuple[State, str] | None], ways: dict[State, list[State]], ends: list[State]
) -> State | None:
    """The first state with an honest 2 from which no end is reached."""
    alive, waiting = set(ends), deque(ends)
    while waiting:
        for state in ways.get(waiting.popleft(), ()):
            if state not in alive:
                alive.add(state)
                waiting.append(state)
    return next((state for state in came if len(state) > LIAR and state not in alive), None)
