"""When a node that lost its promises may count again, and at which marks (docs/ARCHITECTURE.md,
rules 7, 8 and 13). Pure.

| an answer of a member          | counts as read                                                                    |
|--------------------------------|-----------------------------------------------------------------------------------|
| its marks (complete or born)   | yes                                                                               |
| "I am recovering too"          | only if at least N−Q+1 others gave their marks after it said so                   |
| none                           | no                                                                                |

The mark a reader takes is the highest of what it read and what it has left:

| at the highest place …                               | mark                                                            |
|------------------------------------------------------|-----------------------------------------------------------------|
| a signature over its bytes verifies                  | those bytes                                                     |
| a starting node holds bytes of its own there         | its own bytes                                                   |
| else                                                 | burnt                                                           |
"""

from collections.abc import Callable, Iterable, Mapping

from cometkms.model import HRS, Watermark, quorum_of
from cometkms.rules.incarnation import Answer
from cometkms.rules.jump import plausible


def may_end(members: int, answers: Mapping[str, Answer]) -> bool:
    """Whether a recovering node among `members` nodes has read enough. One node alone never has.
    `answers`: those that count (rule 15)."""
    quorum = quorum_of(members)
    if members < 2 or len(answers) < members - 1:
        return False
    real = [one.order for one in answers.values() if one.real]
    return all(one.real or sum(order > one.order for order in real) >= members - quorum + 1 for one in answers.values())


def agreed_mark(
    own: Watermark, read: Iterable[Watermark], *, keep_own: bool, verifies: Callable[[Watermark], bool]
) -> Watermark:
    """The mark after a read. `keep_own`: a starting node, whose own bytes at the highest place are
    its own promise.

    `verifies`: whether a mark's signature is the row's over its bytes.
    """
    marks = [own, *read]
    top = max(mark.hrs for mark in marks)
    if top == HRS(0, 0, 0) or (keep_own and own.hrs == top):
        return own
    signed = [mark for mark in marks if mark.hrs == top and mark.signature and verifies(mark)]
    return signed[0] if signed else Watermark(top)


def absurd(own_reach: int, read: Mapping[str, Watermark], *, verifies: Callable[[Watermark], bool]) -> str | None:
    """The member whose mark lies farther up than is plausible, by what is known here and by
    everybody else's, without a signature that proves it (rule 13). `own_reach`: this node's
    (rules/jump.py); 0 where it knows nothing of the row.
    """
    for member, mark in read.items():
        limit = plausible(own_reach, (one.hrs.height for name, one in read.items() if name != member))
        if 0 < limit < mark.hrs.height and not (mark.signature and verifies(mark)):
            return member
    return None
