"""When a node that lost its promises may count again, and at which marks (docs/ARCHITECTURE.md, rules 7, 8 and 13). Pure.

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

from cometkms.limits import HEIGHT_JUMP_MAX
from cometkms.model import HRS, Watermark
from cometkms.rules.incarnation import Answer
from cometkms.rules.promise import is_jump


def may_end(members: int, answers: Mapping[str, Answer]) -> bool:
    """Whether a recovering node among `members` nodes has read enough. One node alone never has. `answers`: those that count (rule 15)."""
    quorum = members // 2 + 1
    if members < 2 or len(answers) < members - 1:
        return False
    real = [one.order for one in answers.values() if one.real]
    return all(one.real or sum(order > one.order for order in real) >= members - quorum + 1 for one in answers.values())


def agreed_mark(
    own: Watermark, read: Iterable[Watermark], *, keep_own: bool, verifies: Callable[[Watermark], bool]
) -> Watermark:
    """The mark after a read. `keep_own`: a starting node, whose own bytes at the highest place are its own promise.

    `verifies`: whether a mark's signature is the row's over its bytes.
    """
    marks = [own, *read]
    top = max(mark.hrs for mark in marks)
    if top == HRS(0, 0, 0) or (keep_own and own.hrs == top):
        return own
    signed = [mark for mark in marks if mark.hrs == top and mark.signature and verifies(mark)]
    return signed[0] if signed else Watermark(top)


def absurd(
    own: Watermark,
    read: Mapping[str, Watermark],
    *,
    verifies: Callable[[Watermark], bool],
    height_jump_max: int = HEIGHT_JUMP_MAX,
) -> str | None:
    """The member whose mark lies absurdly far above everybody else's, without a signature that proves it (rule 13)."""
    for member, mark in read.items():
        rest = max([own.hrs, *(one.hrs for name, one in read.items() if name != member)])
        if is_jump(rest, mark.hrs, height_jump_max) and not (mark.signature and verifies(mark)):
            return member
    return None
