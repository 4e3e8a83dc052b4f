"""Members change by an epoch step: which ways of sealing and beginning let two epochs, or one epoch
twice, sign two things at one place.

check(): old nodes promise one of two values at one place while they restart, read each other, lose
to an old copy (once), and are sealed for one of two lists; each list begins from the seals it can
get. Whether seals vouch is the project's own rule (cometkms/rules/epoch.py).

again(): three members of an epoch that has begun; one loses its store, and begins again from the
same seals or recovers.
"""

from collections.abc import Hashable, Iterator
from itertools import combinations
from typing import NamedTuple

from cometkms.rules.epoch import Standing, doubt
from tests.model.explore import Result, Step, explore

BURNT = 3  # what a node holds after it read another's promise
LISTS = (1, 2)


class Old(NamedTuple):
    """An old member.

    `promised`: 0, a value or BURNT; `confirmed`: read by its process against all others; `sealed`:
    for a list, or 0.
    """

    promised: int = 0
    confirmed: bool = True
    sealed: int = 0
    standing: Standing = Standing.CONFIRMED


class State(NamedTuple):
    """`begun`: of each list: 0 not yet, 2 the place is burnt, 3 it is free. `signed`: set of values
    that were signed, in any epoch.
    """

    old: tuple[Old, ...]
    begun: tuple[int, int] = (0, 0)
    signed: int = 0
    restarts: int = 0
    rollbacks: int = 0


def check(
    old: int,
    *,
    seals: int | None = None,
    sealing: bool = True,
    bound: bool = True,
    vouching: bool = True,
    restarts: int = 0,
    rollbacks: int = 0,
) -> Result:
    """`seals`: how many a list begins from at least (a majority by the rule); `sealing`: whether
    reading a mark also seals; `bound`: a seal serves the list alone that it names; `vouching`:
    seals that cannot show everything do not begin an epoch (without a burnt height).
    """
    quorum = old // 2 + 1
    least = quorum if seals is None else seals

    def successors(state: Hashable) -> Iterator[Step]:
        assert isinstance(state, State)
        for number, node in enumerate(state.old):
            if not node.sealed:
                yield from of_old(state, number, node)
        for place, name in enumerate(LISTS):
            yield from of_list(state, place, name)

    def put(state: State, number: int, node: Old, **more: int) -> State:
        return state._replace(old=(*state.old[:number], node, *state.old[number + 1 :]), **more)  # type: ignore[arg-type]

    def of_old(state: State, number: int, node: Old) -> Iterator[Step]:
        if node.confirmed and not node.promised:
            for value in (1, 2):
                after = put(state, number, node._replace(promised=value))
                held = sum(one.promised == value for one in after.old)
                signed = state.signed | (value if held >= quorum else 0)
                yield f"old {number} promises {value}", after._replace(signed=signed)
        # strict_start: all others answer
        if not node.confirmed and not any(one.sealed for one in state.old):
            others = {one.promised for index, one in enumerate(state.old) if index != number} - {0}
            read = node.promised or (BURNT if others else 0)
            yield f"old {number} reads the others", put(state, number, node._replace(promised=read, confirmed=True))
        if state.restarts < restarts:
            after = put(state, number, node._replace(confirmed=False), restarts=state.restarts + 1)
            yield f"old {number} restarts", after
        if state.rollbacks < rollbacks:
            after = put(state, number, Old(confirmed=False), rollbacks=state.rollbacks + 1)
            yield f"an old copy of {number} is put back", after
        if sealing:
            standing = Standing.CONFIRMED if node.confirmed and old > 1 else Standing.UNCONFIRMED
            for name in LISTS:
                yield (
                    f"old {number} is sealed for list {name}",
                    put(state, number, node._replace(sealed=name, standing=standing)),
                )

    def of_list(state: State, place: int, name: int) -> Iterator[Step]:
        begun = state.begun[place]

        def become(what: int) -> tuple[int, int]:
            return (what, state.begun[1]) if place == 0 else (state.begun[0], what)

        if not begun:
            usable = [
                n for n, one in enumerate(state.old) if not sealing or (one.sealed == name if bound else one.sealed)
            ]
            for count in range(least, len(usable) + 1):
                for chosen in combinations(usable, count):
                    if vouching and doubt(old, {str(n): state.old[n].standing for n in chosen}):
                        continue
                    shown = {state.old[n].promised for n in chosen} - {0}
                    yield f"list {name} begins from {chosen}", state._replace(begun=become(2 if shown else 3))
        elif begun == 3:  # nothing was shown at the place: the new members sign there what they are asked
            for value in (1, 2):
                yield (
                    f"list {name} signs {value}",
                    state._replace(signed=state.signed | value, begun=become(2)),
                )

    return explore(State((Old(),) * old), successors, lambda state: state.signed & 3 == 3)  # type: ignore[attr-defined]


def again(*, refuses: bool = True) -> Result:
    """Three members that begin one after the other; one of them loses its store.

    `refuses`: born.json keeps it from beginning again.

    Of each member: 0 it has not begun, 1 nothing promised, 2 and 3 a value, 4 burnt, 5
    its store is lost.
    """

    def successors(state: Hashable) -> Iterator[Step]:
        assert isinstance(state, tuple)
        members, signed, lost = state
        for number, store in enumerate(members):

            def after(value: int, number: int = number) -> tuple[int, ...]:
                return (*members[:number], value, *members[number + 1 :])

            if store == 0 or (store == 5 and not refuses):
                yield f"{number} begins", (after(1), signed, lost)
            if store == 1:
                for value in (2, 3):
                    promised = after(value)
                    yield (
                        f"{number} promises {value}",
                        (promised, signed | (value - 1 if promised.count(value) >= 2 else 0), lost),
                    )
            if store not in (0, 5) and not lost:
                yield f"{number} loses its store", (after(5), signed, 1)
            others = [one for index, one in enumerate(members) if index != number]
            if store == 5 and 0 not in others:  # it recovers: every other member is read
                yield f"{number} recovers", (after(4 if any(one in (2, 3, 4) for one in others) else 1), signed, lost)

    return explore(((0, 0, 0), 0, 0), successors, lambda state: state[1] == 3)  # type: ignore[index]
