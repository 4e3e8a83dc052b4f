"""One malicious member of three: 0 and 1 are honest, 2 says anything at any time, until it is gone
and an honest 2 is back with an empty store.

What it says of promises (accepts of anything, answers in another's name), of what it remembers
(rule 8), of a third one's incarnation (rule 15) and of terms (rule 12). The decisions on answers,
incarnations, ends of recoveries and terms are the project's own functions.

Bad is: two values permitted at the place where neither permit needed 2; or 2 is gone and an honest
one back, and whatever the honest do, some of them never promise again, do not count each other, or
have no term left to stand in.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from cometkms.limits import RAFT_COUNTED_FROM_UNIX_S
from cometkms.model import Incarnation
from cometkms.rules.incarnation import FIRST, Answer, Verdict, counting, judge
from cometkms.rules.recovery import may_end
from cometkms.state.raft.steps import term_ceiling, unbelieved
from cometkms.state.raft.wire import TERM_MAX
from tests.model.explore import Result, Step, explore

NORMAL, CHECKING, RECOVERING = range(3)
ROGUE = 2
NAMES = ("0", "1", "2")
BURNT = -1
NOW = RAFT_COUNTED_FROM_UNIX_S + 3600.0
HIGHER = Incarnation(1, 1)
TERMS = (term_ceiling(NOW) - 1, term_ceiling(NOW), term_ceiling(NOW) + 1, TERM_MAX - 1)


class Honest(NamedTuple):
    """`mark`: 0, a value, or BURNT. `counted`: per value the members whose accept its process
    counted, as bits; 0: not proposed. `records`: the incarnation that it has recorded of the other
    honest one. `accused`: by 2.
    """

    mark: int = 0
    mode: int = NORMAL
    counted: tuple[int, int] = (0, 0)
    records: Incarnation = FIRST
    accused: bool = False
    term: int = 1


class State(NamedTuple):
    honest: tuple[Honest, Honest]
    permits: frozenset[tuple[int, int]] = frozenset()  # value, members counted
    gone: bool = False


@dataclass(frozen=True)
class Guards:
    """Each may be taken away."""

    in_own_name: bool = True  # rule 3: an accept counts for whom it was asked of
    majority_accuses: bool = True  # rule 8: one member's memory makes no node a recovering one …
    while_there: bool = True  # … and what it makes it read first ends with the member's connection
    # rule 15: of a third member only that one's own signature is believed
    own_signature: bool = True
    ceiling: bool = True  # rule 12: no term above the ceiling


class Model:
    def __init__(self, guards: Guards) -> None:
        self.g = guards

    def put(self, state: State, number: int, one: Honest) -> State:
        honest = (one, state.honest[1]) if number == 0 else (state.honest[0], one)
        return state._replace(honest=honest)

    def successors(self, state: Hashable) -> Iterator[Step]:
        assert isinstance(state, State)
        for number, one in enumerate(state.honest):
            yield from self.promises(state, number, one)
            if not state.gone:
                yield from self.lies(state, number, one)
        if not state.gone:
            yield "2 is gone, and back with nothing", state._replace(gone=True)

    def counts(self, state: State, number: int, value: int, who: int) -> State:
        one = state.honest[number]
        counted = list(one.counted)
        counted[value - 1] |= 1 << who
        after = self.put(state, number, one._replace(counted=(counted[0], counted[1])))
        mask = counted[value - 1]
        return after._replace(permits=after.permits | {(value, mask)}) if mask.bit_count() >= 2 else after

    def promises(self, state: State, number: int, one: Honest) -> Iterator[Step]:
        """Self first; the other honest one accepts by rule 1 and 15, 2 accepts anything."""
        other = state.honest[1 - number]
        for value in (1, 2):
            proposed = one.counted[value - 1]
            if one.mode == NORMAL and not proposed and one.mark in (0, value):
                begun = self.put(state, number, one._replace(mark=value))
                yield f"{number} proposes {value}", self.counts(begun, number, value, number)
            if not proposed:
                continue
            takes = other.mode == NORMAL and other.mark in (0, value) and other.records == FIRST
            if takes and one.records == FIRST:
                held = self.put(state, 1 - number, other._replace(mark=value))
                yield f"{1 - number} accepts {value} for {number}", self.counts(held, number, value, 1 - number)
            if not state.gone:
                yield f"2 accepts {value} for {number}", self.counts(state, number, value, ROGUE)
                if not self.g.in_own_name:
                    yield f"2 accepts {value} in {1 - number}'s name", self.counts(state, number, value, 1 - number)

    def lies(self, state: State, number: int, one: Honest) -> Iterator[Step]:
        if one.mode == NORMAL and self.g.majority_accuses:
            yield f"2 remembers more of {number}", self.put(state, number, one._replace(mode=CHECKING, accused=True))
        elif one.mode == NORMAL:
            yield (
                f"2 remembers more of {number}",
                self.put(state, number, one._replace(mode=RECOVERING, counted=(0, 0))),
            )
        if one.mode == CHECKING:
            yield f"2 answers {number}'s read", self.put(state, number, one._replace(mode=NORMAL, accused=False))
        if judge(one.records, HIGHER) is Verdict.RECORD and not self.g.own_signature:
            yield f"2 says that {1 - number} began anew", self.put(state, number, one._replace(records=HIGHER))
        for term in TERMS:
            said = unbelieved("2", {"type": "x_newer_term", "term": term}, NAMES, NOW)
            if term > one.term and not (said and self.g.ceiling):
                yield f"2 says term {term} to {number}", self.put(state, number, one._replace(term=term))

    def broken(self, state: Hashable) -> bool:
        assert isinstance(state, State)
        unaided = {value for value, mask in state.permits if mask & 3 == 3}
        return len(unaided) > 1 or (state.gone and not self.goes_on(state.honest))

    def goes_on(self, honest: tuple[Honest, Honest]) -> bool:
        """Whether in the end all three promise, the honest two count each other, and each of them
        has a term to stand in.
        """
        modes = tuple(one.mode for one in honest)
        return self.settled(modes, honest[0].records, honest[1].records) and all(
            one.term + 3 < TERM_MAX for one in honest
        )

    @cache  # noqa: B019 - one model, one exploration
    def settled(self, modes: tuple[int, int], first: Incarnation, second: Incarnation) -> bool:
        now = [*modes, RECOVERING]
        records = ({"1": first}, {"0": second}, {})
        for _ in range(3):
            for number in range(3):
                if now[number] == CHECKING:
                    everybody = all(now[other] != RECOVERING for other in range(3) if other != number)
                    now[number] = NORMAL if self.g.while_there or everybody else CHECKING
                elif now[number] == RECOVERING and self.may_end(number, now, records):
                    now[number] = NORMAL
        return now == [NORMAL] * 3 and first == second == FIRST

    def may_end(self, number: int, modes: list[int], records: tuple[dict[str, Incarnation], ...]) -> bool:
        """A recovering node asks: who starts gives it nothing, who recovers says so, and the rest
        come after that.
        """
        answers = {
            NAMES[other]: Answer(1 if modes[other] == NORMAL else 0, modes[other] == NORMAL, FIRST, records[other])
            for other in range(3)
            if other != number and modes[other] != CHECKING
        }
        return may_end(3, counting(NAMES[number], FIRST, records[number], answers))


def check(**guards: bool) -> Result:
    """`guards`: those that are taken away, as False."""
    model = Model(Guards(**guards))
    return explore(State((Honest(), Honest())), model.successors, model.broken)
