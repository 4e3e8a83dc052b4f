"""How an empty node becomes one that promises (docs/ARCHITECTURE.md, rule 9). Pure: no clock, no
I/O.

A store has a nonce for life. A record is all members' nonces. What a node shows:

| this node | shows                                                                                      |
|-----------|--------------------------------------------------------------------------------------------|
| empty     | its nonce                                                                                  |
| born      | its nonce, and a record: the one that a complete member shows, where it may be this node's |
|           | (below); else all nonces as their own members show them, where enough of these stood in    |
|           | the record of its birth; else the record of its birth                                      |
| complete  | its record, for ever                                                                       |

What it becomes:

| this node   | what the others show                                              | becomes                              |
|-------------|-------------------------------------------------------------------|--------------------------------------|
| empty, born | records that others confirm and that do not hold this node's      | recovering, if a majority (of two:   |
|             | nonce, or that they lost what they were                           | the other) shows it; else it waits   |
| empty       | every member empty; or some born, which show all nonces as this   | born: with that record               |
|             | node sees them, and the rest empty or recovering; or all one      |                                      |
|             | record with this node's nonce, some recovering apart              |                                      |
| born        | every member the record that this node shows, or two complete     | complete, of that record             |
|             | ones                                                              |                                      |
| else        |                                                                   | stays                                |

Why nothing is forgotten: two stores promised together only when both were complete of one record,
which then every member had been born of, with the store that it had. A complete one never shows
another record. So whoever comes to another record finds either one of the two, which does not show
it; or both lost, and then too few of the nonces in the record of the third one's birth are shown
any more, whatever it has heard late.

Why one liar stops nobody for longer than he is there: what a born node shows follows the others as
they are, and nothing of it is durable. An honest node shows no record that lacks the nonce which
another honest one shows, so two liars are needed to tell a node that it lost what it was.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from cometkms.limits import BIRTH_NONCE_BYTES
from cometkms.model import quorum_of

#: All (id, nonce) of a birth, sorted by id. Nonces: BIRTH_NONCE_BYTES.
Record = tuple[tuple[str, bytes], ...]


class NodeState(IntEnum):
    """Durable states of a node. Only a complete node promises."""

    EMPTY = 0
    BORN = 1
    COMPLETE = 2
    RECOVERING = 3
    SEALED = 4  # its epoch is over: it refuses everything, for ever


@dataclass(frozen=True, slots=True)
class Life:
    """What a node shows of itself. `nonce`: its store's; `record`: of a born or complete one."""

    state: NodeState
    nonce: bytes = b""
    record: Record = ()


_GROWN: Final = (NodeState.BORN, NodeState.COMPLETE)
_YOUNG: Final = (NodeState.EMPTY, NodeState.BORN)
_COMPLETE_ENOUGH: Final = 2  # of which one is honest


def next_life(me: str, mine: Life, shown: Record, others: Mapping[str, Life], members: int) -> Life:
    """What this node becomes by what it has seen of the others (the last word of each, in this
    process). `mine`: as it is durable; `shown`: what record_shown() says of it."""
    if mine.state not in _YOUNG:
        return mine
    if _born_before(me, mine, others) >= min(quorum_of(members), members - 1):
        return Life(NodeState.RECOVERING)
    if mine.state is NodeState.EMPTY:
        record = _to_be_born_of(me, mine, others, members)
        return Life(NodeState.BORN, mine.nonce, record) if record else mine
    same = [one.state for one in others.values() if one.state in _GROWN and one.record == shown]
    if len(same) == members - 1 or same.count(NodeState.COMPLETE) >= _COMPLETE_ENOUGH:
        return Life(NodeState.COMPLETE, mine.nonce, shown)
    return mine


def record_shown(
    me: str, mine: Life, others: Mapping[str, Life], members: int, before: Collection[Record] = ()
) -> Record:
    """The record that this node shows to the others. `before`: those that this process has shown."""
    if mine.state is not NodeState.BORN:
        return mine.record
    complete = [(name, one) for name, one in sorted(others.items()) if one.state is NodeState.COMPLETE and one.record]
    for name, one in complete:
        if one.record in (mine.record, *before) or _may_be_mine(me, mine, one.record, name, others):
            return one.record
    if not complete and (seen := _as_they_show(me, mine, others, members)) and _holds(seen, mine.record, members):
        return seen
    return mine.record


def _born_before(me: str, mine: Life, others: Mapping[str, Life]) -> int:
    """How many show that the cluster was born without this store; 0 where nobody shows the record."""
    without = {
        name: one.record
        for name, one in others.items()
        if one.state in _GROWN and one.record and (me, mine.nonce) not in one.record
    }
    # what a born one shows may change by the next word, and says nothing alone
    sure = [
        name
        for name, record in without.items()
        if others[name].state is NodeState.COMPLETE or list(without.values()).count(record) > 1
    ]
    if not sure:
        return 0
    lost = [
        one
        for one in others.values()
        if one.state in (NodeState.RECOVERING, NodeState.SEALED) or (one.state is NodeState.COMPLETE and not one.record)
    ]
    return len(sure) + len(lost)


def _to_be_born_of(me: str, mine: Life, others: Mapping[str, Life], members: int) -> Record:
    """The record of an empty node's birth; () while it waits."""
    if seen := _as_they_show(me, mine, others, members):
        agree = [one for one in others.values() if one.record == seen]
        wait = {NodeState.EMPTY, NodeState.RECOVERING} if agree else {NodeState.EMPTY}
        return seen if all(one in agree or one.state in wait for one in others.values()) else ()
    # who is complete has seen this store born: it was put back to what it was before, or another
    # one was seen in its name
    records = {one.record for one in others.values() if one.state is not NodeState.RECOVERING}
    record = records.pop() if len(records) == 1 and len(others) == members - 1 else ()
    mine_too = (me, mine.nonce) in record and [name for name, _ in record] == sorted([me, *others])
    return record if mine_too else ()


def _as_they_show(me: str, mine: Life, others: Mapping[str, Life], members: int) -> Record:
    """All nonces, each as its own member shows it; () where one was not seen, or is beyond a birth."""
    if len(others) != members - 1:
        return ()
    if any(
        one.state in (NodeState.COMPLETE, NodeState.SEALED) or len(one.nonce) != BIRTH_NONCE_BYTES
        for one in others.values()
    ):
        return ()
    return tuple(sorted([(me, mine.nonce), *((name, one.nonce) for name, one in others.items())]))


def _holds(record: Record, birth: Record, members: int) -> bool:
    """Whether so many stores of this node's birth, itself among them, are in a record that no
    majority of the birth's can have promised without one of them."""
    return len(set(record) & set(birth)) > members - quorum_of(members)


def _may_be_mine(me: str, mine: Life, record: Record, by: str, others: Mapping[str, Life]) -> bool:
    """Whether a record that a complete member shows may be this node's, too: its own
    nonce is in it, and that of each member which is still young and shows the one it
    had when this node was born.
    """
    held, birth = dict(record), dict(mine.record)
    known = {name: one.nonce for name, one in others.items() if name == by or one.state in _YOUNG}
    return (
        [name for name, _ in record] == [name for name, _ in mine.record]
        and held[me] == mine.nonce
        and all(held[name] == nonce for name, nonce in known.items() if nonce == birth.get(name))
        and _holds(record, mine.record, len(birth))
    )
