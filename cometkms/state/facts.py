"""What the members say of themselves in their hellos, and where that differs in a way that matters.

Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cometkms.board.sections import SEALED_FOR_FACT, DifferenceReport
from cometkms.config.facts import sealed_for_fact
from cometkms.errors import StateError
from cometkms.limits import LEADER_NEAREST
from cometkms.model import Row, quorum_of
from cometkms.state.favourite import PRIORITY_FACT
from cometkms.store.another_key import short
from cometkms.wire.peer_messages import Facts

#: Facts that should be alike on every node; the others are shown only. Of
#: leader_priority only the kind: a number here and `nearest` there are not compared by
#: those who decide whom the lead returns to.
COMPARED: Final = ("default_ttl_ms", "strict_start", "validators", "signed_bytes", "noise_identity")
#: A member that says so takes its leader's requests for promises for heartbeats; of one that does
#: not the leader's heartbeats never rest.
RENEWAL_FACT: Final = "renewal"
RENEWAL: Final = "promises"
#: A process whose store is sealed says so: it promises nothing more, and is no part of
#: a second majority.
LIFE_FACT: Final = "life"
SEALED: Final = "sealed"
#: A member whose promise store is gone from its name says so: it promises nothing until it is back.
STORE_FACT: Final = "store"
STORE_GONE: Final = "gone"


@dataclass(frozen=True, slots=True)
class SelfReport:
    """What one member said of itself."""

    version: str
    facts: Facts
    rows: frozenset[Row]


@dataclass(frozen=True, slots=True)
class Difference:
    """`here`, `there`: both values in words."""

    member: str
    what: str
    here: str
    there: str

    def document(self) -> DifferenceReport:
        """Return what the status board shows."""
        return DifferenceReport(member=self.member, what=self.what, here=self.here, there=self.there)


def differences(member: str, mine: SelfReport, theirs: SelfReport) -> tuple[Difference, ...]:
    """Return the differences in a fixed order; a fact that one of the two does not tell is none."""
    found = []
    if mine.version != theirs.version:
        found.append(Difference(member, "version", mine.version, theirs.version))
    here, there = dict(mine.facts), dict(theirs.facts)
    found += [
        Difference(member, name, here[name], there[name])
        for name in COMPARED
        if name in here and name in there and here[name] != there[name]
    ]
    priorities = here.get(PRIORITY_FACT), there.get(PRIORITY_FACT)
    if None not in priorities and priorities[0] != priorities[1] and LEADER_NEAREST in priorities:
        found.append(Difference(member, PRIORITY_FACT, str(priorities[0]), str(priorities[1])))
    if mine.rows != theirs.rows:
        only_here, only_there = _row_words(mine.rows - theirs.rows), _row_words(theirs.rows - mine.rows)
        found.append(Difference(member, "chains", only_here, only_there))
    return tuple(found)


def refuse_other_list(me: str, following: Sequence[str], others: Mapping[str, Facts]) -> None:
    """No epoch begins from seals for different lists, and of three members that leaves none.

    `others`: what each last said of itself. Raises: StateError where one is sealed for another
    list.
    """
    mine = sealed_for_fact(following)
    told = {name: dict(facts).get(SEALED_FOR_FACT, mine) for name, facts in others.items()}
    odd = {name: whom for name, whom in told.items() if whom != mine}
    if not odd:
        return
    names, size = ", ".join(odd), len(others) + 1
    left = ", ".join(sorted({me, *others} - set(odd)))
    raise StateError(
        f"{'; '.join(f'{name} is sealed for {whom}' for name, whom in odd.items())}, and this would seal {me} for {mine}: seals for different lists begin "
        f"no epoch together. {me} is not sealed",
        cure=f"here the same change as there, with the same ids; another one after it. Where that one cannot be finished any more, or {names} should "
        f"lie, and {quorum_of(size)} of {left} can be sealed for this list: this command with --although-sealed-for-others (docs/RUNBOOK.md, members "
        "are sealed for different lists)",
    )


def _row_words(rows: frozenset[Row]) -> str:
    words = sorted(f"{row.chain_id} with the key {short(row)}" for row in rows)
    return ", ".join(words) or "nothing more"
