"""How an empty node becomes one that promises (docs/ARCHITECTURE.md, rule 9). Pure: no clock, no
I/O.

| this node   | what the others show                                        | becomes                                         |
|-------------|-------------------------------------------------------------|-------------------------------------------------|
| empty       | a born or complete one whose record does not hold this      | recovering: it lost what it was, if a majority  |
|             | node's nonce                                                | (of two: the other) was born; else it waits     |
| empty       | a born or complete one whose record holds this node's nonce | born, of that record                            |
| empty       | every member empty                                          | born: a record of all (id, nonce)               |
| born        | every member born of this record, or one complete of it     | complete                                        |
| else        |                                                             | stays                                           |

One member's false record makes no node lose a birth that is to come: what is recovering must read
every other member anyway. Without nonces a node wiped at the wrong moment is born twice; promising
before everybody was seen born signs twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from cometkms.model import quorum_of

#: All (id, nonce) of a birth, sorted by id. Nonces: 16 bytes.
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
    """What a node shows of itself. `nonce`: of an empty node; `record`: of a born or complete
    one."""

    state: NodeState
    nonce: bytes = b""
    record: Record = ()


def next_life(me: str, mine: Life, others: Mapping[str, Life], members: int) -> Life:
    """What this node becomes by what it has seen of the others (the last word of each, in this
    process)."""
    grown = {name: life for name, life in others.items() if life.state in (NodeState.BORN, NodeState.COMPLETE)}
    if mine.state is NodeState.EMPTY:
        if any((me, mine.nonce) not in life.record for life in grown.values()):
            born = [life for life in others.values() if life.state is not NodeState.EMPTY]
            return Life(NodeState.RECOVERING) if len(born) >= min(quorum_of(members), members - 1) else mine
        for life in grown.values():
            return Life(NodeState.BORN, mine.nonce, life.record)
        if len(others) == members - 1 and all(life.state is NodeState.EMPTY for life in others.values()):
            record = tuple(sorted([(me, mine.nonce), *((name, life.nonce) for name, life in others.items())]))
            return Life(NodeState.BORN, mine.nonce, record)
    elif mine.state is NodeState.BORN:
        same = {name: life for name, life in grown.items() if life.record == mine.record}
        if len(same) == members - 1 or any(life.state is NodeState.COMPLETE for life in same.values()):
            return Life(NodeState.COMPLETE, mine.nonce, mine.record)
    return mine
