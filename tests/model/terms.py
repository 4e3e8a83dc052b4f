"""Rule 12: members stand for election, vote, and lose what they knew of terms and votes, in any
order. No term has two leaders.

A leader is a process: a member that lost its journal and leads again in a term in which
it led is two.

    stand ─▶ request (delivered whenever, to anybody, as often as it likes) ─▶ vote (counted whenever) ─▶ a majority leads
"""

from collections.abc import Hashable, Iterator
from typing import NamedTuple

from tests.model.explore import Result, Step, explore

# each leap ends where no term was ever seen: that is what a random distance of 32 bits is for
LEAP = 100


class Member(NamedTuple):
    """`life`: grows with each lost journal.

    `votes`: a set of members; empty unless it is a candidate. `fresh`: it has not led since.
    """

    term: int = 0
    voted: int = -1
    votes: int = 0
    leads: bool = False
    life: int = 0
    fresh: bool = False


class State(NamedTuple):
    members: tuple[Member, ...]
    requests: frozenset[tuple[int, int]]  # term, candidate
    votes: frozenset[tuple[int, int, int]]  # term, candidate, voter
    led: frozenset[tuple[int, int, int]]  # term, member, life
    stands: int
    losses: int
    restarts: int
    leaps: int = 0


def check(
    nodes: int, *, stands: int, losses: int, restarts: int = 0, own_terms: bool = True, leap: bool = True
) -> Result:
    """`own_terms`: a term belongs to one member.

    `leap`: a member without memory stands far above what it sees. Budgets: the others.
    """
    quorum = nodes // 2 + 1

    def replace(state: State, number: int, member: Member, **more: object) -> State:
        members = (*state.members[:number], member, *state.members[number + 1 :])
        return state._replace(members=members, **more)  # type: ignore[arg-type]

    def next_term(state: State, member: Member, number: int) -> int:
        leaps = member.fresh and leap
        above = (max(member.term, LEAP * (state.leaps + 1)) if leaps else member.term) + 1
        return above + (number - above) % nodes if own_terms else above

    def elections(state: State) -> Iterator[Step]:
        for number, member in enumerate(state.members):
            if state.stands and not member.leads:
                term, leaps = next_term(state, member, number), state.leaps + (member.fresh and leap)
                after = member._replace(term=term, voted=number, votes=1 << number)
                requests = state.requests | {(term, number)}
                yield (
                    f"{number} stands in {term}",
                    replace(state, number, after, requests=requests, stands=state.stands - 1, leaps=leaps),
                )
        for term, candidate in state.requests:
            for number, member in enumerate(state.members):
                if number == candidate or term < member.term:
                    continue
                if term > member.term:
                    member = member._replace(term=term, voted=-1, votes=0, leads=False)
                votes = state.votes
                if member.voted == -1:
                    member = member._replace(voted=candidate)
                    votes = votes | {(term, candidate, number)}
                yield f"{number} hears {candidate}'s request in {term}", replace(state, number, member, votes=votes)
        for term, candidate, voter in state.votes:
            member = state.members[candidate]
            if member.term != term or not member.votes or member.leads:
                continue
            votes_now = member.votes | 1 << voter
            led = state.led
            after = member._replace(votes=votes_now)
            if votes_now.bit_count() >= quorum:
                after, led = after._replace(leads=True, fresh=False), led | {(term, candidate, member.life)}
            yield f"{candidate} counts {voter}'s vote in {term}", replace(state, candidate, after, led=led)

    def successors(state: Hashable) -> Iterator[Step]:
        assert isinstance(state, State)
        yield from elections(state)
        for number, member in enumerate(state.members):
            if state.losses:
                after = Member(life=member.life + 1, fresh=True)
                yield f"{number} loses its journal", replace(state, number, after, losses=state.losses - 1)
            if state.restarts and member.votes:
                after = member._replace(votes=0, leads=False)
                yield f"{number} starts again", replace(state, number, after, restarts=state.restarts - 1)

    def broken(state: Hashable) -> bool:
        assert isinstance(state, State)
        terms = [term for term, _, _ in state.led]
        return len(terms) != len(set(terms))

    first = State((Member(),) * nodes, frozenset(), frozenset(), frozenset(), stands, losses, restarts)
    return explore(first, successors, broken)
