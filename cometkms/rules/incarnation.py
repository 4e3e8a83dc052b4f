"""One member, one store: which of the stores that ever stood for a member is the one that counts
(docs/ARCHITECTURE.md, rule 15). Pure.

A store's incarnation is (number, nonce); of two the higher counts, so that of two that began at
once the nonce decides. A store that takes another's place takes a number above all that anybody
knows, and is complete only when every other member has recorded it durably. From then on what the
earlier store's process sends is refused by all of them, whatever it reaches.

What a member X does with what bears an incarnation of a member M (promises, accepts, votes, reads,
hellos):

| it bears                                  | X                                                                                  |
|-------------------------------------------|------------------------------------------------------------------------------------|
| none yet: M's store takes one             | says what it knows of M, and takes no promise, accept or answer from it            |
| the one that X has recorded of M          | takes it                                                                           |
| a higher one, up to the ceiling           | records it durably, forgets the earlier one's connection, then takes it            |
| a higher one, above the ceiling           | refuses it: no store has begun so often                                            |
| a lower one                               | refuses it with the reason, and shows M's own signature over the higher one        |

The ceiling grows with the calendar, alike for all: whatever a liar took in M's name, the honest M
that comes back takes one above it, and all believe it, also those that the liar told nothing. A
largest step would have these refuse it for ever.

What M does with a record of itself that is higher than its own:

| M                                         | the record is signed by M's identity               | is not                        |
|-------------------------------------------|----------------------------------------------------|-------------------------------|
| has lost its store, and takes its place   | takes one above it                                 | likewise                      |
| else                                      | ends, for good: another store stands for M now     | says so, and goes on          |

When an answer to M's read counts (M has lost its store, or starts with strict_start):

| the answer is of X, and                                                | it counts                                           |
|------------------------------------------------------------------------|-----------------------------------------------------|
| X bears a lower incarnation than the reader, or any real answer, knows | no: it is of an earlier store of X                  |
| X had not recorded M's incarnation when it answered                    | no: X may still count the earlier store of M        |
| X answered with its marks, and knows less of another member that    | not yet: X may still count an earlier store of      |
| counts as read than that member itself bears                           | that member                                         |
| else                                                                   | yes                                                 |
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from cometkms.limits import (
    INCARNATION_PER_S,
    INCARNATION_ROOM,
    RAFT_COUNTED_FROM_UNIX_S,
    SEQ_RAISE_MAX,
    SEQ_RAISED_MAX,
    SEQ_STEP_MAX,
)
from cometkms.model import Incarnation

#: What is counted of members' words that are not taken, by name, beside the reasons of refused
#: promises: on incarnations, on seqs, and on the replicated log (state/raft/steps.py).
REFUSALS: Final = ("old_incarnation", "false_incarnation", "false_seq", "store_behind", "false_raft", "false_mark")

#: Of a store that was born with its cluster, or made before there were incarnations.
FIRST: Final = Incarnation(0, 0)


@dataclass(frozen=True, slots=True)
class Statement:
    """`member` began as `incarnation`. `signature`: of its identity over statement_bytes(); b"" for
    FIRST, which needs none."""

    member: str
    incarnation: Incarnation
    signature: bytes = b""


def statement_bytes(digest: bytes, member: str, incarnation: Incarnation) -> bytes:
    """What a member signs when it takes an incarnation. `digest`: of its epoch, ids and identity
    keys."""
    numbers = incarnation.number.to_bytes(8, "little") + incarnation.nonce.to_bytes(8, "little")
    return b"cometkms incarnation 1\0" + digest + numbers + member.encode()


class Verdict(Enum):
    """What to do with what bears an incarnation."""

    TAKE = "take"
    RECORD = "record"
    REFUSE = "refuse"
    ABSURD = "absurd"


def incarnation_ceiling(unix_s: float) -> int:
    """The highest number of an incarnation that is believed at that time, in seconds since 1970."""
    return INCARNATION_ROOM + INCARNATION_PER_S * max(0, int(unix_s) - RAFT_COUNTED_FROM_UNIX_S)


def judge(recorded: Incarnation, borne: Incarnation, ceiling: int = INCARNATION_ROOM) -> Verdict:
    """Judge a store's incarnation by the first table at the head of this module; what bears none
    yet is not judged."""
    if borne == recorded:
        return Verdict.TAKE
    if borne < recorded:
        return Verdict.REFUSE
    return Verdict.RECORD if borne.number <= ceiling else Verdict.ABSURD


def next_incarnation(known: Iterable[Incarnation], nonce: int) -> Incarnation:
    """Above all that are known. `nonce`: fresh."""
    return Incarnation(1 + max((one.number for one in known), default=0), nonce)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one member answered to one process's read.

    `order`: of arrival, growing. `real`: its marks, not "I am recovering too". `incarnation`: its
    own. `knows`: its records of the others when it answered.
    """

    order: int
    real: bool
    incarnation: Incarnation = FIRST
    knows: Mapping[str, Incarnation] | None = None

    def known(self, member: str) -> Incarnation:
        """Its record of a member."""
        return (self.knows or {}).get(member, FIRST)


def counting(
    me: str, mine: Incarnation, records: Mapping[str, Incarnation], answers: Mapping[str, Answer]
) -> dict[str, Answer]:
    """The answers that count, by the third table. `records`: the reader's own. `adopted` stores
    have no knowledge of the reader's claim."""
    highest = dict(records)
    for one in answers.values():
        for name, known in (one.knows or {}).items():
            highest[name] = max(known, highest.get(name, FIRST))
    current = {
        name: one
        for name, one in answers.items()
        if one.incarnation >= highest.get(name, FIRST) and (one.knows is None or one.known(me) == mine)
    }
    return {
        name: one
        for name, one in current.items()
        if not one.real
        or one.knows is None
        or all(one.known(other) >= its.incarnation for other, its in current.items() if other != name)
    }


def believable_seq(known: int, said: int) -> bool:
    """Whether a member's word on its seq is a step that promises can have made since its last on
    this connection. The first, in its hello, is taken whatever it is: a node that was away must
    believe those that were raised meanwhile."""
    return said - known <= SEQ_STEP_MAX


def raised_seq(own: int, remembered: int) -> int:
    """The seq that a store goes on from when a member remembers so many of its promises and every
    other one was read: above that, so that it is not accused again. Its own, where the word is one
    that promises cannot have made: it was then read all the same."""
    believable = remembered - own <= SEQ_RAISE_MAX and remembered < SEQ_RAISED_MAX
    return max(own, remembered + 1) if believable else own
