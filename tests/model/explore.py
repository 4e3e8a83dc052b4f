"""Breadth-first search of every reachable state.

States are tuples; a violation comes with the shortest way to it.
"""

import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field

Step = tuple[str, Hashable]
Successors = Callable[[Hashable], Iterable[Step]]


@dataclass(frozen=True)
class Result:
    """`trace`: the steps to a violation; empty when it holds.

    `exhaustive`: every reachable state was seen.
    """

    states: int
    seconds: float
    exhaustive: bool
    trace: tuple[str, ...] = field(default=())

    @property
    def holds(self) -> bool:
        return not self.trace

    def __str__(self) -> str:
        if self.trace:
            return f"VIOLATES in {len(self.trace)} steps"
        return "HOLDS, exhaustive" if self.exhaustive else "no violation (bounded)"


def explore(
    first: Hashable,
    successors: Successors,
    broken: Callable[[Hashable], bool],
    *,
    canonical: Callable[[Hashable], Hashable] = lambda state: state,
    limit: int = 0,
) -> Result:
    """`canonical`: one representative of states that are the same but for names.

    `limit`: of states; 0: none.
    """
    began = time.monotonic()
    seen = {canonical(first)}
    came: dict[Hashable, tuple[Hashable, str] | None] = {first: None}
    waiting = deque([first])
    while waiting:
        state = waiting.popleft()
        for step, after in successors(state):
            key = canonical(after)
            if key in seen:
                continue
            seen.add(key)
            came[after] = (state, step)
            if broken(after):
                return Result(len(seen), time.monotonic() - began, False, _trace(came, after))
            waiting.append(after)
        if limit and len(seen) >= limit:
            return Result(len(seen), time.monotonic() - began, False)
    return Result(len(seen), time.monotonic() - began, True)


def _trace(came: dict[Hashable, tuple[Hashable, str] | None], state: Hashable) -> tuple[str, ...]:
    steps = []
    while (before := came[state]) is not None:
        state, step = before
        steps.append(step)
    return tuple(reversed(steps))
