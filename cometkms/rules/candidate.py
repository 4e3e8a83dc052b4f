"""Choose the bytes to ask a majority for at one place (docs/ARCHITECTURE.md, rule 5). Pure: no
clock, no I/O.

Candidates are the request's bytes and any bytes that a member holds at the place and that differ
from the request in their timestamp only. No choice here can sign twice, whatever it is (acceptors
are write-once); a bad one only loses a vote.

| what is known                                         | outcome                                                       |
|-------------------------------------------------------|---------------------------------------------------------------|
| own mark is above the place                           | refuse: regression                                            |
| own bytes at the place differ in more than the time   | refuse: conflict                                              |
| own bytes held, and they can still reach a majority   | ask for these                                                 |
| candidates can still reach a majority                 | ask for the one with most holders; a tie: the lowest bytes    |
| none can                                              | refuse: what stands in the way                                |

A candidate can reach a majority iff its holders and the members that are still open at the place
are a quorum.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from cometkms.model import HRS, Reason, Refusal, Watermark
from cometkms.rules.sign import regression


class Stand(IntEnum):
    """What one member can still do at the place."""

    OPEN = 0  # nothing promised there or above, or nothing known of it
    HOLDS = 1  # holds bytes there
    CLOSED = 2  # burnt there, or promised above


@dataclass(frozen=True, slots=True)
class View:
    """One member at the place."""

    stand: Stand = Stand.OPEN
    sign_bytes: bytes = b""
    reason: Reason = Reason.NONE  # why it is closed


def view_of(mark: Watermark, hrs: HRS) -> View:
    """What a member's mark says about the place `hrs`."""
    if mark.hrs < hrs:
        return View()
    if mark.hrs > hrs:
        return View(Stand.CLOSED, b"", regression(hrs, mark.hrs).reason)
    if not mark.sign_bytes:
        return View(Stand.CLOSED, b"", Reason.BURNT)
    return View(Stand.HOLDS, mark.sign_bytes)


def choose(
    hrs: HRS,
    requested: bytes,
    own: Watermark,
    others: Mapping[str, View],
    quorum: int,
    *,
    same_but_timestamp: Callable[[bytes, bytes], bool],
) -> bytes | Refusal:
    """The bytes to ask for. `others`: every other member of the epoch, by id; `own`: this node's
    mark."""
    if hrs < own.hrs:
        return regression(hrs, own.hrs)
    mine = view_of(own, hrs)
    if mine.stand is Stand.HOLDS and not same_but_timestamp(requested, mine.sign_bytes):
        return Refusal(Reason.CONFLICT, "conflicting data")
    views = [mine, *others.values()]
    still_open = sum(view.stand is Stand.OPEN for view in views)
    holders = {requested: 0}
    for view in views:
        if view.stand is Stand.HOLDS and (view.sign_bytes in holders or same_but_timestamp(requested, view.sign_bytes)):
            holders[view.sign_bytes] = holders.get(view.sign_bytes, 0) + 1
    reachable = [one for one, count in holders.items() if count + still_open >= quorum]
    if mine.stand is Stand.HOLDS and mine.sign_bytes in reachable:
        return mine.sign_bytes
    if reachable:
        return min(reachable, key=lambda one: (-holders[one], one))
    reasons = [view.reason for view in views if view.stand is Stand.CLOSED]
    reason = next((one for one in reasons if one is not Reason.BURNT), Reason.BURNT if reasons else Reason.CONFLICT)
    return Refusal(reason, "no bytes can reach a majority of the nodes at this place any more")
