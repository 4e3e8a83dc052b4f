"""Members change by an epoch step, or by editing lists node by node: which of them makes two majorities.

Old nodes promise one of two values at one place while they are sealed one after the other; the new epoch begins from some seals.
"""

from collections.abc import Hashable, Iterator
from itertools import combinations
from typing import NamedTuple

from tests.model.explore import Result, Step, explore


class State(NamedTuple):
    promised: tuple[int, ...]  # by each old node; 0: nothing
    sealed: tuple[bool, ...]
    begun: int  # 0: not yet; else 1 + the value the new epoch may not contradict (3: free)
    signed: int  # set of values that got a majority, in either epoch


def check(old: int, *, seals: int | None = None, sealing: bool = True) -> Result:
    """`seals`: how many the new epoch begins from (a majority by the rule); `sealing`: whether reading a mark also seals."""
    needed = old // 2 + 1 if seals is None else seals
    quorum = old // 2 + 1

    def successors(state: Hashable) -> Iterator[Step]:
        assert isinstance(state, State)
        for node in range(old):
            if not state.sealed[node] and not state.promised[node]:
                for value in (1, 2):
                    promised = (*state.promised[:node], value, *state.promised[node + 1 :])
                    signed = state.signed | (value if promised.count(value) >= quorum else 0)
                    yield f"old {node} promises {value}", state._replace(promised=promised, signed=signed)
            if sealing and not state.sealed[node]:
                sealed = (*state.sealed[:node], True, *state.sealed[node + 1 :])
                yield f"old {node} is sealed", state._replace(sealed=sealed)
        if not state.begun:
            for chosen in combinations(range(old), needed):
                if sealing and not all(state.sealed[node] for node in chosen):
                    continue
                shown = {state.promised[node] for node in chosen} - {0}
                yield f"begins from {chosen}", state._replace(begun=2 if shown else 3)
        elif state.begun == 3:  # nothing was shown at the place: the new members sign there what they are asked
            for value in (1, 2):
                if not state.signed & 4 << value:
                    yield f"the new epoch signs {value}", state._replace(signed=state.signed | value, begun=2)

    first = State((0,) * old, (False,) * old, 0, 0)
    return explore(first, successors, lambda state: state.signed & 3 == 3)  # type: ignore[attr-defined]
